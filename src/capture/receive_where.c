/* Where the receiver goes on: what the repository has, which timelines led to the server's, what the slot holds. See
 * receive_priv.h. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/capture/receive_priv.h"
#include "store/wal_partial.h"

#define NEAR 64 /* archived segments behind one that is not: so far ahead archive_command may be */

/* ---- timelines ---- */

/* Fetches a history file and archives it. -ENODATA: the server does not have it. Free *ret. */
static int fetch_history(struct receiver *r, struct tli t, void **ret, size_t *ret_len, struct err *e)
{
	_cleanup_(freep) char *name = NULL;
	_cleanup_(freep) void *p = NULL;
	struct wal_input in = {.fd = -1};
	bool known;
	int n = replication_history(r->c, t, &name, &p, ret_len, e);

	if (n < 0)
		return n;
	in.bytes = p;
	in.size = *ret_len;
	n = wal_take(&r->taker, name, name, &in, &known, e);
	if (n < 0)
		return n;
	*ret = MOVE(p);
	return 0;
}

/* A server that was replaced, and came back. Its WAL has names of its own, so it does no harm. */
static int look_for_newer(struct receiver *r, struct err *e)
{
	char **groups, *end;
	unsigned long newest = 0;
	int n = wal_groups(r->store, r->cluster, &groups, e);

	if (n < 0)
		return n;
	for (size_t i = 0; groups[i]; i++) {
		_cleanup_(freep) char *digits = strndup(groups[i], 8);
		unsigned long t = digits ? strtoul(digits, &end, 16) : 0;

		if (t > newest && strlen(digits) == 8 && !*end)
			newest = t;
	}
	strv_free(groups);
	if (newest > r->server.tli.v)
		log_msg(r->log, LOG_LEVEL_WARNING,
			"the server is on timeline %u, the repository has WAL of timeline %lu: is it the "
			"right "
			"server?",
			r->server.tli.v, newest);
	return 0;
}

int receive_histories(struct receiver *r, struct err *e)
{
	_cleanup_(freep) void *p = NULL;
	size_t len = 0;
	int n = 0;

	timeline_history_free(MOVE(r->history));
	n = look_for_newer(r, e);
	if (!n && r->server.tli.v > 1)
		n = fetch_history(r, r->server.tli, &p, &len, e);
	if (!n)
		n = timeline_history_parse(p ? p : "", len, r->server.tli, &r->history, e);
	for (size_t i = 0; !n && i < r->history->n; i++) {
		_cleanup_(freep) void *old = NULL;
		struct tli t = r->history->steps[i].tli;
		char name[TIMELINE_HISTORY_TEXT];
		struct wal_info info;

		if (t.v < 2 ||
			wal_stat(r->store, r->cluster, timeline_history_name(t, name), &info, NULL) == 0)
			continue;
		n = fetch_history(r, t, &old, &len, e);
		if (n == -ENODATA) {
			log_msg(r->log, LOG_LEVEL_INFO, "%s", e ? e->text : name);
			n = 0;
		}
	}
	return n;
}

/* ---- the slot ---- */

struct slot_facts {
	bool there;
	struct lsn at;
};

/* slot_type, restart_lsn, restart_tli (ReadReplicationSlot, src/backend/replication/walsender.c, 15 and later). */
static int take_slot(void *arg, unsigned column, const char *value, size_t len, bool null, struct err *e)
{
	struct slot_facts *f = arg;

	if (column == 0)
		f->there = !null;
	if (column == 1 && !null && !lsn_parse(value, len, &f->at))
		return err_set(e, -EREMOTEIO, "READ_REPLICATION_SLOT: \"%.40s\" is no position", value);
	return 0;
}

int receive_slot(struct receiver *r, struct lsn *ret_at, struct err *e)
{
	_cleanup_(freep) char *quoted = NULL;
	struct slot_facts f = {0};
	bool tells = r->server.version >= 150000;
	int n = 0;

	*ret_at = (struct lsn){0};
	if (!r->slot[0])
		return 0;
	quoted = replication_identifier(r->c, r->slot);
	if (!quoted)
		return err_sys(e, -ENOMEM, "slot %s", r->slot);
	if (tells)
		n = replication_command(r->c, take_slot, &f, e, "READ_REPLICATION_SLOT %s", quoted);
	if (!n && !f.there && !r->slot_made) {
		n = replication_command(
			r->c, NULL, NULL, e, "CREATE_REPLICATION_SLOT %s PHYSICAL RESERVE_WAL", quoted);
		if (!n)
			log_msg(r->log, LOG_LEVEL_INFO, "replication slot %s was made", r->slot);
		if (n == -EEXIST && !tells)
			n = 0;
		if (!n && tells)
			n = replication_command(r->c, take_slot, &f, e, "READ_REPLICATION_SLOT %s", quoted);
	}
	if (!n) {
		r->slot_made = true;
		*ret_at = f.at;
	}
	return n;
}

/* ---- what the repository has ---- */

struct found {
	bool any;
	struct lsn at;
};

