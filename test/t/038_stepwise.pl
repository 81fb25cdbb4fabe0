# A database that was upgraded step by step is the same as one where the newest version was
# installed at once.  Until there is a second version, a simulated one shows that this
# comparison works, and that it finds whatever a script might forget.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Apikey;
use Upgrade;

my ($pg_config, $path) = installation();
my $node = start_node('stepwise', install_path => $path);
my $n = 0;

# The catalog must not depend on what the installing role gives away by default.
$node->safe_psql('postgres', 'DROP EXTENSION apikey');
$node->safe_psql('postgres', q{
	CREATE ROLE greedy;
	CREATE ROLE app;
});

# A database with a version, the default one if it is undefined, and some rows
sub database
{
	my ($version) = @_;
	my $name = 'd' . ++$n;

	$node->safe_psql('postgres', "CREATE DATABASE $name");
	$node->safe_psql($name, q{
		SET client_min_messages = warning;
		ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO greedy, PUBLIC;
		ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO greedy;
		ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO greedy, PUBLIC;
		CREATE EXTENSION apikey } . ($version ? "VERSION '$version' " : '') . q{CASCADE;
		SELECT apikey_add_project('acme', 'web');
	});
	issue($node, $name);
	return $name;
}

# From each version that there is a whole script of, one step after the other, and in one
# statement.  Returns the catalog of the default version, and how many steps there were.
sub compare
{
	my ($default) = split /\n/, $node->safe_psql('postgres', "SELECT default_version FROM pg_available_extensions WHERE name = 'apikey'");
	my $fresh = describe($node, database());
	my @old = grep $_ ne $default, map m!/apikey--([\d.]+)\.sql$!, glob `$pg_config --sharedir` =~ s!\s*$!/extension/apikey--*.sql!r;
	my $steps = 0;

	cmp_ok(scalar @$fresh, '>', 1000, "$default: its catalog");
	foreach my $old (@old)
	{
		my ($stepwise, $at_once) = (database($old), database($old));
		my @path = split /--/, $node->safe_psql($stepwise,
			"SELECT path FROM pg_extension_update_paths('apikey') WHERE source = '$old' AND target = '$default'");

		is($path[0], $old, "$old: a path leads to $default");
		shift @path;
		# what users were given stays
		$node->safe_psql($_, 'GRANT EXECUTE ON FUNCTION apikey_suspend TO app') foreach $stepwise, $at_once;
		foreach my $step (@path)
		{
			$node->safe_psql($stepwise, "ALTER EXTENSION apikey UPDATE TO '$step'");
			$steps++;
		}
		$node->safe_psql($at_once, 'ALTER EXTENSION apikey UPDATE');
		foreach my $database ($stepwise, $at_once)
		{
			is($node->safe_psql($database, "SELECT has_function_privilege('app', 'apikey_suspend(text, text)', 'EXECUTE')"),
				't', "$old: what was granted stays");
			is(difference(describe($node, $database, 'REVOKE EXECUTE ON FUNCTION apikey_suspend FROM app'), $fresh),
				'', "$old: upgraded to $default, the same as installed");
		}
	}
	return ($fresh, $steps);
}

my ($real, $real_steps) = compare();
note "steps: $real_steps";

# ------------------------------------------------------------ simulated

install_next(make_next(), $pg_config);
my ($fresh, $steps) = compare();
cmp_ok($steps, '>', $real_steps, 'a step more');
like(difference($real, $fresh), qr/^\+ column \| apikey_key \| note \| \d+ text not null 'none'::text/m, 'it is another version');

# What a script might forget: each shows.
my $database = database();
foreach my $forgotten (
	'ALTER TABLE apikey_key ALTER note DROP DEFAULT',
	'ALTER TABLE apikey_grant ALTER note DROP NOT NULL',
	'ALTER TABLE apikey_derivation DROP note',
	q{ALTER TABLE apikey_budget ALTER note SET DEFAULT 'other'},
	'ALTER TABLE apikey_use ALTER note TYPE varchar',
	'ALTER TABLE apikey_use RESET (fillfactor)',
	'ALTER TABLE apikey_grant REPLICA IDENTITY DEFAULT',
	'ALTER TABLE apikey_note ENABLE TRIGGER apikey_changed',
	'ALTER TABLE apikey_secret ENABLE TRIGGER ALL',
	'ALTER TABLE apikey_key DROP CONSTRAINT apikey_key_derived',
	'ALTER TABLE apikey_note DROP CONSTRAINT apikey_note_key_fkey',
	'DROP INDEX apikey_event_at_idx',
	'CREATE INDEX ON apikey_event (action)',
	'CREATE POLICY p ON apikey_key USING (true)',
	'ALTER TABLE apikey_note ENABLE ROW LEVEL SECURITY',
	'GRANT SELECT ON apikey_note TO PUBLIC',
	'GRANT SELECT (note) ON apikey_key TO greedy',
	'GRANT EXECUTE ON FUNCTION apikey_answer TO PUBLIC',
	'REVOKE EXECUTE ON FUNCTION apikey_authorize(text, text, text, text) FROM PUBLIC',
	'GRANT USAGE ON SCHEMA apikey_internal TO PUBLIC',
	'ALTER FUNCTION apikey_answer(text) STABLE',
	'ALTER FUNCTION apikey_suspend(text, text) SECURITY INVOKER',
	'ALTER FUNCTION apikey_suspend(text, text) RESET search_path',
	q{UPDATE pg_proc SET prosrc = 'apikey_other' WHERE proname = 'apikey_answer'},
	'COMMENT ON FUNCTION apikey_answer(text) IS NULL',
	q{COMMENT ON TABLE apikey_note IS 'other'},
	q{COMMENT ON COLUMN apikey_key.note IS 'other'},
	'ALTER EXTENSION apikey DROP TABLE apikey_note',
	'ALTER EXTENSION apikey DROP FUNCTION apikey_answer(text)',
	q{UPDATE pg_extension SET extconfig = extconfig[2:], extcondition = extcondition[2:] WHERE extname = 'apikey'},
	q{UPDATE pg_extension SET extcondition[3] = 'WHERE false' WHERE extname = 'apikey'},
	q{UPDATE pg_extension SET extversion = '1.0.1' WHERE extname = 'apikey'},
	q{ALTER TYPE apikey_level ADD VALUE 'admin'},
	'ALTER VIEW apikey_budgets RENAME note TO notes',
	'CREATE OR REPLACE VIEW apikey_suspended AS SELECT 1 AS x; ALTER EXTENSION apikey ADD VIEW apikey_suspended',
	'ALTER TABLE apikey_key OWNER TO greedy')
{
	isnt(difference(describe($node, $database, $forgotten), $fresh), '', "found: $forgotten");
}

$node->stop;
done_testing();
