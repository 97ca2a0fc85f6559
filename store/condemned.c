/* See condemned.h; format: store/README.md, "Condemned pack". */
#include "store/condemned.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "store/backend.h"
#include "store/index.h"
#include "store/repo.h"

#define FOLDER "condemned/"
#define NAME_BYTES (sizeof(FOLDER) + DIGEST_HEX)

static const char text[] = "pgstrata-condemned 1\n";

static char *object_name(const struct digest *pack, char out[NAME_BYTES])
{
	char hex[DIGEST_HEX];

	snprintf(out, NAME_BYTES, FOLDER "%s", digest_hex(pack, hex));
	return out;
}

int condemned_put(struct store *s, const struct digest *pack, struct err *e)
{
	char name[NAME_BYTES];
	int r = backend_put(s->backend, object_name(pack, name), text, sizeof(text) - 1, e);

	return r == -EEXIST ? 0 : r;
}

int condemned_pardon(struct store *s, const struct digest *pack, struct err *e)
{
	char name[NAME_BYTES];
	int r = backend_remove(s->backend, object_name(pack, name), e);

	return r == -ENOENT ? 0 : r;
}

bool condemned_has(struct store *s, const struct digest *pack)
{
	struct object_info info;
	char name[NAME_BYTES];

	return backend_stat(s->backend, object_name(pack, name), &info, NULL) == 0;
}

struct listing {
	condemned_fn *fn;
	void *arg;
};

static int on_object(void *arg, const char *name, const struct object_info *info)
{
	struct listing *l = arg;
	struct digest pack;

	/* What has another name is nobody's sentence. */
	return digest_parse(name + strlen(FOLDER), &pack) ? l->fn(l->arg, &pack, info->put) : 0;
}

int condemned_list(struct store *s, condemned_fn *fn, void *arg, struct err *e)
{
	struct listing l = {fn, arg};

	return backend_list(s->backend, "condemned", on_object, &l, e);
}

static int shun(void *arg, const struct digest *pack, struct tstamp since)
{
	struct store *s = arg;

	(void)since;
	index_shun(s->index, pack);
	return 0;
}

int condemned_shun(struct store *s, struct err *e)
{
	return condemned_list(s, shun, s, e);
}
