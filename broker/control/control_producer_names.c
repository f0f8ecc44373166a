/* Producer names: expiry, eviction, and requests about them. */
#include <stdlib.h>
#include <string.h>

#include "broker/control/control_state.h"
#include "ops/log.h"

/* A producer name is in use while it is being opened, and as long as the session and stream with
 * which it was last opened exist.
 *
 *      unused for offsets_retention_ms                     forgotten
 *      unused for two keepalive_ms, and its creator has    evicted for another name of the same
 *      used its share of the table                         connection or address
 *
 * The end of a session does not search for names. A scan over all names, sixteen times per
 * offsets_retention_ms, finds those that are no longer in use; their idle time starts then. */

enum {
    WALKS = 16,
    NAMES_PER_STEP = 512,
    LOOKS_TO_MAKE_WAY = 16,
    LIST_PAGE = 2048,
};

static bool is_in_use(struct control *control, struct producer_name *name)
{
    const bool in_use = name->opening != 0
                        || (name->session != 0 && control_session_is_live(control, name->session)
                            && topics_find(control->options.topics, name->topic_id) != NULL);
    if (!in_use && !name->idle)
        name->idle_since = control->now;
    name->idle = !in_use;
    return in_use;
}

/* How long it has been unused; 0: it is in use. */
static leat_ns idle_for(struct control *control, struct producer_name *name)
{
    return is_in_use(control, name) ? 0 : control->now - name->idle_since;
}

static void give_back(struct control *control, struct share_maker *maker)
{
    shares_give_back(&control->shares, maker, SHARE_NAMES, 1);
}

void control_name_remove(struct control *control, struct producer_name *name)
{
    struct share_maker *maker = name->maker;
    producer_names_remove(&control->names, name);
    give_back(control, maker);
}

/* ---- opening and closing */

void control_name_opened(struct control *control, const struct operation *op)
{
    struct producer_name *name = op->producer.name[0] != '\0'
                                     ? producer_names_find(&control->names, op->producer.name)
                                     : NULL;
    if (name == NULL || name->id != op->producer.id || name->epoch != op->producer.epoch)
        return;
    const struct message *first = &op->parts[0].message;
    name->topic_id = op->topic_id;
    producer_names_bind(&control->names, name, first->session, first->stream);
    producer_names_used(name);
}

void control_name_closed(struct control *control, uint32_t session, uint32_t stream)
{
    struct producer_name *name = producer_names_find_stream(&control->names, session, stream);
    if (name == NULL)
        return;
    producer_names_bind(&control->names, name, 0, 0);
    is_in_use(control, name); /* starts its idle time */
}

void control_name_hold(struct operation *op, struct producer_name *name)
{
    op->producer.holds_name = true;
    name->opening++;
}

void control_name_release(struct control *control, struct operation *op)
{
    struct producer_name *name =
        op->producer.holds_name ? producer_names_find(&control->names, op->producer.name) : NULL;
    op->producer.holds_name = false;
    /* If a failed opening has removed its new name, a name found now may be another one. */
    if (name != NULL && name->id == op->producer.id && name->opening != 0)
        name->opening--;
}

/* ---- eviction */

/* Finds, among the first few names, one that was unused for the grace period; names in use move to
 * the end of the list. NULL: none. */
static struct producer_name *find_unused(struct control *control, struct share_maker *maker,
                                         bool of_address)
{
    const leat_ns grace = 2 * (leat_ns)control->config->keepalive_ms * LEAT_NS_PER_MS;
    struct producer_name *name =
        of_address ? TAILQ_FIRST(&maker->address->names) : TAILQ_FIRST(&maker->names);
    for (int i = 0; i < LOOKS_TO_MAKE_WAY && name != NULL; i++) {
        struct producer_name *next =
            of_address ? TAILQ_NEXT(name, of_address) : TAILQ_NEXT(name, of_maker);
        if (is_in_use(control, name))
            producer_names_used(name);
        else if (control->now - name->idle_since >= grace)
            return name;
        name = next;
    }
    return NULL;
}

static bool evict_oldest(struct control *control, struct share_maker *maker)
{
    const enum share_verdict verdict = shares_may_take(&control->shares, maker, SHARE_NAMES, 1);
    struct producer_name *name = verdict == SHARE_CONNECTION_FULL || verdict == SHARE_ADDRESS_FULL
                                     ? find_unused(control, maker, verdict == SHARE_ADDRESS_FULL)
                                     : NULL;
    if (name == NULL)
        return false;
    log_line(LOG_INFO, "producer.name_gave_way", log_text("producer", name->name));
    control_name_remove(control, name);
    return true;
}

