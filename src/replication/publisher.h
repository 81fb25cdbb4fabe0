/*
 * publisher.h
 *		A connection to the server whose keys a subscription brings.
 *
 * It is made as PostgreSQL's own workers do it, by libpqwalreceiver, and for replication:
 * so what works here works for them, and no other library is needed.  No value of the
 * connection string, which may hold a password, is in a message: if it is not written as it
 * should be, libpq takes a part of the password for a host or a port.
 *
 * A connection lives in memory of its own, through commits, until it is closed.
 */
#ifndef AK_PUBLISHER_H
#define AK_PUBLISHER_H

#include "postgres.h"

typedef struct AkPublisher AkPublisher;

/* Raises 22023 for what is no connection string. */
extern void ak_publisher_check(const char *connection);

/* "name" is that of the subscription.  NULL if that fails, and why, palloc'd. */
extern AkPublisher *ak_publisher_connect(const char *connection,
										 const char *name, char **why);
extern void ak_publisher_close(AkPublisher *publisher);

/* Is it this server?  And this database? */
extern bool ak_publisher_is_here(AkPublisher *publisher);

/* As PG_VERSION_NUM. */
extern int	ak_publisher_version(AkPublisher *publisher);

/* Rows of text, palloc'd; NULL for a null. */
typedef struct AkAnswer
{
	int			nrows;
	int			ncolumns;
	char	  **values;			/* row by row */
} AkAnswer;

#define AK_ANSWER(answer, row, column) \
	((answer)->values[(row) * (answer)->ncolumns + (column)])

/* Ask a query whose columns, so many, are texts.  Raises what the publisher does. */
extern AkAnswer *ak_publisher_ask(AkPublisher *publisher, int ncolumns,
								  const char *query);

/* A command without a result, or one of replication.  0, or the SQLSTATE, and why. */
extern int	ak_publisher_command(AkPublisher *publisher, const char *command,
								 int ncolumns, char **why);

/* Its process there. */
extern int	ak_publisher_process(AkPublisher *publisher);

/*
 * By a connection of its own: end this process, unless it is 0, and drop a replication slot,
 * once nobody uses it any more.  True if there is none then; else why, palloc'd, which may be
 * NULL.  Looks into no catalog.
 */
extern bool ak_publisher_drop_slot(const char *connection, const char *name,
								   int process, char **why);

/* Warn that it is left there. */
extern void ak_publisher_warn(const char *name, const char *why);

#endif							/* AK_PUBLISHER_H */
