/* CRC-32C (Castagnoli), as in iSCSI: reflected polynomial 0x82F63B78, initial value and final
 * xor 0xFFFFFFFF (RFC 3720, appendix B.4). crc32c("123456789") = 0xE3069283.
 *
 * Role: computes the checksum, by the fastest implementation that the processor supports.
 * Must not know: what it protects.
 * Threads: any, once the constructors of the program or library have run. */
#ifndef LEAT_SCHEMA_CRC32C_H
#define LEAT_SCHEMA_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* The checksum of `size` bytes at any alignment. The implementation is chosen once, at load
 * time. */
uint32_t leat_crc32c(const void *bytes, size_t size);

/* Continues a checksum: `crc` is that of the preceding bytes (0: there are none), the next `size`
 * bytes are at `bytes`. For callers that process each piece while it is in the cache. Pieces whose
 * sizes are multiples of LEAT_CRC32C_PIECE_BYTES cost no more than one call for all of them. */
uint32_t leat_crc32c_extend(uint32_t crc, const void *bytes, size_t size);

enum {
    LEAT_CRC32C_PIECE_BYTES = 384,
};

/* Table-driven, on any processor: the reference that tests compare the fast path with. */
uint32_t leat_crc32c_portable(const void *bytes, size_t size);
uint32_t leat_crc32c_extend_portable(uint32_t crc, const void *bytes, size_t size);

/* The implementation in use: "sse4.2+pclmul", "sse4.2" or "portable". Static text. */
const char *leat_crc32c_path(void);

#endif
