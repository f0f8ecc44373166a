/* A control request that the caller waits for.
 *
 * Role: send it, run the client until it is answered, keep the text of a refusal.
 * Must not know: what the request means.
 * Threads: the client's. Refused inside callbacks. */
#ifndef LEAT_CLIENT_CALL_H
#define LEAT_CLIENT_CALL_H

#include "client/client_core.h"

struct client_call {
    struct leat_client *client;
    /* Called with an answer that is not a refusal [none]; `response` is valid during the call. Sets
     * `error` if it is not the expected kind of answer. */
    void (*take)(struct client_call *call, const Leat__Control__Response *response);
    void *context; /* of `take` */
    bool done;
    int error;
};

/* Waits at most request_timeout_ns. `name` is the function of leat.h, for messages. */
int client_call_wait(struct client_call *call, Leat__Control__Request *request, const char *name);

/* Checks the name of a topic or group. LEAT_ERR_INVALID, with the client's error text, if it is
 * NULL or not a valid name. `thing` is "topic" or "group", for the text. */
int client_call_name(struct leat_client *client, const char *thing, const char *name);

#endif
