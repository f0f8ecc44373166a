/* Log memory: a ring of bytes that is mapped twice in a row, so that every slice is contiguous. */
#include "broker/log/logmem.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "schema/units.h"

#define HUGEPAGE_BYTES (UINT64_C(2) * LEAT_MIB)

#ifdef LEAT_TSAN

/* The second half is separate memory here; logmem_write keeps both halves equal. */
static bool map_ring(struct logmem *out, bool huge)
{
    if (huge)
        return false;
    out->base = calloc(2, out->size);
    return out->base != NULL;
}

static void unmap_ring(struct logmem *mem)
{
    free(mem->base);
}

void logmem_write(const struct logmem *mem, uint64_t at, const void *bytes, uint64_t length)
{
    assert(at < mem->size && length <= mem->size);
    for (uint64_t i = 0; i < length; i++) {
        const uint64_t place = (at + i) % mem->size;
        mem->base[place] = mem->base[place + mem->size] = ((const uint8_t *)bytes)[i];
    }
}

#else

/* Maps both halves to one file, at an address aligned to its page size. */
static bool map_twice(struct logmem *out, int fd, uint64_t page)
{
    const uint64_t room = 2 * out->size + page;
    uint8_t *const reserved =
        mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (reserved == MAP_FAILED)
        return false;
    uint8_t *const base = reserved + (page - (uintptr_t)reserved % page) % page;
    uint8_t *const end = base + 2 * out->size;
    if (base != reserved)
        munmap(reserved, (size_t)(base - reserved));
    if (end != reserved + room)
        munmap(end, (size_t)(reserved + room - end));
    for (int half = 0; half < 2; half++) {
        uint8_t *const at = base + (uint64_t)half * out->size;
        if (mmap(at, out->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0)
            == MAP_FAILED) {
            const int reason = errno;
            munmap(base, 2 * out->size);
            errno = reason;
            return false;
        }
    }
    /* The pages are allocated already. This fills the page tables, so that no append takes a page
     * fault. A kernel without this flag (before 5.14) faults once per page. */
    madvise(base, 2 * out->size, MADV_POPULATE_WRITE);
    out->base = base;
    return true;
}

/* Allocates every page now, so that no later write can fail. A signal undoes a fallocate that has
 * begun, so it is retried. Where a seccomp filter refuses fallocate, writing one byte to each page
 * allocates it. */
static bool take_pages(int fd, uint64_t size, uint64_t page)
{
    int result;
    do
        result = fallocate(fd, 0, 0, (off_t)size);
    while (result != 0 && errno == EINTR);
    if (result == 0)
        return true;
    const bool refused = errno == ENOSYS || errno == EPERM;
    for (uint64_t at = 0; refused && at < size; at += page)
        if (pwrite(fd, "", 1, (off_t)at) != 1)
            return false;
    return refused;
}

/* Opens an unnamed file in memory. The oldest kernels and some seccomp filters lack
 * memfd_create. */
static int open_memory(unsigned flags)
{
    const int fd = memfd_create("leat-log", flags);
    if (fd >= 0 || (errno != ENOSYS && errno != EPERM) || (flags & MFD_HUGETLB) != 0)
        return fd;
    return open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
}

static bool map_ring(struct logmem *out, bool huge)
{
    const unsigned flags = MFD_CLOEXEC | (huge ? MFD_HUGETLB | MFD_HUGE_2MB : 0u);
    const uint64_t page = huge ? HUGEPAGE_BYTES : (uint64_t)sysconf(_SC_PAGESIZE);
    const int fd = open_memory(flags);
    if (fd < 0)
        return false;
    const bool mapped = ftruncate(fd, (off_t)out->size) == 0 && take_pages(fd, out->size, page)
                        && map_twice(out, fd, page);
    const int reason = errno;
    close(fd);
    errno = reason;
    return mapped;
}

static void unmap_ring(struct logmem *mem)
{
    munmap(mem->base, 2 * mem->size);
}

void logmem_write(const struct logmem *mem, uint64_t at, const void *bytes, uint64_t length)
{
    assert(at < mem->size && length <= mem->size);
    memcpy(mem->base + at, bytes, length);
}

#endif

enum leat_error logmem_open(struct logmem *out, uint64_t size, struct logmem_budget *budget,
                            uint64_t *missing_bytes)
{
    assert(size != 0 && (size & (size - 1)) == 0);
    const uint64_t left =
        budget->limit_bytes - atomic_load_explicit(&budget->used_bytes, memory_order_relaxed);
    if (size > left) {
        *missing_bytes = size - left;
        return LEAT_ERR_NO_MEMORY;
    }
    *missing_bytes = 0;
    struct logmem mem = { .size = size };
    const bool try_huge = budget->pages != LOGMEM_NORMAL && size >= HUGEPAGE_BYTES;
    mem.hugepages = try_huge && map_ring(&mem, true);
    const bool may_fall_back = budget->pages != LOGMEM_HUGE || !try_huge;
    if (!mem.hugepages && (!may_fall_back || !map_ring(&mem, false))) {
        budget->refused = errno;
        return LEAT_ERR_NO_MEMORY;
    }
    /* Relaxed: these are statistics, and order nothing. */
    atomic_fetch_add_explicit(&budget->used_bytes, size, memory_order_relaxed);
    atomic_fetch_add_explicit(&budget->normal_bytes, mem.hugepages ? 0 : size,
                              memory_order_relaxed);
    *out = mem;
    if (budget->opened != NULL)
        budget->opened(out);
    return LEAT_OK;
}

void logmem_close(struct logmem *mem, struct logmem_budget *budget)
{
    if (mem->base == NULL)
        return;
    if (budget->closing != NULL)
        budget->closing(mem);
    unmap_ring(mem);
    atomic_fetch_sub_explicit(&budget->used_bytes, mem->size, memory_order_relaxed);
    atomic_fetch_sub_explicit(&budget->normal_bytes, mem->hugepages ? 0 : mem->size,
                              memory_order_relaxed);
    mem->base = NULL;
}
