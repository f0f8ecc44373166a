/* Goal: what control promises beyond single requests: names fence, only who holds its token
 * resumes a producer, a forgotten one goes on where it was, a deleted topic is gone for everyone
 * and its memory free, silence ends a connection, partitions are spread over shards. Method: a real
 * leatd with two shards and raw peers. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/leatd.h"
#include "tests/support/wire.h"

enum { RING = 1 << 20 };

static struct leatd broker;

/* The peers here say nothing that they are not made to: where silence is not what is tested, a slow
 * machine must not be taken for it. */
static void set_up(void)
{
    leatd_start_config(&broker, "{\"port\": 0, \"data_port\": 0, \"shards\": 2, "
                                "\"keepalive_ms\": 60000, "
                                "\"log_memory_bytes\": \"8MiB\", \"hugepages\": \"off\"}");
}

/* The suite's own has started one by then. */
static void set_up_impatient(void)
{
    leatd_end(&broker);
    leatd_start_config(&broker, "{\"port\": 0, \"data_port\": 0, \"shards\": 2, "
                                "\"keepalive_ms\": 700, "
                                "\"log_memory_bytes\": \"8MiB\", \"hugepages\": \"off\"}");
}

static void tear_down(void)
{
    cr_assert(leatd_alive(&broker), "the broker died");
    cr_assert_not(leatd_log_has(&broker, "Sanitizer"), "see %s", broker.log_path);
    leatd_end(&broker);
}

TestSuite(control_plane, .init = set_up, .fini = tear_down, .timeout = 60);

/* The response to `body`; the caller frees. */
static Leat__Control__Response *ask(int control, Leat__Control__Request__BodyCase which, void *body)
{
    static uint64_t id = 100;
    Leat__Control__Request request = LEAT__CONTROL__REQUEST__INIT;
    request.id = ++id;
    request.body_case = which;
    request.ping = body; /* any member of the union */
    Leat__Control__Response *response = wire_request(control, &request);
    cr_assert_neq(response, NULL, "closed instead of answered");
    cr_assert_eq(response->id, request.id);
    return response;
}

static void done(Leat__Control__Response *response)
{
    leat__control__response__free_unpacked(response, NULL);
}

struct opening {
    const char *topic, *name;
    uint64_t id;
    uint32_t epoch;
    uint8_t token[LEAT_RESUME_TOKEN_BYTES];
    uint64_t unanswered[2];
    size_t unanswered_count;
    uint32_t sessions[2];
};

static Leat__Control__Response *open_producer(int control, const struct opening *o)
{
    Leat__Control__OpenProducer open = LEAT__CONTROL__OPEN_PRODUCER__INIT;
    open.topic = (char *)o->topic;
    open.name = (char *)(o->name != NULL ? o->name : "");
    open.producer_id = o->id;
    open.producer_epoch = o->epoch;
    if (o->id != 0)
        open.resume_token = (ProtobufCBinaryData){ sizeof o->token, (uint8_t *)o->token };
    open.first_unanswered = (uint64_t *)o->unanswered;
    open.n_first_unanswered = o->unanswered_count;
    open.sessions = (uint32_t *)o->sessions;
    open.n_sessions = o->sessions[1] != 0 ? 2 : 1;
    return ask(control, LEAT__CONTROL__REQUEST__BODY_OPEN_PRODUCER, &open);
}

/* From now on it says who it was granted to be. */
static void take_identity(struct opening *o, const Leat__Control__Response *r)
{
    cr_assert_eq(r->error, 0, "%s", r->error_text);
    o->id = r->producer->producer_id;
    o->epoch = r->producer->producer_epoch;
    cr_assert_eq(r->producer->resume_token.len, (size_t)LEAT_RESUME_TOKEN_BYTES);
    memcpy(o->token, r->producer->resume_token.data, LEAT_RESUME_TOKEN_BYTES);
}

/* A control connection with a session on each shard. */
static int client(struct opening *o)
{
    const int control = wire_control(broker.control);
    for (uint32_t shard = 0; shard < 2; shard++) {
        const struct wire_grant grant = wire_open_session(control, shard);
        int16_t status;
        wire_attach(broker.data[shard], &grant, &status);
        cr_assert_eq(status, 0);
        o->sessions[shard] = grant.session;
    }
    return control;
}

