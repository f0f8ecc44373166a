/* Message: one line of a market-data feed, parsed as far as an order book needs it. */
#include "bench/demo/message.h"

#include <string.h>

static uint64_t number(const json_t *object, const char *name)
{
    return (uint64_t)json_integer_value(json_object_get(object, name));
}

static bool has(const json_t *object, const char *name)
{
    return json_object_get(object, name) != NULL;
}

static enum message_kind kind_of(const json_t *data)
{
    const char *event = json_string_value(json_object_get(data, "e"));
    if (has(data, "lastUpdateId") && has(data, "bids") && has(data, "asks"))
        return MESSAGE_SNAPSHOT;
    if (event == NULL || strcmp(event, "bookTicker") == 0) {
        const bool quote =
            has(data, "u") && has(data, "b") && has(data, "B") && has(data, "a") && has(data, "A");
        return quote ? MESSAGE_TICKER : MESSAGE_OTHER;
    }
    if (strcmp(event, "depthUpdate") == 0 && has(data, "U") && has(data, "u"))
        return MESSAGE_DEPTH;
    return strcmp(event, "trade") == 0 || strcmp(event, "aggTrade") == 0 ? MESSAGE_TRADE
                                                                         : MESSAGE_OTHER;
}

void message_read(struct message *m, const char *text, size_t size)
{
    const char *begin = memchr(text, '{', size);
    *m = (struct message){ .kind = MESSAGE_OTHER };
    if (begin == NULL)
        return;
    m->root = json_loadb(begin, size - (size_t)(begin - text), 0, NULL);
    if (m->root == NULL)
        return;
    m->data = has(m->root, "stream") ? json_object_get(m->root, "data") : m->root;
    m->kind = kind_of(m->data);
    m->first_id = number(m->data, "U");
    m->last_id = number(m->data, m->kind == MESSAGE_SNAPSHOT ? "lastUpdateId" : "u");
    m->chained = has(m->data, "pu");
    m->before_id = number(m->data, "pu");
}

void message_release(struct message *m)
{
    json_decref(m->root);
    m->root = NULL;
}

bool message_time(const char *text, size_t size, uint64_t *ns)
{
    uint64_t whole = 0;
    uint64_t fraction = 0;
    uint64_t unit = 1000000000;
    size_t at = 0;
    for (; at < size && text[at] >= '0' && text[at] <= '9' && at < 19; at++)
        whole = whole * 10 + (uint64_t)(text[at] - '0');
    if (at < 10 || at == size)
        return false;
    if (text[at] == '.') {
        for (at++; at < size && text[at] >= '0' && text[at] <= '9'; at++) {
            unit /= 10;
            fraction += (uint64_t)(text[at] - '0') * unit;
        }
        /* With a decimal point the number counts seconds; this one would overflow. */
        if (whole > UINT64_MAX / 1000000000 - 1)
            return false;
        whole *= 1000000000;
    }
    if (at == size || text[at] != ' ')
        return false;
    *ns = whole + fraction;
    return true;
}
