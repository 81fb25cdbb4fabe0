/*
 * client.h
 *		The address of the client.
 *
 * A parallel worker has no client of its own: there it is its leader's.
 */
#ifndef AK_CLIENT_H
#define AK_CLIENT_H

#include "postgres.h"

/*
 * Is the client in one of these networks (a cidr[])?  Never for a client on a
 * Unix socket, nor for a process without one.
 */
extern bool ak_client_in_networks(Datum networks);

#endif							/* AK_CLIENT_H */
