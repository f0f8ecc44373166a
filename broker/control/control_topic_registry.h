/* Topics: requests, creation and deletion, the catalog. Private to control*.c.
 *
 * Threads: control, unless stated otherwise. */
#ifndef LEAT_BROKER_CONTROL_CONTROL_TOPIC_REGISTRY_H
#define LEAT_BROKER_CONTROL_CONTROL_TOPIC_REGISTRY_H

#include "broker/control/control_state.h"

/* ---- control_topics.c */

void control_create_topic(struct control *control, struct control_conn *p,
                          const Leat__Control__Request *request);
void control_delete_topic(struct control *control, struct control_conn *p,
                          const Leat__Control__Request *request);
void control_list_topics(struct control *control, struct control_conn *p,
                         const Leat__Control__Request *request);
void control_describe_topic(struct control *control, struct control_conn *p,
                            const Leat__Control__Request *request);
void control_topic_deleted(struct control *control, struct operation *op);
/* Answers that the topic was created; without its partitions if there is no memory for them. */
void control_answer_created(struct control *control, struct control_conn *p, uint64_t request,
                            const struct topic *topic);

/* ---- control_topic_registry.c */

/* Opens all topics of the catalog and the configuration. On an error, error_text says why. */
enum leat_error topic_registry_start(struct control *control, char error_text[CONTROL_ERROR_TEXT]);
/* Creates a topic with a new id and new logs, outside the catalog. catalog_restore adds it, and
 * cannot fail before the next catalog_add. LEAT_ERR_LIMIT, LEAT_ERR_NO_MEMORY. */
enum leat_error topic_registry_new_known(struct control *control, const char *name,
                                         const struct topic_settings *settings,
                                         struct catalog_topic **out,
                                         char error_text[CONTROL_ERROR_TEXT]);
/* Opens the memory of all partitions. May run on the worker thread: uses only the configuration and
 * the budget. *lacks_descriptors: LEAT_ERR_NO_MEMORY is due to a lack of file descriptors. */
enum leat_error topic_registry_open_topic(struct control *control,
                                          const struct catalog_topic *known, struct topic **out,
                                          bool *lacks_descriptors,
                                          char error_text[CONTROL_ERROR_TEXT]);
/* How many bytes the budget lacks for the logs of the topic; 0: they fit. */
uint64_t topic_registry_missing(const struct control *control,
                                const struct topic_settings *settings);
/* Frees the topic and its memory. No shard may have it. */
void topic_registry_free_topic(struct topic *topic);
/* Makes the topic visible to all threads and gives its partitions to the shards. On an error the
 * topic is freed. */
enum leat_error topic_registry_publish(struct control *control, struct topic *topic,
                                       char error_text[CONTROL_ERROR_TEXT]);
/* Logs that the topic was created; that it has normal pages instead of hugepages, if so. */
void topic_registry_say_created(const struct topic *topic);
void topic_registry_say_pages(const struct control *control, const struct topic *topic);
/* Updates the metrics about topics and log memory. */
void topic_registry_count_topics(struct control *control);
/* Call after the shards have ended. Stores the exact offsets and closes all partitions. False: the
 * offsets could not be stored. */
bool topic_registry_stop(struct control *control);

/* ---- control_creation.c */

/* Creates the topic, then answers and frees the operation, which has no parts. */
void creation_begin(struct control *control, struct operation *op, const char *name,
                    const struct topic_settings *settings);
/* Whether a topic of this name is being created. */
bool creation_is_under_way(const struct control *control, const char *name);
/* Opens a topic that was left out at startup, if there is room now. */
void creation_come_back(struct control *control, struct catalog_topic *known);
/* Deletes a left-out topic from the stored catalog, then answers and frees the operation, which has
 * no parts. */
void deletion_of_left_out(struct control *control, struct operation *op,
                          struct catalog_topic *known);
/* Deletes the topic from the stored catalog, then sends the operation to its shards. The topic must
 * be in the catalog. */
void deletion_begin(struct control *control, struct operation *op, const struct topic *topic);
/* No shard has the partitions any more: closes them after an RCU grace period, then answers. */
void deletion_reap(struct control *control, struct operation *op);
/* Lets the worker close the partitions whose grace period is over. */
void deletion_close_reaped(struct control *control);
/* At shutdown, after the shards have ended: if the operation is a deletion, closes its partitions.
 */
void deletion_abandon(struct operation *op);

/* ---- control_catalog.c */

/* Calls waiter->stored when the current catalog, or a newer one, was stored durably or could not be
 * stored; at once if no state is kept. */
void catalog_store(struct control *control, struct catalog_waiter *waiter);
/* Tells the waiters of a completed write, as long as the shards have room for mail. Called once per
 * iteration. False: there was nothing to tell. */
bool catalog_tell(struct control *control);
/* Stores the catalog and blocks; only at startup and shutdown. LEAT_ERR_IO, LEAT_ERR_NO_MEMORY. */
enum leat_error catalog_store_now(struct control *control, char error_text[CONTROL_ERROR_TEXT]);

/* A shard asks for more reserved offsets (MESSAGE_RESERVE_OFFSETS). */
void topic_registry_want_offsets(struct control *control, const struct message *message);
/* The same for all partitions of a topic of the catalog. */
void topic_registry_want_all(struct control *control, const struct topic *topic);
/* If offsets were asked for, stores the new limits, then tells the shards. Once per iteration. */
void topic_registry_reserve(struct control *control);

/* ---- control_left_out.c */

/* Marks the topic as left out, and logs why. */
void left_out_add(struct control *control, struct catalog_topic *known, const char *why);
/* Logs all left-out topics in one line. */
void left_out_tell(const struct control *control);
/* NULL: the topic is open or unknown. */
struct catalog_topic *left_out_find(const struct control *control, const char *name);
/* A left-out topic was deleted or opened. */
void left_out_end(struct control *control);
/* The topic could not be opened after all; tries the following ones. */
void left_out_failed(struct control *control, const struct catalog_topic *known);
/* Log memory was freed: tries all left-out topics. */
void left_out_try(struct control *control);
/* Opens the next left-out topic that fits. Once per iteration. */
void left_out_step(struct control *control);

#endif
