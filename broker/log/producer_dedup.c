/* Producer deduplication: what a partition remembers of each idempotent producer, and the table of
 * producers. */
#include "broker/log/producer_dedup.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define NEVER_GROWS UINT16_MAX

struct result {
    uint64_t first_sequence;
    uint64_t base_offset;
    uint32_t count;
    uint32_t crc;
    int16_t status;
};

static_assert(sizeof(struct result) == PRODUCER_DEDUP_RESULT_BYTES, "as the header says");

/* The shares that a producer counts for; the whole table is one of them. */
enum level { LEVEL_TABLE, LEVEL_CONNECTION, LEVEL_ADDRESS, LEVELS };

struct producer_dedup {
    uint64_t id; /* first: see idmap.h */
    uint64_t next_sequence;
    uint32_t epoch;
    uint32_t fenced_below; /* epochs below this are refused */
    leat_ns idle_since;    /* when it was unbound */
    /* NULL: none. The table's share is never NULL: see table_of. */
    struct share *shares[LEVELS];
    TAILQ_ENTRY(producer_dedup) unbound_node[LEVELS];
    struct result *results; /* NULL: no batch has arrived */
    uint16_t grow_at;       /* the result_count at which `results` grows; NEVER_GROWS */
    uint8_t room;           /* size of `results`: 0 or a power of two */
    uint8_t result_count;   /* results remembered, at most `room` */
    uint8_t result_next;    /* index of the next result */
    bool bound;
    uint16_t reserved; /* openings in progress; neither bound nor reserved, it may be forgotten */
};
static_assert(sizeof(struct producer_dedup) == PRODUCER_DEDUP_BYTES, "as the header says");
static_assert(LEAT_IN_FLIGHT_BATCHES_MAX <= UINT8_MAX, "room is one byte");
static_assert((LEAT_IN_FLIGHT_BATCHES_MAX & (LEAT_IN_FLIGHT_BATCHES_MAX - 1)) == 0
                  && (PRODUCER_DEDUP_FIRST_RESULTS & (PRODUCER_DEDUP_FIRST_RESULTS - 1)) == 0,
              "room doubles");

TAILQ_HEAD(unbound_list, producer_dedup);

/* The producers of one control connection, of one address, or of the table. */
struct share {
    uint64_t id; /* first: see idmap.h */
    uint32_t count;
    /* The maker's budget, referenced: the share and its producers are charged to it. NULL: they are
     * charged to the table's. */
    struct memory_budget *memory;
    struct unbound_list unbound; /* unbound producers with results, longest idle first */
    struct unbound_list unused;  /* the same without results */
};
static_assert(sizeof(struct share) == PRODUCER_DEDUP_SHARE_BYTES, "as the header says");

struct producer_dedup_table {
    struct share all; /* first: see table_of */
    struct idmap by_id;
    struct idmap connections, addresses; /* shares of those that have producers */
    uint32_t capacity;
    struct memory_budget *budget;
};

static struct producer_dedup_table *table_of(const struct producer_dedup *producer)
{
    assert(producer->shares[LEVEL_TABLE] != NULL);
    return (struct producer_dedup_table *)producer->shares[LEVEL_TABLE];
}

static struct memory_budget *memory_of_share(const struct producer_dedup_table *table,
                                             const struct share *share)
{
    return share != NULL && share->memory != NULL ? share->memory : table->budget;
}

/* The budget that it is charged to. */
static struct memory_budget *memory_of(const struct producer_dedup *producer)
{
    return memory_of_share(table_of(producer), producer->shares[LEVEL_ADDRESS]);
}

static size_t bytes_of(const struct producer_dedup *producer)
{
    return sizeof *producer + producer->room * sizeof(struct result);
}

static void free_share(const struct producer_dedup_table *table, struct share *share)
{
    struct memory_budget *memory = share->memory;
    memory_budget_free(memory_of_share(table, share), share, sizeof *share);
    memory_part_release(memory);
}

static void init_share(struct share *share, uint64_t id)
{
    share->id = id;
    TAILQ_INIT(&share->unbound);
    TAILQ_INIT(&share->unused);
}

