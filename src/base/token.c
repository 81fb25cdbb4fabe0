/*
 * token.c
 *		The printed form of an API key; see token.h.
 */
#include "postgres.h"

#include "base/token.h"

#include "mb/pg_wchar.h"
#include "utils/pg_crc.h"

#define BASE			62
#define CHUNK_DIGITS	5		/* the most whose value fits 32 bits */
#define CHUNK			(62 * 62 * 62 * 62 * 62)
#define MAX_LIMBS		(AK_SECRET_LEN / 4)

static const char digits[] =
"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

#define D(value)	(AK_DIGIT_BASE62 | (value))

const uint8 ak_token_digits[256] = {
	['0'] = D(0),['1'] = D(1),['2'] = D(2),['3'] = D(3),['4'] = D(4),
	['5'] = D(5),['6'] = D(6),['7'] = D(7),['8'] = D(8),['9'] = D(9),
	['A'] = D(10),['B'] = D(11),['C'] = D(12),['D'] = D(13),['E'] = D(14),
	['F'] = D(15),['G'] = D(16),['H'] = D(17),['I'] = D(18),['J'] = D(19),
	['K'] = D(20),['L'] = D(21),['M'] = D(22),['N'] = D(23),['O'] = D(24),
	['P'] = D(25),['Q'] = D(26),['R'] = D(27),['S'] = D(28),['T'] = D(29),
	['U'] = D(30),['V'] = D(31),['W'] = D(32),['X'] = D(33),['Y'] = D(34),
	['Z'] = D(35),
	['a'] = D(36),['b'] = D(37),['c'] = D(38),['d'] = D(39),['e'] = D(40),
	['f'] = D(41),['g'] = D(42),['h'] = D(43),['i'] = D(44),['j'] = D(45),
	['k'] = D(46),['l'] = D(47),['m'] = D(48),['n'] = D(49),['o'] = D(50),
	['p'] = D(51),['q'] = D(52),['r'] = D(53),['s'] = D(54),['t'] = D(55),
	['u'] = D(56),['v'] = D(57),['w'] = D(58),['x'] = D(59),['y'] = D(60),
	['z'] = D(61),
	['-'] = 0x40 | 62,['_'] = 0x40 | 63
};

#undef D

/*
 * Read "ndigits" digits as a big-endian number of "nbytes" bytes, a multiple
 * of four.  False for a character that is not a digit, or too large a value.
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
			uint8		digit = ak_token_digits[(unsigned char) *str++];

			if (!(digit & AK_DIGIT_BASE62))
				return false;
			carry = carry * BASE + (digit & AK_DIGIT_VALUE);
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
 * The register of the CRC before the character "c" went in.  The most significant bytes
 * of the table's entries are all different, so one tells which entry a step has used.
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
		if (!(ak_token_digits[(unsigned char) id[i]] & AK_DIGIT_BASE62))
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
