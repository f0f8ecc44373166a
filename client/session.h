/* The session with one shard: what is the same however its frames travel.
 *
 *      session.c               the grant, the streams, frames by kind
 *       +-- session_tcp*.c      one connection: a byte stream of frames
 *       +-- session_packets*.c  packets through the client's port, over transport/flow.h
 *
 * Role: session grant; who of its streams has something to send; handing frames to their streams.
 * Must not know: topics, the application, when to reconnect.
 * Threads: the client's. Allocates only until the session is up and when streams are opened. */
#ifndef LEAT_CLIENT_SESSION_H
#define LEAT_CLIENT_SESSION_H

#include "client/client_state.h"

/* The session with `shard`, asked for if need be; look at its state. NULL: no memory, or no such
 * shard (the client has failed then). */
struct client_session *client_session_want(struct leat_client *client, uint32_t shard);

/* Sends all that streams have and the wire takes. */
void client_session_flush(struct client_session *session);
/* When it has something to do even if nothing comes, as it is after a flush. */
leat_ns client_session_deadline(const struct client_session *session);

/* A stream was opened on it. LEAT_ERR_NO_MEMORY. `stream` is a publisher or a reader. */
enum leat_error client_session_attach(struct client_session *session, uint32_t number,
                                      void *stream);
/* And is no more; what still arrives for it is dropped. */
void client_session_detach_publisher(struct publisher *publisher);
void client_session_detach_reader(struct reader *reader);

/* The publisher has something to send; the reader's credit is due, or a commit of it. */
void client_session_queue_publisher(struct publisher *publisher);
void client_session_queue_credit(struct reader *reader);
/* Takes the publisher off the list: it has nothing, or must wait. */
void client_session_unqueue_publisher(struct publisher *publisher);
/* The next reader with a CREDIT or a COMMIT to send, taken off the list; NULL: none. */
struct reader *client_session_next_credit(struct client_session *session);

/* Closes the connection; streams are told nothing, their owners know. */
void client_session_end(struct client_session *session);
void client_session_free(struct client_session *session);

/* ---- for the two ways of travelling */

/* A frame that means the same on both: all but DATA, GAP, PING and RESET. */
void client_session_handle(struct client_session *session, const struct leat_frame *frame);
/* The stream of that number, when it is of that kind. */
void *client_session_stream(const struct client_session *session, uint32_t number,
                            enum stream_kind kind);
void client_session_was_reset(struct client_session *session, const struct leat_frame_reset *reset);
/* Whether its packets' checksums may leave out the bytes of batches. */
bool client_session_is_uncovered(const struct client_session *session);
/* Over a path without checksums `what` came, and cannot be right: checksums cover all bytes from
 * now on. */
void client_session_damaged(struct client_session *session, const char *what);
void client_session_broken(struct client_session *session, const char *what);

#endif
