/* What is kept of a server, so that another process finds it and ends it: server.json. See instance.h. */
#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "src/base/io.h"
#include "src/capture/instance.h"

#define RECORD_MAX 65536

static const char *const stages[] = {
	[INSTANCE_OPENING] = "opening", [INSTANCE_SERVES] = "serves", [INSTANCE_ALONE] = "alone"};

void instance_record_release(struct instance_record *r)
{
	free(r->socket_dir);
	free(r->user);
	free(r->database);
	free(r->mount);
	*r = (struct instance_record){0};
}

/* What is not known yet is an empty text. */
static json_t *text_json(const char *s)
{
	return json_string(s ? s : "");
}

static int append(const char *p, size_t n, void *arg)
{
	buf_put(arg, p, n);
	return 0;
}

int instance_record_save(const char *dir, const struct instance_record *rec, struct err *e)
{
	_cleanup_(buf_free) struct buf b = {0};
	json_t *o = json_object();
	int r = o ? 0 : -1;

	r |= json_object_set_new(o, "version", json_integer(1));
	r |= json_object_set_new(o, "stage", json_string(stages[rec->stage]));
	r |= json_object_set_new(o, "pid", json_integer(rec->process.pid));
	r |= json_object_set_new(o, "start_ticks", json_integer((json_int_t)rec->process.ticks));
	r |= json_object_set_new(o, "socket_dir", text_json(rec->socket_dir));
	r |= json_object_set_new(o, "made_socket_dir", json_boolean(rec->made_socket_dir));
	r |= json_object_set_new(o, "port", json_integer(rec->port));
	r |= json_object_set_new(o, "user", text_json(rec->user));
	r |= json_object_set_new(o, "database", text_json(rec->database));
	r |= json_object_set_new(o, "mount", json_string(rec->mount));
	r |= json_object_set_new(o, "read_only", json_boolean(rec->read_only));
	if (!r)
		r = json_dump_callback(o, append, &b, JSON_INDENT(2));
	json_decref(o);
	buf_put_u8(&b, '\n');
	/* jansson holds only UTF-8; a path that is not would have to be found again. */
	if (r || b.bad)
		return err_set(e, -EINVAL,
			"%s/" INSTANCE_RECORD " cannot be written: a path in it is not UTF-8", dir);
	return io_replace_file(dir, INSTANCE_RECORD, b.data, b.len, 0600, e);
}

static bool take_text(const json_t *o, const char *key, char **ret)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s && (*ret = strdup(s));
}

static bool take_number(const json_t *o, const char *key, json_int_t min, json_int_t max, json_int_t *ret)
{
	const json_t *j = json_object_get(o, key);

	*ret = json_integer_value(j);
	return json_is_integer(j) && *ret >= min && *ret <= max;
}

static bool take_stage(const json_t *o, enum instance_stage *ret)
{
	const char *word = json_string_value(json_object_get(o, "stage"));

	for (size_t i = 0; word && i < sizeof(stages) / sizeof(*stages); i++)
		if (!strcmp(word, stages[i])) {
			*ret = (enum instance_stage)i;
			return true;
		}
	return false;
}

static bool parse(const void *p, size_t n, struct instance_record *ret)
{
	json_t *o = json_loadb(p, n, JSON_REJECT_DUPLICATES, NULL);
	const json_t *made = json_object_get(o, "made_socket_dir"), *ro = json_object_get(o, "read_only");
	struct instance_record rec = {0};
	json_int_t version, pid, ticks, port;
	bool good = take_number(o, "version", 1, 1, &version) && take_stage(o, &rec.stage) &&
		    take_number(o, "pid", 0, INT32_MAX, &pid) &&
		    take_number(o, "start_ticks", 0, INT64_MAX, &ticks) &&
		    take_number(o, "port", 0, 65535, &port) && take_text(o, "socket_dir", &rec.socket_dir) &&
		    take_text(o, "user", &rec.user) && take_text(o, "database", &rec.database) &&
		    take_text(o, "mount", &rec.mount) && json_is_boolean(made) && json_is_boolean(ro);

	if (good) {
		rec.process = (struct instance_process){(pid_t)pid, (uint64_t)ticks};
		rec.port = (unsigned)port;
		rec.made_socket_dir = json_is_true(made);
		rec.read_only = json_is_true(ro);
		*ret = rec;
	} else {
		instance_record_release(&rec);
	}
	json_decref(o);
	return good;
}

int instance_record_load(const char *dir, struct instance_record *ret, struct err *e)
{
	_cleanup_(freep) char *path = io_join(dir, INSTANCE_RECORD);
	_cleanup_(freep) void *p = NULL;
	size_t n;
	int r = path ? io_read_file(path, RECORD_MAX, &p, &n, e) : err_sys(e, -ENOMEM, "%s", dir);

	if (r < 0)
		return r;
	if (!parse(p, n, ret))
		return err_set(e, -EBADMSG, "%s does not describe a server", path);
	return 0;
}
