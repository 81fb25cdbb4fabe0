# Many clients ask without pause while others revoke, grant and make keys.
# What they write down is checked afterwards: no "yes" may have been asked for
# after the change that forbids it had returned, nor a "no" after the one that
# allows it, on the primary and, under remote_apply, on a standby.

use strict;
use warnings;
use IO::Select;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC sleep);
use Apikey;

# A history lasts so long, and goes on, if the machine is busy, until there were
# so many changes, and more answers of both kinds.
use constant { ASKERS => 3, SECONDS => 3, CHANGES => 100, ANSWERS => 100 };

my $primary = start_node('primary', allows_streaming => 1,
	conf => "fsync = off\n");
my ($id, $key) = issue($primary);
my (undef, $other) = issue($primary);

$primary->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'b', has_streaming => 1);
$standby->start;
$primary->append_conf('postgresql.conf', "synchronous_standby_names = '*'\n");
$primary->reload;
$primary->poll_query_until('postgres',
	"SELECT sync_state IN ('sync', 'quorum') FROM pg_stat_replication")
  or die 'the standby did not become synchronous';
$primary->wait_for_catchup($standby);

sub now { return clock_gettime(CLOCK_MONOTONIC) }

# A client in a process of its own: sends what "ask" is, until there is a file
# "stop", and writes the time of asking, the time of the answer and the answer.
sub client
{
	my ($node, $setup, $ask, $file, $stop) = @_;
	my $pid = fork // die "fork: $!";

	return $pid if $pid;
	my $out = '';
	eval {
		my $session = $node->background_psql('postgres', on_error_stop => 1);

		open my $log, '>', $file or die "$file: $!";
		$log->autoflush;
		$session->query_safe($setup);
		until (-e $stop)
		{
			my $asked = now();
			my $answer = $session->query_safe($ask);

			printf $log "%.6f %.6f %s\n", $asked, now(), $answer;
		}
		close $log;
		$session->quit;
	};
	warn $@ if $@;
	POSIX::_exit($@ ? 1 : 0);
}

require POSIX;

# How often each answer has come, and when the last question was asked to which
# all clients have an answer.
sub answered
{
	my (@files) = @_;
	my (%seen, $last);

	foreach my $file (@files)
	{
		my $asked = 0;

		foreach (-e $file ? slurp_file($file) =~ /^(.*)\n/mg : ())
		{
			($asked, undef, my $answer) = split / /;
			$seen{$answer}++;
		}
		$last = $asked if !defined $last || $asked < $last;
	}
	return ($seen{t} // 0, $seen{f} // 0, $last);
}

# Runs the askers beside a writer that changes the key to and fro; returns how
# many answers were wrong, and how many there were of each kind.  Those of a
# "blind" one are all yes.
sub history
{
	my ($node, $setup, $ask, $forbid, $allow, $blind) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir;
	my @files = map "$dir/$_", 1 .. ASKERS;
	my @pids = map { client($node, $setup, $ask, $_, "$dir/stop") } @files;
	my $writer = $primary->background_psql('postgres', on_error_stop => 1);
	my @changes;		# [begun, returned, allowed afterwards]
	my $start = now();
	my $allowed = 1;
	my $enough = 0;

	$writer->query_safe("SET synchronous_commit = remote_apply;");
	until ($enough)
	{
		my $begun = now();

		$writer->query_safe($allowed ? $forbid : $allow);
		$allowed = !$allowed;
		push @changes, [ $begun, now(), $allowed ];
		# others come and go meanwhile
		$writer->query_safe("SELECT apikey_grant(key_id, 'web', '*', 'read')
			FROM apikey_create('acme', 'x');");
		sleep 0.002;
		if (now() > $start + SECONDS && @changes % CHANGES == 0)
		{
			my ($yes, $no) = answered(@files);

			$enough = $yes > ANSWERS && ($no > ANSWERS || $blind);
		}
	}
	# answers after the last change
	sleep 0.01 until (answered(@files))[2] > $changes[-1][1];
	append_to_file("$dir/stop", '');
	$writer->quit;

	my ($wrong, %seen) = (0);
	foreach my $pid (@pids)
	{
		waitpid $pid, 0;
		$wrong += 1000 if $?;
	}
	foreach my $i (1 .. ASKERS)
	{
		my $n = 0;		# changes that had begun when the answer came

		foreach my $line (split /\n/, slurp_file("$dir/$i"))
		{
			my ($asked, $answered, $answer) = split / /, $line;

			$n++ while $n < @changes && $changes[$n][0] < $answered;
			$seen{$answer}++;

			# Every state that held at some time between asking and answering
			# is a right one.
			my $right = $n == 0 ? $answer eq 't' : 0;
			for (my $j = $n - 1; $j >= 0 && !$right; $j--)
			{
				$right = 1 if $changes[$j][2] == ($answer eq 't' ? 1 : 0);
				last if $changes[$j][1] <= $asked;
				$right = 1 if $j == 0 && $answer eq 't';
			}
			$wrong++ if !$right;
		}
	}
	return ($wrong, $seen{t} // 0, $seen{f} // 0);
}

sub check
{
	my ($name, @arguments) = @_;
	my ($wrong, $yes, $no) = history(@arguments);

	is($wrong, 0, "$name: no wrong answer");
	cmp_ok($yes, '>', ANSWERS, "$name: $yes times yes");
	cmp_ok($no, '>', ANSWERS, "$name: $no times no");
}

my $prepare = "SET plan_cache_mode = force_generic_plan;
	PREPARE ask AS SELECT apikey_authorize('$key', 'web', 'production', 'write');";

check('disable, primary', $primary, $prepare, 'EXECUTE ask;',
	"SELECT apikey_disable('$id');", "SELECT apikey_enable('$id');");
check('grant, standby', $standby, $prepare, 'EXECUTE ask;',
	"SELECT apikey_ungrant('$id', 'web', 'production');",
	"SELECT apikey_grant('$id', 'web', 'production', 'write');");

# The same check must be able to fail: a client that remembers its answer
my ($wrong) = history($primary,
	"CREATE TEMP TABLE memory AS SELECT
		apikey_authorize('$key', 'web', 'production', 'write') AS answer;",
	'SELECT answer FROM memory;',
	"SELECT apikey_disable('$id');", "SELECT apikey_enable('$id');", 'blind');
cmp_ok($wrong, '>', 0, "a client that remembers is found out ($wrong times)");

done_testing();
