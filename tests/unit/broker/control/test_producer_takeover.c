/* Goal: an opening that fails half way leaves whoever has the producer what they had, or they are
 * told; and ids and epochs that a run over an old copy of the state folder gives out again are not
 * taken for those of the run that the copy does not know. Method: control itself, with a shard
 * that the test plays, and raw peers. */
#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/control_rig.h"
#include "tests/support/wire.h"

static struct control_rig rig;

static void set_up(void)
{
    rig_init(&rig);
    rig.config.topics->settings.partitions = 2;
    rig_open(&rig);
}

static void tear_down(void)
{
    rig_close(&rig);
}

TestSuite(producer_takeover, .init = set_up, .fini = tear_down, .timeout = 60);

struct holder {
    int fd;
    const char *name;
    uint64_t id;
    uint32_t epoch, session;
    uint8_t token[LEAT_RESUME_TOKEN_BYTES];
    bool expired;
};

static void connect_holder(struct holder *h)
{
    Leat__Control__OpenSession open = LEAT__CONTROL__OPEN_SESSION__INIT;
    h->fd = rig_peer(&rig, "127.0.0.1");
    Leat__Control__Response *r =
        rig_ask(&rig, h->fd, LEAT__CONTROL__REQUEST__BODY_OPEN_SESSION, &open);
    cr_assert_eq(r->error, 0, "%s", r->error_text);
    h->session = r->session->session;
    rig_done(r);
}

/* The error. */
static int open_producer(struct holder *h)
{
    Leat__Control__OpenProducer open = LEAT__CONTROL__OPEN_PRODUCER__INIT;
    open.topic = (char *)"t";
    open.name = (char *)h->name;
    open.sessions = &h->session;
    open.n_sessions = 1;
    open.producer_id = h->id;
    open.producer_epoch = h->epoch;
    if (h->id != 0)
        open.resume_token = (ProtobufCBinaryData){ sizeof h->token, h->token };
    Leat__Control__Response *r =
        rig_ask(&rig, h->fd, LEAT__CONTROL__REQUEST__BODY_OPEN_PRODUCER, &open);
    const int error = r->error;
    if (error == 0) {
        h->id = r->producer->producer_id;
        h->epoch = r->producer->producer_epoch;
        memcpy(h->token, r->producer->resume_token.data, sizeof h->token);
        h->expired = r->producer->streams[0]->expired;
    }
    rig_done(r);
    return error;
}

static struct holder new_holder(const char *name)
{
    struct holder h = { .name = name };
    connect_holder(&h);
    cr_assert_eq(open_producer(&h), 0);
    return h;
}

/* Nobody noticed: it goes on under what it was granted, and an opening that succeeds is newer. */
static void expect_untouched(struct holder *first)
{
    struct holder next = { .name = first->name };
    cr_assert_eq(rig.fences, 0u);
    rig.bind_status = LEAT_OK;
    rig.ends_sessions = false;
    cr_assert_eq(open_producer(first), 0);
    cr_assert_eq(first->epoch, 1u);
    connect_holder(&next);
    cr_assert_eq(open_producer(&next), 0);
    cr_assert_gt(next.epoch, 1u);
    cr_assert_eq(rig.fences, 1u);
    cr_assert_eq(open_producer(first), LEAT_ERR_FENCED);
    close(next.fd);
}

Test(producer_takeover, a_session_that_ends_before_it_is_bound_takes_nothing_over)
{
    struct holder first = new_holder("feed"), second = { .name = "feed" };
    connect_holder(&second);
    rig.bind_status = LEAT_ERR_UNKNOWN_SESSION;
    cr_assert_eq(open_producer(&second), LEAT_ERR_UNKNOWN_SESSION);
    cr_assert_gt(rig.binds, 0u);
    expect_untouched(&first);
    close(first.fd);
    close(second.fd);
}

Test(producer_takeover, a_session_that_is_known_to_have_ended_is_not_bound)
{
    struct holder first = new_holder("feed"), second = { .name = "feed" };
    connect_holder(&second);
    rig.ends_sessions = true;
    cr_assert_eq(open_producer(&second), LEAT_ERR_UNKNOWN_SESSION);
    cr_assert_eq(rig.binds, 0u);
    expect_untouched(&first);
    close(first.fd);
    close(second.fd);
}

/* One of two partitions changed hands: the holder hears it for all, and the next opening is newer.
 */
Test(producer_takeover, half_a_takeover_is_told)
{
    struct holder first = new_holder("feed"), second = { .name = "feed" };
    connect_holder(&second);
    rig.bind_status = LEAT_ERR_UNKNOWN_SESSION;
    rig.bind_fails = 1;
    cr_assert_eq(open_producer(&second), LEAT_ERR_UNKNOWN_SESSION);
    cr_assert_eq(rig.fences, 1u);
    rig.bind_status = LEAT_OK;
    cr_assert_eq(open_producer(&first), LEAT_ERR_FENCED);
    cr_assert_eq(open_producer(&second), 0);
    cr_assert_eq(second.epoch, 3u);
    close(first.fd);
    close(second.fd);
}

/* The next run has the incarnation of the last one and counts from the same number. */
static void restore_old_copy(void)
{
    rig_stop(&rig);
    rig.catalog.incarnation--;
    rig.catalog.counter = 1; /* the logs' numbers come next, then the first producer's */
    rig.catalog.run++;
    rig_open(&rig);
}

static void expect_exchanged(const char *name)
{
    struct holder lost = new_holder(name);
    const uint64_t id = lost.id;
    close(lost.fd);
    restore_old_copy();
    struct holder other = new_holder(*name == '\0' ? "" : "other");
    cr_assert_eq(other.id, id, "the case is made");
    connect_holder(&lost);
    cr_assert_eq(open_producer(&lost), 0, "it was granted by a run of the folder's");
    cr_assert_neq(lost.id, other.id);
    cr_assert(lost.expired, "and is told that nothing is left of it");
    cr_assert_eq(open_producer(&other), 0, "it has what it was granted");
    cr_assert_eq(other.id, id);
    cr_assert_not(other.expired);
    struct holder stranger = other;
    stranger.token[LEAT_RESUME_TOKEN_BYTES - 1] ^= 1;
    cr_assert_eq(open_producer(&stranger), LEAT_ERR_FENCED);
    stranger = other;
    stranger.token[0] ^= 1; /* of another run, which it would have to be the code of */
    cr_assert_eq(open_producer(&stranger), LEAT_ERR_FENCED);
    close(lost.fd);
    close(other.fd);
}

Test(producer_takeover, an_id_of_a_run_that_the_restored_copy_does_not_know_is_exchanged)
{
    expect_exchanged("");
}

Test(producer_takeover, a_name_of_a_run_that_the_restored_copy_does_not_know_is_its_own)
{
    expect_exchanged("feed");
}

/* Both runs gave the name the same id: who comes with the lost run's has lost it. */
Test(producer_takeover, a_name_that_was_opened_in_the_restored_run_stays_there)
{
    struct holder lost = new_holder("feed");
    close(lost.fd);
    restore_old_copy();
    struct holder other = new_holder("feed");
    cr_assert_eq(other.id, lost.id, "the case is made");
    connect_holder(&lost);
    cr_assert_eq(open_producer(&lost), LEAT_ERR_FENCED, "told, and nothing was taken over");
    cr_assert_eq(rig.binds, 0u);
    cr_assert_eq(open_producer(&other), 0);
    close(lost.fd);
    close(other.fd);
}
