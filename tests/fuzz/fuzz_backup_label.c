/* The small text files of a backup from hostile bytes: each input is read as a backup_label, as a history
 * file and as the tablespace_map of an old and of a new release. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "src/pg/backup_label.h"

static void check(int r, const struct backup_label *l, const struct err *e)
{
	if (r < 0) {
		if (e->code != r || !e->text[0] || l->tli.v)
			abort();
		return;
	}
	if (strlen(l->label) > BACKUP_LABEL_MAX || strlen(l->start_time.text) > BACKUP_TIME_MAX ||
		!l->tli.v || !wal_name_looks(l->start_file, strlen(l->start_file)))
		abort();
	if (l->is_history && (strlen(l->stop_time.text) > BACKUP_TIME_MAX || !l->stop_tli.v))
		abort();
}

static int one(void *arg, struct oid oid, const char *path, struct err *e)
{
	(void)arg;
	(void)e;
	if (!oid.v || path[0] != '/' || strlen(path) > TABLESPACE_PATH_MAX)
		abort();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct backup_label l = {0};
	struct err e = {0};
	int r;

	r = backup_label_parse(data, size, &l, &e);
	check(r, &l, &e);
	l = (struct backup_label){0};
	r = backup_history_parse(data, size, &l, &e);
	check(r, &l, &e);
	tablespace_map_parse(data, size, 13, one, NULL, &e);
	tablespace_map_parse(data, size, 15, one, NULL, &e);
	backup_history_name_looks((const char *)data, size);
	return 0;
}
