/* A tree node from hostile bytes. What is read is well-formed, in order, and can be copied; what was read can be
 * written and read again. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "store/node.h"

static void check_name(const char *name, const char *last)
{
	if (!*name || strlen(name) > TREE_NAME_MAX || strchr(name, '/') || !strcmp(name, ".") ||
		!strcmp(name, "..") || (*last && strcmp(last, name) >= 0))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char last[TREE_NAME_MAX + 1] = "";
	struct leaf leaf = {0};
	struct buf out = {0};
	struct node n;
	struct entry en;
	struct node_child c;
	struct err e = {0};
	uint64_t count = 0;
	int r = node_open(&n, data, size, &e);

	if (r < 0) {
		if (r != -EBADMSG || !e.text[0])
			abort();
		return 0;
	}
	if (n.level >= NODE_LEVELS)
		abort();
	while ((r = n.level ? node_child(&n, &c, &e) : node_entry(&n, &en, &e)) > 0) {
		struct entry *copy;

		check_name(n.level ? c.first : en.name, last);
		strcpy(last, n.level ? c.first : en.name);
		count++;
		if (n.level) {
			if (c.entries > c.descendants)
				abort();
			continue;
		}
		if (en.meta.mode > 07777 || en.meta.mtime.nsec > 999999999 || strlen(en.meta.user) > 255)
			abort();
		copy = entry_dup(&en);
		if (!copy || strcmp(copy->name, en.name) != 0 || copy->type != en.type)
			abort();
		if (en.type == ENTRY_FILE && en.file.inlined &&
			memcmp(copy->file.inlined, en.file.inlined, en.file.size) != 0)
			abort();
		if (leaf_add(&leaf, copy) < 0)
			abort();
		free(copy);
	}
	node_done(&n);
	if (r < 0 && (r != -EBADMSG || !e.text[0]))
		abort();
	if (r == 0 && n.level == 0) {
		leaf_write(&leaf, &out);
		if (leaf.n != count || node_open(&n, out.data, out.len, &e) < 0)
			abort();
		while ((r = node_entry(&n, &en, &e)) > 0)
			count--;
		if (r < 0 || count)
			abort();
		node_done(&n);
	}
	leaf_free(&leaf);
	buf_free(&out);
	return 0;
}
