/* The broker of a simulation: the real control plane and one real shard, stepped by hand. */
#include "tests/sim/broker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <urcu-qsbr.h>

#include "broker/control/control_state.h"
#include "broker/shard/shard_state.h"

enum { SESSIONS = 32, CONNECTIONS = 64, STEPS_MAX = 64 };
#define WALL_NS UINT64_C(1700000000000000000)

static _Noreturn void fail(const char *what, const char *why)
{
    fprintf(stderr, "sim: %s: %s\n", what, why);
    abort();
}

static struct mailbox *new_box(int wake)
{
    struct mailbox *box = aligned_alloc(alignof(struct mailbox), sizeof *box);
    if (box == NULL)
        fail("mailbox", "no memory");
    mailbox_init(box, wake);
    return box;
}

static void configure(struct sim_broker *b, const struct sim_topic *wanted)
{
    config_init(&b->config, true);
    b->config.data_port = 0;
    b->config.udp = false;
    b->config.keepalive_ms = 2000; /* shorter than some of the silences that cuts make */
    b->config.sessions_max = SESSIONS;
    b->config.connections_max = CONNECTIONS; /* all from one address, which may have half */
    b->config.log_memory_bytes = UINT64_C(64) << 20;
    b->config.topics = calloc(1, sizeof *b->config.topics);
    if (b->config.topics == NULL)
        fail("config", "no memory");
    b->config.topic_count = 1;
    struct config_topic *topic = b->config.topics;
    struct settings_error error;
    snprintf(topic->name, sizeof topic->name, SIM_TOPIC);
    topic->settings.partitions = wanted->partitions;
    topic->settings.ring_bytes = wanted->ring_bytes;
    topic->settings.overrun = wanted->blocks ? PARTITION_BLOCK : PARTITION_EVICT;
    topic->settings.quota_publish_bytes = wanted->publish_quota;
    topic->settings.quota_deliver_bytes = wanted->deliver_quota;
    topic->settings.retention_ms = wanted->retention_ms;
    topic->settings.record_bytes_max = 8192;
    if (settings_resolve(&topic->settings, &error) != LEAT_OK)
        fail("topic settings", error.name);
}

static void open_shard(struct sim_broker *b)
{
    char text[256];
    const struct shard_options options = { .cpu = -1,
                                           .listen_host = "127.0.0.1",
                                           .sessions_max = SESSIONS,
                                           .connections_max = SESSIONS,
                                           .keepalive_ns = b->config.keepalive_ms * LEAT_NS_PER_MS,
                                           .producer_idle_ns = UINT64_C(3600) * LEAT_NS_PER_S,
                                           .topics = b->topics,
                                           .inbox = b->inbox,
                                           .outbox = b->outbox,
                                           .metrics = b->metrics,
                                           .links = &b->link,
                                           .link_count = 1,
                                           .reset_secret = { 7 } };
    if (shard_open(&b->shard, &options, text) != LEAT_OK)
        fail("shard", text);
}

void sim_broker_open_on(struct sim_broker *b, struct link *link, uint32_t incarnation,
                        uint16_t control_port, const struct sim_topic *topic, leat_ns now)
{
    char text[CONTROL_ERROR_TEXT];
    memset(b, 0, sizeof *b);
    configure(b, topic);
    b->config.port = control_port;
    catalog_init(&b->catalog);
    b->catalog.incarnation = incarnation;
    b->wake = eventfd(0, EFD_NONBLOCK);
    b->shard_wake = eventfd(0, EFD_NONBLOCK);
    b->inbox = new_box(b->shard_wake);
    b->outbox = new_box(b->wake);
    if (metrics_open(&b->metrics) != LEAT_OK || topics_open(&b->topics) != LEAT_OK)
        fail("broker", "no memory");
    b->link = link;
    open_shard(b);
    snprintf(b->address, sizeof b->address, "10.0.0.%d:%d", SIM_BROKER_HOST, SIM_BROKER_PORT);
    b->shard_link = (struct control_shard_ends){ .inbox = b->inbox,
                                                 .outbox = b->outbox,
                                                 .tcp_address = shard_tcp_address(b->shard),
                                                 .udp_address = b->address,
                                                 .intact = b->link->limits.intact };
    const struct control_options options = { .config = &b->config,
                                             .topics = b->topics,
                                             .catalog = &b->catalog,
                                             .shards = &b->shard_link,
                                             .wake = b->wake,
                                             .metrics = b->metrics,
                                             .reset_secret = { 7 } };
    if (control_open(&b->control, &options, text) != LEAT_OK)
        fail("control", text);
    sim_broker_step(b, now);
}

