/* pgstrata init: makes a repository. */
#include "src/cmd/cmd.h"

int cmd_init(struct cmd_context *c, int argc, char **argv)
{
	uint64_t chunk_size = 0, chain = 0, level = 0;
	bool no_deltas = false;
	const struct cmd_option options[] = {
		{"chunk-size", 0, "SIZE", OPTION_SIZE, &chunk_size,
			"bytes of a chunk of relation files: a power of two from 8K to 1M\n(default: 64K)"},
		{"delta-chain", 0, "N", OPTION_COUNT, &chain, "longest chain of delta chunks (default: 4)"},
		{"no-deltas", 0, NULL, OPTION_FLAG, &no_deltas, "stores every new chunk by itself"},
		{"level", 0, "N", OPTION_COUNT, &level, "zstd level, 1 to 19 (default: 2)"},
		{0},
	};
	const struct cmd_usage usage = {
		.verb = "init",
		.args = "",
		.about = "Makes a repository in a new or an empty directory. What is set here is set for "
			 "good.",
		.example = "  pgstrata init -r /srv/pgstrata",
		.options = options,
	};
	struct store_settings settings = {0};
	char id[STORE_ID_TEXT];
	struct err e = {0};

	if (!cmd_parse(c, &usage, argc, argv))
		return c->status;
	if (!c->repo)
		return cmd_usage_error(
			c, &usage, "where? Name the new repository with -r REPO or PGSTRATA_REPO");
	if (chunk_size && (chunk_size < 8u << 10 || chunk_size > 1u << 20 || (chunk_size & (chunk_size - 1))))
		return cmd_usage_error(c, &usage, "--chunk-size must be a power of two from 8K to 1M");
	if (level > 19)
		return cmd_usage_error(c, &usage, "--level must be from 1 to 19");
	if (chain >= UINT32_MAX)
		return cmd_usage_error(c, &usage, "--delta-chain is too large");
	settings.chunk_size = (uint32_t)chunk_size;
	settings.delta_chain = no_deltas ? UINT32_MAX : (uint32_t)chain;
	settings.level = (int)level;
	if (store_init(c->repo, &settings, id, &e) < 0)
		return cmd_fail(c, &e);
	if (c->env.out_tty)
		printf("Made the repository %s (id %s).\nNext: pgstrata import base -r %s PATH\n", c->repo,
			id, c->repo);
	else
		puts(id);
	return CMD_OK;
}
