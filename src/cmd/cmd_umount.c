/* pgstrata umount: takes a mount of ours away and waits for its daemon. */
#include <stdlib.h>

#include "fs/mountpoint.h"
#include "src/base/clean.h"
#include "src/cmd/cmd.h"

int cmd_umount(struct cmd_context *c, int argc, char **argv)
{
	const struct cmd_usage usage = {
		.verb = "umount",
		.args = "MNT",
		.min_args = 1,
		.max_args = 1,
		.takes = TAKES_NO_REPO,
		.about =
			"Takes away what \"pgstrata mount\" mounted, and returns when its daemon has ended.\n"
			"Clears a mount whose daemon was killed, too.",
	};
	_cleanup_(freep) char *path = NULL;
	struct err e = {0};
	int r;

	if (!cmd_parse(c, &usage, argc, argv))
		return c->status;
	r = mountpoint_resolve(c->args[0], &path, &e);
	if (r >= 0)
		r = mountpoint_unmount(path, &e);
	return r < 0 ? cmd_fail(c, &e) : CMD_OK;
}
