/* What the writing and the reading half of the WAL archive share: for wal_put.c and wal.c only. */
#pragma once

#include "store/wal.h"
#include "store/wal_object.h"

#define WAL_TREE "wal"
#define WAL_MAGIC_END 0x444e4557u /* "WEND" */
#define WAL_HEAD 32
#define WAL_TRAILER 64
#define WAL_FRAME_MAX (1u << 20)
#define WAL_FRAME_ENTRY 16

struct wal_frame {
	uint32_t len, crc; /* in the object */
	uint32_t raw_crc;
	uint8_t codec;
};
