/*
 * guc.c
 *		The settings; see guc.h.
 */
#include "postgres.h"

#include "base/guc.h"

#include <limits.h>
#include <sys/socket.h>

#include "access/parallel.h"
#include "base/inval.h"
#include "base/redact.h"
#include "base/token.h"
#include "base/vendor.h"
#include "miscadmin.h"
#include "tcop/pquery.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inet.h"
#include "utils/timestamp.h"

char	   *ak_guc_prefix;
char	   *ak_guc_pepper_file;
char	   *ak_guc_hmac_key_file;
int			ak_guc_cache_size;
bool		ak_guc_enable_ordered_scan;

char	   *ak_guc_client_address;
char	   *ak_guc_application_user;
bool		ak_guc_notify;
bool		ak_guc_mask_log;
AkRedactPrefixes ak_guc_mask_prefixes;
char	   *ak_guc_mask_libraries;

int			ak_guc_usage_size;
int			ak_guc_flush_interval;
int			ak_guc_usage_days;
int			ak_guc_derived_retention;
bool		ak_guc_usage_address;
int			ak_guc_guess_limit;
int			ak_guc_guess_delay;

/* Are the settings being defined?  Then those from files are read, by nobody's doing. */
static bool defining;

bool		ak_guc_key_refused;
static bool require_key;
uint64		ak_guc_key_serial = 1;
uint64		ak_guc_address_serial = 1;

static char *key_setting;
static char *mask_prefixes_setting;

/*
 * Refuse a key that comes from where others could read it.  PostgreSQL's own message
 * would repeat the value, and log the statement.
 */
static bool
check_key(char **newval, void **extra, GucSource source)
{
	static const char problem[] = "parameter \"apikey.key\" cannot be set here";
	static const char detail[] = "An API key must not be kept where others could read it.";
	static const char hint[] = "Use apikey_login or SET LOCAL in the transaction.";

	if (*newval == NULL || **newval == '\0' ||
		(source >= PGC_S_OVERRIDE && source != PGC_S_TEST))
		return true;
	/* the source when CREATE FUNCTION or ALTER ROLE asks */
	if (source == PGC_S_TEST)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg_internal("%s", problem),
				 errdetail_internal("%s", detail),
				 errhint("%s", hint),
				 errhidestmt(true)));
	/* only a warning, for some of them */
	ak_guc_key_refused = true;
	GUC_check_errmsg("%s", problem);
	GUC_check_errdetail("%s", detail);
	GUC_check_errhint("%s", hint);
	return false;
}

static void
assign_key(const char *newval, void *extra)
{
	ak_guc_key_serial++;
}

/* What SHOW, current_setting and pg_settings show */
static const char *
show_masked_key(void)
{
	static char masked[AK_TOKEN_MAX + 4];
	AkToken		token;
	int			len;
	const char *key = ak_guc_key(&len);

	if (len == 0)
		return "";
	if (ak_token_parse(key, len, &token) != AK_TOKEN_VALID)
		return "***";
	explicit_bzero(token.secret, sizeof(token.secret));
	strlcpy(masked, ak_token_mask(token.prefix, token.prefix_len, &token.id),
			sizeof(masked));
	return masked;
}

/*
 * Does somebody set it now?  By SET, ALTER ROLE, ALTER DATABASE or ALTER SYSTEM; or it is
 * read from a file by the postmaster, for its log.  Not at the start of a session or
 * parallel worker, nor where these read the file, between statements.
 */
static bool
is_set_now(GucSource source)
{
	if (source == PGC_S_FILE)
		return !IsUnderPostmaster || (!defining && ActivePortal != NULL);
	return (source == PGC_S_SESSION || source == PGC_S_TEST) &&
		!InitializingParallelWorker;
}

static bool
check_prefix(char **newval, void **extra, GucSource source)
{
	if (ak_token_prefix_valid(*newval, strlen(*newval)))
	{
		if (is_set_now(source))
			ak_vendor_warn(*newval);
		return true;
	}
	GUC_check_errdetail("A prefix is a lower case letter, then lower case letters, digits and underscores, %d bytes at most.",
						AK_PREFIX_MAX);
	return false;
}

/* Keys verified with what another file holds must be verified again. */
static void
assign_key_file(const char *newval, void *extra)
{
	ak_inval_forget();
}

