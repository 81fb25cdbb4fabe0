# The use of keys is counted, exactly: what counts and what does not, when last, by
# hour, under load, and when the shared memory is full.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);
use Apikey;

my $preloaded = "shared_preload_libraries = 'apikey'\n";
my $node = start_node('usage', conf => "${preloaded}apikey.flush_interval = 3600\n"
	  . "max_worker_processes = 16\nmax_parallel_workers = 8\nfsync = off\n");

# ------------------------------------------------------------------ keys

my $grants = '[{"project": "web", "environment": "production", "level": "write"},
	{"project": "7", "environment": "production", "level": "write"}]';
my (%id, %key);

sub create
{
	my ($name, $arguments) = @_;

	($id{$name}, $key{$name}) = split /\|/, $node->safe_psql('postgres',
		"SELECT key_id, key FROM apikey_create('acme', '$name', '$grants'"
		  . ($arguments ? ", $arguments" : '') . ')');
}

$node->safe_psql('postgres', "SELECT apikey_add_project('acme', '7')");
create('a', "organization_level => 'read'");
create('b');
create('disabled');
create('revoked');
create('expired');
create('elsewhere', "allowed_networks => '{10.0.0.0/8}'");
create('limited', "rate_limit => '2 per hour'");
create('rotated');
create('spender');
$node->safe_psql('postgres', "SELECT apikey_disable('$id{disabled}'), apikey_revoke('$id{revoked}')");
$node->safe_psql('postgres', "UPDATE apikey_key SET expires_at = now() - interval '1 s' WHERE key_id = '$id{expired}'");
($id{suspended}, $key{suspended}) = split /\|/, $node->safe_psql('postgres', "SELECT key_id, key FROM apikey_create('frozen', 'suspended')");
$node->safe_psql('postgres', "SELECT apikey_suspend('frozen')");
$key{second} = $node->safe_psql('postgres', "SELECT key FROM apikey_rotate('$id{rotated}', '1 hour')");

$node->safe_psql('postgres', q{
	SET client_min_messages = error;
	CREATE TABLE doc (project text, environment text, n int);
	INSERT INTO doc SELECT (array['web', 'mars', '7'])[i % 3 + 1], 'production', i FROM generate_series(1, 10000) i;
	CREATE TABLE part (project text, environment text) PARTITION BY LIST (project);
	CREATE TABLE part_web PARTITION OF part FOR VALUES IN ('web');
	CREATE TABLE part_mars PARTITION OF part FOR VALUES IN ('mars');
	INSERT INTO part SELECT project, environment FROM doc WHERE project <> '7';
	CREATE TABLE bill (organization text, n int) PARTITION BY LIST (organization);
	CREATE TABLE bill_acme PARTITION OF bill FOR VALUES IN ('acme');
	CREATE TABLE bill_rest PARTITION OF bill DEFAULT;
	INSERT INTO bill SELECT CASE WHEN n % 2 = 0 THEN 'acme' ELSE 'globex' END, n FROM doc;
	ANALYZE;
	SELECT apikey_protect('doc', 'project', 'environment'), apikey_protect('part', 'project', 'environment'),
		apikey_protect_organization('bill', 'organization');
	CREATE ROLE app;
	GRANT SELECT ON doc, part, bill TO app;
	CREATE FUNCTION ask(key text, times int) RETURNS int LANGUAGE plpgsql AS $$
	DECLARE n int := 0;
	BEGIN
		FOR i IN 1 .. times LOOP
			IF apikey_authorize(key, 'web', 'production', 'read') THEN n := n + 1; END IF;
		END LOOP;
		RETURN n;
	END $$;
	CREATE PROCEDURE ask_twice(key text) LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM ask(key, 1);
		PERFORM pg_advisory_lock_shared(1);
		PERFORM ask(key, 1);
	END $$;
	CREATE FUNCTION inlined(key text) RETURNS boolean LANGUAGE sql STABLE AS
		$$ SELECT apikey_authorize(key, 'web', 'production', 'read') $$;
});

# -------------------------------------------------------------- counting

my %last;
my $sum = q{SELECT coalesce(string_agg(label || '|' || uses || '|' || refusals, ' ' ORDER BY label), '') FROM apikey_usage
	WHERE uses + refusals > 0};

