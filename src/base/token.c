/*
 * token.c
 *		The printed form of an API key; see token.h.
 */
#include "postgres.h"

#include "base/token.h"

#include "mb/pg_wchar.h"
#include "utils/pg_crc.h"

#define BASE			AK_BASE62
#define CHUNK_DIGITS	5		/* the most whose value fits 32 bits */
#define CHUNK			(62 * 62 * 62 * 62 * 62)
#define MAX_LIMBS		(AK_SECRET_LEN / 4)

static const char digits[] =
"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

const uint8 ak_token_digits[256] = {
	['0'] = 1,['1'] = 2,['2'] = 3,['3'] = 4,['4'] = 5,['5'] = 6,
	['6'] = 7,['7'] = 8,['8'] = 9,['9'] = 10,
	['A'] = 11,['B'] = 12,['C'] = 13,['D'] = 14,['E'] = 15,
	['F'] = 16,['G'] = 17,['H'] = 18,['I'] = 19,['J'] = 20,
	['K'] = 21,['L'] = 22,['M'] = 23,['N'] = 24,['O'] = 25,
	['P'] = 26,['Q'] = 27,['R'] = 28,['S'] = 29,['T'] = 30,
	['U'] = 31,['V'] = 32,['W'] = 33,['X'] = 34,['Y'] = 35,
	['Z'] = 36,
	['a'] = 37,['b'] = 38,['c'] = 39,['d'] = 40,['e'] = 41,
	['f'] = 42,['g'] = 43,['h'] = 44,['i'] = 45,['j'] = 46,
	['k'] = 47,['l'] = 48,['m'] = 49,['n'] = 50,['o'] = 51,
	['p'] = 52,['q'] = 53,['r'] = 54,['s'] = 55,['t'] = 56,
	['u'] = 57,['v'] = 58,['w'] = 59,['x'] = 60,['y'] = 61,
	['z'] = 62,['-'] = 63,['_'] = 64
};

/* Of a character of base62, else more. */
static inline uint8
digit_value(char c)
{
	return ak_token_digits[(unsigned char) c] - 1;
}

/*
 * Read "ndigits" digits as a big-endian number of "nbytes" bytes, a multiple
 * of four.  False for a character that is no digit, or too large a value.
 */
static bool
decode_base62(const char *str, int ndigits, uint8 *bytes, int nbytes)
{
	uint32		limbs[MAX_LIMBS] = {0}; /* least significant first */
	int			nlimbs = nbytes / 4;
	bool		fits = true;

	while (ndigits > 0)
	{
		uint32		scale = 1;
		uint64		carry = 0;

		for (int i = 0; i < CHUNK_DIGITS && ndigits > 0; i++, ndigits--)
		{
			uint8		value = digit_value(*str++);

			if (value >= BASE)
				return false;
			carry = carry * BASE + value;
			scale *= BASE;
		}
		for (int i = 0; i < nlimbs; i++)
		{
			carry += (uint64) limbs[i] * scale;
			limbs[i] = (uint32) carry;
			carry >>= 32;
		}
		fits = fits && carry == 0;
	}
	for (int i = 0; i < nbytes; i++)
		bytes[nbytes - 1 - i] = (uint8) (limbs[i / 4] >> (8 * (i % 4)));
	explicit_bzero(limbs, sizeof(limbs));
	return fits;
}

/* The reverse: write exactly "ndigits" digits. */
static void
encode_base62(const uint8 *bytes, int nbytes, char *str, int ndigits)
{
	uint32		limbs[MAX_LIMBS];	/* most significant first */
	int			nlimbs = nbytes / 4;

	for (int i = 0; i < nlimbs; i++)
		limbs[i] = (uint32) bytes[4 * i] << 24 | bytes[4 * i + 1] << 16 |
			bytes[4 * i + 2] << 8 | bytes[4 * i + 3];
	while (ndigits > 0)
	{
		uint64		remainder = 0;

		for (int i = 0; i < nlimbs; i++)
		{
			remainder = remainder << 32 | limbs[i];
			limbs[i] = (uint32) (remainder / CHUNK);
			remainder %= CHUNK;
		}
		for (int i = 0; i < CHUNK_DIGITS && ndigits > 0; i++)
		{
			str[--ndigits] = digits[remainder % BASE];
			remainder /= BASE;
		}
	}
	explicit_bzero(limbs, sizeof(limbs));
}

/* CRC-32 as bytes, most significant first. */
static void
checksum(const char *str, int len, uint8 bytes[4])
{
	pg_crc32	crc;

	INIT_TRADITIONAL_CRC32(crc);
	COMP_TRADITIONAL_CRC32(crc, str, len);
	FIN_TRADITIONAL_CRC32(crc);
	for (int i = 0; i < 4; i++)
		bytes[i] = (uint8) (crc >> (8 * (3 - i)));
}

