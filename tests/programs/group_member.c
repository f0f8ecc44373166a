/* group_member URL GROUP TOPIC FILE COMMIT SESSION_MS [MEMBER]: one member of a group, until
 * SIGTERM. COMMIT: processed and interval as in leat_commit; exact: by hand, after each batch.
 * Without MEMBER a random identity. What it does it writes to FILE, a record before anything of it
 * is committed: J time                           it has joined A partition first_offset time
 * assigned; V partition committed time: revoked; L time: lost R partition offset number time
 * processed C partition offset time          the broker acknowledged a commit of all below X
 * partition asked stands time    a commit was refused G partition first next time      a gap, or
 * anything else that skips records E time                           ended as it should: all it
 * processed is committed
 *
 * Role: the process that tests/net/net_groups.sh starts, stops and kills.
 * Must not know: what holds of a group (tests/support/group_check.py does).
 * Threads: one. */
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>

#include "client/leat.h"
#include "tests/support/group_lines.h"

enum { PARTITIONS_MAX = 256, RECORDS = 64 };
#define POLL_NS UINT64_C(20000000)
#define COMMIT_WAIT_NS UINT64_C(10000000000)

struct member {
    leat_client *client;
    leat_consumer *consumer;
    const char *topic;
    bool exact;
    uint64_t next[PARTITIONS_MAX];      /* behind the last processed; LEAT_NO_OFFSET: none yet */
    uint64_t committed[PARTITIONS_MAX]; /* as written; LEAT_NO_OFFSET: not */
    struct group_lines lines;
};

static volatile sig_atomic_t told;

static void on_signal(int number)
{
    (void)number;
    told = 1;
}

static void fail(const struct member *member, const char *what, int error)
{
    fprintf(stderr, "group_member: %s: %s: %s\n", what, leat_strerror(error),
            leat_client_error(member->client));
    exit(1);
}

static void commit(struct member *member, uint32_t partition)
{
    const int error =
        leat_consumer_commit(member->consumer, member->topic, partition, member->next[partition]);
    if (error != LEAT_OK && error != LEAT_ERR_NOT_ASSIGNED)
        fail(member, "commit", error);
}

static void begin(struct member *member, uint32_t partition)
{
    member->next[partition] = LEAT_NO_OFFSET;
    member->committed[partition] = LEAT_NO_OFFSET;
}

static void on_event(void *user, const struct leat_event *event)
{
    struct member *member = user;
    struct group_lines *lines = &member->lines;
    const uint64_t now = group_lines_now();
    const uint32_t partition = (uint32_t)event->partition;
    switch (event->type) {
    case LEAT_EVENT_ASSIGNED:
        begin(member, partition);
        group_lines_add(lines, "A %u %" PRIu64 " %" PRIu64 "\n", partition, event->first_offset,
                        now);
        break;
    case LEAT_EVENT_REVOKED:
        group_lines_add(lines, "V %u %" PRIu64 " %" PRIu64 "\n", partition, event->first_offset,
                        now);
        if (member->next[partition] != LEAT_NO_OFFSET)
            commit(member, partition);
        break;
    case LEAT_EVENT_MEMBER_LOST: group_lines_add(lines, "L %" PRIu64 "\n", now); break;
    case LEAT_EVENT_COMMIT_REFUSED:
        group_lines_add(lines, "X %u %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", partition,
                        event->first_offset, event->next_offset, now);
        break;
    case LEAT_EVENT_GAP:
    case LEAT_EVENT_LOG_RESET:
    case LEAT_EVENT_BAD_BATCH:
        group_lines_add(lines, "G %u %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", partition,
                        event->first_offset, event->next_offset, now);
        break;
    default: break;
    }
    fprintf(stderr, "%" PRIu64 " event %d partition %d [%" PRIu64 ", %" PRIu64 ") %s: %s\n", now,
            event->type, event->partition, event->first_offset, event->next_offset,
            leat_strerror(event->error), event->text != NULL ? event->text : "");
}

