/*
 * question.h
 *		A call of apikey_authorize in a query: what it asks.
 */
#ifndef AK_QUESTION_H
#define AK_QUESTION_H

#include "postgres.h"

#include "base/level.h"
#include "nodes/pg_list.h"

/* The arguments. */
typedef struct AkQuestion
{
	Node	   *key;			/* NULL: that of the session */
	Node	   *project;
	Node	   *environment;
	Node	   *verb;
} AkQuestion;

extern AkQuestion ak_question_get(List *args);

/* The level that a constant verb asks for; AK_LEVEL_NONE for anything else. */
extern AkLevel ak_question_level(Node *verb);

#endif							/* AK_QUESTION_H */
