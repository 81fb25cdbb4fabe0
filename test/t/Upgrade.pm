# The next version of the extension, simulated; installations to put it into.
#
# It has another column in each table, another table, function, column of a view, and
# another library, which is made in a copy of this tree and installed from there.
package Upgrade;

use strict;
use warnings;
use Cwd qw(abs_path);
use Exporter 'import';
use File::Basename;
use PostgreSQL::Test::Utils;

our @EXPORT = qw($next installation make_next install_next tables describe difference $setup $decide $good $lived);

my $tree = abs_path(dirname(__FILE__) . '/../..');
my ($version) = slurp_file("$tree/apikey.control") =~ /^default_version = '([\d.]+)'$/m;
our $next = $version =~ s/(\d+)$/$1 + 1/er;

sub spew
{
	my ($file, $content) = @_;

	open my $out, '>', $file or die "$file: $!\n";
	print $out $content;
	close $out;
}

# A copy of the installation that is in use, to change: its pg_config, and its directory
# for install_path.
sub installation
{
	my $work = dirname($tree);
	my $copy = PostgreSQL::Test::Utils::tempdir;
	my ($all, $bin) = $ENV{PG_CONFIG} =~ m!^(\Q$work\E/[^/]+)(/.*)/bin/pg_config$!
	  or die "$ENV{PG_CONFIG} is not in $work";

	system_or_bail('cp', '-a', "$all/.", $copy);
	return ("$copy$bin/bin/pg_config", "$copy$bin");
}

# --------------------------------------------------------------- version 1.1

