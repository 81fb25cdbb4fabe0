/*
 * pepper.c
 *		The key of the hashes, kept in a file outside the database; see pepper.h.
 */
#include "postgres.h"

#include "base/pepper.h"

#include "base/guc.h"
#include "storage/fd.h"
#include "utils/memutils.h"

static uint8 pepper[AK_PEPPER_MAX + 2];
static int	pepper_len;
static char *pepper_file;		/* where "pepper" came from, or NULL */

static void
read_pepper(const char *path)
{
	FILE	   *file = AllocateFile(path, PG_BINARY_R);
	int			len;

	if (file == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("could not open the file of \"apikey.pepper_file\""),
				 errdetail_log("%s: %m", path),
				 errhidestmt(true)));
	len = fread(pepper, 1, sizeof(pepper), file);
	if (ferror(file))
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("could not read the file of \"apikey.pepper_file\""),
				 errdetail_log("%s: %m", path),
				 errhidestmt(true)));
	FreeFile(file);
	if (len > 0 && pepper[len - 1] == '\n')
		len--;
	if (len > 0 && pepper[len - 1] == '\r')
		len--;
	if (len < AK_PEPPER_MIN || len > AK_PEPPER_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("the file of \"apikey.pepper_file\" must hold %d to %d bytes",
						AK_PEPPER_MIN, AK_PEPPER_MAX),
				 errhidestmt(true)));
	pepper_len = len;
}

const uint8 *
ak_pepper_get(int *len)
{
	if (pepper_file == NULL || strcmp(pepper_file, ak_guc_pepper_file) != 0)
	{
		if (pepper_file != NULL)
			pfree(pepper_file);
		pepper_file = NULL;
		pepper_len = 0;
		explicit_bzero(pepper, sizeof(pepper));
		if (ak_guc_pepper_file[0] != '\0')
			read_pepper(ak_guc_pepper_file);
		pepper_file = MemoryContextStrdup(TopMemoryContext, ak_guc_pepper_file);
	}
	*len = pepper_len;
	return pepper_len > 0 ? pepper : NULL;
}
