/* Copies one topic to another, driven by the application's own event loop: the client has one
 * descriptor to wait for, next to the application's others (here standard input; its end ends the
 * program).
 *      relay FROM TO [URL] */
#include <leat.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

enum { HELD_MAX = 64 };

/* Forwards records. Those that the producer has no room for stay first in line. */
static int relay(leat_consumer *consumer, leat_producer *producer)
{
    static struct leat_record held[HELD_MAX]; /* valid until the consumer is polled again */
    static int next, count;
    for (;;) {
        if (next == count) {
            next = 0;
            count = leat_consumer_poll(consumer, held, HELD_MAX);
            if (count <= 0)
                return count;
        }
        for (; next < count; next++) {
            struct leat_record record = { .key = held[next].key,
                                          .key_size = held[next].key_size,
                                          .value = held[next].value,
                                          .value_size = held[next].value_size,
                                          .timestamp_ns = held[next].timestamp_ns,
                                          .partition = LEAT_ANY_PARTITION };
            const int error = leat_producer_send(producer, &record);
            if (error != LEAT_OK)
                return error == LEAT_BUSY ? LEAT_OK : error;
        }
    }
}

static bool input_ended(void)
{
    char scrap[256];
    return read(STDIN_FILENO, scrap, sizeof scrap) <= 0;
}

int main(int argc, char **argv)
{
    leat_client *client = NULL;
    leat_consumer *consumer = NULL;
    leat_producer *producer = NULL;
    int error =
        argc < 3 ? LEAT_ERR_INVALID : leat_client_open(&client, argc > 3 ? argv[3] : NULL, NULL);
    if (error == LEAT_OK)
        error = leat_consumer_open(client, &consumer, (const char *const *)&argv[1], 1, NULL);
    if (error == LEAT_OK)
        error = leat_producer_open(client, &producer, argv[2], NULL);
    for (bool ended = false; error >= LEAT_OK && !ended;) {
        struct pollfd wait[] = { { .fd = leat_client_fd(client), .events = POLLIN },
                                 { .fd = STDIN_FILENO, .events = POLLIN } };
        error = relay(consumer, producer);
        if (error >= LEAT_OK)
            error = leat_client_poll(client, 0);
        if (error == LEAT_OK && poll(wait, 2, -1) > 0 && wait[1].revents != 0)
            ended = input_ended();
    }
    if (error >= LEAT_OK)
        error = leat_producer_flush(producer, 5000000000u);
    if (error < LEAT_OK)
        fprintf(stderr, "relay: %s: %s\n", leat_strerror(error), leat_client_error(client));
    leat_client_close(client);
    return error < LEAT_OK;
}