# All tables of the script
sub tables
{
	return slurp_file("$tree/src/apikey--$version.sql") =~ /^CREATE TABLE ([\w.]+) \(/mg;
}

# New objects are closed to all, whatever default privileges there are; what users were
# given of the old ones stays.
my $close = q{
DO $$
DECLARE
	command text;
BEGIN
	FOR command IN
		SELECT format('REVOKE ALL ON %s FROM %s', o.name,
			coalesce(quote_ident(r.rolname), 'PUBLIC'))
		FROM (SELECT 'TABLE ' || oid::regclass, relacl, relowner FROM pg_catalog.pg_class
				WHERE oid = ANY ('{apikey_note}'::regclass[])
				UNION ALL
				SELECT 'FUNCTION ' || oid::regprocedure, proacl, proowner FROM pg_catalog.pg_proc
				WHERE oid = ANY (array['apikey_answer(text)']::regprocedure[])) o (name, acl, owner),
			LATERAL pg_catalog.aclexplode(o.acl) a
			LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
		WHERE a.grantee <> o.owner
	LOOP
		EXECUTE command;
	END LOOP;
END;
$$;
};

sub step
{
	my ($view) = slurp_file("$tree/src/apikey--$version.sql") =~ /^CREATE (VIEW apikey_budgets\b.*?;)$/ms;
	my $columns = join '', map "ALTER TABLE $_ ADD COLUMN note text NOT NULL DEFAULT 'none';\n", tables();

	die 'no view' if $view !~ s/\nFROM/, b.note\nFROM/;
	return qq{\\echo Use "ALTER EXTENSION apikey UPDATE" to load this file. \\quit
SELECT apikey_internal.require_library('$next');
$columns
CREATE TABLE apikey_note (
	key_id uuid NOT NULL,
	organization text COLLATE "C" NOT NULL,
	body text NOT NULL,
	CONSTRAINT apikey_note_pkey PRIMARY KEY (key_id),
	CONSTRAINT apikey_note_key_fkey FOREIGN KEY (key_id, organization)
		REFERENCES apikey_key (key_id, organization) ON DELETE CASCADE
);
COMMENT ON TABLE apikey_note IS 'notes';
SELECT pg_catalog.pg_extension_config_dump('apikey_note', '');
CREATE TRIGGER apikey_changed AFTER UPDATE OR DELETE
	ON apikey_note FOR EACH ROW EXECUTE FUNCTION apikey_internal.changed();
ALTER TABLE apikey_note ENABLE ALWAYS TRIGGER apikey_changed;
CREATE OR REPLACE $view
CREATE FUNCTION apikey_answer(key text) RETURNS integer
LANGUAGE C AS 'MODULE_PATHNAME';
REVOKE ALL ON FUNCTION apikey_answer(text) FROM PUBLIC;
COMMENT ON FUNCTION apikey_answer(text) IS 'the answer';
$close};
}

# Make it: a tree with the scripts, the control file and the library.  Returns where.
sub make_next
{
	my $copy = PostgreSQL::Test::Utils::tempdir . '/next';
	my $header = "$copy/src/table/schema.h";
	my $full = slurp_file("$tree/src/apikey--$version.sql");
	my $time;
	my %edit = (
		'apikey.control' => sub { s/'\Q$version\E'/'$next'/ },
		'src/table/schema.h' => sub { s/(AK_VERSION\s+)"\Q$version\E"/$1"$next"/ });

	system_or_bail('cp', '-a', $tree, $copy);
	$time = (stat $header)[9];
	foreach my $file (keys %edit)
	{
		local $_ = slurp_file("$copy/$file");
		$edit{$file}->() == 1 or die "$file: no version";
		spew("$copy/$file", $_);
	}
	spew("$copy/src/apikey--$version--$next.sql", step());
	# the sections at its end are about all objects
	$full =~ s!(?=^/\* -+ privileges \*/$)!step() =~ s/^.*\n//r!me or die 'no end';
	spew("$copy/src/apikey--$next.sql", $full);
	spew("$copy/src/keys/answer.c", qq{#include "postgres.h"
#include "base/compat.h"
AK_FUNCTION_INFO_V1(apikey_answer);
Datum
apikey_answer(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(42);
}
});

	# of all that includes the header these two need the version
	utime $time, $time, $header;
	utime undef, undef, "$copy/src/apikey.c", "$copy/src/table/schema.c";
	system_or_bail('make', '-s', '-C', $copy, 'with_llvm=no');
	return $copy;
}

# Install it from there over what is in that installation.
sub install_next
{
	my ($copy, $pg_config) = @_;

	system_or_bail('make', '-s', '-C', $copy, 'install', 'with_llvm=no', "PG_CONFIG=$pg_config");
}

# ---------------------------------------------------------------- content

# Keys whose verdict is known, and a function that changes keys in all ways; for a
# database of Apikey's start_node().
our $setup = q{
	SET client_min_messages = error;
	CREATE FUNCTION attempt(command text, OUT outcome text) LANGUAGE plpgsql AS $$
	DECLARE
		hint text;
	BEGIN
		EXECUTE command INTO outcome;
		outcome = coalesce(nullif(outcome, ''), 'done');
	EXCEPTION WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS outcome = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
		outcome = concat_ws(' | ', SQLSTATE, outcome, nullif(hint, ''));
	END $$;
	CREATE FUNCTION some_key(organization text, label text, level text) RETURNS TABLE (key_id uuid, key text) LANGUAGE sql AS $$
		SELECT * FROM apikey_create(organization, label, jsonb_build_array(jsonb_build_object('project',
			CASE organization WHEN 'acme' THEN 'web' ELSE 'mars' END, 'environment', 'production', 'level', level)), max_derived => 9);
	$$;
	CREATE TABLE token (name text PRIMARY KEY, key text, key_id uuid);
	INSERT INTO token SELECT name, k.key, k.key_id FROM unnest('{good,revoked,overlap,superseded,parent}'::text[]) name, some_key('acme', name, 'write') k;
	INSERT INTO token SELECT 'reader', k.key, k.key_id FROM some_key('acme', 'reader', 'read') k;
	INSERT INTO token SELECT 'foreign', k.key, k.key_id FROM some_key('globex', 'foreign', 'write') k;
	INSERT INTO token SELECT 'derived', d.key, d.key_id FROM token t, apikey_derive(t.key, 'derived', lifetime => '1 day') d WHERE name = 'parent';
	INSERT INTO token SELECT 'sha256', 'secret', apikey_import('acme', 'sha256', 'sha256', encode(sha256('secret'), 'hex'),
		grants => '[{"project": "web", "environment": "*", "level": "manage"}]');
	INSERT INTO token SELECT 'bcrypt', 'fbk_slow', apikey_import('acme', 'bcrypt', 'formbricks-v2', crypt('slow', gen_salt('bf', 4)), encode(sha256('slow'), 'hex'),
		grants => '[{"project": "*", "environment": "*", "level": "write"}]');
	SELECT apikey_rotate(key_id, '1 day') FROM token WHERE name = 'overlap';
	SELECT apikey_rotate(key_id) FROM token WHERE name = 'superseded';
	SELECT apikey_revoke(key_id) FROM token WHERE name = 'revoked';
	SELECT apikey_set_budget(key_id, 1000) FROM token WHERE name = 'good';
	INSERT INTO apikey_heartbeat (at, version) VALUES (now(), '1.0');

	CREATE FUNCTION live(name text) RETURNS text LANGUAGE plpgsql AS $$
	DECLARE
		good record;
		child record;
		result text[];
	BEGIN
		SELECT * INTO good FROM some_key('acme', name, 'manage');
		SELECT * INTO child FROM apikey_derive(good.key, name, lifetime => '1 hour');
		result = array[apikey_authorize(child.key, 'web', 'production', 'manage')::text];
		PERFORM apikey_add_project('acme', name), apikey_add_environment('web', name);
		PERFORM apikey_grant(good.key_id, name, 'production', 'read'), apikey_update(good.key_id, label => name || '!');
		PERFORM apikey_set_budget(good.key_id, 5);
		result = result || apikey_spend(good.key, 2)::text;
		PERFORM apikey_rotate(good.key_id, '1 hour');
		result = result || apikey_authorize(good.key, name, 'production', 'read')::text;
		PERFORM apikey_finish_rotation(good.key_id);
		result = result || apikey_authorize(good.key, name, 'production', 'read')::text || (apikey_explain(good.key, name, 'production', 'read')).reason;
		PERFORM apikey_add_project(name, name || '_own'), apikey_suspend(name), apikey_suspend('acme');
		result = result || apikey_authorize(child.key, 'web', 'production', 'read')::text;
		PERFORM apikey_resume('acme');
		PERFORM apikey_import('acme', name, 'sha256', encode(sha256(name::bytea), 'hex'), grants => '[{"project": "web", "environment": "*", "level": "read"}]');
		result = result || apikey_authorize(name, 'web', 'production', 'read')::text || apikey_authorize(name, 'web', 'production', 'write')::text;
		PERFORM apikey_ungrant(good.key_id, 'web', 'production');
		result = result || apikey_authorize(child.key, 'web', 'production', 'read')::text;
		PERFORM apikey_disable(good.key_id), apikey_enable(good.key_id), apikey_rename_project(name, name || '_new'), apikey_remove_environment('web', name);
		PERFORM apikey_delete(d.key_id) FROM some_key('acme', 'gone', 'read') d;
		RETURN result;
	END $$;

	CREATE ROLE app;
	GRANT SELECT ON token TO app;
	CREATE TABLE doc (project text, environment text, n int);
	INSERT INTO doc SELECT CASE i % 2 WHEN 0 THEN 'web' ELSE 'mars' END, 'production', i FROM generate_series(1, 2000) i;
	CREATE INDEX ON doc (project, environment);
	SELECT apikey_protect('doc', 'project', 'environment', strict => true);
	GRANT SELECT, INSERT ON doc TO app;
};
# Who may write, by $decide
our $good = 'bcrypt derived good overlap parent sha256';
# What live() returns
our $lived = q({true,3,true,false,"secret is superseded: the key was given another",false,true,false,false});
our $decide = q{SELECT string_agg(name, ' ' ORDER BY name) FROM token WHERE apikey_authorize(key, 'web', 'production', 'write')};

# ------------------------------------------------------------- the catalog

# A line for each thing that a script decides: sorted, and without OIDs.
my $describe = q{
	WITH member AS (
		SELECT d.classid, d.objid FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'apikey'
		WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'),
	relation AS (
		SELECT c.*, c.oid::regclass::text AS name FROM pg_class c
			JOIN member m ON m.classid = 'pg_class'::regclass AND m.objid = c.oid),
	-- triggers of foreign keys have an OID in their name
	trigger AS (
		SELECT r.name, t.*, CASE WHEN tgisinternal THEN tgfoid::regproc::text ELSE tgname END AS called,
			(SELECT conname FROM pg_constraint c WHERE c.oid = tgconstraint) AS of
		FROM relation r JOIN pg_trigger t ON t.tgrelid = r.oid)
	SELECT concat_ws(' | ', kind, name, aspect, regexp_replace(value, '\s+', ' ', 'g')) COLLATE "C" AS line FROM (
		SELECT 'member' AS kind, i.type AS name, i.identity AS aspect, NULL AS value
		FROM member m, pg_identify_object(classid, objid, 0) i
		UNION ALL SELECT 'comment', i.type, i.identity, d.description
		FROM member m JOIN pg_description d ON d.classoid = m.classid AND d.objoid = m.objid,
			pg_identify_object(classid, objid, d.objsubid) i
		UNION ALL SELECT 'extension', extname, x.key, x.value
		FROM pg_extension e, jsonb_each_text(to_jsonb(e) - '{oid,extconfig}'::text[]) x WHERE extname = 'apikey'
		UNION ALL SELECT 'dumped', c.oid::regclass::text, condition, NULL
		FROM pg_extension, unnest(extconfig, extcondition) AS u (oid, condition) JOIN pg_class c ON c.oid = u.oid WHERE extname = 'apikey'
		UNION ALL SELECT 'function', p.oid::regprocedure::text, pg_get_userbyid(proowner), pg_get_functiondef(p.oid)
		FROM pg_proc p JOIN member m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid
		UNION ALL SELECT 'may', i.type, i.identity, concat_ws(' ', a.privilege_type, CASE WHEN a.grantee <> 0 THEN pg_get_userbyid(a.grantee) END, a.is_grantable::text)
		FROM (SELECT 'pg_proc'::regclass AS classid, oid, coalesce(proacl, acldefault('f', proowner)) AS acl FROM pg_proc
			UNION ALL SELECT 'pg_class'::regclass, oid, coalesce(relacl, acldefault('r', relowner)) FROM pg_class
			UNION ALL SELECT 'pg_namespace'::regclass, oid, coalesce(nspacl, acldefault('n', nspowner)) FROM pg_namespace
			UNION ALL SELECT 'pg_type'::regclass, oid, coalesce(typacl, acldefault('T', typowner)) FROM pg_type) o
			JOIN member m ON m.classid = o.classid AND m.objid = o.oid, aclexplode(o.acl) a, pg_identify_object(m.classid, m.objid, 0) i
		UNION ALL SELECT 'at first', i.type, i.identity, array(SELECT concat_ws(' ', a.privilege_type, a.grantee::regrole, a.is_grantable::text)
			FROM aclexplode(initprivs) a ORDER BY 1)::text
		FROM pg_init_privs p JOIN member m ON m.classid = p.classoid AND m.objid = p.objoid, pg_identify_object(m.classid, m.objid, p.objsubid) i
		UNION ALL SELECT 'relation', name, x.key, x.value
		FROM relation r, jsonb_each_text(jsonb_build_object('kind', relkind, 'options', reloptions, 'owner', pg_get_userbyid(relowner),
			'row security', relrowsecurity, 'identity', relreplident, 'persistence', relpersistence)) x
		UNION ALL SELECT 'column', name, attname, concat_ws(' ', row_number() OVER (PARTITION BY r.oid ORDER BY attnum), format_type(atttypid, atttypmod),
			CASE WHEN attnotnull THEN 'not null' END, pg_get_expr(adbin, adrelid), attgenerated, attidentity, attstorage, attcollation::regcollation, attacl::text)
		FROM relation r JOIN pg_attribute a ON a.attrelid = r.oid AND attnum > 0 AND NOT attisdropped
			LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
		UNION ALL SELECT 'constraint', name, conname, concat_ws(' ', pg_get_constraintdef(c.oid), convalidated, condeferrable, conislocal)
		FROM relation r JOIN pg_constraint c ON c.conrelid = r.oid
		UNION ALL SELECT 'index', name, indexrelid::regclass::text, concat_ws(' ', pg_get_indexdef(indexrelid), indisvalid, indisreplident, indisclustered)
		FROM relation r JOIN pg_index i ON i.indrelid = r.oid
		UNION ALL SELECT 'trigger', name, called || coalesce(' of ' || of, ''),
			concat_ws(' ', tgenabled, CASE WHEN NOT tgisinternal THEN pg_get_triggerdef(oid) END) FROM trigger
		UNION ALL SELECT 'policy', name, polname, concat_ws(' ', polcmd, polpermissive, pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid))
		FROM relation r JOIN pg_policy p ON p.polrelid = r.oid
		UNION ALL SELECT 'view', name, 'definition', pg_get_viewdef(r.oid) FROM relation r WHERE relkind = 'v'
		UNION ALL SELECT 'type', objid::regtype::text, 'labels', array(SELECT enumlabel FROM pg_enum WHERE enumtypid = objid ORDER BY enumsortorder)::text
		FROM member WHERE classid = 'pg_type'::regclass
	) t ORDER BY line};

# The same of a database, after some SQL that is undone again
sub describe
{
	my ($node, $database, $sql) = @_;

	return [ split /\n/, $node->safe_psql($database, 'BEGIN; SET LOCAL client_min_messages = warning; ' . ($sql // '') . "; $describe; ROLLBACK") ];
}

# What one description has and the other has not
sub difference
{
	my ($old, $new) = @_;
	my %old = map { $_ => 1 } @$old;
	my %new = map { $_ => 1 } @$new;

	return join "\n", (map "- $_", grep !$new{$_}, @$old), (map "+ $_", grep !$old{$_}, @$new);
}

1;
