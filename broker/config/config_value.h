/* Config values: reads one typed value from a JSON object, or reports why it is invalid.
 *
 * Role: types, ranges, units and messages about mistakes.
 * Must not know: which keys exist.
 * Threads: any. */
#ifndef LEAT_BROKER_CONFIG_CONFIG_VALUE_H
#define LEAT_BROKER_CONFIG_CONFIG_VALUE_H

#include <jansson.h>

#include "broker/config/config.h"

/* The current location in the file: the path, such as "topics[0].", and the object there. */
struct config_place {
    struct config_errors *errors;
    const char *file;
    char path[64];
    json_t *object;
};

/* Adds a mistake to place->errors. `key` is relative to the place. */
void config_mistake(const struct config_place *place, const char *key, const char *got,
                    const char *expected);
/* The same, showing `value`. */
void config_wrong(const struct config_place *place, const char *key, json_t *value,
                  const char *expected);

/* Each of these leaves *out unchanged if the key is absent or its value invalid, which is reported.
 * null is invalid. */
void config_integer(const struct config_place *place, const char *key, uint64_t min, uint64_t max,
                    uint64_t *out);
void config_u32(const struct config_place *place, const char *key, uint32_t min, uint32_t max,
                uint32_t *out);
void config_bool(const struct config_place *place, const char *key, bool *out);
/* An integer, or a string such as "10MiB" (B, KiB, MiB, GiB, TiB, kB or KB, MB, GB, TB). */
void config_size(const struct config_place *place, const char *key, uint64_t min, uint64_t max,
                 uint64_t *out);
/* A string of less than `room` bytes. False: absent or invalid. */
bool config_text(const struct config_place *place, const char *key, const char *expected, char *out,
                 size_t room);
/* *out: the index of the value in `names` (NULL-terminated). */
void config_choice(const struct config_place *place, const char *key, const char *const *names,
                   unsigned *out);
/* Reports every key that is not in `known` (NULL-terminated), and suggests the most similar one. */
void config_known_keys(const struct config_place *place, const char *const *known);

/* Parses a size such as "10MiB". False: not a size, or too large for 64 bits. */
bool config_parse_size(const char *text, uint64_t *out);

#endif
