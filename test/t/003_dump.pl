# pg_dump and pg_restore carry keys, their use, grants, registry and protected tables,
# whatever the schema is called; a dump with a foreign grant does not load.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Apikey;

my $node = start_node('dump');
my ($id, $key) = issue($node);
my $dir = PostgreSQL::Test::Utils::tempdir;

$node->safe_psql('postgres', qq{
	SET client_min_messages = error;
	CREATE TABLE doc (project text, environment text);
	INSERT INTO doc VALUES ('web', 'production'), ('mars', 'production');
	SELECT apikey_protect('doc', 'project', 'environment', force => true);
	CREATE ROLE app;
	GRANT SELECT ON doc TO app;
	CREATE TABLE ledger (project text, environment text, day int) PARTITION BY LIST (day);
	CREATE TABLE ledger_1 PARTITION OF ledger FOR VALUES IN (1);
	CREATE TABLE ledger_2 PARTITION OF ledger FOR VALUES IN (2);
	INSERT INTO ledger VALUES ('web', 'production', 1), ('web', 'development', 1);
	SELECT apikey_protect('ledger', 'project', 'environment', strict => true);
	GRANT ALL ON ledger TO app;
	CREATE TABLE invoice (organization text, amount int);
	INSERT INTO invoice VALUES ('acme', 7), ('acme', 8), ('globex', 9);
	SELECT apikey_protect_organization('invoice', 'organization', strict => true);
	SELECT apikey_set_organization_level('$id', 'read');
	GRANT ALL ON invoice TO app;
	SELECT apikey_grant('$id', '*', '*', 'read');
	SELECT apikey_set_budget('$id', 10, '1 month');
	SELECT apikey_spend('$key', 3);
	INSERT INTO apikey_use (key_id, uses, refusals, last_used_at, last_used_from, old_secret_used_at, last_refused_at, limit_until)
		VALUES ('$id', 7, 1, '2020-01-01', '198.51.100.1', '2019-12-01', '2020-02-01', '2020-03-01');
	SELECT apikey_disable(key_id, 'looks wrong') FROM apikey_create('globex', 'disabled');
	SELECT apikey_revoke(key_id, 'left the company') FROM apikey_create('globex', 'revoked');
	SELECT key_id FROM apikey_create('globex', 'suspended');
	SELECT apikey_suspend('globex', 'unpaid invoice');
	CREATE TABLE old (name text, key text);
	INSERT INTO old SELECT name, k.key FROM unnest('{finished,cancelled,overlapping}'::text[]) name, apikey_create('acme', name) k;
	SELECT apikey_rotate(key_id, '1 year') FROM apikey_keys k JOIN old ON name = label;
	SELECT apikey_finish_rotation(key_id) FROM apikey_keys WHERE label = 'finished';
	SELECT apikey_cancel_rotation(key_id) FROM apikey_keys WHERE label = 'cancelled';
	INSERT INTO apikey_use_hour VALUES ('$id', '2020-01-01', 4, 0), ('$id', '2019-01-01', 3, 1);
});

my $look = q{
	SELECT key_id, organization, label, status, key, last_used_at, last_used_from, disabled_reason, revoked_reason FROM apikey_keys ORDER BY 1;
	SELECT * FROM apikey_suspension;
	SELECT * FROM apikey_secret ORDER BY key_id;
	SELECT name, status, overlap_until FROM old JOIN apikey_keys ON name = label ORDER BY 1;
	SELECT name, f.status FROM old, apikey_find_keys(key) f ORDER BY 1;
	SELECT * FROM apikey_use;
	SELECT * FROM apikey_use_hour ORDER BY 2;
	SELECT * FROM apikey_grants ORDER BY 1, 2, 3;
	SELECT * FROM apikey_environment ORDER BY 1, 2;
	SELECT * FROM apikey_protected ORDER BY relation::text;
	SELECT * FROM apikey_budgets;
	SELECT * FROM apikey_budget;
	SELECT count(*) FROM apikey_events};
my $see = qq{
	SET ROLE app;
	BEGIN;
	SELECT organization FROM apikey_login('$key');
	SELECT * FROM doc;
	SELECT sum(amount) FROM invoice;
	COMMIT};
my $change = qq{
	\\set VERBOSITY sqlstate
	SET ROLE app;
	UPDATE ledger SET day = 2;
	BEGIN;
	SELECT organization FROM apikey_login('$key');
	UPDATE ledger SET day = 2 WHERE environment = 'production' RETURNING *;
	SAVEPOINT s;
	UPDATE ledger SET day = 2 WHERE environment = 'development';
	ROLLBACK TO s;
	DELETE FROM ledger WHERE environment = 'production';
	ROLLBACK TO s;
	DELETE FROM invoice WHERE organization = 'globex';
	DELETE FROM invoice;
	ROLLBACK};

