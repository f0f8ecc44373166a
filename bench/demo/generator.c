/* Generator: a synthetic feed of depth updates, quotes and trades. */
#include "bench/demo/generator.h"

#include <stdio.h>

enum {
    LEVELS = 20,
    PRICE = 6000000, /* initial price, in hundredths */
    FIRST_UPDATE = 1000,
    SPACING_NS = 2000000, /* about the maximum between two updates */
};
#define FIRST_TIME_NS UINT64_C(1700000000000000000)

/* The best bid is at `middle`, the best ask one tick above. */
struct market {
    FILE *out;
    uint64_t random;
    uint64_t update; /* the last update's id */
    uint64_t time_ns;
    long middle;
    unsigned bids[LEVELS], asks[LEVELS]; /* quantities, by distance from the middle */
};

static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15); /* splitmix64, S. Vigna */
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

/* Writes the levels at distances from .. to - 1. Nonexistent ones get quantity 0, which removes
 * them.
 */
static void write_levels(const struct market *m, const char *name, bool bids, int from, int to)
{
    fprintf(m->out, "\"%s\":[", name);
    for (int i = from; i < to; i++) {
        const long price = bids ? m->middle - i : m->middle + 1 + i;
        const unsigned quantity = i < 0 || i >= LEVELS ? 0 : bids ? m->bids[i] : m->asks[i];
        fprintf(m->out, "%s[\"%ld.%02ld\",\"%u.000\"]", i == from ? "" : ",", price / 100,
                price % 100, quantity);
    }
    fputc(']', m->out);
}

static void draw_quantities(struct market *m)
{
    for (int i = 0; i < LEVELS; i++) {
        m->bids[i] = 1 + (unsigned)(next_random(&m->random) % 50);
        m->asks[i] = 1 + (unsigned)(next_random(&m->random) % 50);
    }
}

static void write_ticker(const struct market *m)
{
    fprintf(
        m->out,
        "%llu "
        "{\"stream\":\"test@bookTicker\",\"data\":{\"u\":%llu,\"s\":\"TEST\",\"b\":\"%ld.%02ld\","
        "\"B\":\"%u.000\",\"a\":\"%ld.%02ld\",\"A\":\"%u.000\"}}\n",
        (unsigned long long)m->time_ns, (unsigned long long)m->update, m->middle / 100,
        m->middle % 100, m->bids[0], (m->middle + 1) / 100, (m->middle + 1) % 100, m->asks[0]);
}

static void step(struct market *m)
{
    const uint64_t first = m->update + 1;
    m->time_ns += SPACING_NS / 10 + next_random(&m->random) % SPACING_NS;
    m->update += 1 + next_random(&m->random) % 5;
    m->middle += (long)(next_random(&m->random) % 3) - 1;
    draw_quantities(m);
    fprintf(m->out,
            "%llu "
            "{\"stream\":\"test@depth\",\"data\":{\"e\":\"depthUpdate\",\"s\":\"TEST\",\"U\":%llu,"
            "\"u\":%llu,",
            (unsigned long long)m->time_ns, (unsigned long long)first,
            (unsigned long long)m->update);
    /* One more at each end, to remove a level left behind by a move of one tick. */
    write_levels(m, "b", true, -1, LEVELS + 1);
    fputc(',', m->out);
    write_levels(m, "a", false, -1, LEVELS + 1);
    fprintf(m->out, "}}\n");
    write_ticker(m);
    if (next_random(&m->random) % 3 == 0)
        fprintf(m->out,
                "%llu "
                "{\"stream\":\"test@trade\",\"data\":{\"e\":\"trade\",\"s\":\"TEST\",\"p\":\"%ld.%"
                "02ld\","
                "\"q\":\"%u.000\"}}\n",
                (unsigned long long)m->time_ns, m->middle / 100, m->middle % 100, m->bids[0]);
}

bool generate_feed(char **bytes, size_t *size, uint64_t seed, unsigned updates)
{
    struct market m = {
        .random = seed, .middle = PRICE, .update = FIRST_UPDATE, .time_ns = FIRST_TIME_NS
    };
    m.out = open_memstream(bytes, size);
    if (m.out == NULL)
        return false;
    draw_quantities(&m);
    fprintf(m.out, "%llu {\"lastUpdateId\":%llu,", (unsigned long long)m.time_ns,
            (unsigned long long)m.update);
    write_levels(&m, "bids", true, 0, LEVELS);
    fputc(',', m.out);
    write_levels(&m, "asks", false, 0, LEVELS);
    fprintf(m.out, "}\n");
    for (unsigned i = 0; i < updates; i++)
        step(&m);
    return fclose(m.out) == 0;
}
