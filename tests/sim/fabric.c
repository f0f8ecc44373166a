/* Fabric: a network of simulated time between links, that does to datagrams what a seed says. */
#include "tests/sim/fabric.h"

#include <stdlib.h>
#include <string.h>

#include "schema/crc32c.h"

enum {
    PPM = 1000000,
    OUTGOING_MAX = 512, /* staged at one link */
    SLOW_MAX = 1024,    /* references that a slow device holds */
    LATE_MAX = 1024,    /* and that it has not read */
    BURST_LOSS_PPM = 800000,
};

struct buffer {
    uint32_t size;
    uint32_t crc;
    leat_ns due;
    uint64_t order; /* among those due at the same time */
    struct link_peer from, to;
    struct buffer *next; /* at its receiver */
    uint8_t bytes[FABRIC_PAYLOAD_MAX];
};

/* A datagram whose second part is not read yet. */
struct late {
    struct buffer *buffer;
    struct link_reference reference;
    uint32_t crc; /* of the second part, when it was sent */
    leat_ns due;
};

struct fabric_link {
    struct link link;
    struct fabric *fabric;
    struct link_peer self;
    uint8_t host;
    struct buffer *staged[OUTGOING_MAX];
    unsigned staged_count;
    struct link_reference references[OUTGOING_MAX];
    bool slow, full;
    struct link_reference sent[SLOW_MAX]; /* and not told */
    unsigned sent_count;
    leat_ns late_ns;
    struct late late[LATE_MAX];
    unsigned late_count;
};

struct fabric {
    struct seeded random;
    struct fabric_faults faults;
    enum fabric_care care;
    fabric_damage *damage;
    void *damage_user;
    struct fabric_counters counters;
    leat_ns now;
    uint64_t order;
    uint32_t burst_left;
    uint32_t buffers; /* out */
    bool cut[256][256];
    struct fabric_link *links[FABRIC_LINKS_MAX];
    unsigned link_count;
    struct buffer *heap[FABRIC_IN_FLIGHT_MAX + 1]; /* [1 .. in_flight], soonest first */
    uint32_t in_flight;
    struct buffer *spare;
};

static bool chance(struct fabric *f, uint32_t ppm)
{
    return ppm != 0 && seeded_below(&f->random, PPM) < ppm;
}

static struct buffer *take(struct fabric *f)
{
    struct buffer *buffer = f->spare;
    if (buffer != NULL)
        f->spare = buffer->next;
    else
        buffer = malloc(sizeof *buffer);
    if (buffer == NULL)
        abort();
    f->buffers++;
    return buffer;
}

static void give(struct fabric *f, struct buffer *buffer)
{
    buffer->next = f->spare;
    f->spare = buffer;
    f->buffers--;
}

/* ---- what is on the way */

static bool sooner(const struct buffer *a, const struct buffer *b)
{
    return a->due != b->due ? a->due < b->due : a->order < b->order;
}

static void push(struct fabric *f, struct buffer *buffer)
{
    uint32_t at = ++f->in_flight;
    for (; at > 1 && sooner(buffer, f->heap[at / 2]); at /= 2)
        f->heap[at] = f->heap[at / 2];
    f->heap[at] = buffer;
}

static void remove_at(struct fabric *f, uint32_t at)
{
    struct buffer *last = f->heap[f->in_flight--];
    if (at > f->in_flight)
        return;
    for (; at > 1 && sooner(last, f->heap[at / 2]); at /= 2)
        f->heap[at] = f->heap[at / 2];
    for (;;) {
        uint32_t child = 2 * at;
        if (child > f->in_flight)
            break;
        if (child < f->in_flight && sooner(f->heap[child + 1], f->heap[child]))
            child++;
        if (!sooner(f->heap[child], last))
            break;
        f->heap[at] = f->heap[child];
        at = child;
    }
    f->heap[at] = last;
}

static uint8_t host_of(const struct link_peer *peer)
{
    return peer->key.address[15];
}

static bool is_too_large(const struct fabric *f, const struct buffer *buffer)
{
    const struct fabric_faults *faults = &f->faults;
    return faults->mtu != 0 && buffer->size > faults->mtu
           && (faults->mtu_host == 0 || faults->mtu_host == host_of(&buffer->to));
}

