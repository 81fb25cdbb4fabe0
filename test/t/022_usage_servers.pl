# What is counted of the use of keys outlives stops, and workers that are killed; a
# crash loses what was not written yet, and nothing is written twice.  Databases and
# extensions come and go meanwhile.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Apikey qw(:DEFAULT set flush);

my $node = start_node('usage_servers', conf => "shared_preload_libraries = 'apikey'\n"
	  . "apikey.flush_interval = 3600\nlog_min_messages = debug1\nmax_worker_processes = 16\nrestart_after_crash = on\n");
my $file = $node->data_dir . '/pg_stat/apikey.stat';
my ($id, $key) = issue($node);

# Use a key that often.
sub use_it
{
	my ($times, $database, $that) = @_;

	$that //= $key;
	$node->safe_psql($database // 'postgres', "SELECT apikey_authorize('$that', 'web', 'production', 'read');" x $times);
}

# How often it was used, by all that is known, by hour, and by the table.
sub uses
{
	my ($database, $that) = @_;

	$that //= $id;
	return $node->safe_psql($database // 'postgres', "SELECT u.uses, sum(h.uses), t.uses FROM apikey_usage u
		LEFT JOIN apikey_usage_hours h USING (key_id) LEFT JOIN apikey_use t USING (key_id)
		WHERE key_id = '$that' GROUP BY 1, 3");
}

sub restart
{
	my ($mode) = @_;

	$node->stop($mode);
	$node->start;
}

# ------------------------------------------------------------------ stops

# The launcher has hardly heard of it.
use_it(3);
is(uses(), '3|3|', 'three uses');
$node->stop('fast');
my $kept = -e $file;
$node->start;
ok(!-e $file, 'no file is left once the server has started');
is(uses(), $kept ? '3|3|' : '3|3|3', 'a fast stop right after: all are there (' . ($kept ? 'from the file' : 'in the table') . ')');
$node->poll_query_until('postgres', 'SELECT pending <= 1 FROM apikey_usage_stats()');
flush($node);
is(uses(), '3|3|3', 'written down');

# A worker waits for its time.
foreach my $mode ('fast', 'smart')
{
	my $from = -s $node->logfile;
	my ($before) = split /\|/, uses();

	use_it(2);
	$node->wait_for_log(qr/starting background worker process "apikey flush of database/, $from);
	$node->stop($mode);
	ok(!-e $file, "$mode stop: nothing has to be kept");
	$node->start;
	$before += 2;
	is(uses(), "$before|$before|$before", "$mode stop: all are in the table");
}

# Nothing is used, nothing is kept.
restart('fast');
is(uses(), '7|7|7', 'stopped again');

# ---------------------------------------------------------------- crashes

use_it(2);
flush($node);
use_it(5);
is(uses(), '14|14|9', 'two are written, five are not');
restart('immediate');
ok(!-e $file, 'an immediate stop keeps nothing');
is(uses(), '9|9|9', 'an immediate stop loses what was not written');

use_it(1);
flush($node);
use_it(5);
my $victim = $node->background_psql('postgres', on_error_stop => 1);
my $pid = $victim->query_safe('SELECT pg_backend_pid();');
my $from = -s $node->logfile;
kill 'KILL', $pid;
$node->wait_for_log(qr/reinitializing.*ready to accept connections/s, $from);
$victim->{run}->kill_kill;
is(uses(), '10|10|10', 'so does a backend that is killed');
use_it(1);
flush($node);
is(uses(), '11|11|11', 'and counting goes on');

# ---------------------------------------------------------------- workers

my $workers = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'apikey flush'";
my $launcher = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'apikey launcher'";
my $lock = $node->background_psql('postgres', on_error_stop => 1);
$lock->query_safe('BEGIN; LOCK TABLE apikey_use IN SHARE MODE;');
set($node, 'apikey.flush_interval' => 1);
use_it(2);
$node->poll_query_until('postgres', "$workers", 1) or die 'no worker';
my $first = $node->safe_psql('postgres', $launcher);
is($node->safe_psql('postgres', "SELECT pg_terminate_backend($first)"), 't', 'the launcher is terminated while its worker waits for a lock');
$node->poll_query_until('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'apikey launcher' AND pid <> $first", 1) or die 'no launcher';
use_it(2);
$node->poll_query_until('postgres', "$workers AND wait_event = 'advisory'", 1) or die 'no second worker';
is($node->safe_psql('postgres', $workers), 2, 'the next one has a second worker for the same database');
is(uses(), '15|15|11', 'neither has written');
$lock->query_safe('COMMIT;');
$lock->quit;
flush($node);
is(uses(), '15|15|15', 'what both would have written is written once');

# A waiting worker is told to end.
$from = -s $node->logfile;
use_it(1);
$node->wait_for_log(qr/starting background worker process "apikey flush of database/, $from);
my $postmaster = (split /\n/, slurp_file($node->data_dir . '/postmaster.pid'))[0];
my $worker;
# once it has begun, it bears this name
foreach (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
{
	($worker) = map m!^/proc/(\d+)/!, grep {
		my $pid = $_ =~ s!cmdline$!status!r;
		eval { slurp_file($_) =~ /apikey flush of database/ && slurp_file($pid) =~ /^PPid:\s+$postmaster$/m }
	} glob '/proc/[0-9]*/cmdline';
	last if $worker;
	select undef, undef, undef, 0.1;
}
kill 'TERM', $worker // die 'no worker';
$node->poll_query_until('postgres', 'SELECT pending = 0 FROM apikey_usage_stats()') or die 'no flush';
is(uses(), '16|16|16', 'a worker that is to end writes at once');

# ------------------------------------------------------- strange databases

$node->safe_psql('postgres', 'CREATE DATABASE other TEMPLATE postgres');
is(uses('other'), '16|16|16', 'a copy of a database has its counts');
use_it(4, 'other');
is(uses('other') . ' ' . uses(), '20|20|16 16|16|16', 'two databases count each for itself');
flush($node);
is(uses('other') . ' ' . uses(), '20|20|20 16|16|16', 'in their own tables');

$node->safe_psql('postgres', 'ALTER DATABASE other SET default_transaction_read_only = on');
$node->safe_psql('postgres', "ALTER DATABASE other SET role = 'pg_monitor'");
$node->safe_psql('postgres', "ALTER DATABASE other SET search_path = nowhere");
$node->safe_psql('postgres', 'ALTER DATABASE other SET default_transaction_isolation = serializable');
$node->safe_psql('postgres', "ALTER DATABASE other SET statement_timeout = 1");
$node->safe_psql('postgres', "ALTER DATABASE other SET session_replication_role = 'local'");
{
	local $ENV{PGOPTIONS} = '-c statement_timeout=0 -c search_path=public';

	use_it(1, 'other');
}
$node->safe_psql('postgres', 'ALTER DATABASE other ALLOW_CONNECTIONS false CONNECTION LIMIT 0');
flush($node);
$node->safe_psql('postgres', 'ALTER DATABASE other ALLOW_CONNECTIONS true CONNECTION LIMIT -1');
$node->safe_psql('postgres', 'ALTER DATABASE other RESET ALL');
is(uses('other'), '21|21|21', 'a database that is read only and lets nobody in is written to');

# Somebody put a trigger there.
$node->safe_psql('postgres', q{
	SET client_min_messages = error;
	CREATE ROLE low;
	GRANT CREATE ON SCHEMA public TO low;
	GRANT TRIGGER, INSERT ON apikey_use, apikey_use_hour TO low;
	SET ROLE low;
	CREATE FUNCTION rise() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		ALTER ROLE low SUPERUSER;
		RETURN new;
	END $$;
	CREATE TRIGGER rise BEFORE INSERT ON apikey_use FOR EACH ROW EXECUTE FUNCTION rise();
	CREATE TRIGGER rise BEFORE INSERT ON apikey_use_hour FOR EACH ROW EXECUTE FUNCTION rise();
});
use_it(1);
flush($node);
is(uses() . ' ' . $node->safe_psql('postgres', "SELECT rolsuper FROM pg_roles WHERE rolname = 'low'"), '17|17|17 f', 'a trigger on the tables gains nothing, and stops nothing');
$node->safe_psql('postgres', 'DROP FUNCTION rise CASCADE; ALTER TABLE apikey_use OWNER TO low; ALTER TABLE apikey_use_hour OWNER TO low; GRANT SELECT ON apikey_key TO low');
use_it(1);
flush($node);
is(uses(), '18|18|18', 'tables of another owner');

# Used just now, and to be dropped or copied.
$from = -s $node->logfile;
use_it(1, 'other');
$node->wait_for_log(qr/starting background worker process "apikey flush of database/, $from);
$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE other');
use_it(1, 'other');
use_it(1, 'copy');
$node->safe_psql('postgres', 'DROP DATABASE other');
$node->safe_psql('postgres', 'ALTER DATABASE copy RENAME TO other');
flush($node);
is(uses('other'), '22|22|22', 'databases are copied, dropped and renamed while they are in use');
my $fatal = () = slurp_file($node->logfile, $from) =~ /FATAL/g;
cmp_ok($fatal, '<=', 1, 'hardly a line about it in the log');
use_it(1);
flush($node);
is(() = slurp_file($node->logfile, $from) =~ /FATAL/g, $fatal, 'and no more of them');
use_it(1, 'other');
$node->safe_psql('postgres', 'DROP DATABASE other WITH (FORCE)');
$node->safe_psql('postgres', "UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'template0'");
flush($node);

# ------------------------------ the extension dropped and made, all the time

$node->safe_psql('postgres', 'CREATE DATABASE changing');
set($node, 'apikey.flush_interval' => 1);
my $dir = PostgreSQL::Test::Utils::tempdir;
append_to_file("$dir/use", "SELECT apikey_authorize('$key', 'web', 'production', 'read');\n");
my $load = IPC::Run::start([ 'pgbench', '-n', '-c', 2, '-T', 3, '-f', "$dir/use", '-h', $node->host, '-p', $node->port, 'postgres' ],
	'>', \my $out, '2>', \my $err);
$from = -s $node->logfile;
my $wrong = '';
for my $round (1 .. 6)
{
	my @last = split /\n/, $node->safe_psql('changing', q{
		SET client_min_messages = error;
		DROP EXTENSION IF EXISTS apikey;
		CREATE EXTENSION apikey CASCADE;
		SELECT apikey_add_project('acme', 'web') IS NULL;
		SELECT key_id, key FROM apikey_create('acme', 'test', '[{"project": "web", "environment": "production", "level": "write"}]') \gset
		SELECT apikey_authorize(:'key', 'web', 'production', 'write');
		SELECT apikey_authorize(:'key', 'web', 'production', 'write');
		SELECT pg_sleep(0.4);
		SELECT apikey_authorize(:'key', 'web', 'production', 'write');
		SELECT count(*), sum(uses) FROM apikey_usage});

	$wrong .= "$round: $last[-1]\n" if $last[-1] ne '1|3';
}
is($wrong, '', 'an extension that is dropped and made again, while the worker writes');
$load->finish;
my ($transactions) = $out =~ /transactions actually processed: (\d+)/;
$node->poll_query_until('postgres', 'SELECT pending = 0 FROM apikey_usage_stats()') or die 'no flush';
is($node->safe_psql('changing', 'SELECT sum(uses) FROM apikey_use JOIN apikey_key USING (key_id)'), 3, 'its last counts are in its table');
$transactions += 19;
is(uses(), "$transactions|$transactions|$transactions", 'another database is not disturbed');
unlike(slurp_file($node->logfile, $from), qr/ (?:ERROR|FATAL|PANIC): /, 'no error in the log');
$node->safe_psql('changing', 'DROP EXTENSION apikey');
$node->poll_query_until('postgres', 'SELECT pending = 0 FROM apikey_usage_stats()') or die 'no flush';

$node->stop;
done_testing();
