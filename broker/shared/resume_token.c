/* Resume token: proves that a producer id and epoch were granted to whoever presents it. */
#include "broker/shared/resume_token.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#include "schema/bytes.h"

enum { RUN_BYTES = LEAT_RESUME_TOKEN_BYTES - LEAT_TOKEN_BYTES };

void resume_token_make(const uint8_t secret[RESET_SECRET_BYTES], uint64_t run, uint64_t producer_id,
                       uint32_t producer_epoch, uint8_t token[LEAT_RESUME_TOKEN_BYTES])
{
    static const char use[] = "resume"; /* no other token of this secret begins so */
    uint8_t message[sizeof use + RUN_BYTES + sizeof producer_id + sizeof producer_epoch];
    uint8_t *at = message + sizeof use;
    uint8_t digest[EVP_MAX_MD_SIZE] = { 0 };
    unsigned size = sizeof digest;
    memcpy(message, use, sizeof use);
    leat_store64(at, run);
    leat_store64(at + RUN_BYTES, producer_id);
    leat_store32(at + RUN_BYTES + sizeof producer_id, producer_epoch);
    HMAC(EVP_sha256(), secret, RESET_SECRET_BYTES, message, sizeof message, digest, &size);
    leat_store64(token, run);
    memcpy(token + RUN_BYTES, digest, LEAT_TOKEN_BYTES);
}

bool resume_token_fits(const uint8_t secret[RESET_SECRET_BYTES], uint64_t producer_id,
                       uint32_t producer_epoch, const uint8_t given[LEAT_RESUME_TOKEN_BYTES])
{
    uint8_t token[LEAT_RESUME_TOKEN_BYTES];
    resume_token_make(secret, resume_token_run(given), producer_id, producer_epoch, token);
    return CRYPTO_memcmp(token, given, sizeof token) == 0;
}

uint64_t resume_token_run(const uint8_t given[LEAT_RESUME_TOKEN_BYTES])
{
    return leat_load64(given);
}
