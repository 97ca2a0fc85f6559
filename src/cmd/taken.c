/* What verbs that take a backup in print at their end. */
#include "src/cmd/cmd.h"

void cmd_print_taken(const struct cmd_context *c, const char *done, const struct snapshot *snap)
{
	char logical[SIZE_TEXT], stored[SIZE_TEXT];

	if (!c->env.out_tty) {
		puts(snap->id);
		return;
	}
	printf("%s %s/%s: %s in %llu files, %s added to the repository.\n", done, snap->cluster, snap->id,
		cmd_size_text(snap->logical_bytes, logical), (unsigned long long)snap->files,
		cmd_size_text(snap->stored_bytes, stored));
	printf("Next: pgstrata mount -r %s MNT, then look at MNT/%s/", c->repo, snap->cluster);
	switch (snap->kind) {
	case SNAPSHOT_BASE:
		printf("backups/%s/data\n", snap->id);
		return;
	case SNAPSHOT_DUMP:
		printf("dumps/*/%s\n", snap->id);
		return;
	case SNAPSHOT_GLOBALS:
		printf("globals/%s.sql\n", snap->id);
		return;
	}
}
