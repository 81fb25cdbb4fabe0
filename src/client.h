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
 * The address as an inet: that in apikey.client_address, else that of the
 * connection.  False if there is none: a Unix socket, a process without client.
 */
extern bool ak_client_address(Datum *address);

/*
 * Is the client in one of these networks (a cidr[])?  Never for a client
 * without an address.
 */
extern bool ak_client_in_networks(Datum networks);

#endif							/* AK_CLIENT_H */
