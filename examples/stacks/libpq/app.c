/*
 * A web API on the table of ../../orders.sql, with libpq.
 *
 *	apt install gcc libc6-dev libpq-dev libmicrohttpd-dev libjansson-dev
 *	PGDATABASE=orders PGUSER=app PORT=8080 ./start
 *
 *	curl -H "X-API-Key: $KEY" localhost:8080/orders
 *
 * README.md beside the directory says what it answers to.
 */
#include <arpa/inet.h>
#include <jansson.h>
#include <libpq-fe.h>
#include <math.h>
#include <microhttpd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNECTIONS 4
#define MAX_PARAMS 3

/* each of the server's threads has its own */
static _Thread_local PGconn *db;

typedef struct Request
{
	struct MHD_Connection *http;
	char	   *text;			/* the body */
	size_t		length;
	json_t	   *body;
	char		id[64];			/* of the path */

	/* the answer; before there is one the status is 0 */
	unsigned int status;
	json_t	   *answer;
	double		wait;			/* seconds, for Retry-After */
	bool		again;			/* it failed, and may not the next time */
} Request;

typedef void (*Handler) (Request *request);

/* The answer is this; takes the reference over. */
static void
reply(Request *request, unsigned int status, json_t *answer)
{
	json_decref(request->answer);
	request->status = status;
	request->answer = answer;
	request->wait = 0;
}

static void
reply_error(Request *request, unsigned int status, const char *message)
{
	reply(request, status, json_pack("{ss}", "error", message));
}

/* The status in HTTP for an error of apikey or of a policy that is the caller's, else 500. */
static unsigned int
status_of(const PGresult *result)
{
	const char *code = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *routine = PQresultErrorField(result, PG_DIAG_SOURCE_FUNCTION);

	/* a missing GRANT is not the caller's */
	if (code == NULL || (routine != NULL && strcmp(routine, "aclcheck_error") == 0))
		return 500;
	if (strcmp(code, "28000") == 0)
		return 401;
	if (strcmp(code, "42501") == 0)
		return 403;
	if (strcmp(code, "42704") == 0)
		return 404;
	if (strcmp(code, "53400") == 0 || strcmp(code, "53B00") == 0)
		return 429;
	if (strncmp(code, "22", 2) == 0 || strncmp(code, "23", 2) == 0)
		return 400;
	return 500;
}

/* Answer with the error of a statement. */
static void
refuse(Request *request, const PGresult *result)
{
	const char *code = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
	const char *wait = detail ? strstr(detail, "retry_after=") : NULL;
	unsigned int status = status_of(result);

	request->again = code && (strcmp(code, "40001") == 0 || strcmp(code, "40P01") == 0);
	if (status == 500)
	{
		fputs(PQresultErrorMessage(result), stderr);
		reply_error(request, 500, "internal error");
		return;
	}
	reply(request, status,
		  json_pack("{ssss}", "code", code,
					"error", PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY)));
	if (status == 429 && wait)
		request->wait = ceil(strtod(wait + strlen("retry_after="), NULL));
}

/* A column of a row: numbers and JSON as such, all else is text. */
static json_t *
value_of(const PGresult *result, int row, int column)
{
	const char *text = PQgetvalue(result, row, column);

	if (PQgetisnull(result, row, column))
		return json_null();
	switch (PQftype(result, column))
	{
		case 20:				/* int8 */
		case 23:				/* int4 */
			return json_integer(strtoll(text, NULL, 10));
		case 114:				/* json */
			return json_loads(text, JSON_DECODE_ANY, NULL);
		default:
			return json_string(text);
	}
}

/*
 * The rows of a statement with this many parameters, each a text or NULL.  On an error the
 * result is NULL, and the request has its answer.
 */
static json_t *
query(Request *request, const char *sql, int nparams,...)
{
	const char *params[MAX_PARAMS];
	PGresult   *result;
	json_t	   *rows = NULL;
	va_list		list;

	va_start(list, nparams);
	for (int i = 0; i < nparams; i++)
		params[i] = va_arg(list, const char *);
	va_end(list);

	result = PQexecParams(db, sql, nparams, NULL, params, NULL, NULL, 0);
	if (PQresultStatus(result) == PGRES_TUPLES_OK || PQresultStatus(result) == PGRES_COMMAND_OK)
	{
		rows = json_array();
		for (int i = 0; i < PQntuples(result); i++)
		{
			json_t	   *row = json_object();

			for (int j = 0; j < PQnfields(result); j++)
				json_object_set_new(row, PQfname(result, j), value_of(result, i, j));
			json_array_append_new(rows, row);
		}
	}
	else
		refuse(request, result);
	PQclear(result);
	return rows;
}

