/* Control by itself in the test's process, stepped one iteration at a time in virtual time, with
 * raw connections over loopback. */
#include "tests/support/control_rig.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include <urcu-qsbr.h>

#include "ops/log.h"
#include "schema/control.h"
#include "tests/support/wire.h"

enum { STEPS_MAX = 1000 };

static struct mailbox *new_box(int wake)
{
    struct mailbox *box = aligned_alloc(alignof(struct mailbox), sizeof *box);
    cr_assert_neq(box, NULL);
    mailbox_init(box, wake);
    return box;
}

void rig_init(struct control_rig *rig)
{
    struct settings_error wrong;
    *rig = (struct control_rig){ .now = LEAT_NS_PER_S };
    config_init(&rig->config, true);
    rig->config.port = 0;
    rig->config.keepalive_ms = 3600000;
    rig->config.log_memory_bytes = UINT64_C(64) << 20;
    rig->config.topics = calloc(1, sizeof *rig->config.topics);
    cr_assert_neq(rig->config.topics, NULL);
    rig->config.topic_count = 1;
    strcpy(rig->config.topics->name, "t");
    rig->config.topics->settings.partitions = 1;
    rig->config.topics->settings.ring_bytes = 1 << 20;
    cr_assert_eq(settings_resolve(&rig->config.topics->settings, &wrong), LEAT_OK);
    log_open(STDERR_FILENO, LOG_ERROR);
}

void rig_open(struct control_rig *rig)
{
    char text[CONTROL_ERROR_TEXT];
    if (rig->inbox == NULL) {
        rcu_register_thread();
        rig->wake = eventfd(0, EFD_NONBLOCK);
        rig->shard_wake = eventfd(0, EFD_NONBLOCK);
        rig->inbox = new_box(rig->shard_wake);
        rig->outbox = new_box(rig->wake);
        catalog_init(&rig->catalog);
    }
    rig->catalog.incarnation++;
    cr_assert_eq(metrics_open(&rig->metrics), LEAT_OK);
    cr_assert_eq(topics_open(&rig->topics), LEAT_OK);
    const struct control_shard_ends shard = { .inbox = rig->inbox,
                                              .outbox = rig->outbox,
                                              .tcp_address = "127.0.0.1:1" };
    const struct control_options options = { .config = &rig->config,
                                             .topics = rig->topics,
                                             .catalog = &rig->catalog,
                                             .state = rig->state,
                                             .shards = &shard,
                                             .wake = rig->wake,
                                             .memory = &rig->memory,
                                             .metrics = rig->metrics };
    cr_assert_eq(control_open(&rig->control, &options, text), LEAT_OK, "%s", text);
    rig_step(rig, 0);
}

void rig_stop(struct control_rig *rig)
{
    struct message m;
    control_close(rig->control);
    topics_close(rig->topics);
    rcu_barrier();
    metrics_close(rig->metrics);
    while (mailbox_receive(rig->inbox, &m) || mailbox_receive(rig->outbox, &m))
        ;
    cr_assert_eq(rig->memory.used_bytes, 0u, "something was not given back");
}

void rig_close(struct control_rig *rig)
{
    rig_stop(rig);
    catalog_free(&rig->catalog);
    config_free(&rig->config);
    close(rig->wake);
    close(rig->shard_wake);
    free(rig->inbox);
    free(rig->outbox);
    rcu_unregister_thread();
}

/* ---- the shard */

static void end_session(struct control_rig *rig, uint32_t session)
{
    const struct message m = { .type = MESSAGE_SESSION_CLOSED,
                               .session = session,
                               .status = LEAT_ERR_CLOSED };
    cr_assert_eq(mailbox_send(rig->outbox, &m), LEAT_OK);
}

