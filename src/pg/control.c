/* Reading pg_control field by field, in the order of the struct that the server wrote to disk.
 *
 * The grammar for all versions read here (src/include/catalog/pg_control.h, laid out as every 64-bit machine
 * does it; a `.` is a byte of padding, which the CRC covers too):
 *
 *	file = u64 system_identifier, u32 control_version, u32 catalog_version,
 *	       u32 state, ...., i64 time, lsn checkpoint, checkpoint, lsn unlogged,
 *	       lsn min_recovery, tli min_recovery_tli, ...., lsn backup_start, lsn backup_end,
 *	       bool backup_end_required, ..., u32 wal_level, bool wal_log_hints, ...,
 *	       u32 max_connections, u32 max_worker_processes, u32 max_wal_senders, u32 max_prepared_xacts,
 *	       u32 max_locks_per_xact, bool track_commit_timestamp, ..., u32 max_align, f64 1234567.0,
 *	       u32 block_size, u32 relseg_blocks, u32 wal_block_size, u32 wal_segment_size,
 *	       u32 name_data_len, u32 index_max_keys, u32 toast_max_chunk_size, u32 large_object_chunk_size,
 *	       bool float8_by_value, ..., u32 data_checksum_version, [1800: bool default_char_signed],
 *	       u8 nonce[32], [1800: ...], u32 crc, zeroes up to 8192
 *
 *	checkpoint = lsn redo, tli, tli prev, bool full_page_writes, ..., (1300: .... | later: u32 wal_level),
 *	       u64 next_xid, oid next_oid, u32 next_multi, u32 next_multi_offset, u32 oldest_xid,
 *	       oid oldest_xid_db, u32 oldest_multi, oid oldest_multi_db, ...., i64 time,
 *	       u32 oldest_commit_ts_xid, u32 newest_commit_ts_xid, u32 oldest_active_xid, ....
 *
 * Invariant: nothing past the version is believed before the CRC was found right. */
#include "src/pg/control.h"

#include <errno.h>

#include "src/base/crc32c.h"
#include "src/base/cur.h"

#define FLOAT_1234567 0x4132d68700000000ull /* 1234567.0, FLOATFORMAT_VALUE, as IEEE 754 binary64 */

/* What differs between the control versions, PG_CONTROL_VERSION in the branches REL_13 to REL_18. */
struct layout {
	uint32_t version;
	size_t crc_at; /* offsetof(ControlFileData, crc) */
	bool checkpoint_wal_level;
	bool char_signedness;
};

static const struct layout layouts[] = {
	{.version = 1300, .crc_at = 288}, /* 13, 14, 15, 16 */
	{.version = 1700, .crc_at = 288, .checkpoint_wal_level = true},
	{.version = 1800, .crc_at = 292, .checkpoint_wal_level = true, .char_signedness = true},
};

static const struct layout *layout_of(uint32_t version)
{
	for (size_t i = 0; i < sizeof(layouts) / sizeof(*layouts); i++)
		if (layouts[i].version == version)
			return &layouts[i];
	return NULL;
}

unsigned control_major_of_catalog(uint32_t catalog_version)
{
	/* CATALOG_VERSION_NO of src/include/catalog/catversion.h in the release branches: it is frozen at the
	 * release. */
	static const struct {
		uint32_t catalog;
		unsigned major;
	} releases[] = {
		{202007201, 13},
		{202107181, 14},
		{202209061, 15},
		{202307071, 16},
		{202406281, 17},
		{202506291, 18},
	};

	for (size_t i = 0; i < sizeof(releases) / sizeof(*releases); i++)
		if (releases[i].catalog == catalog_version)
			return releases[i].major;
	return 0;
}

