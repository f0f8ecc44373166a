/* Feed: a recorded market-data feed in memory. */
#include "bench/demo/feed.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "bench/demo/message.h"

enum { FEED_READ_BYTES = 1 << 20, FEED_LINE_MAX = 1 << 20 };
#define FEED_BYTES_MAX ((size_t)2 << 30)

const char *feed_kind_name(enum feed_kind kind)
{
    switch (kind) {
    case FEED_SPOT: return "Binance spot streams";
    case FEED_FUTURES: return "Binance futures streams";
    case FEED_KRX: return "Korea Exchange quotes, as text";
    case FEED_UNKNOWN: break;
    }
    return "lines of an unknown kind";
}

/* Number of lines by kind. */
struct census {
    size_t depths;
    size_t chained;
    size_t tickers;
    size_t snapshots;
    size_t krx;
};

/* A KRX line: packet time, accept time, issue, then quantity@price ten times. */
static bool is_krx(const char *text, size_t size)
{
    size_t blanks = 0;
    size_t levels = 0;
    const char *issue = NULL;
    for (size_t i = 0; i < size; i++) {
        blanks += text[i] == ' ';
        levels += text[i] == '@';
        if (text[i] == ' ' && blanks == 2)
            issue = text + i + 1;
    }
    return blanks == 12 && levels == 10 && issue != NULL && memcmp(issue, "KR", 2) == 0;
}

/* Counts the line, and assigns the topics that it has in a Binance feed. */
static void recognise_line(struct feed_line *line, struct census *census)
{
    struct message m;
    message_read(&m, line->text, line->size);
    line->topics = FEED_QUOTES | FEED_TRADES;
    switch (m.kind) {
    case MESSAGE_DEPTH:
        census->depths++;
        census->chained += m.chained;
        line->topics = FEED_QUOTES;
        break;
    case MESSAGE_TICKER:
        census->tickers++;
        line->topics = FEED_QUOTES;
        break;
    case MESSAGE_SNAPSHOT:
        census->snapshots++;
        line->topics = FEED_QUOTES;
        break;
    case MESSAGE_TRADE: line->topics = FEED_TRADES; break;
    case MESSAGE_OTHER: census->krx += is_krx(line->text, line->size); break;
    }
    message_release(&m);
}

static void recognise(struct feed *feed)
{
    struct census census = { 0 };
    for (size_t i = 0; i < feed->count; i++)
        recognise_line(&feed->lines[i], &census);
    feed->kind = FEED_UNKNOWN;
    if (census.depths > 0 && census.chained == 0)
        feed->kind = FEED_SPOT;
    else if (census.depths > 0 && census.chained == census.depths)
        feed->kind = FEED_FUTURES;
    else if (census.krx == feed->count)
        feed->kind = FEED_KRX;
    if (feed->kind == FEED_KRX)
        feed->no_book = "its lines are complete quotes, so there is no book to rebuild";
    else if (feed->kind == FEED_UNKNOWN)
        feed->no_book = "no depth updates of a known kind";
    else if (census.snapshots == 0)
        feed->no_book = "no snapshot to start from";
    else if (census.tickers == 0)
        feed->no_book = "no bookTicker to compare with";
    /* A feed that cannot be split is published in full to both topics. */
    if (feed->kind == FEED_UNKNOWN || feed->kind == FEED_KRX)
        for (size_t i = 0; i < feed->count; i++)
            feed->lines[i].topics = FEED_QUOTES | FEED_TRADES;
}

static size_t count_lines(const char *bytes, size_t size)
{
    size_t count = size > 0 && bytes[size - 1] != '\n';
    for (const char *at = bytes; (at = memchr(at, '\n', size - (size_t)(at - bytes))) != NULL; at++)
        count++;
    return count;
}

bool feed_take(struct feed *feed, char *bytes, size_t size, char said[256])
{
    *feed = (struct feed){ .bytes = bytes, .size = size, .timed = true };
    const size_t count = count_lines(bytes, size);
    feed->lines = calloc(count + 1, sizeof(*feed->lines));
    snprintf(said, 256, "%s", count == 0 ? "the feed is empty" : "out of memory");
    if (feed->lines == NULL || count == 0)
        goto refuse;
    for (size_t at = 0; at < size;) {
        const char *end = memchr(bytes + at, '\n', size - at);
        const size_t line = end == NULL ? size - at : (size_t)(end - (bytes + at));
        struct feed_line *to = &feed->lines[feed->count++];
        if (line > FEED_LINE_MAX) {
            snprintf(said, 256, "line %zu has %zu bytes, expected at most %d", feed->count, line,
                     FEED_LINE_MAX);
            goto refuse;
        }
        *to = (struct feed_line){ .text = bytes + at, .size = (uint32_t)line };
        feed->timed &= message_time(to->text, to->size, &to->time_ns);
        if (to->size > feed->line_bytes_max)
            feed->line_bytes_max = to->size;
        at += line + 1;
    }
    recognise(feed);
    return true;
refuse:
    feed_release(feed);
    return false;
}

/* Reads and decompresses the whole file; the caller frees the result. NULL: see `said`. */
static char *read_whole(gzFile file, size_t *size, char said[256])
{
    size_t room = 4 * FEED_READ_BYTES;
    char *bytes = malloc(room);
    *size = 0;
    while (bytes != NULL) {
        if (room - *size < FEED_READ_BYTES) {
            char *more = room < FEED_BYTES_MAX ? realloc(bytes, room * 2) : NULL;
            if (more == NULL)
                break;
            bytes = more;
            room *= 2;
        }
        const int got = gzread(file, bytes + *size, FEED_READ_BYTES);
        int error = Z_OK;
        const char *text = gzerror(file, &error);
        if (got < 0 || (error != Z_OK && error != Z_STREAM_END)) {
            snprintf(said, 256, "%s",
                     error == Z_BUF_ERROR ? "the gzip stream is truncated"
                     : error == Z_ERRNO   ? strerror(errno)
                                          : text);
            free(bytes);
            return NULL;
        }
        if (got == 0)
            return bytes;
        *size += (size_t)got;
    }
    free(bytes);
    snprintf(said, 256, "it does not fit in memory");
    return NULL;
}

static bool named_gzip(const char *path)
{
    const size_t size = strlen(path);
    return size > 3 && strcmp(path + size - 3, ".gz") == 0;
}

bool feed_load(struct feed *feed, const char *path, char said[256])
{
    *feed = (struct feed){ 0 };
    gzFile file = gzopen(path, "rb"); /* zlib reads plain files as well */
    if (file == NULL) {
        snprintf(said, 256, "%s", strerror(errno));
        return false;
    }
    size_t size;
    char *bytes = read_whole(file, &size, said);
    const bool plain = gzdirect(file) != 0;
    /* zlib takes a stream that is truncated in its header for an empty or plain file. */
    int closed = gzclose_r(file);
    if (bytes != NULL && (closed != Z_OK || (plain && named_gzip(path)))) {
        snprintf(said, 256, "%s",
                 closed != Z_OK ? "the gzip stream is truncated"
                                : "its name ends in .gz, but it is not a gzip file");
        free(bytes);
        return false;
    }
    return bytes != NULL && feed_take(feed, bytes, size, said);
}

void feed_release(struct feed *feed)
{
    free(feed->bytes);
    free(feed->lines);
    *feed = (struct feed){ 0 };
}
