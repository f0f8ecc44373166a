/* The source of `leat pub`: delimited text from a file or standard input, or the UDP payloads of a
 * capture. */
#include "client/cli/source.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "client/cli/capture.h"

enum {
    READ_BYTES = 1 << 18,
    DELIMITER_BYTES_MAX = 64,
};

struct source {
    struct capture *capture; /* NULL: text */
    gzFile file;             /* NULL: standard input */
    uint8_t *bytes;
    size_t from, to, room;
    size_t searched; /* bytes after `from` in which no delimiter begins */
    bool ended;
    uint64_t number;
    size_t delimiter_size;
    char delimiter[DELIMITER_BYTES_MAX];
    char error[320];
};

struct source *source_open_text(const char *path, const char *delimiter, size_t delimiter_size,
                                char error_text[256])
{
    struct source *s = calloc(1, sizeof *s);
    if (s == NULL || delimiter_size > DELIMITER_BYTES_MAX) {
        snprintf(error_text, 256, "a delimiter has at most %d bytes", DELIMITER_BYTES_MAX);
        free(s);
        return NULL;
    }
    memcpy(s->delimiter, delimiter, delimiter_size);
    s->delimiter_size = delimiter_size;
    if (path != NULL && strcmp(path, "-") != 0) {
        s->file = gzopen(path, "rb"); /* also reads uncompressed files */
        if (s->file == NULL) {
            snprintf(error_text, 256, "%.200s: %s", path, strerror(errno));
            free(s);
            return NULL;
        }
        gzbuffer(s->file, READ_BYTES);
    }
    return s;
}

struct source *source_open_pcap(const char *path, char error_text[256])
{
    struct source *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->capture = capture_open(path, error_text);
    if (s->capture == NULL) {
        free(s);
        return NULL;
    }
    return s;
}

static enum source_said fail(struct source *s, const char *what)
{
    snprintf(s->error, sizeof s->error, "record %llu: %s", (unsigned long long)s->number + 1, what);
    return SOURCE_ERROR;
}

/* Makes room for one more read; unread bytes move to the front. */
static bool make_room(struct source *s)
{
    if (s->from != 0) {
        memmove(s->bytes, s->bytes + s->from, s->to - s->from);
        s->to -= s->from;
        s->from = 0;
    }
    if (s->room - s->to >= READ_BYTES)
        return true;
    const size_t room = s->room == 0 ? (size_t)2 * READ_BYTES : 2 * s->room;
    uint8_t *more = realloc(s->bytes, room);
    if (more == NULL)
        return false;
    s->bytes = more;
    s->room = room;
    return true;
}

static enum source_said read_file(struct source *s)
{
    const int got = gzread(s->file, s->bytes + s->to, READ_BYTES);
    int error = Z_OK;
    if (got < READ_BYTES) {
        /* A truncated gzip file is only detected here. */
        const char *text = gzerror(s->file, &error);
        if (error != Z_OK && error != Z_STREAM_END)
            return fail(s, error == Z_BUF_ERROR ? "the gzip file is truncated" : text);
    }
    s->ended = got == 0;
    s->to += got > 0 ? (size_t)got : 0;
    return SOURCE_RECORD;
}

static enum source_said read_input(struct source *s)
{
    /* Poll before each read: O_NONBLOCK would also affect other processes that share the
     * terminal. */
    struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };
    if (poll(&input, 1, 0) == 0)
        return SOURCE_WAIT;
    const ssize_t got = read(STDIN_FILENO, s->bytes + s->to, READ_BYTES);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return SOURCE_WAIT;
    if (got < 0)
        return fail(s, strerror(errno));
    s->ended = got == 0;
    s->to += (size_t)got;
    return SOURCE_RECORD;
}

/* The record's size without the delimiter; SIZE_MAX: the delimiter has not arrived yet. */
static size_t find_end(struct source *s)
{
    const size_t have = s->to - s->from;
    if (s->delimiter_size == 0 || have < s->delimiter_size)
        return SIZE_MAX;
    const uint8_t *start = s->bytes + s->from;
    const uint8_t *found =
        memmem(start + s->searched, have - s->searched, s->delimiter, s->delimiter_size);
    if (found == NULL) {
        s->searched = have - s->delimiter_size + 1;
        return SIZE_MAX;
    }
    return (size_t)(found - start);
}

static enum source_said take(struct source *s, struct source_record *out, size_t size, size_t skip)
{
    if (size > SOURCE_RECORD_BYTES_MAX)
        return fail(s, "larger than 16 MiB, the largest possible record");
    *out =
        (struct source_record){ .bytes = s->bytes + s->from, .size = size, .number = ++s->number };
    s->from += size + skip;
    s->searched = 0;
    return SOURCE_RECORD;
}

static enum source_said next_text(struct source *s, struct source_record *out)
{
    for (;;) {
        const size_t size = find_end(s);
        if (size != SIZE_MAX)
            return take(s, out, size, s->delimiter_size);
        if (s->ended && s->from == s->to)
            return SOURCE_END;
        if (s->ended) /* a last line without a delimiter is a record too */
            return take(s, out, s->to - s->from, 0);
        if (s->to - s->from > SOURCE_RECORD_BYTES_MAX + DELIMITER_BYTES_MAX)
            return fail(s, "larger than 16 MiB, the largest possible record");
        if (!make_room(s))
            return fail(s, "out of memory");
        const enum source_said said = s->file != NULL ? read_file(s) : read_input(s);
        if (said != SOURCE_RECORD)
            return said;
    }
}

enum source_said source_next(struct source *s, struct source_record *out)
{
    if (s->capture == NULL)
        return next_text(s, out);
    struct capture_datagram datagram;
    switch (capture_next(s->capture, &datagram)) {
    case CAPTURE_DATAGRAM:
        *out = (struct source_record){ .bytes = datagram.bytes,
                                       .size = datagram.size,
                                       .number = ++s->number,
                                       .time_ns = datagram.time_ns };
        return SOURCE_RECORD;
    case CAPTURE_END: return SOURCE_END;
    case CAPTURE_ERROR: break;
    }
    return fail(s, capture_error(s->capture));
}

int source_fd(void)
{
    return STDIN_FILENO; /* files never return SOURCE_WAIT */
}

const char *source_error(const struct source *s)
{
    return s->error;
}

const struct capture_counts *source_capture_counts(const struct source *s)
{
    return s->capture != NULL ? capture_counts(s->capture) : NULL;
}

void source_close(struct source *s)
{
    if (s->capture != NULL)
        capture_close(s->capture);
    if (s->file != NULL)
        gzclose(s->file);
    free(s->bytes);
    free(s);
}
