// JDBC for drivers.py
import java.io.*;
import java.sql.*;
import java.util.*;
import org.postgresql.util.*;

class Driver {
	static String quote(String text) {
		StringBuilder quoted = new StringBuilder("\"");

		if (text == null)
			return "null";
		for (char c : text.toCharArray())
			quoted.append(c < ' ' || c == '"' || c == '\\' ? String.format("\\u%04x", (int) c) : c);
		return quoted.append('"').toString();
	}

	static String rows(PreparedStatement statement) throws SQLException {
		List<String> rows = new ArrayList<>();
		ResultSet result = statement.execute() ? statement.getResultSet() : null;

		while (result != null && result.next()) {
			List<String> row = new ArrayList<>();

			for (int i = 1; i <= result.getMetaData().getColumnCount(); i++) {
				Object value = result.getObject(i);

				row.add(value instanceof Boolean ? value.toString() :
					quote(value == null ? null : value.toString()));
			}
			rows.add(row.toString());
		}
		return "\"rows\": " + rows;
	}

	static void set(PreparedStatement statement, int i, String field) throws SQLException {
		String value = field.substring(1);

		switch (field.charAt(0)) {
			case 's': statement.setString(i, value); break;
			case 'i': statement.setInt(i, Integer.parseInt(value)); break;
			case 'n': statement.setString(i, null); break;
			default: throw new IllegalArgumentException(field);
		}
	}

	static String answer(Connection connection, String[] fields) {
		List<String> notices = new ArrayList<>();
		String answer;

		try (PreparedStatement statement =
				connection.prepareStatement(fields[0].replaceAll("\\$[0-9]", "?"))) {
			for (int i = 1; i < fields.length; i++)
				set(statement, i, fields[i]);
			answer = rows(statement);
			for (SQLWarning w = statement.getWarnings(); w != null; w = w.getNextWarning())
				notices.add("[" + quote(w.getSQLState()) + ", " + quote(w.getMessage()) + "]");
		} catch (SQLException e) {
			ServerErrorMessage said = ((PSQLException) e).getServerErrorMessage();

			answer = "\"error\": [" + quote(e.getSQLState()) + ", " + quote(said.getMessage()) +
				", " + quote(said.getDetail()) + ", " + quote(said.getRoutine()) + "]";
		}
		return "{" + answer + ", \"notices\": " + notices + "}";
	}

	public static void main(String[] arguments) throws Exception {
		Map<String, String> e = System.getenv();
		BufferedReader in = new BufferedReader(new InputStreamReader(System.in, "UTF-8"));

		try (Connection connection = DriverManager.getConnection(String.format(
				"jdbc:postgresql://%s:%s/%s?user=%s",
				e.get("PGHOST"), e.get("PGPORT"), e.get("PGDATABASE"), e.get("PGUSER")))) {
			for (String line; (line = in.readLine()) != null;)
				System.out.println(answer(connection, line.split("\u001f")));
		}
	}
}
