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
 * Where the client is, as bytes: an IPv4 address mapped to IPv6, the first half of
 * an IPv6 address and a 1, for whoever has one address of a /64 network has all;
 * or zeroes.
 */
#define AK_ADDRESS_LEN	16
extern void ak_client_place(uint8 place[AK_ADDRESS_LEN]);

/* And back, as an inet; false for zeroes. */
extern bool ak_client_place_inet(const uint8 place[AK_ADDRESS_LEN],
								 Datum *address);

/*
 * Is the client in one of these networks (a cidr[])?  Never for a client
 * without an address.
 */
extern bool ak_client_in_networks(Datum networks);

#endif							/* AK_CLIENT_H */
