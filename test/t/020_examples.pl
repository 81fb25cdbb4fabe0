# The documentation tells the truth.
#
# Every ```sql block of README.md and doc/*.md is run: those of one file in one
# session, in order, by a superuser in a fresh database, of a server that has the
# extension preloaded; psql's backslash commands and variables work.  What is to come out stands in a comment behind
# the statement, or alone in an indented line below it:
#
#	SELECT count(*) FROM orders;  -- 3
#	SELECT id, item FROM orders;  -- 1 | banner
#	TABLE orders;  -- 2 rows
#	SELECT 'a' = 'a';  -- true
#	SELECT apikey_login('rubbish');
#		-- ERROR 28000: invalid API key
#
# The plan that the EXPLAIN in a block shows is in a ```text block right after it.
#
# A statement must not fail otherwise.  Comments elsewhere are only comments.
#
# What is shown as seen through a key is what the application sees: while a key is
# logged in, no statement is run by a role that policies do not hold for.
#
# ```js, ```python and ```ini blocks are held against the programs in examples/
# and the settings that there are, the reference against the catalog.

use strict;
use warnings;
use File::Basename;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $tree = dirname(__FILE__) . '/../..';
my @files = ("$tree/README.md", sort glob "$tree/doc/*.md $tree/doc/*/*.md");

my $node = PostgreSQL::Test::Cluster->new('examples');
$node->init;
$node->append_conf('postgresql.conf', "fsync = off\nshared_preload_libraries = 'apikey'");
$node->start;

# Text of the blocks in a language, in order.  Those in a list are indented.
sub blocks
{
	my ($file, $language) = @_;
	my $text = slurp_file($file);
	my @blocks;

	while ($text =~ /^(\h*)```(\w+)\n(.*?)^\1```$/gms)
	{
		push @blocks, $3 =~ s/^\Q$1\E//gmr if $2 eq $language;
	}
	return @blocks;
}

