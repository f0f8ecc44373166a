/* leat-demo: sends a market-data feed through a real broker to three subscribers of two topics, and
 * checks every record.
 *
 * Two subscribers read both topics and must get every line of the feed in order, byte for byte; one
 * of them rebuilds the order book. The third is slow on purpose, is overtaken by the small ring,
 * and must be told exactly what it lost. Nothing is mocked: leatd and each subscriber are processes
 * of their own.
 *
 *     leat-demo --leatd PATH [--feed FILE] [--transport tcp|udp|bypass]
 *
 * The exit code is 0 only if all checks passed. */
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench/demo/broker.h"
#include "bench/demo/feed.h"
#include "bench/demo/generator.h"
#include "bench/demo/reader.h"
#include "client/leat.h"

enum {
    READERS = 3,
    SLOW = 2, /* index of the slow reader */
    RING_BYTES = 1 << 20,
    RECORD_BYTES_MAX = 1 << 17,
    AHEAD_BYTES =
        128 << 10, /* maximum lead over the fast readers: the ring overtakes none of them */
    SYNTHETIC_UPDATES = 20000,
    SEED = 20240808,
    READY_S = 20,
    PATIENCE_S = 60,
};
#define SECOND UINT64_C(1000000000)
#define FEED_NS (4 * SECOND) /* the feed's times are scaled to this duration */

struct shared {
    struct reader_report reports[READERS];
    _Atomic bool hurry;
};

struct demo {
    struct feed feed;
    struct demo_broker broker;
    struct shared *shared;
    pid_t readers[READERS];
    leat_client *client;
    leat_producer *producers[DEMO_TOPICS];
    uint64_t refused;
    double published_s;
    double cpu_s;
};

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

static bool fail(const char *what, const char *more)
{
    fprintf(stderr, "leat-demo: %s%s%s\n", what, more[0] != '\0' ? ": " : "", more);
    return false;
}

/* ---- the parts */

static void on_delivery(void *user, const struct leat_delivery *delivery)
{
    struct demo *demo = user;
    demo->refused += delivery->status != LEAT_OK;
}

/* Always uses TCP: the readers are forked from this process later, which must not run DPDK then. */
static bool create_topics(struct demo *demo)
{
    const struct leat_topic_settings settings = { .size = sizeof settings,
                                                  .ring_bytes = RING_BYTES,
                                                  .record_bytes_max = RECORD_BYTES_MAX };
    char url[DEMO_URL_BYTES];
    leat_client *client;
    snprintf(url, sizeof url, "tcp://%s", demo->broker.control);
    if (leat_client_open(&client, url, NULL) != LEAT_OK)
        return fail("connecting", leat_client_error(NULL));
    bool good = true;
    for (int t = 0; good && t < DEMO_TOPICS; t++)
        good = leat_topic_create(client, demo_topics[t], &settings) == LEAT_OK
               || fail(demo_topics[t], leat_client_error(client));
    leat_client_close(client);
    return good;
}

static bool open_publisher(struct demo *demo)
{
    const struct leat_producer_options options = { .size = sizeof options,
                                                   .on_delivery = on_delivery,
                                                   .user = demo };
    char url[DEMO_URL_BYTES];
    demo_broker_url(&demo->broker, READERS, url);
    if (leat_client_open(&demo->client, url, NULL) != LEAT_OK)
        return fail("connecting", leat_client_error(NULL));
    for (int t = 0; t < DEMO_TOPICS; t++)
        if (leat_producer_open(demo->client, &demo->producers[t], demo_topics[t], &options)
            != LEAT_OK)
            return fail(demo_topics[t], leat_client_error(demo->client));
    return true;
}

static bool start_readers(struct demo *demo)
{
    for (int i = 0; i < READERS; i++) {
        char url[DEMO_URL_BYTES];
        demo_broker_url(&demo->broker, (unsigned)i, url);
        const struct reader_options options = { .url = url,
                                                .feed = &demo->feed,
                                                .topic_count = i == SLOW ? 1 : DEMO_TOPICS,
                                                .check_book = i == 1 && demo->feed.no_book == NULL,
                                                .slow = i == SLOW,
                                                .hurry = &demo->shared->hurry };
        demo->readers[i] = fork();
        if (demo->readers[i] < 0)
            return fail("fork", "");
        if (demo->readers[i] == 0) {
            prctl(PR_SET_PDEATHSIG, SIGTERM);
            _exit(reader_run(&options, &demo->shared->reports[i]));
        }
    }
    const uint64_t deadline = now_ns() + READY_S * SECOND;
    for (int i = 0; i < READERS; i++) {
        while (!atomic_load_explicit(&demo->shared->reports[i].ready, memory_order_acquire)) {
            if (now_ns() > deadline || waitpid(demo->readers[i], NULL, WNOHANG) != 0)
                return fail("a subscriber did not start", "");
            poll(NULL, 0, 1);
        }
    }
    return true;
}

