/* Prints the records of a topic from the oldest one kept, and reports lost records.
 *      subscribe TOPIC COUNT [URL] */
#include <leat.h>
#include <stdio.h>
#include <stdlib.h>

static void on_event(void *user, const struct leat_event *event)
{
    (void)user;
    fprintf(stderr, "%s\n", event->text); /* gaps, resets, disconnects and reconnects */
}

int main(int argc, char **argv)
{
    const struct leat_client_options listening = { .size = sizeof listening, .on_event = on_event };
    const struct leat_consumer_options start = { .size = sizeof start,
                                                 .start_at = LEAT_START_EARLIEST };
    leat_client *client = NULL;
    leat_consumer *consumer = NULL;
    int error = argc < 3 ? LEAT_ERR_INVALID
                         : leat_client_open(&client, argc > 3 ? argv[3] : NULL, &listening);
    if (error == LEAT_OK)
        error = leat_consumer_open(client, &consumer, (const char *const *)&argv[1], 1, &start);
    for (long left = argc < 3 ? 0 : atol(argv[2]); error >= LEAT_OK && left > 0;) {
        struct leat_record records[64]; /* they point into the receive buffer: nothing is copied */
        const int n = leat_consumer_poll(consumer, records, left < 64 ? (size_t)left : 64);
        for (int i = 0; i < n; i++)
            printf("%d/%llu %.*s=%.*s\n", records[i].partition,
                   (unsigned long long)records[i].offset, (int)records[i].key_size,
                   records[i].key == NULL ? "" : (const char *)records[i].key,
                   (int)records[i].value_size,
                   records[i].value == NULL ? "" : (const char *)records[i].value);
        left -= n > 0 ? n : 0;
        error = n == 0 ? leat_client_poll(client, LEAT_FOREVER) : n;
    }
    if (error < LEAT_OK)
        fprintf(stderr, "subscribe: %s: %s\n", leat_strerror(error), leat_client_error(client));
    leat_client_close(client);
    return error < LEAT_OK;
}
