/* Session: one client's relation with one shard: its token, its TCP connection or its path for
 * packets, its streams, its buffers. */
#include "broker/shard/session.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
    MEMORY_BYTES = SESSION_RECEIVE_BYTES + EGRESS_BYTES,
    PACKETS_MEMORY_BYTES = sizeof(struct session_path) + EGRESS_BYTES,
    FIRST_STREAMS = 8,
    STREAM_INDEX_BITS = 15,
};
static_assert(sizeof(struct session) + MEMORY_BYTES <= SESSION_BYTES_MAX
                  && sizeof(struct session) + PACKETS_MEMORY_BYTES <= SESSION_BYTES_MAX,
              "what the header says");
static_assert(SESSION_STREAMS_MAX == 1 << STREAM_INDEX_BITS, "index and generation share a u32");

enum leat_error session_grant(struct session **out, uint32_t id, const struct message_grant *grant,
                              leat_ns now)
{
    struct memory_account account = { .budget = grant->memory };
    struct session *s = memory_account_calloc(&account, sizeof *s);
    if (s == NULL)
        return LEAT_ERR_NO_MEMORY;
    memory_part_hold(account.budget);
    s->memory_account = account;
    s->source = SOURCE_SESSION;
    s->id = id;
    s->fd = -1;
    memcpy(s->token, grant->token, sizeof s->token);
    memcpy(s->reset_token, grant->reset_token, sizeof s->reset_token);
    s->tag_to_broker = grant->tag_to_broker;
    s->tag_to_client = grant->tag_to_client;
    s->challenge = grant->challenge;
    s->expires_ns = grant->expires_ns;
    s->bucket = grant->bucket;
    if (s->bucket != NULL) {
        quota_set_rate(&s->bucket->publish, grant->quota_publish_bytes, now);
        quota_set_rate(&s->bucket->deliver, grant->quota_deliver_bytes, now);
    }
    TAILQ_INIT(&s->ready);
    *out = s;
    return LEAT_OK;
}

/* Mapped, not allocated, so that an attached client that sends little costs only the pages it used.
 * All of it is charged, because it may use all of it. */
static uint8_t *map(struct session *s, size_t size)
{
    if (!memory_account_take(&s->memory_account, size))
        return NULL;
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory != MAP_FAILED)
        return memory;
    memory_account_give(&s->memory_account, size);
    memory_account_refuse(&s->memory_account);
    return NULL;
}

enum leat_error session_attach(struct session *s, int fd)
{
    s->memory = map(s, MEMORY_BYTES);
    if (s->memory == NULL)
        return LEAT_ERR_NO_MEMORY;
    egress_init(&s->out, s->memory + SESSION_RECEIVE_BYTES);
    s->fd = fd;
    return LEAT_OK;
}

enum leat_error session_attach_packets(struct session *s, struct link *link,
                                       const struct link_peer *peer,
                                       const struct flow_options *options, uint32_t wanted_bytes,
                                       leat_ns now)
{
    struct flow_options fitted = *options;
    s->memory = map(s, PACKETS_MEMORY_BYTES);
    if (s->memory == NULL)
        return LEAT_ERR_NO_MEMORY;
    s->path = (struct session_path *)s->memory;
    s->path->session = s;
    s->path->link = link;
    s->path->peer = *peer;
    s->path->challenge_due = true;
    mtu_init(&s->path->mtu, wanted_bytes, now);
    fitted.payload_max = s->path->mtu.bytes;
    flow_init(&s->path->flow, &fitted, now);
    egress_init(&s->out, s->memory + sizeof *s->path);
    egress_in_packets(&s->out, flow_frames_max(&s->path->flow));
    return LEAT_OK;
}

void session_free(struct session *s)
{
    const size_t mapped = s->path != NULL ? PACKETS_MEMORY_BYTES : MEMORY_BYTES;
    if (s->memory != NULL) {
        munmap(s->memory, mapped);
        memory_account_give(&s->memory_account, mapped);
    }
    memory_account_give(&s->memory_account, sizeof *s + s->stream_count * sizeof(struct stream));
    assert(s->memory_account.used_bytes == 0);
    memory_part_release(s->memory_account.budget);
    free(s->streams);
    free(s);
}

bool session_token_is(const uint8_t expected[LEAT_TOKEN_BYTES],
                      const uint8_t given[LEAT_TOKEN_BYTES])
{
    uint8_t difference = 0;
    for (int i = 0; i < LEAT_TOKEN_BYTES; i++)
        difference |= expected[i] ^ given[i];
    return difference == 0;
}

static bool is_open(const struct stream *stream)
{
    return stream->publish != NULL || stream->subscription != NULL;
}

static bool is_free(const struct stream *stream)
{
    return !is_open(stream) && stream->unreported == STREAM_REPORTED;
}

static uint32_t number_of(uint32_t index, uint16_t generation)
{
    return (uint32_t)generation << STREAM_INDEX_BITS | index;
}

enum leat_error session_stream_new(struct session *s, struct stream **out, uint32_t *number)
{
    uint32_t index = s->stream_hint;
    while (index < s->stream_count && !is_free(&s->streams[index]))
        index++;
    if (index == s->stream_count) {
        if (s->stream_count == SESSION_STREAMS_MAX)
            return LEAT_ERR_LIMIT;
        const uint32_t count = s->stream_count == 0 ? FIRST_STREAMS : 2 * s->stream_count;
        struct stream *more = memory_account_realloc(
            &s->memory_account, s->streams, s->stream_count * sizeof *more, count * sizeof *more);
        if (more == NULL)
            return LEAT_ERR_NO_MEMORY;
        for (uint32_t i = s->stream_count; i < count; i++)
            more[i] = (struct stream){ .generation = 1 };
        s->streams = more;
        s->stream_count = count;
    }
    s->stream_hint = index;
    *out = &s->streams[index];
    *number = number_of(index, (*out)->generation);
    return LEAT_OK;
}

struct stream *session_stream(const struct session *s, uint32_t number)
{
    const uint32_t index = number & (SESSION_STREAMS_MAX - 1);
    if (index >= s->stream_count)
        return NULL;
    struct stream *stream = &s->streams[index];
    return number_of(index, stream->generation) == number && is_open(stream) ? stream : NULL;
}

static void free_slot(struct session *s, uint32_t index)
{
    const uint16_t next = (uint16_t)(s->streams[index].generation + 1);
    s->streams[index] = (struct stream){ .generation = next == 0 ? 1 : next };
    if (index < s->stream_hint)
        s->stream_hint = index;
}

void session_stream_free(struct session *s, uint32_t number)
{
    assert(session_stream(s, number) != NULL);
    free_slot(s, number & (SESSION_STREAMS_MAX - 1));
}

void session_stream_leave_unreported(struct session *s, uint32_t number, enum stream_end unreported)
{
    struct stream *stream = session_stream(s, number);
    assert(stream != NULL && unreported != STREAM_REPORTED);
    stream->publish = NULL;
    stream->subscription = NULL;
    stream->unreported = (uint8_t)unreported;
    s->unreported++;
    s->unread = true;
}

enum stream_end session_take_unreported(struct session *s, uint32_t *index, uint32_t *number)
{
    for (; *index < s->stream_count; (*index)++) {
        const struct stream *stream = &s->streams[*index];
        const enum stream_end unreported = (enum stream_end)stream->unreported;
        if (unreported == STREAM_REPORTED)
            continue;
        *number = number_of(*index, stream->generation);
        free_slot(s, *index);
        s->unreported--;
        return unreported;
    }
    return STREAM_REPORTED;
}
