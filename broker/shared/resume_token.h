/* Resume token: who presents it was granted this producer id at this epoch by this run of the
 * broker, or by an earlier one over the same state folder. Made from the two and a secret, so that
 * there is no table of tokens to bound.
 *
 * HMAC-SHA256 (RFC 2104) cut to 128 bits. A token goes to the client in its grant and nowhere else:
 * never into a batch, a list, a log line or an error text. Threads: any. */
#ifndef LEAT_BROKER_RESUME_TOKEN_H
#define LEAT_BROKER_RESUME_TOKEN_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/shared/reset_token.h"
#include "schema/limits.h"

/* `secret` may be the one that reset tokens are made with: what is authenticated differs. */
void resume_token_make(const uint8_t secret[RESET_SECRET_BYTES], uint64_t producer_id,
                       uint32_t producer_epoch, uint8_t token[LEAT_TOKEN_BYTES]);
/* Takes as long whatever `given` is. */
bool resume_token_fits(const uint8_t secret[RESET_SECRET_BYTES], uint64_t producer_id,
                       uint32_t producer_epoch, const uint8_t given[LEAT_TOKEN_BYTES]);

#endif
