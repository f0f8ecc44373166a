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
    if (offsets_file_check(data, size, &why) != LEAT_OK) {
        require(why != NULL);
        return 0;
    }
    offsets_file_begin(&r, data, size);
    while (offsets_file_next(&r)) {
        require(r.row.partition < LEAT_PARTITIONS_MAX && r.row.offset != LEAT_OFFSET_NONE);
        require(r.row.metadata_size <= LEAT_GROUP_METADATA_MAX);
        require(strlen(r.group) <= LEAT_NAME_BYTES_MAX);
    }
    require(r.at == data + size);
    return 0;
}
