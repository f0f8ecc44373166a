/* Resume token: who presents it was granted this producer id at this epoch by the run of the broker
 * that it names, over the same state folder if it was an earlier one. Made from the three and a
 * secret, so that there is no table of tokens to bound.
 *
 *      [ run u64, little-endian ][ HMAC-SHA256 (RFC 2104) of run, id and epoch, cut to 128 bits ]
 *
 * The run is a random number of each start: ids and epochs are given out again when a state folder
 * is restored from an old copy, tokens are not. A client treats it all as opaque. A token goes to
 * the client in its grant and nowhere else: never into a batch, a list, a log line or an error
 * text. Threads: any. */
#ifndef LEAT_BROKER_SHARED_RESUME_TOKEN_H
#define LEAT_BROKER_SHARED_RESUME_TOKEN_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/shared/reset_token.h"
#include "schema/limits.h"

/* `secret` may be the one that reset tokens are made with: what is authenticated differs. */
void resume_token_make(const uint8_t secret[RESET_SECRET_BYTES], uint64_t run, uint64_t producer_id,
                       uint32_t producer_epoch, uint8_t token[LEAT_RESUME_TOKEN_BYTES]);
/* Whether it was made with this secret, in whatever run. Takes as long whatever `given` is. */
bool resume_token_fits(const uint8_t secret[RESET_SECRET_BYTES], uint64_t producer_id,
                       uint32_t producer_epoch, const uint8_t given[LEAT_RESUME_TOKEN_BYTES]);
/* The run that it names; proves nothing unless it fits. */
uint64_t resume_token_run(const uint8_t given[LEAT_RESUME_TOKEN_BYTES]);

#endif
