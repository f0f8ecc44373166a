/* Goal: a shard that sleeps over a polled link loses no wake-up: what comes before the link is
 * armed is found by asking once more, what comes after is told by its descriptor; it wakes for the
 * link's own deadline, and goes on with a backoff over a link that cannot be armed, now or at all.
 * Method: the shard's own thread over a link that the test plays, and that says what was done to
 * it. Waiting is for something that must happen; running out of patience is the failure. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "broker/shard/shard.h"

enum { PATIENCE_S = 20, TURNS = 200 };

/* The link: one datagram that is no packet, when there is one. */
static struct {
    struct link link;
    int descriptor;
    atomic_bool waits;       /* a datagram */
    atomic_bool comes_early; /* one comes just before it is armed, so that nothing is told */
    atomic_bool refuses;     /* to be armed */
    atomic_bool armed;
    _Atomic leat_ns due;
    sem_t taken, asked_armed, flushed_armed, asked;
} fake;

static unsigned fake_receive(struct link *link, struct link_datagram *out, unsigned max,
                             leat_ns now)
{
    static const uint8_t bytes[4];
    (void)link;
    (void)max;
    (void)now;
    sem_post(&fake.asked);
    if (!atomic_exchange(&fake.waits, false)) {
        if (atomic_load(&fake.armed))
            sem_post(&fake.asked_armed);
        return 0;
    }
    *out = (struct link_datagram){ .bytes = bytes, .size = sizeof bytes };
    sem_post(&fake.taken);
    return 1;
}

static void fake_release(struct link *link, struct link_datagram *datagrams, unsigned count)
{
    (void)link;
    (void)datagrams;
    (void)count;
}

static unsigned fake_flush(struct link *link, leat_ns now)
{
    (void)link;
    if (now >= atomic_load(&fake.due)) {
        atomic_store(&fake.due, LEAT_NS_NEVER);
        sem_post(&fake.flushed_armed);
    }
    return 0;
}

static int fake_descriptor(const struct link *link)
{
    (void)link;
    return fake.descriptor;
}

static bool fake_arm(struct link *link)
{
    (void)link;
    if (atomic_load(&fake.refuses))
        return false;
    if (atomic_exchange(&fake.comes_early, false))
        atomic_store(&fake.waits, true);
    atomic_store(&fake.armed, true);
    return true;
}

static void fake_disarm(struct link *link)
{
    (void)link;
    atomic_store(&fake.armed, false);
}

static leat_ns fake_deadline(const struct link *link)
{
    (void)link;
    return atomic_load(&fake.due);
}

static const struct link_ops fake_ops = { .receive = fake_receive,
                                          .release = fake_release,
                                          .flush = fake_flush,
                                          .descriptor = fake_descriptor,
                                          .arm = fake_arm,
                                          .disarm = fake_disarm,
                                          .deadline = fake_deadline };

/* ---- the shard */

static struct {
    struct shard *shard;
    struct mailbox *inbox, *outbox;
    struct topics *topics;
    struct metrics *metrics;
    pthread_t thread;
} w;

static struct mailbox *new_box(void)
{
    struct mailbox *box = aligned_alloc(alignof(struct mailbox), sizeof *box);
    cr_assert_neq(box, NULL);
    mailbox_init(box, eventfd(0, EFD_NONBLOCK));
    return box;
}

/* `descriptor`: what the link has to wait on. */
static void start(enum idle_mode idle, int descriptor)
{
    char text[256];
    fake.link = (struct link){ .ops = &fake_ops,
                               .limits = { .payload_max = 1200, .polled = true, .bypass = true } };
    fake.descriptor = descriptor;
    fake.due = LEAT_NS_NEVER;
    sem_init(&fake.taken, 0, 0);
    sem_init(&fake.asked, 0, 0);
    sem_init(&fake.asked_armed, 0, 0);
    sem_init(&fake.flushed_armed, 0, 0);
    w.inbox = new_box();
    w.outbox = new_box();
    cr_assert_eq(metrics_open(&w.metrics), LEAT_OK);
    cr_assert_eq(topics_open(&w.topics), LEAT_OK);
    struct link *const links[] = { &fake.link };
    const struct shard_options options = { .cpu = -1,
                                           .idle = idle,
                                           .listen_host = "127.0.0.1",
                                           .sessions_max = 8,
                                           .connections_max = 8,
                                           .producer_idle_ns = LEAT_NS_PER_S,
                                           .links = links,
                                           .link_count = 1,
                                           .topics = w.topics,
                                           .inbox = w.inbox,
                                           .outbox = w.outbox,
                                           .metrics = w.metrics };
    cr_assert_eq(shard_open(&w.shard, &options, text), LEAT_OK, "%s", text);
    cr_assert_eq(pthread_create(&w.thread, NULL, shard_run, w.shard), 0);
}

