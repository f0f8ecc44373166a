/* Goal: whoever looks after groups sees what is there (members, their partitions, how far each is),
 * moves and forgets only what has no members, all of it or nothing, and is told by name what cannot
 * be; nothing that came from elsewhere gets at the terminal as a control character. Method: a real
 * leatd, members that speak the protocol by hand, the library and `leat` beside them. */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/support/bus.h"
#include "tests/support/members.h"

enum { RECORDS = 50, OUTPUT_BYTES = 1 << 16 };

static leat_client *client;

static void set_up(void)
{
    leatd_start_config(&members_broker, "{\"port\": 0, \"data_port\": 0, \"shards\": 2,"
                                        " \"log_memory_bytes\": \"8MiB\", \"hugepages\": \"off\"}");
    client = bus_open(members_broker.url);
}

static void tear_down(void)
{
    leat_client_close(client);
    cr_assert(leatd_alive(&members_broker), "the broker died");
    cr_assert_not(leatd_log_has(&members_broker, "Sanitizer"), "see %s", members_broker.log_path);
    leatd_end(&members_broker);
}

TestSuite(group_admin, .init = set_up, .fini = tear_down, .timeout = 60);

/* ---- what is there */

/* The newest visit, copied: what was visited is gone. */
static struct {
    unsigned visits;
    int32_t state;
    uint32_t members, partitions;
    int32_t cut;
    struct leat_group_member member;                     /* the first; no pointers */
    struct leat_group_partition part[MEMBER_PARTITIONS]; /* no pointers */
    unsigned owned;                                      /* partitions with member "m-1" */
    char metadata[64];                                   /* of partition 2 */
    char topic[8];                                       /* the member's first */
} seen;

static void see(void *user, const struct leat_group_description *d)
{
    (void)user;
    seen.visits++;
    seen.state = d->state;
    seen.members = d->member_count;
    seen.partitions = d->partition_count;
    seen.cut = d->cut;
    seen.owned = 0;
    if (d->member_count != 0) {
        seen.member = d->members[0];
        cr_assert_str_eq(d->members[0].id, "m-1");
        cr_assert_eq(d->members[0].topic_count, 1u);
        snprintf(seen.topic, sizeof seen.topic, "%s", d->members[0].topics[0]);
    }
    for (uint32_t i = 0; i < d->partition_count; i++) {
        cr_assert_eq(d->partitions[i].partition, i);
        cr_assert_str_eq(d->partitions[i].topic, "t");
        seen.part[i] = d->partitions[i];
        seen.owned += d->partitions[i].member != NULL;
    }
    if (d->partition_count > 2 && d->partitions[2].metadata != NULL)
        snprintf(seen.metadata, sizeof seen.metadata, "%s", d->partitions[2].metadata);
}

static void describe(const char *topic)
{
    const unsigned before = seen.visits;
    cr_assert_eq(leat_group_describe(client, "g", topic, see, NULL), 0, "%s",
                 leat_client_error(client));
    cr_assert_eq(seen.visits, before + 1);
}

struct listed {
    unsigned count;
    bool ascending;
    char last[LEAT_NAME_BYTES_MAX + 1];
    struct leat_group_info info; /* the newest; no name */
};

static void take(void *user, const struct leat_group_info *info)
{
    struct listed *listed = user;
    listed->ascending =
        listed->count == 0 || (listed->ascending && strcmp(info->name, listed->last) > 0);
    snprintf(listed->last, sizeof listed->last, "%s", info->name);
    listed->info = *info;
    listed->count++;
}

static struct listed list_all(void)
{
    struct listed listed = { 0 };
    cr_assert_eq(leat_group_list(client, take, &listed), 0, "%s", leat_client_error(client));
    return listed;
}

static void note_epoch(void *user, const struct leat_topic_info *info)
{
    *(uint64_t *)user = info->partitions[0].log_epoch;
}