# Run SQL, with the keys as psql's variables, and say what it added: "a 1/0 b 2/1",
# of each key uses and refusals.
sub added
{
	my ($sql) = @_;
	my %now;
	my @added;
	my ($out, $err);

	$node->psql('postgres', "\\o /dev/null\n$sql;\nROLLBACK;\n\\o\nRESET ALL;\nRESET ROLE;\n$sum", stdout => \$out, stderr => \$err,
		on_error_stop => 0, extra_params => [ map { ('-v', "$_=$key{$_}") } keys %key ]);
	%now = map { /^(.*)\|(\d+)\|(\d+)$/ ? ($1 => [ $2, $3 ]) : () } split / /, $out;
	foreach my $name (sort keys %now)
	{
		my ($uses, $refusals) = map $now{$name}[$_] - ($last{$name}[$_] // 0), 0, 1;

		push @added, "$name $uses/$refusals" if $uses || $refusals;
	}
	%last = %now;
	return (join(' ', @added), $err);
}

sub adds
{
	my ($sql, $wanted, $name) = @_;
	my ($added, $err) = added($sql);

	is($added, $wanted, $name) or diag($err);
}

# Every function that decides, in all variants.  The session's key is a.
my @deciding = (
	q{apikey_authorize(:'a', 'web', 'production', 'read')},
	q{apikey_authorize(:'a', 7, 'production', 'read')},
	q{apikey_authorize('web', 'production', 'read')},
	q{apikey_authorize(7, 'production', 'read')},
	q{apikey_authorize_organization(:'a', 'acme', 'read')},
	q{apikey_authorize_organization('acme', 'read')},
	q{apikey_require('web', 'production', 'read')},
	q{apikey_require(7, 'production', 'read')},
	q{apikey_projects('read')},
	q{apikey_projects('read', 'production')},
	q{apikey_projects_of(:'a', 'read')},
	q{apikey_projects_of(:'a', 'read', 'production')},
	q{apikey_require(:'a', 'web', 'production', 'read')},
	q{apikey_require(:'a', 7, 'production', 'read')},
	q{apikey_internal.authorize(project, 'production'::text, 'read') FROM apikey_project WHERE project = 'web'},
	q{apikey_internal.projects(null::text, 'read')},
	q{apikey_internal.projects(null::int, 'read', 'production'::text)},
	q{apikey_internal.projects_of(null::int, :'a', 'read')},
	q{apikey_internal.projects_of(null::int, :'a', 'read', 'production'::text)},
	q{apikey_internal.environments(null::text, 'read')},
	q{apikey_internal.environments(null::text, 'read', 7)},
	q{apikey_internal.environments_of(null::text, :'a', 'read')},
	q{apikey_internal.environments_of(null::text, :'a', 'read', 7)});
my $session = q{SET apikey.key = :'a'};

adds("$session; SELECT $_", 'a 1/0', $_) foreach @deciding;
adds(q{SELECT apikey_authorize_organization(:'a', 7, 'read')}, 'a 1/1', 'an organization that is a number');
my $named = join '|', map /^(?:apikey_internal\.)?(\w+)/, @deciding;
is( $node->safe_psql('postgres', q{
		SELECT string_agg(DISTINCT proname, ' ') FROM pg_proc
		WHERE prosrc ~ '^apikey_(authorize|require|projects|environments)' AND proname <> 'require_library' AND NOT proname ~ '^(} . $named . ')$\''),
	'', 'that is all of them');

# To spend is to use, and a budget that is spent is a refusal.
adds(q{SELECT apikey_spend(:'a', 1)}, 'a 1/0', 'apikey_spend');
adds("$session; SELECT apikey_spend(2)", 'a 1/0', 'of the session\'s key');
adds(q{SELECT apikey_spend(:'revoked', 1)}, 'revoked 0/1', 'of one that is revoked');
$node->safe_psql('postgres', "SELECT apikey_set_budget('$id{spender}', 1)");
adds(q{SELECT apikey_spend(:'spender', 2)}, 'spender 1/1', 'more than there is');

# What lets a key in counts by call.
adds(q{SELECT label FROM apikey_verify(:'a')}, 'a 1/0', 'apikey_verify');
adds(q{SELECT label FROM apikey_login(:'a')}, 'a 1/0', 'apikey_login');
adds(q{SELECT set_config('request.headers', json_build_object('x-api-key', :'a')::text, false); SELECT apikey_pre_request()},
	'a 1/0', 'apikey_pre_request');
adds(q{SELECT label FROM generate_series(1, 5), apikey_verify(:'a')}, 'a 1/0', 'one scan of apikey_verify');
adds(q{SELECT (SELECT label FROM apikey_verify(left(k, -i) || right(k, i))) FROM (SELECT :'a' AS k, i FROM generate_series(1, 5) i) s}, 'a 5/0', 'five calls in one statement');
adds(q{BEGIN; SELECT label FROM apikey_login(:'a'); SELECT * FROM doc; SELECT apikey_authorize('web', 'production', 'read'); COMMIT},
	'a 2/0', 'log-in, and a statement that asks; a superuser reads without asking');

# What only looks does not count.
adds("$session; SELECT * FROM apikey_whoami()", '', 'apikey_whoami');
adds(q{SELECT * FROM apikey_explain(:'a', 'web', 'production', 'manage')}, '', 'apikey_explain');
adds(q{SELECT * FROM apikey_find_keys(:'a')}, '', 'apikey_find_keys');
adds(q{SELECT * FROM apikey_rate_limit(:'limited')}, '', 'apikey_rate_limit');
adds("SELECT * FROM apikey_explain_rls('doc', :'a'); SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;"
	. "SET ROLE app; SELECT * FROM apikey_explain_rls('doc', :'a'), apikey_explain_rls('part', :'disabled')", '', 'apikey_explain_rls');
adds("SET ROLE app; SELECT * FROM apikey_explain_query('SELECT * FROM doc', :'a'), apikey_explain_query('SELECT * FROM doc', :'disabled')", '', 'apikey_explain_query');
adds("$session; SET ROLE app; EXPLAIN SELECT * FROM doc; RESET ROLE; SELECT * FROM apikey_usage, apikey_keys", '', 'nothing');

# Statements
adds("$session; PREPARE p AS SELECT apikey_authorize('web', 'production', 'read');" . 'EXECUTE p;' x 100, 'a 100/0', 'a prepared statement');
adds("SET plan_cache_mode = force_generic_plan; PREPARE p AS SELECT apikey_authorize(\$1, 'web', 'production', 'read');" . "EXECUTE p(:'a'); EXECUTE p(:'b');" x 50,
	'a 50/0 b 50/0', 'of two keys in turn');
adds("$session; SET ROLE app; SELECT count(*) FROM doc", 'a 1/0', 'a scan of 10,000 rows under a policy');
adds("$session; SET ROLE app; EXPLAIN SELECT * FROM bill", '', 'by organization: a plan, with partitions that need no scan');
adds("$session; SET ROLE app; SELECT count(*) FROM bill", 'a 1/0', 'by organization: a scan under a policy');
adds("$session; SET ROLE app; BEGIN; DECLARE c CURSOR FOR SELECT * FROM doc; FETCH 10 FROM c; FETCH ALL FROM c; COMMIT", 'a 2/0',
	'a cursor: each FETCH that has to ask');
adds("SELECT ask(:'a', 1000)", 'a 1/0', 'a loop in one statement');
adds("SELECT ask(:'a', 1); SELECT ask(:'a', 1)", 'a 2/0', 'the same twice');
adds("SELECT apikey_authorize(k, 'web', 'production', 'read') FROM unnest(array[:'a', :'b', :'a', :'b']) k", 'a 1/0 b 1/0', 'two keys in one statement');
adds("SELECT apikey_authorize(:'rotated', 'web', 'production', 'read'), apikey_authorize(:'second', 'web', 'production', 'read')", 'rotated 1/0',
	'both secrets of one key');
adds("SET apikey.key = :'a'; SELECT apikey_projects('read'); SET apikey.key = :'b'; SELECT apikey_projects('read')", 'a 1/0 b 1/0', 'one key after the other in a session');
adds("SELECT apikey_authorize(:'a', 'web', 'production', 'read'), apikey_verify(:'a')", 'a 2/0', 'asked and then let in') ;
adds("SELECT apikey_verify(:'a'), apikey_authorize(:'a', 'web', 'production', 'read')", 'a 1/0', 'let in and then asked');
adds("$session; BEGIN READ ONLY; SELECT apikey_projects('read'); SELECT apikey_verify(:'b'); COMMIT", 'a 1/0 b 1/0', 'READ ONLY');
adds("$session; BEGIN; SELECT apikey_projects('read'); SELECT apikey_verify(:'b'); ROLLBACK", 'a 1/0 b 1/0', 'rolled back');
adds("$session; BEGIN; SAVEPOINT s; SELECT apikey_projects('read'); ROLLBACK TO s; COMMIT", 'a 1/0', 'rolled back to a savepoint');
adds("$session; SELECT apikey_projects('read'), 1 / (SELECT count(*) FROM doc WHERE n < 0)", 'a 1/0', 'an error later in the statement');
adds("$session; SET ROLE app; BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT count(*) FROM doc; COMMIT", 'a 1/0', 'SERIALIZABLE');

# A statement with transactions of its own: each is one.
foreach my $do ([ 'a', '10/0' ], [ 'disabled', '0/10' ])
{
	my ($name, $wanted) = @$do;

	adds("SELECT set_config('my.key', :'$name', false); SET apikey.key = :'$name';\n"
		  . 'DO $$ BEGIN FOR i IN 1 .. 10 LOOP PERFORM ask(current_setting(\'my.key\'), 3), ask(current_setting(\'my.key\'), 1);'
		  . ' PERFORM apikey_projects(\'read\'); COMMIT; END LOOP; END $$',
		"$name $wanted", "$name: a statement that commits");
}

# Many keys in one statement
create("many$_") foreach 1 .. 20;
my $many = join ',', map ":'many$_'", 1 .. 20;
adds("SELECT apikey_authorize(k, 'web', 'production', 'read') FROM generate_series(1, 2) t, unnest(array[$many]) k",
	join(' ', map "$_ 1/0", sort map "many$_", 1 .. 20), '20 keys in one statement, each twice');

# Parallel plans
my $parallel = "SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET max_parallel_workers_per_gather = 4";
my $mode = $node->safe_psql('postgres', "SELECT name FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query')");
foreach my $leader ('on', 'off')
{
	my $set = "$parallel; SET parallel_leader_participation = $leader";

	like($node->safe_psql('postgres', "$set; SET ROLE app; EXPLAIN SELECT count(*) FROM doc"), qr/Gather/, "leader $leader: the plan is parallel");
	adds("$set; $session; SET ROLE app; SELECT count(*) FROM doc", 'a 1/0', "leader $leader: a parallel scan");
	adds("$set; SET enable_indexscan = off; SELECT count(*) FROM doc WHERE apikey_authorize(CASE n % 2 WHEN 0 THEN :'a' ELSE :'b' END, 'web', 'production', 'read')",
		'a 1/0 b 1/0', "leader $leader: of two keys in turn");
	adds("$set; SELECT count(*) FROM doc WHERE apikey_authorize((array[$many])[n % 8 + 1], 'web', 'production', 'read')",
		join(' ', map "many$_ 1/0", 1 .. 8), "leader $leader: of eight keys in turn");
	adds("$set; $session; SET ROLE app; SELECT (SELECT count(*) FROM doc), (SELECT count(*) FROM doc), apikey_projects('read')", 'a 1/0', "leader $leader: two scans");
	adds("$set; SELECT set_config('my.key', :'a', false); DO \$\$ BEGIN PERFORM label FROM apikey_verify(current_setting('my.key'));"
		  . " PERFORM count(*) FROM doc WHERE apikey_authorize(current_setting('my.key'), 'web', environment, 'read'); END \$\$",
		'a 1/0', "leader $leader: let in, and asked by other processes");
	adds("$set; $session; SET ROLE app; SET $mode = on; SELECT apikey_projects('read')", 'a 1/0', "leader $leader: forced");
	adds("$set; SELECT count(*) FROM doc WHERE apikey_authorize(:'disabled', project, environment, 'read')", 'disabled 0/1', "leader $leader: refused");
}

# Refusals
adds("SELECT apikey_authorize(:'$_', 'web', 'production', 'read')", "$_ 0/1", "$_: apikey_authorize") foreach qw(disabled revoked expired suspended elsewhere);
adds("SELECT * FROM apikey_verify(:'$_')", "$_ 0/1", "$_: apikey_verify") foreach qw(disabled revoked expired suspended elsewhere);
adds("SELECT * FROM apikey_login(:'$_')", "$_ 0/1", "$_: apikey_login") foreach qw(disabled revoked expired suspended elsewhere);
adds("SET apikey.key = :'$_'; SET ROLE app; SELECT count(*) FROM bill", "$_ 0/1", "$_: a policy by organization") foreach qw(disabled revoked expired suspended elsewhere);
adds("SET apikey.key = :'$_'; SET ROLE app; SELECT count(*) FROM doc", "$_ 0/1", "$_: a policy") foreach qw(disabled revoked expired suspended elsewhere);
adds("SELECT apikey_projects_of(:'disabled', 'read'), apikey_authorize_organization(:'disabled', 'acme', 'read'), ask(:'disabled', 10)", 'disabled 0/1', 'once a statement');
adds("SET apikey.key = :'disabled'; SELECT apikey_require('web', 'production', 'read')", 'disabled 0/1', 'disabled: apikey_require');
adds("SELECT label FROM apikey_verify(:'limited'); " x 5, 'limited 2/3', 'over the rate limit');
adds("SELECT apikey_authorize(:'limited', 'web', 'production', 'read')", 'limited 1/0', 'who is not let in may still be asked');
adds("SELECT apikey_authorize(:'a', 'web', 'production', 'manage')", 'a 1/1', 'no grant: a use and a refusal');
adds("SELECT apikey_authorize(:'a', 'mars', 'production', 'read'), ask(:'a', 2), apikey_authorize(:'a', 'web', 'nowhere', 'read')", 'a 1/1', 'once a statement');
adds("$session; SELECT apikey_require('web', 'production', 'manage')", 'a 1/1', 'apikey_require');
adds("$session; SELECT apikey_require(project, environment, 'manage') FROM doc", 'a 1/1', 'apikey_require refuses rows as well');
adds("SELECT apikey_authorize_organization(:'a', 'acme', 'write')", 'a 1/1', 'no such level on the organization');
adds("$session; SET ROLE app; SELECT count(*) FROM doc WHERE project = 'mars'", 'a 1/0', 'a policy filters');
adds("$session; SELECT apikey_projects('manage')", 'a 1/0', 'an empty list is no refusal');
adds("SELECT apikey_authorize(:'a' || 'x', 'web', 'production', 'read'), apikey_verify('rubbish'), apikey_authorize(NULL::text, 'web', 'production', 'read')", '', 'no key, no count');
adds("SELECT apikey_authorize(left(:'a', -4) || 'xxxx', 'web', 'production', 'read')", '', 'nor for who does not prove it');

# ------------------------------------------------------------ old secrets

# When a secret was used last after the rotation that replaced it
sub old_secret { return $node->safe_psql('postgres', "SELECT old_secret_used_at FROM apikey_usage WHERE key_id = '$id{$_[0]}'") }
# Run this after the SQL statements "before"; returns the time of the statement.
sub timed
{
	my ($what, $before) = @_;
	my $out = $node->safe_psql('postgres', ($before ? "\\o /dev/null\n$before;\n\\o\n" : '') . "SELECT statement_timestamp(), $what");

	return $out =~ /^([^|]+)/ ? $1 : die $out;
}
sub may_read { return "apikey_authorize('$_[0]', 'web', 'production', 'read')" }

create('turned');
my $first = $key{turned};
timed(may_read($first));
is(old_secret('turned'), '', 'no rotation');
my $second = $node->safe_psql('postgres', "SELECT key FROM apikey_rotate('$id{turned}', '1 hour')");
is(old_secret('turned'), '', 'rotated: not used since');
timed(may_read($second) . ", label FROM apikey_verify('$second')");
is(old_secret('turned'), '', 'the new secret is used');
my $by_old = timed(may_read($first));
is(old_secret('turned'), $by_old, 'the old one is');
$by_old = timed("label FROM apikey_verify('$first')");
is(old_secret('turned'), $by_old, 'let in');
timed(may_read($second));
is(old_secret('turned'), $by_old, 'the new one again');
my $often = "SELECT uses FROM apikey_usage WHERE key_id = '$id{turned}'";
my $uses = $node->safe_psql('postgres', $often);
$by_old = timed(may_read($second) . ', ' . may_read($first));
is(old_secret('turned') . ' ' . ($node->safe_psql('postgres', $often) - $uses), "$by_old 1", 'both in one statement: one use, and the old one is seen');
$node->safe_psql('postgres', "SELECT apikey_disable('$id{turned}'); SELECT " . may_read($first) . "; SELECT label FROM apikey_verify('$first'); SELECT apikey_enable('$id{turned}')");
is(old_secret('turned'), $by_old, 'a refusal is no use');
my $third = $node->safe_psql('postgres', "SELECT key FROM apikey_rotate('$id{turned}', '1 hour')");
timed(may_read($first));
is(old_secret('turned'), '', 'rotated again: what is old is another one');
$by_old = timed(may_read($second));
is(old_secret('turned'), $by_old, 'which is used');
$node->safe_psql('postgres', "SELECT apikey_finish_rotation('$id{turned}'); SELECT " . may_read($second));
is(old_secret('turned'), $by_old, 'finished: it was used then');
$node->safe_psql('postgres', "SELECT apikey_rotate('$id{turned}', '1 hour')");
timed(may_read($third));
$node->safe_psql('postgres', "SELECT apikey_cancel_rotation('$id{turned}'); SELECT " . may_read($third));
is(old_secret('turned'), '', 'canceled: it is the new one');

my $elsewhere = 'token-of-another-system';
$id{imported} = $node->safe_psql('postgres', "SELECT apikey_import('acme', 'imported', 'sha256', encode(sha256('$elsewhere'), 'hex'), grants => '$grants')");
timed(may_read($elsewhere));
is(old_secret('imported'), '', 'an imported key that was not rotated');
my $ours = $node->safe_psql('postgres', "SELECT key FROM apikey_rotate('$id{imported}', '1 hour')");
is(old_secret('imported'), '', 'rotated');
$by_old = timed(may_read($elsewhere));
timed(may_read($ours));
is(old_secret('imported'), $by_old, 'and used by its old text');
added('SELECT 1');

# ----------------------------------------------------------- derived keys

# A statement in which one takes part is a statement in which each of its ancestors does.
create('parent', 'max_derived => 40');

sub derive
{
	my ($from, $name, $arguments) = @_;

	($id{$name}, $key{$name}) = split /\|/, $node->safe_psql('postgres',
		"SELECT key_id, key FROM apikey_derive('$key{$from}', '$name', lifetime => '1 day'" . ($arguments ? ", $arguments" : '') . ')');
	return;
}

derive('parent', 'c1');
derive('parent', 'c2', q{grants => '[{"project": "7", "environment": "production", "level": "read"}]'});
derive('c1', 'g1');
derive('g1', 'h1');
derive('h1', 'i1');
adds('SELECT 1', 'c1 3/0 g1 2/0 h1 1/0 parent 5/0', 'to derive from a key is to use it');
sub asks { return "apikey_authorize(:'$_[0]', 'web', 'production', 'read')" }
adds("SELECT ask(:'c1', 10)", 'c1 1/0 parent 1/0', 'a derived key');
adds('SELECT ' . asks('i1'), 'c1 1/0 g1 1/0 h1 1/0 i1 1/0 parent 1/0', 'at the end of a chain');
adds('SELECT ' . join(', ', map asks($_), qw(c1 parent g1)), 'c1 1/0 g1 1/0 parent 1/0', 'several of a chain in one statement');
adds('SELECT ' . join(', ', map asks($_), qw(parent g1 c1)), 'c1 1/0 g1 1/0 parent 1/0', 'in another order');
adds('SELECT ' . asks('parent') . '; SELECT ' . asks('c1'), 'c1 1/0 parent 2/0', 'in two');
adds("SELECT label FROM apikey_verify(:'g1')", 'c1 1/0 g1 1/0 parent 1/0', 'let in');
adds("SELECT apikey_verify(:'c1'), apikey_verify(:'g1')", 'c1 2/0 g1 1/0 parent 2/0', 'by call');
adds("SELECT apikey_verify(:'g1'), " . asks('c1') . ', ' . asks('parent'), 'c1 1/0 g1 1/0 parent 1/0', 'and asked besides');
adds("SELECT apikey_spend(:'g1', 1)", 'c1 1/0 g1 1/0 parent 1/0', 'apikey_spend');
adds("SET apikey.key = :'c1'; SET ROLE app; SELECT count(*) FROM doc", 'c1 1/0 parent 1/0', 'a policy');
adds("$parallel; SET apikey.key = :'g1'; SET ROLE app; SELECT (SELECT count(*) FROM doc), apikey_authorize('web', 'production', 'read')", 'c1 1/0 g1 1/0 parent 1/0',
	'a parallel scan');
adds("SELECT * FROM apikey_explain(:'g1', 'web', 'production', 'read'); EXPLAIN SELECT " . asks('g1'), '', 'what only looks');
adds('SELECT ' . asks('c2'), 'c2 1/1 parent 1/1', 'without a grant of its own');
adds("SELECT apikey_authorize(:'g1', 'web', 'production', 'manage')", 'c1 1/1 g1 1/1 parent 1/1', 'nor of an ancestor');
$node->safe_psql('postgres', "SELECT apikey_disable('$id{c1}')");
adds('SELECT ' . asks('g1') . ', ' . asks('c1') . ", apikey_authorize(:'c2', '7', 'production', 'read')", 'c1 0/1 c2 1/0 g1 0/1 parent 1/1', 'refused because of an ancestor');
adds("SELECT label FROM apikey_verify(:'g1')", 'c1 0/1 g1 0/1 parent 0/1', 'not let in');
$node->safe_psql('postgres', "SELECT apikey_enable('$id{c1}')");
derive('parent', "d$_") foreach 1 .. 30;
added('SELECT 1');
adds("SELECT apikey_authorize(k, 'web', 'production', 'read') FROM generate_series(1, 2) t, unnest(array[" . join(',', map ":'d$_'", 1 .. 30) . ']) k',
	join(' ', sort('parent 1/0', map "d$_ 1/0", 1 .. 30)), '30 of one parent in one statement');
my ($seen) = split /\|/, $node->safe_psql('postgres', "SET apikey.client_address = '198.51.100.3'; SELECT statement_timestamp(), apikey_authorize('$key{i1}', 'web', 'production', 'read')");
is($node->safe_psql('postgres', "SELECT count(*) FROM apikey_usage WHERE label IN ('parent', 'c1', 'g1', 'h1', 'i1') AND last_used_at = '$seen' AND last_used_from = '198.51.100.3'"),
	5, 'when and from where: of all of them');
added('SELECT 1');

# ---------------------------------------------------------------- EXPLAIN

my @explained = (
	"SELECT * FROM doc", "SELECT * FROM doc WHERE project = 'web'", "SELECT * FROM part",
	"SELECT * FROM part WHERE project = ANY (apikey_projects('read'))",
	"SELECT * FROM part WHERE project = (apikey_projects_of(:'b', 'read'))[1]",
	"SELECT * FROM doc WHERE apikey_authorize('web', 'production', 'read')",
	"SELECT * FROM doc WHERE apikey_authorize(:'disabled', 'web', 'production', 'read')",
	"SELECT * FROM doc WHERE apikey_authorize('mars', 'production', 'manage')",
	"SELECT * FROM doc WHERE project = ANY (apikey_projects('read')) AND inlined(:'b')",
	"SELECT * FROM doc WHERE n = ask(:'b', 3)", "SELECT apikey_verify(:'b')",
	"SELECT * FROM doc WHERE (SELECT apikey_require('web', 'production', 'manage'))");
foreach my $mode ('auto', 'force_generic_plan')
{
	my $text = '';
	my $n = 0;

	foreach my $query (@explained)
	{
		$n++;
		$text .= "EXPLAIN $query;" x 10;
		$text .= "EXPLAIN VERBOSE $query;" . "EXPLAIN (FORMAT json, COSTS off) $query;";
		$text .= "PREPARE p$n AS $query;" . "EXPLAIN EXECUTE p$n;" x 10;
	}
	adds("$session; SET ROLE app; SET plan_cache_mode = $mode; SET enable_seqscan = off; $text", '', "EXPLAIN counts nothing ($mode)");
}
my $hundred = $node->safe_psql('postgres', 'SELECT sum(uses), sum(refusals), max(last_used_at), max(last_refused_at) FROM apikey_usage');
adds("$session; SET ROLE app; " . 'EXPLAIN SELECT * FROM doc; EXPLAIN SELECT * FROM part;' x 100, '', 'nor a hundred times');
is($node->safe_psql('postgres', 'SELECT sum(uses), sum(refusals), max(last_used_at), max(last_refused_at) FROM apikey_usage'), $hundred, 'nothing at all');
adds("$session; SET ROLE app; EXPLAIN ANALYZE SELECT * FROM doc", 'a 1/0', 'EXPLAIN ANALYZE is a use');
adds("$session; SET ROLE app; EXPLAIN ANALYZE SELECT * FROM part", 'a 1/0', 'so it is of partitions');
adds("$session; PREPARE p AS SELECT * FROM doc WHERE apikey_authorize('web', 'production', 'read')", '', 'PREPARE is none');

# ------------------------------------------------------------- when last

my $times = "SELECT last_used_at, last_refused_at FROM apikey_usage WHERE key_id = '$id{b}'";
my ($asked) = split /\|/, $node->safe_psql('postgres', "SELECT statement_timestamp(), apikey_authorize('$key{b}', 'web', 'production', 'read')");
my ($used, $refused) = split /\|/, $node->safe_psql('postgres', $times), -1;
is($used, $asked, 'last_used_at is when the statement began');
is($refused, '', 'never refused');
($asked) = split /\|/, $node->safe_psql('postgres', "SELECT statement_timestamp(), apikey_authorize('$key{b}', 'web', 'production', 'manage')");
is($node->safe_psql('postgres', $times), "$asked|$asked", 'a good key is used and refused');
$node->safe_psql('postgres', "SELECT apikey_disable('$id{b}')");
($refused) = split /\|/, $node->safe_psql('postgres', "SELECT statement_timestamp(), apikey_authorize('$key{b}', 'web', 'production', 'manage')");
is($node->safe_psql('postgres', $times), "$asked|$refused", 'a disabled one only refused');
is($node->safe_psql('postgres', "SELECT last_used_at FROM apikey_keys WHERE key_id = '$id{b}'"), $asked, 'apikey_keys has it, too');
is($node->safe_psql('postgres', "SELECT last_used_at IS NULL FROM apikey_keys WHERE key_id = '$id{disabled}'"), 't', 'and nothing where there is none');
$node->safe_psql('postgres', "SELECT apikey_enable('$id{b}')");

# --------------------------------------------------------------- flushing

sub set
{
	my ($node, %settings) = @_;

	$node->safe_psql('postgres', "ALTER SYSTEM SET $_ = '$settings{$_}'") foreach keys %settings;
	$node->reload;
}

# All that is pending now gets into the table.
sub flush
{
	my ($node) = @_;

	set($node, 'apikey.flush_interval' => 1);
	$node->poll_query_until('postgres', 'SELECT pending = 0 FROM apikey_usage_stats()') or die 'no flush';
	set($node, 'apikey.flush_interval' => 3600);
}

my $all = 'SELECT key_id, uses, refusals, last_used_at, last_used_from, old_secret_used_at, last_refused_at FROM apikey_usage ORDER BY 1';
my $hours = 'SELECT key_id, hour, uses, refusals FROM apikey_usage_hours ORDER BY 1, 2';
my $before = $node->safe_psql('postgres', $all);
my $before_hours = $node->safe_psql('postgres', $hours);
is($node->safe_psql('postgres', 'SELECT count(*) FROM apikey_use'), 0, 'nothing is in the table yet');

# a key that is not committed
my $open = $node->background_psql('postgres', on_error_stop => 1);
$open->query_safe("BEGIN; CREATE TEMP TABLE new AS SELECT * FROM apikey_create('acme', 'uncommitted', '$grants');");
is($open->query_safe("SELECT apikey_authorize((SELECT key FROM new), 'web', 'production', 'read');") x 3, 'ttt', 'a new key is used');
flush($node);
is($node->safe_psql('postgres', $all), $before, 'a flush changes nothing that is seen');
is($node->safe_psql('postgres', $hours), $before_hours, 'nor by hour');
# the table has what an old secret was used for before the last rotation, too
my $columns = 'key_id, uses, refusals, last_used_at, last_used_from, last_refused_at';
is( $node->safe_psql('postgres', "SELECT $columns FROM apikey_use WHERE key_id IN (SELECT key_id FROM apikey_key) ORDER BY 1"),
	$node->safe_psql('postgres', "SELECT $columns FROM apikey_usage WHERE uses + refusals > 0 AND label <> 'uncommitted' ORDER BY 1"),
	'all of it is in the table');
$open->query_safe('COMMIT;');
is($node->safe_psql('postgres', "SELECT uses FROM apikey_usage WHERE label = 'uncommitted'"), 1, 'a key that was committed after the flush');
$open->query_safe("BEGIN; CREATE TEMP TABLE other AS SELECT * FROM apikey_create('acme', 'undone', '$grants');"
	. "SELECT apikey_authorize((SELECT key FROM other), 'web', 'production', 'read');");
$open->query_safe('ROLLBACK;');
$open->quit;

# ------------------------------------------------------------- apikey_unused

sub fails
{
	my ($node, $sql, $pattern, $name) = @_;
	my ($out, $err);

	$node->psql('postgres', "\\set VERBOSITY verbose\n$sql", stdout => \$out, stderr => \$err);
	like($err, $pattern, $name);
}

my $ago = sub { return "now() - interval '$_[0]'" };
create($_) foreach qw(u_new u_never u_long_ago u_lately u_used u_disabled u_expired u_revoked);
$node->safe_psql('postgres', join ';',
	"UPDATE apikey_key SET created_at = now() - interval '100 days' - n * interval '1 s' FROM generate_series(1, 10) n WHERE label LIKE 'u\\_%' AND label <> 'u_new'",
	"INSERT INTO apikey_use SELECT key_id, 1, 0, now() - interval '95 days' FROM apikey_key WHERE label IN ('u_long_ago', 'u_disabled', 'u_expired', 'u_revoked')",
	"INSERT INTO apikey_use SELECT key_id, 1, 0, now() - interval '89 days' FROM apikey_key WHERE label = 'u_lately'",
	"SELECT apikey_disable('$id{u_disabled}'), apikey_revoke('$id{u_revoked}')",
	"UPDATE apikey_key SET expires_at = now() WHERE label = 'u_expired'");
added('SELECT 1');
adds("SELECT apikey_authorize(:'u_used', 'web', 'production', 'read'); SELECT apikey_authorize(:'u_disabled', 'web', 'production', 'read')",
	'u_disabled 0/1 u_used 1/0', 'one is used just now');
my $unused = sub { return $node->safe_psql('postgres', "SELECT string_agg(label, ' ') FROM apikey_unused('$_[0]') WHERE label LIKE 'u\\_%'") };
is($unused->('90 days'), 'u_never u_long_ago', 'not used for 90 days: never, or long ago');
is($unused->('80 days'), 'u_never u_long_ago u_lately', 'for 80 days');
is($unused->('97 days'), 'u_never', 'for 97 days');
is($unused->('1 year'), '', 'nobody is old enough');
$node->safe_psql('postgres', q{SELECT apikey_import('acme', 'u_imported', 'sha256', encode(sha256('u_imported'), 'hex'), created_at => '2020-01-01')});
is($unused->('1 year'), '', 'nor is a key that was imported just now, however old');
like($unused->('0 s'), qr/ u_imported/, 'but it is listed');
$node->safe_psql('postgres', q{SELECT apikey_delete(key_id) FROM apikey_keys WHERE label = 'u_imported'});
like($unused->('0 s'), qr/^u_never u_long_ago u_lately .*u_new/, 'for no time at all: every good key');
is($node->safe_psql('postgres', "SELECT label, organization, key LIKE 'apk\\_%', created_at < now(), last_used_at FROM apikey_unused('97 days') WHERE label = 'u_never'"),
	'u_never|acme|t|t|', 'its columns');
$node->safe_psql('postgres', "SELECT apikey_authorize('$key{u_long_ago}', 'web', 'production', 'read')");
is($unused->('90 days'), 'u_never', 'what is in shared memory alone counts');
fails($node, 'SELECT * FROM apikey_unused(NULL)', qr/22004: /, 'NULL');
fails($node, "SELECT * FROM apikey_unused('-1 s')", qr/22023: idle must not be negative\nHINT: /, 'a negative interval');
fails($node, "SELECT * FROM apikey_unused('300000 years')", qr/22008: /, 'more than time itself');

# ------------------------------------------------------------- privileges

$node->safe_psql('postgres', q{
	CREATE ROLE stranger; CREATE ROLE keys; CREATE ROLE usage; CREATE ROLE part_reader; CREATE ROLE owner; CREATE ROLE tenant;
	GRANT SELECT ON apikey_keys TO keys;
	GRANT SELECT ON apikey_usage, apikey_usage_hours TO usage;
	GRANT SELECT (key_id, last_used_at) ON apikey_keys TO part_reader;
	GRANT SELECT ON apikey_keys TO owner;
	GRANT CREATE ON SCHEMA public TO owner;
	SET ROLE owner;
	CREATE VIEW mine AS SELECT * FROM apikey_keys WHERE organization = 'acme';
	GRANT SELECT ON mine TO tenant;
});
my $as = sub { my ($role, $sql) = @_; return $node->safe_psql('postgres', "SET ROLE $role; $sql") };
is($as->('keys', "SELECT last_used_at FROM apikey_keys WHERE key_id = '$id{b}'"), $asked, 'SELECT on apikey_keys is enough');
is($as->('usage', "SELECT last_used_at FROM apikey_usage WHERE key_id = '$id{b}'"), $asked, 'so it is on apikey_usage');
is($as->('usage', "SELECT count(*) > 0 FROM apikey_usage_hours"), 't', 'and on apikey_usage_hours');
is($as->('part_reader', "SELECT last_used_at FROM apikey_keys WHERE key_id = '$id{b}'"), $asked, 'and on its column');
is($as->('owner', "SELECT last_used_at FROM mine WHERE key_id = '$id{b}'"), $asked, 'a view of apikey_keys, by its owner');
is($as->('tenant', "SELECT last_used_at FROM mine WHERE key_id = '$id{b}'"), $asked, 'and by whom the owner lets');
foreach my $call ("apikey_internal.last_used('$id{b}')", "apikey_internal.last_used_from('$id{b}')", "apikey_internal.usage_of('$id{b}')", "apikey_internal.usage_hours_of('$id{b}')")
{
	fails($node, "SET ROLE stranger; SELECT * FROM $call", qr/42501: /, "$call is for the view");
}
fails($node, "SET ROLE keys; SELECT * FROM $_", qr/42501: /, "$_ is closed") foreach 'apikey_use', 'apikey_use_hour', 'apikey_usage', 'apikey_usage_hours', 'apikey_usage_stats()', "apikey_unused('1 day')";

# ------------------------------------------------------------------ hours

my $now = $node->safe_psql('postgres', "SELECT date_trunc('hour', now(), 'UTC')");
my $of = "SELECT hour - '$now', uses, refusals FROM apikey_usage_hours WHERE key_id = '$id{u_new}'";
$node->safe_psql('postgres', "INSERT INTO apikey_use_hour SELECT '$id{u_new}', timestamptz '$now' + h * interval '1 hour', 10, 1 FROM unnest(array[-2, 0, -26, -24 * 29, -24 * 31]) h");
$node->safe_psql('postgres', "SELECT apikey_authorize('$key{u_new}', 'web', 'production', 'read'); SELECT apikey_authorize('$key{u_new}', 'web', 'production', 'manage')");
SKIP:
{
	skip 'the hour has just ended', 1 if $node->safe_psql('postgres', "SELECT date_trunc('hour', now(), 'UTC')") ne $now;
	is($node->safe_psql('postgres', $of), join("\n", '-31 days|10|1', '-29 days|10|1', '-1 days -02:00:00|10|1', '-02:00:00|10|1', '00:00:00|12|2'),
		'by hour: in order, those in the table, and the last one with what is pending');
	flush($node);
	is($node->safe_psql('postgres', $of), join("\n", '-31 days|10|1', '-29 days|10|1', '-1 days -02:00:00|10|1', '-02:00:00|10|1', '00:00:00|12|2'),
		'and when that is flushed');
}

# ------------------------------------------------------------- under load

my $dir = PostgreSQL::Test::Utils::tempdir;
$node->safe_psql('postgres', q{
	CREATE SEQUENCE sent; CREATE SEQUENCE done;
	CREATE TABLE load AS SELECT n, k.key_id, k.key FROM generate_series(1, 5000) n,
		LATERAL apikey_create('acme', 'load ' || n, '[{"project": "web", "environment": "production", "level": "read"}]') k;
	CREATE UNIQUE INDEX ON load (n);
	-- what is read lies between what was done before and what was sent until then
	CREATE FUNCTION watch(until bigint, OUT looks int, OUT wrong text) LANGUAGE plpgsql AS $$
	DECLARE
		at_least bigint; at_most bigint; seen bigint; by_hour bigint; before bigint := 0;
	BEGIN
		looks := 0;
		WHILE looks < 10 OR (SELECT last_value < until FROM done) LOOP
			SELECT last_value - 1 INTO at_least FROM done;
			SELECT sum(uses) INTO seen FROM apikey_usage WHERE label LIKE 'load%';
			SELECT last_value INTO at_most FROM sent;
			IF seen < at_least OR seen > at_most OR seen < before THEN
				wrong := format('%s: saw %s, of %s to %s, %s before', looks, seen, at_least, at_most, before);
				EXIT;
			END IF;
			before := seen;
			SELECT sum(uses) INTO by_hour FROM apikey_usage_hours u JOIN load USING (key_id);
			SELECT last_value INTO at_most FROM sent;
			IF by_hour < seen OR by_hour > at_most THEN
				wrong := format('%s: by hour %s, of %s to %s', looks, by_hour, seen, at_most);
				EXIT;
			END IF;
			looks := looks + 1;
		END LOOP;
	END $$;
});
set($node, 'apikey.flush_interval' => 1);
foreach my $keys (1, 50, 5000)
{
	append_to_file("$dir/load$keys", "\\set n random(1, $keys)\n"
		  . "SELECT nextval('sent'), apikey_authorize(key, 'web', 'production', 'read'), nextval('done') FROM load WHERE n = :n;\n");
	$node->safe_psql('postgres', "SELECT setval('sent', 1, false), setval('done', 1, false)");
	$node->safe_psql('postgres', "CREATE TABLE start$keys AS SELECT sum(uses) AS uses FROM apikey_usage WHERE label LIKE 'load%'");
	my $start = $node->safe_psql('postgres', "SELECT uses FROM start$keys");
	$node->safe_psql('postgres', "SELECT setval('sent', $start + 1, false), setval('done', $start + 1, false)");

	my ($watched, $out, $err) = ('', '', '');
	my $transactions = 8 * 1000;
	my $watch = IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('postgres'),
			'-c', 'SELECT * FROM watch(' . ($start + $transactions) . ')' ], '>', \$watched);
	ok(IPC::Run::run([ 'pgbench', '-n', '-M', 'prepared', '-c', 8, '-t', 1000, '-f', "$dir/load$keys", '-h', $node->host, '-p', $node->port, 'postgres' ],
			'>', \$out, '2>', \$err), "$keys keys, 8 clients: $transactions uses") or BAIL_OUT("$out$err");
	$watch->finish;
	is($node->safe_psql('postgres', "SELECT sum(uses) - $start FROM apikey_usage WHERE label LIKE 'load%'"), $transactions, "$keys keys: each is counted");
	like($watched, qr/^\d+\|$/, "$keys keys: and seen exactly once at any time");
	$node->poll_query_until('postgres', 'SELECT pending = 0 FROM apikey_usage_stats()') or die 'no flush';
	is($node->safe_psql('postgres', "SELECT sum(uses) - $start FROM apikey_use JOIN load USING (key_id)"), $transactions, "$keys keys: all are in the table");
	is($node->safe_psql('postgres', "SELECT sum(uses) - $start FROM apikey_use_hour JOIN load USING (key_id)"), $transactions, "$keys keys: by hour as well");
}

