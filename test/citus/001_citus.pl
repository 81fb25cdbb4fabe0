# With Citus itself: a coordinator and two workers, then a third.  Run by "make citus".

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Apikey;

# A started server with Citus and apikey preloaded, that others reach by TCP
sub citus_node
{
	my ($name) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init(allows_streaming => 'logical');
	$node->append_conf('postgresql.conf', qq{
listen_addresses = '127.0.0.1'
shared_preload_libraries = 'citus, apikey'
wal_level = logical
max_replication_slots = 20
max_wal_senders = 20
log_statement = all});
	$node->start;
	$node->safe_psql('postgres', 'SET client_min_messages = error; CREATE EXTENSION citus');
	return $node;
}

sub address { return "'127.0.0.1', " . $_[0]->port }

# Statements of the application, in one session
sub as_app
{
	my ($node, $sql) = @_;

	return $node->safe_psql('postgres', "SET ROLE app; $sql");
}

my $coordinator = citus_node('coordinator');
my @workers = map citus_node($_), 'worker_1', 'worker_2';

$coordinator->safe_psql('postgres', "SET client_min_messages = error; SELECT citus_set_coordinator_host(@{[ address($coordinator) ]})");
$coordinator->safe_psql('postgres', "SELECT citus_add_node(@{[ address($_) ]})") foreach @workers;
note($coordinator->safe_psql('postgres', 'SELECT citus_version()'));

# ------------------------------------------------------------------- set up

$coordinator->safe_psql('postgres', q{
	SET client_min_messages = error;
	CREATE EXTENSION apikey CASCADE;
	CREATE ROLE app LOGIN});
is($_->safe_psql('postgres', q{SELECT count(*) FROM pg_extension WHERE extname = 'apikey'}), 1, $_->name . ' has the extension') foreach @workers;

$coordinator->safe_psql('postgres', "SELECT apikey_publish('apikey')");
sub follow
{
	my ($worker) = @_;

	$worker->safe_psql('postgres', "CALL apikey_subscribe('host=127.0.0.1 port=@{[ $coordinator->port ]} dbname=postgres user=@{[ getpwuid $< ]}', name => '@{[ $worker->name ]}', publication => 'apikey')");
}
follow($_) foreach @workers;

$coordinator->safe_psql('postgres', q{
	SET client_min_messages = error;
	SELECT count(*) FROM (SELECT apikey_add_project('acme', 'p' || i) FROM generate_series(1, 40) i) p;
	SELECT count(*) FROM (SELECT apikey_add_project('globex', 'g' || i) FROM generate_series(1, 40) i) p;
	CREATE TABLE doc (project text, environment text, n int);
	CREATE INDEX ON doc (project, environment);
	SELECT create_distributed_table('doc', 'project', shard_count => 8);
	INSERT INTO doc SELECT p || i, 'production', n FROM unnest('{p,g}'::text[]) p, generate_series(1, 40) i, generate_series(1, 100) n;
	GRANT SELECT ON doc TO app;
	SELECT apikey_protect('doc', 'project', 'environment')});
my ($id, $key) = split /\|/, $coordinator->safe_psql('postgres',
	q{SELECT key_id, key FROM apikey_create('acme', 'test', '[{"project": "*", "environment": "*", "level": "read"}]')});
$coordinator->wait_for_catchup($_->name) foreach @workers;

# ------------------------------------------------------------------- log-in

my $login = "SELECT label FROM apikey_login('$key');";
my $count = 'SELECT count(*) FROM doc;';

is(as_app($coordinator, $count), 0, 'no rows without a key');
is(as_app($coordinator, "BEGIN; $login $count COMMIT; $count"), "test\n4000\n0", 'a log-in reaches the shards, and ends with the transaction');
is(as_app($coordinator, "BEGIN READ ONLY; $login $count COMMIT"), "test\n4000", 'READ ONLY');
is(as_app($coordinator, "BEGIN; $count $login $count SELECT apikey_logout(); $count COMMIT"), "0\ntest\n4000\n\n0", 'on workers that take part already');
is(as_app($coordinator, "BEGIN; $login SELECT count(*) FROM doc WHERE project = 'p7'; SELECT count(*) FROM doc WHERE project = 'g7'; $count COMMIT"),
	"test\n100\n0\n4000", 'one shard, then all');
