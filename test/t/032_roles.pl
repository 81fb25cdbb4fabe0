# The three roles of doc/how-to/roles.md, as its statements make them, can do just their tasks;
# the views of one organization show nothing of another; and nobody calls what is
# behind them, in apikey_internal, in whatever way.

use strict;
use warnings;
use File::Basename;
use IO::Socket::UNIX;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Apikey ();

my $node = PostgreSQL::Test::Cluster->new('roles');
$node->init;
$node->append_conf('postgresql.conf', "fsync = off\njit = off\nshared_preload_libraries = 'apikey'");
$node->start;

my $page = slurp_file(dirname(__FILE__) . '/../../doc/how-to/roles.md');
my $sql = join '', $page =~ /^```sql\n(.*?)^```$/gms;
my ($out, $err);
IPC::Run::run([ 'psql', '-XqAt', '-d', $node->connstr('postgres'), '-f', '-' ], '<', \$sql, '>', \$out, '2>', \$err);

my $functions = q{SELECT p.*, NOT EXISTS (SELECT FROM aclexplode(coalesce(proacl, acldefault('f', proowner))) WHERE grantee = 0) AS closed
	FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
	JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND e.oid = d.refobjid AND extname = 'apikey'};
my $relations = q{SELECT c.* FROM pg_class c JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
	JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND e.oid = d.refobjid AND extname = 'apikey'
	WHERE relnamespace <> 'apikey_internal'::regnamespace};

# What comes of a statement, which is undone: its SQLSTATE and message.  It runs as
# the role that calls.
$node->safe_psql('postgres', q{
	CREATE FUNCTION public.attempt(statement text) RETURNS text LANGUAGE plpgsql AS $$
	BEGIN
		EXECUTE statement;
		RAISE SQLSTATE 'DONE0';
	EXCEPTION WHEN SQLSTATE 'DONE0' THEN RETURN 'done';
		WHEN OTHERS THEN RETURN SQLSTATE || ' ' || SQLERRM;
	END $$});

sub run_as
{
	my ($role, $query) = @_;

	return $node->safe_psql('postgres', "SET search_path = public, apikey; SET ROLE $role; $query");
}

# ---------------------------------------------------------------- three roles

my %task = (
	issuer => 'create grant import rotate set_budget set_organization_level ungrant update',
	operator => 'cancel_rotation disable enable finish_rotation report_leak revoke scanner_alert',
	auditor => 'reach unused who_can');