# --------------------------------------------- a statement with news of keys

# Another session changes the key while one goes on.
my $builds = $node->background_psql('postgres', on_error_stop => 1);
%last = ();
added('SELECT 1');
$builds->query_safe("SELECT apikey_authorize('$key{a}', 'web', 'production', 'read');");
my $built = $builds->query_safe('SELECT builds FROM apikey_cache_stats();');
my $holder = $node->background_psql('postgres', on_error_stop => 1);
$holder->query_safe('SELECT pg_advisory_lock(1);');
$builds->query_until(qr/begun/, "\\echo begun\nCALL ask_twice('$key{a}');\n");
$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'advisory'") or die 'nobody waits';
$node->safe_psql('postgres', "SELECT apikey_update('$id{a}', metadata => '{\"n\": 1}')");
$holder->query_safe('SELECT pg_advisory_unlock(1);');
$holder->quit;
cmp_ok($builds->query_safe('SELECT builds FROM apikey_cache_stats();'), '>', $built, 'a key is verified anew in the middle of a statement');
$builds->quit;
my ($added) = added('SELECT 1');
is($added =~ /\b(a \d+\/\d+)/ ? $1 : '', 'a 2/0', 'which counts once, as did the statement before');

# ------------------------------------------------------------ small memory

set($node, 'apikey.usage_size' => 256, 'apikey.flush_interval' => 3600);
$node->stop;
$node->start;
is($node->safe_psql('postgres', q{SELECT count(*) FROM apikey_use_hour WHERE hour < now() - interval '30 days'}), 1, 'an old hour');
$node->safe_psql('postgres', qq{
	CREATE TABLE crowd AS SELECT n, k.key_id, k.key FROM generate_series(1, 20000) n, LATERAL apikey_create('crowd', n::text, '$grants') k WHERE false;
	SELECT apikey_add_project('crowd', 'place');
	INSERT INTO crowd SELECT n, k.key_id, k.key FROM generate_series(1, 20000) n,
		LATERAL apikey_create('crowd', n::text, '[{"project": "place", "environment": "production", "level": "read"}]') k;
});
my ($capacity, $bytes) = split /\|/, $node->safe_psql('postgres', 'SELECT capacity, bytes FROM apikey_usage_stats()');
cmp_ok($capacity, '<', 1000, "room for $capacity keys");
cmp_ok($bytes, '<', 256 * 1024 + 100000, "in $bytes bytes");
my $crowd = "SELECT count(*) FROM crowd WHERE apikey_authorize(key, 'place', 'production', 'read')";
is($node->safe_psql('postgres', $crowd), 20000, '20,000 keys in one statement');
is($node->safe_psql('postgres', "SELECT uses, count(*) FROM apikey_usage WHERE organization = 'crowd' GROUP BY 1"), '1|20000', 'each is counted');
is($node->safe_psql('postgres', 'SELECT keys <= capacity, lost_uses, lost_refusals, bytes FROM apikey_usage_stats()'), "t|0|0|$bytes", 'within that room');
is($node->safe_psql('postgres', q{SELECT count(*) FROM apikey_use_hour WHERE hour < now() - interval '30 days'}), 0, 'old hours are gone');

