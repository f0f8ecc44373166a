/* Numbers, sizes, times and bytes as a user types them.
 *
 * Role: exact parsing of whole texts: nothing is skipped, overflows or is guessed.
 * Must not know: options, commands, where the text came from.
 * Threads: any. */
#ifndef LEAT_CLIENT_CLI_PARSE_H
#define LEAT_CLIENT_CLI_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Decimal digits only. */
bool parse_u64(const char *text, size_t size, uint64_t *value);

/* "65536", "64KiB", "64MiB", "2GiB", "1TiB", and "10kB", "10MB", "10GB" for powers of ten. */
bool parse_bytes(const char *text, uint64_t *bytes);

/* "30", "0.5", "30s", "250ms", "10us", "5m"; seconds if there is no unit. Up to 100 years. */
bool parse_duration_ns(const char *text, uint64_t *ns);

/* A decimal with up to 18 digits before the point, times unit_ns, exact to the nanosecond; smaller
 * digits are dropped. A leading '-' is an error: no feed is older than 1970. */
bool parse_decimal_ns(const char *text, size_t size, uint64_t unit_ns, uint64_t *ns);

/* 1 for "ns", 1,000 for "us" and so on for "ms" and "s"; 0 for anything else. */
uint64_t parse_time_unit(const char *text);

/* Nanoseconds since 1970, as digits or in RFC 3339: 2024-08-08T23:54:15.5Z, also with an offset
 * (+09:00) and a space instead of the T. */
bool parse_instant(const char *text, uint64_t *ns);

/* A finite decimal number, not negative. */
bool parse_speed(const char *text, double *speed);

/* Replaces \n \r \t \0 \\ and \xHH by their bytes and copies everything else. At most `room` bytes;
 * false for an unknown escape or too many bytes. */
bool parse_escapes(const char *text, uint8_t *to, size_t room, size_t *size);

#endif
