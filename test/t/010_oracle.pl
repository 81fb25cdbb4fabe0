# The oracle: one plain SQL query over the tables, which calls nothing of the
# extension, says what each key may do.  Every way to ask the extension must say
# the same of every state of a key, project, environment and verb: functions,
# log-in, policies, whatever the types and the plan.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use IPC::Run;
use Apikey;

my $node = start_node('oracle', conf => "fsync = off\nautovacuum = off\n");

# ---------------------------------------------------------- what is asked

$node->safe_psql('postgres', q{
	SET client_min_messages = warning;
	SELECT apikey_add_project('acme', 'shop', '{production,development,staging}'),
		apikey_add_project('acme', '1001'),
		apikey_add_project('acme', 'aaaaaaaa-1111-4bcd-8111-0123456789ef', '{production}'),
		apikey_add_project('globex', '2002'),
		apikey_add_project('globex', 'bbbbbbbb-2222-4abc-9def-0123456789ef'),
		apikey_add_project('initech', 'moon'),
		apikey_add_project('initech', '3003'),
		apikey_add_project('initech', 'dddddddd-4444-4abc-9def-0123456789ef');

	-- Names of the same length stand side by side: the functions remember what
	-- they were asked last.
	CREATE TABLE project AS SELECT p::int, name
	FROM unnest('{web,Web,shop,none,1001,2002,3003,7,mars,moon,aaaaaaaa-1111-4bcd-8111-0123456789ef,
		bbbbbbbb-2222-4abc-9def-0123456789ef,cccccccc-3333-4abc-9def-0123456789ef,dddddddd-4444-4abc-9def-0123456789ef,NULL,*,""}'::text[]) WITH ORDINALITY AS u (name, p);
	CREATE TABLE environment AS SELECT e::int, name
	FROM unnest('{production,Production,development,staging,NULL,*,""}'::text[]) WITH ORDINALITY AS u (name, e);
	CREATE TABLE verb (v int, name text, level int);
	INSERT INTO verb VALUES (1, 'read', 1), (2, 'write', 2), (3, 'manage', 3),
		(4, 'Select', 1), (5, 'iNSERT', 2), (6, 'UPDATE', 2), (7, 'dELETE', 3),
		(8, 'GET', 1), (9, 'head', 1), (10, 'Options', 1), (11, 'post', 2), (12, 'PUT', 2), (13, 'PATCH', 2),
		(14, 'delete', 3), (15, NULL, NULL);

	-- the oracle's own knowledge: which text is the key of which row
	CREATE TABLE token (k int GENERATED ALWAYS AS IDENTITY, name text, key text, key_id uuid, genuine boolean NOT NULL);
	INSERT INTO token (name, key, key_id, genuine)
	SELECT name, c.key, c.key_id, true
	FROM (VALUES
		('no grants', 'acme', ''),
		('exact read', 'acme', 'web/production/read'),
		('exact write', 'acme', 'web/production/write'),
		('exact manage', 'acme', 'web/production/manage'),
		('exact, several', 'acme', 'web/production/write web/development/read shop/staging/manage 1001/production/manage
			aaaaaaaa-1111-4bcd-8111-0123456789ef/production/write'),
		('highest is *', 'acme', 'web/production/read web/*/write */production/manage
			aaaaaaaa-1111-4bcd-8111-0123456789ef/*/write'),
		('highest is exact', 'acme', 'web/production/manage web/*/write */production/read */*/read'),
		('project *', 'acme', '*/production/write'),
		('project *, staging', 'acme', '*/staging/manage'),
		('environment *', 'acme', 'shop/*/read 1001/*/manage'),
		('every read', 'acme', '*/*/read'),
		('every write', 'acme', '*/*/write'),
		('every manage', 'acme', '*/*/manage'),
		('organization level', 'acme', ''),
		('organization level too', 'acme', 'web/development/read'),
		('another organization', 'globex', 'mars/production/write'),
		('all of another organization', 'globex', '*/*/manage'),
		('expires', 'acme', '*/*/manage'),
		('was disabled', 'acme', '*/production/manage'),
		('expired', 'acme', '*/*/manage'),
		('disabled', 'acme', '*/*/manage'),
		('revoked', 'acme', '*/*/manage'),
		('suspended', 'initech', '*/*/manage'),
		('deleted', 'acme', '*/*/manage'),
		('wrong secret', 'acme', '*/*/manage'),
		('superseded', 'acme', '*/*/manage'),
		('superseded by the end', 'acme', '*/*/manage'),
		('rotated', 'acme', '*/production/manage'),
		('one network', 'acme', '*/*/manage'),
		('all networks', 'acme', '*/*/manage')) AS t (name, organization, grants),
		LATERAL apikey_create(organization, name,
			coalesce((SELECT jsonb_agg(jsonb_build_object('project', g[1], 'environment', g[2], 'level', g[3]))
				FROM regexp_split_to_table(grants, '\s+') s, string_to_array(s, '/') g WHERE s <> ''), '[]'),
			organization_level => CASE WHEN name ~ 'organization level' THEN 'write' END::apikey_level, max_derived => 20) c;
	-- from one or more of those above, as many as four: null grants are all that the parent has
	DO $$
	DECLARE
		d record;
	BEGIN
		FOR d IN SELECT * FROM (VALUES
			('derived, all', 'exact, several', NULL),
			('derived, none', 'every manage', ''),
			('derived, read', 'every manage', '*/*/read'),
			('derived, crossing', 'environment *', '*/production/write */staging/manage'),
			('derived, crossing too', 'project *', 'shop/*/manage 1001/production/read'),
			('derived, overlapping', 'highest is exact', 'web/*/read */production/write shop/development/manage'),
			('derived, organization level', 'organization level too', NULL),
			('first', 'every manage', '*/*/write web/*/manage aaaaaaaa-1111-4bcd-8111-0123456789ef/production/manage'),
			('second', 'first', '*/production/manage web/*/manage shop/*/read'),
			('third', 'second', NULL),
			('fourth', 'third', 'web/*/manage */production/write'),
			('below another organization', 'another organization', '*/*/manage'),
			('below expired', 'expired', NULL),
			('below below expired', 'below expired', NULL),
			('below disabled', 'disabled', NULL),
			('below revoked', 'revoked', NULL),
			('below suspended', 'suspended', NULL),
			('below deleted', 'deleted', NULL),
			('below one network', 'one network', NULL)) AS t (name, parent, grants)
		LOOP
			INSERT INTO token (name, key, key_id, genuine)
			SELECT d.name, c.key, c.key_id, true
			FROM token p, apikey_derive(p.key, d.name, lifetime => '1 day', grants =>
				CASE WHEN d.grants IS NOT NULL THEN coalesce((SELECT jsonb_agg(jsonb_build_object('project', g[1], 'environment', g[2], 'level', g[3]))
					FROM regexp_split_to_table(d.grants, '\s+') s, string_to_array(s, '/') g WHERE s <> ''), '[]') END) c
			WHERE p.name = d.parent;
		END LOOP;
	END $$;
	UPDATE apikey_key SET expires_at = now() + '1 day' WHERE label = 'expires';
	UPDATE apikey_key SET expires_at = now() - interval '1 second' WHERE label = 'expired';
	UPDATE apikey_key SET allowed_networks = '{10.0.0.0/8}' WHERE label = 'one network';
	UPDATE apikey_key SET allowed_networks = '{0.0.0.0/0,::/0}' WHERE label = 'all networks';
	SELECT apikey_disable(key_id) FROM token WHERE name IN ('disabled', 'was disabled');
	SELECT apikey_enable(key_id) FROM token WHERE name = 'was disabled';
	SELECT apikey_revoke(key_id) FROM token WHERE name = 'revoked';
	SELECT apikey_delete(key_id) FROM token WHERE name = 'deleted';
	SELECT apikey_suspend('initech'), apikey_suspend('globex'), apikey_resume('globex');
	SELECT apikey_rotate(key_id, CASE name WHEN 'superseded' THEN '0' ELSE '1 day' END::interval) FROM token WHERE name ~ 'superseded|rotated';
	SELECT apikey_finish_rotation(key_id) FROM token WHERE name = 'superseded by the end';
	UPDATE token SET genuine = false WHERE name ~ 'superseded';
	-- the row keeps its id, but is proved by the secret of another key
	UPDATE apikey_key w SET salt = k.salt, verifier = k.verifier FROM apikey_key k
	WHERE w.label = 'wrong secret' AND k.label = 'every manage';
	UPDATE token SET genuine = false WHERE name = 'wrong secret';
	INSERT INTO token (name, key, key_id, genuine)
	SELECT m.*, key_id, false FROM token t, LATERAL (VALUES
		('cut', left(key, -1)), ('longer', key || '0'), ('twice', key || key),
		('blank before', ' ' || key), ('capitals', upper(key)), ('another prefix', 'x' || key),
		('corrupt', overlay(key PLACING CASE WHEN substr(key, 50, 1) = 'a' THEN 'b' ELSE 'a' END FROM 50)),
		('masked', (SELECT k.key FROM apikey_keys k WHERE k.key_id = t.key_id)),
		('junk', 'junk'), ('empty', ''), ('null', NULL)) AS m
	WHERE t.name = 'every manage' AND genuine;

	-- A question about a key has a number, as have those of one key.  The
	-- environment 0 is "any".
	CREATE TABLE quiz (id int, project text, environment text, v int, verb text) WITH (parallel_workers = 2);
	INSERT INTO quiz SELECT p * 1000 + e * 100 + v, p.name, e.name, v, v.name FROM project p, environment e, verb v
	ORDER BY v, p, e;
	CREATE TABLE pair AS SELECT id - v AS id, project, environment FROM quiz WHERE v = 1 ORDER BY id;
	CREATE TABLE question (cell int, key text, project text, environment text, v int, verb text) WITH (parallel_workers = 2);
	INSERT INTO question SELECT k * 100000 + id, key, project, environment, v, verb FROM token, quiz
	ORDER BY id, k;
	CREATE UNLOGGED TABLE answer (entry text NOT NULL, cell int NOT NULL, yes boolean NOT NULL);
	CREATE TABLE other_plan (entry text, plan text);
	ANALYZE token, quiz, pair, question;
});

# --------------------------------------------------------------- the oracle

# It sees keys and grants by views, so that it can be led astray.
my $sight = q{
	CREATE OR REPLACE VIEW seen_key AS
	SELECT key_id, organization, disabled_at, revoked_at, expires_at, allowed_networks, parent_id FROM apikey_key;
	CREATE OR REPLACE VIEW seen_suspension AS SELECT organization FROM apikey_suspension;
	CREATE OR REPLACE VIEW seen_grant AS
	SELECT key_id, project, environment, level::text AS level FROM apikey_grant;
};
$node->safe_psql('postgres', $sight . q{
	CREATE FUNCTION oracle() RETURNS TABLE (cell int, yes boolean) LANGUAGE sql STABLE AS $$
		WITH RECURSIVE lineage AS ( -- a key and its ancestors
			SELECT t.k, s.key_id, s.parent_id FROM token t JOIN seen_key s USING (key_id) WHERE t.genuine
			UNION ALL
			SELECT l.k, s.key_id, s.parent_id FROM lineage l JOIN seen_key s ON s.key_id = l.parent_id
		), alive AS (
			SELECT l.k, s.organization, count(*) AS members
			FROM lineage l JOIN seen_key s USING (key_id)
			GROUP BY 1, 2
			HAVING bool_and(s.revoked_at IS NULL AND s.disabled_at IS NULL
				AND (s.expires_at IS NULL OR s.expires_at > now())
				AND s.organization NOT IN (SELECT organization FROM seen_suspension)
				AND s.allowed_networks IS NULL) -- this client comes from no network
		), given AS (
			SELECT a.k, a.members, l.key_id, e.project, e.environment,
				max(CASE g.level WHEN 'read' THEN 1 WHEN 'write' THEN 2 WHEN 'manage' THEN 3 END) AS level
			FROM alive a
				JOIN lineage l USING (k)
				JOIN apikey_project p USING (organization)
				JOIN apikey_environment e USING (project, organization)
				JOIN seen_grant g ON g.key_id = l.key_id
					AND (g.project = e.project OR g.project IS NULL)
					AND (g.environment = e.environment OR g.environment = '*')
			WHERE e.environment <> '*'
			GROUP BY 1, 2, 3, 4, 5
		), highest AS ( -- what all of them have
			SELECT k, project, environment, min(level) AS level FROM given
			GROUP BY 1, 2, 3, members HAVING count(*) = members
		)
		SELECT t.k * 100000 + p.p * 1000 + e.e * 100 + v.v, coalesce(h.level >= v.level, false)
		FROM token t CROSS JOIN project p CROSS JOIN environment e CROSS JOIN verb v
			LEFT JOIN highest h ON h.k = t.k AND h.project = p.name AND h.environment = e.name
		UNION ALL -- in any environment
		SELECT t.k * 100000 + p.p * 1000 + v.v,
			EXISTS (SELECT FROM highest h WHERE h.k = t.k AND h.project = p.name AND h.level >= v.level)
		FROM token t, project p, verb v
		UNION ALL -- is it good at all?
		SELECT t.k * 100000, EXISTS (SELECT FROM alive a WHERE a.k = t.k) FROM token t
	$$;
	CREATE TABLE verdict AS SELECT * FROM oracle();
	-- lists of projects could hold others than those that are asked about
	DO $$ BEGIN
		ASSERT NOT EXISTS (SELECT project FROM apikey_project EXCEPT SELECT name FROM project);
	END $$;
});

# Oracles that are wrong in one point
my %wrong = (
	missing => q{CREATE OR REPLACE VIEW seen_grant AS
		SELECT key_id, project, environment, level::text AS level FROM apikey_grant
		WHERE key_id <> (SELECT key_id FROM token WHERE name = 'every manage')},
	higher => q{CREATE OR REPLACE VIEW seen_grant AS
		SELECT key_id, project, environment,
			CASE WHEN key_id = (SELECT key_id FROM token WHERE name = 'every read') THEN 'manage'
				ELSE level::text END AS level
		FROM apikey_grant},
	suspended => q{CREATE OR REPLACE VIEW seen_suspension AS SELECT organization FROM apikey_suspension WHERE false},
	expired => q{CREATE OR REPLACE VIEW seen_key AS
		SELECT key_id, organization, disabled_at, revoked_at,
			CASE WHEN label <> 'expired' THEN expires_at END AS expires_at, allowed_networks, parent_id FROM apikey_key},
	parent => q{CREATE OR REPLACE VIEW seen_key AS
		SELECT key_id, organization, disabled_at, revoked_at, expires_at, allowed_networks, NULL::uuid AS parent_id FROM apikey_key});
foreach my $name (sort keys %wrong)
{
	$node->safe_psql('postgres', "$wrong{$name};
		CREATE TABLE verdict_$name AS SELECT * FROM oracle(); $sight");
}

# ------------------------------------------------------------- ways to ask

$node->safe_psql('postgres', q{
	CREATE FUNCTION check_plan(entry text, query text, wanted text, run boolean) RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		line text;
		plan text = '';
	BEGIN
		IF wanted IS NULL THEN RETURN; END IF;
		FOR line IN EXECUTE format('EXPLAIN (COSTS OFF%s) %s',
			CASE WHEN run THEN ', ANALYZE, TIMING OFF, SUMMARY OFF' END, query) LOOP
			plan = concat(plan, line, E'\n');
		END LOOP;
		IF plan !~ wanted OR plan ~ 'Workers Launched: 0' THEN
			INSERT INTO other_plan VALUES (entry, plan);
		END IF;
	END $$;
	CREATE FUNCTION become(token) RETURNS void LANGUAGE sql AS
		$$ SELECT set_config('apikey.key', coalesce($1.key, ''), true) $$;

	-- all keys at once: a verdict for each question
	CREATE FUNCTION ask_all(entry text, verdict text, condition text DEFAULT 'true') RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		EXECUTE format('INSERT INTO answer SELECT $1, cell, %s FROM question WHERE %s', verdict, condition) USING entry;
	END $$;
	-- the same in a WHERE clause: the questions that are answered by yes
	CREATE FUNCTION ask_where(entry text, verdict text, condition text, plan text) RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		query text = format('SELECT array_agg(cell) FROM question WHERE %s AND %s', condition, verdict);
		cells int[];
	BEGIN
		PERFORM check_plan(entry, query, plan, true);
		EXECUTE query INTO cells;
		EXECUTE format('INSERT INTO answer SELECT $1, cell, y IS NOT NULL
			FROM question LEFT JOIN unnest($2) y ON y = cell WHERE %s', condition) USING entry, cells;
	END $$;
	-- and by expressions of PL/pgSQL, whose arguments are parameters
	CREATE FUNCTION ask_parameters(entry text) RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		q record;
		yes boolean;
		cells int[] = '{}';
		answers boolean[] = '{}';
	BEGIN
		FOR q IN SELECT * FROM question LOOP
			yes = apikey_authorize(q.key, q.project, q.environment, q.verb);
			cells = array_append(cells, q.cell);
			answers = array_append(answers, yes);
		END LOOP;
		INSERT INTO answer SELECT entry, * FROM unnest(cells, answers);
	END $$;

	-- as one key after another: a query that returns (id, yes)
	CREATE FUNCTION ask_session(entry text, query text) RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		t token;
	BEGIN
		FOR t IN SELECT * FROM token ORDER BY k LOOP
			PERFORM become(t);
			EXECUTE format('INSERT INTO answer SELECT $1, $2 + id, yes FROM (%s) q', query) USING entry, t.k * 100000;
		END LOOP;
	END $$;
	-- a query that returns the array of those that are answered by yes; :key is
	-- the key as a literal, "asked" says which there are; changes are undone
	CREATE FUNCTION ask_array(entry text, asked text, query text, plan text DEFAULT NULL) RETURNS void
	LANGUAGE plpgsql AS $$
	DECLARE
		t token;
		ids int[];
	BEGIN
		FOR t IN SELECT * FROM token ORDER BY k LOOP
			PERFORM become(t);
			PERFORM check_plan(entry, query, plan, t.k = 2 AND plan ~ 'Gather');
			BEGIN
				EXECUTE replace(query, ':key', quote_nullable(t.key)) INTO ids;
				RAISE SQLSTATE 'UNDO0';
			EXCEPTION WHEN SQLSTATE 'UNDO0' THEN NULL;
			END;
			EXECUTE format('INSERT INTO answer SELECT $1, $2 + id, coalesce(id = ANY ($3), false) FROM (%s) a (id)', asked)
			USING entry, t.k * 100000, ids;
		END LOOP;
	END $$;
	-- a command for each question: no row or 42501 is a no.  EXECUTE tells no
	-- number of rows.
	CREATE FUNCTION ask_each(entry text, condition text, command text, plan text DEFAULT NULL) RETURNS void
	LANGUAGE plpgsql AS $$
	DECLARE
		t token;
		q quiz;
		quizzes quiz[];
		filled text;
		count bigint;
		ids int[];
		answers boolean[];
	BEGIN
		EXECUTE format('SELECT array_agg(quiz) FROM quiz WHERE %s', condition) INTO quizzes;
		FOR t IN SELECT * FROM token ORDER BY k LOOP
			PERFORM become(t);
			ids = '{}';
			answers = '{}';
			FOREACH q IN ARRAY quizzes LOOP
				filled = format(command, q.id, q.project, q.environment, q.verb, t.key);
				IF ids = '{}' THEN
					PERFORM check_plan(entry, filled, plan, false);
				END IF;
				ids = array_append(ids, q.id);
				BEGIN
					EXECUTE filled;
					GET DIAGNOSTICS count = ROW_COUNT;
					RAISE SQLSTATE 'UNDO0';
				EXCEPTION
					WHEN insufficient_privilege THEN answers = array_append(answers, false);
					WHEN SQLSTATE 'UNDO0' THEN answers = array_append(answers, count > 0 OR filled ~ '^EXECUTE');
				END;
			END LOOP;
			INSERT INTO answer SELECT entry, t.k * 100000 + id, yes FROM unnest(ids, answers) u (id, yes);
		END LOOP;
	END $$;

	-- log in, then ask
	CREATE FUNCTION ask_login() RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		t token;
		yes boolean;
	BEGIN
		FOR t IN SELECT * FROM token ORDER BY k LOOP
			PERFORM set_config('apikey.key', '', true);
			BEGIN
				yes = (SELECT l.key_id = t.key_id FROM apikey_login(t.key) l);
			EXCEPTION WHEN invalid_authorization_specification THEN
				yes = false;
			END;
			INSERT INTO answer VALUES ('login', t.k * 100000, yes);
			INSERT INTO answer
			SELECT 'login, authorize', t.k * 100000 + id, apikey_authorize(project, environment, verb) FROM quiz;
		END LOOP;
	END $$;

	-- a query for ask_array that asks about constants, all in one row
	CREATE FUNCTION sheet(verdict text, condition text) RETURNS text LANGUAGE plpgsql AS $$
	DECLARE
		query text;
	BEGIN
		EXECUTE format('SELECT string_agg(format($1, project, environment, verb, id), '', '') FROM quiz WHERE %s', condition)
		INTO query USING 'CASE WHEN ' || verdict || ' THEN %4$s END';
		RETURN format('SELECT array_remove(ARRAY[%s], NULL)', query);
	END $$;

	-- tables under row-level security, one row a pair
	CREATE TYPE stage AS ENUM ('production', 'Production', 'development', 'staging', '*');
	CREATE DOMAIN label AS text;
	CREATE TABLE doc (id int PRIMARY KEY, project text, environment text, body text) WITH (parallel_workers = 2);
	INSERT INTO doc SELECT *, repeat('x', 500) FROM pair ORDER BY id / 100 % 10, id;
	CREATE INDEX ON doc (project, environment) INCLUDE (id);
	CREATE TABLE doc_int (id int PRIMARY KEY, project int, environment varchar(20));
	INSERT INTO doc_int SELECT id, project::int, environment FROM pair WHERE coalesce(project, '0') ~ '^\d+$';
	CREATE TABLE doc_uuid (id int PRIMARY KEY, project uuid, environment stage);
	INSERT INTO doc_uuid SELECT id, project::uuid, environment::stage FROM pair
	WHERE (project IS NULL OR length(project) = 36) AND environment IS DISTINCT FROM '';
	CREATE TABLE doc_name (id int PRIMARY KEY, project name, environment label);
	INSERT INTO doc_name SELECT * FROM pair;

	-- a table under policies made by hand, with what a function returns for the
	-- whole query; with the wrong mark on that, a plan would keep it
	CREATE FUNCTION stable_ids(text) RETURNS int[] LANGUAGE sql STABLE AS
		$$ SELECT array_agg(id) FROM pair WHERE apikey_authorize(project, environment, $1) $$;
	CREATE FUNCTION frozen_ids(text) RETURNS int[] LANGUAGE sql IMMUTABLE AS
		$$ SELECT array_agg(id) FROM pair WHERE apikey_authorize(project, environment, $1) $$;
	CREATE FUNCTION stable_authorize(text, text, text) RETURNS boolean LANGUAGE sql STABLE AS
		'SELECT apikey_authorize($1, $2, $3)';
	CREATE FUNCTION frozen_authorize(text, text, text) RETURNS boolean LANGUAGE sql IMMUTABLE AS
		'SELECT apikey_authorize($1, $2, $3)';
	CREATE FUNCTION stable_projects(text, text) RETURNS text[] LANGUAGE sql STABLE AS
		'SELECT apikey_projects($1, $2)';
	CREATE FUNCTION frozen_projects(text, text) RETURNS text[] LANGUAGE sql IMMUTABLE AS
		'SELECT apikey_projects($1, $2)';

	DO $$
	DECLARE
		kind text;
	BEGIN
		SET LOCAL client_min_messages = error;
		CREATE ROLE app;
		GRANT SELECT ON project, environment, verb, token, quiz, pair, question TO app;
		GRANT INSERT ON answer, other_plan TO app;
		GRANT EXECUTE ON FUNCTION apikey_who_can TO app;
		PERFORM apikey_protect('doc', 'project', 'environment'), apikey_protect('doc_int', 'project', 'environment'),
			apikey_protect('doc_uuid', 'project', 'environment');
		-- not a type for apikey_protect
		ALTER TABLE doc_name ENABLE ROW LEVEL SECURITY;
		CREATE POLICY s ON doc_name FOR SELECT USING (apikey_authorize(project, environment, 'read'));
		CREATE POLICY i ON doc_name FOR INSERT WITH CHECK (apikey_authorize(project, environment, 'write'));
		CREATE POLICY u ON doc_name FOR UPDATE USING (apikey_authorize(project, environment, 'write'));
		CREATE POLICY d ON doc_name FOR DELETE USING (apikey_authorize(project, environment, 'manage'));
		FOREACH kind IN ARRAY '{stable,frozen}'::text[] LOOP
			EXECUTE format('CREATE TABLE %1$s_doc (id int, project text, environment text, body text);
				INSERT INTO %1$s_doc SELECT * FROM doc;
				ALTER TABLE %1$s_doc ENABLE ROW LEVEL SECURITY;
				CREATE POLICY s ON %1$s_doc FOR SELECT
					USING (id / 100 * 100 = ANY ((SELECT %1$s_ids(''read''))::int[]));
				CREATE POLICY i ON %1$s_doc FOR INSERT
					WITH CHECK (id / 100 * 100 = ANY ((SELECT %1$s_ids(''write''))::int[]));
				CREATE POLICY u ON %1$s_doc FOR UPDATE
					USING (id / 100 * 100 = ANY ((SELECT %1$s_ids(''write''))::int[]));
				CREATE POLICY d ON %1$s_doc FOR DELETE
					USING (id / 100 * 100 = ANY ((SELECT %1$s_ids(''manage''))::int[]))', kind);
		END LOOP;
		GRANT ALL ON doc, doc_int, doc_uuid, doc_name, stable_doc, frozen_doc TO app;
	END $$;
	VACUUM ANALYZE doc, doc_int, doc_uuid, doc_name, stable_doc, frozen_doc;
});

my @entries;
my $script = "SET ROLE app;\n";
sub setting { $script .= "RESET ALL;\n" . join '', map "SET $_;\n", @_; }

sub literal { return defined $_[0] ? "'" . $_[0] =~ s/'/''/gr . "'" : 'NULL'; }

sub ask
{
	my ($how, $entry, @arguments) = @_;

	push @entries, $entry;
	$script .= "SELECT ask_$how(" . join(', ', map literal($_), $entry, @arguments) . ");\n";
}

# Settings of a kind of plan, and how it looks
my @sequential = qw(enable_indexscan=off enable_bitmapscan=off enable_indexonlyscan=off);
my @index = qw(enable_seqscan=off enable_bitmapscan=off enable_indexonlyscan=off);
my @bitmap = qw(enable_seqscan=off enable_indexscan=off enable_indexonlyscan=off);
my @index_only = qw(enable_seqscan=off enable_bitmapscan=off);
my $forced = $node->safe_psql('postgres',
	"SELECT name FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query')");
my @parallel = ("$forced=on", qw(parallel_setup_cost=0 parallel_tuple_cost=0 min_parallel_table_scan_size=0
	  min_parallel_index_scan_size=0 parallel_leader_participation=off max_parallel_workers_per_gather=2));
my @generic = qw(plan_cache_mode=force_generic_plan);
my %scan = (
	sequential => [ '\mSeq Scan on DOC', @sequential ],
	index => [ '\mIndex Scan using \w+ on DOC', @index ],
	bitmap => [ '\mBitmap Heap Scan on DOC', @bitmap ]);
my %select = (
	%scan,
	'index only' => [ 'Index Only Scan using \w+ on DOC', @index_only ],
	parallel => [ 'Gather.*Parallel Seq Scan on DOC', @parallel, @sequential ],
	# an index that is searched for a list is scanned by one process
	'parallel index' => [ 'Gather.*Index Scan using \w+ on DOC', @parallel, @index ],
	'parallel bitmap' => [ 'Gather.*Bitmap Heap Scan on DOC', @parallel, @bitmap ],
	'parallel index only' => [ 'Gather.*Index Only Scan using \w+ on DOC', @parallel, @index_only ]);

# Arguments of other types
my $integer = q{coalesce(project, '0') ~ '^\d+$'};
my $uuid = q{(project IS NULL OR length(project) = 36)};
my $enum = q{environment IS DISTINCT FROM ''};
my %typed = (
	'varchar' => ['project::varchar, environment::varchar(20)'],
	'name' => ['project::name, environment::name'],
	'domain' => ['project::label, environment::label'],
	'varchar and name' => ['project::varchar(40), environment::name'],
	'text and enum' => [ 'project, environment::stage', $enum ],
	'integer' => [ 'project::int, environment', $integer ],
	'bigint and varchar' => [ 'project::bigint, environment::varchar', $integer ],
	'uuid' => [ 'project::uuid, environment', $uuid ],
	'uuid and enum' => [ 'project::uuid, environment::stage', "$uuid AND $enum" ]);

# --- functions that are given the key

ask('all', 'authorize', 'apikey_authorize(key, project, environment, verb)');
foreach my $type (sort keys %typed)
{
	my ($arguments, @condition) = @{ $typed{$type} };

	ask('all', "authorize, $type", "apikey_authorize(key, $arguments, verb)", @condition);
}
ask('all', 'explain', '(apikey_explain(key, project, environment, verb)).allowed');
ask('all', "explain, $_", "(apikey_explain(key, $typed{$_}[0], verb)).allowed", $typed{$_}[1] // 'true')
  foreach ('name', 'uuid and enum');

# Lists are made once for all projects.
my $lists = q{(SELECT k, v, e, %s AS list
	FROM token, verb v, (SELECT e, name%s AS environment FROM environment%s) e OFFSET 0) l};
sub projects_of
{
	my ($entry, $call, $cast, $where) = @_;

	push @entries, $entry;
	$script .= "INSERT INTO answer SELECT '$entry', k * 100000 + p * 1000 + e * 100 + v,
		array_position(list, project.name) IS NOT NULL
		FROM project, " . sprintf($lists, $call, $cast // '', $where // '') . ";\n";
}
projects_of('projects_of', 'apikey_projects_of(key, v.name, environment)');
projects_of('projects_of, enum', 'apikey_projects_of(key, v.name, environment)', '::stage',
	" WHERE coalesce(name, '*') <> ''");
projects_of('projects_of, name', 'apikey_projects_of(key, v.name, environment)', '::name');
push @entries, 'projects_of, anywhere';
$script .= q{INSERT INTO answer SELECT 'projects_of, anywhere', k * 100000 + p * 1000 + v,
	array_position(list, project.name) IS NOT NULL
	FROM project, (SELECT k, v, apikey_projects_of(key, v.name) AS list FROM token, verb v OFFSET 0) l;
};

# Who may do it: neither the secret nor the address of the key counts.
push @entries, 'who';
$script .= "INSERT INTO answer SELECT 'who', k * 100000 + id, key_id = ANY (keys)
	FROM token, (SELECT id, ARRAY(SELECT key_id FROM apikey_who_can(project, environment, verb)) AS keys FROM quiz OFFSET 0) q
	WHERE genuine AND name !~ 'network';\n";

setting(@generic);
ask('parameters', 'authorize, parameters');
setting();
$script .= "SELECT ask_array('authorize, constants', 'SELECT id FROM quiz',
	sheet('apikey_authorize(:key, %L, %L, %L)', 'true'));\n";
push @entries, 'authorize, constants';
setting(@parallel);
my $scan = 'Gather.*Parallel Seq Scan on question\M[^>]*Filter: [^\n]*apikey_';
ask('where', 'authorize, parallel', 'apikey_authorize(key, project, environment, verb)', 'true', $scan);
ask('where', 'authorize, parallel uuid', 'apikey_authorize(key, project::uuid, environment::varchar, verb)', $uuid, $scan);
ask('where', 'explain, parallel', '(apikey_explain(key, project, environment, verb)).allowed', 'v < 4', $scan);
ask('where', 'projects_of, parallel', 'project = ANY (apikey_projects_of(key, verb, environment))', 'v < 4', $scan);

# --- the session's key

setting();
push @entries, 'login', 'login, authorize';
$script .= "SELECT ask_login();\n";
ask('session', 'whoami', 'SELECT 0 AS id, EXISTS (SELECT FROM apikey_whoami()) AS yes');
push @entries, 'verify';
$script .= "INSERT INTO answer SELECT 'verify', k * 100000, EXISTS (SELECT FROM apikey_verify(key)) FROM token;\n";
ask('session', 'session', 'SELECT id, apikey_authorize(project, environment, verb) AS yes FROM quiz');
foreach my $type (sort keys %typed)
{
	my ($arguments, $condition) = @{ $typed{$type} };

	ask('session', "session, $type", "SELECT id, apikey_authorize($arguments, verb) AS yes FROM quiz WHERE "
		  . ($condition // 'true'));
}
ask('session', 'projects', q{SELECT p * 1000 + e * 100 + v AS id, array_position(list, project.name) IS NOT NULL AS yes
	FROM project, (SELECT v, e, apikey_projects(v.name, e.name) AS list FROM verb v, environment e OFFSET 0) l});
ask('session', 'projects, enum', q{SELECT p * 1000 + e * 100 + v AS id, array_position(list, project.name) IS NOT NULL AS yes
	FROM project, (SELECT v, e, apikey_projects(v.name, e.name::stage) AS list FROM verb v, environment e
		WHERE coalesce(e.name, '*') <> '' OFFSET 0) l});
ask('session', 'projects, anywhere', q{SELECT p * 1000 + v AS id, array_position(list, project.name) IS NOT NULL AS yes
	FROM project, (SELECT v, apikey_projects(name) AS list FROM verb OFFSET 0) l});
ask('each', 'require', 'v < 4 OR v = 15', 'SELECT WHERE apikey_require(%2$L, %3$L, %4$L)');
ask('each', 'require, key', 'v < 4 OR v = 15', 'SELECT WHERE apikey_require(%5$L, %2$L, %3$L, %4$L)');
ask('session', 'explain, session', 'SELECT id, (apikey_explain(project, environment, verb)).allowed AS yes FROM quiz');
ask('session', 'mixed, uuid', "SELECT id, apikey_authorize(project::uuid, environment, verb) AS yes FROM quiz WHERE $uuid");
ask('session', 'mixed, enum', "SELECT id, apikey_authorize(project, environment::stage, verb) AS yes FROM quiz WHERE $enum");
ask('session', 'key_id', 'SELECT 0 AS id, apikey_key_id() IS NOT NULL AS yes');
ask('each', 'require, typed', "v < 4 AND $uuid AND $enum", 'SELECT WHERE apikey_require(%2$L::uuid, %3$L::stage, %4$L)');

setting(@parallel);
$scan =~ s/question/quiz/;
ask('array', 'session, parallel', 'SELECT id FROM quiz',
	'SELECT array_agg(id) FROM quiz WHERE apikey_authorize(project, environment, verb)', $scan);
ask('array', 'projects, parallel', 'SELECT id FROM quiz WHERE v < 4',
	'SELECT array_agg(id) FROM quiz WHERE v < 4 AND project = ANY (apikey_projects(verb, environment))', $scan);
ask('each', 'require, in a worker', "v IN (1, 3) AND project = 'web' AND environment = 'production'",
	'SELECT apikey_require(%2$L, %3$L, %4$L)', 'Gather.*Single Copy: true');

# Prepared statements, which serve one key after another
setting(@generic);
sub prepared
{
	my ($name, $entry, $call, $condition) = @_;

	$script .= "SELECT sheet(" . literal($call) . ", '$condition') AS query \\gset\nPREPARE $name AS :query;\n";
	ask('array', $entry, "SELECT id FROM quiz WHERE $condition", "EXECUTE $name");
}
prepared('s1', 'session, generic', 'apikey_authorize(%L, %L, %L)', 'true');
prepared('s2', 'projects, generic', '%1$L = ANY (apikey_projects(%3$L, %2$L))', 'v < 4');
$script .= "PREPARE r (text, text, text) AS SELECT apikey_require(\$1, \$2, \$3);\n";
ask('each', 'require, generic', 'v < 4', 'EXECUTE r (%2$L, %3$L, %4$L)');

# --- row-level security

my %command = (
	SELECT => [ 4, 'SELECT array_agg(id + 4) FROM DOC WHERE id > 0' ],
	'SELECT FOR UPDATE' => [ 6, 'SELECT array_agg(id + 6) FROM (SELECT id FROM DOC WHERE id > 0 FOR UPDATE) t' ],
	UPDATE => [ 6, 'WITH t AS (UPDATE DOC SET body = NULL WHERE id > 0 RETURNING id) SELECT array_agg(id + 6) FROM t' ],
	DELETE => [ 7, 'WITH t AS (DELETE FROM DOC WHERE id > 0 RETURNING id) SELECT array_agg(id + 7) FROM t' ]);
my $insert = 'INSERT INTO DOC VALUES (%1$s, %2$L, %3$L)';
my $copy = 'INSERT INTO DOC SELECT %1$s, project, environment FROM DOC WHERE id = %1$s - 5';
my $move = 'UPDATE DOC SET project = %2$L, environment = %3$L WHERE id > 0';

sub on { my ($text, $doc) = @_; return $text =~ s/\bDOC\b/$doc/gr; }

foreach my $name (sort keys %command)
{
	my ($verb, $query) = @{ $command{$name} };
	my $plans = $name eq 'SELECT' ? \%select : \%scan;

	foreach my $plan (sort keys %$plans)
	{
		my ($look, @settings) = @{ $plans->{$plan} };

		setting(@settings);
		ask('array', "$name, $plan", "SELECT id + $verb FROM pair", on($query, 'doc'), on($look, 'doc'));
	}
}
foreach my $plan (sort keys %scan)
{
	my ($look, @settings) = @{ $scan{$plan} };

	setting(@settings);
	ask('each', "INSERT, $plan", 'v = 5', on($copy, 'doc'), on($look, 'doc'));
	ask('array', "SELECT integer, $plan", "SELECT id + 4 FROM pair WHERE $integer",
		on($command{SELECT}[1], 'doc_int'), on($look, 'doc_int'));
	ask('array', "DELETE uuid and enum, $plan", "SELECT id + 7 FROM pair WHERE $uuid AND $enum",
		'WITH t AS (DELETE FROM doc_uuid WHERE id > 0 RETURNING id) SELECT array_agg(id + 7) FROM t', on($look, 'doc_uuid'));
	ask('array', "SELECT name and domain, $plan", 'SELECT id + 4 FROM pair',
		on($command{SELECT}[1], 'doc_name'), on($look, 'doc_name'));
}
setting(qw(enable_seqscan=off enable_bitmapscan=off));
ask('array', 'SELECT, nested loop', 'SELECT id + 4 FROM pair',
	'SELECT array_agg(d.id + 4) FROM pair p, LATERAL (SELECT id FROM doc d
		WHERE d.project = p.project AND d.environment = p.environment OFFSET 0) d',
	'Nested Loop.*Index (?:Only )?Scan using \w+ on doc');
setting(@parallel);	# which is for reading only
ask('array', "$_, told to be parallel", "SELECT id + $command{$_}[0] FROM pair", on($command{$_}[1], 'doc'))
  foreach 'DELETE', 'SELECT FOR UPDATE', 'UPDATE';
ask('each', 'INSERT, told to be parallel', 'v = 5', on($copy, 'doc'));
setting();
ask('each', 'INSERT, values', 'v = 5', on($insert, 'doc'));
ask('each', 'UPDATE, new row', 'v = 6', on($move, 'doc'));

# Cached plans; there are no parallel ones of what writes
my $number = 0;
sub cached
{
	my ($prefix, $doc, @names) = @_;

	foreach my $name (@names)
	{
		my ($verb, $query) = @{ $command{$name} };
		my $statement = 'd' . ++$number;

		$script .= "PREPARE $statement AS " . on($query, $doc) . ";\n";
		ask('array', "$prefix$name, generic", "SELECT id + $verb FROM pair", "EXECUTE $statement");
	}
	my $statement = 'i' . ++$number;
	$script .= "PREPARE $statement (int, text, text) AS INSERT INTO $doc VALUES (\$1, \$2, \$3);\n";
	ask('each', "${prefix}INSERT, generic", 'v = 5', "EXECUTE $statement (%s, %L, %L)");
}
setting(@generic);
cached('', 'doc', sort keys %command);
setting(@generic, @parallel, @sequential);
$script .= 'PREPARE p AS ' . on($command{SELECT}[1], 'doc') . ";\n";
ask('array', 'SELECT, parallel generic', 'SELECT id + 4 FROM pair', 'EXECUTE p', on($select{parallel}[0], 'doc'));

# --- the same with a verdict that is kept, and as a check without keeping it

setting(@generic);
foreach my $kind ('stable', 'frozen')
{
	prepared("${kind}_s", "$kind session", $kind . '_authorize(%L, %L, %L)', 'true');
	prepared("${kind}_p", "$kind projects", "%1\$L = ANY (${kind}_projects(%3\$L, %2\$L))", 'v < 4');
	cached("$kind ", "${kind}_doc", sort keys %command);
}

# what was prepared had no other plan
$script .= q{RESET ROLE;
	SELECT 'plans', count(*), count(*) FILTER (WHERE generic_plans < 30 OR custom_plans > 0) FROM pg_prepared_statements;
};

# Meanwhile others change what is none of this: all the time, messages come in, which name
# other parts of what is cached, and now and then the same.
$node->safe_psql('postgres', q{
	CREATE TABLE others AS SELECT k.key_id FROM generate_series(1, 300), apikey_create('others', 'other', '[]') k;
	CREATE PROCEDURE change_others() LANGUAGE plpgsql AS $$
	DECLARE
		other uuid;
	BEGIN
		WHILE EXISTS (SELECT FROM others) LOOP
			SELECT key_id INTO other FROM others ORDER BY random() LIMIT 1;
			PERFORM apikey_disable(other), apikey_enable(other);
			COMMIT;
			PERFORM apikey_add_project('others', 'other'), apikey_grant(other, 'other', 'production', 'read');
			COMMIT;
			PERFORM apikey_remove_project('other'), apikey_suspend('others');
			COMMIT;
			PERFORM apikey_resume('others');
			COMMIT;
			PERFORM pg_sleep(0.002);
		END LOOP;
	END $$;
});
my $others = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', 'CALL change_others()' ], '2>', \my $failed);
my $output = $node->safe_psql('postgres', $script . 'SELECT $$flushes$$, flushes FROM apikey_cache_stats();');
$node->safe_psql('postgres', 'DELETE FROM others');
$others->finish;
is($failed, '', 'others changed what is theirs');
my ($flushes) = $output =~ /^flushes\|(\d+)$/m;
cmp_ok($flushes, '>', 1000, "$flushes messages came in");
my ($prepared, $other) = $output =~ /^plans\|(\d+)\|(\d+)$/m;
cmp_ok($prepared, '>', 10, "$prepared prepared statements");
is($other, 0, 'all with generic plans');
is($node->safe_psql('postgres', 'SELECT * FROM other_plan'), '', 'all plans were of the kind that they should be');

# ------------------------------------------------------------------ verdicts

# all of them beside each other
$node->safe_psql('postgres', 'CREATE TABLE verdicts AS SELECT cell, verdict.yes' . join('', map ", verdict_$_.yes AS $_", sort keys %wrong)
	. ' FROM verdict ' . join(' ', map "JOIN verdict_$_ USING (cell)", sort keys %wrong) . '; ANALYZE answer, verdicts');

my $found = join ', ', map "count(*) FILTER (WHERE a.yes <> v.$_)", sort keys %wrong;
my %result = map { my ($entry, @numbers) = split /\|/; ($entry => \@numbers) } split /\n/,
  $node->safe_psql('postgres', "SELECT entry, count(*), count(*) FILTER (WHERE a.yes),
	count(*) FILTER (WHERE a.yes IS DISTINCT FROM v.yes), $found
	FROM answer a LEFT JOIN verdicts v USING (cell) GROUP BY entry");
my $total = 0;

# each state of a key that should say no to all does, and no other
is( $node->safe_psql('postgres', q{SELECT string_agg(name, ', ' ORDER BY k) FROM token
		WHERE k NOT IN (SELECT cell / 100000 FROM verdict WHERE yes AND cell % 100000 > 0)}),
	'no grants, organization level, expired, disabled, revoked, suspended, deleted, wrong secret, superseded, superseded by the end, one network, all networks, '
	  . 'derived, none, below expired, below below expired, below disabled, below revoked, below suspended, below deleted, '
	  . 'below one network, cut, longer, twice, blank before, capitals, another prefix, corrupt, masked, junk, empty, null',
	'keys that may do nothing');
is(scalar(keys %result), scalar(@entries), scalar(@entries) . ' ways to ask');
foreach my $entry (@entries)
{
	my ($cells, $yes, $different) = @{ $result{$entry} // [ 0, 0, 'no answer' ] };
	my $no = $cells - $yes;

	next if $entry =~ /^frozen/;
	$total += $cells;
	is($different, 0, "$entry: $cells answers, $yes yes, $no no");
	is($yes > 0 && $no > 0, 1, "$entry: both");
	if ($different ne '0')
	{
		diag $node->safe_psql('postgres', 'WITH d AS MATERIALIZED (
				SELECT cell, a.yes, o.yes AS oracle FROM answer a JOIN verdict o USING (cell)
				WHERE a.yes <> o.yes AND entry = ' . literal($entry) . ' ORDER BY cell LIMIT 5)
			SELECT t.name, project.name, environment.name, verb.name, yes, oracle
			FROM d LEFT JOIN token t ON k = cell / 100000
				LEFT JOIN project ON p = cell / 1000 % 100
				LEFT JOIN environment ON e = cell / 100 % 10
				LEFT JOIN verb ON v = cell % 100 ORDER BY cell');
	}
}
note "$total answers";
is( $node->safe_psql('postgres', q{SELECT count(*) FROM token, verb v, environment e,
		unnest(apikey_projects_of(key, v.name, e.name) || apikey_projects_of(key, v.name)) list
		WHERE list NOT IN (SELECT name FROM project WHERE name IS NOT NULL) OR list IS NULL}),
	0, 'no list holds anything else');

# ------------------------------------------------- all this must be able to fail

# Log-in sees no grants, who may read needs no higher level, and one asks about acme alone.
my %blind = (
	missing => qr/^(?:login|whoami|key_id|verify)$/,
	suspended => qr/^require, in a worker$/,
	higher => qr/^(?:login|whoami|key_id|verify)$|^(?:stable )?SELECT(?! FOR)/);
foreach my $entry (grep !/^frozen/, @entries)
{
	my (undef, undef, undef, @different) = @{ $result{$entry} // [] };
	my %different;

	@different{ sort keys %wrong } = @different;
	my @asked = grep { !$blind{$_} || $entry !~ $blind{$_} } sort keys %wrong;
	my $counts = join ', ', map "$_: " . ($different{$_} // 0), @asked;
	is(scalar(grep !$different{$_}, @asked), 0, "$entry: a wrong oracle is found out ($counts)");
}
foreach my $entry (grep /^frozen/, @entries)
{
	my ($cells, $yes, $different) = @{ $result{$entry} // [ 0, 0, 0 ] };

	cmp_ok($different, '>', 0, "$entry: a kept verdict is found out ($different of $cells)");
}

done_testing();
