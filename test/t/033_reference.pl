# The documentation tells the truth: the reference.
#
# doc/reference is held against the catalog, and its errors against the source.  Its
# examples are run by 020_examples.pl.
#
# A function has a section, whose heading is its name.  There stand
# - a ```text block: "name(arguments) RETURNS result" of each variant, as the catalog has
#   them, of a procedure without a result; one with "any" stands for those with text in its
#   place as well,
# - a paragraph whose first sentence is the COMMENT,
# - perhaps "Errors:" and a list, each element with its SQLSTATE,
# - a line in italics: who may call it, and how,
# - an example that calls it.

use strict;
use warnings;
use Apikey;
use File::Find;
use Pages;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('reference', conf => "shared_preload_libraries = 'apikey'\n");
my $mine = q{d.deptype = 'e'
	AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'apikey')};

# Rows of a query, each a list
sub rows
{
	return map [ split /\x1f/, $_, -1 ], split /\x1e/,
	  $node->safe_psql('postgres', $_[0],
		extra_params => [ '-F', "\x1f", '-R', "\x1e" ]) =~ s/\n\z//r;
}

sub one_line { return $_[0] =~ s/\s+/ /gr =~ s/^ | $//gr }

# The first sentence of a section, in the form of a comment
sub first_sentence
{
	my ($text) = @_;
	my ($paragraph) = $text =~ /\A\s*(?:```.*?^```\n\s*)?(.*?)(?:\n\n|\z)/ms;

	return lc one_line($paragraph) =~ s/`//gr =~ s/\.(?: .*|\z)//r;
}

# As pages write types and defaults
sub plain
{
	return $_[0] =~ s/timestamp with time zone/timestamptz/gr =~ s/::[\w ]+(?:\[\])?//gr;
}

# ---------------------------------------------------------------- functions

my (%variants, %facts, %comments);
foreach (rows(qq{
	SELECT proname, pg_get_function_arguments(p.oid),
		coalesce(' RETURNS ' || pg_get_function_result(p.oid), ''),
		obj_description(p.oid),
		CASE WHEN has_function_privilege('public', p.oid, 'EXECUTE') THEN 'Open' ELSE 'Closed' END
		|| ' to PUBLIC. ' || CASE WHEN prosecdef THEN 'SECURITY DEFINER. ' ELSE '' END
		|| CASE provolatile WHEN 'v' THEN 'VOLATILE' WHEN 's' THEN 'STABLE' ELSE 'IMMUTABLE' END
		|| '. PARALLEL ' || CASE proparallel WHEN 's' THEN 'SAFE' WHEN 'r' THEN 'RESTRICTED'
			ELSE 'UNSAFE' END || '.'
	FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid
	WHERE d.classid = 'pg_proc'::regclass AND $mine
		AND p.pronamespace <> 'apikey_internal'::regnamespace}))
{
	my ($name, $arguments, $result, $comment, $facts) = @$_;
	my $signature = plain("$name($arguments)$result");

	push @{ $variants{$name} }, $signature;
	$comments{$signature} = $comment;
	$facts{$name} = $facts;
}

# A signature, and those with text in place of each "any"
sub expand
{
	my ($signature) = @_;

	return $signature if $signature !~ /"any"/;
	return map expand($signature =~ s/"any"/$_/r), 'text', "\0";
}

my %functions;		# name => page
my $errors = page('doc/reference/errors.md');
foreach my $page (grep m!^doc/reference/functions-!, pages())
{
	foreach (grep $_->[0] =~ /^apikey/, sections(page($page), 3))
	{
		my ($name, $text) = @$_;
		my @shown = split /\n(?=apikey)/, (blocks($text, 'text'))[0] // '';
		my @wanted = sort @{ $variants{$name} // [] };
		my @got;

		@shown = map one_line($_) =~ s/\( /(/gr, @shown;
		@got = sort map s/\0/"any"/gr, map expand($_), @shown;
		$functions{$name} = $page;
		is(join("\n", @got), join("\n", @wanted), "$name: its signatures");
		is(first_sentence($text), lc($comments{ ($shown[0] // '') =~ s/"any"/text/gr } // 'none'),
			"$name: the first sentence is the comment");
		like($text, qr/^\*\Q$facts{$name}\E (?:Works|Not) on standbys\.\*$/m,
			"$name: who may call it, and how");
		ok((grep /\b$name\b/, blocks($text, 'sql')), "$name: an example calls it");
		foreach my $state ($text =~ /^- ([0-9A-Z]{5}):/gm)
		{
			like($errors, qr/^### $state\b/m, "$name: error $state is in the reference");
		}
	}
}
is(join(' ', sort keys %functions), join(' ', sort keys %variants), 'all functions, and no other');

my $index = page('doc/reference/functions.md');
is(join(' ', grep { my $page = $functions{$_} =~ s!.*/!!r; $index !~ /\[$_\]\($page#$_\)/ }
		sort keys %functions), '', 'functions.md leads to all of them');

# -------------------------------------------------------------------- views

my (%columns, %views);
push @{ $columns{ $_->[0] } }, "$_->[1] " . plain($_->[2]) foreach rows(qq{
	SELECT relname, attname, format_type(atttypid, atttypmod)
	FROM pg_depend d JOIN pg_class c ON c.oid = d.objid
		JOIN pg_attribute ON attrelid = c.oid AND attnum > 0 AND NOT attisdropped
	WHERE d.classid = 'pg_class'::regclass AND relkind = 'v' AND relnamespace <> 'apikey_internal'::regnamespace AND $mine
	ORDER BY relname, attnum});
$views{ $_->[0] } = $_->[1] foreach sections(page('doc/reference/views.md'), 3);
foreach my $name (sort keys %columns)
{
	my $text = $views{$name} // '';

	is(join("\n", map { $_->[0] =~ tr/`//dr . " $_->[1]" } table($text)),
		join("\n", @{ $columns{$name} }), "$name: its columns");
	is(first_sentence($text),
		lc $node->safe_psql('postgres', "SELECT obj_description('$name'::regclass)"),
		"$name: the first sentence is the comment");
	ok((grep /\b$name\b/, blocks($text, 'sql')), "$name: an example reads it");
}
is(join(' ', sort keys %views), join(' ', sort 'Tables', 'apikey_level', keys %columns),
	'all views, and no other');

