/*
 * budget.h
 *		What a key may spend: the functions that spend it.
 *
 * A budget is a row of apikey_budget, and is set by apikey_set_budget in admin.c.
 * Spending updates the row in the transaction of the caller, so that a rollback
 * gives back what was spent, with the work that it was for.
 *
 * Who spends holds the row until the end of the transaction; others who spend
 * from the same budget wait, and go by what was left then.  A refill that is due
 * is made by the next who spends: nothing runs in the background.
 *
 * No decision rests on budgets: spending sends no message, and makes nobody
 * forget a key.
 */
#ifndef AK_BUDGET_H
#define AK_BUDGET_H

/* No code of PostgreSQL's: one of the class "insufficient resources". */
#define AK_ERRCODE_BUDGET	MAKE_SQLSTATE('5', '3', 'B', '0', '0')

#endif							/* AK_BUDGET_H */
