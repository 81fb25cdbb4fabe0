# What the fuzz tests share.
package Fuzz;

use strict;
use warnings;
use Compress::Zlib ();
use Exporter 'import';
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(begin $rounds pick chance between digits fake_key crc_digits
  script complaints);
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

# Runs SQL by psql, errors and all; returns what it printed and the number of
# errors of each SQLSTATE.
sub script
{
	my ($node, $sql, %options) = @_;
	my $file = PostgreSQL::Test::Utils::tempdir_short . '/script.sql';
	my (%errors, $out, $err);

	open my $to, '>', $file or die "$file: $!";
	print $to $sql;
	close $to;
	my $command = IPC::Run::start(
		[ 'psql', '-XqAt', '-v', 'VERBOSITY=verbose', '-d', $node->connstr('postgres'), '-f', $file ],
		'>', \$out, '2>', \$err);
	$options{meanwhile}->($command) if $options{meanwhile};
	$command->finish;
	$errors{$1}++ while $err =~ /ERROR:  (\w{5}):/g;
	$errors{lost}++ if $err =~ /connection to server was lost|server closed the connection/;
	return ($out, \%errors);
}

# Lines of the server's log, from a place on, that must never be there.  It has to
# be written with log_error_verbosity = verbose.
sub complaints
{
	my ($node, $from, $allowed) = @_;
	my $log = slurp_file($node->logfile, $from // 0);
	my @lines = grep /terminated by signal|PANIC:|TRAP:|cache lookup failed|(?:ERROR|FATAL|WARNING|LOG|CONTEXT):.*(?:XX\w{3}|58\w{3}):|FUZZ:|server process .* exited with exit code [^01]/,
	  split /\n/, $log;

	@lines = grep !/$allowed/, @lines if $allowed;
	# no key in the log: of those that look like one, the checksum tells
	foreach my $line (split /\n/, $log)
	{
		while ($line =~ /(?=([a-z][a-z0-9_]{0,31}_[0-9A-Za-z]{71}))/g)
		{
			my $text = $1;

			push @lines, "a key: $line"
			  if substr($text, -6) eq crc_digits(substr $text, 0, -6);
		}
	}
	return @lines;
}

1;
