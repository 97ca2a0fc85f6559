/* The streams of BASE_BACKUP as parts. See backup_copy.h. */
#include "src/capture/backup_copy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/clean.h"

#define SPACES_MAX 100000 /* tablespaces of one cluster */
#define TYPED_VERSION 150000

struct backup_copy {
	struct replication *c;
	struct meter *meter;
	backup_copy_fn *each;
	void *arg;
	struct backup_start start;
	struct backup_space *spaces;
	bool *came;	 /* of each of the spaces */
	uint64_t kib;	 /* what the server says it will send */
	bool typed;	 /* 15 and later */
	bool in_part;	 /* bytes may be pulled */
	bool manifest;	 /* the manifest's part has begun */
	size_t n_parts;	 /* archives that have begun */
	char *announced; /* typed: the message that began the next part, not taken yet */
	struct lsn stop;
	struct tar_source source;
};

static int odd(struct err *e, const char *what)
{
	return err_set(e, -EBADMSG, "BASE_BACKUP: the server sent %s", what);
}

/* ---- the rows before and after ---- */

static int parse_number(const char *text, uint64_t max, uint64_t *ret)
{
	uint64_t v = 0;

	if (!text || !*text)
		return -EINVAL;
	for (; *text; text++) {
		if (*text < '0' || *text > '9' || v > (max - (uint64_t)(*text - '0')) / 10)
			return -EINVAL;
		v = v * 10 + (uint64_t)(*text - '0');
	}
	*ret = v;
	return 0;
}

/* Both the first row and the last: position, timeline. */
static int parse_position(const char *const *v, unsigned n, struct lsn *at, struct tli *tli, struct err *e)
{
	uint64_t t;

	if (n < 2 || !v[0] || !lsn_parse(v[0], strlen(v[0]), at) || parse_number(v[1], UINT32_MAX, &t) < 0 ||
		!t || !at->v)
		return odd(e, "no position in the WAL where one was expected");
	*tli = (struct tli){(uint32_t)t};
	return 0;
}

static int on_start(void *arg, const char *const *values, unsigned n, struct err *e)
{
	struct backup_copy *b = arg;

	return parse_position(values, n, &b->start.at, &b->start.tli, e);
}

static int on_space(void *arg, const char *const *v, unsigned n, struct err *e)
{
	struct backup_copy *b = arg;
	struct backup_space *spaces;
	uint64_t oid = 0, kib;

	if (n < 3 || !v[0] != !v[1] || (v[0] && (parse_number(v[0], UINT32_MAX, &oid) < 0 || !oid)))
		return odd(e, "a list of tablespaces that is none");
	if (b->start.n_spaces == SPACES_MAX)
		return odd(e, "more tablespaces than a cluster can have");
	spaces = reallocarray(b->spaces, b->start.n_spaces + 1, sizeof(*spaces));
	if (!spaces)
		return err_sys(e, -ENOMEM, "BASE_BACKUP");
	b->spaces = spaces;
	b->start.spaces = spaces;
	spaces += b->start.n_spaces;
	*spaces = (struct backup_space){.oid = {(uint32_t)oid}, .location = v[1] ? strdup(v[1]) : NULL};
	b->start.n_spaces++;
	if (v[1] && !spaces->location)
		return err_sys(e, -ENOMEM, "BASE_BACKUP");
	if (parse_number(v[2], UINT64_MAX >> 11, &kib) == 0)
		b->kib += kib;
	return 0;
}

static int on_stop(void *arg, const char *const *values, unsigned n, struct err *e)
{
	struct backup_copy *b = arg;
	struct tli tli;

	return parse_position(values, n, &b->stop, &tli, e);
}

/* ---- the parts ---- */

static ssize_t next_piece(void *arg, const void **ret, struct err *e)
{
	struct backup_copy *b = arg;

	while (b->in_part) {
		const uint8_t *p;
		const void *message;
		size_t n;
		int r = replication_copy(b->c, &message, &n, e);

		if (r != 1) {
			b->in_part = false;
			return r == 2 ? odd(e, "fewer archives than it had announced") : r;
		}
		p = message;
		if (b->typed) {
			if (n < 1)
				return odd(e, "a message without a type");
			if (*p == 'p') /* how far it is: what has come is counted here */
				continue;
			if (*p == 'n' || *p == 'm') {
				free(b->announced);
				b->announced = strndup(message, n);
				b->in_part = false;
				return b->announced ? 0 : err_sys(e, -ENOMEM, "BASE_BACKUP");
			}
			if (*p != 'd')
				return odd(e, "a message of a type that is not known");
			p++;
			n--;
		}
		r = b->each ? b->each(b->arg, e) : 0;
		if (r < 0)
			return r;
		meter_add(b->meter, n, 0);
		if (n) {
			*ret = p;
			return (ssize_t)n;
		}
	}
	return 0;
}

