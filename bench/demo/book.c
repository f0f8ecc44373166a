/* Order book: rebuilt from a snapshot and depth updates, compared with the feed's best quotes. */
#include "bench/demo/book.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/demo/message.h"

enum {
    BOOK_SETTLE = 50,       /* updates before the first comparison */
    BOOK_EARLY_MAX = 10000, /* updates kept until the snapshot arrives */
    BOOK_LEVELS_MAX = 1000000,
    DECIMALS = 8,
};

struct level {
    int64_t price; /* in 1e-8 */
    int64_t quantity;
};

/* Levels in ascending order of price. */
struct side {
    struct level *levels;
    size_t count;
    size_t room;
};

struct best {
    uint64_t id; /* u of the update */
    struct level bid;
    struct level ask;
};

/* In ascending order of id. */
struct bests {
    struct best *items;
    size_t count;
    size_t room;
};

struct book {
    bool futures;
    bool started; /* the snapshot was applied */
    uint64_t snapshot_id;
    uint64_t last_id; /* of the last depth update; 0: none */
    uint64_t applied;
    struct side bids;
    struct side asks;
    struct message *early;
    size_t early_count;
    /* Compared at the end, because a bookTicker may arrive before or after its update. */
    struct bests mine;
    struct bests theirs;
    struct book_report report;
};