const char *control_state_name(enum control_state s)
{
	/* dbState, src/bin/pg_controldata/pg_controldata.c */
	switch (s) {
	case CONTROL_STARTING_UP:
		return "starting up";
	case CONTROL_SHUT_DOWN:
		return "shut down";
	case CONTROL_SHUT_DOWN_IN_RECOVERY:
		return "shut down in recovery";
	case CONTROL_SHUTTING_DOWN:
		return "shutting down";
	case CONTROL_IN_CRASH_RECOVERY:
		return "in crash recovery";
	case CONTROL_IN_ARCHIVE_RECOVERY:
		return "in archive recovery";
	case CONTROL_IN_PRODUCTION:
		return "in production";
	}
	return "unrecognized status code";
}

const char *control_wal_level_name(enum control_wal_level l)
{
	switch (l) {
	case CONTROL_WAL_MINIMAL:
		return "minimal";
	case CONTROL_WAL_REPLICA:
		return "replica";
	case CONTROL_WAL_LOGICAL:
		return "logical";
	}
	return "unrecognized \"wal_level\"";
}

static struct lsn get_lsn(struct cur *c)
{
	return (struct lsn){cur_u64(c)};
}

static struct tli get_tli(struct cur *c)
{
	return (struct tli){cur_u32(c)};
}

static struct oid get_oid(struct cur *c)
{
	return (struct oid){cur_u32(c)};
}

/* A C bool and the padding up to the next member, pad bytes on. */
static bool get_bool(struct cur *c, size_t pad)
{
	bool v = cur_u8(c) != 0;

	cur_bytes(c, pad);
	return v;
}

static void get_checkpoint(struct cur *c, const struct layout *l, struct control_checkpoint *ret)
{
	uint32_t level;

	ret->redo = get_lsn(c);
	ret->tli = get_tli(c);
	ret->prev_tli = get_tli(c);
	ret->full_page_writes = get_bool(c, 3);
	level = cur_u32(c);
	ret->has_wal_level = l->checkpoint_wal_level;
	if (l->checkpoint_wal_level)
		ret->wal_level = level;
	ret->next_xid = cur_u64(c);
	ret->next_oid = get_oid(c);
	ret->next_multi = cur_u32(c);
	ret->next_multi_offset = cur_u32(c);
	ret->oldest_xid = cur_u32(c);
	ret->oldest_xid_db = get_oid(c);
	ret->oldest_multi = cur_u32(c);
	ret->oldest_multi_db = get_oid(c);
	cur_bytes(c, 4);
	ret->time = (int64_t)cur_u64(c);
	ret->oldest_commit_ts_xid = cur_u32(c);
	ret->newest_commit_ts_xid = cur_u32(c);
	ret->oldest_active_xid = cur_u32(c);
	cur_bytes(c, 4);
}

static bool power_of_two(uint32_t v, uint32_t least, uint32_t most)
{
	return v >= least && v <= most && !(v & (v - 1));
}

/* Bytes whose CRC is right and that still say what no server writes are not a pg_control. */
static int check(const struct control *t, uint64_t float_format, struct err *e)
{
	if (!t->system_identifier)
		return err_set(e, -EBADMSG, "pg_control: the system identifier is 0");
	if (t->state > CONTROL_IN_PRODUCTION)
		return err_set(e, -EBADMSG, "pg_control: state %u is not known", (unsigned)t->state);
	if (t->wal_level > CONTROL_WAL_LOGICAL || t->copy.wal_level > CONTROL_WAL_LOGICAL)
		return err_set(e, -EBADMSG, "pg_control: a WAL level is not known");
	if (float_format != FLOAT_1234567)
		return err_set(
			e, -EOPNOTSUPP, "pg_control: written by a machine with other floating-point numbers");
	/* The ranges of --with-blocksize and --with-wal-blocksize, configure.ac. */
	if (!power_of_two(t->block_size, 1024, 32768))
		return err_set(e, -EBADMSG, "pg_control: block size %u cannot be", t->block_size);
	if (!power_of_two(t->wal_block_size, 1024, 65536))
		return err_set(e, -EBADMSG, "pg_control: WAL block size %u cannot be", t->wal_block_size);
	if (!wal_segsize_ok(t->wal_segment_size))
		return err_set(e, -EBADMSG, "pg_control: WAL segment size %u cannot be", t->wal_segment_size);
	return 0;
}

