/* Operations: requests that wait for replies of shards. */
#include <assert.h>
#include <stdlib.h>

#include "broker/control/control_topic_registry.h"

enum {
    PART_BITS = 16,
    SLOT_BITS = 16,
};
static_assert(LEAT_PARTITIONS_MAX <= 1 << PART_BITS, "the index of a part fits");
static_assert(CONTROL_OPERATIONS_MAX <= 1 << SLOT_BITS, "the index of a slot fits");

/* The request number in a message: generation (never 0) | slot | part. CLOSE_SESSION has none: its
 * reply is matched by session. */
static uint64_t request_number(const struct control *control, const struct operation *op,
                               uint32_t part)
{
    return (uint64_t)control->operations[op->slot].generation << (PART_BITS + SLOT_BITS)
           | (uint64_t)op->slot << PART_BITS | part;
}

static size_t operation_bytes(uint32_t parts)
{
    return sizeof(struct operation) + parts * sizeof(struct operation_part);
}

static struct operation *place_operation(struct control *control, struct memory_budget *memory,
                                         uint32_t parts)
{
    if (control->operation_count >= CONTROL_OPERATIONS_MAX || control_congested(control))
        return NULL;
    struct operation *op = memory_budget_calloc(memory, operation_bytes(parts));
    if (op == NULL)
        return NULL;
    memory_part_hold(memory);
    op->memory = memory;
    while (control->operations[control->operation_next].operation != NULL)
        control->operation_next = (control->operation_next + 1) % CONTROL_OPERATIONS_MAX;
    struct operation_slot *slot = &control->operations[control->operation_next];
    slot->operation = op;
    slot->generation = slot->generation == UINT32_MAX ? 1 : slot->generation + 1;
    op->slot = control->operation_next;
    op->room = parts;
    op->count = parts;
    control->operation_count++;
    return op;
}

struct operation *operation_begin(struct control *control, struct control_conn *p, uint64_t request,
                                  enum operation_kind kind, uint32_t parts)
{
    struct operation *op = place_operation(control, p->maker->address->memory, parts);
    if (op == NULL) {
        control_conn_refuse_busy(control, p, request);
        return NULL;
    }
    op->kind = kind;
    op->owner = p;
    op->request = request;
    p->operations++;
    LIST_INSERT_HEAD(&p->operation_list, op, owner_node);
    return op;
}

struct operation *operation_begin_answer(struct control *control, struct control_conn *p,
                                         uint64_t request, enum operation_kind kind, uint32_t parts,
                                         size_t answer_bytes)
{
    struct operation *op = operation_begin(control, p, request, kind, parts);
    if (op == NULL)
        return NULL;
    op->answer_bytes = ((size_t)parts + 1) * answer_bytes; /* not 0: NULL means no memory */
    op->answer = memory_budget_calloc(op->memory, op->answer_bytes);
    if (op->answer != NULL)
        return op;
    control_conn_refuse_busy(control, p, request);
    operation_free(control, op);
    return NULL;
}

struct operation *operation_begin_own(struct control *control, enum operation_kind kind,
                                      uint32_t parts)
{
    struct operation *op = place_operation(control, control->options.memory, parts);
    if (op != NULL)
        op->kind = kind;
    return op;
}

void operation_hold(struct operation_part *part, struct offsets_entry *entry)
{
    offsets_hold(entry);
    part->entry = entry;
}

void operation_disown(struct operation *op)
{
    op->owner->operations--;
    op->owner = NULL;
    LIST_REMOVE(op, owner_node);
}

void operation_free(struct control *control, struct operation *op)
{
    if (op->owner != NULL) {
        /* The connection may not have been read because of this operation. */
        control_conn_want_work(control, op->owner);
        operation_disown(op);
    }
    control->operations[op->slot].operation = NULL;
    control->operation_count--;
    for (uint32_t i = 0; i < op->room; i++) {
        if (op->parts[i].entry != NULL)
            offsets_release(op->parts[i].entry);
        control_metadata_free(control, op->parts[i].metadata);
    }
    control_name_release(control, op);
    struct memory_budget *memory = op->memory;
    memory_budget_free(memory, op->producer.first_unanswered, op->producer.unanswered_bytes);
    memory_budget_free(memory, op->answer, op->answer_bytes);
    memory_budget_free(memory, op, operation_bytes(op->room));
    memory_part_release(memory);
}

static void complete(struct control *control, struct operation *op)
{
    switch (op->kind) {
    case OPERATION_PREPARE: control_producer_prepared(control, op); break;
    case OPERATION_BIND: control_producer_bound(control, op); break;
    case OPERATION_PRODUCER: control_producer_opened(control, op); break;
    case OPERATION_SUBSCRIPTION: control_subscribed(control, op); break;
    case OPERATION_CLOSE_STREAMS: control_streams_closed(control, op); break;
    case OPERATION_OFFSETS: control_offsets_found(control, op); break;
    case OPERATION_CREATE_TOPIC: break; /* no shard is asked */
    case OPERATION_DELETE_TOPIC: control_topic_deleted(control, op); break;
    case OPERATION_DROP: control_dropped(control, op); break;
    case OPERATION_COMMIT: control_committed(control, op); break;
    case OPERATION_RESET: control_reset(control, op); break;
    case OPERATION_DESCRIBE_GROUP: control_described(control, op); break;
    }
}

void operation_send(struct control *control, struct operation *op)
{
    op->awaited = 0;
    for (uint32_t i = 0; i < op->count; i++) {
        struct operation_part *part = &op->parts[i];
        part->sent = part->message.status == LEAT_OK && part->message.type != MESSAGE_REPLY;
        if (!part->sent)
            continue;
        part->message.request = request_number(control, op, i);
        op->awaited++;
        control_post(control, part->shard, &part->message);
    }
    if (op->awaited == 0)
        complete(control, op);
}

void operation_reply(struct control *control, const struct message *m)
{
    if (m->request == 0) {
        if (m->session != 0 && m->stream == 0)
            control_session_closed(control, m->session);
        return; /* otherwise the end of a stream, for which no request waits */
    }
    const uint32_t part = (uint32_t)(m->request & ((1u << PART_BITS) - 1));
    const uint32_t slot = (uint32_t)(m->request >> PART_BITS & ((1u << SLOT_BITS) - 1));
    const uint64_t generation = m->request >> (PART_BITS + SLOT_BITS);
    assert(slot < CONTROL_OPERATIONS_MAX);
    struct operation *op = control->operations[slot].operation;
    assert(op != NULL && control->operations[slot].generation == generation && part < op->count);
    (void)generation;
    op->parts[part].message = *m;
    if (--op->awaited == 0)
        complete(control, op);
}
