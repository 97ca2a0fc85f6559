/* From a path or a pipe to the published snapshot of a dump. See import_dump.h. */
#include "src/capture/import_dump.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "src/base/clean.h"
#include "src/base/io.h"
#include "src/capture/base_publish.h"
#include "src/capture/dump_archive.h"
#include "src/capture/dump_plain.h"
#include "src/capture/dump_source.h"

#define LOOK_AHEAD (4u << 20)
#define HEAD_BYTES 512
#define FORMAT_AT 10 /* of a custom archive's head */
#define USTAR_AT 257

CLEANUP_DEFINE(struct dump_source, dump_source_free)

enum form { FORM_CUSTOM, FORM_DIRECTORY, FORM_TAR, FORM_PLAIN };
static const char *const form_names[] = {"custom", "directory", "tar", "plain"};
static const char *const form_titles[] = {"CUSTOM", "DIRECTORY", "TAR", "PLAIN"};

struct import {
	struct store *store;
	const char *cluster;
	const struct import_dump_options *o;
	enum form form;
	struct tstamp file_time;
	struct dump_archive a;
	struct dump_plain_facts plain;
	struct snapshot *snap;
};

static void import_release(struct import *im)
{
	dump_tree_free(im->a.tree);
	dump_archive_release(&im->a);
	snapshot_free(im->snap);
}

/* The head has the dumping machine's local time without its zone; like pg_restore, we take it for ours. */
static struct tstamp time_of(const struct import *im)
{
	const struct dump_head *h = &im->a.toc.head;
	struct tm tm = {.tm_sec = h->sec,
		.tm_min = h->min,
		.tm_hour = h->hour,
		.tm_mday = h->mday,
		.tm_mon = h->month,
		.tm_year = h->year,
		.tm_isdst = h->isdst};
	time_t t = im->form == FORM_PLAIN ? -1 : mktime(&tm);

	if (im->o->time.sec)
		return im->o->time;
	return t > 0 ? (struct tstamp){.sec = t} : im->file_time;
}

static int put_text(struct snapshot *s, const char *key, const char *text)
{
	return text && *text ? snapshot_put_text(s, key, text) : 0;
}

/* What is known before the data: whose dump it is, and when it was made. Makes the tree. */
static int on_known(void *arg, struct err *e)
{
	static const char *const compressions[] = {"none", "gzip", "lz4", "zstd"};
	struct import *im = arg;
	const struct dump_head *h = &im->a.toc.head;
	bool plain = im->form == FORM_PLAIN;
	struct dump_tree_options o = {.threads = im->o->threads, .time = time_of(im), .stop = im->o->stop};
	const char *server = plain ? im->plain.server_version : h->server_version;

	o.database = im->o->database		  ? im->o->database
		     : plain && im->plain.cluster ? "pg_dumpall"
		     : plain			  ? im->plain.database
						  : h->database;
	if (!o.database || !*o.database)
		return err_set(e, -EINVAL,
			"%s does not say which database it is of: say it with --database NAME", im->a.name);
	im->a.database = o.database;
	im->a.cluster = plain && im->plain.cluster;
	im->snap = snapshot_new();
	if (!im->snap || (!im->plain.globals && snapshot_put_text(im->snap, "database", o.database) < 0) ||
		put_text(im->snap, "pg_version", server) < 0 ||
		put_text(im->snap, "dump_version", plain ? im->plain.dump_version : h->dump_version) < 0 ||
		snapshot_put_text(im->snap, "format", form_names[im->form]) < 0 ||
		(im->a.cluster && snapshot_put_bool(im->snap, "pg_dumpall", true) < 0) ||
		(!plain && snapshot_put_text(im->snap, "compression", compressions[h->compression]) < 0) ||
		put_text(im->snap, "tags", im->o->tags) < 0)
		return err_sys(e, -ENOMEM, "%s", im->a.name);
	if (im->plain.globals)
		o.database = NULL;
	return dump_tree_new(im->store, im->cluster, im->plain.globals ? SNAPSHOT_GLOBALS : SNAPSHOT_DUMP, &o,
		&im->a.tree, e);
}

/* As late as can be: a binding is for good. */
static int bind_cluster(const struct import *im, struct err *e)
{
	char identity[24];
	int r = base_check_identity(im->store, im->cluster, im->o->system, e);

	snprintf(identity, sizeof(identity), "%llu", (unsigned long long)im->o->system);
	return r < 0 ? r : store_bind_cluster(im->store, im->cluster, identity, e);
}

static int publish(struct import *im, struct snapshot **ret, struct err *e)
{
	int r = im->form == FORM_PLAIN ? 0 : dump_archive_check_blobs(&im->a, e);

	if (!r && im->form != FORM_PLAIN)
		r = dump_archive_texts(&im->a, form_titles[im->form], e);
	if (!r)
		r = dump_archive_views(&im->a, e);
	if (!r && !im->plain.globals &&
		(snapshot_put_number(im->snap, "tables", im->a.tables) < 0 ||
			snapshot_put_number(im->snap, "large_objects", im->a.blobs) < 0 ||
			snapshot_put_number(im->snap, "data_bytes", im->a.data_bytes) < 0))
		r = err_sys(e, -ENOMEM, "%s", im->a.name);
	if (!r && im->o->confirm)
		r = im->o->confirm(im->o->arg, e);
	if (!r && im->o->system)
		r = bind_cluster(im, e);
	if (!r)
		r = dump_tree_publish(im->a.tree, im->snap, e);
	if (!r)
		*ret = MOVE(im->snap);
	return r;
}

