# A database that decides by the keys of another one: what apikey_subscribe refuses, and
# leaves as it was; a publisher on the same server; staleness; the end.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);
use Apikey;

my $secret = 'hunter2-' . 'x' x 8;
my $conf = "shared_preload_libraries = 'apikey'\napikey.flush_interval = 1\nwal_level = logical\nmax_worker_processes = 24\nmax_logical_replication_workers = 12\nmax_sync_workers_per_subscription = 6\nwal_retrieve_retry_interval = '100ms'\nlog_error_verbosity = default\n";
my $publisher = start_node('publisher', allows_streaming => 'logical', conf => $conf);
my ($id, $key) = issue($publisher);
my $here = $publisher->connstr('postgres') . " password=$secret";

sub node_psql
{
	my ($node, $database, $sql) = @_;
	my $result = $node->psql($database, "\\set VERBOSITY verbose\n$sql", stdout => \my $out, stderr => \my $err);

	return $err;
}
$publisher->safe_psql('postgres', "CREATE PUBLICATION apikey FOR TABLE apikey_project, apikey_environment, apikey_suspension, apikey_key, apikey_secret, apikey_grant, apikey_heartbeat; INSERT INTO apikey_heartbeat (at, every, version) VALUES (now(), '1s', '1.0')");
$publisher->safe_psql('postgres', 'CREATE DATABASE near');
$publisher->safe_psql('near', 'CREATE EXTENSION apikey CASCADE');
my $t = time;
diag node_psql($publisher, 'near', "CALL apikey_subscribe(\$\$$here\$\$)");
diag time - $t;
is(may($publisher, $key, 'near'), 't', 'accepts');
diag $publisher->safe_psql('near', 'SELECT * FROM apikey_subscriptions');
diag node_psql($publisher, 'near', "CALL apikey_unsubscribe()");
diag $publisher->safe_psql('near', 'SELECT * FROM apikey_subscriptions; SELECT slot_name FROM pg_replication_slots');
done_testing();
