/* Stream buffer: memory for a publish stream's batches that arrive in pieces.
 *
 * Role: allocate as much as is needed when the first piece arrives, charged to the session's
 * account; free it when others need it, or when nothing has used it for a while.
 * Must not know: pieces, batches, what to do without memory.
 *
 * A resting buffer holds nothing that is needed. Those of a shard are in one list, longest resting
 * first, and are freed when the budget or the account is used up.
 *
 * Threads: the owning shard. */
#ifndef LEAT_BROKER_SHARD_STREAM_BUFFER_H
#define LEAT_BROKER_SHARD_STREAM_BUFFER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "broker/log/memory_budget.h"

enum {
    STREAM_BUFFER_BYTES_MIN = 4096,
    STREAM_BUFFER_LOOKS = 32, /* resting buffers that are searched for one of the same account */
};

struct stream_buffer {
    uint8_t *bytes; /* NULL: none */
    uint32_t room;
    bool resting;  /* in the list of resting buffers */
    uint32_t turn; /* turn of `all` when it began to rest */
    struct memory_account *account;
    TAILQ_ENTRY(stream_buffer) node;
};

/* The buffers of one shard. */
struct stream_buffers {
    TAILQ_HEAD(stream_buffer_list, stream_buffer) resting;
    uint32_t turn;
};

void stream_buffers_init(struct stream_buffers *all);
/* Frees the buffers that have rested since before the last call. */
void stream_buffers_trim(struct stream_buffers *all);

/* Makes room for `need` bytes, or for `want` if there is so much memory. The `keep` bytes at `from`
 * are moved to the beginning. The buffer no longer rests. False: no memory; the bytes have not
 * changed. */
bool stream_buffer_reserve(struct stream_buffers *all, struct stream_buffer *buffer, uint32_t need,
                           uint32_t want, uint32_t from, uint32_t keep);
/* Rounds `need` up to a power of two, but at most to `most`, so that the buffer is seldom grown. */
uint32_t stream_buffer_round(uint64_t need, uint32_t most);
/* The buffer holds nothing that is needed: it may be freed when others need memory. */
void stream_buffer_rest(struct stream_buffers *all, struct stream_buffer *buffer);
void stream_buffer_free(struct stream_buffers *all, struct stream_buffer *buffer);

#endif
