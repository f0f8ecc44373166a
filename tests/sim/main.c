/* Goal: whatever the wire does and whoever is stopped or restarted, every acknowledged record is
 * delivered to every subscriber exactly once and in order, or lies in one exact GAP; no credit is
 * overrun, every buffer comes back, and when the faults end everything goes on.
 * Method: the real broker (control plane and shard) and two real clients in one process, in
 * simulated time, their packets over a fabric that a seed breaks; then the ledger is checked. A
 * failing seed is printed and replays: sim --seed S. */
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <urcu-qsbr.h>

#include "broker/partition.h"
#include "client/client_core.h"
#include "client/leat.h"
#include "ops/log.h"
#include "tests/sim/broker.h"
#include "tests/sim/ledger.h"

enum {
    CLIENTS = 2,
    PARTITIONS = 2,
    LEDGERS_MAX = 32,
    PHASES_MAX = 6,
    RECORDS_MAX = 600, /* of most runs */
    VALUE_MAX = 4000,
    POLLS_MAX = 32,
    CLIENT_HOST = 2, /* and one more each */
};
#define START_NS (100 * LEAT_NS_PER_S)
#define PATIENCE_NS (120 * LEAT_NS_PER_S) /* until everything has settled, after the last fault */

struct sim_client {
    struct sim *sim;
    unsigned index;
    unsigned lives;
    leat_client *client;
    leat_producer *producer;
    leat_consumer *consumer;
    leat_ns send_at, read_at, stalled_until;
    leat_ns read_every; /* 0: whenever it can */
};

struct sim {
    uint64_t seed;
    struct seeded random;
    bool verbose;
    leat_ns now;
    struct fabric *fabric;
    struct sim_broker broker;
    uint32_t incarnation;
    uint16_t control_port;
    leat_ns broker_stalled_until;
    bool broker_restarts; /* this run has them */
    struct sim_client clients[CLIENTS];
    struct ledger ledgers[LEDGERS_MAX];
    unsigned ledger_partition[LEDGERS_MAX];
    unsigned ledger_count;
    uint64_t records;
    uint64_t sends_left;
};

/* Of all runs. */
static struct {
    uint64_t runs, records, acked, delivered, lost_in_gaps, gaps, reconnects;
    uint64_t stalls, cuts, client_restarts, broker_restarts;
    struct fabric_counters fabric;
} total;

static _Noreturn void broken(void *user, const char *what, uint64_t a, uint64_t b)
{
    const struct sim *sim = user;
    fprintf(stderr,
            "FAILED: seed %" PRIu64 ", at %.6f s: %s (%" PRIu64 ", %" PRIu64
            ")\nreplay: sim --seed "
            "%" PRIu64 " --verbose\n",
            sim->seed, (double)(sim->now - START_NS) / 1e9, what, a, b, sim->seed);
    exit(EXIT_FAILURE);
}

__attribute__((format(printf, 2, 3))) static void tell(const struct sim *sim, const char *format,
                                                       ...)
{
    va_list list;
    if (!sim->verbose)
        return;
    fprintf(stderr, "%12.6f ", (double)(sim->now - START_NS) / 1e9);
    va_start(list, format);
    vfprintf(stderr, format, list);
    va_end(list);
    fputc('\n', stderr);
}

static leat_ns between(struct sim *sim, leat_ns low, leat_ns high)
{
    return low + seeded_next(&sim->random) % (high - low);
}

/* ---- records and what became of them */

static struct ledger *ledger_of(struct sim *sim, unsigned partition, uint64_t log_epoch)
{
    for (unsigned i = 0; i < sim->ledger_count; i++) {
        if (sim->ledgers[i].log_epoch == log_epoch && sim->ledger_partition[i] == partition)
            return &sim->ledgers[i];
    }
    if (sim->ledger_count == LEDGERS_MAX)
        broken(sim, "more logs than there can be", partition, log_epoch);
    sim->ledger_partition[sim->ledger_count] = partition;
    struct ledger *ledger = &sim->ledgers[sim->ledger_count++];
    ledger_open(ledger, log_epoch, broken, sim);
    return ledger;
}

