/* Goal: a member of a group that has no room for a topic which was made again hears so at once,
 * with the topic and why, and has its part when there is room. Method: control itself, raw peers;
 * the table of all groups' partitions is told to be full. */
#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/control_rig.h"

static struct control_rig rig;

static void set_up(void)
{
    rig_init(&rig);
    rig_open(&rig);
}

static void tear_down(void)
{
    rig_close(&rig);
}

TestSuite(groups_refused, .init = set_up, .fini = tear_down, .timeout = 60);

static void create_topic(int fd)
{
    Leat__Control__TopicSettings settings = LEAT__CONTROL__TOPIC_SETTINGS__INIT;
    Leat__Control__CreateTopic create = LEAT__CONTROL__CREATE_TOPIC__INIT;
    create.name = (char *)"u";
    settings.partitions = 2;
    settings.ring_bytes = 1 << 16;
    settings.record_bytes_max = 1024;
    create.settings = &settings;
    cr_assert_eq(
        rig_error(rig_ask(&rig, fd, LEAT__CONTROL__REQUEST__BODY_CREATE_TOPIC, &create), NULL), 0);
}

static void delete_topic(int fd)
{
    Leat__Control__DeleteTopic delete = LEAT__CONTROL__DELETE_TOPIC__INIT;
    delete.name = (char *)"u";
    cr_assert_eq(
        rig_error(rig_ask(&rig, fd, LEAT__CONTROL__REQUEST__BODY_DELETE_TOPIC, &delete), NULL), 0);
}

static Leat__Control__Response *heartbeat(int fd, uint32_t epoch, uint32_t wait_ms)
{
    Leat__Control__GroupHeartbeat beat = LEAT__CONTROL__GROUP_HEARTBEAT__INIT;
    beat.group = (char *)"g";
    beat.member_id = (char *)"m";
    beat.member_epoch = epoch;
    beat.wait_ms = wait_ms;
    Leat__Control__Response *r =
        rig_ask(&rig, fd, LEAT__CONTROL__REQUEST__BODY_GROUP_HEARTBEAT, &beat);
    cr_assert_eq(r->error, 0, "%s", r->error_text);
    return r;
}

static uint32_t take_epoch(Leat__Control__Response *r)
{
    const uint32_t epoch = r->assignment->member_epoch;
    rig_done(r);
    return epoch;
}

Test(groups_refused, a_member_hears_which_topic_there_is_no_room_for)
{
    char *topics[] = { (char *)"t", (char *)"u" };
    Leat__Control__JoinGroup join = LEAT__CONTROL__JOIN_GROUP__INIT;
    const int admin = rig_peer(&rig, "127.0.0.1"), fd = rig_peer(&rig, "127.0.0.2");
    create_topic(admin);
    join.group = (char *)"g";
    join.member_id = (char *)"m";
    join.topics = topics;
    join.n_topics = 2;
    join.session_timeout_ms = 3600000;
    Leat__Control__Response *r = rig_ask(&rig, fd, LEAT__CONTROL__REQUEST__BODY_JOIN_GROUP, &join);
    cr_assert_eq(r->error, 0, "%s", r->error_text);
    cr_assert_eq(r->assignment->n_assigned, 2u);
    cr_assert_eq(r->assignment->n_refused, 0u);
    uint32_t epoch = take_epoch(r);
    delete_topic(admin);
    r = heartbeat(fd, epoch, 0);
    cr_assert_eq(r->assignment->n_assigned, 1u);
    cr_assert_eq(r->assignment->n_refused, 0u, "a topic that is missing is not refused");
    epoch = take_epoch(r);

    const uint32_t partitions = rig.control->groups.partitions;
    rig.control->groups.partitions = GROUPS_PARTITIONS_MAX - 1;
    create_topic(admin);
    r = heartbeat(fd, epoch, 3600000); /* answered at once: there is news */
    cr_assert_eq(r->assignment->n_assigned, 1u);
    cr_assert_eq(r->assignment->n_refused, 1u);
    cr_assert_str_eq(r->assignment->refused[0]->topic, "u");
    cr_assert_eq(r->assignment->refused[0]->error, LEAT_ERR_LIMIT);
    cr_assert_not_null(strstr(r->assignment->refused[0]->text, "partitions"));
    epoch = take_epoch(r);

    rig.control->groups.partitions = partitions;
    r = heartbeat(fd, epoch, 3600000); /* it was tried again */
    cr_assert_eq(r->assignment->n_refused, 0u);
    if (r->assignment->n_assigned != 2)
        epoch = take_epoch(r), r = heartbeat(fd, epoch, 3600000);
    cr_assert_eq(r->assignment->n_assigned, 2u);
    rig_done(r);
    close(fd);
    close(admin);
}
