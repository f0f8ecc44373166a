/* Goal: what holds everywhere on a record's way through the broker: in the steady state it costs
 * the shard no allocation, no lock, and no system call but those of its links and of waiting for
 * them; nor does it reach the control plane.
 * Method: control and a shard as leatd composes them, each on its thread in this process, and a
 * client whose records go there and back, small ones and ones of many packets, in a ring that they
 * fill many times over. Counted on the broker's threads: malloc's family and locks behind their own
 * names; system calls by a filter of the shard's thread that asks another thread about each it was
 * not told of.
 * The warm-up has more batches in each partition than the broker remembers results of. Over UDP a
 * stream's buffer for pieces (stream_buffer.h) still grows when packets come further out of order
 * than before, which a busy machine does at any time: as often as it can double, and no more. */
#include <criterion/criterion.h>
#include <dlfcn.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <urcu-qsbr.h>

#include "broker/control/control.h"
#include "broker/shard/shard.h"
#include "client/leat.h"
#include "tests/support/bus.h"
#include "tests/support/sanitized.h"

enum {
    PARTITIONS = 4,
    WARM_UP = 20000,
    BATCH_RECORDS_MAX = 50,
    COUNT = 100000,
    LARGE_EVERY = 64,
    LARGE_BYTES = 20000,
    SMALL_BYTES = 100,
    RING_BYTES = 4 << 20,
    CALLS_MAX = 512,
    /* Of one buffer: from 4 KiB to 2 MiB, twice the window, it has ten sizes. */
    BUFFER_SIZES = 10,
    GROWTHS_MAX = PARTITIONS * BUFFER_SIZES,
    CALLS_PER_GROWTH_MAX = 4, /* of the allocator: a map, an unmap, and what it tells of them */
};
static_assert(WARM_UP / BATCH_RECORDS_MAX / PARTITIONS > LEAT_IN_FLIGHT_BATCHES_MAX,
              "the broker's results have all their room after the warm-up");

/* ---- counting */

enum role { ROLE_NONE, ROLE_SHARD, ROLE_CONTROL, ROLES };

static _Thread_local enum role role;
static atomic_bool counting;
static _Atomic uint64_t allocations[ROLES], growths[ROLES], locks[ROLES];

#if !SANITIZED
static void count(_Atomic uint64_t counters[ROLES])
{
    if (atomic_load_explicit(&counting, memory_order_relaxed))
        atomic_fetch_add_explicit(&counters[role], 1, memory_order_relaxed);
}

/* glibc's own names behind the public ones, so that nothing is needed before it can count. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);
void *malloc(size_t size);
void *calloc(size_t n, size_t size);
void *realloc(void *block, size_t size);

void *malloc(size_t size)
{
    count(allocations);
    return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    count(allocations);
    return __libc_calloc(n, size);
}

void *realloc(void *block, size_t size)
{
    count(growths);
    return __libc_realloc(block, size);
}

/* Nobody calls these before the loader can name what is behind them. */
static int lock_behind(_Atomic uintptr_t *behind, const char *name, void *lock)
{
    count(locks);
    if (*behind == 0)
        *behind = (uintptr_t)dlsym(RTLD_NEXT, name);
    return ((int (*)(void *)) * behind)(lock);
}

int pthread_mutex_lock(pthread_mutex_t *lock)
{
    static _Atomic uintptr_t behind;
    return lock_behind(&behind, "pthread_mutex_lock", lock);
}

int pthread_rwlock_rdlock(pthread_rwlock_t *lock)
{
    static _Atomic uintptr_t behind;
    return lock_behind(&behind, "pthread_rwlock_rdlock", lock);
}

int pthread_rwlock_wrlock(pthread_rwlock_t *lock)
{
    static _Atomic uintptr_t behind;
    return lock_behind(&behind, "pthread_rwlock_wrlock", lock);
}
#endif

/* ---- system calls of the shard's thread */

