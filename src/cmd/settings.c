/* Settling the common settings, and opening what they name. See settings.h and cmd.h. */
#include "src/cmd/settings.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/base/clean.h"
#include "src/base/io.h"
#include "src/cmd/config.h"

#define SYSTEM_CONFIG "/etc/pgstrata.conf"

/* HOME/a/b, or XDG's folder/b; NULL when neither is known or there is no memory. */
static char *in_home(const char *xdg, const char *home, const char *below_home, const char *name)
{
	_cleanup_(freep) char *dir = NULL;

	/* Relative ones are to be ignored: XDG Base Directory Specification 0.8, "Basics". */
	if (xdg && *xdg == '/')
		return io_join(xdg, name);
	if (!home)
		return NULL;
	dir = io_join(home, below_home);
	return dir ? io_join(dir, name) : NULL;
}

static int read_config(const struct cmd_context *c, const char *named, struct config *cfg, struct err *e)
{
	_cleanup_(freep) char *mine = NULL;
	int r;

	if (!named)
		named = c->env.config;
	if (named) {
		r = config_read(named, cfg, e);
		return r == -ENOENT ? err_sys(e, r, "config file %s", named) : r;
	}
	r = config_read(SYSTEM_CONFIG, cfg, e);
	if (r < 0 && r != -ENOENT)
		return r;
	mine = in_home(c->env.config_home, c->env.home, ".config", "pgstrata/pgstrata.conf");
	if (!mine)
		return 0;
	r = config_read(mine, cfg, e);
	return r == -ENOENT ? 0 : r;
}

static char *default_cache_dir(const struct cmd_env *env)
{
	if (env->root)
		return strdup("/var/cache/pgstrata");
	return in_home(env->cache_home, env->home, ".cache", "pgstrata");
}

int settings_apply(struct cmd_context *c, const struct settings *s, struct err *e)
{
	struct config cfg = {0};
	enum log_level level = c->verbose ? LOG_LEVEL_DEBUG : c->quiet ? LOG_LEVEL_ERROR : LOG_LEVEL_WARNING;
	int r;

	r = log_new_stderr(level, &c->log);
	if (r < 0)
		return err_sys(e, r, "log");
	r = read_config(c, s->config, &cfg, e);
	c->config_repo = MOVE(cfg.repo);
	c->config_cluster = MOVE(cfg.cluster);
	c->config_cache_dir = MOVE(cfg.cache_dir);
	c->retention = cfg.retention;
	if (r < 0)
		return r;
	c->repo = s->repo ? s->repo : c->env.repo ? c->env.repo : c->config_repo;
	c->cluster_given = s->cluster != NULL;
	c->cluster = s->cluster ? s->cluster : c->config_cluster ? c->config_cluster : "main";
	r = store_check_cluster_name(c->cluster, e);
	if (r < 0)
		return r;
	c->cache_dir = s->cache_dir	  ? s->cache_dir
		       : c->env.cache_dir ? c->env.cache_dir
					  : c->config_cache_dir;
	if (!c->cache_dir)
		c->cache_dir = c->made_cache_dir = default_cache_dir(&c->env);
	return 0;
}

void cmd_context_release(struct cmd_context *c)
{
	log_free(c->log);
	free(c->config_repo);
	free(c->config_cluster);
	free(c->config_cache_dir);
	free(c->made_cache_dir);
	retention_sets_release(&c->retention);
	c->log = NULL;
	c->config_repo = c->config_cluster = c->config_cache_dir = c->made_cache_dir = NULL;
}

int cmd_fail(struct cmd_context *c, const struct err *e)
{
	const char *text = e->text[0] ? e->text : strerror(e->code ? -e->code : EIO);

	(void)c;
	fprintf(stderr, "pgstrata: error: %s\n", text);
	return CMD_FAILED;
}

/* The index cache saves time, nothing else: where it cannot be had, the work goes on without. */
static const char *usable_cache_dir(struct cmd_context *c)
{
	struct err e = {0};

	if (!c->cache_dir)
		return NULL;
	if (io_mkdirs(c->cache_dir, 0700, &e) < 0) {
		log_msg(c->log, LOG_LEVEL_INFO, "no index cache: %s", e.text);
		return NULL;
	}
	if (access(c->cache_dir, W_OK | X_OK) < 0) {
		log_msg(c->log, LOG_LEVEL_INFO, "no index cache: %s: %s", c->cache_dir, strerror(errno));
		return NULL;
	}
	return c->cache_dir;
}

int cmd_open_store(struct cmd_context *c, const struct cmd_usage *u, size_t cache_bytes, struct log *log,
	struct store **ret)
{
	struct store_options o = {.cache_bytes = cache_bytes, .log = log};
	struct err e = {0};

	if (!c->repo)
		return cmd_usage_error(c, u,
			"which repository? Name it with -r REPO, PGSTRATA_REPO or repo= in the config file");
	o.index_dir = usable_cache_dir(c);
	if (store_open(c->repo, &o, ret, &e) < 0)
		return cmd_fail(c, &e);
	return CMD_OK;
}