/* Of no member, to partition 0. Makes the group. */
static void commit_outside(int control, const char *group, uint64_t offset, const char *metadata)
{
    Leat__Control__PartitionCommit one = LEAT__CONTROL__PARTITION_COMMIT__INIT;
    Leat__Control__PartitionCommit *list[] = { &one };
    Leat__Control__CommitOffsets ask = LEAT__CONTROL__COMMIT_OFFSETS__INIT;
    cr_assert_eq(leat_topic_describe(client, "t", note_epoch, &one.log_epoch), 0);
    one.offset = offset;
    one.metadata = (char *)metadata;
    ask.group = (char *)group;
    ask.topic = (char *)"t";
    ask.offsets = list;
    ask.n_offsets = 1;
    Leat__Control__Response *r =
        members_ask(control, LEAT__CONTROL__REQUEST__BODY_COMMIT_OFFSETS, &ask);
    cr_assert_eq(r->error, 0, "%s", r->error_text);
    cr_assert_eq(r->committed->offsets[0]->error, 0);
    members_done(r);
}

/* `call` failed with `error`, and the client's story has both texts. */
static void refused(int got, int error, const char *thing, const char *hint)
{
    const char *story = leat_client_error(client);
    cr_assert_eq(got, error, "%d: %s", got, story);
    cr_assert_not_null(strstr(story, thing), "no \"%s\" in: %s", thing, story);
    cr_assert_not_null(strstr(story, hint), "no \"%s\" in: %s", hint, story);
}

/* A member that stays, with 30 of the 50 records of partition 1 committed, 20 of partition 2. */
static int set_scene(struct member *m)
{
    const int control = members_create_topic();
    members_publish(RECORDS);
    member_join(m, "m-1");
    member_open_all(m);
    member_commit(m, 1, (struct leat_frame_commit){ .offset = 30 });
    members_done(members_commit_on_control(m->control, m, 2, 20, m->open[2].log_epoch));
    return control;
}

static int reset_asked(const char *group, const char *topic,
                       struct leat_group_reset_options options)
{
    options.size = sizeof options;
    return leat_group_reset(client, group, topic, &options, NULL, NULL);
}

static void end_scene(const struct member *m)
{
    members_expect(member_ask_leave(m), 0, NULL);
    /* What it had is being dropped by the shards. */
    while (reset_asked("g", "t",
                       (struct leat_group_reset_options){
                           .partition = -1, .at = LEAT_START_EARLIEST, .dry_run = 1 })
           == LEAT_BUSY)
        cr_assert_not_null(strstr(leat_client_error(client), "still being closed"));
}

Test(group_admin, nothing_is_there)
{
    cr_assert_eq(list_all().count, 0u);
    refused(leat_group_describe(client, "nobody", NULL, see, NULL), LEAT_ERR_UNKNOWN_GROUP,
            "group \"nobody\"", "leat group list");
    refused(leat_group_delete(client, "nobody"), LEAT_ERR_UNKNOWN_GROUP, "group \"nobody\"",
            "leat group list");
    refused(
        reset_asked("nobody", "t",
                    (struct leat_group_reset_options){ .partition = -1, .at = LEAT_START_LATEST }),
        LEAT_ERR_UNKNOWN_TOPIC, "topic \"t\"", "leat topic create");
    members_create_topic();
    refused(
        reset_asked("nobody", "t",
                    (struct leat_group_reset_options){ .partition = -1, .at = LEAT_START_LATEST }),
        LEAT_ERR_UNKNOWN_GROUP, "group \"nobody\"", "leat group list");
    cr_assert_eq(list_all().count, 0u, "a refused reset makes no group");
    cr_assert_eq(seen.visits, 0u);
}

