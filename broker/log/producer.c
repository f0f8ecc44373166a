#include "broker/log/producer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

enum { FIRST_PLACES = 16 };
#define NEVER_GROWS UINT16_MAX

struct result {
    uint64_t first_sequence;
    uint64_t base_offset;
    uint32_t count;
    uint32_t crc;
    int16_t status;
};

static_assert(sizeof(struct result) == PRODUCER_RESULT_BYTES, "as the header says");

struct producer {
    uint64_t id;
    uint64_t next_sequence;
    uint32_t epoch;
    uint32_t fenced_below; /* epochs under this are refused */
    leat_ns idle_since;    /* when it was unbound */
    struct producer_table *table;
    TAILQ_ENTRY(producer) unbound_link;
    struct result *results; /* NULL: it never sent a batch */
    uint16_t grow_at;       /* results remembered when `results` is to grow; NEVER_GROWS */
    uint8_t room;           /* of `results`: 0 or a power of two */
    uint8_t result_count;   /* remembered, at most `room` */
    uint8_t result_next;    /* where the next one goes */
    bool bound;
    uint16_t reserved; /* openings under way: neither bound nor reserved, it may be forgotten */
};
static_assert(sizeof(struct producer) == PRODUCER_BYTES, "as the header says");
static_assert(LEAT_IN_FLIGHT_BATCHES_MAX <= UINT8_MAX, "room is one byte");
static_assert((LEAT_IN_FLIGHT_BATCHES_MAX & (LEAT_IN_FLIGHT_BATCHES_MAX - 1)) == 0
                  && (PRODUCER_FIRST_RESULTS & (PRODUCER_FIRST_RESULTS - 1)) == 0,
              "room doubles");

TAILQ_HEAD(unbound_list, producer);

struct producer_table {
    struct producer **places; /* by id, open addressing; NULL: empty */
    uint32_t place_mask;
    uint32_t capacity;
    uint32_t count;
    struct memory_budget *budget;
    struct unbound_list unbound; /* longest idle first */
    struct unbound_list unused;  /* the same, of those without results */
};

enum leat_error producer_table_open(struct producer_table **out, uint32_t capacity,
                                    struct memory_budget *budget)
{
    struct producer_table *table = memory_budget_calloc(budget, sizeof *table);
    struct producer **list = memory_budget_calloc(budget, FIRST_PLACES * sizeof(struct producer *));
    if (table == NULL || list == NULL) {
        memory_budget_free(budget, table, sizeof *table);
        memory_budget_free(budget, list, FIRST_PLACES * sizeof(struct producer *));
        return LEAT_ERR_NO_MEMORY;
    }
    table->places = list;
    table->place_mask = FIRST_PLACES - 1;
    table->capacity = capacity;
    table->budget = budget;
    TAILQ_INIT(&table->unbound);
    TAILQ_INIT(&table->unused);
    *out = table;
    return LEAT_OK;
}

static void free_producer(const struct producer_table *table, struct producer *producer)
{
    if (producer == NULL)
        return;
    memory_budget_free(table->budget, producer->results, producer->room * sizeof(struct result));
    memory_budget_free(table->budget, producer, sizeof *producer);
}

static void free_places(const struct producer_table *table)
{
    memory_budget_free(table->budget, table->places,
                       (table->place_mask + (size_t)1) * sizeof(struct producer *));
}

