/* Output of the administration commands: JSON values, and tables made from them. */
#include "client/cli/report.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ops/json_text.h"

json_t *report_number(uint64_t value)
{
    return json_integer((json_int_t)value);
}

json_t *report_whole(uint64_t value)
{
    return json_sprintf("%" PRIu64, value);
}

json_t *report_bytes(const char *text)
{
    if (text == NULL)
        return json_null();
    const size_t size = strlen(text);
    char *quoted = malloc(6 * size + 2);
    if (quoted == NULL)
        return json_null();
    json_t *value = json_loadb(quoted, json_text_escape(quoted, text, size), JSON_DECODE_ANY, NULL);
    free(quoted);
    return value;
}

const char *report_text_of(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

uint64_t report_number_of(const json_t *object, const char *name)
{
    return (uint64_t)json_integer_value(json_object_get(object, name));
}

/* Jansson does not escape DEL. */
static int print_piece(const char *piece, size_t size, void *unused)
{
    (void)unused;
    for (size_t i = 0; i < size; i++)
        if (piece[i] == '\x7F')
            fputs("\\u007F", stdout);
        else
            putchar(piece[i]);
    return 0;
}

void report_print(const json_t *value)
{
    json_dump_callback(value, print_piece, NULL, JSON_COMPACT | JSON_ENSURE_ASCII);
    putchar('\n');
}
