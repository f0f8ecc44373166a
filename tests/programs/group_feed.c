/* group_feed URL TOPIC FILE RATE: publishes numbered records at a steady rate, round robin over the
 * partitions, until SIGTERM; then waits for what is unanswered. FILE gets a line for each that was
 * acknowledged:
 *     K number partition offset      (offset - when the broker no longer knew it)
 *
 * Role: the source that tests/net/net_groups.sh measures a group against.
 * Must not know: groups.
 * Threads: one. */
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>

#include "client/leat.h"
#include "tests/support/group_lines.h"

static struct group_lines lines;
static volatile sig_atomic_t told;
static unsigned refused;

static void on_signal(int number)
{
    (void)number;
    told = 1;
}

static void on_delivery(void *user, const struct leat_delivery *delivery)
{
    (void)user;
    if (delivery->status == LEAT_OK)
        group_lines_add(&lines, "K %" PRIu64 " %d %" PRIu64 "\n", delivery->cookie,
                        delivery->partition, delivery->offset);
    else if (delivery->status == LEAT_ERR_DUPLICATE)
        group_lines_add(&lines, "K %" PRIu64 " %d -\n", delivery->cookie, delivery->partition);
    else
        refused++;
}

static void fail(const char *what, int error, const leat_client *client)
{
    fprintf(stderr, "group_feed: %s: %s: %s\n", what, leat_strerror(error),
            leat_client_error(client));
    exit(1);
}

/* The next record, unless there is no room for it. */
static bool send_one(leat_producer *producer, uint64_t number)
{
    char text[24];
    const int size = snprintf(text, sizeof text, "%" PRIu64, number);
    const struct leat_record record = { .value = text,
                                        .value_size = (uint32_t)size,
                                        .partition =
                                            (int32_t)(number % leat_producer_partitions(producer)),
                                        .cookie = number };
    return leat_producer_send(producer, &record) == LEAT_OK;
}

int main(int argc, char **argv)
{
    const struct sigaction action = { .sa_handler = on_signal };
    const struct leat_client_options options = { .size = sizeof options, .client_name = "feed" };
    const struct leat_producer_options listening = { .size = sizeof listening,
                                                     .on_delivery = on_delivery };
    leat_client *client = NULL;
    leat_producer *producer = NULL;
    if (argc != 5)
        return 2;
    sigaction(SIGTERM, &action, NULL);
    group_lines_open(&lines, argv[3]);
    const uint64_t every_ns = UINT64_C(1000000000) / strtoul(argv[4], NULL, 10);
    int error = leat_client_open(&client, argv[1], &options);
    if (error == LEAT_OK)
        error = leat_producer_open(client, &producer, argv[2], &listening);
    if (error != LEAT_OK)
        fail(argv[2], error, client);
    uint64_t number = 0, due = group_lines_now();
    while (!told) {
        while (group_lines_now() >= due && send_one(producer, number)) {
            number++;
            due += every_ns;
        }
        error = leat_client_poll(client, UINT64_C(2000000));
        if (error < LEAT_OK)
            fail("poll", error, client);
        group_lines_write(&lines);
    }
    error = leat_producer_flush(producer, UINT64_C(30000000000));
    group_lines_write(&lines);
    if (error != LEAT_OK || refused != 0)
        fail("records were not acknowledged", error, client);
    leat_client_close(client);
    printf("%" PRIu64 "\n", number);
    return 0;
}
