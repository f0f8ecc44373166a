/* One data connection: frames of many streams over one TCP connection to one shard.
 *
 * Role: session grant, connecting and attaching; cutting frames out of what arrives and handing
 * them to their streams; sending what streams have, batches from their own memory.
 * Must not know: topics, the application, when to reconnect.
 * Threads: the client's. Allocates only in data_link_want and when streams are opened. */
#ifndef LEAT_CLIENT_DATA_LINK_H
#define LEAT_CLIENT_DATA_LINK_H

#include "client/client_state.h"

/* The link to `shard`, asked for if need be; look at its state. NULL: no memory, or no such shard
 * (the client has failed then). */
struct data_link *data_link_want(struct leat_client *client, uint32_t shard);

/* The descriptor is writable: it is connected, or has room again. */
void data_link_writable(struct data_link *link);

/* Receives and handles what is there; returns how many frames. */
unsigned data_link_receive(struct data_link *link);

/* Sends all that streams have and the kernel takes. */
void data_link_flush(struct data_link *link);

/* A stream was opened on it. LEAT_ERR_NO_MEMORY. `stream` is a publisher or a reader. */
enum leat_error data_link_attach(struct data_link *link, uint32_t number, void *stream);
/* And is no more; what still arrives for it is dropped. */
void data_link_detach_publisher(struct publisher *publisher);
void data_link_detach_reader(struct reader *reader);

/* The publisher has something to send, the reader's credit is due. */
void data_link_queue_publisher(struct publisher *publisher);
void data_link_queue_credit(struct reader *reader);

/* Closes the connection; streams are told nothing, their owners know. */
void data_link_end(struct data_link *link);
void data_link_free(struct data_link *link);

#endif
