# Every function that the catalog has, with arguments of all sorts, in all ways to
# call it: no crash, no internal error, no key in the log, no wrong yes.
#
# The signatures are read from the catalog, so new functions are tried unasked.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Apikey;
use Fuzz;

# in a round, on each of the servers
use constant CALLS => 4000;

my %node;
foreach my $name ('plain', 'preloaded')
{
	# where nothing masks it, the server itself logs statements with keys in them
	$node{$name} = start_node($name, conf => q{
fsync = off
autovacuum = off
log_error_verbosity = verbose
max_worker_processes = 16
} . ($name eq 'preloaded' ? q{
shared_preload_libraries = 'apikey'
log_min_error_statement = error
apikey.guess_delay = 0
} : q{
log_min_error_statement = panic
log_statement = none
}));
}

# ------------------------------------------------------------- the world

my $forced = $node{plain}->safe_psql('postgres',
	"SELECT name FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query')");
my $world = q{
	SET client_min_messages = warning;
	CREATE ROLE stranger;
	CREATE ROLE app;
	GRANT CREATE ON SCHEMA public TO app;
	DO $$ DECLARE f regprocedure; BEGIN
		FOR f IN SELECT objid::regprocedure FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
			WHERE extname = 'apikey' AND classid = 'pg_proc'::regclass AND deptype = 'e'
		LOOP
			EXECUTE format('GRANT EXECUTE ON ROUTINE %s TO app', f);
		END LOOP;
	END $$;
	CREATE TYPE stage AS ENUM ('production', 'development', 'staging', '*');
	CREATE DOMAIN word AS text;
	CREATE TABLE doc (id int, project text, environment text);
	CREATE TABLE thing (organization bigint);
	CREATE TABLE hollow ();
	CREATE TABLE wide (key_id uuid, project text, organization text, environment stage, level apikey_level, id bigint);
	CREATE VIEW seen AS SELECT * FROM doc;
	ALTER TABLE doc OWNER TO app;
	INSERT INTO doc SELECT i, 'web', 'production' FROM generate_series(1, 100) i;
	CREATE TABLE series (i int) WITH (parallel_workers = 2);
	INSERT INTO series SELECT generate_series(1, 50);

	CREATE TABLE token (k int GENERATED ALWAYS AS IDENTITY, kind text, key text, key_id uuid);
	CREATE INDEX ON token (k);
	CREATE FUNCTION tok(int) RETURNS text LANGUAGE sql STABLE SECURITY DEFINER
		AS 'SELECT key FROM public.token ORDER BY k DESC LIMIT 1 OFFSET $1';
	CREATE FUNCTION key_id(int) RETURNS uuid LANGUAGE sql STABLE SECURITY DEFINER
		AS 'SELECT key_id FROM public.token ORDER BY k DESC LIMIT 1 OFFSET $1';

	-- new keys, of which the functions have not yet made anything
	CREATE FUNCTION restock() RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM apikey_add_project('acme', 'web') WHERE NOT EXISTS (SELECT FROM apikey_project WHERE project = 'web');
		PERFORM apikey_add_project('globex', 'mars') WHERE NOT EXISTS (SELECT FROM apikey_project WHERE project = 'mars');
		PERFORM apikey_add_project('acme', '1001') WHERE NOT EXISTS (SELECT FROM apikey_project WHERE project = '1001');
		PERFORM apikey_add_project('acme', p) FROM unnest('{web,1001}'::text[]) p
		WHERE EXISTS (SELECT FROM apikey_project WHERE project = p AND organization = 'acme');
		INSERT INTO token (kind, key, key_id)
		SELECT kind, c.key, c.key_id FROM unnest('{write,all,revoked,disabled,expired,nothing,limited}'::text[]) kind,
			LATERAL apikey_create('acme', kind, CASE kind WHEN 'nothing' THEN '[]'
				WHEN 'write' THEN '[{"project": "web", "environment": "production", "level": "write"}]'
				ELSE '[{"project": "*", "environment": "*", "level": "manage"}]' END::jsonb,
				organization_level => CASE kind WHEN 'all' THEN 'write' END::apikey_level) c;
		DELETE FROM apikey_suspension;
		PERFORM apikey_revoke(key_id) FROM token WHERE kind = 'revoked';
		PERFORM apikey_disable(key_id) FROM token WHERE kind = 'disabled';
		PERFORM apikey_set_budget(t.key_id, 1000) FROM token t JOIN apikey_key USING (key_id) WHERE kind = 'limited';
		UPDATE apikey_key SET expires_at = now() - interval '1 second' WHERE label = 'expired';
	EXCEPTION WHEN object_not_in_prerequisite_state THEN NULL; -- revoked meanwhile
	END $$;

	-- what is allowed though no row of the tables allows it
	CREATE FUNCTION wrong_yes() RETURNS TABLE (kind text, project text, environment text, verb text)
	LANGUAGE sql SET max_parallel_workers_per_gather = 0 AS $$
		SELECT kind, p, e, v FROM token t, unnest('{web,mars,1001,none}'::text[]) p,
			unnest('{production,development,none}'::text[]) e, unnest('{read,write,manage}'::text[]) v
		WHERE apikey_authorize(t.key, p, e, v) AND NOT EXISTS (
			SELECT FROM apikey_key k JOIN apikey_grant g USING (key_id)
				JOIN apikey_environment r ON r.organization = k.organization AND r.project = p AND r.environment = e
			WHERE k.key_id = t.key_id AND k.revoked_at IS NULL AND k.disabled_at IS NULL
				AND (k.expires_at IS NULL OR k.expires_at > statement_timestamp())
				AND k.organization NOT IN (SELECT organization FROM apikey_suspension)
				AND (g.project IS NULL OR g.project = p) AND (g.environment = '*' OR g.environment = e)
				AND g.level >= v::apikey_level)
	$$;
	CREATE FUNCTION yes() RETURNS bigint LANGUAGE sql AS
		$$ SELECT count(*) FROM token t WHERE apikey_authorize(t.key, 'web', 'production', 'read') $$;
};
foreach my $node (values %node)
{
	$node->safe_psql('postgres', $world);
	$node->safe_psql('postgres', 'SELECT restock()');
}

