/* See confine.h. The system calls have no wrappers in the C library, and the kernel's header may be older than the kernel. */
#include "src/capture/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "src/base/clean.h"

#define TO_FILES LANDLOCK_ACCESS_FS_WRITE_FILE
#define TO_DIRS                                                                                            \
	(LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR |   \
		LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK | \
		LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM)
/* Of the second and the third version of the interface. */
#define REFER (UINT64_C(1) << 13)
#define TRUNCATE (UINT64_C(1) << 14)

static int allow(int rules, const char *path, uint64_t what, struct err *e)
{
	_cleanup_(closep) int fd = open(path, O_PATH | O_CLOEXEC);
	struct landlock_path_beneath_attr rule = {.allowed_access = what, .parent_fd = fd};
	struct stat st;

	if (fd < 0)
		return errno == ENOENT ? 0 : err_sys(e, -errno, "%s", path);
	if (fstat(fd, &st) == 0 && !S_ISDIR(st.st_mode))
		rule.allowed_access &= TO_FILES | TRUNCATE;
	if (syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
		return err_sys(e, -errno, "a rule for writing to %s", path);
	return 0;
}

int confine_new(const char *const *dirs, const char *opened, struct err *e)
{
	long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	uint64_t all = TO_FILES | TO_DIRS | (version >= 2 ? REFER : 0) | (version >= 3 ? TRUNCATE : 0);
	struct landlock_ruleset_attr attr = {.handled_access_fs = all};
	_cleanup_(closep) int rules = -1;
	int r = 0;

	if (version < 1)
		return err_set(e, -EOPNOTSUPP, "this kernel has no Landlock");
	rules = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
	if (rules < 0)
		return err_sys(e, -errno, "rules for writing");
	for (; r == 0 && *dirs; dirs++)
		r = allow(rules, *dirs, all, e);
	if (opened)
		r = r ? r : allow(rules, opened, TO_FILES, e);
	r = r ? r : allow(rules, "/dev/shm", all, e);
	r = r ? r : allow(rules, "/dev", TO_FILES | (all & TRUNCATE), e);
	return r < 0 ? r : MOVE_FD(rules);
}

int confine_self(int rules)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	return syscall(SYS_landlock_restrict_self, rules, 0) < 0 ? -errno : 0;
}
