/* Requests about topics: create, delete, list, describe. */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "broker/control/control_topic_registry.h"
#include "broker/shared/settings.h"

enum {
    /* The limits of one page of a list, so that it fits a message: a topic takes at most 400 bytes,
       a partition at most 80. The first topic of a page always has all its partitions. */
    LIST_TOPICS = 512,
    LIST_PARTITIONS = 4096,
};
static_assert(LIST_TOPICS * 400 + (LIST_PARTITIONS + LEAT_PARTITIONS_MAX) * 80
                  <= LEAT_CONTROL_BYTES_MAX,
              "a page fits");

/* ---- settings, both ways */

static void settings_from(struct topic_settings *out, const Leat__Control__TopicSettings *in)
{
    *out = (struct topic_settings){ .partitions = 0 };
    if (in == NULL)
        return;
    out->partitions = in->partitions;
    out->ring_bytes = in->ring_bytes;
    out->retention_ms = in->retention_ms;
    out->retention_bytes = in->retention_bytes;
    out->record_bytes_max = in->record_bytes_max;
    out->overrun = in->overrun == LEAT__CONTROL__OVERRUN__EVICT   ? PARTITION_EVICT
                   : in->overrun == LEAT__CONTROL__OVERRUN__BLOCK ? PARTITION_BLOCK
                                                                  : UINT8_MAX;
    out->required_timeout_ms = in->required_timeout_ms;
    out->quota_publish_bytes = in->quota_publish_bytes;
    out->quota_deliver_bytes = in->quota_deliver_bytes;
}

static void settings_to(Leat__Control__TopicSettings *out, const struct topic_settings *in)
{
    leat__control__topic_settings__init(out);
    out->partitions = in->partitions;
    out->ring_bytes = in->ring_bytes;
    out->retention_ms = in->retention_ms;
    out->retention_bytes = in->retention_bytes;
    out->record_bytes_max = in->record_bytes_max;
    out->overrun = in->overrun == PARTITION_BLOCK ? LEAT__CONTROL__OVERRUN__BLOCK
                                                  : LEAT__CONTROL__OVERRUN__EVICT;
    out->required_timeout_ms = in->required_timeout_ms;
    out->quota_publish_bytes = in->quota_publish_bytes;
    out->quota_deliver_bytes = in->quota_deliver_bytes;
}

/* ---- a topic as a message */

struct picture {
    Leat__Control__Topic topic;
    Leat__Control__TopicSettings settings;
    Leat__Control__Partition *partitions;
    Leat__Control__Partition **list;
};

static void picture_free(struct picture *picture)
{
    free(picture->partitions);
    free(picture->list);
    picture->partitions = NULL;
    picture->list = NULL;
}

static void draw_partition(Leat__Control__Partition *out, const struct topic *topic, uint32_t index)
{
    const struct topic_partition *at = &topic->partitions[index];
    struct partition_stats stats;
    partition_stats(at->partition, &stats);
    leat__control__partition__init(out);
    out->index = index;
    out->shard = at->shard;
    out->log_epoch = partition_log_epoch(at->partition);
    out->next_offset = stats.next_offset;
    out->tail_position = stats.tail_position;
    /* The values are not read atomically together: never show a head above the tail. */
    out->head_offset =
        stats.head_offset < stats.next_offset ? stats.head_offset : stats.next_offset;
    out->head_position =
        stats.head_position < stats.tail_position ? stats.head_position : stats.tail_position;
    out->hugepages = partition_hugepages(at->partition);
}

/* False: no memory. */
static bool draw(struct picture *picture, const struct topic *topic, bool with_partitions)
{
    *picture = (struct picture){ .partitions = NULL };
    leat__control__topic__init(&picture->topic);
    settings_to(&picture->settings, &topic->settings);
    picture->topic.name = (char *)topic->name;
    picture->topic.id = topic->id;
    picture->topic.settings = &picture->settings;
    if (!with_partitions)
        return true;
    const uint32_t count = topic->settings.partitions;
    picture->partitions = calloc(count, sizeof *picture->partitions);
    picture->list = calloc(count, sizeof(Leat__Control__Partition *));
    if (picture->partitions == NULL || picture->list == NULL) {
        picture_free(picture);
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        draw_partition(&picture->partitions[i], topic, i);
        picture->list[i] = &picture->partitions[i];
    }
    picture->topic.partitions = picture->list;
    picture->topic.n_partitions = count;
    return true;
}

