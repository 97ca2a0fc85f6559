/* Findings as text. See finding.h. */
#include "src/cmd/finding.h"

#include <stdio.h>

void finding_print(const struct verify_finding *f)
{
	switch (f->kind) {
	case VERIFY_OBJECT:
		printf("damaged: %s%s%s: %s\n", f->object, f->chunk ? ": chunk " : "",
			f->chunk ? f->chunk : "", f->why);
		break;
	case VERIFY_LOST:
		printf("lost: %s/%s/%s%s%s", f->cluster, f->snapshot_kind, f->snapshot, *f->path ? ": " : "",
			f->path);
		if (f->to)
			printf(", bytes %llu to %llu", (unsigned long long)f->from,
				(unsigned long long)f->to - 1);
		printf(": %s\n", f->why);
		break;
	case VERIFY_UNUSED:
		printf("damaged, not needed: %s%s%s: %s\n", f->object, f->chunk ? "chunk " : "",
			f->chunk ? f->chunk : "", f->why);
		break;
	}
}
