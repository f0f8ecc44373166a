/* Ringmap: memory mapped twice in a row, so that no run of a ring wraps. */
#include "client/ringmap.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    PAGE_BYTES_MIN = 1 << 16, /* at least the largest page size in use */
    AT_ONCE_BYTES_MAX =
        16 << 20, /* faulting in more would take longer than a peer should wait for us */
};

/* An unnamed file in memory. Old kernels and some seccomp filters refuse memfd_create. */
static int open_memory(void)
{
    const int fd = memfd_create("leat-window", MFD_CLOEXEC);
    if (fd >= 0 || (errno != ENOSYS && errno != EPERM))
        return fd;
    return open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
}

enum leat_error ringmap_reserve(struct ringmap *map, uint64_t size, bool at_once)
{
    uint64_t bytes = PAGE_BYTES_MIN;
    while (bytes < size)
        bytes *= 2;
    const int fd = open_memory();
    if (fd < 0)
        return LEAT_ERR_NO_MEMORY;
    uint8_t *at = MAP_FAILED;
    if (ftruncate(fd, (off_t)bytes) == 0)
        at = mmap(NULL, 2 * bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) {
        close(fd);
        return LEAT_ERR_NO_MEMORY;
    }
    const int protection = PROT_READ | PROT_WRITE;
    if (mmap(at, bytes, protection, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED
        || mmap(at + bytes, bytes, protection, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) {
        munmap(at, 2 * bytes);
        close(fd);
        return LEAT_ERR_NO_MEMORY;
    }
    close(fd);
#ifdef MADV_POPULATE_WRITE /* kernels before 5.14 refuse it; pages are then faulted in later */
    if (at_once && bytes <= AT_ONCE_BYTES_MAX) {
        madvise(at, bytes, MADV_POPULATE_WRITE);
        madvise(at + bytes, bytes, MADV_POPULATE_WRITE);
    }
#else
    (void)at_once;
#endif
    map->bytes = at;
    map->size = bytes;
    return LEAT_OK;
}

void ringmap_release(struct ringmap *map)
{
    if (map->bytes != NULL)
        munmap(map->bytes, 2 * map->size);
    map->bytes = NULL;
    map->size = 0;
}
