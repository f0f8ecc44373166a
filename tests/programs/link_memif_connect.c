/* link_memif_connect SOCKET COUNT: connects to a memif server and breaks off COUNT times, each time
 * at another point of the handshake or with an invalid message. Then it opens as many connections
 * as the server accepts, and keeps them as long as its standard input is open.
 *
 * Role: what a peer that is killed, or is hostile, does to a server.
 * Must not know: DPDK. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { MESSAGE_BYTES = 128, STANDING = 100, WAYS = 5 };

static int connect_to(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    memcpy(address.sun_path, path, strnlen(path, sizeof address.sun_path - 1));
    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        fprintf(stderr, "link_memif_connect: %s: %s\n", path, strerror(errno));
        exit(1);
    }
    return fd;
}

static void send_or_not(int fd, const void *bytes, size_t size)
{
    if (send(fd, bytes, size, MSG_NOSIGNAL) < 0 && errno != EPIPE && errno != ECONNRESET) {
        perror("link_memif_connect: send");
        exit(1);
    }
}

/* A descriptor that nobody asked for, with a message of a type that there is not. */
static void send_descriptor(int fd)
{
    char bytes[MESSAGE_BYTES] = { 77 };
    char control[CMSG_SPACE(sizeof fd)] = { 0 };
    struct iovec part = { .iov_base = bytes, .iov_len = sizeof bytes };
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control
    };
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(header), &fd, sizeof fd);
    sendmsg(fd, &message, MSG_NOSIGNAL);
}

static void be_rude(const char *path, unsigned way)
{
    char bytes[4 * MESSAGE_BYTES] = { 0 };
    const int fd = connect_to(path);
    switch (way) {
    case 1: send_or_not(fd, bytes, 1); break;
    case 2: send_or_not(fd, bytes, sizeof bytes); break;
    case 3: send_descriptor(fd); break;
    case 4: /* until the server has said who it is */
        if (recv(fd, bytes, sizeof bytes, 0) > 0)
            send_or_not(fd, bytes, MESSAGE_BYTES);
        break;
    default: break; /* gone at once */
    }
    close(fd);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    const unsigned count = (unsigned)strtoul(argv[2], NULL, 10);
    for (unsigned i = 0; i < count; i++)
        be_rude(argv[1], i % WAYS);
    for (int i = 0; i < STANDING; i++)
        connect_to(argv[1]);
    printf("standing\n");
    fflush(stdout);
    while (getchar() != EOF)
        ;
    return 0;
}
