# An attacker who holds a role with a schema of his own: nothing that he plants
# is ever called, and nothing of ours is open to him.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Apikey;

my $node = start_node('hostile');
my ($id, $key) = issue($node);

$node->safe_psql('postgres', q{
	CREATE ROLE mallory LOGIN;
	CREATE SCHEMA evil AUTHORIZATION mallory;
	GRANT TEMP ON DATABASE postgres TO mallory;
	CREATE TABLE doc (project text, environment text);
	INSERT INTO doc VALUES ('web', 'production'), ('mars', 'production');
	SET client_min_messages = error;
	SELECT apikey_protect('doc', 'project', 'environment');
	GRANT SELECT, INSERT, UPDATE, DELETE ON doc TO mallory;
});

# What he plants leaves a mark when it is called, by whomever.
my $plant = q{
	CREATE TABLE evil.mark (who name, what text);
	GRANT INSERT ON evil.mark TO PUBLIC;
	GRANT USAGE ON SCHEMA evil TO PUBLIC;
	CREATE FUNCTION evil.marked(what text) RETURNS boolean LANGUAGE plpgsql AS
		$$ BEGIN INSERT INTO evil.mark VALUES (current_user, what); RETURN true; END $$;
	-- better matches for calls with literals, varchar or unknown arguments
	CREATE FUNCTION evil.apikey_authorize(varchar, varchar, varchar) RETURNS boolean
		LANGUAGE sql AS $$ SELECT evil.marked('authorize') $$;
	CREATE FUNCTION evil.changed() RETURNS trigger LANGUAGE plpgsql AS
		$$ BEGIN PERFORM evil.marked('changed'); RETURN NULL; END $$;
	CREATE FUNCTION evil.now() RETURNS timestamptz LANGUAGE plpgsql AS
		$$ BEGIN PERFORM evil.marked('now'); RETURN 'epoch'; END $$;
	CREATE FUNCTION evil.unnest(text[], text[], text[], OUT a text, OUT b text, OUT c text)
		RETURNS SETOF record LANGUAGE plpgsql AS
		$$ BEGIN PERFORM evil.marked('unnest'); END $$;
	CREATE FUNCTION evil.eq(text, text) RETURNS boolean LANGUAGE plpgsql AS
		$$ BEGIN RETURN evil.marked('text = text'); END $$;
	CREATE OPERATOR evil.= (leftarg = text, rightarg = text, function = evil.eq);
	CREATE FUNCTION evil.uuid_eq(uuid, uuid) RETURNS boolean LANGUAGE plpgsql AS
		$$ BEGIN RETURN evil.marked('uuid = uuid'); END $$;
	CREATE OPERATOR evil.= (leftarg = uuid, rightarg = uuid, function = evil.uuid_eq);
	CREATE TYPE evil.apikey_level AS ENUM ('read', 'write', 'manage');
	CREATE FUNCTION evil.to_text(evil.apikey_level) RETURNS text LANGUAGE plpgsql AS
		$$ BEGIN PERFORM evil.marked('cast'); RETURN 'manage'; END $$;
	CREATE CAST (evil.apikey_level AS text) WITH FUNCTION evil.to_text(evil.apikey_level) AS IMPLICIT;
	CREATE TABLE evil.apikey_key (LIKE public.apikey_key);
	CREATE TABLE evil.apikey_grant (LIKE public.apikey_grant);
	CREATE TABLE evil.apikey_environment (LIKE public.apikey_environment);
};
$node->safe_psql('postgres', "SET ROLE mallory;
	SET search_path = evil, public; " . $plant =~ s/\(LIKE public\.\w+\)/(x int)/gr);

my $temp = q{
	CREATE TEMP TABLE apikey_key (x int);
	CREATE TEMP TABLE apikey_grant (x int);
	CREATE TEMP TABLE apikey_environment (x int);
	CREATE TEMP TABLE apikey_project (x int);
	CREATE TEMP TABLE pg_extension (x int);
	SET search_path = pg_temp, evil, pg_catalog, public;
};

# as himself
is( $node->safe_psql('postgres', "SET ROLE mallory; $temp
		SELECT public.apikey_authorize('$key', 'web', 'production', 'write'),
			public.apikey_authorize('$key', 'mars', 'production', 'read');
		BEGIN;
		SELECT organization FROM public.apikey_login('$key');
		SELECT * FROM public.doc;
		SELECT public.apikey_projects('read');
		COMMIT"),
	"t|f\nacme\nweb|production\n{web}", 'his own calls are answered by us');

# as the superuser, misled by his search_path
is( $node->safe_psql('postgres', "$temp
		SELECT public.apikey_add_project('acme', 'shop') IS NULL;
		SELECT key_id FROM public.apikey_create('acme', 'x',
			'[{\"project\": \"shop\", \"environment\": \"*\", \"level\": \"read\"},
			  {\"project\": \"*\", \"environment\": \"*\", \"level\": \"read\"}]') \\gset
		SELECT public.apikey_grant(:'key_id', 'shop', 'production', 'manage') IS NULL;
		SELECT public.apikey_ungrant(:'key_id', 'shop', 'production') IS NULL;
		SELECT public.apikey_set_organization_level(:'key_id', 'read') IS NULL;
		SELECT public.apikey_disable(:'key_id') IS NULL;
		SELECT public.apikey_enable(:'key_id') IS NULL;
		SELECT public.apikey_revoke(:'key_id') IS NULL;
		SELECT count(*) FROM public.apikey_grants WHERE public.apikey_grants.organization IS NOT NULL;
		SELECT public.apikey_delete(:'key_id') IS NULL;
		SELECT public.apikey_remove_environment('shop', 'development') IS NULL;
		SELECT public.apikey_remove_project('shop') IS NULL"),
	join("\n", ('f') x 7, 3, ('f') x 3), 'changing functions under his search_path');
$node->safe_psql('postgres', "SET client_min_messages = error; $temp
	CREATE TABLE public.doc2 (project text, environment text);
	SELECT public.apikey_protect('public.doc2', 'project', 'environment');
	SELECT * FROM public.apikey_protected;
	SELECT public.apikey_unprotect('public.doc2');
	DROP TABLE public.doc2");
is($node->safe_psql('postgres', 'SELECT * FROM evil.mark'), '', 'nothing planted was called');
$node->safe_psql('postgres', "SET ROLE mallory; SET search_path = evil;
	SELECT evil.apikey_authorize('a'::varchar, 'b'::varchar, 'c'::varchar)");
is($node->safe_psql('postgres', 'SELECT * FROM evil.mark'), 'mallory|authorize',
	'though it would have left a mark');

# COPY ... FROM would go round the policies: PostgreSQL itself refuses it
(undef, undef, my $copy) = $node->psql('postgres', "SET ROLE mallory; COPY doc FROM stdin;\n\\.\n");
like($copy, qr/COPY FROM not supported with row-level security/, 'mallory: COPY doc FROM');

# nothing of ours is his
my $tables = $node->safe_psql('postgres', q{
	SELECT c.oid::regclass::text || ' ' || relkind::text FROM pg_class c JOIN pg_depend d ON d.objid = c.oid
	JOIN pg_extension e ON e.oid = d.refobjid AND extname = 'apikey'
	WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_extension'::regclass
		AND relkind IN ('r', 'v')});
foreach my $line (split /\n/, $tables)
{
	my ($table, $kind) = split / /, $line;
	my @commands = ("SELECT * FROM $table");

	push @commands, "DELETE FROM $table", "TRUNCATE $table" if $kind eq 'r';
	foreach my $command (@commands)
	{
		my ($status, undef, $stderr) = $node->psql('postgres', "SET ROLE mallory; $command");

		ok($status != 0 && $stderr =~ /permission denied/, "mallory: $command");
	}
}
foreach my $call (
	"apikey_add_project('m', 'm')", "apikey_remove_project('web')",
	"apikey_remove_environment('web', 'production')",
	"apikey_create('acme', 'm')", "apikey_grant('$id', 'web', '*', 'manage')",
	"apikey_ungrant('$id', 'web', 'production')",
	"apikey_set_organization_level('$id', 'write')", "apikey_disable('$id')",
	"apikey_enable('$id')", "apikey_revoke('$id')", "apikey_delete('$id')")
{
	my ($status, undef, $stderr) = $node->psql('postgres', "SET ROLE mallory; SELECT $call");

	ok($status != 0 && $stderr =~ /permission denied for function/,
		"mallory: $call" =~ s/\Q$id\E/key/gr);
}
my ($status, undef, $stderr) = $node->psql('postgres',
	"SET ROLE mallory; SELECT apikey_unprotect('doc')");
like($stderr, qr/must be owner of table doc/, 'mallory: apikey_unprotect');
my $load = "SELECT apikey_authorize('x', 'y', 'z', 'read');";
($status, undef, $stderr) = $node->psql('postgres',
	"SET ROLE mallory; $load SET apikey.pepper_file = '/etc/passwd'");
like($stderr, qr/permission denied to set parameter/, 'mallory: the pepper file');
is( $node->safe_psql('postgres', "SET ROLE mallory;
		SET apikey.pepper_file = '/etc/passwd'; $load RESET ROLE;
		SELECT setting FROM pg_settings WHERE name = 'apikey.pepper_file'"),
	"f\n", 'nor before the library is loaded');

# a setting proves nothing
is( $node->safe_psql('postgres', "SET ROLE mallory;
		SET apikey.key = 'acme';
		SELECT apikey_authorize('web', 'production', 'read');
		SET apikey.key = '$id';
		SELECT apikey_authorize('web', 'production', 'read'), apikey_projects('read');
		SELECT * FROM apikey_whoami();
		SELECT * FROM doc"),
	"f\nf|{}", 'settings that he may write');

# A schema where he may create objects, and where the extension is to go: what
# matches the script's calls better than PostgreSQL's own functions, or ours.
$node->safe_psql('postgres', 'CREATE DATABASE planted');
$node->safe_psql('planted', q{
	CREATE SCHEMA crypto;
	CREATE EXTENSION pgcrypto SCHEMA crypto;
	CREATE SCHEMA evil AUTHORIZATION mallory;
	CREATE SCHEMA shared;
	GRANT CREATE, USAGE ON SCHEMA shared TO mallory;
	SET ROLE mallory;
	CREATE TABLE evil.mark (who name, what text);
	GRANT INSERT ON evil.mark TO PUBLIC;
	GRANT USAGE ON SCHEMA evil TO PUBLIC;
	SET search_path = shared;
	CREATE FUNCTION marked(what text) RETURNS boolean LANGUAGE plpgsql AS
		$$ BEGIN INSERT INTO evil.mark VALUES (current_user, what); RETURN true; END $$;
	CREATE FUNCTION pg_extension_config_dump(text, text) RETURNS boolean LANGUAGE sql
		AS $$ SELECT shared.marked('config_dump') $$;
	CREATE FUNCTION oid_eq(oid, regclass) RETURNS boolean LANGUAGE sql
		AS $$ SELECT shared.marked('oid = regclass') $$;
	CREATE OPERATOR = (leftarg = oid, rightarg = regclass, function = oid_eq);
	CREATE FUNCTION enum_ne(anyenum, text) RETURNS boolean LANGUAGE sql
		AS $$ SELECT shared.marked('enum <> text') $$;
	CREATE OPERATOR <> (leftarg = anyenum, rightarg = text, function = enum_ne);
	CREATE FUNCTION set_config(text, text, text) RETURNS text LANGUAGE sql
		AS $$ SELECT shared.marked('set_config')::text $$;
	CREATE FUNCTION quote_ident(name) RETURNS text LANGUAGE sql
		AS $$ SELECT shared.marked('quote_ident')::text $$;
	CREATE FUNCTION format(text, regclass, text) RETURNS text LANGUAGE sql
		AS $$ SELECT shared.marked('format')::text $$;
	CREATE FUNCTION format(text, regprocedure, name) RETURNS text LANGUAGE sql
		AS $$ SELECT shared.marked('format')::text $$;
	CREATE FUNCTION apikey_authorize(varchar, varchar, text) RETURNS boolean LANGUAGE sql
		AS $$ SELECT shared.marked('authorize') $$;
});
$node->safe_psql('planted', q{
	ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO mallory, PUBLIC;
	ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO mallory;
	CREATE EXTENSION apikey SCHEMA shared;
	SET search_path = shared;
	SELECT apikey_add_project('acme', 'web');
	SELECT apikey_set_organization_level(key_id, 'write') FROM apikey_create('acme', 'x',
		'[{"project": "web", "environment": "*", "level": "read"}]', organization_level => 'read');
	SELECT * FROM apikey_keys, apikey_grants, apikey_protected});
is($node->safe_psql('planted', 'SELECT * FROM evil.mark'), '',
	'CREATE EXTENSION calls nothing that stood in its schema');
is( $node->safe_psql('planted', q{
		SELECT count(*) > 20, bool_or(has_table_privilege('mallory', c.oid, 'SELECT')) FROM pg_class c
		WHERE relname LIKE 'apikey%' AND relkind IN ('r', 'v')}),
	't|f', 'and takes all privileges back there, too');
my ($planted, undef, $refusal) = $node->psql('planted', q{
	CREATE TABLE doc (project varchar, environment varchar);
	SELECT shared.apikey_protect('doc', 'project', 'environment')});
ok($planted != 0 && $refusal =~ /does not belong to extension "apikey"/,
	'apikey_protect makes no policy that calls a function of his');
is( $node->safe_psql('planted', q{
		CREATE TABLE doc_text (project text, environment text);
		SET client_min_messages = error;
		SELECT shared.apikey_protect('doc_text', 'project', 'environment') IS NULL;
		CREATE POLICY apikey_select ON doc USING (shared.apikey_authorize(project, environment, 'read'));
		SELECT relation FROM shared.apikey_protected}),
	"f\ndoc_text", 'nor takes such a policy for one of ours');

# He was there first.
$node->safe_psql('postgres', 'CREATE DATABASE occupied');
$node->safe_psql('occupied', q{
	CREATE EXTENSION pgcrypto;
	GRANT CREATE ON DATABASE occupied TO mallory;
	SET ROLE mallory;
	CREATE SCHEMA apikey_internal;
	CREATE FUNCTION apikey_internal.changed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$});
like(($node->psql('occupied', 'CREATE EXTENSION apikey'))[2], qr/schema "apikey_internal" already exists/,
	'no extension where its second schema is somebody\'s');

# A table of his that a superuser is asked about: whatever of it is called by
# reading it, or by planning to, is called as himself, and the role, the settings and
# the key of who asks are not his to change.
$node->safe_psql('postgres', 'CREATE DATABASE trapped');
$node->safe_psql('trapped', q{
	CREATE EXTENSION pgcrypto;
	CREATE EXTENSION apikey;
	CREATE SCHEMA evil AUTHORIZATION mallory;
	CREATE SCHEMA other;
	CREATE ROLE victim;
	GRANT ALL ON SCHEMA other TO mallory, victim;
	CREATE ROLE auditor BYPASSRLS;
	GRANT USAGE ON SCHEMA evil TO auditor;
	SELECT apikey_add_project('acme', 'web')});
my $trapped = $node->safe_psql('trapped', q{
	SELECT key FROM apikey_create('acme', 'x', '[{"project": "web", "environment": "*", "level": "read"}]')});
$node->safe_psql('trapped', q{
	SET SESSION AUTHORIZATION mallory;
	SET search_path = evil, public;
	CREATE TABLE mark (who name, what text);
	GRANT INSERT ON mark TO PUBLIC;
	GRANT USAGE ON SCHEMA evil TO PUBLIC;
	CREATE FUNCTION marked(what text) RETURNS boolean LANGUAGE plpgsql AS $$
	BEGIN
		RAISE WARNING 'MARK %|%', current_user, what;
		BEGIN
			INSERT INTO evil.mark VALUES (current_user, what);
		EXCEPTION WHEN read_only_sql_transaction THEN
			NULL;
		END;
		BEGIN
			PERFORM set_config('role', 'none', false);
			RAISE WARNING 'MARK %|%', current_user, what || ', escaped';
		EXCEPTION WHEN insufficient_privilege THEN
			NULL;
		END;
		BEGIN
			PERFORM set_config('transaction_read_only', 'off', false);
			RAISE WARNING 'MARK %|%', current_user, what || ', can write';
		EXCEPTION WHEN OTHERS THEN
			NULL;
		END;
		PERFORM set_config('search_path', 'evil', false);
		RETURN true;
	END $$;
	-- the planner calls these, as they stand for constants
	CREATE FUNCTION folded(what text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS
		$$ BEGIN PERFORM evil.marked(what); RETURN true; END $$;
	CREATE TYPE stage AS ENUM ('production', 'development');
	CREATE FUNCTION to_text(stage) RETURNS text LANGUAGE plpgsql IMMUTABLE AS
		$$ BEGIN PERFORM evil.marked('cast'); RETURN 'production'; END $$;
	CREATE TABLE doc (project text, environment stage);
	INSERT INTO doc VALUES ('web', 'production'), ('web', 'development'), ('mars', 'production');
	CREATE INDEX ON doc (project) WHERE folded('index');
	SET client_min_messages = error;
	SELECT apikey_protect('doc', 'project', 'environment');
	-- by hand, in the form of ours
	CREATE TABLE by_hand (project text, environment stage);
	INSERT INTO by_hand VALUES ('web', 'production'), ('web', 'development'), ('mars', 'production');
	ALTER TABLE by_hand ENABLE ROW LEVEL SECURITY;
	CREATE CAST (stage AS text) WITH FUNCTION to_text(stage) AS IMPLICIT;
	CREATE POLICY apikey_select ON by_hand FOR SELECT USING (apikey_authorize(project, environment::text, 'read'));
	-- policies that hold for himself
	CREATE TABLE forced (project text, environment text);
	INSERT INTO forced VALUES ('web', 'production');
	SELECT apikey_protect('forced', 'project', 'environment', force => true);
	CREATE POLICY mine ON forced USING (marked('policy'));
	CREATE TABLE parts (project text, environment text) PARTITION BY LIST (project);
	CREATE TABLE part PARTITION OF parts DEFAULT;
	CREATE INDEX ON part (project) WHERE folded('partition');
	SELECT apikey_protect('parts', 'project', 'environment');
	CREATE TABLE plain (project text);
	CREATE INDEX ON plain (project) WHERE folded('no row-level security');
	GRANT SELECT ON ALL TABLES IN SCHEMA evil TO auditor;
	GRANT USAGE ON TYPE stage TO victim;
	GRANT USAGE ON SCHEMA evil TO victim;
	GRANT SELECT ON ALL TABLES IN SCHEMA evil TO victim;
	TRUNCATE mark});
# somebody's own table with a column of his type; the cast came later
$node->safe_psql('trapped', q{
	CREATE TABLE other.doc (project text, environment evil.stage);
	INSERT INTO other.doc VALUES ('web', 'production'), ('mars', 'production');
	ALTER TABLE other.doc OWNER TO victim;
	DROP CAST (evil.stage AS text);
	SET client_min_messages = error;
	SET ROLE victim;
	SELECT apikey_protect('other.doc', 'project', 'environment');
	SET ROLE mallory;
	CREATE CAST (evil.stage AS text) WITH FUNCTION evil.to_text(evil.stage) AS IMPLICIT});
my %marks;
my $asked = sub {
	my (undef, $out, $err) = $node->psql('trapped', $_[0]);

	$marks{$_} = 1 foreach $err =~ /MARK (.*)/g;
	return $out;
};
foreach my $who ('none', 'auditor', 'mallory')
{
	is( $asked->("
			SET ROLE $who;
			SELECT visible_rows FROM apikey_explain_rls('evil.doc', '$trapped');
			SELECT visible_rows FROM apikey_explain_rls('evil.by_hand', '$trapped');
			SELECT visible_rows FROM apikey_explain_rls('evil.forced', '$trapped');
			SELECT visible_rows FROM apikey_explain_rls('evil.parts', '$trapped');
			SELECT visible_rows FROM apikey_explain_rls('evil.plain', '$trapped');
			SELECT current_setting('role'), current_setting('search_path'), current_setting('apikey.key')"),
		"2\n3\n1\n0\n0\n$who|\"\$user\", public|", "$who asks about his tables");
}
is( join("\n", sort keys %marks), join("\n", map "mallory|$_", 'index', 'no row-level security', 'partition', 'policy'),
	'what he planted is called as himself, and does not escape; his cast is not called at all');
is($node->safe_psql('trapped', 'SELECT * FROM evil.mark'), '', 'and can do nothing with the key');
%marks = ();
is( $asked->("
		SELECT visible_rows FROM apikey_explain_rls('other.doc', '$trapped');
		SET ROLE victim;
		SELECT visible_rows FROM apikey_explain_rls('other.doc', '$trapped')"),
	"1\n1", 'a table of somebody else with a column of his type');
is(join("\n", keys %marks), '', 'calls no cast of his');
# how a query of them is planned: as whoever asks, and never as a superuser
%marks = ();
my $planned = join '; ', map "SELECT count(*) FROM apikey_explain_query('SELECT * FROM $_ ORDER BY 1', '$trapped')",
  'evil.doc', 'evil.by_hand', 'evil.forced', 'evil.parts', 'evil.plain';
is($asked->("SET ROLE victim; $planned; SELECT current_setting('role'), current_setting('apikey.key')"), "1\n1\n1\n1\n1\nvictim|", 'queries of his tables, planned');
is(join("\n", grep !/^victim\|/, keys %marks), '', 'call what he planted as the one who asks');
is($node->safe_psql('trapped', 'SELECT * FROM evil.mark'), '', 'and it can do nothing with the key');
%marks = ();
is($asked->($planned), '', 'a superuser is refused');
is(join("\n", keys %marks), '', 'before anything is called');
($status, undef, $stderr) = $node->psql('trapped', q{
	CREATE TABLE doc (project text, environment evil.stage);
	SELECT apikey_protect('doc', 'project', 'environment')});
like($stderr, qr/column "environment" of relation "doc" has type evil.stage, which is cast to text implicitly/,
	'apikey_protect makes no policy that would');
is($node->safe_psql('trapped', 'SELECT * FROM evil.mark'), '', 'nor calls it');

# a schema that he made first, and default privileges that would open all
$node->safe_psql('postgres', q{
	CREATE DATABASE squatted;
	GRANT CREATE ON DATABASE squatted TO mallory});
$node->safe_psql('squatted', q{
	SET ROLE mallory;
	CREATE SCHEMA apikey;
	CREATE TABLE apikey.apikey_key (x int)});
$node->safe_psql('squatted', q{
	ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO mallory, PUBLIC;
	ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO mallory;
	ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO mallory, PUBLIC;
	SET client_min_messages = warning;
	CREATE EXTENSION apikey CASCADE});
is( $node->safe_psql('squatted', "SELECT extnamespace::regnamespace FROM pg_extension
		WHERE extname = 'apikey'"),
	'public', 'the extension goes where it is told, not into a schema of its name');
is( $node->safe_psql('squatted', q{
		SELECT c.relname FROM pg_class c WHERE relname LIKE 'apikey%' AND relkind IN ('r', 'v')
		AND relnamespace = 'public'::regnamespace
		AND has_table_privilege('mallory', oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE')}),
	'', 'default privileges open no table');
is( $node->safe_psql('squatted', q{
		SELECT count(*) > 10, bool_or(has_function_privilege('mallory', oid, 'EXECUTE'))
		FROM pg_proc WHERE proname LIKE 'apikey%' AND prosecdef
		AND proname NOT IN ('apikey_revoke_self', 'apikey_derive', 'apikey_spend')}),
	't|f', 'nor any function that changes something');
is($node->safe_psql('squatted', "SELECT has_schema_privilege('mallory', 'apikey_internal', 'USAGE, CREATE')"), 'f', 'nor the schema behind');
($status, undef, $stderr) = $node->psql('squatted', q{
	DROP EXTENSION apikey; CREATE EXTENSION apikey SCHEMA apikey});
like($stderr, qr/relation "apikey_key" already exists|already exists/,
	'a table in the way stops CREATE EXTENSION');

done_testing();