foreach my $role (sort keys %task)
{
	is( $node->safe_psql('postgres', "SELECT string_agg(replace(proname, 'apikey_', ''), ' ' ORDER BY proname COLLATE \"C\")
			FROM ($functions) f WHERE closed AND has_function_privilege('$role', oid, 'EXECUTE')"),
		$task{$role}, "$role: the functions of its task");

	# each of all functions is called, with nulls
	my $told = run_as($role, "SELECT proname || ' ' || (message ~ '^42501 permission denied for (function|procedure) ') AS denied FROM (
		SELECT proname, attempt((SELECT CASE p.prokind WHEN 'p' THEN 'CALL' ELSE 'SELECT' END FROM pg_proc p WHERE p.oid = f.oid) || ' apikey.' || proname || '(' || coalesce((SELECT string_agg('NULL::' || CASE t WHEN '\"any\"'::regtype THEN 'text' ELSE t::regtype::text END, ', ' ORDER BY n)
			FROM unnest(proargtypes) WITH ORDINALITY a (t, n)), '') || ')') AS message
		FROM ($functions) f WHERE pronamespace = 'apikey'::regnamespace) c GROUP BY 1 ORDER BY 1");
	my %denied = map { /^apikey_(\w+) (\w+)$/ } split /\n/, $told;
	my %closed = map { $_ => 1 } split /\n/,
	  $node->safe_psql('postgres', "SELECT DISTINCT replace(proname, 'apikey_', '') FROM ($functions) f WHERE closed AND pronamespace = 'apikey'::regnamespace");
	my %may = map { $_ => 1 } split / /, $task{$role};

	cmp_ok(scalar keys %denied, '>', 40, "$role: all functions are called");
	is( join(' ', sort grep $denied{$_} eq 'true', keys %denied),
		join(' ', sort grep !$may{$_}, keys %closed), "$role: and all denied but its own and those of PUBLIC");

	is( $node->safe_psql('postgres', "SELECT string_agg(relname || ' ' || privilege, ',' ORDER BY relname COLLATE \"C\", privilege)
			FROM ($relations) r, unnest('{SELECT,INSERT,UPDATE,REFERENCES}'::text[]) privilege
			WHERE relkind <> 'i' AND has_any_column_privilege('$role', oid, privilege)
			OR relkind <> 'i' AND has_table_privilege('$role', oid, 'DELETE, TRUNCATE, TRIGGER')"),
		$role eq 'auditor' ? $node->safe_psql('postgres', "SELECT string_agg(relname || ' SELECT', ',' ORDER BY relname COLLATE \"C\") FROM ($relations) r WHERE relkind = 'v'") : '',
		"$role: " . ($role eq 'auditor' ? 'reads all views and no table' : 'reads neither view nor table'));
}

# and what they may do they can
sub works
{
	my ($role, @calls) = @_;

	foreach my $call (@calls)
	{
		is(run_as($role, "SELECT attempt(\$\$SELECT * FROM $call\$\$)"), 'done', "$role: " . ($call =~ /^(\w+)/)[0]);
	}
}

my ($id, $text) = split /\|/,
  run_as('issuer', q{SELECT key_id, key FROM apikey_create('acme', 'works', '[{"project": "web", "environment": "production", "level": "read"}]')});
works('issuer', "apikey_create('acme', 'another')", "apikey_import('acme', 'old', 'sha256', repeat('0', 64))", "apikey_update('$id', label => 'new')",
	"apikey_grant('$id', '*', '*', 'manage')", "apikey_ungrant('$id', 'web', 'production')", "apikey_set_organization_level('$id', 'read')",
	"apikey_set_budget('$id', 10, '1 day')", "apikey_rotate('$id')");
run_as('issuer', "SELECT count(*) FROM apikey_rotate('$id', '1 day')");
works('operator', "apikey_cancel_rotation('$id')");
run_as('issuer', "SELECT count(*) FROM apikey_rotate('$id', '1 day')");
works('operator', "apikey_finish_rotation('$id')", "apikey_disable('$id')", "apikey_enable('$id')", "apikey_revoke('$id')",
	"apikey_report_leak('$text')", "apikey_scanner_alert('[]')");
works('auditor', "apikey_who_can('web', 'production', 'read')", "apikey_reach('$id')", "apikey_unused('1 day')",
	split /\n/, $node->safe_psql('postgres', "SELECT relname FROM ($relations) r WHERE relkind = 'v'"));
is(run_as('auditor', "SELECT attempt('DELETE FROM apikey_grants')"), '55000 cannot delete from view "apikey_grants"', 'auditor: changes nothing');

# ----------------------------------------------------- views of one organization

$node->safe_psql('postgres', q{
	SET search_path = public, apikey;
	SELECT count(v) FROM apikey_create('globex', 'globex key', '[{"project": "mars", "environment": "*", "level": "write"}]') k, apikey_verify(k.key) v;
	SELECT count(v) FROM apikey_create('acme', 'acme key', '[{"project": "web", "environment": "*", "level": "write"}]') k, apikey_verify(k.key) v;
	SELECT apikey_set_budget(key_id, 7) FROM apikey_keys WHERE status = 'active';
	-- what is not to be believed: without a barrier the reader's function comes first
	CREATE VIEW acme.leaky AS SELECT * FROM apikey_keys WHERE organization ~ '^acme$';
	GRANT SELECT ON acme.leaky TO acme_auditor;
	GRANT CREATE ON SCHEMA public TO acme_auditor;
	SET ROLE acme_auditor;
	CREATE FUNCTION public.spy(text) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS $$
	BEGIN
		RAISE NOTICE 'seen: %', $1;
		RETURN true;
	END $$;
	CREATE FUNCTION public.spy_equal(text, text) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS 'BEGIN RETURN public.spy($1); END';
	CREATE OPERATOR public.=== (LEFTARG = text, RIGHTARG = text, FUNCTION = public.spy_equal, RESTRICT = eqsel)});

sub spied
{
	my ($query) = @_;
	my ($status, $rows, $seen) = $node->psql('postgres', "SET ROLE acme_auditor; SET enable_indexscan = off; SET enable_bitmapscan = off; SET enable_nestloop = off; $query");

	is($status, 0, $query) or diag($seen);
	return ($rows, $seen);
}

my ($rows, $seen) = spied('SELECT count(*) FROM acme.leaky WHERE spy(label)');
like($seen, qr/globex key/, 'the spy sees what no barrier keeps from it');
foreach my $view (qw(apikey_registry apikey_keys apikey_grants apikey_budgets apikey_events apikey_usage apikey_usage_hours))
{
	foreach my $filter ('spy(v::text)', "v::text === 'x'", 'spy(organization)', "v::text === 'x' OR spy(organization)")
	{
		($rows, $seen) = spied("SELECT count(*) FROM acme.$view v WHERE $filter");
		cmp_ok($rows, '>', 0, 'there are some');
		like($seen, qr/acme/, 'which are seen');
		unlike($seen, qr/globex|mars|rover/, 'and no others');
	}
	is(run_as('acme_auditor', "SELECT attempt('SELECT FROM apikey.$view')"), '42501 permission denied for schema apikey', "$view itself is closed");
	is($node->safe_psql('postgres', "SELECT count(*) FROM acme.$view v"),
		$node->safe_psql('postgres', "SELECT count(*) FROM apikey.$view WHERE organization = 'acme'"), 'the views show all of the organization');
}
($rows, $seen) = spied('SELECT count(*) FROM my_keys v WHERE spy(v::text)');
unlike($seen, qr/globex|rover/, 'nor are there by the view for many roles');
like($seen, qr/acme key/, 'which shows its own');

# ------------------------------------------- nobody calls what is behind the views

$node->safe_psql('postgres', q{
	CREATE ROLE curious;
	GRANT issuer, operator, auditor TO curious;
	GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA apikey_internal TO curious;
	GRANT SELECT ON ALL TABLES IN SCHEMA apikey_internal TO curious;
	GRANT CREATE ON SCHEMA public TO curious;
	SET ROLE curious;
	CREATE TABLE public.mine (id uuid, t text);
	CREATE TYPE public.mine_too AS (id uuid)});

my $calls = "SELECT 'SELECT ' || oid::regproc || '(' || coalesce((SELECT string_agg('NULL::' || CASE WHEN t::regtype::text = 'anyarray' THEN 'text[]' WHEN t::regtype::text ~ '^\"?any' THEN 'text' ELSE t::regtype::text END, ', ' ORDER BY n)
	FROM unnest(proargtypes) WITH ORDINALITY a (t, n)), '') || ')' FROM ($functions) f
	WHERE pronamespace = 'apikey_internal'::regnamespace AND prorettype NOT IN ('trigger'::regtype, 'internal'::regtype)";
