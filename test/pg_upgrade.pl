# pg_upgrade from one version of PostgreSQL to the next, copying files or linking them, and
# a dump of the first restored into each: everything is there, works, and is as it would
# be if the extension had been installed there.
#
# Started by test/pg_upgrade, with the directories of the installations in UPGRADE_PATHS.

use strict;
use warnings;
use Cwd;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Apikey;
use Upgrade;

my @paths = split / /, $ENV{UPGRADE_PATHS};
my $dir = PostgreSQL::Test::Utils::tempdir;
my $n = 0;

append_to_file("$dir/pepper", "a pepper of some length, and more\n");
append_to_file("$dir/hmac", "a key of some length, for HMAC-SHA-256\n");

my $conf = qq{shared_preload_libraries = 'apikey'
apikey.pepper_file = '$dir/pepper'
apikey.hmac_key_file = '$dir/hmac'
apikey.flush_interval = 1
wal_level = logical
};

# Besides what Upgrade.pm has: all schemes of imports, networks, budgets that refill, an
# attached table, protected ones, and a schema of the extension's own for those.
my $more = q{
	SET client_min_messages = error;
	SELECT apikey_import('acme', s, s, encode(CASE s WHEN 'sha256' THEN sha256(s::bytea) ELSE sha512(s::bytea) END, 'hex'),
		strip_prefix => '', grants => '[{"project": "web", "environment": "production", "level": "write"}]') FROM unnest('{sha512}'::text[]) s;
	INSERT INTO token SELECT 'sha512', 'sha512', key_id FROM apikey_keys WHERE label = 'sha512';
	INSERT INTO token SELECT 'part', 'pre_part', apikey_import('acme', 'part', 'sha256', encode(sha256('part'), 'base64'), strip_prefix => 'pre_',
		grants => '[{"project": "web", "environment": "production", "level": "write"}]');
	INSERT INTO token SELECT 'formbricks', '0123456789abcdef0123456789abcdef', apikey_import('acme', 'formbricks', 'formbricks-v1', encode(sha256('0123456789abcdef0123456789abcdef'), 'hex'),
		grants => '[{"project": "web", "environment": "production", "level": "write"}]');
	INSERT INTO token SELECT 'hmac', 'hmac', apikey_import('acme', 'hmac', 'hmac-sha256', encode(hmac('hmac', E'a key of some length, for HMAC-SHA-256', 'sha256'), 'hex'),
		grants => '[{"project": "web", "environment": "production", "level": "write"}]');
	INSERT INTO token SELECT 'network', k.key, k.key_id FROM some_key('acme', 'network', 'write') k;
	SELECT apikey_update(key_id, allowed_networks => '{10.0.0.0/8}', rate_limit => '100 per minute', metadata => '{"a": [1]}') FROM token WHERE name = 'network';
	SELECT apikey_set_budget(key_id, 500, '1 month') FROM token WHERE name = 'parent';
	SELECT apikey_spend(key, 7) FROM token WHERE name IN ('parent', 'derived');
	SELECT apikey_set_organization_level(key_id, 'write') FROM token WHERE name IN ('good', 'foreign');
	SELECT apikey_disable(key_id, 'to be looked at') FROM some_key('acme', 'disabled', 'write');
	SELECT apikey_suspend('globex', 'unpaid');

	CREATE TABLE shop (id text PRIMARY KEY, owner text NOT NULL);
	SELECT apikey_attach_projects('shop', 'id', 'owner');
	INSERT INTO shop VALUES ('corner', 'acme'), ('market', 'globex');
	CREATE TABLE bill (organization text, amount int);
	INSERT INTO bill VALUES ('acme', 1), ('acme', 2), ('globex', 4);
	SELECT apikey_protect_organization('bill', 'organization', force => true);
	CREATE TABLE ledger (project text, environment text, day int) PARTITION BY LIST (day);
	CREATE TABLE ledger_1 PARTITION OF ledger FOR VALUES IN (1);
	INSERT INTO ledger VALUES ('web', 'production', 1), ('mars', 'production', 1);
	SELECT apikey_protect('ledger', 'project', 'environment', strict => true);
	CREATE VIEW mine AS SELECT amount FROM bill WHERE apikey_authorize_organization(organization, 'read');
	CREATE TABLE owned (key_id uuid REFERENCES apikey_key ON DELETE CASCADE);
	INSERT INTO owned SELECT key_id FROM token WHERE name = 'good';
	GRANT SELECT, INSERT, UPDATE, DELETE ON bill, ledger TO app;
	GRANT SELECT ON mine TO app;
	GRANT EXECUTE ON FUNCTION apikey_suspend TO app;
	ALTER TABLE apikey_event ADD COLUMN ticket text NOT NULL DEFAULT 'none';
	ALTER TABLE apikey_key ADD COLUMN gone int;
	ALTER TABLE apikey_key DROP COLUMN gone;
	CREATE PUBLICATION keys FOR TABLE %s;
};
my $published = 'apikey_project, apikey_environment, apikey_suspension, apikey_key, apikey_secret, apikey_grant';
my $all = join ' ', sort(split(/ /, $good), qw(sha512 part formbricks hmac));