static void serve(struct control_rig *rig, struct message *m)
{
    switch ((enum message_type)m->type) {
    case MESSAGE_ADD_PARTITION:
    case MESSAGE_GRANT_SESSION:
    case MESSAGE_OFFSETS_RESERVED:
    case MESSAGE_STOP: return;
    case MESSAGE_OPEN_PUBLISH:
        m->status = rig->refuse_publish ? LEAT_ERR_LIMIT : LEAT_OK;
        m->stream = ++rig->stream;
        if (rig->ends_sessions && m->publish.prepare)
            end_session(rig, m->session);
        break;
    case MESSAGE_BIND_PUBLISH:
        rig->binds++;
        m->status = m->partition_index >= rig->bind_fails ? rig->bind_status : LEAT_OK;
        break;
    case MESSAGE_FENCE: rig->fences++; break;
    case MESSAGE_OPEN_SUBSCRIPTION: m->stream = ++rig->stream; break;
    case MESSAGE_COMMIT:
        if (m->commit.offset > rig->head_offset)
            m->status = LEAT_ERR_OUT_OF_RANGE;
        else
            offsets_commit(m->commit.entry, m->commit.offset, rig->wall_ns);
        break;
    default: break;
    }
    m->type = MESSAGE_REPLY;
    cr_assert_eq(mailbox_send(rig->outbox, m), LEAT_OK);
}

void rig_step(struct control_rig *rig, leat_ns ns)
{
    struct message m;
    rig->now += ns;
    if (!rig->slow_worker)
        worker_drain(rig->control->worker);
    control_step(rig->control, rig->now);
    while (mailbox_receive(rig->inbox, &m))
        serve(rig, &m);
    rcu_quiescent_state();
}

void rig_pass(struct control_rig *rig, leat_ns ns, unsigned pieces)
{
    for (unsigned i = 0; i < pieces; i++)
        rig_step(rig, ns / pieces);
}

/* ---- peers */

void rig_send(struct control_rig *rig, int fd, Leat__Control__Request__BodyCase which, void *body)
{
    static uint8_t bytes[65536];
    size_t size;
    Leat__Control__Request request = LEAT__CONTROL__REQUEST__INIT;
    request.id = ++rig->id;
    request.body_case = which;
    request.ping = body; /* any member of the union */
    cr_assert_eq(leat_control_pack_request(bytes, sizeof bytes, &size, &request), LEAT_OK);
    cr_assert(wire_send(fd, bytes, size));
}

Leat__Control__Response *rig_answer(struct control_rig *rig, int fd)
{
    uint8_t byte;
    for (int steps = 0; recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == -1; steps++) {
        cr_assert_lt(steps, STEPS_MAX, "no answer comes");
        if (steps % 100 == 99)
            rcu_barrier(); /* what is freed in another thread may be what it waits for */
        rig_step(rig, LEAT_NS_PER_MS);
    }
    Leat__Control__Response *response = wire_response(fd);
    cr_assert_neq(response, NULL, "closed instead of answered");
    return response;
}

Leat__Control__Response *rig_ask(struct control_rig *rig, int fd,
                                 Leat__Control__Request__BodyCase which, void *body)
{
    rig_send(rig, fd, which, body);
    Leat__Control__Response *response = rig_answer(rig, fd);
    while (response->id == 0) { /* notices are nobody's answer */
        rig_done(response);
        response = rig_answer(rig, fd);
    }
    cr_assert_eq(response->id, rig->id);
    return response;
}

void rig_done(Leat__Control__Response *response)
{
    leat__control__response__free_unpacked(response, NULL);
}

int rig_error(Leat__Control__Response *response, const char *text)
{
    const int error = response->error;
    if (text != NULL)
        cr_assert_neq(strstr(response->error_text, text), NULL, "it says: %s",
                      response->error_text);
    rig_done(response);
    return error;
}

int rig_peer(struct control_rig *rig, const char *host)
{
    const int fd = wire_connect_from(control_address(rig->control), host);
    Leat__Control__Hello hello = LEAT__CONTROL__HELLO__INIT;
    hello.version_min = hello.version_max = LEAT_PROTOCOL_VERSION;
    hello.client_name = (char *)"peer";
    rig_done(rig_ask(rig, fd, LEAT__CONTROL__REQUEST__BODY_HELLO, &hello));
    return fd;
}