static const unsigned expected_calls[] = {
    SYS_read,       SYS_write,       SYS_readv,        SYS_writev,    SYS_recvfrom,
    SYS_recvmsg,    SYS_recvmmsg,    SYS_sendto,       SYS_sendmsg,   SYS_sendmmsg,
    SYS_epoll_wait, SYS_epoll_pwait, SYS_epoll_pwait2, SYS_epoll_ctl,
};
enum { EXPECTED = sizeof expected_calls / sizeof expected_calls[0] };

static struct {
    bool wanted;
    int told[2]; /* a pipe: the filter's descriptor, or -errno */
    pthread_t watcher;
    int refused; /* an errno */
    _Atomic uint64_t calls[CALLS_MAX];
} filter;

/* Everything that is not expected waits until the watcher has counted it. */
static int install_filter(void)
{
    struct sock_filter code[EXPECTED + 3];
    unsigned n = 0;
    code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                                             (uint32_t)offsetof(struct seccomp_data, nr));
    for (unsigned i = 0; i < EXPECTED; i++)
        code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, expected_calls[i],
                                                 (uint8_t)(EXPECTED - i), 0);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    const struct sock_fprog program = { .len = (unsigned short)n, .filter = code };
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return -errno;
    const long fd =
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
    return fd >= 0 ? (int)fd : -errno;
}

/* Ends when the last thread under the filter has. */
static void *watch_calls(void *unused)
{
    int fd;
    (void)unused;
    if (read(filter.told[0], &fd, sizeof fd) != sizeof fd || fd < 0)
        return NULL;
    for (;;) {
        struct pollfd ready = { .fd = fd, .events = POLLIN };
        struct seccomp_notif call = { 0 };
        if (poll(&ready, 1, -1) < 0 || (ready.revents & POLLIN) == 0)
            break;
        if (ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, &call) != 0)
            continue;
        if (atomic_load(&counting) && (unsigned)call.data.nr < CALLS_MAX)
            filter.calls[call.data.nr]++;
        struct seccomp_notif_resp go = { .id = call.id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE };
        ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, &go);
    }
    close(fd);
    return NULL;
}

/* ---- a broker */

static struct {
    struct config config;
    struct catalog catalog;
    struct metrics *metrics;
    struct topics *topics;
    struct mailbox *inbox, *outbox;
    int wake, shard_wake;
    struct shard *shard;
    struct control *control;
    struct control_shard_ends link;
    pthread_t shard_thread, control_thread;
    char url[64];
} b;

static void shard_thread_enters(void)
{
    role = ROLE_SHARD;
    if (!filter.wanted)
        return;
    const int fd = install_filter();
    const ssize_t told = write(filter.told[1], &fd, sizeof fd);
    (void)told;
    filter.refused = fd < 0 ? -fd : 0;
    atomic_store(&counting, true);
    syscall(SYS_getppid); /* one that is not expected: the test looks for it */
    atomic_store(&counting, false);
}

static void *control_thread(void *unused)
{
    (void)unused;
    rcu_register_thread();
    role = ROLE_CONTROL;
    control_run(b.control);
    rcu_unregister_thread();
    return NULL;
}

static struct mailbox *new_box(int wake)
{
    struct mailbox *box = aligned_alloc(alignof(struct mailbox), sizeof *box);
    cr_assert_neq(box, NULL);
    mailbox_init(box, wake);
    return box;
}