/* The bytes of record `id`: all of them follow from it. */
static uint32_t make_value(uint64_t id, uint8_t value[VALUE_MAX])
{
    struct seeded random = { .state = id * 31 + 7 };
    const uint32_t size = seeded_below(&random, 12) == 0 ? 8 + seeded_below(&random, VALUE_MAX - 8)
                                                         : 8 + seeded_below(&random, 250);
    memcpy(value, &id, sizeof id);
    seeded_fill(&random, value + 8, size - 8);
    return size;
}

static void on_delivery(void *user, const struct leat_delivery *delivery)
{
    struct sim_client *c = user;
    struct sim *sim = c->sim;
    switch (delivery->status) {
    case LEAT_OK:
        total.acked++;
        ledger_acked(ledger_of(sim, (unsigned)delivery->partition, delivery->log_epoch),
                     delivery->offset, delivery->cookie);
        break;
    case LEAT_ERR_DUPLICATE: total.acked++; break; /* in the log, its offset no longer known */
    case LEAT_ERR_CLOSED: break;                   /* its client was restarted */
    default:
        broken(sim, "a record was refused: status, record", (uint64_t)-delivery->status,
               delivery->cookie);
    }
}

static void on_event(void *user, const struct leat_event *event)
{
    struct sim_client *c = user;
    struct sim *sim = c->sim;
    tell(sim, "client %u: event %d error %d partition %d [%" PRIu64 ", %" PRIu64 ") %s", c->index,
         event->type, event->error, event->partition, event->first_offset, event->next_offset,
         event->text != NULL ? event->text : "");
    switch (event->type) {
    case LEAT_EVENT_GAP: {
        struct ledger *ledger = ledger_of(sim, (unsigned)event->partition, event->log_epoch);
        total.gaps++;
        if (event->reason == LEAT_REASON_LOG_RESTARTED) {
            ledger_reader_at(ledger, c->index, event->next_offset);
            break;
        }
        ledger_gap(ledger, c->index, event->first_offset, event->next_offset);
        total.lost_in_gaps += event->next_offset - event->first_offset;
        break;
    }
    case LEAT_EVENT_LOG_RESET:
        ledger_reader_at(ledger_of(sim, (unsigned)event->partition, event->log_epoch), c->index,
                         event->next_offset);
        break;
    case LEAT_EVENT_DISCONNECTED:
        total.reconnects++;
        if (event->error == LEAT_ERR_PROTOCOL)
            broken(sim, "a side broke the protocol: client", c->index, 0);
        break;
    case LEAT_EVENT_BAD_BATCH: broken(sim, "a batch failed its checks", c->index, 0);
    case LEAT_EVENT_PRODUCER_FENCED: broken(sim, "a producer was fenced", c->index, 0);
    case LEAT_EVENT_TOPIC_DELETED:
        if (!sim->broker_restarts)
            broken(sim, "the topic is gone", c->index, 0);
        break;
    default: break;
    }
}

/* ---- time */

static leat_ns hook_clock(void *context)
{
    const struct sim_client *c = context;
    return c->sim->now;
}

static int64_t hook_wall(void *context)
{
    const struct sim_client *c = context;
    return INT64_C(1700000000000000000) + (int64_t)c->sim->now;
}

static void earliest(leat_ns *first, leat_ns when)
{
    *first = when < *first ? when : *first;
}

static bool step_broker(struct sim *sim)
{
    if (sim->now < sim->broker_stalled_until)
        return false;
    return sim_broker_step(&sim->broker, sim->now);
}

/* When the wire or the broker has something to do. */
static leat_ns next_of_broker(const struct sim *sim)
{
    leat_ns next = fabric_next(sim->fabric);
    if (sim->now < sim->broker_stalled_until)
        earliest(&next, sim->broker_stalled_until);
    else
        earliest(&next, sim_broker_deadline(&sim->broker));
    return next;
}

static void go_to(struct sim *sim, leat_ns when)
{
    sim->now = when > sim->now ? when : sim->now + 1;
    fabric_now(sim->fabric, sim->now);
}

/* A client waits: the broker and the wire go on, the other client does not. */
static void hook_wait(void *context, leat_ns until)
{
    struct sim *sim = ((struct sim_client *)context)->sim;
    if (step_broker(sim))
        return; /* what it said over control is there at once */
    leat_ns next = next_of_broker(sim);
    earliest(&next, until);
    go_to(sim, next);
    step_broker(sim);
}

static struct link *hook_link(void *context)
{
    const struct sim_client *c = context;
    /* Each life has a port of its own, as each process has. */
    return fabric_link(c->sim->fabric, (uint8_t)(CLIENT_HOST + c->index),
                       (uint16_t)(1000 + c->lives));
}

