/* Rules that the checks of requests and of responses share.
 *
 * Each check returns NULL if the field is valid, else static text: the field, and what it may hold.
 *
 * Role: for schema/control_check*.c only.
 * Threads: any; nothing here has state. */
#ifndef LEAT_SCHEMA_CONTROL_CHECK_H
#define LEAT_SCHEMA_CONTROL_CHECK_H

#include <string.h>

#include "schema/batch.h"
#include "schema/control.h"

#define NAME_RULE "1 to 249 of A-Z a-z 0-9 . _ - and not . or .."
#define OPTIONAL_NAME_RULE "empty, or " NAME_RULE
#define MILLISECONDS_MAX (UINT64_MAX / LEAT_NS_PER_MS) /* as nanoseconds it fits a u64 */

enum {
    VERSION_MAX = 0xFFFF, /* u16 in ATTACH */
    BATCH_BYTES_MIN = LEAT_BATCH_HEADER_BYTES + LEAT_RECORD_HEADER_BYTES,
};

static inline bool name_ok(const char *name)
{
    return leat_name_valid(name, strlen(name));
}

static inline bool optional_name_ok(const char *name)
{
    return *name == '\0' || name_ok(name);
}

static inline bool text_ok(const char *text, size_t bytes_max)
{
    return strnlen(text, bytes_max + 1) <= bytes_max;
}

const char *control_check_settings(const Leat__Control__TopicSettings *settings);
const char *control_check_topic_partitions(Leat__Control__TopicPartitions *const *list,
                                           size_t count);

#endif
