/* Consumers: what leat.h promises of them, over partition streams and data connections.
 *
 * Role: opening, opening again and seeking; records and events out, in order and in turn; credit.
 * Must not know: sockets, bytes of frames.
 * Threads: the client's. Handing out allocates nothing. */
#ifndef LEAT_CLIENT_CONSUMER_H
#define LEAT_CLIENT_CONSUMER_H

#include "client/client_state.h"

/* Each topic takes the next step of being opened, if it can. */
void consumer_advance(struct leat_consumer *consumer);
bool consumer_is_ready(const struct leat_consumer *consumer);

/* The connection is gone: what had arrived and was not handed out comes again. */
void consumer_disconnected(struct leat_consumer *consumer);

/* Something arrived for the reader. */
void reader_arrived(struct reader *reader);
/* Its stream is to be opened, or opened anew: the next step of connecting asks for it. */
void reader_want(struct reader *reader);
/* Queues a CREDIT if one is due. */
void reader_credit(struct reader *reader);

/* Paused, or about to leave: nothing is handed out, no credit given. */
bool reader_quiet(const struct reader *reader);
/* True when it has a COMMIT to send; fills it and takes it as sent. */
bool reader_commit(struct reader *reader, struct leat_frame_commit *commit);
/* COMMITTED came. */
void reader_committed(struct reader *reader, const struct leat_frame_committed *frame);
/* The shard has its stream no more: the group gave the partition to another, or its end was told
 * before its grant came. Control knows; it is asked. */
void reader_dropped(struct reader *reader);

/* The reader of that partition; NULL: there is none. */
struct reader *consumer_reader(struct leat_consumer *consumer, const char *topic,
                               uint32_t partition);
/* The same; when there is none the error is noted and returned. */
int consumer_find(struct leat_consumer *consumer, const char *topic, uint32_t partition,
                  struct reader **reader);
/* Nothing more of the stream is handed out from where it stands: what was lost there and not told
 * yet is said now. */
void reader_tell_loss(struct reader *reader);
/* Its topic is gone, and nothing more of the partition is handed out: says so, with what is known
 * of what was not. */
void reader_tell_end(struct reader *reader);
/* The application was told that its topic is gone. Of a plain consumer: after the last one it is
 * over. */
void reader_gone(struct reader *reader);
/* Tells the application of one of its partitions. */
void reader_event(struct reader *reader, struct leat_event event);

/* Frees it without telling the broker. */
void consumer_free(struct leat_consumer *consumer);

#endif
