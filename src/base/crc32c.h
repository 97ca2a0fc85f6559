/* CRC-32C (Castagnoli), the checksum of PostgreSQL's pg_control, WAL and backup manifests
 * (src/include/port/pg_crc32c.h) and of every record of ours. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* The CRC of the bytes so far (0 for none) continued over n more. Thread-safe. Check value of
 * "123456789": 0xe3069283 (RFC 3720, appendix B.4). */
uint32_t crc32c(uint32_t crc, const void *p, size_t n);

/* crc32c_combine in two steps, for many B of one length: crc32c_join(crc32c_shift(len_b), crc_a, crc_b). */
uint32_t crc32c_shift(uint64_t len_b);
uint32_t crc32c_join(uint32_t shift, uint32_t crc_a, uint32_t crc_b);
/* The CRC of A followed by B, from the CRCs of both and B's length in bytes. Thread-safe, O(log len_b). */
uint32_t crc32c_combine(uint32_t crc_a, uint32_t crc_b, uint64_t len_b);
