/* Wire: links between the ends of one process; sending a datagram copies a pointer. */
#include "bench/common/wire.h"

#include <stdlib.h>

enum { WIRE_BUFFERS = WIRE_ENDS * WIRE_PLACES, ADDRESS_LAST = 15 };

struct wire_buffer {
    uint32_t size;
    uint32_t from; /* which end */
    uint8_t bytes[WIRE_PAYLOAD_MAX];
};

struct wire_side {
    struct link link;
    struct wire *wire;
    struct link_peer self;
    int index;
    /* Datagrams to this end: [head, tail), free-running indices. */
    uint32_t head, tail;
    struct wire_buffer *queue[WIRE_PLACES];
};

struct wire {
    struct wire_side sides[WIRE_ENDS];
    uint32_t free_count;
    struct wire_buffer *free[WIRE_BUFFERS];
    struct wire_buffer *buffers;
};

static struct wire_side *of(struct link *link)
{
    return (struct wire_side *)link;
}

static unsigned wire_receive(struct link *link, struct link_datagram *out, unsigned max,
                             leat_ns now)
{
    struct wire_side *side = of(link);
    unsigned got = 0;
    (void)now;
    for (; got < max && side->head != side->tail; got++) {
        struct wire_buffer *buffer = side->queue[side->head++ % WIRE_PLACES];
        out[got].bytes = buffer->bytes;
        out[got].size = buffer->size;
        out[got].peer = side->wire->sides[buffer->from].self;
        out[got].handle = buffer;
    }
    link_count(&link->counters.rx, got);
    link_count(&link->counters.accepted, got);
    return got;
}

static void wire_release(struct link *link, struct link_datagram *datagrams, unsigned count)
{
    struct wire *wire = of(link)->wire;
    for (unsigned i = 0; i < count; i++)
        wire->free[wire->free_count++] = datagrams[i].handle;
}

static bool wire_reserve(struct link *link, struct link_outgoing *out)
{
    struct wire *wire = of(link)->wire;
    if (wire->free_count == 0)
        return false;
    struct wire_buffer *buffer = wire->free[--wire->free_count];
    out->bytes = buffer->bytes;
    out->handle = buffer;
    return true;
}

static void wire_cancel(struct link *link, struct link_outgoing *out)
{
    struct wire *wire = of(link)->wire;
    wire->free[wire->free_count++] = out->handle;
}

static void wire_send(struct link *link, struct link_outgoing *out, uint32_t size,
                      const struct link_reference *reference, const struct link_peer *to)
{
    struct wire *wire = of(link)->wire;
    struct wire_side *other = &wire->sides[(to->key.address[ADDRESS_LAST] - 1u) % WIRE_ENDS];
    struct wire_buffer *buffer = out->handle;
    if (reference != NULL) {
        memcpy(buffer->bytes + size, reference->bytes, reference->size);
        size += reference->size;
        reference->release(reference->owner, reference->token);
    }
    buffer->size = size;
    buffer->from = (uint32_t)of(link)->index;
    if (other->tail - other->head == WIRE_PLACES) {
        wire->free[wire->free_count++] = buffer;
        return;
    }
    other->queue[other->tail++ % WIRE_PLACES] = buffer;
}

static unsigned wire_flush(struct link *link, leat_ns now)
{
    (void)link;
    (void)now;
    return 0;
}

static unsigned wire_reclaim(struct link *link)
{
    (void)link;
    return 0;
}

static int wire_descriptor(const struct link *link)
{
    (void)link;
    return -1;
}

static leat_ns wire_deadline(const struct link *link)
{
    (void)link;
    return LEAT_NS_NEVER;
}

static void wire_close_end(struct link *link)
{
    (void)link; /* wire_close frees it */
}

struct wire *wire_open(uint32_t reference_min)
{
    static const struct link_ops ops = { .receive = wire_receive,
                                         .release = wire_release,
                                         .reserve = wire_reserve,
                                         .cancel = wire_cancel,
                                         .send = wire_send,
                                         .flush = wire_flush,
                                         .reclaim = wire_reclaim,
                                         .descriptor = wire_descriptor,
                                         .deadline = wire_deadline,
                                         .close = wire_close_end };
    struct wire *wire = calloc(1, sizeof *wire);
    if (wire == NULL)
        return NULL;
    wire->buffers = calloc(WIRE_BUFFERS, sizeof *wire->buffers);
    if (wire->buffers == NULL) {
        free(wire);
        return NULL;
    }
    for (uint32_t i = 0; i < WIRE_BUFFERS; i++)
        wire->free[wire->free_count++] = &wire->buffers[i];
    for (int i = 0; i < WIRE_ENDS; i++) {
        struct wire_side *side = &wire->sides[i];
        side->link.ops = &ops;
        side->link.limits = (struct link_limits){ .payload_max = WIRE_PAYLOAD_MAX,
                                                  .reference_min = reference_min,
                                                  .polled = true,
                                                  .bypass = true };
        side->wire = wire;
        side->index = i;
        side->self.key.address[10] = side->self.key.address[11] = 0xFF;
        side->self.key.address[12] = 10;
        side->self.key.address[ADDRESS_LAST] = (uint8_t)(i + 1);
        side->self.key.port = (uint16_t)(7430 + i);
    }
    return wire;
}

void wire_close(struct wire *wire)
{
    free(wire->buffers);
    free(wire);
}

struct link *wire_end(struct wire *wire, int end)
{
    return &wire->sides[end].link;
}