# What must stay as it is: all rows and views; what keys may do, and who may do what. To ask
# that is a use, which is written down.
my @views = qw(apikey_keys apikey_grants apikey_registry apikey_events apikey_protected apikey_attached apikey_budgets apikey_usage apikey_usage_hours);
my @rows = (tables(), 'token', 'shop', 'owned');

sub content
{
	my ($node, $database) = @_;

	$node->poll_query_until($database // 'postgres', 'SELECT pending = 0 FROM apikey_usage_stats()') or die 'no flush';
	return [ split /\n/, $node->safe_psql($database // 'postgres', join ' ', q{SET TimeZone = 'UTC';},
			map "SELECT '$_', count(*), md5(string_agg(t::text, ' ' ORDER BY t::text COLLATE \"C\")) FROM $_ t;", @rows, @views) ];
}

sub verdicts
{
	my ($node, $database) = @_;

	return [ split /\n/, $node->safe_psql($database // 'postgres', join ' ', "$decide;",
			q{SELECT name, (apikey_explain(key, 'web', 'production', 'write')).* FROM token ORDER BY 1;},
			q{SELECT name, f.status FROM token, apikey_find_keys(key) f ORDER BY 1;},
			q{SELECT name, apikey_projects_of(key, 'read') FROM token ORDER BY 1;},
			q{SELECT * FROM apikey_who_can('web', 'production', 'write') ORDER BY 1;},
			q{SELECT DISTINCT name, r.* FROM token, apikey_reach(key_id) r;},
			q{SELECT pubname, tablename FROM pg_publication_tables ORDER BY 1, 2;},
			q{SELECT proacl FROM pg_proc WHERE proname = 'apikey_suspend';},
			q{SELECT conrelid::regclass, conname, convalidated FROM pg_constraint WHERE conname LIKE 'apikey%' AND contype <> 'n' ORDER BY 1, 2;}) ];
}

# Row-level security, for one key
sub rows
{
	my ($node, $database) = @_;
	my ($status, $out, $err) = $node->psql($database // 'postgres', q{
		\set VERBOSITY sqlstate
		SELECT key FROM token WHERE name = 'good' \gset
		SET ROLE app;
		SELECT count(*) FROM ledger;
		UPDATE ledger SET environment = 'production';
		BEGIN;
		SELECT label FROM apikey_login(:'key');
		SELECT count(*) FROM doc;
		SELECT sum(amount) FROM bill;
		SELECT sum(amount) FROM mine;
		SELECT * FROM ledger;
		UPDATE ledger SET environment = 'production' WHERE project = 'web';
		SAVEPOINT s;
		DELETE FROM ledger;
		ROLLBACK TO s;
		INSERT INTO ledger VALUES ('mars', 'production', 1);
		ROLLBACK TO s;
		COMMIT;
	}, on_error_stop => 0);

	return join(' ', split(/\n/, $out), '|', $err =~ /ERROR:  (\w+)/g);
}

# It works: decisions, changes, row-level security, what follows an attached table, and the
# worker.
sub works
{
	my ($what, $node, $database) = @_;
	my $name = 'life' . ++$n;

	$database //= 'postgres';
	is($node->safe_psql($database, $decide), $all, "$what: decisions");
	is(rows($node, $database), 'good 1000 3 3 web|production|1 | 28000 28000 42501 42501', "$what: row-level security");
	is($node->safe_psql($database, "SELECT live('$name')"), $lived, "$what: changes");
	is($node->safe_psql($database, "INSERT INTO shop VALUES ('$name', 'acme'); SELECT organization FROM apikey_registry WHERE project = '$name'"),
		'acme', "$what: the attached table is followed");
	is($node->safe_psql($database, q{SET apikey.client_address = '10.1.2.3'; SELECT apikey_authorize(key, 'web', 'production', 'write') FROM token WHERE name = 'network'}),
		't', "$what: networks");
	like(($node->psql($database, q{INSERT INTO apikey_grant (key_id, level, project, environment, organization) SELECT key_id, 'read', 'mars', 'production', 'acme' FROM token WHERE name = 'good'}))[2],
		qr/violates foreign key constraint "apikey_grant_environment_fkey"/, "$what: no grant on a project of another organization");
	my $before = $node->safe_psql($database, q{SELECT coalesce(sum(uses), 0) FROM apikey_use u JOIN token USING (key_id) WHERE name = 'good'});
	$node->safe_psql($database, q{SELECT label FROM token, apikey_verify(key) WHERE name = 'good'});
	ok($node->poll_query_until($database, "SELECT uses > $before FROM apikey_use u JOIN token USING (key_id) WHERE name = 'good'"), "$what: the worker writes use");
	is($node->safe_psql($database, q{SELECT status FROM apikey_keys WHERE label = 'foreign'}), 'suspended', "$what: who was suspended is");
}

