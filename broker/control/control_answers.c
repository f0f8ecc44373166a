/* Answers to a connection: appended to its output buffer. control_conn.c sends them. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/control/control_topic_registry.h"

enum { OUT_BYTES_MIN = 4096 };

static bool make_output_room(struct control_conn *p, size_t size)
{
    if (p->out_room - p->out_to >= size)
        return true;
    if (p->out_from > 0) {
        memmove(p->out, p->out + p->out_from, control_conn_owed(p));
        p->out_to -= p->out_from;
        p->out_from = 0;
    }
    size_t room = p->out_room < OUT_BYTES_MIN ? OUT_BYTES_MIN : p->out_room;
    while (room - p->out_to < size)
        room *= 2;
    if (room == p->out_room)
        return true;
    uint8_t *bytes = memory_account_realloc(&p->memory, p->out, p->out_room, room);
    if (bytes == NULL)
        return false;
    p->out = bytes;
    p->out_room = room;
    return true;
}

void control_conn_answer(struct control *control, struct control_conn *p,
                         Leat__Control__Response *response)
{
    size_t wrote;
    if (p == NULL || p->closed)
        return;
    const size_t size = leat_control_response_bytes(response);
    if (size - LEAT_CONTROL_PREFIX_BYTES > LEAT_CONTROL_BYTES_MAX) {
        control_conn_refuse(
            control, p, response->id, LEAT_ERR_TOO_LARGE,
            "the answer would be %zu bytes, more than the maximum of a message (%d): request "
            "less at a time",
            size, LEAT_CONTROL_BYTES_MAX);
        return;
    }
    if (!make_output_room(p, size)
        || leat_control_pack_response(p->out + p->out_to, p->out_room - p->out_to, &wrote, response)
               != LEAT_OK) {
        control_conn_end(control, p);
        return;
    }
    p->out_to += wrote;
    control_conn_want_work(control, p);
}

void control_conn_done(struct control *control, struct control_conn *p, uint64_t request)
{
    Leat__Control__Done done = LEAT__CONTROL__DONE__INIT;
    Leat__Control__Response response = LEAT__CONTROL__RESPONSE__INIT;
    response.id = request;
    response.body_case = LEAT__CONTROL__RESPONSE__BODY_DONE;
    response.done = &done;
    control_conn_answer(control, p, &response);
}

static void refuse(struct control *control, struct control_conn *p,
                   Leat__Control__Response *response, const char *text)
{
    metric_add(&control->counters.requests_refused, 1);
    response->error_text = (char *)text;
    control_conn_answer(control, p, response);
}

void control_conn_refuse(struct control *control, struct control_conn *p, uint64_t request,
                         enum leat_error error, const char *format, ...)
{
    char text[CONTROL_TEXT_BYTES];
    Leat__Control__Response response = LEAT__CONTROL__RESPONSE__INIT;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    response.id = request;
    response.error = error;
    refuse(control, p, &response, text);
}

void control_conn_refuse_for(struct control *control, struct control_conn *p, uint64_t request,
                             enum leat_error error, uint32_t retry_after_ms, const char *format,
                             ...)
{
    char text[CONTROL_TEXT_BYTES];
    Leat__Control__Response response = LEAT__CONTROL__RESPONSE__INIT;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    response.id = request;
    response.error = error;
    response.retry_after_ms = retry_after_ms;
    refuse(control, p, &response, text);
}

void control_conn_refuse_busy(struct control *control, struct control_conn *p, uint64_t request)
{
    Leat__Control__Response response = LEAT__CONTROL__RESPONSE__INIT;
    response.id = request;
    response.error = LEAT_BUSY;
    response.retry_after_ms = CONTROL_RETRY_MS;
    refuse(control, p, &response, "the broker has too many requests in progress: try again later");
}

void control_conn_refuse_topic(struct control *control, struct control_conn *p, uint64_t request,
                               const char *name)
{
    const struct catalog_topic *known = left_out_find(control, name);
    if (known != NULL) {
        control_conn_refuse(control, p, request, LEAT_ERR_NO_MEMORY,
                            "topic \"%s\" was left out at startup: its logs need %" PRIu64
                            " bytes, of which %" PRIu64
                            " are missing. It comes back when there is room: "
                            "raise log_memory_bytes and restart, or delete topics",
                            name, known->settings.ring_bytes * known->settings.partitions,
                            topic_registry_missing(control, &known->settings));
        return;
    }
    control_conn_refuse(control, p, request, LEAT_ERR_UNKNOWN_TOPIC,
                        "there is no topic \"%s\": create it with `leat topic create %s`", name,
                        name);
}
