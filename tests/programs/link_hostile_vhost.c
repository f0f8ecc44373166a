/* link_hostile_vhost SOCKET WAY: a vhost-user front-end that attacks the broker in one way. Exit
 * status 0: the broker did what WAY expects, which is to disconnect it within some seconds or to
 * go on answering; 1: the broker did not; 3: WAY is unknown. Without WAY it prints all ways.
 *
 * It speaks vhost-user with the split rings of virtio 1.0.
 *
 * Role: what a process that shares memory with a vhost-user backend can do to it.
 * Must not know: DPDK. */
#include "tests/programs/vhost_frontend.h"

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

/* Full, and who writes to it waits. */
static int fill(int file, uint64_t value)
{
    const int flags = fcntl(file, F_GETFL);
    if (flags < 0 || fcntl(file, F_SETFL, flags | O_NONBLOCK) != 0)
        die("a descriptor");
    while (write(file, &value, sizeof value) == sizeof value)
        ;
    if (fcntl(file, F_SETFL, flags & ~O_NONBLOCK) != 0)
        die("a descriptor");
    return file;
}

/* Who tells us that we were answered waits for us to read what we were told before. */
static void be_answered(void)
{
    set_available(0, SLOTS);
    put_question(0);
    set_available(1, 1);
    wait_used(1);
    exit(0);
}

static void be_deaf(void)
{
    for (unsigned i = 0; i < 2; i++)
        fill(call[i], UINT64_MAX - 1);
    be_answered();
}

/* With another descriptor, once it runs. */
static void become_deaf(void)
{
    uint64_t features;
    for (unsigned i = 0; i < 2; i++)
        say_number(SET_VRING_CALL, i, fill(eventfd(0, 0), UINT64_MAX - 1));
    if (ask(GET_FEATURES, &features))
        be_answered();
}

static void become_deaf_with_a_pipe(void)
{
    uint64_t features;
    int files[2];
    for (unsigned i = 0; i < 2; i++)
        if (pipe(files) == 0)
            say_number(SET_VRING_CALL, i, fill(files[1], 0));
    if (ask(GET_FEATURES, &features))
        be_answered();
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
    { "deaf", { 0 }, be_deaf, false },
    { "deaf-later", { 0 }, become_deaf, false },
    { "deaf-with-a-pipe", { 0 }, become_deaf_with_a_pipe, false },
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
