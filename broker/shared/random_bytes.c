/* Random bytes from the kernel: getrandom, or /dev/urandom where getrandom is refused. */
#include "broker/shared/random_bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/random.h>
#include <unistd.h>

static bool from_device(uint8_t *bytes, size_t size)
{
    size_t done = 0;
    const int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    while (done < size) {
        const ssize_t got = read(fd, bytes + done, size - done);
        if (got == 0 || (got < 0 && errno != EINTR))
            break;
        done += got > 0 ? (size_t)got : 0;
    }
    close(fd);
    return done == size;
}

bool random_bytes(void *bytes, size_t size)
{
    size_t done = 0;
    while (done < size) {
        const ssize_t got = getrandom((uint8_t *)bytes + done, size - done, 0);
        if (got < 0 && errno != EINTR)
            return from_device(bytes, size);
        done += got > 0 ? (size_t)got : 0;
    }
    return true;
}
