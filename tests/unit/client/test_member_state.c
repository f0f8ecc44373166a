/* Goal: a member asks what schema/PROTOCOL.md says, and works on nothing that is not its own.
 * Method: the pure machine with answers made by hand, in any order; then, with a seed, against a
 * broker of a few lines that forgets it, moves partitions and loses connections. */
#include <criterion/criterion.h>
#include <string.h>

#include "client/commit_state.h"
#include "client/member_state.h"
#include "tests/support/seeded.h"

enum { PARTITIONS = 4, HEARTBEAT_MS = 300, SESSION_MS = 1000 };
#define MS LEAT_NS_PER_MS

static uint8_t places[PARTITIONS];

static struct member_state make(void)
{
    struct member_state m = { .topic_count = 1 };
    memset(places, 0, sizeof places);
    m.topics[0] =
        (struct member_state_topic){ .name = "t", .partitions = PARTITIONS, .places = places };
    return m;
}

/* An assignment of the partitions in `bits`. */
static enum member_state_news assign(struct member_state *m, const struct member_state_asked *asked,
                                     uint32_t epoch, unsigned bits, leat_ns now)
{
    Leat__Control__TopicPartitions of = LEAT__CONTROL__TOPIC_PARTITIONS__INIT;
    Leat__Control__TopicPartitions *list[] = { &of };
    uint32_t numbers[PARTITIONS];
    char name[] = "t";
    of.topic = name;
    of.partitions = numbers;
    for (uint32_t i = 0; i < PARTITIONS; i++)
        if ((bits >> i & 1) != 0)
            numbers[of.n_partitions++] = i;
    Leat__Control__GroupAssignment assignment = LEAT__CONTROL__GROUP_ASSIGNMENT__INIT;
    assignment.member_epoch = epoch;
    assignment.session_timeout_ms = SESSION_MS;
    assignment.heartbeat_ms = HEARTBEAT_MS;
    assignment.assigned = list;
    assignment.n_assigned = 1;
    const struct member_state_answer answer = { .assignment = &assignment };
    return member_state_answered(m, asked, &answer, now);
}

static enum member_state_news refuse(struct member_state *m, const struct member_state_asked *asked,
                                     int error, uint32_t retry_after_ms, leat_ns now)
{
    const struct member_state_answer answer = { .error = error, .retry_after_ms = retry_after_ms };
    return member_state_answered(m, asked, &answer, now);
}

static struct member_state joined(unsigned bits, leat_ns now)
{
    struct member_state m = make();
    const struct member_state_asked join = member_state_next(&m, now);
    cr_assert_eq(join.what, MEMBER_STATE_JOIN);
    cr_assert_eq(member_state_next(&m, now).what, MEMBER_STATE_NOTHING);
    cr_assert_eq(assign(&m, &join, 1, bits, now), MEMBER_STATE_CONFIRMED);
    return m;
}

Test(membership, a_heartbeat_is_always_under_way)
{
    struct member_state m = joined(0x3, 0);
    cr_assert(m.confirmed && places[0] == (PLACE_ASSIGNED | PLACE_HELD) && places[2] == 0);
    for (leat_ns i = 0; i < 10; i++) {
        const leat_ns now = i * HEARTBEAT_MS * MS;
        const struct member_state_asked beat = member_state_next(&m, now);
        cr_assert_eq(beat.what, MEMBER_STATE_HEARTBEAT);
        cr_assert_eq(beat.wait_ms, (uint32_t)HEARTBEAT_MS);
        cr_assert_eq(member_state_next(&m, now).what, MEMBER_STATE_NOTHING);
        cr_assert_eq(assign(&m, &beat, 1, 0x3, now + HEARTBEAT_MS * MS), MEMBER_STATE_CONFIRMED);
    }
    cr_assert(m.confirmed);
}

