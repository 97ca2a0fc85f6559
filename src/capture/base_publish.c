/* From all that came to the published snapshot. See base_publish.h. */
#include "src/capture/base_publish.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "src/base/clean.h"
#include "src/base/clock.h"

int base_check_identity(struct store *s, const char *cluster, uint64_t system, struct err *e)
{
	_cleanup_(freep) char *bound = NULL;
	char mine[24];
	int r = store_cluster_identity(s, cluster, &bound, e);

	if (r == -ENOENT) {
		if (e)
			*e = (struct err){0};
		return 0;
	}
	if (r < 0)
		return r;
	snprintf(mine, sizeof(mine), "%llu", (unsigned long long)system);
	if (strcmp(bound, mine))
		return err_set(e, -EEXIST,
			"cluster \"%s\" holds backups of the system %s, but this one is of system %s: choose "
			"another name for it with -c",
			cluster, bound, mine);
	return 0;
}

int base_publish(struct store *s, const char *cluster, struct base_sink *k, struct backup_facts *facts,
	const struct manifest_check *mc, struct snapshot *snap, struct err *e)
{
	uint64_t system;
	char identity[24];
	int r = base_sink_finish(k, e);

	if (r == 0)
		r = backup_facts_settle(facts, mc, clock_now(), snap, e);
	if (r < 0)
		return r;
	system = backup_facts_control(facts)->system_identifier;
	snprintf(identity, sizeof(identity), "%llu", (unsigned long long)system);
	r = base_check_identity(s, cluster, system, e);
	/* The name is bound when hardly anything can go wrong any more: a binding is for good. */
	if (r == 0)
		r = base_sink_seal(k, snap, e);
	if (r == 0)
		r = store_bind_cluster(s, cluster, identity, e);
	return r == 0 ? base_sink_publish(k, snap, e) : r;
}
