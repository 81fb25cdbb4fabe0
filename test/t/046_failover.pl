# Failover to a synchronous standby while clients log in, spend and revoke: nothing that
# was revoked comes back, and budgets are exact.  What asynchronous standbys and an old
# primary that is not stopped go on accepting, and pg_rewind.

use strict;
use warnings;
use File::Copy;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes ();
use Apikey qw(:DEFAULT set flush);
use Fuzz;

use constant { KEYS => 40, BUDGET => 1_000_000 };

my $old = start_node('old', allows_streaming => 1, conf => q{
shared_preload_libraries = 'apikey'
apikey.flush_interval = 3600
wal_log_hints = on
wal_keep_size = 256MB
wal_retrieve_retry_interval = 100ms
});
my $dir = PostgreSQL::Test::Utils::tempdir;
my @keys = map { [ issue($old) ] } 1 .. KEYS;
my ($rich_id, $rich) = issue($old);
my ($limited_id, $limited) = issue($old);

$old->safe_psql('postgres', qq{
	CREATE TABLE work (cost bigint, remaining bigint);
	SELECT apikey_set_budget('$rich_id', @{[BUDGET]});
	SELECT apikey_update('$limited_id', rate_limit => '100 per day')});
$old->backup('b');
my ($new, $third) = map {
	my $node = PostgreSQL::Test::Cluster->new($_);

	$node->init_from_backup($old, 'b', has_streaming => 1);
	$node->start;
	$node;
} 'new', 'third';
set($old, synchronous_standby_names => 'new', synchronous_commit => 'remote_apply');
$old->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'")
  or die 'the standby did not become synchronous';

# ------------------------------------------------------------- use and limits

# Log-ins of a key with a limit: that many
sub log_in
{
	my ($node, $times) = @_;

	$node->safe_psql('postgres', "SELECT count(label) FROM apikey_verify('$limited');" x $times);
}
sub uses { return $_[0]->safe_psql('postgres', "SELECT uses FROM apikey_usage WHERE key_id = '$limited_id'") }
sub remaining { return $_[0]->safe_psql('postgres', "SELECT remaining FROM apikey_rate_limit('$limited')") }

log_in($old, 40);
flush($old);
$old->wait_for_catchup($new);
log_in($new, 3);
log_in($old, 7);
is(join(' ', uses($old), remaining($old)), '47 53', 'log-ins on the primary');
is(join(' ', uses($new), remaining($new)), '43 57', 'and on the standby');

# ----------------------------------------------------- a failover under load

# so it gets nothing of what is to come
$old->wait_for_catchup($third);
$third->stop;

my @askers = map "asker$_", 1 .. 2;
my @pids = map client($old, $dir, $_, sub {
	return '' if $_[0];
	my $i = int rand @keys;
	return "BEGIN; SELECT $i, extract(epoch FROM statement_timestamp()), count(*) FROM apikey_verify('$keys[$i][1]');
		SELECT label FROM apikey_login('$keys[$i][1]'); COMMIT;\n";
}), @askers;
push @pids, map client($old, $dir, "spender$_", sub {
	return '' if $_[0];
	my $cost = between(1, 5);
	return "INSERT INTO work SELECT $cost, apikey_spend('$rich', $cost) RETURNING 'spent', cost;\n";
}), 1 .. 2;

my $revoker = $old->background_psql('postgres', on_error_stop => 0);
my @returned;
foreach my $i (0 .. KEYS / 2 - 1)
{
	$revoker->query_safe("SELECT apikey_revoke('$keys[$i][0]');");
	push @returned, Time::HiRes::time();
}

# The old one is stopped before another one is promoted.
$old->poll_query_until('postgres', 'SELECT count(*) > 50 FROM work') or die 'no work is done';
$old->stop('immediate');
append_to_file("$dir/stop", '');
waitpid $_, 0 foreach @pids;
$revoker->{run}->finish;
$new->promote;

my ($accepted, $wrong) = (0, 0);
foreach my $line (map split(/\n/, slurp_file("$dir/$_.out")), @askers)
{
	my ($i, $asked, $yes) = $line =~ /^(\d+)\|([\d.]+)\|([01])$/ or next;

	$accepted += $yes;
	$wrong++ if $yes && defined $returned[$i] && $asked > $returned[$i];
}
cmp_ok($accepted, '>', 20, "before: $accepted keys accepted");
is($wrong, 0, 'none after its revocation had returned');
is(join('', map may($new, $_->[1]), @keys), ('f' x (KEYS / 2)) . ('t' x (KEYS / 2)),
	'after: no revoked key comes back, and no other is lost');

