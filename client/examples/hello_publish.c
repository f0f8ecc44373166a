/* Publishes one keyed record and waits for the broker's answer: hello_publish TOPIC [URL] */
#include <leat.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    const struct leat_record record = { .key = "AAPL",
                                        .key_size = 4,
                                        .value = "187.20",
                                        .value_size = 6,
                                        .partition = LEAT_ANY_PARTITION };
    leat_client *client = NULL;
    leat_producer *producer = NULL;
    int error = leat_client_open(&client, argc > 2 ? argv[2] : NULL, NULL);
    if (error == LEAT_OK)
        error = leat_producer_open(client, &producer, argv[1], NULL);
    if (error == LEAT_OK)
        error = leat_producer_send(producer, &record); /* LEAT_BUSY: full; poll, then send again */
    if (error == LEAT_OK)
        error = leat_producer_flush(producer, 5000000000u); /* at most 5 s */
    if (error != LEAT_OK)
        fprintf(stderr, "%s: %s\n", leat_strerror(error), leat_client_error(client));
    leat_client_close(client);
    return error != LEAT_OK;
}