Test(control_plane, partitions_are_spread_and_a_producer_needs_a_session_on_each_shard)
{
    struct opening o = { .topic = "spread" };
    const int control = client(&o);
    cr_assert_eq(wire_create_topic(control, "spread", RING, 4), 0);
    Leat__Control__Response *r = open_producer(control, &o);
    cr_assert_eq(r->error, 0, "%s", r->error_text);
    cr_assert_eq(r->producer->n_streams, 4u);
    unsigned on_first = 0;
    for (size_t i = 0; i < 4; i++) {
        on_first += r->producer->streams[i]->session == o.sessions[0];
        cr_assert_neq(r->producer->streams[i]->stream, 0u);
        cr_assert_gt(r->producer->streams[i]->credit, 0u);
    }
    cr_assert_eq(on_first, 2u);
    done(r);
    o.sessions[1] = 0;
    r = open_producer(control, &o);
    cr_assert_eq(r->error, LEAT_ERR_INVALID);
    cr_assert_not_null(strstr(r->error_text, "shard 1"), "%s", r->error_text);
    done(r);
}

Test(control_plane, a_name_fences_the_one_who_had_it)
{
    struct opening first = { .topic = "t", .name = "feed" }, second = first;
    const int a = client(&first), b = client(&second);
    cr_assert_eq(wire_create_topic(a, "t", RING, 2), 0);
    Leat__Control__Response *r = open_producer(a, &first);
    cr_assert_eq(r->error, 0, "%s", r->error_text);
    take_identity(&first, r);
    done(r);
    r = open_producer(a, &first); /* resumes */
    cr_assert_eq(r->error, 0, "%s", r->error_text);
    cr_assert_eq(r->producer->producer_epoch, first.epoch);
    cr_assert_not(r->producer->streams[0]->expired);
    done(r);
    r = open_producer(b, &second);
    cr_assert_eq(r->error, 0, "%s", r->error_text);
    cr_assert_eq(r->producer->producer_id, first.id);
    cr_assert_eq(r->producer->producer_epoch, first.epoch + 1);
    done(r);
    r = open_producer(a, &first);
    cr_assert_eq(r->error, LEAT_ERR_FENCED);
    cr_assert_not_null(strstr(r->error_text, "feed"), "%s", r->error_text);
    done(r);
}

Test(control_plane, a_name_of_an_earlier_run_goes_to_the_newest_who_had_it)
{
    struct opening old = { .topic = "t", .name = "feed", .id = 77, .epoch = 3 }, older = old;
    const int a = client(&old), b = client(&older);
    cr_assert_eq(wire_create_topic(a, "t", RING, 1), 0);
    older.epoch = 2;
    Leat__Control__Response *r = open_producer(b, &older);
    cr_assert_eq(r->error, 0, "%s", r->error_text);
    cr_assert(r->producer->streams[0]->expired);
    const uint32_t epoch = r->producer->producer_epoch;
    done(r);
    r = open_producer(a, &old);
    cr_assert_eq(r->error, 0, "%s", r->error_text);
    cr_assert_gt(r->producer->producer_epoch, epoch);
    cr_assert(r->producer->streams[0]->expired);
    done(r);
    r = open_producer(b, &older);
    cr_assert_eq(r->error, LEAT_ERR_FENCED);
    done(r);
}

/* Once it goes on in this run it is of this run: a session that is lost then costs it nothing. */
Test(control_plane, a_producer_of_an_earlier_run_is_forgotten_once)
{
    struct opening o = { .topic = "t", .id = 77, .epoch = 3 };
    const int control = client(&o);
    cr_assert_eq(wire_create_topic(control, "t", RING, 2), 0);
    Leat__Control__Response *r = open_producer(control, &o);
    cr_assert_eq(r->error, 0, "%s", r->error_text);
    cr_assert(r->producer->streams[0]->expired);
    take_identity(&o, r);
    done(r);
    r = open_producer(control, &o);
    cr_assert_eq(r->error, 0, "%s", r->error_text);
    cr_assert_eq(r->producer->producer_id, o.id);
    cr_assert_eq(r->producer->producer_epoch, o.epoch);
    cr_assert_not(r->producer->streams[0]->expired);
    done(r);
}