my $of_ours = q{FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'apikey'
	JOIN pg_proc p ON p.oid = d.objid WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'e'};
my @functions = map {
	my ($name, $kind, $safe, @types) = split /\|/;
	{ name => $name, kind => $kind, safe => $safe, types => \@types };
  } split /\n/, $node{plain}->safe_psql('postgres', qq{
	SELECT concat_ws('|', pronamespace::regnamespace || '.' || proname, CASE WHEN prorettype = 'trigger'::regtype THEN 'trigger'
		WHEN 'internal'::regtype = ANY (proargtypes) THEN 'internal' WHEN prokind = 'p' THEN 'procedure' ELSE 'call' END, proparallel = 's',
		(SELECT string_agg(format_type(t, NULL), '|' ORDER BY n) FROM unnest(proargtypes) WITH ORDINALITY u (t, n)))
	$of_ours ORDER BY p.oid::regprocedure::text COLLATE "C"});
cmp_ok(scalar @functions, '>', 90, scalar(@functions) . ' functions');

# --------------------------------------------------------------- arguments

sub quote { return "'" . $_[0] =~ s/'/''/gr . "'"; }

# Expressions of a type, without subqueries.
my @texts = ('', '*', 'web', 'web', 'mars', 'acme', 'globex', 'production', 'development', 'read', 'write', 'manage', 'GET', 'delete',
	'1001', 'none', "a'b", "\n", "\\", '%s%n', '"', '[]', '{}', 'pg_catalog', 'apk', 'v_2', 'tenant_42', 'sk-1', 'x' x 33,
	'100/1h', '5/1 second', '99999999999/1s', '-1/1d', '1/0s', '10/1 minute burst 5', 'formbricks-v1', 'formbricks-v2', 'sha256',
	'$2b$12$' . 'a' x 53, '$2a$31$' . '/' x 53, 'ab' x 32, 'AB' x 32, 'fbk_' . 'a' x 43, '00000000-0000-0000-0000-000000000000',
	"\xc3\xa4\xc3\xb6", "\xf0\x9f\x94\x91" x 10, 'x' x 512, 'x' x 513, 'a' x 10000, '10.0.0.0/8', 'infinity', 'x/y/z',
	'apk_' . '0' x 71, 'apk_' . 'z' x 71);
my %pool = (
	integer => [ qw(0 1 -1 5 42 1001 2147483647 (-2147483648)) ],
	smallint => [ map "$_\::smallint", qw(0 1 -1 7 32767 (-32768)) ],
	bigint => [ map "$_\::bigint", qw(0 1 1 2 -1 5 1001 9223372036854775807 (-9223372036854775808) 4294967296) ],
	numeric => [ qw(0.0 1e400 'NaN'::numeric 'Infinity'::numeric 1001.5) ],
	boolean => [ qw(true false) ],
	oid => [ map "$_\::oid", qw(0 1 1259 4294967295 'doc'::regclass) ],
	regclass => [ map "$_\::regclass", qw('doc' 'doc' 'thing' 'wide' 'hollow' 'seen' 'pg_class' 'apikey_key' 'apikey_grant' 'apikey_event' 'apikey_keys'
		'apikey_key_pkey' 'token' 'information_schema.tables'), 0, 4294967295 ],
	name => [ map "$_\::name", qw('project' 'environment' 'id' 'organization' 'key_id' 'nothing' '' 'ctid' 'tableoid' 'level'), "repeat('x', 100)" ],
	uuid => [ 'gen_random_uuid()', "'00000000-0000-0000-0000-000000000000'::uuid", "'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid" ],
	interval => [ map "interval '$_'", '0', '1 second', '-1 day', '1 hour', '1 month', '178000000 years', '-178000000 years',
		'0.000001 seconds', '1 month -30 days', '2147483647 days', '9223372036854 seconds' ],
	'timestamp with time zone' => [ "'infinity'::timestamptz", "'-infinity'::timestamptz", 'now()', "now() + interval '1 day'",
		"now() - interval '1 day'", "'294276-12-31 23:59:59+00'::timestamptz", "'4713-01-01 BC'::timestamptz", "'epoch'::timestamptz" ],
	jsonb => [ (map "$_\::jsonb", map(quote($_), '[]', '{}', 'null', '"x"', '1e400', '[null]', '[[]]', '[{}]',
		'[{"project": "web", "environment": "production", "level": "write"}]',
		'[{"project": "*", "environment": "*", "level": "manage"}]', '[{"project": null, "environment": 1, "level": []}]',
		'[{"project": "web", "environment": "production", "level": "write"}, {"project": "web", "environment": "production", "level": "read"}]',
		'{"a": {"b": [1, 2, {"c": "\u00e4"}]}}', '[{"token": "x", "type": "t", "url": "u", "source": "s"}]'),
		"(repeat('[', 3000) || repeat(']', 3000))", "(repeat('{\"a\":', 3000) || '1' || repeat('}', 3000))"),
		"to_jsonb(repeat('x', 1000000))", 'to_jsonb(array_fill(1, ARRAY[20000]))',
		q{to_jsonb(array_fill('{"project": "web", "environment": "production", "level": "read"}'::jsonb, ARRAY[2000]))},
		'jsonb_build_array(jsonb_build_object(\'token\', tok(%d), \'type\', \'x\', \'url\', \'\', \'source\', \'content\'))' ],
	'text[]' => [ map("$_\::text[]", "'{}'", "'{production}'", "'{production,NULL}'", "'{a,a}'", "'{{a,b},{c,d}}'", "'[5:6]={a,b}'", "'{\"\",*}'"),
		"array_fill('x'::text, ARRAY[3000])", "array_fill('x'::text, ARRAY[2,2,2])" ],
	'cidr[]' => [ map("$_\::cidr[]", "'{}'", "'{10.0.0.0/8}'", "'{0.0.0.0/0,::/0}'", "'{NULL}'", "'{{1.2.3.4},{::1}}'"),
		"array_fill('1.2.3.4'::cidr, ARRAY[20000])" ],
	apikey_level => [ map "'$_'::apikey_level", qw(read write manage) ],
	stage => [ map "'$_'::stage", qw(production development *) ],
	'character varying' => [ map "$_\::varchar", qw('web' 'production' 'acme' '') ],
	word => [ map "$_\::word", qw('web' 'production') ],
	bytea => [ "'\\x00ff'::bytea", "decode(repeat('00', 100000), 'hex')" ],
	inet => [ "'10.0.0.1'::inet" ],
	'double precision' => [ map "$_\::float8", qw('NaN' 'Infinity' 1e308 0) ],
	record => [ "ROW(1, 'a')", "ROW()" ],
	'date' => [ "'infinity'::date", "'5874897-12-31'::date" ],
	'json' => [ "'{\"a\": 1}'::json" ],
	'integer[]' => [ "'{1,2,3}'::int[]", "'{}'::int[]" ]);
my @any = ('text', 'text', 'integer', 'bigint', 'smallint', 'uuid', keys %pool);
@any = sort @any;

my $literal;		# keys may be written into statements

sub key_text
{
	my $key = sprintf 'tok(%d)', rand 14;

	return $key if chance(0.6);
	return pick("left($key, @{[ between(-3, 75) ]})", "$key || 'x'", "'x' || $key", "upper($key)", "overlay($key PLACING '0' FROM @{[ between(1, 75) ]})",
		"repeat($key, @{[ between(2, 50) ]})", "$key || chr(228) || $key", "$key || E'\\n'", "substr($key, 5)", "repeat('x ', 100000) || $key",
		'NULL::text');
}

sub argument
{
	my ($type) = @_;

	$type = pick(@any) if $type =~ /^any(?!array)/ || $type eq '"any"';
	return "NULL::$type" if chance(0.08) && $type ne 'record';
	if ($type eq 'text')
	{
		return key_text() if chance(0.35);
		return pick("repeat('x', 1000000)", "repeat(chr(228), 300000)", "repeat('apk_', 200000)") if chance(0.03);
		return quote(pick(@texts)) . '::text' if chance(0.9);
		return quote(join '', map chr between(1, 126), 1 .. between(1, 40)) . '::text';
	}
	return sprintf 'key_id(%d)', rand 14 if $type eq 'uuid' && chance(0.75);
	return pick(@{ $pool{$type} }) =~ s/%d/int rand 14/er if $pool{$type};
	return "NULL::$type";
}

# ----------------------------------------------------------------- the calls

my $number = 0;

sub call
{
	my ($function) = @_;
	my @types = @{ $function->{types} };

	# those left out at the end are not always allowed to be
	@types = @types[ 0 .. $#types - 1 ] while @types && chance(0.15);
	return ($function->{name}, map argument($_), @types);
}

sub written
{
	my ($name, @arguments) = @_;

	return "$name(" . join(', ', @arguments) . ')';
}

# Statements that call it in some way; each unit leaves the session as it was.
sub unit
{
	my ($function) = @_;
	my ($name, @arguments) = call($function);
	my $call = written($name, @arguments);
	my $other = written(call(pick(grep $_->{kind} eq 'call', @functions)));
	my $n = ++$number;
	my $end = pick('COMMIT', 'ROLLBACK');

	return trigger($function) if $function->{kind} eq 'trigger' && chance(0.8);
	return pick("CALL $call;", "CALL $call;", "BEGIN; CALL $call; $end;", "DO \$\$ BEGIN CALL $call; END \$\$;", "SELECT $call;",
		"BEGIN; SELECT set_config('apikey.key', tok(@{[ int rand 14 ]}), false) IS NULL; COMMIT; CALL $call; RESET apikey.key;") . "\n"
	  if $function->{kind} eq 'procedure';
	my $parameters = join ', ', map '$' . $_, 1 .. @arguments;
	my @ways = (
		"SELECT count(*) FROM $call;",
		"SELECT ($call) IS NULL;",
		"SET plan_cache_mode = force_generic_plan; PREPARE p$n AS SELECT count(*) FROM $name($parameters); "
		  . "EXECUTE p$n" . (@arguments ? '(' . join(', ', @arguments) . ')' : '') . "; DEALLOCATE p$n; RESET plan_cache_mode;",
		"BEGIN; SAVEPOINT a; SELECT count(*) FROM $call; ROLLBACK TO a; SELECT count(*) FROM $other; SAVEPOINT b; "
		  . "SELECT count(*) FROM $call; ROLLBACK TO b; SELECT count(*) FROM $call; $end;",
		"DO \$\$ BEGIN FOR i IN 1 .. 2 LOOP BEGIN PERFORM $call; EXCEPTION WHEN others THEN "
		  . "IF SQLSTATE ~ '^(XX|58)' THEN RAISE LOG 'FUZZ: % %', SQLSTATE, SQLERRM; END IF; END; END LOOP; PERFORM $other; END \$\$;",
		"BEGIN; SET LOCAL statement_timeout = @{[ between(1, 3) ]}; SELECT count($call) FROM generate_series(1, 300); $end;",
		"BEGIN; SET LOCAL $forced = on; SET LOCAL parallel_setup_cost = 0; SET LOCAL parallel_tuple_cost = 0; "
		  . "SET LOCAL min_parallel_table_scan_size = 0; SELECT count($call) FROM series; SELECT ($call) IS NULL; $end;",
		"BEGIN READ ONLY; SELECT count(*) FROM $call; $end;",
		"BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT count(*) FROM $call; SELECT count(*) FROM $other; $end;",
		"BEGIN; SELECT set_config('apikey.key', tok(@{[ int rand 14 ]}), true) IS NULL; SELECT count(*) FROM $call; SELECT count(*) FROM $other; $end;",
		"BEGIN; DECLARE c CURSOR FOR SELECT $call; FETCH c; SELECT count(*) FROM $other; FETCH c; $end;",
		"BEGIN; SELECT count($call) FROM series WHERE i < 3; PREPARE TRANSACTION 'x$n'; ROLLBACK PREPARED 'x$n'; ROLLBACK;",
		"EXPLAIN (ANALYZE, VERBOSE, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT * FROM doc WHERE ($call) IS NOT NULL;");
	return pick(@ways) . "\n";
}

# A trigger function on tables that are not ours.
sub trigger
{
	my ($function) = @_;
	my $table = pick('doc', 'thing', 'wide', 'hollow', 'seen');
	my $row = pick('ROW', 'ROW', 'STATEMENT');
	my $when = pick($table eq 'seen' ? ('INSTEAD OF', 'AFTER') : ('BEFORE', 'AFTER'));
	my $arguments = join ', ', map quote(pick(@texts[ 0 .. 20 ])), 1 .. between(0, 3);

	return "BEGIN; CREATE TRIGGER t $when " . pick('INSERT', 'INSERT OR UPDATE OR DELETE', 'TRUNCATE') . " ON $table FOR EACH $row "
	  . "EXECUTE FUNCTION $function->{name}($arguments);\n"
	  . join('', map "SAVEPOINT s; $_; ROLLBACK TO s;\n", "INSERT INTO $table DEFAULT VALUES", "DELETE FROM $table",
		'INSERT INTO doc VALUES (1, \'web\', \'production\')', 'INSERT INTO thing VALUES (1)',
		'INSERT INTO wide VALUES (gen_random_uuid(), \'web\', \'acme\', \'production\', \'read\', 1)', 'UPDATE doc SET id = 1', 'UPDATE wide SET id = 2',
		"TRUNCATE $table") . "ROLLBACK;\n";
}

# Sent on to a server where nothing else goes on, but for a session that cancels it.
my $good;

sub run
{
	my ($seed, $name, $role, $way, @units) = @_;
	my $node = $node{$name};
	my $from = -s $node->logfile;
	my $label = "seed $seed, $name, $role, $way";
	my $check = "RESET ROLE; SELECT restock(); SELECT 'WRONG yes', * FROM wrong_yes(); SELECT 'yes', yes() > 0; SET ROLE $role;\n";
	my ($sql, $n) = ("SET client_min_messages = error; SET application_name = 'fuzzed'; SET ROLE $role;\n", 0);

	foreach my $unit (@units)
	{
		# a cancel may have hit the end of a transaction
		$sql .= ($way eq 'cancelled' ? "ROLLBACK; RESET ALL; SET client_min_messages = error; SET application_name = 'fuzzed'; SET ROLE $role;\n" : '') . $unit;
		$sql .= $check if ++$n % 200 == 0;
	}

	$sql .= $check;
	my ($out, $errors, $err) = script($node, $sql, $way eq 'cancelled' && sub {
		$node->psql('postgres', q{DO $$ BEGIN
			FOR i IN 1 .. 20 LOOP
				PERFORM pg_stat_clear_snapshot();
				PERFORM pg_cancel_backend(pid) FROM pg_stat_activity
				WHERE application_name = 'fuzzed' AND state = 'active';
				PERFORM pg_sleep(random() * 0.01);
			END LOOP;
		END $$});
	});
	my @wrong = $out =~ /^(WRONG.*)$/mg;

	is("@wrong[0 .. ($#wrong > 9 ? 9 : $#wrong)]", '', "$label: no wrong yes");
	is(join("\n", grep !/ERROR:/, unexpected($err, '-')), '', "$label: the server stays");
	is(join("\n", complaints($node, $from)), '', "$label: nothing bad in the log");
	$good += () = $out =~ /^yes\|t$/mg;
	my @errors = sort { $errors->{$b} <=> $errors->{$a} } keys %$errors;
	note "$label: ", scalar(@units), ' units: ', join ', ', map "$_: $errors->{$_}", @errors;
}

begin(1, sub {
	my ($seed) = @_;

	$good = 0;
	foreach my $name ('plain', 'preloaded')
	{
		foreach my $way (['postgres', 'calls', 0.4], ['app', 'calls', 0.3], ['stranger', 'calls', 0.15], ['postgres', 'cancelled', 0.15])
		{
			# each function in its turn, and then any
			my @these = @functions;

			push @these, pick(@functions) while @these < CALLS * $way->[2];
			run($seed, $name, $way->[0], $way->[1], map unit($_), @these);
		}
	}
	cmp_ok($good, '>', 0, "seed $seed: keys were good for something");
});

$_->stop('immediate') foreach values %node;
done_testing();
