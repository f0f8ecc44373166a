/* Offsets file: the encoding of the groups' committed offsets. */
#include "broker/state/offsets_file.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "schema/bytes.h"
#include "schema/control.h"
#include "schema/units.h"

enum {
    GROUP_BYTES = OFFSETS_FILE_GROUP_BYTES,
    TOPIC_BYTES = OFFSETS_FILE_TOPIC_BYTES,
    ROW_BYTES = OFFSETS_FILE_ROW_BYTES,
    ROW_BYTES_1 = 38, /* of version 1 */
    FIRST_ROOM = 4096,
};

/* ---- encoding */

static uint8_t *extend(struct offsets_writer *w, size_t size)
{
    if (w->failed)
        return NULL;
    if (w->room - w->size < size) {
        size_t room = w->room == 0 ? FIRST_ROOM : 2 * w->room;
        while (room - w->size < size)
            room *= 2;
        uint8_t *bytes = realloc(w->bytes, room);
        w->failed = bytes == NULL;
        if (w->failed)
            return NULL;
        w->bytes = bytes;
        w->room = room;
    }
    uint8_t *at = w->bytes + w->size;
    w->size += size;
    return at;
}

/* Increments the u16 count at `at`. */
static void count_one(const struct offsets_writer *w, size_t at)
{
    assert(at != 0);
    leat_store16(w->bytes + at, (uint16_t)(leat_load16(w->bytes + at) + 1));
}

void offsets_file_group(struct offsets_writer *w, const char *name)
{
    const size_t length = strlen(name);
    uint8_t *at = extend(w, GROUP_BYTES + length);
    if (at == NULL)
        return;
    at[0] = (uint8_t)length;
    memcpy(at + 1, name, length);
    leat_store16(at + 1 + length, 0);
    w->group_at = w->size - 2;
    w->topic_at = 0;
}

void offsets_file_topic(struct offsets_writer *w, uint64_t topic_id)
{
    uint8_t *at = extend(w, TOPIC_BYTES);
    if (at == NULL)
        return;
    leat_store64(at, topic_id);
    leat_store16(at + 8, 0);
    w->topic_at = w->size - 2;
    count_one(w, w->group_at);
}

void offsets_file_partition(struct offsets_writer *w, const struct offsets_row *row)
{
    uint8_t *at = extend(w, ROW_BYTES + row->metadata_size);
    if (at == NULL)
        return;
    leat_store32(at, row->partition);
    leat_store64(at + 4, row->log_epoch);
    leat_store64(at + 12, row->offset);
    leat_store64(at + 20, row->commit_ns);
    leat_store64(at + 28, row->lost_at_most);
    leat_store64(at + 36, row->lost_at_least);
    leat_store16(at + 44, row->metadata_size);
    if (row->metadata_size != 0)
        memcpy(at + ROW_BYTES, row->metadata, row->metadata_size);
    count_one(w, w->topic_at);
}

/* ---- decoding */

void offsets_file_begin(struct offsets_reader *r, const uint8_t *bytes, size_t size,
                        uint32_t version)
{
    *r = (struct offsets_reader){ .at = bytes, .end = bytes + size, .version = version };
}

static size_t left(const struct offsets_reader *r)
{
    return (size_t)(r->end - r->at);
}

/* Each of these decodes one item. Returns what is wrong with it; NULL: nothing. */

static const char *read_group(struct offsets_reader *r)
{
    const size_t length = left(r) != 0 ? r->at[0] : 0;
    if (left(r) < GROUP_BYTES + length)
        return "it ends within a group";
    const char *name = (const char *)r->at + 1;
    if (!leat_name_valid(name, length))
        return "a group's name is invalid";
    char before[LEAT_NAME_BYTES_MAX + 1];
    strcpy(before, r->group);
    memcpy(r->group, name, length);
    r->group[length] = '\0';
    if (strcmp(before, r->group) >= 0)
        return "its groups are not in order";
    r->topics = leat_load16(r->at + 1 + length);
    r->at += GROUP_BYTES + length;
    return r->topics >= 1 && r->topics <= LEAT_GROUP_TOPICS_MAX
               ? NULL
               : "a group has 0 topics or too many";
}

static const char *read_topic(struct offsets_reader *r)
{
    if (left(r) < TOPIC_BYTES)
        return "it ends within a topic";
    r->topic_id = leat_load64(r->at);
    r->partitions = leat_load16(r->at + 8);
    r->at += TOPIC_BYTES;
    r->topics--;
    r->row.partition = UINT32_MAX; /* no partition before it */
    return r->partitions >= 1 && r->partitions <= LEAT_PARTITIONS_MAX
               ? NULL
               : "a topic has 0 partitions or too many";
}

static const char *read_row(struct offsets_reader *r)
{
    const uint32_t before = r->row.partition;
    const size_t row_bytes = r->version == 1 ? ROW_BYTES_1 : ROW_BYTES;
    if (left(r) < row_bytes)
        return "it ends within a partition";
    r->row = (struct offsets_row){ .partition = leat_load32(r->at),
                                   .log_epoch = leat_load64(r->at + 4),
                                   .offset = leat_load64(r->at + 12),
                                   .commit_ns = leat_load64(r->at + 20),
                                   .lost_at_most = leat_load64(r->at + 28),
                                   .lost_at_least = r->version == 1 ? 0 : leat_load64(r->at + 36),
                                   .metadata_size = leat_load16(r->at + row_bytes - 2),
                                   .metadata = (const char *)r->at + row_bytes };
    r->at += row_bytes;
    r->partitions--;
    if (r->row.partition >= LEAT_PARTITIONS_MAX
        || (before != UINT32_MAX && r->row.partition <= before))
        return "its partitions are not in order";
    if (r->row.log_epoch == 0 || r->row.offset == LEAT_OFFSET_NONE)
        return "a partition has no offset";
    if (r->row.lost_at_least > r->row.lost_at_most)
        return "a partition's lost_at_least is above its lost_at_most";
    if (r->row.metadata_size > LEAT_GROUP_METADATA_MAX || left(r) < r->row.metadata_size
        || memchr(r->row.metadata, '\0', r->row.metadata_size) != NULL)
        return "a commit's metadata is invalid";
    r->at += r->row.metadata_size;
    return NULL;
}

/* Decodes one row, and first the group and the topic where a new one begins. */
static const char *read_next(struct offsets_reader *r)
{
    const char *wrong = NULL;
    if (r->partitions == 0 && r->topics == 0)
        wrong = read_group(r);
    if (wrong == NULL && r->partitions == 0)
        wrong = read_topic(r);
    return wrong == NULL ? read_row(r) : wrong;
}

static bool at_end(const struct offsets_reader *r)
{
    return r->at == r->end && r->partitions == 0 && r->topics == 0;
}

enum leat_error offsets_file_check(const uint8_t *bytes, size_t size, uint32_t version,
                                   const char **why)
{
    struct offsets_reader r;
    offsets_file_begin(&r, bytes, size, version);
    while (!at_end(&r)) {
        *why = read_next(&r);
        if (*why != NULL)
            return LEAT_ERR_STATE;
    }
    return LEAT_OK;
}

bool offsets_file_next(struct offsets_reader *r)
{
    if (at_end(r))
        return false;
    const char *wrong = read_next(r);
    assert(wrong == NULL); /* the bytes were checked */
    return wrong == NULL;
}
