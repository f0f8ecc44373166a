/* Mailbox: the messages between the control thread and a shard, and the ring that carries them. */
#include "broker/shared/mailbox.h"

#include <assert.h>
#include <unistd.h>

static_assert((MAILBOX_SLOTS & (MAILBOX_SLOTS - 1)) == 0, "indexes are masked");

void mailbox_init(struct mailbox *box, int eventfd)
{
    atomic_init(&box->tail, 0);
    atomic_init(&box->head, 0);
    atomic_init(&box->sleeping, false);
    box->head_seen = 0;
    box->tail_seen = 0;
    box->eventfd = eventfd;
}

enum leat_error mailbox_send(struct mailbox *box, const struct message *message)
{
    const uint64_t tail = atomic_load_explicit(&box->tail, memory_order_relaxed);
    if (tail - box->head_seen == MAILBOX_SLOTS) {
        /* Pairs with the release in mailbox_receive: the slot's last reader is done with it. */
        box->head_seen = atomic_load_explicit(&box->head, memory_order_acquire);
        if (tail - box->head_seen == MAILBOX_SLOTS)
            return LEAT_BUSY;
    }
    box->slots[tail % MAILBOX_SLOTS] = *message;
    /* Pairs with mailbox_receive: the slot is written before it is seen. Also pairs with
     * mailbox_prepare_sleep, where the operations are sequentially consistent too: either the
     * receiver sees the new tail, or this thread sees the flag. */
    atomic_store_explicit(&box->tail, tail + 1, memory_order_seq_cst);
    if (atomic_load_explicit(&box->sleeping, memory_order_seq_cst)) {
        const uint64_t one = 1;
        /* Fails only on overflow, and then the receiver is awake anyway. */
        const ssize_t written = write(box->eventfd, &one, sizeof one);
        (void)written;
    }
    return LEAT_OK;
}

bool mailbox_receive(struct mailbox *box, struct message *out)
{
    const uint64_t head = atomic_load_explicit(&box->head, memory_order_relaxed);
    if (head == box->tail_seen) {
        /* Pairs with the release in mailbox_send. */
        box->tail_seen = atomic_load_explicit(&box->tail, memory_order_acquire);
        if (head == box->tail_seen)
            return false;
    }
    *out = box->slots[head % MAILBOX_SLOTS];
    /* Pairs with the acquire in mailbox_send: the slot may be written again. */
    atomic_store_explicit(&box->head, head + 1, memory_order_release);
    return true;
}

bool mailbox_prepare_sleep(struct mailbox *box)
{
    /* Pairs with mailbox_send: see there. */
    atomic_store_explicit(&box->sleeping, true, memory_order_seq_cst);
    const uint64_t head = atomic_load_explicit(&box->head, memory_order_relaxed);
    if (atomic_load_explicit(&box->tail, memory_order_seq_cst) == head)
        return true;
    mailbox_awake(box);
    return false;
}

void mailbox_awake(struct mailbox *box)
{
    atomic_store_explicit(&box->sleeping, false, memory_order_relaxed);
}
