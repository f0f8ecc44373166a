/* Secret: what resume tokens are made with, the same in every run over one state folder.
 *
 * Role: read it, or draw it and store it. Must not know: tokens, producers.
 * Threads: its owner, before the broker serves. */
#ifndef LEAT_BROKER_SECRET_H
#define LEAT_BROKER_SECRET_H

#include <stdint.h>

#include "broker/shared/reset_token.h"
#include "broker/state/statefile.h"
#include "schema/error.h"

/* LEAT_ERR_STATE, LEAT_ERR_IO, LEAT_ERR_NO_MEMORY: error_text says what is wrong and what to do. */
enum leat_error secret_load(const struct statefile *state, uint8_t secret[RESET_SECRET_BYTES],
                            char error_text[STATEFILE_ERROR_TEXT]);

#endif
