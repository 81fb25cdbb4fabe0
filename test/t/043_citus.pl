# A log-in on a server with Citus reaches the servers that have the rows.  Citus itself is
# no package of the registries: a library stands in that does the same with SET LOCAL, and
# a second server decides.  With Citus, "make citus" tries the same and more.

use strict;
use warnings;
use File::Basename;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Apikey;

my $dir = PostgreSQL::Test::Utils::tempdir;
my $library = "$dir/citus";
my $include = `"$ENV{PG_CONFIG}" --includedir-server`;
chomp $include;
system('gcc', '-O2', '-Wall', '-shared', '-fPIC', '-Isrc', "-I$include", '-o', "$library.so", dirname(__FILE__) . '/citus.c') == 0
  or die 'the library is not built';

my $shows = "log_statement = all\nlog_min_duration_statement = 0\npg_stat_statements.track = all\ncompute_query_id = on\n";
my $node = start_node('coordinator', conf => "shared_preload_libraries = '$library, apikey, pg_stat_statements'\n$shows");
my ($id, $key) = issue($node);
my $other = (issue($node))[1];
$node->safe_psql('postgres', 'SET client_min_messages = error; CREATE ROLE app; CREATE EXTENSION pg_stat_statements');

# the worker has the same keys, and the rows; another database of it has no keys
my $worker = PostgreSQL::Test::Cluster->new('worker');
$worker->init;
$worker->append_conf('postgresql.conf', "shared_preload_libraries = 'apikey, pg_stat_statements'\n$shows");
$worker->start;
$node->command_ok([ 'pg_dump', '-f', "$dir/dump", 'postgres' ], 'dump');
$worker->safe_psql('postgres', 'CREATE ROLE app LOGIN; CREATE DATABASE added');
$worker->command_ok([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', 'postgres', '-f', "$dir/dump" ], 'restore');
$worker->safe_psql('added', 'SET client_min_messages = error; CREATE EXTENSION apikey CASCADE');
foreach my $database ('postgres', 'added')
{
	$worker->safe_psql($database, q{
		SET client_min_messages = error;
		CREATE TABLE doc (project text, environment text, body text);
		INSERT INTO doc VALUES ('web', 'production', 'mine'), ('mars', 'production', 'theirs');
		SELECT apikey_protect('doc', 'project', 'environment');
		GRANT SELECT ON doc TO app});
}

# The rows that such a transaction sees on the worker: Citus begins there with what it keeps
my $ask = sub {
	my ($database) = @_;
	my $connection = $worker->connstr($database) . ' user=app';

	return qq{
		CREATE FUNCTION ask_$database() RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS \$\$
		DECLARE
			rows text;
		BEGIN
			PERFORM dblink_connect('worker', \$c\$$connection\$c\$);
			PERFORM dblink_exec('worker', 'BEGIN;' || citus_sent());
			SELECT string_agg(body, ',') INTO rows FROM dblink('worker', 'SELECT body FROM doc') d (body text);
			PERFORM dblink_disconnect('worker');
			RETURN coalesce(rows, 'none');
		END \$\$;};
};
$node->safe_psql('postgres', q{
	SET client_min_messages = error;
	CREATE EXTENSION dblink;
	CREATE FUNCTION citus_sent() RETURNS text LANGUAGE c AS '} . $library . q{';
	SET allow_system_table_mods = on;
	INSERT INTO pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion)
		VALUES (99999, 'citus', 10, 'pg_catalog'::regnamespace, false, '13.2-1');
} . $ask->('postgres') . $ask->('added'));

sub as_app
{
	my ($sql) = @_;
	my ($status, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nSET ROLE app; $sql", on_error_stop => 0);

	# what went wrong, if anything did
	return $err =~ /ERROR:  (\w+): ([^\n]*)(?:\nDETAIL:  ([^\n]*))?(?:\nHINT:  ([^\n]*))?/
	  ? join(' | ', grep defined, $1, $3) . " # $out" : $out;
}

my $login = "SELECT label FROM apikey_login('$key');";
my $seen = 'SELECT ask_postgres();';

is(as_app("BEGIN; $login $seen COMMIT; BEGIN; $seen COMMIT"), "test\nmine\nnone", 'a log-in reaches the worker, and ends with the transaction');
is( as_app("BEGIN; SHOW citus.propagate_set_commands; $login SHOW citus.propagate_set_commands;
		SET LOCAL work_mem = '1MB'; SELECT replace(citus_sent(), '$key', 'KEY'); COMMIT"),
	"none\ntest\nnone\nSET LOCAL apikey.key = 'KEY';", 'by a statement, and nothing else is sent on');
is( as_app("SET citus.propagate_set_commands = 'local'; BEGIN; $login SHOW citus.propagate_set_commands; $seen COMMIT"),
	"test\nlocal\nmine", 'where everything is sent on, likewise');
is(as_app("BEGIN READ ONLY; $login $seen COMMIT"), "test\nmine", 'READ ONLY');
is(as_app("BEGIN; $login SAVEPOINT s; $seen ROLLBACK TO s; $seen RELEASE s; $seen COMMIT"), "test\nmine\nmine\nmine", 'savepoints afterwards');
is(as_app("BEGIN; $login SELECT apikey_key_id() = '$id'; SELECT apikey_logout(); $seen SELECT apikey_key_id() IS NULL; COMMIT"),
	"test\nt\n\nnone\nt", 'a log-out reaches it, too');
is(as_app("BEGIN; $login SELECT 1 FROM apikey_login('$other'); SELECT apikey_logout(); $login $seen COMMIT"), "test\n1\n\ntest\nmine", 'the last one counts');
is(as_app("BEGIN; SET LOCAL citus.propagate_set_commands = 'local'; SET LOCAL apikey.key = '$key'; $seen COMMIT"), 'mine', 'so does a statement by hand');
is(as_app("BEGIN; SET LOCAL apikey.key = '$key'; $seen COMMIT"), 'none', '... only where it is sent on');
is(as_app("SET apikey.key = '$key'; BEGIN; $seen COMMIT"), 'none', '... and not what is set for the session');

# PostgREST
my $request = sub { qq(SET LOCAL request.headers = '{"x-api-key": "$_[0]"}'; SELECT apikey_pre_request();) };
is(as_app("BEGIN; " . $request->($key) . "$seen COMMIT"), "\nmine", 'a request');
is(as_app("BEGIN; SELECT apikey_pre_request(); $seen COMMIT; SELECT apikey_pre_request(), apikey_logout()"), "\nnone\n|", 'one without a key needs no transaction block');

# in a function, prepared, in the extended protocol
$node->safe_psql('postgres', qq{
	CREATE PROCEDURE serve(key text) LANGUAGE plpgsql AS \$\$ BEGIN PERFORM FROM apikey_login(key); END \$\$;
	CREATE FUNCTION guarded(key text) RETURNS void LANGUAGE plpgsql AS
		\$\$ BEGIN PERFORM FROM apikey_login(key); EXCEPTION WHEN division_by_zero THEN END \$\$;
	CREATE FUNCTION let_out() RETURNS void LANGUAGE plpgsql AS
		\$\$ BEGIN PERFORM apikey_logout(); EXCEPTION WHEN division_by_zero THEN END \$\$});
is(as_app("BEGIN; CALL serve('$key'); $seen COMMIT"), 'mine', 'in a procedure');
is(as_app("BEGIN; DO \$\$ BEGIN PERFORM FROM apikey_login('$key'); END \$\$; $seen COMMIT"), 'mine', 'in DO');
is(as_app("PREPARE p AS SELECT label FROM apikey_login(\$1); BEGIN; EXECUTE p ('$key'); $seen COMMIT; BEGIN; EXECUTE p ('$key'); $seen COMMIT"),
	"test\nmine\ntest\nmine", 'prepared');
append_to_file("$dir/script", "BEGIN;\nSELECT label FROM apikey_login('$key');\nSELECT 1 / (ask_postgres() = 'mine')::int;\nCOMMIT;\n");
$node->command_ok([ 'pgbench', '-n', '-t', '2', '-M', $_, '-f', "$dir/script", $node->connstr('postgres') ], "pgbench -M $_")
  foreach 'extended', 'prepared';
is(as_app("SELECT label FROM apikey_login('$key') \\; $seen"), "test\nmine", 'several statements in one message are a transaction block');

# what would not reach all of them is refused
my $only = '55000 | It does so in a transaction block alone.';
my $forgets = '55000 | What is set in a subtransaction it forgets when that ends.';
is(as_app($login), "$only # ", 'outside of a transaction block');
is(as_app("CALL serve('$key')"), "$only # ", '... in a procedure as well');
is(as_app('RESET ROLE; ' . ($login =~ s/\Q$key\E/rubbish/r)) =~ s/ .*//r, '28000', '... of a bad key one learns nothing');
is(as_app("BEGIN; SAVEPOINT s; $login"), "$forgets # ", 'in a subtransaction');
is(as_app("BEGIN; SELECT guarded('$key')"), "$forgets # ", 'in a block with EXCEPTION');
is(as_app("BEGIN; $login SAVEPOINT s; SELECT apikey_logout()"), "$forgets # test", 'a log-out there');
is(as_app("BEGIN; $login SELECT let_out()"), "$forgets # test", '... likewise');
is(as_app("BEGIN; SET LOCAL citus.select_opens_transaction_block = off; $login"),
	'55000 | "citus.select_opens_transaction_block" is off. # ', 'where queries go without a transaction block');
is(as_app("BEGIN; SELECT 1 FROM apikey_login('rubbish'); ROLLBACK; BEGIN; $seen COMMIT") =~ s/ .*#//r, '28000 none', 'a bad key goes nowhere');

# A worker that was added later has the extension, and no keys
is(as_app("BEGIN; $login SELECT ask_added(); COMMIT"), "test\nnone", 'no rows from a worker without keys');
like(slurp_file($worker->logfile), qr/WARNING:  this database has no API keys\n.*HINT:  [^\n]*subscri/s, 'which warns of it');
is(() = slurp_file($worker->logfile) =~ /WARNING:  this database has no API keys/g, 1, 'once');

# without Citus in this database, or nothing of it but what somebody has set
$node->safe_psql('postgres', q{SET allow_system_table_mods = on; DELETE FROM pg_extension WHERE extname = 'citus'});
is(as_app("BEGIN; SAVEPOINT s; $login RELEASE s; SELECT apikey_key_id() = '$id', citus_sent() = ''; COMMIT"), "test\nt|t", 'not created in this database');
$worker->safe_psql('postgres', q{SET allow_system_table_mods = on; INSERT INTO pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion)
	VALUES (99999, 'citus', 10, 'pg_catalog'::regnamespace, false, '13.2-1')});
is($worker->safe_psql('postgres', "SET citus.propagate_set_commands = 'none'; BEGIN; SAVEPOINT s; $login COMMIT"), 'test', 'not loaded');

# no key where it could be read
foreach ($node, $worker)
{
	my $name = $_->name;
	my $log = slurp_file($_->logfile);

	$_->safe_psql('postgres', 'CREATE EXTENSION IF NOT EXISTS pg_stat_statements');
	unlike($log, qr/\Q$key\E/, "$name: no key in the log");
	like($log, qr/SET LOCAL apikey\.key = '\Q@{[ substr $key, 0, 26 ]}\E_{49}'/, "$name: but its masked form");
	unlike($_->safe_psql('postgres', 'SELECT query FROM pg_stat_statements'), qr/\Q$key\E/, "$name: none in pg_stat_statements");
}

# the other order, which Citus itself refuses, makes no difference
$node->safe_psql('postgres', q{SET allow_system_table_mods = on; INSERT INTO pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion)
	VALUES (99999, 'citus', 10, 'pg_catalog'::regnamespace, false, '13.2-1')});
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'apikey, $library'");
$node->restart;
is(as_app("BEGIN; $login $seen COMMIT; BEGIN; $seen COMMIT"), "test\nmine\nnone", 'behind apikey');
$node->append_conf('postgresql.conf', "shared_preload_libraries = '$library'");
$node->restart;
is(as_app("BEGIN; $login $seen COMMIT; BEGIN; $seen COMMIT"), "test\nmine\nnone", 'apikey not preloaded');
$_->stop foreach $node, $worker;
done_testing();
