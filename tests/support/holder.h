/* Somebody who holds connections of another process open: what a fork does, or a thread in the
 * middle of a system call.
 *
 * Role: takes a copy of each TCP connection that a process has, and says what became of them there.
 * Must not know: leatd, libleat.
 * Threads: one. */
#ifndef LEAT_TESTS_SUPPORT_HOLDER_H
#define LEAT_TESTS_SUPPORT_HOLDER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { HOLDER_MAX = 64 };

struct holder {
    pid_t pid;
    unsigned count;
    int copies[HOLDER_MAX];
    uint64_t inodes[HOLDER_MAX]; /* that tell which connection it is */
};

/* Takes what `pid` (also this process) is connected by now; listeners are left alone. False: the
 * kernel does not let us. */
bool holder_take(struct holder *holder, pid_t pid);
/* How many of the connections taken the process still has a descriptor of. */
unsigned holder_open(const struct holder *holder);
/* How many of them one of its epoll instances still watches. */
unsigned holder_watched(const struct holder *holder);
void holder_drop(struct holder *holder);

#endif