enum leat_error producer_dedup_table_open(struct producer_dedup_table **out, uint32_t capacity,
                                          struct memory_budget *budget)
{
    struct producer_dedup_table *table = memory_budget_calloc(budget, sizeof *table);
    if (table == NULL)
        return LEAT_ERR_NO_MEMORY;
    table->capacity = capacity;
    table->budget = budget;
    table->by_id.budget = table->connections.budget = table->addresses.budget = budget;
    init_share(&table->all, 0);
    *out = table;
    return LEAT_OK;
}

static void free_producer(struct memory_budget *memory, struct producer_dedup *producer)
{
    memory_budget_free(memory, producer->results, producer->room * sizeof(struct result));
    memory_budget_free(memory, producer, sizeof *producer);
}

static void close_shares(const struct producer_dedup_table *table, struct idmap *shares)
{
    for (uint32_t i = 0; i < shares->room; i++)
        if (shares->places[i] != NULL)
            free_share(table, (struct share *)shares->places[i]);
    idmap_close(shares);
}

void producer_dedup_table_close(struct producer_dedup_table *table)
{
    if (table == NULL)
        return;
    for (uint32_t i = 0; i < table->by_id.room; i++) {
        struct producer_dedup *producer = (struct producer_dedup *)table->by_id.places[i];
        if (producer != NULL)
            free_producer(memory_of(producer), producer);
    }
    idmap_close(&table->by_id);
    close_shares(table, &table->connections);
    close_shares(table, &table->addresses);
    memory_budget_free(table->budget, table, sizeof *table);
}

/* ---- an unbound producer is in the lists of all its shares */

static struct unbound_list *list_of(const struct producer_dedup *producer, enum level level)
{
    struct share *share = producer->shares[level];
    return producer->results == NULL ? &share->unused : &share->unbound;
}

static void enter_lists(struct producer_dedup *producer)
{
    for (enum level i = 0; i < LEVELS; i++)
        if (producer->shares[i] != NULL)
            TAILQ_INSERT_TAIL(list_of(producer, i), producer, unbound_node[i]);
}

static void leave_lists(struct producer_dedup *producer)
{
    for (enum level i = 0; i < LEVELS; i++)
        if (producer->shares[i] != NULL)
            TAILQ_REMOVE(list_of(producer, i), producer, unbound_node[i]);
}

/* The producer to forget first: one without results, then the longest idle. NULL: all are bound. */
static struct producer_dedup *find_longest_unbound(const struct share *share)
{
    struct producer_dedup *unused = TAILQ_FIRST(&share->unused);
    return unused != NULL ? unused : TAILQ_FIRST(&share->unbound);
}

/* ---- shares */

static struct idmap *shares_of(struct producer_dedup_table *table, enum level level)
{
    return level == LEVEL_CONNECTION ? &table->connections : &table->addresses;
}

static uint64_t maker_id(const struct maker *maker, enum level level)
{
    return level == LEVEL_CONNECTION ? maker->connection : maker->address;
}

static void drop_share_unused(struct producer_dedup_table *table, enum level level,
                              struct share *share)
{
    if (level == LEVEL_TABLE || share == NULL || share->count != 0)
        return;
    idmap_remove(shares_of(table, level), &share->id);
    free_share(table, share);
}

static struct share *have_share(struct producer_dedup_table *table, enum level level,
                                const struct maker *maker)
{
    const uint64_t id = maker_id(maker, level);
    struct idmap *map = shares_of(table, level);
    struct share *share = idmap_find(map, id);
    if (share != NULL || !idmap_make_room(map))
        return share;
    share =
        memory_budget_calloc(maker->memory != NULL ? maker->memory : table->budget, sizeof *share);
    if (share == NULL)
        return NULL;
    init_share(share, id);
    memory_part_hold(maker->memory);
    share->memory = maker->memory;
    idmap_add(map, &share->id);
    return share;
}

