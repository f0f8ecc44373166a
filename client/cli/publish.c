/* The loop of `leat pub`: records from a source to a producer that may be busy, at the pace of the
 * source. */
#include "client/cli/publish.h"

#include <inttypes.h>
#include <string.h>

#include "schema/limits.h"

enum { POLL_EVERY = 64 };
/* How long to wait for answers after the user stopped the command. */
#define STOPPED_NS LEAT_NS_PER_S

void publish_on_delivery(void *user, const struct leat_delivery *delivery)
{
    struct publish *p = user;
    p->answered++;
    if (delivery->status != 0 && delivery->status != LEAT_ERR_DUPLICATE) {
        if (p->failed++ == 0) {
            p->failed_number = delivery->cookie;
            p->failed_status = delivery->status;
        }
        return;
    }
    struct publish_partition *part = &p->partitions[delivery->partition];
    part->records++;
    if (delivery->offset == LEAT_NO_OFFSET)
        return;
    if (part->first_offset == LEAT_NO_OFFSET || delivery->offset < part->first_offset)
        part->first_offset = delivery->offset;
    if (part->last_offset == LEAT_NO_OFFSET || delivery->offset > part->last_offset)
        part->last_offset = delivery->offset;
}

static int fail_record(const struct publish *p, uint64_t number, const char *what)
{
    return cli_fail(p->cli, "%s: record %" PRIu64 ": %s", p->source_name, number, what);
}

/* Waits once for the broker. Fails if the broker was silent for too long. */
static int wait_for_broker(struct publish *p)
{
    const uint64_t answered = p->answered;
    const int error = cli_wait(p->cli, NULL, 0, LEAT_NS_PER_S / 10);
    if (error != 0)
        return cli_fail_error(p->cli, p->topic, error);
    const uint64_t now = cli_monotonic_ns();
    if (p->answered != answered)
        p->progress_ns = now;
    if (cli_stopped(p->cli) && now - p->progress_ns >= STOPPED_NS)
        return cli_fail(p->cli,
                        "topic \"%s\": the broker at %s did not answer %" PRIu64
                        " records: they may be in the log or not",
                        p->topic, p->cli->url, leat_producer_pending(p->producer));
    if (p->timeout_ns > 0 && now - p->progress_ns >= p->timeout_ns)
        return cli_fail(p->cli,
                        "topic \"%s\": the broker at %s accepted nothing for %" PRIu64
                        " s (--timeout); %" PRIu64 " records are unanswered",
                        p->topic, p->cli->url, p->timeout_ns / LEAT_NS_PER_S,
                        leat_producer_pending(p->producer));
    return 0;
}

/* Waits until `due_ns`, or until the user stops the command. */
static int wait_until(struct publish *p, uint64_t due_ns)
{
    uint64_t now = cli_monotonic_ns();
    while (now < due_ns && !cli_stopped(p->cli)) {
        const int error = cli_wait(p->cli, NULL, 0, due_ns - now);
        if (error != 0)
            return cli_fail_error(p->cli, p->topic, error);
        now = cli_monotonic_ns();
    }
    return 0;
}

/* Reads the record's time and waits until the record is due. */
static int keep_time(struct publish *p, const struct source_record *from,
                     struct leat_record *record)
{
    uint64_t time_ns = (uint64_t)from->time_ns;
    char said[160];
    if (p->timed
        && !timefield_read(&p->field, (const char *)from->bytes, from->size, &time_ns, said))
        return cli_fail(p->cli, "%s: record %" PRIu64 ": --timestamp-field: %s", p->source_name,
                        from->number, said);
    if (time_ns > INT64_MAX)
        return fail_record(p, from->number, "its time is after the year 2262");
    record->timestamp_ns = (int64_t)time_ns;
    if (p->speed <= 0)
        return 0;
    if (p->first_send_ns == 0) {
        p->first_send_ns = cli_monotonic_ns();
        p->first_time_ns = time_ns;
    }
    /* A record older than the first one is due at once. */
    if (time_ns <= p->first_time_ns)
        return 0;
    const double wait_ns = (double)(time_ns - p->first_time_ns) / p->speed;
    return wait_until(p, p->first_send_ns + (wait_ns < 9e18 ? (uint64_t)wait_ns : INT64_MAX));
}

