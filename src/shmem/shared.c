/*
 * shared.c
 *		Tables of a fixed size in shared memory; see shared.h.
 */
#include "postgres.h"

#include "shmem/shared.h"

#include <unistd.h>

#include "catalog/pg_control.h"
#include "common/controldata_utils.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "port/pg_bitutils.h"
#include "replication/slot.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "storage/shmem.h"

#define MAX_PARTITIONS	32

static AkArea *areas;
static AkSharedTable *tables;

static shmem_request_hook_type next_request;
static shmem_startup_hook_type next_startup;

/* Small partitions fill up unevenly: 64 rows each, at least. */
static void
plan_table(AkSharedTable *table)
{
	Size		count = table->count();

	table->row_size = TYPEALIGN(PG_CACHE_LINE_SIZE, table->row_size);
	table->npartitions = 1;
	while (table->npartitions < MAX_PARTITIONS &&
		   count / table->npartitions >= 128)
		table->npartitions *= 2;
	table->nrows = count / table->npartitions;
	table->nbuckets = pg_nextpower2_32(table->nrows);
}

Size
ak_shared_size(const AkSharedTable *table)
{
	Size		each = sizeof(AkPartition) + table->nrows * table->row_size +
	table->nbuckets * sizeof(int32);

	return PG_CACHE_LINE_SIZE + mul_size(table->npartitions, each);
}

static void
clear_table(AkSharedTable *table)
{
	memset(table->buckets, -1, (Size) table->npartitions * table->nbuckets *
		   sizeof(int32));
	for (int p = 0; p < table->npartitions; p++)
	{
		table->partitions[p].free = 0;
		table->partitions[p].hand = 0;
		for (int i = 0; i < table->nrows; i++)
		{
			AkShared   *row = ak_shared_row(table, p, i);

			row->database = InvalidOid;
			row->next = i + 1 < table->nrows ? i + 1 : -1;
		}
	}
}

/* The first bytes of a file tell what it is: another magic for other rows. */
typedef struct Header
{
	uint32		magic;
	uint32		row_size;
} Header;

static Header
header_of(const AkSharedTable *table)
{
	Header		header = {0x61706b32, table->row_size};

	return header;
}

static char *
path_of(const AkSharedTable *table, const char *suffix)
{
	return psprintf("%s/%s%s", PGSTAT_STAT_PERMANENT_DIRECTORY, table->file,
					suffix);
}

/* Write one row, after the header if it is the first; false if that failed. */
static bool
keep_row(const AkSharedTable *table, const void *row, const char *path, FILE **file)
{
	if (*file == NULL)
	{
		Header		header = header_of(table);

		*file = AllocateFile(path, PG_BINARY_W);
		if (*file == NULL || fwrite(&header, sizeof(header), 1, *file) != 1)
			return false;
	}
	return fwrite(row, table->row_size, 1, *file) == 1;
}

/*
 * Was the server shut down, or not even started?  After all else, what is in memory may
 * be half changed, or may be in a table although it was not taken from here.
 */
static bool
is_shut_down(void)
{
	bool		good;
	ControlFileData *control = get_controlfile(DataDir, &good);

	return good && (control->state == DB_SHUTDOWNED ||
					control->state == DB_SHUTDOWNED_IN_RECOVERY);
}

/* When the postmaster exits, as the last process. */
static void
keep_rows(int code, Datum arg)
{
	const AkSharedTable *table = (const AkSharedTable *) DatumGetPointer(arg);
	char	   *path = path_of(table, ".tmp");
	FILE	   *file = NULL;
	bool		good = true;

	if (!is_shut_down())
		return;
	for (int p = 0; p < table->npartitions; p++)
		for (int i = 0; good && i < table->nrows; i++)
		{
			AkShared   *row = ak_shared_row(table, p, i);

			if (OidIsValid(row->database) && table->keep(row))
				good = keep_row(table, row, path, &file);
		}
	if (file == NULL && good)
		return;
	if (file != NULL && FreeFile(file) != 0)
		good = false;
	if (!good)
	{
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("could not write file \"%s\": %m", path)));
		unlink(path);
	}
	else
		(void) durable_rename(path, path_of(table, ""), LOG);
}

static void
restore_rows(const AkSharedTable *table, FILE *file, const char *path)
{
	Header		wanted = header_of(table);
	Header		header;
	AkShared   *kept = palloc(table->row_size);
	int			left = 0;

	if (fread(&header, sizeof(header), 1, file) != 1 ||
		memcmp(&header, &wanted, sizeof(header)) != 0)
	{
		ereport(LOG, (errmsg("invalid data in file \"%s\"", path)));
		return;
	}
	while (fread(kept, table->row_size, 1, file) == 1)
	{
		AkPlace		place = ak_shared_place(table, kept->database, kept->name);
		AkShared   *row = ak_shared_add(&place);

		if (row == NULL)		/* the table has become smaller */
			left++;
		else
			memcpy(row + 1, kept + 1, table->row_size - sizeof(AkShared));
	}
	if (left > 0)
		ereport(LOG,
				(errmsg("there is no room in shared memory for %d rows of file \"%s\"",
						left, path)));
	pfree(kept);
}

static void
restore_table(const AkSharedTable *table)
{
	char	   *path = path_of(table, "");
	FILE	   *file = AllocateFile(path, PG_BINARY_R);

	if (file == NULL)
	{
		if (errno != ENOENT)
			ereport(LOG,
					(errcode_for_file_access(),
					 errmsg("could not read file \"%s\": %m", path)));
		return;
	}
	restore_rows(table, file, path);
	FreeFile(file);
	unlink(path);
}

