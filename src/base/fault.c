/* Fault points. The one place below src/cmd that looks at the environment, in test builds only. */
#include "src/base/fault.h"

#ifdef PGSTRATA_FAULTS

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct {
	pthread_mutex_t lock; /* rank: leaf; guards everything here */
	int state;	      /* 0 not read, 1 none, 2 count, 3 planned */
	char name[64];
	long at;
	long passed;
	int action; /* 0 kill, else errno */
} plan = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void read_plan(void)
{
	const char *s = getenv("PGSTRATA_FAULT");
	const char *c1 = s ? strchr(s, ':') : NULL;
	const char *c2 = c1 ? strchr(c1 + 1, ':') : NULL;

	plan.state = 1;
	if (!s)
		return;
	if (!strcmp(s, "count")) {
		plan.state = 2;
		return;
	}
	if (!c2 || (size_t)(c1 - s) >= sizeof(plan.name))
		return;
	memcpy(plan.name, s, (size_t)(c1 - s));
	plan.at = strtol(c1 + 1, NULL, 10);
	plan.action = strcmp(c2 + 1, "kill") ? (int)strtol(c2 + 1, NULL, 10) : 0;
	plan.state = 3;
}

int fault_at(const char *name)
{
	int r = 0;

	pthread_mutex_lock(&plan.lock);
	if (plan.state == 0)
		read_plan();
	if (plan.state == 2)
		fprintf(stderr, "fault-point %s\n", name);
	if (plan.state == 3 && (!strcmp(plan.name, "*") || !strcmp(plan.name, name)) &&
		++plan.passed == plan.at) {
		if (!plan.action)
			kill(getpid(), SIGKILL);
		r = -plan.action;
	}
	pthread_mutex_unlock(&plan.lock);
	return r;
}

#else
typedef int fault_c_is_empty_without_faults;
#endif