/* A left-out topic is shown without partitions. */
static void draw_left_out(struct picture *picture, const struct catalog_topic *known)
{
    *picture = (struct picture){ .partitions = NULL };
    leat__control__topic__init(&picture->topic);
    settings_to(&picture->settings, &known->settings);
    picture->topic.name = (char *)known->name;
    picture->topic.id = known->id;
    picture->topic.settings = &picture->settings;
}

static void answer_picture(struct control *control, struct control_conn *p, uint64_t request,
                           struct picture *picture)
{
    Leat__Control__Response response = LEAT__CONTROL__RESPONSE__INIT;
    response.id = request;
    response.body_case = LEAT__CONTROL__RESPONSE__BODY_TOPIC;
    response.topic = &picture->topic;
    control_conn_answer(control, p, &response);
    picture_free(picture);
}

void control_answer_created(struct control *control, struct control_conn *p, uint64_t request,
                            const struct topic *topic)
{
    struct picture picture;
    control_charge(control, topic->settings.partitions);
    if (!draw(&picture, topic, true))
        draw(&picture, topic, false);
    answer_picture(control, p, request, &picture);
}

/* ---- create, describe, delete */

static void refuse_moving(struct control *control, struct control_conn *p, uint64_t request,
                          const char *name)
{
    control_conn_refuse_for(control, p, request, LEAT_BUSY, CONTROL_RETRY_MS,
                            "topic \"%s\" is being created or deleted: try again later", name);
}

void control_create_topic(struct control *control, struct control_conn *p,
                          const Leat__Control__Request *request)
{
    const Leat__Control__CreateTopic *create = request->create_topic;
    struct topic_settings settings;
    struct settings_error wrong;
    settings_from(&settings, create->settings);
    if (settings_resolve(&settings, &wrong) != LEAT_OK) {
        control_conn_refuse(control, p, request->id, LEAT_ERR_INVALID,
                            "topic \"%s\": %s is %s, expected %s", create->name, wrong.name,
                            wrong.got, wrong.expected);
        return;
    }
    const struct topic *topic = topics_find_name(control->options.topics, create->name);
    if (topic != NULL || left_out_find(control, create->name) != NULL) {
        control_conn_refuse(
            control, p, request->id, LEAT_ERR_TOPIC_EXISTS,
            "topic \"%s\" already exists: use it, choose another name, or delete it with "
            "`leat topic delete %s`",
            create->name, create->name);
        return;
    }
    if (creation_is_under_way(control, create->name)) {
        refuse_moving(control, p, request->id, create->name);
        return;
    }
    struct operation *op = operation_begin(control, p, request->id, OPERATION_CREATE_TOPIC, 0);
    if (op == NULL)
        return;
    control_charge(control, settings.partitions);
    creation_begin(control, op, create->name, &settings);
}

void control_describe_topic(struct control *control, struct control_conn *p,
                            const Leat__Control__Request *request)
{
    const char *name = request->describe_topic->name;
    const struct topic *topic = topics_find_name(control->options.topics, name);
    struct picture picture;
    if (topic == NULL) {
        control_conn_refuse_topic(control, p, request->id, name);
        return;
    }
    control_charge(control, topic->settings.partitions);
    if (draw(&picture, topic, true))
        answer_picture(control, p, request->id, &picture);
    else
        control_conn_refuse_busy(control, p, request->id);
}

/* No shard has partitions of the topic. */
static void delete_left_out(struct control *control, struct control_conn *p, uint64_t request,
                            const char *name)
{
    struct operation *op = operation_begin(control, p, request, OPERATION_DELETE_TOPIC, 0);
    if (op != NULL)
        deletion_of_left_out(control, op, left_out_find(control, name));
}

