# A database that decides by the keys of another one: what apikey_subscribe refuses, and
# leaves as it was; a publisher on the same server; the barrier; staleness; the end.
#
# The heartbeat is the test's: it comes when the test says so.

use strict;
use warnings;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Apikey qw(:DEFAULT set);

my $password = 'hunter2-swordfish';
my $conf = q{
shared_preload_libraries = 'apikey'
apikey.flush_interval = 3600
wal_level = logical
max_worker_processes = 24
max_logical_replication_workers = 16
max_sync_workers_per_subscription = 7
wal_retrieve_retry_interval = '100ms'
log_statement = none
};
my $publisher = start_node('publisher', allows_streaming => 'logical', conf => $conf);
my ($id, $key) = issue($publisher);
my @tables = map "apikey_$_", qw(project environment suspension key secret grant heartbeat budget derivation);
my %there;

sub there
{
	my ($database) = @_;

	return $publisher->connstr($database) . " password=$password";
}

sub beat
{
	my ($database) = @_;

	$publisher->safe_psql($database // 'postgres', 'UPDATE apikey_heartbeat SET at = clock_timestamp()');
}

# What a call says: SQLSTATE, message, detail and hint, and warnings
sub call
{
	my ($node, $database, $sql) = @_;

	$node->psql($database, "\\set VERBOSITY verbose\n$sql", stderr => \my $err);
	$err =~ s/^LOCATION:.*\n?//mg;
	$err =~ s/^psql:<stdin>:\d+: //mg;
	return $err;
}

sub subscribe
{
	my ($node, $database, $from, $arguments) = @_;

	return call($node, $database, "CALL apikey_subscribe(\$\$@{[ $from =~ m!=|://! ? $from : there($from) ]}\$\$$arguments)");
}

sub make
{
	my ($node, $database, $schema) = @_;

	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql($database, 'SET client_min_messages = warning; '
		  . ($schema ? "CREATE SCHEMA $schema; CREATE EXTENSION apikey SCHEMA $schema CASCADE" : 'CREATE EXTENSION apikey CASCADE'));
}

sub publish
{
	my ($database) = @_;

	$publisher->safe_psql($database, "INSERT INTO apikey_heartbeat (at, every, version) VALUES (now(), '1s', '1.0');
		CREATE PUBLICATION apikey FOR TABLE " . join ', ', @tables);
}

sub slots { return $publisher->safe_psql('postgres', 'SELECT count(*) FROM pg_replication_slots') }
sub state { return $_[0]->safe_psql($_[1], 'SELECT state, tables_ready, refusing FROM apikey_subscriptions') }
sub why { return $_[0]->safe_psql($_[1], "SELECT reason FROM apikey_explain('$key', 'web', 'production', 'write')") }

sub wait_for
{
	my ($node, $database, $query, $what) = @_;

	ok($node->poll_query_until($database, $query), $what);
}

# A worker may be about to start, and that streams which has just heard of the publisher.
sub streams
{
	my ($node, $database, $refusing, $what) = @_;
	my $end = time + $PostgreSQL::Test::Utils::timeout_default;
	my $state;

	do
	{
		beat();
		$state = state($node, $database);
	} while ($state ne "streaming|9|$refusing" && time < $end);
	is($state, "streaming|9|$refusing", $what);
}

publish('postgres');
make($publisher, $_) foreach qw(near whole other old);
my $verifier = start_node('verifier', conf => $conf);
make($verifier, 'far');
make($verifier, 'elsewhere', 'keys');

# ------------------------------------------------------------- what is refused

publish('old');
publish('other');
$publisher->safe_psql('whole', "INSERT INTO apikey_heartbeat (at, version) VALUES (now(), '1.0'); CREATE PUBLICATION apikey FOR ALL TABLES;
	CREATE PUBLICATION few FOR TABLE apikey_key, apikey_grant; CREATE PUBLICATION deaf FOR TABLE @{[ join ', ', @tables ]} WITH (publish = 'insert, update');
	CREATE PUBLICATION more FOR TABLE @{[ join ', ', @tables, 'apikey_event' ]}; CREATE PUBLICATION just FOR TABLE @{[ join ', ', @tables ]}");
$publisher->safe_psql('other', 'ALTER TABLE apikey_key ADD COLUMN note text');
$publisher->safe_psql('old', "UPDATE pg_extension SET extversion = '2.0' WHERE extname = 'apikey'");
$publisher->safe_psql('postgres', 'CREATE ROLE reader LOGIN REPLICATION');

like(subscribe($verifier, 'far', "host=/nowhere dbname=x password=$password", ''), qr/08006: could not connect to the publisher/, 'nobody is there');
like(subscribe($verifier, 'far', "dbname=x password=has $password", ''), qr/22023: connection string is not valid/, 'no connection string');
# what libpq takes for something else is not repeated either
foreach ("postgresql://u:$password\@ss\@127.0.0.1/x", "postgresql://u:p/$password\@127.0.0.1:1/x", "postgresql://u:p%40$password\@h\@127.0.0.1:1/x", "host=/nowhere port=1$password",
	"host=/nowhere port='1\"2$password'", "host=$password.invalid", "host=/nowhere sslmode=$password", "host=/nowhere connect_timeout=$password", "service=$password",
	"host=127.0.0.1 port=1 sslmode=require sslcert=/nowhere/$password sslkey=pkcs11:pin=$password sslpassword=$password")
{
	my $says = subscribe($verifier, 'far', $_, '');

	like($says, qr/(?:08006: could not connect to the publisher: \S|22023: connection string is not valid)/, 'a connection string: ' . s/\Q$password/.../gr);
	unlike($says, qr/swordfish/, 'nothing of the password');
}
like(subscribe($verifier, 'far', "host=127.0.0.1 port=1 dbname=x password=$password", ''), qr/08006: .*connection to server at "\.\.\.", port 1 failed: Connection refused/, 'but why');
like(subscribe($publisher, 'postgres', 'postgres', ''), qr/55000: table "apikey_project" is not empty.*TRUNCATE public\.apikey_project, /s, 'not empty');
like(subscribe($publisher, 'whole', 'whole', ", publication => 'just'"), qr/55000: table "apikey_heartbeat" is not empty/, 'nor a publisher');
like(subscribe($publisher, 'near', 'near', ''), qr/22023: the publisher is this database/, 'this very database');
like(subscribe($verifier, 'far', 'template1', ''), qr/55000: extension "apikey" is not installed/, 'without the extension');
like(call($verifier, 'elsewhere', "SET search_path = keys; CALL apikey_subscribe(\$\$@{[ there('postgres') ]}\$\$)"),
	qr/55000: extension "apikey" is in schema "public" at the publisher, and in "keys" here/, 'in another schema');
like(subscribe($verifier, 'far', 'old', ''), qr/55000: extension "apikey" has version 2\.0 at the publisher, and 1\.0 here/, 'another major version');
like(subscribe($verifier, 'far', 'other', ''), qr/55000: column "note" of table "apikey_key" is missing here.*Upgrade the subscriber/s, 'a column that is not here');
like(subscribe($verifier, 'far', 'whole', ''), qr/55000: publication "apikey" is FOR ALL TABLES/, 'all tables');
like(subscribe($verifier, 'far', 'whole', ", 'few'"), qr/55000: publication "few" lacks table "apikey_project"/, 'too few');
like(subscribe($verifier, 'far', 'whole', ", 'more'"), qr/55000: publication "more" has table "apikey_event"/, 'too many');
like(subscribe($verifier, 'far', 'whole', ", 'deaf'"), qr/55000: publication "deaf" does not publish all changes/, 'no deletions');
like(subscribe($verifier, 'far', 'whole', ", 'none'"), qr/42704: publication "none" does not exist/, 'none');
like(subscribe($verifier, 'far', 'whole', ", 'just', '1 hour'"), qr/55000: the heartbeat of the publisher does not come again.*shared_preload_libraries/s, 'no heartbeat');
like(subscribe($verifier, 'far', 'postgres', ", max_staleness => '2 s'"), qr/22023: max_staleness is too short/, 'less than three heartbeats');
like(subscribe($verifier, 'far', there('postgres') . ' user=reader', ''), qr/42501: permission denied for table "apikey_\w+" at the publisher/, 'tables that may not be read');
my $pepper = $verifier->basedir . '/pepper';
append_to_file($pepper, 'x' x 32);
set($verifier, 'apikey.pepper_file' => $pepper);
like(subscribe($verifier, 'far', 'postgres', ''), qr/55000: apikey\.pepper_file does not hold here what it holds at the publisher.*It is not set there/s, 'another pepper');
$verifier->safe_psql('postgres', 'ALTER SYSTEM RESET apikey.pepper_file');
$verifier->reload;

# a slot that is not finished, of a CREATE SUBSCRIPTION that waits for itself
my $hanging = $publisher->background_psql('near');
$hanging->query_until(qr/begun/, "\\echo begun\nCREATE SUBSCRIPTION plain CONNECTION '@{[ $publisher->connstr('postgres') =~ s/'/''/gr ]}' PUBLICATION apikey;\n");
wait_for($publisher, 'postgres', 'SELECT count(*) = 1 FROM pg_replication_slots WHERE active AND confirmed_flush_lsn IS NULL', 'CREATE SUBSCRIPTION to its own server hangs');
like(subscribe($verifier, 'far', 'postgres', ''), qr/55006: replication slot "plain" at the publisher is not finished.*cancel it/s, 'which holds up all others: noticed');
$publisher->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'CREATE SUBSCRIPTION plain%'});
wait_for($publisher, 'postgres', 'SELECT count(*) = 0 FROM pg_replication_slots', 'and ended');
eval { $hanging->quit };

# transactions that do not end
my $long = $publisher->background_psql('postgres');
$long->query_safe('BEGIN; SELECT txid_current();');
like(call($publisher, 'near', "SET lock_timeout = '300ms'; CALL apikey_subscribe(\$\$@{[ there('postgres') ]}\$\$)"),
	qr/55P03: could not make replication slot "apikey".*these processes.*: \d+\./s, 'a transaction that does not end');
like(call($publisher, 'near', "SET statement_timeout = '300ms'; CALL apikey_subscribe(\$\$@{[ there('postgres') ]}\$\$)"), qr/57014/, 'cancelled meanwhile');
$long->query_safe('COMMIT;');
$long->quit;
wait_for($publisher, 'postgres', 'SELECT count(*) = 0 FROM pg_replication_slots', 'nothing is left there');
is($_->[0]->safe_psql($_->[1], 'SELECT (SELECT count(*) FROM pg_subscription), (SELECT count(*) FROM apikey_subscription)'), '0|0', "nor in $_->[1]")
  foreach [ $publisher, 'near' ], [ $verifier, 'far' ];

# ---------------------------------------------------------------- on one server

like(subscribe($publisher, 'near', 'postgres', ''), qr/00000: 9 of 9 tables are there/, 'a publisher on the same server');
is(may($publisher, $key, 'near'), 't', 'its keys are good');
streams($publisher, 'near', 'f', 'the state');
is($publisher->safe_psql('near', q{SELECT action, detail ->> 'publication' FROM apikey_events WHERE action = 'subscribe'}), 'subscribe|apikey', 'the event');
like(subscribe($publisher, 'near', 'postgres', ''), qr/55000: this database subscribes to API keys already/, 'once is enough');
like(subscribe($verifier, 'far', 'postgres', ''), qr/42710: replication slot "apikey" exists already at the publisher.*name of its own/s, 'another subscriber needs another name');

# ------------------------------------------------------ the barrier, on another one

beat();
like(subscribe($verifier, 'far', 'postgres', ", 'verifier', '3 s', 'apikey'"), qr/9 of 9 tables are there/, 'another server');
set($publisher, synchronous_standby_names => 'verifier');
wait_for($publisher, 'postgres', q{SELECT sync_state = 'sync' FROM pg_stat_replication WHERE application_name = 'verifier'}, 'which is synchronous');
my $session = $verifier->background_psql('far', on_error_stop => 1);
my $wrong = 0;
beat();
foreach (1 .. 20)
{
	my ($taken_id, $taken) = issue($publisher);
	my $ask = "SELECT apikey_authorize('$taken', 'web', 'production', 'write');";

	$wrong++ if $session->query_safe($ask) ne 't';
	$publisher->safe_psql('postgres', ($_ % 2 ? "SELECT apikey_revoke('$taken_id')" : "SELECT apikey_delete('$taken_id')") . '; UPDATE apikey_heartbeat SET at = clock_timestamp()');
	$wrong++ if $session->query_safe($ask) ne 'f';
}
is($wrong, 0, 'COMMIT returns when the subscriber knows');
$session->quit;
$publisher->safe_psql('postgres', 'ALTER SYSTEM RESET synchronous_standby_names');
$publisher->reload;

# ---------------------------------------------------------------------- stale

beat();
my $stale = 'this database has not heard from the publisher of its keys for too long';
$session = $verifier->background_psql('far');
$session->query_safe("PREPARE ask AS SELECT apikey_authorize('$key', 'web', 'production', 'write'), count(*) FILTER (WHERE apikey_authorize('$key', 'web', e, 'write')) FROM (VALUES ('production'), ('production')) v (e);");
is($session->query_safe('EXECUTE ask;'), 't|2', 'fresh');
$verifier->safe_psql('far', 'ALTER SUBSCRIPTION verifier DISABLE');
is(state($verifier, 'far'), 'disabled|9|f', 'disabled');
wait_for($verifier, 'far', 'SELECT refusing FROM apikey_subscriptions', 'and after max_staleness');
is($session->query_safe('EXECUTE ask;'), 'f|0', 'everything is refused');
is(why($verifier, 'far'), $stale, 'and explained');
is($verifier->safe_psql('far', "SELECT count(*) FROM apikey_who_can('web', 'production', 'write')"), '0', 'apikey_who_can knows it');
like(call($verifier, 'far', "BEGIN; SELECT apikey_login('$key')"), qr/28000: invalid API key\s*$/, 'apikey_login says nothing');
like(slurp_file($verifier->logfile), qr/WARNING:  this database does not follow the publisher of its API keys\n.*DETAIL:  Subscription "verifier" is disabled\.\n.*HINT:  A key that is revoked there is accepted here\./, 'a warning in the log');
is(() = slurp_file($verifier->logfile) =~ /does not follow the publisher/g, 1, 'which is one');
$verifier->safe_psql('far', 'ALTER SUBSCRIPTION verifier ENABLE');
$publisher->safe_psql('postgres', "SELECT apikey_suspend('globex')");
$publisher->wait_for_catchup('verifier');
$verifier->safe_psql('far', 'ALTER SUBSCRIPTION verifier DISABLE');
$verifier->command_ok([ 'pg_dump', '-Fc', '-f', $verifier->basedir . '/dump', 'far' ], 'a dump');
beat();
$verifier->safe_psql('far', 'ALTER SUBSCRIPTION verifier ENABLE');
wait_for($verifier, 'far', "SELECT apikey_authorize('$key', 'web', 'production', 'write')", 'enabled: recovers');
is($session->query_safe('EXECUTE ask;'), 't|2', 'in each session');
like(slurp_file($verifier->logfile), qr/LOG:  this database follows the publisher of its API keys again/, 'which is in the log');
like(call($verifier, 'far', "SELECT apikey_set_max_staleness('verifier', '2 s')"), qr/22023: max_staleness is too short/, 'less than three heartbeats, again');
is(call($verifier, 'far', "SELECT apikey_set_max_staleness('verifier', NULL)"), '', 'no max_staleness any more');

# accidents of superusers: nothing that keeps keys from being stale goes in silence
like(call($verifier, 'far', $_), qr/55000: subscriptions to API keys cannot be changed by SQL/, $_)
  foreach 'DELETE FROM apikey_subscription', 'TRUNCATE apikey_subscription', 'UPDATE apikey_subscription SET max_staleness = NULL';
like(call($verifier, 'far', $_), qr/55000: API keys cannot be changed/, $_)
  foreach 'UPDATE apikey_heartbeat SET at = now()', 'TRUNCATE apikey_heartbeat';
my ($deaf_id, $deaf) = issue($publisher);
$publisher->wait_for_catchup('verifier');
is($session->query_safe("SELECT apikey_authorize('$deaf', 'web', 'production', 'write');"), 't', 'a session knows a key');
$verifier->safe_psql('far', 'ALTER TABLE apikey_key DISABLE TRIGGER apikey_changed');
my $everywhere = $publisher->safe_psql('postgres', "CALL apikey_revoke_everywhere('$deaf_id')");
like($everywhere, qr/"name": "verifier"[^}]*"has_it": true/, 'which is revoked, while it would not hear of that');
is($session->query_safe("SELECT apikey_authorize('$deaf', 'web', 'production', 'write');"), 'f', 'it accepts no key');
my $silent = 'this database does not notice changes of its keys: a trigger is disabled or missing';
is(why($verifier, 'far'), $silent, 'which is explained');
streams($verifier, 'far', 't', 'and shown');
like(slurp_file($verifier->logfile), qr/WARNING:  this database does not notice changes of its API keys\n.*DETAIL:  Trigger "apikey_changed" on table "apikey_key" is missing, or does not fire for all changes\.\n.*HINT:  Every key is refused until: ALTER TABLE public\.apikey_key ENABLE ALWAYS TRIGGER apikey_changed;/, 'in the log, too');
$verifier->safe_psql('far', 'ALTER TABLE apikey_key ENABLE TRIGGER apikey_changed');
is(why($verifier, 'far'), $silent, 'not for what is replicated');
$verifier->safe_psql('far', 'ALTER TABLE apikey_key ENABLE ALWAYS TRIGGER apikey_changed');
is($session->query_safe("SELECT apikey_authorize('$deaf', 'web', 'production', 'write');"), 'f', 'afterwards it has forgotten what it knew');
is($session->query_safe('EXECUTE ask;'), 't|2', 'and other keys are good');

