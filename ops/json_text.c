/* JSON strings from arbitrary bytes. */
#include "ops/json_text.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

size_t json_text_utf8(const char *bytes, size_t size)
{
    const uint8_t *b = (const uint8_t *)bytes;
    if (size == 0)
        return 0;
    if (b[0] < 0x80)
        return 1;
    const size_t length = b[0] >= 0xC2 && b[0] <= 0xDF   ? 2
                          : b[0] >= 0xE0 && b[0] <= 0xEF ? 3
                          : b[0] >= 0xF0 && b[0] <= 0xF4 ? 4
                                                         : 0;
    if (length == 0 || length > size)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((b[i] & 0xC0) != 0x80)
            return 0;
    /* The second byte excludes overlong forms, surrogates and code points above U+10FFFF. */
    const bool wrong = (b[0] == 0xE0 && b[1] < 0xA0) || (b[0] == 0xED && b[1] > 0x9F)
                       || (b[0] == 0xF0 && b[1] < 0x90) || (b[0] == 0xF4 && b[1] > 0x8F);
    return wrong ? 0 : length;
}

static char *put_control(char *at, uint8_t code)
{
    static const char hex[] = "0123456789abcdef";
    memcpy(at, "\\u00", 4);
    at[4] = hex[code >> 4];
    at[5] = hex[code & 15];
    return at + 6;
}

size_t json_text_escape(char *to, const char *bytes, size_t size)
{
    char *at = to;
    *at++ = '"';
    for (size_t i = 0; i < size;) {
        const uint8_t c = (uint8_t)bytes[i];
        const size_t length = json_text_utf8(bytes + i, size - i);
        if (length == 0) {
            memcpy(at, "\\ufffd", 6);
            at += 6;
            i++;
        } else if (c == '"' || c == '\\') {
            *at++ = '\\';
            *at++ = (char)c;
            i++;
        } else if (c < 0x20 || c == 0x7F) {
            at = put_control(at, c);
            i++;
        } else if (c == 0xC2 && (uint8_t)bytes[i + 1] < 0xA0) { /* U+0080 to U+009F */
            at = put_control(at, (uint8_t)bytes[i + 1]);
            i += 2;
        } else {
            memcpy(at, bytes + i, length);
            at += length;
            i += length;
        }
    }
    *at++ = '"';
    return (size_t)(at - to);
}
