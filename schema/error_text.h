/* Error codes as text for people.
 *
 * Role: the text of every code, from the table in schema/error.h. That file is pasted into the
 * installed leat.h and may declare no functions; hence this one.
 * Must not know: who fails, or why; callers add the object and the value.
 * Threads: any. */
#ifndef LEAT_SCHEMA_ERROR_TEXT_H
#define LEAT_SCHEMA_ERROR_TEXT_H

#include "schema/error.h"

/* Static text, never NULL: "ok" for LEAT_OK, "unknown error" for a code that this build does not
 * know (a newer peer may send one). Takes an int because codes arrive as numbers. */
const char *leat_error_text(int error);

/* The name of the code, such as "LEAT_ERR_TOO_LARGE"; "LEAT_ERR_UNKNOWN" if there is none. */
const char *leat_error_name(int error);

#endif