static bool is_lost(struct fabric *f, const struct buffer *buffer)
{
    struct fabric_counters *c = &f->counters;
    if (f->cut[host_of(&buffer->from)][host_of(&buffer->to)])
        return ++c->partitioned;
    if (is_too_large(f, buffer))
        return ++c->too_large;
    if (f->burst_left == 0 && chance(f, f->faults.burst_ppm))
        f->burst_left = 1 + seeded_below(&f->random, 2 * f->faults.burst_length);
    if (f->burst_left != 0) {
        f->burst_left--;
        if (chance(f, BURST_LOSS_PPM))
            return ++c->burst_lost;
    }
    return chance(f, f->faults.loss_ppm) ? ++c->lost : false;
}

/* A few bytes, or the end of it. */
static bool damage(struct fabric *f, struct buffer *buffer)
{
    if (f->damage != NULL)
        return f->damage(f->damage_user, &f->random, buffer->bytes, buffer->size);
    if (buffer->size > 1 && seeded_below(&f->random, 8) == 0) {
        buffer->size = 1 + seeded_below(&f->random, buffer->size - 1);
        return true;
    }
    for (uint32_t left = 1 + seeded_below(&f->random, 3); left > 0; left--)
        buffer->bytes[seeded_below(&f->random, buffer->size)] ^=
            (uint8_t)(1 + seeded_below(&f->random, 255));
    return true;
}

static void launch(struct fabric *f, struct buffer *buffer)
{
    const struct fabric_faults *faults = &f->faults;
    if (f->in_flight == FABRIC_IN_FLIGHT_MAX) {
        f->counters.overflowed++;
        give(f, buffer);
        return;
    }
    buffer->due = f->now + faults->delay_ns;
    if (faults->jitter_ns != 0)
        buffer->due += seeded_next(&f->random) % faults->jitter_ns;
    if (faults->reorder_ns != 0 && chance(f, faults->reorder_ppm)) {
        f->counters.reordered++;
        buffer->due += seeded_next(&f->random) % faults->reorder_ns;
    }
    if (chance(f, faults->corrupt_ppm))
        f->counters.corrupted += damage(f, buffer);
    buffer->order = f->order++;
    push(f, buffer);
}

/* ---- the link */

static struct fabric_link *of(struct link *link)
{
    return (struct fabric_link *)link;
}

static unsigned fabric_receive(struct link *link, struct link_datagram *out, unsigned max,
                               leat_ns now)
{
    struct fabric_link *l = of(link);
    struct fabric *f = l->fabric;
    unsigned got = 0;
    while (got < max) {
        /* The soonest that is for this link. The heap is small: what is due at once is near its
         * top, but others' may stand before it. */
        uint32_t best = 0;
        for (uint32_t i = 1; i <= f->in_flight; i++) {
            const struct buffer *b = f->heap[i];
            if (b->due <= now && link_peer_same(&b->to, &l->self)
                && (best == 0 || sooner(b, f->heap[best])))
                best = i;
        }
        if (best == 0)
            break;
        struct buffer *buffer = f->heap[best];
        remove_at(f, best);
        link_count(&link->counters.rx, 1);
        if (f->care < FABRIC_BLIND && leat_crc32c(buffer->bytes, buffer->size) != buffer->crc) {
            link_count(&link->counters.drops[LINK_DROP_UDP], 1);
            give(f, buffer);
            continue;
        }
        f->counters.delivered++;
        link_count(&link->counters.accepted, 1);
        link_count(&link->counters.rx_bytes, buffer->size);
        out[got++] = (struct link_datagram){
            .bytes = buffer->bytes, .size = buffer->size, .peer = buffer->from, .handle = buffer
        };
    }
    return got;
}

static void fabric_release(struct link *link, struct link_datagram *datagrams, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        give(of(link)->fabric, datagrams[i].handle);
}

static bool fabric_reserve(struct link *link, struct link_outgoing *out)
{
    struct fabric_link *l = of(link);
    if (l->staged_count == OUTGOING_MAX) {
        link_count(&link->counters.tx_no_buffer, 1);
        return false;
    }
    struct buffer *buffer = take(l->fabric);
    *out = (struct link_outgoing){ .bytes = buffer->bytes, .handle = buffer };
    return true;
}

static void fabric_cancel(struct link *link, struct link_outgoing *out)
{
    give(of(link)->fabric, out->handle);
}

static void fabric_send(struct link *link, struct link_outgoing *out, uint32_t size,
                        const struct link_reference *reference, const struct link_peer *to)
{
    struct fabric_link *l = of(link);
    struct buffer *buffer = out->handle;
    if (size + (reference != NULL ? reference->size : 0) > FABRIC_PAYLOAD_MAX)
        abort(); /* its sender was told what fits */
    buffer->size = size;
    buffer->from = l->self;
    buffer->to = *to;
    l->references[l->staged_count] = (struct link_reference){ .size = 0 };
    if (reference != NULL)
        l->references[l->staged_count] = *reference;
    l->staged[l->staged_count++] = buffer;
}

