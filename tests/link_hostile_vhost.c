/* link_hostile_vhost SOCKET WAY: a vhost-user front-end that means harm, in one of these ways. Exit
 * code 0: the broker did what the way expects, which is to hang up within some seconds or to go on
 * answering; 1: it did not; 3: WAY is not known. Without WAY: prints them all.
 *
 * Role: what a process that shares memory with a vhost-user backend can do to it. Must not know:
 * DPDK. The protocol is vhost-user's, with split rings of virtio 1.0. */
#include <errno.h>
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

/* ---- what is done once connected */

/* A question that makes the broker send; its answer comes into ring 0. */
static void put_question(unsigned slot)
{
    static const uint8_t question[ARP_BYTES] = { 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 2,  0, 0, 0, 0,
                                                 9,    8,    6,    0,    1,    8,    0,  6, 4, 0, 1,
                                                 2,    0,    0,    0,    0,    9,    10, 9, 1, 9, 0,
                                                 0,    0,    0,    0,    0,    10,   9,  1, 1 };
    const uint64_t at = buffer(1, slot);
    memset(shared + (at - BASE), 0, NET_HEADER);
    memcpy(shared + (at - BASE) + NET_HEADER, question, sizeof question);
    set_descriptor(1, slot, at, NET_HEADER + sizeof question, 0, 0);
}

static bool is_arp_answer(const uint8_t *frame)
{
    return frame[12] == 8 && frame[13] == 6 && frame[21] == 2;
}

/* Nothing is wrong. */
static void nothing(void)
{
    put_question(0);
    set_available(0, SLOTS);
    set_available(1, 1);
    for (int i = 0; i < PATIENCE_MS; i++) {
        poll(NULL, 0, 1);
        for (unsigned slot = 0; slot < used(0) && slot < SLOTS; slot++)
            if (is_arp_answer(shared + (buffer(0, slot) - BASE) + NET_HEADER))
                exit(0);
    }
    die("no answer");
}

/* So many of ring 1 were read, or it is hung up. */
static void wait_used(uint16_t count)
{
    for (int i = 0; i < PATIENCE_MS; i++, poll(NULL, 0, 1)) {
        struct pollfd one = { .fd = fd, .events = POLLIN };
        if (used(1) >= count || poll(&one, 1, 0) != 0)
            return;
    }
    die("nothing was read");
}

/* It comes with a frame that is right: when that one is reported, it was looked at. */
static void read_one(uint64_t address, uint32_t length, unsigned flags, unsigned next)
{
    put_question(0);
    set_descriptor(1, 1, address, length, flags, next);
    set_available(1, 2);
    wait_used(1);
    exit(0);
}

static void wild_address(void)
{
    read_one(0xFFFFFFFFFFFFF000ull, 64, 0, 0);
}

static void wild_length(void)
{
    read_one(buffer(1, 1), UINT32_MAX, 0, 0);
}

static void behind_the_end(void)
{
    read_one(BASE + SIZE - 64, 128, 0, 0);
}

static void short_frame(void)
{
    read_one(buffer(1, 1), 1, 0, 0);
}

static void endless_chain(void)
{
    read_one(buffer(1, 1), 64, NEXT, 1);
}

static void wild_next(void)
{
    read_one(buffer(1, 1), 64, NEXT, 40000);
}

static void wild_indirect(void)
{
    read_one(0xFFFFFFFFFFFFF000ull, 1600, INDIRECT, 0);
}

static void long_indirect(void)
{
    read_one(BASE + SIZE - 64, 16u << 16, INDIRECT, 0);
}

static void wild_entry(void)
{
    set_entry(1, 0, 50000);
    set_available(1, 1);
    expect_nothing();
}

static void wild_count(void)
{
    set_available(1, 40000);
    expect_nothing();
}

/* Where it would write its answer. */
static void answer_to(uint64_t address, uint32_t length)
{
    for (unsigned slot = 0; slot < SLOTS; slot++)
        set_descriptor(0, slot, address, length, WRITE, 0);
    set_available(0, SLOTS);
    for (uint16_t count = 1; count <= 2; count++) { /* the second is read when one was answered */
        put_question(count - 1u);
        set_available(1, count);
        wait_used(count);
    }
    exit(0);
}

static void wild_answer(void)
{
    answer_to(0xFFFFFFFFFFFFF000ull, BUFFER_BYTES);
}

static void no_room_for_an_answer(void)
{
    answer_to(buffer(0, 0), 0);
}

static void take_memory_away(void)
{
    if (ftruncate(shared_fd, 0) != 0)
        die("ftruncate");
    eventfd_write(kick[1], 1);
    expect_end();
}

/* A new table while it runs; its memory is gone before it is used, or once it is. Another size
 * makes it new. */
