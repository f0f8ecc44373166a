/* Consumers as leat.h describes them, on top of partition streams and sessions.
 *
 * Role: opening, reopening and seeking; handing out records and events in order, partitions in
 * turn; credit.
 * Must not know: sockets, bytes of frames.
 * Threads: the client's. Handing out does not allocate. */
#ifndef LEAT_CLIENT_CONSUMER_H
#define LEAT_CLIENT_CONSUMER_H

#include "client/client_state.h"

/* Takes the next step of opening each topic, if possible. */
void consumer_advance(struct leat_consumer *consumer);
bool consumer_is_ready(const struct leat_consumer *consumer);

/* The connection was lost: records that have arrived and were not handed out will come again. */
void consumer_disconnected(struct leat_consumer *consumer);

/* Data or an event arrived for the reader. */
void reader_arrived(struct reader *reader);
/* Requests that the reader's stream is opened (again); the next step of connecting does it. */
void reader_want(struct reader *reader);
/* Queues a CREDIT if one is due. */
void reader_credit(struct reader *reader);

/* True if the reader is paused or its partition is being released: no records are handed out, no
 * credit is given. */
bool reader_quiet(const struct reader *reader);
/* True if it has a COMMIT to send: fills it and counts it as sent. */
bool reader_commit(struct reader *reader, struct leat_frame_commit *commit);
/* Takes a COMMITTED. */
void reader_committed(struct reader *reader, const struct leat_frame_committed *frame);
/* The shard no longer has the stream: the group gave the partition to another member, or the end of
 * the stream was reported before its grant. Asks control. */
void reader_dropped(struct reader *reader);

/* The reader of a partition; NULL: none. */
struct reader *consumer_reader(struct leat_consumer *consumer, const char *topic,
                               uint32_t partition);
/* The same. If there is none, sets the error text and returns the error. */
int consumer_find(struct leat_consumer *consumer, const char *topic, uint32_t partition,
                  struct reader **reader);
/* Reports losses at the reader's position that were not reported yet. Called before the position is
 * left. */
void reader_tell_loss(struct reader *reader);
/* Reports TOPIC_DELETED with what is known of the records that were not handed out. The topic is
 * gone and nothing more of the partition is handed out. */
void reader_tell_end(struct reader *reader);
/* Notes that TOPIC_DELETED was reported. A consumer without a group is over after the last one. */
void reader_gone(struct reader *reader);
/* Completes an event about a partition and passes it to the application. */
void reader_event(struct reader *reader, struct leat_event event);

/* Frees the consumer without telling the broker. */
void consumer_free(struct leat_consumer *consumer);

#endif
