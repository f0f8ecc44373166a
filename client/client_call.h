/* A control request that its caller waits for.
 *
 * Role: send it, run the client until it is answered, keep the refusal's story.
 * Must not know: what is asked. Threads: the client's; refused inside callbacks. */
#ifndef LEAT_CLIENT_CALL_H
#define LEAT_CLIENT_CALL_H

#include "client/client_core.h"

struct client_call {
    struct leat_client *client;
    /* Reads the answer, which is gone afterwards; not called when it is a refusal [none]. Sets
     * `error` when it is not the answer that was wanted. */
    void (*take)(struct client_call *call, const Leat__Control__Response *response);
    void *context; /* of `take` */
    bool done;
    int error;
};

/* Waits at most request_timeout_ns. `name`: of the function of leat.h, for messages. */
int client_call_wait(struct client_call *call, Leat__Control__Request *request, const char *name);

/* LEAT_ERR_INVALID, with a text: no topic, no group can have this name (NULL too). `thing`: which
 * of the two. */
int client_call_name(struct leat_client *client, const char *thing, const char *name);

#endif