/* The numbers go on where the client is, so that nothing is counted anew. */
Test(control_plane, a_forgotten_producer_goes_on_from_its_first_unanswered_record)
{
    struct opening o = { .topic = "one" };
    const int control = client(&o);
    cr_assert_eq(wire_create_topic(control, "one", RING, 2), 0);
    cr_assert_eq(wire_create_topic(control, "two", RING, 2), 0);
    Leat__Control__Response *r = open_producer(control, &o);
    take_identity(&o, r);
    done(r);
    o.topic = "two"; /* knows nothing of it */
    o.unanswered_count = 2;
    o.unanswered[0] = 7;
    o.unanswered[1] = LEAT_SEQUENCE_RESUMED_MAX;
    r = open_producer(control, &o);
    cr_assert_eq(r->error, 0, "%s", r->error_text);
    cr_assert_eq(r->producer->producer_id, o.id);
    cr_assert_eq(r->producer->producer_epoch, o.epoch);
    for (size_t i = 0; i < 2; i++) {
        cr_assert(r->producer->streams[i]->expired);
        cr_assert_eq(r->producer->streams[i]->next_sequence, o.unanswered[i]);
    }
    done(r);
    o.unanswered[0] = 3; /* known now: numbers never go back */
    o.unanswered[1] = 0;
    r = open_producer(control, &o);
    cr_assert_eq(r->error, 0, "%s", r->error_text);
    cr_assert_not(r->producer->streams[0]->expired);
    cr_assert_eq(r->producer->streams[0]->next_sequence, 7u);
    cr_assert_eq(r->producer->streams[1]->next_sequence, LEAT_SEQUENCE_RESUMED_MAX);
    done(r);
    o.unanswered_count = 1;
    r = open_producer(control, &o);
    cr_assert_eq(r->error, LEAT_ERR_INVALID);
    cr_assert_not_null(strstr(r->error_text, "first_unanswered"), "%s", r->error_text);
    done(r);
}

/* An id and an epoch stand in every batch and are no secret. */
Test(control_plane, nobody_resumes_without_the_token)
{
    struct opening mine = { .topic = "t" }, other = { .topic = "t" };
    const int a = client(&mine), b = client(&other);
    cr_assert_eq(wire_create_topic(a, "t", RING, 2), 0);
    Leat__Control__Response *r = open_producer(a, &mine);
    take_identity(&mine, r);
    done(r);
    r = open_producer(b, &other);
    take_identity(&other, r);
    cr_assert_neq(memcmp(mine.token, other.token, sizeof mine.token), 0);
    done(r);
    struct opening forged = mine;
    memcpy(forged.sessions, other.sessions, sizeof forged.sessions);
    memcpy(forged.token, other.token, sizeof forged.token);
    for (size_t i = 0; i <= sizeof forged.token; i++) {
        r = open_producer(b, &forged); /* another's token, then mine with one bit changed */
        cr_assert_eq(r->error, LEAT_ERR_FENCED, "%zu: %s", i, r->error_text);
        done(r);
        memcpy(forged.token, mine.token, sizeof forged.token);
        forged.token[i % sizeof forged.token] ^= 1;
    }
    memcpy(forged.token, mine.token, sizeof forged.token);
    for (uint32_t epoch = 2; epoch != 1; epoch = epoch == 2 ? UINT32_MAX : 1) {
        forged.epoch = epoch; /* never granted */
        r = open_producer(b, &forged);
        cr_assert_eq(r->error, LEAT_ERR_FENCED, "epoch %u: %s", epoch, r->error_text);
        done(r);
    }
    forged.epoch = mine.epoch;
    forged.id += 1000; /* never given out */
    r = open_producer(b, &forged);
    cr_assert_eq(r->error, LEAT_ERR_FENCED, "%s", r->error_text);
    done(r);
    r = open_producer(a, &mine);
    cr_assert_eq(r->error, 0, "%s", r->error_text);
    cr_assert_not(r->producer->streams[0]->expired);
    done(r);
}

Test(control_plane, a_deleted_topic_is_gone_and_its_memory_free)
{
    struct opening o = { .topic = "brief" };
    const int control = client(&o);
    for (int round = 0; round < 20; round++) { /* 4 of 8 MiB each time */
        cr_assert_eq(wire_create_topic(control, "brief", 2 * RING, 2), 0, "round %d", round);
        Leat__Control__Response *r = open_producer(control, &o);
        cr_assert_eq(r->error, 0, "%s", r->error_text);
        done(r);
        Leat__Control__DeleteTopic delete = LEAT__CONTROL__DELETE_TOPIC__INIT;
        delete.name = (char *)"brief";
        r = ask(control, LEAT__CONTROL__REQUEST__BODY_DELETE_TOPIC, &delete);
        cr_assert_eq(r->error, 0, "%s", r->error_text);
        done(r);
        r = ask(control, LEAT__CONTROL__REQUEST__BODY_DELETE_TOPIC, &delete);
        cr_assert_eq(r->error, LEAT_ERR_UNKNOWN_TOPIC);
        done(r);
        r = open_producer(control, &o);
        cr_assert_eq(r->error, LEAT_ERR_UNKNOWN_TOPIC);
        done(r);
        /* The answer came when the memory was free: all of it can be had. */
        cr_assert_eq(wire_create_topic(control, "all", 4 * RING, 2), 0, "round %d", round);
        delete.name = (char *)"all";
        r = ask(control, LEAT__CONTROL__REQUEST__BODY_DELETE_TOPIC, &delete);
        cr_assert_eq(r->error, 0, "%s", r->error_text);
        done(r);
    }
}