# The SQL blocks, each with the plan that is in the text block after it, if any.
sub sql_blocks
{
	my ($file) = @_;
	my $text = slurp_file($file);
	my @blocks;

	while ($text =~ /^(\h*)```sql\n(.*?)^\1```\n(?:\n```text\n(.*?)^```\n)?/gms)
	{
		my ($indent, $sql, $plan) = ($1, $2, $3);

		push @blocks, [ $sql =~ s/^\Q$indent\E//gmr, $plan ];
	}
	return @blocks;
}

# The statements of such a block
sub block_statements
{
	my ($sql, $plan) = @{ $_[0] };
	my @statements = statements($sql);

	if (defined $plan)
	{
		my ($explain) = grep $_->{text} =~ /^\s*EXPLAIN\b/m, @statements;

		# psql puts a blank before each line where it makes columns
		$explain->{plan} = $plan =~ s/^ //gmr if $explain;
	}
	return @statements;
}

# Split SQL into statements, each with the comment about its result, if any.
sub statements
{
	my ($sql) = @_;
	my @statements;
	my $text = '';

	pos($sql) = 0;
	while (pos($sql) < length $sql)
	{
		if ($sql =~ /\G(;|\\\w[^\n]*)/gc)
		{
			my %statement = (text => $text . $1);

			$statement{result} = $1
			  if $sql =~ /\G\h*--\h*([^\n]*)/gc || $sql =~ /\G\n\h+--\h*([^\n]*)/gc;
			push @statements, \%statement;
			$text = '';
		}
		elsif ($sql =~ /\G(--[^\n]*|'(?:[^']|'')*'|"[^"]*"|(\$\w*\$).*?\2|.)/gcs)
		{
			# psql replaces :name and :'name' within neither quotes nor comments
			$text .= $1;
		}
	}
	push @statements, { text => $text } if $text =~ /^(?!\h*--)\h*\S/m;
	return @statements;
}

# Is a key logged in, and would policies not hold?
my $blind = q{SELECT current_setting('apikey.key', true) <> '' AND (rolsuper OR rolbypassrls
	OR EXISTS (SELECT FROM pg_class WHERE relowner = r.oid)) AS blind
	FROM pg_roles r WHERE rolname = current_user} =~ s/\s+/ /gr;

# A psql script that tells what came of each statement.
sub script
{
	my @statements = @_;
	my $script = "\\set ON_ERROR_STOP on\n\\pset footer off\n";

	foreach my $n (0 .. $#statements)
	{
		my $error = ($statements[$n]{result} // '') =~ /^ERROR/;

		$script .= "\\echo \@\@\@ $n\n";
		$script .= "\\set ON_ERROR_STOP off\n" if $error;
		$script .= "$statements[$n]{text}\n";
		$script .= "\\set ON_ERROR_STOP on\n" if $error;
		$script .= "\\echo \@\@\@ end :ERROR :SQLSTATE :ROW_COUNT :LAST_ERROR_MESSAGE\n";
		$script .= "\\set ON_ERROR_STOP off\n$blind \\gset\n\\set ON_ERROR_STOP on\n\\echo \@\@\@ blind :blind\n";
	}
	return $script . "\\echo \@\@\@ done\n";
}

# What psql said about a statement, in the form of a result comment.
sub outcome
{
	my ($output, $wanted) = @_;
	my ($rows, $error, $state, $count, $message) =
	  $output =~ /^(.*?)\@\@\@ end (\w+) (\w+) (\d+) ?([^\n]*)$/ms
	  or return 'nothing';

	return "ERROR $state: $message" if $error eq 'true';
	return $count == 1 ? '1 row' : "$count rows" if $wanted =~ /^\d+ rows?$/;
	chomp $rows;
	return join ' | ', map { $_ eq 't' ? 'true' : $_ eq 'f' ? 'false' : $_ }
	  split / \| /, $rows, -1;
}

my $database = 'examples000';
foreach my $file (@files)
{
	my $name = $file =~ s!^\Q$tree/\E!!r;
	my @statements = map block_statements($_), sql_blocks($file);
	my ($out, $err);

	next if !@statements && $name ne 'README.md';
	$database++;
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	IPC::Run::run(
		[
			'psql', '-XqAt', '-F', ' | ', '-P', 'null=null',
			'-d', $node->connstr($database), '-f', '-'
		],
		'<', \script(@statements), '>', \$out, '2>', \$err);

	my %said = $out =~ /^\@\@\@ (\d+)\n(.*?)(?=^\@\@\@ (?:\d+|done)$|\z)/gms;
	like($out, qr/^\@\@\@ done$/m, "$name: the examples run to their end")
	  or diag($err);
	foreach my $n (grep defined $statements[$_]{result}, 0 .. $#statements)
	{
		my ($text, $wanted) = @{ $statements[$n] }{qw(text result)};

		# the last line of a statement says enough
		is( outcome($said{$n} // '', $wanted), $wanted,
			"$name: " . ($text =~ /(\S[^\n]*)\z/)[0]);
	}

	is(join("\n", map $statements[$_]{text}, grep { ($said{$_} // '') =~ /^\@\@\@ blind t$/m } 0 .. $#statements),
		'', "$name: with a key as the application's role");

	foreach my $n (grep defined $statements[$_]{plan}, 0 .. $#statements)
	{
		my ($plan) = ($said{$n} // '') =~ /^(.*?)\@\@\@ end/ms;

		is($plan, $statements[$n]{plan}, "$name: the plan of " . ($statements[$n]{text} =~ /(\S[^\n]*)\z/)[0]);
	}

	$node->safe_psql('postgres', "DROP DATABASE $database");
	$node->safe_psql('postgres',
		"SELECT format('DROP ROLE %I', rolname) FROM pg_roles"
		  . " WHERE oid >= 16384 \\gexec");
}

# Code in other languages is that of the programs, where it is not a few lines
# of README.md.  Indentation apart.
my %programs = (js => 'node/app.js', python => 'python/app.py');
foreach my $language (sort keys %programs)
{
	my $program = slurp_file("$tree/examples/$programs{$language}") =~ s/^\h+//gmr;
	my @blocks = blocks("$tree/doc/how-to/connect-from-clients.md", $language);

	ok(@blocks > 0, "doc/how-to/connect-from-clients.md has examples in $language");
	ok(index($program, $_ =~ s/^\h+//gmr) >= 0,
		"doc/how-to/connect-from-clients.md: $language is that of examples/$programs{$language}")
	  foreach @blocks;
}

# Settings exist.
my %settings = map { $_ => 1 } split /\n/, $node->safe_psql('postgres', q{
	SET client_min_messages = warning;
	CREATE EXTENSION apikey CASCADE;
	SELECT FROM apikey_whoami();
	SELECT name FROM pg_settings; });
foreach my $file (@files)
{
	foreach my $setting (map /^([\w.]+)\h*=/gm, blocks($file, 'ini'))
	{
		# PostgREST's have hyphens
		ok($settings{$setting}, basename($file) . ": setting $setting exists");
	}
}

# The reference names each function with its arguments, each view and setting.
# The variants for identifiers that are not text have the same names.  What is in
# apikey_internal is nobody's to call.
my $readme = slurp_file("$tree/README.md");
my ($reference) = $readme =~ /^## Reference\n(.*?)^## /ms;
my %listed = map { tr/\n / /sr =~ s/'[^']*'//gr => 1 } $reference =~ /`(apikey_\w+\([^`]*\))`/g;
my %signatures;
foreach my $listed (keys %listed)
{
	my ($name, $arguments) = $listed =~ /^(\w+)\((.*)\)$/;

	$signatures{"$name(" . join(', ', map /^\h*(\w+)/, split /,/, $arguments) . ')'} = 1;
}
my @functions = split /\n/, $node->safe_psql('postgres', q{
	SELECT DISTINCT proname || '(' || coalesce(array_to_string(
		proargnames[1:pronargs], ', '), '') || ')'
	FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid
	WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
	AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'apikey')
	AND p.pronamespace <> 'apikey_internal'::regnamespace; });
is_deeply([ sort keys %signatures ], [ sort @functions ],
	'README.md: the reference has all functions and no other');

my $others = $node->safe_psql('postgres', q{
	SELECT relname FROM pg_depend d JOIN pg_class c ON c.oid = d.objid
	WHERE d.classid = 'pg_class'::regclass AND d.deptype = 'e'
	AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'apikey')
	AND relkind = 'v'
	UNION SELECT name FROM pg_settings WHERE name LIKE 'apikey.%'; });
like($reference, qr/^\| `\Q$_\E` \|/m, "README.md: the reference has $_")
  foreach split /\n/, $others;

# Columns of views and of functions that return rows.
my $columns = $node->safe_psql('postgres', q{
	SELECT relname, string_agg(attname, ',' ORDER BY attnum) FROM pg_class
	JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0
	WHERE relname IN ('apikey_keys', 'apikey_grants', 'apikey_protected', 'apikey_events',
	'apikey_guesses', 'apikey_budgets', 'apikey_registry', 'apikey_attached', 'apikey_usage', 'apikey_usage_hours')
	GROUP BY 1
	UNION ALL SELECT DISTINCT proname, array_to_string(proargnames[pronargs + 1:], ',')
	FROM pg_proc WHERE proname IN ('apikey_cache_stats', 'apikey_verify', 'apikey_rate_limit',
	'apikey_create', 'apikey_explain', 'apikey_rotate',
	'apikey_find_keys', 'apikey_who_can', 'apikey_reach', 'apikey_unused', 'apikey_usage_stats'); });
foreach (split /\n/, $columns)
{
	my ($name, @wanted) = split /[|,]/;
	my ($row) = $reference =~ /^(\| `$name\b.*)$/m;

	# after the name and its arguments
	$row =~ s/^\| `[^`]*`//;
	my $pattern = join '\b.*?\b', @wanted;
	like($row, qr/\b$pattern\b/, "README.md: the columns of $name");
}

# Defaults.
foreach my $setting (split /\n/, $node->safe_psql('postgres', q{
	SET client_min_messages = warning;
	SELECT FROM apikey_whoami();
	SELECT name || '|' || CASE unit WHEN 'kB' THEN
		pg_size_pretty(boot_val::bigint * 1024) ELSE boot_val END
	FROM pg_settings WHERE name LIKE 'apikey.%'; }))
{
	my ($name, $default) = split /\|/, $setting, -1;

	$default = $default eq '' ? 'empty' : '`' . $default =~ s/ (?=[kM]B$)//r . '`';
	# pg_size_pretty goes on in kB up to 10 MB
	$default =~ s/`(\d+)kB`/$1 % 1024 ? $& : '`' . $1 \/ 1024 . 'MB`'/e;
	like($reference, qr/^\| `\Q$name\E` \| \Q$default\E \|/m,
		"README.md: the default of $name");
}

# No block is missed for want of a language or an end, and links lead somewhere.
foreach my $file (@files)
{
	my $fences = () = slurp_file($file) =~ /^\h*```/gm;
	my $blocks = map blocks($file, $_), qw(sql js python ini sh text);

	is($fences, 2 * $blocks, basename($file) . ': all blocks are understood');

	my @links = grep !/^\w+:/, slurp_file($file) =~ /\]\(([^)#]+)/g;
	my @broken = grep { !-e dirname($file) . "/$_" } @links;

	is("@broken", '', basename($file) . ': links lead somewhere');
}

$node->stop;
done_testing();
