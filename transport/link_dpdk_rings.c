/* DPDK memif rings: validates a peer's descriptors before the driver reads them.
 *
 * DPDK 22.11's memif server trusts its peer's rings: it does not check for an unknown region, an
 * offset beyond its end, or an endless chain. Checks in place would not help, because the peer can
 * change a descriptor after the check. So the driver gets shadow rings in memory that only this
 * process maps. Before each burst the peer's descriptors are read once, checked, and copied; after
 * it the results are copied back:
 *
 *      theirs --(copied, checked)--> ours --> the driver --> ours --(results)--> theirs
 *
 * Packet data is not copied. A region is never larger than its file. A region that contains a ring
 * must be sealed against shrinking; accesses to the others are guarded by fault.c.
 *
 * Role: the two copies and the checks.
 * Must not know: sockets.
 * Threads: the functions before and after a burst the polling lane's, the others the proxy's. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "transport/link_dpdk_port.h"

/* The memif protocol, from memif.h of DPDK 22.11. */
enum {
    COOKIE = 0x3E31F20,
    MASK_INTERRUPT = 1,
    IS_CHAINED = 1,
    RING_LOG2_MAX = 14,
    BUFFER_BYTES_MIN = 64, /* smallest buffer that a peer may offer for our packets */
};
#define REGION_BYTES_MAX (64 * LEAT_GIB)

struct descriptor {
    uint16_t flags;
    uint16_t region;
    uint32_t length;
    uint32_t offset;
    uint32_t metadata;
};
_Static_assert(sizeof(struct descriptor) == 16, "layout of memif's descriptor");

struct ring {
    _Alignas(RTE_CACHE_LINE_SIZE) uint32_t cookie;
    uint16_t flags;
    _Atomic uint16_t head;
    _Alignas(RTE_CACHE_LINE_SIZE) _Atomic uint16_t tail;
    _Alignas(RTE_CACHE_LINE_SIZE) struct descriptor descriptors[];
};

struct way {
    struct ring *theirs, *ours;
    void *mapped; /* the region that contains their ring */
    size_t mapped_bytes;
    uint16_t size;   /* number of descriptors, a power of two; 0: no ring yet */
    uint16_t copied; /* free-running index: descriptors copied from theirs to ours */
    uint16_t given;  /* free-running index, `out` only: descriptors returned to theirs */
};

struct link_dpdk_rings {
    struct region {
        uint64_t size;
        int fd;      /* our duplicate of the peer's descriptor */
        int watched; /* handle of fault_watch */
    } regions[LINK_DPDK_REGIONS];
    uint32_t region_count;
    struct way in, out;    /* `in`: from the peer to us */
    uint32_t packet_bytes; /* maximum size of a received packet: that of our buffers */
    int wake;              /* eventfd of the proxy */
    int own;               /* file of our rings */
    uint8_t *own_base;
    _Atomic bool broken;
};

static size_t ring_bytes(unsigned log2)
{
    return sizeof(struct ring) + (sizeof(struct descriptor) << log2);
}

uint32_t link_dpdk_rings_own_bytes(void)
{
    return (uint32_t)(2 * ring_bytes(RING_LOG2_MAX));
}

uint32_t link_dpdk_rings_own_offset(bool in)
{
    return in ? 0 : (uint32_t)ring_bytes(RING_LOG2_MAX);
}

/* An unnamed file in memory, passed only to the driver. Where the kernel lacks memfd_create or a
 * seccomp filter refuses it, a temporary file takes its place. */
static int make_file(void)
{
    const int fd = memfd_create("leat_rings", MFD_CLOEXEC);
    if (fd >= 0 || (errno != ENOSYS && errno != EPERM))
        return fd;
    return open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
}

struct link_dpdk_rings *link_dpdk_rings_new(int wake)
{
    struct link_dpdk_rings *r = calloc(1, sizeof *r);
    if (r == NULL)
        return NULL;
    r->wake = wake;
    r->own_base = MAP_FAILED;
    r->own = make_file();
    if (r->own >= 0 && ftruncate(r->own, link_dpdk_rings_own_bytes()) == 0)
        r->own_base =
            mmap(NULL, link_dpdk_rings_own_bytes(), PROT_READ | PROT_WRITE, MAP_SHARED, r->own, 0);
    if (r->own_base != MAP_FAILED)
        return r;
    link_dpdk_rings_free(r);
    return NULL;
}

