/* Reads the vector files of schema/vectors/ (their format stands at the top of each).
 *
 * Role: one vector at a time, as text and bytes; Criterion fails the test on a file it cannot read.
 * Must not know: any format that the vectors describe.
 * Threads: one. Tests run from the root of the repository. */
#ifndef LEAT_TESTS_SUPPORT_VECTORS_H
#define LEAT_TESTS_SUPPORT_VECTORS_H

#include <criterion/criterion.h>
#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schema/error.h"
#include "schema/error_text.h"

enum {
    VECTOR_PAIRS_MAX = 32,
    VECTOR_TEXT_BYTES = 2048,
    VECTOR_BYTES_MAX = 4096,
};

struct vector {
    char name[64];
    char keys[VECTOR_PAIRS_MAX][32];
    char values[VECTOR_PAIRS_MAX][VECTOR_TEXT_BYTES];
    unsigned pair_count;
    uint8_t bytes[VECTOR_BYTES_MAX];
    size_t size;
};

static inline size_t vector_hex(uint8_t *out, size_t room, const char *text)
{
    size_t size = 0;
    while (*text != '\0') {
        if (isspace((unsigned char)*text)) {
            text++;
            continue;
        }
        unsigned byte;
        cr_assert_eq(sscanf(text, "%2x", &byte), 1, "not hex: %s", text);
        cr_assert_lt(size, room, "too many bytes of hex");
        out[size++] = (uint8_t)byte;
        text += 2;
    }
    return size;
}

static inline void vector_line(struct vector *v, char *line)
{
    if (line[0] == ' ') {
        v->size += vector_hex(v->bytes + v->size, sizeof v->bytes - v->size, line);
        return;
    }
    char *equals = strchr(line, '=');
    cr_assert_not_null(equals, "%s: no '=' in: %s", v->name, line);
    *equals = '\0';
    char *value = equals + 1;
    line[strcspn(line, " ")] = '\0';
    value += strspn(value, " ");
    if (strcmp(line, "bytes") == 0) {
        v->size = vector_hex(v->bytes, sizeof v->bytes, value);
        return;
    }
    cr_assert_lt(v->pair_count, VECTOR_PAIRS_MAX, "%s", v->name);
    cr_assert_lt(strlen(line), sizeof v->keys[0], "%s: %s", v->name, line);
    memcpy(v->keys[v->pair_count], line, strlen(line) + 1);
    memcpy(v->values[v->pair_count], value, strlen(value) + 1);
    v->pair_count++;
}

/* False at the end of the file. */
static inline bool vector_next(FILE *file, struct vector *v)
{
    char line[VECTOR_TEXT_BYTES];
    memset(v, 0, sizeof *v);
    long back = ftell(file);
    while (fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (line[0] == '[') {
            if (v->name[0] != '\0') {
                fseek(file, back, SEEK_SET);
                return true;
            }
            snprintf(v->name, sizeof v->name, "%.*s", (int)strcspn(line + 1, "]"), line + 1);
        } else if (line[0] != '#' && line[0] != '\0') {
            vector_line(v, line);
        }
        back = ftell(file);
    }
    return v->name[0] != '\0';
}

/* Value `index` of the pairs called `key`; NULL when there is none. */
static inline const char *vector_text(const struct vector *v, const char *key, unsigned index)
{
    for (unsigned i = 0; i < v->pair_count; i++)
        if (strcmp(v->keys[i], key) == 0 && index-- == 0)
            return v->values[i];
    return NULL;
}

static inline uint64_t vector_number(const struct vector *v, const char *key)
{
    const char *text = vector_text(v, key, 0);
    cr_assert_not_null(text, "%s: no %s", v->name, key);
    return text[0] == '-' ? (uint64_t)strtoll(text, NULL, 0) : strtoull(text, NULL, 0);
}

/* Whether the vector wants `error` for `key`. */
static inline void vector_expect(const struct vector *v, const char *key, int error)
{
    const char *want = vector_text(v, key, 0);
    cr_assert_not_null(want, "%s: no %s", v->name, key);
    cr_assert_str_eq(leat_error_name(error), want, "%s: %s", v->name, key);
}

static inline FILE *vectors_open(const char *path)
{
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file, "%s: run the tests from the root of the repository", path);
    return file;
}

#endif
