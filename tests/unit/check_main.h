/* What every unit test program needs besides Check: a main, a seed, a directory of its own.
 *
 *	static Suite *suite(void) { … }
 *	CHECK_MAIN(suite)
 *
 * Random tests draw from check_rand, whose seed is 1 unless PGSTRATA_SEED says another number, or "random";
 * the seed is printed when a test failed. Linked into one program only, hence all static. */
#pragma once

#include <check.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Check has each assertion that held written to a pipe, so that it can say where a test was that a signal or the time
 * limit ended. In a loop that is most of the time a test takes; one in 10 ms says it as well. */
static inline void check_mark(const char *file, int line)
{
	static _Atomic int64_t last;
	struct timespec ts;
	int64_t now;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	now = (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
	if (now - last < 10)
		return;
	last = now;
	(_mark_point)(file, line);
}
#define _mark_point(file, line) check_mark(file, line)

/* Sanitizers take their time: the same cases, fewer rounds. Of a long loop every PART(a, t)th round is run, a of them
 * under AddressSanitizer, t under ThreadSanitizer, which looks for races only: what one thread does over and over proves
 * nothing there. */
#ifdef __SANITIZE_ADDRESS__
#define SANITIZED 1
#define PART(a, t) (a)
#elif defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#define PART(a, t) (t)
#else
#define SANITIZED 0
#define PART(a, t) 1
#endif

/* The seed of this run. */
static inline uint64_t check_seed(void)
{
	const char *s = getenv("PGSTRATA_SEED");

	return s ? strtoull(s, NULL, 10) : 1;
}

/* The next of a sequence that *state, once set to the seed, determines (Steele, Lea, Flood: SplitMix64,
 * 2014). */
static inline uint64_t check_rand(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

/* 0 … n-1 */
static inline uint64_t check_rand_below(uint64_t *state, uint64_t n)
{
	return check_rand(state) % n;
}

static inline void check_rand_fill(uint64_t *state, void *p, size_t n)
{
	uint8_t *b = p;

	for (size_t i = 0; i < n; i++)
		b[i] = (uint8_t)check_rand(state);
}

/* A fresh empty directory below TMPDIR or /tmp; free the name after check_rmtree. */
static inline char *check_tempdir(void)
{
	const char *base = getenv("TMPDIR");
	char *path = NULL;

	ck_assert(asprintf(&path, "%s/pgstrata-test-XXXXXX", base && *base ? base : "/tmp") > 0);
	ck_assert_ptr_nonnull(mkdtemp(path));
	return path;
}

static inline int check_rm_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

/* Removes a directory with all that is in it, following no link. */
static inline void check_rmtree(const char *path)
{
	nftw(path, check_rm_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* n bytes in a block of exactly that size, so that a sanitizer sees every read past them. Free it. */
static inline void *check_exact(const void *p, size_t n)
{
	void *q = malloc(n ? n : 1);

	ck_assert_ptr_nonnull(q);
	if (n)
		memcpy(q, p, n);
	return q;
}

/* Runs the suite; the exit status is the program's. Each test has its own process and 250 s. */
static inline int check_run(Suite *(*make)(void))
{
	const char *seed = getenv("PGSTRATA_SEED");
	char text[24];
	SRunner *sr;
	int failed;

	if (seed && !strcmp(seed, "random")) {
		struct timespec ts;

		clock_gettime(CLOCK_REALTIME, &ts);
		snprintf(text, sizeof(text), "%" PRIu64,
			(uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec);
		setenv("PGSTRATA_SEED", text, 1);
	}
	if (SANITIZED)
		fprintf(stderr, "sanitized: the long loops take a part of their rounds\n");
	setenv("CK_DEFAULT_TIMEOUT", "600", 0);
	sr = srunner_create(make());
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	if (failed)
		fprintf(stderr, "the seed was PGSTRATA_SEED=%" PRIu64 "\n", check_seed());
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#define CHECK_MAIN(suite_fn)                \
	int main(void)                      \
	{                                   \
		return check_run(suite_fn); \
	}
