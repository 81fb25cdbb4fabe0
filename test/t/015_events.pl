# The history where a session alone does not show it: addresses, crashes, prepared
# transactions, dumps, subscriptions, the log.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Apikey;

my $conf = "max_prepared_transactions = 5\nlog_statement = none\nlisten_addresses = '127.0.0.1'\n";
my $node = start_node('history', allows_streaming => 'logical', conf => $conf);
my ($id, $key) = issue($node);
my @keys = ($key);
my $dir = PostgreSQL::Test::Utils::tempdir;
my $last = 'FROM apikey_events ORDER BY at DESC LIMIT 1';

sub count_events { return $node->safe_psql('postgres', 'SELECT count(*) FROM apikey_events') }

# ------------------------------------------------------------ where from

is($node->safe_psql('postgres', "SELECT action, address IS NULL $last"), 'create|t',
	'no address over a Unix socket');
my $tcp = 'host=127.0.0.1 dbname=postgres port=' . $node->port;
is($node->safe_psql('postgres', "SELECT apikey_disable('$id')", connstr => $tcp),
	'', 'a change over TCP');
is($node->safe_psql('postgres', "SELECT action, address $last"),
	'disable|127.0.0.1', 'has the address of the client');
$node->safe_psql('postgres',
	"SET apikey.client_address = '2001:db8::1'; SELECT apikey_enable('$id')", connstr => $tcp);
is($node->safe_psql('postgres', "SELECT action, address $last"),
	'enable|2001:db8::1', 'or the one that the proxy tells');

# -------------------------------------------- options of the connection

{
	local $ENV{PGOPTIONS} = "-c apikey.application_user=\xc3(ada";

	$node->safe_psql('postgres', "SELECT apikey_update('$id', label => 'options')");
}
is($node->safe_psql('postgres', "SELECT application_user $last"),
	'?(ada', 'bytes that are no text do not get into the history');

# A session that was to have a key, and was refused it, is not the application's.
foreach my $preload ('', 'session_preload_libraries', 'shared_preload_libraries')
{
	my $name = $preload || 'not preloaded';

	$node->append_conf('postgresql.conf', "$preload = 'apikey'") if $preload;
	$node->restart;
	foreach my $place ('options', 'role', 'database')
	{
		local $ENV{PGOPTIONS} = $place eq 'options' ? '-c apikey.key=rubbish' : '';

		# ALTER ROLE does this in a session that has not loaded the library
		if ($place ne 'options')
		{
			$node->safe_psql('postgres', qq{
				SET allow_system_table_mods = on;
				DELETE FROM pg_db_role_setting;
				INSERT INTO pg_db_role_setting SELECT
					CASE '$place' WHEN 'database' THEN oid ELSE 0 END,
					CASE '$place' WHEN 'role' THEN 10 ELSE 0 END, array['apikey.key=rubbish']
				FROM pg_database WHERE datname = 'postgres'});
		}
		my ($status, $stdout, $stderr) =
		  $node->psql('postgres', "SELECT count(key) FROM apikey_create('acme', 'x')");

		isnt($status, 0, "$name, $place: refused");
		like($stderr, qr/ERROR:  no API key is logged in|FATAL:  parameter "apikey.key" cannot be set here/,
			"$name, $place: not as the application");
	}
	{
		local $ENV{PGOPTIONS} = '';
		$node->safe_psql('postgres',
			'SET allow_system_table_mods = on; DELETE FROM pg_db_role_setting');
	}
	$node->append_conf('postgresql.conf', "$preload = ''") if $preload;
}
$node->restart;
is($node->safe_psql('postgres', "SELECT count(*) FROM apikey_keys WHERE label = 'x'"),
	0, 'no key was made');

# ------------------------------------------------------ crashes, two phases

my ($other_id) = issue($node);
my $before = count_events();
my $session = $node->background_psql('postgres', on_error_stop => 1);
$session->query_safe("BEGIN; SELECT apikey_disable('$id'); UPDATE apikey_key SET label = 'crash' WHERE key_id = '$id';");
is($session->query_safe('SELECT count(*) FROM apikey_events;'), $before + 2,
	'two events that are not committed');
