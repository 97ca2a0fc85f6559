/* The backend's common half: dispatch, and what can be said in terms of the operations. See backend.h. */
#include "store/backend.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/clean.h"

CLEANUP_DEFINE(struct object, object_close)
CLEANUP_DEFINE(struct upload, upload_free)

void backend_free(struct backend *b)
{
	if (b)
		b->ops->free(b);
}

int backend_open(struct backend *b, const char *name, struct object **ret, struct err *e)
{
	return b->ops->open(b, name, ret, e);
}

ssize_t object_read(struct object *o, uint64_t off, void *p, size_t n, struct err *e)
{
	return o->backend->ops->read(o, off, p, n, e);
}

void object_advise(struct object *o, uint64_t off, size_t n)
{
	o->backend->ops->advise(o, off, n);
}

void object_close(struct object *o)
{
	if (o)
		o->backend->ops->close(o);
}

int backend_get(struct backend *b, const char *name, size_t max, void **ret, size_t *ret_len, struct err *e)
{
	_cleanup_(object_closep) struct object *o = NULL;
	_cleanup_(freep) char *p = NULL;
	struct object_info info;
	ssize_t n;
	int r = backend_stat(b, name, &info, e);

	if (r < 0)
		return r;
	if (info.size > max)
		return err_set(e, -EFBIG, "object %s is larger than the %zu bytes allowed for it", name, max);
	r = backend_open(b, name, &o, e);
	if (r < 0)
		return r;
	p = malloc((size_t)info.size + 1);
	if (!p)
		return err_sys(e, -ENOMEM, "object %s", name);
	n = object_read(o, 0, p, (size_t)info.size, e);
	if (n < 0)
		return (int)n;
	p[n] = 0;
	*ret = MOVE(p);
	*ret_len = (size_t)n;
	return 0;
}

int backend_list(struct backend *b, const char *prefix, backend_list_fn *fn, void *arg, struct err *e)
{
	return b->ops->list(b, prefix, fn, arg, e);
}

int backend_folders(struct backend *b, const char *prefix, backend_list_fn *fn, void *arg, struct err *e)
{
	return b->ops->folders(b, prefix, fn, arg, e);
}

int backend_stat(struct backend *b, const char *name, struct object_info *ret, struct err *e)
{
	return b->ops->stat(b, name, ret, e);
}

int backend_remove(struct backend *b, const char *name, struct err *e)
{
	return b->ops->remove(b, name, e);
}

int backend_put(struct backend *b, const char *name, const void *p, size_t n, struct err *e)
{
	_cleanup_(upload_freep) struct upload *u = NULL;
	const char *slash = strrchr(name, '/');
	_cleanup_(freep) char *prefix = slash ? strndup(name, (size_t)(slash - name)) : strdup("");
	int r;

	if (!prefix)
		return err_sys(e, -ENOMEM, "object %s", name);
	r = upload_begin(b, prefix, &u, e);
	if (!r)
		r = upload_write(u, p, n, e);
	if (!r)
		r = upload_commit(u, name, e);
	return r ? r : backend_barrier(b, e);
}

int upload_begin(struct backend *b, const char *prefix, struct upload **ret, struct err *e)
{
	return b->ops->upload_begin(b, prefix, ret, e);
}

int upload_write(struct upload *u, const void *p, size_t n, struct err *e)
{
	return u->backend->ops->upload_write(u, p, n, e);
}

int upload_sync(struct upload *u, struct err *e)
{
	return u->backend->ops->upload_sync(u, e);
}

int upload_commit(struct upload *u, const char *name, struct err *e)
{
	return u->backend->ops->upload_commit(u, name, e);
}

void upload_free(struct upload *u)
{
	if (u)
		u->backend->ops->upload_free(u);
}

int backend_barrier(struct backend *b, struct err *e)
{
	return b->ops->barrier(b, e);
}

int backend_settle(struct backend *b, const char *name, struct err *e)
{
	return b->ops->settle(b, name, e);
}

int backend_space(struct backend *b, uint64_t *free_bytes, uint64_t *total_bytes, struct err *e)
{
	return b->ops->space(b, free_bytes, total_bytes, e);
}
