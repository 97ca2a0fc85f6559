/* What a point in time shows: the overlay over its backup. */
#pragma once

#include "fs/overlay.h"
#include "src/base/err.h"
#include "src/pit/pit.h"

struct fs;

/* Makes the overlay of p: recovery.signal, postgresql.auto.conf with the settings of its recovery appended, info.json; a
 * standby.signal is hidden. `name`: what the directory is called in at/. Release with overlay_release. */
int ns_point_overlay(struct fs *fs, const char *cluster, const char *name, const struct pit_point *p,
	struct overlay *ret, struct err *e);
