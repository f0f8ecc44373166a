/* The simulation's clients: what they send and read, and what the oracle is told. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "broker/log/partition.h"
#include "client/client_core.h"
#include "tests/sim/sim.h"

enum { VALUE_MAX = 4000, POLLS_MAX = 32 };

/* ---- records and what became of them */

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
        sim_total.acked++;
        oracle_acked(sim_oracle(sim, (unsigned)delivery->partition, delivery->log_epoch),
                     delivery->offset, delivery->cookie);
        break;
    case LEAT_ERR_DUPLICATE: sim_total.acked++; break; /* in the log, its offset no longer known */
    case LEAT_ERR_CLOSED: break;                       /* its client was restarted */
    default:
        sim_fail(sim, "a record was refused: status, record", (uint64_t)-delivery->status,
                 delivery->cookie);
    }
}

/* What the log still holds is nobody's loss; nor is what a reader that writers wait for has not
 * seen. */
static void check_gap(struct sim *sim, const struct oracle *oracle, unsigned reader,
                      const struct leat_event *event)
{
    const struct partition *p = sim_broker_partition(&sim->broker, (unsigned)event->partition);
    if (partition_log_epoch(p) == event->log_epoch && event->next_offset > partition_head_offset(p))
        sim_fail(sim, "a gap over what is there: next offset, head", event->next_offset,
                 partition_head_offset(p));
    if (sim->topic.blocks && event->next_offset > oracle->readers[reader].highest)
        sim_fail(sim, "a required reader lost records", event->first_offset, event->next_offset);
}

