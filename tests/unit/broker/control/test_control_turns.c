/* Goal: a request that costs more than its size makes nobody wait but those who ask such things:
 * in one iteration control looks at a bounded number of rows, whatever is asked of it, and answers
 * cheap requests first. Method: control itself in this process, stepped one iteration at a time in
 * virtual time, with raw connections over loopback; what a step costs is counted, never timed. */
#include <criterion/criterion.h>
#include <semaphore.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/control_rig.h"
#include "tests/support/wire.h"

enum {
    GROUPS = 2048, /* as many as one list holds */
    HOSTILE = 24,
    LISTS = 200, /* that each of them asks for without waiting */
    JOINS_PER_STEP = 8,
    STEPS_MAX = 100000,
    TOPICS = 1100, /* more than two pages of a list */
};

static struct control_rig rig;
static sem_t gate;

static void set_up(void)
{
    rig_init(&rig);
    rig.config.log_memory_bytes = UINT64_C(128) << 20;
    rig.config.hugepages = LOGMEM_NORMAL;
    rig_open(&rig);
}

static void tear_down(void)
{
    rig_close(&rig);
}

TestSuite(control_turns, .init = set_up, .fini = tear_down, .timeout = 120);

/* ---- peers */

static void step(void)
{
    rig_step(&rig, LEAT_NS_PER_MS);
}

static void ask_ping(int fd)
{
    Leat__Control__Ping ping = LEAT__CONTROL__PING__INIT;
    rig_send(&rig, fd, LEAT__CONTROL__REQUEST__BODY_PING, &ping);
}

static void ask_list(int fd)
{
    Leat__Control__ListGroups list = LEAT__CONTROL__LIST_GROUPS__INIT;
    rig_send(&rig, fd, LEAT__CONTROL__REQUEST__BODY_LIST_GROUPS, &list);
}

static bool has_answer(int fd)
{
    uint8_t byte;
    return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1;
}

/* Steps until an answer comes; returns how many that were. */
static unsigned steps_to_answer(int fd)
{
    unsigned steps = 0;
    for (; !has_answer(fd); steps++) {
        cr_assert_lt(steps, (unsigned)STEPS_MAX, "no answer comes");
        step();
    }
    return steps;
}

/* The id of the next answer. */
static uint64_t take_answer(int fd)
{
    steps_to_answer(fd);
    Leat__Control__Response *response = wire_response(fd);
    cr_assert_neq(response, NULL, "closed instead of answered");
    cr_assert_eq(response->error, 0, "%s", response->error_text);
    const uint64_t id = response->id;
    leat__control__response__free_unpacked(response, NULL);
    return id;
}

static int new_peer(void)
{
    return rig_peer(&rig, "127.0.0.1");
}

static void make_groups(int fd)
{
    char name[16];
    char *topics[] = { (char *)"t" };
    Leat__Control__JoinGroup join = LEAT__CONTROL__JOIN_GROUP__INIT;
    join.group = name;
    join.topics = topics;
    join.n_topics = 1;
    join.session_timeout_ms = 600000;
    for (unsigned i = 0; i < GROUPS; i++) {
        snprintf(name, sizeof name, "group-%04u", i);
        rig.now += 2 * LEAT_NS_PER_MS; /* slower than what one connection may */
        rig_send(&rig, fd, LEAT__CONTROL__REQUEST__BODY_JOIN_GROUP, &join);
        take_answer(fd);
    }
    cr_assert_eq(rig.control->groups.count, (uint32_t)GROUPS);
}

