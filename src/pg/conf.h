/* postgresql.conf, line by line: names and values (src/backend/utils/misc/guc-file.l, 13 to 18). Pure and thread-safe. Not
 * here: files that are included, and what the settings mean. */
#pragma once

#include <stddef.h>

enum conf_kind {
	CONF_NOTHING, /* empty, or a comment */
	CONF_SETTING, /* also include, include_if_exists, include_dir, whose value is a path */
	CONF_BAD,     /* the server would refuse the file; or no memory */
};

struct conf_line {
	enum conf_kind kind;
	const char *text; /* the line in the file */
	size_t len;	  /* without its line break */
	char *name;	  /* in lower case, as the server compares them (guc_name_compare, guc.c) */
	char *value;	  /* without its quotes */
};
void conf_line_release(struct conf_line *l); /* fine on a zeroed one */

/* The line at *at, which moves to the next one. ret is to be released unless NULL came back: the end. */
const char *conf_next(const char **at, const char *end, struct conf_line *ret);
