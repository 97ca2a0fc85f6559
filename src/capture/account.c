/* Accounts, remembered in a small list a direction. See account.h.
 *
 * A data directory has one owner, seldom two: the last answer is looked at first and a list is enough. When
 * a hostile tar brings more names than LIST_MAX the oldest answers are asked again; the names given out stay
 * valid as the number-to-name lists never drop any (their keys come from this machine's files). */
#include "src/capture/account.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define LIST_MAX 256

struct known {
	struct known *next;
	uint32_t id;
	bool found; /* name to number: the machine knows it */
	char name[];
};

struct list {
	struct known *first;
	unsigned n;
};

struct accounts {
	struct list users, groups; /* by number */
	struct list uids, gids;	   /* by name */
};

struct accounts *accounts_new(void)
{
	return calloc(1, sizeof(struct accounts));
}

static void list_free(struct list *l)
{
	struct known *next;

	for (struct known *k = l->first; k; k = next) {
		next = k->next;
		free(k);
	}
	*l = (struct list){0};
}

void accounts_free(struct accounts *o)
{
	if (!o)
		return;
	list_free(&o->users);
	list_free(&o->groups);
	list_free(&o->uids);
	list_free(&o->gids);
	free(o);
}

static struct known *list_add(struct list *l, uint32_t id, bool found, const char *name)
{
	size_t n = strlen(name) + 1;
	struct known *k = malloc(sizeof(*k) + n);

	if (!k)
		return NULL;
	k->id = id;
	k->found = found;
	memcpy(k->name, name, n);
	k->next = l->first;
	l->first = k;
	l->n++;
	return k;
}

static const struct known *find_id(const struct list *l, uint32_t id)
{
	for (const struct known *k = l->first; k; k = k->next)
		if (k->id == id)
			return k;
	return NULL;
}

static const struct known *find_name(const struct list *l, const char *name)
{
	for (const struct known *k = l->first; k; k = k->next)
		if (!strcmp(k->name, name))
			return k;
	return NULL;
}

/* Room for one record of the user database; it grows on ERANGE. */
struct room {
	char *p;
	size_t n;
};

static bool room_grow(struct room *r)
{
	size_t n = r->n ? r->n * 2 : 1024;
	char *p;

	if (n > 1u << 20)
		return false;
	p = realloc(r->p, n);
	if (!p)
		return false;
	r->p = p;
	r->n = n;
	return true;
}

const char *account_user(struct accounts *o, uid_t uid)
{
	const struct known *k = find_id(&o->users, uid);
	struct passwd pw, *found = NULL;
	struct room room = {0};

	if (k)
		return k->name;
	while (room_grow(&room) && getpwuid_r(uid, &pw, room.p, room.n, &found) == ERANGE)
		;
	k = list_add(&o->users, uid, true, found ? found->pw_name : "");
	free(room.p);
	return k ? k->name : "";
}

const char *account_group(struct accounts *o, gid_t gid)
{
	const struct known *k = find_id(&o->groups, gid);
	struct group gr, *found = NULL;
	struct room room = {0};

	if (k)
		return k->name;
	while (room_grow(&room) && getgrgid_r(gid, &gr, room.p, room.n, &found) == ERANGE)
		;
	k = list_add(&o->groups, gid, true, found ? found->gr_name : "");
	free(room.p);
	return k ? k->name : "";
}

uid_t account_uid(struct accounts *o, const char *user, uid_t fallback)
{
	const struct known *k;
	struct passwd pw, *found = NULL;
	struct room room = {0};

	if (!*user)
		return fallback;
	k = find_name(&o->uids, user);
	if (!k) {
		if (o->uids.n >= LIST_MAX)
			list_free(&o->uids);
		while (room_grow(&room) && getpwnam_r(user, &pw, room.p, room.n, &found) == ERANGE)
			;
		k = list_add(&o->uids, found ? found->pw_uid : 0, found != NULL, user);
		free(room.p);
	}
	return k && k->found ? (uid_t)k->id : fallback;
}

gid_t account_gid(struct accounts *o, const char *group, gid_t fallback)
{
	const struct known *k;
	struct group gr, *found = NULL;
	struct room room = {0};

	if (!*group)
		return fallback;
	k = find_name(&o->gids, group);
	if (!k) {
		if (o->gids.n >= LIST_MAX)
			list_free(&o->gids);
		while (room_grow(&room) && getgrnam_r(group, &gr, room.p, room.n, &found) == ERANGE)
			;
		k = list_add(&o->gids, found ? found->gr_gid : 0, found != NULL, group);
		free(room.p);
	}
	return k && k->found ? (uid_t)k->id : fallback;
}
