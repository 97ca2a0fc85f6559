/* pgstrata verify: is everything there, and is it what it was? */
#include "src/cmd/cmd.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/base/clean.h"
#include "src/base/clock.h"
#include "src/base/io.h"
#include "src/capture/base_check.h"
#include "src/cmd/choose.h"
#include "src/cmd/finding.h"
#include "src/cmd/interrupt.h"
#include "src/cmd/progress.h"
#include "src/pit/pit.h"
#include "store/verify.h"

CLEANUP_DEFINE(struct store, store_free)

/* Where findings go: lines as they come, or lists until the end. */
struct report {
	json_t *damaged, *lost, *unused, *gaps, *differing, *pages; /* NULL without --json */
	bool bad;						    /* no memory */
	struct verify_report store;
	struct base_check_report bases; /* zero unless asked for */
	uint64_t n_gaps;
};

static bool is_sound(const struct report *r)
{
	return !r->store.damaged && !r->store.lost && !r->store.unused && !r->n_gaps && !r->bases.bad_files &&
	       !r->bases.bad_pages;
}

/* Holes in the WAL between the oldest backup's end and the end of the archive: names alone tell them. */
static int check_chain(struct store *s, const char *cluster, struct report *report, struct err *e)
{
	_cleanup_(pit_freep) struct pit *pit = NULL;
	_cleanup_(pit_window_release) struct pit_window w = {0};
	struct err why = {0};
	int r = pit_new(s, cluster, NULL, &pit, e);

	if (r < 0)
		return r;
	/* What cannot be read for damage was told by the verify itself. */
	r = pit_window(pit, &w, &why);
	if (r == -ENOMEM)
		return err_set(e, r, "%s", why.text);
	for (size_t i = 0; !r && i < w.n_gaps; i++) {
		report->n_gaps++;
		if (report->damaged)
			json_array_append_new(
				report->gaps, json_pack("{s:s, s:s, s:s, s:I}", "cluster", cluster, "first",
						      w.gaps[i].first, "last", w.gaps[i].last, "segments",
						      (json_int_t)w.gaps[i].segments));
		else
			printf("gap: %s: WAL from %s to %s is not archived (%llu segments)\n", cluster,
				w.gaps[i].first, w.gaps[i].last, (unsigned long long)w.gaps[i].segments);
	}
	return 0;
}

static int check_chains(struct cmd_context *c, struct store *s, struct report *report, struct err *e)
{
	char **clusters;
	int r = store_clusters(s, &clusters, e);

	if (r < 0)
		return r;
	for (char **n = clusters; *n && !r; n++)
		if (!c->cluster_given || !strcmp(*n, c->cluster))
			r = check_chain(s, *n, report, e);
	strv_free(clusters);
	return r;
}

/* "P%", "1/N" or "0.P", as a share above 0 and at most 1. */
static int parse_share(const char *text, double *ret, struct err *e)
{
	char *end;
	double v = strtod(text, &end);

	if (end == text)
		goto bad;
	if (*end == '%') {
		v /= 100;
		end++;
	} else if (*end == '/') {
		const char *below = end + 1;
		double by = strtod(below, &end);

		if (end == below || by <= 0)
			goto bad;
		v /= by;
	}
	if (*end || !(v > 0 && v <= 1))
		goto bad;
	*ret = v;
	return 0;
bad:
	return err_set(e, -EINVAL, "\"%s\" is no share; say 5%% or 1/7", text);
}

static json_t *finding_json(const struct verify_finding *f)
{
	json_t *o = f->kind == VERIFY_LOST
			    ? json_pack("{s:s, s:s, s:s, s:s, s:s}", "cluster", f->cluster, "kind",
				      f->snapshot_kind, "id", f->snapshot, "path", f->path, "why", f->why)
			    : json_pack("{s:s, s:s}", "object", f->object, "why", f->why);

	if (f->chunk)
		json_object_set_new(o, "chunk", json_string(f->chunk));
	if (f->to) {
		json_object_set_new(o, "from", json_integer((json_int_t)f->from));
		json_object_set_new(o, "to", json_integer((json_int_t)f->to));
	}
	return o;
}

static void on_finding(void *arg, const struct verify_finding *f)
{
	struct report *r = arg;
	json_t *to = f->kind == VERIFY_OBJECT ? r->damaged : f->kind == VERIFY_LOST ? r->lost : r->unused;

	if (!r->damaged)
		finding_print(f);
	else if (json_array_append_new(to, finding_json(f)) < 0)
		r->bad = true;
}

static json_t *base_finding_json(const struct base_check_finding *f)
{
	json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:s}", "cluster", f->cluster, "kind", "base", "id",
		f->snapshot, "path", f->path, "why", f->why);

	if (f->kind == BASE_CHECK_PAGES) {
		json_object_set_new(o, "block", json_integer(f->block));
		json_object_set_new(o, "blocks", json_integer(f->blocks));
		json_object_set_new(o, "from", json_integer((json_int_t)f->from));
		json_object_set_new(o, "to", json_integer((json_int_t)f->to));
	}
	return o;
}

