/* A control request that the caller waits for. */
#include "client/client_call.h"

#include <string.h>

#include "client/connect.h"
#include "schema/error_text.h"

static void on_answer(void *context, int error, const char *text,
                      const Leat__Control__Response *response)
{
    struct client_call *call = context;
    call->done = true;
    call->client->woken = true;
    call->error = error;
    if (response != NULL && error == 0 && call->take != NULL)
        call->take(call, response);
    else if (error != 0)
        client_error(call->client, error, "%s", *text != '\0' ? text : leat_error_text(error));
}

int client_call_wait(struct client_call *call, Leat__Control__Request *request, const char *name)
{
    struct leat_client *client = call->client;
    if (client_refuses(client, name))
        return LEAT_ERR_INVALID;
    const leat_ns deadline =
        client_after(client_clock(client), client->options.values.request_timeout_ns);
    int error = connect_wait_ready(client, deadline);
    if (error != LEAT_OK)
        return error;
    while ((error = control_channel_ask(&client->control, request, deadline, on_answer, call))
           == LEAT_BUSY) {
        if (client_clock(client) >= deadline)
            return client_error(client, LEAT_ERR_TIMEOUT, "%s: too many requests are pending",
                                name);
        client_run(client, deadline - client->now);
    }
    if (error != LEAT_OK)
        return client_error(client, error, "%s: %s", name, leat_error_text(error));
    client_timer_at(client, deadline);
    client->work = true;
    while (!call->done)
        client_run(client,
                   LEAT_FOREVER); /* ends at the deadline, which answers with LEAT_ERR_TIMEOUT */
    return call->error;
}

int client_call_name(struct leat_client *client, const char *thing, const char *name)
{
    if (name != NULL && leat_name_valid(name, strnlen(name, LEAT_NAME_BYTES_MAX + 1)))
        return LEAT_OK;
    return client_error(client, LEAT_ERR_INVALID,
                        "%s \"%.80s\": expected 1 to 249 of A-Z a-z 0-9 . _ -, not . or ..", thing,
                        name != NULL ? name : "(NULL)");
}
