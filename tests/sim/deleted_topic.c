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
    struct side *side = user;
    side->answered++;
    if (delivery->status == LEAT_OK && delivery->offset != delivery->cookie)
        side->broken(side->user, "a side record at another offset than its number",
                     delivery->offset, delivery->cookie);
}

void side_open(struct side *side, leat_client *clients[SIDE_READERS])
{
    const struct leat_topic_settings settings = { .size = sizeof settings,
                                                  .ring_bytes = 1 << 16,
                                                  .record_bytes_max = 4096 };
    const struct leat_producer_options producing = {
        .size = sizeof producing, .on_delivery = on_delivery, .user = side, .batch_bytes_max = 4096
    };
    const struct leat_consumer_options consuming = { .size = sizeof consuming,
                                                     .start_at = LEAT_START_EARLIEST };
    const char *topic = SIDE_TOPIC;
    side->deleted = false;
    side->sent = side->answered = 0;
    memset(side->readers, 0, sizeof side->readers);
    side->open = leat_topic_create(clients[0], topic, &settings) == LEAT_OK;
    if (!side->open)
        return;
    bool opened = leat_producer_open(clients[0], &side->producer, topic, &producing) == LEAT_OK;
    for (unsigned i = 0; i < SIDE_READERS && opened; i++)
        opened = leat_consumer_open(clients[i], &side->readers[i].consumer, &topic, 1, &consuming)
                 == LEAT_OK;
    if (opened)
        return;
    leat_topic_delete(clients[0], topic);
    side_close(side);
}

static void send_some(struct side *side, struct seeded *random)
{
    uint8_t value[VALUE_BYTES] = { 0 };
    for (uint32_t n = seeded_below(random, RECORDS_AT_ONCE); n > 0; n--) {
        const struct leat_record record = {
            .value = value,
            .value_size = (uint32_t)sizeof side->sent
                          + seeded_below(random, VALUE_BYTES - (uint32_t)sizeof side->sent),
            .cookie = side->sent,
        };
        memcpy(value, &side->sent, sizeof side->sent);
        if (leat_producer_send(side->producer, &record) != LEAT_OK)
            return;
        side->sent++;
    }
}

static void read_some(struct side *side, struct side_reader *reader, struct seeded *random)
{
    struct leat_record records[32];
    const int n = leat_consumer_poll(reader->consumer, records, 1 + seeded_below(random, 32));
    for (int i = 0; i < n; i++) {
        uint64_t number;
        memcpy(&number, records[i].value, sizeof number);
        if (reader->ends != 0 || records[i].offset != reader->next || number != reader->next)
            side->broken(side->user, "a side record out of turn, or after the end: offset, number",
                         records[i].offset, number);
        reader->next = records[i].offset + 1;
    }
}

void side_step(struct side *side, unsigned reader, struct seeded *random)
{
    if (!side->open)
        return;
    if (reader == 0 && !side->deleted && side->sent < RECORDS_MAX
        && seeded_below(random, SENDS_ONE_IN) == 0)
        send_some(side, random);
    read_some(side, &side->readers[reader], random);
}

void side_delete(struct side *side, leat_client *client)
{
    const int error = leat_topic_delete(client, SIDE_TOPIC);
    side->deleted = error == LEAT_OK || error == LEAT_ERR_UNKNOWN_TOPIC;
}

/* Where its reader stands, and what the log had from there on. */
static void check_end(struct side *side, const struct side_reader *reader,
                      const struct leat_event *event)
{
    const uint64_t most = side->sent - reader->next;
    if (event->first_offset != reader->next)
        side->broken(side->user, "the end of a topic is told elsewhere than its reader stands",
                     event->first_offset, reader->next);
    if (event->lost_at_least > most || event->lost_at_least > event->lost_at_most)
        side->broken(side->user, "more is told to be lost than there was", event->lost_at_least,
                     most);
    if (event->next_offset == LEAT_NO_OFFSET)
        return;
    if (event->next_offset < reader->next || event->next_offset > side->sent
        || event->lost_at_most != event->next_offset - reader->next)
        side->broken(side->user, "a topic cannot have ended there: end, records sent",
                     event->next_offset, side->sent);
}

void side_event(struct side *side, unsigned index, const struct leat_event *event)
{
    struct side_reader *reader = &side->readers[index];
    if (!side->open || event->consumer != reader->consumer || event->consumer == NULL)
        return;
    if (event->type == LEAT_EVENT_GAP) {
        if (event->first_offset != reader->next)
            side->broken(side->user, "a side gap that does not begin where its reader stands",
                         event->first_offset, reader->next);
        reader->next = event->next_offset;
    } else if (event->type == LEAT_EVENT_TOPIC_DELETED) {
        check_end(side, reader, event);
        if (reader->ends++ != 0)
            side->broken(side->user, "the end of a topic was told twice: reader", index, 0);
    }
}

bool side_settled(const struct side *side)
{
    bool settled = !side->open || (side->deleted && side->answered == side->sent);
    for (unsigned i = 0; i < SIDE_READERS && side->open; i++)
        settled &= side->readers[i].ends == 1;
    return settled;
}

void side_close(struct side *side)
{
    side->open = false;
    for (unsigned i = 0; i < SIDE_READERS; i++) {
        if (side->readers[i].consumer != NULL)
            leat_consumer_close(side->readers[i].consumer);
        side->readers[i].consumer = NULL;
    }
    if (side->producer != NULL)
        leat_producer_close(side->producer);
    side->producer = NULL;
}
