/* Helpers of all benches: clock, samples and percentiles, results as JSON lines, CPU pinning. */
#include "bench/common/bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

uint64_t bench_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

_Noreturn void bench_fail(const char *what)
{
    fprintf(stderr, "bench: %s (%s)\n", what, strerror(errno));
    exit(1);
}

void bench_pin(int cpu)
{
    cpu_set_t set;
    if (sysconf(_SC_NPROCESSORS_ONLN) <= cpu)
        return;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    sched_setaffinity(0, sizeof set, &set);
}

void bench_samples_add(struct bench_samples *s, uint64_t ns)
{
    if (s->count == s->room) {
        s->room = s->room == 0 ? 65536 : 2 * s->room;
        s->ns = realloc(s->ns, s->room * sizeof *s->ns);
        if (s->ns == NULL)
            bench_fail("memory for samples");
    }
    s->ns[s->count++] = ns > UINT32_MAX ? UINT32_MAX : (uint32_t)ns;
}

void bench_samples_clear(struct bench_samples *s)
{
    s->count = 0;
}

static int compare_u32(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

double bench_percentile(struct bench_samples *s, double percent)
{
    if (s->count == 0)
        return 0;
    qsort(s->ns, s->count, sizeof *s->ns, compare_u32);
    const size_t at = (size_t)(percent / 100 * (double)(s->count - 1) + 0.5);
    return s->ns[at];
}

static int compare_double(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void bench_sort(double *values, size_t count)
{
    qsort(values, count, sizeof *values, compare_double);
}

struct bench_spread bench_spread(const double *values, size_t count)
{
    if (count == 0)
        return (struct bench_spread){ 0 };
    double *sorted = malloc(count * sizeof *sorted);
    if (sorted == NULL)
        bench_fail("a copy to sort");
    memcpy(sorted, values, count * sizeof *sorted);
    bench_sort(sorted, count);
    const struct bench_spread spread = { .p25 = sorted[count / 4],
                                         .p50 = sorted[count / 2],
                                         .p75 = sorted[count * 3 / 4] };
    free(sorted);
    return spread;
}

void bench_emit(const char *name, double value, const char *unit, enum bench_goal goal,
                double target, const char *note)
{
    const bool met = goal == BENCH_AT_MOST ? value <= target : value >= target;
    printf("{\"name\":\"%s\",\"value\":%.4g,\"unit\":\"%s\",", name, value, unit);
    if (goal == BENCH_NO_GOAL)
        printf("\"target\":null,\"met\":null,");
    else
        printf("\"target\":\"%s %.4g\",\"met\":%s,", goal == BENCH_AT_MOST ? "<=" : ">=", target,
               met ? "true" : "false");
    printf("\"note\":\"%s\"}\n", note);
    fflush(stdout);
}

void bench_left_out(const char *name, const char *why)
{
    fprintf(stderr, "bench: %s left out: %s\n", name, why);
    printf("{\"name\":\"%s\",\"value\":null,\"unit\":\"\",\"target\":null,\"met\":null,"
           "\"note\":\"left out: %s\"}\n",
           name, why);
    fflush(stdout);
}

void bench_noise(struct bench_samples *out, uint64_t window_ns, uint64_t duration_ns)
{
    const uint64_t start = bench_now_ns();
    uint64_t last = start, window = start, longest = 0;
    while (last - start < duration_ns) {
        const uint64_t now = bench_now_ns();
        longest = now - last > longest ? now - last : longest;
        last = now;
        if (now - window >= window_ns) {
            bench_samples_add(out, longest);
            window = now;
            longest = 0;
        }
    }
}

enum { LINE_RUNS = 9, LINE_TURNS = 20000 };

static struct {
    alignas(64) _Atomic uint32_t turn; /* odd: the other thread's turn; LINE_OVER: end */
    int other;
} line;

#define LINE_OVER UINT32_MAX

static void *answer_turns(void *unused)
{
    (void)unused;
    bench_pin(line.other);
    for (;;) {
        const uint32_t turn = atomic_load_explicit(&line.turn, memory_order_acquire);
        if (turn == LINE_OVER)
            return NULL;
        if (turn % 2 == 1)
            atomic_store_explicit(&line.turn, turn + 1, memory_order_release);
    }
}

static double take_turns(void)
{
    const uint64_t start = bench_now_ns();
    for (uint32_t i = 0; i < LINE_TURNS; i++) {
        const uint32_t turn = atomic_load_explicit(&line.turn, memory_order_relaxed);
        atomic_store_explicit(&line.turn, turn + 1, memory_order_release);
        while (atomic_load_explicit(&line.turn, memory_order_acquire) != turn + 2)
            ;
    }
    return (double)(bench_now_ns() - start) / LINE_TURNS;
}

double bench_line_ns(int cpu, int other)
{
    double runs[LINE_RUNS];
    pthread_t thread;
    bench_pin(cpu);
    line.other = other;
    atomic_store(&line.turn, 0);
    if (pthread_create(&thread, NULL, answer_turns, NULL) != 0)
        bench_fail("a thread");
    for (int i = 0; i < LINE_RUNS; i++)
        runs[i] = take_turns();
    atomic_store(&line.turn, LINE_OVER);
    pthread_join(thread, NULL);
    return bench_spread(runs, LINE_RUNS).p50;
}

static void set_options(int fd, const char *congestion, uint32_t buffer)
{
    const int on = 1, bytes = (int)buffer;
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0)
        bench_fail("TCP_NODELAY");
    if (buffer != 0
        && (setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes) != 0
            || setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes) != 0))
        bench_fail("socket buffers");
    if (congestion != NULL
        && setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, congestion, (socklen_t)strlen(congestion))
               != 0)
        bench_fail(congestion);
}

pid_t bench_serve(void (*serve)(int fd, bool spin), bool spin, int cpu, const char *congestion,
                  uint32_t socket_buffer_bytes, uint16_t *port)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    socklen_t size = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0)
        bench_fail("socket");
    set_options(listener, congestion, socket_buffer_bytes);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 8) != 0
        || getsockname(listener, (struct sockaddr *)&address, &size) != 0)
        bench_fail("listen");
    *port = ntohs(address.sin_port);
    fflush(stdout);
    const pid_t pid = fork();
    if (pid < 0)
        bench_fail("fork");
    if (pid != 0) {
        close(listener);
        return pid;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    bench_pin(cpu);
    for (;;) {
        const int fd = accept(listener, NULL, NULL);
        if (fd < 0)
            _exit(1);
        serve(fd, spin);
        close(fd);
    }
}

int bench_connect(uint16_t port, const char *congestion, uint32_t socket_buffer_bytes)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        bench_fail("socket");
    set_options(fd, congestion, socket_buffer_bytes);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
        bench_fail("connect");
    return fd;
}

void bench_end(pid_t pid)
{
    bench_continue(pid);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

void bench_stop(pid_t pid)
{
    if (kill(pid, SIGSTOP) != 0)
        bench_fail("SIGSTOP");
}

void bench_continue(pid_t pid)
{
    if (kill(pid, SIGCONT) != 0)
        bench_fail("SIGCONT");
}
