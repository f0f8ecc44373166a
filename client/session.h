/* The session with one shard: the part that TCP and packets have in common.
 *
 *      session.c               the grant, the streams, frames by kind
 *       +-- session_tcp*.c      one connection: a byte stream of frames
 *       +-- session_packets*.c  packets through the client's port, over transport/flow.h
 *
 * Role: session grant; the lists of streams with something to send; passing frames to streams.
 * Must not know: topics, the application, when to reconnect.
 * Threads: the client's. Allocates only until the session is up and when streams are opened. */
#ifndef LEAT_CLIENT_SESSION_H
#define LEAT_CLIENT_SESSION_H

#include "client/client_state.h"

/* Returns the session with `shard`, after requesting it if there is none; its state says whether it
 * is up. NULL: no memory, or no such shard; the client has failed. */
struct client_session *client_session_want(struct leat_client *client, uint32_t shard);

/* Sends what the session's streams have, as far as the wire accepts it. */
void client_session_flush(struct client_session *session);
/* Returns when the session has to act if nothing arrives before. Valid after a flush. */
leat_ns client_session_deadline(const struct client_session *session);

/* Adds a stream that was opened on the session; `stream` is a publisher or a reader.
 * LEAT_ERR_NO_MEMORY. */
enum leat_error client_session_attach(struct client_session *session, uint32_t number,
                                      void *stream);
/* Removes a stream; frames that still arrive for it are dropped. */
void client_session_detach_publisher(struct publisher *publisher);
void client_session_detach_reader(struct reader *reader);

/* Queues a publisher that has something to send, or a reader with a CREDIT or COMMIT due. */
void client_session_queue_publisher(struct publisher *publisher);
void client_session_queue_credit(struct reader *reader);
/* Removes the publisher from the list: it has nothing to send, or must wait. */
void client_session_unqueue_publisher(struct publisher *publisher);
/* Removes and returns the next reader with a CREDIT or COMMIT to send; NULL: none. */
struct reader *client_session_next_credit(struct client_session *session);

/* Closes the session. Its streams are not notified: their owners know. */
void client_session_end(struct client_session *session);
void client_session_free(struct client_session *session);

/* ---- for session_tcp*.c and session_packets*.c */

/* Handles a frame that means the same over TCP and in packets: all but DATA, GAP, PING and
 * RESET. */
void client_session_handle(struct client_session *session, const struct leat_frame *frame);
/* Returns the stream with that number if it is of that kind; else NULL. */
void *client_session_stream(const struct client_session *session, uint32_t number,
                            enum stream_kind kind);
void client_session_was_reset(struct client_session *session, const struct leat_frame_reset *reset);
/* True if its packets' checksums may leave out the bytes of batches. */
bool client_session_is_uncovered(const struct client_session *session);
/* `what` arrived over a path without full checksums and cannot be right: fails the session, and
 * from now on checksums cover all bytes. */
void client_session_damaged(struct client_session *session, const char *what);
void client_session_broken(struct client_session *session, const char *what);

#endif
