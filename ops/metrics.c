/* Metrics: a registry of named values that other modules own and update. */
#include "ops/metrics.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    METRICS_MAX = 1 << 16,
    NAME_BYTES_MAX = 128,
    LABELS_BYTES_MAX = 512,
};

struct entry {
    char *name;
    char *help;
    char *labels; /* "" when there are none */
    enum metric_kind kind;
    const metric *value;
};

struct metrics {
    pthread_mutex_t lock;
    struct entry *entries; /* sorted by name, then labels */
    size_t count, room;
};

enum leat_error metrics_open(struct metrics **out)
{
    struct metrics *metrics = calloc(1, sizeof *metrics);
    if (metrics == NULL)
        return LEAT_ERR_NO_MEMORY;
    pthread_mutex_init(&metrics->lock, NULL);
    *out = metrics;
    return LEAT_OK;
}

static void free_entry(struct entry *entry)
{
    free(entry->name);
    free(entry->help);
    free(entry->labels);
}

void metrics_close(struct metrics *metrics)
{
    if (metrics == NULL)
        return;
    for (size_t i = 0; i < metrics->count; i++)
        free_entry(&metrics->entries[i]);
    free(metrics->entries);
    pthread_mutex_destroy(&metrics->lock);
    free(metrics);
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

/* The length of the Prometheus name at the start of `text`. Only metric names may have colons. */
static size_t name_length(const char *text, bool colons)
{
    size_t n = 0;
    while (is_letter(text[n]) || (colons && text[n] == ':')
           || (n != 0 && text[n] >= '0' && text[n] <= '9'))
        n++;
    return n;
}

static bool name_is_right(const char *name)
{
    const size_t n = name_length(name, true);
    return n != 0 && n < NAME_BYTES_MAX && name[n] == '\0';
}

/* label="value",label="value". In a value, only the escapes \\, \" and \n are valid. */
static bool labels_are_right(const char *labels)
{
    if (strlen(labels) >= LABELS_BYTES_MAX)
        return false;
    const char *at = labels;
    while (*at != '\0') {
        const size_t n = name_length(at, false);
        if (n == 0 || at[n] != '=' || at[n + 1] != '"')
            return false;
        at += n + 2;
        while (*at != '"') {
            if (*at == '\0' || *at == '\n')
                return false;
            if (*at == '\\' && at[1] != '\\' && at[1] != '"' && at[1] != 'n')
                return false;
            at += *at == '\\' ? 2 : 1;
        }
        at++;
        if (*at == ',' && at[1] != '\0')
            at++;
        else if (*at != '\0')
            return false;
    }
    return true;
}

static int compare(const struct entry *a, const char *name, const char *labels)
{
    const int by_name = strcmp(a->name, name);
    return by_name != 0 ? by_name : strcmp(a->labels, labels);
}

enum leat_error metrics_register(struct metrics *metrics, const struct metric_options *options)
{
    const char *labels = options->labels != NULL ? options->labels : "";
    if (!name_is_right(options->name) || !labels_are_right(labels)
        || strchr(options->help, '\n') != NULL)
        return LEAT_ERR_INVALID;
    struct entry entry = { .name = strdup(options->name),
                           .help = strdup(options->help),
                           .labels = strdup(labels),
                           .kind = options->kind,
                           .value = options->value };
    enum leat_error error = LEAT_OK;
    pthread_mutex_lock(&metrics->lock);
    if (entry.name == NULL || entry.help == NULL || entry.labels == NULL)
        error = LEAT_ERR_NO_MEMORY;
    else if (metrics->count == METRICS_MAX)
        error = LEAT_ERR_LIMIT;
    if (error == LEAT_OK && metrics->count == metrics->room) {
        const size_t room = metrics->room == 0 ? 64 : 2 * metrics->room;
        struct entry *more = realloc(metrics->entries, room * sizeof *more);
        if (more == NULL) {
            error = LEAT_ERR_NO_MEMORY;
        } else {
            metrics->entries = more;
            metrics->room = room;
        }
    }
    size_t at = 0;
    while (error == LEAT_OK && at < metrics->count) {
        const int order = compare(&metrics->entries[at], entry.name, entry.labels);
        if (order == 0)
            error = LEAT_ERR_INVALID; /* already registered */
        if (order >= 0)
            break;
        at++;
    }
    if (error == LEAT_OK) {
        memmove(metrics->entries + at + 1, metrics->entries + at,
                (metrics->count - at) * sizeof entry);
        metrics->entries[at] = entry;
        metrics->count++;
    }
    pthread_mutex_unlock(&metrics->lock);
    if (error != LEAT_OK)
        free_entry(&entry);
    return error;
}

void metrics_unregister(struct metrics *metrics, const void *base, size_t size)
{
    const uintptr_t from = (uintptr_t)base;
    pthread_mutex_lock(&metrics->lock);
    size_t kept = 0;
    for (size_t i = 0; i < metrics->count; i++) {
        const uintptr_t at = (uintptr_t)metrics->entries[i].value;
        if (at >= from && at - from < size)
            free_entry(&metrics->entries[i]);
        else
            metrics->entries[kept++] = metrics->entries[i];
    }
    metrics->count = kept;
    pthread_mutex_unlock(&metrics->lock);
}

struct page {
    char *text;
    size_t room, used;
};

static void put(struct page *page, const char *text)
{
    const size_t size = strlen(text);
    if (page->used < page->room) {
        const size_t left = page->room - page->used;
        memcpy(page->text + page->used, text, size < left ? size : left);
    }
    page->used += size;
}

size_t metrics_write(struct metrics *metrics, char *text, size_t size)
{
    struct page page = { .text = text, .room = size };
    const char *family = "";
    pthread_mutex_lock(&metrics->lock);
    for (size_t i = 0; i < metrics->count; i++) {
        const struct entry *entry = &metrics->entries[i];
        char number[32];
        if (strcmp(family, entry->name) != 0) {
            family = entry->name;
            put(&page, "# HELP ");
            put(&page, family);
            put(&page, " ");
            put(&page, entry->help);
            put(&page, "\n# TYPE ");
            put(&page, family);
            put(&page, entry->kind == METRIC_COUNTER ? " counter\n" : " gauge\n");
        }
        put(&page, entry->name);
        if (entry->labels[0] != '\0') {
            put(&page, "{");
            put(&page, entry->labels);
            put(&page, "}");
        }
        snprintf(number, sizeof number, " %" PRIu64 "\n", metric_get(entry->value));
        put(&page, number);
    }
    pthread_mutex_unlock(&metrics->lock);
    if (size != 0)
        text[page.used < size ? page.used : size - 1] = '\0';
    return page.used;
}
