/*
 * token.h
 *		The printed form of an API key.
 *
 *		<prefix>_<22 chars: key id><43 chars: secret><6 chars: CRC-32>
 *
 * The prefix matches [a-z][a-z0-9_]* and has at most AK_PREFIX_MAX bytes.  The
 * other three fields are unsigned big-endian numbers in base62 (0-9, A-Z,
 * a-z) of fixed width: 128, 256 and 32 bits.  A field whose value does not fit
 * its bits is refused, so every key has exactly one form.  The CRC-32 is
 * that of ISO 3309 and zlib, over all characters before it.
 *
 * This file sees no table and raises no error.  The caller wipes what holds a
 * secret.
 */
#ifndef AK_TOKEN_H
#define AK_TOKEN_H

#include "postgres.h"

#include "utils/uuid.h"

#define AK_PREFIX_MAX		32
#define AK_SECRET_LEN		32

/*
 * A character as a digit: the value in the low six bits, and the kind, by which a digit
 * of base62 is one of base64url, too.  0 for all other characters.
 */
#define AK_DIGIT_VALUE		0x3f
#define AK_DIGIT_BASE62		0x80
#define AK_DIGIT_BASE64URL	(0x40 | AK_DIGIT_BASE62)
extern const uint8 ak_token_digits[256];

#define AK_TOKEN_ID_CHARS	22
#define AK_TOKEN_SECRET_CHARS 43
#define AK_TOKEN_CRC_CHARS	6
#define AK_TOKEN_BODY \
	(AK_TOKEN_ID_CHARS + AK_TOKEN_SECRET_CHARS + AK_TOKEN_CRC_CHARS)

/* Lengths in bytes that a key can have at all. */
#define AK_TOKEN_MIN		(1 + 1 + AK_TOKEN_BODY)
#define AK_TOKEN_MAX		(AK_PREFIX_MAX + 1 + AK_TOKEN_BODY)

/* Bytes that the text of any key may have, imported ones too. */
#define AK_KEY_TEXT_MAX		4096

typedef struct AkToken
{
	const char *prefix;			/* points into the parsed text */
	int			prefix_len;
	pg_uuid_t	id;
	uint8		secret[AK_SECRET_LEN];
} AkToken;

typedef enum AkTokenForm
{
	AK_TOKEN_OTHER = 0,			/* not of a key's form */
	AK_TOKEN_CORRUPT,			/* of the form, but checksum or range wrong */
	AK_TOKEN_VALID				/* "token" is filled in */
} AkTokenForm;

extern AkTokenForm ak_token_parse(const char *str, int len, AkToken *token);

/* Print into "buf", NUL-terminated; returns the length without the NUL. */
extern int	ak_token_print(const char *prefix, int prefix_len,
						   const pg_uuid_t *id, const uint8 *secret,
						   char buf[AK_TOKEN_MAX + 1]);

/*
 * Length of the prefix with which the body of a key, its last AK_TOKEN_BODY
 * characters, has the right checksum; 0 if there is none.  Before the body there
 * are '_' and "room" more bytes.  The shortest, if there are several.
 */
extern int	ak_token_prefix(const char *body, int room);

/*
 * What may be shown of a key, palloc'd: prefix, id and an ellipsis.  Without the
 * id if that is NULL.
 */
extern char *ak_token_mask(const char *prefix, int prefix_len,
						   const pg_uuid_t *id);

extern bool ak_token_prefix_valid(const char *prefix, int len);

#endif							/* AK_TOKEN_H */
