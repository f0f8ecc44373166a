/* Reset token: what a RESET must carry to be believed. It is derived from a secret of this run and
 * from what every packet of the session's client carries: its id and its tag. So a shard can reject
 * a session that it does not know without remembering any, and a stranger that asks gets the token
 * of a tag that was never granted (RFC 9000, section 21.11).
 *
 * HMAC-SHA256 (RFC 2104) truncated to 128 bits.
 * Threads: any. */
#ifndef LEAT_BROKER_SHARED_RESET_TOKEN_H
#define LEAT_BROKER_SHARED_RESET_TOKEN_H

#include <stdint.h>

#include "schema/limits.h"

enum { RESET_SECRET_BYTES = 32 };

void reset_token_make(const uint8_t secret[RESET_SECRET_BYTES], uint32_t session,
                      uint64_t tag_to_broker, uint8_t token[LEAT_TOKEN_BYTES]);

#endif
