/* Reset limit: limits the RESETs that a shard sends to senders it does not know. */
#include "broker/shard/reset_limit.h"

#include <string.h>

#include "schema/bytes.h"

void reset_limit_init(struct reset_limit *limit, uint64_t key)
{
    *limit = (struct reset_limit){ .key = key };
}

static uint64_t mix(uint64_t value)
{
    value = (value ^ value >> 30) * UINT64_C(0xBF58476D1CE4E5B9); /* splitmix64 */
    value = (value ^ value >> 27) * UINT64_C(0x94D049BB133111EB);
    return value ^ value >> 31;
}

static uint32_t place_of(const struct reset_limit *limit, const uint8_t address[16])
{
    const uint64_t high = mix(limit->key ^ leat_load64(address));
    return (uint32_t)(mix(high ^ leat_load64(address + 8)) % RESET_LIMIT_PLACES);
}

bool reset_limit_take(struct reset_limit *limit, const uint8_t address[16], leat_ns now)
{
    if (now - limit->since >= LEAT_NS_PER_S) {
        limit->since = now;
        limit->all = 0;
        memset(limit->sent, 0, sizeof limit->sent);
    }
    uint8_t *sent = &limit->sent[place_of(limit, address)];
    if (limit->all >= RESET_LIMIT_ALL || *sent >= RESET_LIMIT_ADDRESS)
        return false;
    limit->all++;
    (*sent)++;
    return true;
}
