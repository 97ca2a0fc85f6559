/* Joining tables of contents. See dump_join.h. */
#include "src/pg/dump_join.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/clean.h"

CLEANUP_DEFINE(struct dump_tables, dump_tables_free)

/* teSection, pg_backup.h */
#define SECTION_DATA 3
#define SECTION_POST_DATA 4

struct dump_tables {
	size_t n;
	const struct dump_entry *by_oid[];
};

static int cmp_oid(const void *a, const void *b)
{
	const struct dump_entry *x = *(const struct dump_entry *const *)a,
				*y = *(const struct dump_entry *const *)b;

	return strcmp(x->oid, y->oid);
}

int dump_tables_new(const struct dump_toc *t, struct dump_tables **ret, struct err *e)
{
	struct dump_tables *d = calloc(1, sizeof(*d) + (t->n + 1) * sizeof(d->by_oid[0]));

	if (!d)
		return err_sys(e, -ENOMEM, "the contents of a dump");
	for (size_t i = 0; i < t->n; i++)
		if (!strcmp(t->entries[i].desc, "TABLE") && t->entries[i].oid)
			d->by_oid[d->n++] = &t->entries[i];
	qsort(d->by_oid, d->n, sizeof(d->by_oid[0]), cmp_oid);
	*ret = d;
	return 0;
}

void dump_tables_free(struct dump_tables *d)
{
	free(d);
}

const struct dump_entry *dump_tables_find(const struct dump_tables *d, const char *oid)
{
	const struct dump_entry key = {.oid = (char *)oid}, *pkey = &key;
	const struct dump_entry *const *found =
		bsearch(&pkey, d->by_oid, d->n, sizeof(d->by_oid[0]), cmp_oid);

	return found ? *found : NULL;
}

static int cmp_text(const char *a, const char *b)
{
	return strcmp(a ? a : "", b ? b : "");
}

/* The order of the data of tables (DOTypeNameCompare in pg_dump_sort.c). */
static int cmp_table(const struct dump_entry *x, const struct dump_entry *y)
{
	int r = cmp_text(x->schema, y->schema);

	return r ? r : cmp_text(x->tag, y->tag);
}

static int cmp_join(const void *a, const void *b)
{
	const struct dump_join *x = *(const struct dump_join *const *)a,
			       *y = *(const struct dump_join *const *)b;

	return cmp_table(x->from, y->from);
}

/* Above every number that is an entry's or named by one. */
static int64_t first_free(const struct dump_toc *t)
{
	int64_t most = 0;

	for (size_t i = 0; i < t->n; i++) {
		const struct dump_entry *en = &t->entries[i];

		most = en->id > most ? en->id : most;
		for (size_t d = 0; d < en->n_deps; d++) {
			long long dep = strtoll(en->deps[d], NULL, 10);

			most = dep > most ? dep : most;
		}
	}
	return most + 1;
}

/* Where data begins. */
static size_t data_at(const struct dump_toc *t)
{
	size_t at = 0;

	while (at < t->n && t->entries[at].section != SECTION_DATA &&
		t->entries[at].section != SECTION_POST_DATA)
		at++;
	return at;
}

static bool keep(struct dump_toc *t, char **text)
{
	if (*text)
		*text = dump_toc_keep(t, *text, strlen(*text));
	return *text != NULL;
}

/* A copy that lives with t. Fields that were NULL stay so. */
static int copy_entry(struct dump_toc *t, const struct dump_entry *from, const struct dump_entry *table,
	int32_t id, struct dump_entry *ret)
{
	struct dump_entry en = *from;
	char **const texts[] = {&en.class_oid, &en.oid, &en.tag, &en.desc, &en.defn, &en.drop, &en.copy,
		&en.schema, &en.tablespace, &en.access_method, &en.owner, &en.with_oids};
	char dep[16];
	int n = snprintf(dep, sizeof(dep), "%d", table->id);

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (*texts[i] && !keep(t, texts[i]))
			return -ENOMEM;
	en.id = id;
	en.offset_state = DUMP_OFFSET_NOT_SET;
	en.offset = 0;
	en.file = NULL;
	en.deps = calloc(1, sizeof(*en.deps));
	en.n_deps = en.deps ? 1 : 0;
	if (en.deps)
		en.deps[0] = dump_toc_keep(t, dep, (size_t)n);
	if (!en.deps || !en.deps[0]) {
		free(en.deps);
		return -ENOMEM;
	}
	*ret = en;
	return 0;
}

static int check(const struct dump_toc *t, const struct dump_tables *tables, struct dump_join **by, size_t n,
	struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		const struct dump_entry *en = by[i]->from;

		if (!dump_entry_is_table(en) || !en->oid || !dump_tables_find(tables, en->oid))
			return err_set(e, -EBADMSG, "pg_dump gave %s %s, which the dump does not have",
				en->desc, en->tag);
		if (i && !cmp_table(en, by[i - 1]->from))
			return err_set(e, -EBADMSG, "pg_dump gave the data of %s twice", en->tag);
	}
	for (size_t i = 0; i < t->n; i++) {
		const struct dump_join key = {&t->entries[i], 0}, *pkey = &key;

		if (dump_entry_is_table(key.from) &&
			bsearch(&pkey, by, n, sizeof(struct dump_join *), cmp_join))
			return err_set(e, -EBADMSG, "pg_dump gave the data of %s twice", key.from->tag);
	}
	return 0;
}

int dump_join(struct dump_toc *t, struct dump_join *v, size_t n, struct err *e)
{
	_cleanup_(dump_tables_freep) struct dump_tables *tables = NULL;
	_cleanup_(freep) struct dump_join **by = calloc(n + 1, sizeof(*by));
	_cleanup_(freep) struct dump_entry *all = calloc(t->n + n + 1, sizeof(*all)), *added = NULL;
	size_t at = data_at(t), next = 0;
	int64_t id = first_free(t);
	int r = by && all ? dump_tables_new(t, &tables, e) : err_sys(e, -ENOMEM, "joining dumps");

	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++)
		by[i] = &v[i];
	qsort(by, n, sizeof(struct dump_join *), cmp_join);
	r = check(t, tables, by, n, e);
	if (r < 0)
		return r;
	if (id + (int64_t)n > INT32_MAX)
		return err_set(e, -EOPNOTSUPP, "a dump of more than %d entries", INT32_MAX);
	added = calloc(n + 1, sizeof(*added));
	for (size_t i = 0; i < n && !r; i++) {
		const struct dump_entry *table = dump_tables_find(tables, by[i]->from->oid);

		by[i]->id = (int32_t)(id + (int64_t)i);
		r = added ? copy_entry(t, by[i]->from, table, by[i]->id, &added[i]) : -ENOMEM;
		if (r < 0)
			while (i--)
				free(added[i].deps);
	}
	if (!added || r < 0)
		return err_sys(e, -ENOMEM, "joining dumps");
	memcpy(all, t->entries, at * sizeof(*all));
	for (size_t out = at; out < t->n + n; out++) {
		/* What is no table's data (sequences, large objects) comes behind all that is. */
		bool table = at < t->n && dump_entry_is_table(&t->entries[at]);
		bool mine = next < n && (!table || cmp_table(&added[next], &t->entries[at]) < 0);

		all[out] = mine ? added[next++] : t->entries[at++];
	}
	free(t->entries);
	t->entries = MOVE(all);
	t->n += n;
	return dump_toc_sort(t, e);
}
