/* link_hostile SOCKET WAY: a memif peer that attacks the broker in one way, and waits until the
 * broker disconnects it. Exit status 0: it was disconnected; 1: it was not within some seconds; 3:
 * WAY is unknown. Without WAY it prints all ways.
 *
 * It speaks memif 2.0. All that it shares is valid except for what WAY names.
 *
 * Role: what a process that shares memory with a broker can do to it.
 * Must not know: DPDK. */
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

enum {
    MESSAGE_BYTES = 128,
    LINE = 64,
    COOKIE = 0x3E31F20,
    LOG2 = 6,
    SLOTS = 1 << LOG2,
    BUFFER_BYTES = 2048,
    RING_BYTES = 2 * LINE + 16 * SLOTS + LINE, /* rounded up */
    BUFFERS_AT = 2 * RING_BYTES,
    REGION_BYTES = BUFFERS_AT + 2 * SLOTS * BUFFER_BYTES,
    OTHER_BYTES = 1 << 20, /* of the second region, which is not sealed */
    PATIENCE_MS = 5000,
    ARP_BYTES = 42,
};
enum { INIT = 3, ADD_REGION, ADD_RING, CONNECT, CONNECTED, DISCONNECT };

static int fd;
static uint8_t *shared, *other;
static int shared_fd, other_fd;

