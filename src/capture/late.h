/* Libraries that are loaded when a verb first needs them, instead of with the program.
 *
 * An archive_command starts the program for each segment, and the loader's work on libpq and libarchive (with Kerberos,
 * LDAP, libxml2 and ICU behind them) was more than half of that start, though neither is used there. late_libpq.c and
 * late_libarchive.c define the libraries' functions by their own names and pass each call on; who calls them includes
 * the libraries' headers as ever, and asks for the library once before. */
#pragma once

#include "src/base/err.h"

/* 0, or -ELIBACC with what to install. Thread-safe; every call after the first costs nothing. */
int late_libpq(struct err *e);
int late_libarchive(struct err *e);
