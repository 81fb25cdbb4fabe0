/*
 * cold.c
 *		What sessions that know nothing yet wait for, in microseconds: a median for
 *		each statement.  The statements take turns.
 *
 * cold first CPU ROUNDS CONNINFO STATEMENT...
 *		The first statement of a new session.  It is a session each time; before a
 *		statement is measured there was one like it.
 *
 * cold rows CPU ROUNDS CONNINFO ROWS STATEMENT...
 *		A prepared statement, $1 of which is another one of so many rows each time,
 *		at random.  Each statement has a session of its own, which is new.
 */
#include "client.h"

#include <string.h>

#define MAX_STATEMENTS	8
#define UNCOUNTED		20		/* of the statements of a session: what it does once */

static int	cpu;
static int	rounds;
static const char *conninfo;
static double *took[MAX_STATEMENTS];

static void
measure_first(int which, int round, const char *statement)
{
	PGconn	   *connection = open_session(conninfo, cpu);
	double		began = now();

	expect(connection, PQexec(connection, statement), PGRES_TUPLES_OK);
	if (round >= 0)
		took[which][round] = now() - began;
	PQfinish(connection);
}

static void
measure_row(int which, int round, int rows, const char *statement)
{
	static PGconn *sessions[MAX_STATEMENTS];
	char		row[16];
	const char *parameters[] = {row};
	double		began;

	if (sessions[which] == NULL)
	{
		sessions[which] = open_session(conninfo, cpu);
		expect(sessions[which], PQprepare(sessions[which], "s", statement, 1, NULL),
			   PGRES_COMMAND_OK);
	}
	snprintf(row, sizeof(row), "%ld", 1 + random() % rows);
	began = now();
	expect(sessions[which], PQexecPrepared(sessions[which], "s", 1, parameters,
										   NULL, NULL, 0), PGRES_TUPLES_OK);
	if (round >= 0)
		took[which][round] = now() - began;
}

int
main(int argc, char **argv)
{
	int			first = argc > 5 && strcmp(argv[1], "first") == 0;
	int			rows = argc > 6 && strcmp(argv[1], "rows") == 0 ? atoi(argv[5]) : 0;
	char	  **statements = argv + (first ? 5 : 6);
	int			count = argc - (first ? 5 : 6);

	if ((!first && rows < 1) || count > MAX_STATEMENTS || (rounds = atoi(argv[3])) < 1)
		return 2;
	cpu = atoi(argv[2]);
	conninfo = argv[4];
	stay(0, cpu);
	srandom(time(NULL));
	for (int i = 0; i < count; i++)
		took[i] = calloc(rounds, sizeof(double));
	for (int round = first ? -1 : -UNCOUNTED; round < rounds; round++)
		for (int i = 0; i < count; i++)
		{
			/* each goes first as often */
			int			which = (i + round + UNCOUNTED) % count;

			if (first)
				measure_first(which, round, statements[which]);
			else
				measure_row(which, round, rows, statements[which]);
		}
	for (int i = 0; i < count; i++)
		printf("%.1f%c", median(took[i], rounds), i + 1 < count ? ' ' : '\n');
	return 0;
}