Test(group_admin, names_that_cannot_be)
{
    char longest[LEAT_NAME_BYTES_MAX + 2];
    memset(longest, 'g', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    const char *const names[] = { "", ".", "..", "a b", "g\x1B[31m", "gr\xC3\xBCn", longest, NULL };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        refused(leat_group_describe(client, names[i], NULL, see, NULL), LEAT_ERR_INVALID,
                "group \"", "1 to 249");
        refused(leat_group_delete(client, names[i]), LEAT_ERR_INVALID, "group \"", "1 to 249");
        refused(reset_asked(
                    names[i], "t",
                    (struct leat_group_reset_options){ .partition = -1, .at = LEAT_START_LATEST }),
                LEAT_ERR_INVALID, "group \"", "1 to 249");
        refused(reset_asked(
                    "g", names[i],
                    (struct leat_group_reset_options){ .partition = -1, .at = LEAT_START_LATEST }),
                LEAT_ERR_INVALID, "topic \"", "1 to 249");
    }
    refused(leat_group_describe(client, "g", "a b", see, NULL), LEAT_ERR_INVALID, "topic \"a b\"",
            "1 to 249");
    refused(
        reset_asked("g", "t",
                    (struct leat_group_reset_options){ .partition = -2, .at = LEAT_START_LATEST }),
        LEAT_ERR_INVALID, "partition -2", "0 to 4095");
    refused(reset_asked(
                "g", "t",
                (struct leat_group_reset_options){ .partition = 4096, .at = LEAT_START_LATEST }),
            LEAT_ERR_INVALID, "partition 4096", "0 to 4095");
    refused(reset_asked("g", "t", (struct leat_group_reset_options){ .partition = 0, .at = 99 }),
            LEAT_ERR_INVALID, "at 99", "leat_start");
    refused(leat_group_reset(client, "g", "t", NULL, NULL, NULL), LEAT_ERR_INVALID, "options NULL",
            "leat_group_reset_options");
    const struct leat_group_reset_options sizeless = { .partition = -1 };
    refused(leat_group_reset(client, "g", "t", &sizeless, NULL, NULL), LEAT_ERR_INVALID,
            "leat_group_reset_options.size", "sizeof");
    cr_assert_eq(leat_group_list(NULL, take, NULL), LEAT_ERR_INVALID);
    cr_assert_eq(leat_group_list(client, NULL, NULL), LEAT_ERR_INVALID);
    cr_assert_eq(seen.visits, 0u);
}

Test(group_admin, members_and_how_far_they_are)
{
    struct member m;
    set_scene(&m);
    const struct listed listed = list_all();
    cr_assert_eq(listed.count, 1u);
    cr_assert_str_eq(listed.last, "g");
    cr_assert_eq(listed.info.state, LEAT_GROUP_STABLE);
    cr_assert(listed.info.members == 1 && listed.info.partitions == MEMBER_PARTITIONS);
    describe(NULL);
    cr_assert_eq(seen.state, LEAT_GROUP_STABLE);
    cr_assert(seen.members == 1 && seen.partitions == MEMBER_PARTITIONS && !seen.cut);
    cr_assert(seen.member.assigned == MEMBER_PARTITIONS && seen.member.leaving == 0);
    cr_assert_eq(seen.member.epoch, m.epoch);
    cr_assert_eq(seen.member.session_timeout_ms, (uint64_t)MEMBER_SESSION_MS);
    cr_assert_str_eq(seen.topic, "t");
    cr_assert_eq(seen.owned, (unsigned)MEMBER_PARTITIONS);
    cr_assert_str_eq(seen.metadata, "end of day");
    const struct leat_group_partition *p = &seen.part[1];
    cr_assert(p->open && !p->required && p->error == 0);
    cr_assert(p->head_offset == 0 && p->next_offset == RECORDS);
    cr_assert(p->committed == 30 && p->committed_log_epoch == m.open[1].log_epoch);
    cr_assert(p->commit_time_ns != 0 && p->lag_records == 20 && p->lost_at_most == 0);
    cr_assert(p->lag_bytes > 0 && p->overrun_bytes > 0);
    cr_assert_eq(seen.part[2].lag_records, 30u);
    describe("t");
    cr_assert_eq(seen.partitions, (uint32_t)MEMBER_PARTITIONS);
    describe("another");
    cr_assert(seen.partitions == 0 && seen.members == 1);
    end_scene(&m);
    describe(NULL);
    cr_assert(seen.state == LEAT_GROUP_EMPTY && seen.members == 0 && seen.owned == 0);
    cr_assert(seen.part[1].committed == 30 && !seen.part[1].open);
}