Test(control_plane, subscriptions_and_offsets_answer_each_partition)
{
    struct opening o = { .topic = "t" };
    const int control = client(&o);
    cr_assert_eq(wire_create_topic(control, "t", RING, 1), 0);
    Leat__Control__PartitionStart starts[4], *list[4];
    for (int i = 0; i < 4; i++) {
        leat__control__partition_start__init(&starts[i]);
        starts[i].session = o.sessions[0];
        starts[i].at = LEAT__CONTROL__START_AT__EARLIEST;
        list[i] = &starts[i];
    }
    starts[1].partition = 9;
    starts[2].session = 12345;
    starts[3].at = LEAT__CONTROL__START_AT__OFFSET;
    starts[3].offset = 100;
    Leat__Control__OpenSubscription open = LEAT__CONTROL__OPEN_SUBSCRIPTION__INIT;
    open.topic = (char *)"t";
    open.partitions = list;
    open.n_partitions = 4;
    Leat__Control__Response *r =
        ask(control, LEAT__CONTROL__REQUEST__BODY_OPEN_SUBSCRIPTION, &open);
    cr_assert_eq(r->error, 0, "%s", r->error_text);
    cr_assert_eq(r->subscription->n_streams, 4u);
    static const int32_t expected[] = { 0, LEAT_ERR_UNKNOWN_PARTITION, LEAT_ERR_UNKNOWN_SESSION,
                                        LEAT_ERR_OUT_OF_RANGE };
    for (int i = 0; i < 4; i++)
        cr_assert_eq(r->subscription->streams[i]->error, expected[i], "partition start %d", i);
    const uint32_t stream = r->subscription->streams[0]->stream;
    done(r);

    Leat__Control__ListOffsets offsets = LEAT__CONTROL__LIST_OFFSETS__INIT;
    offsets.topic = (char *)"t";
    offsets.partitions = list;
    offsets.n_partitions = 2;
    r = ask(control, LEAT__CONTROL__REQUEST__BODY_LIST_OFFSETS, &offsets);
    cr_assert_eq(r->error, 0);
    cr_assert_eq(r->offsets->offsets[0]->error, 0);
    cr_assert_neq(r->offsets->offsets[0]->log_epoch, 0u);
    cr_assert_eq(r->offsets->offsets[1]->error, LEAT_ERR_UNKNOWN_PARTITION);
    done(r);

    Leat__Control__StreamRef ref = LEAT__CONTROL__STREAM_REF__INIT, *refs = &ref;
    Leat__Control__CloseStreams close_streams = LEAT__CONTROL__CLOSE_STREAMS__INIT;
    ref.session = o.sessions[0];
    ref.stream = stream;
    close_streams.streams = &refs;
    close_streams.n_streams = 1;
    r = ask(control, LEAT__CONTROL__REQUEST__BODY_CLOSE_STREAMS, &close_streams);
    cr_assert_eq(r->error, 0, "%s", r->error_text);
    done(r);
    r = ask(control, LEAT__CONTROL__REQUEST__BODY_CLOSE_STREAMS, &close_streams);
    cr_assert_eq(r->error, LEAT_ERR_UNKNOWN_STREAM);
    done(r);
}

/* A required reader `name` of partition 0; its error. `says`: what the refusal says. *stream: its
 * number. */
static int require(int control, uint32_t session, const char *name, const char *says,
                   uint32_t *stream)
{
    Leat__Control__PartitionStart start = LEAT__CONTROL__PARTITION_START__INIT, *starts = &start;
    Leat__Control__OpenSubscription open = LEAT__CONTROL__OPEN_SUBSCRIPTION__INIT;
    start.session = session;
    open.topic = (char *)"t";
    open.partitions = &starts;
    open.n_partitions = 1;
    open.name = (char *)name;
    open.required = true;
    Leat__Control__Response *r =
        ask(control, LEAT__CONTROL__REQUEST__BODY_OPEN_SUBSCRIPTION, &open);
    cr_assert_eq(r->error, 0, "%s", r->error_text);
    const int error = r->subscription->streams[0]->error;
    if (says != NULL)
        cr_assert_neq(strstr(r->subscription->streams[0]->error_text, says), NULL, "it says: %s",
                      r->subscription->streams[0]->error_text);
    *stream = r->subscription->streams[0]->stream;
    done(r);
    return error;
}

