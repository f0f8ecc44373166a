/* Prints the records of a topic, the oldest first: hello_subscribe TOPIC [URL] */
#include <leat.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    struct leat_consumer_options oldest = { .size = sizeof oldest,
                                            .start_at = LEAT_START_EARLIEST };
    leat_client *client = NULL;
    leat_consumer *consumer = NULL;
    struct leat_record r; /* points into the receive buffer: nothing is copied */
    int n = leat_client_open(&client, argc > 2 ? argv[2] : NULL, NULL);
    if (n == LEAT_OK)
        n = leat_consumer_open(client, &consumer, (const char *const *)&argv[1], 1, &oldest);
    while (n >= LEAT_OK) {
        n = leat_consumer_poll(consumer, &r, 1);
        if (n == 1)
            printf("%.*s\n", (int)r.value_size, r.value == NULL ? "" : (const char *)r.value);
        else if (n == 0)
            n = leat_client_poll(client, LEAT_FOREVER);
    }
    fprintf(stderr, "%s: %s\n", leat_strerror(n), leat_client_error(client));
    leat_client_close(client);
    return 1;
}
