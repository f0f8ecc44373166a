/* Config values: taking one typed value out of a JSON object, or saying what is wrong with it.
 *
 * Role: types, ranges, units and the wording of mistakes. Must not know: which keys there are.
 * Threads: any. */
#ifndef LEAT_BROKER_CONFIG_CONFIG_VALUE_H
#define LEAT_BROKER_CONFIG_CONFIG_VALUE_H

#include <jansson.h>

#include "broker/config/config.h"

/* Where in the file we are: "topics[0]." and the object there. */
struct config_place {
    struct config_errors *errors;
    const char *file;
    char path[64];
    json_t *object;
};

/* `key` is relative to the place. */
void config_mistake(const struct config_place *place, const char *key, const char *got,
                    const char *expected);
/* The same, showing `value`. */
void config_wrong(const struct config_place *place, const char *key, json_t *value,
                  const char *expected);

/* Each leaves *out as it was when the key is absent, null is a mistake. */
void config_integer(const struct config_place *place, const char *key, uint64_t min, uint64_t max,
                    uint64_t *out);
void config_u32(const struct config_place *place, const char *key, uint32_t min, uint32_t max,
                uint32_t *out);
void config_bool(const struct config_place *place, const char *key, bool *out);
/* An integer, or text such as "10MiB" (B, KiB, MiB, GiB, TiB, kB, MB, GB, TB). */
void config_size(const struct config_place *place, const char *key, uint64_t min, uint64_t max,
                 uint64_t *out);
/* Text of less than `room` bytes. False: absent or wrong. */
bool config_text(const struct config_place *place, const char *key, const char *expected, char *out,
                 size_t room);
/* The index in `names` (NULL-terminated). */
void config_choice(const struct config_place *place, const char *key, const char *const *names,
                   unsigned *out);
/* Refuses every key that is not in `known` (NULL-terminated), naming the nearest that is. */
void config_known_keys(const struct config_place *place, const char *const *known);

/* "10MiB" as bytes; false when it is no size or too large for 64 bits. */
bool config_parse_size(const char *text, uint64_t *out);

#endif
