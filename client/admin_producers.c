/* Names of producers, for operators: list and delete. */
#include <string.h>

#include "client/client_call.h"

struct list_call {
    void (*visit)(void *user, const struct leat_producer_name *name);
    void *user;
    char last[LEAT_NAME_BYTES_MAX + 1]; /* the next page starts after this name */
    bool more;
};

static void take_list(struct client_call *call, const Leat__Control__Response *response)
{
    struct list_call *list = call->context;
    if (response->body_case != LEAT__CONTROL__RESPONSE__BODY_PRODUCERS) {
        call->error = client_error(call->client, LEAT_ERR_PROTOCOL,
                                   "producers: the broker sent an answer of another kind");
        return;
    }
    const Leat__Control__ProducerList *producers = response->producers;
    for (size_t i = 0; i < producers->n_producers; i++) {
        const Leat__Control__ProducerSummary *told = producers->producers[i];
        /* Names must ascend, so that the list ends whatever the peer sends. */
        if (strcmp(told->name, list->last) <= 0) {
            call->error = client_error(call->client, LEAT_ERR_PROTOCOL,
                                       "producers: the list is not in the order of names");
            return;
        }
        strcpy(list->last, told->name);
        const struct leat_producer_name name = {
            .name = told->name, .epoch = told->epoch, .open = told->open, .idle_ms = told->idle_ms
        };
        call->client->in_callback++;
        list->visit(list->user, &name);
        call->client->in_callback--;
    }
    list->more = producers->more && producers->n_producers != 0;
}

int leat_producer_name_list(leat_client *client,
                            void (*visit)(void *user, const struct leat_producer_name *name),
                            void *user)
{
    if (client == NULL || visit == NULL)
        return LEAT_ERR_INVALID;
    struct list_call list = { .visit = visit, .user = user, .more = true };
    int error = LEAT_OK;
    while (error == LEAT_OK && list.more) {
        Leat__Control__ListProducers ask = LEAT__CONTROL__LIST_PRODUCERS__INIT;
        ask.after = list.last;
        Leat__Control__Request request = LEAT__CONTROL__REQUEST__INIT;
        request.body_case = LEAT__CONTROL__REQUEST__BODY_LIST_PRODUCERS;
        request.list_producers = &ask;
        struct client_call call = { .client = client, .take = take_list, .context = &list };
        error = client_call_wait(&call, &request, "leat_producer_name_list");
    }
    return error;
}

int leat_producer_name_delete(leat_client *client, const char *name)
{
    if (client == NULL)
        return LEAT_ERR_INVALID;
    const int error = client_call_name(client, "producer", name);
    if (error != LEAT_OK)
        return error;
    Leat__Control__DeleteProducer ask = LEAT__CONTROL__DELETE_PRODUCER__INIT;
    ask.name = (char *)name;
    Leat__Control__Request request = LEAT__CONTROL__REQUEST__INIT;
    request.body_case = LEAT__CONTROL__REQUEST__BODY_DELETE_PRODUCER;
    request.delete_producer = &ask;
    struct client_call call = { .client = client };
    return client_call_wait(&call, &request, "leat_producer_name_delete");
}
