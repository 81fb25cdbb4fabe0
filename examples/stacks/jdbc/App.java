// A web API on the table of ../../orders.sql, with JDBC.
//
//	apt install default-jdk-headless libpostgresql-jdbc-java libgoogle-gson-java
//	PGHOST=localhost PGPORT=5432 PGDATABASE=orders PGUSER=app PORT=8080 ./start
//
//	curl -H "X-API-Key: $KEY" localhost:8080/orders
//
// README.md beside the directory says what it answers to.

import com.google.gson.*;
import com.sun.net.httpserver.*;
import java.io.*;
import java.net.*;
import java.nio.charset.StandardCharsets;
import java.sql.*;
import java.util.*;
import java.util.concurrent.*;
import java.util.regex.*;
import org.postgresql.util.*;

class App {
	interface Work {
		Answer with(Connection connection) throws SQLException;
	}

	interface Handler {
		Answer answer(Connection connection, Request request) throws SQLException;
	}

	// What was asked: the id in the path, the parameters and the body
	record Request(String id, Map<String, String> query, JsonElement body) {}

	record Answer(int status, JsonElement body, String retryAfter) {
		Answer(int status, JsonElement body) {
			this(status, body, null);
		}

		Answer(int status, String error) {
			this(status, object("error", error), null);
		}
	}

	static class BadRequest extends RuntimeException {
		BadRequest(String message) {
			super(message);
		}
	}

	// Not an SQLException: what is wrong with a connection is not the caller's, whatever its code
	static class NoConnection extends RuntimeException {
		NoConnection(SQLException cause) {
			super("no connection: " + cause.getMessage());
		}
	}

	// Connections that are not in use; those with nothing in them have yet to be made.
	static final BlockingQueue<Optional<Connection>> pool =
		new ArrayBlockingQueue<>(4, false, Collections.nCopies(4, Optional.empty()));

	static Connection connect() {
		Map<String, String> e = System.getenv();
		try {
			Connection connection = DriverManager.getConnection(String.format(
				"jdbc:postgresql://%s:%s/%s?user=%s", e.getOrDefault("PGHOST", "localhost"),
				e.getOrDefault("PGPORT", "5432"), e.get("PGDATABASE"), e.get("PGUSER")));
			connection.setAutoCommit(false);
			return connection;
		} catch (SQLException error) {
			throw new NoConnection(error);
		}
	}

	// Do some work on one connection, in one transaction.
	static Answer transaction(Work work) throws SQLException, InterruptedException {
		Connection connection = pool.take().orElse(null);
		boolean good = false;
		try {
			if (connection == null)
				connection = connect();
			Answer answer = work.with(connection);
			connection.commit();
			good = true;
			return answer;
		} finally {
			if (!good)
				connection = rolledBack(connection);
			pool.add(Optional.ofNullable(connection));
		}
	}

	// The connection, or null if there was none or it is broken.
	static Connection rolledBack(Connection connection) {
		try {
			if (connection != null)
				connection.rollback();
			return connection;
		} catch (SQLException broken) {
			return null;
		}
	}

	// Do it as the bearer of a key.
	static Answer withKey(String key, Work work) throws SQLException, InterruptedException {
		return transaction(connection -> {
			query(connection, "SELECT label FROM apikey_login(?)", key);
			return work.with(connection);
		});
	}

	static JsonArray query(Connection connection, String sql, Object... parameters)
			throws SQLException {
		JsonArray rows = new JsonArray();
		try (PreparedStatement statement = connection.prepareStatement(sql)) {
			for (int i = 0; i < parameters.length; i++)
				statement.setObject(i + 1, parameters[i]);
			ResultSet result = statement.executeQuery();
			while (result.next()) {
				JsonObject row = new JsonObject();
				for (int i = 1; i <= result.getMetaData().getColumnCount(); i++)
					row.add(result.getMetaData().getColumnLabel(i), json(result.getObject(i)));
				rows.add(row);
			}
		}
		return rows;
	}

	static JsonElement json(Object value) {
		if (value == null)
			return JsonNull.INSTANCE;
		if (value instanceof Number number)
			return new JsonPrimitive(number);
		if (value instanceof PGobject object && object.getType().equals("json"))
			return JsonParser.parseString(object.getValue());
		return new JsonPrimitive(value.toString());
	}

	static JsonObject object(String name, String value) {
		JsonObject object = new JsonObject();
		object.addProperty(name, value);
		return object;
	}

	// What the errors of apikey and of its policies mean in HTTP.
	static final Map<String, Integer> statuses =
		Map.of("28000", 401, "42501", 403, "42704", 404, "53400", 429, "53B00", 429);