/* ---- what was sent from where it lies */

static void come_back(struct fabric_link *l)
{
    for (unsigned i = 0; i < l->sent_count; i++)
        l->sent[i].release(l->sent[i].owner, l->sent[i].token);
    l->sent_count = 0;
}

/* It is read as a device reads it: not when it is sent but when it leaves. */
static void read_reference(struct fabric_link *l, struct buffer *buffer,
                           const struct link_reference *reference)
{
    memcpy(buffer->bytes + buffer->size, reference->bytes, reference->size);
    buffer->size += reference->size;
    link_count(&l->link.counters.tx_references, 1);
    if (l->slow && l->sent_count < SLOW_MAX)
        l->sent[l->sent_count++] = *reference;
    else
        reference->release(reference->owner, reference->token);
}

/* The datagram is whole: it leaves. */
static void leave(struct fabric_link *l, struct buffer *buffer)
{
    struct fabric *f = l->fabric;
    buffer->crc = leat_crc32c(buffer->bytes, buffer->size);
    f->counters.sent++;
    link_count(&l->link.counters.tx, 1);
    link_count(&l->link.counters.tx_bytes, buffer->size);
    if (is_lost(f, buffer)) {
        give(f, buffer);
        return;
    }
    if (chance(f, f->faults.duplicate_ppm)) {
        struct buffer *copy = take(f);
        *copy = *buffer;
        f->counters.duplicated++;
        launch(f, copy);
    }
    launch(f, buffer);
}

/* False: it is not kept, but read now. */
static bool keep_late(struct fabric_link *l, struct buffer *buffer,
                      const struct link_reference *reference)
{
    struct fabric *f = l->fabric;
    if (l->late_ns == 0 || l->late_count == LATE_MAX)
        return false;
    l->late[l->late_count++] =
        (struct late){ .buffer = buffer,
                       .reference = *reference,
                       .crc = leat_crc32c(reference->bytes, reference->size),
                       .due = f->now + seeded_next(&f->random) % l->late_ns };
    return true;
}

/* Reads what is due by now. */
static void read_late(struct fabric_link *l, leat_ns now)
{
    struct fabric_counters *c = &l->fabric->counters;
    unsigned kept = 0;
    for (unsigned i = 0; i < l->late_count; i++) {
        const struct late late = l->late[i];
        if (late.due > now) {
            l->late[kept++] = late;
            continue;
        }
        c->read_late++;
        c->changed += leat_crc32c(late.reference.bytes, late.reference.size) != late.crc;
        read_reference(l, late.buffer, &late.reference);
        leave(l, late.buffer);
    }
    l->late_count = kept;
}

static unsigned fabric_flush(struct link *link, leat_ns now)
{
    struct fabric_link *l = of(link);
    (void)now;
    if (l->full) {
        link_count(&link->counters.tx_kept, l->staged_count != 0);
        return l->staged_count;
    }
    for (unsigned i = 0; i < l->staged_count; i++) {
        struct buffer *buffer = l->staged[i];
        const struct link_reference *reference = &l->references[i];
        if (reference->size != 0 && keep_late(l, buffer, reference))
            continue;
        if (reference->size != 0)
            read_reference(l, buffer, reference);
        leave(l, buffer);
    }
    l->staged_count = 0;
    return 0;
}

static unsigned fabric_reclaim(struct link *link)
{
    struct fabric_link *l = of(link);
    unsigned kept = 0;
    for (unsigned i = 0; i < l->staged_count; i++) {
        const struct link_reference reference = l->references[i];
        if (reference.size == 0) {
            l->staged[kept] = l->staged[i];
            l->references[kept++] = reference;
            continue;
        }
        reference.release(reference.owner, reference.token);
        give(l->fabric, l->staged[i]);
        link_count(&link->counters.tx_lost, 1);
    }
    l->staged_count = kept;
    return l->sent_count + l->late_count;
}

static int fabric_descriptor(const struct link *link)
{
    (void)link;
    return -1;
}

static leat_ns fabric_deadline(const struct link *link)
{
    (void)link;
    return LEAT_NS_NEVER;
}

void fabric_slow(struct link *link, bool slow)
{
    of(link)->slow = slow;
    if (!slow)
        come_back(of(link));
}

void fabric_late(struct link *link, leat_ns most_ns)
{
    of(link)->late_ns = most_ns;
    if (most_ns == 0)
        read_late(of(link), LEAT_NS_NEVER);
}

