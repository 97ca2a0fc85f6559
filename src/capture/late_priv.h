/* What late_libpq.c and late_libarchive.c are made of. Not for others.
 *
 * A list is a macro that calls another one for each function, with its type, name, parameters and arguments. It makes the
 * pointers, the functions that pass calls on, and the table by which the pointers are found. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "src/base/err.h"

struct late_symbol {
	const char *name;
	void *pointer; /* to the pointer */
};

/* Loads the library and finds all symbols, unless *loaded. package: what to install, for the error's text. */
int late_load(const char *soname, const char *package, const struct late_symbol *symbols, size_t n,
	bool *loaded, struct err *e);

#define LATE_POINTER(type, name, params, args) __typeof__(&name) name;
#define LATE_SYMBOL(type, name, params, args) {#name, &at.name},
/* Hidden: the library itself must go on calling its own. Before it is there, there is nothing to give or take back. */
#define LATE_FUNCTION(type, name, params, args)                      \
	__typeof__(name) name __attribute__((visibility("hidden"))); \
	type name params                                             \
	{                                                            \
		if (!at.name)                                        \
			return (type)0;                              \
		return at.name args;                                 \
	}
