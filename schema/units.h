/* Scalar types and units for all modules. Names end with the unit. */
#ifndef LEAT_SCHEMA_UNITS_H
#define LEAT_SCHEMA_UNITS_H

#include <stdint.h>

typedef uint64_t leat_ns; /* monotonic; only differences have a meaning */

#define LEAT_NS_NEVER UINT64_MAX
#define LEAT_NS_PER_US UINT64_C(1000)
#define LEAT_NS_PER_MS UINT64_C(1000000)
#define LEAT_NS_PER_S UINT64_C(1000000000)

#define LEAT_KIB UINT64_C(1024)
#define LEAT_MIB (UINT64_C(1024) * LEAT_KIB)
#define LEAT_GIB (UINT64_C(1024) * LEAT_MIB)

#define LEAT_OFFSET_NONE UINT64_MAX /* "no offset": no record has it */

#endif
