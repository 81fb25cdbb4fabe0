# Where a key was used from last: the address that belongs to last_used_at, whoever else
# uses the key, and whatever it is kept in.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Apikey qw(:DEFAULT set flush);

my $node = start_node('used_from', allows_streaming => 1, conf => "shared_preload_libraries = 'apikey'\n"
	  . "apikey.flush_interval = 3600\nlisten_addresses = '127.0.0.1,::1'\nmax_worker_processes = 16\nfsync = off\n");
my ($id, $key) = issue($node);
my $ask = "apikey_authorize('$key', 'web', 'production', 'read')";
my $last = "SELECT last_used_from FROM apikey_usage WHERE key_id = '$id'";

# Run SQL over the network, as if the client's address was this one, or over the socket.
sub from
{
	my ($address, $sql, $that) = @_;

	$that //= $node;
	return $that->safe_psql('postgres', $sql) if !$address;
	return $that->safe_psql('postgres', $sql, connstr => $that->connstr('postgres') . " host=$address") if $address =~ /^(?:127\.0\.0\.1|::1)$/;
	return $that->safe_psql('postgres', "SET apikey.client_address = '$address'; $sql");
}

# --------------------------------------------------------------- whose it is

is($node->safe_psql('postgres', $last), '', 'never used');
foreach my $address ('127.0.0.1', '::1', '', '198.51.100.7', '2001:db8::1')
{
	is(from($address, "SELECT $ask"), 't', 'used from ' . ($address || 'a Unix socket'));
	is($node->safe_psql('postgres', $last), $address, 'apikey_usage has it');
	is($node->safe_psql('postgres', "SELECT last_used_from FROM apikey_keys WHERE key_id = '$id'"), $address, 'so does apikey_keys');
}
is(from('::ffff:198.51.100.8', "SELECT $ask; $last"), "t\n198.51.100.8", 'IPv4 in IPv6 is IPv4');
is(from('198.51.100.9', "SELECT label FROM apikey_verify('$key'); $last"), "test\n198.51.100.9", 'let in');
from('198.51.100.10', "BEGIN; SELECT $ask; ROLLBACK");
is($node->safe_psql('postgres', $last), '198.51.100.10', 'rolled back');
is(from('198.51.100.11', "SELECT $ask; RESET apikey.client_address; SELECT $ask; $last"), "t\nt\n", 'without a proxy again');
is(from('198.51.100.11', "SELECT $ask; BEGIN; SET LOCAL apikey.client_address = '198.51.100.12'; SELECT $ask; ROLLBACK; $last; SELECT $ask; $last"),
	"t\nt\n198.51.100.12\nt\n198.51.100.11", 'an address for a transaction');
is( $node->safe_psql('postgres', "SELECT last_used_from FROM apikey_unused('0 s') WHERE key_id = '$id'"),
	'198.51.100.11', 'apikey_unused has it as well');

# In the leader or in a worker
$node->safe_psql('postgres', q{
	SET client_min_messages = error;
	CREATE TABLE doc AS SELECT 'web' AS project, 'production' AS environment FROM generate_series(1, 10000);
	ANALYZE doc;
});
my $parallel = "SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;"
  . "SET parallel_leader_participation = off; SELECT count(*) FROM doc WHERE apikey_authorize('$key', project, environment, 'read')";
foreach my $address ('127.0.0.1', '198.51.100.13', '')
{
	is(from($address, $parallel), 10000, 'a parallel query from ' . ($address || 'a Unix socket'));
	is($node->safe_psql('postgres', $last), $address, 'is its leader\'s');
}

# ---------------------------------------------------------------- refusals

from('198.51.100.20', "SELECT $ask");
from('198.51.100.21', "SELECT apikey_disable('$id'); SELECT $ask; SELECT label FROM apikey_verify('$key'); SELECT apikey_enable('$id')");
is($node->safe_psql('postgres', $last), '198.51.100.20', 'what is refused is no use');
from('198.51.100.22', "SELECT apikey_update('$id', allowed_networks => '{10.0.0.0/8}'); SELECT $ask; SELECT apikey_update('$id', remove => '{allowed_networks}')");
is($node->safe_psql('postgres', $last), '198.51.100.20', 'from outside its networks');
from('198.51.100.23', "SELECT apikey_explain('$key', 'web', 'production', 'read'); EXPLAIN SELECT $ask");
is($node->safe_psql('postgres', $last), '198.51.100.20', 'nor is what only looks');
from('198.51.100.24', "SELECT apikey_authorize('$key', 'web', 'production', 'manage')");
is($node->safe_psql('postgres', $last), '198.51.100.24', 'a request that no grant allows is, by a good key');

