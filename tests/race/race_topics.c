/* Goal: shards look topics up while control adds and removes them: what a lookup returned is whole
 * and stays until the reader's next quiescent state. Method: two readers and a writer on the real
 * table, with memory poisoned by being freed (run under ThreadSanitizer or AddressSanitizer it
 * reports what is touched too late). A topic's fields agree with each other, or the reader saw a
 * torn one. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <urcu-qsbr.h>

#include "broker/shared/topics.h"
#include "tests/support/seeded.h"

enum { SLOTS = 64, CHANGES = 20000, READERS = 2 };

static struct topics *topics;
static atomic_bool ended;
static atomic_ulong found, wrong;

static struct topic *make(uint64_t id, unsigned slot)
{
    struct topic *topic = calloc(1, sizeof *topic);
    if (topic == NULL)
        abort();
    topic->id = id;
    topic->settings.ring_bytes = id * 3;
    topic->settings.partitions = (uint32_t)id ^ 0xA5A5A5A5u;
    snprintf(topic->name, sizeof topic->name, "topic-%u", slot);
    return topic;
}

static bool whole(const struct topic *topic)
{
    return topic->settings.ring_bytes == topic->id * 3
           && topic->settings.partitions == ((uint32_t)topic->id ^ 0xA5A5A5A5u);
}

static void *reader(void *arg)
{
    struct seeded random = { .state = (uintptr_t)arg };
    unsigned long seen = 0, bad = 0;
    rcu_register_thread();
    while (!atomic_load(&ended)) {
        char name[32];
        snprintf(name, sizeof name, "topic-%u", seeded_below(&random, SLOTS));
        const struct topic *topic = topics_find_name(topics, name);
        if (topic != NULL) {
            seen++;
            const struct topic *again = topics_find(topics, topic->id);
            bad += !whole(topic) || strcmp(topic->name, name) != 0;
            bad += again != NULL && again != topic;
        }
        rcu_quiescent_state();
    }
    rcu_unregister_thread();
    atomic_fetch_add(&found, seen);
    atomic_fetch_add(&wrong, bad);
    return NULL;
}

static void change(struct seeded *random)
{
    struct topic *slots[SLOTS] = { NULL };
    for (uint64_t id = 1; id <= CHANGES; id++) {
        const unsigned i = seeded_below(random, SLOTS);
        if (slots[i] != NULL) {
            topics_remove(topics, slots[i]);
            slots[i] = NULL;
        } else {
            slots[i] = make(id, i);
            if (topics_add(topics, slots[i]) != LEAT_OK)
                abort();
        }
        rcu_quiescent_state();
    }
}

int main(void)
{
    struct seeded random = seeded_start("race_topics");
    pthread_t readers[READERS];
    rcu_register_thread();
    if (topics_open(&topics) != LEAT_OK)
        return 1;
    for (uintptr_t i = 0; i < READERS; i++)
        if (pthread_create(&readers[i], NULL, reader, (void *)(i + 1)) != 0)
            return 1;
    change(&random);
    atomic_store(&ended, true);
    rcu_thread_offline();
    for (int i = 0; i < READERS; i++)
        pthread_join(readers[i], NULL);
    rcu_thread_online();
    topics_close(topics);
    rcu_unregister_thread();
    printf("race_topics: %lu found, %lu wrong\n", atomic_load(&found), atomic_load(&wrong));
    return atomic_load(&wrong) != 0 || atomic_load(&found) == 0;
}
