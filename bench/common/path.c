/* Path: the real broker and real clients on one thread, with a wire of pointers between them. */
#include "bench/common/path.h"

#include <errno.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench/common/bench.h"
#include "client/client_core.h"
#include "ops/log.h"

enum { EMPTY_ROUNDS = 1001, WAIT_STEP_NS = 1000 };

/* ---- the meter */

static struct {
    int instructions;          /* perf event; -1: not supported */
    bool opened;               /* open_meter was called */
    double empty_ticks;        /* cost of one pair of readings */
    double empty_instructions; /* the same, in instructions */
} meter = { .instructions = -1 };

static inline uint64_t read_ticks(void)
{
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#else
    return bench_now_ns();
#endif
}

const char *path_tick_unit(void)
{
#if defined(__x86_64__)
    return "TSC cycles";
#else
    return "ns";
#endif
}

static void count(bool on)
{
    ioctl(meter.instructions, on ? PERF_EVENT_IOC_ENABLE : PERF_EVENT_IOC_DISABLE, 0);
}

static uint64_t counted(void)
{
    uint64_t value = 0;
    if (read(meter.instructions, &value, sizeof value) != sizeof value)
        bench_fail("reading the instruction counter");
    return value;
}

/* Counts this thread in user mode only, which excludes most of the calls that switch the counter.
 */
static void open_instructions(void)
{
    struct perf_event_attr attributes = { .size = sizeof attributes,
                                          .type = PERF_TYPE_HARDWARE,
                                          .config = PERF_COUNT_HW_INSTRUCTIONS,
                                          .disabled = 1,
                                          .exclude_kernel = 1,
                                          .exclude_hv = 1 };
    meter.instructions =
        (int)syscall(SYS_perf_event_open, &attributes, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
    if (meter.instructions < 0)
        return;
    for (int i = 0; i < EMPTY_ROUNDS; i++) {
        count(true);
        count(false);
    }
    meter.empty_instructions = (double)counted() / EMPTY_ROUNDS;
}

static void open_meter(void)
{
    double pairs[EMPTY_ROUNDS];
    for (int i = 0; i < EMPTY_ROUNDS; i++) {
        const uint64_t start = read_ticks();
        pairs[i] = (double)(read_ticks() - start);
    }
    meter.empty_ticks = bench_spread(pairs, EMPTY_ROUNDS).p50;
    open_instructions();
    meter.opened = true;
}

bool path_meter(struct path *path, enum path_meter what)
{
    if (!meter.opened)
        open_meter();
    if (what == PATH_INSTRUCTIONS && meter.instructions < 0)
        return false;
    if (what == PATH_INSTRUCTIONS)
        ioctl(meter.instructions, PERF_EVENT_IOC_RESET, 0);
    path->meter = what;
    path->ticks = path->iterations = 0;
    return true;
}

void path_step(struct path *path)
{
    path->iterations++;
    if (path->meter == PATH_INSTRUCTIONS) {
        count(true);
        sim_broker_iterate(&path->broker, path->now);
        count(false);
        return;
    }
    const uint64_t start = read_ticks();
    sim_broker_iterate(&path->broker, path->now);
    path->ticks += read_ticks() - start;
}

double path_cost(const struct path *path)
{
    const double iterations = (double)path->iterations;
    if (path->meter == PATH_INSTRUCTIONS)
        return (double)counted() - iterations * meter.empty_instructions;
    return (double)path->ticks - iterations * meter.empty_ticks;
}

/* ---- broker and clients */

static leat_ns hook_clock(void *context)
{
    return ((struct path_end *)context)->path->now;
}

static void hook_wait(void *context, leat_ns until)
{
    struct path *path = ((struct path_end *)context)->path;
    (void)until;
    path->now += WAIT_STEP_NS;
    sim_broker_step(&path->broker, path->now);
}

static struct link *hook_link(void *context)
{
    const struct path_end *end = context;
    return wire_end(end->path->wire, (int)(end - end->path->ends));
}

void path_open(struct path *path, uint32_t payload_max, uint64_t ring_bytes)
{
    log_open(2, LOG_ERROR);
    *path = (struct path){ .now = LEAT_NS_PER_S };
    path->wire = wire_open(0);
    if (path->wire == NULL)
        bench_fail("wire");
    for (int i = 0; i < WIRE_ENDS; i++) {
        wire_end(path->wire, i)->limits.payload_max = payload_max;
        path->ends[i].path = path;
    }
    const struct sim_topic quotes = { .partitions = 1, .ring_bytes = ring_bytes };
    sim_broker_open_on(&path->broker, wire_end(path->wire, 0), 1, 0, &quotes, path->now);
}

void path_close(struct path *path)
{
    for (int i = 0; i < WIRE_ENDS; i++)
        if (path->ends[i].client != NULL)
            leat_client_close(path->ends[i].client);
    sim_broker_close(&path->broker);
    wire_close(path->wire);
}

static leat_client *open_client(struct path *path, int end, const char *scheme)
{
    char url[64];
    struct path_end *e = &path->ends[end];
    const struct client_hooks hooks = {
        .context = e, .clock = hook_clock, .wait = hook_wait, .link_open = hook_link, .seed = 1
    };
    snprintf(url, sizeof url, "%s://%s", scheme, sim_broker_control(&path->broker));
    if (e->client == NULL && client_open(&e->client, url, NULL, &hooks) != 0)
        bench_fail(leat_client_error(NULL));
    return e->client;
}

leat_client *path_client(struct path *path, int end)
{
    return open_client(path, end, "udp");
}

leat_client *path_tcp_client(struct path *path, int end)
{
    return open_client(path, end, "tcp");
}

leat_producer *path_producer(struct path *path, int end)
{
    leat_producer *producer;
    const struct leat_producer_options options = { .size = sizeof options,
                                                   .in_flight_batches = 64 };
    if (leat_producer_open(path_client(path, end), &producer, SIM_TOPIC, &options) != 0)
        bench_fail(leat_client_error(path_client(path, end)));
    return producer;
}

leat_consumer *path_consumer(struct path *path, int end)
{
    const char *topic = SIM_TOPIC;
    leat_consumer *consumer;
    if (leat_consumer_open(path_client(path, end), &consumer, &topic, 1, NULL) != 0)
        bench_fail(leat_client_error(path_client(path, end)));
    return consumer;
}
