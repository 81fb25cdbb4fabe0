# Who sends what is no key: counted by address, and delayed if that is switched on.
# Nobody else is.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Apikey;

my $node = start_node('guesses',
	conf => "shared_preload_libraries = 'apikey'\nlisten_addresses = '127.0.0.1,::1'\nlog_statement = none\n");
my ($id, $good) = issue($node);
my ($rotated_id, $wrong) = issue($node);
my ($deleted_id, $unknown) = issue($node);
my ($disabled_id, $disabled) = issue($node);
my ($superseded_id, $superseded) = issue($node);

$node->safe_psql('postgres', qq{
	-- the last secret of a key is known, those before it are not
	SELECT apikey_rotate('$rotated_id');
	SELECT apikey_rotate('$rotated_id'), apikey_rotate('$superseded_id');
	SELECT apikey_delete('$deleted_id'), apikey_disable('$disabled_id');
	CREATE TABLE doc WITH (parallel_workers = 2) AS SELECT 'web' AS project, 'production' AS environment FROM generate_series(1, 1000);
	SET client_min_messages = error;
	SELECT apikey_protect('doc', 'project', 'environment');
	CREATE ROLE app LOGIN;
	GRANT SELECT ON doc TO app;
	CREATE ROLE proxy LOGIN;
	GRANT SET ON PARAMETER apikey.client_address TO proxy;
	-- Send what is no key n times.
	CREATE FUNCTION guess(n int) RETURNS void LANGUAGE plpgsql AS
		\$\$ BEGIN FOR i IN 1 .. n LOOP PERFORM apikey_verify('guess ' || i); END LOOP; END \$\$;
	-- How long it takes, and how it ends.
	CREATE FUNCTION timed(command text, OUT seconds numeric, OUT state text) LANGUAGE plpgsql AS \$\$
	DECLARE
		began timestamptz := clock_timestamp();
	BEGIN
		BEGIN
			EXECUTE command;
			state := '00000';
		EXCEPTION WHEN OTHERS OR query_canceled THEN
			state := SQLSTATE;
		END;
		seconds := extract(epoch FROM clock_timestamp() - began);
	END \$\$;
});

sub sql
{
	my ($sql, @options) = @_;

	return $node->safe_psql('postgres', $sql, @options);
}

# Refusals and those over the limit, from this address; all that there are.
sub refusals
{
	my ($address) = @_;
	my $which = defined $address ? "= '$address'" : 'IS NULL';

	return sql("SELECT refusals, over_limit FROM apikey_guesses WHERE address $which");
}

# What some SQL adds to the refusals of an address that nobody had.
my $next = 0;
sub adds
{
	my ($sql) = @_;
	my $address = sprintf '10.0.%d.%d', ++$next / 256, $next % 256;

	$node->psql('postgres', "SET apikey.client_address = '$address';\n$sql", on_error_stop => 0);
	return refusals($address) =~ s/\|.*//r || 0;
}

# A session that began a statement long ago, and will go on in it.
my $lock = $node->background_psql('postgres');
$lock->query_safe('SELECT pg_advisory_lock(1)');
my $late = $node->background_psql('postgres');
$late->query_until(qr/began/, "SET apikey.client_address = '10.255.0.1'; SET apikey.guess_limit = 10;\n\\echo began\n"
	  . "SELECT guess(count(*)::int) FROM (SELECT pg_advisory_lock(1)) s;\n");

# ------------------------------------------------------------- what counts

my $damaged = substr($good, 0, -1) . (substr($good, -1) eq 'A' ? 'B' : 'A');
my %texts = (
	'no key at all' => "'rubbish'",
	'a wrong checksum' => "'$damaged'",
	'a wrong secret' => "'$wrong'",
	'an unknown id' => "'$unknown'",
	'a good key and a blank' => "'$good '",
	'a blank' => "' '",
	'200 MB' => "repeat('x', 200 * 1024 * 1024)",
	'a good key' => "'$good'",
	'one that is disabled' => "'$disabled'",
	'a superseded one' => "'$superseded'",
	'nothing' => "''",
	'null' => 'NULL');
