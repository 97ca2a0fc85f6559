/* Owners: numbers to names when a backup is taken in, names to numbers when it is given back.
 *
 * The user database may be slow (LDAP) and a backup has millions of files of one owner, so answers are
 * remembered. One thread uses one struct owners; names live as long as it does. */
#pragma once

#include <sys/types.h>

struct owners;

struct owners *owners_new(void);    /* NULL without memory */
void owners_free(struct owners *o); /* fine on NULL */

/* The name at this machine, or "" when there is none. Never NULL. */
const char *owner_user(struct owners *o, uid_t uid);
const char *owner_group(struct owners *o, gid_t gid);

/* The number that this machine gives the name; `fallback` when the name is "" or unknown here. */
uid_t owner_uid(struct owners *o, const char *user, uid_t fallback);
gid_t owner_gid(struct owners *o, const char *group, gid_t fallback);