foreach my $format ('plain', 'custom')
{
	my $file = "$dir/$format";

	$node->safe_psql('postgres', "CREATE DATABASE $format");
	$node->command_ok([ 'pg_dump', "--format=$format", '-f', $file, 'postgres' ],
		"$format dump");
	$node->command_ok($format eq 'plain'
		? [ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $format, '-f', $file ]
		: [ 'pg_restore', '--exit-on-error', '-d', $format, $file ],
		"$format restore");
	is($node->safe_psql($format, $look), $node->safe_psql('postgres', $look),
		"$format: the same keys and their use, grants, projects and protected tables");
	is(may($node, $key, $format), 't', "$format: the key works");
	is($node->safe_psql($format, $see), "acme\nweb|production\n15",
		"$format: row-level security works");
	my ($status, $out, $err) = $node->psql($format, $change, on_error_stop => 0);
	is($out, "acme\nweb|production|2", "$format: a strict table lets change what the key may");
	is(join(' ', $err =~ /ERROR:  (\w+)/g), '28000 42501 42501 42501', "$format: and nothing else");
	is($node->safe_psql($format, "SELECT apikey_spend('$key', 2)"), 5, "$format: spending goes on");
	is($node->safe_psql($format, q{SELECT apikey_resume('globex'); SELECT status FROM apikey_keys WHERE organization = 'globex' ORDER BY label}),
		"\ndisabled\nrevoked\nactive", "$format: a suspended organization is resumed");
	unlike(slurp_file($file), qr/\Q$key\E/, "$format: the dump has no key in it");
	# a copy, quarantined, stays so in a copy of its own
	$node->safe_psql($format, "SELECT apikey_quarantine('dump', '$format', 'a copy', pg_postmaster_start_time())");
	is(may($node, $key, $format), 'f', "$format: quarantined");
	is(may($node, (issue($node, $format))[1], $format), 't', "$format: its own keys work");
	$node->safe_psql('postgres', "CREATE DATABASE copy_$format");
	$node->command_ok([ 'pg_dump', "--format=$format", '-f', "$file-2", $format ], "$format: dump of it");
	$node->command_ok($format eq 'plain'
		? [ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', "copy_$format", '-f', "$file-2" ]
		: [ 'pg_restore', '--exit-on-error', '-d', "copy_$format", "$file-2" ], "$format: restore of it");
	is(may($node, $key, "copy_$format"), 'f', "$format: still quarantined");
	$node->safe_psql($format, 'SELECT apikey_lift_quarantine()');
	is(may($node, $key, $format), 't', "$format: lifted");
	$node->safe_psql($format, "SELECT apikey_revoke('$id')");
	is(may($node, $key, $format), 'f', "$format: revoking works");
}
is(may($node, $key), 't', 'the first database is another');

# a dump that was tampered with
my $dump = slurp_file("$dir/plain");
ok($dump =~ s/^(\Q$id\E\twrite\t)web(\tproduction\tacme)$/$1mars$2/m,
	'a grant on a project of another organization is put into the dump');
append_to_file("$dir/foreign", $dump);
$node->safe_psql('postgres', 'CREATE DATABASE tampered');
$node->command_fails_like(
	[ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', 'tampered', '-f', "$dir/foreign" ],
	qr/violates foreign key constraint/, 'which does not load');
is( $node->safe_psql('tampered',
		"SELECT apikey_authorize('$key', 'mars', 'production', 'read')"),
	'f', 'and opens nothing');

# any name of a schema
$node->safe_psql('postgres', 'CREATE DATABASE weird');
$node->safe_psql('weird', q{
	SET client_min_messages = warning;
	CREATE SCHEMA "Weird ""Schema";
	CREATE EXTENSION apikey SCHEMA "Weird ""Schema" CASCADE;
	SET search_path = "Weird ""Schema";
	SELECT apikey_add_project('acme', 'web');
	CREATE TABLE public.doc (project text, environment text);
	SET client_min_messages = error;
	SELECT apikey_protect('public.doc', 'project', 'environment', strict => true);
	ALTER DATABASE weird SET search_path = "Weird ""Schema";
});
my ($weird_id, $weird) = issue($node, 'weird');
$node->command_ok([ 'pg_dump', '-C', '-f', "$dir/weird", 'weird' ], 'dump of a weird schema');
$node->safe_psql('postgres', 'DROP DATABASE weird');
$node->command_ok([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', 'postgres', '-f', "$dir/weird" ],
	'and restore');
is(may($node, $weird, 'weird'), 't', 'its key works');
is($node->safe_psql('weird', 'SELECT relation, strict FROM apikey_protected'), 'public.doc|t', 'and its strict table');
$node->safe_psql('weird', "SELECT apikey_set_budget('$weird_id', 5, '1 day')");
is($node->safe_psql('weird', "SELECT apikey_spend('$weird', 2)"), 3, 'it spends');
$node->safe_psql('weird', "SELECT apikey_disable('$weird_id')");
is(may($node, $weird, 'weird'), 'f', 'and obeys');

done_testing();
