/* Stream buffer: room for what of a publish stream's batches has come in pieces.
 *
 * Role: take room when the first piece comes, as much as is needed, charged to the session's
 * account; let go of it when others need it or nothing has used it for a while.
 * Must not know: pieces, batches, what is to be done when there is no room.
 *
 * A buffer that rests holds nothing: those of a shard are in one list, longest resting first, and
 * give way when the budget or the account has no more.
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
    STREAM_BUFFER_LOOKS = 32, /* at resting ones, for room within one account */
};

struct stream_buffer {
    uint8_t *bytes; /* NULL: none */
    uint32_t room;
    bool resting;  /* in the list */
    uint32_t turn; /* of the trim after which it began to rest */
    struct memory_account *account;
    TAILQ_ENTRY(stream_buffer) node;
};

/* Of one shard. */
struct stream_buffers {
    TAILQ_HEAD(stream_buffer_list, stream_buffer) resting;
    uint32_t turn;
};

void stream_buffers_init(struct stream_buffers *all);
/* Frees those that have rested since before the last call. */
void stream_buffers_trim(struct stream_buffers *all);

/* Room for `need` bytes, and for `want` if there is so much; the `keep` bytes from `from` on are at
 * its beginning then. It does not rest. False: no room, nothing has changed. */
bool stream_buffer_reserve(struct stream_buffers *all, struct stream_buffer *buffer, uint32_t need,
                           uint32_t want, uint32_t from, uint32_t keep);
/* The power of two that holds `need`, or `most` when that is less: room that grows seldom. */
uint32_t stream_buffer_round(uint64_t need, uint32_t most);
/* Nothing in it is needed any more. */
void stream_buffer_rest(struct stream_buffers *all, struct stream_buffer *buffer);
void stream_buffer_free(struct stream_buffers *all, struct stream_buffer *buffer);

#endif