/* Splits the source's record into key and value. */
static int fill_record(struct publish *p, const struct source_record *from,
                       struct leat_record *record)
{
    const uint8_t *split = p->separator_size == 0
                               ? NULL
                               : memmem(from->bytes, from->size, p->separator, p->separator_size);
    size_t key_size = 0;
    size_t value_at = 0;
    if (split == NULL && p->separator_size != 0)
        return fail_record(p, from->number,
                           "no --key-separator in it; the records before it were sent");
    if (split != NULL) {
        key_size = (size_t)(split - from->bytes);
        value_at = key_size + p->separator_size;
        record->key = from->bytes;
    }
    if (key_size > LEAT_KEY_BYTES_MAX)
        return fail_record(p, from->number, "its key is longer than 65534 bytes");
    const size_t total = key_size + (from->size - value_at) + p->headers_bytes;
    if (total > p->record_bytes_max)
        return cli_fail(p->cli,
                        "%s: record %" PRIu64 " (line %" PRIu64
                        ") has %zu bytes with its headers; topic \"%s\" takes at most %" PRIu32
                        ": create one with a larger --record-bytes-max",
                        p->source_name, from->number, from->number, total, p->topic,
                        p->record_bytes_max);
    /* An empty value is empty, not null. */
    record->value = from->bytes == NULL ? (const void *)"" : from->bytes + value_at;
    record->value_size = (uint32_t)(from->size - value_at);
    record->key_size = (uint32_t)key_size;
    return 0;
}

static int send_record(struct publish *p, const struct source_record *from)
{
    struct leat_record record = { .partition = p->partition,
                                  .headers = p->headers,
                                  .headers_count = p->headers_count,
                                  .cookie = from->number };
    if (fill_record(p, from, &record) != 0 || keep_time(p, from, &record) != 0)
        return EXIT_FAILED;
    if (cli_stopped(p->cli))
        return 0; /* it may not be due yet */
    int error;
    while ((error = leat_producer_send(p->producer, &record)) == LEAT_BUSY) {
        if (cli_stopped(p->cli))
            return 0;
        if (wait_for_broker(p) != 0)
            return EXIT_FAILED;
    }
    if (error != 0) {
        fail_record(p, from->number, "not sent");
        return cli_fail_error(p->cli, p->topic, error);
    }
    p->progress_ns = p->sent == p->answered ? cli_monotonic_ns() : p->progress_ns;
    p->sent++;
    p->bytes += record.key_size + record.value_size;
    return 0;
}

static int wait_for_source(struct publish *p)
{
    struct pollfd input = { .fd = source_fd(), .events = POLLIN };
    const int error = cli_wait(p->cli, &input, 1, LEAT_FOREVER);
    return error == 0 ? 0 : cli_fail_error(p->cli, p->topic, error);
}

/* Sends everything the source has. */
static int send_all(struct publish *p)
{
    struct source_record from;
    while (p->sent < p->count && !cli_stopped(p->cli)) {
        int code = 0;
        switch (source_next(p->source, &from)) {
        case SOURCE_RECORD: code = send_record(p, &from); break;
        case SOURCE_WAIT: code = wait_for_source(p); break;
        case SOURCE_END: return 0;
        case SOURCE_ERROR:
            return cli_fail(p->cli, "%s: %s", p->source_name, source_error(p->source));
        }
        if (code != 0)
            return code;
        /* Paced records are sent at once, others in batches. */
        if (p->speed > 0 || p->sent % POLL_EVERY == 0) {
            const int handled = leat_client_poll(p->cli->client, 0);
            if (handled < 0 || p->cli->fatal != 0)
                return cli_fail_error(p->cli, p->topic, handled < 0 ? handled : p->cli->fatal);
            cli_progress_show(&p->progress, cli_monotonic_ns(),
                              "%" PRIu64 " records sent, %" PRIu64 " answered", p->sent,
                              p->answered);
        }
    }
    return 0;
}

int publish_run(struct publish *p)
{
    p->progress_ns = cli_monotonic_ns();
    int code = send_all(p);
    p->progress_ns = cli_monotonic_ns();
    /* Wait for the records sent before a failure, to report whether they are in the log. */
    while (p->cli->fatal == 0 && leat_producer_pending(p->producer) > 0) {
        if (wait_for_broker(p) != 0) {
            code = EXIT_FAILED;
            break;
        }
    }
    cli_progress_end(&p->progress);
    return code;
}