my $lock = $node->background_psql('postgres', on_error_stop => 1);
$lock->query_safe('BEGIN; LOCK TABLE apikey_use IN SHARE MODE;');
my $began = time;
is($node->safe_psql('postgres', $crowd), 20000, 'again, while nobody can write to the table');
# that would be hours
cmp_ok(time - $began, '<', $PostgreSQL::Test::Utils::timeout_default, 'does not wait a second for each');
my ($lost, $kept) = split /\|/, $node->safe_psql('postgres', "SELECT lost_uses, (SELECT sum(uses) - 20000 FROM apikey_usage WHERE organization = 'crowd') FROM apikey_usage_stats()");
cmp_ok($kept, '>', 0, "$kept uses are kept");
is($lost + $kept, 20000, 'all others are counted as lost');
$lock->query_safe('COMMIT;');
$lock->quit;
$node->poll_query_until('postgres', 'SELECT pending = 0 FROM apikey_usage_stats()') or die 'no flush';
is($node->safe_psql('postgres', $crowd), 20000, 'and when it can be written to');
is($node->safe_psql('postgres', "SELECT sum(uses) FROM apikey_usage WHERE organization = 'crowd'"), 40000 + $kept, 'each is counted once more');
is($node->safe_psql('postgres', 'SELECT lost_uses FROM apikey_usage_stats()'), $lost, 'none is lost any more');

