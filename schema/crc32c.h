/* CRC-32C (Castagnoli), as in iSCSI: reflected polynomial 0x82F63B78, initial value and final
 * xor 0xFFFFFFFF (RFC 3720, appendix B.4). crc32c("123456789") = 0xE3069283.
 *
 * Must not know: what is being protected. */
#ifndef LEAT_SCHEMA_CRC32C_H
#define LEAT_SCHEMA_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* The checksum of `size` bytes. Uses the processor's instruction when it has one, chosen once
 * at load time. Any thread. */
uint32_t leat_crc32c(const void *bytes, size_t size);

/* The same by tables, on any processor: the reference the fast path is tested against. */
uint32_t leat_crc32c_portable(const void *bytes, size_t size);

/* Which path leat_crc32c takes: "sse4.2", "sse4.2+pclmul", "portable" ... Static text. */
const char *leat_crc32c_path(void);

#endif
