/* The progress line. See progress.h. */
#include "src/cmd/progress.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/base/clock.h"

#define EVERY_MS 200

struct progress {
	const char *title;
	struct meter *m;
	uint64_t started; /* clock_mono_ns */
	pthread_t thread;
	pthread_mutex_t lock; /* guards stop */
	pthread_cond_t wake;
	bool stop;
};

/* "2:05", "1:02:05" */
static void time_text(uint64_t seconds, char *out, size_t n)
{
	unsigned h = (unsigned)(seconds / 3600), m = (unsigned)(seconds / 60 % 60),
		 s = (unsigned)(seconds % 60);

	if (h)
		snprintf(out, n, "%u:%02u:%02u", h, m, s);
	else
		snprintf(out, n, "%u:%02u", m, s);
}

static void show(const struct progress *p)
{
	uint64_t done = atomic_load_explicit(&p->m->done, memory_order_relaxed);
	uint64_t total = atomic_load_explicit(&p->m->total, memory_order_relaxed);
	double seconds = (double)(clock_mono_ns() - p->started) / 1e9;
	double rate = seconds > 0.1 ? (double)done / seconds : 0;
	const char *waits = atomic_load_explicit(&p->m->waits, memory_order_relaxed);
	char a[SIZE_TEXT], b[SIZE_TEXT], r[SIZE_TEXT], left[24], line[160];
	int n;

	cmd_size_text(done, a);
	cmd_size_text((uint64_t)rate, r);
	if (waits) {
		snprintf(line, sizeof(line), "%s: %s so far, waiting for %s", p->title, a, waits);
	} else if (total && done <= total) {
		cmd_size_text(total, b);
		n = snprintf(line, sizeof(line), "%s: %s of %s (%.0f %%), %s/s", p->title, a, b,
			100.0 * (double)done / (double)total, r);
		if (rate > 0 && n > 0 && (size_t)n < sizeof(line)) {
			time_text((uint64_t)((double)(total - done) / rate), left, sizeof(left));
			snprintf(line + n, sizeof(line) - (size_t)n, ", %s left", left);
		}
	} else {
		snprintf(line, sizeof(line), "%s: %s, %s/s", p->title, a, r);
	}
	/* ECMA-48: EL erases to the end of the line. */
	fprintf(stderr, "\r%s\033[K", line);
	fflush(stderr);
}

static void *run(void *arg)
{
	struct progress *p = arg;

	pthread_mutex_lock(&p->lock);
	while (!p->stop) {
		struct timespec until;

		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += EVERY_MS * 1000000L;
		if (until.tv_nsec >= 1000000000L) {
			until.tv_sec++;
			until.tv_nsec -= 1000000000L;
		}
		pthread_cond_timedwait(&p->wake, &p->lock, &until);
		if (!p->stop)
			show(p);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

struct progress *progress_start(struct cmd_context *c, const char *title, struct meter *m)
{
	struct progress *p;
	pthread_condattr_t attr;

	if (c->quiet || !c->env.err_tty)
		return NULL;
	p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	p->title = title;
	p->m = m;
	p->started = clock_mono_ns();
	pthread_mutex_init(&p->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&p->wake, &attr);
	pthread_condattr_destroy(&attr);
	if (pthread_create(&p->thread, NULL, run, p)) {
		pthread_cond_destroy(&p->wake);
		pthread_mutex_destroy(&p->lock);
		free(p);
		return NULL;
	}
	return p;
}

void progress_stop(struct progress *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->stop = true;
	pthread_cond_signal(&p->wake);
	pthread_mutex_unlock(&p->lock);
	pthread_join(p->thread, NULL);
	fputs("\r\033[K", stderr);
	fflush(stderr);
	pthread_cond_destroy(&p->wake);
	pthread_mutex_destroy(&p->lock);
	free(p);
}
