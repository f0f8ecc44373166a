/* JSON strings from arbitrary bytes.
 *
 * Role: quotes and escapes, including terminal control characters (C0, DEL, C1). Bytes that are not
 * UTF-8 become U+FFFD.
 * Must not know: the meaning of the text.
 * Threads: any. */
#ifndef LEAT_OPS_JSON_TEXT_H
#define LEAT_OPS_JSON_TEXT_H

#include <stddef.h>

/* Writes `"..."`, without a NUL, and returns its length: at most 6 * size + 2 bytes. */
size_t json_text_escape(char *to, const char *bytes, size_t size);

/* Length in bytes of the UTF-8 character at `bytes` (RFC 3629: no surrogates, no overlong forms, at
 * most U+10FFFF), or 0 if the bytes are not valid UTF-8. */
size_t json_text_utf8(const char *bytes, size_t size);

#endif
