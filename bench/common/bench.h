/* What every bench needs: a clock, samples and their percentiles, results as JSON lines, a core of
 * one's own.
 *
 * Role: the same way of measuring and telling in all of them. Any failure ends the bench with the
 * reason. Must not know: what is measured. Threads: one, and a second within bench_line_ns. */
#ifndef LEAT_BENCH_COMMON_BENCH_H
#define LEAT_BENCH_COMMON_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

uint64_t bench_now_ns(void); /* CLOCK_MONOTONIC */

/* Ends the program with exit code 1. */
_Noreturn void bench_fail(const char *what);

/* Runs this thread on processor `cpu` alone, where the machine has more than one. */
void bench_pin(int cpu);

struct bench_samples {
    uint32_t *ns;
    size_t count, room;
};
void bench_samples_add(struct bench_samples *s, uint64_t ns);
void bench_samples_clear(struct bench_samples *s);
/* Sorts them. `percent` 0 .. 100; of no samples: 0. */
double bench_percentile(struct bench_samples *s, double percent);

void bench_sort(double *values, size_t count);
/* Median and quartiles; the numbers stay as they are. */
struct bench_spread {
    double p25, p50, p75;
};
struct bench_spread bench_spread(const double *values, size_t count);

enum bench_goal { BENCH_NO_GOAL, BENCH_AT_MOST, BENCH_AT_LEAST };

/* One line on stdout: {"name":...,"value":...,"unit":...,"target":...,"met":...,"note":...}. */
void bench_emit(const char *name, double value, const char *unit, enum bench_goal goal,
                double target, const char *note);

/* The same for what this machine does not let measure, with the reason; said on stderr, too. */
void bench_left_out(const char *name, const char *why);

/* The noise of this machine: for `duration_ns` a loop that only reads the clock; each sample is the
 * longest pause within a window of `window_ns`. */
void bench_noise(struct bench_samples *out, uint64_t window_ns, uint64_t duration_ns);

/* How far apart two processors are: nanoseconds for one cache line to the other's core and back,
 * median of several runs. On a virtual machine that may change within minutes. */
double bench_line_ns(int cpu, int other);

/* A bare TCP server in a process of its own, on `cpu`, with this congestion control and
 * TCP_NODELAY. `serve` gets each accepted connection and returns when it closed. Returns the pid;
 * *port is its port. */
pid_t bench_serve(void (*serve)(int fd, bool spin), bool spin, int cpu, const char *congestion,
                  uint32_t socket_buffer_bytes, uint16_t *port);
/* A blocking connection to it with the same options. */
int bench_connect(uint16_t port, const char *congestion, uint32_t socket_buffer_bytes);
/* Ends a process started here. */
void bench_end(pid_t pid);
/* Freezes and thaws a process, so that one that spins does not disturb the other's turn. */
void bench_stop(pid_t pid);
void bench_continue(pid_t pid);

#endif
