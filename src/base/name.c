/*
 * name.c
 *		Strings with their length; see name.h.
 */
#include "postgres.h"

#include "base/name.h"

#include "access/detoast.h"
#include "base/compat.h"
#include "utils/builtins.h"

const AkName ak_name_all = {"*", 1};

AkName
ak_name_of_text(Datum value)
{
	struct varlena *string = PG_DETOAST_DATUM_PACKED(value);

	return ak_name_make(VARDATA_ANY(string), VARSIZE_ANY_EXHDR(string));
}

AkName
ak_name_copy(AkName name)
{
	char	   *copy = palloc(name.len + 1);

	/* not pnstrdup(): salts and hashes may have a NUL in them */
	memcpy(copy, name.data, name.len);
	copy[name.len] = '\0';
	return ak_name_make(copy, name.len);
}

Size
ak_name_text_length(Datum value)
{
	struct varlena *string = (struct varlena *) DatumGetPointer(value);

	if (VARATT_IS_EXTERNAL(string) || VARATT_IS_COMPRESSED(string))
		return toast_raw_datum_size(value) - VARHDRSZ;
	return VARSIZE_ANY_EXHDR(string);
}

Datum
ak_name_to_text(const AkName *name)
{
	return PointerGetDatum(cstring_to_text_with_len(name->data, name->len));
}
