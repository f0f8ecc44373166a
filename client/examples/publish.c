/* Publishes a few keyed records and waits until the broker has answered each.
 *     publish TOPIC [URL] */
#include <leat.h>
#include <stdio.h>
#include <string.h>

static void on_delivery(void *user, const struct leat_delivery *delivery)
{
    (void)user;
    if (delivery->status == LEAT_OK)
        printf("record %llu: partition %d, offset %llu\n", (unsigned long long)delivery->cookie,
               delivery->partition, (unsigned long long)delivery->offset);
    else
        printf("record %llu: %s\n", (unsigned long long)delivery->cookie,
               leat_strerror(delivery->status));
}

int main(int argc, char **argv)
{
    static const char *const prices[][2] = { { "AAPL", "187.20" }, { "MSFT", "411.05" } };
    const struct leat_producer_options options = { .size = sizeof options,
                                                   .on_delivery = on_delivery };
    leat_client *client = NULL;
    leat_producer *producer = NULL;
    int error =
        argc < 2 ? LEAT_ERR_INVALID : leat_client_open(&client, argc > 2 ? argv[2] : NULL, NULL);
    if (error == LEAT_OK)
        error = leat_producer_open(client, &producer, argv[1], &options);
    for (unsigned i = 0; error == LEAT_OK && i < 2; i++) {
        const struct leat_record record = {
            .key = prices[i][0],
            .key_size = (uint32_t)strlen(prices[i][0]),
            .value = prices[i][1],
            .value_size = (uint32_t)strlen(prices[i][1]),
            .partition = LEAT_ANY_PARTITION,
            .cookie = i,
        };
        while ((error = leat_producer_send(producer, &record)) == LEAT_BUSY)
            leat_client_poll(client, LEAT_FOREVER); /* back-pressure: make room, then retry */
    }
    if (error == LEAT_OK)
        error = leat_producer_flush(producer, 5000000000u);
    if (error != LEAT_OK)
        fprintf(stderr, "publish: %s: %s\n", leat_strerror(error), leat_client_error(client));
    leat_client_close(client);
    return error != LEAT_OK;
}