static void print_base_finding(const struct base_check_finding *f)
{
	const char *what = f->kind == BASE_CHECK_PAGES ? "damaged pages" : "differs";

	printf("%s: %s/base/%s: %s", what, f->cluster, f->snapshot, f->path);
	if (f->kind == BASE_CHECK_PAGES)
		printf(", blocks %" PRIu32 " to %" PRIu32 ", bytes %" PRIu64 " to %" PRIu64, f->block,
			f->block + f->blocks - 1, f->from, f->to - 1);
	printf(": %s\n", f->why);
}

static void on_base_finding(void *arg, const struct base_check_finding *f)
{
	struct report *r = arg;

	if (!r->damaged)
		print_base_finding(f);
	else if (json_array_append_new(
			 f->kind == BASE_CHECK_PAGES ? r->pages : r->differing, base_finding_json(f)) < 0)
		r->bad = true;
}

static int print_json(struct report *r, const struct base_check_options *bo)
{
	const struct verify_report *v = &r->store;
	json_t *o = json_pack("{s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:O, s:O, s:O, s:O}", "sound", is_sound(r),
		"objects", (json_int_t)v->objects, "objects_read", (json_int_t)v->objects_read, "bytes_read",
		(json_int_t)v->bytes_read, "bytes_unpacked", (json_int_t)v->bytes_unpacked, "snapshots",
		(json_int_t)v->snapshots, "files", (json_int_t)v->files, "damaged", r->damaged, "lost",
		r->lost, "unused", r->unused, "gaps", r->gaps);
	char *text;

	if (o && bo->manifest) {
		json_object_set(o, "differing", r->differing);
		json_object_set_new(o, "without_manifest", json_integer((json_int_t)r->bases.no_manifest));
	}
	if (o && bo->pages) {
		json_object_set(o, "bad_pages", r->pages);
		json_object_set_new(o, "pages", json_integer((json_int_t)r->bases.pages));
		json_object_set_new(o, "without_checksums", json_integer((json_int_t)r->bases.no_checksums));
	}
	text = o && !r->bad ? json_dumps(o, JSON_INDENT(2)) : NULL;
	json_decref(o);
	if (!text)
		return -ENOMEM;
	puts(text);
	free(text);
	return 0;
}

static void print_bases(const struct base_check_report *b, const struct base_check_options *bo)
{
	if (bo->manifest)
		printf("%" PRIu64 " of %" PRIu64 " base backups compared with their manifests, %" PRIu64
		       " files differ.\n",
			b->snapshots - b->no_manifest, b->snapshots, b->bad_files);
	if (bo->pages)
		printf("%" PRIu64 " of %" PRIu64 " base backups have data checksums; %" PRIu64
		       " pages read, %" PRIu64 " damaged, %" PRIu64 " changed while they were copied.\n",
			b->snapshots - b->no_checksums, b->snapshots, b->pages, b->bad_pages, b->replaced);
}

static void print_text(const struct report *r)
{
	const struct verify_report *v = &r->store;
	char read[SIZE_TEXT], unpacked[SIZE_TEXT];

	if (v->damaged || v->lost)
		printf("DAMAGED: %llu objects or chunks are damaged, %llu files are hurt by it.\n",
			(unsigned long long)v->damaged, (unsigned long long)v->lost);
	else if (v->unused)
		printf("DAMAGED, but nothing is lost: %llu objects or chunks that nothing needs.\n",
			(unsigned long long)v->unused);
	if (r->bases.bad_files || r->bases.bad_pages)
		printf("DAMAGED: %llu files and %llu pages of base backups are not what their server had.\n",
			(unsigned long long)r->bases.bad_files, (unsigned long long)r->bases.bad_pages);
	else if (r->n_gaps && !v->damaged && !v->lost && !v->unused)
		printf("Sound, but the WAL has %llu gaps.\n", (unsigned long long)r->n_gaps);
	if (is_sound(r))
		fputs("Sound: ", stdout);
	printf("%llu snapshots with %llu distinct files; %llu of %llu objects read, %s that unpack to %s.\n",
		(unsigned long long)v->snapshots, (unsigned long long)v->files,
		(unsigned long long)v->objects_read, (unsigned long long)v->objects,
		cmd_size_text(v->bytes_read, read), cmd_size_text(v->bytes_unpacked, unpacked));
}

static int check_bases(struct cmd_context *c, struct store *s, struct base_check_options *bo,
	struct report *report, struct err *e)
{
	struct meter meter = {0};
	struct progress *p = progress_start(c, "checking base backups", &meter);
	int r;

	bo->meter = &meter;
	r = base_check(s, bo, on_base_finding, report, &report->bases, e);
	progress_stop(p);
	return r;
}