is(join(' ', sort map $_->[0] =~ /`(\w+)`/g, table($views{Tables})),
	$node->safe_psql('postgres', qq{
		SELECT string_agg(relname, ' ' ORDER BY relname)
		FROM pg_depend d JOIN pg_class c ON c.oid = d.objid
		WHERE d.classid = 'pg_class'::regclass AND relkind = 'r'
			AND relnamespace <> 'apikey_internal'::regnamespace AND $mine}),
	'all tables, and no other');

# ----------------------------------------------------------------- settings

my %set_by = (
	user => 'anybody, at any time',
	superuser => 'superusers and whom they `GRANT SET ON PARAMETER`, at any time',
	sighup => 'the configuration of the server, at a reload',
	postmaster => 'the configuration of the server, at a restart');
my %settings = map @$_, sections(page('doc/reference/settings.md'), 3);
my @names;
foreach (rows(q{
	SELECT FROM apikey_whoami();
	SELECT name, CASE vartype WHEN 'bool' THEN 'boolean' WHEN 'string' THEN 'text' ELSE vartype END
		|| coalesce(' in ' || unit, '') || coalesce(', from ' || min_val || ' to ' || max_val, ''),
		coalesce('`' || nullif(current_setting(name), '') || '`', 'empty'), context
	FROM pg_settings WHERE name LIKE 'apikey.%' AND setting = boot_val}))
{
	my ($name, $type, $default, $context) = @$_;

	like($settings{$name} // '',
		qr/\A\n- Type: \Q$type\E\n- Default: \Q$default\E\n- Set by: \Q$set_by{$context}\E\n/,
		"$name: type, range, default and context");
	push @names, $name;
}
is(join(' ', sort keys %settings), join(' ', sort @names), 'all settings, and no other');

