# What the fuzz tests share.
package Fuzz;

use strict;
use warnings;
use Compress::Zlib ();
use Exporter 'import';
use IO::Handle;
use POSIX ();
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(begin $rounds pick chance between digits fake_key crc_digits
  script client errors
  unexpected complaints);
our $rounds;
our @digits = (0 .. 9, 'A' .. 'Z', 'a' .. 'z');

# Everything is made at random from APIKEY_SEED; APIKEY_ROUNDS is how much of it.
# Each round takes the next seed, so that a round alone is APIKEY_SEED=...
# APIKEY_ROUNDS=1.
sub begin
{
	my ($default_rounds, $run) = @_;
	my $seed = $ENV{APIKEY_SEED} // 20250101;

	$rounds = $ENV{APIKEY_ROUNDS} // $default_rounds;
	note "APIKEY_SEED=$seed APIKEY_ROUNDS=$rounds";
	foreach my $one ($seed .. $seed + $rounds - 1)
	{
		srand($one);
		$run->($one);
	}
}

sub pick { return $_[ rand @_ ]; }
sub chance { return rand() < $_[0]; }
sub between { return $_[0] + int rand($_[1] - $_[0] + 1); }
sub digits { return join '', map $digits[ rand @digits ], 1 .. $_[0]; }

# The checksum of a key, by zlib.
sub crc_digits
{
	my $crc = Compress::Zlib::crc32($_[0]);
	my $text = '';

	for (1 .. 6)
	{
		$text = $digits[ $crc % 62 ] . $text;
		$crc = int($crc / 62);
	}
	return $text;
}

# A key that nobody has issued, with the right checksum.
sub fake_key
{
	my ($prefix, $body) = @_;
	# as first digits these do not exceed the number of bits
	my $text = $prefix . '_' . ($body // pick(0 .. 6) . digits(21) . pick('A', 'a', 0) . digits(42));

	return $text . crc_digits($text);
}

# Runs SQL by psql, errors and all, and calls "meanwhile" until it is done; returns
# what it printed, the number of errors of each SQLSTATE, and their text.
sub script
{
	my ($node, $sql, $meanwhile) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir;
	my $connstr = $node->connstr('postgres');

	open my $to, '>', "$dir/script.sql" or die "$dir: $!";
	print $to $sql;
	close $to;
	my $pid = fork // die "fork: $!";
	if (!$pid)
	{
		exec "exec psql -XqAt -v VERBOSITY=verbose -d \"$connstr\" -f $dir/script.sql >$dir/out 2>$dir/err"
		  or POSIX::_exit(1);
	}
	while ($meanwhile && waitpid($pid, POSIX::WNOHANG()) == 0)
	{
		$meanwhile->();
	}
	waitpid $pid, 0;
	my ($out, $err) = (slurp_file("$dir/out"), slurp_file("$dir/err"));

	return ($out, errors($err), $err);
}

# A psql in a process of its own that is sent what "batch" returns until there is
# a file "stop", and starts anew when its connection is lost; "batch" is told
# whether it just has.  What is printed goes to the files "name.out" and "name.err".
sub client
{
	my ($node, $dir, $name, $batch) = @_;
	my $connstr = $node->connstr('postgres');
	my $seed = int rand 2**31;
	my $pid = fork // die "fork: $!";

	return $pid if $pid;
	srand($seed);
	$SIG{PIPE} = 'IGNORE';
	until (-e "$dir/stop")
	{
		open my $psql, '|-', "exec psql -XqAt -v VERBOSITY=verbose -d \"$connstr\" >>$dir/$name.out 2>>$dir/$name.err"
		  or last;
		$psql->autoflush(1);
		print $psql $batch->(1);
		until (-e "$dir/stop")
		{
			print $psql $batch->(0) or last;
		}
		close $psql;
	}
	POSIX::_exit(0);
}

# How many errors of each SQLSTATE psql has printed.
sub errors
{
	my ($text) = @_;
	my %errors;

	$errors{$1}++ while $text =~ /(?:ERROR|FATAL):  (\w{5}):/g;
	return \%errors;
}

# What psql said of lost connections, and errors but those "allowed".
sub unexpected
{
	my ($text, $allowed) = @_;

	return uniq(grep !/ERROR:  (?:$allowed):/,
		$text =~ /^(.*(?:(?:ERROR|FATAL):  \w{5}:|connection to server was lost|server closed the connection).*)$/mg);
}

# What the server's log has from a place on, and must never have, at most ten of
# it.  It has to be written with log_error_verbosity = verbose.
sub complaints
{
	my ($node, $from) = @_;
	my $log = slurp_file($node->logfile, $from);
	my @lines = grep /terminated by signal|PANIC:|TRAP:|cache lookup failed|(?:ERROR|FATAL|WARNING|LOG):  (?:XX|58)\w{3}:|LOG:  \w{5}: FUZZ:/,
	  split /\n/, $log;

	# no key in the log: of those that look like one, the checksum tells
	foreach my $line ($log =~ /^(.*_[0-9A-Za-z]{71}.*)$/mg)
	{
		while ($line =~ /(?=([a-z][a-z0-9_]{0,31}_[0-9A-Za-z]{71}))/g)
		{
			my $text = $1;

			push @lines, "a key: $line"
			  if substr($text, -6) eq crc_digits(substr $text, 0, -6);
		}
	}
	return uniq(map s/^[-0-9]+ [0-9:.]+ \w+ \[\d+\] //r, @lines);
}

# Each of them once, with its number; at most ten.
sub uniq
{
	my %count;

	$count{ s/\bpsql:\S+ //r =~ s/\(PID \d+\)/(PID)/r }++ foreach @_;
	my @lines = map "$count{$_} times: " . substr($_, 0, 1000), sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count;

	return @lines > 10 ? @lines[ 0 .. 9 ] : @lines;
}

1;