/* ---- clients */

static void close_client(struct sim_client *c)
{
    leat_client_close(c->client);
    c->client = NULL;
    c->producer = NULL;
    c->consumer = NULL;
}

/* May fail while the wire is cut: tried again later. */
static void open_client(struct sim_client *c)
{
    struct sim *sim = c->sim;
    char url[64];
    const struct client_hooks hooks = { .context = c,
                                        .clock = hook_clock,
                                        .wall = hook_wall,
                                        .wait = hook_wait,
                                        .link_open = hook_link,
                                        .seed = sim->seed + c->index + 1 };
    const struct leat_client_options options = {
        .size = sizeof options, .on_event = on_event, .user = c, .circuit_failures = 1000
    };
    const struct leat_producer_options producing = { .size = sizeof producing,
                                                     .on_delivery = on_delivery,
                                                     .user = c,
                                                     .batch_bytes_max = 8192,
                                                     .in_flight_batches = 16 };
    const struct leat_consumer_options consuming = { .size = sizeof consuming,
                                                     .start_at = LEAT_START_EARLIEST,
                                                     .window_bytes = 32768 };
    const char *topic = SIM_TOPIC;
    c->lives++;
    snprintf(url, sizeof url, "udp://127.0.0.1:%u", sim->control_port);
    for (unsigned i = 0; i < sim->ledger_count; i++)
        sim->ledgers[i].readers[c->index].started = false;
    int error = client_open(&c->client, url, &options, &hooks);
    if (error != LEAT_OK) {
        c->client = NULL;
        return;
    }
    error = leat_producer_open(c->client, &c->producer, topic, &producing);
    if (error == LEAT_OK)
        error = leat_consumer_open(c->client, &c->consumer, &topic, 1, &consuming);
    tell(sim, "client %u: opened, %d", c->index, error);
    if (error != LEAT_OK)
        close_client(c);
}

static void send_some(struct sim_client *c)
{
    struct sim *sim = c->sim;
    uint8_t value[VALUE_MAX];
    for (uint32_t n = 1 + seeded_below(&sim->random, 8); n > 0 && sim->sends_left > 0; n--) {
        const uint64_t id = sim->records;
        const struct leat_record record = {
            .value = value,
            .value_size = make_value(id, value),
            .partition = (int32_t)seeded_below(&sim->random, PARTITIONS),
            .cookie = id,
        };
        if (leat_producer_send(c->producer, &record) != LEAT_OK)
            break; /* no room: later */
        sim->records++;
        sim->sends_left--;
    }
    c->send_at = sim->now + between(sim, 1000, 300000);
}

static bool read_some(struct sim_client *c)
{
    struct sim *sim = c->sim;
    struct leat_record records[64];
    uint8_t value[VALUE_MAX];
    const int n = leat_consumer_poll(c->consumer, records, 1 + seeded_below(&sim->random, 64));
    for (int i = 0; i < n; i++) {
        const struct leat_record *r = &records[i];
        uint64_t id;
        memcpy(&id, r->value, sizeof id);
        if (r->value_size != make_value(id, value) || memcmp(value, r->value, r->value_size) != 0)
            broken(sim, "a record's bytes are not its own: offset, record", r->offset, id);
        ledger_delivered(ledger_of(sim, (unsigned)r->partition, r->log_epoch), c->index, r->offset,
                         id);
        total.delivered++;
    }
    if (c->read_every != 0)
        c->read_at = sim->now + between(sim, 1, c->read_every);
    return n > 0;
}

static void step_client(struct sim_client *c)
{
    struct sim *sim = c->sim;
    if (sim->now < c->stalled_until)
        return;
    if (c->client == NULL)
        open_client(c);
    if (c->client == NULL) {
        c->stalled_until = sim->now + LEAT_NS_PER_MS;
        return;
    }
    if (c->send_at <= sim->now)
        send_some(c);
    for (int i = 0; i < POLLS_MAX; i++) {
        const int handled = leat_client_poll(c->client, 0);
        if (handled < 0)
            broken(sim, "a client cannot go on: error", (uint64_t)-handled, c->index);
        const bool read = c->read_at <= sim->now && read_some(c);
        if (handled == 0 && !read)
            break;
    }
}

