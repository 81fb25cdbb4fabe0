<?php
// A web API on the table of ../../orders.sql, with PDO.
//
//	apt install php-cli php-pgsql
//	PGDATABASE=orders PGUSER=app php -S localhost:8080 app.php
//
//	curl -H "X-API-Key: $KEY" localhost:8080/orders
//
// README.md beside the directory says what it answers to.
declare(strict_types=1);

// Without prepared statements on the server, for these would not outlive the request;
// parameters are sent apart from the statement all the same.
function connect(): PDO
{
	return new PDO('pgsql:', null, null, [
		PDO::ATTR_PERSISTENT => true,
		PDO::PGSQL_ATTR_DISABLE_PREPARES => true,
		PDO::ATTR_DEFAULT_FETCH_MODE => PDO::FETCH_ASSOC,
	]);
}

// Do some work in one transaction.
function transaction(callable $work): array
{
	$db = connect();
	$db->beginTransaction();
	try {
		$answer = $work($db);
		$db->commit();
		return $answer;
	} catch (Throwable $error) {
		try {
			$db->rollBack();
		} catch (PDOException) {  // the connection is broken
		}
		throw $error;
	}
}

// Do it as the bearer of a key, which no stack trace has.
function withKey(#[SensitiveParameter] ?string $key, callable $work): array
{
	return transaction(function (PDO $db) use ($key, $work) {
		$login = $db->prepare('SELECT label FROM apikey_login(?)');
		$login->bindValue(1, $key);
		$login->execute();
		return $work($db);
	});
}

class BadRequest extends Exception {}

function query(PDO $db, string $sql, mixed ...$parameters): array
{
	// libpq would end the text there
	if (str_contains(implode('', $parameters), "\0"))
		throw new BadRequest('a text has a zero byte');
	$statement = $db->prepare($sql);
	$statement->execute($parameters);
	return $statement->fetchAll();
}

// What the errors of apikey and of its policies mean in HTTP.
const STATUS = ['28000' => 401, '42501' => 403, '42704' => 404, '53400' => 429, '53B00' => 429];

// Status, body and headers for an error of the database that is the caller's; else null.
function refusal(PDOException $error): ?array
{
	[$code, , $text] = $error->errorInfo + ['', 0, ''];
	$status = STATUS[$code] ?? (preg_match('/^2[23]/', $code) ? 400 : null);
	$message = preg_replace('/^\w+:  (.*)[\s\S]*/', '$1', $text);

	// a missing GRANT is not the caller's; PDO has nothing else to know it by
	if (!$status || str_starts_with($message, 'permission denied for'))
		return null;
	$wait = preg_match('/retry_after=([\d.]+)/', $text, $found) && $status == 429;
	return [$status, ['error' => $message, 'code' => $code],
		$wait ? ['Retry-After' => ceil((float) $found[1])] : []];
}

function orderOf(mixed $body): array
{
	$order = array_map(fn($name) => $body->$name ?? null, ['project', 'environment', 'item']);
	if (array_filter($order, 'is_string') !== $order)
		throw new BadRequest('an order has a project, an environment and an item');
	return $order;
}

// Where the page begins, and how long it is.
function pageOf(string $last): array
{
	$limit = $_GET['limit'] ?? '50';
	$after = $_GET['after'] ?? $last;
	if (!is_string($limit) || !preg_match('/^([1-9]\d?|100)$/D', $limit) || !is_string($after))
		throw new BadRequest('the limit is 1 to 100');
	return [$after, (int) $limit];
}

function page(string $name, array $rows, int $limit, callable $cursor): array
{
	return [200, [$name => array_slice($rows, 0, $limit),
		'next' => count($rows) > $limit ? $cursor($rows[$limit - 1]) : null]];
}

// Without a log-in there are no rows.
function health(PDO $db): array
{
	return [200, query($db, 'SELECT count(*) AS orders FROM orders')[0]];
}

function me(PDO $db): array
{
	return [200,
		query($db, 'SELECT organization, label, organization_level FROM apikey_whoami()')[0]];
}

// Times are text, which keeps microseconds.
function readOrders(PDO $db): array
{
	[$after, $limit] = pageOf('infinity,0');
	[$time, $id] = explode(',', "$after,");
	$rows = query($db, '
		SELECT id, project, environment, item, created_at FROM orders
		WHERE (created_at, id) < (?::timestamptz, ?::int)
		ORDER BY created_at DESC, id DESC LIMIT ?', $time, $id, $limit + 1);
	return page('orders', $rows, $limit, fn($row) => "$row[created_at],$row[id]");
}

const ADD = 'INSERT INTO orders (project, environment, item) VALUES (?, ?, ?) RETURNING id';

// An order costs one of the key's budget, if it has any.
function addOrder(PDO $db, mixed $body): array
{
	$order = orderOf($body);
	query($db, 'SELECT apikey_spend()');
	return [201, query($db, ADD, ...$order)[0]];
}

// What is refused is left out: each order has a savepoint.
function importOrders(PDO $db, mixed $body): array
{
	if (!is_array($body))
		throw new BadRequest('a list of orders');
	$results = [];
	foreach (array_map('orderOf', $body) as $order) {
		$db->exec('SAVEPOINT entry');
		try {
			$results[] = query($db, ADD, ...$order)[0];
		} catch (PDOException $error) {
			[, $refused] = refusal($error) ?? throw $error;
			$db->exec('ROLLBACK TO SAVEPOINT entry');
			$results[] = $refused;
		}
		$db->exec('RELEASE SAVEPOINT entry');
	}
	return [200, $results];
}

function changeOrder(PDO $db, mixed $body, string $id): array
{
	if (!is_string($body->item ?? null))
		throw new BadRequest('the item');
	$rows = query($db, 'UPDATE orders SET item = ? WHERE id = ?::int RETURNING id',
		$body->item, $id);
	return $rows ? [200, $rows[0]] : [404, ['error' => 'not found']];
}

function readKeys(PDO $db): array
{
	[$after, $limit] = pageOf('ffffffff-ffff-ffff-ffff-ffffffffffff');
	$rows = query($db, "
		SELECT key_id, label, key, status,
			(SELECT coalesce(json_agg(json_build_object('project', project,
				'environment', environment, 'level', level)), '[]')
			FROM apikey_grants AS g WHERE g.key_id = k.key_id) AS grants
		FROM apikey_keys AS k
		WHERE organization = (SELECT organization FROM apikey_whoami()) AND key_id < ?::uuid
		ORDER BY k.key_id DESC LIMIT ?", $after, $limit + 1);
	foreach ($rows as &$row)
		$row['grants'] = json_decode($row['grants']);
	return page('keys', $rows, $limit, fn($row) => $row['key_id']);
}

function createKey(PDO $db, mixed $body): array
{
	if (!is_string($body->label ?? null))
		throw new BadRequest('a label and grants');
	return [201, query($db, '
		SELECT made.key_id, made.key
		FROM apikey_whoami() AS me, apikey_create(me.organization, ?, ?::jsonb) AS made',
		$body->label, json_encode($body->grants ?? []))[0]];
}

function rotateKey(PDO $db, mixed $body, string $id): array
{
	$overlap = $body->overlap ?? '0';
	if (!is_string($overlap))
		throw new BadRequest('the overlap');
	return [200, query($db, 'SELECT key_id, key FROM apikey_rotate(?::uuid, ?::interval)',
		$id, $overlap)[0]];
}

function revokeKey(PDO $db, mixed $body, string $id): array
{
	query($db, 'SELECT apikey_revoke(?::uuid)', $id);
	return [204, null];
}

const ROUTES = [
	'/health' => ['GET' => 'health'],
	'/me' => ['GET' => 'me'],
	'/orders' => ['GET' => 'readOrders', 'POST' => 'addOrder'],
	'/orders/import' => ['POST' => 'importOrders'],
	'/orders/([^/]+)' => ['PATCH' => 'changeOrder'],
	'/keys' => ['GET' => 'readKeys', 'POST' => 'createKey'],
	'/keys/([^/]+)' => ['DELETE' => 'revokeKey'],
	'/keys/([^/]+)/rotate' => ['POST' => 'rotateKey'],
];

// Status and body of the answer, and headers if there are any.
function respond(string $method, string $path): array
{
	foreach (ROUTES as $pattern => $methods)
		if (preg_match("#^$pattern$#D", $path, $found))
			break;
	if (!$found)
		return [404, ['error' => 'not found']];
	$handler = $methods[$method] ?? null;
	if (!$handler)
		return [405, ['error' => 'method not allowed']];
	$text = file_get_contents('php://input');
	for ($left = 3; ; $left--)
		try {
			$body = json_decode($text ?: 'null', flags: JSON_THROW_ON_ERROR);
			return $handler == 'health' ? transaction($handler)
				: withKey($_SERVER['HTTP_X_API_KEY'] ?? null,
					fn($db) => $handler($db, $body, rawurldecode($found[1] ?? '')));
		} catch (BadRequest $error) {
			return [400, ['error' => $error->getMessage()]];
		} catch (JsonException) {
			return [400, ['error' => 'the body is not JSON']];
		} catch (PDOException $error) {
			if ($left > 1 && in_array($error->getCode(), ['40001', '40P01']))
				continue;
			return refusal($error) ?? throw $error;
		}
}

try {
	[$status, $body, $headers] =
		respond($_SERVER['REQUEST_METHOD'], parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH) ?: '')
		+ [2 => []];
} catch (Throwable $error) {
	error_log($error->getMessage());
	[$status, $body, $headers] = [500, ['error' => 'internal error'], []];
}
http_response_code($status);
header('Content-Type: application/json');
foreach ($headers as $name => $value)
	header("$name: $value");
if ($body !== null)
	echo json_encode($body, JSON_THROW_ON_ERROR);
