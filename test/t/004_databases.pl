# Several databases, the extension dropped and made again, renamed schemas,
# other encodings.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Apikey;

my $node = start_node('databases', conf => 'max_prepared_transactions = 5');
my $may = sub { return "SELECT apikey_authorize('$_[0]', 'web', 'production', 'write');" };

# two databases with keys of the same ids
my ($id, $key) = issue($node);
$node->safe_psql('postgres', 'CREATE DATABASE two TEMPLATE postgres');
$node->safe_psql('two', "SELECT apikey_revoke('$id')");
is(may($node, $key), 't', 'revoked in another database only');
is(may($node, $key, 'two'), 'f', 'there it is');
is(may($node, (issue($node))[1], 'two'), 'f', 'a key of one database means nothing to another');

# dropped and made again, in the session itself and under another's warm cache
my $warm = $node->background_psql('postgres', on_error_stop => 0);
is($warm->query_safe($may->($key)), 't', 'warm');
my $budget = q{SELECT apikey_set_budget(key_id, 1) FROM apikey_create('acme', 'budget');};
my $again = $node->safe_psql('postgres', $may->($key) . $budget . q{
	DROP EXTENSION apikey;
	CREATE EXTENSION apikey;
	SELECT apikey_add_project('acme', 'web') IS NULL;} . $may->($key) . $budget . q{
	SELECT key FROM apikey_create('acme', 'new',
		'[{"project": "web", "environment": "production", "level": "write"}]')});
my ($before, undef, undef, $after, undef, $new) = split /\n/, $again;
is($before, 't', 'before DROP EXTENSION');
is($after, 'f', 'the old key after CREATE EXTENSION in the same session');
is($warm->query_safe($may->($key)), 'f', 'and in the session that was warm');
is($warm->query_safe($may->($new)), 't', 'where the new one works');
$node->safe_psql('postgres', 'DROP EXTENSION apikey');
$warm->query($may->($new));
like($warm->{stderr}, qr/function apikey_authorize\(.*\) does not exist/,
	'dropped: no answer at all');
$warm->{stderr} = '';
$node->safe_psql('postgres', 'CREATE EXTENSION apikey');
is($warm->query_safe($may->($new)), 'f', 'made again: nothing came back');
$warm->quit;

# a schema that is renamed under a session
$node->safe_psql('postgres', q{
	CREATE DATABASE renamed;
});
$node->safe_psql('renamed', q{
	SET client_min_messages = warning;
	CREATE SCHEMA first;
	CREATE EXTENSION apikey SCHEMA first CASCADE;
	ALTER DATABASE renamed SET search_path = first, second;
});
is( $node->safe_psql('renamed', q{
		SELECT apikey_add_project('acme', 'web') IS NULL;
		SELECT count(key) FROM apikey_create('acme', 'a');
		ALTER SCHEMA first RENAME TO second;
		SELECT apikey_add_project('acme', 'other') IS NULL;
		SELECT count(key) FROM apikey_create('acme', 'b',
			'[{"project": "web", "environment": "production", "level": "read"}]') k
		WHERE apikey_authorize(key, 'web', 'production', 'read');
		SELECT count(*) FROM apikey_keys}),
	"f\n1\nf\n1\n2", 'a renamed schema: plans are made anew');

# and by a trigger, under the statement that has fired it, which is then run once more
is( $node->safe_psql('renamed', q{
		CREATE SCHEMA other;
		CREATE FUNCTION other.rename() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
			IF new.label = 'a' THEN
				ALTER SCHEMA second RENAME TO first;
				PERFORM first.apikey_disable(key_id) FROM first.apikey_keys WHERE label = 'b';
				ALTER SCHEMA first RENAME TO second;
				PERFORM second.apikey_enable(key_id) FROM second.apikey_keys WHERE label = 'b';
			END IF;
			RETURN new;
		END $$;
		SELECT apikey_disable(key_id), apikey_enable(key_id) FROM apikey_keys WHERE label = 'b';
		CREATE TRIGGER other BEFORE UPDATE ON apikey_key FOR EACH ROW EXECUTE FUNCTION other.rename();
		SELECT apikey_disable(key_id) FROM apikey_keys WHERE label = 'a';
		SELECT apikey_enable(key_id) FROM apikey_keys WHERE label = 'a';
		SELECT apikey_disable(key_id) FROM apikey_keys WHERE label = 'a';
		SELECT label, disabled_at IS NULL FROM apikey_keys ORDER BY label}),
	"|\n\n\n\na|f\nb|t", 'renamed while a statement runs');