/*
 * The register of the CRC before the character "c" made it what it is.  The
 * most significant bytes of the table's entries are all different, so one
 * tells which entry a step has used.
 */
static inline uint32
unwind(uint32 crc, unsigned char c)
{
	static uint8 entries[256];
	static bool filled;
	uint8		entry;

	if (unlikely(!filled))
		for (int i = 0; i < 256; i++)
			entries[pg_crc32_table[i] >> 24] = i;
	filled = true;
	entry = entries[crc >> 24];
	return (crc ^ pg_crc32_table[entry]) << 8 | (entry ^ c);
}

bool
ak_token_prefix_valid(const char *prefix, int len)
{
	if (len < 1 || len > AK_PREFIX_MAX || prefix[0] < 'a' || prefix[0] > 'z')
		return false;
	for (int i = 1; i < len; i++)
	{
		char		c = prefix[i];

		if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'))
			return false;
	}
	return true;
}

AkTokenForm
ak_token_parse(const char *str, int len, AkToken *token)
{
	int			prefix_len = len - 1 - AK_TOKEN_BODY;
	const char *id = str + prefix_len + 1;
	const char *secret = id + AK_TOKEN_ID_CHARS;
	const char *crc = secret + AK_TOKEN_SECRET_CHARS;
	uint8		stated[4];
	uint8		actual[4];

	if (len < AK_TOKEN_MIN || len > AK_TOKEN_MAX || id[-1] != '_' ||
		!ak_token_prefix_valid(str, prefix_len))
		return AK_TOKEN_OTHER;
	for (int i = 0; i < AK_TOKEN_BODY; i++)
		if (digit_value(id[i]) >= BASE)
			return AK_TOKEN_OTHER;

	checksum(str, len - AK_TOKEN_CRC_CHARS, actual);
	if (!decode_base62(crc, AK_TOKEN_CRC_CHARS, stated, sizeof(stated)) ||
		memcmp(stated, actual, sizeof(stated)) != 0)
		return AK_TOKEN_CORRUPT;
	if (!decode_base62(id, AK_TOKEN_ID_CHARS, token->id.data, UUID_LEN) ||
		!decode_base62(secret, AK_TOKEN_SECRET_CHARS, token->secret, AK_SECRET_LEN))
		return AK_TOKEN_CORRUPT;
	token->prefix = str;
	token->prefix_len = prefix_len;
	return AK_TOKEN_VALID;
}

/*
 * From the checksum that is stated the CRC goes back, character by character.
 * Where it arrives at its initial value, there the key begins.
 */
int
ak_token_prefix(const char *body, int room)
{
	const char *p = body + AK_TOKEN_BODY - AK_TOKEN_CRC_CHARS;
	uint8		stated[4];
	pg_crc32	crc = 0;
	pg_crc32	initial;

	if (!decode_base62(p, AK_TOKEN_CRC_CHARS, stated, sizeof(stated)))
		return 0;
	INIT_TRADITIONAL_CRC32(initial);
	for (int i = 0; i < 4; i++)
		crc = crc << 8 | stated[i];
	FIN_TRADITIONAL_CRC32(crc);
	while (p > body - 1)
	{
		p--;
		crc = unwind(crc, *p);
	}
	for (int len = 1; len <= Min(room, AK_PREFIX_MAX); len++)
	{
		crc = unwind(crc, *--p);
		if (crc == initial && ak_token_prefix_valid(p, len))
			return len;
	}
	return 0;
}

int
ak_token_print(const char *prefix, int prefix_len, const pg_uuid_t *id,
			   const uint8 *secret, char buf[AK_TOKEN_MAX + 1])
{
	char	   *p = buf;
	uint8		crc[4];

	memcpy(p, prefix, prefix_len);
	p += prefix_len;
	*p++ = '_';
	encode_base62(id->data, UUID_LEN, p, AK_TOKEN_ID_CHARS);
	p += AK_TOKEN_ID_CHARS;
	encode_base62(secret, AK_SECRET_LEN, p, AK_TOKEN_SECRET_CHARS);
	p += AK_TOKEN_SECRET_CHARS;
	checksum(buf, p - buf, crc);
	encode_base62(crc, sizeof(crc), p, AK_TOKEN_CRC_CHARS);
	p += AK_TOKEN_CRC_CHARS;
	*p = '\0';
	return p - buf;
}

char *
ak_token_mask(const char *prefix, int prefix_len, const pg_uuid_t *id)
{
	char		chars[AK_TOKEN_ID_CHARS];
	const char *ellipsis =
	GetDatabaseEncoding() == PG_UTF8 ? "\xE2\x80\xA6" : "...";

	if (id == NULL)
		return psprintf("%.*s_%s", prefix_len, prefix, ellipsis);
	encode_base62(id->data, UUID_LEN, chars, AK_TOKEN_ID_CHARS);
	return psprintf("%.*s_%.*s%s", prefix_len, prefix, AK_TOKEN_ID_CHARS,
					chars, ellipsis);
}
