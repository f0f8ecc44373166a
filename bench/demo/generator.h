/* Generator: a synthetic feed for users without a recorded one. It has a book of quotes around a
 * random walk, as depth updates that chain (U == previous u + 1), each with its best bid and ask,
 * and trades between.
 *
 * Role: generates text in the form of a recorded feed; the same seed gives the same text.
 * Must not know: the bus, how a book is rebuilt. */
#ifndef LEAT_BENCH_DEMO_GENERATOR_H
#define LEAT_BENCH_DEMO_GENERATOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Generates `updates` updates; the caller frees *bytes. False: no memory. */
bool generate_feed(char **bytes, size_t *size, uint64_t seed, unsigned updates);

#endif
