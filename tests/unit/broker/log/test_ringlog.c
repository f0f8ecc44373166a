/* Goal: bytes come back by position over many laps, and a pinned chunk is never overwritten.
 * Method: random appends and releases against what was written (printed seed); pins of every chunk.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "broker/log/ringlog.h"
#include "tests/support/seeded.h"

enum { RING = 1 << 17 };

static struct logmem_budget budget = { .limit_bytes = 1 << 20, .pages = LOGMEM_NORMAL };

static struct ringlog open_log(uint64_t first_position)
{
    struct ringlog log;
    uint64_t missing;
    cr_assert_eq(ringlog_open(&log, RING, first_position, &budget, &missing), LEAT_OK);
    return log;
}

/* The byte that stands at a position in these tests. */
static uint8_t byte_at(uint64_t position)
{
    return (uint8_t)(position * 2654435761u >> 13);
}

static void append(struct ringlog *log, uint64_t size)
{
    static uint8_t bytes[RING];
    for (uint64_t i = 0; i < size; i++)
        bytes[i] = byte_at(log->tail + i);
    ringlog_append(log, bytes, size);
}

Test(ringlog, every_position_reads_back_until_it_is_released)
{
    struct seeded random = seeded_start("ringlog");
    const uint64_t begins[] = { 0, 8, RING - 8, (UINT64_C(1) << 50) + 5 * RING / 8 };
    for (size_t k = 0; k < sizeof begins / sizeof begins[0]; k++) {
        struct ringlog log = open_log(begins[k]);
        cr_assert(log.head == begins[k] && log.tail == begins[k] && ringlog_free(&log) == RING);
        while (log.tail - begins[k] < 10u * RING) {
            const uint64_t size = 1 + seeded_below(&random, RING / 3);
            if (ringlog_free(&log) < size)
                ringlog_release(&log, log.head + size);
            append(&log, size);
            const uint64_t span = log.tail - log.head;
            const uint64_t from = log.head + seeded_next(&random) % span;
            const uint8_t *bytes = ringlog_at(&log, from);
            for (uint64_t i = from; i < log.tail; i++)
                cr_assert(bytes[i - from] == byte_at(i), "position %lu", (unsigned long)i);
        }
        ringlog_close(&log, &budget);
    }
}

static void check_pins(uint64_t first_position)
{
    struct ringlog log = open_log(first_position);
    append(&log, RING);
    for (uint64_t back = 1; back <= RING / LEAT_CHUNK_BYTES / 2; back++) {
        const uint64_t position = log.tail - back * LEAT_CHUNK_BYTES;
        const uint64_t ahead = RING - back * LEAT_CHUNK_BYTES; /* until the chunk is reached */
        const uint32_t chunk = ringlog_pin(&log, position + 8, 100);
        cr_assert_eq(ringlog_pin(&log, position + 300, 1), chunk);
        if (ahead != 0)
            cr_assert_not(ringlog_pinned(&log, ahead), "back %lu", (unsigned long)back);
        cr_assert(ringlog_pinned(&log, ahead + 1));
        cr_assert(ringlog_pinned(&log, RING));
        ringlog_unpin(&log, chunk);
        cr_assert(ringlog_pinned(&log, ahead + 1), "pinned twice");
        ringlog_unpin(&log, chunk);
        cr_assert_not(ringlog_pinned(&log, RING));
    }
    ringlog_close(&log, &budget);
}

Test(ringlog, a_pinned_chunk_stops_the_writer_and_only_when_it_gets_there)
{
    check_pins(0);
    check_pins(UINT64_C(7) * RING + LEAT_CHUNK_BYTES);
}

Test(ringlog, pins_of_new_bytes_in_the_tails_own_chunk_do_not_stop_it)
{
    struct ringlog log = open_log(0);
    append(&log, RING + 0);
    ringlog_release(&log, 1000);
    append(&log, 1000);
    const uint32_t chunk = ringlog_pin(&log, log.tail - 500, 500);
    cr_assert_not(ringlog_pinned(&log, 2000));
    cr_assert(ringlog_pinned(&log, RING), "but a lap later they do");
    ringlog_unpin(&log, chunk);
    ringlog_close(&log, &budget);
}