# ---------------------------------------------------------- no hours at all

$node->append_conf('postgresql.conf', 'apikey.usage_days = 0');
$node->stop;
$node->start;
$node->safe_psql('postgres', "SELECT apikey_authorize('$key{a}', 'web', 'production', 'read')");
is($node->safe_psql('postgres', "SELECT sum(uses) FROM apikey_usage_hours WHERE key_id = '$id{a}' AND hour > now() - interval '1 hour' HAVING sum(uses) > 0") =~ /^\d+$/ ? 1 : 0, 1, 'usage_days = 0: not written yet');
flush($node);
is($node->safe_psql('postgres', 'SELECT count(*) FROM apikey_use_hour'), 0, 'usage_days = 0: no hours, and the old ones are gone');
$node->stop;

# ------------------------------------------------------------ not preloaded

my $plain = start_node('usage_plain');
my ($plain_id, $plain_key) = issue($plain);
my $needed = qr/55000: .* need the extension to be preloaded\nHINT:  Add apikey to shared_preload_libraries/;
fails($plain, "SELECT * FROM $_", $needed, "not preloaded: $_") foreach 'apikey_usage', 'apikey_usage_hours', 'apikey_guesses', 'apikey_usage_stats()', "apikey_unused('1 day')";
is(may($plain, $plain_key), 't', 'not preloaded: a decision');
is($plain->safe_psql('postgres', "SELECT label FROM apikey_login('$plain_key')"), 'test', 'a log-in');
is($plain->safe_psql('postgres', "SELECT label, last_used_at FROM apikey_keys"), 'test|', 'apikey_keys');
$plain->safe_psql('postgres', "INSERT INTO apikey_use VALUES ('$plain_id', 5, 0, '2020-01-01 UTC', '198.51.100.1')");
is($plain->safe_psql('postgres', "SELECT last_used_at = '2020-01-01 UTC', last_used_from FROM apikey_keys"), 't|198.51.100.1', 'shows what was written down before');
is($plain->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'apikey%'"), 0, 'no workers');
$plain->stop;

done_testing();
