# Each server counts the use of keys for itself: standbys, which cannot write it down
# until they are promoted; subscribers; and servers that lack memory or workers.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Apikey qw(:DEFAULT set flush);

my $conf = "shared_preload_libraries = 'apikey'\napikey.flush_interval = 3600\n";
my $primary = start_node('usage_primary', allows_streaming => 'logical', conf => $conf);
my ($id, $key) = issue($primary);
my ($other_id, $other) = issue($primary);

$primary->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('usage_standby');
$standby->init_from_backup($primary, 'b', has_streaming => 1);
$standby->start;

sub use_it
{
	my ($node, $times, $that, $database) = @_;

	$that //= $key;
	$node->safe_psql($database // 'postgres', "SELECT apikey_authorize('$that', 'web', 'production', 'read');" x $times);
}

# How often a key was used: by all that is known, by hour, and by the table.
sub uses
{
	my ($node, $that, $database) = @_;

	$that //= $id;
	return $node->safe_psql($database // 'postgres', "SELECT u.uses, coalesce(sum(h.uses), 0), coalesce(t.uses, 0) FROM apikey_usage u
		LEFT JOIN apikey_usage_hours h USING (key_id) LEFT JOIN apikey_use t USING (key_id)
		WHERE key_id = '$that' GROUP BY 1, t.uses");
}

sub restart
{
	my ($node) = @_;

	$node->stop('fast');
	$node->start;
}

# --------------------------------------------------------------- standbys

my $this_hour = "SELECT date_trunc('hour', now(), 'UTC')";
my $hour = $primary->safe_psql('postgres', $this_hour);
use_it($primary, 3);
flush($primary);
$primary->wait_for_catchup($standby);
is(uses($standby), '3|3|3', 'a standby shows what the primary has written down');
use_it($standby, 2);
use_it($standby, 4, $other);
use_it($primary, 1);
is(uses($standby), '5|5|3', 'and what was used there');
is(uses($primary), '4|4|3', 'which is no business of the primary');
is(uses($standby, $other_id) . ' ' . uses($primary, $other_id), '4|4|0 0|0|0', 'a key that is used on the standby only');
my $last = $standby->safe_psql('postgres', "SELECT last_used_at FROM apikey_keys WHERE key_id = '$other_id'");
isnt($last, '', 'has its last use there');
is($primary->safe_psql('postgres', "SELECT last_used_at FROM apikey_keys WHERE key_id = '$other_id'"), '', 'and none on the primary');
is($standby->safe_psql('postgres', "SELECT label, last_used_at IS NOT NULL FROM apikey_unused('0 s') WHERE key_id = '$other_id'"), 'test|t', 'apikey_unused works there');
flush($primary);
$primary->wait_for_catchup($standby);
is(uses($standby), '6|6|4', 'once more written down by the primary');
is($standby->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'apikey%'"), 0, 'no worker on a standby');

my $file = $standby->data_dir . '/pg_stat/apikey.stat';
ok(!-e $file, 'no file while it runs');
my $stats = 'SELECT keys, pending, lost_uses FROM apikey_usage_stats()';
is($standby->safe_psql('postgres', $stats), '2|2|0', 'two keys wait in its memory');

# In that file, move all hours of the key back; see KeyRow in src/shmem/counts.c.
sub move_back
{
	my ($hours) = @_;
	my $raw = '';

	open my $in, '<:raw', $file or die "$file: $!";
	{ local $/; $raw = <$in>; }
	close $in;
	my $uuid = pack 'H*', $id =~ tr/-//dr;
	my $at = index($raw, $uuid) + 16;
	my ($hour, @row) = unpack 'la20q7(lx4qq)25', substr($raw, $at, 80 + 25 * 24);
	my @now = splice @row, 0, 8;
	my @past = splice @row, 0, 3;
	my @slots = (0) x (24 * 3);

	$past[0] -= $hours if $past[1];
	while (my ($that, $uses, $refusals) = splice @row, 0, 3)
	{
		my $slot = ($that - $hours) % 24;

		@slots[ 3 * $slot .. 3 * $slot + 2 ] = ($that - $hours, $uses, $refusals) if $uses;
	}
	substr($raw, $at, 80 + 25 * 24) = pack 'la20q7(lx4qq)25', $hour - $hours, @now, @past, @slots;
	open my $out, '>:raw', $file or die "$file: $!";
	print $out $raw;
	close $out;
}

# Two uses 40 hours ago, one 30 hours, one 10 hours and one 1 hour ago, as it turns out
my @hours;
foreach my $hours (10, 20, 9, 1)
{
	$standby->stop('fast');
	ok(-e $file, 'a standby that is stopped keeps its counts') if $hours == 10;
	move_back($hours);
	$_->[0] += $hours foreach @hours;
	unshift @hours, [ $hours, @hours ? 1 : 2 ];
	$standby->start;
	is(uses($standby), join('|', 6 + @hours - 1, 6 + @hours - 1, 4), 'started again: it has them') if $hours == 10;
	use_it($standby, 1);
}
ok(!-e $file, 'no file is left');
my $ended = 'an hour has just ended';
my $kept = $standby->safe_psql('postgres', "SELECT extract(epoch FROM date_trunc('hour', now(), 'UTC') - hour)::int / 3600 AS ago, uses FROM apikey_usage_hours WHERE key_id = '$id'");
SKIP:
{
	skip $ended, 1 if $standby->safe_psql('postgres', $this_hour) ne $hour;
	like($kept, qr/^30\|3\n10\|1\n1\|1\n0\|5$/, 'by hour, in order; what is a day old is taken together') or diag($kept);
}
is(uses($standby), '10|10|4', 'none is lost');
like($standby->safe_psql('postgres', $stats), qr/^2\|2\|0$/, 'two keys in its memory, as before');

$primary->stop('fast');
$standby->promote;
flush($standby);
is(uses($standby), '10|10|10', 'a standby that is promoted writes them down');
is(uses($standby, $other_id), '4|4|4', 'all of them');
is($standby->safe_psql('postgres', "SELECT last_used_at FROM apikey_keys WHERE key_id = '$other_id'"), $last, 'and when last');
my $written = $standby->safe_psql('postgres', "SELECT extract(epoch FROM date_trunc('hour', now(), 'UTC') - hour)::int / 3600 AS ago, uses FROM apikey_usage_hours WHERE key_id = '$id' ORDER BY hour");
SKIP:
{
	skip $ended, 1 if $standby->safe_psql('postgres', $this_hour) ne $hour;
	is($written, $kept, 'by hour as well');
}
is($standby->safe_psql('postgres', 'SELECT count(*) FROM apikey_use_hour'), 5, 'in the table');
$standby->stop;

# A standby with little memory cannot wait for more.
my $small = PostgreSQL::Test::Cluster->new('usage_small');
$primary->start;
$primary->safe_psql('postgres', q{
	CREATE TABLE crowd AS SELECT key FROM generate_series(1, 1000) n,
		LATERAL apikey_create('acme', 'crowd ' || n, '[{"project": "web", "environment": "production", "level": "read"}]') k});
my $crowd = "SELECT count(*) FROM crowd WHERE apikey_authorize(key, 'web', 'production', 'read')";
my $sum = "SELECT sum(uses) FROM apikey_usage WHERE label LIKE 'crowd%'";
$small->init_from_backup($primary, 'b', has_streaming => 1);
$small->append_conf('postgresql.conf', 'apikey.usage_size = 256kB');
$small->start;
$primary->wait_for_catchup($small);
is($small->safe_psql('postgres', $crowd), 1000, 'a standby with room for few keys');
my $lost = $small->safe_psql('postgres', 'SELECT lost_uses FROM apikey_usage_stats()');
cmp_ok($lost, '>', 500, 'what finds no room');
is($small->safe_psql('postgres', $sum), 1000 - $lost, 'is lost, and told');
$small->stop;

# ------------------------------------------------------ no workers at all

# The launcher takes one, logical replication another.
# Memory for twice as many: partitions fill up unevenly.
$primary->append_conf('postgresql.conf', "max_worker_processes = 2\napikey.usage_size = 2MB");
restart($primary);
my $from = -s $primary->logfile;
use_it($primary, 2);
$primary->safe_psql('postgres', $crowd);
set($primary, 'apikey.flush_interval' => 1);
$primary->wait_for_log(qr/no background worker is free/, $from);
like(slurp_file($primary->logfile, $from), qr/LOG:  no background worker is free to write the use of API keys\n.*HINT:  Increase the setting "max_worker_processes"\./,
	'no worker is free: it is in the log');
use_it($primary, 1);
$primary->safe_psql('postgres', 'SELECT pg_sleep(1.2)');
is(() = slurp_file($primary->logfile, $from) =~ /no background worker is free/g, 1, 'once');
is(uses($primary), '7|7|4', 'nothing is lost');
set($primary, 'apikey.flush_interval' => 3600);

$primary->stop('fast');
ok(-e $primary->data_dir . '/pg_stat/apikey.stat', 'a server that could not write keeps it');
$primary->append_conf('postgresql.conf', "max_worker_processes = 3\napikey.usage_size = 256kB");
$from = -s $primary->logfile;
$primary->start;
my ($left) = slurp_file($primary->logfile, $from) =~ /LOG:  there is no room in shared memory for (\d+) rows of file/;
cmp_ok($left, '>', 500, 'with less memory not all of it finds room');
my $crowded = $primary->safe_psql('postgres', $sum);
cmp_ok($crowded, '>', 200, 'but some does');
cmp_ok(abs(1001 - $left - $crowded), '<=', 1, 'all that there is room for');

# One worker for two databases: the one that waits makes way.
$primary->safe_psql('postgres', 'CREATE DATABASE two TEMPLATE postgres');
$primary->poll_query_until('postgres', 'SELECT pending > 0 FROM apikey_usage_stats()');
my $copied = $primary->safe_psql('two', "SELECT uses FROM apikey_use WHERE key_id = '$id'");
for (1 .. 3)
{
	use_it($primary, 1);
	use_it($primary, 1, $key, 'two');
}
$primary->poll_query_until('two', "SELECT uses > $copied FROM apikey_use WHERE key_id = '$id'") or die;
pass('one worker for two databases');
use_it($primary, 1);
use_it($primary, 1, $key, 'two');
flush($primary);
is($primary->safe_psql('postgres', "SELECT u.uses = t.uses FROM apikey_usage u JOIN apikey_use t USING (key_id) WHERE key_id = '$id'"), 't', 'both are written');
is($primary->safe_psql('two', "SELECT u.uses = t.uses FROM apikey_usage u JOIN apikey_use t USING (key_id) WHERE key_id = '$id'"), 't', 'to the end');

# ------------------------------------------------------------- subscribers

$primary->append_conf('postgresql.conf', 'max_worker_processes = 16');
restart($primary);
$primary->safe_psql('postgres', 'DROP TABLE crowd; CREATE DATABASE verifier');
$primary->safe_psql('postgres', 'CREATE PUBLICATION keys FOR TABLE apikey_project,
	apikey_environment, apikey_key, apikey_secret, apikey_grant');
$primary->safe_psql('postgres', "SELECT pg_create_logical_replication_slot('keys', 'pgoutput')");
$primary->safe_psql('verifier', 'SET client_min_messages = error; CREATE EXTENSION apikey CASCADE');
$primary->safe_psql('verifier', sprintf(q{SET client_min_messages = error;
	CREATE SUBSCRIPTION keys CONNECTION '%s dbname=postgres' PUBLICATION keys WITH (create_slot = false)}, $primary->connstr));
$primary->poll_query_until('verifier', "SELECT count(*) = 5 FROM pg_subscription_rel WHERE srsubstate = 'r'") or die 'no subscription';
is(uses($primary, $other_id, 'verifier'), '0|0|0', 'a subscriber does not know of the use elsewhere');
my $before = uses($primary, $other_id);
use_it($primary, 2, $other, 'verifier');
flush($primary);
is(uses($primary, $other_id, 'verifier') . ' ' . uses($primary, $other_id), "2|2|2 $before", 'nor others of its own');
$primary->safe_psql('verifier', 'DROP SUBSCRIPTION keys');

$primary->stop;
done_testing();
