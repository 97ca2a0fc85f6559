/* Making and opening repositories, and the cluster names. Formats: store/README.md, "Repository" and
 * "Cluster". */
#include "store/store.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "src/base/buf.h"
#include "src/base/clean.h"
#include "src/base/clock.h"
#include "src/base/crc32c.h"
#include "src/base/io.h"
#include "store/repo.h"
#include "store/sealed.h"

#define CONFIG_MAX 4096
#define CHUNK_DEFAULT (64u << 10)
#define CHUNK_MIN (8u << 10)
#define CHUNK_MAX (1u << 20)
#define CHAIN_DEFAULT 4
#define CHAIN_MAX 64
#define CHAIN_OFF UINT32_MAX
#define LEVEL_DEFAULT 2
#define CACHE_DEFAULT (64u << 20)
#define LOST_NS \
	1000000000ull /* for so long a repository that lost a chunk is not searched for the next one */
#define LOOKS 16      /* for a record that one prune after the other moves */
#define VERSION 1

CLEANUP_DEFINE(struct store, store_free)
CLEANUP_DEFINE(struct backend, backend_free)

/* ---- the config object ---- */

static int check_settings(const struct store_settings *s, struct err *e)
{
	if (s->chunk_size < CHUNK_MIN || s->chunk_size > CHUNK_MAX || (s->chunk_size & (s->chunk_size - 1)))
		return err_set(e, -EINVAL, "chunk size %u is not a power of two from 8192 to 1048576",
			s->chunk_size);
	if (s->delta_chain > CHAIN_MAX && s->delta_chain != CHAIN_OFF)
		return err_set(e, -EINVAL, "delta chain %u is not from 1 to %d", s->delta_chain, CHAIN_MAX);
	if (s->level < 1 || s->level > 19)
		return err_set(e, -EINVAL, "compression level %d is not from 1 to 19", s->level);
	return 0;
}

static void config_format(const struct store_settings *s, const char *id, struct buf *b)
{
	buf_printf(b, "pgstrata-repository %d\n", VERSION);
	buf_printf(b, "id %s\n", id);
	buf_printf(b, "chunk-size %u\n", s->chunk_size);
	buf_printf(b, "delta-chain %u\n", s->delta_chain == CHAIN_OFF ? 0 : s->delta_chain);
	buf_printf(b, "level %d\n", s->level);
	sealed_end(b);
}

static int config_parse(
	const char *text, size_t len, struct store_settings *s, char id[STORE_ID_TEXT], struct err *e)
{
	unsigned version = 0;
	int end = 0;

	*s = (struct store_settings){0};
	if (sscanf(text, "pgstrata-repository %u\n", &version) != 1)
		return err_set(e, -EBADMSG, "the config object is not a pgstrata repository's");
	if (version != VERSION)
		return err_set(e, -EOPNOTSUPP, "the repository has format %u; this pgstrata reads format %d",
			version, VERSION);
	if (!sealed_ok(text, len) ||
		sscanf(text,
			"pgstrata-repository %*u id %32[0-9a-f] chunk-size %u delta-chain %u level %d %n", id,
			&s->chunk_size, &s->delta_chain, &s->level, &end) != 4 ||
		(size_t)end != len - SEALED_END || strlen(id) != STORE_ID_TEXT - 1)
		return err_set(e, -EBADMSG, "the config object is damaged");
	if (!s->delta_chain)
		s->delta_chain = CHAIN_OFF;
	return check_settings(s, e);
}

static int dir_is_empty(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *de;
	int empty = 1;

	if (!d)
		return errno == ENOENT ? 1 : -errno;
	while (empty && (de = readdir(d)))
		empty = !strcmp(de->d_name, ".") || !strcmp(de->d_name, "..");
	closedir(d);
	return empty;
}

