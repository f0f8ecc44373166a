/* Memory mapped twice in a row: byte i of a ring is also byte i + size, so that no run of the ring
 * ever wraps and a batch can be read in place wherever it begins.
 *
 * Role: making and giving back such memory.
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

/* At least `size` bytes. Pages are taken from the system when first touched, or with `at_once`
 * here, so that no record has to wait for one; beyond 16 MiB they come as they are touched all the
 * same. LEAT_ERR_NO_MEMORY. */
enum leat_error ringmap_reserve(struct ringmap *map, uint64_t size, bool at_once);
void ringmap_release(struct ringmap *map);

#endif
