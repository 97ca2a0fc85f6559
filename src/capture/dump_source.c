/* Reading a dump from a descriptor. See dump_source.h. */
#include "src/capture/dump_source.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/base/buf.h"
#include "src/capture/dump_inflate.h"
#include "src/capture/replication.h"

#define MAGIC 4
#define LOOK_MS 200 /* how often a wait looks at the stop flag; a signal may arrive at another thread */

struct dump_source {
	int fd;
	const char *name;
	struct meter *meter;
	const volatile sig_atomic_t *stop;
	struct dump_inflate *in;
	uint8_t magic[MAGIC]; /* the file's first bytes, given back to its reader */
	size_t magic_at, magic_len;
	struct buf ahead;
	size_t at; /* in ahead */
};

static ssize_t read_more(struct dump_source *s, void *p, size_t n, struct err *e)
{
	struct pollfd wait = {.fd = s->fd, .events = POLLIN};
	ssize_t got = -1;
	int ready = 0;

	while (!ready || (got < 0 && errno == EINTR)) {
		if (replication_stopped(s->stop))
			return err_set(e, -EINTR, "stopped: the dump is not kept");
		ready = poll(&wait, 1, s->stop ? LOOK_MS : -1);
		got = ready > 0 ? read(s->fd, p, n) : -1;
	}
	if (got < 0)
		return err_sys(e, -errno, "%s", s->name);
	meter_add(s->meter, (uint64_t)got, 0);
	return got;
}

static ssize_t read_raw(void *arg, void *p, size_t n, struct err *e)
{
	struct dump_source *s = arg;

	if (s->magic_at == s->magic_len)
		return read_more(s, p, n, e);
	if (n > s->magic_len - s->magic_at)
		n = s->magic_len - s->magic_at;
	memcpy(p, s->magic + s->magic_at, n);
	s->magic_at += n;
	return (ssize_t)n;
}

/* Gzip: RFC 1952, 2.3.1; LZ4: its frame format, "Magic number"; Zstandard: RFC 8878, 3.1.1. */
static enum dump_compression kind_of(const uint8_t *p, size_t n)
{
	static const uint8_t gzip[] = {0x1f, 0x8b}, lz4[] = {0x04, 0x22, 0x4d, 0x18},
			     zstd[] = {0x28, 0xb5, 0x2f, 0xfd};

	if (n >= 2 && !memcmp(p, gzip, 2))
		return DUMP_GZIP;
	if (n >= 4 && !memcmp(p, lz4, 4))
		return DUMP_LZ4;
	return n >= 4 && !memcmp(p, zstd, 4) ? DUMP_ZSTD : DUMP_NONE;
}

int dump_source_new(int fd, const char *name, struct meter *meter, const volatile sig_atomic_t *stop,
	struct dump_source **ret, struct err *e)
{
	struct dump_source *s = calloc(1, sizeof(*s));
	ssize_t n = 1;
	int r;

	if (!s)
		return err_sys(e, -ENOMEM, "%s", name);
	s->fd = fd;
	s->name = name;
	s->meter = meter;
	s->stop = stop;
	for (size_t have = 0; n > 0 && have < MAGIC; have = s->magic_len) {
		n = read_more(s, s->magic + have, MAGIC - have, e);
		s->magic_len += n > 0 ? (size_t)n : 0;
	}
	r = n < 0 ? (int)n : dump_inflate_new(kind_of(s->magic, s->magic_len), read_raw, s, name, &s->in, e);
	if (r < 0) {
		dump_source_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

void dump_source_free(struct dump_source *s)
{
	if (!s)
		return;
	dump_inflate_free(s->in);
	buf_free(&s->ahead);
	free(s);
}

int dump_source_peek(
	struct dump_source *s, size_t n, const uint8_t **ret, size_t *ret_len, bool *whole, struct err *e)
{
	ssize_t got = 1;

	while (s->ahead.len < n && got > 0) {
		void *to = buf_reserve(&s->ahead, n - s->ahead.len);

		if (!to)
			return err_sys(e, -ENOMEM, "%s", s->name);
		got = dump_inflate_read(s->in, to, n - s->ahead.len, e);
		s->ahead.len += got > 0 ? (size_t)got : 0;
	}
	*ret = s->ahead.data;
	*ret_len = s->ahead.len < n ? s->ahead.len : n;
	*whole = got == 0;
	return got < 0 ? (int)got : 0;
}

ssize_t dump_source_read(void *arg, void *p, size_t n, struct err *e)
{
	struct dump_source *s = arg;
	size_t left = s->ahead.len - s->at;

	if (!left)
		return dump_inflate_read(s->in, p, n, e);
	if (n > left)
		n = left;
	memcpy(p, s->ahead.data + s->at, n);
	s->at += n;
	return (ssize_t)n;
}