/* Run a statement, whose rows, if any, are of no interest; false on an error. */
static bool
run(Request *request, const char *sql)
{
	json_t	   *rows = query(request, sql, 0);

	json_decref(rows);
	return rows != NULL;
}

/* Answer with the only row, unless there was an error. */
static void
reply_row(Request *request, unsigned int status, json_t *rows)
{
	if (rows == NULL)
		return;
	if (json_array_size(rows) == 0)
		reply_error(request, 404, "not found");
	else
		reply(request, status, json_incref(json_array_get(rows, 0)));
	json_decref(rows);
}

static bool
log_in(Request *request, const char *key)
{
	json_t	   *rows = query(request, "SELECT label FROM apikey_login($1)", 1, key);

	json_decref(rows);
	return rows != NULL;
}

/* Do some work in one transaction, as the bearer of a key unless it is NULL. */
static void
transaction(Request *request, const char *key, Handler work)
{
	if (PQstatus(db) != CONNECTION_OK)
	{
		PQfinish(db);
		db = PQconnectdb("");
	}
	if (PQstatus(db) != CONNECTION_OK)
	{
		/* not the caller's, whatever its code */
		fputs(PQerrorMessage(db), stderr);
		reply_error(request, 500, "internal error");
		return;
	}
	if (run(request, "BEGIN") && (key == NULL || log_in(request, key)))
		work(request);
	if (request->status >= 400)
		PQclear(PQexec(db, "ROLLBACK"));
	else
		run(request, "COMMIT");
}

/* The text of this name in an object, or NULL */
static const char *
text_in(const json_t *object, const char *name)
{
	return json_string_value(json_object_get(object, name));
}

/* How long the page is, one more than that, or NULL after an answer to a limit that is wrong */
static const char *
limit_of(Request *request, int *limit, char more[24])
{
	const char *text = MHD_lookup_connection_value(request->http, MHD_GET_ARGUMENT_KIND, "limit");
	char	   *end;
	long		number = text ? strtol(text, &end, 10) : 50;

	if (text && (*text < '1' || *text > '9' || *end != '\0' || number > 100))
	{
		reply_error(request, 400, "the limit is 1 to 100");
		return NULL;
	}
	*limit = (int) number;
	snprintf(more, 24, "%ld", number + 1);
	return more;
}

static const char *
after_of(Request *request, const char *last)
{
	const char *text = MHD_lookup_connection_value(request->http, MHD_GET_ARGUMENT_KIND, "after");

	return text ? text : last;
}

/* Answer with a page of the rows, of which there may be one more than the limit. */
static void
reply_page(Request *request, const char *name, int limit, json_t *rows)
{
	json_t	   *next = json_null();
	json_t	   *row;
	size_t		i;

	if (rows == NULL)
		return;
	if (json_array_size(rows) > (size_t) limit)
	{
		json_array_remove(rows, limit);
		next = json_incref(json_object_get(json_array_get(rows, limit - 1), "next"));
	}
	json_array_foreach(rows, i, row)
		json_object_del(row, "next");
	reply(request, 200, json_pack("{soso}", name, rows, "next", next));
}

/* Without a log-in there are no rows. */
static void
health(Request *request)
{
	reply_row(request, 200, query(request, "SELECT count(*) AS orders FROM orders", 0));
}

static void
me(Request *request)
{
	json_t	   *rows = query(request,
							 "SELECT organization, label, organization_level"
							 " FROM apikey_whoami()", 0);

	reply_row(request, 200, rows);
}

static void
read_orders(Request *request)
{
	const char *after = after_of(request, "infinity,0");
	char		more[24];
	int			limit;

	if (limit_of(request, &limit, more) == NULL)
		return;
	reply_page(request, "orders", limit,
			   query(request,
					 "SELECT id, project, environment, item, created_at,"
					 " concat_ws(',', created_at, id) AS next FROM orders"
					 " WHERE (created_at, id) < (split_part($1, ',', 1)::timestamptz,"
					 " split_part($1, ',', 2)::int)"
					 " ORDER BY created_at DESC, id DESC LIMIT $2::int", 2, after, more));
}

