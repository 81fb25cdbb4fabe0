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
#define _GNU_SOURCE
#include <libpq-fe.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define EACH	200				/* round trips in a run */

static PGconn *connections[2];

static void
fail(PGconn *connection)
{
	fprintf(stderr, "%s", PQerrorMessage(connection));
	exit(1);
}

static void
expect(PGconn *connection, PGresult *result, ExecStatusType status)
{
	if (PQresultStatus(result) != status)
		fail(connection);
	PQclear(result);
}

static void
stay(int pid, int cpu)
{
	cpu_set_t	set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(pid, sizeof(set), &set) != 0)
	{
		perror("sched_setaffinity");
		exit(1);
	}
}

/* Microseconds a round trip. */
static double
run(PGconn *connection, int nparams, char **params)
{
	struct timespec began;
	struct timespec ended;

	clock_gettime(CLOCK_MONOTONIC, &began);
	for (int i = 0; i < EACH; i++)
		expect(connection, PQexecPrepared(connection, "s", nparams,
										  (const char *const *) params, NULL,
										  NULL, 0), PGRES_TUPLES_OK);
	clock_gettime(CLOCK_MONOTONIC, &ended);
	return ((ended.tv_sec - began.tv_sec) * 1e6 +
			(ended.tv_nsec - began.tv_nsec) / 1e3) / EACH;
}

static int
compare(const void *a, const void *b)
{
	double		left = *(const double *) a;
	double		right = *(const double *) b;

	return (left > right) - (left < right);
}

static double
median(double *values, int count)
{
	qsort(values, count, sizeof(double), compare);
	return values[count / 2];
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
		connections[i] = PQconnectdb(argv[3 + i]);
		if (PQstatus(connections[i]) != CONNECTION_OK)
			fail(connections[i]);
		stay(PQbackendPID(connections[i]), atoi(argv[1]));
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