/* Takes what has come, so that nobody is left unread for not reading. */
static void drain(int fd)
{
    static uint8_t bytes[1 << 18];
    while (recv(fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0)
        ;
}

/* ---- tests */

Test(control_turns, a_flood_of_lists_costs_an_iteration_no_more_than_its_budget)
{
    int hostile[HOSTILE];
    const int honest = new_peer();
    unsigned steps = 0;
    uint64_t cost = 0;
    make_groups(honest);
    for (int i = 0; i < HOSTILE; i++)
        hostile[i] = new_peer();
    for (int i = 0; i < HOSTILE * LISTS; i++)
        ask_list(hostile[i % HOSTILE]);
    for (; cost < (uint64_t)HOSTILE * LISTS * GROUPS; steps++) {
        cr_assert_lt(steps, (unsigned)STEPS_MAX, "not every list is answered");
        ask_ping(honest);
        step();
        /* Whoever pings is answered in the iteration that reads it. */
        cr_assert(has_answer(honest), "step %u: the honest one waits", steps);
        take_answer(honest);
        cr_assert_leq(rig.control->cost, CONTROL_COST_PER_ITERATION + GROUPS + 64u,
                      "step %u looks at too much", steps);
        cost += rig.control->cost;
        for (int i = 0; i < HOSTILE; i++)
            drain(hostile[i]);
    }
    for (int i = 0; i < HOSTILE; i++)
        close(hostile[i]);
    close(honest);
}

Test(control_turns, answers_of_one_connection_keep_their_order)
{
    const int fd = new_peer();
    const uint64_t first = rig.id + 1;
    for (int i = 0; i < 20; i++) {
        ask_list(fd);
        ask_ping(fd);
        ask_ping(fd);
    }
    for (uint64_t id = first; id <= rig.id; id++)
        cr_assert_eq(take_answer(fd), id);
    close(fd);
}

Test(control_turns, who_leaves_while_it_waits_leaves_the_line)
{
    int fds[8];
    for (int i = 0; i < 8; i++)
        fds[i] = new_peer();
    for (int i = 0; i < 8; i++) {
        ask_list(fds[i]);
        ask_list(fds[i]);
    }
    step();
    cr_assert_eq(rig.control->costly_count, 8u, "each waits with its second");
    for (int i = 0; i < 8; i++) {
        const struct linger reset = { .l_onoff = 1 };
        setsockopt(fds[i], SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        close(fds[i]);
    }
    for (int i = 0; i < 3; i++)
        step();
    cr_assert_eq(rig.control->costly_count, 0u);
    cr_assert_eq(rig.control->connection_count, 0u);
}

static void ask_create(int fd, const char *name)
{
    Leat__Control__TopicSettings settings = LEAT__CONTROL__TOPIC_SETTINGS__INIT;
    Leat__Control__CreateTopic create = LEAT__CONTROL__CREATE_TOPIC__INIT;
    settings.partitions = 1;
    settings.ring_bytes = 1 << 16;
    create.name = (char *)name;
    create.settings = &settings;
    rig_send(&rig, fd, LEAT__CONTROL__REQUEST__BODY_CREATE_TOPIC, &create);
}

static void ask_delete(int fd, const char *name)
{
    Leat__Control__DeleteTopic delete = LEAT__CONTROL__DELETE_TOPIC__INIT;
    delete.name = (char *)name;
    rig_send(&rig, fd, LEAT__CONTROL__REQUEST__BODY_DELETE_TOPIC, &delete);
}

static void make_topics(int fd)
{
    char name[16];
    for (unsigned i = 1; i < TOPICS; i++) {
        snprintf(name, sizeof name, "topic-%04u", i);
        ask_create(fd, name);
        take_answer(fd);
    }
}

/* The next page behind `*last`; returns how many topics it has. */
static size_t take_page(int fd, uint64_t *last, bool *more)
{
    Leat__Control__ListTopics list = LEAT__CONTROL__LIST_TOPICS__INIT;
    list.after_id = *last;
    rig_send(&rig, fd, LEAT__CONTROL__REQUEST__BODY_LIST_TOPICS, &list);
    steps_to_answer(fd);
    Leat__Control__Response *r = wire_response(fd);
    cr_assert_neq(r, NULL);
    cr_assert_eq(r->body_case, LEAT__CONTROL__RESPONSE__BODY_TOPICS, "%s", r->error_text);
    const size_t count = r->topics->n_topics;
    for (size_t i = 0; i < count; i++) {
        cr_assert_gt(r->topics->topics[i]->id, *last, "in the order of ids");
        cr_assert_eq(r->topics->topics[i]->n_partitions, 1u);
        *last = r->topics->topics[i]->id;
    }
    *more = r->topics->more;
    leat__control__response__free_unpacked(r, NULL);
    return count;
}

Test(control_turns, a_list_of_topics_comes_page_by_page)
{
    const int fd = new_peer();
    uint64_t last = 0;
    size_t all = 0;
    unsigned pages = 0;
    make_topics(fd);
    for (bool more = true; more; pages++)
        all += take_page(fd, &last, &more);
    cr_assert_eq(all, (size_t)TOPICS);
    cr_assert_geq(pages, 3u);
    close(fd);
}

/* ---- what takes long */

static void wait_at_gate(struct worker_job *job)
{
    (void)job;
    sem_wait(&gate);
}

static void nothing_more(struct worker_job *job)
{
    (void)job;
}

/* The error of the next answer. */
static int take_error(int fd)
{
    steps_to_answer(fd);
    Leat__Control__Response *response = wire_response(fd);
    cr_assert_neq(response, NULL);
    const int error = response->error;
    leat__control__response__free_unpacked(response, NULL);
    return error;
}

Test(control_turns, a_topic_whose_memory_takes_long_makes_nobody_wait)
{
    const int maker = new_peer(), other = new_peer();
    struct worker_job held = { .run = wait_at_gate, .done = nothing_more };
    sem_init(&gate, 0, 0);
    rig.slow_worker = true;
    worker_post(rig.control->worker, &held);
    ask_create(maker, "slow");
    for (int i = 0; i < 5; i++) {
        ask_ping(other);
        step();
        cr_assert(has_answer(other), "who pings waits for somebody's memory");
        take_answer(other);
        cr_assert_not(has_answer(maker), "answered before it is there");
    }
    ask_create(other, "slow");
    cr_assert_eq(take_error(other), LEAT_BUSY, "one makes it already");
    sem_post(&gate);
    rig.slow_worker = false;
    cr_assert_eq(take_error(maker), LEAT_OK);
    ask_create(other, "slow");
    cr_assert_eq(take_error(other), LEAT_ERR_TOPIC_EXISTS);
    sem_destroy(&gate);
    close(maker);
    close(other);
}

Test(control_turns, who_asked_for_a_topic_and_left_leaves_a_topic)
{
    const int maker = new_peer(), other = new_peer();
    struct worker_job held = { .run = wait_at_gate, .done = nothing_more };
    sem_init(&gate, 0, 0);
    rig.slow_worker = true;
    worker_post(rig.control->worker, &held);
    ask_create(maker, "left");
    step();
    close(maker);
    step();
    sem_post(&gate);
    rig.slow_worker = false;
    step();
    step();
    ask_create(other, "left");
    cr_assert_eq(take_error(other), LEAT_ERR_TOPIC_EXISTS);
    sem_destroy(&gate);
    close(other);
}

Test(control_turns, a_broker_that_stops_while_topics_come_and_go_frees_them)
{
    const int fd = new_peer();
    ask_create(fd, "a");
    take_answer(fd);
    ask_create(fd, "b");
    ask_delete(fd, "a"); /* the shard never answers */
    rig.slow_worker = true;
    step();
    step();
    close(fd);
}
