/* Goal: stream numbers name what they were given for and nothing else, tokens are compared whole.
 * Method: a model of open numbers under random opening and closing (printed seed). */
#include <criterion/criterion.h>
#include <string.h>

#include "broker/shard/session.h"
#include "tests/support/seeded.h"

static struct session *new_session(void)
{
    struct session *s;
    const struct message_grant grant = { .token = { 1, 2, 3 } };
    cr_assert_eq(session_grant(&s, 7, &grant, 0), LEAT_OK);
    return s;
}

Test(session, a_stream_number_names_one_stream_and_is_not_given_again_soon)
{
    enum { LIVE_MAX = 200 };
    struct seeded random = seeded_start("session");
    struct session *s = new_session();
    uint32_t live[LIVE_MAX];
    struct subscription *what[LIVE_MAX];
    uint32_t count = 0, closed[16] = { 0 }, closings = 0;
    for (uintptr_t step = 1; step < 20000; step++) {
        if (count < LIVE_MAX && seeded_below(&random, 2) == 0) {
            struct stream *place;
            uint32_t number;
            cr_assert_eq(session_stream_new(s, &place, &number), LEAT_OK);
            cr_assert_neq(number, 0u);
            for (uint32_t i = 0; i < count; i++)
                cr_assert_neq(live[i], number);
            place->subscription = (struct subscription *)(step * 8);
            live[count] = number;
            what[count++] = place->subscription;
        } else if (count != 0) {
            const uint32_t i = seeded_below(&random, count);
            closed[closings++ % 16] = live[i];
            session_stream_free(s, live[i]);
            live[i] = live[--count];
            what[i] = what[count];
        }
        for (uint32_t i = 0; i < count; i++)
            cr_assert_eq(session_stream(s, live[i])->subscription, what[i]);
        for (int i = 0; i < 16; i++)
            cr_assert_eq(session_stream(s, closed[i]), NULL);
    }
    cr_assert_leq(s->stream_count, 2u * LIVE_MAX, "places are used again");
    session_free(s);
}

Test(session, numbers_nobody_gave_name_nothing)
{
    struct session *s = new_session();
    struct stream *place;
    uint32_t number;
    cr_assert_eq(session_stream(s, 0), NULL);
    cr_assert_eq(session_stream_new(s, &place, &number), LEAT_OK);
    cr_assert_eq(session_stream(s, number), NULL, "opened by nobody yet");
    place->subscription = (struct subscription *)8;
    for (uint32_t bit = 0; bit < 32; bit++)
        cr_assert_eq(session_stream(s, number ^ UINT32_C(1) << bit), NULL);
    session_free(s);
}

/* Else a client would take the end of the old one for that of the new one. */
Test(session, a_stream_whose_end_was_not_told_keeps_its_number)
{
    enum { STREAMS = 20 };
    struct session *s = new_session();
    struct stream *place;
    uint32_t numbers[STREAMS], number, index = 0;
    for (uint32_t i = 0; i < STREAMS; i++) {
        cr_assert_eq(session_stream_new(s, &place, &numbers[i]), LEAT_OK);
        place->subscription = (struct subscription *)8;
    }
    session_stream_leave_unreported(s, numbers[3], STREAM_READER_UNREPORTED);
    session_stream_leave_unreported(s, numbers[7], STREAM_PUBLISHER_UNREPORTED);
    cr_assert_eq(session_stream(s, numbers[3]), NULL, "it has ended");
    cr_assert(s->unreported == 2 && s->unread);
    cr_assert_eq(session_stream_new(s, &place, &number), LEAT_OK);
    cr_assert_eq(place, &s->streams[STREAMS]);
    cr_assert_eq(session_take_unreported(s, &index, &number), STREAM_READER_UNREPORTED);
    cr_assert_eq(number, numbers[3]);
    cr_assert_eq(session_take_unreported(s, &index, &number), STREAM_PUBLISHER_UNREPORTED);
    cr_assert_eq(number, numbers[7]);
    cr_assert_eq(s->unreported, 0u);
    cr_assert_eq(session_stream_new(s, &place, &number), LEAT_OK);
    cr_assert_eq(place, &s->streams[3]);
    cr_assert_neq(number, numbers[3]);
    session_free(s);
}

Test(session, streams_are_bounded)
{
    struct session *s = new_session();
    struct stream *place;
    uint32_t number;
    for (uint32_t i = 0; i < SESSION_STREAMS_MAX; i++) {
        cr_assert_eq(session_stream_new(s, &place, &number), LEAT_OK);
        place->subscription = (struct subscription *)8;
    }
    cr_assert_eq(session_stream_new(s, &place, &number), LEAT_ERR_LIMIT);
    session_free(s);
}

Test(session, a_token_is_compared_whole)
{
    uint8_t token[LEAT_TOKEN_BYTES] = { 9, 8, 7 }, other[LEAT_TOKEN_BYTES];
    for (int i = 0; i < LEAT_TOKEN_BYTES; i++) {
        memcpy(other, token, sizeof other);
        other[i] ^= 0x80;
        cr_assert_not(session_token_is(token, other));
    }
    cr_assert(session_token_is(token, token));
}
