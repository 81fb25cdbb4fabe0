# What is masked is what is shown.  A library that sends statements on, wherever it
# stands in shared_preload_libraries, gets them as they came; and so does whoever asks
# for the text of the message.  On another server the statement logs in.

use strict;
use warnings;
use File::Basename;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Apikey;

my $dir = PostgreSQL::Test::Utils::tempdir;
my $library = "$dir/forward";
my $file = "$dir/texts";
my $include = `"$ENV{PG_CONFIG}" --includedir-server`;
chomp $include;
system('gcc', '-O2', '-Wall', '-shared', '-fPIC', '-Isrc', "-I$include", '-o', "$library.so", dirname(__FILE__) . '/forward.c') == 0
  or die 'the library is not built';
$ENV{FORWARD_FILE} = $file;

my $conf = q{
log_statement = all
log_min_duration_statement = 0
pg_stat_statements.track = all
pg_stat_statements.track_planning = on
compute_query_id = on
};
my $node = start_node('forward', conf => $conf);
my $key = (issue($node))[1];
my $masked = substr($key, 0, 26) . '_' x 49;
$node->safe_psql('postgres', q{
	CREATE EXTENSION pg_stat_statements;
	CREATE TABLE doc (project text, environment text);
	INSERT INTO doc VALUES ('web', 'production'), ('mars', 'production');
	SET client_min_messages = error;
	SELECT apikey_protect('doc', 'project', 'environment');
	CREATE ROLE app;
	GRANT SELECT ON doc TO app;
	CREATE PROCEDURE nested(text) LANGUAGE plpgsql AS
		$$ BEGIN EXECUTE format('SET LOCAL apikey.key = %L', $1); EXECUTE format('SELECT %L', $1); END $$;
});

# another server, with the same keys
my $second = PostgreSQL::Test::Cluster->new('second');
$second->init;
$second->start;
$second->safe_psql('postgres', 'CREATE ROLE app');
$node->command_ok([ 'pg_dump', '-f', "$dir/dump", 'postgres' ], 'dump');
$second->command_ok([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', 'postgres', '-f', "$dir/dump" ], 'restore');

my @statements = (
	"BEGIN; SET LOCAL apikey.key = '$key'; COMMIT;",
	"SELECT 'simple $key';",
	"SELECT 1\\; SET apikey.key = '$key'\\; SELECT 'several $key';",
	"PREPARE p AS SELECT 'prepared $key'; EXECUTE p; SELECT statement FROM pg_prepared_statements;",
	"BEGIN; DECLARE c CURSOR FOR SELECT 'cursor $key'; SELECT statement FROM pg_cursors; FETCH c; COMMIT;",
	"CALL nested('$key');",
	"DO \$\$ BEGIN PERFORM 'done $key'; RAISE LOG 'said'; PERFORM length(current_query()) = length(replace(current_query(), '__', '')); END \$\$;",
	"EXPLAIN SELECT 'explained $key';",
	"SELECT 'current $key', current_query();",
	"CREATE FUNCTION f() RETURNS text LANGUAGE sql RETURN '$key'; SELECT f(); DROP FUNCTION f();",
	"CREATE TABLE made AS SELECT 'made $key' AS k; TABLE made; DROP TABLE made;",
	"RESET apikey.key;");

# by the extended protocol: Parse, Bind, Execute
sub extended
{
	my $script = "$dir/script";

	unlink $script;
	append_to_file($script, "BEGIN;\nSET LOCAL apikey.key = '$key';\nSELECT 'extended $key' /* $key */;\nCOMMIT;\n");
	$node->command_ok([ 'pgbench', '-n', '-t', '2', '-M', $_, '-f', $script, $node->connstr('postgres') ], "pgbench -M $_")
	  foreach 'extended', 'prepared';
}

# The texts of a hook that have a key in them, or what may be left of one.
sub texts
{
	my ($hook) = @_;
	my $all = slurp_file($file);

	return grep /apk_/, $all =~ /^\Q$hook\E\t(.*)$/mg;
}

# libraries, and whether pg_stat_statements shows no key in utility statements, too
foreach my $order (
	[ 'FORWARD, apikey', undef ], [ 'apikey, FORWARD', undef ],
	[ 'FORWARD, apikey, pg_stat_statements, auto_explain', 1 ],
	[ 'pg_stat_statements, apikey, FORWARD', 0 ], [ 'apikey, FORWARD, pg_stat_statements', 0 ], [ 'FORWARD, pg_stat_statements, apikey', 0 ])
{
	my ($libraries, $hides) = @$order;
	my ($out, $err) = ('', '');
	my $log = -s $node->logfile;

	$node->append_conf('postgresql.conf', "shared_preload_libraries = '" . $libraries =~ s/FORWARD/$library/r . "'");
	unlink $file;
	$node->restart;
	my $started = substr(slurp_file($node->logfile), $log);
	foreach (@statements)
	{
		my $result;

		$node->psql('postgres', $_, stdout => \$result, stderr => \$err);
		$out .= "$result\n";
	}
	extended();

	foreach my $hook (qw(analyze analyzed plan start started state end utility done message))
	{
		my @texts = texts($hook);

		cmp_ok(scalar @texts, '>', 3, "$libraries: texts of $hook");
		is(join("\n", grep !/\Q$key\E/ || /\Q$masked\E/, @texts), '', "$libraries: all of them true");
	}
	unlike($out, qr/\Q$masked\E/, "$libraries: what is executed and prepared is true");
	like($out, qr/^PREPARE p AS SELECT 'prepared \Q$key\E';$/m, "$libraries: pg_prepared_statements");
	like($out, qr/^current \Q$key\E\|SELECT 'current \Q$key\E', current_query\(\);$/m, "$libraries: current_query()");
	like($out, qr/^made \Q$key\E$/m, "$libraries: CREATE TABLE AS");

	# sent on, it logs in
	my ($set) = grep /SET LOCAL/, texts('utility');
	is( $_->safe_psql('postgres', "SET ROLE app; BEGIN; $set; SELECT * FROM doc; COMMIT"),
		'web|production', "$libraries: what was sent on logs in on the " . $_->name) foreach $node, $second;

	my $new = substr(slurp_file($node->logfile), $log);
	unlike($new, qr/\Q$key\E/, "$libraries: no key in the log");
	like($new, qr/statement: .*\Q$masked\E/, "$libraries: but its masked form");
	my $warning = qr/LOG:  library "pg_stat_statements" gets statements with the keys in them/;
	if (defined $hides && !$hides) { like($started, $warning, "$libraries: the log warns"); }
	else { unlike($started, $warning, "$libraries: nothing to warn of"); }
	next if !defined $hides;
	my $shown = $node->safe_psql('postgres', 'SELECT query FROM pg_stat_statements');
	if ($hides) { unlike($shown, qr/\Q$key\E/, "$libraries: no key in pg_stat_statements"); }
	else { like($shown, qr/\Q$key\E/, "$libraries: keys in pg_stat_statements"); }
	$node->safe_psql('postgres', 'SELECT pg_stat_statements_reset()');
}
$_->stop foreach $node, $second;
done_testing();
