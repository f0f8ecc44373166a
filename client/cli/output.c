/* Buffered standard output, written when the buffer is full enough or there is nothing else to
 * do. */
#include "client/cli/output.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ops/json_text.h"
#include "schema/limits.h"

enum { OUTPUT_FLUSH_BYTES = 256 << 10 };

bool output_open(struct output *out, struct cli *cli)
{
    struct stat st;
    *out = (struct output){ .cli = cli, .room = OUTPUT_FLUSH_BYTES };
    out->regular = fstat(STDOUT_FILENO, &st) == 0 && S_ISREG(st.st_mode);
    out->bytes = malloc(out->room);
    return out->bytes != NULL;
}

void output_close(struct output *out)
{
    free(out->bytes);
}

/* Makes room for `size` more bytes. At most one record is added beyond the flush mark, and a record
 * has a size limit, so the buffer has one too. */
static uint8_t *output_reserve(struct output *out, size_t size)
{
    if (out->size + size > out->room) {
        const size_t room = (out->size + size) * 2;
        uint8_t *bytes = realloc(out->bytes, room);
        if (bytes == NULL) {
            out->error = ENOMEM;
            return NULL;
        }
        out->bytes = bytes;
        out->room = room;
    }
    return out->bytes + out->size;
}

void output_bytes(struct output *out, const void *bytes, size_t size)
{
    uint8_t *to = output_reserve(out, size);
    if (to == NULL || size == 0)
        return;
    memcpy(to, bytes, size);
    out->size += size;
}

void output_text(struct output *out, const char *text)
{
    output_bytes(out, text, strlen(text));
}

void output_u64(struct output *out, uint64_t number)
{
    char digits[20];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    output_bytes(out, digits + at, sizeof(digits) - at);
}

void output_json(struct output *out, const char *bytes, size_t size)
{
    uint8_t *to = output_reserve(out, size * 6 + 2);
    if (to != NULL)
        out->size += json_text_escape((char *)to, bytes, size);
}

void output_base64(struct output *out, const uint8_t *bytes, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint8_t *to = output_reserve(out, (size + 2) / 3 * 4 + 2);
    if (to == NULL)
        return;
    uint8_t *const begin = to;
    *to++ = '"';
    for (size_t i = 0; i < size; i += 3) {
        const size_t left = size - i;
        const uint32_t three = (uint32_t)bytes[i] << 16
                               | (left > 1 ? (uint32_t)bytes[i + 1] << 8 : 0)
                               | (left > 2 ? bytes[i + 2] : 0);
        *to++ = (uint8_t)digits[three >> 18];
        *to++ = (uint8_t)digits[three >> 12 & 63];
        *to++ = left > 1 ? (uint8_t)digits[three >> 6 & 63] : '=';
        *to++ = left > 2 ? (uint8_t)digits[three & 63] : '=';
    }
    *to++ = '"';
    out->size += (size_t)(to - begin);
}

bool output_is_utf8(const char *bytes, size_t size)
{
    size_t at = 0;
    while (at < size) {
        const size_t length = json_text_utf8(bytes + at, size - at);
        if (length == 0)
            return false;
        at += length;
    }
    return true;
}

bool output_full(const struct output *out)
{
    return out->size >= OUTPUT_FLUSH_BYTES;
}

/* Waits until a pipe or terminal accepts PIPE_BUF bytes without blocking. False: do not write. */
static bool output_wait(struct output *out)
{
    struct pollfd writable = { .fd = STDOUT_FILENO, .events = POLLOUT };
    if (poll(&writable, 1, 0) > 0)
        return true;
    /* Keep the client running; its errors are seen again when its records are polled. */
    cli_wait(out->cli, &writable, 1, LEAT_NS_PER_S);
    return writable.revents != 0;
}

void output_flush(struct output *out)
{
    size_t at = 0;
    while (at < out->size && !out->closed && out->error == 0) {
        const size_t left = out->size - at;
        if (!out->regular && !output_wait(out)) {
            if (cli_stopped(out->cli))
                break;
            continue;
        }
        const size_t chunk = out->regular || left < PIPE_BUF ? left : PIPE_BUF;
        const ssize_t written = write(STDOUT_FILENO, out->bytes + at, chunk);
        if (written > 0)
            at += (size_t)written;
        else if (errno == EPIPE)
            out->closed = true;
        else if (errno != EINTR && errno != EAGAIN)
            out->error = errno;
    }
    out->size = 0;
}
