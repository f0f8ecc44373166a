/* A real leatd under a test: started on free ports, its ready line read, ended by its own pid.
 *
 * The ports are kept for it while the test runs: a restart finds them free, whatever else this
 * machine starts meanwhile.
 *
 * Role: processes and addresses. The binary is $LEATD, else build/release/bin/leatd.
 * Must not know: what is said to it.
 * Anything that goes wrong here aborts the test with the reason. */
#ifndef LEAT_TESTS_SUPPORT_LEATD_H
#define LEAT_TESTS_SUPPORT_LEATD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { LEATD_SHARDS_MAX = 8, LEATD_ADDRESS_MAX = 64 };

struct leatd {
    pid_t pid; /* 0: not running */
    unsigned shards;
    char control[LEATD_ADDRESS_MAX]; /* "127.0.0.1:7420" */
    char url[LEATD_ADDRESS_MAX + 8]; /* "tcp://127.0.0.1:7420" */
    char data[LEATD_SHARDS_MAX][LEATD_ADDRESS_MAX];
    char config_path[64]; /* of a configuration leatd_start_config wrote; "" else */
    char log_path[64];    /* what it says on stderr goes here */
    bool borrowed_log;
    bool measured; /* see leatd_start_measured */
    /* Sockets bound to the ports, which listen to nothing; 0: none. */
    int kept[1 + LEATD_SHARDS_MAX];
};

/* `leatd --dev` on free ports, waits for the ready line. */
void leatd_start(struct leatd *d);
/* The same, of which leatd_rss_bytes is to be asked: AddressSanitizer, which keeps up to 256 MiB of
 * what was freed, keeps 8 MiB there, so that what grows is the broker's own. */
void leatd_start_measured(struct leatd *d);
/* With this JSON configuration (written to a file of its own), waits for the ready line. The text
 * may say "port": 0. */
void leatd_start_config(struct leatd *d, const char *json);
/* At most `descriptors` file descriptors. */
void leatd_start_limited(struct leatd *d, unsigned descriptors);
/* `leatd --dev --port 0` whose stderr is `path`, which stays the caller's. */
void leatd_start_logging(struct leatd *d, const char *path);
/* `leatd --dev` whose stdout is `fd`, which stays the caller's: what says that it is ready is its
 * log. `data` is not known. */
void leatd_start_printing(struct leatd *d, int fd);
/* Ends it by SIGTERM (or kills it), waits; returns its wait status. The files stay. */
int leatd_stop(struct leatd *d);
int leatd_kill(struct leatd *d);
/* Starts it again on the same control and data ports, with the same configuration. */
void leatd_restart(struct leatd *d);
/* Ends it and removes its files. */
void leatd_end(struct leatd *d);

/* Resident memory now, bytes. */
uint64_t leatd_rss_bytes(const struct leatd *d);
/* User + system time used so far, nanoseconds (in clock ticks' resolution). */
uint64_t leatd_cpu_ns(const struct leatd *d);
/* True when its log has a line with `text`. The broker's lines are written by a thread of its own:
 * one that was just logged may not be there yet. */
bool leatd_log_has(const struct leatd *d, const char *text);
/* The same, and waits for it; false after 10 s. */
bool leatd_log_says(const struct leatd *d, const char *text);
/* True when it is still running. */
bool leatd_alive(struct leatd *d);

#endif