void link_dpdk_rings_free(struct link_dpdk_rings *r)
{
    for (uint32_t i = 0; i < r->region_count; i++) {
        fault_forget(r->regions[i].watched);
        if (r->regions[i].fd >= 0)
            close(r->regions[i].fd);
    }
    if (r->in.mapped != NULL)
        munmap(r->in.mapped, r->in.mapped_bytes);
    if (r->out.mapped != NULL)
        munmap(r->out.mapped, r->out.mapped_bytes);
    if (r->own_base != MAP_FAILED)
        munmap(r->own_base, link_dpdk_rings_own_bytes());
    if (r->own >= 0)
        close(r->own);
    free(r);
}

/* ---- regions and rings that a peer shares */

const char *link_dpdk_rings_add_region(struct link_dpdk_rings *r, uint16_t index, uint64_t size,
                                       int fd)
{
    struct stat found;
    if (index != r->region_count || index >= LINK_DPDK_REGIONS)
        return "bad region index, or too many regions";
    if (fstat(fd, &found) != 0 || !S_ISREG(found.st_mode))
        return "a region must be a regular file";
    if (size == 0 || size > REGION_BYTES_MAX || size > (uint64_t)found.st_size)
        return "a region is larger than its file";
    const int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    const int watched = copy >= 0 ? fault_watch(copy) : -1;
    if (watched < 0) {
        if (copy >= 0)
            close(copy);
        return "too many regions are shared with this process";
    }
    r->regions[r->region_count++] = (struct region){ .size = size, .fd = copy, .watched = watched };
    return NULL;
}

const char *link_dpdk_rings_add_ring(struct link_dpdk_rings *r, bool in, uint16_t region,
                                     uint32_t offset, uint8_t log2)
{
    struct way *w = in ? &r->in : &r->out;
    struct stat found;
    if (w->size != 0)
        return "expected one ring per direction";
    if (region >= r->region_count)
        return "a ring is in an unknown region";
    const struct region *at = &r->regions[region];
    if (log2 == 0 || log2 > RING_LOG2_MAX || offset % RTE_CACHE_LINE_SIZE != 0
        || offset + ring_bytes(log2) > at->size)
        return "a ring does not fit into its region";
    const int seals = fcntl(at->fd, F_GET_SEALS);
    if (seals < 0 || (seals & F_SEAL_SHRINK) == 0 || fstat(at->fd, &found) != 0
        || (uint64_t)found.st_size < at->size)
        return "a region with a ring must be sealed with F_SEAL_SHRINK";
    void *mapped = mmap(NULL, at->size, PROT_READ | PROT_WRITE, MAP_SHARED, at->fd, 0);
    if (mapped == MAP_FAILED)
        return "a region cannot be mapped";
    w->mapped = mapped;
    w->mapped_bytes = at->size;
    w->theirs = (struct ring *)((uint8_t *)mapped + offset);
    w->ours = (struct ring *)(r->own_base + link_dpdk_rings_own_offset(in));
    w->size = (uint16_t)(1u << log2);
    return NULL;
}

static const char *begin(struct way *w)
{
    if (w->size == 0)
        return "a ring is missing";
    if (w->theirs->cookie != COOKIE)
        return "a ring has a wrong cookie";
    atomic_store(&w->theirs->head, 0);
    atomic_store(&w->theirs->tail, 0);
    w->ours->cookie = COOKIE;
    w->ours->flags = MASK_INTERRUPT; /* both ends poll */
    w->copied = w->given = 0;
    return NULL;
}

const char *link_dpdk_rings_begin(struct link_dpdk_rings *r, uint32_t packet_bytes)
{
    r->packet_bytes = packet_bytes;
    const char *why = begin(&r->in);
    if (why == NULL)
        why = begin(&r->out);
    if (why == NULL)
        r->in.theirs->flags = MASK_INTERRUPT;
    return why;
}

void link_dpdk_rings_describe(const struct link_dpdk_rings *r, struct link_dpdk_shared *out)
{
    out->region_count = r->region_count;
    for (uint32_t i = 0; i < r->region_count; i++) {
        out->regions[i].size = r->regions[i].size;
        out->regions[i].fd = r->regions[i].fd;
    }
    out->regions[out->region_count].size = link_dpdk_rings_own_bytes();
    out->regions[out->region_count].fd = r->own;
    out->in_size = r->in.size;
    out->out_size = r->out.size;
}

bool link_dpdk_rings_broken(const struct link_dpdk_rings *r)
{
    for (uint32_t i = 0; i < r->region_count; i++)
        if (fault_met(r->regions[i].watched))
            return true;
    return atomic_load(&r->broken);
}

/* ---- bursts */

/* Stops reading the peer's rings, and makes the proxy disconnect the peer. */
static void give_up(struct link_dpdk_rings *r)
{
    if (!atomic_exchange(&r->broken, true))
        eventfd_write(r->wake, 1);
}