static leat_ns next_of_client(const struct sim_client *c)
{
    leat_ns next = LEAT_NS_NEVER;
    if (c->sim->now < c->stalled_until)
        return c->stalled_until;
    if (c->client == NULL)
        return c->sim->now;
    if (c->sim->sends_left > 0)
        next = c->send_at;
    if (c->read_every != 0)
        earliest(&next, c->read_at);
    earliest(&next, c->client->next_deadline);
    return next;
}

/* Everyone's turn at the next time something happens, `end` at the latest. */
static void turn(struct sim *sim, leat_ns end)
{
    leat_ns next = next_of_broker(sim);
    for (unsigned i = 0; i < CLIENTS; i++)
        earliest(&next, next_of_client(&sim->clients[i]));
    earliest(&next, end);
    go_to(sim, next);
    for (int again = 1; again != 0;) {
        again = step_broker(sim);
        for (unsigned i = 0; i < CLIENTS; i++)
            step_client(&sim->clients[i]);
        again = again != 0 && step_broker(sim);
    }
}

/* ---- faults */

static void choose_faults(struct sim *sim)
{
    struct seeded *r = &sim->random;
    struct fabric_faults f = { .delay_ns = 1000 + seeded_below(r, 20000),
                               .jitter_ns = 1 + seeded_below(r, 10000) };
    if (seeded_below(r, 2) == 0)
        f.loss_ppm = seeded_below(r, 4) == 0 ? seeded_below(r, 500000) : seeded_below(r, 50000);
    if (seeded_below(r, 3) == 0) {
        f.burst_ppm = seeded_below(r, 20000);
        f.burst_length = 1 + seeded_below(r, 60);
    }
    if (seeded_below(r, 3) == 0)
        f.duplicate_ppm = seeded_below(r, 200000);
    if (seeded_below(r, 3) == 0) {
        f.reorder_ppm = seeded_below(r, 300000);
        f.reorder_ns = 1 + seeded_below(r, 2000000);
    }
    if (seeded_below(r, 4) == 0)
        f.corrupt_ppm = seeded_below(r, 100000);
    if (seeded_below(r, 8) == 0)
        f.mtu = 1200 + seeded_below(r, 272);
    if (seeded_below(r, 5) == 0)
        f.delay_ns += seeded_below(r, 5000000);
    fabric_set(sim->fabric, &f);
}

static void cut_some(struct sim *sim)
{
    const uint8_t client = (uint8_t)(CLIENT_HOST + seeded_below(&sim->random, CLIENTS));
    const unsigned how = seeded_below(&sim->random, 3);
    tell(sim, "cut: host %u, direction %u", client, how);
    total.cuts++;
    if (how != 0)
        fabric_cut(sim->fabric, SIM_BROKER_HOST, client, true);
    if (how != 1)
        fabric_cut(sim->fabric, client, SIM_BROKER_HOST, true);
}

static void heal(struct sim *sim)
{
    for (uint8_t i = 0; i < CLIENTS; i++) {
        fabric_cut(sim->fabric, SIM_BROKER_HOST, (uint8_t)(CLIENT_HOST + i), false);
        fabric_cut(sim->fabric, (uint8_t)(CLIENT_HOST + i), SIM_BROKER_HOST, false);
    }
}

static void open_broker(struct sim *sim)
{
    const uint64_t ring = UINT64_C(1) << (16 + seeded_below(&sim->random, 3));
    sim_broker_open(&sim->broker, sim->fabric, ++sim->incarnation, sim->control_port, PARTITIONS,
                    ring, sim->now);
    sim->control_port =
        (uint16_t)strtoul(strrchr(sim_broker_control(&sim->broker), ':') + 1, NULL, 10);
}

static void check_broker(struct sim *sim)
{
    const struct sim_broker *b = &sim->broker;
    const uint64_t in = sim_broker_counter(b, "leat_packets_in_total");
    const uint64_t sum = sim_broker_counter(b, "leat_packets_taken_total")
                         + sim_broker_counter(b, "leat_packets_dropped_total");
    if (in != sum)
        broken(sim, "packets in are not taken plus dropped", in, sum);
    if (sim_broker_counter(b, "leat_protocol_errors_total") != 0)
        broken(sim, "a client broke the protocol, says the broker", 0, 0);
    const struct link_counters *c = &b->link->counters;
    uint64_t dropped = 0;
    for (int i = 0; i < LINK_DROPS; i++)
        dropped += c->drops[i];
    if (c->rx != c->accepted + c->answered + dropped)
        broken(sim, "the link's rx is not accepted plus dropped", c->rx, c->accepted + dropped);
}

