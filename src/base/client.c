/*
 * client.c
 *		The address of the client; see client.h.
 */
#include "postgres.h"

#include "base/client.h"

#include <netinet/in.h>

#include "access/parallel.h"
#include "base/compat.h"
#include "base/guc.h"
#include "catalog/pg_type.h"
#include "storage/proc.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

/* The leader's entry among the backends' states has its client's address. */
static const SockAddr *
leader_address(void)
{
	PGPROC	   *leader = MyProc->lockGroupLeader;
	int			count = pgstat_fetch_stat_numbackends();

	for (int i = 1; leader != NULL && i <= count; i++)
	{
		LocalPgBackendStatus *local = pgstat_get_local_beentry_by_index(i);

		if (local != NULL && local->backendStatus.st_procpid == leader->pid)
			return &local->backendStatus.st_clientaddr;
	}
	return NULL;
}

static const SockAddr *
connection_address(void)
{
	if (IsParallelWorker())
		return leader_address();
	return MyBEEntry == NULL ? NULL : &MyBEEntry->st_clientaddr;
}

/* The first bytes of an IPv4 address mapped to IPv6 */
static const unsigned char mapped[12] = {[10] = 0xff,[11] = 0xff};

static const AkAddress no_address;

static AkAddress
make_address(int family, int bits, const void *bytes, int len)
{
	AkAddress	address = no_address;

	address.family = family;
	address.bits = bits;
	memcpy(address.ipaddr, bytes, len);
	return address;
}

/* One mapped to IPv6, as who listens to IPv6 has it, becomes IPv4 again. */
static AkAddress
unmap(AkAddress address)
{
	if (address.family != PGSQL_AF_INET6 ||
		memcmp(address.ipaddr, mapped, sizeof(mapped)) != 0)
		return address;
	return make_address(PGSQL_AF_INET, 32, address.ipaddr + sizeof(mapped), 4);
}

static AkAddress
find_address(void)
{
	const SockAddr *socket;
	const void *addr;

	if (ak_guc_client_address[0] != '\0')
		return ak_client_of_inet(DirectFunctionCall1(inet_in,
													 CStringGetDatum(ak_guc_client_address)));
	socket = connection_address();
	addr = socket;
	if (socket != NULL && socket->addr.ss_family == AF_INET)
		return make_address(PGSQL_AF_INET, 32,
							&((const struct sockaddr_in *) addr)->sin_addr, 4);
	/* an inet has no place for the zone */
	if (socket != NULL && socket->addr.ss_family == AF_INET6)
		return make_address(PGSQL_AF_INET6, 128,
							&((const struct sockaddr_in6 *) addr)->sin6_addr, 16);
	return no_address;
}

const AkAddress *
ak_client_address(void)
{
	static AkAddress address;
	static uint64 serial;		/* ak_guc_address_serial then */

	if (serial != ak_guc_address_serial)
	{
		address = unmap(find_address());
		serial = ak_guc_address_serial;
	}
	return &address;
}

bool
ak_client_inet(const AkAddress *address, Datum *result)
{
	inet	   *value;

	if (address->family == 0)
		return false;
	value = palloc0(sizeof(inet));
	value->inet_data = *address;
	SET_INET_VARSIZE(value);
	*result = InetPGetDatum(value);
	return true;
}

AkAddress
ak_client_of_inet(Datum value)
{
	inet	   *from = DatumGetInetPP(value);

	return make_address(ip_family(from), ip_bits(from), ip_addr(from),
						ip_addrsize(from));
}

void
ak_client_place(uint8 place[AK_ADDRESS_LEN])
{
	const AkAddress *address = ak_client_address();

	memset(place, 0, AK_ADDRESS_LEN);
	if (address->family == PGSQL_AF_INET6)
	{
		memcpy(place, address->ipaddr, AK_ADDRESS_LEN / 2);
		place[AK_ADDRESS_LEN - 1] = 1;
	}
	else if (address->family == PGSQL_AF_INET)
	{
		memcpy(place, mapped, sizeof(mapped));
		memcpy(place + sizeof(mapped), address->ipaddr, 4);
	}
}

bool
ak_client_place_inet(const uint8 place[AK_ADDRESS_LEN], Datum *value)
{
	static const uint8 none[AK_ADDRESS_LEN];
	AkAddress	address = no_address;

	if (memcmp(place, mapped, sizeof(mapped)) == 0)
		address = make_address(PGSQL_AF_INET, 32, place + sizeof(mapped), 4);
	else if (memcmp(place, none, AK_ADDRESS_LEN) != 0)
		address = make_address(PGSQL_AF_INET6, 64, place, AK_ADDRESS_LEN / 2);
	return ak_client_inet(&address, value);
}

bool
ak_client_in_networks(Datum networks)
{
	Datum		address;
	Datum	   *elements;
	bool	   *nulls;
	int			count;

	if (!ak_client_inet(ak_client_address(), &address))
		return false;
	deconstruct_array(DatumGetArrayTypeP(networks), CIDROID, -1, false,
					  TYPALIGN_INT, &elements, &nulls, &count);
	for (int i = 0; i < count; i++)
		if (!nulls[i] &&
			DatumGetBool(DirectFunctionCall2(network_subeq, address,
											 elements[i])))
			return true;
	return false;
}