# ------------------------------------------------------------------- order

# A statement that began before others may be counted after them.
my $waits = $node->background_psql('postgres', on_error_stop => 1);
$waits->query_safe("SET apikey.client_address = '198.51.100.30';");
my $holds = $node->background_psql('postgres', on_error_stop => 1);
$holds->query_safe('SELECT pg_advisory_lock(1);');
$waits->query_until(qr/started/, "\\echo started\nSELECT $ask FROM pg_advisory_lock_shared(1);\n");
$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted") or die 'nobody waits';
my $at = from('198.51.100.31', "SELECT $ask; SELECT last_used_at FROM apikey_usage WHERE key_id = '$id'");
$at =~ s/^t\n//;
my ($uses) = $node->safe_psql('postgres', "SELECT uses FROM apikey_usage WHERE key_id = '$id'");
$holds->quit;
$waits->query_safe('SELECT 1;');
$waits->quit;
is($node->safe_psql('postgres', "SELECT uses - $uses, last_used_at, last_used_from FROM apikey_usage WHERE key_id = '$id'"),
	"1|$at|198.51.100.31", 'a statement that began before counts, but is not the last one');

# ------------------------------------------------------ where it is kept

my $table = "SELECT last_used_from FROM apikey_use WHERE key_id = '$id'";
flush($node);
is($node->safe_psql('postgres', $table), '198.51.100.31', 'written down');
from('2001:db8::2', "SELECT $ask");
is($node->safe_psql('postgres', "$last; $table"), "2001:db8::2\n198.51.100.31", 'memory has a later one than the table');
$node->safe_psql('postgres', "UPDATE apikey_use SET last_used_at = '3000-01-01' WHERE key_id = '$id'");
is($node->safe_psql('postgres', $last), '198.51.100.31', 'or the table than memory, after the clock was set back');
flush($node);
is($node->safe_psql('postgres', $table), '198.51.100.31', 'which stays');
$node->safe_psql('postgres', "UPDATE apikey_use SET last_used_at = now() - interval '1 day' WHERE key_id = '$id'");
is($node->safe_psql('postgres', $last), '2001:db8::2', 'put right');
from('', "SELECT $ask");
flush($node);
is($node->safe_psql('postgres', "SELECT last_used_from IS NULL, last_used_at IS NOT NULL FROM apikey_use WHERE key_id = '$id'"), 't|t', 'that there is none is written down as well');
from('2001:db8::3', "SELECT $ask");
$node->restart;
is($node->safe_psql('postgres', $last), '2001:db8::3', 'after a restart');
flush($node);
is($node->safe_psql('postgres', $table), '2001:db8::3', 'in the table');

# A standby keeps it in memory, and over a stop in a file.
$node->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('used_from_standby');
$standby->init_from_backup($node, 'b', has_streaming => 1);
$standby->start;
is($standby->safe_psql('postgres', $last), '2001:db8::3', 'a standby shows what the primary has written');
from('2001:db8::4', "SELECT $ask", $standby);
is($standby->safe_psql('postgres', $last), '2001:db8::4', 'or what was used there later');
$standby->stop('fast');
ok(-e $standby->data_dir . '/pg_stat/apikey.stat', 'which is kept in a file');
$standby->start;
is($standby->safe_psql('postgres', $last), '2001:db8::4', 'and comes back');
is($node->safe_psql('postgres', $last), '2001:db8::3', 'the primary does not know of it');
$standby->stop('fast');

# A file that another version wrote is not read.
my $file = $standby->data_dir . '/pg_stat/apikey.stat';
my $raw = slurp_file($file);
substr($raw, 0, 4) = pack 'L', 0x61706b31;
open my $out, '>:raw', $file or die "$file: $!";
print $out $raw;
close $out;
my $from = -s $standby->logfile;
$standby->start;
like(slurp_file($standby->logfile, $from), qr!LOG:  invalid data in file "pg_stat/apikey\.stat"!, 'rows of another layout are not taken for ours');
is($standby->safe_psql('postgres', $last), '2001:db8::3', 'nor shown');
from('2001:db8::5', "SELECT $ask", $standby);
$standby->promote;
flush($standby);
is($standby->safe_psql('postgres', $table), '2001:db8::5', 'a standby that is promoted writes it down');
$standby->stop;