static void restart_broker(struct sim *sim)
{
    tell(sim, "broker restarts");
    total.broker_restarts++;
    check_broker(sim);
    sim_broker_close(&sim->broker);
    open_broker(sim);
}

static void one_fault(struct sim *sim)
{
    struct sim_client *c = &sim->clients[seeded_below(&sim->random, CLIENTS)];
    switch (seeded_below(&sim->random, 10)) {
    case 0: cut_some(sim); break;
    case 1:
        total.stalls++;
        sim->broker_stalled_until = sim->now + between(sim, 10000, 30000000);
        tell(sim, "broker stalls until %.6f", (double)(sim->broker_stalled_until - START_NS) / 1e9);
        break;
    case 2:
        total.stalls++;
        c->stalled_until = sim->now + between(sim, 10000, 60000000);
        tell(sim, "client %u stalls", c->index);
        break;
    case 3:
        if (seeded_below(&sim->random, 3) == 0 && c->client != NULL) {
            total.client_restarts++;
            tell(sim, "client %u restarts", c->index);
            close_client(c);
        }
        break;
    case 4:
        if (sim->broker_restarts && seeded_below(&sim->random, 2) == 0)
            restart_broker(sim);
        break;
    default: break;
    }
}

/* ---- a run */

static bool settled(const struct sim *sim)
{
    for (unsigned i = 0; i < CLIENTS; i++) {
        const struct sim_client *c = &sim->clients[i];
        if (c->client == NULL || leat_producer_pending(c->producer) != 0)
            return false;
        for (unsigned p = 0; p < PARTITIONS; p++) {
            uint64_t position;
            if (leat_consumer_position(c->consumer, SIM_TOPIC, p, &position) != LEAT_OK
                || position != partition_next_offset(sim_broker_partition(&sim->broker, p)))
                return false;
        }
    }
    return true;
}

static void drain(struct sim *sim)
{
    const struct fabric_faults none = { .delay_ns = 2000, .jitter_ns = 500 };
    const leat_ns end = sim->now + PATIENCE_NS;
    tell(sim, "no more faults");
    fabric_set(sim->fabric, &none);
    heal(sim);
    for (unsigned i = 0; i < CLIENTS; i++)
        sim->clients[i].read_every = 0;
    sim->sends_left += 20; /* what is sent now must get through too */
    while (!settled(sim) || sim->sends_left != 0) {
        turn(sim, end);
        if (sim->now >= end)
            broken(sim, "it did not settle: pending",
                   sim->clients[0].client != NULL ? leat_producer_pending(sim->clients[0].producer)
                                                  : 0,
                   sim->clients[1].client != NULL ? leat_producer_pending(sim->clients[1].producer)
                                                  : 0);
    }
}

static void check_end(struct sim *sim)
{
    check_broker(sim);
    for (unsigned p = 0; p < PARTITIONS; p++) {
        const struct partition *partition = sim_broker_partition(&sim->broker, p);
        const struct ledger *ledger = ledger_of(sim, p, partition_log_epoch(partition));
        const uint64_t next = partition_next_offset(partition);
        for (unsigned i = 0; i < CLIENTS; i++)
            ledger_check_end(ledger, i, next);
        ledger_check_once(ledger, next);
    }
}

static void add_counters(const struct fabric_counters *c)
{
    struct fabric_counters *t = &total.fabric;
    t->sent += c->sent;
    t->delivered += c->delivered;
    t->lost += c->lost;
    t->burst_lost += c->burst_lost;
    t->duplicated += c->duplicated;
    t->reordered += c->reordered;
    t->corrupted += c->corrupted;
    t->too_large += c->too_large;
    t->partitioned += c->partitioned;
    t->overflowed += c->overflowed;
}

