# Verifiers in a row: a publisher, a verifier that publishes, one more on its server, and a
# standby of that server.  Who has a revocation, and who refuses when nothing comes; clocks
# that differ; quarantine where keys come from elsewhere; key files; a copy of a verifier.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Apikey qw(:DEFAULT set);

my $conf = q{
shared_preload_libraries = 'apikey'
apikey.flush_interval = 1
wal_level = logical
max_worker_processes = 24
max_logical_replication_workers = 16
max_sync_workers_per_subscription = 7
wal_retrieve_retry_interval = '100ms'
};
my $publisher = start_node('publisher', allows_streaming => 'logical', conf => $conf);
my ($id, $key) = issue($publisher);
my ($bad_id, $bad) = issue($publisher);
my $verifier = start_node('verifier', allows_streaming => 'logical', conf => $conf);
$verifier->safe_psql('postgres', "CREATE DATABASE $_") foreach qw(middle last);
$verifier->safe_psql($_, 'SET client_min_messages = warning; CREATE EXTENSION apikey CASCADE') foreach qw(middle last);

# SQLSTATE and message of what fails, with detail and hint, or nothing
sub call
{
	my ($node, $database, $sql) = @_;

	$node->psql($database, "\\set VERBOSITY verbose\n$sql", stderr => \my $err);
	return $err =~ /ERROR:  (.*)/s ? $1 : '';
}

sub why
{
	my ($node, $database) = @_;

	return $node->safe_psql($database, "SELECT reason FROM apikey_explain('$key', 'web', 'production', 'write')");
}

sub becomes
{
	my ($node, $database, $reason, $what) = @_;

	ok($node->poll_query_until($database, "SELECT reason FROM apikey_explain('$key', 'web', 'production', 'write')", $reason), $what);
}

sub subscribe
{
	my ($from, $there, $database, $arguments) = @_;

	return call($verifier, $database, "CALL apikey_subscribe(\$\$@{[ $from->connstr($there) ]}\$\$, $arguments)");
}

my $good = 'granted: write';
my $stale = 'this database has not heard from the publisher of its keys for too long';

# ---------------------------------------------------------------- key files

my $file = $verifier->basedir . '/hmac';
append_to_file($file, 'x' x 32);
$publisher->safe_psql('postgres', 'SELECT apikey_publish()');
set($verifier, 'apikey.hmac_key_file' => $file);
like(subscribe($publisher, 'postgres', 'middle', "'middle', '4 s', 'apikey'"),
	qr/^55000: apikey\.hmac_key_file does not hold here what it holds at the publisher.*It is not set there/s, 'a file of HMAC keys that is not there');
set($publisher, 'apikey.hmac_key_file' => $publisher->basedir . '/hmac');
append_to_file($publisher->basedir . '/hmac', 'y' x 32);
$publisher->safe_psql('postgres', 'SELECT apikey_publish()');
like(subscribe($publisher, 'postgres', 'middle', "'middle', '4 s', 'apikey'"), qr/^55000: apikey\.hmac_key_file does not hold.*The fingerprints of the files differ/s, 'another one');
$_->safe_psql('postgres', 'ALTER SYSTEM RESET apikey.hmac_key_file') foreach $publisher, $verifier;
$_->reload foreach $publisher, $verifier;
$publisher->safe_psql('postgres', 'SELECT apikey_publish()');

# ------------------------------------------------------------------- a chain

is(subscribe($publisher, 'postgres', 'middle', "'middle', '4 s', 'apikey'"), '', 'a verifier');
$verifier->safe_psql('middle', 'SELECT apikey_publish()');
is(subscribe($verifier, 'middle', 'last', "'last', '4 s', 'apikey'"), '', 'which publishes to another one');
is($verifier->safe_psql('last', 'SELECT at FROM apikey_heartbeat') le $publisher->safe_psql('postgres', 'SELECT clock_timestamp()'), 1, 'with a heartbeat');
$verifier->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($verifier, 'copy', has_streaming => 1);
$standby->append_conf('postgresql.conf', 'max_logical_replication_workers = 0');
$standby->start;
$verifier->wait_for_catchup($standby);

my @sessions = map $_->[0]->background_psql($_->[1], on_error_stop => 1), [ $verifier, 'middle' ], [ $verifier, 'last' ], [ $standby, 'last' ];
sub ask { return join '', map $_->query_safe("SELECT apikey_authorize('$_[0]', 'web', 'production', 'write');"), @sessions }

is(ask($bad), 'ttt', 'a key is good in all of them');
like($publisher->safe_psql('postgres', "CALL apikey_revoke_everywhere('$bad_id')"), qr/^t\|\[\{[^}]*"name": "middle"[^}]*"has_it": true\}\]$/, 'it is revoked, and the first has that');
like($verifier->safe_psql('middle', 'CALL apikey_wait_everywhere()'), qr/^t\|.*"name": "standby".*"name": "last"/, 'and then, asked in its turn, those that follow it');
is(ask($bad), 'fff', 'none accepts it');
like(call($verifier, $_, "SELECT apikey_revoke('$id')"), qr/^55000: API keys cannot be changed/, "$_ changes nothing") foreach qw(middle last);

