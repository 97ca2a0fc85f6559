/* An overlay: what a point in time shows that its backup's tree does not have, or has otherwise: info.json, and a few
 * files of data/. Made by ns_point, shown by ns_snapshot. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "src/base/clock.h"
#include "store/tree.h"

enum { OVERLAY_SIGNAL, OVERLAY_SETTINGS, OVERLAY_STANDBY, OVERLAY_FILES };

struct overlay_file {
	const char *name; /* static; the tree's entry of that name is hidden */
	char *bytes;	  /* NULL: and there is nothing in its place */
	size_t len;
	uint16_t mode;
	uint32_t uid, gid;
	struct tstamp mtime;
};

struct overlay {
	char *label; /* its directory in the cluster's: "at/latest" */
	struct dir_ref root;
	struct tstamp time; /* the directory's */
	char *info;	    /* info.json */
	size_t info_len;
	struct overlay_file files[OVERLAY_FILES];
};

void overlay_release(struct overlay *o);
