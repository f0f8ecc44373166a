/* Sessions as control sees them: granting, ending, and notifying the client. */
#include <string.h>

#include "broker/control/control_state.h"
#include "broker/shared/random_bytes.h"
#include "broker/shared/reset_token.h"
#include "ops/log.h"
#include "schema/error_text.h"
#include "schema/session_id.h"

enum { QUOTA_LINES_PER_SECOND = 10 };

/* ---- slots */

/* Takes the slot that has been free the longest, so that ids are reused as late as possible. NULL:
 * none. */
static struct control_session *take_slot(struct control *control, uint32_t index)
{
    struct control_shard *shard = &control->shards[index];
    struct control_session *s;
    uint32_t slot, generation;
    if (shard->slots_used < control->config->sessions_max) {
        if (!random_bytes(&generation, sizeof generation))
            return NULL;
        slot = shard->slots_used++;
        s = &shard->sessions[slot];
    } else if (shard->free_first != 0) {
        slot = shard->free_first - 1;
        s = &shard->sessions[slot];
        shard->free_first = s->next_free;
        if (shard->free_first == 0)
            shard->free_last = 0;
        generation = s->id + 1;
    } else {
        return NULL;
    }
    generation %= LEAT_SESSION_GENERATIONS;
    if (generation == 0)
        generation = 1; /* an id is never 0 */
    s->id = leat_session_id(index, slot, generation);
    s->next_free = 0;
    return s;
}

static void free_slot(struct control *control, struct control_session *s)
{
    struct control_shard *shard = &control->shards[leat_session_shard(s->id)];
    const uint32_t place = leat_session_slot(s->id) + 1;
    shares_give_back(&control->shares, s->maker, SHARE_SESSIONS + leat_session_shard(s->id), 1);
    client_quota_release(&control->quotas, s->quota);
    s->quota = NULL;
    s->state = SESSION_FREE;
    s->owner = NULL;
    s->maker = NULL;
    s->next_free = 0;
    if (shard->free_last != 0)
        shard->sessions[shard->free_last - 1].next_free = place;
    else
        shard->free_first = place;
    shard->free_last = place;
    metric_set(&control->counters.sessions, metric_get(&control->counters.sessions) - 1);
}

void control_sessions_stop(struct control *control)
{
    for (uint32_t i = 0; i < control->shard_count; i++) {
        struct control_shard *shard = &control->shards[i];
        for (uint32_t slot = 0; slot < shard->slots_used; slot++)
            if (shard->sessions[slot].state != SESSION_FREE)
                free_slot(control, &shard->sessions[slot]);
    }
}

/* NULL: the session has ended (its slot may hold another one). */
static struct control_session *find(struct control *control, uint32_t id)
{
    const uint32_t shard = leat_session_shard(id), slot = leat_session_slot(id);
    if (shard >= control->shard_count || slot >= control->shards[shard].slots_used)
        return NULL;
    struct control_session *s = &control->shards[shard].sessions[slot];
    return s->id == id && s->state != SESSION_FREE ? s : NULL;
}

bool control_session_is_live(struct control *control, uint32_t id)
{
    const struct control_session *s = find(control, id);
    return s != NULL && s->state == SESSION_LIVE;
}

struct control_session *control_session_of(struct control *control, const struct control_conn *p,
                                           uint32_t id)
{
    struct control_session *s = find(control, id);
    return s != NULL && s->state == SESSION_LIVE && s->owner == p ? s : NULL;
}

const char *control_session_client(struct control *control, uint32_t id)
{
    const struct control_session *s = find(control, id);
    return s != NULL && s->owner != NULL ? s->owner->client_name : "";
}

/* ---- opening */

/* The rate is divided among the shards, so that the broker as a whole does not exceed it. */
static uint64_t share(const struct control *control, uint64_t rate)
{
    const uint64_t part = rate / control->shard_count;
    return rate != 0 && part == 0 ? 1 : part;
}