int control_parse(const void *p, size_t n, struct control *ret, struct err *e)
{
	struct cur c = cur_of(p, n);
	struct control t = {0};
	const struct layout *l;
	const uint8_t *nonce;
	uint64_t float_format;
	uint32_t crc;
	int r;

	t.system_identifier = cur_u64(&c);
	t.control_version = cur_u32(&c);
	t.catalog_version = cur_u32(&c);
	if (c.bad)
		return err_set(e, -EBADMSG, "pg_control: %zu bytes are too few", n);
	l = layout_of(t.control_version);
	/* All versions are below 65536, so its bytes in the wrong order end in two zeroes
	 * (so decides get_controlfile, src/common/controldata_utils.c). */
	if (!l && t.control_version % 65536 == 0 && t.control_version)
		return err_set(e, -EOPNOTSUPP,
			"pg_control: written by a server on a big-endian machine, which is not read");
	if (!l)
		return err_set(e, -EOPNOTSUPP, "pg_control version %u is not known (13 to 18 are read)",
			t.control_version);
	if (n < l->crc_at + 4)
		return err_set(e, -EBADMSG, "pg_control: %zu bytes are too few, version %u has %zu", n,
			l->version, l->crc_at + 4);
	crc = crc32c(0, p, l->crc_at);

	t.pg_major = control_major_of_catalog(t.catalog_version);
	t.state = cur_u32(&c);
	cur_bytes(&c, 4);
	t.time = (int64_t)cur_u64(&c);
	t.checkpoint = get_lsn(&c);
	get_checkpoint(&c, l, &t.copy);
	t.unlogged_lsn = get_lsn(&c);
	t.min_recovery_point = get_lsn(&c);
	t.min_recovery_tli = get_tli(&c);
	cur_bytes(&c, 4);
	t.backup_start = get_lsn(&c);
	t.backup_end = get_lsn(&c);
	t.backup_end_required = get_bool(&c, 3);
	t.wal_level = cur_u32(&c);
	t.wal_log_hints = get_bool(&c, 3);
	t.max_connections = cur_u32(&c);
	t.max_worker_processes = cur_u32(&c);
	t.max_wal_senders = cur_u32(&c);
	t.max_prepared_xacts = cur_u32(&c);
	t.max_locks_per_xact = cur_u32(&c);
	t.track_commit_timestamp = get_bool(&c, 3);
	t.max_align = cur_u32(&c);
	float_format = cur_u64(&c);
	t.block_size = cur_u32(&c);
	t.relseg_blocks = cur_u32(&c);
	t.wal_block_size = cur_u32(&c);
	t.wal_segment_size = cur_u32(&c);
	t.name_data_len = cur_u32(&c);
	t.index_max_keys = cur_u32(&c);
	t.toast_max_chunk_size = cur_u32(&c);
	t.large_object_chunk_size = cur_u32(&c);
	t.float8_by_value = get_bool(&c, 3);
	t.data_checksum_version = cur_u32(&c);
	t.has_char_signedness = l->char_signedness;
	if (l->char_signedness)
		t.default_char_signed = get_bool(&c, 0);
	nonce = cur_bytes(&c, sizeof(t.mock_nonce));
	for (size_t i = 0; nonce && i < sizeof(t.mock_nonce); i++)
		t.mock_nonce[i] = nonce[i];
	if (l->char_signedness)
		cur_bytes(&c, 3);
	t.crc = cur_u32(&c);
	if (c.bad || t.crc != crc)
		return err_set(e, -EBADMSG,
			"pg_control: its CRC does not match (0x%08x stored, 0x%08x computed): damaged, torn, "
			"or written by "
			"a 32-bit server",
			t.crc, crc);
	r = check(&t, float_format, e);
	if (r < 0)
		return r;
	*ret = t;
	return 0;
}