my %none = map { $_ => 1 } 'a good key', 'one that is disabled', 'a superseded one', 'nothing', 'null';
my %calls = (
	apikey_login => 'SELECT apikey_login(TEXT)',
	apikey_verify => 'SELECT apikey_verify(TEXT)',
	apikey_pre_request => "SELECT set_config('request.headers', json_build_object('x-api-key', TEXT)::text, false) <> ''; SELECT apikey_pre_request()",
	apikey_revoke_self => 'BEGIN; SELECT apikey_revoke_self(TEXT); ROLLBACK',
	apikey_authorize => "SELECT apikey_authorize(TEXT, 'web', 'production', 'read')",
	apikey_authorize_organization => "SELECT apikey_authorize_organization(TEXT, 'acme', 'read')",
	apikey_projects_of => "SELECT apikey_projects_of(TEXT, 'read')",
	apikey_explain => "SELECT apikey_explain(TEXT, 'web', 'production', 'read')",
	apikey_spend => 'SELECT apikey_spend(TEXT, 1)',
	apikey_rate_limit => 'SELECT apikey_rate_limit(TEXT)');
foreach my $call (sort keys %calls)
{
	my %got = map {
		my $sql = $calls{$call} =~ s/TEXT/$texts{$_}/r;
		$_ => adds($sql)
	} grep $_ ne '200 MB' || $call =~ /^apikey_(?:verify|authorize)$/, keys %texts;

	is_deeply(\%got, { map { $_ => $none{$_} ? 0 : 1 } keys %got }, "$call: each bad key counts once, nothing else does");
}
# what counts for a superseded secret is a refusal of its key
my $refused = sub { sql("SELECT uses, refusals FROM apikey_usage WHERE key_id = '$superseded_id'") };
my $before = (split /\|/, $refused->())[1];
$node->psql('postgres', $calls{$_} =~ s/TEXT/'$superseded'/r, on_error_stop => 0)
  foreach grep !/explain|rate_limit/, sort keys %calls;
is($refused->(), '0|' . ($before + keys(%calls) - 2), 'a superseded secret: a refusal of its key by each call');
is(adds("SET apikey.key = '$superseded'; SELECT apikey_authorize('web', 'production', 'read'); SELECT apikey_projects('read');"), 0, 'nor as the key of the session');
is(adds("SELECT set_config('request.headers', '{\"authorization\": \"Bearer a.b.c\"}', false); SELECT apikey_pre_request()"), 0, 'a JWT is not a bad key');
is(adds("SELECT set_config('request.headers', '{\"authorization\": \"Bearer $wrong\"}', false); SELECT apikey_pre_request()"), 1, 'a bearer token of the form of one is');
is(adds("SELECT apikey_verify('x') FROM generate_series(1, 5)"), 5, 'each call of what is VOLATILE');
is(adds("SELECT apikey_authorize('x', 'web', 'production', 'read'), apikey_authorize('y', 'web', 'production', 'read'), apikey_explain('z', 'a', 'b', 'read')"),
	3, 'what decides counts each text');
