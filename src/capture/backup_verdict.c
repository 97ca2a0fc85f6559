/* The facts of a base backup, judged: is it whole, can it become consistent, and what is recorded of it.
 * See backup_facts.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/clean.h"
#include "src/capture/backup_facts_priv.h"

static int check_present(const struct backup_facts *f, struct err *e)
{
	if (!f->has_version)
		return err_set(e, -EBADMSG, "there is no PG_VERSION: this is not a base backup");
	if (!f->has_label)
		return err_set(e, -EBADMSG,
			"there is no backup_label: this is not a base backup (a data directory that was "
			"copied "
			"without pg_basebackup cannot be trusted to become consistent)");
	if (!f->has_control)
		return err_set(e, -EBADMSG, "there is no %s: this is not a base backup", CONTROL_PATH);
	return 0;
}

static int check_versions(const struct backup_facts *f, const struct manifest_check *mc, struct err *e)
{
	const struct control *c = &f->control;

	if (c->pg_major && c->pg_major != f->major)
		return err_set(e, -EBADMSG, "PG_VERSION says %u, but %s is of PostgreSQL %u", f->major,
			CONTROL_PATH, c->pg_major);
	if (f->major < 13 || f->major > 18)
		return err_set(
			e, -EOPNOTSUPP, "PG_VERSION says %u; backups of 13 to 18 are understood", f->major);
	if (mc && manifest_check_info(mc)->has_system_identifier &&
		manifest_check_info(mc)->system_identifier != c->system_identifier)
		return err_set(e, -EBADMSG,
			"%s has the system identifier %llu, but backup_manifest is of %llu: they belong to "
			"different clusters",
			CONTROL_PATH, (unsigned long long)c->system_identifier,
			(unsigned long long)manifest_check_info(mc)->system_identifier);
	return 0;
}

/* The history file of this very backup, or NULL. */
static const struct backup_label *own_history(const struct backup_facts *f)
{
	unsigned n = f->n_histories < HISTORIES ? f->n_histories : HISTORIES;

	for (unsigned i = 0; i < n; i++)
		if (f->histories[i].start.v == f->label.start.v && f->histories[i].tli.v == f->label.tli.v)
			return &f->histories[i];
	return NULL;
}

static int cmp_wal(const void *a, const void *b)
{
	const struct wal_seen *x = a, *y = b;

	if (x->hi != y->hi)
		return x->hi < y->hi ? -1 : 1;
	if (x->lo != y->lo)
		return x->lo < y->lo ? -1 : 1;
	return x->tli < y->tli ? -1 : x->tli > y->tli;
}

/* Is there a segment of that number on this timeline or a later one? After a switch the newer timeline's file
 * holds what the older one's held. */
static const struct wal_seen *find_wal(const struct backup_facts *f, struct tli tli, uint32_t hi, uint32_t lo)
{
	size_t a = 0, b = f->n_wal;
	struct wal_seen want = {.tli = tli.v, .hi = hi, .lo = lo};

	while (a < b) {
		size_t mid = a + (b - a) / 2;

		if (cmp_wal(&f->wal[mid], &want) < 0)
			a = mid + 1;
		else
			b = mid;
	}
	return a < f->n_wal && f->wal[a].hi == hi && f->wal[a].lo == lo ? &f->wal[a] : NULL;
}

/* Every segment of a range is there, at its full size. Ends at the first that is not, so a range of any
 * length takes no more steps than there are segments. */
static int check_range(const struct backup_facts *f, const struct manifest_wal_range *w, struct err *e)
{
	uint32_t seg_size = f->control.wal_segment_size;
	uint64_t per_hi = (UINT64_C(1) << 32) / seg_size;
	uint64_t last =
		wal_segno((struct lsn){w->end.v > w->start.v ? w->end.v - 1 : w->start.v}, seg_size).v;

	for (uint64_t no = wal_segno(w->start, seg_size).v; no <= last; no++) {
		const struct wal_seen *s =
			find_wal(f, w->tli, (uint32_t)(no / per_hi), (uint32_t)(no % per_hi));
		char name[WAL_NAME_TEXT];

		wal_name(s ? (struct tli){s->tli} : w->tli, (struct segno){no}, seg_size, name);
		if (!s)
			return err_set(e, -EBADMSG,
				"pg_wal/%s is missing: without it the backup cannot become consistent", name);
		if (s->size != seg_size)
			return err_set(e, -EBADMSG,
				"pg_wal/%s has %u bytes, a segment of this cluster has %u", name, s->size,
				seg_size);
	}
	return 0;
}

