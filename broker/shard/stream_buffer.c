/* Stream buffer: memory for a publish stream's batches that arrive in pieces. */
#include "broker/shard/stream_buffer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void stream_buffers_init(struct stream_buffers *all)
{
    TAILQ_INIT(&all->resting);
    all->turn = 0;
}

static void wake(struct stream_buffers *all, struct stream_buffer *buffer)
{
    if (buffer->resting)
        TAILQ_REMOVE(&all->resting, buffer, node);
    buffer->resting = false;
}

void stream_buffer_free(struct stream_buffers *all, struct stream_buffer *buffer)
{
    wake(all, buffer);
    if (buffer->bytes == NULL)
        return;
    free(buffer->bytes);
    memory_account_give(buffer->account, buffer->room);
    buffer->bytes = NULL;
    buffer->room = 0;
}

void stream_buffer_rest(struct stream_buffers *all, struct stream_buffer *buffer)
{
    if (buffer->resting || buffer->bytes == NULL)
        return;
    buffer->resting = true;
    buffer->turn = all->turn;
    TAILQ_INSERT_TAIL(&all->resting, buffer, node);
}

void stream_buffers_trim(struct stream_buffers *all)
{
    struct stream_buffer *buffer;
    while ((buffer = TAILQ_FIRST(&all->resting)) != NULL && buffer->turn != all->turn)
        stream_buffer_free(all, buffer);
    all->turn++;
}

/* Frees one resting buffer that helps `account`. False: there is none among the first. */
static bool free_resting(struct stream_buffers *all, const struct memory_account *account,
                         uint64_t bytes)
{
    /* When the account has room left, the budget is used up, and any buffer helps. */
    const bool any = memory_account_fits(account, bytes);
    struct stream_buffer *buffer = TAILQ_FIRST(&all->resting);
    for (int looks = 0; buffer != NULL && looks < STREAM_BUFFER_LOOKS; looks++) {
        if (any || buffer->account == account) {
            stream_buffer_free(all, buffer);
            return true;
        }
        buffer = TAILQ_NEXT(buffer, node);
    }
    return false;
}

/* Charges `bytes`, and frees resting buffers for them as needed. */
static bool take(struct stream_buffers *all, struct memory_account *account, uint64_t bytes)
{
    while (!memory_account_try(account, bytes))
        if (!free_resting(all, account, bytes))
            return false;
    return true;
}

uint32_t stream_buffer_round(uint64_t need, uint32_t most)
{
    uint64_t room = STREAM_BUFFER_BYTES_MIN;
    while (room < need)
        room *= 2;
    return room < most ? (uint32_t)room : most;
}

static bool grow(struct stream_buffers *all, struct stream_buffer *buffer, uint32_t need,
                 uint32_t want)
{
    uint32_t room = want > need ? want : need;
    if (!take(all, buffer->account, room - buffer->room)) {
        if (room == need || !take(all, buffer->account, need - buffer->room)) {
            memory_account_refuse(buffer->account);
            return false;
        }
        room = need;
    }
    uint8_t *bytes = realloc(buffer->bytes, room);
    if (bytes == NULL) {
        memory_account_give(buffer->account, room - buffer->room);
        memory_account_refuse(buffer->account);
        return false;
    }
    buffer->bytes = bytes;
    buffer->room = room;
    return true;
}

bool stream_buffer_reserve(struct stream_buffers *all, struct stream_buffer *buffer, uint32_t need,
                           uint32_t want, uint32_t from, uint32_t keep)
{
    assert(keep <= need && from + keep <= buffer->room);
    wake(all, buffer);
    if (need > buffer->room && !grow(all, buffer, need, want))
        return false;
    if (from != 0 && keep != 0)
        memmove(buffer->bytes, buffer->bytes + from, keep);
    return true;
}
