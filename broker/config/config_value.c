/* Config values: reads one typed value from a JSON object, or reports why it is invalid. */
#include "broker/config/config_value.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SHOWN_BYTES = 96,
    KEY_BYTES_MAX = 32, /* no suggestion for longer unknown keys */
    NEAR_EDITS = 3,
};

void config_mistake(const struct config_place *place, const char *key, const char *got,
                    const char *expected)
{
    struct config_errors *e = place->errors;
    e->count++;
    const size_t room = sizeof e->text - e->used;
    const int wrote = snprintf(e->text + e->used, room, "%s: %s%s: got %s, expected %s\n",
                               place->file, place->path, key, got, expected);
    if (wrote > 0 && (size_t)wrote < room)
        e->used += (size_t)wrote;
    else
        e->text[e->used] = '\0'; /* never a truncated line */
}

void config_wrong(const struct config_place *place, const char *key, json_t *value,
                  const char *expected)
{
    char shown[SHOWN_BYTES];
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    snprintf(shown, sizeof shown, "%.80s%s", text != NULL ? text : "a value",
             text != NULL && strlen(text) > 80 ? "..." : "");
    free(text);
    config_mistake(place, key, shown, expected);
}

void config_integer(const struct config_place *place, const char *key, uint64_t min, uint64_t max,
                    uint64_t *out)
{
    char expected[80];
    json_t *value = json_object_get(place->object, key);
    if (value == NULL)
        return;
    const json_int_t number = json_integer_value(value);
    if (json_is_integer(value) && number >= 0 && (uint64_t)number >= min
        && (uint64_t)number <= max) {
        *out = (uint64_t)number;
        return;
    }
    snprintf(expected, sizeof expected, "an integer from %" PRIu64 " to %" PRIu64, min, max);
    config_wrong(place, key, value, expected);
}

void config_u32(const struct config_place *place, const char *key, uint32_t min, uint32_t max,
                uint32_t *out)
{
    uint64_t wide = *out;
    config_integer(place, key, min, max, &wide);
    *out = (uint32_t)wide;
}

void config_bool(const struct config_place *place, const char *key, bool *out)
{
    json_t *value = json_object_get(place->object, key);
    if (json_is_boolean(value))
        *out = json_is_true(value);
    else if (value != NULL)
        config_wrong(place, key, value, "true or false");
}

bool config_parse_size(const char *text, uint64_t *out)
{
    static const struct {
        const char *suffix;
        uint64_t bytes;
    } units[] = {
        { "", 1 },
        { "B", 1 },
        { "KiB", UINT64_C(1) << 10 },
        { "MiB", UINT64_C(1) << 20 },
        { "GiB", UINT64_C(1) << 30 },
        { "TiB", UINT64_C(1) << 40 },
        { "kB", 1000 },
        { "KB", 1000 },
        { "MB", 1000000 },
        { "GB", 1000000000 },
        { "TB", UINT64_C(1000000000000) },
    };
    uint64_t number = 0;
    size_t digits = 0;
    for (; isdigit((unsigned char)text[digits]); digits++) {
        const unsigned digit = (unsigned)(text[digits] - '0');
        if (number > (UINT64_MAX - digit) / 10)
            return false;
        number = 10 * number + digit;
    }
    if (digits == 0)
        return false;
    text += digits;
    while (*text == ' ')
        text++;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(text, units[i].suffix) == 0 && number <= UINT64_MAX / units[i].bytes) {
            *out = number * units[i].bytes;
            return true;
        }
    }
    return false;
}

void config_size(const struct config_place *place, const char *key, uint64_t min, uint64_t max,
                 uint64_t *out)
{
    char expected[128];
    uint64_t bytes = 0;
    json_t *value = json_object_get(place->object, key);
    if (value == NULL)
        return;
    bool right = false;
    if (json_is_string(value)) {
        right = config_parse_size(json_string_value(value), &bytes);
    } else if (json_is_integer(value) && json_integer_value(value) >= 0) {
        bytes = (uint64_t)json_integer_value(value);
        right = true;
    }
    if (right && bytes >= min && bytes <= max) {
        *out = bytes;
        return;
    }
    snprintf(expected, sizeof expected,
             "a size in bytes, as an integer or a string such as \"64MiB\", from %" PRIu64
             " to %" PRIu64,
             min, max);
    config_wrong(place, key, value, expected);
}

bool config_text(const struct config_place *place, const char *key, const char *expected, char *out,
                 size_t room)
{
    json_t *value = json_object_get(place->object, key);
    if (value == NULL)
        return false;
    if (!json_is_string(value) || json_string_length(value) >= room) {
        config_wrong(place, key, value, expected);
        return false;
    }
    strcpy(out, json_string_value(value));
    return true;
}

void config_choice(const struct config_place *place, const char *key, const char *const *names,
                   unsigned *out)
{
    char expected[128];
    size_t used = 0;
    json_t *value = json_object_get(place->object, key);
    if (value == NULL)
        return;
    for (unsigned i = 0; names[i] != NULL; i++) {
        if (json_is_string(value) && strcmp(json_string_value(value), names[i]) == 0) {
            *out = i;
            return;
        }
        const int wrote = snprintf(expected + used, sizeof expected - used, "%s\"%s\"",
                                   i == 0 ? "" : ", ", names[i]);
        used += wrote > 0 ? (size_t)wrote : 0;
    }
    config_wrong(place, key, value, expected);
}

/* Levenshtein's distance of two short words. */
static unsigned edits(const char *a, const char *b)
{
    unsigned row[KEY_BYTES_MAX + 1];
    const size_t width = strlen(b);
    for (size_t j = 0; j <= width; j++)
        row[j] = (unsigned)j;
    for (size_t i = 0; a[i] != '\0'; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned)i + 1;
        for (size_t j = 0; j < width; j++) {
            const unsigned swap = diagonal + (a[i] != b[j]);
            diagonal = row[j + 1];
            unsigned best = row[j] < row[j + 1] ? row[j] + 1 : row[j + 1] + 1;
            row[j + 1] = swap < best ? swap : best;
        }
    }
    return row[width];
}

static const char *nearest(const char *key, const char *const *known)
{
    const char *best = NULL;
    unsigned fewest = NEAR_EDITS + 1;
    for (unsigned i = 0; strlen(key) <= KEY_BYTES_MAX && known[i] != NULL; i++) {
        const unsigned distance = edits(key, known[i]);
        if (distance < fewest) {
            fewest = distance;
            best = known[i];
        }
    }
    return best;
}

static void refuse_key(const struct config_place *place, const char *key, const char *const *known)
{
    char expected[1024];
    char shown[SHOWN_BYTES];
    const char *near = nearest(key, known);
    if (near != NULL) {
        snprintf(expected, sizeof expected, "a known key: did you mean \"%s\"?", near);
    } else {
        size_t used = (size_t)snprintf(expected, sizeof expected, "one of");
        for (unsigned i = 0; known[i] != NULL && used < sizeof expected; i++)
            used += (size_t)snprintf(expected + used, sizeof expected - used, "%s %s",
                                     i == 0 ? "" : ",", known[i]);
    }
    snprintf(shown, sizeof shown, "%.80s", key);
    config_mistake(place, shown, "an unknown key", expected);
}

void config_known_keys(const struct config_place *place, const char *const *known)
{
    const char *key;
    json_t *value;
    json_object_foreach(place->object, key, value)
    {
        unsigned i = 0;
        while (known[i] != NULL && strcmp(known[i], key) != 0)
            i++;
        if (known[i] == NULL)
            refuse_key(place, key, known);
    }
}
