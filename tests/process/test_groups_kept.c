/* Goal: where groups stand is there again after a restart of the broker, and what its memory lost
 * is counted, not skipped in silence. Method: a real leatd with a state folder, raw peers, an
 * orderly end and a kill. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "broker/state/offsets_file.h"
#include "broker/state/statefile.h"
#include "tests/support/members.h"

static char folder[64], json[512];

static void set_up_kept(void)
{
    snprintf(folder, sizeof folder, "/tmp/leat-test-groups-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    snprintf(json, sizeof json,
             "{\"port\": 0, \"data_port\": 0, \"shards\": 2, \"log_memory_bytes\": \"8MiB\","
             " \"hugepages\": \"off\", \"offsets_snapshot_ms\": 50, \"state_dir\": \"%s\"}",
             folder);
    leatd_start_config(&members_broker, json);
}

static void tear_down_kept(void)
{
    char command[128];
    cr_assert(leatd_alive(&members_broker), "the broker died");
    cr_assert_not(leatd_log_has(&members_broker, "Sanitizer"), "see %s", members_broker.log_path);
    leatd_end(&members_broker);
    snprintf(command, sizeof command, "rm -r %s", folder);
    cr_assert_eq(system(command), 0);
}

TestSuite(groups_kept, .init = set_up_kept, .fini = tear_down_kept, .timeout = 60);

/* On other ports: somebody else's test may have taken the old ones. */
static void start_anew(void)
{
    leatd_end(&members_broker);
    leatd_start_config(&members_broker, json);
}

/* Whether the snapshot has a place at `offset`. */
static bool is_stored(uint64_t offset)
{
    static uint8_t bytes[1 << 16];
    char path[128];
    const uint8_t *payload;
    size_t size;
    uint32_t version;
    const char *why;
    struct offsets_reader r;
    snprintf(path, sizeof path, "%s/group-offsets", folder);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return false;
    const size_t got = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    cr_assert_eq(statefile_check(bytes, got, &payload, &size, &version, &why), LEAT_OK, "%s", why);
    cr_assert_eq(offsets_file_check(payload, size, version, &why), LEAT_OK, "%s", why);
    offsets_file_begin(&r, payload, size, version);
    while (offsets_file_next(&r))
        if (r.row.offset == offset)
            return true;
    return false;
}

Test(groups_kept, a_group_goes_on_behind_what_the_restart_lost)
{
    struct member m;
    members_create_topic();
    members_publish(50);
    member_join(&m, "m-1");
    member_open_all(&m);
    for (uint32_t p = 0; p < MEMBER_PARTITIONS; p++)
        member_commit(&m, p, (struct leat_frame_commit){ .offset = 30 });
    const uint64_t log_epoch = m.open[1].log_epoch;
    members_done(members_commit_on_control(m.control, &m, 2, 35,
                                           log_epoch)); /* refused: another log's epoch */
    members_done(members_commit_on_control(m.control, &m, 1, 31, log_epoch));
    cr_assert_eq(leatd_stop(&members_broker), 0);
    start_anew();
    cr_assert(leatd_log_says(&members_broker, "group.offset_dropped"));
    const int control = wire_control(members_broker.control);
    Leat__Control__Response *r = members_describe(control, "g");
    cr_assert_eq(r->error, 0, "%s", r->error_text);
    cr_assert_str_eq(r->group->partitions[1]->metadata, "end of day");
    cr_assert_eq(r->group->partitions[1]->committed, 31u);
    cr_assert_eq(r->group->partitions[1]->committed_log_epoch, log_epoch, "of an earlier life");
    cr_assert_neq(r->group->partitions[1]->log_epoch, log_epoch);
    cr_assert_eq(r->group->partitions[1]->lost_at_most, 19u);
    cr_assert_eq(r->group->partitions[1]->lost_at_least, 19u, "the end was orderly");
    cr_assert_eq(r->group->partitions[1]->lag_records, 0u);
    members_done(r);
    members_publish(5); /* before anybody has joined again: it must not be missed */
    r = members_describe(control, "g");
    cr_assert_eq(r->group->partitions[1]->lag_records, 5u);
    cr_assert_gt(r->group->partitions[1]->lag_bytes, 0u);
    members_done(r);
    member_join(&m, "m-1");
    cr_assert_eq(m.assigned, 0xFu);
    member_open_all(&m);
    cr_assert_eq(m.open[1].offset, 50u, "the new log's first");
    cr_assert_eq(m.open[1].committed, 31u);
    cr_assert_eq(m.open[1].committed_log_epoch, log_epoch);
    r = members_describe(control, "g");
    cr_assert_eq(r->group->partitions[1]->lost_at_most, 19u);
    cr_assert_eq(r->group->partitions[1]->lost_at_least, 19u, "the end was orderly");
    cr_assert_eq(r->group->partitions[1]->lag_records, 5u);
    members_done(r);
    member_commit(&m, 1, (struct leat_frame_commit){ .offset = 55 });
}