static void wrong(struct book *book, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void wrong(struct book *book, const char *format, ...)
{
    va_list list;
    if (book->report.wrong[0] != '\0')
        return;
    va_start(list, format);
    vsnprintf(book->report.wrong, sizeof(book->report.wrong), format, list);
    va_end(list);
}

/* Parses "61837.63000000", in units of 1e-8. */
static bool read_decimal(const json_t *value, int64_t *to)
{
    const char *text = json_string_value(value);
    int64_t sum = 0;
    int after = -1; /* digits behind the point; -1: before it */
    if (text == NULL || *text == '\0')
        return false;
    for (; *text != '\0'; text++) {
        if (*text == '.' && after < 0) {
            after = 0;
            continue;
        }
        if (*text < '0' || *text > '9' || after == DECIMALS || sum > INT64_MAX / 100)
            return false;
        sum = sum * 10 + (*text - '0');
        after += after >= 0;
    }
    for (int i = after < 0 ? 0 : after; i < DECIMALS; i++) {
        if (sum > INT64_MAX / 100)
            return false;
        sum *= 10;
    }
    *to = sum;
    return true;
}

/* The index of `price`, or where to insert it. */
static size_t side_find(const struct side *side, int64_t price)
{
    size_t low = 0;
    size_t high = side->count;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (side->levels[middle].price < price)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool side_set(struct side *side, struct level level)
{
    const size_t at = side_find(side, level.price);
    const bool there = at < side->count && side->levels[at].price == level.price;
    struct level *const to = side->levels + at;
    if (level.quantity == 0) {
        if (there)
            memmove(to, to + 1, (--side->count - at) * sizeof(*to));
        return true;
    }
    if (there) {
        *to = level;
        return true;
    }
    if (side->count == side->room) {
        const size_t room = side->room == 0 ? 1024 : side->room * 2;
        struct level *levels =
            room > BOOK_LEVELS_MAX ? NULL : realloc(side->levels, room * sizeof(*levels));
        if (levels == NULL)
            return false;
        side->levels = levels;
        side->room = room;
    }
    memmove(side->levels + at + 1, side->levels + at, (side->count - at) * sizeof(*to));
    side->levels[at] = level;
    side->count++;
    return true;
}

/* Applies [["price", "quantity"], ...]. The quantity replaces the level's; 0 removes the level. */
static void apply_side(struct book *book, struct side *side, const json_t *list)
{
    size_t i;
    json_t *pair;
    if (!json_is_array(list))
        wrong(book, "an update without levels");
    json_array_foreach(list, i, pair)
    {
        struct level level;
        if (!read_decimal(json_array_get(pair, 0), &level.price)
            || !read_decimal(json_array_get(pair, 1), &level.quantity)) {
            wrong(book, "a level without a valid price and quantity");
            return;
        }
        if (!side_set(side, level)) {
            wrong(book, "more than %d levels", BOOK_LEVELS_MAX);
            return;
        }
    }
}

static bool level_equal(struct level a, struct level b)
{
    return a.price == b.price && a.quantity == b.quantity;
}

static void bests_add(struct book *book, struct bests *to, const struct best *best)
{
    if (to->count == to->room) {
        const size_t room = to->room == 0 ? 4096 : to->room * 2;
        struct best *items = realloc(to->items, room * sizeof(*items));
        if (items == NULL) {
            wrong(book, "out of memory");
            return;
        }
        to->items = items;
        to->room = room;
    }
    to->items[to->count++] = *best;
}

static void compare(struct book *book, const struct best *mine, const struct best *theirs)
{
    book->report.compared++;
    if (level_equal(mine->bid, theirs->bid) && level_equal(mine->ask, theirs->ask)) {
        book->report.equal++;
        return;
    }
    wrong(book,
          "at u %" PRIu64 " the book has %.8f @ %.8f and %.8f @ %.8f, bookTicker %" PRIu64
          " %.8f @ %.8f and %.8f @ %.8f",
          mine->id, (double)mine->bid.quantity / 1e8, (double)mine->bid.price / 1e8,
          (double)mine->ask.quantity / 1e8, (double)mine->ask.price / 1e8, theirs->id,
          (double)theirs->bid.quantity / 1e8, (double)theirs->bid.price / 1e8,
          (double)theirs->ask.quantity / 1e8, (double)theirs->ask.price / 1e8);
}

static void take_ticker(struct book *book, const struct message *m)
{
    struct best best = { .id = m->last_id };
    if (!read_decimal(json_object_get(m->data, "b"), &best.bid.price)
        || !read_decimal(json_object_get(m->data, "B"), &best.bid.quantity)
        || !read_decimal(json_object_get(m->data, "a"), &best.ask.price)
        || !read_decimal(json_object_get(m->data, "A"), &best.ask.quantity)) {
        wrong(book, "bookTicker %" PRIu64 " has no valid best bid and ask", m->last_id);
        return;
    }
    const struct bests *theirs = &book->theirs;
    if (theirs->count > 0 && best.id <= theirs->items[theirs->count - 1].id)
        wrong(book, "bookTicker %" PRIu64 " follows %" PRIu64, best.id,
              theirs->items[theirs->count - 1].id);
    bests_add(book, &book->theirs, &best);
}

static void apply_update(struct book *book, const struct message *m)
{
    if (m->last_id <= book->snapshot_id)
        return;
    if (book->applied++ == 0 && m->first_id > book->snapshot_id + 1)
        wrong(book, "the snapshot at %" PRIu64 " does not reach the next update, U %" PRIu64,
              book->snapshot_id, m->first_id);
    apply_side(book, &book->bids, json_object_get(m->data, "b"));
    apply_side(book, &book->asks, json_object_get(m->data, "a"));
    if (book->applied <= BOOK_SETTLE)
        return;
    if (book->bids.count == 0 || book->asks.count == 0) {
        wrong(book, "at u %" PRIu64 " a side of the book is empty", m->last_id);
        return;
    }
    const struct best best = { .id = m->last_id,
                               .bid = book->bids.levels[book->bids.count - 1],
                               .ask = book->asks.levels[0] };
    bests_add(book, &book->mine, &best);
}

/* Takes a depth update. True: the book keeps the message. */
static bool take_depth(struct book *book, const struct message *m)
{
    const bool follows =
        book->futures ? m->before_id == book->last_id : m->first_id == book->last_id + 1;
    if (book->last_id != 0 && !follows)
        wrong(book, "the update U %" PRIu64 " u %" PRIu64 " does not follow u %" PRIu64,
              m->first_id, m->last_id, book->last_id);
    book->last_id = m->last_id;
    book->report.updates++;
    if (book->started) {
        apply_update(book, m);
        return false;
    }
    if (book->early_count == BOOK_EARLY_MAX) {
        wrong(book, "no snapshot before update %d", BOOK_EARLY_MAX);
        return false;
    }
    book->early[book->early_count++] = *m;
    return true;
}

static void take_snapshot(struct book *book, const struct message *m)
{
    if (book->started)
        return; /* updates continue from the first snapshot */
    book->started = true;
    book->snapshot_id = m->last_id;
    apply_side(book, &book->bids, json_object_get(m->data, "bids"));
    apply_side(book, &book->asks, json_object_get(m->data, "asks"));
    for (size_t i = 0; i < book->early_count; i++) {
        apply_update(book, &book->early[i]);
        message_release(&book->early[i]);
    }
    book->early_count = 0;
}

struct book *book_new(bool futures)
{
    struct book *book = calloc(1, sizeof(*book));
    if (book == NULL)
        return NULL;
    book->futures = futures;
    book->early = calloc(BOOK_EARLY_MAX, sizeof(*book->early));
    if (book->early == NULL) {
        book_free(book);
        return NULL;
    }
    return book;
}

void book_line(struct book *book, const char *text, size_t size)
{
    struct message m;
    bool kept = false;
    message_read(&m, text, size);
    if (m.kind == MESSAGE_DEPTH)
        kept = take_depth(book, &m);
    else if (m.kind == MESSAGE_TICKER)
        take_ticker(book, &m);
    else if (m.kind == MESSAGE_SNAPSHOT)
        take_snapshot(book, &m);
    if (!kept)
        message_release(&m);
}

const struct book_report *book_finish(struct book *book)
{
    size_t next = 0; /* index of the first of theirs with a larger id than mine */
    for (size_t i = 0; i < book->mine.count; i++) {
        const struct best *mine = &book->mine.items[i];
        while (next < book->theirs.count && book->theirs.items[next].id <= mine->id)
            next++;
        if (next > 0)
            compare(book, mine, &book->theirs.items[next - 1]);
    }
    if (!book->started)
        wrong(book, "the feed has no snapshot");
    else if (book->report.compared == 0)
        wrong(book, "the feed is too short: nothing could be compared");
    return &book->report;
}

void book_free(struct book *book)
{
    if (book == NULL)
        return;
    for (size_t i = 0; i < book->early_count; i++)
        message_release(&book->early[i]);
    free(book->early);
    free(book->mine.items);
    free(book->theirs.items);
    free(book->bids.levels);
    free(book->asks.levels);
    free(book);
}
