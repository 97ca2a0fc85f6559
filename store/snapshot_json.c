/* A snapshot as JSON, in the words of NAMESPACE's contract. See snapshot.h. */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "store/snapshot.h"

/* Text that is not UTF-8 (a label of an old server) is shown with its odd bytes as U+FFFD. */
static json_t *text(const char *s)
{
	json_t *j = json_string(s);
	struct buf b = {0};
	char *fixed;

	if (j)
		return j;
	for (; *s; s++) {
		if ((unsigned char)*s < 0x80)
			buf_put_u8(&b, (uint8_t)*s);
		else
			buf_put(&b, "\xef\xbf\xbd", 3);
	}
	fixed = buf_steal_str(&b);
	j = fixed ? json_string(fixed) : NULL;
	free(fixed);
	return j;
}

static json_t *text_or_null(const char *s)
{
	return s && *s ? text(s) : json_null();
}

static json_t *when(struct tstamp t)
{
	char out[TSTAMP_TEXT];

	return t.sec ? json_string(tstamp_rfc3339(t, out)) : json_null();
}

static json_t *number(uint64_t n)
{
	return json_integer((json_int_t)n);
}

static json_t *value(const struct property *p)
{
	switch (p->type) {
	case PROPERTY_TEXT:
		return text(p->text);
	case PROPERTY_NUMBER:
		return number(p->number);
	case PROPERTY_BOOL:
		return json_boolean(p->number != 0);
	}
	return json_null();
}

/* "a b" as ["a","b"]. */
static json_t *words(const char *s)
{
	json_t *a = json_array();

	for (s += strspn(s, " "); a && *s; s += strspn(s, " ")) {
		size_t n = strcspn(s, " ");
		char *word = strndup(s, n);

		if (!word || json_array_append_new(a, text(word)) < 0) {
			free(word);
			json_decref(a);
			return NULL;
		}
		free(word);
		s += n;
	}
	return a;
}

static int append(const char *p, size_t n, void *arg)
{
	buf_put(arg, p, n);
	return 0;
}

int snapshot_json(const struct snapshot *s, unsigned indent, struct buf *b)
{
	static const char *const expected[] = {
		"database", "timeline", "start_lsn", "stop_lsn", "pg_version", "system_identifier", "tags"};
	json_t *o = json_object();
	int r = 0;

	if (!o)
		return -ENOMEM;
	r |= json_object_set_new(o, "id", text_or_null(s->id));
	r |= json_object_set_new(o, "cluster", text_or_null(s->cluster));
	r |= json_object_set_new(o, "kind", json_string(snapshot_kind_name(s->kind)));
	r |= json_object_set_new(o, "start_time", when(s->start));
	r |= json_object_set_new(o, "stop_time", when(s->stop));
	r |= json_object_set_new(o, "created", when(s->created));
	r |= json_object_set_new(o, "parent", text_or_null(s->parent));
	/* Scripts may rely on the keys of the contract, known or not. */
	for (size_t i = 0; i < sizeof(expected) / sizeof(*expected); i++)
		r |= json_object_set_new(
			o, expected[i], strcmp(expected[i], "tags") ? json_null() : json_array());
	for (size_t i = 0; i < s->n_props; i++) {
		const struct property *p = &s->props[i];
		const json_t *have = json_object_get(o, p->key);

		/* No property takes the place of what the store says. */
		if (!have || json_is_null(have))
			r |= json_object_set_new(o, p->key, value(p));
		else if (json_is_array(have) && p->type == PROPERTY_TEXT)
			r |= json_object_set_new(o, p->key, words(p->text));
	}
	r |= json_object_set_new(o, "files", number(s->files));
	r |= json_object_set_new(o, "directories", number(s->dirs));
	r |= json_object_set_new(o, "symlinks", number(s->symlinks));
	r |= json_object_set_new(o, "logical_bytes", number(s->logical_bytes));
	r |= json_object_set_new(o, "unique_bytes", number(s->unique_bytes));
	r |= json_object_set_new(o, "stored_bytes", number(s->stored_bytes));
	if (!r)
		r = json_dump_callback(o, append, b, indent ? JSON_INDENT(indent) : JSON_COMPACT);
	json_decref(o);
	return r || b->bad ? -ENOMEM : 0;
}
