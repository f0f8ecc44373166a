/* The session with one shard: what is the same however its frames travel.
 *
 *      session.c          the grant, the streams, frames by kind
 *       +-- tcp_link*.c     one connection: a byte stream of frames
 *       +-- packet_link*.c  packets through the client's port, over transport/flow.h
 *
 * Role: session grant; who of its streams has something to send; handing frames to their streams.
 * Must not know: topics, the application, when to reconnect.
 * Threads: the client's. Allocates only until the session is up and when streams are opened. */
#ifndef LEAT_CLIENT_DATA_LINK_H
#define LEAT_CLIENT_DATA_LINK_H

#include "client/client_state.h"

/* The link to `shard`, asked for if need be; look at its state. NULL: no memory, or no such shard
 * (the client has failed then). */
struct data_link *data_link_want(struct leat_client *client, uint32_t shard);

/* Sends all that streams have and the wire takes. */
void data_link_flush(struct data_link *link);
/* When it has something to do even if nothing comes, as it is after a flush. */
leat_ns data_link_deadline(const struct data_link *link);

/* A stream was opened on it. LEAT_ERR_NO_MEMORY. `stream` is a publisher or a reader. */
enum leat_error data_link_attach(struct data_link *link, uint32_t number, void *stream);
/* And is no more; what still arrives for it is dropped. */
void data_link_detach_publisher(struct publisher *publisher);
void data_link_detach_reader(struct reader *reader);

/* The publisher has something to send; the reader's credit is due, or a commit of it. */
void data_link_queue_publisher(struct publisher *publisher);
void data_link_queue_credit(struct reader *reader);
/* Takes the publisher off the list: it has nothing, or must wait. */
void data_link_unqueue_publisher(struct publisher *publisher);
/* The next reader with a CREDIT or a COMMIT to send, taken off the list; NULL: none. */
struct reader *data_link_next_credit(struct data_link *link);

/* Closes the connection; streams are told nothing, their owners know. */
void data_link_end(struct data_link *link);
void data_link_free(struct data_link *link);

/* ---- for the two ways of travelling */

/* A frame that means the same on both: all but DATA, GAP, PING and RESET. */
void data_link_handle(struct data_link *link, const struct leat_frame *frame);
/* The stream of that number, when it is of that kind. */
void *data_link_stream(const struct data_link *link, uint32_t number, enum stream_kind kind);
void data_link_was_reset(struct data_link *link, const struct leat_frame_reset *reset);
/* Whether its packets' checksums may leave out the bytes of batches. */
bool data_link_is_uncovered(const struct data_link *link);
/* Over such a link `what` came, and cannot be right: checksums cover all bytes from now on. */
void data_link_damaged(struct data_link *link, const char *what);
void data_link_broken(struct data_link *link, const char *what);

#endif
