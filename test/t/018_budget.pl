# Budgets where a session alone does not show it: many clients at once, crashes,
# standbys, subscriptions, the log.
#
# Each piece of work keeps what it cost and what remained after it.  So the work
# that was committed can be put in order, and must be one chain without a gap.

use strict;
use warnings;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Apikey;

use constant BUDGET => 1000;

my $node = start_node('budget', allows_streaming => 'logical', conf => q{
log_statement = none
log_min_error_statement = error
wal_writer_delay = 10s
});
my ($id, $key) = issue($node);
my $dir = PostgreSQL::Test::Utils::tempdir;

$node->safe_psql('postgres', q{
	CREATE TABLE work (client int, cost bigint, remaining bigint, at timestamptz DEFAULT statement_timestamp());
	CREATE FUNCTION attempt(key text, cost bigint) RETURNS bigint LANGUAGE plpgsql AS $$
	BEGIN
		RETURN apikey_spend(key, cost);
	EXCEPTION WHEN SQLSTATE '53B00' THEN
		RETURN NULL;
	END $$;
});

sub set_budget
{
	my ($arguments) = @_;

	$node->safe_psql('postgres', "TRUNCATE work; SELECT apikey_set_budget('$id', $arguments)");
}

# Three of ten transactions change their mind.
append_to_file("$dir/spend", q{
\set cost random(1, 5)
\set fate random(1, 10)
BEGIN;
INSERT INTO work SELECT :client_id, :cost, remaining FROM attempt(:key, :cost) remaining
WHERE remaining IS NOT NULL;
\if :fate <= 3
ROLLBACK;
\else
COMMIT;
\endif
});

# a client stands for the bearer of the key, and ends at an error but 40001
sub bench { return ('pgbench', '-n', '-M', 'extended', '-D', "key=$key", '-f', "$dir/spend", @_, $node->connstr('postgres')) }

# What the work cost, what was spent by the budget, breaks of the chain, and the
# least that ever remained
my $check = qq{
	SELECT (SELECT coalesce(sum(cost), 0) FROM work) AS cost, budget - b.remaining AS spent,
		(SELECT count(*) FROM (SELECT remaining + cost
				- coalesce(lag(remaining) OVER (ORDER BY remaining DESC), budget) AS gap
			FROM work) w WHERE gap <> 0) AS gaps,
		least(b.remaining, (SELECT min(remaining) FROM work)) AS least
	FROM apikey_budgets b WHERE key_id = '$id'};

sub check_chain
{
	my ($what) = @_;
	my ($cost, $spent, $gaps, $least) = split /\|/, $node->safe_psql('postgres', $check);

	is($spent, $cost, "$what: what was spent paid for the work");
	is($gaps, 0, "$what: one after the other");
	cmp_ok($least, '>=', 0, "$what: never below zero");
	return $spent;
}

# --------------------------------------------------------- eight at once

set_budget(BUDGET);
$node->command_ok([ bench('-c', '8', '-t', '200') ], 'eight clients spend a budget');
is(check_chain('eight clients'), BUDGET, 'to its end');
is($node->safe_psql('postgres', 'SELECT count(DISTINCT client) FROM work'), 8, 'all had a part in it');

# Keys that are derived from it spend the same budget.
my $child = $node->safe_psql('postgres', "SELECT apikey_update('$id', max_derived => 2); SELECT key FROM apikey_derive('$key', 'child', lifetime => '1 day')") =~ s/^\n//r;
my $grandchild = $node->safe_psql('postgres', "SELECT key FROM apikey_derive('$child', 'grandchild', lifetime => '1 day')");
set_budget(BUDGET);
my @family = map { my ($out, $err); IPC::Run::start([ bench('-c', '3', '-t', '500', '-D', "key=$_") ], '>', \$out, '2>', \$err) } $key, $child, $grandchild;
ok($_->finish, 'a key and those that are derived from it spend at once') foreach @family;
is(check_chain('a family'), BUDGET, 'what one has');
$node->safe_psql('postgres', "SELECT apikey_set_budget('$id', 10)");
is($node->safe_psql('postgres', "SELECT apikey_spend('$grandchild', 3), apikey_spend('$key', 2), apikey_spend('$child', 1)"), '7|5|4', 'and each is told what is left of it');

