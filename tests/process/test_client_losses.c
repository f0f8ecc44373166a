/* Goal: what readers and operators are told of a loss holds what was lost: exactly after an orderly
 * stop of a broker that keeps its state, between two bounds after a kill.
 * Method: the real library against a real leatd with a state folder, stopped and killed in every
 * order; what was published and not handed out is known here. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/consumers.h"

struct kept_bus {
    struct consumers_bus b;
    char folder[64];
};

static void set_up_with(struct kept_bus *k, unsigned snapshot_ms)
{
    char config[320];
    *k = (struct kept_bus){ .folder = "/tmp/leat-test-losses-XXXXXX" };
    cr_assert_not_null(mkdtemp(k->folder));
    snprintf(config, sizeof config,
             "{\"port\": 0, \"data_port\": 0, \"offsets_snapshot_ms\": %u, \"state_dir\": \"%s\","
             " \"topics\": [{\"name\": \"t\", \"partitions\": 4, \"ring_bytes\": \"1MiB\","
             " \"record_bytes_max\": 4096}]}",
             snapshot_ms, k->folder);
    leatd_start_config(&k->b.broker, config);
    snprintf(k->b.url, sizeof k->b.url, "%s", k->b.broker.url);
    k->b.client = bus_open(k->b.url);
    k->b.producer = bus_producer(k->b.client, "t");
}

static void set_up(struct kept_bus *k)
{
    set_up_with(k, 50);
}

static void tear_down(struct kept_bus *k)
{
    char command[96];
    consumers_tear_down(&k->b);
    snprintf(command, sizeof command, "rm -r %s", k->folder);
    cr_assert_eq(system(command), 0);
}

enum ending { STOPPED, KILLED };

static void end_and_start(struct kept_bus *k, enum ending how)
{
    leat_client_close(k->b.client);
    if (how == STOPPED)
        cr_assert_eq(leatd_stop(&k->b.broker), 0);
    else
        leatd_kill(&k->b.broker);
    leatd_restart(&k->b.broker);
    k->b.client = bus_open(k->b.url);
    k->b.producer = bus_producer(k->b.client, "t");
}

/* A reader: the last GAP of each partition, and what came. */
struct reader_seen {
    leat_client *client;
    leat_consumer *consumer;
    unsigned records, gaps;
    struct leat_event gap[PARTITIONS];
};

static void note(void *user, const struct leat_event *event)
{
    struct reader_seen *r = user;
    cr_assert_neq(event->type, LEAT_EVENT_LOG_RESET);
    if (event->type != LEAT_EVENT_GAP)
        return;
    r->gaps++;
    r->gap[event->partition] = *event;
}

static void reader_open(struct reader_seen *r, const char *url,
                        const struct leat_consumer_options *options)
{
    const char *topic = "t";
    *r = (struct reader_seen){ .client = NULL };
    const struct leat_client_options client = { .size = sizeof client,
                                                .on_event = note,
                                                .user = r,
                                                .backoff_max_ns = SECOND / 10,
                                                .circuit_failures = 100000 };
    cr_assert_eq(leat_client_open(&r->client, url, &client), 0, "%s", leat_client_error(NULL));
    cr_assert_eq(leat_consumer_open(r->client, &r->consumer, &topic, 1, options), 0, "%s",
                 leat_client_error(r->client));
}

static void reader_take(struct reader_seen *r, unsigned records)
{
    for (unsigned turn = 0; r->records < records; turn++) {
        struct leat_record taken[16];
        const unsigned left = records - r->records;
        cr_assert_lt(turn, 20000u, "%u of %u records came", r->records, records);
        const int n = leat_consumer_poll(r->consumer, taken, left < 16 ? left : 16);
        cr_assert_geq(n, 0, "%s", leat_strerror(n));
        r->records += (unsigned)n;
        cr_assert_geq(leat_client_poll(r->client, n > 0 ? 0 : SECOND / 500), 0);
    }
    const int none = leat_consumer_poll(r->consumer, NULL, 0); /* given back */
    cr_assert_eq(none, 0);
}

static const struct leat_consumer_options PLAIN = { .size = sizeof PLAIN,
                                                    .start_at = LEAT_START_EARLIEST };

/* Three lives of the broker: the reader has all of the first but `left` records a partition, and is
 * away for the second, of `more`. */
