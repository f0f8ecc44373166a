/* The recording time of a record of a text feed, found in the record itself.
 *
 * Role: a column ("1": separated by spaces, counted from 1) or a path into JSON (".data.E", list
 * elements by number), in a given unit.
 * Must not know: where the text comes from, what the time is for.
 * Threads: one per timefield. */
#ifndef LEAT_CLIENT_CLI_TIMEFIELD_H
#define LEAT_CLIENT_CLI_TIMEFIELD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct timefield {
    uint64_t column;  /* 0: a path */
    const char *path; /* without the first dot; borrowed */
    uint64_t unit_ns;
};

/* Parses `text`. False: neither a column nor a path. */
bool timefield_parse(struct timefield *field, const char *text, uint64_t unit_ns);

/* Reads the time of a record. False: there is none; `said` says why. */
bool timefield_read(const struct timefield *field, const char *record, size_t size, uint64_t *ns,
                    char said[160]);

#endif