/* A broker that has stopped: nothing comes back. */
Test(membership, who_may_not_ask_more_waits_for_an_answer)
{
    struct member_state m = joined(0x3, 0);
    for (int i = 0; i < MEMBER_STATE_UNDER_WAY_MAX; i++) {
        m.changed = true;
        cr_assert_leq(member_state_deadline(&m), MS);
        cr_assert_eq(member_state_next(&m, MS).what, MEMBER_STATE_HEARTBEAT);
    }
    m.changed = true;
    cr_assert_eq(member_state_next(&m, MS).what, MEMBER_STATE_NOTHING);
    cr_assert_gt(member_state_deadline(&m), MS, "it would turn round and round");
}

Test(membership, what_is_asked_for_leaves_and_the_next_heartbeat_says_so_at_once)
{
    struct member_state m = joined(0x3, 0);
    const struct member_state_asked beat = member_state_next(&m, 0);
    assign(&m, &beat, 2, 0x1, MS);
    cr_assert_eq(places[1], PLACE_HELD | PLACE_LEAVING);
    cr_assert_eq(places[0], PLACE_ASSIGNED | PLACE_HELD, "the other notices nothing");
    const struct member_state_asked held = member_state_next(&m, MS);
    cr_assert_eq(held.what, MEMBER_STATE_HEARTBEAT);
    member_state_let_go(&m, 0, 1);
    cr_assert_eq(places[1], 0);
    const struct member_state_asked newer = member_state_next(&m, 2 * MS);
    cr_assert_eq(newer.what, MEMBER_STATE_HEARTBEAT, "though one is under way");
    cr_assert_eq(member_state_next(&m, 2 * MS).what, MEMBER_STATE_NOTHING);
    /* The newer one's answer overtakes the older one's: that says nothing any more. */
    assign(&m, &newer, 3, 0x5, 3 * MS);
    assign(&m, &held, 2, 0x1, 3 * MS);
    cr_assert_eq(places[2], PLACE_ASSIGNED | PLACE_HELD);
    cr_assert_eq(m.epoch, 3u);
}

Test(membership, a_partition_given_back_while_it_leaves_is_let_go_first)
{
    struct member_state m = joined(0x1, 0);
    struct member_state_asked beat = member_state_next(&m, 0);
    assign(&m, &beat, 2, 0, 0);
    beat = member_state_next(&m, 0);
    assign(&m, &beat, 3, 0x1, 0);
    cr_assert_eq(places[0], PLACE_ASSIGNED | PLACE_HELD | PLACE_LEAVING);
    member_state_let_go(&m, 0, 0);
    cr_assert_eq(places[0], PLACE_ASSIGNED | PLACE_HELD);
    cr_assert_eq(member_state_next(&m, 0).wait_ms, 0u, "opened once that is confirmed: soon");
}

Test(membership, an_unknown_member_has_lost_everything_once_and_joins_again)
{
    struct member_state m = joined(0xF, 0);
    const struct member_state_asked first = member_state_next(&m, 0);
    member_state_doubt(&m, 0);
    const struct member_state_asked second = member_state_next(&m, SESSION_MS * MS / 2);
    cr_assert_eq(second.what, MEMBER_STATE_HEARTBEAT);
    cr_assert_eq(refuse(&m, &first, LEAT_ERR_UNKNOWN_MEMBER, 0, MS), MEMBER_STATE_LOST);
    cr_assert_eq(refuse(&m, &second, LEAT_ERR_UNKNOWN_MEMBER, 0, MS), MEMBER_STATE_NO_NEWS);
    cr_assert_not(m.confirmed);
    for (int i = 0; i < PARTITIONS; i++)
        cr_assert_eq(places[i], 0);
    const struct member_state_asked join = member_state_next(&m, MS);
    cr_assert_eq(join.what, MEMBER_STATE_JOIN);
    cr_assert_eq(refuse(&m, &first, LEAT_ERR_FENCED, 0, MS), MEMBER_STATE_NO_NEWS,
                 "of an earlier life");
    assign(&m, &join, 7, 0x8, MS);
    cr_assert(m.confirmed && places[3] == (PLACE_ASSIGNED | PLACE_HELD));
}