static void open_broker(void)
{
    char text[CONTROL_ERROR_TEXT];
    sigset_t signals; /* control's end */
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    rcu_register_thread();
    config_init(&b.config, true);
    cr_assert(config_set_port(&b.config, 0));
    b.config.log_memory_bytes = UINT64_C(64) << 20;
    catalog_init(&b.catalog);
    b.catalog.incarnation = 1;
    b.wake = eventfd(0, EFD_NONBLOCK);
    b.shard_wake = eventfd(0, EFD_NONBLOCK);
    b.inbox = new_box(b.shard_wake);
    b.outbox = new_box(b.wake);
    cr_assert_eq(metrics_open(&b.metrics), LEAT_OK);
    cr_assert_eq(topics_open(&b.topics), LEAT_OK);
    const struct shard_options options = { .cpu = -1,
                                           .idle = b.config.idle,
                                           .listen_host = b.config.host,
                                           .sessions_max = b.config.sessions_max,
                                           .connections_max = b.config.connections_max,
                                           .udp = true,
                                           .thread_enter = shard_thread_enters,
                                           .producer_idle_ns = UINT64_C(3600) * LEAT_NS_PER_S,
                                           .topics = b.topics,
                                           .inbox = b.inbox,
                                           .outbox = b.outbox,
                                           .metrics = b.metrics };
    cr_assert_eq(shard_open(&b.shard, &options, text), LEAT_OK, "%s", text);
    if (filter.wanted) {
        cr_assert_eq(pipe(filter.told), 0);
        cr_assert_eq(pthread_create(&filter.watcher, NULL, watch_calls, NULL), 0);
    }
    cr_assert_eq(pthread_create(&b.shard_thread, NULL, shard_run, b.shard), 0);
    b.link = (struct control_shard_ends){ .inbox = b.inbox,
                                          .outbox = b.outbox,
                                          .tcp_address = shard_tcp_address(b.shard),
                                          .udp_address = shard_udp_address(b.shard) };
    const struct control_options control = { .config = &b.config,
                                             .topics = b.topics,
                                             .catalog = &b.catalog,
                                             .shards = &b.link,
                                             .wake = b.wake,
                                             .metrics = b.metrics };
    cr_assert_eq(control_open(&b.control, &control, text), LEAT_OK, "%s", text);
    snprintf(b.url, sizeof b.url, "tcp://%s", control_address(b.control));
    cr_assert_eq(pthread_create(&b.control_thread, NULL, control_thread, NULL), 0);
    rcu_thread_offline(); /* from here on this thread is the client's */
}

static void close_broker(void)
{
    kill(getpid(), SIGTERM);
    pthread_join(b.control_thread, NULL);
    pthread_join(b.shard_thread, NULL);
    if (filter.wanted) {
        pthread_join(filter.watcher, NULL);
        close(filter.told[0]);
        close(filter.told[1]);
    }
    rcu_thread_online();
    shard_close(b.shard);
    control_close(b.control);
    topics_close(b.topics);
    metrics_close(b.metrics);
    catalog_free(&b.catalog);
    config_free(&b.config);
    close(b.wake);
    close(b.shard_wake);
    free(b.inbox);
    free(b.outbox);
    rcu_unregister_thread();
}

/* ---- records */

static void pump(leat_client *client, leat_producer *producer, leat_consumer *consumer,
                 uint64_t records)
{
    static uint8_t value[LARGE_BYTES];
    uint64_t sent = 0, received = 0;
    while (received < records) {
        for (int i = 0; i < 50 && sent < records; i++) {
            const struct leat_record record = { .key = &sent,
                                                .key_size = sizeof sent,
                                                .value = value,
                                                .value_size = sent % LARGE_EVERY == 0 ? LARGE_BYTES
                                                                                      : SMALL_BYTES,
                                                .partition = LEAT_ANY_PARTITION };
            if (leat_producer_send(producer, &record) != 0)
                break;
            sent++;
        }
        struct leat_record got[128];
        leat_client_poll(client, received == sent ? SECOND : 0);
        received += (uint64_t)leat_consumer_poll(consumer, got, 128);
    }
}

