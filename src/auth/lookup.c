/*
 * lookup.c
 *		How the text of an imported key leads to its row; see lookup.h.
 */
#include "postgres.h"

#include "auth/lookup.h"

#include "base/inval.h"
#include "utils/memutils.h"

static MemoryContext context;	/* of the list */
static AkRule *rules;
static int	nrules;
static uint64 number;			/* of messages before the list was made; 0:
								 * there is none */

static bool
same_rule(const AkRule *a, const AkRule *b)
{
	return a->hash == b->hash &&
		ak_name_equal(&a->strip_prefix, &b->strip_prefix) &&
		ak_name_equal(&a->after, &b->after);
}

/*
 * By hash.  What needs the key of another system comes last: a key that it has not hashed
 * must not fail because of that.
 */
static int
compare_rules(const void *a, const void *b)
{
	const AkRule *x = a;
	const AkRule *y = b;

	return (int) x->hash - (int) y->hash;
}

static void
read_rules(void)
{
	MemoryContext before;
	uint64		now = ak_inval_number;

	number = 0;					/* so that an error leaves nothing valid */
	if (context == NULL)
		context = AllocSetContextCreate(TopMemoryContext, "apikey rules",
										ALLOCSET_SMALL_SIZES);
	MemoryContextReset(context);
	before = MemoryContextSwitchTo(context);
	nrules = ak_store_rules(&rules);
	MemoryContextSwitchTo(before);
	qsort(rules, nrules, sizeof(AkRule), compare_rules);
	number = now;
}

bool
ak_lookup_any(void)
{
	if (number == 0 || ak_inval_ended(AK_PART_RULES, number))
		read_rules();
	return nrules > 0;
}

static bool
has_rule(const AkRule *rule)
{
	for (int i = 0; i < nrules; i++)
		if (same_rule(&rules[i], rule))
			return true;
	return false;
}

/* Those whose secrets are gone do not count, though they are in the list for a while. */
bool
ak_lookup_has_room(const AkRule *rule)
{
	int			count = 0;

	if (!ak_lookup_any() || nrules < AK_LOOKUP_RULES || has_rule(rule))
		return true;
	for (int i = 0; i < nrules; i++)
		if (ak_store_has_rule(&rules[i], true))
			count++;
	return count < AK_LOOKUP_RULES;
}

bool
ak_lookup_part(const AkRule *rule, const char *token, int len, AkName *part)
{
	const AkName *prefix = &rule->strip_prefix;
	const AkName *after = &rule->after;
	const char *p = token + prefix->len;
	const char *end = token + len;

	if (len < prefix->len || memcmp(token, prefix->data, prefix->len) != 0)
		return false;
	while (end - p > after->len && memcmp(p, after->data, after->len) != 0)
		p++;
	p += after->len;
	*part = ak_name_make(p, end - p);
	return part->len > 0;
}

/* The lookup digest of a text, or false. */
static bool
get_digest(const AkRule *rule, const char *token, int len,
		   const uint8 *digest_of_text, AkName *part, uint8 hash[AK_HASH_MAX])
{
	if (!ak_lookup_part(rule, token, len, part))
		return false;
	if (rule->hash == AK_SCHEME_SHA256 && part->len == len)
	{
		memcpy(hash, digest_of_text, AK_HASH_LEN);
		return true;
	}
	return ak_secret_hash(rule->hash, part->data, part->len, hash) > 0;
}

bool
ak_lookup_find(Snapshot snapshot, const char *token, int len,
			   const uint8 digest[AK_HASH_LEN], AkSecret *secret, AkName *part)
{
	uint8		hash[AK_HASH_MAX];

	for (int i = 0; i < nrules; i++)
		if (get_digest(&rules[i], token, len, digest, part, hash) &&
			ak_store_lookup(snapshot, hash, secret) &&
			same_rule(&secret->rule, &rules[i]))
			return true;
	return false;
}

/*
 * What was found out about a rule holds until something may have been undone: the message,
 * or the secret by which lists have it.
 */
bool
ak_lookup_is_new(const AkRule *rule)
{
	static uint64 transaction;	/* ak_inval_transaction then */
	static AkRule said;
	static char bytes[2][AK_LOOKUP_BYTES];
	bool		is_new;

	if (rule->strip_prefix.len > AK_LOOKUP_BYTES ||
		rule->after.len > AK_LOOKUP_BYTES)
		return true;			/* of somebody's who writes by SQL */
	if (transaction == ak_inval_transaction && same_rule(&said, rule))
		return false;
	transaction = 0;
	said.hash = rule->hash;
	said.strip_prefix.data = memcpy(bytes[0], rule->strip_prefix.data,
									rule->strip_prefix.len);
	said.strip_prefix.len = rule->strip_prefix.len;
	said.after.data = memcpy(bytes[1], rule->after.data, rule->after.len);
	said.after.len = rule->after.len;
	is_new = !ak_store_has_rule(rule, false);
	transaction = ak_inval_transaction;
	return is_new;
}
