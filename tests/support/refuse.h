/* Refused system calls: what an older kernel or a container's seccomp profile does.
 *
 * Role: install a filter in the calling process. It lasts until the process ends, so it belongs
 * into a process of its own (Criterion gives every test one). */
#ifndef LEAT_TESTS_SUPPORT_REFUSE_H
#define LEAT_TESTS_SUPPORT_REFUSE_H

#include <stdbool.h>

/* From now on `call` (a SYS_ number) fails with `error` in all threads of the process.
 * False: this machine has no seccomp filters. */
bool refuse_call(long call, int error);
/* The same where its first argument is `fd`. */
bool refuse_call_on(long call, int fd, int error);

#endif