/* The row of an order that is added; NULL after an answer to what is none, or on an error. */
static json_t *
add(Request *request, const json_t *order)
{
	const char *project = text_in(order, "project");
	const char *environment = text_in(order, "environment");
	const char *item = text_in(order, "item");

	if (project && environment && item)
		return query(request, "INSERT INTO orders (project, environment, item)"
					 " VALUES ($1, $2, $3) RETURNING id", 3, project, environment, item);
	reply_error(request, 400, "an order has a project, an environment and an item");
	return NULL;
}

/* An order costs one of the key's budget, if it has any. */
static void
add_order(Request *request)
{
	if (run(request, "SELECT apikey_spend()"))
		reply_row(request, 201, add(request, request->body));
}

/* What is refused is left out: each order has a savepoint. */
static void
import_orders(Request *request)
{
	json_t	   *results = json_array();
	json_t	   *order;
	size_t		i;

	if (!json_is_array(request->body))
		reply_error(request, 400, "a list of orders");
	json_array_foreach(request->body, i, order)
	{
		bool		added;

		request->status = 0;
		if (!run(request, "SAVEPOINT entry"))
			break;
		reply_row(request, 200, add(request, order));
		added = request->status == 200;
		/* what is no order ends it, and an error that is not the caller's */
		if (!added && json_object_get(request->answer, "code") == NULL)
			break;
		json_array_append(results, request->answer);
		if (!(added || run(request, "ROLLBACK TO SAVEPOINT entry")) ||
			!run(request, "RELEASE SAVEPOINT entry"))
			break;
		request->status = 200;
	}
	if (request->status == 0 || request->status == 200)
		reply(request, 200, json_incref(results));
	json_decref(results);
}

static void
change_order(Request *request)
{
	const char *item = text_in(request->body, "item");

	if (item == NULL)
		reply_error(request, 400, "the item");
	else
		reply_row(request, 200,
				  query(request, "UPDATE orders SET item = $1 WHERE id = $2::int RETURNING id", 2,
						item, request->id));
}

static void
read_keys(Request *request)
{
	const char *after = after_of(request, "ffffffff-ffff-ffff-ffff-ffffffffffff");
	char		more[24];
	int			limit;

	if (limit_of(request, &limit, more) == NULL)
		return;
	reply_page(request, "keys", limit,
			   query(request,
					 "SELECT key_id, label, key, status, key_id AS next,"
					 " (SELECT coalesce(json_agg(json_build_object('project', project,"
					 " 'environment', environment, 'level', level)), '[]')"
					 " FROM apikey_grants AS g WHERE g.key_id = k.key_id) AS grants"
					 " FROM apikey_keys AS k WHERE organization ="
					 " (SELECT organization FROM apikey_whoami()) AND key_id < $1::uuid"
					 " ORDER BY k.key_id DESC LIMIT $2::int", 2, after, more));
}

static void
create_key(Request *request)
{
	const char *label = text_in(request->body, "label");
	json_t	   *given = json_object_get(request->body, "grants");
	char	   *grants = given ? json_dumps(given, JSON_ENCODE_ANY) : strdup("[]");

	reply_row(request, 201,
			  query(request, "SELECT made.key_id, made.key FROM apikey_whoami() AS me,"
					" apikey_create(me.organization, $1, $2::jsonb) AS made", 2, label, grants));
	free(grants);
}

static void
rotate_key(Request *request)
{
	const char *overlap = text_in(request->body, "overlap");

	reply_row(request, 200,
			  query(request, "SELECT key_id, key FROM apikey_rotate($1::uuid, $2::interval)", 2,
					request->id, overlap ? overlap : "0"));
}

static void
revoke_key(Request *request)
{
	json_t	   *rows = query(request, "SELECT apikey_revoke($1::uuid)", 1, request->id);

	if (rows != NULL)
		reply(request, 204, NULL);
	json_decref(rows);
}

static const struct
{
	const char *method;
	const char *path;			/* with * for an id */
	Handler		handler;
}			routes[] = {
	{"GET", "/health", health},
	{"GET", "/me", me},
	{"GET", "/orders", read_orders},
	{"POST", "/orders", add_order},
	{"POST", "/orders/import", import_orders},
	{"PATCH", "/orders/*", change_order},
	{"GET", "/keys", read_keys},
	{"POST", "/keys", create_key},
	{"POST", "/keys/*/rotate", rotate_key},
	{"DELETE", "/keys/*", revoke_key},
};

