/* libpq's functions, as far as this box calls them. See late.h. Their declarations are libpq-fe.h's, and the compiler
 * compares. The library's name on disk is that of its ABI: libpq.so.5 since PostgreSQL 8.2 (interfaces/libpq/Makefile). */
#include "src/capture/late.h"

#include <libpq-fe.h>
#include <stdbool.h>

#include "src/capture/late_priv.h"

/* type, name, parameters, arguments */
#define FUNCTIONS(F)                                                                                       \
	F(PGconn *, PQconnectStartParams, (const char *const *k, const char *const *v, int x), (k, v, x))  \
	F(PGconn *, PQconnectdbParams, (const char *const *k, const char *const *v, int x), (k, v, x))     \
	F(PostgresPollingStatusType, PQconnectPoll, (PGconn * c), (c))                                     \
	F(PQconninfoOption *, PQconninfoParse, (const char *s, char **err), (s, err))                      \
	F(int, PQconnectionNeedsPassword, (const PGconn *c), (c))                                          \
	F(ConnStatusType, PQstatus, (const PGconn *c), (c))                                                \
	F(char *, PQerrorMessage, (const PGconn *c), (c))                                                  \
	F(char *, PQdb, (const PGconn *c), (c))                                                            \
	F(char *, PQhost, (const PGconn *c), (c))                                                          \
	F(char *, PQport, (const PGconn *c), (c))                                                          \
	F(int, PQserverVersion, (const PGconn *c), (c))                                                    \
	F(int, PQsocket, (const PGconn *c), (c))                                                           \
	F(int, PQsetnonblocking, (PGconn * c, int on), (c, on))                                            \
	F(PGVerbosity, PQsetErrorVerbosity, (PGconn * c, PGVerbosity v), (c, v))                           \
	F(PQnoticeReceiver, PQsetNoticeReceiver, (PGconn * c, PQnoticeReceiver f, void *arg), (c, f, arg)) \
	F(char *, PQescapeIdentifier, (PGconn * c, const char *s, size_t n), (c, s, n))                    \
	F(char *, PQescapeLiteral, (PGconn * c, const char *s, size_t n), (c, s, n))                       \
	F(PGresult *, PQexec, (PGconn * c, const char *q), (c, q))                                         \
	F(int, PQsendQuery, (PGconn * c, const char *q), (c, q))                                           \
	F(int, PQflush, (PGconn * c), (c))                                                                 \
	F(int, PQisBusy, (PGconn * c), (c))                                                                \
	F(int, PQconsumeInput, (PGconn * c), (c))                                                          \
	F(PGresult *, PQgetResult, (PGconn * c), (c))                                                      \
	F(PGcancel *, PQgetCancel, (PGconn * c), (c))                                                      \
	F(int, PQcancel, (PGcancel * c, char *text, int n), (c, text, n))                                  \
	F(int, PQputCopyData, (PGconn * c, const char *p, int n), (c, p, n))                               \
	F(int, PQputCopyEnd, (PGconn * c, const char *why), (c, why))                                      \
	F(int, PQgetCopyData, (PGconn * c, char **p, int async), (c, p, async))                            \
	F(ExecStatusType, PQresultStatus, (const PGresult *r), (r))                                        \
	F(char *, PQresultErrorMessage, (const PGresult *r), (r))                                          \
	F(char *, PQresultErrorField, (const PGresult *r, int field), (r, field))                          \
	F(int, PQntuples, (const PGresult *r), (r))                                                        \
	F(int, PQnfields, (const PGresult *r), (r))                                                        \
	F(char *, PQgetvalue, (const PGresult *r, int row, int column), (r, row, column))                  \
	F(int, PQgetlength, (const PGresult *r, int row, int column), (r, row, column))                    \
	F(int, PQgetisnull, (const PGresult *r, int row, int column), (r, row, column))                    \
	F(void, PQfinish, (PGconn * c), (c))                                                               \
	F(void, PQclear, (PGresult * r), (r))                                                              \
	F(void, PQfreemem, (void *p), (p))                                                                 \
	F(void, PQfreeCancel, (PGcancel * c), (c))                                                         \
	F(void, PQconninfoFree, (PQconninfoOption * o), (o))

static struct {
	FUNCTIONS(LATE_POINTER)
} at;

FUNCTIONS(LATE_FUNCTION)

int late_libpq(struct err *e)
{
	static const struct late_symbol symbols[] = {FUNCTIONS(LATE_SYMBOL)};
	static bool loaded;

	return late_load(
		"libpq.so.5", "package libpq5", symbols, sizeof(symbols) / sizeof(*symbols), &loaded, e);
}