static void lives(const enum ending ends[2], unsigned left, unsigned more)
{
    struct kept_bus k;
    struct reader_seen r;
    set_up(&k);
    consumers_publish(&k.b, 10);
    reader_open(&r, k.b.url, &PLAIN);
    reader_take(&r, 10 * PARTITIONS);
    consumers_publish(&k.b, left);
    end_and_start(&k, ends[0]);
    consumers_publish(&k.b, more);
    end_and_start(&k, ends[1]);
    consumers_publish(&k.b, 1);
    reader_take(&r, 11 * PARTITIONS);
    const bool exact = ends[0] == STOPPED && ends[1] == STOPPED;
    const unsigned lost = left + more;
    cr_assert_eq(r.gaps, lost == 0 && exact ? 0u : (unsigned)PARTITIONS);
    for (int p = 0; p < PARTITIONS && r.gaps != 0; p++) {
        const struct leat_event *e = &r.gap[p];
        cr_assert_eq(e->reason, LEAT_REASON_LOG_RESTARTED);
        cr_assert_eq(e->first_offset, 10u);
        cr_assert_eq(e->lost_at_most, e->next_offset - e->first_offset);
        cr_assert_leq(e->lost_at_least, lost);
        cr_assert_geq(e->lost_at_most, lost);
        cr_assert_eq(e->lost_at_least == e->lost_at_most, exact, "%lu..%lu of %u",
                     (unsigned long)e->lost_at_least, (unsigned long)e->lost_at_most, lost);
        /* What a life had that ended in order, after every kill, is certain. */
        if (ends[0] == KILLED && ends[1] == STOPPED)
            cr_assert_geq(e->lost_at_least, more);
    }
    leat_client_close(r.client);
    tear_down(&k);
}

Test(losses, orderly_stops_lose_what_they_say, .timeout = 120)
{
    lives((const enum ending[]){ STOPPED, STOPPED }, 7, 5);
}

Test(losses, orderly_stops_that_lose_nothing_say_nothing, .timeout = 120)
{
    lives((const enum ending[]){ STOPPED, STOPPED }, 0, 0);
}

/* The first one was orderly: that must not be believed of the second. */
Test(losses, a_kill_after_an_orderly_stop_is_a_kill, .timeout = 120)
{
    lives((const enum ending[]){ STOPPED, KILLED }, 7, 5);
}

Test(losses, a_kill_before_an_orderly_stop_stays_one, .timeout = 120)
{
    lives((const enum ending[]){ KILLED, STOPPED }, 7, 5);
}

Test(losses, kills_lose_at_most_what_they_say, .timeout = 120)
{
    lives((const enum ending[]){ KILLED, KILLED }, 7, 5);
}

/* ---- what a group lost */

struct group_losses {
    uint64_t at_least[PARTITIONS], at_most[PARTITIONS];
};

static void note_losses(void *user, const struct leat_group_description *d)
{
    struct group_losses *losses = user;
    cr_assert_eq(d->partition_count, (uint32_t)PARTITIONS);
    for (int p = 0; p < PARTITIONS; p++) {
        losses->at_least[p] = d->partitions[p].lost_at_least;
        losses->at_most[p] = d->partitions[p].lost_at_most;
    }
}

static void check_losses(struct kept_bus *k, const struct reader_seen *r, unsigned lost)
{
    struct group_losses losses;
    cr_assert_eq(leat_group_describe(k->b.client, "g", NULL, note_losses, &losses), 0, "%s",
                 leat_client_error(k->b.client));
    for (int p = 0; p < PARTITIONS; p++) {
        const struct leat_event *e = &r->gap[p];
        cr_assert_eq(e->first_offset, 10u);
        cr_assert_leq(losses.at_least[p], lost);
        cr_assert_geq(losses.at_most[p], lost);
        cr_assert_eq(losses.at_least[p], e->lost_at_least);
        cr_assert_eq(losses.at_most[p], e->lost_at_most);
    }
}

/* The broker is killed and knows nothing of the group, or an old place: its member knows better. */
static void member_comes_back(unsigned snapshot_ms)
{
    struct kept_bus k;
    struct reader_seen r;
    const struct leat_consumer_options options = consumers_in_group(NULL);
    set_up_with(&k, snapshot_ms);
    consumers_publish(&k.b, 10);
    reader_open(&r, k.b.url, &options);
    reader_take(&r, 10 * PARTITIONS);
    cr_assert_eq(leat_consumer_commit_wait(r.consumer, PATIENCE), 0);
    consumers_publish(&k.b, 7);
    end_and_start(&k, KILLED);
    consumers_publish(&k.b, 1);
    reader_take(&r, 11 * PARTITIONS);
    cr_assert_eq(r.gaps, (unsigned)PARTITIONS);
    check_losses(&k, &r, 7);
    leat_client_close(r.client);
    tear_down(&k);
}