void producer_table_close(struct producer_table *table)
{
    if (table == NULL)
        return;
    for (uint32_t i = 0; i <= table->place_mask; i++)
        free_producer(table, table->places[i]);
    free_places(table);
    memory_budget_free(table->budget, table, sizeof *table);
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

/* The list that it is in while it is unbound. */
static struct unbound_list *list_of(const struct producer *producer)
{
    struct producer_table *table = producer->table;
    return producer->results == NULL ? &table->unused : &table->unbound;
}

static void forget(struct producer_table *table, struct producer *producer)
{
    struct producer **place = find(table, producer->id);
    assert(*place == producer && !producer->bound && producer->reserved == 0);
    TAILQ_REMOVE(list_of(producer), producer, unbound_link);
    *place = NULL;
    table->count--;
    free_producer(table, producer);
    /* Those behind it, up to the next empty place, may have been pushed on by it. */
    uint32_t at = (uint32_t)(place - table->places);
    for (at = (at + 1) & table->place_mask; table->places[at] != NULL;
         at = (at + 1) & table->place_mask) {
        struct producer *moved = table->places[at];
        table->places[at] = NULL;
        *find(table, moved->id) = moved;
    }
}

/* Twice as many places as producers, at least. */
static bool make_places(struct producer_table *table)
{
    const uint32_t before = table->place_mask + 1;
    if (2 * (table->count + 1) <= before)
        return true;
    struct producer **list =
        memory_budget_calloc(table->budget, 2 * (size_t)before * sizeof(struct producer *));
    if (list == NULL)
        return false;
    struct producer_table old = *table;
    table->places = list;
    table->place_mask = 2 * before - 1;
    for (uint32_t i = 0; i < before; i++) {
        if (old.places[i] != NULL)
            *find(table, old.places[i]->id) = old.places[i];
    }
    free_places(&old);
    return true;
}

static enum leat_error create(struct producer_table *table, uint64_t id, struct producer **out)
{
    struct producer *oldest = NULL;
    if (table->count == table->capacity) {
        oldest = TAILQ_FIRST(&table->unused);
        if (oldest == NULL)
            oldest = TAILQ_FIRST(&table->unbound);
        if (oldest == NULL)
            return LEAT_ERR_LIMIT;
    }
    if (!make_places(table))
        return LEAT_ERR_NO_MEMORY;
    struct producer *producer = memory_budget_calloc(table->budget, sizeof *producer);
    if (producer == NULL)
        return LEAT_ERR_NO_MEMORY;
    if (oldest != NULL)
        forget(table, oldest);
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
    if (!producer->bound && producer->reserved == 0)
        TAILQ_REMOVE(list_of(producer), producer, unbound_link);
    producer->bound = true;
}

static void restart(struct producer *producer, uint32_t epoch)
{
    producer->epoch = epoch;
    producer->next_sequence = 0;
    producer->grow_at = producer->room < LEAT_IN_FLIGHT_BATCHES_MAX ? producer->room : NEVER_GROWS;
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
    if (producer->reserved == 0)
        TAILQ_INSERT_TAIL(list_of(producer), producer, unbound_link);
}

enum leat_error producer_reserve(struct producer_table *table, uint64_t id, struct producer **out)
{
    struct producer *producer = *find(table, id);
    if (producer == NULL) {
        const enum leat_error error = create(table, id, &producer);
        if (error != LEAT_OK)
            return error;
        producer->bound = false; /* in no list yet, and reserved at once */
    } else if (!producer->bound && producer->reserved == 0) {
        TAILQ_REMOVE(list_of(producer), producer, unbound_link);
    }
    producer->reserved++;
    *out = producer;
    return LEAT_OK;
}

void producer_release(struct producer *producer, leat_ns now)
{
    assert(producer->reserved != 0);
    if (--producer->reserved != 0 || producer->bound)
        return;
    producer->idle_since = now;
    TAILQ_INSERT_TAIL(list_of(producer), producer, unbound_link);
    if (producer->epoch == 0)
        forget(producer->table, producer);
}

void producer_fence(struct producer_table *table, uint64_t id, uint32_t epoch)
{
    struct producer *producer = *find(table, id);
    if (producer != NULL && producer->fenced_below < epoch)
        producer->fenced_below = epoch;
}

static uint32_t expire(struct producer_table *table, struct unbound_list *list, leat_ns now,
                       leat_ns idle_ns)
{
    uint32_t forgotten = 0;
    struct producer *oldest;
    /* The analyzer does not see that `forget` takes what it frees off the list. */
    while ((oldest = TAILQ_FIRST(list)) != NULL
           && now - oldest->idle_since >= idle_ns) { // NOLINT(clang-analyzer-unix.Malloc)
        forget(table, oldest);
        forgotten++;
    }
    return forgotten;
}

uint32_t producer_expire(struct producer_table *table, leat_ns now, leat_ns idle_ns)
{
    const leat_ns unused = idle_ns < PRODUCER_UNUSED_IDLE_NS ? idle_ns : PRODUCER_UNUSED_IDLE_NS;
    return expire(table, &table->unbound, now, idle_ns)
           + expire(table, &table->unused, now, unused);
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
    return &producer->results[(producer->result_next - back) & (producer->room - 1U)];
}

/* Room for more results, or for the first. False: no memory, nothing is changed. */
__attribute__((noinline, cold)) static bool grow(struct producer *producer)
{
    struct memory_budget *budget = producer->table->budget;
    const uint8_t before = producer->room;
    const uint8_t room = before == 0 ? PRODUCER_FIRST_RESULTS : (uint8_t)(2 * before);
    struct result *results = memory_budget_calloc(budget, room * sizeof *results);
    if (results == NULL)
        return false;
    for (uint32_t i = 0; i < producer->result_count; i++)
        results[i] = *result_at(producer, producer->result_count - i);
    memory_budget_free(budget, producer->results, before * sizeof *results);
    producer->results = results;
    producer->room = room;
    producer->result_next = producer->result_count;
    producer->grow_at = room < LEAT_IN_FLIGHT_BATCHES_MAX ? room : NEVER_GROWS;
    return true;
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

struct producer_verdict producer_check(struct producer *producer, uint32_t epoch,
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
    } else if (producer->result_count == producer->grow_at && !grow(producer)) {
        verdict.status = LEAT_BUSY;
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
    assert(first_sequence == producer->next_sequence && producer->room != 0);
    producer->next_sequence = first_sequence + count;
    producer->results[producer->result_next] = (struct result){
        .first_sequence = first_sequence,
        .base_offset = base_offset,
        .count = count,
        .crc = crc,
        .status = (int16_t)status,
    };
    producer->result_next = (uint8_t)((producer->result_next + 1U) & (producer->room - 1U));
    if (producer->result_count < producer->room)
        producer->result_count++;
}
