#include "broker/log/producer.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/queue.h>

struct result {
    uint64_t first_sequence;
    uint64_t base_offset;
    uint32_t count;
    uint32_t crc;
    int16_t status;
};

struct producer {
    uint64_t id;
    uint64_t next_sequence;
    uint32_t epoch;
    uint32_t fenced_below; /* epochs under this are refused */
    bool bound;
    uint32_t result_count; /* remembered, at most LEAT_IN_FLIGHT_BATCHES_MAX */
    uint32_t result_next;  /* where the next one goes */
    leat_ns idle_since;    /* when it was unbound */
    struct producer_table *table;
    TAILQ_ENTRY(producer) unbound_link;
    struct result results[LEAT_IN_FLIGHT_BATCHES_MAX];
};

struct producer_table {
    struct producer **places; /* by id, open addressing; NULL: empty */
    uint32_t place_mask;
    uint32_t capacity;
    uint32_t count;
    TAILQ_HEAD(unbound_list, producer) unbound; /* longest idle first */
};

enum leat_error producer_table_open(struct producer_table **out, uint32_t capacity)
{
    uint32_t places = 16;
    while (places < UINT32_C(2) * capacity && places < UINT32_C(1) << 30)
        places *= 2;
    struct producer_table *table = calloc(1, sizeof *table);
    struct producer **list = calloc(places, sizeof *list);
    if (table == NULL || list == NULL) {
        free(table);
        free(list);
        return LEAT_ERR_NO_MEMORY;
    }
    table->places = list;
    table->place_mask = places - 1;
    table->capacity = capacity;
    TAILQ_INIT(&table->unbound);
    *out = table;
    return LEAT_OK;
}

void producer_table_close(struct producer_table *table)
{
    if (table == NULL)
        return;
    for (uint32_t i = 0; i <= table->place_mask; i++)
        free(table->places[i]);
    free(table->places);
    free(table);
}

static uint32_t place_of(const struct producer_table *table, uint64_t id)
{
    return (uint32_t)(id * UINT64_C(0x9E3779B97F4A7C15) >> 32) & table->place_mask;
}

/* Where `id` is, or the empty place where it would be. */
static struct producer **find(const struct producer_table *table, uint64_t id)
{
    uint32_t at = place_of(table, id);
    while (table->places[at] != NULL && table->places[at]->id != id)
        at = (at + 1) & table->place_mask;
    return &table->places[at];
}

static void forget(struct producer_table *table, struct producer *producer)
{
    struct producer **place = find(table, producer->id);
    assert(*place == producer && !producer->bound);
    TAILQ_REMOVE(&table->unbound, producer, unbound_link);
    *place = NULL;
    table->count--;
    free(producer);
    /* Those behind it, up to the next empty place, may have been pushed on by it. */
    uint32_t at = (uint32_t)(place - table->places);
    for (at = (at + 1) & table->place_mask; table->places[at] != NULL;
         at = (at + 1) & table->place_mask) {
        struct producer *moved = table->places[at];
        table->places[at] = NULL;
        *find(table, moved->id) = moved;
    }
}

static enum leat_error create(struct producer_table *table, uint64_t id, struct producer **out)
{
    if (table->count == table->capacity) {
        struct producer *oldest = TAILQ_FIRST(&table->unbound);
        if (oldest == NULL)
            return LEAT_ERR_LIMIT;
        forget(table, oldest);
    }
    struct producer *producer = calloc(1, sizeof *producer);
    if (producer == NULL)
        return LEAT_ERR_NO_MEMORY;
    producer->id = id;
    producer->table = table;
    producer->bound = true; /* in no list yet */
    *find(table, id) = producer;
    table->count++;
    *out = producer;
    return LEAT_OK;
}

static void bind(struct producer *producer)
{
    if (!producer->bound)
        TAILQ_REMOVE(&producer->table->unbound, producer, unbound_link);
    producer->bound = true;
}

static void restart(struct producer *producer, uint32_t epoch)
{
    producer->epoch = epoch;
    producer->next_sequence = 0;
    producer->result_count = 0;
    producer->result_next = 0;
}

enum leat_error producer_open(struct producer_table *table, uint64_t id, uint32_t epoch,
                              enum producer_open_how how, leat_ns now, struct producer **out,
                              bool *was_bound)
{
    (void)now;
    struct producer *producer = *find(table, id);
    if (producer != NULL && (epoch < producer->epoch || epoch < producer->fenced_below))
        return LEAT_ERR_FENCED;
    if (how == PRODUCER_RESUME && (producer == NULL || producer->epoch != epoch))
        return LEAT_ERR_PRODUCER_EXPIRED;
    if (producer == NULL) {
        const enum leat_error error = create(table, id, &producer);
        if (error != LEAT_OK)
            return error;
        producer->epoch = epoch;
        *was_bound = false;
    } else {
        *was_bound = producer->bound;
        bind(producer);
        if (producer->epoch != epoch)
            restart(producer, epoch);
    }
    *out = producer;
    return LEAT_OK;
}

