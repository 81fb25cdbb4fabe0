/*
 * protection.c
 *		The two ways to protect a table; see protection.h.
 */
#include "postgres.h"

#include "planner/protection.h"

const AkProtection ak_protection_by_project = {
	"apikey_protect", "apikey_authorize", 2, "level", "manage"
};

const AkProtection ak_protection_by_organization = {
	"apikey_protect_organization", "apikey_authorize_organization", 1,
	"organization level", "write"
};