# At an older snapshot who had to wait fails, and tries again.
set_budget(1000000);
{
	local $ENV{PGOPTIONS} = '-c default_transaction_isolation=repeatable\ read';

	$node->command_ok([ bench('-c', '8', '-t', '50', '--max-tries=1000') ], 'REPEATABLE READ');
}
check_chain('REPEATABLE READ');

# Refills: many, each of them once
set_budget("20, '1 second'");
$node->command_ok([ bench('-c', '8', '-T', '3') ], 'eight clients, a budget that is refilled');
my ($cost, $most) = split /\|/, $node->safe_psql('postgres', qq{
	SELECT sum(cost), 20 * (1 + ceil(extract(epoch FROM max(at) - min(started_at))))
	FROM work, apikey_budget WHERE key_id = '$id'});
cmp_ok($cost, '>', 20, "it was refilled ($cost were spent)");
cmp_ok($cost, '<=', $most, 'no more often than it should');
like($node->safe_psql('postgres', qq{
		SELECT extract(epoch FROM refills_at - started_at) FROM apikey_budget WHERE key_id = '$id'}),
	qr/^\d+\.0+$/, 'by whole periods');

# --------------------------------------------------------------- crashes

# What was acknowledged is there; what was not committed is given back.
set_budget(BUDGET);
my $open = $node->background_psql('postgres', on_error_stop => 1);
$node->safe_psql('postgres', "INSERT INTO work SELECT 0, 100, apikey_spend('$key', 100)");
$open->query_safe('BEGIN');
is($open->query_safe("SELECT apikey_spend('$key', 300)"), 600, 'spent, not committed');
$node->stop('immediate');
$open->{run}->finish;
$node->start;
is(check_chain('a crash'), 100, 'what was committed was kept');

# While clients spend, and the last commits may be lost: both or neither.
foreach my $round (1 .. 5)
{
	set_budget(1000000);
	my ($out, $err);

	local $ENV{PGOPTIONS} = '-c synchronous_commit=off';
	my $clients = IPC::Run::start([ bench('-c', '8', '-T', '600') ], '>', \$out, '2>', \$err);
	$node->poll_query_until('postgres', 'SELECT count(*) > 50 FROM work') or die 'no work is done';
	$node->stop('immediate');
	$clients->finish;
	$node->start;
	check_chain("crash $round");
}

# A limit holds after a crash, whatever synchronous_commit is.
my $lost = 0;
foreach my $budget (1 .. 5)
{
	$node->safe_psql('postgres', "CHECKPOINT; SET synchronous_commit = off; SELECT apikey_set_budget('$id', $budget)");
	$node->stop('immediate');
	$node->start;
	$lost++ if $node->safe_psql('postgres', "SELECT budget FROM apikey_budgets WHERE key_id = '$id'") ne $budget;
}
is($lost, 0, 'no budget that was set is lost');

# Spending does not wait for the disk where the work does not.
my %flushed = map { $_ => 1 } grep /\//, split /\n/, $node->safe_psql('postgres',
	"SET synchronous_commit = off; SELECT apikey_set_budget('$id', 100);"
	  . "SELECT apikey_spend('$key', 1); SELECT pg_current_wal_flush_lsn();" x 20);
cmp_ok(scalar keys %flushed, '<', 10, 'synchronous_commit holds for spending');
set_budget(5);

# -------------------------------------------------------------- standbys

