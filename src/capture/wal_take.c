/* What is asked of a file before it is archived, and the summary after it. See wal_take.h. */
#include "src/capture/wal_take.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/buf.h"
#include "src/base/clean.h"
#include "src/base/io.h"
#include "src/pg/backup_label.h"
#include "src/pg/lsn.h"
#include "src/pg/timeline_history.h"
#include "src/pg/wal_page.h"
#include "src/pit/summaries.h"

#define PARTIAL ".partial"
/* Segments up to this size stay in memory for their summary; of larger ones it is made when it is asked for. */
#define KEEP_MAX (64u << 20)

enum wal_kind wal_kind_of(const char *name, size_t n)
{
	struct tli t;

	if (n >= WAL_NAME_LEN && wal_name_looks(name, WAL_NAME_LEN)) {
		size_t rest = n - WAL_NAME_LEN;

		if (!rest)
			return WAL_KIND_SEGMENT;
		if (rest == strlen(PARTIAL) && !memcmp(name + WAL_NAME_LEN, PARTIAL, rest))
			return WAL_KIND_PARTIAL;
		return backup_history_name_looks(name, n) ? WAL_KIND_BACKUP : WAL_KIND_NONE;
	}
	return timeline_history_name_parse(name, n, &t) ? WAL_KIND_HISTORY : WAL_KIND_NONE;
}

static ssize_t read_some(const struct wal_input *in, void *p, size_t n)
{
	if (!in->bytes)
		return io_pread(in->fd, p, n, 0);
	if (n > in->size)
		n = (size_t)in->size;
	memcpy(p, in->bytes, n);
	return (ssize_t)n;
}

/* A segment says whose it is; it must be this cluster's, and of the size it says. */
static int check_segment(const struct wal_taker *t, const char *path, const char *name,
	const struct wal_input *in, struct err *e)
{
	_cleanup_(freep) char *bound = NULL;
	uint8_t head[WAL_PAGE_HEAD_LONG];
	struct wal_segment seg;
	char identity[24];
	ssize_t n = read_some(in, head, sizeof(head));
	int r;

	if (n < 0)
		return err_sys(e, (int)n, "reading %s", path);
	r = wal_segment_check(head, (size_t)n, name, strlen(name), 0, &seg, e);
	if (r < 0)
		return err_wrap(e, r, "%s is not archived", path);
	if (in->size != seg.segment_size)
		return err_set(e, -EBADMSG, "%s is not archived: it has %llu bytes, but its header says %u",
			path, (unsigned long long)in->size, seg.segment_size);
	snprintf(identity, sizeof(identity), "%llu", (unsigned long long)seg.system_identifier);
	/* Asked first, so that a read-only look is all that the usual call costs. */
	r = store_cluster_identity(t->store, t->cluster, &bound, NULL);
	if (r == 0 && !strcmp(bound, identity))
		return 0;
	r = store_bind_cluster(t->store, t->cluster, identity, e);
	return r < 0 ? err_wrap(e, r, "%s is not archived", path) : 0;
}

/* What the history of a timeline leads recovery by must be readable. */
static int check_history(const char *path, const char *name, const struct wal_input *in, struct err *e)
{
	_cleanup_(timeline_history_freep) struct timeline_history *h = NULL;
	_cleanup_(freep) void *p = malloc((size_t)in->size + 1);
	ssize_t n = p ? read_some(in, p, (size_t)in->size) : -ENOMEM;
	struct tli t;
	int r;

	if (n < 0)
		return err_sys(e, (int)n, "reading %s", path);
	timeline_history_name_parse(name, strlen(name), &t);
	r = timeline_history_parse(p, (size_t)n, t, &h, e);
	return r < 0 ? err_wrap(e, r, "%s is not archived", path) : 0;
}