static uint64_t slowest_fast(const struct demo *demo)
{
    uint64_t least = UINT64_MAX;
    for (int i = 0; i < READERS; i++) {
        const uint64_t passed =
            atomic_load_explicit(&demo->shared->reports[i].bytes_passed, memory_order_relaxed);
        if (i != SLOW && passed < least)
            least = passed;
    }
    return least;
}

/* When line `i` is due, in nanoseconds from the start. */
static uint64_t due(const struct feed *feed, size_t i)
{
    const uint64_t first = feed->lines[0].time_ns, last = feed->lines[feed->count - 1].time_ns;
    const uint64_t at = feed->lines[i].time_ns;
    if (first == 0 || last <= first || at < first || at > last)
        return FEED_NS / feed->count * i;
    return (uint64_t)((double)(at - first) / (double)(last - first) * (double)FEED_NS);
}

static unsigned copies(const struct feed_line *line)
{
    return (unsigned)__builtin_popcount(line->topics);
}

/* Publishes the line to every topic that it belongs to. */
static bool send_line(struct demo *demo, const struct feed_line *line, uint64_t when)
{
    const struct leat_record record = { .value = line->text,
                                        .value_size = line->size,
                                        .timestamp_ns = (int64_t)when };
    for (unsigned t = 0; t < DEMO_TOPICS; t++) {
        if ((line->topics & 1u << t) == 0)
            continue;
        int error;
        while ((error = leat_producer_send(demo->producers[t], &record)) == LEAT_BUSY)
            leat_client_poll(demo->client, SECOND / 1000);
        if (error != LEAT_OK)
            return fail("publishing", leat_client_error(demo->client));
    }
    return true;
}

static bool publish(struct demo *demo)
{
    const uint64_t start = now_ns();
    uint64_t sent_bytes = 0, waiting_since = start;
    for (size_t i = 0; i < demo->feed.count;) {
        const struct feed_line *line = &demo->feed.lines[i];
        const uint64_t now = now_ns(), when = start + due(&demo->feed, i);
        if (now < when || sent_bytes > slowest_fast(demo) + AHEAD_BYTES) {
            if (now > waiting_since + PATIENCE_S * SECOND)
                return fail("the fast subscribers make no progress", "");
            leat_client_poll(demo->client,
                             now < when && when - now < SECOND / 2000 ? when - now : SECOND / 2000);
            continue;
        }
        if (!send_line(demo, line, when))
            return false;
        sent_bytes += line->size * copies(line);
        waiting_since = now;
        i++;
    }
    for (int t = 0; t < DEMO_TOPICS; t++)
        if (leat_producer_flush(demo->producers[t], PATIENCE_S * SECOND) != LEAT_OK)
            return fail("waiting for acks", leat_client_error(demo->client));
    demo->published_s = (double)(now_ns() - start) / 1e9;
    return true;
}

static bool await_readers(struct demo *demo)
{
    bool good = true;
    const uint64_t deadline = now_ns() + PATIENCE_S * SECOND;
    atomic_store(&demo->shared->hurry, true);
    for (int i = 0; i < READERS; i++) {
        int status = 0;
        pid_t ended;
        while ((ended = waitpid(demo->readers[i], &status, WNOHANG)) == 0 && now_ns() < deadline)
            leat_client_poll(demo->client, SECOND / 1000);
        if (ended == 0)
            good = fail("a subscriber did not reach the end in time", "");
        else
            demo->readers[i] = 0;
        good &= ended != 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    }
    return good;
}

/* ---- table and verdict */

static void print_table(const struct demo *demo)
{
    static const char *const names[READERS] = { "fast", "fast+book", "slow" };
    printf("\n%-10s %9s %10s %9s %9s %9s %6s %9s\n", "subscriber", "records", "bytes", "p50 us",
           "p99 us", "p99.9 us", "gaps", "lost");
    for (int i = 0; i < READERS; i++) {
        const struct reader_report *r = &demo->shared->reports[i];
        printf("%-10s %9" PRIu64 " %10" PRIu64 " %9.1f %9.1f %9.1f %6" PRIu64 " %9" PRIu64 "\n",
               names[i], atomic_load(&r->records), r->bytes,
               (double)histogram_percentile(&r->latency_ns, 50) / 1e3,
               (double)histogram_percentile(&r->latency_ns, 99) / 1e3,
               (double)histogram_percentile(&r->latency_ns, 99.9) / 1e3, r->gaps, r->lost);
    }
    printf("published in %.2f s; broker ready in %.1f ms, used %.2f s of processor time\n\n",
           demo->published_s, demo->broker.ready_ms, demo->cpu_s);
}

static bool check(bool holds, const char *what, const char *more)
{
    printf("%-6s %s%s%s\n", holds ? "ok" : "FAILED", what, more[0] != '\0' ? ": " : "", more);
    return holds;
}

static bool check_book(const struct demo *demo)
{
    const struct reader_report *r = &demo->shared->reports[1];
    char text[512];
    if (demo->feed.no_book != NULL) {
        printf("       book not checked: %s\n", demo->feed.no_book);
        return true;
    }
    const bool good = r->book_checked && r->book.wrong[0] == '\0' && r->book.compared > 0
                      && r->book.equal == r->book.compared;
    snprintf(text, sizeof text, "%" PRIu64 " of %" PRIu64 " after %" PRIu64 " updates%s%.150s",
             r->book.equal, r->book.compared, r->book.updates, r->book.wrong[0] != '\0' ? "; " : "",
             r->book.wrong);
    return check(good, "best bid and ask of the rebuilt book equal the feed's", text);
}

