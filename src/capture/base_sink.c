/* The way of a base backup's entries into the store. See base_sink.h.
 *
 * A file behind a descriptor is read by the ingest's workers, which also tell its CRC-32C: nothing passes
 * through here. Only where the manifest asks for SHA-2 are its bytes read here, hashed and pushed. */
#include "src/capture/base_sink.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/base/clean.h"
#include "src/base/io.h"
#include "src/capture/checksum.h"

#define READ_SIZE (1u << 20)

struct base_sink {
	struct base_sink_options o;
	struct ingest *in;
	pthread_mutex_t lock; /* rank: above the ingest's; guards o.facts and the adding of entries to `in` */
	struct checksum *sums[MANIFEST_SHA512 + 1]; /* made when first needed */
	uint8_t *buf;				    /* READ_SIZE, made when first needed */
};

struct base_file {
	struct base_sink *k;
	struct ingest_file *f;
	struct checksum *sum; /* the sink's; NULL: none is wanted */
	uint64_t size, got;
	size_t want; /* the facts want to see it whole */
	struct buf seen;
	char path[BASE_PATH_MAX];
};

static const char data[] = BASE_DATA "/", spaces[] = BASE_TABLESPACES "/", links[] = "pg_tblspc/";

bool base_local_path(const char *path, char out[BASE_LOCAL_MAX])
{
	int n;

	if (!strncmp(path, data, sizeof(data) - 1))
		n = snprintf(out, BASE_LOCAL_MAX, "%s", path + sizeof(data) - 1);
	else if (!strncmp(path, spaces, sizeof(spaces) - 1))
		n = snprintf(out, BASE_LOCAL_MAX, "%s%s", links, path + sizeof(spaces) - 1);
	else if (!strcmp(path, TABLESPACE_MAP_PATH))
		n = snprintf(out, BASE_LOCAL_MAX, "%s", path);
	else
		return false;
	return n < BASE_LOCAL_MAX;
}

char *base_snapshot_path(const char *local, char out[BASE_PATH_MAX])
{
	bool space = !strncmp(local, links, sizeof(links) - 1);

	snprintf(
		out, BASE_PATH_MAX, "%s%s", space ? spaces : data, space ? local + sizeof(links) - 1 : local);
	return out;
}

/* Called by the ingest's workers. */
static int on_file(void *arg, const char *path, uint64_t size, uint32_t crc, struct err *e)
{
	struct base_sink *k = arg;
	char local[BASE_LOCAL_MAX];

	meter_add(k->o.meter, size, 1);
	if (!k->o.manifest || !base_local_path(path, local))
		return 0;
	return manifest_check_crc(k->o.manifest, local, strlen(local), size, crc, e);
}

int base_sink_new(struct store *s, const char *cluster, const struct base_sink_options *o,
	struct base_sink **ret, struct err *e)
{
	struct base_sink *k = calloc(1, sizeof(*k));
	struct ingest_options io = {.threads = o->threads, .on_file = on_file, .arg = k};
	int r;

	if (!k)
		return err_sys(e, -ENOMEM, "import");
	k->o = *o;
	pthread_mutex_init(&k->lock, NULL);
	r = ingest_new(s, cluster, SNAPSHOT_BASE, &io, &k->in, e);
	if (r < 0) {
		base_sink_free(k);
		return r;
	}
	*ret = k;
	return 0;
}

void base_sink_free(struct base_sink *k)
{
	if (!k)
		return;
	ingest_free(k->in);
	for (size_t i = 0; i < sizeof(k->sums) / sizeof(k->sums[0]); i++)
		checksum_free(k->sums[i]);
	free(k->buf);
	pthread_mutex_destroy(&k->lock);
	free(k);
}

int base_sink_dir(struct base_sink *k, const char *path, const struct meta *m, struct err *e)
{
	int r;

	pthread_mutex_lock(&k->lock);
	r = ingest_dir(k->in, path, m, e);
	pthread_mutex_unlock(&k->lock);
	return r;
}

int base_sink_symlink(
	struct base_sink *k, const char *path, const struct meta *m, const char *target, struct err *e)
{
	int r;

