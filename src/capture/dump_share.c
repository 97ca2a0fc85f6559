/* Reading the archives of further processes, and joining what they gave. See dump_share.h. */
#include "src/capture/dump_share.h"

#include <errno.h>
#include <stdlib.h>

#include "src/base/clean.h"
#include "src/pg/dump_join.h"

CLEANUP_DEFINE(struct dump_share, dump_share_free)

void dump_share_free(struct dump_share *s)
{
	if (!s)
		return;
	dump_toc_release(&s->toc);
	dump_data_release(&s->data);
	free(s);
}

int dump_share_read(struct dump_archive *a, dump_read_fn *read, void *arg, const char *name,
	struct dump_share **ret, struct err *e)
{
	_cleanup_(dump_share_freep) struct dump_share *s = calloc(1, sizeof(*s));
	_cleanup_(freep) struct dump_reader *r = malloc(sizeof(*r));
	const struct dump_head *mine = &a->toc.head, *its;
	int res;

	if (!s || !r)
		return err_sys(e, -ENOMEM, "%s", name);
	dump_reader_init(r, read, arg, name);
	res = dump_toc_read(r, &s->toc, e);
	if (res < 0)
		return res;
	its = &s->toc.head;
	if (its->format != DUMP_CUSTOM || its->compression != DUMP_NONE || its->vminor != mine->vminor)
		return err_set(e, -EBADMSG, "%s writes archives of several kinds", name);
	res = dump_data_read(a, &s->toc, r, &s->data, e);
	if (!res)
		*ret = MOVE(s);
	return res;
}

/* One section's streams, under its new number. */
static int append(struct dump_data *d, const struct dump_data *from, const struct dump_data_section *sec,
	int32_t id, struct err *e)
{
	struct dump_data_section *mine = dump_data_section(d);

	if (!mine)
		return err_sys(e, -ENOMEM, "joining dumps");
	mine->id = id;
	for (size_t i = 0; i < sec->n; i++) {
		struct dump_data_stream *st = dump_data_stream(d);

		if (!st)
			return err_sys(e, -ENOMEM, "joining dumps");
		*st = from->streams[sec->first + i];
		mine->n++;
	}
	return 0;
}

int dump_share_join(struct dump_archive *a, struct dump_data *d, struct dump_share *const *shares, size_t n,
	struct err *e)
{
	_cleanup_(freep) struct dump_join *joins = NULL;
	size_t all = 0, at = 0;
	int r;

	for (size_t i = 0; i < n; i++)
		all += shares[i]->data.n;
	joins = calloc(all + 1, sizeof(*joins));
	if (!joins)
		return err_sys(e, -ENOMEM, "joining dumps");
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < shares[i]->data.n; k++)
			joins[at++].from = dump_toc_find(&shares[i]->toc, shares[i]->data.sections[k].id);
	r = dump_join(&a->toc, joins, all, e);
	at = 0;
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < shares[i]->data.n && !r; k++)
			r = append(d, &shares[i]->data, &shares[i]->data.sections[k], joins[at++].id, e);
	return r;
}
