/* Settings: what a topic's settings may be, and what stands in for those that were not given.
 *
 * Role: defaults, ranges, and what they owe each other. Must not know: who asks, where from.
 * Threads: any; nothing here has state. */
#ifndef LEAT_BROKER_SHARED_SETTINGS_H
#define LEAT_BROKER_SHARED_SETTINGS_H

#include "broker/shared/topics.h"
#include "schema/error.h"

enum { SETTINGS_ERROR_TEXT = 256 };

struct settings_error {
    const char *name; /* of the setting that is wrong: "ring_bytes"; static */
    char got[64];
    char expected[SETTINGS_ERROR_TEXT];
};

/* Puts the defaults where there is a zero, rounds ring_bytes up to a power of two, and checks.
 * LEAT_ERR_INVALID: *error says which and why; `settings` is untouched. */
enum leat_error settings_resolve(struct topic_settings *settings, struct settings_error *error);

/* The first difference, or NULL: a setting's name. */
const char *settings_difference(const struct topic_settings *a, const struct topic_settings *b);

#endif