/* Is that the path?  Keeps its id. */
static bool
matches(Request *request, const char *pattern, const char *path)
{
	size_t		before = strcspn(pattern, "*");
	size_t		length;

	if (pattern[before] == '\0')
		return strcmp(path, pattern) == 0;
	if (strncmp(path, pattern, before) != 0)
		return false;
	path += before;
	length = strcspn(path, "/");
	if (length == 0 || length >= sizeof(request->id) ||
		strcmp(path + length, pattern + before + 1) != 0)
		return false;
	memcpy(request->id, path, length);
	request->id[length] = '\0';
	return true;
}

static void
respond(Request *request, const char *method, const char *path)
{
	const char *key = MHD_lookup_connection_value(request->http, MHD_HEADER_KIND, "X-API-Key");
	Handler		handler = NULL;
	bool		found = false;

	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]) && handler == NULL; i++)
	{
		if (!matches(request, routes[i].path, path))
			continue;
		found = true;
		if (strcmp(method, routes[i].method) == 0)
			handler = routes[i].handler;
	}
	if (handler == NULL)
	{
		if (found)
			reply_error(request, 405, "method not allowed");
		else
			reply_error(request, 404, "not found");
		return;
	}
	request->body = request->length == 0 ? json_null()
		: json_loadb(request->text, request->length, JSON_DECODE_ANY, NULL);
	if (request->body == NULL)
	{
		reply_error(request, 400, "the body is not JSON");
		return;
	}
	if (handler == health)
		key = NULL;
	else if (key == NULL)
		key = "";				/* a bad key */
	for (int left = 3; left > 0; left--)
	{
		request->status = 0;
		request->again = false;
		transaction(request, key, handler);
		if (!request->again)
			break;
	}
}

static enum MHD_Result
send_answer(const Request *request)
{
	char	   *text = request->answer ? json_dumps(request->answer, JSON_ENCODE_ANY) : NULL;
	struct MHD_Response *response =
	MHD_create_response_from_buffer(text ? strlen(text) : 0, text, MHD_RESPMEM_MUST_FREE);
	enum MHD_Result result;

	MHD_add_response_header(response, "Content-Type", "application/json");
	if (request->wait > 0)
	{
		char		wait[32];

		snprintf(wait, sizeof(wait), "%.0f", request->wait);
		MHD_add_response_header(response, "Retry-After", wait);
	}
	result = MHD_queue_response(request->http, request->status, response);
	MHD_destroy_response(response);
	return result;
}

/* Called when there are headers, for each part of the body, and when there are no more. */
static enum MHD_Result
serve(void *context, struct MHD_Connection *http, const char *path, const char *method,
	  const char *version, const char *data, size_t *length, void **state)
{
	Request    *request = *state;

	(void) context;
	(void) version;
	if (request == NULL)
	{
		*state = request = calloc(1, sizeof(Request));
		request->http = http;
		return MHD_YES;
	}
	if (*length > 0)
	{
		request->text = realloc(request->text, request->length + *length);
		memcpy(request->text +request->length, data, *length);
		request->length += *length;
		*length = 0;
		return MHD_YES;
	}
	respond(request, method, path);
	return send_answer(request);
}

static void
ended(void *context, struct MHD_Connection *http, void **state,
	  enum MHD_RequestTerminationCode code)
{
	Request    *request = *state;

	(void) context;
	(void) http;
	(void) code;
	if (request == NULL)
		return;
	json_decref(request->body);
	json_decref(request->answer);
	free(request->text);
	free(request);
}

int
main(void)
{
	const char *port = getenv("PORT");
	struct sockaddr_in address = {.sin_family = AF_INET};
	struct MHD_Daemon *daemon;
	sigset_t	signals;
	int			signal;

	address.sin_port = htons(port ? atoi(port) : 8080);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	daemon = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD, 0, NULL, NULL, serve, NULL,
							  MHD_OPTION_SOCK_ADDR, &address,
							  MHD_OPTION_THREAD_POOL_SIZE, CONNECTIONS,
							  MHD_OPTION_NOTIFY_COMPLETED, ended, NULL, MHD_OPTION_END);
	if (daemon == NULL)
	{
		perror("cannot listen");
		return 1;
	}
	printf("listening on http://127.0.0.1:%d\n",
		   MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT)->port);
	fflush(stdout);
	sigwait(&signals, &signal);
	return 0;
}
