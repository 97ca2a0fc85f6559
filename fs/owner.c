/* Owner names to numbers, remembered: a tree of a million files has two or three owners, and getpwnam may ask
 * a directory server. See owner.h.
 *
 * Invariant: what was remembered is not asked again, so that a file does not change its owner while mounted.
 * Non-goal: names that appear on this machine later. */
#include "fs/owner.h"

#include <errno.h>
#include <grp.h>
#include <pthread.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/clean.h"

#define KNOWN_MAX 256 /* of each kind; a hostile tree with more names is served, just slower */
#define DATABASE_LINE_MAX (1u << 20)

struct known {
	char *name;
	uint32_t id;
	bool exists;
};

struct names {
	struct known k[KNOWN_MAX];
	unsigned n;
};

struct owners {
	struct owner_options o;
	pthread_rwlock_t lock; /* rank: leaf; guards users and groups. Not held while the system is asked */
	struct names users, groups;
};

int owners_new(const struct owner_options *o, struct owners **ret)
{
	struct owners *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	w->o = *o;
	pthread_rwlock_init(&w->lock, NULL);
	*ret = w;
	return 0;
}

static void names_release(struct names *t)
{
	for (unsigned i = 0; i < t->n; i++)
		free(t->k[i].name);
}

void owners_free(struct owners *w)
{
	if (!w)
		return;
	names_release(&w->users);
	names_release(&w->groups);
	pthread_rwlock_destroy(&w->lock);
	free(w);
}

/* Asks the system; the line of a group with many members needs a large buffer, found by trying. */
static bool ask(const char *name, bool group, uint32_t *ret)
{
	for (size_t room = 1024; room <= DATABASE_LINE_MAX; room *= 4) {
		_cleanup_(freep) char *line = malloc(room);
		struct passwd pw, *p = NULL;
		struct group gr, *g = NULL;
		int r;

		if (!line)
			return false;
		r = group ? getgrnam_r(name, &gr, line, room, &g) : getpwnam_r(name, &pw, line, room, &p);
		if (r == ERANGE)
			continue;
		if (g)
			*ret = g->gr_gid;
		if (p)
			*ret = p->pw_uid;
		return g || p;
	}
	return false;
}

static const struct known *find(const struct names *t, const char *name)
{
	for (unsigned i = 0; i < t->n; i++)
		if (!strcmp(t->k[i].name, name))
			return &t->k[i];
	return NULL;
}

static uint32_t resolve(struct owners *w, struct names *t, const char *name, bool group, uint32_t number)
{
	const struct known *k;
	struct known fresh;

	if (!name || !*name)
		return number;
	pthread_rwlock_rdlock(&w->lock);
	k = find(t, name);
	if (k && k->exists)
		number = k->id;
	pthread_rwlock_unlock(&w->lock);
	if (k)
		return number;

	fresh = (struct known){.id = number};
	fresh.exists = ask(name, group, &fresh.id);
	number = fresh.id;
	pthread_rwlock_wrlock(&w->lock);
	if (t->n < KNOWN_MAX && !find(t, name)) {
		fresh.name = strdup(name);
		if (fresh.name)
			t->k[t->n++] = fresh;
	}
	pthread_rwlock_unlock(&w->lock);
	return number;
}

void owner_resolve(struct owners *w, const struct meta *m, uint32_t *ret_uid, uint32_t *ret_gid)
{
	*ret_uid = w->o.have_uid ? w->o.uid : resolve(w, &w->users, m->user, false, m->uid);
	*ret_gid = w->o.have_gid ? w->o.gid : resolve(w, &w->groups, m->group, true, m->gid);
}
