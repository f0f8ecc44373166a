/* Goal: topics are found by id and by name while they are there, and not a moment longer.
 * Method: a thousand topics come and go in an order from a printed seed; a plain table is the
 * model. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <urcu-qsbr.h>

#include "broker/shared/topics.h"
#include "tests/support/seeded.h"

enum { TOPICS = 1000, ROUNDS = 20000 };

static struct topic *make(uint64_t id, unsigned number)
{
    struct topic *topic = calloc(1, sizeof *topic);
    topic->id = id;
    snprintf(topic->name, sizeof topic->name, "topic-%u", number);
    return topic;
}

static bool count_topic(void *user, const struct topic *topic)
{
    (void)topic;
    (*(size_t *)user)++;
    return true;
}

static bool stop_at_once(void *user, const struct topic *topic)
{
    (void)topic;
    (*(size_t *)user)++;
    return false;
}

Test(topics, are_there_until_they_are_removed)
{
    struct seeded random = seeded_start("topics");
    struct topics *topics;
    static struct topic *model[TOPICS];
    size_t count = 0;
    rcu_register_thread();
    cr_assert_eq(topics_open(&topics), LEAT_OK);
    for (uint64_t round = 1; round <= ROUNDS; round++) {
        const unsigned i = seeded_below(&random, TOPICS);
        char name[LEAT_NAME_BYTES_MAX + 1];
        snprintf(name, sizeof name, "topic-%u", i);
        cr_assert_eq(topics_find_name(topics, name), model[i]);
        if (model[i] == NULL) {
            model[i] = make(round, i);
            cr_assert_eq(topics_add(topics, model[i]), LEAT_OK);
            count++;
        } else {
            const uint64_t id = model[i]->id;
            cr_assert_eq(topics_find(topics, id), model[i]);
            struct topic *twin = make(round, i);
            cr_assert_eq(topics_add(topics, twin), LEAT_ERR_TOPIC_EXISTS);
            free(twin);
            topics_remove(topics, model[i]);
            model[i] = NULL;
            count--;
            cr_assert_null(topics_find(topics, id));
        }
        cr_assert_eq(topics_count(topics), count);
        if (round % 64 == 0)
            rcu_quiescent_state();
    }
    size_t seen = 0;
    topics_visit(topics, count_topic, &seen);
    cr_assert_eq(seen, count);
    seen = 0;
    topics_visit(topics, stop_at_once, &seen);
    cr_assert_eq(seen, 1u);
    topics_close(topics);
    rcu_unregister_thread();
}