static void
attach_table(AkSharedTable *table)
{
	bool		found;
	char	   *at = ShmemInitStruct(table->name, ak_shared_size(table), &found);

	at = (char *) TYPEALIGN(PG_CACHE_LINE_SIZE, (uintptr_t) at);
	table->locks = GetNamedLWLockTranche(table->name);
	table->partitions = (AkPartition *) at;
	at += table->npartitions * sizeof(AkPartition);
	table->rows = at;
	at += (Size) table->npartitions * table->nrows * table->row_size;
	table->buckets = (int32 *) at;
	if (!found)
		clear_table(table);
	if (table->keep == NULL || IsUnderPostmaster)
		return;
	on_shmem_exit(keep_rows, PointerGetDatum(table));
	if (!found)
		restore_table(table);
}

static void
request_memory(void)
{
	if (next_request)
		next_request();
	for (AkArea *area = areas; area != NULL; area = area->next)
		RequestAddinShmemSpace(area->size());
	for (AkSharedTable *table = tables; table != NULL; table = table->next)
	{
		plan_table(table);
		RequestAddinShmemSpace(ak_shared_size(table));
		RequestNamedLWLockTranche(table->name, table->npartitions);
	}
}

static void
attach_all(void)
{
	if (next_startup)
		next_startup();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	for (AkArea *area = areas; area != NULL; area = area->next)
	{
		bool		found;
		void	   *at = ShmemInitStruct(area->name, area->size(), &found);

		area->startup(at, !found);
	}
	for (AkSharedTable *table = tables; table != NULL; table = table->next)
		attach_table(table);
	LWLockRelease(AddinShmemInitLock);
}

static void
install_hooks(void)
{
	static bool installed;

	Assert(process_shared_preload_libraries_in_progress);
	if (installed)
		return;
	installed = true;
	next_request = shmem_request_hook;
	shmem_request_hook = request_memory;
	next_startup = shmem_startup_hook;
	shmem_startup_hook = attach_all;
}

void
ak_shared_area(AkArea *area)
{
	area->next = areas;
	areas = area;
	install_hooks();
}

void
ak_shared_table(AkSharedTable *table)
{
	table->next = tables;
	tables = table;
	install_hooks();
}

AkPlace
ak_shared_place(const AkSharedTable *table, Oid database, const uint8 name[16])
{
	uint32		hash = hash_bytes(name, 16) ^ murmurhash32(database);
	AkPlace		place;

	place.table = table;
	place.database = database;
	place.name = name;
	place.partition = hash & (table->npartitions - 1);
	place.bucket = &table->buckets[(Size) place.partition * table->nbuckets +
								   (hash / MAX_PARTITIONS &
									(table->nbuckets - 1))];
	return place;
}

void *
ak_shared_find(const AkPlace *place)
{
	int32		number = *place->bucket;

	while (number >= 0)
	{
		AkShared   *row = ak_shared_row(place->table, place->partition, number);

		if (row->database == place->database &&
			memcmp(row->name, place->name, sizeof(row->name)) == 0)
			return row;
		number = row->next;
	}
	return NULL;
}

void *
ak_shared_add(const AkPlace *place)
{
	AkPartition *partition = &place->table->partitions[place->partition];
	int32		number = partition->free;
	AkShared   *row;

	if (number < 0)
		return NULL;
	row = ak_shared_row(place->table, place->partition, number);
	partition->free = row->next;
	row->database = place->database;
	memcpy(row->name, place->name, sizeof(row->name));
	row->next = *place->bucket;
	*place->bucket = number;
	return row;
}

void
ak_shared_discard(const AkSharedTable *table, void *discarded)
{
	AkShared   *row = discarded;
	AkPlace		place = ak_shared_place(table, row->database, row->name);
	AkPartition *partition = &table->partitions[place.partition];
	int32		number = ak_shared_number(table, row) % table->nrows;
	int32	   *link = place.bucket;

	while (*link != number)
	{
		AkShared   *before = ak_shared_row(table, place.partition, *link);

		link = &before->next;
	}
	*link = row->next;
	row->database = InvalidOid;
	row->next = partition->free;
	partition->free = number;
}

void
ak_shared_each(const AkSharedTable *table, Oid database, LWLockMode mode,
			   AkSharedAction action, void *arg)
{
	for (int p = 0; p < table->npartitions; p++)
	{
		LWLockAcquire(&table->locks[p].lock, mode);
		for (int i = 0; i < table->nrows; i++)
		{
			AkShared   *row = ak_shared_row(table, p, i);

			if (OidIsValid(row->database) &&
				(row->database == database || !OidIsValid(database)))
				action(row, arg);
		}
		LWLockRelease(&table->locks[p].lock);
	}
}

int
ak_shared_slot_databases(Oid **databases)
{
	int			count = 0;

	*databases = palloc(Max(max_replication_slots, 1) * sizeof(Oid));
	LWLockAcquire(ReplicationSlotControlLock, LW_SHARED);
	for (int i = 0; i < max_replication_slots; i++)
	{
		ReplicationSlot *slot = &ReplicationSlotCtl->replication_slots[i];

		if (slot->in_use && OidIsValid(slot->data.database))
			(*databases)[count++] = slot->data.database;
	}
	LWLockRelease(ReplicationSlotControlLock);
	return count;
}
