/* Goal: in the steady state no record costs the client an allocation, published or consumed.
 * Method: malloc and its family are counted in this process, around 200,000 records that go through
 * a real leatd and back, over each transport. */
#include <criterion/criterion.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "client/leat.h"
#include "tests/support/bus.h"
#include "tests/support/leatd.h"
#include "tests/support/sanitized.h"

enum { WARM_UP = 20000, COUNT = 200000 };

static _Thread_local bool counting;
static _Thread_local uint64_t allocations;

#if !SANITIZED
/* glibc's own names behind the public ones, so that nothing is needed before it can count. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);
void *malloc(size_t size);
void *calloc(size_t count, size_t size);
void *realloc(void *block, size_t size);

void *malloc(size_t size)
{
    allocations += counting;
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    allocations += counting;
    return __libc_calloc(count, size);
}

void *realloc(void *block, size_t size)
{
    allocations += counting;
    return __libc_realloc(block, size);
}

#endif

static uint64_t answered;
static void on_delivery(void *user, const struct leat_delivery *delivery)
{
    (void)user;
    answered += delivery->status == 0;
}

static void pump(leat_client *client, leat_producer *producer, leat_consumer *consumer,
                 uint64_t count)
{
    static uint8_t value[100];
    const struct leat_header header = { .name = "h", .value = "v", .value_size = 1 };
    uint64_t sent = 0, received = 0;
    while (received < count) {
        for (int i = 0; i < 50 && sent < count; i++) {
            const struct leat_record record = { .key = &sent,
                                                .key_size = sizeof sent,
                                                .value = value,
                                                .value_size = sizeof value,
                                                .headers = &header,
                                                .headers_count = 1,
                                                .partition = LEAT_ANY_PARTITION };
            if (leat_producer_send(producer, &record) != 0)
                break;
            sent++;
        }
        struct leat_record records[128];
        leat_client_poll(client, received == sent ? SECOND : 0);
        received += (uint64_t)leat_consumer_poll(consumer, records, 128);
    }
}

/* `most`: what the control connection may cost meanwhile. */
static void run(const char *way, const char *group, uint64_t most)
{
    const struct leat_consumer_options consumer_options = { .size = sizeof consumer_options,
                                                            .group = group };
    if (SANITIZED)
        cr_skip_test("a sanitizer has the allocator to itself");
    struct leatd broker;
    leat_client *client;
    leat_producer *producer;
    leat_consumer *consumer;
    leatd_start(&broker);
    cr_assert_eq(leat_client_open(&client, bus_url(way, broker.url), NULL), 0);
    const struct leat_topic_settings settings = { .size = sizeof settings,
                                                  .partitions = 4,
                                                  .ring_bytes = 16 << 20 }; /* for all of them */
    cr_assert_eq(leat_topic_create(client, "t", &settings), 0, "%s", leat_client_error(client));
    const struct leat_producer_options options = { .size = sizeof options,
                                                   .on_delivery = on_delivery };
    cr_assert_eq(leat_producer_open(client, &producer, "t", &options), 0);
    const char *topic = "t";
    cr_assert_eq(leat_consumer_open(client, &consumer, &topic, 1, &consumer_options), 0, "%s",
                 leat_client_error(client));
    pump(client, producer, consumer, WARM_UP);

    counting = true;
    void *volatile block = malloc(1); /* volatile: the compiler may not see through it */
    free(block);
    cr_assert_eq(allocations, 1u, "the counter works");
    allocations = 0;
    pump(client, producer, consumer, COUNT);
    counting = false;
    cr_expect_leq(allocations, most, "%llu allocations for %d records",
                  (unsigned long long)allocations, COUNT);
    leat_producer_flush(producer, 10 * SECOND);
    cr_assert_eq(answered, (uint64_t)(WARM_UP + COUNT));
    leat_client_close(client);
    leatd_end(&broker);
}

BUS_TEST(client, a_record_costs_no_allocation)
{
    run(way, NULL, 4); /* pings */
}

BUS_TEST(client, a_record_of_a_group_costs_none_with_its_commits)
{
    run(way, "g", 100); /* heartbeats */
}