void fabric_full(struct link *link, bool full)
{
    of(link)->full = full;
}

static void fabric_link_close(struct link *link)
{
    struct fabric_link *l = of(link);
    struct fabric *f = l->fabric;
    fabric_full(link, false);
    fabric_slow(link, false);
    fabric_late(link, 0);
    fabric_flush(link, 0);
    for (unsigned i = 0; i < f->link_count; i++)
        if (f->links[i] == l)
            f->links[i] = f->links[--f->link_count];
    free(l);
}

static const struct link_ops fabric_ops = {
    .receive = fabric_receive,
    .release = fabric_release,
    .reserve = fabric_reserve,
    .cancel = fabric_cancel,
    .send = fabric_send,
    .flush = fabric_flush,
    .reclaim = fabric_reclaim,
    .descriptor = fabric_descriptor,
    .deadline = fabric_deadline,
    .close = fabric_link_close,
};

/* ---- the fabric */

struct fabric *fabric_open(uint64_t seed)
{
    struct fabric *f = calloc(1, sizeof *f);
    if (f == NULL)
        abort();
    f->random.state = seed;
    return f;
}

void fabric_close(struct fabric *f)
{
    while (f->link_count != 0)
        fabric_link_close(&f->links[0]->link);
    while (f->in_flight != 0) {
        struct buffer *buffer = f->heap[1];
        remove_at(f, 1);
        give(f, buffer);
    }
    while (f->spare != NULL) {
        struct buffer *next = f->spare->next;
        free(f->spare);
        f->spare = next;
    }
    free(f);
}

void fabric_care(struct fabric *f, enum fabric_care care)
{
    f->care = care;
}

void fabric_damage_by(struct fabric *f, fabric_damage *by, void *user)
{
    f->damage = by;
    f->damage_user = user;
}

void fabric_set(struct fabric *f, const struct fabric_faults *faults)
{
    f->faults = *faults;
    if (faults->burst_ppm == 0)
        f->burst_left = 0;
}

void fabric_peer(uint8_t host, uint16_t port, struct link_peer *out)
{
    *out = (struct link_peer){ .key = { .port = port } };
    out->key.address[10] = out->key.address[11] = 0xFF;
    out->key.address[12] = 10;
    out->key.address[15] = host;
}

struct link *fabric_link(struct fabric *f, uint8_t host, uint16_t port)
{
    struct fabric_link *l = calloc(1, sizeof *l);
    if (l == NULL || f->link_count == FABRIC_LINKS_MAX)
        abort();
    l->link.ops = &fabric_ops;
    l->link.limits = (struct link_limits){
        .payload_max = FABRIC_PAYLOAD_MAX,
        .reference_min = 256,
        .polled = true,
        .bypass = true,
        .intact = f->care == FABRIC_INTACT || f->care == FABRIC_FALSE,
    };
    l->fabric = f;
    l->host = host;
    fabric_peer(host, port, &l->self);
    f->links[f->link_count++] = l;
    return &l->link;
}

void fabric_cut(struct fabric *f, uint8_t from, uint8_t to, bool cut)
{
    f->cut[from][to] = cut;
}

static bool has_link(const struct fabric *f, const struct link_peer *peer)
{
    for (unsigned i = 0; i < f->link_count; i++)
        if (link_peer_same(&f->links[i]->self, peer))
            return true;
    return false;
}

void fabric_now(struct fabric *f, leat_ns now)
{
    f->now = now;
    for (unsigned i = 0; i < f->link_count; i++)
        read_late(f->links[i], now);
    /* What comes to an address that nobody has any more is nobody's. */
    while (f->in_flight != 0 && f->heap[1]->due <= now && !has_link(f, &f->heap[1]->to)) {
        struct buffer *buffer = f->heap[1];
        remove_at(f, 1);
        give(f, buffer);
    }
}

leat_ns fabric_next(const struct fabric *f)
{
    leat_ns next = LEAT_NS_NEVER;
    for (uint32_t i = 1; i <= f->in_flight; i++) {
        const leat_ns due = f->heap[i]->due;
        if (due > f->now && due < next)
            next = due;
    }
    for (unsigned i = 0; i < f->link_count; i++) {
        for (unsigned k = 0; k < f->links[i]->late_count; k++) {
            const leat_ns due = f->links[i]->late[k].due;
            next = due > f->now && due < next ? due : next;
        }
    }
    return next;
}

const struct fabric_counters *fabric_counters(const struct fabric *f)
{
    return &f->counters;
}

uint32_t fabric_buffers(const struct fabric *f)
{
    return f->buffers;
}