/* Reads the descriptor once, because the peer may change it at any time. */
static inline struct descriptor read_descriptor(const struct descriptor *at)
{
    union {
        uint64_t words[2];
        struct descriptor whole;
    } copy;
    copy.words[0] = __atomic_load_n((const uint64_t *)(const void *)at, __ATOMIC_RELAXED);
    copy.words[1] = __atomic_load_n((const uint64_t *)(const void *)at + 1, __ATOMIC_RELAXED);
    return copy.whole;
}

static inline bool in_region(const struct link_dpdk_rings *r, const struct descriptor *d)
{
    return d->region < r->region_count
           && (uint64_t)d->offset + d->length <= r->regions[d->region].size;
}

/* Copies received descriptors. The driver consumes everything below `head` and follows chains
 * without a bound, so `head` only advances over complete chains. False: the peer broke the rules.
 */
static bool copy_in(struct link_dpdk_rings *r)
{
    struct way *w = &r->in;
    const uint16_t head = atomic_load_explicit(&w->theirs->head, memory_order_acquire);
    const uint16_t done = atomic_load_explicit(&w->ours->tail, memory_order_relaxed);
    uint16_t whole = atomic_load_explicit(&w->ours->head, memory_order_relaxed);
    uint32_t bytes = 0;
    if ((uint16_t)(head - done) > w->size)
        return false;
    w->copied = whole;
    while (w->copied != head) {
        const uint16_t at = w->copied & (w->size - 1);
        const struct descriptor d = read_descriptor(&w->theirs->descriptors[at]);
        const bool chained = (d.flags & IS_CHAINED) != 0;
        bytes += d.length;
        if (!in_region(r, &d) || d.length > r->packet_bytes
            || bytes > r->packet_bytes - (chained ? 1 : 0))
            return false;
        w->ours->descriptors[at] = d;
        w->copied++;
        if (!chained) {
            whole = w->copied;
            bytes = 0;
        }
    }
    if ((uint16_t)(w->copied - whole) == w->size)
        return false; /* a chain that fills the ring */
    atomic_store_explicit(&w->ours->head, whole, memory_order_release);
    return true;
}

/* Copies descriptors of buffers that the peer offers for sending. False: the peer broke the rules.
 */
static bool copy_out(struct link_dpdk_rings *r)
{
    struct way *w = &r->out;
    const uint16_t head = atomic_load_explicit(&w->theirs->head, memory_order_acquire);
    const uint16_t used = atomic_load_explicit(&w->ours->tail, memory_order_relaxed);
    if ((uint16_t)(head - used) > w->size || (uint16_t)(w->copied - used) > (uint16_t)(head - used))
        return false;
    while (w->copied != head) {
        const uint16_t at = w->copied & (w->size - 1);
        struct descriptor d = read_descriptor(&w->theirs->descriptors[at]);
        if (!in_region(r, &d) || d.length < BUFFER_BYTES_MIN)
            return false;
        d.flags = 0;
        w->ours->descriptors[at] = d;
        w->copied++;
    }
    atomic_store_explicit(&w->ours->head, head, memory_order_release);
    return true;
}

void link_dpdk_rings_before_receive(struct link_dpdk_rings *r)
{
    if (!atomic_load_explicit(&r->broken, memory_order_relaxed) && !copy_in(r))
        give_up(r);
}

void link_dpdk_rings_after_receive(struct link_dpdk_rings *r)
{
    atomic_store_explicit(&r->in.theirs->tail,
                          atomic_load_explicit(&r->in.ours->tail, memory_order_relaxed),
                          memory_order_release);
}

void link_dpdk_rings_before_send(struct link_dpdk_rings *r)
{
    if (!atomic_load_explicit(&r->broken, memory_order_relaxed) && !copy_out(r))
        give_up(r);
}

void link_dpdk_rings_after_send(struct link_dpdk_rings *r)
{
    struct way *w = &r->out;
    const uint16_t used = atomic_load_explicit(&w->ours->tail, memory_order_relaxed);
    const uint16_t head = atomic_load_explicit(&w->ours->head, memory_order_relaxed);
    if ((uint16_t)(used - w->given) > w->size || (uint16_t)(head - used) > w->size) {
        give_up(r); /* the buffers were too small for a packet: the driver ran past `head` */
        return;
    }
    for (; w->given != used; w->given++) {
        const uint16_t at = w->given & (w->size - 1);
        const struct descriptor *from = &w->ours->descriptors[at];
        struct descriptor *to = &w->theirs->descriptors[at];
        to->length = from->length;
        to->flags = from->flags;
    }
    atomic_store_explicit(&w->theirs->tail, used, memory_order_release);
}