/* Sets the quota of the client name. False: no memory. */
static bool set_quota(struct control *control, const struct control_conn *p,
                      struct control_session *s, struct message_grant *grant)
{
    const struct config_quota *quota = config_quota_of(control->config, p->client_name);
    /* A name that was removed from the configuration may still have sessions; they have no limit.
     */
    if (quota == NULL && client_quota_find(&control->quotas, p->client_name) == NULL)
        return true;
    s->quota = client_quota_take(&control->quotas, p->client_name, p->maker->address->memory,
                                 control->now);
    if (s->quota == NULL)
        return false;
    grant->bucket = &s->quota->buckets[leat_session_shard(s->id)];
    grant->quota_publish_bytes = quota != NULL ? share(control, quota->publish_bytes) : 0;
    grant->quota_deliver_bytes = quota != NULL ? share(control, quota->deliver_bytes) : 0;
    return true;
}

static void answer_grant(struct control *control, struct control_conn *p, uint64_t request,
                         struct message *m)
{
    Leat__Control__SessionGrant grant = LEAT__CONTROL__SESSION_GRANT__INIT;
    grant.session = m->session;
    grant.shard = leat_session_shard(m->session);
    grant.token = (ProtobufCBinaryData){ .len = LEAT_TOKEN_BYTES, .data = m->grant.token };
    grant.reset_token =
        (ProtobufCBinaryData){ .len = LEAT_TOKEN_BYTES, .data = m->grant.reset_token };
    grant.tag_to_broker = m->grant.tag_to_broker;
    grant.tag_to_client = m->grant.tag_to_client;
    grant.checksum_partial = control->shards[grant.shard].link.intact;
    Leat__Control__Response response = LEAT__CONTROL__RESPONSE__INIT;
    response.id = request;
    response.body_case = LEAT__CONTROL__RESPONSE__BODY_SESSION;
    response.session = &grant;
    control_conn_answer(control, p, &response);
}

void control_open_session(struct control *control, struct control_conn *p,
                          const Leat__Control__Request *request)
{
    const uint32_t shard = request->open_session->shard;
    struct message m = { .type = MESSAGE_GRANT_SESSION };
    if (shard >= control->shard_count) {
        control_conn_refuse(control, p, request->id, LEAT_ERR_INVALID,
                            "there is no shard %u: this broker has shards 0 to %u", shard,
                            control->shard_count - 1);
        return;
    }
    if (control_congested(control)) {
        control_conn_refuse_busy(control, p, request->id);
        return;
    }
    if (!random_bytes(m.grant.token, LEAT_TOKEN_BYTES)
        || !random_bytes(&m.grant.tag_to_broker, sizeof m.grant.tag_to_broker)
        || !random_bytes(&m.grant.tag_to_client, sizeof m.grant.tag_to_client)
        || !random_bytes(&m.grant.challenge, sizeof m.grant.challenge)) {
        control_conn_refuse(control, p, request->id, LEAT_ERR_IO,
                            "the kernel returned no random bytes");
        return;
    }
    const char *why;
    if (!control_may_take(control, p->maker, SHARE_SESSIONS + shard, 1, &why)) {
        control_conn_refuse(control, p, request->id, LEAT_ERR_LIMIT, "shard %u: %s", shard, why);
        return;
    }
    struct control_session *s = take_slot(control, shard);
    if (s == NULL) {
        control_conn_refuse(control, p, request->id, LEAT_ERR_IO,
                            "the kernel returned no random bytes");
        return;
    }
    shares_take(&control->shares, p->maker, SHARE_SESSIONS + shard, 1);
    s->state = SESSION_LIVE;
    s->owner = p;
    s->maker = p->maker;
    LIST_INSERT_HEAD(&p->sessions, s, node);
    metric_add(&control->counters.sessions, 1);
    m.session = s->id;
    reset_token_make(control->options.reset_secret, s->id, m.grant.tag_to_broker,
                     m.grant.reset_token);
    m.grant.memory = p->maker->address->memory;
    m.grant.expires_ns = control->now + LEAT_TOKEN_LIFE_NS;
    if (!set_quota(control, p, s, &m.grant)) {
        LIST_REMOVE(s, node);
        free_slot(control, s);
        control_conn_refuse(
            control, p, request->id, LEAT_ERR_NO_MEMORY,
            "cannot store the quota of another client name, or the debts of others: %s",
            control_memory_text(control, p));
        return;
    }
    control_post(control, shard, &m);
    answer_grant(control, p, request->id, &m);
}

