/* Secret: what resume tokens are made with, the same in every run over one state folder since the
 * file was made.
 *
 *      payload   secret 32 B | incarnation of the first run that had it u32

 *
 * Role: read it, or draw it and store it. Must not know: tokens, producers.
 * Threads: its owner, before the broker serves. */
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

/* For the run of this incarnation. LEAT_ERR_STATE, LEAT_ERR_IO, LEAT_ERR_NO_MEMORY: error_text says
 * what is wrong and what to do. */
enum leat_error secret_load(const struct statefile *state, uint32_t incarnation,
                            struct secret *secret, char error_text[STATEFILE_ERROR_TEXT]);

#endif