/* Warmed up, then counted. */
static void run(const char *way)
{
    leat_client *client = bus_open(bus_url(way, b.url));
    leat_consumer *consumer;
    bus_create(client, "t",
               (struct leat_topic_settings){ .partitions = PARTITIONS,
                                             .ring_bytes = RING_BYTES,
                                             .record_bytes_max = LARGE_BYTES + 64 });
    leat_producer *producer;
    const struct leat_producer_options options = { .size = sizeof options,
                                                   .batch_records_max = BATCH_RECORDS_MAX };
    cr_assert_eq(leat_producer_open(client, &producer, "t", &options), 0, "%s",
                 leat_client_error(client));
    const char *topic = "t";
    cr_assert_eq(leat_consumer_open(client, &consumer, &topic, 1, NULL), 0);
    pump(client, producer, consumer, WARM_UP);
    atomic_store(&counting, true);
    pump(client, producer, consumer, COUNT);
    atomic_store(&counting, false);
    leat_client_close(client);
}

/* That a buffer for pieces may need. */
static uint64_t growths_allowed(const char *way)
{
    return strcmp(way, "udp") == 0 ? GROWTHS_MAX : 0;
}

static bool is_allocators_call(unsigned call)
{
    return call == SYS_mmap || call == SYS_munmap || call == SYS_mremap || call == SYS_brk
           || call == SYS_mprotect || call == SYS_madvise;
}

BUS_TEST(broker, a_record_costs_no_allocation_and_no_lock)
{
    if (SANITIZED)
        cr_skip_test("a sanitizer has the allocator to itself");
    open_broker();
    role = ROLE_SHARD;
    atomic_store(&counting, true);
    void *volatile block = malloc(1); /* volatile: the compiler may not see through it */
    block = realloc(block, 2);
    free(block);
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&mutex);
    pthread_mutex_unlock(&mutex);
    atomic_store(&counting, false);
    role = ROLE_NONE;
    cr_assert_eq(allocations[ROLE_SHARD], 1u, "allocations are counted");
    cr_assert_eq(growths[ROLE_SHARD], 1u, "growths are counted");
    cr_assert_eq(locks[ROLE_SHARD], 1u, "locks are counted");
    memset(&allocations, 0, sizeof allocations);
    memset(&growths, 0, sizeof growths);
    memset(&locks, 0, sizeof locks);
    run(way);
    cr_expect_eq(allocations[ROLE_SHARD], 0u, "%llu allocations for %d records",
                 (unsigned long long)allocations[ROLE_SHARD], COUNT);
    cr_expect_leq(growths[ROLE_SHARD], growths_allowed(way), "%llu growths for %d records",
                  (unsigned long long)growths[ROLE_SHARD], COUNT);
    cr_expect_eq(locks[ROLE_SHARD], 0u, "%llu locks taken for %d records",
                 (unsigned long long)locks[ROLE_SHARD], COUNT);
    const uint64_t by_control = allocations[ROLE_CONTROL] + growths[ROLE_CONTROL];
    cr_expect_leq(by_control, 16u, "control allocated %llu times for %d records (pings cost some)",
                  (unsigned long long)by_control, COUNT);
    close_broker();
}

BUS_TEST(broker, a_record_costs_no_system_call_but_its_links)
{
    if (SANITIZED)
        cr_skip_test("a sanitizer's own calls are among the shard's");
    filter.wanted = true;
    open_broker();
    run(way);
    close_broker();
    if (filter.refused != 0)
        cr_skip_test("no filter of system calls here: %s", strerror(filter.refused));
    cr_assert_eq(filter.calls[SYS_getppid], 1u, "calls are counted");
    filter.calls[SYS_getppid] = 0;
    cr_expect_leq(growths[ROLE_SHARD], growths_allowed(way), "%llu growths for %d records",
                  (unsigned long long)growths[ROLE_SHARD], COUNT);
    for (unsigned i = 0; i < CALLS_MAX; i++) {
        const uint64_t allowed =
            is_allocators_call(i) ? CALLS_PER_GROWTH_MAX * growths[ROLE_SHARD] : 0;
        cr_expect_leq(filter.calls[i], allowed, "system call %u: %llu times for %d records", i,
                      (unsigned long long)filter.calls[i], COUNT);
    }
}