is(as_app($coordinator, "BEGIN; $login SAVEPOINT s; $count ROLLBACK TO s; $count COMMIT"), "test\n4000\n4000", 'a savepoint afterwards');
isnt($coordinator->psql('postgres', "SET ROLE app; $_"), 0, "refused: $_") foreach $login, "BEGIN; SAVEPOINT s; $login";
is(as_app($workers[0], "BEGIN; $login $count COMMIT"), "test\n4000", 'from a worker');

my $plan = as_app($coordinator, "SET citus.explain_all_tasks = on; SET enable_seqscan = off; BEGIN; $login EXPLAIN (COSTS off) $count COMMIT");
like($plan, qr/Index Cond: \(?\(?project = ANY \(/, 'the shards are read by the index') or diag($plan);

# -------------------------------------------------------------- revocation

$coordinator->safe_psql('postgres', "ALTER SYSTEM SET synchronous_standby_names = 'FIRST 2 (worker_1, worker_2)'");
$coordinator->reload;
$coordinator->poll_query_until('postgres', q{SELECT count(*) = 2 FROM pg_stat_replication WHERE sync_state = 'sync'}) or die 'not synchronous';
my $stale = 0;
foreach (1 .. 20)
{
	$coordinator->safe_psql('postgres', "SET synchronous_commit = remote_apply; SELECT apikey_disable('$id')");
	$stale++ foreach grep may_read($_) ne 'f', @workers;
	$coordinator->safe_psql('postgres', "SET synchronous_commit = remote_apply; SELECT apikey_enable('$id')");
	$stale++ foreach grep may_read($_) ne 't', @workers;
}
is($stale, 0, 'what COMMIT has returned for holds on all workers');

sub may_read { return $_[0]->safe_psql('postgres', "SELECT apikey_authorize('$key', 'p1', 'production', 'read')") }

# ------------------------------------------------- a worker that comes later

my $added = citus_node('worker_3');
$coordinator->safe_psql('postgres', "SELECT citus_add_node(@{[ address($added) ]})");
is($added->safe_psql('postgres', q{SELECT count(*) FROM pg_extension WHERE extname = 'apikey'}), 1, 'an added worker has the extension');
$coordinator->safe_psql('postgres', qq{
	SELECT citus_move_shard_placement(shardid, nodename, nodeport, @{[ address($added) ]}, 'block_writes')
	FROM citus_shards WHERE table_name = 'doc'::regclass AND nodeport = @{[ $workers[0]->port ]}});
my $fewer = as_app($coordinator, "BEGIN; $login $count COMMIT");
like($fewer, qr/^test\n\d+$/, 'shards were moved');
isnt($fewer, "test\n4000", 'without keys there it shows no rows');
like(slurp_file($added->logfile), qr/WARNING:  this database has no API keys/, 'and its log warns');
is( $coordinator->safe_psql('postgres', q{SELECT string_agg(result, ',' ORDER BY nodeport = } . $added->port . q{)
		FROM run_command_on_workers($$SELECT coalesce(max(state), 'no keys') FROM apikey_subscriptions$$)}), 'streaming,streaming,no keys', 'which is seen from the coordinator');
follow($added);
$coordinator->wait_for_catchup('worker_3');
is(as_app($coordinator, "BEGIN; $login $count COMMIT"), "test\n4000", 'with keys it shows them');
$coordinator->safe_psql('postgres', q{SELECT rebalance_table_shards('doc', shard_transfer_mode => 'block_writes')});
is(as_app($coordinator, "BEGIN; $login $count COMMIT"), "test\n4000", 'rebalanced');

unlike(slurp_file($_->logfile), qr/\Q$key\E/, $_->name . ': no key in the log') foreach $coordinator, @workers, $added;
$_->stop foreach $coordinator, @workers, $added;
done_testing();