static int report_new(struct report *r)
{
	json_t **const lists[] = {&r->damaged, &r->lost, &r->unused, &r->gaps, &r->differing, &r->pages};

	for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++)
		if (!(*lists[i] = json_array()))
			return -ENOMEM;
	return 0;
}

static void report_release(struct report *r)
{
	json_decref(r->damaged);
	json_decref(r->lost);
	json_decref(r->unused);
	json_decref(r->gaps);
	json_decref(r->differing);
	json_decref(r->pages);
}

static int verify(struct cmd_context *c, struct store *s, struct verify_options *o,
	struct base_check_options *bo, struct err *e)
{
	struct report report = {0};
	_cleanup_(freep) char *dir = NULL, *state = NULL;
	struct meter meter = {0};
	struct progress *p;
	int r = c->json ? report_new(&report) : 0;

	if (!r && c->cache_dir) {
		dir = io_join(c->cache_dir, store_id(s));
		state = dir ? io_join(dir, "verified") : NULL;
		r = state ? 0 : -ENOMEM;
		o->state = state;
	}
	if (!r) {
		o->meter = &meter;
		p = progress_start(c, "verifying", &meter);
		r = store_verify(s, o, on_finding, &report, &report.store, e);
		progress_stop(p);
	}
	if (!r)
		r = check_chains(c, s, &report, e);
	if (!r && (bo->manifest || bo->pages))
		r = check_bases(c, s, bo, &report, e);
	if (r == 0 && c->json) {
		r = print_json(&report, bo);
	} else if (r == 0) {
		print_text(&report);
		print_bases(&report.bases, bo);
	}
	report_release(&report);
	if (r == -ENOMEM && e && !e->code)
		err_sys(e, r, "verify");
	return r < 0 ? r : !is_sound(&report);
}

int cmd_verify(struct cmd_context *c, int argc, char **argv)
{
	const char *sample = NULL, *slice = NULL, *since = NULL;
	struct verify_options o = {0};
	struct base_check_options bo = {0};
	const struct cmd_option options[] = {
		{"quick", 0, NULL, OPTION_FLAG, &o.quick,
			"structure and presence only; contents are not read"},
		{"sample", 0, "SHARE", OPTION_TEXT, &sample, "reads a random share of the contents: 5%"},
		{"slice", 0, "SHARE", OPTION_TEXT, &slice,
			"reads a share, what was read longest ago first: 1/7 every night reads all in a "
			"week"},
		{"since", 0, "TIME", OPTION_TEXT, &since, "only what was added since then"},
		{"manifest", 0, NULL, OPTION_FLAG, &bo.manifest,
			"also compares every file of each base backup with the backup's manifest"},
		{"pages", 0, NULL, OPTION_FLAG, &bo.pages,
			"also checks the checksums of data pages, where a cluster has them"},
		CMD_THREADS_OPTION('j', &o.threads, "threads that read"),
		{0},
	};
	const struct cmd_usage usage = {
		.verb = "verify",
		.args = "",
		.takes = TAKES_CLUSTER | TAKES_JSON,
		.about =
			"Reads the repository and checks it: every chunk's SHA-256, every file of WAL, that "
			"all\n"
			"that the snapshots reach is there, and that the WAL has no gap. Names each damaged\n"
			"object and what depends on it. Exit status 0: sound, 1: damaged, or a gap.",
		.example = "  pgstrata verify -r /srv/pgstrata --slice 1/7",
		.options = options,
	};
	_cleanup_(store_freep) struct store *s = NULL;
	struct err e = {0};
	int r = 0, status;

	if (!cmd_parse(c, &usage, argc, argv))
		return c->status;
	if (sample)
		r = parse_share(sample, &o.sample, &e);
	if (slice && !r)
		r = parse_share(slice, &o.slice, &e);
	if (since && !r)
		r = tstamp_parse(since, &o.since, &e);
	if (r < 0)
		return cmd_usage_error(c, &usage, "%s", e.text);
	if (sample && slice)
		return cmd_usage_error(c, &usage, "--sample and --slice exclude each other");
	if (o.quick && (bo.manifest || bo.pages))
		return cmd_usage_error(
			c, &usage, "--quick reads no contents, which --manifest and --pages need");
	status = cmd_open_store(c, &usage, 0, c->log, &s);
	if (status != CMD_OK)
		return status;
	if (c->cluster_given && cmd_check_cluster(s, c->cluster, &e) < 0)
		return cmd_fail(c, &e);
	o.seed = clock_mono_ns();
	o.cluster = c->cluster_given ? c->cluster : NULL;
	o.stop = interrupt_catch();
	bo.threads = o.threads;
	bo.cluster = o.cluster;
	bo.since = o.since;
	bo.stop = o.stop;
	r = verify(c, s, &o, &bo, &e);
	return r < 0 ? cmd_fail(c, &e) : r ? CMD_FAILED : CMD_OK;
}
