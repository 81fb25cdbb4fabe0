/*
 * reach.c
 *		In which projects, or environments, may a key do this?  See reach.h.
 */
#include "postgres.h"

#include "auth/reach.h"

#include "auth/authz.h"
#include "auth/registry.h"
#include "table/store.h"
#include "utils/memutils.h"

/* An entry: one allocation, with the bytes of the names behind. */
typedef struct Reach
{
	uint64		grants_serial;	/* of the key; 0: not to be used again */
	AkPart		registry;		/* that it rests on, as it was ... */
	uint64		number;			/* ... before any message after this */
	AkLevel		level;
	AkReachOf	of;
	bool		anywhere;		/* not only within ... */
	AkName		within;
	Size		bytes;
	int			count;
	AkName		names[FLEXIBLE_ARRAY_MEMBER];
} Reach;

#define MAX_REACHES	8

/* So many grants are not looked up one by one, if not much more is registered. */
#define MANY_GRANTS		64

static MemoryContext context;
static Reach *reaches[MAX_REACHES]; /* latest use first */
static int	nreaches;
static Size bytes;

/* ------------------------------------------------------------ collecting */

/* Collects names. */
typedef struct Names
{
	AkName	   *data;
	int			count;
	int			room;
} Names;

static void
add_name(Names *names, const AkName *name)
{
	if (names->count == names->room)
	{
		names->room *= 2;
		names->data = repalloc_huge(names->data,
									names->room * sizeof(AkName));
	}
	names->data[names->count++] = *name;
}

static int
compare_names(const void *a, const void *b)
{
	return ak_name_compare(a, b);
}

bool
ak_reach_contains(const AkName *names, int count, const AkName *name)
{
	return bsearch(name, names, count, sizeof(AkName), compare_names) != NULL;
}

static void
sort_unique(Names *names)
{
	int			unique = 0;

	qsort(names->data, names->count, sizeof(AkName), compare_names);
	for (int i = 0; i < names->count; i++)
		if (unique == 0 ||
			!ak_name_equal(&names->data[i], &names->data[unique - 1]))
			names->data[unique++] = names->data[i];
	names->count = unique;
}

/* Which list it is. */
typedef struct Wanted
{
	const AkKey *key;
	AkLevel		level;
	AkReachOf	of;
	const AkName *within;		/* NULL: any */
} Wanted;

static void
add_pair(Names *names, const Wanted *wanted, const AkName *project,
		 const AkName *environment)
{
	bool		projects = wanted->of == AK_REACH_PROJECTS;
	const AkName *other = projects ? environment : project;

	if (wanted->within == NULL || ak_name_equal(other, wanted->within))
		add_name(names, projects ? project : environment);
}

/* Add those rows where the key has the level. */
static void
add_rows(Names *names, const Wanted *wanted, const AkEnvironmentRow *rows,
		 int count)
{
	const AkKey *key = wanted->key;

	for (int i = 0; i < count; i++)
	{
		const AkEnvironmentRow *row = &rows[i];

		if (ak_name_equal(&row->organization, &key->organization) &&
			ak_grants_level(key->grants,
							ak_grants_hash(&row->project, &row->environment),
							&row->project,
							&row->environment) >= wanted->level)
			add_pair(names, wanted, &row->project, &row->environment);
	}
}

static void
add_project(Names *names, const Wanted *wanted, const AkName *project,
			Snapshot snapshot)
{
	AkEnvironmentRow *rows;
	int			count = ak_store_project(snapshot, project, &rows);

	add_rows(names, wanted, rows, count);
}

/* Add what one grant, which is not on project '*', reaches. */
static void
add_grant(Names *names, const Wanted *wanted, const AkGrant *grant,
		  Snapshot snapshot)
{
	const AkName *environment = &grant->environment;

	if (grant->level < wanted->level)
		return;
	if (ak_name_equal(environment, &ak_name_all))
	{
		if (wanted->of == AK_REACH_ENVIRONMENTS || wanted->within == NULL)
		{
			add_project(names, wanted, &grant->project, snapshot);
			return;
		}
		environment = wanted->within;
	}
	if (ak_registry_contains(&wanted->key->organization,
							 wanted->key->organization_hash,
							 ak_grants_hash(&grant->project, environment),
							 &grant->project, environment))
		add_pair(names, wanted, &grant->project, environment);
}

/*
 * All that is registered for the organization; false if that is so much more
 * than the key has grants that these had better be looked up one by one.
 */
static bool
collect_organization(Names *names, const Wanted *wanted, Snapshot snapshot)
{
	const AkGrants *grants = wanted->key->grants;
	AkEnvironmentRow *rows;
	int			count;

	if (!grants->any_project && grants->count < MANY_GRANTS)
		return false;
	count = ak_store_organization(snapshot, &wanted->key->organization,
								  grants->any_project ? AK_STORE_NO_LIMIT :
								  (int) grants->count * 4, &rows);
	if (count < 0)
		return false;
	add_rows(names, wanted, rows, count);
	return true;
}

