/* Batches from hostile bytes, as the broker takes them in and as a client reads them: what passes
 * the check can be walked to its end within its bytes. The CRC is made right first, or nothing
 * would ever get that far. */
#include <stdlib.h>
#include <string.h>

#include "schema/batch.h"
#include "schema/bytes.h"
#include "schema/crc32c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int truth)
{
    if (!truth)
        abort();
}

static void walk(const struct leat_batch *batch, const uint8_t *bytes, uint32_t record_bytes_max)
{
    struct leat_record_iterator it;
    struct leat_record_view record;
    uint32_t count = 0;
    const uint8_t *end = bytes + batch->size;
    leat_record_iterate(&it, batch, bytes);
    while (leat_record_next(&it, &record)) {
        const uint8_t *cursor = record.headers;
        struct leat_header_view header;
        uint32_t headers = 0;
        require(record.key_size + record.headers_size + record.value_size <= record_bytes_max);
        require(record.key == NULL || record.key + record.key_size <= end);
        require(record.value == NULL || record.value + record.value_size <= end);
        while (leat_header_next(&cursor, record.headers + record.headers_size, &header))
            headers++;
        require(headers <= LEAT_HEADERS_MAX);
        count++;
    }
    require(count == batch->record_count && it.next == end);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct leat_batch batch;
    uint8_t *bytes = malloc(size == 0 ? 1 : size);
    if (bytes == NULL)
        return 0;
    if (size != 0)
        memcpy(bytes, data, size);
    if (leat_batch_parse(&batch, bytes, size) == LEAT_OK && batch.size <= size) {
        leat_batch_check(&batch, bytes, 4096); /* as it came */
        leat_store32(bytes + LEAT_BATCH_STAMP_BYTES,
                     leat_crc32c(bytes + LEAT_BATCH_CRC_FROM, batch.size - LEAT_BATCH_CRC_FROM));
        require(leat_batch_parse(&batch, bytes, size) == LEAT_OK);
        const enum leat_error error = leat_batch_check(&batch, bytes, 4096);
        require(error != LEAT_ERR_BAD_CRC);
        if (error == LEAT_OK)
            walk(&batch, bytes, 4096);
    }
    free(bytes);
    return 0;
}
