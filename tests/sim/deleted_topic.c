/* Deleted topic: one beside SIM_TOPIC that is deleted while packets of it are on the way. */
#include "tests/sim/deleted_topic.h"

#include <string.h>

enum {
    RECORDS_AT_ONCE = 8,
    RECORDS_MAX = 400, /* more than its ring holds */
    SENDS_ONE_IN = 8,  /* of its turns */
    VALUE_BYTES = 900,
};

static void on_delivery(void *user, const struct leat_delivery *delivery)
{
    struct deleted_topic *deleted_topic = user;
    deleted_topic->answered++;
    if (delivery->status == LEAT_OK && delivery->offset != delivery->cookie)
        deleted_topic->broken(deleted_topic->user,
                              "a side record at another offset than its number", delivery->offset,
                              delivery->cookie);
}

void deleted_topic_open(struct deleted_topic *deleted_topic,
                        leat_client *clients[DELETED_TOPIC_READERS])
{
    const struct leat_topic_settings settings = { .size = sizeof settings,
                                                  .ring_bytes = 1 << 16,
                                                  .record_bytes_max = 4096 };
    const struct leat_producer_options producing = { .size = sizeof producing,
                                                     .on_delivery = on_delivery,
                                                     .user = deleted_topic,
                                                     .batch_bytes_max = 4096 };
    const struct leat_consumer_options consuming = { .size = sizeof consuming,
                                                     .start_at = LEAT_START_EARLIEST };
    const char *topic = DELETED_TOPIC_TOPIC;
    deleted_topic->deleted = false;
    deleted_topic->sent = deleted_topic->answered = 0;
    memset(deleted_topic->readers, 0, sizeof deleted_topic->readers);
    deleted_topic->open = leat_topic_create(clients[0], topic, &settings) == LEAT_OK;
    if (!deleted_topic->open)
        return;
    bool opened =
        leat_producer_open(clients[0], &deleted_topic->producer, topic, &producing) == LEAT_OK;
    for (unsigned i = 0; i < DELETED_TOPIC_READERS && opened; i++)
        opened = leat_consumer_open(clients[i], &deleted_topic->readers[i].consumer, &topic, 1,
                                    &consuming)
                 == LEAT_OK;
    if (opened)
        return;
    leat_topic_delete(clients[0], topic);
    deleted_topic_close(deleted_topic);
}

static void send_some(struct deleted_topic *deleted_topic, struct seeded *random)
{
    uint8_t value[VALUE_BYTES] = { 0 };
    for (uint32_t n = seeded_below(random, RECORDS_AT_ONCE); n > 0; n--) {
        const struct leat_record record = {
            .value = value,
            .value_size =
                (uint32_t)sizeof deleted_topic->sent
                + seeded_below(random, VALUE_BYTES - (uint32_t)sizeof deleted_topic->sent),
            .cookie = deleted_topic->sent,
        };
        memcpy(value, &deleted_topic->sent, sizeof deleted_topic->sent);
        if (leat_producer_send(deleted_topic->producer, &record) != LEAT_OK)
            return;
        deleted_topic->sent++;
    }
}

static void read_some(struct deleted_topic *deleted_topic, struct deleted_topic_reader *reader,
                      struct seeded *random)
{
    struct leat_record records[32];
    const int n = leat_consumer_poll(reader->consumer, records, 1 + seeded_below(random, 32));
    for (int i = 0; i < n; i++) {
        uint64_t number;
        memcpy(&number, records[i].value, sizeof number);
        if (reader->ends != 0 || records[i].offset != reader->next || number != reader->next)
            deleted_topic->broken(deleted_topic->user,
                                  "a side record out of turn, or after the end: offset, number",
                                  records[i].offset, number);
        reader->next = records[i].offset + 1;
    }
}

void deleted_topic_step(struct deleted_topic *deleted_topic, unsigned reader, struct seeded *random)
{
    if (!deleted_topic->open)
        return;
    if (reader == 0 && !deleted_topic->deleted && deleted_topic->sent < RECORDS_MAX
        && seeded_below(random, SENDS_ONE_IN) == 0)
        send_some(deleted_topic, random);
    read_some(deleted_topic, &deleted_topic->readers[reader], random);
}

void deleted_topic_delete(struct deleted_topic *deleted_topic, leat_client *client)
{
    const int error = leat_topic_delete(client, DELETED_TOPIC_TOPIC);
    deleted_topic->deleted = error == LEAT_OK || error == LEAT_ERR_UNKNOWN_TOPIC;
}

/* Where its reader stands, and what the log had from there on. */
static void check_end(struct deleted_topic *deleted_topic,
                      const struct deleted_topic_reader *reader, const struct leat_event *event)
{
    const uint64_t most = deleted_topic->sent - reader->next;
    if (event->first_offset != reader->next)
        deleted_topic->broken(deleted_topic->user,
                              "the end of a topic is told elsewhere than its reader stands",
                              event->first_offset, reader->next);
    if (event->lost_at_least > most || event->lost_at_least > event->lost_at_most)
        deleted_topic->broken(deleted_topic->user, "more is told to be lost than there was",
                              event->lost_at_least, most);
    if (event->next_offset == LEAT_NO_OFFSET)
        return;
    if (event->next_offset < reader->next || event->next_offset > deleted_topic->sent
        || event->lost_at_most != event->next_offset - reader->next)
        deleted_topic->broken(deleted_topic->user,
                              "a topic cannot have ended there: end, records sent",
                              event->next_offset, deleted_topic->sent);
}

void deleted_topic_event(struct deleted_topic *deleted_topic, unsigned index,
                         const struct leat_event *event)
{
    struct deleted_topic_reader *reader = &deleted_topic->readers[index];
    if (!deleted_topic->open || event->consumer != reader->consumer || event->consumer == NULL)
        return;
    if (event->type == LEAT_EVENT_GAP) {
        if (event->first_offset != reader->next)
            deleted_topic->broken(deleted_topic->user,
                                  "a side gap that does not begin where its reader stands",
                                  event->first_offset, reader->next);
        reader->next = event->next_offset;
    } else if (event->type == LEAT_EVENT_TOPIC_DELETED) {
        check_end(deleted_topic, reader, event);
        if (reader->ends++ != 0)
            deleted_topic->broken(deleted_topic->user, "the end of a topic was told twice: reader",
                                  index, 0);
    }
}

bool deleted_topic_settled(const struct deleted_topic *deleted_topic)
{
    bool settled = !deleted_topic->open
                   || (deleted_topic->deleted && deleted_topic->answered == deleted_topic->sent);
    for (unsigned i = 0; i < DELETED_TOPIC_READERS && deleted_topic->open; i++)
        settled &= deleted_topic->readers[i].ends == 1;
    return settled;
}

void deleted_topic_close(struct deleted_topic *deleted_topic)
{
    deleted_topic->open = false;
    for (unsigned i = 0; i < DELETED_TOPIC_READERS; i++) {
        if (deleted_topic->readers[i].consumer != NULL)
            leat_consumer_close(deleted_topic->readers[i].consumer);
        deleted_topic->readers[i].consumer = NULL;
    }
    if (deleted_topic->producer != NULL)
        leat_producer_close(deleted_topic->producer);
    deleted_topic->producer = NULL;
}