static void renew(bool before)
{
    const int file = memfd_create("new", 0);
    uint64_t features;
    if (file < 0 || ftruncate(file, 2 * (off_t)SIZE) != 0 || (before && ftruncate(file, 0) != 0))
        die("a file");
    say_table(1, 2 * SIZE, 0, file);
    if (!ask(GET_FEATURES, &features))
        exit(0);
    if (!before && ftruncate(file, 0) != 0)
        die("ftruncate");
    for (unsigned i = 0; i < 2; i++)
        eventfd_write(kick[i], 1);
    expect_end();
}

static void renew_with_nothing(void)
{
    renew(true);
}

static void renew_and_take_away(void)
{
    renew(false);
}

/* What it writes is to be noted in a file with nothing in it. */
static void log_answer(void)
{
    put_question(0);
    set_available(0, SLOTS);
    set_available(1, 1);
    expect_end();
}

static void claim_much(void)
{
    say_claiming(SET_FEATURES, UINT32_MAX, NULL, 0, -1);
    expect_end();
}

static void half_a_header(void)
{
    if (send(fd, "abcd", 4, MSG_NOSIGNAL) != 4)
        die("send");
    expect_end();
}

static void wild_request(void)
{
    say_number(77777, 0, -1);
    expect_end();
}

static void wild_ring(void)
{
    say_pair(SET_VRING_NUM, 70000, 64);
    expect_end();
}

/* The rest never comes. */
static void half_a_message(void)
{
    say_claiming(SET_FEATURES, 8, NULL, 0, -1);
    puts("said");
    fflush(stdout);
    expect_end();
}

static const struct way {
    const char *name;
    struct wishes wishes;
    void (*act)(void); /* NULL: is hung up on before it is connected, or when it is */
    bool alone;        /* holds others up: not one of those that are printed */
} ways[] = {
    { "nothing", { 0 }, nothing, false },
    { "empty-file", { .empty_file = true }, NULL, false },
    { "region-larger-than-file", { .size = 16 * SIZE, .rings = 8 * SIZE }, NULL, false },
    { "region-partly-in-file", { .size = 16 * SIZE }, NULL, false },
    { "region-behind-file", { .offset = 16 * SIZE }, NULL, false },
    { "region-wraps", { .size = UINT64_MAX - 4095, .offset = 8192 }, NULL, false },
    { "regions-many", { .regions = 1000 }, NULL, false },
    { "region-of-a-pipe", { .pipe_for_file = true }, NULL, false },
    { "rings-outside", { .rings = 4 * SIZE }, expect_nothing, false },
    { "rings-at-the-end", { .rings = SIZE - 8 }, expect_nothing, false },
    { "inflight-of-nothing", { .inflight_of_nothing = true }, expect_nothing, false },
    { "log-of-nothing", { .logs = true, .log_of_nothing = true }, log_answer, false },
    { "wild-address", { 0 }, wild_address, false },
    { "wild-length", { 0 }, wild_length, false },
    { "behind-the-end", { 0 }, behind_the_end, false },
    { "short-frame", { 0 }, short_frame, false },
    { "endless-chain", { 0 }, endless_chain, false },
    { "wild-next", { 0 }, wild_next, false },
    { "wild-indirect", { 0 }, wild_indirect, false },
    { "long-indirect", { 0 }, long_indirect, false },
    { "wild-entry", { 0 }, wild_entry, false },
    { "wild-count", { 0 }, wild_count, false },
    { "wild-answer", { 0 }, wild_answer, false },
    { "no-room-for-an-answer", { 0 }, no_room_for_an_answer, false },
    { "take-memory-away", { 0 }, take_memory_away, false },
    { "renew-with-nothing", { 0 }, renew_with_nothing, false },
    { "renew-and-take-away", { 0 }, renew_and_take_away, false },
    { "claim-much", { 0 }, claim_much, false },
    { "half-a-header", { 0 }, half_a_header, false },
    { "wild-request", { 0 }, wild_request, false },
    { "wild-ring", { 0 }, wild_ring, false },
    { "half-a-message", { 0 }, half_a_message, true },
};
enum { WAYS = sizeof ways / sizeof ways[0] };

static void connect_to(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    memcpy(address.sun_path, path, strnlen(path, sizeof address.sun_path - 1));
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof address) != 0)
        die(path);
}

int main(int argc, char **argv)
{
    for (unsigned i = 0; argc < 3 && i < WAYS; i++)
        if (!ways[i].alone)
            puts(ways[i].name);
    if (argc < 3)
        return 0;
    for (unsigned i = 0; i < WAYS; i++) {
        if (strcmp(ways[i].name, argv[2]) != 0)
            continue;
        connect_to(argv[1]);
        if (shake(&ways[i].wishes) && ways[i].act != NULL)
            ways[i].act();
        expect_end();
    }
    return 3;
}
