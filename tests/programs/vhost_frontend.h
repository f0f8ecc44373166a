/* A vhost-user front-end without DPDK: its messages, its memory and its two rings. It uses the
 * split rings of virtio 1.0.
 *
 * Role: behaves correctly except where struct wishes asks for a fault.
 * Must not know: DPDK. */
#ifndef LEAT_TESTS_PROGRAMS_VHOST_FRONTEND_H
#define LEAT_TESTS_PROGRAMS_VHOST_FRONTEND_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { /* requests */
       GET_FEATURES = 1,
       SET_FEATURES,
       SET_OWNER,
       SET_MEM_TABLE = 5,
       SET_LOG_BASE,
       SET_VRING_NUM = 8,
       SET_VRING_ADDR,
       SET_VRING_BASE,
       SET_VRING_KICK = 12,
       SET_VRING_CALL,
       GET_PROTOCOL_FEATURES = 15,
       SET_PROTOCOL_FEATURES,
       SET_VRING_ENABLE = 18,
       SET_INFLIGHT_FD = 32,
};
enum {
    HEADER = 12,
    VERSION = 1,
    REGIONS_MAX = 8,
    SLOTS = 64,
    RING_STRIDE = 65536, /* from one ring to the next one */
    AVAILABLE_AT = 8192, /* in a ring; its descriptors are at 0 */
    USED_AT = 16384,
    BUFFERS_AT = 262144,
    BUFFER_BYTES = 2048,
    NET_HEADER = 12,
    ARP_BYTES = 42,
    NEXT = 1,
    WRITE = 2,
    INDIRECT = 4,
    PATIENCE_MS = 5000,
};
#define SIZE ((uint64_t)1 << 20)
#define BASE 0x100000000ull
#define BIT(n) ((uint64_t)1 << (n))
enum { F_LOG_ALL = 26, F_INDIRECT = 28, F_PROTOCOL = 30, F_VERSION_1 = 32 };
enum { P_LOG_SHMFD = 1, P_INFLIGHT_SHMFD = 12 };

static int fd;
static int shared_fd;
static uint8_t *shared;
static int kick[2], call[2];

static void die(const char *what)
{
    fprintf(stderr, "link_hostile_vhost: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void put(uint8_t *at, uint64_t value, unsigned bytes)
{
    memcpy(at, &value, bytes);
}

/* ---- messages */

/* `claimed`: the size that stands in the header. What was hung up on hears of that later. */
static void say_claiming(uint32_t request, uint32_t claimed, const uint8_t *payload, size_t size,
                         int file)
{
    uint8_t bytes[HEADER + 512];
    char control[CMSG_SPACE(sizeof(int))] = { 0 };
    put(bytes, request, 4);
    put(bytes + 4, VERSION, 4);
    put(bytes + 8, claimed, 4);
    if (size != 0)
        memcpy(bytes + HEADER, payload, size);
    struct iovec part = { .iov_base = bytes, .iov_len = HEADER + size };
    struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
    if (file >= 0) {
        message.msg_control = control;
        message.msg_controllen = sizeof control;
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof file);
        memcpy(CMSG_DATA(header), &file, sizeof file);
    }
    const ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL);
    if (sent < 0 && errno != EPIPE && errno != ECONNRESET)
        die("sendmsg");
}

static void say(uint32_t request, const uint8_t *payload, size_t size, int file)
{
    say_claiming(request, (uint32_t)size, payload, size, file);
}

static void say_number(uint32_t request, uint64_t number, int file)
{
    uint8_t payload[8];
    put(payload, number, sizeof payload);
    say(request, payload, sizeof payload, file);
}

static void say_pair(uint32_t request, uint32_t first, uint32_t second)
{
    say_number(request, first | (uint64_t)second << 32, -1);
}

/* False: hung up. */
static bool take(uint8_t *to, size_t size)
{
    for (size_t got = 0; got < size;) {
        struct pollfd one = { .fd = fd, .events = POLLIN };
        if (poll(&one, 1, PATIENCE_MS) <= 0)
            die("no answer to a message");
        const ssize_t n = recv(fd, to + got, size - got, 0);
        if (n <= 0)
            return false;
        got += (size_t)n;
    }
    return true;
}

static bool ask(uint32_t request, uint64_t *out)
{
    uint8_t header[HEADER], payload[512];
    uint32_t size;
    say(request, NULL, 0, -1);
    if (!take(header, sizeof header))
        return false;
    memcpy(&size, header + 8, sizeof size);
    if (size < 8 || size > sizeof payload)
        die("an answer's size");
    if (!take(payload, size))
        return false;
    memcpy(out, payload, sizeof *out);
    return true;
}

static void expect_end(void)
{
    char byte;
    struct pollfd one = { .fd = fd, .events = POLLIN };
    while (poll(&one, 1, PATIENCE_MS) > 0)
        if (recv(fd, &byte, 1, 0) <= 0)
            exit(0);
    fprintf(stderr, "link_hostile_vhost: it was not hung up on\n");
    exit(1);
}

/* The driver has read all that was said so far, or has hung up. */
static void expect_nothing(void)
{
    uint64_t features;
    ask(GET_FEATURES, &features);
    exit(0);
}

/* ---- what is shared, right. Ring 0 is what the broker writes into, ring 1 what it reads. */

static uint8_t *ring(unsigned i)
{
    return shared + (size_t)i * RING_STRIDE;
}

static uint64_t buffer(unsigned i, unsigned slot)
{
    return BASE + BUFFERS_AT + (uint64_t)(i * SLOTS + slot % SLOTS) * BUFFER_BYTES;
}