# as if suspensions were still being copied, when keys have been
sub copied
{
	my ($as) = @_;

	$verifier->safe_psql('far', "UPDATE pg_subscription_rel SET srsubstate = '$as' WHERE srrelid = 'apikey_suspension'::regclass");
}
$verifier->safe_psql('far', 'ALTER SUBSCRIPTION verifier DISABLE');
copied('d');
is(why($verifier, 'far'), 'this database has not copied all keys of their publisher yet', 'a table is missing: all are refused');
is(state($verifier, 'far'), 'disabled|8|t', 'the state says so');
my $early = $verifier->background_psql('far');
my $ask = "SELECT apikey_authorize('$key', 'web', 'production', 'write');";
is($early->query_safe($ask), 'f', 'a session that comes too early');
copied('r');
is($early->query_safe($ask), 't', 'asks again');
$early->quit;
$verifier->safe_psql('far', 'ALTER SUBSCRIPTION verifier ENABLE');

$verifier->safe_psql('postgres', 'CREATE DATABASE restored');
$verifier->command_ok([ 'pg_restore', '-d', 'restored', $verifier->basedir . '/dump' ], 'restored');
is($verifier->safe_psql('restored', 'SELECT organization FROM apikey_suspension'), 'globex', 'with suspensions, which come after the subscription');
is(why($verifier, 'restored'), $stale, 'a restored dump of a subscriber refuses all');
like(call($verifier, 'restored', "CALL apikey_unsubscribe('verifier')"), qr/01000: replication slot "verifier" is left at the publisher.*a copy of/s, 'and ends without the slot of the other');
streams($verifier, 'far', 'f', 'which goes on');

