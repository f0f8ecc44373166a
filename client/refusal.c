/* Refusals: what to do when the broker refuses to reopen a producer or consumer. */
#include "client/refusal.h"

#include "schema/error.h"

enum refusal refusal_of(int error, bool again)
{
    switch (error) {
    case LEAT_ERR_UNKNOWN_SESSION:
    case LEAT_ERR_PROTOCOL:
    case LEAT_ERR_VERSION:
    case LEAT_ERR_CLOSED:
    case LEAT_ERR_TIMEOUT:
    case LEAT_ERR_UNREACHABLE: return REFUSAL_CONNECTION;
    case LEAT_AGAIN:
    case LEAT_BUSY:
    case LEAT_ERR_THROTTLED:
    case LEAT_ERR_LIMIT:
    case LEAT_ERR_NO_MEMORY:
    case LEAT_ERR_IO: return REFUSAL_FOR_NOW;
    case LEAT_ERR_INVALID:
    case LEAT_ERR_OUT_OF_RANGE:
    case LEAT_ERR_LOG_EPOCH:
    case LEAT_ERR_UNKNOWN_PARTITION:
    case LEAT_ERR_UNKNOWN_STREAM: return again ? REFUSAL_FOR_GOOD : REFUSAL_FOR_NOW;
    default: return REFUSAL_FOR_GOOD;
    }
}