static void stop(void)
{
    const struct message stop = { .type = MESSAGE_STOP };
    cr_assert_eq(mailbox_send(w.inbox, &stop), LEAT_OK);
    pthread_join(w.thread, NULL);
    shard_close(w.shard);
    metrics_close(w.metrics);
}

static void await(sem_t *what, const char *name)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_S;
    cr_assert_eq(sem_timedwait(what, &until), 0, "%s: the shard sleeps", name);
}

TestSuite(shard_idle, .timeout = 60);

Test(shard_idle, what_comes_before_a_link_is_armed_is_found)
{
    start(IDLE_LAPTOP, eventfd(0, EFD_NONBLOCK));
    for (int i = 0; i < TURNS; i++) {
        atomic_store(&fake.comes_early, true);
        eventfd_write(fake.descriptor, 1); /* a wake-up without need, so that it arms anew */
        await(&fake.taken, "came while it was being armed");
    }
    stop();
}

static void wakes(enum idle_mode idle)
{
    start(idle, eventfd(0, EFD_NONBLOCK));
    await(&fake.asked_armed, "asked once more");
    for (int i = 0; i < TURNS; i++) {
        atomic_store(&fake.waits, true);
        eventfd_write(fake.descriptor, 1);
        await(&fake.taken, "came while it slept");
        if (i % 2 == 0) /* else: at any point on its way to sleep */
            await(&fake.asked_armed, "asked once more");
    }
    stop();
}

Test(shard_idle, what_comes_after_is_told_laptop)
{
    wakes(IDLE_LAPTOP);
}

Test(shard_idle, what_comes_after_is_told_balanced)
{
    wakes(IDLE_BALANCED);
}

Test(shard_idle, it_wakes_for_the_links_own_deadline)
{
    start(IDLE_LAPTOP, eventfd(0, EFD_NONBLOCK));
    await(&fake.asked_armed, "asked once more");
    for (int i = 0; i < 20; i++) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        atomic_store(&fake.due,
                     (leat_ns)now.tv_sec * LEAT_NS_PER_S + (leat_ns)now.tv_nsec + LEAT_NS_PER_MS);
        eventfd_write(fake.descriptor, 1); /* it reads the deadline when it goes to sleep */
        await(&fake.flushed_armed, "the deadline");
    }
    stop();
}

Test(shard_idle, a_link_that_cannot_be_armed_is_polled_with_a_backoff)
{
    start(IDLE_LAPTOP, -1);
    for (int i = 0; i < TURNS; i++)
        await(&fake.asked, "asked again and again");
    cr_assert_not(atomic_load(&fake.armed));
    stop();
}

Test(shard_idle, a_link_that_refuses_for_a_while_is_polled_with_a_backoff_until_it_can)
{
    atomic_store(&fake.refuses, true);
    start(IDLE_LAPTOP, eventfd(0, EFD_NONBLOCK));
    for (int i = 0; i < TURNS; i++)
        await(&fake.asked, "asked again and again");
    cr_assert_not(atomic_load(&fake.armed));
    atomic_store(&fake.refuses, false);
    await(&fake.asked_armed, "armed at last");
    stop();
}

Test(shard_idle, one_that_spins_arms_nothing)
{
    start(IDLE_LATENCY, eventfd(0, EFD_NONBLOCK));
    for (int i = 0; i < 1000 * TURNS; i++)
        await(&fake.asked, "asked again and again");
    cr_assert_not(atomic_load(&fake.armed));
    stop();
}

/* The kernel is asked seldom then, but it is asked: who is no client is shown the door. */
Test(shard_idle, one_that_spins_on_ports_alone_still_sees_who_connects)
{
    start(IDLE_LATENCY, -1);
    struct sockaddr_in address = { .sin_family = AF_INET };
    const char *text = shard_tcp_address(w.shard);
    cr_assert_eq(inet_pton(AF_INET, "127.0.0.1", &address.sin_addr), 1);
    address.sin_port = htons((uint16_t)atoi(strrchr(text, ':') + 1));
    for (int i = 0; i < 20; i++) {
        static const uint8_t noise[64] = { 0xFF };
        uint8_t answer[64];
        const struct timeval patience = { .tv_sec = PATIENCE_S };
        const int fd = socket(AF_INET, SOCK_STREAM, 0);
        cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        cr_assert_eq(send(fd, noise, sizeof noise, MSG_NOSIGNAL), (ssize_t)sizeof noise);
        ssize_t got = 1;
        while (got > 0)
            got = recv(fd, answer, sizeof answer, 0);
        cr_assert(got == 0 || errno == ECONNRESET, "the shard has not looked: %s", strerror(errno));
        close(fd);
    }
    stop();
}
