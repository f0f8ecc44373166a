/* Random bytes from the kernel: getrandom, or /dev/urandom where getrandom is refused.
 *
 * Role: fill a buffer. The kernel never runs out once the machine has started. Threads: any. */
#ifndef LEAT_BROKER_SHARED_RANDOM_BYTES_H
#define LEAT_BROKER_SHARED_RANDOM_BYTES_H

#include <stdbool.h>
#include <stddef.h>

/* False: the kernel gave none; errno says why. */
bool random_bytes(void *bytes, size_t size);

#endif