static bool have_shares(struct producer_dedup_table *table, const struct maker *maker,
                        struct share *shares[LEVELS])
{
    shares[LEVEL_TABLE] = &table->all;
    for (enum level i = LEVEL_CONNECTION; i < LEVELS; i++) {
        shares[i] = maker_id(maker, i) != 0 ? have_share(table, i, maker) : NULL;
        if (shares[i] != NULL || maker_id(maker, i) == 0)
            continue;
        if (i == LEVEL_ADDRESS)
            drop_share_unused(table, LEVEL_CONNECTION, shares[LEVEL_CONNECTION]);
        return false;
    }
    return true;
}

static void set_shares(struct producer_dedup_table *table, struct producer_dedup *producer,
                       struct share *const shares[LEVELS])
{
    for (enum level i = 0; i < LEVELS; i++) {
        struct share *before = producer->shares[i];
        producer->shares[i] = shares[i];
        if (shares[i] != NULL)
            shares[i]->count++;
        if (before != NULL && --before->count == 0)
            drop_share_unused(table, i, before);
    }
}

/* Moves a producer, which is in no list, to the shares of `maker`, and charges it there. Without
 * memory it stays where it is. */
static void hand_to(struct producer_dedup *producer, const struct maker *maker)
{
    struct producer_dedup_table *table = table_of(producer);
    struct memory_budget *from = memory_of(producer), *to;
    struct share *shares[LEVELS];
    if (!have_shares(table, maker, shares))
        return;
    to = memory_of_share(table, shares[LEVEL_ADDRESS]);
    if (from != to && !memory_budget_take(to, bytes_of(producer))) {
        for (enum level i = LEVEL_CONNECTION; i < LEVELS; i++)
            drop_share_unused(table, i, shares[i]);
        return;
    }
    if (from != to)
        memory_budget_give(from, bytes_of(producer));
    set_shares(table, producer, shares);
}

static void forget(struct producer_dedup_table *table, struct producer_dedup *producer)
{
    assert(!producer->bound && producer->reserved == 0);
    leave_lists(producer);
    idmap_remove(&table->by_id, &producer->id);
    struct share *shares[LEVELS];
    memcpy(shares, producer->shares, sizeof shares);
    free_producer(memory_of(producer), producer);
    for (enum level i = 0; i < LEVELS; i++)
        if (shares[i] != NULL && --shares[i]->count == 0)
            drop_share_unused(table, i, shares[i]);
}

static uint32_t count_of(const struct share *share)
{
    return share != NULL ? share->count : 0;
}

/* Says whether the maker may have one more. If not, a producer of the share *full must be forgotten
 * first; NULL: there is none. */
static struct producer_share check_share(struct producer_dedup_table *table,
                                         const struct maker *maker, const struct share **full)
{
    const struct share *connection = idmap_find(&table->connections, maker->connection);
    const struct share *address = idmap_find(&table->addresses, maker->address);
    struct producer_share said = { .verdict = SHARE_CONNECTION_FULL,
                                   .taken = count_of(connection),
                                   .share = share_of_connection(table->capacity) };
    *full = connection;
    if (maker->connection != 0 && said.taken >= said.share)
        return said;
    said.verdict = SHARE_ADDRESS_FULL;
    said.taken = count_of(address);
    said.share = share_of_address(table->capacity, table->all.count - said.taken);
    *full = address;
    if (maker->address != 0 && said.share != 0 && said.taken >= said.share)
        return said;
    said.verdict = table->all.count < table->capacity ? SHARE_OK : SHARE_FULL;
    if (maker->address == 0)
        *full = &table->all;
    return said;
}

struct producer_share producer_dedup_refused_share(struct producer_dedup_table *table,
                                                   const struct maker *maker)
{
    const struct share *full;
    return check_share(table, maker, &full);
}