Test(control_plane, required_readers_of_one_connection_are_two_and_of_one_address_half)
{
    int controls[6];
    uint32_t sessions[6], stream, first = 0;
    char name[16];
    controls[0] = wire_control(broker.control);
    cr_assert_eq(wire_create_topic(controls[0], "t", RING, 1), 0);
    sessions[0] = wire_open_session(controls[0], 0).session;
    for (int i = 1; i < 6; i++) {
        controls[i] = wire_control_from(broker.control, i < 5 ? "127.0.0.1" : "127.0.0.2");
        sessions[i] = wire_open_session(controls[i], 0).session;
    }
    for (int i = 0; i < 8; i++) {
        snprintf(name, sizeof name, "r-%d", i);
        cr_assert_eq(require(controls[i / 2], sessions[i / 2], name, NULL, &stream), 0);
        first = i == 0 ? stream : first;
    }
    cr_assert_eq(require(controls[0], sessions[0], "more", "may have an eighth", &stream),
                 LEAT_ERR_LIMIT);
    cr_assert_eq(require(controls[4], sessions[4], "more", "your address have 8", &stream),
                 LEAT_ERR_LIMIT);
    cr_assert_eq(require(controls[5], sessions[5], "honest", NULL, &stream), 0);
    /* One that nobody has open gives way to another of the same connection, and that is told. */
    Leat__Control__StreamRef ref = LEAT__CONTROL__STREAM_REF__INIT, *refs = &ref;
    Leat__Control__CloseStreams close_streams = LEAT__CONTROL__CLOSE_STREAMS__INIT;
    ref.session = sessions[0];
    ref.stream = first;
    close_streams.streams = &refs;
    close_streams.n_streams = 1;
    done(ask(controls[0], LEAT__CONTROL__REQUEST__BODY_CLOSE_STREAMS, &close_streams));
    cr_assert_eq(require(controls[0], sessions[0], "more", NULL, &stream), 0);
    Leat__Control__Ping ping = LEAT__CONTROL__PING__INIT;
    while (!leatd_log_has(&broker, "topic.required_reader_lost"))
        done(ask(controls[0], LEAT__CONTROL__REQUEST__BODY_PING, &ping));
    for (int i = 0; i < 6; i++)
        close(controls[i]);
}

Test(control_plane, silence_ends_a_connection_and_its_sessions, .init = set_up_impatient)
{
    const int silent = wire_control(broker.control);
    const struct wire_grant grant = wire_open_session(silent, 0);
    int16_t status;
    const int data = wire_attach(broker.data[0], &grant, &status);
    cr_assert_eq(status, 0);
    cr_assert(wire_wait_closed(silent));
    cr_assert(wire_wait_closed(data));
}

Test(control_plane, a_session_closed_is_unknown_and_its_place_is_used_again)
{
    struct opening o = { .topic = "t" };
    const int control = client(&o);
    Leat__Control__CloseSession close_session = LEAT__CONTROL__CLOSE_SESSION__INIT;
    close_session.session = o.sessions[0];
    Leat__Control__Response *r =
        ask(control, LEAT__CONTROL__REQUEST__BODY_CLOSE_SESSION, &close_session);
    cr_assert_eq(r->error, 0);
    done(r);
    r = ask(control, LEAT__CONTROL__REQUEST__BODY_CLOSE_SESSION, &close_session);
    cr_assert_eq(r->error, LEAT_ERR_UNKNOWN_SESSION);
    done(r);
    for (int i = 0; i < 40000; i++) { /* more than there are places */
        Leat__Control__OpenSession open_session = LEAT__CONTROL__OPEN_SESSION__INIT;
        while ((r = ask(control, LEAT__CONTROL__REQUEST__BODY_OPEN_SESSION, &open_session))->error
               == LEAT_ERR_LIMIT)
            done(r); /* the shard has not closed those before: they are its share */
        cr_assert_eq(r->error, 0, "round %d: %s", i, r->error_text);
        close_session.session = r->session->session;
        done(r);
        r = ask(control, LEAT__CONTROL__REQUEST__BODY_CLOSE_SESSION, &close_session);
        cr_assert_eq(r->error, 0, "round %d: %s", i, r->error_text);
        done(r);
    }
}

Test(control_plane, an_idle_broker_costs_nothing)
{
    const int control = wire_control(broker.control);
    cr_assert_eq(wire_create_topic(control, "t", RING, 2), 0);
    usleep(200000); /* a stretch of idling is what is measured */
    const uint64_t before = leatd_cpu_ns(&broker);
    usleep(300000);
    cr_assert_leq(leatd_cpu_ns(&broker) - before, 20000000u, "ticks of 10 ms");
}
