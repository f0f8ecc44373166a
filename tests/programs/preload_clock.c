/* A wall clock that is wrong when it is told to be, for a program of its own: loaded before libc
 * (LD_PRELOAD), it adds to CLOCK_REALTIME the nanoseconds that stand in the file $CLOCK_OFFSET, a
 * signed integer of 64 bits that its user may overwrite at any time. Other clocks are the kernel's.
 */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const _Atomic int64_t *offset_ns;

__attribute__((constructor)) static void open_offset(void)
{
    const char *path = getenv("CLOCK_OFFSET");
    const int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *page = MAP_FAILED;
    if (fd >= 0)
        page = mmap(NULL, sizeof *offset_ns, PROT_READ, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED)
        abort(); /* a test that would not test anything */
    close(fd);
    offset_ns = page;
}

__attribute__((visibility("default"))) int clock_gettime(clockid_t clock, struct timespec *time)
{
    const int64_t second = 1000000000;
    const int result = (int)syscall(SYS_clock_gettime, clock, time);
    if (result != 0 || clock != CLOCK_REALTIME || offset_ns == NULL)
        return result;
    const int64_t ns = (int64_t)time->tv_sec * second + time->tv_nsec
                       + atomic_load_explicit(offset_ns, memory_order_relaxed);
    time->tv_sec = ns / second;
    time->tv_nsec = ns % second;
    return 0;
}
