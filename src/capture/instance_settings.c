/* The settings of a server on a branch. See instance.h.
 *
 * The data directory comes from a production server and its settings still point there: where it archives, whom it follows
 * and who follows it, which files it writes outside of itself. Each of those is set here, whatever the cluster's own files
 * say; what is harmless (work_mem, the planner's) stays the cluster's.
 *
 * All of them are given twice: as arguments, which win over ALTER SYSTEM, and as lines for whoever starts the server by
 * hand. Names and versions are those of src/backend/utils/misc/guc.c (to 15) and guc_tables.c (since 16). */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "src/capture/instance.h"
#include "src/pit/pit.h"

#define MAJOR_MIN 13
#define MAJOR_MAX 18

struct fixed {
	const char *name, *value;
	unsigned from, to; /* major versions that know it; 0: no bound */
};

/* Nothing goes out; the same for every branch, as is what follows. */
static const struct fixed inward[] = {
	{"archive_mode", "off", 0, 0},
	{"archive_command", "", 0, 0},
	{"archive_library", "", 15, 0},
	{"archive_timeout", "0", 0, 0},
	{"archive_cleanup_command", "", 0, 0},
	{"recovery_end_command", "", 0, 0},
	{"primary_conninfo", "", 0, 0},
	{"primary_slot_name", "", 0, 0},
	{"promote_trigger_file", "", 0, 15},
	{"recovery_min_apply_delay", "0", 0, 0},
	{"synchronous_standby_names", "", 0, 0},
	{"synchronized_standby_slots", "", 17, 0},
	{"sync_replication_slots", "off", 17, 0},
	/* The branch of a subscriber would take the changes that are the subscriber's. */
	{"max_logical_replication_workers", "0", 0, 0},
	{"bonjour", "off", 0, 0},
};

static const struct fixed usual[] = {
	{"ssl", "off", 0, 0},
	/* Files outside of the data directory. */
	{"external_pid_file", "", 0, 0},
	{"stats_temp_directory", "pg_stat_tmp", 0, 14},
	{"unix_socket_group", "", 0, 0},
	{"unix_socket_permissions", "0700", 0, 0},
	/* Messages to where instance_start sends them, in words that instance_last_words knows. */
	{"logging_collector", "off", 0, 0},
	{"log_destination", "stderr", 0, 0},
	{"log_min_messages", "warning", 0, 0},
	{"log_line_prefix", "%m [%p] ", 0, 0},
	{"lc_messages", "C", 0, 0},
	/* Memory that any machine has. */
	{"shared_buffers", "128MB", 0, 0},
	{"huge_pages", "off", 0, 0},
	{"shared_memory_type", "mmap", 0, 0},
	{"dynamic_shared_memory_type", "posix", 0, 0},
	{"min_dynamic_shared_memory", "0", 14, 0},
	{"io_method", "worker", 18, 0},
	/* New segments as holes, none renamed from an old one: a branch pays for each block that is written. */
	{"wal_level", "replica", 0, 0},
	{"wal_init_zero", "off", 0, 0},
	{"wal_recycle", "off", 0, 0},
	{"wal_keep_size", "0", 0, 0},
	{"summarize_wal", "off", 17, 0},
	/* The server leaves by itself when it cannot go on. */
	{"data_sync_retry", "off", 0, 0},
};

#define N_INWARD (sizeof(inward) / sizeof(*inward))
#define N_USUAL (sizeof(usual) / sizeof(*usual))

void instance_settings_release(struct instance_settings *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->v[i].value);
	free(s->v);
	*s = (struct instance_settings){0};
}

/* s->v has room for all that there can be. */
static int put(struct instance_settings *s, const char *name, const char *value)
{
	char *copy = strdup(value ? value : "");

	if (!copy)
		return -ENOMEM;
	s->v[s->n++] = (struct instance_setting){name, copy, false};
	return 0;
}

static bool known(const struct fixed *f, unsigned major)
{
	return major >= f->from && (!f->to || major <= f->to);
}

static int put_fixed(struct instance_settings *s, const struct fixed *list, size_t n, unsigned major)
{
	int r = 0;

	for (size_t i = 0; !r && i < n; i++)
		if (known(&list[i], major))
			r = put(s, list[i].name, list[i].value);
	return r;
}

