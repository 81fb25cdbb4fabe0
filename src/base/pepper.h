/*
 * pepper.h
 *		The key of the hashes, kept in a file outside the database.
 *
 * The file named by apikey.pepper_file is read when it is first needed and
 * again when the setting changes; a trailing newline does not count.  Without
 * the file a copy of the tables can neither be attacked nor used.
 */
#ifndef AK_PEPPER_H
#define AK_PEPPER_H

#include "postgres.h"

#define AK_PEPPER_MIN	16
#define AK_PEPPER_MAX	1024

/*
 * The pepper and its length; NULL if none is configured.  Raises F0000 if the
 * file cannot be read or is not of AK_PEPPER_MIN to AK_PEPPER_MAX bytes.
 */
extern const uint8 *ak_pepper_get(int *len);

#endif							/* AK_PEPPER_H */