# a role that may look into neither schema: policies, their index conditions and views
# know what they call
$node->safe_psql('postgres', 'CREATE DATABASE closed');
$node->safe_psql('closed', q{
	SET client_min_messages = error;
	CREATE SCHEMA "Weird ""S";
	CREATE EXTENSION apikey SCHEMA "Weird ""S" CASCADE;
	SET search_path = public, "Weird ""S";
	CREATE TABLE doc (id int PRIMARY KEY, project text, environment text, made_by uuid DEFAULT apikey_key_id());
	CREATE TABLE doc_uuid (id int PRIMARY KEY, project uuid, environment text);
	CREATE TABLE doc_stage (id int PRIMARY KEY, project text, environment text);
	INSERT INTO doc SELECT i, 'p' || i % 100, 'production' FROM generate_series(1, 1000) i;
	INSERT INTO doc_uuid SELECT i, ('00000000-0000-4000-8000-0000000000' || 10 + i % 90)::uuid, 'production' FROM generate_series(1, 1000) i;
	INSERT INTO doc_stage SELECT i, 'p5', 's' || i % 100 FROM generate_series(1, 1000) i;
	CREATE INDEX ON doc (project);
	CREATE INDEX ON doc_uuid (project);
	CREATE INDEX ON doc_stage (environment);
	ANALYZE;
	SELECT apikey_protect(t, 'project', 'environment') FROM unnest('{doc,doc_uuid,doc_stage}'::regclass[]) t;
	SELECT apikey_add_project('acme', 'p5', '{production,s5}'), apikey_add_project('acme', '00000000-0000-4000-8000-000000000020');
	CREATE ROLE closed;
	GRANT SELECT, INSERT, UPDATE, DELETE ON doc, doc_uuid, doc_stage TO closed;
	GRANT SELECT ON apikey_keys TO closed});