void producer_unbind(struct producer *producer, leat_ns now)
{
    assert(producer->bound);
    producer->bound = false;
    producer->idle_since = now;
    TAILQ_INSERT_TAIL(&producer->table->unbound, producer, unbound_link);
}

void producer_fence(struct producer_table *table, uint64_t id, uint32_t epoch)
{
    struct producer *producer = *find(table, id);
    if (producer != NULL && producer->fenced_below < epoch)
        producer->fenced_below = epoch;
}

uint32_t producer_expire(struct producer_table *table, leat_ns now, leat_ns idle_ns)
{
    uint32_t forgotten = 0;
    struct producer *oldest;
    /* The analyzer does not see that `forget` takes what it frees off the list. */
    while ((oldest = TAILQ_FIRST(&table->unbound)) != NULL
           && now - oldest->idle_since >= idle_ns) { // NOLINT(clang-analyzer-unix.Malloc)
        forget(table, oldest);
        forgotten++;
    }
    return forgotten;
}

void producer_skip(struct producer *producer, uint64_t sequence)
{
    if (producer->next_sequence < sequence)
        producer->next_sequence = sequence;
}

uint64_t producer_id(const struct producer *producer)
{
    return producer->id;
}

uint64_t producer_next_sequence(const struct producer *producer)
{
    return producer->next_sequence;
}

uint32_t producer_epoch(const struct producer *producer)
{
    return producer->epoch;
}

/* The remembered result `back` batches ago (1: the latest). */
static const struct result *result_at(const struct producer *producer, uint32_t back)
{
    return &producer->results[(producer->result_next - back) % LEAT_IN_FLIGHT_BATCHES_MAX];
}

/* Numbers that were used before. One producer sends a batch again byte by byte; whatever else
 * comes under its numbers is another producer's, and an old answer would acknowledge records that
 * are not in the log. A refused batch may come again undamaged: its answer is no acknowledgement.
 */
static struct producer_verdict seen_before(const struct producer *producer, uint64_t first_sequence,
                                           uint32_t count, uint32_t crc)
{
    struct producer_verdict verdict = { .status = LEAT_ERR_DUPLICATE,
                                        .base_offset = LEAT_OFFSET_NONE };
    for (uint32_t back = 1; back <= producer->result_count; back++) {
        const struct result *result = result_at(producer, back);
        if (result->first_sequence > first_sequence)
            continue;
        verdict.status = LEAT_ERR_FENCED;
        if (result->first_sequence == first_sequence && result->count == count
            && (result->crc == crc || result->status != LEAT_OK)) {
            verdict.status = (enum leat_error)result->status;
            verdict.base_offset = result->base_offset;
            verdict.answered = true;
        }
        break;
    }
    return verdict;
}

struct producer_verdict producer_check(const struct producer *producer, uint32_t epoch,
                                       uint64_t first_sequence, uint32_t count, uint32_t crc)
{
    struct producer_verdict verdict = { .status = LEAT_OK, .base_offset = LEAT_OFFSET_NONE };
    if (epoch != producer->epoch || epoch < producer->fenced_below)
        verdict.status = LEAT_ERR_FENCED;
    else if (first_sequence > producer->next_sequence)
        verdict.status = LEAT_ERR_OUT_OF_ORDER;
    else if (first_sequence < producer->next_sequence) {
        if (count > producer->next_sequence - first_sequence)
            verdict.status = LEAT_ERR_FENCED; /* partly new: see seen_before */
        else
            verdict = seen_before(producer, first_sequence, count, crc);
    }
    return verdict;
}

bool producer_recall(const struct producer *producer, uint64_t first_sequence, uint32_t *count,
                     struct producer_verdict *verdict)
{
    *verdict =
        (struct producer_verdict){ .status = LEAT_ERR_DUPLICATE, .base_offset = LEAT_OFFSET_NONE };
    for (uint32_t back = 1; back <= producer->result_count; back++) {
        const struct result *result = result_at(producer, back);
        if (result->first_sequence != first_sequence)
            continue;
        *count = result->count;
        *verdict = (struct producer_verdict){ .status = (enum leat_error)result->status,
                                              .answered = true,
                                              .base_offset = result->base_offset };
        return true;
    }
    return false;
}

void producer_record(struct producer *producer, uint64_t first_sequence, uint32_t count,
                     uint32_t crc, enum leat_error status, uint64_t base_offset)
{
    assert(first_sequence == producer->next_sequence);
    producer->next_sequence = first_sequence + count;
    producer->results[producer->result_next] = (struct result){
        .first_sequence = first_sequence,
        .base_offset = base_offset,
        .count = count,
        .crc = crc,
        .status = (int16_t)status,
    };
    producer->result_next = (producer->result_next + 1) % LEAT_IN_FLIGHT_BATCHES_MAX;
    if (producer->result_count < LEAT_IN_FLIGHT_BATCHES_MAX)
        producer->result_count++;
}
