/* The recording time of a record of a text feed, found in the record itself. */
#include "client/cli/timefield.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "client/cli/parse.h"

bool timefield_parse(struct timefield *field, const char *text, uint64_t unit_ns)
{
    *field = (struct timefield){ .unit_ns = unit_ns };
    if (text[0] == '.' && text[1] != '\0') {
        field->path = text + 1;
        return true;
    }
    return parse_u64(text, strlen(text), &field->column) && field->column > 0;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool read_column(const struct timefield *field, const char *record, size_t size,
                        uint64_t *ns, char said[160])
{
    size_t at = 0;
    uint64_t column = 0;
    while (at < size) {
        while (at < size && is_blank(record[at]))
            at++;
        const size_t begin = at;
        while (at < size && !is_blank(record[at]))
            at++;
        if (at == begin || ++column < field->column)
            continue;
        if (parse_decimal_ns(record + begin, at - begin, field->unit_ns, ns))
            return true;
        snprintf(said, 160, "column %llu is \"%.*s\", expected a time",
                 (unsigned long long)field->column, (int)(at - begin < 40 ? at - begin : 40),
                 record + begin);
        return false;
    }
    snprintf(said, 160, "there is no column %llu", (unsigned long long)field->column);
    return false;
}

/* The value at `path`, borrowed; NULL: none. */
static json_t *follow(json_t *value, const char *path)
{
    while (value != NULL && *path != '\0') {
        const size_t size = strcspn(path, ".");
        uint64_t index;
        if (json_is_array(value))
            value = parse_u64(path, size, &index) ? json_array_get(value, (size_t)index) : NULL;
        else
            value = json_object_getn(value, path, size);
        path += size + (path[size] == '.');
    }
    return value;
}

static bool value_ns(const json_t *value, uint64_t unit_ns, uint64_t *ns)
{
    const json_int_t number = json_integer_value(value);
    if (json_is_string(value))
        return parse_decimal_ns(json_string_value(value), json_string_length(value), unit_ns, ns);
    if (json_is_integer(value)) {
        if (number < 0 || (uint64_t)number > UINT64_MAX / unit_ns)
            return false;
        *ns = (uint64_t)number * unit_ns;
        return true;
    }
    /* A fraction has the precision of a double. */
    const double real = json_real_value(value) * (double)unit_ns;
    if (!json_is_real(value) || real < 0 || real >= 18e18)
        return false;
    *ns = (uint64_t)llround(real);
    return true;
}

static bool read_path(const struct timefield *field, const char *record, size_t size, uint64_t *ns,
                      char said[160])
{
    /* Some feeds put the receive time before the JSON. */
    const char *begin = memchr(record, '{', size);
    json_error_t error;
    if (begin == NULL) {
        snprintf(said, 160, "there is no JSON object");
        return false;
    }
    json_t *root = json_loadb(begin, size - (size_t)(begin - record), 0, &error);
    if (root == NULL) {
        snprintf(said, 160, "not JSON: %.100s", error.text);
        return false;
    }
    const json_t *value = follow(root, field->path);
    const bool found = value != NULL && value_ns(value, field->unit_ns, ns);
    if (!found)
        snprintf(said, 160, "\".%.60s\" %s", field->path,
                 value == NULL ? "is not there" : "is no time");
    json_decref(root);
    return found;
}

bool timefield_read(const struct timefield *field, const char *record, size_t size, uint64_t *ns,
                    char said[160])
{
    if (field->column > 0)
        return read_column(field, record, size, ns, said);
    return read_path(field, record, size, ns, said);
}