# ------------------------------------------------------------------- the end

$publisher->safe_psql('near', 'DROP SUBSCRIPTION apikey');
is(state($publisher, 'near'), 'missing|0|f', 'DROP SUBSCRIPTION by hand');
is(may($publisher, $key, 'near'), 't', 'leaves frozen keys');
# a minute after it has said something else
foreach (1 .. 70)
{
	last if slurp_file($publisher->logfile) =~ /Subscription "apikey" does not exist/;
	sleep 1;
	may($publisher, $key, 'near');
}
like(slurp_file($publisher->logfile), qr/DETAIL:  Subscription "apikey" does not exist\.\n.*HINT:  A key that is revoked there is accepted here\./, 'the log says so');
$publisher->safe_psql('near', "SELECT apikey_set_max_staleness('apikey', '3 s')");
wait_for($publisher, 'near', 'SELECT refusing FROM apikey_subscriptions', 'but not with max_staleness');
like(call($publisher, 'near', "CALL apikey_unsubscribe('x')"), qr/42704: subscription "x" was not made by apikey_subscribe/, 'another name');
is(call($publisher, 'near', 'CALL apikey_unsubscribe()'), '', 'apikey_unsubscribe');
my $count = join ' + ', map "(SELECT count(*) FROM $_)", @tables, 'apikey_subscription', 'pg_subscription_rel';
is($publisher->safe_psql('near', "SELECT $count"), '0', 'leaves nothing');
like(subscribe($publisher, 'near', 'postgres', ''), qr/9 of 9 tables are there/, 'and the next subscription works');
is(may($publisher, $key, 'near'), 't', 'as before');

$publisher->stop('immediate');
like(call($verifier, 'far', "CALL apikey_unsubscribe('verifier')"),
	qr/01000: replication slot "verifier" is left at the publisher.*could not connect|01000: replication slot "verifier" is left.*SELECT pg_drop_replication_slot\('verifier'\);/s, 'the publisher is gone');
is($verifier->safe_psql('far', "SELECT $count"), '0', 'here nothing is left');
is(may($verifier, $key, 'far'), 'f', 'no key');
unlike(slurp_file($_->logfile), qr/swordfish/, 'no password in the log of ' . $_->name) foreach $publisher, $verifier;

done_testing();
