/* Loading a library and finding what is called of it. See late.h.
 *
 * What is found is kept for the life of the process, as the loader itself keeps it: the one state of this box that is
 * in nobody's hands. */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "src/capture/late_priv.h"

static pthread_mutex_t lock =
	PTHREAD_MUTEX_INITIALIZER; /* rank: leaf; guards the pointers while they are filled */

static int find(
	const char *soname, const char *package, const struct late_symbol *symbols, size_t n, struct err *e)
{
	/* Never closed: its dependencies do not expect that. */
	void *library = dlopen(soname, RTLD_NOW | RTLD_LOCAL);

	if (!library)
		return err_set(
			e, -ELIBACC, "%s cannot be loaded (Debian's %s): %s", soname, package, dlerror());
	for (size_t i = 0; i < n; i++) {
		void *found = dlsym(library, symbols[i].name);

		if (!found)
			return err_set(e, -ELIBACC, "%s (Debian's %s) is too old: it has no %s", soname,
				package, symbols[i].name);
		memcpy(symbols[i].pointer, &found, sizeof(found));
	}
	return 0;
}

int late_load(const char *soname, const char *package, const struct late_symbol *symbols, size_t n,
	bool *loaded, struct err *e)
{
	int r = 0;

	pthread_mutex_lock(&lock);
	if (!*loaded)
		r = find(soname, package, symbols, n, e);
	*loaded |= !r;
	pthread_mutex_unlock(&lock);
	return r;
}