# ---------------------------------------------------------------- quarantine

# where keys come from elsewhere they are lifted, and put, where they come from
my $quarantine = q{SELECT apikey_quarantine(current_setting('cluster_name'), current_database(), 'copy', pg_postmaster_start_time())};
like(call($verifier, 'middle', $quarantine), qr/^55000: API keys cannot be changed.*apikey_unsubscribe/s, 'a verifier is not quarantined by itself');
like(call($standby, $_->[0], $_->[1]), qr/^25006: cannot execute apikey_\w+ during recovery|^25006: /, "nor a standby: $_->[0]")
  foreach map { ([ $_, $quarantine ], [ $_, 'SELECT apikey_lift_quarantine()' ], [ $_, "SELECT apikey_quarantine('x', 'y')" ]) } qw(postgres middle);
$publisher->safe_psql('postgres', $quarantine);
becomes($verifier, 'last', 'database is quarantined: copy', 'the quarantine of a publisher holds down to the last');
is(ask($key), 'fff', 'in all');
my ($own_id, $own) = issue($publisher);
$publisher->safe_psql('postgres', 'CALL apikey_wait_everywhere()');
$verifier->safe_psql('middle', 'CALL apikey_wait_everywhere()');
is(ask($own), 'ttt', 'but for keys made later');
$publisher->safe_psql('postgres', 'SELECT apikey_lift_quarantine()');
becomes($verifier, 'last', $good, 'lifted');

# --------------------------------------------------------------------- stale

# a standby that replays nothing any more
$standby->safe_psql('postgres', 'SELECT pg_wal_replay_pause()');
becomes($standby, 'middle', $stale, 'a standby of a verifier that lags refuses');
is(why($verifier, 'middle'), $good, 'the verifier does not');
$standby->safe_psql('postgres', 'SELECT pg_wal_replay_resume()');
becomes($standby, 'middle', $good, 'nor the standby when it goes on');

# the heartbeat is the first publisher's
$verifier->safe_psql('middle', 'ALTER SUBSCRIPTION middle DISABLE');
becomes($verifier, 'last', $stale, 'nothing comes to the first: the last refuses');
is(ask($key), 'fff', 'and so do the others');
is($verifier->safe_psql('last', 'SELECT state, refusing FROM apikey_subscriptions'), 'streaming|t', 'though what it follows itself is there');
$verifier->safe_psql('middle', 'ALTER SUBSCRIPTION middle ENABLE');
becomes($verifier, 'last', $good, 'it comes again');

# --------------------------------------------------------------------- clocks

# that of the publisher is so far ahead; its worker writes nothing
set($publisher, 'apikey.flush_interval' => 3600);
foreach ([ '2 s', $good ], [ '1 hour', $stale ], [ '-1 hour', $stale ])
{
	$publisher->safe_psql('postgres', "UPDATE apikey_heartbeat SET at = clock_timestamp() + '$_->[0]'");
	$publisher->safe_psql('postgres', 'CALL apikey_wait_everywhere()');
	is(why($verifier, 'middle'), $_->[1], "a clock that is ahead by $_->[0]");
}
$publisher->safe_psql('postgres', "UPDATE apikey_heartbeat SET at = clock_timestamp() + '1 hour'");
$publisher->safe_psql('postgres', 'CALL apikey_wait_everywhere()');
cmp_ok($verifier->safe_psql('middle', 'SELECT extract(epoch FROM staleness) FROM apikey_subscriptions'), '<', -3000, 'the view shows it');
set($publisher, 'apikey.flush_interval' => 1);
becomes($verifier, 'last', $good, 'in step again');

# -------------------------------------------------------- a copy of a verifier

# As the page says: no worker of it takes the slot, or drops it.
$_->quit foreach @sessions;
$standby->promote;
$standby->safe_psql('middle', 'ALTER SUBSCRIPTION middle DISABLE; ALTER SUBSCRIPTION middle SET (slot_name = NONE)');
like(call($standby, 'middle', $quarantine), qr/^55000/, 'a copy that subscribes is not quarantined');
is(call($standby, 'middle', "CALL apikey_unsubscribe('middle')"), '', 'but ends its subscription');
is($standby->safe_psql('middle', 'SELECT count(*) FROM apikey_key') . may($standby, $key, 'middle'), '0f', 'and has no key');
is($publisher->safe_psql('postgres', q{SELECT active FROM pg_replication_slots WHERE slot_name = 'middle'}), 't', 'the slot is still the original\'s');
is($verifier->safe_psql('middle', 'SELECT state, refusing FROM apikey_subscriptions'), 'streaming|f', 'which goes on');
is($standby->safe_psql('middle', "SELECT apikey_add_project('acme', 'new') IS NOT NULL"), 't', 'the copy is on its own');
done_testing();