static int take_file(struct import *im, struct dump_source *src, struct err *e)
{
	struct dump_reader *reader = malloc(sizeof(*reader));
	int r = 0;

	if (!reader)
		return err_sys(e, -ENOMEM, "%s", im->a.name);
	dump_reader_init(reader, dump_source_read, src, im->a.name);
	switch (im->form) {
	case FORM_CUSTOM:
		r = dump_toc_read(reader, &im->a.toc, e);
		if (!r)
			r = on_known(im, e);
		if (!r)
			r = dump_archive_custom(&im->a, reader, e);
		break;
	case FORM_TAR:
		r = dump_archive_tar(&im->a, reader, on_known, im, e);
		break;
	case FORM_PLAIN:
		r = on_known(im, e);
		if (!r)
			r = dump_plain_take(&im->a, im->plain.globals, dump_source_read, src, e);
		break;
	case FORM_DIRECTORY:
		break;
	}
	free(reader);
	return r;
}

static int detect(struct import *im, struct dump_source *src, struct err *e)
{
	const uint8_t *p;
	size_t n;
	bool whole;
	int r = dump_source_peek(src, HEAD_BYTES, &p, &n, &whole, e);

	if (r < 0)
		return r;
	if (n > FORMAT_AT && !memcmp(p, DUMP_MAGIC, DUMP_MAGIC_LEN)) {
		im->form = FORM_CUSTOM;
		if (p[FORMAT_AT] == DUMP_CUSTOM)
			return 0;
		return err_set(e, -EINVAL,
			"%s is the list of contents of a dump in directory format: give the directory",
			im->a.name);
	}
	if (n == HEAD_BYTES && !memcmp(p + USTAR_AT, "ustar", 5) && !strcmp((const char *)p, "toc.dat")) {
		im->form = FORM_TAR;
		return 0;
	}
	im->form = FORM_PLAIN;
	r = dump_source_peek(src, LOOK_AHEAD, &p, &n, &whole, e);
	if (r < 0)
		return r;
	if (dump_plain_looks(p, n, whole, &im->plain))
		return 0;
	return err_set(e, -EINVAL,
		"%s is no dump: neither an archive of pg_dump nor SQL that pg_dump or pg_dumpall wrote",
		im->a.name);
}

int capture_import_dump_fd(struct store *s, int fd, const char *name, const char *cluster,
	const struct import_dump_options *o, struct snapshot **ret, struct err *e)
{
	_cleanup_(dump_source_freep) struct dump_source *src = NULL;
	_cleanup_(import_release) struct import im = {.store = s,
		.cluster = cluster,
		.o = o,
		.a = {.name = name, .others = o->others, .lock = PTHREAD_MUTEX_INITIALIZER}};
	struct stat st;
	int r = store_check_cluster_name(cluster, e);

	if (!r && fstat(fd, &st) < 0)
		r = err_sys(e, -errno, "%s", name);
	if (r < 0)
		return r;
	im.file_time = S_ISREG(st.st_mode) ? (struct tstamp){st.st_mtim.tv_sec, (uint32_t)st.st_mtim.tv_nsec}
					   : clock_now();
	if (S_ISREG(st.st_mode))
		meter_total(o->meter, (uint64_t)st.st_size);
	r = dump_source_new(fd, name, o->meter, o->stop, &src, e);
	if (!r)
		r = detect(&im, src, e);
	if (!r)
		r = take_file(&im, src, e);
	return r < 0 ? r : publish(&im, ret, e);
}

static ssize_t read_fd(void *arg, void *p, size_t n, struct err *e)
{
	ssize_t got = io_read(*(int *)arg, p, n);

	return got < 0 ? err_sys(e, (int)got, "reading toc.dat") : got;
}

static int read_directory_toc(struct import *im, const char *dir, struct err *e)
{
	_cleanup_(freep) char *path = io_join(dir, "toc.dat");
	_cleanup_(freep) struct dump_reader *reader = malloc(sizeof(*reader));
	_cleanup_(closep) int fd = -1;
	struct stat st;
	uint8_t more;
	int r;

	if (!path || !reader)
		return err_sys(e, -ENOMEM, "%s", dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return err_set(e, -EINVAL, "%s is no dump in directory format: it holds no toc.dat", dir);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, -errno, "%s", path);
	im->file_time = (struct tstamp){st.st_mtim.tv_sec, (uint32_t)st.st_mtim.tv_nsec};
	dump_reader_init(reader, read_fd, &fd, path);
	r = dump_toc_read(reader, &im->a.toc, e);
	if (!r)
		r = dump_reader_byte_or_end(reader, &more, e);
	if (r > 0)
		r = dump_reader_bad(reader, e, "bytes behind the last entry");
	if (!r && im->a.toc.head.format == DUMP_CUSTOM)
		r = dump_reader_bad(reader, e, "contents of a dump in custom format");
	return r;
}

static int import_directory(struct store *s, const char *path, const char *cluster,
	const struct import_dump_options *o, struct snapshot **ret, struct err *e)
{
	_cleanup_(import_release) struct import im = {.store = s,
		.cluster = cluster,
		.o = o,
		.form = FORM_DIRECTORY,
		.a = {.name = path, .lock = PTHREAD_MUTEX_INITIALIZER}};
	int r = store_check_cluster_name(cluster, e);

	if (!r)
		r = read_directory_toc(&im, path, e);
	if (!r)
		r = on_known(&im, e);
	if (!r)
		r = dump_archive_directory(&im.a, path, e);
	return r < 0 ? r : publish(&im, ret, e);
}

int capture_import_dump(struct store *s, const char *path, const char *cluster,
	const struct import_dump_options *o, struct snapshot **ret, struct err *e)
{
	_cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, -errno, "%s", path);
	return S_ISDIR(st.st_mode) ? import_directory(s, path, cluster, o, ret, e)
				   : capture_import_dump_fd(s, fd, path, cluster, o, ret, e);
}
