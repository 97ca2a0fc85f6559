/* Accounts: numbers to names when a backup is taken in, names to numbers when it is given back.
 *
 * The user database may be slow (LDAP) and a backup has millions of files of one owner, so answers are
 * remembered. One thread uses one struct accounts; names live as long as it does. */
#pragma once

#include <sys/types.h>

struct accounts;

struct accounts *accounts_new(void);	/* NULL without memory */
void accounts_free(struct accounts *o); /* fine on NULL */

/* The name at this machine, or "" when there is none. Never NULL. */
const char *account_user(struct accounts *o, uid_t uid);
const char *account_group(struct accounts *o, gid_t gid);

/* The number that this machine gives the name; `fallback` when the name is "" or unknown here. */
uid_t account_uid(struct accounts *o, const char *user, uid_t fallback);
gid_t account_gid(struct accounts *o, const char *group, gid_t fallback);
