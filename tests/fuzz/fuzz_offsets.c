/* Where groups stand, from hostile bytes: the check reads nothing beyond them, and what it accepts
 * is read to its end. */
#include <stdlib.h>
#include <string.h>

#include "broker/state/offsets_file.h"
#include "schema/units.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int truth)
{
    if (!truth)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct offsets_reader r;
    const char *why = NULL;
    /* Of either version; the first byte says which. */
    const uint32_t version = size != 0 && (*data & 0x80) != 0 ? 1 : 2;
    if (offsets_file_check(data, size, version, &why) != LEAT_OK) {
        require(why != NULL);
        return 0;
    }
    offsets_file_begin(&r, data, size, version);
    while (offsets_file_next(&r)) {
        require(r.row.partition < LEAT_PARTITIONS_MAX && r.row.offset != LEAT_OFFSET_NONE);
        require(r.row.metadata_size <= LEAT_GROUP_METADATA_MAX);
        require(strlen(r.group) <= LEAT_NAME_BYTES_MAX);
    }
    require(r.at == data + size);
    return 0;
}