int store_init(const char *path, const struct store_settings *settings, char id[STORE_ID_TEXT], struct err *e)
{
	_cleanup_(backend_freep) struct backend *b = NULL;
	_cleanup_(buf_free) struct buf text = {0};
	struct store_settings s = settings ? *settings : (struct store_settings){0};
	char made[STORE_ID_TEXT];
	uint8_t random[16];
	int r;

	s.chunk_size = s.chunk_size ? s.chunk_size : CHUNK_DEFAULT;
	s.delta_chain = s.delta_chain ? s.delta_chain : CHAIN_DEFAULT;
	s.level = s.level ? s.level : LEVEL_DEFAULT;
	r = check_settings(&s, e);
	if (r < 0)
		return r;
	r = dir_is_empty(path);
	if (r < 0)
		return err_sys(e, r, "%s", path);
	if (!r) {
		_cleanup_(freep) char *config = io_join(path, "config");

		if (config && access(config, F_OK) == 0)
			return err_set(e, -EEXIST, "%s is a repository already", path);
		return err_set(
			e, -ENOTEMPTY, "%s is not empty; a repository wants a folder of its own", path);
	}
	r = io_mkdirs(path, 0750, e);
	if (!r)
		r = backend_local(path, &b, e);
	if (r < 0)
		return r;
	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return err_sys(e, -errno, "getrandom");
	for (size_t i = 0; i < sizeof(random); i++)
		snprintf(made + 2 * i, 3, "%02x", random[i]);
	config_format(&s, made, &text);
	if (text.bad)
		return err_sys(e, -ENOMEM, "%s", path);
	r = backend_put(b, "config", text.data, text.len, e);
	if (r < 0)
		return r;
	memcpy(id, made, sizeof(made));
	return 0;
}

/* ---- the handle ---- */

/* The folder of this repository's runs; NULL (with a log line) when it cannot be had: the index then lives in
 * memory. */
static char *index_folder(const struct store_options *o, const char *id, struct log *log)
{
	_cleanup_(freep) char *dir = o->index_dir ? io_join(o->index_dir, id) : NULL;
	struct err why = {0};

	if (!dir)
		return NULL;
	if (io_mkdirs(dir, 0700, &why) < 0 || access(dir, R_OK | W_OK | X_OK) < 0) {
		log_msg(log, LOG_LEVEL_INFO,
			"index cache %s cannot be used (%s); the index is built in memory", dir,
			why.code ? why.text : strerror(errno));
		return NULL;
	}
	return MOVE(dir);
}

int store_open(const char *path, const struct store_options *options, struct store **ret, struct err *e)
{
	static const struct store_options defaults;
	const struct store_options *o = options ? options : &defaults;
	_cleanup_(store_freep) struct store *s = calloc(1, sizeof(*s));
	_cleanup_(freep) void *text = NULL;
	_cleanup_(freep) char *dir = NULL;
	size_t len;
	int r;

	if (!s)
		return err_sys(e, -ENOMEM, "repository %s", path);
	pthread_mutex_init(&s->lock, NULL);
	pthread_mutex_init(&s->refreshing, NULL);
	s->log = o->log;
	if (access(path, F_OK) < 0 && errno == ENOENT)
		return err_set(
			e, -ENOENT, "no repository at %s; make one with: pgstrata init -r %s", path, path);
	s->path = realpath(path, NULL);
	if (!s->path)
		return err_sys(e, -errno, "repository %s", path);
	r = backend_local(path, &s->backend, e);
	if (r < 0)
		return r;
	r = backend_get(s->backend, "config", CONFIG_MAX, &text, &len, e);
	if (r == -ENOENT)
		return err_set(e, r, "%s is not a repository: it has no config object", path);
	if (!r)
		r = config_parse(text, len, &s->settings, s->id_text, e);
	if (r < 0)
		return err_wrap(e, r, "repository %s", path);
	for (size_t i = 0; i < sizeof(s->id); i++)
		sscanf(s->id_text + 2 * i, "%2hhx", &s->id[i]);
	dir = index_folder(o, s->id_text, s->log);
	/* Temporary files are nameless, so they may lie among the runs. */
	s->scratch = strdup(dir ? dir : "/var/tmp");
	if (!s->scratch)
		return err_sys(e, -ENOMEM, "repository %s", path);
	r = cache_new(o->cache_bytes ? o->cache_bytes : CACHE_DEFAULT, &s->cache);
	if (r < 0)
		return err_sys(e, r, "repository %s", path);
	r = index_new(s->backend, dir, s->id, s->log, &s->index, e);
	if (r < 0)
		return r;
	*ret = MOVE(s);
	return 0;
}

void store_free(struct store *s)
{
	if (!s)
		return;
	cache_free(s->cache);
	index_free(s->index);
	backend_free(s->backend);
	for (size_t i = 0; i < s->n_decoders; i++)
		decoder_free(s->decoders[i]);
	free(s->decoders);
	pthread_mutex_destroy(&s->lock);
	pthread_mutex_destroy(&s->refreshing);
	free(s->scratch);
	free(s->path);
	free(s);
}

const char *store_id(const struct store *s)
{
	return s->id_text;
}

