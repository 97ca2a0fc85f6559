/* A branch is tidied when it is opened: a journal that says most things many times is written anew from the table, and files
 * of blocks that belong to nothing are removed.
 *
 * Invariant: at each moment `log` is a whole journal of the same tree. The new one is on disk before it takes the name.
 * Not for a branch that is in use: nobody else may have it yet. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/branch_core.h"
#include "src/base/clean.h"
#include "src/base/fault.h"
#include "src/base/io.h"

#define LOG_SMALL (UINT64_C(1) << 20) /* not worth it */
#define LOG_TIMES 2		      /* times as long as it would be */

CLEANUP_DEFINE(struct branch_log, branch_log_free)

static int count_record(void *arg, const struct buf *record, struct err *e)
{
	(void)e;
	*(uint64_t *)arg += BRANCH_RECORD_HEADER + record->len;
	return 0;
}

static int append_record(void *arg, const struct buf *record, struct err *e)
{
	uint64_t end;

	return branch_log_append(arg, record->data, record->len, &end, e);
}

static int no_record(void *arg, const uint8_t *p, size_t n, struct err *e)
{
	(void)arg, (void)p, (void)n;
	return err_set(e, -EBADMSG, "a new log has records");
}

/* The table as a journal at `path`, on disk when the branch is durable. */
static int write_log(struct branch *b, const char *path, struct branch_log **ret, struct err *e)
{
	_cleanup_(branch_log_freep) struct branch_log *log = NULL;
	int r = io_unlink(path);

	if (r < 0 && r != -ENOENT)
		return err_sys(e, r, "%s", path);
	r = branch_log_open(path, b->durable, no_record, NULL, &log, e);
	if (r >= 0)
		r = branch_table_dump(&b->table, append_record, log, e);
	if (r >= 0)
		r = branch_log_sync(log, branch_log_end(log), e);
	if (r < 0)
		return r;
	*ret = MOVE(log);
	return 0;
}

static int tidy_log(struct branch *b, struct err *e)
{
	_cleanup_(freep) char *path = io_join(b->path, "log"), *fresh = io_join(b->path, "log.new");
	_cleanup_(branch_log_freep) struct branch_log *log = NULL;
	uint64_t size = 0, end = branch_log_end(b->log);
	int r;

	if (end < LOG_SMALL)
		return 0;
	if (!path || !fresh)
		return err_set(e, -ENOMEM, "no memory for a branch");
	r = branch_table_dump(&b->table, count_record, &size, e);
	if (r < 0 || end / LOG_TIMES < size)
		return r;
	r = write_log(b, fresh, &log, e);
	if (r == -ENOSPC || r == -EDQUOT) {
		/* The long one is as good. */
		(void)!unlink(fresh);
		return 0;
	}
	if (r >= 0)
		r = fault_at("branch-log-rename");
	if (r >= 0 && rename(fresh, path) < 0)
		r = err_sys(e, -errno, "%s", path);
	if (r < 0)
		return r;
	fault_note_path(FAULT_RENAME, fresh, path);
	branch_log_free(b->log);
	b->log = MOVE(log);
	return b->durable ? io_sync_dir(b->path, e) : 0;
}

/* Whether a file of that name has bytes of the branch. */
static bool is_needed(struct branch *b, const char *name)
{
	char *end, again[BRANCH_FILE_NAME];
	uint64_t number = strtoull(name, &end, 10);
	const struct branch_node *n;

	/* What we do not name like that is not ours to remove. */
	if (*end || strcmp(branch_file_name(number, again), name) != 0)
		return true;
	n = branch_table_node(&b->table, number);
	return n && n->st.blocks;
}

static int tidy_files(struct branch *b, struct err *e)
{
	DIR *d = opendir(b->files_path);
	struct dirent *de;

	if (!d)
		return err_sys(e, -errno, "%s", b->files_path);
	while ((de = readdir(d)))
		if (!is_needed(b, de->d_name))
			branch_remove_file(b, de->d_name);
	closedir(d);
	return 0;
}

int branch_tidy(struct branch *b, struct err *e)
{
	int r = tidy_files(b, e);

	return r < 0 ? r : tidy_log(b, e);
}