	pthread_mutex_lock(&k->lock);
	r = ingest_symlink(k->in, path, m, target, e);
	pthread_mutex_unlock(&k->lock);
	return r;
}

int base_sink_tablespace_link(
	struct base_sink *k, struct oid oid, const struct meta *m, const char *target, struct err *e)
{
	char path[64], to[64];
	int r;

	pthread_mutex_lock(&k->lock);
	r = backup_facts_link(k->o.facts, oid, target, e);
	pthread_mutex_unlock(&k->lock);
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), BASE_DATA "/pg_tblspc/%u", oid.v);
	snprintf(to, sizeof(to), "../../" BASE_TABLESPACES "/%u", oid.v);
	return base_sink_symlink(k, path, m, to, e);
}

/* What a file's name and size alone decide, under the lock. tablespace_map would make the server put the links back to where
 * the tablespaces were at their origin (read_tablespace_map's caller, src/backend/access/transam/
 * xlogrecovery.c), which on that very machine is the production data: it is kept beside data/, where nobody
 * acts on it. One without lines does nothing and stays, so that pg_verifybackup misses nothing. */
static int note_file(struct base_sink *k, const char **path, const struct meta *m, uint64_t size,
	char local[BASE_LOCAL_MAX], size_t *want, struct err *e)
{
	size_t n;
	int r;

	if (!base_local_path(*path, local))
		return err_set(e, -ENAMETOOLONG, "%s: the path is too long", *path);
	if (!strcmp(local, TABLESPACE_MAP_PATH) && size > 0)
		*path = TABLESPACE_MAP_PATH;
	n = strlen(local);
	*want = backup_facts_want(k->o.facts, local, n);
	if (*want && size > *want)
		return err_set(e, -EBADMSG, "%s has %llu bytes, which is too much for what it is", local,
			(unsigned long long)size);
	r = backup_facts_file(k->o.facts, local, n, size, m->mtime, e);
	return r < 0 ? r : 0;
}

/* Gives the checksum that the manifest wants of a file and that the workers do not compute; NULL for none. */
static int wanted_sum(struct base_sink *k, const char *local, struct checksum **ret, struct err *e)
{
	enum manifest_algorithm a;
	int r;

	*ret = NULL;
	if (!k->o.manifest)
		return 0;
	r = manifest_check_algorithm(k->o.manifest, local, strlen(local), &a, e);
	if (r < 0 || !manifest_is_sha(a))
		return r;
	if (!k->sums[a]) {
		r = checksum_new(a, &k->sums[a], e);
		if (r < 0)
			return r;
	}
	*ret = k->sums[a];
	return 0;
}

/* Shows the facts a small file behind a descriptor, whose offset does not move. */
static int show_facts(
	struct base_sink *k, const char *local, int fd, uint64_t size, const char *name, struct err *e)
{
	_cleanup_(freep) uint8_t *p = malloc((size_t)size + 1);
	ssize_t n;

	if (!p)
		return err_sys(e, -ENOMEM, "%s", name);
	n = io_pread(fd, p, (size_t)size, 0);
	if (n < 0)
		return err_sys(e, (int)n, "%s", name);
	return backup_facts_take(k->o.facts, local, p, (size_t)n, e);
}

/* Reads fd to its end through a pushed file. */
static int push_file(struct base_sink *k, const char *path, const struct meta *m, int fd, uint64_t size,
	const char *name, struct err *e)
{
	struct base_file *f;
	int r = 0;

	if (!k->buf)
		k->buf = malloc(READ_SIZE);
	if (!k->buf)
		return err_sys(e, -ENOMEM, "%s", name);
	posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	r = base_sink_open(k, path, m, size, &f, e);
	if (r < 0)
		return r;
	for (;;) {
		ssize_t n = io_read(fd, k->buf, READ_SIZE);

		if (n <= 0) {
			r = n < 0 ? err_sys(e, (int)n, "%s", name) : 0;
			break;
		}
		r = base_sink_write(f, k->buf, (size_t)n, e);
		if (r < 0)
			break;
	}
	if (r == 0)
		return base_sink_close(f, e);
	base_sink_drop(f);
	return r;
}

