/* The control connection: requests with deadlines out, responses back to their callbacks. */
#include "client/control_channel.h"

#include <stdlib.h>
#include <string.h>

#include "transport/event_wait.h"
#include "transport/link_tcp.h"

enum {
    BUFFER_BYTES_FIRST = 1 << 14,
    IN_BYTES_MAX = LEAT_CONTROL_PREFIX_BYTES + LEAT_CONTROL_BYTES_MAX,
    OUT_BYTES_MAX = 4 * (LEAT_CONTROL_PREFIX_BYTES + LEAT_CONTROL_BYTES_MAX),
};

void control_channel_init(struct control_channel *channel, control_notice *notice, void *context)
{
    *channel = (struct control_channel){ .fd = -1, .notice = notice, .notice_context = context };
}

void control_channel_use(struct control_channel *channel, int fd)
{
    channel->fd = fd;
    channel->in_used = channel->out_used = channel->out_sent = 0;
}

static enum leat_error make_room(uint8_t **buffer, size_t *room, size_t wanted, size_t most)
{
    if (wanted <= *room)
        return LEAT_OK;
    if (wanted > most)
        return LEAT_BUSY;
    size_t larger = *room == 0 ? BUFFER_BYTES_FIRST : *room;
    while (larger < wanted)
        larger *= 2;
    uint8_t *moved = realloc(*buffer, larger);
    if (moved == NULL)
        return LEAT_ERR_NO_MEMORY;
    *buffer = moved;
    *room = larger;
    return LEAT_OK;
}

enum leat_error control_channel_ask(struct control_channel *channel,
                                    Leat__Control__Request *request, leat_ns deadline,
                                    control_answer *answer, void *context)
{
    struct control_pending *place = NULL;
    for (unsigned i = 0; i < CONTROL_PENDING_MAX && place == NULL; i++)
        if (channel->pending[i].id == 0)
            place = &channel->pending[i];
    if (place == NULL)
        return LEAT_BUSY;
    request->id = ++channel->last_id;
    size_t written;
    const size_t bytes = leat_control_request_bytes(request);
    enum leat_error error =
        make_room(&channel->out, &channel->out_room, channel->out_used + bytes, OUT_BYTES_MAX);
    if (error == LEAT_OK)
        error = leat_control_pack_request(channel->out + channel->out_used,
                                          channel->out_room - channel->out_used, &written, request);
    if (error != LEAT_OK)
        return error;
    channel->out_used += written;
    *place = (struct control_pending){
        .id = request->id, .deadline = deadline, .answer = answer, .context = context
    };
    return LEAT_OK;
}

enum leat_error control_channel_flush(struct control_channel *channel)
{
    while (channel->out_sent < channel->out_used) {
        const struct iovec rest = { .iov_base = channel->out + channel->out_sent,
                                    .iov_len = channel->out_used - channel->out_sent };
        size_t sent;
        const enum leat_error error = link_tcp_send(channel->fd, &rest, 1, &sent);
        if (error != LEAT_OK)
            return error;
        channel->out_sent += sent;
    }
    channel->out_sent = channel->out_used = 0;
    return LEAT_OK;
}

/* Free the slot first: the callback may send another request. */
static void answer(struct control_pending *place, int error, const char *text,
                   const Leat__Control__Response *response)
{
    const struct control_pending asked = *place;
    place->id = 0;
    if (asked.answer != NULL)
        asked.answer(asked.context, error, text, response);
}

static enum leat_error take(struct control_channel *channel, const uint8_t *bytes, size_t size)
{
    Leat__Control__Response *response;
    const char *what = NULL;
    enum leat_error error = leat_control_unpack_response(&response, bytes, size);
    if (error != LEAT_OK)
        return LEAT_ERR_PROTOCOL;
    if (response->id == 0) {
        /* A notice of a kind unknown to this build has no body here and is dropped. */
        if (channel->notice != NULL && leat_control_check_response(response, &what) == LEAT_OK)
            channel->notice(channel->notice_context, response);
        leat_control_free_response(response);
        return LEAT_OK;
    }
    for (unsigned i = 0; i < CONTROL_PENDING_MAX; i++) {
        if (channel->pending[i].id != response->id)
            continue;
        error = leat_control_check_response(response, &what);
        if (error == LEAT_OK)
            answer(&channel->pending[i], response->error,
                   response->error_text != NULL ? response->error_text : "", response);
        break;
    }
    leat_control_free_response(response);
    return error == LEAT_OK ? LEAT_OK : LEAT_ERR_PROTOCOL;
}

static enum leat_error take_whole(struct control_channel *channel, unsigned *handled)
{
    size_t at = 0;
    enum leat_error error = LEAT_OK;
    while (error == LEAT_OK) {
        uint32_t total = LEAT_CONTROL_PREFIX_BYTES;
        error = leat_control_length(channel->in + at, channel->in_used - at, &total);
        if (error == LEAT_OK && total > channel->in_used - at) {
            error = make_room(&channel->in, &channel->in_room, total, IN_BYTES_MAX);
            break;
        }
        if (error != LEAT_OK)
            break;
        error = take(channel, channel->in + at + LEAT_CONTROL_PREFIX_BYTES,
                     total - LEAT_CONTROL_PREFIX_BYTES);
        at += total;
        (*handled)++;
    }
    memmove(channel->in, channel->in + at, channel->in_used - at);
    channel->in_used -= at;
    if (error == LEAT_AGAIN)
        return LEAT_OK;
    return error == LEAT_ERR_MALFORMED ? LEAT_ERR_PROTOCOL : error;
}

enum leat_error control_channel_receive(struct control_channel *channel, unsigned *handled,
                                        size_t *bytes)
{
    enum leat_error error =
        make_room(&channel->in, &channel->in_room, BUFFER_BYTES_FIRST, IN_BYTES_MAX);
    while (error == LEAT_OK) {
        size_t got;
        error = link_tcp_receive(channel->fd, channel->in + channel->in_used,
                                 channel->in_room - channel->in_used, &got);
        if (error == LEAT_AGAIN)
            return LEAT_OK;
        if (error != LEAT_OK)
            break;
        channel->in_used += got;
        *bytes += got;
        error = take_whole(channel, handled);
    }
    return error;
}

leat_ns control_channel_expire(struct control_channel *channel, leat_ns now)
{
    leat_ns next = LEAT_NS_NEVER;
    for (unsigned i = 0; i < CONTROL_PENDING_MAX; i++) {
        struct control_pending *place = &channel->pending[i];
        if (place->id != 0 && place->deadline <= now)
            answer(place, LEAT_ERR_TIMEOUT, "the broker did not answer in time", NULL);
        if (place->id != 0 && place->deadline < next)
            next = place->deadline;
    }
    return next;
}

void control_channel_forget(struct control_channel *channel, const void *context)
{
    for (unsigned i = 0; i < CONTROL_PENDING_MAX; i++)
        if (channel->pending[i].context == context)
            channel->pending[i].answer = NULL;
}

void control_channel_end(struct control_channel *channel, int epoll, int error, const char *text)
{
    if (channel->fd >= 0)
        event_close(epoll, channel->fd);
    control_channel_use(channel, -1);
    for (unsigned i = 0; i < CONTROL_PENDING_MAX; i++)
        if (channel->pending[i].id != 0)
            answer(&channel->pending[i], error, text, NULL);
}

void control_channel_release(struct control_channel *channel)
{
    free(channel->in);
    free(channel->out);
    control_channel_init(channel, channel->notice, channel->notice_context);
}
