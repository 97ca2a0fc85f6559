/* What verify and repair found, as lines for people. Not here: JSON, and what counts as a failure. */
#pragma once

#include "store/verify.h"

/* One line to standard output. */
void finding_print(const struct verify_finding *f);
