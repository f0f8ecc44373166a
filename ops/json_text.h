/* JSON strings from bytes of any kind.
 *
 * Role: quote and escape, all that a terminal obeys too (C0, DEL, C1); what is not UTF-8 becomes
 * U+FFFD.
 * Must not know: what is said. Threads: any. */
#ifndef LEAT_OPS_JSON_TEXT_H
#define LEAT_OPS_JSON_TEXT_H

#include <stddef.h>

/* Writes `"..."`, without a NUL, and returns its length: at most 6 * size + 2 bytes. */
size_t json_text_escape(char *to, const char *bytes, size_t size);

/* Length in bytes of the UTF-8 character that begins at `bytes` (RFC 3629: no surrogates, no
 * overlong forms, at most U+10FFFF), or 0 when none does. */
size_t json_text_utf8(const char *bytes, size_t size);

#endif