static void set_descriptor(unsigned i, unsigned slot, uint64_t address, uint32_t length,
                           unsigned flags, unsigned next)
{
    uint8_t *at = ring(i) + (size_t)slot * 16;
    put(at, address, 8);
    put(at + 8, length, 4);
    put(at + 12, flags, 2);
    put(at + 14, next, 2);
}

static void set_entry(unsigned i, unsigned at, unsigned descriptor)
{
    put(ring(i) + AVAILABLE_AT + 4 + 2 * (size_t)at, descriptor, 2);
}

static void set_available(unsigned i, uint16_t count)
{
    __atomic_store_n((uint16_t *)(void *)(ring(i) + AVAILABLE_AT + 2), count, __ATOMIC_RELEASE);
    eventfd_write(kick[i], 1);
}

static uint16_t used(unsigned i)
{
    return __atomic_load_n((uint16_t *)(void *)(ring(i) + USED_AT + 2), __ATOMIC_ACQUIRE);
}

static void make_memory(void)
{
    shared_fd = memfd_create("shared", 0);
    if (shared_fd < 0 || ftruncate(shared_fd, (off_t)SIZE) != 0)
        die("memory");
    shared = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, shared_fd, 0);
    if (shared == MAP_FAILED)
        die("mmap");
    for (unsigned i = 0; i < 2; i++) {
        kick[i] = eventfd(0, EFD_NONBLOCK);
        call[i] = eventfd(0, EFD_NONBLOCK);
        for (unsigned slot = 0; slot < SLOTS; slot++) {
            set_descriptor(i, slot, buffer(i, slot), BUFFER_BYTES, i == 0 ? WRITE : 0, 0);
            set_entry(i, slot, slot);
        }
    }
}

/* ---- the handshake, right but for what is given */

struct wishes {
    bool empty_file, pipe_for_file, logs, log_of_nothing, inflight_of_nothing;
    uint32_t regions; /* 0: one */
    uint64_t size;    /* of the region; 0: right */
    uint64_t offset;  /* in the file */
    uint64_t rings;   /* behind the start of the region */
};

static void say_table(uint32_t count, uint64_t size, uint64_t offset, int file)
{
    uint8_t payload[8 + 32 * REGIONS_MAX] = { 0 };
    const uint32_t described = count < REGIONS_MAX ? count : REGIONS_MAX;
    put(payload, count, 4);
    for (uint32_t i = 0; i < described; i++) {
        uint8_t *at = payload + 8 + (size_t)i * 32;
        put(at, BASE, 8);
        put(at + 8, size, 8);
        put(at + 16, BASE, 8);
        put(at + 24, offset, 8);
    }
    say(SET_MEM_TABLE, payload, 8 + (size_t)described * 32, file);
}

static void say_ring(unsigned i, uint64_t at)
{
    uint8_t payload[40] = { 0 };
    say_pair(SET_VRING_NUM, i, SLOTS);
    say_pair(SET_VRING_BASE, i, 0);
    put(payload, i, 4);
    put(payload + 8, at, 8);
    put(payload + 16, at + USED_AT, 8);
    put(payload + 24, at + AVAILABLE_AT, 8);
    say(SET_VRING_ADDR, payload, sizeof payload, -1);
    say_number(SET_VRING_CALL, i, call[i]);
    say_number(SET_VRING_KICK, i, kick[i]);
}

/* A file with nothing in it, which is said to have `size` bytes. */
static void say_nothing(uint32_t request, uint64_t size)
{
    uint8_t payload[24] = { 0 };
    const int file = memfd_create("nothing", 0);
    put(payload, size, 8);
    put(payload + 16, 1, 2); /* an inflight file's queues, and their size */
    put(payload + 18, SLOTS, 2);
    say(request, payload, request == SET_LOG_BASE ? 16 : sizeof payload, file);
    if (request == SET_LOG_BASE) {
        uint8_t answer[HEADER + 8];
        take(answer, HEADER);
        uint32_t more;
        memcpy(&more, answer + 8, sizeof more);
        take(answer, more < sizeof answer ? more : sizeof answer);
    }
    close(file);
}

/* False: hung up. */
static bool shake(const struct wishes *w)
{
    uint64_t features, protocol;
    int files[2];
    make_memory();
    files[0] = shared_fd;
    if ((w->empty_file && ftruncate(shared_fd, 0) != 0) || (w->pipe_for_file && pipe(files) != 0))
        die("a file");
    if (!ask(GET_FEATURES, &features))
        return false;
    say(SET_OWNER, NULL, 0, -1);
    if (!ask(GET_PROTOCOL_FEATURES, &protocol))
        return false;
    say_number(SET_PROTOCOL_FEATURES, protocol & (BIT(P_LOG_SHMFD) | BIT(P_INFLIGHT_SHMFD)), -1);
    say_number(SET_FEATURES,
               features
                   & (BIT(F_PROTOCOL) | BIT(F_VERSION_1) | BIT(F_INDIRECT)
                      | (w->logs ? BIT(F_LOG_ALL) : 0)),
               -1);
    say_table(w->regions != 0 ? w->regions : 1, w->size != 0 ? w->size : SIZE, w->offset, files[0]);
    if (w->log_of_nothing)
        say_nothing(SET_LOG_BASE, SIZE);
    if (w->inflight_of_nothing)
        say_nothing(SET_INFLIGHT_FD, SIZE);
    for (unsigned i = 0; i < 2; i++)
        say_ring(i, BASE + w->rings + (uint64_t)i * RING_STRIDE);
    for (unsigned i = 0; i < 2; i++)
        say_pair(SET_VRING_ENABLE, i, 1);
    return ask(GET_FEATURES, &features);
}

#endif