/* Processes what has arrived: it is on file when this returns, and only then may be committed. */
static int process(struct member *member)
{
    struct leat_record records[RECORDS];
    bool touched[PARTITIONS_MAX] = { false };
    const int count = leat_consumer_poll(member->consumer, records, RECORDS);
    if (count < 0)
        fail(member, "poll of the consumer", count);
    const uint64_t now = group_lines_now();
    for (int i = 0; i < count; i++) {
        const struct leat_record *record = &records[i];
        group_lines_add(&member->lines, "R %d %" PRIu64 " %.*s %" PRIu64 "\n", record->partition,
                        record->offset, (int)record->value_size, (const char *)record->value, now);
        member->next[record->partition] = record->offset + 1;
        touched[record->partition] = true;
    }
    group_lines_write(&member->lines);
    for (uint32_t partition = 0; member->exact && partition < PARTITIONS_MAX; partition++)
        if (touched[partition])
            commit(member, partition);
    return count;
}

static void note_committed(void *user, const char *topic, uint32_t partition)
{
    struct member *member = user;
    uint64_t offset;
    if (leat_consumer_committed(member->consumer, topic, partition, &offset) != LEAT_OK
        || offset == LEAT_NO_OFFSET || offset == member->committed[partition])
        return;
    member->committed[partition] = offset;
    group_lines_add(&member->lines, "C %u %" PRIu64 " %" PRIu64 "\n", partition, offset,
                    group_lines_now());
}

static void end(struct member *member)
{
    int error = leat_consumer_commit(member->consumer, NULL, 0, 0);
    if (error == LEAT_OK)
        error = leat_consumer_commit_wait(member->consumer, COMMIT_WAIT_NS);
    leat_consumer_assignment(member->consumer, note_committed, member);
    /* Lost while it was committing: others go on from what stands, and it says so by itself. */
    if (error != LEAT_OK && error != LEAT_ERR_UNKNOWN_MEMBER)
        fail(member, "the last commit", error);
    /* Its partitions are others' from here on. */
    const uint64_t left = group_lines_now();
    leat_consumer_close(member->consumer);
    if (error == LEAT_OK)
        group_lines_add(&member->lines, "E %" PRIu64 "\n", left);
    group_lines_write(&member->lines);
    leat_client_close(member->client);
}

static int32_t commit_mode(const char *name)
{
    if (strcmp(name, "interval") == 0)
        return LEAT_COMMIT_INTERVAL;
    return strcmp(name, "exact") == 0 ? LEAT_COMMIT_OFF : LEAT_COMMIT_PROCESSED;
}

/* Who was stopped in the middle of it, for longer than the broker waits or a request takes, tries
 * again. */
static int open_all(struct member *member, const char *url,
                    const struct leat_client_options *listening,
                    const struct leat_consumer_options *options)
{
    int error = LEAT_OK;
    do {
        if (member->client == NULL)
            error = leat_client_open(&member->client, url, listening);
        if (member->client != NULL)
            error =
                leat_consumer_open(member->client, &member->consumer, &member->topic, 1, options);
    } while (!told && (error == LEAT_ERR_UNREACHABLE || error == LEAT_ERR_TIMEOUT));
    return error;
}

int main(int argc, char **argv)
{
    static struct member member;
    const struct sigaction action = { .sa_handler = on_signal };
    if (argc != 7 && argc != 8)
        return 2;
    const struct leat_client_options listening = {
        .size = sizeof listening, .client_name = "member", .on_event = on_event, .user = &member
    };
    const struct leat_consumer_options options = {
        .size = sizeof options,
        .start_at = LEAT_START_EARLIEST,
        .group = argv[2],
        .member = argc == 8 ? argv[7] : NULL,
        .commit = commit_mode(argv[5]),
        .commit_interval_ns = UINT64_C(200000000),
        .session_timeout_ns = strtoull(argv[6], NULL, 10) * UINT64_C(1000000),
    };
    sigaction(SIGTERM, &action, NULL);
    member.topic = argv[3];
    member.exact = options.commit == LEAT_COMMIT_OFF;
    for (uint32_t partition = 0; partition < PARTITIONS_MAX; partition++)
        begin(&member, partition);
    group_lines_open(&member.lines, argv[4]);
    int error = open_all(&member, argv[1], &listening, &options);
    if (error != LEAT_OK)
        fail(&member, argv[3], error);
    group_lines_add(&member.lines, "J %" PRIu64 "\n", group_lines_now());
    while (!told) {
        const int count = process(&member);
        error = leat_client_poll(member.client, count == RECORDS ? 0 : POLL_NS);
        if (error < LEAT_OK)
            fail(&member, "poll", error);
        leat_consumer_assignment(member.consumer, note_committed, &member);
        group_lines_write(&member.lines);
    }
    end(&member);
    return 0;
}
