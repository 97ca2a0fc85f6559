/* Tags: words that a backup gets when it is taken, for people and for retention. Kept as the snapshot's property
 * "tags", parted by single spaces. */
#pragma once

#include <stdbool.h>

#include "src/base/err.h"
#include "src/cmd/cmd.h"

#define TAG_MAX 63

/* 1 to 63 of a-z A-Z 0-9 _ . -: -EINVAL with a text for anything else. */
int tag_check(const char *tag, struct err *e);
/* Is this tag among them? tags may be NULL. */
bool tags_have(const char *tags, const char *tag);
/* The property's text from an option's values, each tag once; *ret is NULL when there are none. free() it. */
int tags_join(const struct cmd_list *given, char **ret, struct err *e);

/* clang-format off */
/* The row for a verb's table of options; the target is a struct cmd_list. */
#define CMD_TAG_OPTION(list) \
	{"tag", 0, "TAG", OPTION_LIST, &(list), \
		"a word that the backup gets, for people and for prune --keep-tag\n(may be given several times)"}
/* clang-format on */
