/* Helpers of all benches: clock, samples and percentiles, results as JSON lines, CPU pinning.
 *
 * Role: the same measurement and output in all of them. Any failure ends the bench with the reason.
 * Must not know: what is measured.
 * Threads: one, and a second within bench_line_ns. */
#ifndef LEAT_BENCH_COMMON_BENCH_H
#define LEAT_BENCH_COMMON_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

uint64_t bench_now_ns(void); /* CLOCK_MONOTONIC */

/* Prints `what` and errno, and ends the program with exit code 1. */
_Noreturn void bench_fail(const char *what);

/* Pins this thread to processor `cpu`, if the machine has it. */
void bench_pin(int cpu);

struct bench_samples {
    uint32_t *ns;
    size_t count, room;
};
void bench_samples_add(struct bench_samples *s, uint64_t ns);
void bench_samples_clear(struct bench_samples *s);
/* Sorts the samples. `percent`: 0 .. 100. Returns nanoseconds; 0 without samples. */
double bench_percentile(struct bench_samples *s, double percent);

void bench_sort(double *values, size_t count);
/* Median and quartiles. bench_spread does not change `values`. */
struct bench_spread {
    double p25, p50, p75;
};
struct bench_spread bench_spread(const double *values, size_t count);

enum bench_goal { BENCH_NO_GOAL, BENCH_AT_MOST, BENCH_AT_LEAST };

/* One line on stdout: {"name":...,"value":...,"unit":...,"target":...,"met":...,"note":...}. */
void bench_emit(const char *name, double value, const char *unit, enum bench_goal goal,
                double target, const char *note);

/* The same for a result that cannot be measured on this machine, with the reason, which is printed
 * on stderr as well. */
void bench_left_out(const char *name, const char *why);

/* Measures the noise of this machine: runs a loop that only reads the clock for `duration_ns`; each
 * sample is the longest pause within a window of `window_ns`. */
void bench_noise(struct bench_samples *out, uint64_t window_ns, uint64_t duration_ns);

/* The latency between two processors: nanoseconds for a cache line to move to the other core and
 * back, median of several runs. On a virtual machine it may change within minutes. */
double bench_line_ns(int cpu, int other);

/* Starts a bare TCP server in a process of its own, on `cpu`, with this congestion control and
 * TCP_NODELAY. It calls `serve` with each accepted connection, and closes the connection after.
 * Returns the pid; *port is its port. */
pid_t bench_serve(void (*serve)(int fd, bool spin), bool spin, int cpu, const char *congestion,
                  uint32_t socket_buffer_bytes, uint16_t *port);
/* Opens a blocking connection to it with the same options. */
int bench_connect(uint16_t port, const char *congestion, uint32_t socket_buffer_bytes);
/* Kills a child process. */
void bench_end(pid_t pid);
/* SIGSTOP and SIGCONT, so that a process that spins does not disturb the other's turn. */
void bench_stop(pid_t pid);
void bench_continue(pid_t pid);

#endif