Test(groups_kept, a_killed_broker_has_the_last_snapshot)
{
    struct member m;
    members_create_topic();
    members_publish(50);
    member_join(&m, "m-1");
    member_open_all(&m);
    member_commit(&m, 0, (struct leat_frame_commit){ .offset = 42 });
    for (int i = 0; i < 1000 && !is_stored(42); i++)
        usleep(10000); /* nothing says when the next snapshot is done */
    leatd_kill(&members_broker);
    start_anew();
    Leat__Control__Response *r = members_describe(wire_control(members_broker.control), "g");
    cr_assert_eq(r->error, 0, "%s", r->error_text);
    cr_assert_eq(r->group->n_partitions, (size_t)MEMBER_PARTITIONS);
    members_done(r);
}

/* Nobody knows how many of the reserved offsets were records. Who comes back and read there knows
 * more than the snapshot: what it saw was there, and what it had committed is not lost. */
Test(groups_kept, what_a_kill_took_is_told_at_least_and_at_most)
{
    struct member m;
    members_create_topic();
    members_publish(50);
    member_join(&m, "m-1");
    member_open_all(&m);
    for (uint32_t p = 0; p < MEMBER_PARTITIONS; p++)
        member_commit(&m, p, (struct leat_frame_commit){ .offset = 30 });
    /* A snapshot holds them all, once it holds the last of them. */
    member_commit(&m, 3, (struct leat_frame_commit){ .offset = 31 });
    const uint64_t log_epoch = m.open[1].log_epoch;
    for (int i = 0; i < 1000 && !is_stored(31); i++)
        usleep(10000);
    leatd_kill(&members_broker);
    start_anew();
    const int control = wire_control(members_broker.control);
    Leat__Control__Response *r = members_describe(control, "g");
    const Leat__Control__GroupPartition *told = r->group->partitions[1];
    cr_assert_eq(told->lost_at_least, 0u);
    cr_assert_geq(told->lost_at_most, 20u);
    cr_assert_eq(told->lost_at_most, told->head_offset - 30);
    const uint64_t first = told->head_offset;
    members_done(r);
    member_join(&m, "m-1");
    m.knows = log_epoch;
    m.seen = 50;
    m.processed = 35;
    member_open_all(&m);
    cr_assert_eq(m.open[1].log_epoch == log_epoch, 0);
    r = members_describe(control, "g");
    for (uint32_t p = 0; p < MEMBER_PARTITIONS; p++) {
        told = r->group->partitions[p];
        /* Each log has an epoch of its own: of another one it says nothing. */
        cr_assert_eq(told->lost_at_most, first - (p == 1 ? 35U : p == 3 ? 31U : 30U));
        cr_assert_eq(told->lost_at_least, p == 1 ? 15u : 0u);
    }
    members_done(r);
    /* They go into the next snapshot, and over an orderly end, which adds what it took exactly. */
    members_publish(4);
    member_commit(&m, 1, (struct leat_frame_commit){ .offset = first + 1 });
    cr_assert_eq(leatd_stop(&members_broker), 0);
    start_anew();
    r = members_describe(wire_control(members_broker.control), "g");
    cr_assert_eq(r->group->partitions[1]->lost_at_least, 15u + 3);
    cr_assert_eq(r->group->partitions[1]->lost_at_most, first - 35 + 3);
    members_done(r);
}

/* Though nothing was stored between the start and the end. */
Test(groups_kept, a_deleted_group_does_not_come_back)
{
    struct member m;
    members_create_topic();
    members_publish(50);
    member_join(&m, "m-1");
    member_open_all(&m);
    member_commit(&m, 0, (struct leat_frame_commit){ .offset = 42 });
    cr_assert_eq(leatd_stop(&members_broker), 0);
    cr_assert(is_stored(42));
    snprintf(json, sizeof json,
             "{\"port\": 0, \"data_port\": 0, \"shards\": 2, \"log_memory_bytes\": \"8MiB\","
             " \"hugepages\": \"off\", \"offsets_snapshot_ms\": 0, \"state_dir\": \"%s\"}",
             folder);
    start_anew();
    Leat__Control__DeleteGroup delete = LEAT__CONTROL__DELETE_GROUP__INIT;
    delete.group = (char *)"g";
    members_expect(members_ask(wire_control(members_broker.control),
                               LEAT__CONTROL__REQUEST__BODY_DELETE_GROUP, &delete),
                   0, NULL);
    cr_assert_eq(leatd_stop(&members_broker), 0);
    start_anew();
    members_expect(members_describe(wire_control(members_broker.control), "g"),
                   LEAT_ERR_UNKNOWN_GROUP, NULL);
}