# The catalog of the extension, but for foreign keys, which pg_upgrade makes anew (see
# refer.h), and the text that the bodies of SQL functions are shown as.
sub catalog
{
	my ($node, $database) = @_;

	return [ map s/ BEGIN ATOMIC .*//r, grep !/^trigger \| \w+ \| "RI_FKey_check_ins" /, @{ describe($node, $database,
		'DROP TABLE IF EXISTS owned; ALTER TABLE apikey_event DROP COLUMN IF EXISTS ticket; REVOKE ALL ON FUNCTION apikey_suspend FROM app') } ];
}

sub version { return $_[0] =~ m!/(\d+)$! ? $1 : $_[0] }

# A server of this version without anything in it
sub new_node
{
	my ($name, $path) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name, install_path => $path);
	my @no_checksums = version($path) >= 18 ? '--no-data-checksums' : ();

	$node->init(extra => [ '--locale=C.UTF-8', @no_checksums ]);
	$node->append_conf('postgresql.conf', $conf);
	return $node;
}

sub pg_upgrade
{
	my ($what, $old, $new, $mode) = @_;
	my $here = getcwd;

	chdir $dir or die;
	$new->command_ok([ 'pg_upgrade', '--no-sync', $mode ? $mode : (),
		'-d', $old->data_dir, '-D', $new->data_dir, '-b', $old->config_data('--bindir'), '-B', $new->config_data('--bindir'),
		'-s', $new->host, '-p', $old->port, '-P', $new->port ], $what);
	chdir $here;
	diag slurp_file($_) foreach $? ? glob($new->data_dir . '/pg_upgrade_output.d/*/log/*.log') : ();
}

foreach my $mode ('', '--link')
{
	my ($first, @rest) = @paths;
	my $node = start_node('from' . version($first) . $mode, install_path => $first, extra => ['--locale=C.UTF-8'], conf => $conf);

	$node->safe_psql('postgres', $setup);
	$node->safe_psql('postgres', sprintf $more, $published);
	works(version($first), $node);

	# a dump of it goes into all the others
	if (!$mode)
	{
		my $verdicts = verdicts($node);
		my $content = content($node);

		$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/dump", 'postgres' ], 'dump');

		foreach my $path (@rest)
		{
			my $what = version($first) . ' to ' . version($path) . ', dump';
			my $into = new_node('into' . version($path), $path);

			$into->start;
			$into->safe_psql('postgres', 'CREATE ROLE app; CREATE DATABASE restored');
			$into->command_ok([ 'pg_restore', '--section=pre-data', '-d', 'restored', "$dir/dump" ], "$what: tables");
			$into->safe_psql('restored', q{ALTER TABLE apikey_event ADD COLUMN ticket text NOT NULL DEFAULT 'none'});
			$into->command_ok([ 'pg_restore', '--exit-on-error', "--section=$_", '-j2', '-d', 'restored', "$dir/dump" ], "$what: $_") foreach 'data', 'post-data';
			is(difference(content($into, 'restored'), $content), '', "$what: every row");
			# to PostgreSQL, what an extension has made is published as the extension says
			is($into->safe_psql('restored', 'SELECT count(*) FROM pg_publication_rel'), 0, "$what: publications have none of our tables");
			$into->safe_psql('restored', "ALTER PUBLICATION keys ADD TABLE $published");
			is(difference(verdicts($into, 'restored'), $verdicts), '', "$what: every verdict");
			works($what, $into, 'restored');
			$into->stop;
		}
	}

	foreach my $path (@rest)
	{
		my $what = join ' ', $node->name =~ /(\d+)/, 'to', version($path), $mode;
		my $next = new_node('to' . version($path) . $mode, $path);

		my $verdicts = verdicts($node);
		my $content = content($node);

		$node->stop;
		pg_upgrade($what, $node, $next, $mode);
		$next->start;
		is(difference(content($next), $content), '', "$what: every row");
		is(difference(verdicts($next), $verdicts), '', "$what: every verdict");
		works($what, $next);

		$next->safe_psql('postgres', 'CREATE DATABASE fresh');
		$next->safe_psql('fresh', 'SET client_min_messages = error; CREATE EXTENSION apikey CASCADE');
		is(difference(catalog($next, 'postgres'), catalog($next, 'fresh')), '', "$what: the extension is as if it was installed there");
		$next->safe_psql('postgres', 'DROP DATABASE fresh');
		unlike(slurp_file($next->logfile), qr/terminated by signal|PANIC|TRAP|XX000/, "$what: no crash");
		$node = $next;
	}
	$node->stop;
}

done_testing();
