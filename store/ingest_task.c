/* Work on the threads of an ingest that is not a file's job. See ingest_priv.h. */
#include <errno.h>
#include <stdlib.h>

#include "store/ingest_priv.h"

struct task {
	struct ingest *ingest;
	ingest_task_fn *fn;
	void *arg;
};

static void run_task(void *arg, unsigned number)
{
	struct task t = *(struct task *)arg;
	struct err why = {0};
	int r;

	free(arg);
	r = t.fn(t.arg, ingest_failed(t.ingest, NULL) < 0 ? NULL : t.ingest->workers[number].chunker, &why);
	if (r < 0)
		ingest_fail(t.ingest, r, &why, NULL);
}

int ingest_task(struct ingest *in, ingest_task_fn *fn, void *arg, struct err *e)
{
	struct task *t = malloc(sizeof(*t));

	if (!t) {
		fn(arg, NULL, NULL);
		return err_sys(e, -ENOMEM, "storing a chunk");
	}
	*t = (struct task){in, fn, arg};
	pool_submit(in->pool, run_task, t);
	return 0;
}