Test(membership, fenced_is_the_end)
{
    struct member_state m = joined(0x1, 0);
    const struct member_state_asked beat = member_state_next(&m, 0);
    cr_assert_eq(refuse(&m, &beat, LEAT_ERR_FENCED, 0, 0), MEMBER_STATE_FENCED);
    cr_assert_eq(member_state_next(&m, 3600 * LEAT_NS_PER_S).what, MEMBER_STATE_NOTHING);
    cr_assert_eq(member_state_deadline(&m), LEAT_NS_NEVER);
    cr_assert_eq(places[0], 0);
}

Test(membership, silence_makes_it_ask_before_it_believes)
{
    struct member_state m = joined(0x1, 0);
    const struct member_state_asked old = member_state_next(&m, 0);
    cr_assert_eq(member_state_deadline(&m), SESSION_MS * MS + 1);
    const leat_ns later = 30 * LEAT_NS_PER_S; /* it was stopped */
    const struct member_state_asked beat = member_state_next(&m, later);
    cr_assert_not(m.confirmed);
    cr_assert(beat.what == MEMBER_STATE_HEARTBEAT && beat.wait_ms == 0);
    assign(&m, &old, 1, 0x1, later);
    cr_assert_not(m.confirmed, "an answer from before says nothing of now");
    assign(&m, &beat, 1, 0x1, later);
    cr_assert(m.confirmed);
}

Test(membership, a_refused_join_is_tried_again_when_that_may_help)
{
    struct member_state m = make();
    struct member_state_asked join = member_state_next(&m, 0);
    cr_assert_eq(refuse(&m, &join, LEAT_ERR_THROTTLED, 700, 0), MEMBER_STATE_NO_NEWS);
    cr_assert_eq(member_state_deadline(&m), 700 * MS);
    cr_assert_eq(member_state_next(&m, 699 * MS).what, MEMBER_STATE_NOTHING);
    join = member_state_next(&m, 700 * MS);
    cr_assert_eq(join.what, MEMBER_STATE_JOIN);
    cr_assert_eq(refuse(&m, &join, LEAT_ERR_LIMIT, 0, 700 * MS), MEMBER_STATE_NO_NEWS);
    join = member_state_next(&m, 2 * LEAT_NS_PER_S);
    cr_assert_eq(join.what, MEMBER_STATE_JOIN);
    cr_assert_eq(refuse(&m, &join, LEAT_ERR_INVALID, 0, 0), MEMBER_STATE_REFUSED);
    cr_assert_eq(m.step, MEMBER_STATE_OVER);
}

Test(membership, a_lost_connection_loses_no_place_and_nothing_is_believed_before_an_answer)
{
    struct member_state m = joined(0x3, 0);
    const struct member_state_asked beat = member_state_next(&m, 0);
    member_state_disconnected(&m);
    cr_assert_not(m.confirmed);
    cr_assert_eq(assign(&m, &beat, 9, 0, 0), MEMBER_STATE_NO_NEWS);
    cr_assert_eq(places[1], PLACE_ASSIGNED | PLACE_HELD);
    const struct member_state_asked again = member_state_next(&m, 0);
    cr_assert(again.what == MEMBER_STATE_HEARTBEAT && again.wait_ms == 0);
    assign(&m, &again, 1, 0x3, 0);
    cr_assert(m.confirmed);

    struct member_state joining = make();
    member_state_next(&joining, 0);
    member_state_disconnected(&joining);
    cr_assert_eq(member_state_next(&joining, 0).what, MEMBER_STATE_JOIN, "its answer may be lost");
}

/* ---- at random */

struct broker {
    bool known;
    uint32_t epoch, joined_epoch;
    unsigned assigned;
};

static unsigned held(void)
{
    unsigned bits = 0;
    for (int i = 0; i < PARTITIONS; i++)
        bits |= (places[i] & PLACE_HELD) != 0 && (places[i] & PLACE_LEAVING) == 0 ? 1U << i : 0;
    return bits;
}

