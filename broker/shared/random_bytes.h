/* Random bytes from the kernel: getrandom, or /dev/urandom where getrandom is refused.
 *
 * Role: fill a buffer. It cannot fail for lack of entropy once the machine has booted.
 * Threads: any. */
#ifndef LEAT_BROKER_SHARED_RANDOM_BYTES_H
#define LEAT_BROKER_SHARED_RANDOM_BYTES_H

#include <stdbool.h>
#include <stddef.h>

/* False: the kernel gave none; errno says why. */
bool random_bytes(void *bytes, size_t size);

#endif