static void
collect_all(Names *names, const Wanted *wanted)
{
	const AkGrants *grants = wanted->key->grants;
	Snapshot	snapshot;

	AK_STORE_READ(snapshot)
	{
		names->count = 0;
		if (wanted->of == AK_REACH_ENVIRONMENTS && wanted->within != NULL)
			add_project(names, wanted, wanted->within, snapshot);
		else if (!collect_organization(names, wanted, snapshot))
		{
			AkGrant		grant;

			for (uint32 i = 0; i <= grants->mask; i++)
				if (ak_grants_slot(grants, i, &grant))
					add_grant(names, wanted, &grant, snapshot);
		}
	}
	sort_unique(names);
}

/* ----------------------------------------------------------------- cache */

static bool
is_entry_of(const Reach *reach, const Wanted *wanted)
{
	return reach->grants_serial == wanted->key->grants_serial &&
		!ak_inval_ended(reach->registry, reach->number) &&
		reach->level == wanted->level && reach->of == wanted->of &&
		reach->anywhere == (wanted->within == NULL) &&
		(reach->anywhere || ak_name_equal(&reach->within, wanted->within));
}

/* Copies bytes behind what is there already. */
static AkName
put_name(char **to, const AkName *name)
{
	AkName		copy = {*to, name->len};

	memcpy(*to, name->data, name->len);
	*to += name->len;
	return copy;
}

/* Cache a list, as the latest. */
static Reach *
cache_list(const Wanted *wanted, uint64 number, const Names *names)
{
	static const AkName nothing = {"", 0};
	const AkName *within = wanted->within ? wanted->within : &nothing;
	Size		size = offsetof(Reach, names) + names->count * sizeof(AkName);
	char	   *to;
	Reach	   *reach;

	if (context == NULL)
		context = AllocSetContextCreate(TopMemoryContext, "apikey reach",
										ALLOCSET_SMALL_SIZES);
	for (int i = 0; i < names->count; i++)
		size += names->data[i].len;
	reach = MemoryContextAllocHuge(context, size + within->len);
	to = (char *) &reach->names[names->count];
	reach->bytes = GetMemoryChunkSpace(reach);
	reach->grants_serial = wanted->key->uncommitted ? 0 :
		wanted->key->grants_serial;
	reach->registry = ak_inval_part(AK_TOPIC_REGISTRY,
									wanted->key->organization_hash);
	reach->number = number;
	reach->level = wanted->level;
	reach->of = wanted->of;
	reach->anywhere = wanted->within == NULL;
	reach->within = put_name(&to, within);
	reach->count = names->count;
	for (int i = 0; i < names->count; i++)
		reach->names[i] = put_name(&to, &names->data[i]);

	bytes += reach->bytes;
	while (nreaches == MAX_REACHES || (nreaches > 0 && bytes > AK_REACH_BYTES))
	{
		Reach	   *oldest = reaches[--nreaches];

		bytes -= oldest->bytes;
		pfree(oldest);
	}
	memmove(&reaches[1], &reaches[0], nreaches * sizeof(Reach *));
	reaches[0] = reach;
	nreaches++;
	return reach;
}

static Reach *
find_list(const Wanted *wanted)
{
	for (int i = 0; i < nreaches; i++)
	{
		Reach	   *reach = reaches[i];

		if (is_entry_of(reach, wanted))
		{
			memmove(&reaches[1], &reaches[0], i * sizeof(Reach *));
			reaches[0] = reach;
			return reach;
		}
	}
	return NULL;
}

static Reach *
make_list(const Wanted *wanted)
{
	MemoryContext work = AllocSetContextCreate(CurrentMemoryContext,
											   "apikey reach scan",
											   ALLOCSET_DEFAULT_SIZES);
	MemoryContext before = MemoryContextSwitchTo(work);
	uint64		number = ak_inval_number;
	Names		names = {palloc(16 * sizeof(AkName)), 0, 16};
	Reach	   *reach;

	collect_all(&names, wanted);
	reach = cache_list(wanted, number, &names);
	MemoryContextSwitchTo(before);
	MemoryContextDelete(work);
	return reach;
}

int
ak_reach_list(const AkKey *key, AkLevel level, AkReachOf of,
			  const AkName *within, const AkName **names)
{
	Wanted		list = {key, level, of, within};
	Reach	   *reach;

	*names = NULL;
	if (ak_authz_check_key(key) != AK_REASON_GOOD || level == AK_LEVEL_NONE)
		return 0;
	reach = find_list(&list);
	if (reach == NULL)
		reach = make_list(&list);
	*names = reach->names;
	return reach->count;
}

Size
ak_reach_bytes(void)
{
	return bytes;
}
