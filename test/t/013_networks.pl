# Keys that are limited to networks: by the address of a real connection, and by
# the one that a trusted proxy hands over, which nobody else can.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Apikey;

my $node = start_node('networks', conf => "listen_addresses = '127.0.0.1,::1'\n");

# A key of "acme" that may write in web, production, from these networks: its id
# and its text.
sub issue_for
{
	my ($networks) = @_;
	my $row = $node->safe_psql('postgres', qq{
		SELECT key_id, key FROM apikey_create('acme', 'limited',
			'[{"project": "web", "environment": "production", "level": "write"}]',
			allowed_networks => '{$networks}')});

	return split /\|/, $row;
}

sub connstr
{
	my ($host, $user) = @_;

	return 'port=' . $node->port . " dbname=postgres host=$host user=$user";
}

# Run SQL as this role, over TCP or, without a host, over the Unix socket: the
# exit status, what came out, and the messages.
sub run_as
{
	my ($user, $sql, %options) = @_;
	local $ENV{PGOPTIONS} = $options{pgoptions} // '';
	my ($out, $err);
	my $status = $node->psql('postgres', $sql,
		connstr => connstr($options{host} // $node->host, $user),
		on_error_stop => $options{go_on} ? 0 : 1,
		stdout => \$out, stderr => \$err);

	return ($status, $out, $err);
}

sub as
{
	my ($status, $out, $err) = run_as(@_);

	die "$_[1]: $err" if $status != 0;
	return $out;
}

my $superuser = $node->safe_psql('postgres', 'SELECT current_user');

$node->safe_psql('postgres', q{
	CREATE ROLE app LOGIN;
	CREATE ROLE proxy LOGIN;
	GRANT app TO proxy;
	GRANT SET ON PARAMETER apikey.client_address TO proxy;
	CREATE TABLE doc (id int PRIMARY KEY, project text, environment text);
	INSERT INTO doc SELECT i, 'web', 'production' FROM generate_series(1, 1000) i;
	CREATE INDEX ON doc (project, environment);
	SET client_min_messages = error;
	SELECT apikey_protect('doc', 'project', 'environment');
	GRANT SELECT ON doc TO app;
	ANALYZE doc;
	CREATE SCHEMA theirs AUTHORIZATION app;
});

my (undef, $v4) = issue_for('127.0.0.0/8');
my (undef, $v6) = issue_for('::1');
my (undef, $any) = issue_for('0.0.0.0/0,::/0');
my (undef, $ten) = issue_for('10.0.0.0/8,2001:db8::/32');
my (undef, $free) = issue($node);

sub ask
{
	my ($key) = @_;

	return "SELECT apikey_authorize('$key', 'web', 'production', 'write');";
}
my $ask_all = "SELECT string_agg(left(apikey_authorize(k, 'web', 'production', 'write')::text, 1), '' ORDER BY n)
	FROM unnest('{$v4,$v6,$any,$ten,$free}'::text[]) WITH ORDINALITY AS t (k, n);";

# ------------------------------------------------------- real connections

is(as('app', $ask_all), 'fffft', 'a client on a Unix socket is in no network');
is(as('app', $ask_all, host => '127.0.0.1'), 'tftft', 'a client on 127.0.0.1');
SKIP:
{
	my ($status) = run_as('app', 'SELECT 1', host => '::1');

	skip 'no IPv6 here', 1 if $status != 0;
	is(as('app', $ask_all, host => '::1'), 'fttft', 'a client on ::1');
}
is( as('app', qq{
		SELECT reason FROM apikey_explain('$v4', 'web', 'production', 'read');
		SELECT count(*) FROM apikey_verify('$v4')}),
	"address is not in the key's networks\n0", 'why, and what else it costs');
like((run_as('app', "SELECT apikey_login('$v4')"))[2],
	qr/ERROR:  invalid API key$/, 'the bearer is not told more than of any bad key');

my $name = $node->safe_psql('postgres',
	"SELECT name FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query')");
my $parallel = "SET $name = on; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0;
	SET min_parallel_table_scan_size = 0; SET enable_indexscan = off; SET enable_bitmapscan = off;";
my $count = 'SELECT count(*) FROM doc;';
my $workers = "EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off) $count";

is( as('app', "BEGIN; SELECT label FROM apikey_login('$v4'); $count COMMIT;", host => '127.0.0.1'),
	"limited\n1000", 'row-level security');
is( as('app', "$parallel BEGIN; SET LOCAL apikey.key = '$v4'; $count COMMIT;", host => '127.0.0.1'),
	1000, 'parallel workers take the address of their leader');
is(as('app', "$parallel BEGIN; SET LOCAL apikey.key = '$v4'; $count COMMIT;"),
	0, 'which on a Unix socket is none');

# -------------------------------------------------------- a trusted proxy

# A transaction for a client at this address, in a session of the proxy
sub serve
{
	my ($address, $sql) = @_;

	return "BEGIN; SET LOCAL apikey.client_address = '$address'; SET LOCAL ROLE app; $sql COMMIT;";
}

is(as('proxy', serve('10.1.2.3', $ask_all)), 'ffttt',
	'a proxy hands an address over, in the first transaction of a session');
is( as('proxy', 'SELECT apikey_pattern();' . serve('10.1.2.3', $ask_all)),
	"apk_[0-9A-Za-z]{71}\nffttt", 'and when the library is loaded');
is(as('proxy', serve('2001:db8::7', $ask_all)), 'ffttt', 'an IPv6 address');
is(as('proxy', serve('10.1.2.3', $ask_all), host => '127.0.0.1'), 'ffttt',
	'that of the connection does not count then');
is(as('proxy', serve('', $ask_all), host => '127.0.0.1'), 'tftft', 'unless it is empty');
is( as('proxy', serve('10.1.2.3', "SELECT label FROM apikey_login('$ten'); $count")),
	"limited\n1000", 'log-in and row-level security');
is(as('proxy', serve('192.0.2.1', "SET LOCAL apikey.key = '$ten'; $count")),
	0, 'from elsewhere there are no rows');
is(as('proxy', serve('10.1.2.3', $ask_all) . $ask_all . serve('192.0.2.1', $ask_all) . $ask_all),
	"ffttt\nfffft\nfftft\nfffft", 'the next transaction of the session does not inherit it');
is( as('proxy', serve('10.1.2.3', $ask_all) =~ s/COMMIT;$/ROLLBACK;/r . $ask_all),
	"ffttt\nfffft", 'nor after ROLLBACK');
is(as('proxy', serve('10.1.2.3', "SAVEPOINT s; $ask_all") =~ s/COMMIT;$//r . "
		RESET ROLE; SET LOCAL apikey.client_address = '192.0.2.1'; " . ask($ten) . "
		ROLLBACK TO s; " . ask($ten) . 'COMMIT;'),
	"ffttt\nf\nt", 'a rollback to a savepoint brings it back');
is( as('proxy', "SET apikey.client_address = '10.1.2.3'; " . ask($ten) . 'DISCARD ALL; ' . ask($ten)),
	"t\nf", 'DISCARD ALL clears what was set for the session');
is(as($superuser, "SET apikey.client_address = '10.1.2.3'; " . ask($ten)),
	't', 'a superuser may set it');

# a warm cache follows
is( as('proxy', "SET plan_cache_mode = force_generic_plan;
		PREPARE may (text) AS SELECT apikey_authorize(\$1, 'web', 'production', 'write');
		PREPARE mine AS SELECT apikey_authorize('web', 'production', 'write'), count(*) FROM doc;
		BEGIN; SET LOCAL apikey.key = '$ten';" . join('', map "
			RESET ROLE; SET LOCAL apikey.client_address = '$_'; SET LOCAL ROLE app;
			EXECUTE may ('$ten'); EXECUTE mine;",
			'10.1.2.3', '192.0.2.1', '10.1.2.3', '2001:db8::1', '2001:db9::1', '') . 'COMMIT;'),
	"t\nt|1000\nf\nf|0\nt\nt|1000\nt\nt|1000\nf\nf|0\nf\nf|0",
	'prepared statements and policies obey a new address with the next statement');
is( as($superuser, qq{
		SELECT string_agg(left(yes::text, 1), '' ORDER BY i) FROM (
			SELECT i, apikey_authorize('$ten', 'web', 'production', 'write') AS yes
			FROM generate_series(1, 6) i,
				LATERAL set_config('apikey.client_address', CASE WHEN i % 2 = 0 THEN '10.0.0.1' ELSE '192.0.2.1' END, true) s
			WHERE s <> '' OFFSET 0) t;
	}), 'ftftft', 'even within one');

# parallel workers
my $plan = as('proxy', $parallel . serve('10.1.2.3', "SET LOCAL apikey.key = '$ten'; $workers"));
like($plan, qr/Workers Launched: [1-9]/, 'a worker is launched');
is(as('proxy', $parallel . serve('10.1.2.3', "SET LOCAL apikey.key = '$ten'; $count")), 1000,
	'parallel workers see the address');
is(as('proxy', $parallel . serve('192.0.2.1', "SET LOCAL apikey.key = '$ten'; $count")), 0,
	'whatever it is');
is(as('proxy', $parallel . serve('192.0.2.1', "SET LOCAL apikey.key = '$v4'; $count"), host => '127.0.0.1'),
	0, 'that of the connection does not count there, either');

# forms of an address
foreach my $form (
	[ '10.1.2.3' => 't' ], [ '11.1.2.3' => 'f' ], [ '10.0.0.0' => 't' ], [ '10.255.255.255' => 't' ],
	[ '2001:db8::' => 't' ], [ '2001:DB8:0:0:0:0:0:1' => 't' ], [ '2001:db8::10.1.2.3' => 't' ],
	[ '2001:db9::1' => 'f' ], [ '::ffff:10.1.2.3' => 't' ], [ '::FFFF:0a01:0203' => 't' ],
	[ '::ffff:11.1.2.3' => 'f' ], [ '::10.1.2.3' => 'f' ], [ '64:ff9b::10.1.2.3' => 'f' ],
	[ '::' => 'f' ], [ '0.0.0.0' => 'f' ], [ '255.255.255.255' => 'f' ])
{
	my ($address, $expected) = @$form;

	is(as('proxy', serve($address, ask($ten))), $expected, "address $address");
}
foreach my $address ('x', ' ', '10.1.2', '10', '240', '256.1.1.1', '10.1.2.3.4', '10.1.2.3/32', '10.0.0.0/8',
	'10.1.2.3 ', ' 10.1.2.3', '10.1.2.3,10.1.2.4', '0x0a010203', '10.1.2.3x', '2001:db8::1/128', 'fe80::1%lo', '[::1]', '::1]',
	'10.1.2.3:80', 'localhost', ':', '1::2::3', '-1.0.0.0', "10.1.2.3\n10.1.2.4")
{
	my ($status, $out, $err) =
	  run_as('proxy', 'SELECT apikey_pattern() IS NULL;' . serve($address, ask($ten)));

	like($err, qr/invalid value for parameter "apikey\.client_address".*\nDETAIL:  It must be an IP address, or empty\./s,
		'not an address: ' . $address =~ s/\n/\\n/r);
	# what was set before the library came is looked at when it comes
	($status, $out, $err) = run_as('proxy', serve($address, ask($ten)));
	is($out, 'f', '... nor when the library comes later');
}

# events tell of it
my ($id) = issue_for('10.0.0.0/8');
is( as($superuser, "SET apikey.client_address = '::ffff:10.1.2.3'; SELECT apikey_disable('$id');
		SELECT address FROM apikey_events WHERE key_id = '$id' AND action = 'disable'"),
	"\n10.1.2.3", 'the history has the address that was handed over');

# --------------------------------------------------------------- others

# What the application's role may try: none of it gets a key used from elsewhere
my %try = (
	'SET' => "SET apikey.client_address = '10.1.2.3';",
	'SET LOCAL' => "BEGIN; SET LOCAL apikey.client_address = '10.1.2.3';",
	'set_config' => "SELECT set_config('apikey.client_address', '10.1.2.3', false);",
	'pg_settings' => "UPDATE pg_settings SET setting = '10.1.2.3' WHERE name = 'apikey.client_address';",
	'another case' => "SET \"APIKEY.Client_Address\" = '10.1.2.3';",
	'a savepoint' => "BEGIN; SAVEPOINT s; SET LOCAL apikey.client_address = '10.1.2.3'; RELEASE SAVEPOINT s;",
	'ALTER ROLE' => "ALTER ROLE app SET apikey.client_address = '10.1.2.3';",
	'ALTER ROLE in a database' => "ALTER ROLE app IN DATABASE postgres SET apikey.client_address = '10.1.2.3';",
	'ALTER DATABASE' => "ALTER DATABASE postgres SET apikey.client_address = '10.1.2.3';",
	'ALTER SYSTEM' => "ALTER SYSTEM SET apikey.client_address = '10.1.2.3';",
	'a function' => "CREATE FUNCTION theirs.ask(text) RETURNS boolean LANGUAGE sql SET apikey.client_address = '10.1.2.3'
		AS \$\$ SELECT apikey_authorize(\$1, 'web', 'production', 'write') \$\$; SELECT theirs.ask('$ten');",
	'GRANT' => "GRANT SET ON PARAMETER apikey.client_address TO app; SET apikey.client_address = '10.1.2.3';");

foreach my $loaded (0, 1)
{
	my $first = $loaded ? 'SELECT apikey_pattern() IS NULL;' : '';
	my $when = $loaded ? 'library loaded' : 'not loaded';

	foreach my $way (sort keys %try)
	{
		# a transaction that an error broke ends; all else goes on
		my (undef, $out, $err) = run_as('app', "$first $try{$way} " . ask($ten) . 'ROLLBACK; ' . ask($ten), go_on => 1);

		unlike($out, qr/^t$/m, "$when: not by $way");
		like($err, qr/permission denied|must be (superuser|owner)/, '... which is said') if $loaded;
	}
	is(as('app', $ask_all, go_on => 1), 'fffft', "$when: nothing stayed for the next session");
}
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_db_role_setting WHERE setconfig::text LIKE '%apikey%'"),
	0, 'none of it is in the catalogs');
$node->safe_psql('postgres', 'DROP FUNCTION IF EXISTS theirs.ask(text)');

# in the connection's options
my (undef, $out, $err) = run_as('app', $ask_all, pgoptions => '-c apikey.client_address=10.1.2.3');
is($out, 'fffft', 'not by options of the connection');
like($err, qr/permission denied to set parameter "apikey\.client_address"/, '... which is said when the library is loaded');
is(as('proxy', $ask_all, pgoptions => '-c apikey.client_address=10.1.2.3'), 'ffttt',
	'the proxy may give it there');

# in a transaction of the proxy, after it has changed its role
foreach my $way (
	"SET apikey.client_address = '10.1.2.3'", "SET LOCAL apikey.client_address = '10.1.2.3'",
	"SELECT set_config('apikey.client_address', '10.1.2.3', true) IS NULL",
	'SET apikey.client_address = DEFAULT', 'RESET apikey.client_address')
{
	# in its first transaction PostgreSQL does not know whose the setting is
	my (undef, $out) = run_as('proxy', serve('192.0.2.1', "$way; " . ask($ten)));
	unlike($out, qr/^t$/m, "not after SET ROLE: $way");

	(undef, $out, my $err) = run_as('proxy', 'SELECT apikey_pattern() IS NULL;' .
		serve('192.0.2.1', "SAVEPOINT s; $way; ROLLBACK TO s; " . ask($ten)), go_on => 1);
	like($err, qr/permission denied to set parameter "apikey\.client_address"/, '... which is said');
	is($out, "f\nf", '... and changes nothing');
}
# PostgreSQL lets everybody do this: the address of the connection counts again
is( as('proxy', serve('10.1.2.3', "RESET ALL; $ask_all"), host => '127.0.0.1'),
	'tftft', 'RESET ALL goes back to the address of the proxy, not to another one');
# a session of the application that the proxy's role never served
is(as('app', "SET apikey.client_address = '10.1.2.3'; SET ROLE app; " . ask($ten)), 'f', 'not by a change of role');
like((run_as('app', 'SET ROLE proxy'))[2], qr/permission denied to set role/, 'the application is not the proxy');

# taken away again
$node->safe_psql('postgres', 'REVOKE SET ON PARAMETER apikey.client_address FROM proxy');
like((run_as('proxy', 'SELECT apikey_pattern();' . serve('10.1.2.3', ask($ten))))[2],
	qr/permission denied to set parameter/, 'the grant is taken back');
is((run_as('proxy', serve('10.1.2.3', ask($ten))))[1], 'f', '... also before the library is loaded');
$node->safe_psql('postgres', 'GRANT SET ON PARAMETER apikey.client_address TO proxy');

# preloaded, there never is a placeholder
$node->append_conf('postgresql.conf', "session_preload_libraries = 'apikey'");
$node->reload;
$node->poll_query_until('postgres', 'SHOW apikey.prefix', 'apk');
like((run_as('app', "SET apikey.client_address = '10.1.2.3'"))[2], qr/permission denied to set parameter/, 'preloaded: SET');
(undef, $out, $err) = run_as('app', $ask_all, pgoptions => '-c apikey.client_address=10.1.2.3');
unlike($out, qr/^ffttt$/m, 'preloaded: not by options of the connection');
is(as('proxy', serve('10.1.2.3', $ask_all)), 'ffttt', 'preloaded: the proxy');

done_testing();
