# Many clients ask without pause while others revoke, rotate, grant, spend, and
# kill backends, so that the server starts anew.  What they write down is checked
# afterwards: no "yes" may have been asked for after the change that forbids it had
# returned, nor a "no" after the one that allows it, on the primary and, under
# remote_apply, on a standby; and no key has spent more than it had.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes ();
use Apikey;
use Fuzz;

# in a round
use constant { CHANGES => 700, KILLS => 4, PATIENCE => 180 };

my $primary = start_node('primary', allows_streaming => 1, conf => q{
fsync = off
restart_after_crash = on
wal_retrieve_retry_interval = 50ms
log_error_verbosity = verbose
log_min_error_statement = panic
log_statement = none
max_wal_senders = 20
});

$primary->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'b', has_streaming => 1);
$standby->start;
$primary->append_conf('postgresql.conf', "synchronous_standby_names = '*'\n");
$primary->reload;
$primary->poll_query_until('postgres',
	"SELECT sync_state IN ('sync', 'quorum') FROM pg_stat_replication")
  or die 'the standby did not become synchronous';

# A question is whether a key may write in production of a project; it is asked by a
# text of the key and has changes: [begun, returned, allowed afterwards].  One that did
# not return may have happened or not.
my @question;

sub now { return Time::HiRes::time() }

# What becomes of a key, or of its organization, by its kind: statements and whether it is allowed after
# each.  They are done in turn, and over again if the last leaves it allowed.
my %life = (
	disable => [ [ "apikey_disable('%s')", 0 ], [ "apikey_enable('%s')", 1 ] ],
	ungrant => [ [ "apikey_ungrant('%s', 'web', 'production')", 0 ], [ "apikey_grant('%s', 'web', 'production', 'write')", 1 ] ],
	level => [ [ "apikey_grant('%s', 'web', 'production', 'read')", 0 ], [ "apikey_grant('%s', 'web', 'production', 'manage')", 1 ] ],
	suspend => [ [ "apikey_suspend('%s', 'x')", 0 ], [ "apikey_resume('%s')", 1 ] ],
	revoke => [ [ "apikey_revoke('%s')", 0 ] ],
	rotate => [ [ "key FROM apikey_rotate('%s')", 0 ] ],
	finish => [ [ "f FROM apikey_rotate('%s', '1 hour') r, apikey_finish_rotation(r.key_id) f", 0 ] ],
	delete => [ [ "apikey_delete('%s')", 0 ] ]);

# The same of a key that another one is derived from, which is asked about
$life{"derived, $_"} = $life{$_} foreach qw(disable ungrant level revoke delete);

# A key that is derived from another one, over so many others: the id of the one that is
# to change, and its text.  Grants are those of the first alone.
sub issue_derived
{
	my ($kind) = @_;
	my ($id, $key) = issue($primary);
	my @ids = ($id);

	$primary->safe_psql('postgres', "SELECT apikey_update('$id', max_derived => 4)");
	foreach (1 .. between(1, 4))
	{
		($id, $key) = split /\|/, $primary->safe_psql('postgres', "SELECT key_id, key FROM apikey_derive('$key', 'derived', lifetime => '1 day')");
		push @ids, $id;
	}
	return ($kind =~ /grant|level/ ? $ids[0] : pick(@ids), $key);
}

# A session that changes things, and comes back after a crash.
sub writer
{
	my $self = { };

	return bless $self, 'Writer';
}

package Writer
{
	sub ask
	{
		my ($self, $sql) = @_;
		my $answer = eval {
			$self->{session} //= do {
				my $session = $primary->background_psql('postgres', on_error_stop => 1);

				$session->query_safe('SET synchronous_commit = remote_apply; SET client_min_messages = error;');
				$session;
			};
			$self->{session}->query_safe("$sql;");
		};

		return $answer if defined $answer;
		eval { $self->{session}->quit } if $self->{session};
		$self->{session} = undef;
		return undef;
	}
}

# Until it is answered; what does not hold twice may fail when it happened though
# the answer was lost.
sub insist
{
	my ($writer, $sql, $start) = @_;

	while (1)
	{
		my $answer = $writer->ask($sql);

		return $answer if defined $answer;
		die "no answer to $sql" if now() > $start + PATIENCE;
		Time::HiRes::sleep(0.02);
	}
}