Test(group_admin, what_is_overrun_counts_as_lost)
{
    const int control = members_create_topic();
    members_publish(RECORDS);
    commit_outside(control, "g", 10, "");
    members_publish(3000); /* far more than the ring holds */
    describe(NULL);
    const struct leat_group_partition *p = &seen.part[0];
    cr_assert_eq(seen.partitions, 1u, "only where something stands");
    cr_assert(p->committed == 10 && p->head_offset > 10);
    cr_assert_eq(p->lost_at_most, p->head_offset - 10);
    cr_assert_eq(p->lag_records, p->next_offset - p->head_offset);
}

/* More than two of the broker's answers hold. */
Test(group_admin, a_list_goes_on_until_all_were_told)
{
    enum { GROUPS = 4100 };
    const int control = members_create_topic();
    for (unsigned i = 0; i < GROUPS; i++) {
        char name[16];
        snprintf(name, sizeof name, "g-%u", i);
        commit_outside(control, name, 0, "");
    }
    const struct listed listed = list_all();
    cr_assert_eq(listed.count, (unsigned)GROUPS);
    cr_assert(listed.ascending);
    cr_assert(listed.info.state == LEAT_GROUP_EMPTY && listed.info.members == 0);
}

/* ---- resets */

struct moved {
    unsigned count;
    struct leat_group_move move[MEMBER_PARTITIONS];
};

static void note_move(void *user, const struct leat_group_move *move)
{
    struct moved *moved = user;
    cr_assert_lt(moved->count, (unsigned)MEMBER_PARTITIONS);
    cr_assert_str_eq(move->topic, "t");
    moved->move[moved->count++] = *move;
}

static struct moved reset(int32_t partition, int32_t at, uint64_t value, int32_t dry_run)
{
    struct moved moved = { 0 };
    const struct leat_group_reset_options options = {
        .size = sizeof options, .partition = partition, .at = at, .value = value, .dry_run = dry_run
    };
    cr_assert_eq(leat_group_reset(client, "g", "t", &options, note_move, &moved), 0, "%s",
                 leat_client_error(client));
    return moved;
}

static uint64_t committed(uint32_t partition)
{
    describe(NULL);
    return seen.part[partition].committed;
}

Test(group_admin, a_group_is_reset_to_where_it_was_told)
{
    struct member m;
    set_scene(&m);
    refused(
        reset_asked("g", "t",
                    (struct leat_group_reset_options){ .partition = -1, .at = LEAT_START_LATEST }),
        LEAT_ERR_GROUP_NOT_EMPTY, "group \"g\"", "stop them");
    end_scene(&m);
    cr_assert_eq(committed(1), 30u, "a try changes nothing");
    struct moved moved = reset(-1, LEAT_START_OFFSET, 5, 1);
    cr_assert_eq(moved.count, (unsigned)MEMBER_PARTITIONS);
    cr_assert(moved.move[1].from == 30 && moved.move[1].to == 5 && moved.move[1].partition == 1);
    cr_assert_eq(moved.move[1].log_epoch, m.open[1].log_epoch);
    cr_assert_eq(committed(1), 30u, "a try changes nothing");
    moved = reset(-1, LEAT_START_OFFSET, 5, 0);
    cr_assert(moved.count == MEMBER_PARTITIONS && moved.move[1].to == 5);
    cr_assert_eq(committed(1), 5u);
    moved = reset(1, LEAT_START_LATEST, 0, 0);
    cr_assert(moved.count == 1 && moved.move[0].from == 5 && moved.move[0].to == RECORDS);
    cr_assert(committed(1) == RECORDS && committed(2) == 5);
    reset(-1, LEAT_START_EARLIEST, 0, 0);
    cr_assert(committed(1) == 0 && committed(2) == 0);
}