# ------------------------------------------------------------------- errors

my $code = '';
find({ no_chdir => 1, wanted => sub { $code .= slurp_file($_) if /\.[ch]$/ } }, "$tree/src");
$code =~ s!/\*.*?\*/!!gs;

# SQLSTATEs by the names that PostgreSQL's headers give them
my $includes = $ENV{PG_CONFIG} // 'pg_config';
chomp($includes = `"$includes" --includedir-server`);
my %states;
foreach my $text (slurp_file("$includes/utils/errcodes.h"), $code)
{
	while ($text =~ /^#define (\w+)\s+MAKE_SQLSTATE\(([^)]*)\)/gm)
	{
		my ($name, $letters) = ($1, $2);

		$states{$name} = $letters =~ tr/', //dr;
	}
}

# What stands in pages for what is filled in
my $gap = "\xe2\x80\xa6";

# Adjacent string literals, as pages show them
sub message
{
	my ($literals) = @_;
	my $message = join '', map /^"(.*)"$/s ? $1 : $gap, $literals =~ /"(?:[^"\\]|\\.)*"|\w+/gs;

	return $message =~ s/%(?:\.\*)?l*[sdum]/$gap/gr =~ s/\\"/"/gr;
}

my $string = qr/(?:\b[A-Z_]+\s+)?(?:"(?:[^"\\]|\\.)*"\s*)+/;
my %literals = map { message($_) => 1 } $code =~ /($string)/g;
my %raised;		# state => message => 1
while ($code =~ /\bereport\(\s*(ERROR|WARNING|NOTICE)\b(.*?)\)\s*;/gs)
{
	my ($level, $report) = ($1, $2);
	my ($name) = $report =~ /\berrcode\((\w+)/;
	my ($literals) = $report =~ /\berrmsg(?:_internal)?\(\s*($string)/;

	# where it is not known here it may be any
	$raised{ $states{ $name // '' } // $level }{ message($literals) } = 1 if $literals;
}
# those that are handed over, but not those that are only compared
while ($code =~ /(?<![!=]= )\b(?:(ERRCODE_\w+)|MAKE_SQLSTATE\(([^)]*)\))/g)
{
	my $state = defined $1 ? $states{$1} : $2 =~ tr/', //dr;

	$raised{$state} //= {} if defined $state;
}
$raised{XX000} //= {} if $code =~ /\belog\(ERROR/;
$raised{'25006'} //= {} if $code =~ /\bPreventCommandIfReadOnly\(/;
$raised{'25P01'} //= {} if $code =~ /\bWarnNoTransactionBlock\(/;

my %entries;	# state => text
$entries{ ($_->[0] =~ /^(\w+)/)[0] } .= $_->[1] foreach sections($errors, 3);
my @shown = map blocks(page($_), 'sql'), pages();
my %shown = map { $_ => 1 } map /-- ERROR (\w{5}):/g, @shown;

foreach my $state (sort grep !/^(?:ERROR|WARNING|NOTICE)$/, keys %raised)
{
	ok($entries{$state}, "errors.md has $state");
	is(join("\n", grep { $_ ne $gap && index($entries{$state} // '', "`$_`") < 0 }
			sort keys %{ $raised{$state} }), '', "errors.md: all messages of $state");
}
is(join("\n", grep $_ ne $gap && index($errors, "`$_`") < 0,
		sort map keys %{ $raised{$_} // {} }, qw(ERROR WARNING NOTICE)),
	'', 'errors.md: all other messages, warnings and notices');
is(join(' ', grep !$raised{$_} && !$shown{$_}, sort keys %entries), '', 'errors.md: no SQLSTATE in vain');
is(join("\n", grep !$literals{$_},
		map { map $_->[0] =~ /`([^`]+)`/g, table($_) } map $_->[1],
		grep $_->[0] !~ /PostgreSQL/, sections($errors, 3)),
	'', 'errors.md: no message in vain');

$node->stop;
done_testing();
