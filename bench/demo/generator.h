/* Generator: a synthetic feed, for who has no recorded one: a book of quotes around a random walk,
 * as depth updates that chain (U == previous u + 1), each with its best bid and ask, and trades
 * between.
 *
 * Role: text in the form of a recorded feed, the same for the same seed. Must not know: the bus,
 * how a book is kept. */
#ifndef LEAT_BENCH_DEMO_GENERATOR_H
#define LEAT_BENCH_DEMO_GENERATOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* *bytes is from malloc. False: no memory. */
bool generate_feed(char **bytes, size_t *size, uint64_t seed, unsigned updates);

#endif
