/* Tags: checked, joined, found. See tags.h. */
#include "src/cmd/tags.h"

#include <errno.h>
#include <string.h>

#include "src/base/buf.h"
#include "src/base/clean.h"

int tag_check(const char *tag, struct err *e)
{
	size_t n = strlen(tag);

	if (n > 0 && n <= TAG_MAX &&
		strspn(tag, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") == n)
		return 0;
	return err_set(e, -EINVAL,
		"\"%.80s\" cannot be a tag: a tag has 1 to 63 of the characters a-z A-Z 0-9 _ . -", tag);
}

bool tags_have(const char *tags, const char *tag)
{
	size_t n = strlen(tag);

	for (const char *s = tags; s && *s; s += strspn(s, " ")) {
		size_t len = strcspn(s, " ");

		if (len == n && !memcmp(s, tag, n))
			return true;
		s += len;
	}
	return false;
}

int tags_join(const struct cmd_list *given, char **ret, struct err *e)
{
	_cleanup_(freep) char *text = NULL;

	for (size_t i = 0; i < given->n; i++) {
		struct buf b = {0};
		int r = tag_check(given->v[i], e);

		if (r < 0)
			return r;
		if (tags_have(text, given->v[i]))
			continue;
		buf_printf(&b, "%s%s%s", text ? text : "", text ? " " : "", given->v[i]);
		free(text);
		text = buf_steal_str(&b);
		if (!text)
			return err_sys(e, -ENOMEM, "tags");
	}
	*ret = MOVE(text);
	return 0;
}