my $chain = qq{SELECT sum(cost) = budget - b.remaining, max(b.remaining) <= min(work.remaining),
	count(*) - count(DISTINCT work.remaining) FROM work, apikey_budgets b WHERE key_id = '$rich_id' GROUP BY budget, b.remaining};
my $acknowledged = 0;
$acknowledged += $_ foreach map slurp_file($_) =~ /^spent\|(\d+)$/mg, glob "$dir/spender*.out";
my $spent = $new->safe_psql('postgres', 'SELECT sum(cost) FROM work');
is($new->safe_psql('postgres', $chain), 't|t|0', 'what was spent paid for the work, once');
cmp_ok($acknowledged, '>', 50, "$acknowledged were acknowledged");
cmp_ok($spent, '>=', $acknowledged, 'which all are spent after it');
cmp_ok($spent, '<=', $acknowledged + 2 * 5, 'and of each client at most one more, not acknowledged');
$new->safe_psql('postgres', "INSERT INTO work SELECT 7, apikey_spend('$rich', 7)");
is($new->safe_psql('postgres', $chain), 't|t|0', 'it goes on from there');

is(join(' ', uses($new), remaining($new)), '43 57',
	'use since the last flush is lost, with what it took from a limit; that of the standby is not');
flush($new);
is($new->safe_psql('postgres', "SELECT uses FROM apikey_use WHERE key_id = '$limited_id'"), 43, 'but written down');

# -------------------------------------------------- who was not synchronous

my ($asleep_id, $asleep) = @{ $keys[0] };
$third->start;
is(may($third, $asleep), 't', 'a standby that was away accepts what was revoked meanwhile');
my $to_new = sprintf "primary_conninfo = '%s application_name=%%s'\n", $new->connstr;
$third->append_conf('postgresql.conf', sprintf $to_new, 'third');
$third->reload;
$new->wait_for_catchup($third);
is(may($third, $asleep), 'f', 'until it follows the new primary');

# -------------------------------------------------------------- a split brain

my ($there_id, $there) = @{ $keys[-1] };
my ($here_id, $here) = @{ $keys[-2] };
$old->start;
$new->safe_psql('postgres', "SELECT apikey_revoke('$there_id')");
is(may($old, $there), 't', 'an old primary that runs accepts what the new one has revoked');
my $alone = $old->background_psql('postgres', on_error_stop => 0);
$alone->query_until(qr/begun/, "\\echo begun\nSELECT apikey_spend('$rich', 1);\n");
$old->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'") or die 'no wait';
pass('what it commits waits for its synchronous standby, for ever');
$old->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'");
$alone->{run}->finish;
$old->safe_psql('postgres', "SET synchronous_commit = local; SELECT apikey_revoke('$here_id')");
is(may($new, $here) . may($old, $here), 'tf', 'what is revoked there under local is revoked there alone');

# ------------------------------------------------------------------ pg_rewind

$old->stop('fast');
copy($old->data_dir . '/postgresql.conf', "$dir/old.conf");
# before it, PostgreSQL 15 says nowhere on disk that there is another timeline
$new->safe_psql('postgres', 'CHECKPOINT');
command_ok([ 'pg_rewind', '--target-pgdata', $old->data_dir, '--source-server', $new->connstr('postgres') ],
	'pg_rewind of the old primary');
copy("$dir/old.conf", $old->data_dir . '/postgresql.conf');
unlink $old->data_dir . '/postgresql.auto.conf';
append_to_file($old->data_dir . '/postgresql.auto.conf', '');
$old->append_conf('postgresql.conf', sprintf $to_new, 'old');
$old->set_standby_mode;
$old->start;
$new->wait_for_catchup($old);
is(may($old, $there), 'f', 'makes it a standby that refuses what the new primary has revoked');
is(may($old, $here), 't', 'and undoes what was revoked there alone');
$new->safe_psql('postgres', "SELECT apikey_revoke('$here_id')");
$new->wait_for_catchup($old);
is(may($old, $here), 'f', 'until it is revoked again');
is($old->safe_psql('postgres', $chain), 't|t|0', 'budgets are those of the new primary');

$_->stop('immediate') foreach $old, $third, $new;
done_testing();
