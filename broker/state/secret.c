#include "broker/state/secret.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/shared/random_bytes.h"

static enum leat_error draw(const struct statefile *state, uint8_t secret[RESET_SECRET_BYTES],
                            char error_text[STATEFILE_ERROR_TEXT])
{
    if (!random_bytes(secret, RESET_SECRET_BYTES)) {
        snprintf(error_text, STATEFILE_ERROR_TEXT, "the kernel gave no random bytes");
        return LEAT_ERR_IO;
    }
    return statefile_write(state, &STATEFILE_SECRET, secret, RESET_SECRET_BYTES, error_text);
}

enum leat_error secret_load(const struct statefile *state, uint8_t secret[RESET_SECRET_BYTES],
                            char error_text[STATEFILE_ERROR_TEXT])
{
    uint8_t *bytes;
    size_t size;
    uint32_t version;
    enum leat_error error =
        statefile_read(state, &STATEFILE_SECRET, &bytes, &size, &version, error_text);
    if (error != LEAT_OK)
        return error;
    if (bytes == NULL)
        return draw(state, secret, error_text);
    if (size == RESET_SECRET_BYTES) {
        memcpy(secret, bytes, RESET_SECRET_BYTES);
    } else {
        snprintf(error_text, STATEFILE_ERROR_TEXT,
                 "%s/%s holds %zu bytes, expected %d: restore it from a copy, or remove it; then "
                 "producers cannot prove any more what they were granted before",
                 state->path, STATEFILE_SECRET.name, size, RESET_SECRET_BYTES);
        error = LEAT_ERR_STATE;
    }
    free(bytes);
    return error;
}