$node->safe_psql('postgres', 'CHECKPOINT');
$node->safe_psql('postgres', "SELECT apikey_grant('$other_id', 'web', '*', 'read')");
$node->stop('immediate');
$node->start;
$session->{run}->kill_kill;
is($node->safe_psql('postgres', "SELECT count(*), max(action) FILTER (WHERE at = (SELECT max(at) FROM apikey_events)) FROM apikey_events"),
	($before + 1) . '|grant', 'a crash: they are gone, what was committed is there');

my ($status, $stderr);
$before = count_events();
$node->safe_psql('postgres', "BEGIN; SELECT apikey_disable('$id'); PREPARE TRANSACTION 'p'");
is(may($node, $key) . count_events(), "t$before", 'prepared: not done yet');
$node->stop('immediate');
$node->start;
$node->safe_psql('postgres', "COMMIT PREPARED 'p'");
is(may($node, $key) . count_events(), 'f' . ($before + 1), 'committed');
is($node->safe_psql('postgres', "SELECT action $last"), 'disable', 'with its event');
$node->safe_psql('postgres', "SELECT apikey_enable('$id')");

# -------------------------------------------------------------------- dumps

# One secret besides, of a rotation; an event of every column
push @keys, $node->safe_psql('postgres', "SET apikey.application_user = 'Ümlaut';
	SELECT key FROM apikey_rotate('$id', '1 day')", connstr => $tcp);
my $all = q{SELECT count(*), sha256(string_agg(e::text, E'\n' ORDER BY at, event_id)::bytea) FROM apikey_event e};
my $rows = $node->safe_psql('postgres', q{SELECT (SELECT count(*) FROM apikey_project)
	+ (SELECT count(*) FROM apikey_environment) + (SELECT count(*) FROM apikey_key)
	+ (SELECT count(*) FROM apikey_secret) + (SELECT count(*) FROM apikey_grant)});
my $events = $node->safe_psql('postgres', $all);

foreach my $format ('plain', 'custom')
{
	$node->safe_psql('postgres', "CREATE DATABASE $format");
	$node->command_ok([ 'pg_dump', "--format=$format", '-f', "$dir/$format", 'postgres' ],
		"$format dump");
	$node->command_ok($format eq 'plain'
		? [ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $format, '-f', "$dir/$format" ]
		: [ 'pg_restore', '--exit-on-error', '-d', $format, "$dir/$format" ],
		"$format restore");
	is($node->safe_psql($format, $all), $events, "$format: the events are as they were, and no more");
	$node->psql($format, 'DELETE FROM apikey_event', stderr => \$stderr);
	like($stderr, qr/events cannot be changed or removed/, "$format: and kept there, too");
	is(may($node, $keys[1], $format), 't', "$format: the key works");
}
is($node->safe_psql('postgres', $all), $events, 'a dump adds none');

# INSERT is what anybody may write: it is recorded, beside what is restored
$node->safe_psql('postgres', 'CREATE DATABASE inserts');
$node->command_ok([ 'pg_dump', '--inserts', '-f', "$dir/inserts", 'postgres' ], 'dump as INSERTs');
$node->command_ok([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', 'inserts', '-f', "$dir/inserts" ],
	'restore of that');
is($node->safe_psql('inserts', "SELECT count(*) FROM apikey_event WHERE action = 'insert'"),
	$rows, 'has an event more for each row');
is($node->safe_psql('inserts', $all . q{ WHERE action <> 'insert'}), $events, 'the others are as they were');

# ------------------------------------------------------------ subscriptions

my $other = PostgreSQL::Test::Cluster->new('subscriber');
$other->init(allows_streaming => 'logical');
$other->append_conf('postgresql.conf', $conf);
$other->start;
$other->safe_psql('postgres', 'SET client_min_messages = warning; CREATE EXTENSION apikey CASCADE');
$node->safe_psql('postgres', 'CREATE PUBLICATION apikey FOR TABLE apikey_project,
	apikey_environment, apikey_suspension, apikey_key, apikey_secret, apikey_grant, apikey_budget, apikey_derivation, apikey_event');
$other->safe_psql('postgres', sprintf
	q{CREATE SUBSCRIPTION apikey CONNECTION '%s dbname=postgres' PUBLICATION apikey}, $node->connstr);
$other->wait_for_subscription_sync($node, 'apikey');

# Wait until all has arrived; the events are the same there.
sub arrives
{
	my ($name) = @_;

	$node->wait_for_catchup('apikey');
	is($other->safe_psql('postgres', $all), $node->safe_psql('postgres', $all),
		"subscriber: $name: the same events");
}

arrives('copied');
is(may($other, $_), 't', 'subscriber: a key works') foreach @keys;
my $warm = $other->background_psql('postgres', on_error_stop => 1);
my $ask = "SELECT apikey_authorize('$keys[1]', 'web', 'production', 'write');";
is($warm->query_safe($ask), 't', 'subscriber: warm');

my ($new_id, $new) = issue($node);
push @keys, $new;
arrives('created');
is(may($other, $new), 't', 'subscriber: a new key works');
$node->safe_psql('postgres', "SELECT apikey_disable('$id')");
arrives('disabled');
is($warm->query_safe($ask), 'f', 'subscriber: disabled');
$node->safe_psql('postgres', "SELECT apikey_enable('$id'), apikey_suspend('acme', 'unpaid invoice')");
arrives('suspended');
is($warm->query_safe($ask), 'f', 'subscriber: suspended');
$node->safe_psql('postgres', "SELECT apikey_resume('acme')");
arrives('resumed');
is($warm->query_safe($ask), 't', 'subscriber: resumed');
$node->safe_psql('postgres', "SELECT apikey_ungrant('$id', 'web', 'production')");
arrives('ungranted');
is($warm->query_safe($ask), 'f', 'subscriber: without the grant');
push @keys, $node->safe_psql('postgres', "SELECT apikey_grant('$id', 'web', 'production', 'manage');
	SELECT key FROM apikey_rotate('$id')") =~ s/^\s+//r;
arrives('rotated');
is(may($other, $_->[0]), $_->[1], "subscriber: $_->[2] secret")
  foreach [ $keys[0], 'f', 'first' ], [ $keys[1], 'f', 'second' ], [ $keys[-1], 't', 'newest' ];
$node->safe_psql('postgres', "UPDATE apikey_key SET label = 'sql'; DELETE FROM apikey_grant WHERE environment = '*'");
arrives('plain SQL');
$node->safe_psql('postgres', "SELECT apikey_add_project('acme', 'shop'), apikey_grant('$id', 'shop', '*', 'read')");
$node->safe_psql('postgres', "SELECT apikey_remove_project('shop')");
arrives('a project come and gone');
$ask = "SELECT apikey_authorize('$keys[-1]', project, 'production', 'write') FROM unnest('{web,wiki}'::text[]) project;";
is($warm->query_safe($ask), "t\nf", 'subscriber: warm');
$node->safe_psql('postgres', "SELECT apikey_rename_project('web', 'wiki')");
arrives('renamed');
is($warm->query_safe($ask), "f\nt", 'subscriber: renamed');
$node->safe_psql('postgres', "SELECT apikey_rename_project('wiki', 'web')");
arrives('renamed back');
$node->safe_psql('postgres', "SELECT apikey_revoke('$id')");
arrives('revoked');
is(may($other, $keys[-1]), 'f', 'subscriber: revoked');

# What one purges is purged there; what is gone there already does no harm.
$other->safe_psql('postgres', 'SELECT apikey_purge_events(max(at))
	FROM (SELECT at FROM apikey_event ORDER BY at LIMIT 3) e');
cmp_ok($node->safe_psql('postgres', 'SELECT apikey_purge_events(max(at))
	FROM (SELECT at FROM apikey_event ORDER BY at LIMIT 10) e'), '==', 9, 'nine events are purged');
$node->wait_for_catchup('apikey');
is($other->safe_psql('postgres', "SELECT action, detail ->> 'count' $last"),
	'purge_events|9', 'subscriber: it has gone on to the last event');
is($other->safe_psql('postgres', 'SELECT min(at) FROM apikey_event'),
	$node->safe_psql('postgres', 'SELECT min(at) FROM apikey_event'), 'subscriber: purged');
$node->safe_psql('postgres', "SELECT apikey_purge_events('infinity')");
$node->wait_for_catchup('apikey');
is($other->safe_psql('postgres', "SELECT count(*) FROM apikey_event WHERE action <> 'purge_events'"),
	0, 'subscriber: all purged');
$other->psql('postgres', 'DELETE FROM apikey_event', stderr => \$stderr);
like($stderr, qr/events cannot be changed or removed/, 'subscriber: nobody else may');

# There nobody changes keys, but the owner of the tables.  What is revoked there alone stays
# so, and the subscription goes on.
my ($kept_id, $kept) = issue($node);
push @keys, $kept;
$node->wait_for_catchup('apikey');
$other->psql('postgres', "SELECT apikey_revoke('$kept_id')", stderr => \$stderr);
like($stderr, qr/API keys cannot be changed in a database that subscribes to those of another/, 'subscriber: revoking is for the publisher');
$other->safe_psql('postgres', "ALTER TABLE apikey_key DISABLE TRIGGER apikey_changed; UPDATE apikey_key SET revoked_at = now() WHERE key_id = '$kept_id';
	ALTER TABLE apikey_key ENABLE ALWAYS TRIGGER apikey_changed");
my $state = "SELECT revoked_at, label FROM apikey_key WHERE key_id = '$kept_id'";
my $revoked = $other->safe_psql('postgres', $state);
$node->safe_psql('postgres', "SELECT apikey_update('$kept_id', label => 'from there')");
$node->wait_for_catchup('apikey');
is($other->safe_psql('postgres', $state), $revoked =~ s/test$/from there/r, 'subscriber: a key that was revoked there');
is(may($node, $kept) . may($other, $kept), 'tf', 'subscriber: is refused there');
$node->safe_psql('postgres', "SELECT apikey_revoke('$kept_id')");
$node->wait_for_catchup('apikey');
is($other->safe_psql('postgres', $state), $revoked =~ s/test$/from there/r, 'subscriber: since then');
$other->psql('postgres', "UPDATE apikey_key SET revoked_at = NULL", stderr => \$stderr);
like($stderr, qr/API key is revoked/, 'subscriber: nobody else may change that');
$node->safe_psql('postgres', "SELECT apikey_delete('$id')");
$node->safe_psql('postgres', 'TRUNCATE apikey_key CASCADE');
$node->wait_for_catchup('apikey');
is($other->safe_psql('postgres', 'SELECT count(*) FROM apikey_key'), 0, 'subscriber: TRUNCATE');
is(may($other, $new), 'f', 'subscriber: obeyed');
is($other->safe_psql('postgres', "SELECT count(*) FROM apikey_event WHERE action = 'truncate'"),
	$node->safe_psql('postgres', "SELECT count(*) FROM apikey_event WHERE action = 'truncate'"),
	'subscriber: recorded once');
$warm->quit;

# ------------------------------------------------------------------ the log

# A refusal of a key that acts: its log-in may stand in the same string
my ($boss_id, $boss) = split /\|/, $node->safe_psql('postgres', q{
	SELECT key_id, key FROM apikey_create('acme', 'boss', organization_level => 'write')});
push @keys, $boss;
($status) = $node->psql('postgres', "BEGIN; SET LOCAL apikey.key = '$boss';
	SELECT apikey_create('acme', 'x', '[{\"project\": \"web\", \"environment\": \"*\", \"level\": \"read\"}]')");
isnt($status, 0, 'a key that wants more than it holds');
($status) = $node->psql('postgres', qq{BEGIN\\; SET LOCAL apikey.key = '$boss'\\; SELECT apikey_create('globex', 'x')});
isnt($status, 0, 'the same in one message');
foreach my $server ($node, $other)
{
	my $log = slurp_file($server->logfile);

	is(scalar grep(index($log, $_) >= 0, @keys), 0, $server->name . ': no key in the log');
}
cmp_ok(scalar @keys, '>=', 5, 'of many');

done_testing();
