# No key in the server log, in any of its formats, whatever is logged: each key
# goes one way, and at the end all that was written is searched for pieces of all of
# them.  Then what pg_stat_activity and pg_stat_statements show.
#
# pg_stat_statements and auto_explain are in PostgreSQL's contrib, like pgcrypto,
# without which there is no extension: they are there, or the test fails.

use strict;
use warnings;
use File::Basename;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Apikey;

# what is made at random; the keys are anyway
my $seed = $ENV{APIKEY_SEED} // 20250101;
note "APIKEY_SEED=$seed";
srand $seed;

my $conf = q{
logging_collector = on
log_directory = 'log'
log_filename = 'all.log'
log_rotation_age = 0
log_rotation_size = 0
log_destination = 'stderr,csvlog,jsonlog'
log_statement = all
log_min_duration_statement = 0
log_min_messages = notice
log_min_error_statement = notice
log_parameter_max_length = -1
log_parameter_max_length_on_error = -1
log_error_verbosity = verbose
log_lock_waits = on
auto_explain.log_min_duration = 0
auto_explain.log_analyze = on
auto_explain.log_verbose = on
auto_explain.log_nested_statements = on
pg_stat_statements.track = all
pg_stat_statements.track_planning = on
max_prepared_transactions = 2
restart_after_crash = on
};
my $node = start_node('mask',
	conf => "shared_preload_libraries = 'pg_stat_statements, auto_explain, apikey'\n$conf");
my $quiet = '-c log_statement=none -c log_min_duration_statement=-1 -c auto_explain.log_min_duration=-1';
my @ways;		# [ what, id if it is to be logged, the whole key ]

# A new key, for this way of getting into the log, or for one that is not logged.
sub key_for
{
	my ($what, $unlogged) = @_;
	my $key = (issue($node))[1];

	push @ways, [ $what, $unlogged ? undef : substr($key, 4, 22), $key ];
	return $key;
}

# Run SQL, in which KEY is the key; returns what psql said.
sub way
{
	my ($what, $sql, $key) = @_;
	my ($out, $err);

	$key //= key_for($what);
	$node->psql('postgres', $sql =~ s/KEY/$key/gr, stdout => \$out, stderr => \$err,
		on_error_stop => 0);
	return "$out\n$err";
}

# Run a script by pgbench, :key being a parameter and KEY text.
sub bench
{
	my ($what, $mode, $script, $options) = @_;
	my $key = key_for($what);
	my $file = PostgreSQL::Test::Utils::tempdir() . '/script';

	unlink $file;
	append_to_file($file, $script =~ s/KEY/$key/gr);
	local $ENV{PGOPTIONS} = $options // '';
	IPC::Run::run(
		[
			'pgbench', '-n', '-t', '3', '-M', $mode, '-D', "key=$key", '-f', $file,
			$node->connstr('postgres')
		],
		'>', \my $out, '2>', \my $err);
}

$node->safe_psql('postgres', q{
	CREATE EXTENSION pg_stat_statements;
	CREATE TABLE t (n int UNIQUE, k text UNIQUE, CHECK (k <> '' AND n IS DISTINCT FROM 13));
	CREATE FUNCTION say(text) RETURNS text LANGUAGE plpgsql AS
		$$ BEGIN RAISE NOTICE 'heard %', $1; RETURN $1; END $$;
	CREATE FUNCTION loud(text) RETURNS text LANGUAGE plpgsql PARALLEL SAFE AS
		$$ BEGIN RAISE WARNING 'in parallel %', $1; RETURN $1; END $$;
	CREATE PROCEDURE proc(text) LANGUAGE plpgsql AS
		$$ BEGIN PERFORM say($1); COMMIT; PERFORM 1 / 0; END $$;
	CREATE PROCEDURE pause() LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_lock_shared(1); END $$;
	CREATE TABLE two (n int, v int); INSERT INTO two VALUES (1, 0), (2, 0);
});