static void on_event(void *user, const struct leat_event *event)
{
    struct sim_client *c = user;
    struct sim *sim = c->sim;
    sim_tell(sim, "client %u: event %d error %d partition %d [%" PRIu64 ", %" PRIu64 ") %s",
             c->index, event->type, event->error, event->partition, event->first_offset,
             event->next_offset, event->text != NULL ? event->text : "");
    if (event->topic != NULL && strcmp(event->topic, DELETED_TOPIC_TOPIC) == 0) {
        deleted_topic_event(&sim->deleted_topic, c->index, event);
        return;
    }
    if (recreated_event(&sim->recreated_topics, c->index, event))
        return;
    if (event->consumer != NULL && event->consumer != c->consumer
        && group_members_event(&sim->group_members, c->index, event))
        return;
    switch (event->type) {
    case LEAT_EVENT_GAP: {
        struct oracle *oracle = sim_oracle(sim, (unsigned)event->partition, event->log_epoch);
        sim_total.gaps++;
        if (event->reason == LEAT_REASON_LOG_RESTARTED) {
            oracle_reader_at(oracle, c->index, event->next_offset);
            break;
        }
        check_gap(sim, oracle, c->index, event);
        oracle_gap(oracle, c->index, event->first_offset, event->next_offset);
        sim_total.lost_in_gaps += event->next_offset - event->first_offset;
        break;
    }
    case LEAT_EVENT_LOG_RESET:
        oracle_reader_at(sim_oracle(sim, (unsigned)event->partition, event->log_epoch), c->index,
                         event->next_offset);
        break;
    case LEAT_EVENT_DISCONNECTED:
        sim_total.reconnects++;
        if (event->error == LEAT_ERR_PROTOCOL)
            sim_fail(sim, "a side broke the protocol: client", c->index, 0);
        break;
    case LEAT_EVENT_BAD_BATCH: sim_fail(sim, "a batch failed its checks", c->index, 0);
    case LEAT_EVENT_PRODUCER_EXPIRED: sim_fail(sim, "a producer was forgotten", c->index, 0);
    case LEAT_EVENT_PRODUCER_FENCED: sim_fail(sim, "a producer was fenced", c->index, 0);
    case LEAT_EVENT_TOPIC_DELETED:
        if (!sim->broker_restarts)
            sim_fail(sim, "the topic is gone", c->index, 0);
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

/* A client waits: the broker and the wire go on, the other client does not. */
static void hook_wait(void *context, leat_ns until)
{
    struct sim *sim = ((struct sim_client *)context)->sim;
    if (sim_step_broker(sim))
        return; /* what it said over control is there at once */
    leat_ns next = sim_next_of_broker(sim);
    sim_earliest(&next, until);
    sim_go_to(sim, next);
    sim_step_broker(sim);
}

static struct link *hook_link(void *context)
{
    const struct sim_client *c = context;
    /* Each life has a port of its own, as each process has. */
    return fabric_link(c->sim->fabric, (uint8_t)(CLIENT_HOST + c->index),
                       (uint16_t)(1000 + c->lives));
}

/* ---- clients */

void sim_client_close(struct sim_client *c)
{
    if (c->sim->deleted_topic.open) {
        if (!c->sim->deleted_topic.deleted)
            deleted_topic_delete(&c->sim->deleted_topic, c->client);
        deleted_topic_close(&c->sim->deleted_topic);
    }
    leat_client_close(c->client);
    group_members_died(&c->sim->group_members, c->index);
    recreated_died(&c->sim->recreated_topics, c->index);
    c->client = NULL;
    c->producer = NULL;
    c->consumer = NULL;
}

void sim_client_open(struct sim_client *c)
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
    const bool alone = (sim->seed + c->index) % 4 == 3; /* a record a packet */
    const struct leat_producer_options producing = {
        .size = sizeof producing,
        .on_delivery = on_delivery,
        .user = c,
        .batch_bytes_max = 8192,
        .batch_records_max = alone ? 1 : 0,
        .in_flight_batches = sim->seed % 3 == 0 ? 5 : 16,
    };
    const struct leat_consumer_options consuming = { .size = sizeof consuming,
                                                     .start_at = LEAT_START_EARLIEST,
                                                     .window_bytes = sim->window_bytes,
                                                     .name = c->index == 0 ? "first" : "second",
                                                     .required = sim->topic.blocks };
    const char *topic = SIM_TOPIC;
    c->lives++;
    snprintf(url, sizeof url, "udp://127.0.0.1:%u", sim->control_port);
    for (unsigned i = 0; i < sim->oracle_count; i++)
        sim->oracles[i].readers[c->index].started = false;
    int error = client_open(&c->client, url, &options, &hooks);
    if (error != LEAT_OK) {
        c->client = NULL;
        return;
    }
    error = leat_producer_open(c->client, &c->producer, topic, &producing);
    if (error == LEAT_OK)
        error = leat_consumer_open(c->client, &c->consumer, &topic, 1, &consuming);
    sim_tell(sim, "client %u: opened, %d", c->index, error);
    if (error != LEAT_OK)
        sim_client_close(c);
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
    c->send_at = sim->now + sim_between(sim, 1000, 300000);
}

/* Goes on from anywhere in the log. */
static void seek(struct sim_client *c)
{
    struct sim *sim = c->sim;
    const uint32_t p = seeded_below(&sim->random, PARTITIONS);
    const struct partition *partition = sim_broker_partition(&sim->broker, p);
    const uint64_t head = partition_head_offset(partition);
    const uint64_t to = seeded_next(&sim->random) % (partition_next_offset(partition) + 1);
    struct oracle *oracle = sim_oracle(sim, p, partition_log_epoch(partition));
    uint64_t position;
    const int error = leat_consumer_seek(c->consumer, SIM_TOPIC, p, LEAT_START_OFFSET, to);
    if (error == LEAT_ERR_TIMEOUT) { /* while its session was being given up: it will be there */
        oracle->readers[c->index].started = false;
        return;
    }
    if (error != LEAT_OK || leat_consumer_position(c->consumer, SIM_TOPIC, p, &position) != LEAT_OK)
        sim_fail(sim, "a reader could not seek: to, head", to, head);
    sim_tell(sim, "client %u: seeks %" PRIu64 " in partition %u", c->index, to, p);
    /* Meanwhile the log went on. */
    if (position < to || (position > to && position > partition_head_offset(partition)))
        sim_fail(sim, "a reader stands elsewhere than it wanted: wanted, stands", to, position);
    oracle_reader_at(oracle, c->index, position);
    sim_total.seeks++;
}

static bool read_some(struct sim_client *c)
{
    struct sim *sim = c->sim;
    if (sim->seeks && seeded_below(&sim->random, 200) == 0)
        seek(c);
    struct leat_record records[64];
    uint8_t value[VALUE_MAX];
    const int n = leat_consumer_poll(c->consumer, records, 1 + seeded_below(&sim->random, 64));
    for (int i = 0; i < n; i++) {
        const struct leat_record *r = &records[i];
        uint64_t id;
        memcpy(&id, r->value, sizeof id);
        if (r->value_size != make_value(id, value) || memcmp(value, r->value, r->value_size) != 0)
            sim_fail(sim, "a record's bytes are not its own: offset, record", r->offset, id);
        oracle_delivered(sim_oracle(sim, (unsigned)r->partition, r->log_epoch), c->index, r->offset,
                         id);
        sim_total.delivered++;
    }
    if (c->read_every != 0)
        c->read_at = sim->now + sim_between(sim, 1, c->read_every);
    return n > 0;
}

void sim_client_step(struct sim_client *c)
{
    struct sim *sim = c->sim;
    if (sim->now < c->stalled_until)
        return;
    if (c->client == NULL)
        sim_client_open(c);
    if (c->client == NULL) {
        c->stalled_until = sim->now + LEAT_NS_PER_MS;
        return;
    }
    if (c->send_at <= sim->now)
        send_some(c);
    deleted_topic_step(&sim->deleted_topic, c->index, &sim->random);
    group_members_step(&sim->group_members, c->index, c->client, &sim->random);
    recreated_step(&sim->recreated_topics, c->index, c->client, &sim->random);
    for (int i = 0; i < POLLS_MAX; i++) {
        const int handled = leat_client_poll(c->client, 0);
        if (handled < 0)
            sim_fail(sim, "a client cannot go on: error", (uint64_t)-handled, c->index);
        const bool read = c->read_at <= sim->now && read_some(c);
        if (handled == 0 && !read)
            break;
    }
}

leat_ns sim_client_next(const struct sim_client *c)
{
    leat_ns next = LEAT_NS_NEVER;
    if (c->sim->now < c->stalled_until)
        return c->stalled_until;
    if (c->client == NULL)
        return c->sim->now;
    if (c->sim->sends_left > 0)
        next = c->send_at;
    if (c->read_every != 0)
        sim_earliest(&next, c->read_at);
    sim_earliest(&next, c->client->next_deadline);
    return next;
}
