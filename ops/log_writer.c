/* Log writer: queues lines in a ring buffer for the one thread that writes them. */
#include "ops/log_writer.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "schema/units.h"

enum { LENGTH_BYTES = sizeof(uint32_t) }; /* before each line in the ring */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t wanted;  /* to the thread: a new line or descriptor, or stop */
    pthread_cond_t drained; /* from the thread: it has ended, with nothing left to write */
    pthread_t thread;
    int fd;
    log_writer_lost_fn *tell_lost;
    bool started;  /* only the thread writes */
    bool stopping; /* the thread ends when the ring is empty */
    bool ended;
    bool failed;         /* the last write; retried when something new is queued */
    bool torn;           /* the last write ended in the middle of a line */
    uint64_t lost;       /* lines lost and not yet reported */
    uint64_t lost_at;    /* position of the first of them */
    uint64_t head, tail; /* positions, never reused */
    char ring[LOG_WRITER_RING_BYTES];
} state = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .wanted = PTHREAD_COND_INITIALIZER,
    .fd = -1,
};

/* ---- the ring, under the lock */

static void ring_copy_in(const void *bytes, size_t size)
{
    const size_t at = state.tail % sizeof state.ring;
    const size_t first = size < sizeof state.ring - at ? size : sizeof state.ring - at;
    memcpy(state.ring + at, bytes, first);
    memcpy(state.ring, (const char *)bytes + first, size - first);
    state.tail += size;
}

static void ring_copy_out(void *bytes, size_t size)
{
    const size_t at = state.head % sizeof state.ring;
    const size_t first = size < sizeof state.ring - at ? size : sizeof state.ring - at;
    memcpy(bytes, state.ring + at, first);
    memcpy((char *)bytes + first, state.ring, size - first);
    state.head += size;
}

static void lose(uint64_t lines, uint64_t at)
{
    if (state.lost == 0)
        state.lost_at = at;
    state.lost += lines;
}

/* ---- writing */

/* False: not everything was written. *torn: a part was. */
static bool write_whole(int fd, const char *bytes, size_t size, bool *torn)
{
    size_t done = 0;
    *torn = false;
    while (done < size) {
        const ssize_t wrote = write(fd, bytes + done, size - done);
        if (wrote > 0) {
            done += (size_t)wrote;
        } else if (wrote < 0 && errno == EAGAIN) { /* another process made it non-blocking */
            struct pollfd out = { .fd = fd, .events = POLLOUT };
            poll(&out, 1, -1);
        } else if (wrote == 0 || errno != EINTR) {
            *torn = done > 0;
            return false;
        }
    }
    return true;
}

static bool something_to_write(void)
{
    return !state.failed && (state.head != state.tail || state.lost != 0);
}

/* Writes the next line, or the report about lost lines in their place. The thread releases the lock
 * while it writes. */
static void write_next(bool thread)
{
    static char line[1 + LOG_WRITER_LINE_BYTES]; /* only one thread writes at a time */
    uint32_t size;
    uint64_t lines = 1;
    line[0] = '\n';
    if (state.lost != 0 && state.head == state.lost_at) {
        lines = state.lost;
        state.lost = 0;
        size = (uint32_t)state.tell_lost(line + 1, lines);
    } else {
        ring_copy_out(&size, sizeof size);
        ring_copy_out(line + 1, size);
    }
    const int fd = state.fd;
    const char *const from = state.torn ? line : line + 1;
    const size_t length = size + (size_t)(line + 1 - from);
    bool torn;
    if (thread)
        pthread_mutex_unlock(&state.lock);
    const bool whole = write_whole(fd, from, length, &torn);
    if (thread)
        pthread_mutex_lock(&state.lock);
    state.torn = whole ? false : state.torn || torn;
    if (!whole) {
        state.failed = true;
        lose(lines, state.head);
        state.lost_at = state.head; /* before the lines lost during the write */
    }
}

static void *run(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&state.lock);
    while (something_to_write() || !state.stopping)
        if (something_to_write())
            write_next(true);
        else
            pthread_cond_wait(&state.wanted, &state.lock);
    state.ended = true;
    pthread_cond_signal(&state.drained);
    pthread_mutex_unlock(&state.lock);
    return NULL;
}

/* ---- the calls */

/* There is something new, so a failed write may be retried. */
static void wake_writer(void)
{
    state.failed = false;
    if (state.started) {
        pthread_cond_signal(&state.wanted);
        return;
    }
    while (something_to_write())
        write_next(false);
}

void log_writer_set(int fd, log_writer_lost_fn *tell_lost)
{
    pthread_mutex_lock(&state.lock);
    state.torn = state.torn && state.fd == fd;
    state.fd = fd;
    state.tell_lost = tell_lost;
    wake_writer();
    pthread_mutex_unlock(&state.lock);
}

void log_writer_put(const char *line, size_t size)
{
    assert(size > 0 && size <= LOG_WRITER_LINE_BYTES);
    const uint32_t length = (uint32_t)size;
    pthread_mutex_lock(&state.lock);
    if (state.fd < 0 || LENGTH_BYTES + size > sizeof state.ring - (state.tail - state.head)) {
        lose(1, state.tail);
    } else {
        ring_copy_in(&length, sizeof length);
        ring_copy_in(line, size);
    }
    if (state.fd >= 0)
        wake_writer();
    pthread_mutex_unlock(&state.lock);
}

bool log_writer_start(void)
{
    pthread_condattr_t monotonic;
    sigset_t all, before;
    pthread_mutex_lock(&state.lock);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&state.drained, &monotonic);
    pthread_condattr_destroy(&monotonic);
    sigfillset(&all); /* the thread handles no signals */
    pthread_sigmask(SIG_BLOCK, &all, &before);
    state.stopping = state.ended = false;
    state.started = pthread_create(&state.thread, NULL, run, NULL) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    const bool started = state.started;
    pthread_mutex_unlock(&state.lock);
    return started;
}

void log_writer_stop(uint64_t patience_ns)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    const uint64_t ns = (uint64_t)until.tv_nsec + patience_ns;
    until.tv_sec += (time_t)(ns / LEAT_NS_PER_S);
    until.tv_nsec = (long)(ns % LEAT_NS_PER_S);
    pthread_mutex_lock(&state.lock);
    if (!state.started) {
        pthread_mutex_unlock(&state.lock);
        return;
    }
    state.stopping = true;
    pthread_cond_signal(&state.wanted);
    int error = 0;
    while (!state.ended && error == 0)
        error = pthread_cond_timedwait(&state.drained, &state.lock, &until);
    const bool ended = state.ended;
    state.started = !ended;
    pthread_mutex_unlock(&state.lock);
    if (ended)
        pthread_join(state.thread, NULL);
    else
        pthread_detach(state.thread);
}
