/* Little-endian loads and stores on byte arrays of any alignment. Compilers emit one instruction.
 * No other file converts byte order. */
#ifndef LEAT_SCHEMA_BYTES_H
#define LEAT_SCHEMA_BYTES_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t leat_load16(const void *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return le16toh(v);
}

static inline uint32_t leat_load32(const void *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return le32toh(v);
}

static inline uint64_t leat_load64(const void *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return le64toh(v);
}

static inline void leat_store16(void *p, uint16_t v)
{
    v = htole16(v);
    memcpy(p, &v, sizeof v);
}

static inline void leat_store32(void *p, uint32_t v)
{
    v = htole32(v);
    memcpy(p, &v, sizeof v);
}

static inline void leat_store64(void *p, uint64_t v)
{
    v = htole64(v);
    memcpy(p, &v, sizeof v);
}

#endif