/* The newest archived segment of a timeline. */
static int newest_archived(struct receiver *r, struct tli t, bool *ret_any, struct segno *ret, struct err *e)
{
	char **groups, prefix[9];
	size_t n = 0;
	int bad = wal_groups(r->store, r->cluster, &groups, e);

	*ret_any = false;
	if (bad < 0)
		return bad;
	snprintf(prefix, sizeof(prefix), "%08" PRIX32, t.v);
	while (groups[n])
		n++;
	while (n-- > 0 && !bad && !*ret_any) {
		char **names = NULL;
		size_t k = 0;

		if (strncmp(groups[n], prefix, 8) != 0)
			continue;
		bad = wal_names(r->store, r->cluster, groups[n], &names, e);
		while (!bad && names[k])
			k++;
		while (k-- > 0 && !*ret_any) {
			struct tli of;

			*ret_any =
				wal_name_parse(names[k], strlen(names[k]), r->server.segment_size, &of, ret);
		}
		strv_free(names);
	}
	strv_free(groups);
	return bad;
}

static bool is_archived(struct receiver *r, struct tli t, struct segno s)
{
	char name[WAL_NAME_TEXT];
	struct wal_info info;

	return wal_stat(r->store, r->cluster, wal_name(t, s, r->server.segment_size, name), &info, NULL) !=
	       -ENOENT;
}

/* The newest partial of a timeline whose segment is not archived. Those that are archived are remains of a receiver
 * that was killed between the two, and are removed. */
static int newest_partial(
	struct receiver *r, struct tli t, bool *ret_any, struct segno *ret, uint64_t *ret_len, struct err *e)
{
	char **names;
	int n = wal_partial_names(r->store, r->cluster, &names, e);

	*ret_any = false;
	if (n < 0)
		return n;
	for (size_t i = 0; names[i] && !n; i++) {
		struct wal_partial_info info;
		struct segno s;
		struct tli of;

		if (!wal_name_parse(names[i], strlen(names[i]), r->server.segment_size, &of, &s) ||
			of.v != t.v)
			continue;
		if (is_archived(r, of, s)) {
			n = wal_partial_remove(r->store, r->cluster, names[i], e);
			continue;
		}
		n = wal_partial_stat(r->store, r->cluster, names[i], &info, e);
		/* Without a piece that can be read, or whole and yet not archived: received anew. */
		if (n == -ENOENT || n == -EBADMSG || (!n && info.length >= r->server.segment_size)) {
			info.length = 0;
			n = 0;
		}
		*ret_any = true;
		*ret = s;
		*ret_len = info.length;
	}
	strv_free(names);
	return n;
}

static int look(struct receiver *r, struct tli t, struct found *ret, struct err *e)
{
	uint32_t size = r->server.segment_size;
	struct segno archived = {0}, partial = {0};
	bool have_archived = false, have_partial = false;
	uint64_t len = 0, s;
	char name[WAL_NAME_TEXT];
	int n = newest_archived(r, t, &have_archived, &archived, e);

	*ret = (struct found){0};
	if (!n)
		n = newest_partial(r, t, &have_partial, &partial, &len, e);
	if (n < 0)
		return n;
	ret->any = have_archived || have_partial;
	if (have_archived)
		ret->at = wal_segment_start((struct segno){archived.v + 1}, size);
	if (!have_partial)
		return 0;
	/* Archived segments behind it came by archive_command, which has it, too, or will. */
	for (s = partial.v + 1; have_archived && s <= archived.v && s - partial.v <= NEAR; s++) {
		if (!is_archived(r, t, (struct segno){s}))
			break;
	}
	if (!have_archived || s > archived.v) {
		ret->at.v = wal_segment_start(partial, size).v + len;
		return 0;
	}
	log_msg(r->log, LOG_LEVEL_WARNING, "segment %s is not complete in the repository, but later ones are",
		wal_name(t, partial, size, name));
	return 0;
}

int receive_where(
	struct receiver *r, struct lsn slot_at, struct tli *ret_tli, struct lsn *ret_at, struct err *e)
{
	uint32_t size = r->server.segment_size;
	struct lsn begin = {0};
	struct found f;
	int n;

	*ret_tli = r->server.tli;
	/* The newest timeline first; `begin` is where the one looked at leaves its parent. */
	for (size_t i = r->history->n + 1; i-- > 0;) {
		struct tli t = i == r->history->n ? r->server.tli : r->history->steps[i].tli;

		if (i < r->history->n)
			begin = r->history->steps[i].end;
		n = look(r, t, &f, e);
		if (n < 0)
			return n;
		if (!f.any)
			continue;
		*ret_tli = t;
		*ret_at = f.at;
		if (i == r->history->n || f.at.v < begin.v)
			return 0;
		/* All of it is here: on to its child, from the begin of the segment where that leaves it. */
		*ret_tli = i + 1 == r->history->n ? r->server.tli : r->history->steps[i + 1].tli;
		*ret_at = wal_segment_start(wal_segno(begin, size), size);
		return 0;
	}
	*ret_at = slot_at.v ? slot_at : r->server.at;
	*ret_tli = timeline_of_lsn(r->history, *ret_at);
	*ret_at = wal_segment_start(wal_segno(*ret_at, size), size);
	return 0;
}