static enum leat_error create(struct producer_dedup_table *table, uint64_t id,
                              const struct maker *maker, struct producer_dedup **out)
{
    const struct share *full;
    struct producer_dedup *longest = NULL;
    if (check_share(table, maker, &full).verdict != SHARE_OK) {
        longest = full != NULL ? find_longest_unbound(full) : NULL;
        if (longest == NULL)
            return LEAT_ERR_LIMIT;
    }
    if (!idmap_make_room(&table->by_id))
        return LEAT_ERR_NO_MEMORY;
    struct share *shares[LEVELS];
    struct memory_budget *memory = maker->memory != NULL ? maker->memory : table->budget;
    struct producer_dedup *producer = memory_budget_calloc(memory, sizeof *producer);
    if (producer == NULL)
        return LEAT_ERR_NO_MEMORY;
    if (!have_shares(table, maker, shares)) {
        free_producer(memory, producer);
        return LEAT_ERR_NO_MEMORY;
    }
    set_shares(table, producer, shares);
    if (longest != NULL)
        forget(table, longest);
    producer->id = id;
    producer->bound = true; /* in no list yet */
    idmap_add(&table->by_id, &producer->id);
    *out = producer;
    return LEAT_OK;
}

static void bind(struct producer_dedup *producer)
{
    if (!producer->bound && producer->reserved == 0)
        leave_lists(producer);
    producer->bound = true;
}

static void restart(struct producer_dedup *producer, uint32_t epoch)
{
    producer->epoch = epoch;
    producer->next_sequence = 0;
    producer->grow_at = producer->room < LEAT_IN_FLIGHT_BATCHES_MAX ? producer->room : NEVER_GROWS;
    producer->result_count = 0;
    producer->result_next = 0;
}

enum leat_error producer_dedup_open(struct producer_dedup_table *table, uint64_t id, uint32_t epoch,
                                    enum producer_dedup_open_how how, const struct maker *maker,
                                    struct producer_dedup **out, bool *was_bound)
{
    struct producer_dedup *producer = idmap_find(&table->by_id, id);
    if (producer != NULL && (epoch < producer->epoch || epoch < producer->fenced_below))
        return LEAT_ERR_FENCED;
    if (how == PRODUCER_DEDUP_RESUME && (producer == NULL || producer->epoch != epoch))
        return LEAT_ERR_PRODUCER_EXPIRED;
    if (producer == NULL) {
        const enum leat_error error = create(table, id, maker, &producer);
        if (error != LEAT_OK)
            return error;
        producer->epoch = epoch;
        *was_bound = false;
    } else {
        *was_bound = producer->bound;
        bind(producer);
        hand_to(producer, maker);
        if (producer->epoch != epoch)
            restart(producer, epoch);
    }
    *out = producer;
    return LEAT_OK;
}

void producer_dedup_unbind(struct producer_dedup *producer, leat_ns now)
{
    assert(producer->bound);
    producer->bound = false;
    producer->idle_since = now;
    if (producer->reserved == 0)
        enter_lists(producer);
}

enum leat_error producer_dedup_reserve(struct producer_dedup_table *table, uint64_t id,
                                       const struct maker *maker, struct producer_dedup **out)
{
    struct producer_dedup *producer = idmap_find(&table->by_id, id);
    if (producer == NULL) {
        const enum leat_error error = create(table, id, maker, &producer);
        if (error != LEAT_OK)
            return error;
        producer->bound = false; /* in no list yet; reserved below */
    } else if (!producer->bound && producer->reserved == 0) {
        leave_lists(producer);
    }
    producer->reserved++;
    *out = producer;
    return LEAT_OK;
}

void producer_dedup_release(struct producer_dedup *producer, leat_ns now)
{
    assert(producer->reserved != 0);
    if (--producer->reserved != 0 || producer->bound)
        return;
    producer->idle_since = now;
    enter_lists(producer);
    if (producer->epoch == 0)
        forget(table_of(producer), producer);
}

void producer_dedup_fence(struct producer_dedup_table *table, uint64_t id, uint32_t epoch)
{
    struct producer_dedup *producer = idmap_find(&table->by_id, id);
    if (producer != NULL && producer->fenced_below < epoch)
        producer->fenced_below = epoch;
}

static uint32_t expire(struct producer_dedup_table *table, struct unbound_list *list, leat_ns now,
                       leat_ns idle_ns)
{
    uint32_t forgotten = 0;
    struct producer_dedup *oldest;
    /* The analyzer does not see that `forget` removes what it frees from the list. */
    while ((oldest = TAILQ_FIRST(list)) != NULL
           && now - oldest->idle_since >= idle_ns) { // NOLINT(clang-analyzer-unix.Malloc)
        forget(table, oldest);
        forgotten++;
    }
    return forgotten;
}