void control_delete_topic(struct control *control, struct control_conn *p,
                          const Leat__Control__Request *request)
{
    const char *name = request->delete_topic->name;
    const struct topic *topic = topics_find_name(control->options.topics, name);
    if (creation_is_under_way(control, name)) {
        refuse_moving(control, p, request->id, name);
        return;
    }
    if (topic == NULL && left_out_find(control, name) != NULL) {
        delete_left_out(control, p, request->id, name);
        return;
    }
    if (topic == NULL) {
        control_conn_refuse(control, p, request->id, LEAT_ERR_UNKNOWN_TOPIC,
                            "there is no topic \"%s\": see `leat topic list`", name);
        return;
    }
    if (catalog_find(control->options.catalog, topic->id) == NULL) {
        refuse_moving(control, p, request->id, name);
        return;
    }
    struct operation *op = operation_begin(control, p, request->id, OPERATION_DELETE_TOPIC,
                                           topic->settings.partitions);
    if (op == NULL)
        return;
    op->topic_id = topic->id;
    control_charge(control, op->count);
    deletion_begin(control, op, topic);
}

void control_topic_deleted(struct control *control, struct operation *op)
{
    /* Answered after its memory was freed, so that the client can create another topic in it. */
    deletion_reap(control, op);
}

/* ---- list, page by page */

struct listing {
    struct picture pictures[LIST_TOPICS];
    Leat__Control__Topic *list[LIST_TOPICS];
    size_t count;
    size_t place; /* index in the catalog of the next topic */
};

/* Adds topics until the page is full. False: no memory. */
static bool fill(struct control *control, struct listing *listing)
{
    const struct catalog *catalog = control->options.catalog;
    for (size_t rows = 0; listing->place < catalog->count && listing->count < LIST_TOPICS;
         listing->place++) {
        const struct topic *topic =
            topics_find(control->options.topics, catalog->topics[listing->place]->id);
        const struct catalog_topic *known = catalog->topics[listing->place];
        if (topic == NULL && known->left_out) {
            draw_left_out(&listing->pictures[listing->count], known);
            listing->list[listing->count] = &listing->pictures[listing->count].topic;
            listing->count++;
        }
        if (topic == NULL)
            continue;
        const size_t partitions = topic->settings.partitions;
        if (listing->count != 0 && rows + partitions > LIST_PARTITIONS)
            break;
        if (!draw(&listing->pictures[listing->count], topic, true))
            return false;
        listing->list[listing->count] = &listing->pictures[listing->count].topic;
        listing->count++;
        rows += partitions;
        control_charge(control, 1 + partitions);
    }
    return true;
}

static void answer_list(struct control *control, struct control_conn *p, uint64_t request,
                        struct listing *listing)
{
    Leat__Control__TopicList topics = LEAT__CONTROL__TOPIC_LIST__INIT;
    topics.topics = listing->list;
    topics.n_topics = listing->count;
    topics.more = listing->place < control->options.catalog->count;
    Leat__Control__Response response = LEAT__CONTROL__RESPONSE__INIT;
    response.id = request;
    response.body_case = LEAT__CONTROL__RESPONSE__BODY_TOPICS;
    response.topics = &topics;
    control_conn_answer(control, p, &response);
}

void control_list_topics(struct control *control, struct control_conn *p,
                         const Leat__Control__Request *request)
{
    struct listing *listing = calloc(1, sizeof *listing);
    if (listing == NULL) {
        control_conn_refuse_busy(control, p, request->id);
        return;
    }
    listing->place = catalog_above(control->options.catalog, request->list_topics->after_id);
    if (fill(control, listing))
        answer_list(control, p, request->id, listing);
    else
        control_conn_refuse_busy(control, p, request->id);
    for (size_t i = 0; i < listing->count; i++)
        picture_free(&listing->pictures[i]);
    free(listing);
}