# ------------------------------------------------------------ none is kept

from('2001:db8::6', "SELECT $ask");
set($node, 'apikey.usage_address' => 'off');
$node->poll_query_until('postgres', 'SHOW apikey.usage_address', 'off') or die;
is($node->safe_psql('postgres', $last), '', 'apikey.usage_address = off: what memory has is not shown');
$node->safe_psql('postgres', 'UPDATE apikey_use SET last_used_from = NULL');
from('2001:db8::7', "SELECT $ask");
flush($node);
is($node->safe_psql('postgres', 'SELECT count(*) FROM apikey_use WHERE last_used_from IS NOT NULL'), 0, 'and none is written');
set($node, 'apikey.usage_address' => 'on');
$node->poll_query_until('postgres', 'SHOW apikey.usage_address', 'on') or die;
is($node->safe_psql('postgres', $last), '', 'turned on again: what was used meanwhile has none');
from('2001:db8::7', "SELECT $ask");
is($node->safe_psql('postgres', $last), '2001:db8::7', 'what is used from now on has');

# ------------------------------------------------------- many at a time

# Each client writes down when it uses the key and from where; no other pair may be seen,
# in memory or in the table.
$node->safe_psql('postgres', q{
	CREATE UNLOGGED TABLE used (at timestamptz, address inet);
	CREATE UNLOGGED TABLE seen (at timestamptz, address inet);
	CREATE PROCEDURE hammer(key text, address inet, seconds int) LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM set_config('apikey.client_address', host(address), false);
		WHILE clock_timestamp() < statement_timestamp() + seconds * interval '1 s' LOOP
			PERFORM apikey_verify(key);
			INSERT INTO used VALUES (now(), address);
			COMMIT;
		END LOOP;
	END $$;
	CREATE PROCEDURE watch(id uuid, seconds int) LANGUAGE plpgsql AS $$
	BEGIN
		WHILE clock_timestamp() < statement_timestamp() + seconds * interval '1 s' LOOP
			INSERT INTO seen SELECT last_used_at, last_used_from FROM apikey_usage WHERE key_id = id;
			INSERT INTO seen SELECT last_used_at, last_used_from FROM apikey_use WHERE key_id = id;
			COMMIT;
		END LOOP;
	END $$;
});
my ($busy_id, $busy) = issue($node);
set($node, 'apikey.flush_interval' => 1);
my @addresses = ('aaaa:aaaa:aaaa:aaaa:aaaa:aaaa:aaaa:aaaa', '5555:5555:5555:5555:5555:5555:5555:5555', '1.2.3.4');
my $nothing = '';
my @clients = map IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('postgres'), '-c', $_ ], '<', \$nothing, '>', \my $said, '2>&1'),
  (map "CALL hammer('$busy', '$_', 4)", @addresses), ("CALL watch('$busy_id', 4)") x 2;
ok($_->finish, 'a client') foreach @clients;
flush($node);
is($node->safe_psql('postgres', "SELECT count(*) FROM used GROUP BY address HAVING count(*) > 100") =~ tr/\n//, 2, 'three clients use one key');
cmp_ok($node->safe_psql('postgres', 'SELECT count(DISTINCT at) FROM seen'), '>', 100, 'others watch');
is($node->safe_psql('postgres', 'SELECT count(DISTINCT address) FROM seen'), 3, 'all three are seen');
is($node->safe_psql('postgres', 'SELECT DISTINCT at, address FROM seen WHERE at IS NOT NULL EXCEPT SELECT at, address FROM used'), '', 'each time with its own address');
is( $node->safe_psql('postgres', "SELECT uses, last_used_at, last_used_from FROM apikey_use WHERE key_id = '$busy_id'"),
	$node->safe_psql('postgres', 'SELECT count(*) OVER (), at, address FROM used ORDER BY at DESC LIMIT 1'), 'the last is the last');
note $node->safe_psql('postgres', 'SELECT (SELECT count(*) FROM used), (SELECT count(*) FROM seen)');

$node->stop;
done_testing();