static int check_wal(struct backup_facts *f, const struct manifest_check *mc, struct lsn stop, struct err *e)
{
	struct manifest_wal_range own = {.tli = f->label.tli, .start = f->label.start, .end = stop};
	const struct manifest_wal_range *w = &own;
	size_t n = 1;

	if (!wal_segsize_ok(f->control.wal_segment_size))
		return err_set(e, -EBADMSG, "%s: WAL segments of %u bytes", CONTROL_PATH,
			f->control.wal_segment_size);
	if (f->n_wal == 0) {
		log_msg(f->log, LOG_LEVEL_WARNING,
			"the backup holds no WAL (pg_basebackup -X none): to start from it, PostgreSQL needs "
			"the "
			"archive from %s on",
			f->label.start_file);
		return 0;
	}
	if (f->n_wal == WAL_SEEN_MAX)
		return 0;
	qsort(f->wal, f->n_wal, sizeof(*f->wal), cmp_wal);
	if (mc && manifest_check_wal(mc, &w) > 0)
		n = manifest_check_wal(mc, &w);
	else
		w = &own;
	for (size_t i = 0; i < n; i++) {
		int r = check_range(f, &w[i], e);

		if (r < 0)
			return r;
	}
	return 0;
}

/* Where the WAL that consistency needs ends: by the manifest, else by the history file; 0: nothing tells. */
static struct lsn stop_lsn(const struct backup_facts *f, const struct manifest_check *mc)
{
	const struct backup_label *h = own_history(f);
	const struct manifest_wal_range *w;
	struct lsn stop = {0};
	size_t n = mc ? manifest_check_wal(mc, &w) : 0;

	for (size_t i = 0; i < n; i++)
		if (w[i].end.v > stop.v)
			stop = w[i].end;
	if (!stop.v && h)
		stop = h->stop;
	return stop;
}

static void settle_times(struct backup_facts *f, struct tstamp now, struct snapshot *snap)
{
	const struct backup_label *h = own_history(f);

	snap->start = f->label.start_time.resolved ? f->label.start_time.at : f->started;
	if (h && h->stop_time.resolved)
		snap->stop = h->stop_time.at;
	else if (f->has_manifest_time && f->manifest_time.sec > 0)
		snap->stop = f->manifest_time;
	else if (f->has_newest)
		snap->stop = f->newest;
	/* A file's time is a guess at the end, and one from the future would be `latest` for ever. */
	if (snap->stop.sec <= 0 || (!h && tstamp_cmp(snap->stop, now) > 0))
		snap->stop = now;
	if (snap->start.sec && tstamp_cmp(snap->stop, snap->start) < 0)
		snap->stop = snap->start;
}

/* Properties are UTF-8; labels and paths are what the server's encoding made of them. Bytes that are none
 * become \xNN. */
static int put_bytes(struct snapshot *snap, const char *key, const char *text)
{
	struct buf b = {0};
	const uint8_t *s = (const uint8_t *)text;
	_cleanup_(freep) char *clean = NULL;

	while (*s) {
		static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
		unsigned n = *s < 0x80	 ? 1
			     : *s < 0xc2 ? 0
			     : *s < 0xe0 ? 2
			     : *s < 0xf0 ? 3
			     : *s < 0xf5 ? 4
					 : 0;
		uint32_t c = n == 1 ? *s : n ? *s & (0xffu >> (n + 1)) : 0;
		bool ok = n > 0;

		for (unsigned i = 1; ok && i < n; i++) {
			ok = (s[i] & 0xc0) == 0x80;
			c = c << 6 | (s[i] & 0x3fu);
		}
		/* Overlong forms, surrogates and what lies beyond Unicode: RFC 3629, section 3. */
		ok = ok && c >= least[n] && c <= 0x10ffff && (c < 0xd800 || c > 0xdfff);
		if (ok)
			buf_put(&b, s, n);
		else
			buf_printf(&b, "\\x%02x", *s);
		s += ok ? n : 1;
	}
	clean = buf_steal_str(&b);
	return clean ? snapshot_put_text(snap, key, clean) : -ENOMEM;
}

