/* Settings that recovery wants to be as large as they were where the WAL was written. See instance.h.
 *
 * pg_control has them as they were at the backup. A later record can raise them, and of that the server itself says what it
 * lacks: with queries allowed it ends, or since 14 pauses there (CheckRequiredParameterValues,
 * src/backend/access/transam/xlogrecovery.c, in 13 xlog.c); prepared transactions that have no place end any recovery
 * (PrepareRedoAdd, twophase.c). */
#include <stdlib.h>
#include <string.h>

#include "src/capture/instance.h"

static const char *const names[INSTANCE_BOUNDS] = {"max_connections", "max_worker_processes",
	"max_wal_senders", "max_prepared_transactions", "max_locks_per_transaction"};
#define PREPARED 3
#define PREPARED_FIRST 64

const char *instance_bound_name(size_t i)
{
	return names[i];
}

static bool raise_to(uint32_t *v, uint64_t to)
{
	if (to <= *v || to > INT32_MAX)
		return false;
	*v = (uint32_t)to;
	return true;
}

void instance_bounds_control(struct instance_bounds *b, const struct control *c)
{
	const uint32_t v[INSTANCE_BOUNDS] = {c->max_connections, c->max_worker_processes, c->max_wal_senders,
		c->max_prepared_xacts, c->max_locks_per_xact};

	for (size_t i = 0; i < INSTANCE_BOUNDS; i++)
		raise_to(&b->v[i], v[i]);
}

/* "NAME = 100 is a lower setting than on the primary server, where its value was 200." (13: "master server (its value was"). */
static bool raise_one(struct instance_bounds *b, const char *line, const char *words)
{
	const char *end = line + strcspn(line, "\n"), *was = strstr(words, "value was ");

	for (size_t i = 0; was && was < end && i < INSTANCE_BOUNDS; i++) {
		const char *name = strstr(line, names[i]);

		if (name && name < words && !strncmp(name + strlen(names[i]), " = ", 3))
			return raise_to(&b->v[i], strtoull(was + strlen("value was "), NULL, 10));
	}
	return false;
}

bool instance_bounds_raise(struct instance_bounds *b, const char *log)
{
	static const char lower[] = " is a lower setting than on the ";
	bool raised = false;

	for (const char *line = log; *line; line += strcspn(line, "\n"), line += *line == '\n') {
		const char *words = strstr(line, lower);

		if (!words)
			break;
		if (words < line + strcspn(line, "\n"))
			raised |= raise_one(b, line, words);
	}
	if (strstr(log, "maximum number of prepared transactions reached"))
		raised |= raise_to(&b->v[PREPARED],
			b->v[PREPARED] < PREPARED_FIRST ? PREPARED_FIRST : UINT64_C(2) * b->v[PREPARED]);
	return raised;
}