void sim_broker_open(struct sim_broker *b, struct fabric *fabric, uint32_t incarnation,
                     uint16_t control_port, const struct sim_topic *topic, leat_ns now)
{
    struct link *link = fabric_link(fabric, SIM_BROKER_HOST, SIM_BROKER_PORT);
    sim_broker_open_on(b, link, incarnation, control_port, topic, now);
    b->owns_link = true;
}

void sim_broker_close(struct sim_broker *b)
{
    shard_close(b->shard);
    if (b->owns_link) /* it may still send from logs, which go with control */
        b->link->ops->close(b->link);
    control_close(b->control);
    topics_close(b->topics);
    rcu_barrier(); /* groups' offsets are freed behind a grace period */
    metrics_close(b->metrics);
    catalog_free(&b->catalog);
    config_free(&b->config);
    close(b->wake);
    close(b->shard_wake);
    free(b->inbox);
    free(b->outbox);
}

/* A topic that no shard has any more waits for readers, in real time. */
static bool waits_for_readers(const struct control *control)
{
    for (uint32_t i = 0; i < CONTROL_OPERATIONS_MAX; i++) {
        const struct operation *op = control->operations[i].operation;
        if (op != NULL && op->kind == OPERATION_DELETE_TOPIC && op->deletion.control != NULL)
            return true;
    }
    return false;
}

/* What others do for control takes no virtual time, however busy this machine is. */
static void finish_aside(struct sim_broker *b)
{
    if (waits_for_readers(b->control))
        rcu_barrier();
    worker_drain(b->control->worker);
}

bool sim_broker_step(struct sim_broker *b, leat_ns now)
{
    bool worked = true, any = false;
    for (int i = 0; worked && i < STEPS_MAX; i++) {
        worked = control_step(b->control, now);
        if (b->control->operation_count != 0 || !LIST_EMPTY(&b->control->creations))
            finish_aside(b);
        worked |= shard_step(b->shard, now, WALL_NS + b->wall_off_ns + now);
        rcu_quiescent_state();
        any |= worked;
    }
    return any;
}

void sim_broker_iterate(struct sim_broker *b, leat_ns now)
{
    b->shard->now = now;
    b->shard->wall_ns = WALL_NS + b->wall_off_ns + now;
    shard_iterate(b->shard, true);
    rcu_quiescent_state();
}

leat_ns sim_broker_deadline(const struct sim_broker *b)
{
    const leat_ns shard = shard_deadline(b->shard), groups = groups_deadline(&b->control->groups);
    return shard < groups ? shard : groups;
}

const char *sim_broker_control(const struct sim_broker *b)
{
    return control_address(b->control);
}

struct partition *sim_broker_partition(const struct sim_broker *b, uint32_t index)
{
    const struct topic *topic = topics_find_name(b->topics, SIM_TOPIC);
    if (topic == NULL)
        fail("topic", "not there");
    return topic->partitions[index].partition;
}

/* Beyond its credit a reader stands only behind a GAP. */
static bool overran(const struct subscription *sub)
{
    return sub != NULL && sub->position > sub->limit
           && !(sub->gap_said && sub->gap.position == sub->position);
}

const char *sim_broker_overrun(const struct sim_broker *b)
{
    const struct session *s;
    TAILQ_FOREACH(s, &b->shard->attached, lifetime_node)
    {
        for (uint32_t i = 0; i < s->stream_count; i++) {
            const struct publish_stream *publish = s->streams[i].publish;
            if (overran(s->streams[i].subscription))
                return "a reader was sent more than its credit";
            if (publish != NULL && publish->joined->next > publish->credit)
                return "a publisher's bytes were taken beyond its credit";
        }
    }
    return NULL;
}

uint64_t sim_broker_counter(const struct sim_broker *b, const char *name)
{
    static char text[1 << 17];
    uint64_t sum = 0;
    metrics_write(b->metrics, text, sizeof text);
    for (const char *at = text; (at = strstr(at, name)) != NULL; at += strlen(name)) {
        if (at != text && at[-1] != '\n')
            continue;
        const char *value = at + strcspn(at, " \n");
        sum += *value == ' ' ? strtoull(value + 1, NULL, 10) : 0;
    }
    return sum;
}