	// The answer to an error of the database that is the caller's; else null.
	static Answer refusal(SQLException error) {
		ServerErrorMessage said = error instanceof PSQLException e ? e.getServerErrorMessage() : null;
		String code = String.valueOf(error.getSQLState());
		Integer status = code.matches("2[23]...") ? Integer.valueOf(400) : statuses.get(code);

		// a missing GRANT is not the caller's
		if (said == null || status == null || "aclcheck_error".equals(said.getRoutine()))
			return null;
		JsonObject body = object("error", said.getMessage());
		body.addProperty("code", code);
		Matcher wait = Pattern.compile("retry_after=([\\d.]+)")
			.matcher(Objects.requireNonNullElse(said.getDetail(), ""));
		return new Answer(status, body, status == 429 && wait.find()
			? String.valueOf((long) Math.ceil(Double.parseDouble(wait.group(1)))) : null);
	}

	// A member of the body that is text, or else what is given for one that is missing
	static String text(JsonElement body, String name, String missing) {
		JsonElement value = body.isJsonObject() ? body.getAsJsonObject().get(name) : null;
		if (value == null && missing != null)
			return missing;
		if (value instanceof JsonPrimitive primitive && primitive.isString())
			return primitive.getAsString();
		throw new BadRequest("text is missing: " + name);
	}

	static Object[] order(JsonElement body) {
		return new Object[] {text(body, "project", null), text(body, "environment", null),
			text(body, "item", null)};
	}

	static int limit(Request request) {
		String limit = request.query.getOrDefault("limit", "50");
		if (!limit.matches("[1-9][0-9]?|100"))
			throw new BadRequest("the limit is 1 to 100");
		return Integer.parseInt(limit);
	}

	// The answer with a page of the rows, of which there may be one more than the limit
	static Answer page(String name, JsonArray rows, int limit, String... cursor) {
		JsonObject body = new JsonObject();
		body.add(name, rows);
		body.add("next", JsonNull.INSTANCE);
		if (rows.size() > limit) {
			rows.remove(limit);
			JsonObject last = rows.get(limit - 1).getAsJsonObject();
			body.addProperty("next", String.join(",",
				Arrays.stream(cursor).map(column -> last.get(column).getAsString()).toList()));
		}
		return new Answer(200, body);
	}

	// Without a log-in there are no rows.
	static Answer health(Connection connection, Request request) throws SQLException {
		return new Answer(200, query(connection, "SELECT count(*) AS orders FROM orders").get(0));
	}

	static Answer me(Connection connection, Request request) throws SQLException {
		return new Answer(200, query(connection,
			"SELECT organization, label, organization_level FROM apikey_whoami()").get(0));
	}

	// Times are text, which keeps microseconds.
	static Answer readOrders(Connection connection, Request request) throws SQLException {
		int limit = limit(request);
		String[] after = (request.query.getOrDefault("after", "infinity,0") + ", ").split(",");
		return page("orders", query(connection, """
			SELECT id, project, environment, item, created_at::text FROM orders
			WHERE (created_at, id) < (?::timestamptz, ?::int)
			ORDER BY created_at DESC, id DESC LIMIT ?""", after[0], after[1], limit + 1),
			limit, "created_at", "id");
	}

	static final String add =
		"INSERT INTO orders (project, environment, item) VALUES (?, ?, ?) RETURNING id";

	// An order costs one of the key's budget, if it has any.
	static Answer addOrder(Connection connection, Request request) throws SQLException {
		Object[] order = order(request.body);
		query(connection, "SELECT apikey_spend()");
		return new Answer(201, query(connection, add, order).get(0));
	}

	// What is refused is left out: each order has a savepoint.
	static Answer importOrders(Connection connection, Request request) throws SQLException {
		JsonArray results = new JsonArray();
		List<Object[]> orders = new ArrayList<>();
		if (!request.body.isJsonArray())
			throw new BadRequest("a list of orders");
		for (JsonElement entry : request.body.getAsJsonArray())
			orders.add(order(entry));
		for (Object[] order : orders) {
			Savepoint savepoint = connection.setSavepoint();
			try {
				results.add(query(connection, add, order).get(0));
			} catch (SQLException error) {
				Answer refused = refusal(error);
				if (refused == null)
					throw error;
				connection.rollback(savepoint);
				results.add(refused.body);
			}
			connection.releaseSavepoint(savepoint);
		}
		return new Answer(200, results);
	}

	static Answer changeOrder(Connection connection, Request request) throws SQLException {
		JsonArray rows = query(connection, "UPDATE orders SET item = ? WHERE id = ?::int RETURNING id",
			text(request.body, "item", null), request.id);
		return rows.isEmpty() ? new Answer(404, "not found") : new Answer(200, rows.get(0));
	}

	static Answer readKeys(Connection connection, Request request) throws SQLException {
		int limit = limit(request);
		return page("keys", query(connection, """
			SELECT key_id, label, key, status,
				(SELECT coalesce(json_agg(json_build_object('project', project,
					'environment', environment, 'level', level)), '[]')
				FROM apikey_grants AS g WHERE g.key_id = k.key_id) AS grants
			FROM apikey_keys AS k
			WHERE organization = (SELECT organization FROM apikey_whoami()) AND key_id < ?::uuid
			ORDER BY k.key_id DESC LIMIT ?""",
			request.query.getOrDefault("after", "ffffffff-ffff-ffff-ffff-ffffffffffff"), limit + 1),
			limit, "key_id");
	}

