/* clang-format off */
/* Secret: the key of resume tokens, the same in every run over one state folder since its file was
 * made.
 *
 *      payload   secret 32 B | incarnation u32, of the first run that had it
 *
 * Role: read it, or draw and store it.
 * Must not know: tokens, producers.
 * Threads: its owner's, before the broker serves. */
/* clang-format on */
#ifndef LEAT_BROKER_STATE_SECRET_H
#define LEAT_BROKER_STATE_SECRET_H

#include <stdint.h>

#include "broker/shared/reset_token.h"
#include "broker/state/statefile.h"
#include "schema/error.h"

struct secret {
    uint8_t bytes[RESET_SECRET_BYTES];
    uint32_t since; /* incarnation of the first run that had it */
};

/* Loads the secret for the run of this incarnation. Errors: LEAT_ERR_STATE, LEAT_ERR_IO,
 * LEAT_ERR_NO_MEMORY; then error_text says what is wrong and what to do. */
enum leat_error secret_load(const struct statefile *state, uint32_t incarnation,
                            struct secret *secret, char error_text[STATEFILE_ERROR_TEXT]);

#endif