enum leat_error control_name_add(struct control *control, const char *text,
                                 struct share_maker *maker, struct producer_name **out,
                                 const char **why)
{
    *why = "not enough memory";
    if (!control_may_take(control, maker, SHARE_NAMES, 1, why)
        && (!evict_oldest(control, maker)
            || !control_may_take(control, maker, SHARE_NAMES, 1, why)))
        return LEAT_ERR_LIMIT;
    const enum leat_error error = producer_names_add(&control->names, text, maker, out);
    if (error == LEAT_OK)
        shares_take(&control->shares, maker, SHARE_NAMES, 1);
    return error;
}

/* ---- expiry */

static bool goes(void *user, struct producer_name *name)
{
    struct control *control = user;
    const leat_ns idle = idle_for(control, name);
    if (idle < control->config->offsets_retention_ms * LEAT_NS_PER_MS || name->opening != 0)
        return false;
    log_line(LOG_INFO, "producer.name_expired", log_text("producer", name->name),
             log_u64("unused_ms", idle / LEAT_NS_PER_MS));
    metric_add(&control->counters.names_expired, 1);
    return true;
}

/* The name is in no list any more, so its maker may be freed with it. */
static void gone(void *user, struct share_maker *maker)
{
    give_back(user, maker);
}

void control_names_step(struct control *control)
{
    struct producer_names *names = &control->names;
    metric_set(&control->counters.names, names->count);
    if (names->count == 0) {
        control->names_due = LEAT_NS_NEVER;
        return;
    }
    if (control->names_due != LEAT_NS_NEVER && control->now < control->names_due)
        return;
    if (control->names_due != LEAT_NS_NEVER)
        producer_names_walk(names, NAMES_PER_STEP, goes, gone, control);
    const leat_ns walk = control->config->offsets_retention_ms * LEAT_NS_PER_MS / WALKS;
    const leat_ns pause = walk / (names->count / NAMES_PER_STEP + 1);
    control->names_due = control->now + (pause > LEAT_NS_PER_MS ? pause : LEAT_NS_PER_MS);
}

/* ---- requests */

static void refuse_name(struct control *control, struct control_conn *p, uint64_t request,
                        const char *name)
{
    control_conn_refuse(control, p, request, LEAT_ERR_PRODUCER_EXPIRED,
                        "producer \"%s\" does not exist: see `leat producer list`", name);
}

void control_delete_producer(struct control *control, struct control_conn *p,
                             const Leat__Control__Request *request)
{
    const char *text = request->delete_producer->name;
    struct producer_name *name = producer_names_find(&control->names, text);
    if (name == NULL) {
        refuse_name(control, p, request->id, text);
        return;
    }
    if (is_in_use(control, name)) {
        control_conn_refuse_for(control, p, request->id, LEAT_BUSY, CONTROL_RETRY_MS,
                                "producer \"%s\" is open: close it first", text);
        return;
    }
    log_line(LOG_INFO, "producer.name_deleted", log_text("producer", text),
             log_text("client", p->client_name));
    control_name_remove(control, name);
    control_conn_done(control, p, request->id);
}

void control_list_producers(struct control *control, struct control_conn *p,
                            const Leat__Control__Request *request)
{
    const struct producer_names *names = &control->names;
    const uint32_t first = producer_names_above(names, request->list_producers->after);
    const uint32_t left = names->count - first;
    const uint32_t count = left < LIST_PAGE ? left : LIST_PAGE;
    control_charge(control, count);
    Leat__Control__ProducerSummary *rows = calloc(count + 1, sizeof *rows);
    Leat__Control__ProducerSummary **list = calloc(count + 1, sizeof(void *));
    if (rows == NULL || list == NULL) {
        control_conn_refuse_busy(control, p, request->id);
    } else {
        for (uint32_t i = 0; i < count; i++) {
            struct producer_name *name = names->all[first + i];
            leat__control__producer_summary__init(&rows[i]);
            rows[i].name = name->name;
            rows[i].epoch = name->epoch;
            rows[i].open = is_in_use(control, name);
            rows[i].idle_ms = rows[i].open ? 0 : idle_for(control, name) / LEAT_NS_PER_MS;
            list[i] = &rows[i];
        }
        Leat__Control__ProducerList producers = LEAT__CONTROL__PRODUCER_LIST__INIT;
        producers.producers = list;
        producers.n_producers = count;
        producers.more = count < left;
        Leat__Control__Response response = LEAT__CONTROL__RESPONSE__INIT;
        response.id = request->id;
        response.body_case = LEAT__CONTROL__RESPONSE__BODY_PRODUCERS;
        response.producers = &producers;
        control_conn_answer(control, p, &response);
    }
    free(rows);
    free(list);
}
