#include "client/control_channel.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "transport/event_wait.h"
#include "transport/link_tcp.h"

enum {
    BUFFER_BYTES_FIRST = 1 << 14,
    IN_BYTES_MAX = LEAT_CONTROL_PREFIX_BYTES + LEAT_CONTROL_BYTES_MAX,
    OUT_BYTES_MAX = 4 * (LEAT_CONTROL_PREFIX_BYTES + LEAT_CONTROL_BYTES_MAX),
};

void control_link_init(struct control_link *link, control_notice *notice, void *context)
{
    *link = (struct control_link){ .fd = -1, .notice = notice, .notice_context = context };
}

void control_link_use(struct control_link *link, int fd)
{
    link->fd = fd;
    link->in_used = link->out_used = link->out_sent = 0;
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

enum leat_error control_link_ask(struct control_link *link, Leat__Control__Request *request,
                                 leat_ns deadline, control_answer *answer, void *context)
{
    struct control_pending *place = NULL;
    for (unsigned i = 0; i < CONTROL_PENDING_MAX && place == NULL; i++) {
        if (link->pending[i].id == 0)
            place = &link->pending[i];
    }
    if (place == NULL)
        return LEAT_BUSY;
    request->id = ++link->last_id;
    size_t written;
    const size_t bytes = leat_control_request_bytes(request);
    enum leat_error error =
        make_room(&link->out, &link->out_room, link->out_used + bytes, OUT_BYTES_MAX);
    if (error == LEAT_OK)
        error = leat_control_pack_request(link->out + link->out_used,
                                          link->out_room - link->out_used, &written, request);
    if (error != LEAT_OK)
        return error;
    link->out_used += written;
    *place = (struct control_pending){
        .id = request->id, .deadline = deadline, .answer = answer, .context = context
    };
    return LEAT_OK;
}

enum leat_error control_link_flush(struct control_link *link)
{
    while (link->out_sent < link->out_used) {
        const struct iovec rest = { .iov_base = link->out + link->out_sent,
                                    .iov_len = link->out_used - link->out_sent };
        size_t sent;
        const enum leat_error error = link_tcp_send(link->fd, &rest, 1, &sent);
        if (error != LEAT_OK)
            return error;
        link->out_sent += sent;
    }
    link->out_sent = link->out_used = 0;
    return LEAT_OK;
}

/* The slot is freed first: an answer may ask again. */
static void answer(struct control_pending *place, int error, const char *text,
                   const Leat__Control__Response *response)
{
    const struct control_pending asked = *place;
    place->id = 0;
    if (asked.answer != NULL)
        asked.answer(asked.context, error, text, response);
}

static enum leat_error take(struct control_link *link, const uint8_t *bytes, size_t size)
{
    Leat__Control__Response *response;
    const char *what = NULL;
    enum leat_error error = leat_control_unpack_response(&response, bytes, size);
    if (error != LEAT_OK)
        return LEAT_ERR_PROTOCOL;
    if (response->id == 0) {
        /* One of a kind this build does not know has no body here, and is dropped. */
        if (link->notice != NULL && leat_control_check_response(response, &what) == LEAT_OK)
            link->notice(link->notice_context, response);
        leat_control_free_response(response);
        return LEAT_OK;
    }
    for (unsigned i = 0; i < CONTROL_PENDING_MAX; i++) {
        if (link->pending[i].id != response->id)
            continue;
        error = leat_control_check_response(response, &what);
        if (error == LEAT_OK)
            answer(&link->pending[i], response->error,
                   response->error_text != NULL ? response->error_text : "", response);
        break;
    }
    leat_control_free_response(response);
    return error == LEAT_OK ? LEAT_OK : LEAT_ERR_PROTOCOL;
}

static enum leat_error take_whole(struct control_link *link, unsigned *handled)
{
    size_t at = 0;
    enum leat_error error = LEAT_OK;
    while (error == LEAT_OK) {
        uint32_t total = LEAT_CONTROL_PREFIX_BYTES;
        error = leat_control_length(link->in + at, link->in_used - at, &total);
        if (error == LEAT_OK && total > link->in_used - at) {
            error = make_room(&link->in, &link->in_room, total, IN_BYTES_MAX);
            break;
        }
        if (error != LEAT_OK)
            break;
        error = take(link, link->in + at + LEAT_CONTROL_PREFIX_BYTES,
                     total - LEAT_CONTROL_PREFIX_BYTES);
        at += total;
        (*handled)++;
    }
    memmove(link->in, link->in + at, link->in_used - at);
    link->in_used -= at;
    if (error == LEAT_AGAIN)
        return LEAT_OK;
    return error == LEAT_ERR_MALFORMED ? LEAT_ERR_PROTOCOL : error;
}

enum leat_error control_link_receive(struct control_link *link, unsigned *handled, size_t *bytes)
{
    enum leat_error error = make_room(&link->in, &link->in_room, BUFFER_BYTES_FIRST, IN_BYTES_MAX);
    while (error == LEAT_OK) {
        size_t got;
        error = link_tcp_receive(link->fd, link->in + link->in_used, link->in_room - link->in_used,
                                 &got);
        if (error == LEAT_AGAIN)
            return LEAT_OK;
        if (error != LEAT_OK)
            break;
        link->in_used += got;
        *bytes += got;
        error = take_whole(link, handled);
    }
    return error;
}

leat_ns control_link_expire(struct control_link *link, leat_ns now)
{
    leat_ns next = LEAT_NS_NEVER;
    for (unsigned i = 0; i < CONTROL_PENDING_MAX; i++) {
        struct control_pending *place = &link->pending[i];
        if (place->id != 0 && place->deadline <= now)
            answer(place, LEAT_ERR_TIMEOUT, "the broker did not answer in time", NULL);
        if (place->id != 0 && place->deadline < next)
            next = place->deadline;
    }
    return next;
}

void control_link_forget(struct control_link *link, const void *context)
{
    for (unsigned i = 0; i < CONTROL_PENDING_MAX; i++) {
        if (link->pending[i].context == context)
            link->pending[i].answer = NULL;
    }
}

void control_link_end(struct control_link *link, int epoll, int error, const char *text)
{
    if (link->fd >= 0)
        event_close(epoll, link->fd);
    control_link_use(link, -1);
    for (unsigned i = 0; i < CONTROL_PENDING_MAX; i++) {
        if (link->pending[i].id != 0)
            answer(&link->pending[i], error, text, NULL);
    }
}

void control_link_release(struct control_link *link)
{
    free(link->in);
    free(link->out);
    control_link_init(link, link->notice, link->notice_context);
}
