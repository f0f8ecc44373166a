/* Error codes: one list for the API, the wire protocol and the admin API. */
#include "schema/error_text.h"

const char *leat_error_text(int error)
{
    switch (error) {
    case LEAT_OK: return "ok";
#define X(name, value, text) \
    case name: return text;
        LEAT_ERROR_MAP(X)
#undef X
    default: return "unknown error";
    }
}

const char *leat_error_name(int error)
{
    switch (error) {
    case LEAT_OK: return "LEAT_OK";
#define X(name, value, text) \
    case name: return #name;
        LEAT_ERROR_MAP(X)
#undef X
    default: return "LEAT_ERR_UNKNOWN";
    }
}