static bool verdict(const struct demo *demo)
{
    const struct reader_report *r = demo->shared->reports;
    uint64_t all = 0, quotes = 0;
    char text[320];
    bool good = check(demo->refused == 0, "every record was acked", "");
    for (size_t i = 0; i < demo->feed.count; i++) {
        all += copies(&demo->feed.lines[i]);
        quotes += (demo->feed.lines[i].topics & FEED_QUOTES) != 0;
    }
    for (int i = 0; i < SLOW; i++) {
        const bool whole = atomic_load(&r[i].records) == all && r[i].wrong == 0 && r[i].gaps == 0;
        good &=
            check(whole, "a fast subscriber got every line, in order, byte for byte", r[i].fault);
    }
    snprintf(text, sizeof text,
             "%" PRIu64 " received + %" PRIu64 " lost = %" PRIu64 " published%s%s",
             atomic_load(&r[SLOW].records), r[SLOW].lost, quotes,
             r[SLOW].fault[0] != '\0' ? "; " : "", r[SLOW].fault);
    good &= check(atomic_load(&r[SLOW].records) + r[SLOW].lost == quotes && r[SLOW].wrong == 0,
                  "the slow subscriber was told exactly what it lost", text);
    return check_book(demo) && good;
}

static void end_readers(struct demo *demo)
{
    for (int i = 0; i < READERS; i++) {
        if (demo->readers[i] > 0) {
            kill(demo->readers[i], SIGKILL);
            waitpid(demo->readers[i], NULL, 0);
        }
    }
}

static bool run(struct demo *demo, const char *leatd, enum demo_transport transport)
{
    char error_text[256] = "";
    if (!demo_broker_start(&demo->broker, leatd, transport, error_text)) {
        fail("the broker", error_text);
        demo_broker_show_log(&demo->broker);
        return false;
    }
    bool good = create_topics(demo) && start_readers(demo) && open_publisher(demo) && publish(demo);
    good = good && await_readers(demo);
    demo->cpu_s = demo_broker_cpu_s(&demo->broker);
    end_readers(demo);
    leat_client_close(demo->client);
    if (!demo_broker_stop(&demo->broker))
        good = fail("leatd did not end cleanly", "");
    if (!good) {
        demo_broker_show_log(&demo->broker);
        return false;
    }
    print_table(demo);
    return verdict(demo);
}

static bool load(struct feed *feed, const char *path)
{
    char said[256] = "no memory";
    char *bytes;
    size_t size;
    const bool good = path != NULL ? feed_load(feed, path, said)
                                   : generate_feed(&bytes, &size, SEED, SYNTHETIC_UPDATES)
                                         && feed_take(feed, bytes, size, said);
    if (!good)
        return fail("the feed", said);
    if (path != NULL)
        printf("feed: %s: ", path);
    else
        printf("feed: SYNTHETIC, generated with seed %d (FEED=file uses a recorded one): ", SEED);
    printf("%s, %zu lines, %.1f MB\n", feed_kind_name(feed->kind), feed->count,
           (double)feed->size / 1e6);
    fflush(stdout);
    return true;
}

static int usage(const char *what)
{
    fprintf(stderr,
            "leat-demo: %s\nusage: leat-demo --leatd PATH [--feed FILE] [--transport "
            "tcp|udp|bypass]\n",
            what);
    return 2;
}

static bool parse_transport(const char *text, enum demo_transport *out)
{
    static const char *const names[] = { "tcp", "udp", "bypass" };
    for (int i = 0; i < 3; i++) {
        if (strcmp(text, names[i]) == 0) {
            *out = (enum demo_transport)i;
            return true;
        }
    }
    return false;
}

int main(int argc, char **argv)
{
    static const struct option options[] = { { "leatd", required_argument, NULL, 'l' },
                                             { "feed", required_argument, NULL, 'f' },
                                             { "transport", required_argument, NULL, 't' },
                                             { NULL, 0, NULL, 0 } };
    const char *leatd = NULL, *path = NULL;
    enum demo_transport transport = DEMO_TCP;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (option) {
        case 'l': leatd = optarg; break;
        case 'f': path = optarg; break;
        case 't':
            if (!parse_transport(optarg, &transport))
                return usage("--transport: expected tcp, udp or bypass");
            break;
        default: return usage("unknown option");
        }
    }
    if (leatd == NULL || optind != argc)
        return usage("--leatd is missing");
    static struct demo demo;
    if (!load(&demo.feed, path))
        return 1;
    demo.shared =
        mmap(NULL, sizeof *demo.shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (demo.shared == MAP_FAILED)
        return !fail("no memory", "");
    const bool good = run(&demo, leatd, transport);
    feed_release(&demo.feed);
    printf("demo %s\n", good ? "passed" : "FAILED");
    return good ? 0 : 1;
}