Test(group_admin, a_time_is_the_first_record_appended_then)
{
    struct member m;
    struct timespec now;
    set_scene(&m);
    end_scene(&m);
    clock_gettime(CLOCK_REALTIME, &now);
    const uint64_t then = (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec;
    members_publish(RECORDS);
    reset(-1, LEAT_START_TIME, then, 0);
    cr_assert_eq(committed(0), (uint64_t)RECORDS);
    reset(-1, LEAT_START_TIME, 1, 0);
    cr_assert_eq(committed(0), 0u);
    reset(-1, LEAT_START_TIME, then + 3600 * SECOND, 0);
    cr_assert_eq(committed(0), 2u * RECORDS);
}

Test(group_admin, a_reset_that_cannot_be_leaves_every_partition)
{
    struct member m;
    set_scene(&m);
    end_scene(&m);
    /* Partition 0 alone has 100 records: 60 is in its log, and in no other. */
    leat_producer *producer = bus_producer(client, "t");
    struct leat_record record = { .value = "v", .value_size = 1, .partition = 0 };
    for (unsigned i = 0; i < RECORDS; i++)
        cr_assert_eq(leat_producer_send_wait(producer, &record, NULL, PATIENCE), 0);
    refused(reset_asked("g", "t",
                        (struct leat_group_reset_options){
                            .partition = -1, .at = LEAT_START_OFFSET, .value = 60 }),
            LEAT_ERR_OUT_OF_RANGE, "offset 60", "0 to 50");
    cr_assert(committed(0) == 0 && committed(1) == 30, "nothing by halves");
    reset(0, LEAT_START_OFFSET, 60, 0);
    cr_assert_eq(committed(0), 60u);
    refused(reset_asked("g", "t",
                        (struct leat_group_reset_options){
                            .partition = 0, .at = LEAT_START_OFFSET, .value = UINT64_MAX - 1 }),
            LEAT_ERR_OUT_OF_RANGE, "offset 18446744073709551614", "0 to 100");
    refused(
        reset_asked("g", "t",
                    (struct leat_group_reset_options){ .partition = 4, .at = LEAT_START_EARLIEST }),
        LEAT_ERR_UNKNOWN_PARTITION, "partition 4", "leat topic describe t");
    refused(
        reset_asked("g", "u",
                    (struct leat_group_reset_options){ .partition = 0, .at = LEAT_START_EARLIEST }),
        LEAT_ERR_UNKNOWN_TOPIC, "topic \"u\"", "leat topic create");
    cr_assert(committed(0) == 60 && committed(1) == 30);
    members_publish(3000); /* far more than the ring holds */
    const struct moved moved = reset(1, LEAT_START_OFFSET, 5, 0);
    cr_assert_gt(moved.move[0].to, 5u, "before the head: the head");
    cr_assert(committed(1) == seen.part[1].head_offset);
}

/* ---- deletion */

Test(group_admin, only_a_group_without_members_is_deleted)
{
    struct member m;
    set_scene(&m);
    refused(leat_group_delete(client, "g"), LEAT_ERR_GROUP_NOT_EMPTY, "group \"g\"", "members (1)");
    describe(NULL);
    cr_assert(seen.members == 1 && seen.part[1].committed == 30, "it is still there");
    end_scene(&m);
    cr_assert_eq(leat_group_delete(client, "g"), 0, "%s", leat_client_error(client));
    cr_assert_eq(list_all().count, 0u);
    refused(leat_group_delete(client, "g"), LEAT_ERR_UNKNOWN_GROUP, "group \"g\"",
            "leat group list");
}

static void ask_inside(void *user, const struct leat_group_info *info)
{
    *(int *)user = leat_group_delete(client, info->name);
}

Test(group_admin, callbacks_may_not_wait)
{
    int error = 0;
    commit_outside(members_create_topic(), "g", 0, "");
    cr_assert_eq(leat_group_list(client, ask_inside, &error), 0);
    cr_assert_eq(error, LEAT_ERR_INVALID);
    cr_assert_eq(list_all().count, 1u);
}

/* ---- on the command line */

static char said[OUTPUT_BYTES];

/* `leat group WORDS`, both of its outputs in `said`; returns its exit code. */
static int leat_group(const char *words)
{
    char line[512];
    const char *binary = getenv("LEAT");
    snprintf(line, sizeof line, "LEAT_URL=%s %s group %s 2>&1", members_broker.url,
             binary != NULL ? binary : "build/release/bin/leat", words);
    FILE *out = popen(line, "r");
    cr_assert_not_null(out);
    said[fread(said, 1, sizeof said - 1, out)] = '\0';
    const int status = pclose(out);
    cr_assert(WIFEXITED(status), "%s", said);
    for (const unsigned char *c = (const unsigned char *)said; *c != '\0'; c++)
        cr_assert((*c >= 0x20 && *c != 0x7F) || *c == '\n', "byte 0x%02X of: %s", *c, words);
    cr_assert_null(strstr(said, "\xC2\x9B"), "%s", words);
    return WEXITSTATUS(status);
}

static void says(int code, const char *words, const char *text)
{
    cr_assert_eq(leat_group(words), code, "leat group %s: %s", words, said);
    cr_assert_not_null(strstr(said, text), "leat group %s: no \"%s\" in: %s", words, text, said);
}

static json_t *says_json(const char *words)
{
    cr_assert_eq(leat_group(words), 0, "leat group %s: %s", words, said);
    json_t *value = json_loads(said, 0, NULL);
    cr_assert_not_null(value, "leat group %s: %s", words, said);
    return value;
}

static int64_t number(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    cr_assert(json_is_integer(value), "%s", name);
    return json_integer_value(value);
}

Test(group_admin, lines_say_what_is_there)
{
    struct member m;
    set_scene(&m);
    says(0, "list", "g                                  stable        1          4\n");
    says(0, "describe g", "state                stable\n");
    cr_assert_not_null(strstr(said, " t:0,1,2,3\n"), "%s", said);
    cr_assert_not_null(strstr(said, "end of day\n"), "%s", said);
    json_t *group = says_json("describe g --json");
    const json_t *member = json_array_get(json_object_get(group, "members"), 0);
    const json_t *assignment = json_array_get(json_object_get(member, "assignment"), 0);
    cr_assert_str_eq(json_string_value(json_object_get(member, "member")), "m-1");
    cr_assert_str_eq(json_string_value(json_object_get(assignment, "topic")), "t");
    cr_assert_eq(json_array_size(json_object_get(assignment, "partitions")), 4u);
    const json_t *p = json_array_get(json_object_get(group, "partitions"), 1);
    cr_assert(number(p, "committed") == 30 && number(p, "lag_records") == 20);
    cr_assert(number(p, "lost_at_most") == 0 && number(p, "overrun_bytes") > 0);
    cr_assert_str_eq(json_string_value(json_object_get(p, "member")), "m-1");
    json_decref(group);
    says(1, "reset g --topic t --to earliest", "group reset: group \"g\" has members (1)");
    says(1, "delete g", "group delete: group \"g\" has members (1)");
}

Test(group_admin, lines_that_change_things)
{
    struct member m;
    set_scene(&m);
    end_scene(&m);
    says(0, "reset g --topic t --to 5 --dry-run", "nothing was changed (--dry-run)");
    cr_assert_not_null(strstr(said, "        1             30              5\n"), "%s", said);
    cr_assert_eq(committed(1), 30u);
    json_t *reset_json = says_json("reset g --topic t --partition 1 --to latest --json");
    const json_t *move = json_array_get(json_object_get(reset_json, "partitions"), 0);
    cr_assert(number(move, "from") == 30 && number(move, "to") == RECORDS);
    cr_assert(json_is_false(json_object_get(reset_json, "dry_run")));
    json_decref(reset_json);
    says(0, "reset g --topic t --to @2024-08-08T23:54:15Z", "topic \"t\": reset");
    cr_assert_eq(committed(1), 0u);
    says(0, "describe g", "members              none\n");
    json_decref(says_json("delete g --json"));
    says(1, "delete g", "group delete: group \"g\" does not exist: see `leat group list`");
}

Test(group_admin, lines_that_are_wrong)
{
    struct member m;
    set_scene(&m);
    end_scene(&m);
    says(2, "reset g --to latest", "--topic is missing");
    says(2, "reset g --topic t", "--to is missing");
    says(2, "reset g --topic t --to yesterday", "--to \"yesterday\": expected earliest, latest");
    says(2, "reset g --topic t --to -1", "--to \"-1\": expected earliest, latest");
    says(2, "reset g --topic t --partition 4096 --to 1", "--partition \"4096\": expected");
    says(2, "describe", "GROUP is missing");
    says(2, "frobnicate", "expected list, describe, reset or delete");
    says(2, "\"$(printf 'frob\\033[31m')\"", "frob\\x1B[31m");
    says(2, "describe g \"$(printf -- '--x\\033[31m')\"", "--x\\x1B[31m");
    says(1, "describe \"$(printf 'g\\033[31m\\302\\233')\"", "g\\x1B[31m\\xC2\\x9B");
    says(1, "describe nobody", "group describe: group \"nobody\" does not exist");
    says(1, "reset g --topic t --to 51",
         "partition 0: offset 51 is not in the log: expected 0 to 50");
    says(1, "reset g --topic nothere --to 1", "leat topic create nothere");
    says(1, "reset g --topic t --partition 9 --to 1", "there is no partition 9");
    cr_assert_eq(committed(1), 30u);
}

Test(group_admin, a_place_from_before_a_restart_is_told_apart)
{
    char folder[] = "/tmp/leat-test-groups-XXXXXX", json[512], command[128];
    struct member m;
    cr_assert_not_null(mkdtemp(folder));
    snprintf(json, sizeof json,
             "{\"port\": 0, \"data_port\": 0, \"shards\": 2, \"log_memory_bytes\": \"8MiB\","
             " \"hugepages\": \"off\", \"state_dir\": \"%s\"}",
             folder);
    for (int life = 0; life < 2; life++) {
        leat_client_close(client);
        leatd_end(&members_broker);
        leatd_start_config(&members_broker, json);
        client = bus_open(members_broker.url);
        if (life == 0)
            set_scene(&m);
    }
    says(0, "describe g", "          30*           50 ");
    cr_assert_not_null(strstr(said, "before the broker restarted"), "%s", said);
    describe(NULL);
    cr_assert(seen.part[1].committed == 30 && seen.part[1].lost_at_most == 20);
    cr_assert_neq(seen.part[1].committed_log_epoch, seen.part[1].log_epoch);
    const struct moved moved = reset(1, LEAT_START_EARLIEST, 0, 0);
    cr_assert(moved.move[0].from == 30 && moved.move[0].to == 50);
    cr_assert_neq(moved.move[0].from_log_epoch, moved.move[0].log_epoch);
    describe(NULL);
    cr_assert_eq(seen.part[1].committed_log_epoch, seen.part[1].log_epoch);
    snprintf(command, sizeof command, "rm -r %s", folder);
    cr_assert_eq(system(command), 0);
}

/* Whoever commits chooses the metadata: escapes, the other block of control characters, no UTF-8.
 */
Test(group_admin, metadata_does_not_reach_the_terminal_raw)
{
    const int control = members_create_topic();
    commit_outside(control, "g", 0,
                   "a\x1B]0;x\x07"
                   "b\xC2\x9B"
                   "31m\x7F\n\xFFz");
    says(0, "describe g", "a\\x1B]0;x\\x07b\\xC2\\x9B31m\\x7F\\x0A\xEF\xBF\xBDz");
    json_t *group = says_json("describe g --json");
    const json_t *p = json_array_get(json_object_get(group, "partitions"), 0);
    cr_assert_str_eq(json_string_value(json_object_get(p, "metadata")), "a\x1B]0;x\x07"
                                                                        "b\xC2\x9B"
                                                                        "31m\x7F\n\xEF\xBF\xBDz");
    json_decref(group);
}