/* ---- closing */

static void close_session(struct control *control, struct control_session *s)
{
    const struct message m = { .type = MESSAGE_CLOSE_SESSION, .session = s->id };
    LIST_REMOVE(s, node);
    s->owner = NULL;
    s->state = SESSION_CLOSING; /* the reply of the shard frees the slot */
    control_post(control, leat_session_shard(s->id), &m);
}

void control_close_session(struct control *control, struct control_conn *p,
                           const Leat__Control__Request *request)
{
    const uint32_t id = request->close_session->session;
    struct control_session *s = control_session_of(control, p, id);
    if (s == NULL) {
        control_conn_refuse(control, p, request->id, LEAT_ERR_UNKNOWN_SESSION,
                            "session %u is not open on this control connection", id);
        return;
    }
    /* Later messages to the shard arrive after the close. */
    close_session(control, s);
    control_conn_done(control, p, request->id);
}

void control_session_close_all(struct control *control, struct control_conn *p)
{
    while (!LIST_EMPTY(&p->sessions))
        close_session(control, LIST_FIRST(&p->sessions));
}

/* Limits the log lines about all quotas together: clients can use any number of names. */
static bool may_say(struct control *control)
{
    if (control->now - control->quota_lines_since >= LEAT_NS_PER_S) {
        control->quota_lines_since = control->now;
        control->quota_lines = 0;
    }
    return control->quota_lines++ < QUOTA_LINES_PER_SECOND;
}

void control_held_by_quota(struct control *control, const struct message *m)
{
    const struct control_session *s = find(control, m->session);
    const struct topic *topic =
        m->topic_id != 0 ? topics_find(control->options.topics, m->topic_id) : NULL;
    if (s == NULL || s->owner == NULL || !may_say(control))
        return;
    const char *client = s->owner->client_name;
    const struct config_quota *quota = config_quota_of(control->config, client);
    const bool publishes = m->value != 0;
    uint64_t rate = 0;
    if (topic != NULL)
        rate =
            publishes ? topic->settings.quota_publish_bytes : topic->settings.quota_deliver_bytes;
    else if (m->topic_id == 0 && quota != NULL)
        rate = publishes ? quota->publish_bytes : quota->deliver_bytes;
    log_line(LOG_INFO, "quota.holds", log_text("client", client),
             log_text("what", publishes ? "publish" : "deliver"),
             log_text("quota", m->topic_id != 0 ? "topic" : "client"),
             log_text("topic", topic != NULL ? topic->name : ""),
             log_u64("bytes_per_second", rate));
}

static const char *ending_text(int status)
{
    switch (status) {
    case LEAT_OK: return "its data connection was closed";
    case LEAT_ERR_TIMEOUT:
        return "its data connection received nothing, or could send nothing, for keepalive_ms";
    default: return leat_error_text(status);
    }
}

/* Tells the client on the control connection, because the data connection may be dead. */
static void tell_owner(struct control *control, const struct control_session *s, int status)
{
    Leat__Control__SessionEnded ended = LEAT__CONTROL__SESSION_ENDED__INIT;
    ended.session = s->id;
    ended.error = status != LEAT_OK ? status : LEAT_ERR_CLOSED;
    ended.text = (char *)(status == LEAT_ERR_NO_MEMORY ? control_memory_text(control, s->owner)
                                                       : ending_text(status));
    Leat__Control__Response response = LEAT__CONTROL__RESPONSE__INIT;
    response.body_case = LEAT__CONTROL__RESPONSE__BODY_SESSION_ENDED;
    response.session_ended = &ended;
    control_conn_answer(control, s->owner, &response);
}

void control_session_ended(struct control *control, uint32_t id, int status)
{
    struct control_session *s = find(control, id);
    if (s == NULL || s->state != SESSION_LIVE)
        return; /* a close is in progress, and the shard answers that too */
    tell_owner(control, s, status);
    LIST_REMOVE(s, node);
    free_slot(control, s);
}

void control_session_closed(struct control *control, uint32_t id)
{
    struct control_session *s = find(control, id);
    if (s != NULL && s->state == SESSION_CLOSING)
        free_slot(control, s);
}