const char *store_scratch(const struct store *s)
{
	return s->scratch;
}

const char *store_path(const struct store *s)
{
	return s->path;
}

const struct store_settings *store_settings(const struct store *s)
{
	return &s->settings;
}

/* Makes sure that the index was brought up to date by a look for packs that began at or after `since`. Threads that miss
 * chunks at the same time share it. */
static int refresh_since(struct store *s, uint64_t since, struct err *e)
{
	int r = 0;

	pthread_mutex_lock(&s->refreshing);
	if (s->refreshed_ns < since) {
		uint64_t now = clock_mono_ns();

		r = index_sync(s->index, e);
		if (!r)
			s->refreshed_ns = now;
	}
	pthread_mutex_unlock(&s->refreshing);
	return r;
}

/* Where a chunk was lost a moment ago, the next one that is missing is not searched for: there may be thousands. Not so for
 * snapshots that were loaded since, which are published after their chunks. */
static bool is_losing(struct store *s)
{
	uint64_t lost = atomic_load(&s->lost_ns);

	return lost && lost > atomic_load(&s->snapshot_ns) && clock_mono_ns() - lost < LOST_NS;
}

int store_usage(struct store *s, uint64_t *ret_bytes, struct err *e)
{
	int r = refresh_since(s, 1, e);

	if (!r)
		*ret_bytes = index_pack_bytes(s->index);
	return r;
}

int store_refresh(struct store *s, struct err *e)
{
	return refresh_since(s, clock_mono_ns(), e);
}

/* ---- decoded chunks ---- */

struct decoder *repo_take_decoder(struct store *s)
{
	struct decoder *d = NULL;

	pthread_mutex_lock(&s->lock);
	if (s->n_decoders)
		d = s->decoders[--s->n_decoders];
	pthread_mutex_unlock(&s->lock);
	if (!d && decoder_new(&d) < 0)
		return NULL;
	return d;
}

void repo_give_decoder(struct store *s, struct decoder *d)
{
	pthread_mutex_lock(&s->lock);
	if (s->n_decoders == s->cap_decoders) {
		size_t cap = s->cap_decoders ? 2 * s->cap_decoders : 8;
		struct decoder **more = reallocarray(s->decoders, cap, sizeof(*more));

		if (!more) {
			pthread_mutex_unlock(&s->lock);
			decoder_free(d);
			return;
		}
		s->decoders = more;
		s->cap_decoders = cap;
	}
	s->decoders[s->n_decoders++] = d;
	pthread_mutex_unlock(&s->lock);
}

bool repo_search_on(struct repo_search *s, bool gone)
{
	return s->looks++ < LOOKS && (gone || s->missed++ < 2);
}

/* As decoder_read, but -ENODATA means that it is lost. What a prune has moved since the index was read is in a pack that is
 * listed now. */
static int read_record(
	struct store *s, struct decoder *d, const struct digest *id, size_t *ret_len, struct err *e)
{
	int r = decoder_read(d, s->index, id, ret_len, e);
	struct repo_search search = {0};

	while ((r == -ESTALE || (r == -ENODATA && !is_losing(s))) && repo_search_on(&search, r == -ESTALE)) {
		r = refresh_since(s, clock_mono_ns(), e);
		if (!r)
			r = decoder_read(d, s->index, id, ret_len, e);
	}
	if (r != -ENODATA && r != -ESTALE)
		return r;
	if (!is_losing(s))
		atomic_store(&s->lost_ns, clock_mono_ns());
	return -ENODATA;
}

static int load_blob(void *arg, const struct digest *id, uint8_t **ret, size_t *ret_len, struct err *e)
{
	struct store *s = arg;
	struct decoder *d = repo_take_decoder(s);
	uint8_t *p = NULL;
	size_t len;
	int r;

	if (!d)
		return err_sys(e, -ENOMEM, "decoding a chunk");
	r = read_record(s, d, id, &len, e);
	if (!r)
		r = (p = cache_alloc(s->cache, len)) ? decoder_unpack(d, s->index, p, e)
						     : err_sys(e, -ENOMEM, "decoding a chunk");
	repo_give_decoder(s, d);
	if (r < 0) {
		cache_dealloc(s->cache, p);
		return r;
	}
	*ret = p;
	*ret_len = len;
	return 0;
}

int repo_blob(
	struct store *s, const struct digest *id, enum record_kind kind, struct blob **ret, struct err *e)
{
	return cache_get(s->cache, id, kind != RECORD_CHUNK, load_blob, s, ret, e);
}

