/* Output of the administration commands: JSON values, and tables made from them.
 *
 * Role: numbers and texts into and out of JSON objects, one object per line on stdout.
 * Must not know: topics, groups.
 * Threads: one. */
#ifndef LEAT_CLIENT_CLI_REPORT_H
#define LEAT_CLIENT_CLI_REPORT_H

#include <jansson.h>
#include <stdint.h>

json_t *report_number(uint64_t value);
/* As a string: ids and epochs use all 64 bits, and most readers round a JSON number that large. */
json_t *report_whole(uint64_t value);
/* Any bytes: those that are not UTF-8 become U+FFFD; NULL becomes null. */
json_t *report_bytes(const char *text);

const char *report_text_of(const json_t *object, const char *name);
uint64_t report_number_of(const json_t *object, const char *name);

/* Prints the value on one line, with everything but printable ASCII escaped. */
void report_print(const json_t *value);

#endif
