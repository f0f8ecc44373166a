/* Reset token: what a RESET must carry to be believed. */
#include "broker/shared/reset_token.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#include "schema/bytes.h"

void reset_token_make(const uint8_t secret[RESET_SECRET_BYTES], uint32_t session,
                      uint64_t tag_to_broker, uint8_t token[LEAT_TOKEN_BYTES])
{
    uint8_t message[sizeof session + sizeof tag_to_broker], digest[EVP_MAX_MD_SIZE] = { 0 };
    unsigned size = sizeof digest;
    leat_store32(message, session);
    leat_store64(message + sizeof session, tag_to_broker);
    HMAC(EVP_sha256(), secret, RESET_SECRET_BYTES, message, sizeof message, digest, &size);
    memcpy(token, digest, LEAT_TOKEN_BYTES);
}
