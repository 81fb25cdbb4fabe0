# Derived keys on a standby, after a crash, in dumps and logs, and how they go when they
# have expired.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);
use Apikey;

my $primary = start_node('derived', allows_streaming => 1, conf => q{
restart_after_crash = on
log_lock_waits = on
deadlock_timeout = 100ms
log_error_verbosity = verbose
log_statement = none
});
my $dir = PostgreSQL::Test::Utils::tempdir;
my @texts;

sub sql
{
	my ($sql, $node) = @_;

	return ($node // $primary)->safe_psql('postgres', $sql);
}

# A new key from which others may be derived: its id and its text.
sub root
{
	my ($id, $key) = issue($primary);

	sql("SELECT apikey_update('$id', max_derived => 100)");
	push @texts, $key;
	return ($id, $key);
}

# One that is derived from this: its id and its text.
sub derive
{
	my ($key, $options) = @_;
	my ($id, $new) = split /\|/, sql("SELECT key_id, key FROM apikey_derive('$key', 'derived'" . ($options // '') . ')');

	push @texts, $new;
	return ($id, $new);
}

# What an error says, with its SQLSTATE
sub error
{
	my ($sql, $node) = @_;
	my $stderr;

	($node // $primary)->psql('postgres', "\\set VERBOSITY verbose\n$sql", stderr => \$stderr);
	return $stderr =~ /ERROR:\s+(.*)/ ? $1 : $stderr;
}

# ------------------------------------------------------------------ a standby

$primary->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'b', has_streaming => 1);
$standby->append_conf('postgresql.conf', 'hot_standby_feedback = on');
$standby->start;
$primary->append_conf('postgresql.conf', "synchronous_standby_names = '*'\nsynchronous_commit = remote_apply");
$primary->reload;
$primary->poll_query_until('postgres', "SELECT sync_state IN ('sync', 'quorum') FROM pg_stat_replication") or die;

my $session = $standby->background_psql('postgres', on_error_stop => 1);
$session->query_safe('SET plan_cache_mode = force_generic_plan;
	PREPARE ask AS SELECT apikey_authorize($1, \'web\', \'production\', \'write\');');
my %change = (
	'revoked' => "apikey_revoke('%s')",
	'disabled' => "apikey_disable('%s')",
	'deleted' => "apikey_delete('%s')",
	'without the grant' => "apikey_ungrant('%s', 'web', 'production')",
	'allowed from elsewhere' => "apikey_update('%s', allowed_networks => '{192.0.2.0/24}')");
foreach my $what (sort keys %change)
{
	my ($id, $key) = root();
	my (undef, $child) = derive($key);
	my (undef, $grandchild) = derive($child, q{, '[{"project": "*", "environment": "*", "level": "manage"}]'});

	# a snapshot that rows are pruned behind would end the session
	$session->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ;') if $what ne 'deleted';
	is($session->query_safe("EXECUTE ask('$child'); EXECUTE ask('$grandchild');"), "t\nt", 'derived keys on a standby');
	sql('SELECT ' . sprintf $change{$what}, $id);
	is($session->query_safe("EXECUTE ask('$child'); EXECUTE ask('$grandchild');"), "f\nf", "no longer when the parent is $what");
	$session->query_safe('COMMIT;') if $what ne 'deleted';
}
my ($id, $key) = root();
my ($child_id, $child) = derive($key);
like(error("SELECT apikey_derive('$child', 'there')", $standby), qr/^25006: cannot execute apikey_derive\(\) (?:in a read-only transaction|during recovery)/,
	'none is derived there');
like(error("SELECT apikey_purge_derived(now())", $standby), qr/^25006: /, 'nor deleted');
$session->quit;

# a crash right after the commit
$primary->append_conf('postgresql.conf', "synchronous_standby_names = ''\nsynchronous_commit = off");
$primary->reload;
$primary->poll_query_until('postgres', "SHOW synchronous_commit", 'off') or die;
sql("SELECT apikey_revoke('$id')");
$primary->stop('immediate');
$primary->start;
is(may($primary, $child), 'f', 'revoked with its parent after a crash, whatever synchronous_commit is');
$standby->stop('immediate');

# ----------------------------------------------------------- dumps, logs, views

($id, $key) = root();
($child_id, $child) = derive($key, ", metadata => '{\"a\": 1}'");
foreach my $call (
	'apikey_derive(%s, NULL)', q{apikey_derive(%s, ' ')}, q{apikey_derive(%s, 'x', '{}')}, q{apikey_derive(%s, 'x', '[1]')},
	q{apikey_derive(%s, 'x', '[{"project": "nowhere", "environment": "*", "level": "read"}]')},
	q{apikey_derive(%s, 'x', lifetime => NULL)}, q{apikey_derive(%s, 'x', lifetime => '1 year')}, q{apikey_derive(%s, 'x', lifetime => '300000 years')},
	q{apikey_derive(%s, repeat('x', 20000))}, q{apikey_derive(%s, 'x') FROM generate_series(1, 1000)},
	q{apikey_derive(overlay(%s PLACING 'xxxx' FROM 40), 'x')})
{
	like(error('SELECT ' . sprintf $call, "'$child'"), qr/^(?!XX)\w{5}: /, "an error: $call");
}
like(error("BEGIN READ ONLY; SELECT apikey_derive('$child', 'x')"), qr/^25006/, 'an error in a READ ONLY transaction');

# one that waits, and gives up
my $holder = $primary->background_psql('postgres', on_error_stop => 1);
$holder->query_safe("BEGIN; SELECT count(*) FROM apikey_derive((SELECT key FROM (VALUES ('$key')) v (key)), 'held');");
like(error("SET statement_timeout = '1s'; SELECT apikey_derive('$child', 'x')"), qr/^57014/, 'an error of one that waits');
like(error("SET lock_timeout = '1s'; SELECT apikey_derive('$child', 'x')"), qr/^55P03/, 'and by lock_timeout');
$holder->query_safe('ROLLBACK;');
$holder->quit;

$primary->command_ok([ 'pg_dump', '-f', "$dir/dump", 'postgres' ], 'dump');
my $dump = slurp_file("$dir/dump");
my $log = slurp_file($primary->logfile);
my $views = sql(q{SELECT string_agg(t::text, E'\n') FROM apikey_keys t; SELECT string_agg(t::text, E'\n') FROM apikey_events t;
	SELECT string_agg(t::text, E'\n') FROM apikey_grants t});
like($dump, qr/\Q$child_id\E/, 'a derived key is in a dump');
like($views, qr/\Q$child_id\E/, 'and in views');
like($log, qr/still waiting for/, 'waiting is in the log');
foreach my $text (@texts)
{
	my ($secret) = $text =~ /_([^_]{30,})$/ or die 'no secret';

	fail("a key is in the $_->[0]") foreach grep index($_->[1], substr $secret, -30) >= 0, [ dump => $dump ], [ log => $log ], [ views => $views ];
}
is(scalar(grep index($log, $_) >= 0, $child), 0, 'no text of a derived key is in dump, log or view');
ok(index("x $child y", substr(($child =~ /_([^_]{30,})$/)[0], -30)) > 0, 'which would be found');

# ------------------------------------------------------------------- retention

$primary->append_conf('postgresql.conf', "shared_preload_libraries = 'apikey'\napikey.flush_interval = 1\nsynchronous_commit = on");
$primary->restart;

# Start anew, so that the worker cleans up, and use a key until it has.
sub clean_up
{
	my ($retention) = @_;
	my (undef, $used) = issue($primary);

	$primary->append_conf('postgresql.conf', "apikey.derived_retention = $retention");
	$primary->restart;
	sql("SELECT count(*) FROM apikey_verify('$used')");
	# hours that belong to no day are cleaned up by the same order
	sql("INSERT INTO apikey_use_hour VALUES (gen_random_uuid(), '2001-01-01', 1, 0)");
	return $primary->poll_query_until('postgres', "SELECT count(*) = 0 FROM apikey_use_hour WHERE hour < '2002-01-01'");
}

sql('CREATE TABLE job (key_id uuid REFERENCES apikey_key ON DELETE CASCADE)');
($id, $key) = root();
my ($kept_id) = derive($key);
my ($gone_id, $gone) = derive($key, ", lifetime => '2 s'");
my ($below_id) = derive($gone);
my ($end_id, $end) = split /\|/, sql("SELECT key_id, key FROM apikey_create('acme', 'ordinary', expires_at => now() + interval '1 s')");
sql("INSERT INTO job SELECT key_id FROM apikey_keys WHERE key_id IN ('$gone_id', '$kept_id')");
sleep 3;
my $left = "SELECT count(*) FILTER (WHERE key_id = '$kept_id'), count(*) FILTER (WHERE key_id = '$gone_id'),
	count(*) FILTER (WHERE key_id = '$below_id'), count(*) FILTER (WHERE key_id = '$end_id') FROM";
is(sql("$left apikey_key"), '1|1|1|1', 'an expired key and what is derived from it');
ok(clean_up(-1), 'cleaned up');
is(sql("$left apikey_key"), '1|1|1|1', 'a retention of -1: derived keys are kept');
ok(clean_up('1h'), 'cleaned up');
is(sql("$left apikey_key"), '1|1|1|1', 'a retention of an hour: it is not over');
ok(clean_up(0), 'cleaned up');
ok($primary->poll_query_until('postgres', "SELECT NOT EXISTS (SELECT FROM apikey_key WHERE key_id = '$gone_id')"), 'no retention: it goes');
is(sql("$left apikey_key"), '1|0|0|1', 'with what is derived from it, and no other key');
is(sql("$left apikey_grant"), '1|0|0|0', 'with their grants');
is(sql("$left job"), '1|0|0|0', 'and with what refers to it by a foreign key');
is(sql("SELECT count(*), sum((detail ->> 'count')::int) FROM apikey_events WHERE action = 'purge_derived'"), '1|2', 'as an event says');

# what must not go stays, and what was counted is written all the same
($gone_id, $gone) = derive($key, ", lifetime => '1 s'");
sql("ALTER TABLE job DROP CONSTRAINT job_key_id_fkey, ADD FOREIGN KEY (key_id) REFERENCES apikey_key; INSERT INTO job VALUES ('$gone_id')");
sleep 2;
my $from = -s $primary->logfile;
ok(clean_up(0), 'cleaned up');
$primary->wait_for_log(qr/violates foreign key constraint "job_key_id_fkey"/, $from);
is(sql("SELECT count(*) FROM apikey_key WHERE key_id = '$gone_id'"), 1, 'a key that something refers to is kept');
ok($primary->poll_query_until('postgres', 'SELECT pending = 0 FROM apikey_usage_stats()'), 'and use is written down');
sql('DROP TABLE job');
is(sql('SELECT apikey_purge_derived(now())'), 1, 'it goes when nothing does');

# what a bearer has locked stays, with its parent, and nobody waits
my ($locked_parent_id, $locked_parent) = derive($key, ", lifetime => '1 s'");
my ($locked_id, $locked) = derive($locked_parent, ", lifetime => '1 s'");
my ($free_id, $free) = derive($key, ", lifetime => '1 s'");
my $bearer = $primary->background_psql('postgres', on_error_stop => 1);
$bearer->query_safe("BEGIN; SELECT apikey_revoke_self('$locked');");
sleep 2;
is(sql("SET lock_timeout = '5s'; SELECT apikey_purge_derived(now())"), 1, 'a purge does not wait for a bearer');
is(sql("SELECT string_agg(key_id::text, ' ' ORDER BY key_id) FROM apikey_key WHERE key_id IN ('$locked_parent_id', '$locked_id', '$free_id')"),
	join(' ', sort $locked_parent_id, $locked_id), 'who keeps a key, and its parent');
$bearer->query_safe('COMMIT;');
$bearer->quit;
is(sql('SELECT apikey_purge_derived(now())'), 2, 'until the next time');

$primary->stop;
done_testing();
