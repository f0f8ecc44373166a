/* Resume token: proves that its bearer was granted this producer id at this epoch, by the run of
 * the broker that the token names, over the same state folder if that was an earlier run. It is
 * derived from the three and a secret, so that there is no table of tokens to bound.
 *
 *      [ run u64, little-endian ][ HMAC-SHA256 (RFC 2104) of run, id and epoch, cut to 128 bits ]
 *
 * The run is a random number of each start. When a state folder is restored from an old copy, ids
 * and epochs are granted again, but tokens are not. A client treats a token as opaque. A token goes
 * to the client in its grant and nowhere else: never into a batch, a list, a log line or an error
 * text.
 * Threads: any. */
#ifndef LEAT_BROKER_SHARED_RESUME_TOKEN_H
#define LEAT_BROKER_SHARED_RESUME_TOKEN_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/shared/reset_token.h"
#include "schema/limits.h"

/* `secret` may be the one that reset tokens are made with: the authenticated messages differ. */
void resume_token_make(const uint8_t secret[RESET_SECRET_BYTES], uint64_t run, uint64_t producer_id,
                       uint32_t producer_epoch, uint8_t token[LEAT_RESUME_TOKEN_BYTES]);
/* True when the token was made with this secret, in whatever run. Takes constant time. */
bool resume_token_fits(const uint8_t secret[RESET_SECRET_BYTES], uint64_t producer_id,
                       uint32_t producer_epoch, const uint8_t given[LEAT_RESUME_TOKEN_BYTES]);
/* The run that the token names; it proves nothing unless the token fits. */
uint64_t resume_token_run(const uint8_t given[LEAT_RESUME_TOKEN_BYTES]);

#endif