uint32_t producer_dedup_expire(struct producer_dedup_table *table, leat_ns now, leat_ns idle_ns)
{
    const leat_ns unused =
        idle_ns < PRODUCER_DEDUP_UNUSED_IDLE_NS ? idle_ns : PRODUCER_DEDUP_UNUSED_IDLE_NS;
    return expire(table, &table->all.unbound, now, idle_ns)
           + expire(table, &table->all.unused, now, unused);
}

void producer_dedup_skip(struct producer_dedup *producer, uint64_t sequence)
{
    if (producer->next_sequence < sequence)
        producer->next_sequence = sequence;
}

uint64_t producer_dedup_id(const struct producer_dedup *producer)
{
    return producer->id;
}

uint64_t producer_dedup_next_sequence(const struct producer_dedup *producer)
{
    return producer->next_sequence;
}

uint32_t producer_dedup_epoch(const struct producer_dedup *producer)
{
    return producer->epoch;
}

/* The remembered result `back` batches ago (1: the latest). */
static const struct result *result_at(const struct producer_dedup *producer, uint32_t back)
{
    return &producer->results[(producer->result_next - back) & (producer->room - 1U)];
}

/* Makes room for more results, or for the first ones. False: no memory; nothing has changed. */
__attribute__((noinline, cold)) static bool grow(struct producer_dedup *producer)
{
    struct memory_budget *budget = memory_of(producer);
    const uint8_t before = producer->room;
    const uint8_t room = before == 0 ? PRODUCER_DEDUP_FIRST_RESULTS : (uint8_t)(2 * before);
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

/* The sequence numbers were used before. A producer sends a batch again byte for byte, so other
 * content under its numbers is another producer's, and the old answer would acknowledge records
 * that are not in the log. A batch that was refused may come again undamaged: repeating its answer
 * acknowledges nothing. */
static struct producer_dedup_verdict seen_before(const struct producer_dedup *producer,
                                                 uint64_t first_sequence, uint32_t count,
                                                 uint32_t crc)
{
    struct producer_dedup_verdict verdict = { .status = LEAT_ERR_DUPLICATE,
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

struct producer_dedup_verdict producer_dedup_check(struct producer_dedup *producer, uint32_t epoch,
                                                   uint64_t first_sequence, uint32_t count,
                                                   uint32_t crc)
{
    struct producer_dedup_verdict verdict = { .status = LEAT_OK, .base_offset = LEAT_OFFSET_NONE };
    if (epoch != producer->epoch || epoch < producer->fenced_below)
        verdict.status = LEAT_ERR_FENCED;
    else if (first_sequence > producer->next_sequence)
        verdict.status = LEAT_ERR_OUT_OF_ORDER;
    else if (first_sequence < producer->next_sequence)
        if (count > producer->next_sequence - first_sequence)
            verdict.status = LEAT_ERR_FENCED; /* partly new: see seen_before */
        else
            verdict = seen_before(producer, first_sequence, count, crc);
    else if (producer->result_count == producer->grow_at && !grow(producer))
        verdict.status = LEAT_BUSY;
    return verdict;
}

bool producer_dedup_recall(const struct producer_dedup *producer, uint64_t first_sequence,
                           uint32_t *count, struct producer_dedup_verdict *verdict)
{
    *verdict = (struct producer_dedup_verdict){ .status = LEAT_ERR_DUPLICATE,
                                                .base_offset = LEAT_OFFSET_NONE };
    for (uint32_t back = 1; back <= producer->result_count; back++) {
        const struct result *result = result_at(producer, back);
        if (result->first_sequence != first_sequence)
            continue;
        *count = result->count;
        *verdict = (struct producer_dedup_verdict){ .status = (enum leat_error)result->status,
                                                    .answered = true,
                                                    .base_offset = result->base_offset };
        return true;
    }
    return false;
}

void producer_dedup_record(struct producer_dedup *producer, uint64_t first_sequence, uint32_t count,
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
