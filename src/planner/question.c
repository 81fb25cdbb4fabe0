/*
 * question.c
 *		A call of apikey_authorize in a query; see question.h.
 */
#include "postgres.h"

#include "planner/question.h"

#include "base/compat.h"
#include "fmgr.h"
#include "nodes/primnodes.h"

AkQuestion
ak_question_get(List *args)
{
	int			first = list_length(args) - 3;
	AkQuestion	question;

	question.key = first > 0 ? linitial(args) : NULL;
	question.project = list_nth(args, first);
	question.environment = list_nth(args, first + 1);
	question.verb = list_nth(args, first + 2);
	return question;
}

AkLevel
ak_question_level(Node *verb)
{
	Const	   *constant = (Const *) verb;
	text	   *value;

	if (!IsA(verb, Const) || constant->constisnull)
		return AK_LEVEL_NONE;
	value = DatumGetTextPP(constant->constvalue);
	return ak_level_of_verb(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
}
