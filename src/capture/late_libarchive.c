/* libarchive's functions, as far as this box calls them. See late.h.
 Their declarations are archive.h's, and the
 * compiler compares. The library's name on disk is that of its ABI: libarchive.so.13 since 3.1. */
#include "src/capture/late.h"

#include <archive.h>
#include <archive_entry.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

#include "src/capture/late_priv.h"

typedef struct archive A;
typedef struct archive_entry E;

/* type, name, parameters, arguments */
#define FUNCTIONS(F)                                                                                         \
	F(A *, archive_read_new, (void), ())                                                                 \
	F(int, archive_read_support_format_tar, (A * a), (a))                                                \
	F(int, archive_read_support_format_raw, (A * a), (a))                                                \
	F(int, archive_read_support_format_empty, (A * a), (a))                                              \
	F(int, archive_read_support_filter_gzip, (A * a), (a))                                               \
	F(int, archive_read_support_filter_lz4, (A * a), (a))                                                \
	F(int, archive_read_support_filter_zstd, (A * a), (a))                                               \
	F(int, archive_read_support_filter_bzip2, (A * a), (a))                                              \
	F(int, archive_read_support_filter_xz, (A * a), (a))                                                 \
	F(int, archive_read_set_callback_data, (A * a, void *arg), (a, arg))                                 \
	F(int, archive_read_set_read_callback, (A * a, archive_read_callback * f), (a, f))                   \
	F(int, archive_read_set_skip_callback, (A * a, archive_skip_callback * f), (a, f))                   \
	F(int, archive_read_open1, (A * a), (a))                                                             \
	F(int, archive_read_open,                                                                            \
		(A * a, void *arg, archive_open_callback *o, archive_read_callback *f,                       \
			archive_close_callback *c),                                                          \
		(a, arg, o, f, c))                                                                           \
	F(int, archive_read_next_header, (A * a, E * *ret), (a, ret))                                        \
	F(int, archive_read_data_block, (A * a, const void **p, size_t *n, la_int64_t *off), (a, p, n, off)) \
	F(const char *, archive_error_string, (A * a), (a))                                                  \
	F(int, archive_filter_code, (A * a, int n), (a, n))                                                  \
	F(la_int64_t, archive_filter_bytes, (A * a, int n), (a, n))                                          \
	F(const char *, archive_entry_pathname, (E * e), (e))                                                \
	F(const char *, archive_entry_pathname_utf8, (E * e), (e))                                           \
	F(const char *, archive_entry_symlink, (E * e), (e))                                                 \
	F(const char *, archive_entry_hardlink, (E * e), (e))                                                \
	F(const char *, archive_entry_uname, (E * e), (e))                                                   \
	F(const char *, archive_entry_gname, (E * e), (e))                                                   \
	F(la_int64_t, archive_entry_uid, (E * e), (e))                                                       \
	F(la_int64_t, archive_entry_gid, (E * e), (e))                                                       \
	F(mode_t, archive_entry_perm, (E * e), (e))                                                          \
	F(mode_t, archive_entry_filetype, (E * e), (e))                                                      \
	F(la_int64_t, archive_entry_size, (E * e), (e))                                                      \
	F(int, archive_entry_size_is_set, (E * e), (e))                                                      \
	F(time_t, archive_entry_mtime, (E * e), (e))                                                         \
	F(long, archive_entry_mtime_nsec, (E * e), (e))                                                      \
	F(int, archive_read_free, (A * a), (a))

static struct {
	FUNCTIONS(LATE_POINTER)
	LATE_POINTER(void, archive_set_error, , )
} at;

FUNCTIONS(LATE_FUNCTION)

__typeof__(archive_set_error) archive_set_error __attribute__((visibility("hidden")));
void archive_set_error(A *a, int code, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (at.archive_set_error)
		at.archive_set_error(a, code, "%s", text);
}

int late_libarchive(struct err *e)
{
	static const struct late_symbol symbols[] = {
		FUNCTIONS(LATE_SYMBOL) LATE_SYMBOL(void, archive_set_error, , )};
	static bool loaded;

	return late_load("libarchive.so.13", "package libarchive13", symbols,
		sizeof(symbols) / sizeof(*symbols), &loaded, e);
}