static int put_number(struct instance_settings *s, const char *name, unsigned value)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", value);
	return put(s, name, text);
}

static int put_bounds(struct instance_settings *s, const struct instance_facts *f)
{
	struct instance_bounds b = f->bounds;
	int r = 0;

	instance_bounds_control(&b, f->control);
	for (size_t i = 0; !r && i < INSTANCE_BOUNDS; i++)
		r = put_number(s, instance_bound_name(i), b.v[i]);
	return r;
}

static int put_all(struct instance_settings *s, const struct instance_facts *f)
{
	unsigned major = f->control->pg_major;
	int r = put(s, "data_directory", f->data);

	if (!r)
		s->v[s->n - 1].only_argument = true;
	r = r ? r : put_fixed(s, inward, N_INWARD, major);
	r = r ? r : put_fixed(s, usual, N_USUAL, major);
	r = r ? r : put_bounds(s, f);
	r = r ? r : put(s, "hba_file", f->hba);
	r = r ? r : put(s, "ident_file", f->ident);
	r = r ? r : put(s, "listen_addresses", f->listen);
	r = r ? r : put_number(s, "port", f->port);
	r = r ? r : put(s, "unix_socket_directories", f->socket_dir);
	/* Without it no record of changed parameters can stop recovery. */
	r = r ? r : put(s, "hot_standby", f->read_only ? "on" : "off");
	r = r ? r : put(s, "fsync", f->durable ? "on" : "off");
	r = r ? r : put(s, "full_page_writes", f->durable ? "on" : "off");
	/* Also without fsync: what was committed outlives the server, if not the machine. */
	r = r ? r : put(s, "synchronous_commit", "on");
	r = r ? r : put(s, "shared_preload_libraries", f->preload);
	r = r ? r : put(s, "session_preload_libraries", f->session_preload);
	r = r ? r : put(s, "local_preload_libraries", f->local_preload);
	for (const char *const *l = f->bad_locales; !r && l && *l; l++)
		r = put(s, *l, "C");
	return r;
}

int instance_settings(const struct instance_facts *f, struct instance_settings *ret, struct err *e)
{
	struct instance_settings s = {0};
	size_t room = N_INWARD + N_USUAL + 32;
	int r;

	if (f->control->pg_major < MAJOR_MIN || f->control->pg_major > MAJOR_MAX)
		return err_set(e, -EOPNOTSUPP,
			"%s is of a version of PostgreSQL that cannot be started here: %d to %d can", f->data,
			MAJOR_MIN, MAJOR_MAX);
	for (const char *const *l = f->bad_locales; l && *l; l++)
		room++;
	s.v = calloc(room, sizeof(*s.v));
	r = s.v ? put_all(&s, f) : -ENOMEM;
	if (r < 0) {
		instance_settings_release(&s);
		return err_sys(e, r, "settings for %s", f->data);
	}
	*ret = s;
	return 0;
}

void instance_settings_text(const struct instance_settings *s, struct buf *b)
{
	for (size_t i = 0; i < s->n; i++)
		if (!s->v[i].only_argument)
			pit_put_setting(b, s->v[i].name, s->v[i].value);
}

void instance_settings_inward(unsigned major, struct buf *b)
{
	for (size_t i = 0; i < N_INWARD; i++)
		if (known(&inward[i], major))
			pit_put_setting(b, inward[i].name, inward[i].value);
}

void instance_arguments_free(char **argv)
{
	for (char **a = argv; a && *a; a++)
		free(*a);
	free(argv);
}

char **instance_arguments(const char *bindir, const char *data, const struct instance_settings *s)
{
	char **argv = calloc(2 * s->n + 4, sizeof(*argv));
	size_t n = 0;
	bool bad = !argv;

	if (bad)
		return NULL;
	bad |= asprintf(&argv[n++], "%s/postgres", bindir) < 0;
	bad = bad || !(argv[n++] = strdup("-D")) || !(argv[n++] = strdup(data));
	for (size_t i = 0; !bad && i < s->n; i++) {
		bad = !(argv[n++] = strdup("-c"));
		bad = bad || asprintf(&argv[n++], "%s=%s", s->v[i].name, s->v[i].value) < 0;
	}
	if (bad) {
		argv[n - 1] = NULL; /* asprintf leaves it undefined */
		instance_arguments_free(argv);
		return NULL;
	}
	return argv;
}