	static Answer createKey(Connection connection, Request request) throws SQLException {
		String label = text(request.body, "label", null);
		JsonElement grants = request.body.getAsJsonObject().get("grants");
		return new Answer(201, query(connection, """
			SELECT made.key_id, made.key
			FROM apikey_whoami() AS me, apikey_create(me.organization, ?, ?::jsonb) AS made""",
			label, grants == null ? "[]" : grants.toString()).get(0));
	}

	static Answer rotateKey(Connection connection, Request request) throws SQLException {
		return new Answer(200, query(connection,
			"SELECT key_id, key FROM apikey_rotate(?::uuid, ?::interval)",
			request.id, text(request.body, "overlap", "0")).get(0));
	}

	static Answer revokeKey(Connection connection, Request request) throws SQLException {
		query(connection, "SELECT apikey_revoke(?::uuid)", request.id);
		return new Answer(204, (JsonElement) null);
	}

	static final Map<String, Map<String, Handler>> routes = new LinkedHashMap<>();
	static {
		routes.put("/health()", Map.of("GET", App::health));
		routes.put("/me()", Map.of("GET", App::me));
		routes.put("/orders()", Map.of("GET", App::readOrders, "POST", App::addOrder));
		routes.put("/orders/import()", Map.of("POST", App::importOrders));
		routes.put("/orders/([^/]+)", Map.of("PATCH", App::changeOrder));
		routes.put("/keys()", Map.of("GET", App::readKeys, "POST", App::createKey));
		routes.put("/keys/([^/]+)", Map.of("DELETE", App::revokeKey));
		routes.put("/keys/([^/]+)/rotate", Map.of("POST", App::rotateKey));
	}

	static Map<String, String> parameters(String query) {
		Map<String, String> parameters = new HashMap<>();
		for (String pair : query == null ? new String[0] : query.split("&")) {
			String[] parts = (pair + "=").split("=", 3);
			parameters.put(parts[0], URLDecoder.decode(parts[1], StandardCharsets.UTF_8));
		}
		return parameters;
	}

	static Answer respond(HttpExchange exchange) throws Exception {
		Map<String, Handler> methods = null;
		String id = null;
		for (var route : routes.entrySet()) {
			Matcher path = Pattern.compile(route.getKey()).matcher(exchange.getRequestURI().getPath());
			if (methods == null && path.matches()) {
				methods = route.getValue();
				id = path.group(1);
			}
		}
		if (methods == null)
			return new Answer(404, "not found");
		Handler handler = methods.get(exchange.getRequestMethod());
		if (handler == null)
			return new Answer(405, "method not allowed");
		String text = new String(exchange.getRequestBody().readAllBytes(), StandardCharsets.UTF_8);
		for (int left = 3; ; left--) {
			try {
				Request request = new Request(id, parameters(exchange.getRequestURI().getRawQuery()),
					JsonParser.parseString(text));
				Work work = connection -> handler.answer(connection, request);
				return exchange.getRequestURI().getPath().equals("/health") ? transaction(work)
					: withKey(exchange.getRequestHeaders().getFirst("X-API-Key"), work);
			} catch (BadRequest | IllegalArgumentException error) {
				return new Answer(400, error.getMessage());
			} catch (JsonParseException error) {
				return new Answer(400, "the body is not JSON");
			} catch (SQLException error) {
				if (left > 1 && Set.of("40001", "40P01").contains(String.valueOf(error.getSQLState())))
					continue;
				Answer refused = refusal(error);
				if (refused == null)
					throw error;
				return refused;
			}
		}
	}

	static void serve(HttpExchange exchange) throws IOException {
		Answer answer;
		try {
			answer = respond(exchange);
		} catch (Exception error) {
			System.err.println(error);
			answer = new Answer(500, "internal error");
		}
		byte[] body = answer.body == null ? null
			: answer.body.toString().getBytes(StandardCharsets.UTF_8);
		exchange.getResponseHeaders().set("Content-Type", "application/json");
		if (answer.retryAfter != null)
			exchange.getResponseHeaders().set("Retry-After", answer.retryAfter);
		exchange.sendResponseHeaders(answer.status, body == null ? -1 : body.length);
		if (body != null)
			exchange.getResponseBody().write(body);
		exchange.close();
	}

	public static void main(String[] arguments) throws IOException {
		int port = Integer.parseInt(System.getenv().getOrDefault("PORT", "8080"));
		HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", port), 0);
		server.createContext("/", App::serve);
		server.setExecutor(Executors.newFixedThreadPool(8));
		server.start();
		System.out.println("listening on http://127.0.0.1:" + server.getAddress().getPort());
	}
}