/* ---- clusters ---- */

int store_check_cluster_name(const char *cluster, struct err *e)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
	size_t n = strlen(cluster);

	if (n < 1 || n > 63 || strspn(cluster, allowed) != n || *cluster == '.' || *cluster == '-')
		return err_set(e, -EINVAL,
			"\"%s\" cannot name a cluster: use 1 to 63 of a-z A-Z 0-9 _ . - and start with none "
			"of . -",
			cluster);
	return 0;
}

void strv_free(char **v)
{
	for (char **s = v; s && *s; s++)
		free(*s);
	free(v);
}

struct strv {
	char **v;
	size_t n;
};

static int add_name(struct strv *s, const char *name)
{
	char **more;

	if (store_check_cluster_name(name, NULL) < 0)
		return 0;
	for (size_t i = 0; i < s->n; i++)
		if (!strcmp(s->v[i], name))
			return 0;
	more = reallocarray(s->v, s->n + 2, sizeof(*more));
	if (!more)
		return -ENOMEM;
	s->v = more;
	s->v[s->n] = strdup(name);
	if (!s->v[s->n])
		return -ENOMEM;
	s->v[++s->n] = NULL;
	return 0;
}

static int add_cluster(void *arg, const char *name, const struct object_info *info)
{
	(void)info;
	return strncmp(name, "clusters/", 9) ? 0 : add_name(arg, name + 9);
}

/* Dumps need no identity, so a cluster that has nothing else is known by its snapshots alone. */
static int add_folder(void *arg, const char *name, const struct object_info *info)
{
	(void)info;
	return add_name(arg, name);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int store_clusters(struct store *s, char ***ret, struct err *e)
{
	struct strv l = {.v = calloc(1, sizeof(char *))};
	int r = l.v ? backend_list(s->backend, "clusters", add_cluster, &l, e) : -ENOMEM;

	if (!r)
		r = backend_folders(s->backend, "snapshots", add_folder, &l, e);
	if (r < 0) {
		strv_free(l.v);
		return r == -ENOMEM ? err_sys(e, r, "listing clusters") : r;
	}
	qsort(l.v, l.n, sizeof(*l.v), by_name);
	*ret = l.v;
	return 0;
}

int store_cluster_identity(struct store *s, const char *cluster, char **ret, struct err *e)
{
	_cleanup_(freep) void *text = NULL;
	char name[80], identity[129];
	size_t len;
	int r = store_check_cluster_name(cluster, e), end = 0;

	if (r < 0)
		return r;
	snprintf(name, sizeof(name), "clusters/%s", cluster);
	r = backend_get(s->backend, name, CONFIG_MAX, &text, &len, e);
	if (r < 0)
		return r;
	if (!sealed_ok(text, len) ||
		sscanf(text, "pgstrata-cluster 1 identity %128s %n", identity, &end) != 1 ||
		(size_t)end != len - SEALED_END)
		return err_set(e, -EBADMSG, "object %s is damaged", name);
	*ret = strdup(identity);
	return *ret ? 0 : err_sys(e, -ENOMEM, "object %s", name);
}

int store_bind_cluster(struct store *s, const char *cluster, const char *identity, struct err *e)
{
	_cleanup_(buf_free) struct buf text = {0};
	_cleanup_(freep) char *bound = NULL;
	char name[80];
	int r = store_check_cluster_name(cluster, e);

	if (r < 0)
		return r;
	if (!*identity || strlen(identity) > 128 || strpbrk(identity, " \t\r\n"))
		return err_set(e, -EINVAL, "\"%s\" cannot identify a cluster", identity);
	snprintf(name, sizeof(name), "clusters/%s", cluster);
	r = store_cluster_identity(s, cluster, &bound, e);
	if (r == -ENOENT) {
		buf_printf(&text, "pgstrata-cluster 1\nidentity %s\n", identity);
		sealed_end(&text);
		if (text.bad)
			return err_sys(e, -ENOMEM, "object %s", name);
		r = backend_put(s->backend, name, text.data, text.len, e);
		if (r != -EEXIST)
			return r;
		/* Somebody was faster: what they bound counts. */
		r = store_cluster_identity(s, cluster, &bound, e);
	}
	if (r < 0)
		return r;
	if (strcmp(bound, identity))
		return err_set(e, -EEXIST,
			"cluster \"%s\" belongs to system %s in this repository, not to %s; use another name "
			"(-c)",
			cluster, bound, identity);
	return 0;
}