is(adds("SELECT count(*) FROM generate_series(1, 1000) i WHERE apikey_authorize('x' || i, 'web', 'production', 'read')"), 1000, 'a thousand in one statement');
is( adds("DO \$\$ BEGIN FOR i IN 1 .. 100 LOOP PERFORM set_config('apikey.key', 'x' || i, false), apikey_authorize('web', 'production', 'read'),
		apikey_projects('read'); END LOOP; END \$\$"), 100, 'a hundred as the key of the session');
is( adds("SELECT apikey_authorize('x', 'web', 'production', 'read'), apikey_explain('x', 'a', 'b', 'read'), apikey_projects_of('x', 'read')
		FROM generate_series(1, 100)"), 1, 'but each once a statement');
is(adds("DO \$\$ BEGIN FOR i IN 1 .. 5 LOOP PERFORM apikey_rate_limit('x'); COMMIT; END LOOP; END \$\$"), 5, 'and in each transaction of one that commits');
is(adds("SELECT count(*) FROM doc WHERE apikey_authorize('x', project, environment, 'read')"), 1, 'however many rows there are');
is(adds("SELECT apikey_authorize('x', 'web', 'production', 'read')\\;" x 3 . 'SELECT 1;'), 1, 'statements of one message are one');
is(adds("SELECT apikey_authorize('x', 'web', 'production', 'read');\n" x 3), 3, 'three messages are three');
is( adds("SET debug_parallel_query = on; SET force_parallel_mode = on; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
		SET parallel_leader_participation = off;
		SELECT count(*) FROM doc WHERE apikey_authorize('x' || (ctid::text::point)[1]::int % 8, project, environment, 'read') OR pg_sleep(0.0005) IS NULL"),
	8, 'a parallel query');
is(adds("SET apikey.key = 'rubbish'; SET ROLE app; SELECT count(*) FROM doc;"), 1, 'the key of the session, in a policy');
is(adds("SET apikey.key = '$unknown'; SELECT $_;"), 1, "$_: of the session")
  foreach 'apikey_spend()', 'apikey_whoami()', "apikey_require('web', 'production', 'read')", "apikey_disable('$id')",
  "apikey_explain_rls('doc')";
is(adds("SET apikey.key = '$unknown'; SET ROLE app; SELECT count(*) FROM apikey_explain_query('SELECT * FROM doc');"), 1, 'apikey_explain_query: of the session');
is(adds("SET apikey.key = '$unknown'; SELECT apikey_remove_project('web');"), 0, 'what is refused to all keys does not ask whose it is');
is(adds("SELECT $_;"), 1, $_) foreach "apikey_spend('x', 1)", "apikey_explain_rls('doc', 'x')";
is(adds("SET ROLE app; SELECT count(*) FROM apikey_explain_query('SELECT 1', 'x');"), 1, 'apikey_explain_query');
is(adds("SELECT count(*) FROM apikey_whoami(), apikey_explain_rls('doc')"), 0, 'nobody came with a key');
# what is looked for in a text has the form of a key: the checksum tells a guess
is(adds("SELECT status FROM apikey_find_keys('$good $disabled $damaged rubbish')"), 0, 'apikey_find_keys: nothing');
is(adds("SELECT status FROM apikey_find_keys('$unknown $wrong $unknown')"), 2, 'apikey_find_keys: each that is unknown');
is(adds("SELECT count(*) FROM generate_series(1, 50), apikey_find_keys('$unknown')"), 1, 'once a statement');
is(adds("SELECT status FROM apikey_report_leak('$unknown $wrong')"), 0, 'who may revoke keys is not guessing');
is(adds("SELECT apikey_scanner_alert('[{\"token\": \"$unknown\", \"type\": \"t\", \"url\": \"\"}]')"), 0, 'nor is a scanner');
is(adds("BEGIN; SELECT apikey_verify('x'); ROLLBACK;"), 1, 'no ROLLBACK takes it back');
is( adds("SET apikey.key = 'rubbish';\n"
		  . "EXPLAIN SELECT FROM doc WHERE project = apikey_authorize('x', 'web', 'production', 'read')::text AND project = ANY (apikey_projects_of('x', 'read'))
			AND environment = apikey_authorize('web', 'production', 'read')::text AND apikey_authorize('x', project, environment, 'read')
			AND apikey_authorize(project, environment, 'read') AND EXISTS (SELECT FROM apikey_verify('x'));\n" x 100),
	0, 'EXPLAIN, a hundred times');

# --------------------------------------------------------------- from where

sub as
{
	my ($user, $host, $sql) = @_;
	my ($out, $err);

	$node->psql('postgres', $sql, stdout => \$out, stderr => \$err, on_error_stop => 0,
		connstr => 'port=' . $node->port . " dbname=postgres user=$user host=" . ($host // $node->host));
	return $err;
}
as('app', $_, "SELECT apikey_verify('x'); SELECT apikey_login('x')") foreach undef, '127.0.0.1';
is(refusals(), '2|0', 'over a Unix socket: no address');
is(refusals('127.0.0.1'), '2|0', 'over TCP: that of the connection');
SKIP:
{
	skip 'no IPv6', 1 if as('app', '::1', "SELECT apikey_verify('x')") ne '';
	is(refusals('::/64'), '1|0', 'over IPv6: the network');
}
is(sql("SELECT count(*) FROM apikey_guesses WHERE address IS NULL"), 1, 'which is not the Unix socket');
as('proxy', '127.0.0.1', "SET apikey.client_address = '203.0.113.9'; SELECT apikey_verify('x')");
is(refusals('203.0.113.9'), '1|0', 'from a proxy: that which it hands over');
is(refusals('127.0.0.1'), '2|0', 'and not its own');
like(as('app', '127.0.0.1', "SET apikey.client_address = '203.0.113.10'; SELECT apikey_verify('x')"), qr/permission denied to set parameter/, 'which others cannot');
is(refusals('127.0.0.1'), '3|0', 'it is theirs');
sql("SET apikey.client_address = '$_'; SELECT guess(1)")
  foreach '2001:db8:1:2:3:4:5:6', '2001:db8:1:2::1', '2001:db8:1:3::1', '::ffff:203.0.113.9', '0.0.0.0';
is(sql("SELECT address, refusals FROM apikey_guesses WHERE address <<= '2001:db8::/32' ORDER BY 1"),
	"2001:db8:1:2::/64|2\n2001:db8:1:3::/64|1", 'IPv6 by /64');
is(refusals('203.0.113.9'), '2|0', 'an IPv4 address that is called an IPv6 one');
is(refusals('0.0.0.0'), '1|0', '0.0.0.0 is one');

# --------------------------------------------------------------- how many

is(sql('SHOW apikey.guess_limit') . sql('SHOW apikey.guess_delay'), '200', 'the defaults: 20 a minute, no delay');
my $began = sql("SELECT clock_timestamp()");
sql("SET apikey.client_address = '10.100.0.1'; SELECT guess(50)");
is(refusals('10.100.0.1'), '50|30', 'of fifty at once thirty are over the limit of 20');
is(sql("SELECT first_at BETWEEN '$began' AND last_at, last_at BETWEEN '$began' AND clock_timestamp() FROM apikey_guesses WHERE address = '10.100.0.1'"), 't|t', 'first and last');
sql("SET apikey.client_address = '10.100.0.2'; SET apikey.guess_limit = 1; SELECT guess(3)");
is(refusals('10.100.0.2'), '3|2', 'a limit of 1');
my $script = PostgreSQL::Test::Utils::tempdir . '/guess';
PostgreSQL::Test::Utils::append_to_file($script, "SET apikey.client_address = '10.100.0.3';\nSELECT guess(100);\n");
$node->command_ok([ 'pgbench', '-n', '-c', 8, '-j', 2, '-t', 5, '-f', $script, $node->connstr('postgres') ], 'eight clients');
my ($count, $over, $seconds) = split /\|/, sql("SELECT refusals, over_limit, extract(epoch FROM last_at - first_at) FROM apikey_guesses WHERE address = '10.100.0.3'");
is($count, 4000, 'all are counted');
# their times are those of the limit but for who came first
cmp_ok(abs($over - (4000 - 20 - int($seconds / 3))), '<=', 1, 'and those over the limit');

# the late one, whose statement began before others used the limit up
$node->poll_query_until('postgres', "SELECT now() - query_start > '7 seconds' FROM pg_stat_activity WHERE wait_event = 'advisory'") or die;
sql("SET apikey.client_address = '10.255.0.1'; SET apikey.guess_limit = 10; SELECT guess(15)");
$lock->query_safe('SELECT pg_advisory_unlock(1)');
$late->query_safe('SELECT 1');
$_->quit foreach $late, $lock;
sql("SET apikey.client_address = '10.255.0.1'; SET apikey.guess_limit = 10; SELECT guess(1)");
# six seconds give one back, should it have taken so long
is(sql("SELECT refusals, over_limit + floor(extract(epoch FROM last_at - first_at) / 6) FROM apikey_guesses WHERE address = '10.255.0.1'"), '17|7',
	'who comes late gives nothing back');

# ----------------------------------------------------------------- delay

# Nothing here waits for a minute.
my $slow = "SET statement_timeout = '40s'; SET apikey.guess_limit = 3; SET apikey.guess_delay = '60s';";
is(sql("$slow SET apikey.client_address = '10.200.0.1'; SELECT guess(3); SELECT label FROM apikey_login('$good'); SELECT label FROM apikey_verify('$good')"),
	"\ntest\ntest", 'no delay up to the limit, nor of a good key');
is( sql("$slow SET apikey.client_address = '10.200.0.1'; SET apikey.guess_limit = 1;
		SELECT apikey_authorize('x', 'web', 'production', 'read'), count(*) FROM apikey_explain('x', 'a', 'b', 'read'), apikey_rate_limit('x');
		SELECT label FROM apikey_login('$good'); SELECT count(*) FROM apikey_verify('$disabled')"),
	"f|1\ntest\n0" =~ s/f\|1/f|0/r, 'nor of what decides, nor of a good key from where too many bad ones came');
my $hurry = "SET apikey.client_address = '10.200.0.2'; SET apikey.guess_limit = 1; SELECT guess(1);";
foreach my $call ('apikey_verify', 'apikey_login', 'apikey_pre_request', 'apikey_revoke_self', 'apikey_spend')
{
	my $sql = $call eq 'apikey_pre_request' ? 'SELECT apikey_pre_request()' : "SELECT $call('x'" . ($call eq 'apikey_spend' ? ', 1)' : ')');
	my ($took, $state) = split /\|/, sql(qq{$hurry SET apikey.guess_delay = '350ms'; SET "request.headers" = '{"x-api-key": "x"}';
		SELECT * FROM timed(\$q\$$sql\$q\$)}) =~ s/^\n//r;

	cmp_ok($took, '>=', 0.35, "$call: delayed");
	is($state, $call eq 'apikey_verify' ? '00000' : '28000', 'then answered');
}
my ($took, $state) = split /\|/, sql("$hurry SET apikey.guess_delay = '60s'; SET statement_timeout = '1s'; SELECT * FROM timed('SELECT apikey_login(''x'')')") =~ s/^\n//r;
is($state, '57014', 'statement_timeout ends a delay');
cmp_ok($took, '<', 30, 'at once');
foreach my $end ('pg_cancel_backend', 'pg_terminate_backend')
{
	my $held = $node->background_psql('postgres', on_error_stop => 0);

	$held->query_until(qr/held/, "$hurry\nSET apikey.guess_delay = '60s';\n\\echo held\nSELECT apikey_verify('x') AS held;\n");
	ok( $node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE '%AS held%' AND wait_event_type = 'Extension'"),
		"waiting for $end");
	is(sql("SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE query LIKE '%AS held%' AND wait_event_type = 'Extension' AND locktype = 'relation'"), 0, 'without a lock on a table');
	sql("SELECT $end(pid) FROM pg_stat_activity WHERE query LIKE '%AS held%' AND wait_event_type = 'Extension'");
	ok($node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE query LIKE '%AS held%' AND wait_event_type = 'Extension'"), 'ended');
	if ($end eq 'pg_cancel_backend')
	{
		is($held->query('SELECT 1'), 1, 'the session goes on');
		$held->quit;
	}
	else
	{
		$held->{run}->finish;
	}
}
sql("ALTER SYSTEM SET apikey.guess_delay = '250ms'; ALTER SYSTEM SET apikey.guess_limit = 2; SELECT pg_reload_conf()");
$node->poll_query_until('postgres', "SELECT current_setting('apikey.guess_delay') = '250ms'") or die;
cmp_ok(sql("SET apikey.client_address = '10.200.0.3'; SELECT guess(2); SELECT seconds FROM timed('SELECT guess(2)')") =~ s/\n//r, '>=', 0.5, 'switched on for all');
sql('ALTER SYSTEM RESET ALL; SELECT pg_reload_conf()');

# -------------------------------------------------------------- who sees it

like(as('app', undef, "SET apikey.$_ = 1"), qr/permission denied to set parameter "apikey\.$_"/, "an ordinary role cannot set $_")
  foreach 'guess_limit', 'guess_delay';
like(as('app', undef, "SELECT * FROM apikey_guesses"), qr/permission denied for view apikey_guesses/, 'nor see the view');
like(as('app', undef, "SELECT * FROM apikey_internal.guesses()"), qr/permission denied for schema apikey_internal/, 'nor what is behind it');
sql('GRANT SELECT ON apikey_guesses TO app');
is(as('app', undef, 'SELECT * FROM apikey_guesses'), '', 'unless it is let');
sql('REVOKE SELECT ON apikey_guesses FROM app; GRANT SELECT (address) ON apikey_guesses TO app');
is(as('app', undef, 'SELECT address FROM apikey_guesses'), '', 'or a column of it');
like(as('app', undef, 'SELECT refusals FROM apikey_guesses'), qr/permission denied for view/, 'then that');

sql('CREATE DATABASE other TEMPLATE template0');
is( $node->safe_psql('other', q{
		SET client_min_messages = warning;
		CREATE EXTENSION apikey CASCADE;
		SELECT count(*) FROM apikey_guesses;
		SET apikey.client_address = '10.100.0.1';
		SELECT count(*) FROM apikey_verify('x');
		SELECT * FROM (SELECT address, refusals, over_limit FROM apikey_guesses) r}),
	"0\n0\n10.100.0.1|1|0", 'each database has its own');
is(refusals('10.100.0.1'), '50|30', 'both ways');

# ------------------------------------------------------------------- room

sql(q{DO $$ BEGIN FOR i IN 1 .. 4000 LOOP
	PERFORM set_config('apikey.client_address', host('11.0.0.0'::inet + i), false), apikey_verify('x');
	IF i % 20 = 0 THEN PERFORM set_config('apikey.client_address', '12.0.0.1', false), apikey_verify('x'); END IF;
	END LOOP; END $$});
is( $node->safe_psql('postgres', 'SELECT count(*) FROM apikey_guesses') + $node->safe_psql('other', 'SELECT count(*) FROM apikey_guesses'),
	1024, 'there is room for 1024 addresses');
like(refusals('12.0.0.1'), qr/^200\|1\d\d$/, 'who goes on stays');
is(refusals('11.0.15.160'), '1|0', 'the last one is there');
is(refusals('10.100.0.1'), '', 'who was silent has gone');

# ---------------------------------------------------------------- restart

$node->stop('fast');
$node->start;
is(sql('SELECT count(*) FROM apikey_guesses'), 0, 'nothing is kept over a restart');
sql('SELECT guess(1)');
$node->stop('fast');
my $log = slurp_file($node->logfile);
unlike($log, qr/\Q$_\E/, 'no key in the log') foreach $wrong, $unknown, $good, $disabled, $damaged;
unlike($log, qr/STATEMENT:.*apikey_(?:login|verify|pre_request|revoke_self)/, 'nor a statement that could hold one');
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->start;
my ($status, undef, $err) = $node->psql('postgres', 'SELECT * FROM apikey_guesses');
like($err, qr/counts of refusals need the extension to be preloaded\nHINT:  Add apikey to shared_preload_libraries/, 'not preloaded: the view says so');
is(sql("SET apikey.guess_limit = 1; SET apikey.guess_delay = '60s'; SET statement_timeout = '40s'; SELECT apikey_verify('x') FROM generate_series(1, 5)"),
	'', 'and nothing is delayed');

$node->stop;
done_testing();