static void die(const char *what)
{
    fprintf(stderr, "link_hostile: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void put(uint8_t *at, uint64_t value, unsigned bytes)
{
    memcpy(at, &value, bytes);
}

static bool say(const uint8_t bytes[MESSAGE_BYTES], const int *descriptors, unsigned count)
{
    char control[CMSG_SPACE(4 * sizeof(int))] = { 0 };
    struct iovec part = { .iov_base = (void *)(uintptr_t)bytes, .iov_len = MESSAGE_BYTES };
    struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
    if (count != 0) {
        message.msg_control = control;
        message.msg_controllen = CMSG_SPACE(count * sizeof(int));
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(header), descriptors, count * sizeof(int));
    }
    return sendmsg(fd, &message, MSG_NOSIGNAL) == MESSAGE_BYTES;
}

/* The type of the next message; 0: hung up, -1: nothing came. */
static int hear(void)
{
    uint8_t bytes[2 * MESSAGE_BYTES];
    struct pollfd one = { .fd = fd, .events = POLLIN };
    if (poll(&one, 1, PATIENCE_MS) <= 0)
        return -1;
    if (recv(fd, bytes, sizeof bytes, 0) <= 0)
        return 0;
    if (bytes[0] == DISCONNECT)
        printf("link_hostile: told \"%.96s\"\n", (const char *)bytes + 6);
    return bytes[0];
}

/* The broker has had enough of us. */
static void expect_end(void)
{
    int heard;
    while ((heard = hear()) > 0)
        ;
    exit(heard == 0 ? 0 : 1);
}

static void expect(int type)
{
    const int heard = hear();
    if (heard == type)
        return;
    if (heard == DISCONNECT || heard == 0)
        expect_end();
    fprintf(stderr, "link_hostile: message %d instead of %d\n", heard, type);
    exit(1);
}

/* ---- what is shared, right */

static uint8_t *ring(bool in)
{
    return shared + (in ? 0 : RING_BYTES);
}

static uint8_t *descriptor(bool in, unsigned slot)
{
    return ring(in) + 2 * LINE + 16 * (slot % SLOTS);
}

static void set_descriptor(bool in, unsigned slot, unsigned flags, unsigned region, uint32_t length,
                           uint32_t offset)
{
    uint8_t *at = descriptor(in, slot);
    put(at, flags, 2);
    put(at + 2, region, 2);
    put(at + 4, length, 4);
    put(at + 8, offset, 4);
}

static uint32_t buffer(bool in, unsigned slot)
{
    return BUFFERS_AT + (slot % SLOTS + (in ? 0 : SLOTS)) * BUFFER_BYTES;
}

static void set_head(bool in, uint16_t head)
{
    __atomic_store_n((uint16_t *)(void *)(ring(in) + 6), head, __ATOMIC_RELEASE);
}

static void make_memory(bool seals)
{
    shared_fd = memfd_create("shared", MFD_ALLOW_SEALING);
    other_fd = memfd_create("other", 0);
    if (shared_fd < 0 || other_fd < 0 || ftruncate(shared_fd, REGION_BYTES) != 0
        || ftruncate(other_fd, OTHER_BYTES) != 0
        || (seals && fcntl(shared_fd, F_ADD_SEALS, F_SEAL_SHRINK) != 0))
        die("memory");
    shared = mmap(NULL, REGION_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, shared_fd, 0);
    other = mmap(NULL, OTHER_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, other_fd, 0);
    if (shared == MAP_FAILED || other == MAP_FAILED)
        die("mmap");
    for (int in = 0; in <= 1; in++) {
        put(ring(in), COOKIE, 4);
        for (unsigned i = 0; i < SLOTS; i++)
            set_descriptor(in, i, 0, 0, BUFFER_BYTES, buffer(in, i));
    }
}

/* ---- the handshake, right but for what is given */

struct wishes {
    bool skips_init, unsealed, no_file, two_files, pipe_for_file, no_cookie;
    unsigned index, region;  /* of the first region; of the rings */
    uint64_t size;           /* of the first region; 0: right */
    uint32_t offset;         /* of the ring that we send in */
    unsigned log2, rings_in; /* 0: right */
    bool region_late;
};

static void say_region(unsigned index, uint64_t size, const int *files, unsigned count)
{
    uint8_t m[MESSAGE_BYTES] = { ADD_REGION };
    put(m + 2, index, 2);
    put(m + 4, size, 8);
    say(m, files, count);
    expect(1);
}

static void say_ring(bool in, const struct wishes *w)
{
    uint8_t m[MESSAGE_BYTES] = { ADD_RING };
    const int event = eventfd(0, 0);
    put(m + 2, in, 2);
    put(m + 6, w->region, 2);
    put(m + 8, in ? w->offset : RING_BYTES, 4);
    put(m + 12, w->log2 != 0 ? w->log2 : LOG2, 1);
    say(m, &event, 1);
    expect(1);
    close(event);
}

static void shake(const struct wishes *w)
{
    uint8_t init[MESSAGE_BYTES] = { INIT }, connect_now[MESSAGE_BYTES] = { CONNECT };
    int files[2];
    make_memory(!w->unsealed);
    files[0] = files[1] = shared_fd;
    if (w->pipe_for_file && pipe(files) != 0)
        die("pipe");
    if (w->no_cookie)
        put(ring(true), 0, 4);
    expect(2); /* HELLO */
    put(init + 2, 0x0200, 2);
    if (!w->skips_init) {
        say(init, NULL, 0);
        expect(1);
    }
    say_region(w->index, w->size != 0 ? w->size : (uint64_t)REGION_BYTES, files,
               w->no_file     ? 0
               : w->two_files ? 2
                              : 1);
    say_region(1, OTHER_BYTES, &other_fd, 1);
    for (unsigned i = 0; i <= w->rings_in; i++)
        say_ring(true, w);
    if (w->region_late)
        say_region(2, OTHER_BYTES, &other_fd, 1);
    say_ring(false, w);
    say(connect_now, NULL, 0);
    expect(CONNECTED);
}

/* ---- what is done once connected */

/* A question that makes the broker send. */
static void ask_arp(unsigned slot, uint16_t head)
{
    static const uint8_t question[ARP_BYTES] = { 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 2,  0, 0, 0, 0,
                                                 9,    8,    6,    0,    1,    8,    0,  6, 4, 0, 1,
                                                 2,    0,    0,    0,    0,    9,    10, 9, 1, 9, 0,
                                                 0,    0,    0,    0,    0,    10,   9,  1, 1 };
    memcpy(shared + buffer(true, slot), question, sizeof question);
    set_descriptor(true, slot, 0, 0, sizeof question, buffer(true, slot));
    set_head(true, head);
}

static void wild_region(void)
{
    set_descriptor(true, 0, 0, 40000, 64, 0);
    set_head(true, 1);
}

static void region_not_shared(void)
{
    set_descriptor(true, 0, 0, 2, 64, 0);
    set_head(true, 1);
}

static void wild_offset(void)
{
    set_descriptor(true, 0, 0, 0, 64, 0xFFFFFF00u);
    set_head(true, 1);
}

static void wild_length(void)
{
    set_descriptor(true, 0, 0, 0, 0xFFFFFFFFu, REGION_BYTES - 64);
    set_head(true, 1);
}

static void behind_the_end(void)
{
    set_descriptor(true, 0, 0, 1, 65, OTHER_BYTES - 64);
    set_head(true, 1);
}

static void wild_head(void)
{
    set_head(true, 40000);
}

static void endless_chain(void)
{
    for (unsigned i = 0; i < SLOTS; i++)
        set_descriptor(true, i, 1, 0, 0, buffer(true, i));
    set_head(true, SLOTS);
}

static void long_chain(void)
{
    for (unsigned i = 0; i < SLOTS; i++)
        set_descriptor(true, i, i != SLOTS - 1, 0, BUFFER_BYTES, buffer(true, i));
    set_head(true, SLOTS);
}

/* Where it would write its answer. */
static void wild_answer(void)
{
    for (unsigned i = 0; i < SLOTS; i++)
        set_descriptor(false, i, 0, 0, BUFFER_BYTES, 0xFFFFF000u);
    set_head(false, SLOTS);
    ask_arp(0, 1);
}

static void wild_answer_region(void)
{
    for (unsigned i = 0; i < SLOTS; i++)
        set_descriptor(false, i, 0, 4000, BUFFER_BYTES, 0);
    set_head(false, SLOTS);
    ask_arp(0, 1);
}

static void no_room_for_an_answer(void)
{
    for (unsigned i = 0; i < SLOTS; i++)
        set_descriptor(false, i, 0, 0, 0, buffer(false, i));
    set_head(false, SLOTS);
    ask_arp(0, 1);
}

static void wild_answer_head(void)
{
    set_head(false, 50000);
    ask_arp(0, 1);
}

static void take_memory_away(void)
{
    set_descriptor(true, 0, 0, 1, 64, OTHER_BYTES / 2);
    if (ftruncate(other_fd, 0) != 0)
        die("ftruncate");
    set_head(true, 1);
}

static void take_answer_away(void)
{
    for (unsigned i = 0; i < SLOTS; i++)
        set_descriptor(false, i, 0, 1, BUFFER_BYTES, i * BUFFER_BYTES);
    set_head(false, SLOTS);
    if (ftruncate(other_fd, 0) != 0)
        die("ftruncate");
    ask_arp(0, 1);
}

static bool is_arp_answer(const uint8_t *frame)
{
    return frame[12] == 8 && frame[13] == 6 && frame[21] == 2;
}

/* Nothing is wrong: an answer comes, perhaps behind what was meant for the one before us, and the
 * broker has no reason to hang up. */
static void nothing(void)
{
    set_head(false, SLOTS);
    ask_arp(0, 1);
    for (int i = 0; i < PATIENCE_MS; i++) {
        poll(NULL, 0, 1);
        const uint16_t tail =
            __atomic_load_n((uint16_t *)(void *)(ring(false) + LINE), __ATOMIC_ACQUIRE);
        for (unsigned slot = 0; slot < tail && slot < SLOTS; slot++)
            if (is_arp_answer(shared + buffer(false, slot)))
                exit(0);
    }
    die("no answer");
}

static const struct way {
    const char *name;
    struct wishes wishes;
    void (*act)(void); /* NULL: the handshake is to fail */
} ways[] = {
    { "nothing", { 0 }, nothing },
    { "no-init", { .skips_init = true }, NULL },
    { "region-index", { .index = 7 }, NULL },
    { "region-larger-than-file", { .size = REGION_BYTES + 1 }, NULL },
    { "region-huge", { .size = UINT64_MAX }, NULL },
    { "region-without-file", { .no_file = true }, NULL },
    { "region-with-two-files", { .two_files = true }, NULL },
    { "region-of-a-pipe", { .pipe_for_file = true }, NULL },
    { "region-after-rings", { .region_late = true }, NULL },
    { "rings-not-sealed", { .unsealed = true }, NULL },
    { "rings-in-the-other", { .region = 1 }, NULL },
    { "ring-region", { .region = 77 }, NULL },
    { "ring-offset", { .offset = 0xFFFFFFC0u }, NULL },
    { "ring-offset-odd", { .offset = 1 }, NULL },
    { "ring-large", { .log2 = 14, .offset = 12800 }, NULL },
    { "ring-wild-log2", { .log2 = 200 }, NULL },
    { "ring-twice", { .rings_in = 1 }, NULL },
    { "no-cookie", { .no_cookie = true }, NULL },
    { "wild-region", { 0 }, wild_region },
    { "region-not-shared", { 0 }, region_not_shared },
    { "wild-offset", { 0 }, wild_offset },
    { "wild-length", { 0 }, wild_length },
    { "behind-the-end", { 0 }, behind_the_end },
    { "wild-head", { 0 }, wild_head },
    { "endless-chain", { 0 }, endless_chain },
    { "long-chain", { 0 }, long_chain },
    { "wild-answer", { 0 }, wild_answer },
    { "wild-answer-region", { 0 }, wild_answer_region },
    { "no-room-for-an-answer", { 0 }, no_room_for_an_answer },
    { "wild-answer-head", { 0 }, wild_answer_head },
    { "take-memory-away", { 0 }, take_memory_away },
    { "take-answer-away", { 0 }, take_answer_away },
};
enum { WAYS = sizeof ways / sizeof ways[0] };

static void connect_to(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    memcpy(address.sun_path, path, strnlen(path, sizeof address.sun_path - 1));
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof address) != 0)
        die(path);
}

int main(int argc, char **argv)
{
    for (unsigned i = 0; argc < 3 && i < WAYS; i++)
        puts(ways[i].name);
    if (argc < 3)
        return 0;
    for (unsigned i = 0; i < WAYS; i++) {
        if (strcmp(ways[i].name, argv[2]) != 0)
            continue;
        connect_to(argv[1]);
        shake(&ways[i].wishes);
        if (ways[i].act == NULL) {
            fprintf(stderr, "link_hostile: it was let in\n");
            return 1;
        }
        ways[i].act();
        expect_end();
    }
    return 3;
}
