# The documentation tells the truth: the examples.
#
# Every ```sql block of README.md and the pages in doc/ is run: those of one page in one
# session, in order, by a superuser in a fresh database, of a server that has the
# extension preloaded; psql's backslash commands and variables work.  What is to come out
# stands in a comment behind the statement, or alone in an indented line below it:
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
# All pages are run in one cluster, in an order that APIKEY_SEED decides; so each makes
# roles of names that no other page has.  That a page starts in a fresh database it says.
#
# Code in other languages, like ```js, is held against the programs in examples/ and
# test/, ```ini against the settings that there are.  Links and headings are held against each other.
# What the reference says of functions, views, settings and errors is the subject of
# 033_reference.pl.

use strict;
use warnings;
use File::Basename;
use Pages;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Apikey ();

my $seed = $ENV{APIKEY_SEED} // int rand 1_000_000;
my $node = PostgreSQL::Test::Cluster->new('examples');
$node->init(allows_streaming => 'logical');
$node->append_conf('postgresql.conf', "fsync = off\nshared_preload_libraries = 'apikey'");
$node->start;

# The SQL blocks, each with the plan that is in the text block after it, if any.
sub sql_blocks
{
	my ($text) = @_;
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
		# after an error, too, psql 17 takes for data what comes next
		$script .= "\\.\n" if $statements[$n]{text} =~ /\bFROM STDIN;$/;
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

# What psql said to each of the statements, run one after the other in a fresh
# database; and whether it came to the end.  Leaves no role behind: a page may
# be tried again.
sub run
{
	my ($database, @statements) = @_;
	my ($out, $err);
	my $roles = 'SELECT rolname FROM pg_roles';
	my %before = map { $_ => 1 } split /\n/, $node->safe_psql('postgres', $roles);

	$node->safe_psql('postgres', "CREATE DATABASE $database");
	IPC::Run::run(
		[
			'psql', '-XqAt', '-F', ' | ', '-P', 'null=null',
			'-d', $node->connstr($database), '-f', '-'
		],
		'<', \script(@statements), '>', \$out, '2>', \$err);
	$node->safe_psql('postgres', "DROP DATABASE $database");
	$node->safe_psql('postgres', qq{DROP ROLE "$_"})
	  foreach grep !$before{$_}, split /\n/, $node->safe_psql('postgres', $roles);

	my %said = $out =~ /^\@\@\@ (\d+)\n(.*?)(?=^\@\@\@ (?:\d+|done)$|\z)/gms;
	my $done = $out =~ /^\@\@\@ done$/m;

	return ($done, $err, map $said{$_} // '', 0 .. $#statements);
}

# The last line of a statement says enough.
sub last_line { return ($_[0] =~ /(\S[^\n]*)\n?\z/)[0] }

sub plan_in { return ($_[0] =~ /^(.*?)\@\@\@ end/ms)[0] }

sub try_page
{
	my ($name, $database) = @_;
	my @statements = map block_statements($_), sql_blocks(page($name));
	my ($done, $err, @said);
	my $blind = '';

	# VACUUM makes no page visible to all that an older transaction, of autovacuum perhaps, might not see
	foreach (1 .. 3)
	{
		($done, $err, @said) = run($database, @statements);
		last if !grep { defined $statements[$_]{plan} && plan_in($said[$_]) ne $statements[$_]{plan} } 0 .. $#statements;
	}

	ok($done, "$name: the examples run to their end (APIKEY_SEED=$seed)") or diag($err);
	foreach my $n (0 .. $#statements)
	{
		my ($text, $wanted, $plan) = @{ $statements[$n] }{qw(text result plan)};

		is(outcome($said[$n], $wanted), $wanted, "$name: " . last_line($text)) if defined $wanted;
		is(plan_in($said[$n]), $plan, "$name: the plan of " . last_line($text))
		  if defined $plan;
		$blind .= "$text\n" if $said[$n] =~ /^\@\@\@ blind t$/m;
	}
	is($blind, '', "$name: with a key as the application's role");
}

my $database = 'examples000';
my @pages = grep { blocks(page($_), 'sql') } pages();

srand($seed);
foreach my $name (map $_->[1], sort { $a->[0] <=> $b->[0] } map [ rand, $_ ], @pages)
{
	try_page($name, $database++);
}

# Code in other languages is part of a program, indentation apart.
my %endings = (js => 'js', ts => 'ts', python => 'py', go => 'go', ruby => 'rb', php => 'php',
	java => 'java', c => 'c');
foreach my $language (sort keys %endings)
{
	my @programs = map { slurp_file($_) =~ s/^\h+//gmr }
	  glob "$tree/{examples,test}/{*,*/*}/*.$endings{$language}";

	foreach my $name (pages())
	{
		foreach my $block (map { s/^\h+//gmr } blocks(page($name), $language))
		{
			ok(scalar(grep { index($_, $block) >= 0 } @programs),
				"$name: part of a program: " . last_line($block));
		}
	}
}

# Settings exist.
my %settings = map { $_ => 1 } split /\n/, $node->safe_psql('postgres', q{
	SET client_min_messages = warning;
	CREATE EXTENSION apikey CASCADE;
	SELECT FROM apikey_whoami();
	SELECT name FROM pg_settings; });
foreach my $name (pages())
{
	# PostgREST's have hyphens
	foreach my $line (map /^([\w.]+\h*=.*)$/gm, blocks(page($name), 'ini'))
	{
		my ($setting) = $line =~ /^([\w.]+)/;
		my ($since) = $line =~ /# PostgreSQL (\d+)$/;

		ok($settings{$setting}, "$name: setting $setting exists")
		  if $node->pg_version->major >= ($since // 0);
	}
}

# The links on a page to what is in this tree
sub links { return grep !/^\w+:/, page($_[0]) =~ /\]\(([^)\s]+)\)/g }

# The file, from the top of the tree, and the heading that a link on a page names
sub target
{
	my ($name, $link) = @_;
	my ($path, $heading) = split /#/, $link, 2;
	my $file = $path eq '' ? $name : dirname($name) . "/$path";

	1 while $file =~ s!(?:^|/)\K\./|[^/]+/\.\./!!;
	return ($file, $heading);
}

sub is_broken
{
	my ($file, $heading) = target(@_);

	return 1 if !-e "$tree/$file";
	return defined $heading && !anchors(page($file))->{$heading};
}

# Long lines outside of blocks and tables
sub long_lines
{
	my ($text) = @_;

	$text =~ s/^(\h*)```.*?^\1```$//gms;
	# an address cannot be broken, and a character may be several bytes
	$text =~ s/https:\S+//g;
	return grep s/[\x80-\xbf]//gr =~ /^(?!\h*\|).{121}/, split /\n/, $text;
}

foreach my $name (pages())
{
	my $text = page($name);
	my $fences = () = $text =~ /^\h*```/gm;
	my $blocks = map blocks($text, $_), keys %endings, qw(sql ini sh text toml yaml);

	is($fences, 2 * $blocks, "$name: all blocks are understood");
	is(join(' ', grep is_broken($name, $_), links($name)), '', "$name: links lead somewhere");
	is(join("\n", long_lines($text)), '', "$name: no line of prose is longer than 120 characters");
	like((split /^```sql/m, $text)[0], qr/^The examples start in a fresh database; run them in order\b/m,
		"$name: says how to run its examples")
	  if blocks($text, 'sql') && $name ne 'README.md';
}
my %linked;
my @next = ('README.md');
while (defined(my $name = shift @next))
{
	push @next, grep /\.md$/, map +(target($name, $_))[0], links($name) if !$linked{$name}++;
}
is(join(' ', grep !$linked{$_}, pages()), '', 'links lead from README.md to every page');

cmp_ok(page('README.md') =~ tr/\n//, '<=', 200, 'README.md has at most 200 lines');

$node->stop;
done_testing();