Test(membership, whatever_happens_it_ends_up_with_what_it_is_assigned)
{
    struct seeded random = seeded_start("membership");
    struct member_state m = make();
    struct broker broker = { .epoch = 1 };
    struct member_state_asked waiting[MEMBER_STATE_UNDER_WAY_MAX];
    uint32_t count = 0;
    leat_ns now = 0;
    for (int step = 0; step < 200000; step++) {
        const bool calm = step % 1000 > 900; /* time to settle, and then it must have */
        now += seeded_below(&random, 20) * MS;
        const struct member_state_asked asked = member_state_next(&m, now);
        if (asked.what != MEMBER_STATE_NOTHING) {
            cr_assert_lt(count, (uint32_t)MEMBER_STATE_UNDER_WAY_MAX);
            waiting[count++] = asked;
        }
        for (uint32_t p = 0; p < PARTITIONS; p++)
            if ((places[p] & PLACE_LEAVING) != 0 && (calm || seeded_below(&random, 4) == 0))
                member_state_let_go(&m, 0, p);
        const uint32_t dice = calm ? 99 : seeded_below(&random, 100);
        if (dice == 0) {
            broker.known = false;
        } else if (dice == 1) {
            member_state_disconnected(&m);
            count = 0;
        } else if (dice < 10 && broker.known) {
            broker.assigned = seeded_below(&random, 1 << PARTITIONS);
            broker.epoch++;
        }
        if (count == 0 || (!calm && dice < 50))
            continue;
        const uint32_t at = seeded_below(&random, count);
        const struct member_state_asked answered = waiting[at];
        waiting[at] = waiting[--count];
        if (answered.what == MEMBER_STATE_JOIN) {
            broker.known = true;
            broker.epoch++;
        }
        if (!broker.known) {
            if (refuse(&m, &answered, LEAT_ERR_UNKNOWN_MEMBER, 0, now) == MEMBER_STATE_LOST) {
                cr_assert_eq(held(), 0u);
                count = 0;
            }
        } else {
            assign(&m, &answered, broker.epoch, broker.assigned, now);
        }
        if (step % 1000 == 999) {
            cr_assert_eq(m.step, MEMBER_STATE_IN);
            cr_assert_eq(held(), broker.assigned, "step %d", step);
        }
    }
}

/* ---- commits of one stream */

static struct leat_frame_committed says(uint64_t offset, uint64_t asked)
{
    return (struct leat_frame_committed){ .offset = offset, .log_epoch = 1, .asked = asked };
}

Test(commits, one_is_under_way_and_the_newest_goes_next)
{
    struct commit_state c = { 0 };
    struct leat_frame_commit frame;
    cr_assert_not(commit_state_next(&c, &frame));
    cr_assert_eq(commit_state_standing(&c), LEAT_OFFSET_NONE);
    commit_state_ask(&c, 5, 1);
    cr_assert(commit_state_next(&c, &frame) && frame.offset == 5 && frame.log_epoch == 1);
    commit_state_ask(&c, 6, 1);
    commit_state_ask(&c, 9, 1);
    cr_assert_not(commit_state_next(&c, &frame));
    struct leat_frame_committed answer = says(5, 5);
    cr_assert(commit_state_answered(&c, &answer));
    cr_assert(commit_state_next(&c, &frame) && frame.offset == 9);
    cr_assert(commit_state_pending(&c));
    answer = says(3, 3);
    cr_assert_not(commit_state_answered(&c, &answer), "an older one, late");
    cr_assert_eq(commit_state_standing(&c), 5u);
    answer = says(9, 9);
    cr_assert(commit_state_answered(&c, &answer));
    cr_assert_not(commit_state_pending(&c));
    cr_assert_eq(commit_state_standing(&c), 9u);
}

Test(commits, what_was_lost_or_interrupted_goes_again)
{
    struct commit_state c = { 0 };
    struct leat_frame_commit frame;
    commit_state_ask(&c, 5, 1);
    commit_state_next(&c, &frame);
    cr_assert_not(commit_state_lost(&c, 4));
    cr_assert(commit_state_lost(&c, 5));
    cr_assert(commit_state_next(&c, &frame) && frame.offset == 5);
    commit_state_ask(&c, 8, 1);
    commit_state_interrupted(&c);
    cr_assert(commit_state_next(&c, &frame) && frame.offset == 8, "the newest for both");
    const struct leat_frame_committed answer = says(8, 8);
    commit_state_answered(&c, &answer);
    commit_state_interrupted(&c);
    cr_assert_not(commit_state_next(&c, &frame), "it was answered");
}
