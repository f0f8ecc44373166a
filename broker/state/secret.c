/* Secret: the key of resume tokens, the same in every run over one state folder since its file was
 * made. */
#include "broker/state/secret.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/shared/random_bytes.h"
#include "schema/bytes.h"

enum { PAYLOAD_BYTES = RESET_SECRET_BYTES + 4 };

static enum leat_error draw(const struct statefile *state, struct secret *secret,
                            char error_text[STATEFILE_ERROR_TEXT])
{
    uint8_t payload[PAYLOAD_BYTES];
    if (!random_bytes(secret->bytes, sizeof secret->bytes)) {
        snprintf(error_text, STATEFILE_ERROR_TEXT, "the kernel gave no random bytes");
        return LEAT_ERR_IO;
    }
    memcpy(payload, secret->bytes, sizeof secret->bytes);
    leat_store32(payload + RESET_SECRET_BYTES, secret->since);
    return statefile_write(state, &STATEFILE_SECRET, payload, sizeof payload, error_text);
}

enum leat_error secret_load(const struct statefile *state, uint32_t incarnation,
                            struct secret *secret, char error_text[STATEFILE_ERROR_TEXT])
{
    uint8_t *bytes;
    size_t size;
    uint32_t version;
    enum leat_error error =
        statefile_read(state, &STATEFILE_SECRET, &bytes, &size, &version, error_text);
    if (error != LEAT_OK)
        return error;
    secret->since = incarnation;
    if (bytes == NULL)
        return draw(state, secret, error_text);
    if (size == PAYLOAD_BYTES) {
        memcpy(secret->bytes, bytes, sizeof secret->bytes);
        secret->since = leat_load32(bytes + RESET_SECRET_BYTES);
    } else {
        snprintf(error_text, STATEFILE_ERROR_TEXT,
                 "%s/%s holds %zu bytes, expected %d: restore it from a copy, or remove it; then "
                 "producers can no longer prove what they were granted before",
                 state->path, STATEFILE_SECRET.name, size, PAYLOAD_BYTES);
        error = LEAT_ERR_STATE;
    }
    free(bytes);
    return error;
}