# An asker writes "question|asked|answer" for each question in turn; the time is
# that of the statement, which is before what it sees.
sub asker
{
	my ($prepared) = @_;

	return sub {
		my ($new) = @_;

		return "SET plan_cache_mode = force_generic_plan; PREPARE ask AS
			SELECT \$1, extract(epoch FROM statement_timestamp()), apikey_authorize(\$2, \$3, 'production', 'write'),
				extract(epoch FROM clock_timestamp());\n" if $new;
		return join '', map {
			my $q = int rand @question;
			"EXECUTE ask($q, '$question[$q]{key}', '$question[$q]{project}');\n"
		} 1 .. 5;
	};
}

# One that remembers what it was told when its session began
sub remembers
{
	return sub {
		my ($new) = @_;

		return 'CREATE TEMP TABLE memory AS SELECT * FROM (VALUES ' . join(', ', map "($_, apikey_authorize('$question[$_]{key}', '$question[$_]{project}', 'production', 'write'))",
			0 .. $#question) . ") v (q, answer);\n" if $new;
		my $q = int rand @question;
		return "SELECT q, extract(epoch FROM statement_timestamp()), answer, extract(epoch FROM clock_timestamp()) FROM memory WHERE q = $q;\n";
	};
}

# How many answers were wrong, and how many there were of each kind.  Every state
# that held at some time between asking and answering is a right one.
sub check
{
	my ($file) = @_;
	my ($wrong, %seen) = (0);

	foreach (split /\n/, slurp_file($file))
	{
		my ($q, $asked, $answer, $answered) = /^(\d+)\|([\d.]+)\|([tf])\|([\d.]+)$/ or next;
		my $right = 0;
		my $state = 1;		# before any change

		$seen{$answer}++;
		foreach my $change (@{ $question[$q]{changes} }, [ 9e99, 9e99, undef ])
		{
			my ($begun, $returned, $allowed) = @$change;

			# what was before has held until the change returned, or for ever
			$right = 1 if $state == ($answer eq 't') && (!defined $returned || $returned > $asked);
			last if $begun > $answered;
			if (!defined $returned)
			{
				# may have happened: both hold
				$right = 1 if $allowed == ($answer eq 't');
			}
			$state = $allowed;
		}
		next if $right;
		$wrong++;
		diag("wrong: $question[$q]{kind} $_: ", join ', ', map { join ' ', map $_ // '?', @$_ } @{ $question[$q]{changes} })
		  if $wrong < 4 && $file !~ /memory/;
	}
	return ($wrong, $seen{t} // 0, $seen{f} // 0);
}

begin(1, sub {
	my ($seed) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir;
	my $from = -s $primary->logfile;
	my $start = now();
	my $writer = writer();

	my $organizations = 0;
	@question = map {
		my $kind = $_;
		my ($project, $id, $key) = ('web', $kind =~ /derived/ ? issue_derived($kind) : issue($primary));

		if ($kind eq 'suspend')
		{
			# one of its own, as others do not expect to be refused
			$project = "p$seed-" . ++$organizations;
			$id = "o$seed-$organizations";
			$key = $primary->safe_psql('postgres', qq{
				SET client_min_messages = error;
				SELECT apikey_add_project('$id', '$project') \\g /dev/null
				SELECT key FROM apikey_create('$id', 'x', '[{"project": "$project", "environment": "production", "level": "write"}]')});
		}
		{ kind => $kind, id => $id, project => $project, key => $key, changes => [], next => 0 };
	} map { my $kind = $_; ($kind) x (@{ $life{$kind} } > 1 ? 2 : 20) } sort keys %life;

	# what can be spent
	my ($rich, $rich_key) = issue($primary);
	my $budget = 100_000;
	$primary->safe_psql('postgres', "SELECT apikey_set_budget('$rich', $budget)");
	$primary->wait_for_catchup($standby);

	my @askers = ((map [ "primary$_", $primary, asker() ], 1 .. 2), [ 'standby', $standby, asker() ], [ 'memory', $primary, remembers() ]);
	my @pids = map client($_->[1], $dir, $_->[0], $_->[2]), @askers;
	push @pids, map client($primary, $dir, "spender$_", sub {
		# what is acknowledged is not lost; the key is not in what a crash logs
		return "SET synchronous_commit = local; PREPARE spend AS SELECT 'spent', \$1::bigint FROM apikey_spend('$rich_key', \$1);\n" if $_[0];
		return join '', map "EXECUTE spend(" . between(1, 40) . ");\n", 1 .. 5;
	}), 1 .. 2;

	# the changes, and kills among them
	my %kill = map { int(CHANGES * $_ / (KILLS + 1)) => 1 } 1 .. KILLS;
	my $kills = 0;
	foreach my $i (1 .. CHANGES)
	{
		my @open = grep $_->{next} < @{ $life{ $_->{kind} } }, @question;
		my $q = pick(chance(0.15) ? @open : grep @{ $life{ $_->{kind} } } > 1, @open);
		my ($sql, $allowed) = @{ $life{ $q->{kind} }[ $q->{next} ] };

		if ($kill{$i})
		{
			my @victims = split /\n/, $primary->safe_psql('postgres',
				"SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()");

			$kills += kill 'KILL', pick(@victims) if @victims;
		}
		$sql = sprintf "SELECT $sql", $q->{id};
		while (1)
		{
			my $begun = now();
			my $answer = $writer->ask($sql);

			push @{ $q->{changes} }, [ $begun, defined $answer ? now() : undef, $allowed ];
			last if defined $answer;

			# it may have happened: then it cannot be done again
			my $state = insist($writer, "SELECT apikey_authorize('$q->{key}', '$q->{project}', 'production', 'write')", $start);
			if (($state eq 't') == $allowed)
			{
				# a commit that was not waited for is not yet on the standby
				insist($writer, "SELECT apikey_grant(key_id, 'web', 'production', 'read') FROM apikey_create('acme', 'x')", $start);
				push @{ $q->{changes} }, [ $begun, now(), $allowed ];
				last;
			}
		}
		$q->{next}++;
		$q->{next} = 0 if $allowed && $q->{next} == @{ $life{ $q->{kind} } };
	}
	Time::HiRes::sleep(0.1);	# answers after the last change
	append_to_file("$dir/stop", '');
	waitpid $_, 0 foreach @pids;
	eval { $writer->{session}->quit };

	foreach my $name (map $_->[0], @askers)
	{
		my ($wrong, $yes, $no) = check("$dir/$name.out");

		if ($name eq 'memory')
		{
			cmp_ok($wrong, '>', 0, "seed $seed: one that remembers is found out ($wrong times)");
			next;
		}
		is($wrong, 0, "seed $seed, $name: no wrong answer");
		cmp_ok($yes, '>', 100, "seed $seed, $name: $yes times yes");
		cmp_ok($no, '>', 100, "seed $seed, $name: $no times no");
	}

	is($kills, KILLS, "seed $seed: $kills backends were killed");
	foreach my $q (grep $_->{next} == @{ $life{ $_->{kind} } }, @question)
	{
		next if $primary->safe_psql('postgres', "SELECT apikey_authorize('$q->{key}', '$q->{project}', 'production', 'write')") eq 'f';
		fail("seed $seed: $q->{kind} holds after the crashes");
	}
	my ($remaining) = $primary->safe_psql('postgres', "SELECT remaining FROM apikey_budgets WHERE key_id = '$rich'");
	my $spent = 0;
	$spent += $_ foreach map slurp_file($_) =~ /^spent\|(\d+)$/mg, glob "$dir/spender*.out";
	note "spent $spent, remaining $remaining";
	cmp_ok($spent, '<=', $budget, "seed $seed: what was spent was there ($spent)");
	cmp_ok($spent, '<=', $budget - $remaining, "seed $seed: and is missing now");
	cmp_ok($spent, '>', 1000, "seed $seed: something was spent");
	is(join("\n", grep !/terminated by signal 9|Failed process was running/, complaints($primary, $from)), '', "seed $seed: nothing bad in the log");
});

$_->stop('immediate') foreach $standby, $primary;
done_testing();
