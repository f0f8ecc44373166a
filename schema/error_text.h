/* What an error code says to a person.
 *
 * Role: the text of every code in schema/error.h, from the one table there. It stands beside that
 * file because error.h is pasted into the installed leat.h and may declare nothing.
 * Must not know: who fails, or why; callers add the thing and the value.
 * Threads: any. */
#ifndef LEAT_SCHEMA_ERROR_TEXT_H
#define LEAT_SCHEMA_ERROR_TEXT_H

#include "schema/error.h"

/* Static text, never NULL: "ok" for LEAT_OK, "unknown error" for a code this build has no name
 * for (a newer peer may send one). An int, because codes arrive as numbers. */
const char *leat_error_text(int error);

/* The code's own name, "LEAT_ERR_TOO_LARGE"; "LEAT_ERR_UNKNOWN" when this build has none. */
const char *leat_error_name(int error);

#endif
