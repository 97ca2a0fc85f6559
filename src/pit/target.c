/* Targets as text. See target.h. */
#include "src/pit/target.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define LSN_PREFIX "lsn-"
#define XID_PREFIX "xid-"
#define NAME_PREFIX "name-"

static int refuse(const char *text, const char *why, struct err *e)
{
	return err_set(e, -EINVAL,
		"\"%.100s\" is no target: %s; a target is \"latest\", a time such as "
		"2026-11-20T14:14:59+01:00, "
		"lsn-0/3000148, xid-742 or name-RESTORE_POINT, with @TIMELINE after it if need be",
		text, why);
}

static const char *after(const char *text, const char *prefix)
{
	size_t n = strlen(prefix);

	return strncmp(text, prefix, n) ? NULL : text + n;
}

static bool parse_u32(const char *s, uint32_t *ret)
{
	uint64_t v = 0;

	if (!*s || strlen(s) > 10)
		return false;
	for (; *s; s++) {
		if (*s < '0' || *s > '9')
			return false;
		v = v * 10 + (uint64_t)(*s - '0');
	}
	*ret = (uint32_t)v;
	return v > 0 && v <= UINT32_MAX;
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Takes %XX back. False: a broken one, a NUL, or too long for a restore point. */
static bool unescape(const char *s, char out[WAL_NAME_MAX + 1])
{
	size_t n = 0;

	for (; *s; n++) {
		int c = (unsigned char)*s++;

		if (n == WAL_NAME_MAX)
			return false;
		if (c == '%') {
			if (hex(s[0]) < 0 || hex(s[1]) < 0)
				return false;
			c = hex(s[0]) * 16 + hex(s[1]);
			s += 2;
		}
		if (!c)
			return false;
		out[n] = (char)c;
	}
	out[n] = 0;
	return n > 0;
}

static int parse_point(const char *text, const char *whole, struct target *t, struct err *e)
{
	const char *rest;

	if (!strcmp(text, "latest")) {
		t->kind = TARGET_LATEST;
		return 0;
	}
	if ((rest = after(text, LSN_PREFIX))) {
		char lsn[LSN_TEXT];
		char *dash;

		if (strlen(rest) >= sizeof(lsn))
			return refuse(whole, "that is no LSN", e);
		strcpy(lsn, rest);
		if ((dash = strchr(lsn, '-')))
			*dash = '/';
		t->kind = TARGET_LSN;
		return lsn_parse(lsn, strlen(lsn), &t->lsn) && t->lsn.v ? 0
									: refuse(whole, "that is no LSN", e);
	}
	if ((rest = after(text, XID_PREFIX))) {
		t->kind = TARGET_XID;
		return parse_u32(rest, &t->xid) ? 0 : refuse(whole, "that is no transaction number", e);
	}
	if ((rest = after(text, NAME_PREFIX))) {
		t->kind = TARGET_NAME;
		return unescape(rest, t->name) ? 0 : refuse(whole, "no restore point can have that name", e);
	}
	t->kind = TARGET_TIME;
	if (tstamp_parse(text, &t->time, NULL) < 0)
		return refuse(whole, "that is no time", e);
	t->time.nsec -= t->time.nsec % 1000;
	return 0;
}

int target_parse(const char *text, struct target *ret, struct err *e)
{
	struct target t = {0};
	const char *at = strrchr(text, '@');
	char point[TARGET_TEXT];
	int r;

	if (strlen(text) >= sizeof(point))
		return refuse(text, "it is too long", e);
	strcpy(point, text);
	/* What follows the last @ of a restore point's name need not be a timeline. */
	if (at && parse_u32(at + 1, &t.tli.v))
		point[at - text] = 0;
	else if (at && !after(text, NAME_PREFIX))
		return refuse(text, "that is no timeline", e);
	r = parse_point(point, text, &t, e);
	if (r < 0)
		return r;
	*ret = t;
	return 0;
}

static size_t put_time(char *out, size_t room, struct tstamp time)
{
	char text[TSTAMP_TEXT];
	size_t len;

	tstamp_name(time, text);
	if (!time.nsec)
		return (size_t)snprintf(out, room, "%s", text);
	len = strlen(text) - 1; /* without the Z */
	len = (size_t)snprintf(out, room, "%.*s.%06u", (int)len, text, time.nsec / 1000);
	while (out[len - 1] == '0')
		len--;
	return len + (size_t)snprintf(out + len, room - len, "Z");
}

static size_t put_name(char *out, const char *name)
{
	size_t n = (size_t)sprintf(out, NAME_PREFIX);

	for (const char *s = name; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == '/' || c == '%' || c == '@' || c < 0x20 || c == 0x7f)
			n += (size_t)sprintf(out + n, "%%%02X", c);
		else
			out[n++] = (char)c;
	}
	out[n] = 0;
	return n;
}

char *target_name(const struct target *t, char out[TARGET_TEXT])
{
	size_t n = 0;

	switch (t->kind) {
	case TARGET_LATEST:
		n = (size_t)sprintf(out, "latest");
		break;
	case TARGET_TIME:
		n = put_time(out, TARGET_TEXT, t->time);
		break;
	case TARGET_LSN:
		n = (size_t)sprintf(out, LSN_PREFIX "%X-%X", (uint32_t)(t->lsn.v >> 32), (uint32_t)t->lsn.v);
		break;
	case TARGET_XID:
		n = (size_t)sprintf(out, XID_PREFIX "%u", t->xid);
		break;
	case TARGET_NAME:
		n = put_name(out, t->name);
		break;
	}
	if (t->tli.v)
		sprintf(out + n, "@%u", t->tli.v);
	return out;
}