/* An address without a network, as inet has it; or nothing. */
static bool
check_address(char **newval, void **extra, GucSource source)
{
	unsigned char bits[16];

	/* a size of -1 asks for inet, not cidr, which takes "240" as well */
	if (**newval == '\0' || (strchr(*newval, '/') == NULL &&
							 (pg_inet_net_pton(PGSQL_AF_INET, *newval, bits,
											   -1) == 32 ||
							  pg_inet_net_pton(PGSQL_AF_INET6, *newval, bits,
											   -1) == 128)))
		return true;
	GUC_check_errdetail("It must be an IP address, or empty.");
	return false;
}

static void
assign_address(const char *newval, void *extra)
{
	ak_guc_address_serial++;
	ak_guc_key_serial++;
}

static bool
check_mask_prefixes(char **newval, void **extra, GucSource source)
{
	AkRedactPrefixes prefixes;

	if (ak_redact_parse(*newval, &prefixes))
		return true;
	GUC_check_errdetail("It must be a list of at most %d prefixes, without the \"_\" behind them, of letters and digits with single \"_\" and \"-\" between them, %d bytes at most.",
						AK_REDACT_PREFIXES, AK_PREFIX_MAX);
	return false;
}

static void
assign_mask_prefixes(const char *newval, void *extra)
{
	(void) ak_redact_parse(newval, &ak_guc_mask_prefixes);
}

/*
 * What is of use only where the extension is preloaded is defined elsewhere only if
 * somebody has set it: PostgreSQL 15 sorts all settings anew for each that is added, and
 * so these made a new session wait longer than its first decision does.
 */
static bool
is_defined_here(const char *name)
{
	return process_shared_preload_libraries_in_progress ||
		GetConfigOption(name, true, false) != NULL;
}

static void
init_of_preloaded(void)
{
	/* a setting of the server's start, if the library is loaded there */
	GucContext	at_start = process_shared_preload_libraries_in_progress ?
	PGC_POSTMASTER : PGC_SIGHUP;

	if (is_defined_here("apikey.mask_log"))
		DefineCustomBoolVariable("apikey.mask_log",
								 "Mask API keys in the server log and in what is shown of statements.",
								 "Where the extension is in shared_preload_libraries.",
								 &ak_guc_mask_log, true, PGC_SUSET, 0,
								 NULL, NULL, NULL);
	if (is_defined_here("apikey.mask_libraries"))
		DefineCustomStringVariable("apikey.mask_libraries",
								   "Libraries that only show statements, and so may get them masked.", NULL,
								   &ak_guc_mask_libraries,
								   "pg_stat_statements, auto_explain", at_start,
								   GUC_LIST_INPUT,
								   NULL, NULL, NULL);
	if (is_defined_here("apikey.usage_size"))
		DefineCustomIntVariable("apikey.usage_size",
								"Shared memory for the use and the rate limits of API keys.", NULL,
								&ak_guc_usage_size, 16384, 256, MAX_KILOBYTES,
								at_start, GUC_UNIT_KB,
								NULL, NULL, NULL);

	/* A crash may lose what was counted in this time. */
	if (is_defined_here("apikey.flush_interval"))
		DefineCustomIntVariable("apikey.flush_interval",
								"Time after which the use of API keys is written to a table.", NULL,
								&ak_guc_flush_interval, 10, 1, 3600,
								PGC_SIGHUP, GUC_UNIT_S,
								NULL, NULL, NULL);
	if (is_defined_here("apikey.usage_days"))
		DefineCustomIntVariable("apikey.usage_days",
								"Days for which the use of API keys is kept by hour.",
								"0 keeps no hours.",
								&ak_guc_usage_days, 30, 0, 3650, PGC_SIGHUP, 0,
								NULL, NULL, NULL);
	if (is_defined_here("apikey.derived_retention"))
		DefineCustomIntVariable("apikey.derived_retention",
								"Time for which derived API keys are kept when they have expired.",
								"-1 keeps them.",
								&ak_guc_derived_retention, SECS_PER_DAY, -1,
								INT_MAX, PGC_SIGHUP, GUC_UNIT_S,
								NULL, NULL, NULL);
	if (is_defined_here("apikey.usage_address"))
		DefineCustomBoolVariable("apikey.usage_address",
								 "Keep the client's address of the last use of an API key.", NULL,
								 &ak_guc_usage_address, true, PGC_SIGHUP, 0,
								 NULL, NULL, NULL);
	if (is_defined_here("apikey.guess_limit"))
		DefineCustomIntVariable("apikey.guess_limit",
								"Bad API keys a minute from one address, above which more are delayed.", NULL,
								&ak_guc_guess_limit, 20, 1, 1000000, PGC_SUSET, 0,
								NULL, NULL, NULL);
	if (is_defined_here("apikey.guess_delay"))
		DefineCustomIntVariable("apikey.guess_delay",
								"Time by which they are delayed.",
								"0 delays none.",
								&ak_guc_guess_delay, 0, 0, 60000,
								PGC_SUSET, GUC_UNIT_MS,
								NULL, NULL, NULL);
}

