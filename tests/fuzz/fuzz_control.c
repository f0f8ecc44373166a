/* Control messages from hostile bytes: the length, the unpacking within its memory budget, and the
 * check of every field; what is accepted packs again and comes back accepted. The first byte says
 * which side reads. */
#include <stdlib.h>

#include "schema/control.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int truth)
{
    if (!truth)
        abort();
}

static void request(const uint8_t *data, size_t size)
{
    Leat__Control__Request *message, *again;
    const char *what = NULL;
    size_t written;
    if (leat_control_unpack_request(&message, data, size) != LEAT_OK)
        return;
    const enum leat_error error = leat_control_check_request(message, &what);
    require(error == LEAT_OK || what != NULL);
    const size_t room = leat_control_request_bytes(message);
    uint8_t *bytes = malloc(room);
    require(bytes != NULL);
    if (leat_control_pack_request(bytes, room, &written, message) == LEAT_OK) {
        uint32_t total = 0;
        require(written == room && leat_control_length(bytes, written, &total) == LEAT_OK);
        require(total == written);
        if (leat_control_unpack_request(&again, bytes + LEAT_CONTROL_PREFIX_BYTES,
                                        written - LEAT_CONTROL_PREFIX_BYTES)
            == LEAT_OK) {
            require(leat_control_check_request(again, &what) == error);
            leat_control_free_request(again);
        }
    }
    free(bytes);
    leat_control_free_request(message);
}

static void response(const uint8_t *data, size_t size)
{
    Leat__Control__Response *message;
    const char *what = NULL;
    if (leat_control_unpack_response(&message, data, size) != LEAT_OK)
        return;
    require(leat_control_check_response(message, &what) == LEAT_OK || what != NULL);
    leat_control_free_response(message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint32_t total;
    if (size < 1 || leat_control_length(data + 1, size - 1, &total) != LEAT_OK || total > size - 1)
        return 0;
    require(total > LEAT_CONTROL_PREFIX_BYTES);
    const uint8_t *message = data + 1 + LEAT_CONTROL_PREFIX_BYTES;
    if (data[0] % 2 == 0)
        request(message, total - LEAT_CONTROL_PREFIX_BYTES);
    else
        response(message, total - LEAT_CONTROL_PREFIX_BYTES);
    return 0;
}
