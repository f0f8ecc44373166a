/* Memory mapped twice in a row: byte i of a ring is also byte i + size, so that no run of bytes
 * wraps and a batch can be read in place wherever it begins.
 *
 * Role: making and freeing such memory.
 * Must not know: what is kept in it.
 * Threads: any. */
#ifndef LEAT_CLIENT_RINGMAP_H
#define LEAT_CLIENT_RINGMAP_H

#include <stdbool.h>
#include <stdint.h>

#include "schema/error.h"

struct ringmap {
    uint8_t *bytes; /* NULL: none */
    uint64_t size;  /* a power of two, at least a page */
};

/* Maps at least `size` bytes. The kernel allocates pages when they are first touched. With
 * `at_once`, up to 16 MiB are faulted in here, so that no record waits for a page fault; larger
 * rings are not. LEAT_ERR_NO_MEMORY. */
enum leat_error ringmap_reserve(struct ringmap *map, uint64_t size, bool at_once);
void ringmap_release(struct ringmap *map);

#endif