Test(losses, a_group_that_was_in_no_snapshot_is_told_of_and_counted, .timeout = 120)
{
    member_comes_back(0);
}

Test(losses, a_member_that_comes_back_brings_what_it_committed, .timeout = 120)
{
    member_comes_back(3600000);
}

static void count(void *user, const char *topic, uint32_t partition)
{
    (void)topic;
    (void)partition;
    ++*(unsigned *)user;
}

static bool has_some(const struct reader_seen *r)
{
    unsigned partitions = 0;
    cr_assert_eq(leat_consumer_assignment(r->consumer, count, &partitions), 0);
    return partitions != 0;
}

/* Nobody who comes back stood there: all the log ever had may be lost, and no more is claimed. */
Test(losses, a_group_whose_place_nobody_knows_lost_at_most_everything, .timeout = 120)
{
    struct kept_bus k;
    struct reader_seen r[2];
    struct group_losses losses;
    const struct leat_consumer_options options = consumers_in_group(NULL);
    set_up_with(&k, 0);
    consumers_publish(&k.b, 10);
    for (int i = 0; i < 2; i++)
        reader_open(&r[i], k.b.url, &options);
    for (unsigned turn = 0; r[0].records + r[1].records < 10 * PARTITIONS || !has_some(&r[1]);
         turn++) {
        cr_assert_lt(turn, 20000u);
        for (int i = 0; i < 2; i++) {
            struct leat_record taken[16];
            const int n = leat_consumer_poll(r[i].consumer, taken, 16);
            cr_assert_geq(n, 0);
            r[i].records += (unsigned)n;
            cr_assert_geq(leat_client_poll(r[i].client, SECOND / 500), 0);
        }
    }
    leat_client_close(r[1].client);
    r[0].records = 0;
    end_and_start(&k, KILLED);
    consumers_publish(&k.b, 1);
    reader_take(&r[0], PARTITIONS);
    cr_assert_eq(leat_group_describe(k.b.client, "g", NULL, note_losses, &losses), 0);
    unsigned unknown = 0;
    for (int p = 0; p < PARTITIONS; p++) {
        const struct leat_event *e = &r[0].gap[p];
        cr_assert_eq(e->lost_at_most, e->next_offset - e->first_offset);
        cr_assert_eq(losses.at_most[p], e->lost_at_most);
        cr_assert_eq(losses.at_least[p], e->lost_at_least);
        unknown += e->first_offset == 0 && e->lost_at_least == 0;
    }
    cr_assert(unknown > 0 && unknown < PARTITIONS, "%u", unknown);
    leat_client_close(r[0].client);
    tear_down(&k);
}

/* A gap that was found and not told yet does not go with a seek. */
Test(losses, a_seek_does_not_swallow_a_gap, .timeout = 120)
{
    struct kept_bus k;
    struct reader_seen r;
    set_up(&k);
    consumers_publish(&k.b, 10);
    reader_open(&r, k.b.url, &PLAIN);
    reader_take(&r, 10 * PARTITIONS);
    consumers_publish(&k.b, 7);
    end_and_start(&k, KILLED);
    consumers_publish(&k.b, 4);
    for (uint32_t p = 0; p < PARTITIONS; p++) { /* no record is taken meanwhile */
        uint64_t offset = 0;
        while (leat_consumer_position(r.consumer, "t", p, &offset) == 0 && offset <= 17)
            cr_assert_geq(leat_client_poll(r.client, SECOND), 0);
        cr_assert_eq(leat_consumer_seek(r.consumer, "t", p, LEAT_START_OFFSET, offset + 2), 0);
        cr_assert_eq(r.gap[p].first_offset, 10u);
        cr_assert_eq(r.gap[p].next_offset, offset);
    }
    r.records = 0;
    reader_take(&r, 2 * PARTITIONS);
    cr_assert_eq(r.gaps, (unsigned)PARTITIONS);
    leat_client_close(r.client);
    tear_down(&k);
}
