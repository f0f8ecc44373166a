/* Scalar vocabulary shared by every module. Names carry the unit at the end. */
#ifndef LEAT_SCHEMA_UNITS_H
#define LEAT_SCHEMA_UNITS_H

#include <stdint.h>

typedef uint64_t leat_ns; /* monotonic nanoseconds; only differences have meaning */

#define LEAT_NS_NEVER UINT64_MAX
#define LEAT_NS_PER_US UINT64_C(1000)
#define LEAT_NS_PER_MS UINT64_C(1000000)
#define LEAT_NS_PER_S UINT64_C(1000000000)

#define LEAT_KIB UINT64_C(1024)
#define LEAT_MIB (UINT64_C(1024) * LEAT_KIB)
#define LEAT_GIB (UINT64_C(1024) * LEAT_MIB)

#define LEAT_OFFSET_NONE UINT64_MAX /* "no offset": never given to a record */

#endif
