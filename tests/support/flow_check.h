/* What holds of a flow at any time, whatever came in.
 *
 * Role: looks at all of it; NULL, or what is wrong.
 * Must not know: tests' frameworks. Threads: the flow's owner's. */
#ifndef LEAT_TESTS_SUPPORT_FLOW_CHECK_H
#define LEAT_TESTS_SUPPORT_FLOW_CHECK_H

#include "transport/flow.h"

const char *flow_check(const struct flow *flow);
const char *sentmap_check(const struct sentmap *map);

#endif