my $closed = $node->safe_psql('closed', q{SELECT key FROM "Weird ""S".apikey_create('acme', 'closed', '[{"project": "*", "environment": "*", "level": "manage"}]')});
my $in = qq{SET ROLE closed; SET apikey.key = '$closed'; SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off;};
is($node->safe_psql('closed', q{SELECT bool_or(has_schema_privilege('closed', n, 'USAGE')) FROM unnest(array['Weird "S', 'apikey_internal']) n}), 'f', 'no USAGE on either schema');
foreach ([ 'doc', 10 ], [ 'doc_uuid', 12 ], [ 'doc_stage', 10 ])
{
	my ($table, $count) = @$_;

	is($node->safe_psql('closed', "$in PREPARE q AS SELECT count(*) FROM $table; EXECUTE q"), $count, "$table: rows");
	like($node->safe_psql('closed', "$in EXPLAIN SELECT * FROM $table"), qr/Cond: .*= ANY \(.*(?:projects|environments)/, "$table: by index");
}
is( $node->safe_psql('closed', "$in INSERT INTO doc VALUES (0, 'p5', 'production') RETURNING made_by IS NOT NULL;
		UPDATE doc SET id = -id WHERE id = 5 RETURNING id; DELETE FROM doc WHERE id = 105 RETURNING id"), "t\n-5\n105", 'and writes');
like(($node->psql('closed', "$in UPDATE doc SET project = 'p6' WHERE id = 205"))[2], qr/row-level security/, 'as far as it may');
like(($node->psql('closed', q{SET ROLE closed; SELECT * FROM "Weird ""S".apikey_keys}))[2], qr/permission denied for schema/, 'nothing by its name');
is($node->safe_psql('closed', q{GRANT USAGE ON SCHEMA "Weird ""S" TO closed; SET ROLE closed; SELECT label, last_used_at IS NULL, rate_limit FROM "Weird ""S".apikey_keys}),
	'closed|t|', 'a view, by who may look into the first');

# prepared transactions: what is not committed yet counts for nobody
is( $node->safe_psql('postgres', q{
		SELECT apikey_add_project('acme', 'web') IS NULL;
		BEGIN;
		SELECT key_id, key FROM apikey_create('acme', 'prepared',
			'[{"project": "web", "environment": "production", "level": "write"}]') \gset
		SELECT apikey_authorize(:'key', 'web', 'production', 'write');
		PREPARE TRANSACTION 'creation';
		SELECT apikey_authorize(:'key', 'web', 'production', 'write');
		COMMIT PREPARED 'creation';
		SELECT apikey_authorize(:'key', 'web', 'production', 'write');
		BEGIN;
		SELECT apikey_revoke(:'key_id') IS NULL;
		SELECT apikey_authorize(:'key', 'web', 'production', 'write');
		PREPARE TRANSACTION 'revocation';
		SELECT apikey_authorize(:'key', 'web', 'production', 'write');
		COMMIT PREPARED 'revocation';
		SELECT apikey_authorize(:'key', 'web', 'production', 'write')}),
	join("\n", 'f', 't', 'f', 't', 'f', 'f', 't', 'f'),
	'prepared transactions');

# strings in which a backslash escapes, as in old applications; PostgreSQL 19 has none
$node->safe_psql('postgres', 'CREATE DATABASE escapes');
$node->safe_psql('postgres', 'ALTER DATABASE escapes SET standard_conforming_strings = off')
  if $node->pg_version->major < 19;
$node->safe_psql('escapes', q{
	SET client_min_messages = warning;
	CREATE EXTENSION apikey CASCADE;
	SELECT apikey_add_project('acme', 'web');
	CREATE TABLE doc (project text, environment text);
	INSERT INTO doc VALUES ('web', 'production'), (E'a\\b', 'production');
	SET client_min_messages = error;
	SELECT apikey_protect('doc', 'project', 'environment');
	CREATE ROLE app;
	GRANT SELECT ON doc TO app});
my ($escapes_id, $escapes) = issue($node, 'escapes');
is( $node->safe_psql('escapes', qq{
		SELECT apikey_update('$escapes_id', metadata => '{"a": 1}') IS NULL;
		SELECT apikey_update('$escapes_id', label => 'new') IS NULL;
		SELECT label, metadata FROM apikey_keys;
		BEGIN;
		SELECT label FROM apikey_login('$escapes');
		SET LOCAL ROLE app;
		SELECT * FROM doc;
		COMMIT}),
	qq{f\nf\nnew|{"a": 1}\nnew\nweb|production}, 'standard_conforming_strings = off');

# other encodings; what is no text in them is no key and no project either
foreach my $encoding ('SQL_ASCII', 'LATIN1')
{
	my $database = lc $encoding;

	$node->safe_psql('postgres',
		"CREATE DATABASE $database ENCODING '$encoding' TEMPLATE template0 LOCALE 'C'");
	$node->safe_psql($database, q{
		SET client_min_messages = warning;
		CREATE EXTENSION apikey CASCADE;
		SELECT apikey_add_project('acme', 'web'), apikey_add_project('acme', E'caf\351');
	});
	my ($that_id, $that) = issue($node, $database);

	is(may($node, $that, $database), 't', "$encoding: a key works");
	like($node->safe_psql($database, 'SELECT key FROM apikey_keys'),
		qr/^apk_[0-9A-Za-z]{22}\.\.\.$/, "$encoding: the masked key");
	is( $node->safe_psql($database, qq{
			SELECT apikey_grant('$that_id', E'caf\\351', 'production', 'read') IS NULL,
				apikey_authorize('$that', E'caf\\351', 'production', 'read'),
				apikey_authorize('$that', E'caf\\350', 'production', 'read')}),
		'f|t|f', "$encoding: projects are compared byte by byte");
	is( $node->safe_psql($database, qq{
			SELECT apikey_authorize(E'\\200' || '$that', 'web', 'production', 'read'),
				apikey_authorize('$that' || E'\\377', 'web', 'production', 'read'),
				apikey_authorize(repeat(E'\\303', 1000000), 'web', 'production', 'read')}),
		'f|f|f', "$encoding: stray bytes are no key");
}

done_testing();