# by statement
way('SELECT', "SELECT apikey_authorize('KEY', 'web', 'production', 'read')");
way('SET', "SET apikey.key = 'KEY'");
way('SET LOCAL', "BEGIN; SET LOCAL apikey.key = 'KEY'; SELECT 1 / 0; ROLLBACK");
way('login', "BEGIN; SELECT label FROM apikey_login('KEY'); COMMIT");
way('refused log-in', "SELECT apikey_disable(key_id) FROM apikey_verify('KEY');
	SELECT apikey_login('KEY')");
way('DO', "DO \$\$ BEGIN PERFORM apikey_login('KEY'); PERFORM 1 / 0; END \$\$");
way('several statements in one message', "SELECT 1\\; SELECT 'KEY'\\; SELECT 1 / 0");
way('PREPARE', "PREPARE p AS SELECT 'KEY', 1 / \$1; EXECUTE p (1); EXECUTE p (0)");
way('EXECUTE', "PREPARE p AS SELECT \$1::text, 1 / \$2; EXECUTE p ('KEY', 1); EXECUTE p ('KEY', 0)");
way('cursor', "BEGIN; DECLARE c CURSOR FOR SELECT 'KEY', 1 / n FROM generate_series(1, 0, -1) n; FETCH c; FETCH c");
way('CALL', "CALL proc('KEY')");
way('EXPLAIN', "EXPLAIN (ANALYZE, VERBOSE) SELECT 'KEY' FROM t; EXPLAIN SELECT 'KEY', 1 / 0");
way('CREATE FUNCTION', "CREATE FUNCTION f1() RETURNS text LANGUAGE sql AS \$\$ SELECT 'KEY'::text \$\$; SELECT f1()");
way('SQL function in an error', "CREATE FUNCTION f2() RETURNS int LANGUAGE sql VOLATILE AS \$\$ SELECT 1; SELECT length('KEY') / 0 \$\$; SELECT f2()");
way('VIEW and COMMENT', "CREATE VIEW v AS SELECT 'KEY' AS k; COMMENT ON VIEW v IS 'KEY'; TABLE v");
way('NOTIFY', "LISTEN c; NOTIFY c, 'KEY'; SELECT pg_notify('c', 'KEY')");
way('comment of a statement', "/* for KEY */ SELECT 1; /* KEY */ SELECT 1 / 0");
way('JSON and arrays', q(SELECT '{"key":"KEY"}'::jsonb, '{KEY,"KEY"}'::text[], '{"a":"KEY"'::jsonb));
way('forced parallel worker', "SET force_parallel_mode = on; SET debug_parallel_query = on;
	SELECT loud('KEY')");

# by message, detail, hint, context, internal query
like(way('NOTICE', "SELECT say('KEY')"), qr/heard apk_\w{22}_{49}$/m, 'the client gets the masked message');
way('MESSAGE', "DO \$\$ BEGIN RAISE EXCEPTION 'no KEY'; END \$\$");
way('DETAIL', "SET log_min_error_statement = panic; SET log_statement = none;
	DO \$\$ BEGIN RAISE EXCEPTION 'no' USING DETAIL = 'see ' || 'KEY'; END \$\$");
way('HINT', "SET log_min_error_statement = panic; SET log_statement = none;
	DO \$\$ BEGIN RAISE EXCEPTION 'no' USING HINT = 'use ' || 'KEY'; END \$\$");
way('CONTEXT', "SET log_min_error_statement = panic; SET log_statement = none;
	DO \$\$ BEGIN EXECUTE format('SELECT 1 / length(%L)', 'KEY'); EXECUTE format('SELECT 0 / length(left(%L, 0))', 'KEY'); END \$\$");
way('QUERY', "SET log_min_error_statement = panic; SET log_statement = none;
	DO \$\$ BEGIN EXECUTE format('SELEC %L', 'KEY'); END \$\$");
way('syntax error', "SELEC 'KEY'");
way('unquoted', "SELECT KEY FROM t; TABLE KEY");
way('function that is not there', "SELECT nowhere('KEY', 1)");
way('setting that is not there', "SELECT set_config('apikey.nothing', 'KEY', false); SET work_mem = 'KEY'");
way('input of a type', "SELECT 'KEY'::int; SELECT 'KEY'::uuid");
way('unique violation', "INSERT INTO t VALUES (1, 'KEY'), (2, 'KEY')");
way('check violation', "INSERT INTO t VALUES (13, 'KEY')");
way('COPY', "COPY t FROM STDIN;\n1\tKEY\tx\n\\.\n");
way('COPY, column', "COPY t FROM STDIN;\nKEY\tx\n\\.\n");
way('two in one, with junk', "SELECT 'xKEYKEY', 'KEY9KEY', '-KEY-'::int");
way('event trigger', q{
	CREATE FUNCTION et() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE '%', current_query(); END $$;
	CREATE EVENT TRIGGER et ON ddl_command_end EXECUTE FUNCTION et();
	CREATE TABLE et1 (k text DEFAULT 'KEY'); DROP EVENT TRIGGER et; INSERT INTO et1 DEFAULT VALUES RETURNING k});

# by the extended protocol
foreach my $mode (qw(extended prepared))
{
	bench("$mode, parameter", $mode, "SELECT apikey_authorize(:key, 'web', 'production', 'read');");
	bench("$mode, parameter of an error", $mode, "SELECT apikey_authorize(:key, 'web', 'production', 'nonsense');");
	bench("$mode, parameter of another's error", $mode, "SELECT length(:key) / 0;");
	bench("$mode, parameter that is cut off", $mode, "SELECT length(:key);", '-c log_parameter_max_length=60');
	bench("$mode, parameter that is cut off in an error", $mode, "SELECT length(:key) / 0;",
		'-c log_parameter_max_length_on_error=50');
	bench("$mode, literal", $mode, "SELECT apikey_authorize('KEY', 'web', 'production', 'read');\n");
	bench("$mode, literal of an error", $mode, "SELECT length('KEY') / length(:key) / (length(:key) - length(:key));\n");
	bench("$mode, utility", $mode, "BEGIN;\nSET LOCAL apikey.key = 'KEY';\nSELECT 1;\nCOMMIT;\n");
	bench("$mode, syntax error", $mode, "SELEC 'KEY';\n");
	bench("$mode, memory contexts", $mode, "SELECT 'KEY';\nSELECT pg_log_backend_memory_contexts(pg_backend_pid());\n");
	bench("$mode, DML", $mode, "INSERT INTO t (k) VALUES (:key) ON CONFLICT DO NOTHING;\nUPDATE t SET k = k WHERE k = 'KEY';\n");
}

# of other forms
my $key = key_for('wrong checksum');
substr($key, -1) =~ tr/0-9A-Za-z/1-9A-Za-z0/;
way('', "SELECT 'KEY', apikey_login('KEY'), 1 / 0", $key);
foreach my $prefix ('x', 'my_shop_2', 'a' . 'b' x 31)
{
	my $other = $node->safe_psql('postgres',
		"SELECT key FROM apikey_create('acme', 'prefixed', prefix => '$prefix')");

	push @ways, [ "prefix $prefix", $prefix . '_' . substr($other, 1 + length $prefix, 22), $other ];
	way('', "SELECT 'KEY', apikey_login('KEY'), 1 / 0", $other);
}
# Glued together, with prefixes that end in what may stand before a prefix
foreach my $prefix ('v_2', 'tenant_42', 'apk_')
{
	my @glued = split /\n/, $node->safe_psql('postgres',
		"SELECT key FROM generate_series(1, 3) n, apikey_create('acme', 'glued ' || n, prefix => '$prefix')");

	push @ways, map [ "prefix $prefix, glued", substr($_, 1 + length $prefix, 22), $_ ], @glued;
	way('', "DO \$\$ BEGIN RAISE LOG '%', '" . join("' || '", @glued) . "' || 'x'; END \$\$; SELECT 'KEYx'", join '', @glued);
}
$key = key_for('cut off');
way('', "SELECT 'KEY', 1 / 0", substr $key, 0, 44);
way('', "SELECT 'KEY', 1 / 0", substr $key, 0, 60);
$key = key_for('without its prefix');
way('', "SELECT 'KEY', '[KEY]', 1 / 0", substr $key, 4);
$key = key_for('rotated');
$key = $node->safe_psql('postgres', "SELECT key FROM apikey_verify('$key') v, apikey_rotate(v.key_id)");
push @ways, [ 'rotated, new', substr($key, 4, 22), $key ];
way('', "SELECT 'KEY', 1 / 0", $key);
my $fbk = 'fbk_AbC-' . join '', map { ('0' .. '9', 'a' .. 'z', 'A' .. 'Z', '_')[rand 63] } 1 .. 39;
way('', "SELECT apikey_authorize('KEY', 'web', 'production', 'read'), 'xKEY\\n', 1 / 0", $fbk);
my $live = 'sk_live_' . 'Xy7' x 8;
way('', "SET apikey.mask_prefixes = 'fbk, sk_live'; SELECT 'KEY', 1 / 0", $live);

# What a process says of the other in a deadlock, and of the one that waits.  The
# other is one that is shown as it is.
my @keys = map key_for("deadlock $_"), 1, 2;
my @sessions;
foreach my $options ("$quiet -c deadlock_timeout=1h -c apikey.mask_log=off", '-c deadlock_timeout=10ms')
{
	local $ENV{PGOPTIONS} = $options;
	push @sessions, $node->background_psql('postgres', on_error_stop => 0);
	$sessions[-1]->query_safe("BEGIN; UPDATE two SET v = 1 WHERE n = " . @sessions);
}
$sessions[0]->query_until(qr/waits/, "\\echo waits\nUPDATE two SET v = 1 WHERE n = 2 AND '$keys[0]' <> '';\n");
$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%$keys[0]%'")
  or die 'nobody waits';
$sessions[1]->query_until(qr/waits/, "\\echo waits\nUPDATE two SET v = 1 WHERE n = 1 AND '$keys[1]' <> '';\n");
$node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
  or die 'somebody waits';
$_->quit foreach @sessions;

# pg_stat_activity, of statements that are not logged
my $shown = "SELECT query FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND query LIKE ";
my $holder = $node->background_psql('postgres', on_error_stop => 0);
$holder->query_safe('SELECT pg_advisory_lock(1)');
my $waits = "SELECT count(*) = 1 FROM pg_locks l JOIN pg_stat_activity a USING (pid)
	WHERE locktype = 'advisory' AND NOT granted AND query LIKE ";
my $script = PostgreSQL::Test::Utils::tempdir() . '/activity';
my ($session, @benches);
{
	local $ENV{PGOPTIONS} = $quiet;

	# ... while the statement runs
	$key = key_for('activity, running', 'unlogged');
	$session = $node->background_psql('postgres', on_error_stop => 0);
	$session->query_until(qr/waits/, "\\echo waits\nSELECT 'running $key', pg_advisory_lock_shared(1);\n");
	$node->poll_query_until('postgres', "$waits '%running%'") or die 'nobody waits';
	like($node->safe_psql('postgres', $shown . "'%running%pg_advisory%'"),
		qr/'running apk_\w{22}_{49}'/, 'pg_stat_activity while a statement runs');

	# ... by the extended protocol: by each message anew
	foreach my $mode (qw(extended prepared))
	{
		foreach my $statement ('SELECT pg_advisory_lock_shared(1)', 'CALL pause()', 'INSERT INTO two SELECT 3, 3 FROM pg_advisory_lock_shared(1)')
		{
			my $what = "$mode " . lc substr $statement, 0, 4;

			$key = key_for("activity, $what", 'unlogged');
			unlink $script;
			append_to_file($script, "$statement /* $what $key */;\n");
			push @benches, IPC::Run::start(
				[ 'pgbench', '-n', '-t', '3', '-M', $mode, '-f', $script, $node->connstr('postgres') ],
				'>', \my $bench_out, '2>', \my $bench_err);
			$node->poll_query_until('postgres', "$waits '%$what%'") or die 'nobody waits';
			like($node->safe_psql('postgres', $shown . "'%$what%'"),
				qr/$what apk_\w{22}_{49} /, "the same, $what");
		}
	}
	$holder->query_safe('SELECT pg_advisory_unlock(1)');
	$_->finish foreach @benches;

	# ... and after it
	foreach my $what ("SELECT 'idle KEY';", "SELEC 'idle KEY';", "SELECT 'idle KEY' FROM nowhere;", "SET apikey.key = 'KEY' /* idle */;",
		"/* 'idle KEY' */;")
	{
		$key = key_for("activity after $what", 'unlogged');
		$session->query_until(qr/done/, $what =~ s/KEY/$key/r . "\n\\echo done\n");
		$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE state = 'idle' AND query LIKE '%idle%'")
		  or die 'not idle';
		like($node->safe_psql('postgres', $shown . "'%idle%'"), qr/'[^']*apk_\w{22}_{49}'/, "pg_stat_activity after $what");
	}
	foreach my $mode (qw(extended prepared))
	{
		$key = key_for("activity after -M $mode", 'unlogged');
		unlink $script;
		append_to_file($script, "SELECT '$mode idle $key';\n\\sleep 1000 s\n");
		my $bench = IPC::Run::start(
			[ 'pgbench', '-n', '-t', '1', '-M', $mode, '-f', $script, $node->connstr('postgres') ],
			'>', \my $bench_out, '2>', \my $bench_err);
		$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE state = 'idle' AND query LIKE '%$mode idle%'")
		  or die 'not idle';
		like($node->safe_psql('postgres', $shown . "'%$mode idle%'"), qr/apk_\w{22}_{49}'/, "pg_stat_activity after -M $mode");
		$bench->kill_kill;
	}
}

# ... after an error that is not logged
{
	local $ENV{PGOPTIONS} = "$quiet -c log_min_messages=fatal";
	@sessions = ($node->background_psql('postgres', on_error_stop => 0));
}
foreach my $what ("SELEC 'unlogged KEY';", "SELECT 'unlogged KEY' FROM nowhere;")
{
	$key = key_for("activity after $what", 'unlogged');
	$sessions[0]->query_until(qr/done/, $what =~ s/KEY/$key/r . "\n\\echo done\n");
	like($node->safe_psql('postgres', $shown . "'%unlogged%'"), qr/'unlogged apk_\w{22}_{49}'/, "pg_stat_activity after $what");
}
$_->quit foreach @sessions;

# ... in a parallel worker
$key = key_for('activity, worker', 'unlogged');
{
	local $ENV{PGOPTIONS} = $quiet;
	@sessions = ($node->background_psql('postgres', on_error_stop => 0));
}
$sessions[0]->query('SET force_parallel_mode = on; SET debug_parallel_query = on');
$sessions[0]->query_until(qr/waits/, "\\echo waits\nSELECT 'worker $key', pg_sleep(100000);\n");
$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'parallel worker' AND wait_event = 'PgSleep'")
  or die 'no worker';
is($node->safe_psql('postgres', $shown . "'%pg_sleep%' AND query ~ 'apk_\\w{22}_{49}'") =~ tr/\n//, 1, 'pg_stat_activity of a parallel worker and its leader');
$node->safe_psql('postgres', "SELECT pg_cancel_backend(leader_pid) FROM pg_stat_activity WHERE backend_type = 'parallel worker'");
$_->quit foreach @sessions;

# ... when a message has nothing but a comment, which psql does not send
sub message
{
	my ($type, $body) = @_;

	return $type . pack('N', 4 + length $body) . $body;
}
{
	my $user = $node->safe_psql('postgres', 'SELECT current_user');
	my $socket = $node->raw_connect;
	my $start = pack('N', 196608) . "user\0$user\0database\0postgres\0options\0$quiet\0\0";
	my $answer = '';

	# up to ReadyForQuery, in the state given
	my $ready = sub {
		my ($state) = @_;
		until ($answer =~ /Z\x00\x00\x00\x05$state\z/)
		{
			sysread($socket, $answer, 65536, length $answer) or die 'the server has gone';
		}
		$answer = '';
	};
	my $send = sub { syswrite $socket, join '', @_ };
	my $extended = sub {
		my ($sql) = @_;
		$send->(message('P', "\0$sql\0\0\0"), message('B', "\0\0\0\0\0\0\0\0"), message('E', "\0\0\0\0\0"), message('S', ''));
	};

	$send->(pack('N', 4 + length $start) . $start);
	$ready->('I');
	my %send = (simple => sub { $send->(message('Q', "$_[0]\0")) }, extended => $extended);
	foreach my $protocol ('simple', 'extended')
	{
		$key = key_for("activity, comment, $protocol", 'unlogged');
		$send{$protocol}->("/* comment $key */;");
		$ready->('I');
		like($node->safe_psql('postgres', $shown . "'%comment%'"), qr/comment apk_\w{22}_{49} /, "pg_stat_activity after a comment, $protocol protocol");
	}

	# within a transaction nothing of ours runs until the next message
	$send->(message('Q', "BEGIN\0"));
	$ready->('T');
	foreach my $protocol ('simple', 'extended')
	{
		$key = key_for("activity, comment in a transaction, $protocol", 'unlogged');
		$send{$protocol}->("/* comment $key */");
		$ready->('T');
		is($node->safe_psql('postgres', $shown . "'%comment%'"), "/* comment $key */", "within a transaction it stays, $protocol protocol");
	}
	$send->(message('Q', "ROLLBACK\0"));
	$ready->('I');
	is($node->safe_psql('postgres', $shown . "'%comment%'"), '', 'until the next message');

	# Rows that are fetched in parts: by each message anew
	$send->(message('Q', "BEGIN\0"));
	$ready->('T');
	$key = key_for('activity, fetch', 'unlogged');
	$send->(message('P', "\0SELECT 'fetch $key' FROM generate_series(1, 9)\0\0\0"), message('B', "\0\0\0\0\0\0\0\0"),
		message('E', "\0\0\0\0\2"), message('S', ''));
	$ready->('T');
	$send->(message('E', "\0\0\0\0\2"), message('S', ''));
	$ready->('T');
	like($node->safe_psql('postgres', $shown . "'%fetch%'"), qr/'fetch apk_\w{22}_{49}'/, 'pg_stat_activity after fetching more rows');
	close $socket;
}

# ... while parse analysis waits for a lock: from the message about it on
$holder->query_safe('BEGIN; LOCK TABLE two');
$key = key_for('activity, lock');
{
	local $ENV{PGOPTIONS} = "$quiet -c deadlock_timeout=100ms";
	@sessions = ($node->background_psql('postgres', on_error_stop => 0));
}
$sessions[0]->query_until(qr/waits/, "\\echo waits\nSELECT 'locked $key' FROM two;\n");
ok( $node->poll_query_until('postgres', "$shown '%FROM two;'",
		"SELECT 'locked " . substr($key, 0, 26) . '_' x 49 . "' FROM two;"),
	'pg_stat_activity while it waits for a lock');
$holder->query_safe('ROLLBACK');
$_->quit foreach $holder, @sessions;

# what is shown in the session itself
$key = key_for('pg_prepared_statements, pg_cursors');
like(way('', "PREPARE p AS SELECT 'KEY'; DECLARE c CURSOR WITH HOLD FOR SELECT 'KEY';
	SELECT statement FROM pg_prepared_statements UNION SELECT statement FROM pg_cursors", $key),
	qr/^(?:.*apk_\w{22}_{49}.*\n){2}/m, 'pg_prepared_statements and pg_cursors of SQL');
$session->quit;

# pg_stat_statements.  After a reset it sees prepared statements as they are planned
# and executed, without their constants taken out.
my $texts = 'SELECT query FROM pg_stat_statements';
my $statements = '';
foreach my $script ("SELECT 'executed KEY'", "SELECT 'planned KEY', length(:key)")
{
	bench("pg_stat_statements, $script", 'prepared', "SELECT pg_stat_statements_reset() IS NULL;\n$script;\n");
	$statements .= $node->safe_psql('postgres', $texts) . "\n";
}
way('pg_stat_statements', "SET LOCAL apikey.key = 'KEY'; SELECT 'once KEY' AS \"KEY\"; CALL proc('KEY');
	DO \$\$ BEGIN EXECUTE 'SET LOCAL apikey.key = ''KEY'''; PERFORM 'KEY'; END \$\$;
	EXPLAIN SELECT 'KEY'; CREATE FUNCTION f3() RETURNS text LANGUAGE sql RETURN 'KEY'; SELECT f3();
	SELECT 1\\; SET LOCAL apikey.key = 'KEY'\\; SELECT 2; PREPARE p AS SELECT 'KEY'; EXECUTE p;
	CREATE RULE r AS ON INSERT TO two WHERE new.n = 99 DO ALSO SELECT 'KEY'");
my $mask = substr($ways[-1][2], 0, 26) . '_' x 49;
$statements .= $node->safe_psql('postgres', $texts) . "\n";
like($statements, qr/^SET LOCAL apikey\.key = (?:'\Q$mask\E'|\$1)$/m, 'pg_stat_statements has the SET, masked');
like($statements, qr/SELECT '$_ apk_\w{22}_{49}'/, "and what it sees after a reset: $_") foreach qw(executed planned);
like($statements, qr/CREATE FUNCTION f3\(\) RETURNS text LANGUAGE sql RETURN '\Q$mask\E'/, 'and DDL');
is($node->safe_psql('postgres', 'SELECT f3()'), $ways[-1][2], 'which does what it did');
like($node->safe_psql('postgres', "SELECT pg_get_ruledef(oid) FROM pg_rewrite WHERE rulename = 'r'"),
	qr/\Q$ways[-1][2]\E/, 'rules too');

# positions of errors are those of the client's text
like(way('position', "SELECT 'KEY' AS \"é\", nothing"), qr/nothing[^\n]*\n +\^/, 'an error has its position');

# Who may switch it
my $role = way('', q(CREATE ROLE plain; SET ROLE plain; SET apikey.mask_log = off; SET apikey.mask_prefixes = ''; SHOW apikey.mask_log), 'x');
like($role, qr/permission denied to set parameter "apikey.mask_log".*permission denied to set parameter "apikey.mask_prefixes"/s, 'only superusers may switch it off');
like($role, qr/^on$/m, 'it stays on');
foreach my $bad ('fbk,', 'a b', 'fbk_', '_fbk', 'f__bk', 'f-_bk', 'é', ',', 'x' x 33)
{
	like(way('', "SET apikey.mask_prefixes = '$bad'", 'x'), qr/invalid value for parameter "apikey.mask_prefixes"/, "no list of prefixes: $bad");
}

# The rule itself, against another implementation, on pieces thrown together.
sub masked
{
	my ($text) = @_;

	$text =~ s{(fbk|sk_live)_(?!_{9})([\w-]+)}{
		my ($prefix, $rest) = ($1, $2);
		$rest =~ tr/0-9A-Za-z/_/ if ($rest =~ tr/0-9A-Za-z//) >= 16;
		"${prefix}_$rest"}gea;
	while ($text =~ /(?<![0-9A-Za-z])([0-9A-Za-z]{16,})(?![0-9A-Za-z])/g)
	{
		my ($begin, $run, $len, $keep) = ($-[1], $1, length $1, 22);
		my $before = substr $text, 0, $begin;
		my $prefixed = $before =~ /_\z/;

		pos($text) = $begin + $len;
		if ($before =~ /\.\.\.\z/) { $keep = 0 }
		elsif ($prefixed ? $len < 32 : $len != 71) { next }
		elsif ($run !~ /[^0-9a-fA-FxX]/ && !($prefixed && $len == 71)) { next }
		substr($text, $begin + $keep, $len - $keep) = '_' x ($len - $keep);
		pos($text) = $begin + $len;
	}
	return $text;
}

my $random = sub { join '', map { ('0' .. '9', 'A' .. 'Z', 'a' .. 'z')[rand 62] } 1 .. $_[0] };
my @pieces = (
	sub { 'apk_' . $random->(71) }, sub { 'apk_' }, sub { 'fbk_' }, sub { 'sk_live_' }, sub { '_' }, sub { ' ' },
	sub { $random->(1 + rand 3) }, sub { $random->(15 + rand 3) }, sub { $random->(38 + rand 4) },
	sub { $random->(70 + rand 3) }, sub { 'fbk_' . $random->(8 + rand 16) }, sub { '-' }, sub { 'Ab_' }, sub { "\x{e9}" },
	sub { 'a' . '_' x 31 }, sub { '_' x 32 }, sub { join '', map { (0 .. 9, 'a' .. 'f')[rand 16] } 1 .. 40 + rand 32 },
	sub { '"' }, sub { '...' }, sub { $random->(30 + rand 4) }, sub { 'x9_' }, sub { '9_' },
	sub { ('v_2_', 'tenant_42_', 'apk__')[rand 3] . $random->(71) }, sub { 'apk_' . $random->(19) . 'fbk' . $random->(49) });
my @texts = (
	'', 'apk_' . 'a' x 71, 'apk_' . '0' x 71, 'apk_' . '0' x 64, 'a' x 71, 'a' x 70, 'g' x 71, 'g' x 70, 'g' x 72,
	'apk_' . 'g' x 31, 'apk_' . 'g' x 32, '...' . 'g' x 15, '...' . 'g' x 16, '..' . 'g' x 31, 'APK_' . 'g' x 70, 'APK_' . 'g' x 71, 'fbk_' . 'g' x 15, 'fbk_' . 'g' x 16,
	'_' . 'g' x 50, '0_' . 'g' x 50, 'a0_' . 'g' x 50, "\x{e9}apk_" . 'g' x 71 . "\x{e9}", "apk_" . 'g' x 71 . 'apk_' . 'g' x 75,
	'a' . '0' x 31 . '_' . 'g' x 50, 'a' . '0' x 32 . '_' . 'g' x 50);
push @texts, join '', map $pieces[rand @pieces]->(), 1 .. 1 + rand 9 foreach 1 .. 3000;
# what is masked stays as it is
push @texts, map masked($_), @texts;
my $copy = join '', map "$_\t$texts[$_]\n", 0 .. $#texts;
utf8::encode($copy);
{
	local $ENV{PGOPTIONS} = $quiet;
	# COPY takes backslashes and tabs, of which there are none
	$node->safe_psql('postgres', "SET client_encoding = 'UTF8'; CREATE TABLE texts (n int, content text);
COPY texts FROM STDIN;\n$copy\\.\n
SET apikey.mask_prefixes = 'fbk, sk_live'; SET log_error_verbosity = terse;
DO \$\$ DECLARE r record; BEGIN FOR r IN SELECT * FROM texts ORDER BY n LOOP RAISE LOG 'text % [%]', r.n, r.content; END LOOP; END \$\$");
}

# With mask_log off it is all there.  This key is not searched for.
my $open = (issue($node))[1];
way('', "SET apikey.mask_log = off; SELECT 'KEY'; SELECT 'KEY' / 0; SET apikey.key = 'KEY'", $open);

# A process that is killed, with what it did to be told by the postmaster
@benches = ();
$key = key_for('kill -9');
{
	local $ENV{PGOPTIONS} = "$quiet -c apikey.mask_log=off -c log_min_error_statement=panic";
	$session = $node->background_psql('postgres', on_error_stop => 0);
	$session->query_safe('SELECT pg_advisory_lock(1)');
	@sessions = ($node->background_psql('postgres', on_error_stop => 0));
	$sessions[0]->query_until(qr/waits/, "\\echo waits\nSELECT 'killed $key', pg_advisory_lock(1);\n");
}
$node->poll_query_until('postgres', $shown . "'%killed%$key%' AND wait_event_type = 'Lock'", "SELECT 'killed $key', pg_advisory_lock(1);")
  or die 'nobody waits';
like($node->safe_psql('postgres', $texts), qr/SET apikey\.key = (?:'\Q$open\E'|\$1)/, 'mask_log = off: pg_stat_statements has the key');
my $pid = $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE query LIKE '%killed%' AND pid <> pg_backend_pid()");
my $started = $node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()');
kill 9, $pid;
my $dir = $node->data_dir . '/log';
foreach (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
{
	last if slurp_file("$dir/all.log") =~ /Failed process was running/;
	select undef, undef, undef, 0.1;
}
# both are gone
eval { $_->{run}->finish } foreach $session, @sessions;
$node->poll_query_until('postgres', 'SELECT true') or die 'the server does not come back';

# The end: nothing is in the pipe of the collector any more
$node->stop;
my %log = map { $_ => slurp_file("$dir/all.$_") } qw(log csv json);

foreach my $format (sort keys %log)
{
	ok($log{$format} =~ qr/\Q$open\E/, "$format: with mask_log = off there are keys");
	foreach (grep defined $_->[1], @ways)
	{
		my ($what, $id) = @$_;

		# identifiers come in lower case
		ok($log{$format} =~ qr/(?i)\Q$id\E_{4,}/, "$format: $what");
	}
}
# where it stands
ok($log{log} =~ qr/$_/m, "the log has $_") foreach (
	'LOG:  00000: statement: .*apk_\w{22}_{49}', 'LOG:  00000: duration: .*plan:\n\tQuery Text: .*apk_\w{22}_{49}',
	'DETAIL:  see apk_\w{22}_{49}', 'DETAIL:  [Pp]arameters: \$1 = \'apk_\w{22}_{49}\'',
	'DETAIL:  [Pp]arameters: \$1 = \'apk_\w{22}_{34}\.\.\.\'',
	'(?:with parameters|Parameters): \$1 = \'apk_\w{22}_{24}\.\.\.\'', 'DETAIL:  Process \d+ waits[^\0]*?\tProcess \d+: UPDATE .*apk_\w{22}_{49}',
	'HINT:  use apk_\w{22}_{49}', 'QUERY:  SELEC \'apk_\w{22}_{49}\'', 'CONTEXT:  SQL statement .*apk_\w{22}_{49}',
	'CONTEXT:  COPY t, line 1, column n: "apk_\w{22}_{49}"', 'STATEMENT:  SELEC \'apk_\w{22}_{49}\'',
	'DETAIL:  Failed process was running: .*apk_\w{22}_{49}', 'Failing row contains .*apk_\w{22}_{37,38}',
	'still waiting for AccessShareLock', 'CachedPlanSource: .*apk_', 'duration: .*ms  bind', 'in parallel apk_\w{22}_{49}', 'sk_live_{25}');
ok($log{log} =~ qr/'fbk____-[_-]{39}'/, 'the log has a masked key of another system');

my %logged = $log{log} =~ /LOG:  text (\d+) \[(.*)\]$/mg;
my @wrong = grep { my $want = masked($texts[$_]); utf8::encode($want); ($logged{$_} // '') ne $want } 0 .. $#texts;
is(scalar @wrong, 0, 'the rule, on ' . @texts . ' texts, half of them masked before');
is(scalar(grep { masked($_) ne $_ } @texts[@texts / 2 .. $#texts]), 0, 'masking twice is masking once');
diag("[$texts[$_]]\n[$logged{$_}]\n[" . masked($texts[$_]) . ']') foreach grep defined, @wrong[0 .. 2];

# Every piece of 20 characters of every secret, in any case of letters, in all that
# was written.
my %pieces;
foreach (@ways)
{
	my ($what, undef, $secret) = @$_;

	$secret = lc substr $secret, -49;
	$pieces{ substr $secret, $_, 20 } = $what foreach 0 .. 29;
}
my $text = lc substr $live, 8;
$pieces{ substr $text, 0, 20 } = 'sk_live';
$pieces{ lc substr $fbk, -35, 20 } = 'fbk';
my %written = ('pg_stat_statements' => $statements, map { basename($_) => slurp_file($_) } glob("$dir/*"), $node->logfile);
foreach my $where (sort keys %written)
{
	my %found;
	my $written = lc $written{$where};

	while ($written =~ /(?<![0-9a-z])[0-9a-z_-]{20,}/g)
	{
		my $run = $&;

		foreach (0 .. length($run) - 20)
		{
			my $what = $pieces{ substr $run, $_, 20 };

			$found{$what} = 1 if defined $what;
		}
	}
	is(join(', ', sort keys %found), '', "no secret in $where");
}
cmp_ok(scalar(keys %pieces), '>', 30 * 50, 'which were many');

# The other order
my $other = start_node('order', conf => q{
shared_preload_libraries = 'apikey, pg_stat_statements'
});
my $set = (issue($other))[1];
$other->safe_psql('postgres', "CREATE EXTENSION pg_stat_statements; SET apikey.key = '$set'; SELECT '$set' AS \"$set\"");
$statements = $other->safe_psql('postgres', $texts);
like($statements, qr/^SELECT \$1 AS "apk_\w{22}_{49}"$/m, 'in the other order pg_stat_statements shows no key in queries');
like($statements, qr/^SET apikey\.key = (?:'apk_\w{22}_{49}'|\$1)$/m, 'nor in utility statements');
$other->stop;

done_testing();