void
ak_guc_init(void)
{
	defining = true;

	/* No flag hides the key from pg_settings: the show hook masks it there. */
	DefineCustomStringVariable("apikey.key",
							   "API key of the session.", NULL,
							   &key_setting, "", PGC_USERSET,
							   GUC_NOT_IN_SAMPLE | GUC_DISALLOW_IN_FILE,
							   check_key, assign_key, show_masked_key);

	/*
	 * What was set before the library was loaded was set by anybody, perhaps
	 * in the place of what an administrator has set.  PostgreSQL takes it
	 * only from who may set it, and else the default: so that is on then.
	 */
	DefineCustomBoolVariable("apikey.require_key",
							 "A session without an API key is not the application itself: it changes and sees no keys.", NULL,
							 &require_key,
							 GetConfigOption("apikey.require_key", true, false) != NULL,
							 PGC_SUSET, 0,
							 NULL, NULL, NULL);
	DefineCustomStringVariable("apikey.prefix",
							   "Prefix of new API keys.", NULL,
							   &ak_guc_prefix, "apk", PGC_USERSET, 0,
							   check_prefix, NULL, NULL);
	DefineCustomStringVariable("apikey.pepper_file",
							   "File with the key of the hashes of API keys.", NULL,
							   &ak_guc_pepper_file, "", PGC_SUSET,
							   GUC_SUPERUSER_ONLY,
							   NULL, assign_key_file, NULL);
	DefineCustomStringVariable("apikey.hmac_key_file",
							   "File with the key of imported HMAC-SHA-256 hashes.", NULL,
							   &ak_guc_hmac_key_file, "", PGC_SUSET,
							   GUC_SUPERUSER_ONLY,
							   NULL, assign_key_file, NULL);

	/* It is believed, so it takes a superuser, or a GRANT of SET on it. */
	DefineCustomStringVariable("apikey.client_address",
							   "Address of the client behind a proxy.", NULL,
							   &ak_guc_client_address, "", PGC_SUSET,
							   GUC_NOT_IN_SAMPLE | GUC_DISALLOW_IN_FILE,
							   check_address, assign_address, NULL);

	/* It stands in the events, and proves nothing. */
	DefineCustomStringVariable("apikey.application_user",
							   "User of the application, for the events.", NULL,
							   &ak_guc_application_user, "", PGC_USERSET,
							   GUC_NOT_IN_SAMPLE,
							   NULL, NULL, NULL);
	DefineCustomBoolVariable("apikey.notify",
							 "Notify channel \"apikey\" of changes.", NULL,
							 &ak_guc_notify, true, PGC_SUSET, 0,
							 NULL, NULL, NULL);
	DefineCustomStringVariable("apikey.mask_prefixes",
							   "Prefixes of other systems whose API keys are masked too.", NULL,
							   &mask_prefixes_setting, "fbk", PGC_SUSET,
							   GUC_LIST_INPUT,
							   check_mask_prefixes, assign_mask_prefixes, NULL);
	DefineCustomIntVariable("apikey.cache_size",
							"Memory for cached API keys in each backend.", NULL,
							&ak_guc_cache_size, 4096, 64, MAX_KILOBYTES,
							PGC_USERSET, GUC_UNIT_KB,
							NULL, NULL, NULL);
	DefineCustomBoolVariable("apikey.enable_ordered_scan",
							 "Enables the planner's use of scans that merge the rows of an API key's projects.", NULL,
							 &ak_guc_enable_ordered_scan, true, PGC_USERSET,
							 GUC_EXPLAIN,
							 NULL, NULL, NULL);

	init_of_preloaded();
	MarkGUCPrefixReserved("apikey");
	defining = false;
}

const char *
ak_guc_key(int *len)
{
	*len = key_setting == NULL ? 0 : strlen(key_setting);
	return key_setting;
}

bool
ak_guc_goes_by_key(void)
{
	int			len;

	(void) ak_guc_key(&len);
	return len > 0 || ak_guc_key_refused || require_key;
}

void
ak_guc_set_key(const char *key)
{
	(void) set_config_option("apikey.key", key, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_LOCAL, true, 0, false);
}