int base_sink_file(struct base_sink *k, const char *path, const struct meta *m, int fd, uint64_t size,
	const char *name, struct err *e)
{
	_cleanup_(closep) int own = fd;
	char local[BASE_LOCAL_MAX];
	struct checksum *sum;
	size_t want;
	int r = wanted_sum(k, base_local_path(path, local) ? local : "", &sum, e);

	if (r < 0)
		return r;
	if (sum)
		return push_file(k, path, m, fd, size, name, e);
	pthread_mutex_lock(&k->lock);
	r = note_file(k, &path, m, size, local, &want, e);
	if (r == 0 && want)
		r = show_facts(k, local, fd, size, name, e);
	if (r == 0)
		r = ingest_file(k->in, path, m, MOVE_FD(own), size, e);
	pthread_mutex_unlock(&k->lock);
	return r;
}

int base_sink_open(struct base_sink *k, const char *path, const struct meta *m, uint64_t size,
	struct base_file **ret, struct err *e)
{
	struct base_file *f = calloc(1, sizeof(*f));
	char local[BASE_LOCAL_MAX];
	int r;

	if (!f)
		return err_sys(e, -ENOMEM, "%s", path);
	f->k = k;
	f->size = size;
	pthread_mutex_lock(&k->lock);
	r = note_file(k, &path, m, size, local, &f->want, e);
	if (r == 0)
		r = wanted_sum(k, local, &f->sum, e);
	if (r == 0)
		r = ingest_open(k->in, path, m, &f->f, e);
	pthread_mutex_unlock(&k->lock);
	if (r < 0) {
		free(f);
		return r;
	}
	memcpy(f->path, local, strlen(local) + 1);
	*ret = f;
	return 0;
}

int base_sink_write(struct base_file *f, const void *p, size_t n, struct err *e)
{
	int r = 0;

	if (n > f->size - f->got)
		return err_set(e, -EBADMSG, "%s grew while it was read", f->path);
	f->got += n;
	if (f->want)
		buf_put(&f->seen, p, n);
	if (f->sum)
		r = checksum_update(f->sum, p, n, e);
	return r == 0 ? ingest_write(f->f, p, n, e) : r;
}

static int check_sum(struct base_file *f, struct err *e)
{
	uint8_t digest[MANIFEST_DIGEST_MAX];
	int r;

	if (!f->sum)
		return 0;
	r = checksum_final(f->sum, digest, e);
	if (r < 0)
		return r;
	return manifest_check_sha(f->k->o.manifest, f->path, strlen(f->path), f->size, digest, e);
}

int base_sink_close(struct base_file *f, struct err *e)
{
	struct ingest_file *in = MOVE(f->f);
	int r = 0;

	if (f->got < f->size)
		r = err_set(e, -EBADMSG, "%s shrank while it was read: %llu bytes of %llu", f->path,
			(unsigned long long)f->got, (unsigned long long)f->size);
	if (r == 0 && f->want && f->seen.bad)
		r = err_sys(e, -ENOMEM, "%s", f->path);
	if (r == 0 && f->want) {
		pthread_mutex_lock(&f->k->lock);
		r = backup_facts_take(f->k->o.facts, f->path, f->seen.data, f->seen.len, e);
		pthread_mutex_unlock(&f->k->lock);
	}
	if (r == 0)
		r = check_sum(f, e);
	if (r == 0)
		r = ingest_close(in, e);
	else
		ingest_close(in, NULL);
	base_sink_drop(f);
	return r;
}

/* The ingest must see its handle closed; that the file is short does not matter, for nothing that fails here
 * is ever published. */
void base_sink_drop(struct base_file *f)
{
	if (!f)
		return;
	if (f->f)
		ingest_close(f->f, NULL);
	buf_free(&f->seen);
	free(f);
}

int base_sink_finish(struct base_sink *k, struct err *e)
{
	int r = ingest_drain(k->in, e);

	if (r == 0 && k->o.manifest)
		r = manifest_check_finish(k->o.manifest, e);
	return r;
}

int base_sink_seal(struct base_sink *k, struct snapshot *snap, struct err *e)
{
	return ingest_finish(k->in, snap, e);
}

int base_sink_publish(struct base_sink *k, struct snapshot *snap, struct err *e)
{
	return ingest_publish(k->in, snap, e);
}
