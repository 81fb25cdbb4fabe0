/*
 * client.c
 *		The address of the client; see client.h.
 */
#include "postgres.h"

#include "base/client.h"

#include "access/parallel.h"
#include "base/compat.h"
#include "base/guc.h"
#include "catalog/pg_type.h"
#include "common/ip.h"
#include "storage/proc.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/inet.h"

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

static Datum
make_inet(int family, int bits, const void *bytes, int len)
{
	inet	   *address = palloc0(sizeof(inet));

	ip_family(address) = family;
	ip_bits(address) = bits;
	memcpy(ip_addr(address), bytes, len);
	SET_INET_VARSIZE(address);
	return InetPGetDatum(address);
}

/*
 * Read an address.  One mapped to IPv6, as a proxy that listens to IPv6 has it, becomes
 * IPv4 again.
 */
static Datum
read_address(const char *str)
{
	Datum		address = DirectFunctionCall1(inet_in, CStringGetDatum(str));
	inet	   *value = DatumGetInetPP(address);

	if (ip_family(value) != PGSQL_AF_INET6 ||
		memcmp(ip_addr(value), mapped, sizeof(mapped)) != 0)
		return address;
	return make_inet(PGSQL_AF_INET, 32, ip_addr(value) + sizeof(mapped), 4);
}

bool
ak_client_address(Datum *result)
{
	const SockAddr *address;
	char		host[NI_MAXHOST];
	char	   *zone;

	if (ak_guc_client_address[0] != '\0')
	{
		*result = read_address(ak_guc_client_address);
		return true;
	}
	address = connection_address();
	if (address == NULL || (address->addr.ss_family != AF_INET &&
							address->addr.ss_family != AF_INET6))
		return false;
	if (pg_getnameinfo_all(&address->addr, address->salen, host, sizeof(host),
						   NULL, 0, NI_NUMERICHOST | NI_NUMERICSERV) != 0)
		return false;
	zone = strchr(host, '%');	/* inet has no place for an IPv6 zone */
	if (zone != NULL)
		*zone = '\0';
	*result = read_address(host);
	return true;
}

void
ak_client_place(uint8 place[AK_ADDRESS_LEN])
{
	Datum		address;
	inet	   *value;

	memset(place, 0, AK_ADDRESS_LEN);
	if (!ak_client_address(&address))
		return;
	value = DatumGetInetPP(address);
	if (ip_family(value) == PGSQL_AF_INET6)
	{
		memcpy(place, ip_addr(value), AK_ADDRESS_LEN / 2);
		place[AK_ADDRESS_LEN - 1] = 1;
		return;
	}
	memcpy(place, mapped, sizeof(mapped));
	memcpy(place + sizeof(mapped), ip_addr(value), 4);
}

bool
ak_client_place_inet(const uint8 place[AK_ADDRESS_LEN], Datum *address)
{
	static const uint8 none[AK_ADDRESS_LEN];

	if (memcmp(place, none, AK_ADDRESS_LEN) == 0)
		return false;
	*address = memcmp(place, mapped, sizeof(mapped)) == 0 ?
		make_inet(PGSQL_AF_INET, 32, place + sizeof(mapped), 4) :
		make_inet(PGSQL_AF_INET6, 64, place, AK_ADDRESS_LEN / 2);
	return true;
}

bool
ak_client_in_networks(Datum networks)
{
	Datum		address;
	Datum	   *elements;
	bool	   *nulls;
	int			count;

	if (!ak_client_address(&address))
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