my @calls = split /\n/, $node->safe_psql('postgres', $calls);
cmp_ok(scalar @calls, '>', 8, 'there are such functions');
foreach my $call (@calls)
{
	like($node->safe_psql('postgres', "SELECT attempt(\$\$$call\$\$)"), qr/^(?:done$|22004 |0A000 .* is for policies alone)/, "$call: the owner can");
	is(run_as('curious', "SELECT attempt(\$\$$call\$\$)"), '42501 permission denied for schema apikey_internal', 'others cannot, with EXECUTE');
}

my $masked = q{apikey_internal.masked('apk', id)};
foreach my $trick (
	q{SELECT 'apikey_internal.masked(text,uuid)'::regprocedure},
	q{SELECT 'apikey_internal.masked'::regproc},
	q{SELECT has_function_privilege('apikey_internal.masked(text,uuid)', 'EXECUTE')},
	q{CREATE OPERATOR public.@@@ (LEFTARG = text, RIGHTARG = uuid, FUNCTION = apikey_internal.masked)},
	q{CREATE AGGREGATE public.a (uuid) (SFUNC = apikey_internal.masked, STYPE = text)},
	q{CREATE CAST (public.mine_too AS text) WITH FUNCTION apikey_internal.masked(text, uuid)},
	q{CREATE CONVERSION public.c FOR 'UTF8' TO 'LATIN1' FROM apikey_internal.masked},
	(map "CREATE TRIGGER t BEFORE INSERT ON public.mine FOR EACH ROW EXECUTE FUNCTION apikey_internal.$_()", qw(changed keep sync_projects)),
	"CREATE VIEW public.v AS SELECT $masked FROM public.mine",
	"CREATE MATERIALIZED VIEW public.v AS SELECT $masked FROM public.mine",
	"CREATE RULE r AS ON INSERT TO public.mine DO ALSO SELECT $masked FROM public.mine",
	"CREATE POLICY p ON public.mine USING ($masked <> '')",
	"CREATE INDEX ON public.mine (($masked))",
	"CREATE STATISTICS public.s ON ($masked) FROM public.mine",
	"ALTER TABLE public.mine ADD CHECK ($masked <> '')",
	"ALTER TABLE public.mine ADD g text GENERATED ALWAYS AS ($masked) STORED",
	"ALTER TABLE public.mine ALTER t SET DEFAULT apikey_internal.masked('apk', gen_random_uuid())",
	"CREATE DOMAIN public.d AS uuid CHECK (apikey_internal.masked('apk', VALUE) <> '')",
	"CREATE FUNCTION public.f(id uuid) RETURNS text RETURN $masked",
	"CREATE FUNCTION public.f(id uuid) RETURNS text LANGUAGE sql AS \$f\$ SELECT $masked \$f\$",
	q{CREATE FUNCTION public.f(text, uuid) RETURNS text LANGUAGE c AS 'apikey', 'apikey_masked'},
	q{GRANT EXECUTE ON FUNCTION apikey_internal.masked TO PUBLIC},
	q{ALTER FUNCTION apikey_internal.masked SET SCHEMA public},
	q{CREATE OR REPLACE FUNCTION apikey_internal.masked(text, uuid) RETURNS text LANGUAGE sql AS 'SELECT $1'},
	q{CREATE FUNCTION apikey_internal.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'},
	q{SELECT 'apikey_internal.masked'::regproc})
{
	like(run_as('curious', "SELECT attempt(\$trick\$$trick\$trick\$)"), qr/^42501 permission denied for (schema apikey_internal|language c)$/, $trick);
}
foreach my $trick (q{SELECT masked('apk', gen_random_uuid())}, q{SELECT * FROM guesses()},
	q{CREATE OPERATOR public.@@@ (LEFTARG = text, RIGHTARG = uuid, FUNCTION = masked)})
{
	like(run_as('curious', "SET search_path = apikey_internal, public; SELECT attempt(\$\$$trick\$\$)"), qr/^42883 /, "by search_path: $trick");
}

# A function by its number, as the protocol has it for old clients.  Tells the
# value, or the SQLSTATE and the message.
sub read_message
{
	my ($socket) = @_;
	my ($header, $body) = ('', '');

	read($socket, $header, 5) == 5 or die 'no answer';
	my ($type, $length) = unpack 'aN', $header;
	read($socket, $body, $length - 4) == $length - 4 or die 'half an answer' if $length > 4;
	return ($type, $body);
}

sub call_by_number
{
	my ($role, $function, @arguments) = @_;
	my $oid = $node->safe_psql('postgres', "SELECT '$function'::regprocedure::oid");
	my $socket = IO::Socket::UNIX->new(Peer => $node->host . '/.s.PGSQL.' . $node->port) or die $!;
	my $startup = pack('N', 196608) . "user\0$role\0database\0postgres\0\0";
	my $call = pack('Nnn', $oid, 0, scalar @arguments) . join('', map pack('N/a*', $_), @arguments) . pack('n', 0);
	print $socket pack('N', length($startup) + 4) . $startup;
	$socket->flush;
	1 while (read_message($socket))[0] ne 'Z';
	print $socket 'F' . pack('N', length($call) + 4) . $call;
	$socket->flush;
	while (my ($type, $body) = read_message($socket))
	{
		return "$1 $2" if $type eq 'E' && $body =~ /\0C(\w+)\0M([^\0]*)/;
		return unpack 'N/a*', $body if $type eq 'V';
		die "unexpected message $type" if $type eq 'Z';
	}
}

$node->safe_psql('postgres', 'ALTER ROLE curious LOGIN');
my $nil = '00000000-0000-0000-0000-000000000000';
is(call_by_number('curious', 'apikey.apikey_pattern(text)', 'apk'), 'apk_[0-9A-Za-z]{71}', 'by number: what is open');
like(call_by_number($node->safe_psql('postgres', 'SELECT current_user'), 'apikey_internal.masked(text,uuid)', 'apk', $nil), qr/^apk_0{22}/, 'the owner');
is(call_by_number('curious', "$_->[0]", @$_[ 1 .. $#$_ ]), '42501 permission denied for schema apikey_internal', "by number: $_->[0]")
  foreach [ 'apikey_internal.masked(text,uuid)', 'apk', $nil ], [ 'apikey_internal.last_used(uuid)', $nil ], [ 'apikey_internal.last_used_from(uuid)', $nil ], [ 'apikey_internal.usage_of(uuid)', $nil ],
  ['apikey_internal.changed()'];

done_testing();
