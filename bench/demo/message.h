/* Message: one line of a market-data feed, parsed as far as an order book needs it.
 *
 * Role: recognises depth updates, best quotes, trades and snapshots of Binance's JSON streams, with
 * or without a leading time of receipt, bare or wrapped with the name of a stream.
 * Must not know: books, topics.
 * Threads: any. */
#ifndef LEAT_BENCH_DEMO_MESSAGE_H
#define LEAT_BENCH_DEMO_MESSAGE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum message_kind { MESSAGE_OTHER, MESSAGE_DEPTH, MESSAGE_TICKER, MESSAGE_TRADE, MESSAGE_SNAPSHOT };

struct message {
    enum message_kind kind;
    uint64_t first_id;  /* depth: U */
    uint64_t last_id;   /* depth and ticker: u; snapshot: lastUpdateId */
    bool chained;       /* depth: has pu (futures) */
    uint64_t before_id; /* depth: pu */
    json_t *root;
    json_t *data; /* borrowed from root */
};

/* Parses a line; unrecognised ones are MESSAGE_OTHER. End with message_release. */
void message_read(struct message *m, const char *text, size_t size);
void message_release(struct message *m);

/* Parses the time that begins the line, "1723161253937085768 " (ns) or "1297814400.006437 " (s),
 * into nanoseconds. False: there is none. */
bool message_time(const char *text, size_t size, uint64_t *ns);

#endif