static int check(const struct wal_taker *t, const char *path, const char *name, enum wal_kind kind,
	const struct wal_input *in, struct err *e)
{
	switch (kind) {
	case WAL_KIND_NONE:
		return err_set(e, -EINVAL,
			"%s is not archived: \"%s\" names neither a WAL segment nor a history file", path,
			name);
	case WAL_KIND_SEGMENT:
	case WAL_KIND_PARTIAL:
		return check_segment(t, path, name, in, e);
	case WAL_KIND_HISTORY:
	case WAL_KIND_BACKUP:
		break;
	}
	if (in->size > WAL_SMALL_MAX)
		return err_set(e, -EFBIG, "%s is not archived: no history file has %llu bytes", path,
			(unsigned long long)in->size);
	return kind == WAL_KIND_HISTORY ? check_history(path, name, in, e) : 0;
}

/* A summary on its way. */
struct summing {
	const struct wal_taker *taker;
	const char *name;
	const void *bytes;
	size_t size;
	struct wal_note *note; /* NULL: there is none; e may say why */
	struct err e;
};

static void *sum_up(void *arg)
{
	_cleanup_(wal_summary_freep) struct wal_summary *w = NULL;
	struct summing *s = arg;

	if (summaries_make(s->taker->store, s->taker->cluster, s->name, s->bytes, s->size, &w, &s->e) == 0)
		s->note = summaries_stage(s->taker->store, s->taker->cluster, w);
	return NULL;
}

/* The segment is archived. Whoever needs a summary that could not be made makes it then. */
static void sum_keep(struct summing *s)
{
	if (s->note)
		wal_note_publish(s->note, NULL);
	else if (*s->e.text)
		log_msg(s->taker->log, LOG_LEVEL_DEBUG, "no summary of %s yet: %s", s->name, s->e.text);
	wal_note_free(MOVE(s->note));
}

int wal_take_put(const struct wal_taker *t, const char *path, const char *name, const struct wal_input *in,
	bool *ret_known, void **ret_bytes, struct err *e)
{
	enum wal_kind kind = wal_kind_of(name, strlen(name));
	struct wal_input from = *in;
	int r = check(t, path, name, kind, in, e);

	if (r < 0)
		return r;
	from.keep = NULL;
	if (kind == WAL_KIND_SEGMENT && !in->bytes && in->size <= KEEP_MAX) {
		from.keep = buf_large((size_t)in->size);
		if (!from.keep)
			return err_sys(e, -ENOMEM, "%s", path);
	}
	r = wal_put_input(t->store, t->cluster, name, &from, t->threads, ret_known, e);
	*ret_bytes = NULL;
	if (!r && !*ret_known && kind == WAL_KIND_SEGMENT)
		*ret_bytes = in->bytes ? (void *)in->bytes : MOVE(from.keep);
	free(from.keep);
	return r;
}

void wal_take_note(const struct wal_taker *t, const char *name, const void *bytes, uint64_t size)
{
	struct summing sum = {.taker = t, .name = name, .bytes = bytes, .size = (size_t)size};

	if (!bytes)
		return;
	sum_up(&sum);
	sum_keep(&sum);
}

int wal_take(const struct wal_taker *t, const char *path, const char *name, const struct wal_input *in,
	bool *ret_known, struct err *e)
{
	struct summing sum = {.taker = t, .name = name, .bytes = in->bytes, .size = (size_t)in->size};
	bool segment = wal_kind_of(name, strlen(name)) == WAL_KIND_SEGMENT;
	void *bytes = NULL;
	pthread_t thread;
	bool beside;
	int r;

	/* A thread that has the bytes already makes the summary meanwhile, and writes what can be written before. */
	beside = segment && in->bytes && t->threads != 1 && pthread_create(&thread, NULL, sum_up, &sum) == 0;
	r = wal_take_put(t, path, name, in, ret_known, &bytes, e);
	if (beside) {
		pthread_join(thread, NULL);
		if (!r && bytes)
			sum_keep(&sum);
		else
			wal_note_free(sum.note);
	} else if (!r) {
		wal_take_note(t, name, bytes, in->size);
	}
	if (bytes != in->bytes)
		free(bytes);
	return r;
}
