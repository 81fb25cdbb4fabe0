# Tables of the extension are altered, rewritten, reindexed and dropped beside
# clients that decide and change things with warm caches: no crash, no internal
# error, no wrong answer.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Apikey;
use Fuzz;

# in a round
use constant { STEPS => 400, DROPS => 8 };

my $node = start_node('ddl', conf => q{
fsync = off
autovacuum = off
shared_preload_libraries = 'apikey'
log_error_verbosity = verbose
log_min_error_statement = panic
log_statement = none
deadlock_timeout = 100ms
});

# All that the extension keeps, whatever there will be
my $tables = q{FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'apikey'
	JOIN pg_class c ON c.oid = d.objid WHERE d.classid = 'pg_class'::regclass AND d.deptype = 'e' AND relkind = 'r'};
my @tables = split /\n/, $node->safe_psql('postgres', "SELECT c.oid::regclass $tables ORDER BY 1");
my %columns = map { my ($table, $list) = split /\|/; $table => [ split /,/, $list // '' ] } split /\n/, $node->safe_psql('postgres',
	"SELECT c.oid::regclass, (SELECT string_agg(attname, ',' ORDER BY attnum) FROM pg_attribute
		WHERE attrelid = c.oid AND attnum > 0) $tables");
my %indexes = map { my ($table, $list) = split /\|/; $table => [ split /,/, $list // '' ] } split /\n/, $node->safe_psql('postgres',
	"SELECT c.oid::regclass, (SELECT string_agg(indexrelid::regclass::text, ',') FROM pg_index
		WHERE indrelid = c.oid AND indpred IS NULL) $tables");
cmp_ok(scalar @tables, '>', 9, 'tables: ' . join(' ', @tables));

# Keys that are good until the extension is dropped, and such that never are:
# each of them becomes one of the latter then.
my $stock = q{
	SET client_min_messages = warning;
	BEGIN;
	INSERT INTO token (kind, key, key_id)
	SELECT kind, c.key, c.key_id FROM unnest('{good,good,good,revoked,disabled,expired,nothing,ungranted}'::text[]) kind,
		LATERAL apikey_create('acme', kind, CASE kind WHEN 'nothing' THEN '[]' ELSE
			'[{"project": "web", "environment": "production", "level": "write"}]' END::jsonb) c;
	SELECT apikey_revoke(key_id) FROM token WHERE kind = 'revoked' AND NOT old;
	SELECT apikey_disable(key_id) FROM token WHERE kind = 'disabled' AND NOT old;
	SELECT apikey_ungrant(key_id, 'web', 'production') FROM token WHERE kind = 'ungranted' AND NOT old;
	UPDATE apikey_key SET expires_at = now() - interval '1 second' WHERE label = 'expired';
	COMMIT;
};
$node->safe_psql('postgres', "CREATE TABLE token (k int GENERATED ALWAYS AS IDENTITY, kind text, key text,
	key_id uuid, old boolean NOT NULL DEFAULT false); $stock");

my $asked = q{'web', 'production', 'write'};
my @decide = (
	"SELECT 'WRONG yes', k, kind, old FROM token WHERE (old OR kind <> 'good') AND apikey_authorize(key, $asked);",
	"SELECT 'WRONG row', k, kind, old FROM token, apikey_verify(key) WHERE old OR kind NOT IN ('good', 'nothing', 'ungranted');",
	"SELECT 'WRONG project', k, kind, old FROM token WHERE (old OR kind <> 'good') AND apikey_projects_of(key, 'write') <> '{}';",
	"SELECT 'WRONG reason', k, kind, old FROM token, apikey_explain(key, $asked) WHERE allowed AND (old OR kind <> 'good');",
	"SELECT 'WRONG status', k, kind, old FROM token, apikey_find_keys(key) WHERE status = 'active' AND (old OR kind IN ('revoked', 'disabled', 'expired'));",
	"BEGIN; SELECT set_config('apikey.key', key, true) AS nothing FROM token WHERE kind = 'revoked' ORDER BY k LIMIT 1 \\gset\n"
	  . "SELECT 'WRONG session' WHERE apikey_authorize($asked); COMMIT;");
my $served = "SELECT 'served', count(*) FROM token WHERE kind = 'good' AND NOT old AND apikey_authorize(key, $asked);";
my $good = "SELECT 'WRONG no', k FROM token WHERE kind = 'good' AND NOT old AND NOT apikey_authorize(key, $asked);";
my $look = 'SELECT count(*) AS nothing FROM apikey_keys \gset' . "\n"
  . 'SELECT count(*) AS nothing FROM apikey_usage \gset' . "\n";
# not while its tables are dropped: to PostgreSQL that is XX000 in a function in SQL
my $who = qq{SELECT count(*) AS nothing FROM apikey_who_can($asked) \\gset\n};

sub decider
{
	my ($sure) = @_;

	return sub {
		my ($new) = @_;

		return "SET plan_cache_mode = force_generic_plan; SET deadlock_timeout = '10ms';\n" if $new;
		return join "\n", map pick(@decide, $served, $sure ? ($good, $who) : (), $look), 1 .. 10;
	};
}

# A key of its own: what is taken away is gone at once.
sub writer
{
	return q{
		SELECT key_id AS id, key FROM apikey_create('acme', 'w', '[{"project": "web", "environment": "production", "level": "write"}]') \gset
		\if :ERROR
		\else
		SELECT apikey_grant(:'id', 'web', 'development', 'read');
		SELECT apikey_set_budget(:'id', 5);
		SELECT apikey_spend(:'key', 2) AS nothing \gset
		SELECT key AS new FROM apikey_rotate(:'id') \gset
		\if :ERROR
		\else
		SELECT 'WRONG yes, rotated' WHERE apikey_authorize(:'key', 'web', 'production', 'write');
		SELECT apikey_update(:'id', label => 'x');
		SELECT apikey_ungrant(:'id', 'web', 'production');
		\if :ERROR
		\else
		SELECT 'WRONG yes, ungranted' WHERE apikey_authorize(:'new', 'web', 'production', 'write');
		\endif
		} . pick('SELECT apikey_revoke(:\'id\');', 'SELECT apikey_delete(:\'id\');', 'SELECT apikey_disable(:\'id\');') . q{
		\if :ERROR
		\else
		SELECT 'WRONG yes, revoked' WHERE apikey_authorize(:'new', 'web', 'development', 'read');
		SELECT 'revoked';
		\endif
		\endif
		\endif
	} =~ s/^\t+//mgr;
}

my $added = 0;

# One change of one table, undone as often as not.
sub step
{
	my $table = pick(@tables);
	my @index = @{ $indexes{$table} };
	my $x = 'x' . ++$added;
	my @ways = (
		(map {
			my $type = pick('int', 'int DEFAULT 7', 'text', "text DEFAULT repeat('x', 100)", 'boolean NOT NULL DEFAULT true',
				'timestamptz DEFAULT clock_timestamp()', 'uuid DEFAULT gen_random_uuid()', 'int GENERATED ALWAYS AS (7) STORED');
			("ALTER TABLE $table ADD COLUMN $x $type",
				"ALTER TABLE $table ADD COLUMN $x $type; ALTER TABLE $table DROP COLUMN $x",
				"ALTER TABLE $table ADD COLUMN $x $type, ADD COLUMN ${x}b $type, ADD COLUMN ${x}c $type")
		} 1 .. 2),
		"SELECT format('ALTER TABLE $table DROP COLUMN %I', attname) FROM pg_attribute WHERE attrelid = '$table'::regclass AND attname ~ '^x\\d' LIMIT 1 \\gexec\n",
		"REINDEX TABLE $table", "REINDEX TABLE CONCURRENTLY $table", "VACUUM FULL $table", "VACUUM $table", "ANALYZE $table",
		"ALTER TABLE $table SET (fillfactor = " . between(50, 100) . ')',
		"ALTER TABLE $table RENAME TO $x; ALTER TABLE " . ($table =~ s/\w+$/$x/r) . " RENAME TO " . ($table =~ /(\w+)$/)[0],
		"BEGIN; LOCK $table; ROLLBACK",
		"BEGIN; ALTER TABLE $table ADD COLUMN $x int DEFAULT 1; ROLLBACK",
		"ALTER TABLE $table ENABLE ROW LEVEL SECURITY; ALTER TABLE $table DISABLE ROW LEVEL SECURITY",
		"GRANT SELECT ON $table TO public; REVOKE SELECT ON $table FROM public");

	if (@index)
	{
		my $index = pick(@index);

		push @ways, "CLUSTER $table USING $index", "REINDEX INDEX $index", "REINDEX INDEX CONCURRENTLY $index",
		  "ALTER INDEX $index RENAME TO $x; ALTER INDEX $x RENAME TO $index";
	}
	if (my @column = @{ $columns{$table} })
	{
		my $column = pick(@column);

		push @ways, "ALTER TABLE $table RENAME COLUMN $column TO $x; ALTER TABLE $table RENAME COLUMN $x TO $column",
		  "ALTER TABLE $table ALTER COLUMN $column SET STATISTICS 10", "CREATE INDEX $x ON $table ($column); DROP INDEX $x";
	}
	return pick(@ways) =~ s/;/;\n/gr . ";\n";
}

# Runs a script of DDL beside clients; "allowed" are errors of theirs.
sub beside
{
	my ($name, $sure, $sql, $allowed) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir;
	my $from = -s $node->logfile;
	my @pids = ((map client($node, $dir, "decider$_", decider($sure)), 1 .. 2),
		(map client($node, $dir, "writer$_", \&writer), 1 .. 2));
	my ($out, $errors, $err) = script($node, $sql);

	append_to_file("$dir/stop", '');
	waitpid $_, 0 foreach @pids;

	my $said = join '', map slurp_file($_), glob "$dir/*.out";
	my $refused = join '', map slurp_file($_), glob "$dir/*.err";
	my $seen = errors($refused);
	my @wrong = $said =~ /^(WRONG.*)$/mg;
	my %count;

	$count{$_}++ foreach $said =~ /^(served\|[1-9]|revoked)/mg;
	is("@wrong[0 .. ($#wrong > 9 ? 9 : $#wrong)]", '', "$name: no wrong answer");
	is(join("\n", unexpected($refused, $allowed)), '', "$name: only the errors $allowed");
	is(join("\n", unexpected($err, '-')), '', "$name: all was done");
	is(join("\n", complaints($node, $from)), '', "$name: nothing bad in the log");
	note "$name: ", join ', ', map("$_: $count{$_}", sort keys %count), map "$_: $seen->{$_}", sort keys %$seen;
	cmp_ok($count{$_} // 0, '>', 0, "$name: $_, $count{$_} times") foreach grep $sure || $_ ne 'served|3', 'served|3', 'revoked';
	is($node->safe_psql('postgres', join ' ', $good, @decide[ 0 .. 4 ]), '', "$name: no wrong answer afterwards");
}

# It locks all that is dropped in an order of its own, so there are deadlocks, which are
# found soon here and by all others.
my $drop = q{SET deadlock_timeout = '10ms';
	DO $$
	BEGIN
		LOOP
			BEGIN
				DROP EXTENSION apikey;
				EXIT;
			EXCEPTION WHEN deadlock_detected THEN
			END;
		END LOOP;
	END $$;};

begin(1, sub {
	my ($seed) = @_;

	# what has another name for a moment is not there for a plan
	beside("seed $seed: altered", 1, join('', map step(), 1 .. STEPS), '55000|42P01|42703');

	# all columns that were added go with it, and all keys, one that has just been made too
	beside("seed $seed: dropped", 0, join('',
		(qq{SET client_min_messages = warning;
			$drop
			UPDATE token SET old = true;
			SELECT pg_sleep(0.05) \\gset
			BEGIN;
			CREATE EXTENSION apikey;
			SELECT apikey_add_project('acme', 'web');
			COMMIT;
			$stock
			SELECT pg_sleep(0.2) \\gset
		} =~ s/^\t+//mgr) x DROPS), '55000|42P01|42883|3F000|40P01|42704|28000');
});

$node->stop('immediate');
done_testing();