/* "16385=/srv/ts1", a line each: where the tablespaces were at their origin. tablespace_map knows that; a
 * link of a plain backup leads to where pg_basebackup put it. */
static int put_tablespaces(const struct backup_facts *f, struct snapshot *snap)
{
	struct buf b = {0};
	_cleanup_(freep) char *text = NULL;

	if (!f->n_places)
		return 0;
	for (size_t i = 0; i < f->n_places; i++) {
		const struct place *p = &f->places[i];
		const char *where = p->mapped ? p->mapped : p->link ? p->link : "";

		buf_printf(&b, "%s%u=%s", i ? "\n" : "", p->oid.v, where);
	}
	text = buf_steal_str(&b);
	return text ? put_bytes(snap, "tablespaces", text) : -ENOMEM;
}

static int put_number_text(struct snapshot *snap, const char *key, uint64_t n)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)n);
	return snapshot_put_text(snap, key, text);
}

static int put_lsn(struct snapshot *snap, const char *key, struct lsn l)
{
	char text[LSN_TEXT];

	return snapshot_put_text(snap, key, lsn_text(l, text));
}

/* JSON numbers lose digits above 2^53, so the system identifier is text. */
static int put_all(
	const struct backup_facts *f, const struct manifest_check *mc, struct lsn stop, struct snapshot *snap)
{
	const struct control *c = &f->control;
	const struct backup_label *l = &f->label;
	int r = put_number_text(snap, "pg_version", f->major);

	if (r == 0)
		r = put_number_text(snap, "system_identifier", c->system_identifier);
	if (r == 0)
		r = snapshot_put_number(snap, "timeline", l->tli.v);
	if (r == 0)
		r = put_lsn(snap, "start_lsn", l->start);
	if (r == 0 && stop.v)
		r = put_lsn(snap, "stop_lsn", stop);
	if (r == 0)
		r = put_lsn(snap, "checkpoint_lsn", l->checkpoint);
	if (r == 0)
		r = put_bytes(snap, "label", l->label);
	if (r == 0)
		r = snapshot_put_text(snap, "backup_method", l->streamed ? "streamed" : "pg_start_backup");
	if (r == 0)
		r = snapshot_put_text(snap, "backup_from", l->from_standby ? "standby" : "primary");
	if (r == 0 && !l->start_time.resolved)
		r = put_bytes(snap, "start_time_text", l->start_time.text);
	if (r == 0)
		r = snapshot_put_text(snap, "manifest", mc ? "verified" : "absent");
	if (r == 0)
		r = snapshot_put_number(snap, "pg_control_version", c->control_version);
	if (r == 0)
		r = snapshot_put_number(snap, "catalog_version", c->catalog_version);
	if (r == 0)
		r = snapshot_put_number(snap, "block_size", c->block_size);
	if (r == 0)
		r = snapshot_put_number(snap, "wal_segment_size", c->wal_segment_size);
	if (r == 0)
		r = snapshot_put_bool(snap, "data_checksums", c->data_checksum_version != 0);
	if (r == 0)
		r = snapshot_put_bool(snap, "wal_included", f->n_wal > 0);
	return r == 0 ? put_tablespaces(f, snap) : r;
}

int backup_facts_settle(struct backup_facts *f, const struct manifest_check *mc, struct tstamp now,
	struct snapshot *snap, struct err *e)
{
	struct lsn stop;
	int r = check_present(f, e);

	if (r == 0)
		r = check_versions(f, mc, e);
	if (r < 0)
		return r;
	stop = stop_lsn(f, mc);
	r = check_wal(f, mc, stop, e);
	if (r < 0)
		return r;
	if (!stop.v)
		log_msg(f->log, LOG_LEVEL_WARNING,
			"nothing says where the backup's WAL ends (no manifest, no backup history file): "
			"stop_lsn is left out");
	settle_times(f, now, snap);
	r = put_all(f, mc, stop, snap);
	return r < 0 ? err_sys(e, r, "properties of the snapshot") : 0;
}
