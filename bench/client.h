/*
 * client.h
 *		What the clients here share: connections, statements, clocks, medians.
 *
 * What goes wrong ends the program.
 */
#ifndef CLIENT_H
#define CLIENT_H

#define _GNU_SOURCE
#include <libpq-fe.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static inline void
fail(PGconn *connection)
{
	fprintf(stderr, "%s", PQerrorMessage(connection));
	exit(1);
}

static inline void
expect(PGconn *connection, PGresult *result, ExecStatusType status)
{
	if (PQresultStatus(result) != status)
		fail(connection);
	PQclear(result);
}

/* Keep a process on one processor. */
static inline void
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

/* A session whose backend stays there. */
static inline PGconn *
open_session(const char *conninfo, int cpu)
{
	PGconn	   *connection = PQconnectdb(conninfo);

	if (PQstatus(connection) != CONNECTION_OK)
		fail(connection);
	stay(PQbackendPID(connection), cpu);
	return connection;
}

/* Microseconds */
static inline double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static int
compare(const void *a, const void *b)
{
	double		left = *(const double *) a;
	double		right = *(const double *) b;

	return (left > right) - (left < right);
}

/* Puts the values in order. */
static inline double
median(double *values, int count)
{
	qsort(values, count, sizeof(double), compare);
	return values[count / 2];
}

#endif							/* CLIENT_H */
