/* CRC-32C (Castagnoli), as in iSCSI: reflected polynomial 0x82F63B78, initial value and final
 * xor 0xFFFFFFFF (RFC 3720, appendix B.4). crc32c("123456789") = 0xE3069283.
 *
 * Role: the checksum, by the fastest path the processor has.
 * Must not know: what is being protected.
 * Threads: any, once the constructors of the program or library have run. */
#ifndef LEAT_SCHEMA_CRC32C_H
#define LEAT_SCHEMA_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* The checksum of `size` bytes at any alignment. Uses the processor's instruction when it has
 * one, chosen once at load time. */
uint32_t leat_crc32c(const void *bytes, size_t size);

/* The checksum of a run whose first part has checksum `crc` (0 when there is none) and whose next
 * `size` bytes are at `bytes`. For callers that do something else with each piece while it is in
 * the cache. Pieces that are multiples of LEAT_CRC32C_PIECE_BYTES cost no more than one run. */
uint32_t leat_crc32c_extend(uint32_t crc, const void *bytes, size_t size);

enum {
    LEAT_CRC32C_PIECE_BYTES = 384,
};

/* The same by tables, on any processor: the reference the fast path is tested against. */
uint32_t leat_crc32c_portable(const void *bytes, size_t size);
uint32_t leat_crc32c_extend_portable(uint32_t crc, const void *bytes, size_t size);

/* Which path leat_crc32c takes: "sse4.2+pclmul", "sse4.2" or "portable". Static text. */
const char *leat_crc32c_path(void);

#endif
