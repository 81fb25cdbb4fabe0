/*
 * client.h
 *		The address of the client.
 *
 * A parallel worker has no client of its own: there it is its leader's.
 */
#ifndef AK_CLIENT_H
#define AK_CLIENT_H

#include "postgres.h"

#include "utils/inet.h"

/* An address, as an inet has it; of family 0 if there is none. */
typedef inet_struct AkAddress;

/*
 * That in apikey.client_address, else that of the connection; none of a Unix socket,
 * and of a process without client.  Good until apikey.client_address changes.
 */
extern const AkAddress *ak_client_address(void);

/* As an inet, palloc'd; false if there is none.  And back. */
extern bool ak_client_inet(const AkAddress *address, Datum *value);
extern AkAddress ak_client_of_inet(Datum value);

/*
 * Where the client is, as bytes: an IPv4 address mapped to IPv6, the first half of
 * an IPv6 address and a 1, for whoever has one address of a /64 network has all;
 * or zeroes.
 */
#define AK_ADDRESS_LEN	16
extern void ak_client_place(uint8 place[AK_ADDRESS_LEN]);

/* And back, as an inet; false for zeroes. */
extern bool ak_client_place_inet(const uint8 place[AK_ADDRESS_LEN],
								 Datum *value);

/*
 * Is the client in one of these networks (a cidr[])?  Never for a client
 * without an address.
 */
extern bool ak_client_in_networks(Datum networks);

#endif							/* AK_CLIENT_H */