/* "base.tar", "OID.tar": which of the spaces. */
static size_t find_space(const struct backup_copy *b, const char *name)
{
	for (size_t i = 0; i < b->start.n_spaces; i++) {
		char want[24] = "base.tar";

		if (b->spaces[i].location)
			snprintf(want, sizeof(want), "%u.tar", b->spaces[i].oid.v);
		if (!strcmp(name, want))
			return i;
	}
	return SIZE_MAX;
}

static int begin_archive(
	struct backup_copy *b, size_t i, const struct backup_space **ret_space, struct err *e)
{
	if (b->manifest || i >= b->start.n_spaces || b->came[i])
		return odd(e, "an archive that it had not announced");
	b->came[i] = b->in_part = true;
	b->n_parts++;
	*ret_space = &b->spaces[i];
	return BACKUP_ARCHIVE;
}

static int begin_manifest(struct backup_copy *b, struct err *e)
{
	if (b->manifest || b->n_parts < b->start.n_spaces)
		return odd(e, "the manifest before all archives had come");
	b->manifest = b->in_part = true;
	return BACKUP_MANIFEST;
}

/* Since 15: the message that began the part, which has to be read for when it is the first. */
static int next_typed(struct backup_copy *b, const struct backup_space **ret_space, struct err *e)
{
	_cleanup_(freep) char *m = NULL;
	const void *p;
	ssize_t n = 0;

	if (!b->announced && !b->n_parts) {
		b->in_part = true;
		n = next_piece(b, &p, e);
	}
	if (n)
		return n < 0 ? (int)n : odd(e, "data before it said of what");
	m = MOVE(b->announced);
	if (!m)
		return BACKUP_END;
	return *m == 'm' ? begin_manifest(b, e) : begin_archive(b, find_space(b, m + 1), ret_space, e);
}

/* Before 15: by the order. */
static int next_untyped(struct backup_copy *b, const struct backup_space **ret_space, struct err *e)
{
	if (b->n_parts < b->start.n_spaces)
		return begin_archive(b, b->n_parts, ret_space, e);
	return b->manifest ? BACKUP_END : begin_manifest(b, e);
}

int backup_copy_next(struct backup_copy *b, enum backup_part *ret, const struct backup_space **ret_space,
	struct lsn *ret_stop, struct err *e)
{
	int r = b->typed ? next_typed(b, ret_space, e) : next_untyped(b, ret_space, e);

	if (r < 0)
		return r;
	if (r == BACKUP_END) {
		if (!b->manifest)
			return odd(e, "no manifest");
		r = replication_backup_end(b->c, on_stop, b, e);
		if (r < 0)
			return r;
		if (!b->stop.v)
			return odd(e, "no position where the backup ends");
		*ret_stop = b->stop;
		*ret = BACKUP_END;
		return 0;
	}
	*ret = (enum backup_part)r;
	return 0;
}

const struct tar_source *backup_copy_source(struct backup_copy *b)
{
	return &b->source;
}

bool backup_copy_unmarked(const struct backup_copy *b)
{
	return !b->typed;
}

const struct backup_start *backup_copy_start(const struct backup_copy *b)
{
	return &b->start;
}

/* ---- the whole ---- */

int backup_copy_begin(struct replication *c, const char *command, struct meter *m, backup_copy_fn *each,
	void *arg, struct backup_copy **ret, struct err *e)
{
	_cleanup_(backup_copy_freep) struct backup_copy *b = calloc(1, sizeof(*b));
	int r;

	if (!b)
		return err_sys(e, -ENOMEM, "BASE_BACKUP");
	b->c = c;
	b->meter = m;
	b->each = each;
	b->arg = arg;
	b->typed = replication_server(c)->version >= TYPED_VERSION;
	b->source = (struct tar_source){.next = next_piece, .arg = b};
	r = replication_backup(c, command, on_start, on_space, b, e);
	if (r < 0)
		return r;
	if (!b->start.at.v || !b->start.n_spaces)
		return odd(e, "no position where the backup begins, or nothing to back up");
	b->came = calloc(b->start.n_spaces, sizeof(*b->came));
	if (!b->came)
		return err_sys(e, -ENOMEM, "BASE_BACKUP");
	meter_total(m, b->kib << 10);
	*ret = MOVE(b);
	return 0;
}

void backup_copy_free(struct backup_copy *b)
{
	if (!b)
		return;
	for (size_t i = 0; i < b->start.n_spaces; i++)
		free(b->spaces[i].location);
	free(b->spaces);
	free(b->came);
	free(b->announced);
	free(b);
}