$node->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('budget_standby');
$standby->init_from_backup($node, 'b', has_streaming => 1);
$standby->start;
$node->safe_psql('postgres', "SELECT apikey_spend('$key', 2)");
$node->wait_for_catchup($standby);
is($standby->safe_psql('postgres', "SELECT remaining FROM apikey_budgets WHERE key_id = '$id'"), 3,
	'a standby knows what remains');
foreach my $call ("apikey_spend('$key', 1)", "apikey_spend('rubbish', NULL)", 'apikey_spend()')
{
	my ($status, $out, $err) = $standby->psql('postgres', "\\set VERBOSITY verbose\nSELECT $call");

	like($err, qr/ERROR:  25006: cannot execute apikey_spend\(\) in a read-only transaction/, "$call: not there");
}
$standby->promote;
is($standby->safe_psql('postgres', "SELECT apikey_spend('$key', 2)"), 1, 'promoted, it goes on');
$standby->stop;

# --------------------------------------------------------- subscriptions

my $other = start_node('budget_subscriber');
$node->safe_psql('postgres', 'CREATE PUBLICATION p FOR TABLE apikey_key, apikey_budget');
$other->safe_psql('postgres', q{CREATE SUBSCRIPTION s CONNECTION '} . $node->connstr
	. q{ dbname=postgres' PUBLICATION p});
$other->wait_for_subscription_sync($node, 's');
$node->safe_psql('postgres', "SELECT apikey_spend('$key', 2)");
$node->wait_for_catchup('s');
is($other->safe_psql('postgres', "SELECT budget, remaining FROM apikey_budgets WHERE key_id = '$id'"), '5|1',
	'a subscriber has the budgets');
is($other->safe_psql('postgres', "SELECT count(*) FROM apikey_events WHERE detail ->> 'table' = 'apikey_budget'"), 0,
	'and did not record what the publisher did');
$node->safe_psql('postgres', "SELECT apikey_delete('$id')");
$node->wait_for_catchup('s');
is($other->safe_psql('postgres', 'SELECT count(*) FROM apikey_budget'), 0, 'a key takes its budget along there, too');
$other->safe_psql('postgres', 'DROP SUBSCRIPTION s');

# --------------------------------------------------------------- the log

($id, $key) = issue($node);
my $from = -s $node->logfile;
set_budget(5);
foreach my $call ("apikey_spend('$key', 6)", "apikey_spend('$key', 0)", "apikey_spend('$key', NULL)",
	"apikey_spend(overlay('$key' PLACING 'xxxx' FROM 40), 1)")
{
	isnt($node->psql('postgres', "SELECT $call"), 0, 'a call that fails');
}
isnt($node->psql('postgres', "BEGIN READ ONLY; SELECT apikey_spend('$key', 1)"), 0, 'another');
$node->safe_psql('postgres', q{
	CREATE FUNCTION veto() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'not today'; END$$;
	CREATE TRIGGER veto BEFORE UPDATE ON apikey_budget FOR EACH ROW EXECUTE FUNCTION veto();
});
isnt($node->psql('postgres', "SELECT apikey_spend('$key', 1)"), 0, 'one that a trigger of somebody else stops');
$node->safe_psql('postgres', 'DROP FUNCTION veto CASCADE');
$node->safe_psql('postgres', "SELECT apikey_disable('$id')");
isnt($node->psql('postgres', "SELECT apikey_spend('$key', 1)"), 0, 'and another');
my $log = substr(slurp_file($node->logfile), $from);
like($log, qr/ERROR:  API key has spent its budget/, 'the log has the refusal');
like($log, qr/DETAIL:  remaining=5 budget=5$/m, 'with the reason');
like($log, qr/DETAIL:  key is disabled/, 'and why a key was bad');
like($log, qr/ERROR:  not today/, 'and the error of a trigger');
unlike($log, qr/\Q$key\E/, 'but not the key');
unlike($log, qr/STATEMENT:.*apikey_spend/, 'nor a statement that could hold one');

done_testing();
