/* Topics, as control's files share them: requests about them, their birth and death, the catalog.
 *
 * Threads: control's, where nothing else is said. */
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
/* It is there now, whatever lacks: without the places of its partitions, if need be. */
void control_answer_created(struct control *control, struct control_conn *p, uint64_t request,
                            const struct topic *topic);

/* ---- control_topic_registry.c */

/* Everything of the catalog and the configuration. */
enum leat_error topic_registry_start(struct control *control, char error_text[CONTROL_ERROR_TEXT]);
/* A topic with a new id and new logs, that is not in the catalog (catalog_restore puts it there:
 * there is room until the next catalog_add). LEAT_ERR_LIMIT, LEAT_ERR_NO_MEMORY. */
enum leat_error topic_registry_new_known(struct control *control, const char *name,
                                         const struct topic_settings *settings,
                                         struct catalog_topic **out,
                                         char error_text[CONTROL_ERROR_TEXT]);
/* All memory of a topic. Also on the worker's thread: looks at the configuration and the budget
 * alone. *lacks_descriptors: they are why it is LEAT_ERR_NO_MEMORY. */
enum leat_error topic_registry_open_topic(struct control *control,
                                          const struct catalog_topic *known, struct topic **out,
                                          bool *lacks_descriptors,
                                          char error_text[CONTROL_ERROR_TEXT]);
/* What the logs of a whole topic lack of the budget, in bytes; 0: they fit. */
uint64_t topic_registry_missing(const struct control *control,
                                const struct topic_settings *settings);
/* No shard has it. */
void topic_registry_free_topic(struct topic *topic);
/* It is there for everybody, and its partitions are the shards'. On an error it is freed. */
enum leat_error topic_registry_publish(struct control *control, struct topic *topic,
                                       char error_text[CONTROL_ERROR_TEXT]);
/* In the log: that it was made; that it has not the pages it was to have, if so. */
void topic_registry_say_created(const struct topic *topic);
void topic_registry_say_pages(const struct control *control, const struct topic *topic);
void topic_registry_count_topics(struct control *control);
/* Shards have ended: exact offsets are stored, all partitions closed. False: they are not stored.
 */
bool topic_registry_stop(struct control *control);

/* ---- control_creation.c */

/* Makes the topic; the operation, which has no parts, is answered and freed. */
void creation_begin(struct control *control, struct operation *op, const char *name,
                    const struct topic_settings *settings);
bool creation_is_under_way(const struct control *control, const char *name);
/* Opens what was left out at the start, if there is room for it now. */
void creation_come_back(struct control *control, struct catalog_topic *known);
/* Forgets, durably, a topic that was left out; the operation, which has no parts, is answered and
 * freed. */
void deletion_of_left_out(struct control *control, struct operation *op,
                          struct catalog_topic *known);
/* Forgets the topic durably, then sends the operation to its shards. The topic is in the catalog.
 */
void deletion_begin(struct control *control, struct operation *op, const struct topic *topic);
/* No shard has its partitions: closes them after a grace period, then answers. */
void deletion_reap(struct control *control, struct operation *op);
/* Has the worker close what is ready to be. */
void deletion_close_reaped(struct control *control);
/* The shards have ended, whatever it waited for: closes its partitions, if it is a deletion. */
void deletion_abandon(struct operation *op);

/* ---- control_catalog.c */

/* Calls waiter->stored when the catalog as it is now, or newer, is durable, or could not be stored;
 * at once when nothing is kept. */
void catalog_store(struct control *control, struct catalog_waiter *waiter);
/* Tells those who waited for what has been written, as long as shards have room for what follows.
 * Once an iteration. False: there was nobody to tell. */
bool catalog_tell(struct control *control);
/* The same as catalog_store, waiting for it: when nobody is served yet or any more. LEAT_ERR_IO,
 * LEAT_ERR_NO_MEMORY.
 */
enum leat_error catalog_store_now(struct control *control, char error_text[CONTROL_ERROR_TEXT]);

void topic_registry_want_offsets(struct control *control, const struct message *message);
/* As if all partitions of a topic of the catalog asked. */
void topic_registry_want_all(struct control *control, const struct topic *topic);
/* Stores the new limits and tells the shards. */
void topic_registry_reserve(struct control *control);

/* ---- topics that found no room (control_left_out.c) */

void left_out_add(struct control *control, struct catalog_topic *known, const char *why);
/* To the log, all of them. */
void left_out_tell(const struct control *control);
/* NULL: that topic is there, or unknown. */
struct catalog_topic *left_out_find(const struct control *control, const char *name);
/* It is out of the catalog, or there. */
void left_out_end(struct control *control);
/* There was no memory for it after all: others may fit. */
void left_out_failed(struct control *control, const struct catalog_topic *known);
/* Memory was given back. */
void left_out_try(struct control *control);
/* Once an iteration. */
void left_out_step(struct control *control);

#endif
