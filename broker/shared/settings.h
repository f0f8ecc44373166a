/* Settings: the valid ranges of a topic's settings, and their defaults.
 *
 * Role: defaults, ranges, and the constraints between settings.
 * Must not know: who asks, where the settings come from.
 * Threads: any; nothing here has state. */
#ifndef LEAT_BROKER_SHARED_SETTINGS_H
#define LEAT_BROKER_SHARED_SETTINGS_H

#include "broker/shared/topics.h"
#include "schema/error.h"

enum { SETTINGS_ERROR_TEXT = 256 };

struct settings_error {
    const char *name; /* the wrong setting, such as "ring_bytes"; static */
    char got[64];
    char expected[SETTINGS_ERROR_TEXT];
};

/* Replaces zeroes by defaults, rounds ring_bytes up to a power of two, and checks the result.
 * LEAT_ERR_INVALID: *error says which setting is wrong and why; `settings` is unchanged. */
enum leat_error settings_resolve(struct topic_settings *settings, struct settings_error *error);

/* The name of the first setting that differs; NULL: none. */
const char *settings_difference(const struct topic_settings *a, const struct topic_settings *b);

#endif
