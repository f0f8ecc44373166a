/* What administration says: JSON values, and tables made of them.
 *
 * Role: numbers and texts in and out of JSON objects, one object a line on stdout.
 * Must not know: topics, groups. Threads: one. */
#ifndef LEAT_CLIENT_CLI_REPORT_H
#define LEAT_CLIENT_CLI_REPORT_H

#include <jansson.h>
#include <stdint.h>

json_t *report_number(uint64_t value);
/* As text: ids and epochs use all 64 bits, which a JSON number does not survive in most readers. */
json_t *report_whole(uint64_t value);
/* Bytes of any kind: what is not UTF-8 becomes U+FFFD; NULL becomes null. */
json_t *report_bytes(const char *text);

const char *report_text_of(const json_t *object, const char *name);
uint64_t report_number_of(const json_t *object, const char *name);

/* On one line, everything but printable ASCII escaped. */
void report_print(const json_t *value);

#endif
