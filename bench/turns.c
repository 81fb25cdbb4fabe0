/*
 * turns.c
 *		turns CPU ROUNDS CONNINFO CONNINFO STATEMENT [PARAMETER...]
 *
 * Sends a prepared statement to two servers by turns, in short runs, so that what
 * the machine does to one it does to the other.  Prints the median of a round
 * trip to each, in microseconds, and the median of the ratios, the second to the
 * first.
 *
 * The client and the two backends stay on one processor: else it is the scheduler
 * that decides whether a round trip takes 8 microseconds or 75.
 */
#include "client.h"

#define EACH	200				/* round trips in a run */

static PGconn *connections[2];

/* Microseconds a round trip. */
static double
run(PGconn *connection, int nparams, char **params)
{
	double		began = now();

	for (int i = 0; i < EACH; i++)
		expect(connection, PQexecPrepared(connection, "s", nparams,
										  (const char *const *) params, NULL,
										  NULL, 0), PGRES_TUPLES_OK);
	return (now() - began) / EACH;
}

int
main(int argc, char **argv)
{
	int			rounds = argc > 5 ? atoi(argv[2]) : 0;
	double	   *took[2];
	double	   *ratios;

	if (rounds < 1)
		return 2;
	ratios = calloc(rounds, sizeof(double));
	stay(0, atoi(argv[1]));
	for (int i = 0; i < 2; i++)
	{
		took[i] = calloc(rounds, sizeof(double));
		connections[i] = open_session(argv[3 + i], atoi(argv[1]));
		expect(connections[i], PQprepare(connections[i], "s", argv[5], 0, NULL),
			   PGRES_COMMAND_OK);
		run(connections[i], argc - 6, argv + 6);
	}
	for (int round = 0; round < rounds; round++)
	{
		/* each goes first as often */
		for (int i = 0; i < 2; i++)
		{
			int			which = (i + round) % 2;

			took[which][round] = run(connections[which], argc - 6, argv + 6);
		}
		ratios[round] = took[1][round] / took[0][round];
	}
	printf("%.2f %.2f %.3f\n", median(took[0], rounds), median(took[1], rounds),
		   median(ratios, rounds));
	return 0;
}