static void run(uint64_t seed, bool verbose)
{
    static struct sim sim;
    memset(&sim, 0, sizeof sim);
    sim.seed = seed;
    sim.random.state = seed * UINT64_C(0x2545F4914F6CDD1D) + 1;
    sim.verbose = verbose;
    sim.now = START_NS;
    sim.fabric = fabric_open(seeded_next(&sim.random));
    sim.incarnation = (uint32_t)seed % 1000000 + 1;
    sim.broker_restarts = seeded_below(&sim.random, 8) == 0;
    /* Now and then more than a ring holds, so that slow readers are overtaken. */
    const uint32_t most = seeded_below(&sim.random, 5) == 0 ? 6 * RECORDS_MAX : RECORDS_MAX;
    sim.sends_left = 20 + seeded_below(&sim.random, most);
    fabric_now(sim.fabric, sim.now);
    open_broker(&sim);
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct sim_client *c = &sim.clients[i];
        c->sim = &sim;
        c->index = i;
        if (seeded_below(&sim.random, 3) == 0) /* a slow reader */
            c->read_every = 1 + seeded_below(&sim.random, 20000000);
        open_client(c);
    }
    for (unsigned phase = 1 + seeded_below(&sim.random, PHASES_MAX); phase > 0; phase--) {
        const leat_ns end = sim.now + between(&sim, 500000, 20000000);
        choose_faults(&sim);
        one_fault(&sim);
        while (sim.now < end)
            turn(&sim, end);
        if (seeded_below(&sim.random, 2) == 0)
            heal(&sim);
    }
    sim.broker_stalled_until = 0;
    drain(&sim);
    check_end(&sim);
    for (unsigned i = 0; i < CLIENTS; i++)
        close_client(&sim.clients[i]);
    sim_broker_close(&sim.broker);
    add_counters(fabric_counters(sim.fabric));
    while (fabric_next(sim.fabric) != LEAT_NS_NEVER)
        go_to(&sim, fabric_next(sim.fabric));
    if (fabric_buffers(sim.fabric) != 0)
        broken(&sim, "buffers were not given back", fabric_buffers(sim.fabric), 0);
    fabric_close(sim.fabric);
    for (unsigned i = 0; i < sim.ledger_count; i++)
        ledger_close(&sim.ledgers[i]);
    total.runs++;
    total.records += sim.records;
}

static void report(void)
{
    const struct fabric_counters *f = &total.fabric;
    const uint64_t faults = f->lost + f->burst_lost + f->duplicated + f->reordered + f->corrupted
                            + f->too_large + f->partitioned + f->overflowed + total.stalls
                            + total.cuts + total.client_restarts + total.broker_restarts;
    printf("%" PRIu64 " runs, %" PRIu64 " faults: %" PRIu64 " lost, %" PRIu64 " in bursts, %" PRIu64
           " doubled, %" PRIu64 " reordered, %" PRIu64 " corrupted, %" PRIu64 " too large, %" PRIu64
           " cut off, %" PRIu64 " stalls, %" PRIu64 " cuts, %" PRIu64 " client and %" PRIu64
           " broker restarts\n",
           total.runs, faults, f->lost, f->burst_lost, f->duplicated, f->reordered, f->corrupted,
           f->too_large, f->partitioned, total.stalls, total.cuts, total.client_restarts,
           total.broker_restarts);
    printf("%" PRIu64 " packets; %" PRIu64 " records published, %" PRIu64 " acknowledged, %" PRIu64
           " delivered, %" PRIu64 " gaps over %" PRIu64 " records, %" PRIu64
           " reconnects; none lost in silence, doubled or out of order\n",
           f->sent, total.records, total.acked, total.delivered, total.gaps, total.lost_in_gaps,
           total.reconnects);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        { "seeds", required_argument, NULL, 'n' },
        { "from", required_argument, NULL, 'f' },
        { "seed", required_argument, NULL, 's' },
        { "verbose", no_argument, NULL, 'v' },
        { NULL, 0, NULL, 0 },
    };
    uint64_t seeds = 100, from = 1;
    bool verbose = false;
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'n': seeds = strtoull(optarg, NULL, 0); break;
        case 'f': from = strtoull(optarg, NULL, 0); break;
        case 's':
            from = strtoull(optarg, NULL, 0);
            seeds = 1;
            break;
        case 'v': verbose = true; break;
        default:
            fprintf(stderr, "usage: sim [--seeds N] [--from S] [--seed S] [--verbose]\n");
            return 2;
        }
    }
    log_open(STDERR_FILENO, LOG_ERROR);
    rcu_register_thread();
    for (uint64_t seed = from; seed < from + seeds; seed++)
        run(seed, verbose);
    report();
    rcu_unregister_thread();
    return EXIT_SUCCESS;
}
