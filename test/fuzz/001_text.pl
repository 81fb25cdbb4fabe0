# Texts made at random, and what the finder, the masking and the parser make of
# them: each of them against the same written plainly in Perl.

use strict;
use warnings;
use Math::BigInt;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Apikey ();
use Fuzz;

# in a round
use constant { FINDS => 3000, REDACTS => 7000, KEYS => 60, PARSES => 4000 };

# The same sources, in a library that says what the functions return.
my $dir = PostgreSQL::Test::Utils::tempdir;
my $pg_config = $ENV{PG_CONFIG} // 'pg_config';
chomp(my $include = `$pg_config --includedir-server`);
system_or_bail('gcc', '-O2', '-shared', '-fPIC', '-Wl,-Bsymbolic', '-Isrc', "-I$include",
	q{-DPGDLLEXPORT=__attribute__((visibility("default")))},
	'-o', "$dir/fuzz_text.so", 'test/fuzz/text.c',
	map "src/base/$_.c", qw(escape finder redact token));

my $node = PostgreSQL::Test::Cluster->new('text');
$node->init;
$node->append_conf('postgresql.conf', "fsync = off\n");
$node->start;
$node->safe_psql('postgres', "
	CREATE FUNCTION fuzz_find(bytea, boolean, boolean) RETURNS text LANGUAGE C AS '$dir/fuzz_text';
	CREATE FUNCTION fuzz_parse(bytea) RETURNS text LANGUAGE C AS '$dir/fuzz_text';
	CREATE FUNCTION fuzz_redact(bytea, text) RETURNS bytea LANGUAGE C AS '$dir/fuzz_text';
	CREATE FUNCTION fuzz_redact_needed(bytea, text) RETURNS boolean LANGUAGE C AS '$dir/fuzz_text';
	CREATE TABLE given (i int, t bytea, list text);
");

# What "expression" of t and list is for each of the texts; columns by '|'.
sub ask
{
	my ($expression, @given) = @_;

	open my $to, '>', "$dir/given" or die "$dir/given: $!";
	print $to join '', map "$_\t\\\\x" . unpack('H*', $given[$_][0]) . "\t" . ($given[$_][1] // '') . "\n", 0 .. $#given;
	close $to;
	return split /\n/, $node->safe_psql('postgres', "
		TRUNCATE given; COPY given FROM '$dir/given';
		SELECT $expression FROM given ORDER BY i");
}

# The first that differs is shown in full.
sub same
{
	my ($name, $seed, $given, $wanted, $got) = @_;
	my @wrong = grep +($got->[$_] // '') ne $wanted->[$_], 0 .. $#$wanted;

	ok(!@wrong, "seed $seed: $name, " . @$wanted . ' texts');
	diag(scalar @wrong, ' differ, the first of them is number ', $wrong[0], ': ',
		substr($given->[ $wrong[0] ][0], 0, 2000) =~ s/([^ -~])/sprintf '\\x%02x', ord $1/ger,
		"\nwanted: $wanted->[$wrong[0]]\ngot:    ", $got->[ $wrong[0] ] // '') if @wrong;
}

# ---------------------------------------------------------- plainly in Perl

# The largest numbers that fit, which are also the last in alphabetical order
sub largest
{
	my ($bits, $width) = @_;
	my $n = Math::BigInt->new(2)->bpow($bits)->bdec;
	my $text = '';

	for (1 .. $width)
	{
		my ($quotient, $rest) = $n->copy->bdiv(62);

		$text = $Fuzz::digits[$rest] . $text;
		$n = $quotient;
	}
	return $text;
}
my ($id_max, $secret_max, $crc_max) = (largest(128, 22), largest(256, 43), largest(32, 6));
my %value = map { $Fuzz::digits[$_] => $_ } 0 .. 61;

sub hex_of
{
	my ($text, $words) = @_;
	my @words = (0) x $words;

	foreach my $digit (split //, $text)
	{
		my $carry = $value{$digit};

		foreach my $word (reverse @words)
		{
			$carry += $word * 62;
			$word = $carry & 0xffffffff;
			$carry >>= 32;
		}
	}
	return join '', map sprintf('%08x', $_), @words;
}

sub parse
{
	my ($text) = @_;

	return '0' if $text !~ /\A([a-z][a-z0-9_]{0,31})_([0-9A-Za-z]{22})([0-9A-Za-z]{43})([0-9A-Za-z]{6})\z/;
	return '1' if $4 ne crc_digits(substr $text, 0, -6) || $2 gt $id_max || $3 gt $secret_max;
	return join ',', 2, length $1, hex_of($2, 4), hex_of($3, 8);
}

# The key whose '_' before the body is at "at", else the length of what could be its prefix
sub find_plain
{
	my ($text, $at) = @_;
	my $longest;

	foreach my $len (1 .. 32)
	{
		next if $len > $at || substr($text, $at - $len, $len) !~ /\A[a-z][a-z0-9_]*\z/;
		$longest = $len;
	}
	foreach my $len (1 .. 32)
	{
		next if $len > $at || substr($text, $at - $len, $len) !~ /\A[a-z][a-z0-9_]*\z/;
		my $key = substr $text, $at - $len, $len + 72;
		next if substr($key, -6) ne crc_digits(substr $key, 0, -6);

		# only the shortest with the right checksum counts
		return ([ 1, $at - $len, $len + 72, $len, $1 ], $longest) if parse($key) =~ /^2,\d+,(\w+),/;
		last;
	}
	return (undef, $longest);
}

# '_' escaped, and what stands between the characters of a key that is broken over lines
my $under = qr/\\{0,15}_|%(?:25){0,3}(?:u00)?5f|=(?:3d){0,3}5f
	|\\{1,15}(?:x5f|u?005f|u0000005f|[ux]\{5f\}|137)
	|&(?:amp;){0,3}(?:\#0?95|\#x(?:00)?5f|lowbar|underbar);/xi;
my $blank = qr/\\[nrt]|[^0-9A-Za-z_]/;
my $gap = qr/$blank*?(?:\\[nr]|[\r\n])$blank*/;

# The key of which the body begins at "at", behind one of the underscores that end where
# "ends" says; where, and its length in the text
sub read_key
{
	my ($text, $at, $ends, $join) = @_;
	my $under_ends = $at;

	for (my $len = 1; $join && !defined $ends->{$at} && $len <= 128 && $len <= $at; $len++)
	{
		my $blanks = substr $text, $at - $len, $len;

		last if $blanks =~ /\A[0-9A-Za-z_]/ && ($blanks !~ /\A[nrt]/ || $at == $len || substr($text, $at - $len - 1, 1) ne '\\');
		next if !defined $ends->{ $at - $len } || $blanks !~ /\A$gap\z/;
		$under_ends = $at - $len;
		last;
	}
	my $between = $join ? qr/(?:$gap)?/ : qr//;
	return if !defined $ends->{$under_ends} || substr($text, $at, 3000) !~ /\A((?:$between[0-9A-Za-z]){71})/;
	my ($broken, $begin) = ($1, $ends->{$under_ends});
	my $body = $broken =~ s/$gap//gr;

	for (my $start = $begin - 1; $start >= 0 && $start > $begin - 600; $start--)
	{
		my $prefix = substr $text, $start, $begin - $start;

		last if $prefix =~ /\A[ACEG-TV-Z]/;	# of no escape
		next if $prefix !~ /\A[a-z](?:$between(?:$under|[a-z0-9]))*$between\z/;
		$prefix =~ s/$under/_/g;
		$prefix =~ s/$gap//g if $join;
		next if length $prefix > 32;
		my $key = $prefix . '_' . $body;
		my $parsed = parse($key);
		return [ 1, $start, $at + length($broken) - $start, length $prefix, $1 ] if $parsed =~ /^2,\d+,(\w+),/;
	}
	return;
}

sub find
{
	my ($text, $formbricks, $join) = @_;
	my (@found, @all, %ends);

	while ($text =~ /(?=($under))/g)
	{
		$ends{ $-[0] + length $1 } //= $-[0];
	}
	while ($text =~ /[0-9A-Za-z]+/g)
	{
		my ($run, $run_end) = ($-[0], $+[0]);
		my ($plain, $longest, $key);

		if ($run_end - $run >= 71 && $run > 0 && substr($text, $run - 1, 1) eq '_')
		{
			($plain, $longest) = find_plain($text, $run - 1);
		}
		my $heads = $run > 0 && substr($text, $run - 1, 1) =~ /[%\\=]/ ? 13 : 0;
		foreach my $at ($run .. ($plain ? $run - 1 : $run_end < $run + $heads ? $run_end : $run + $heads))
		{
			next if $at > $run && !(defined $ends{$at} && $ends{$at} < $run)
			  && !($join && $at == $run + 1 && $run > 0 && substr($text, $run - 1, 2) =~ /\\[nrt]/);
			next if !$join && $run_end - $at < 71;
			$key //= read_key($text, $at, \%ends, $join);
		}
		$plain //= $key;
		if ($key && $join)
		{
			pos($text) = $key->[1] + $key->[2];
		}
		if (!$plain && defined $longest && $run_end - $run == 71
			&& ($run - 1 == $longest || substr($text, $run - $longest - 2, 1) !~ /[0-9A-Za-z]/))
		{
			$plain = [ 0, $run - 1 - $longest, $longest + 72, $longest, '' ];
		}
		push @found, $plain if $plain;
	}
	while ($formbricks && $text =~ /fbk_([0-9A-Za-z_-]{43})/g)
	{
		my $at = $-[0];

		next if $1 !~ /[0-9A-Za-z]/ || grep $_->[0] == 1 && $at >= $_->[1] && $at < $_->[1] + $_->[2], @found;
		push @all, [ 2, $at, 47, 3, '' ];
	}
	return join ' ', map join(',', @$_), sort { $a->[1] <=> $b->[1] || $a->[0] <=> $b->[0] } @found, @all;
}

# -------------------------------------------------------------- at random

my @prefixes = (qw(apk apk_ v_2 tenant_42 a z9 fbk sk_live x__ a_1_2_3), 'p' x 32, 'q' . '_9' x 15);
my @foreign = ('', '', 'sk', 'sk, ghp, fbk', 'xoxb-1,sk_live', 'v_2', 'p');

sub prefix
{
	return chance(0.8) ? pick(@prefixes)
	  : pick('a' .. 'z') . join '', map pick('a' .. 'z', 0 .. 9, '_'), 1 .. between(0, 31);
}

sub key
{
	my $key = fake_key(prefix());

	# wrong checksum, or a number too large
	substr($key, between(-71, -1), 1) = pick(@Fuzz::digits) if chance(0.15);
	$key = fake_key(prefix(), 'z' x 65) if chance(0.03);
	return $key;
}

sub escaped
{
	my ($key) = @_;
	my $again = between(0, 2);
	my $escape = pick('\\' x (1 + $again) . '_', '%' . '25' x $again . '5F', '%' . '25' x $again . '5f', '=' . '3D' x $again . '5F', '%u005F',
		(map '\\' x (1 + $again) . $_, 'u005f', 'u005F', 'x5f', '137', '005f', 'U0000005F', 'u{5f}'), map '&' . 'amp;' x $again . "$_;", '#95', '#x5F', 'lowbar', 'UnderBar');

	return $key =~ s/_/chance(0.9) ? $escape : '_'/ger;
}

sub broken
{
	my ($key) = @_;
	my $break = pick("=\n", "=\r\n", "\n", "\r\n", "\r", "\\\n", "\n" . ' ' x between(1, 40), "\n> ", "\n\t", "\" +\n  \"", '\\n', '\\r\\n', '=\\r\\n', "\\n\\t", "  \n");

	# at any width, but not within an escape
	my $width = between(8, 80);
	my $rest = between(0, $width - 1);
	my @chars = split //, $key;
	splice @chars, $_, 0, $break foreach reverse grep $_ > 0 && $_ % $width == $rest, 1 .. $#chars;
	return chance(0.3) ? escaped(join '', @chars) : join '', @chars;
}

sub glue
{
	return pick('', '', '', '_', '-', ' ', '.', '...', "'", '"', ',', "\n", "\0", '__', 'a', '7', 'Z', '2_', 'x_',
		"\xc3\xa4", "\xe2\x80\xa6", "\xff", "\xf0\x9f\x94\x91", digits(between(1, 80)), '_' x between(1, 40),
		lc(unpack 'H*', digits(16)), 'fbk_' . digits(between(40, 46)), 'fbk_' . '_' x 43,
		'https://x.y/?k=', 'apk_', 'apk', join '', map chr rand 256, 1 .. between(1, 20));
}

sub cut
{
	my $key = key();

	return chance(0.5) ? substr($key, 0, between(1, length $key)) : substr($key, between(0, length($key) - 1));
}

sub text
{
	return join '', map pick(\&key, \&key, sub { escaped(key()) }, sub { broken(key()) }, \&glue, \&glue, \&cut, sub { 'fbk_' . join '', map pick(@Fuzz::digits, '_', '-'), 1 .. 43 })->(), 1 .. between(1, 12);
}

# A text with keys, whole or cut off as PostgreSQL does, and the places in it that
# must not stay readable.
sub secret_text
{
	my $text = '';
	my @secret;

	for (1 .. between(1, 8))
	{
		$text .= glue() if chance(0.6);
		my $key = fake_key(prefix());
		my $body = substr $key, -71;
		my $way = rand;

		if ($way < 0.75)	# whole, whatever is glued to it
		{
			$text .= chance(0.7) ? $key : escaped($key);
			push @secret, [ length($text) - 49, 49 ];
		}
		elsif ($way < 0.85)	# its beginning
		{
			my $len = between(32, 70);

			$text .= substr($key, 0, -71) . substr($body, 0, $len);
			push @secret, [ length($text) - $len + 22, $len - 22 ];
			$text .= pick('...', ' ', "'", "\xe2\x80\xa6");
		}
		elsif ($way < 0.95)	# its end
		{
			my $len = between(16, 71);

			$text .= '...' . substr($body, -$len);
			push @secret, [ length($text) - $len, $len ];
		}
		else				# without its prefix
		{
			$text .= pick(' ', "'", '"', "\n", '-') . $body;
			push @secret, [ length($text) - 49, 49 ];
			$text .= pick(' ', "'", '"', "\n", '-', '_');
		}
	}
	$text .= glue() if chance(0.6);
	return [ $text, pick(@foreign), \@secret ];
}

# ------------------------------------------------------------------ rounds

begin(1, sub {
	my ($seed) = @_;
	my (@given, @wanted, @got, %seen);

	# the parser: each change of each character, cuts, more
	my $one = fake_key('apk');
	push @given, [$one];
	foreach my $at (0 .. length($one) - 1)
	{
		push @given, map { my $t = $one; substr($t, $at, 1) = chr; [$t] } 0 .. 255;
	}
	for (1 .. KEYS)
	{
		my $key = fake_key(prefix());

		push @given, [$key], map [ substr $key, 0, $_ ], 0 .. length($key) - 1;
		push @given, map [ substr $key, $_ ], 1 .. length($key);
		push @given, map { my $t = $key; substr($t, $_, 1) = pick(@Fuzz::digits, chr rand 256); [$t] } 0 .. length($key) - 1;
		push @given, map { my $t = $key; substr($t, $_, 0) = pick(@Fuzz::digits, "\0", chr rand 256); [$t] } 0 .. length($key);
		push @given, [ $key . "\0" ], [ "\0" . $key ], [ $key . $key ], [ uc $key ], [ ' ' . $key ];
	}
	foreach my $body (($id_max . $secret_max), ('0' x 65), ('z' x 65),
		(substr($id_max, 0, -1) . 'z') . $secret_max, $id_max . (substr($secret_max, 0, -1) . 'z'))
	{
		push @given, [ fake_key('apk', $body) ];
	}
	push @given, [ substr(fake_key('apk'), 0, -6) . 'zzzzzz' ], [ key() x 1000 ];
	push @given, map [ key() ], 1 .. PARSES;
	@wanted = map parse($_->[0]), @given;
	$seen{ substr $_, 0, 1 }++ foreach @wanted;
	same('the parser', $seed, \@given, \@wanted, [ ask('fuzz_parse(t)', @given) ]);
	cmp_ok($seen{$_}, '>', 100, "seed $seed: form $_: $seen{$_} times") foreach 0 .. 2;

	# the finder
	@given = map [ text() ], 1 .. FINDS;
	push @given, map [$_], join('', map text(), 1 .. 1000),
	  ('x' x 3_000_000) . '_' . key() . ('_' x 1_500_000) . key(),
	  'fbk_' x 300_000, '_' . 'a' x 2_000_000, fake_key('apk') x 10_000;
	@wanted = map join('|', find($_->[0], 1, 0), find($_->[0], 0, 0), find($_->[0], 1, 1)), @given;
	%seen = ();
	foreach (@wanted) { $seen{$1}++ while /(?:^|[ |])(\d)/g; }
	same('the finder', $seed, \@given, \@wanted, [ ask('fuzz_find(t, true, false), fuzz_find(t, false, false), fuzz_find(t, true, true)', @given) ]);
	cmp_ok($seen{$_}, '>', 100, "seed $seed: kind $_: $seen{$_} times") foreach 0 .. 2;

	# masking
	@given = map secret_text(), 1 .. REDACTS;
	push @given, [ join('', map secret_text()->[0], 1 .. 3000), '', [] ];
	@got = ask(q{encode(fuzz_redact(t, list), 'hex'), fuzz_redact(fuzz_redact(t, list), list) = fuzz_redact(t, list),
		fuzz_redact_needed(t, list) = (fuzz_redact(t, list) <> t)}, @given);
	my %wrong = map { $_ => [] } qw(readable length other twice needed);
	foreach my $i (0 .. $#given)
	{
		my ($hex, $twice, $needed) = split /\|/, $got[$i];
		my $text = pack 'H*', $hex;
		my $changed = $text ^ $given[$i][0];

		push @{ $wrong{length} }, $i if length $text != length $given[$i][0];
		push @{ $wrong{readable} }, $i if grep substr($text, $_->[0], $_->[1]) =~ /[^_]/, @{ $given[$i][2] };
		# what was changed was a letter or digit and became '_'
		while ($changed =~ /[^\0]+/g)
		{
			my ($at, $len) = ($-[0], $+[0] - $-[0]);

			next if substr($text, $at, $len) =~ /\A_+\z/ && substr($given[$i][0], $at, $len) =~ /\A[0-9A-Za-z]+\z/;
			push @{ $wrong{other} }, $i;
			last;
		}
		push @{ $wrong{twice} }, $i if $twice ne 't';
		push @{ $wrong{needed} }, $i if $needed ne 't';
	}
	my %name = (
		readable => 'no secret can be read', length => 'the length stays', other => 'only letters and digits become _',
		twice => 'masked twice is masked once', needed => 'it is known beforehand whether there is a key');
	foreach my $kind (sort keys %wrong)
	{
		my ($i, @more) = @{ $wrong{$kind} };

		ok(!defined $i, "seed $seed: masking, " . @given . " texts: $name{$kind}");
		next if !defined $i;
		($i) = sort { length $given[$a][0] <=> length $given[$b][0] } $i, @more;
		diag(1 + @more, " texts; the shortest is number $i, other prefixes '$given[$i][1]': ",
			$given[$i][0] =~ s/([^ -~])/sprintf '\\x%02x', ord $1/ger,
			"\nmasked: ", pack('H*', (split /\|/, $got[$i])[0]) =~ s/([^ -~])/sprintf '\\x%02x', ord $1/ger);
	}
});

$node->stop('immediate');
done_testing();
