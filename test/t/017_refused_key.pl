# A key that was to be in the session and was refused, where others could read it,
# leaves no application without a key behind: whether the library was there when
# the setting was made or not.  Nor does apikey.require_key, whatever a role tries.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Apikey;

my $create = "SELECT count(*) FROM apikey_create('acme', 'x')";
my $node = start_node('late');
my ($id, $key) = issue($node);

sub told
{
	my ($sql, %options) = @_;
	my ($status, $out, $err) = $node->psql('postgres', $sql, on_error_stop => 1, %options);

	return $status == 0 ? $out : $err;
}

like(told("SELECT set_config('apikey.key', 'set before the library is loaded', false); $create"),
	qr/invalid API key/, 'set before the library is loaded');
is(told("SELECT set_config('apikey.key', 'x', false) AS a \\gset\nSELECT keys AS b FROM apikey_cache_stats() \\gset\nSET apikey.key = ''; $create"),
	'1', 'which can be taken back');

$node->safe_psql('postgres', "ALTER ROLE CURRENT_USER SET apikey.key = '$key'");
like(told($create), qr/WARNING:  parameter "apikey.key" cannot be set here.*no API key is logged in/s,
	'set for a role: not the application');
like(told("LOAD 'apikey'; SHOW apikey.key; SELECT count(*) FROM apikey_revoke('$id')"),
	qr/no API key is logged in/, 'whatever is asked');
like(told("SELECT apikey_add_project('acme', 'taken')"), qr/permission denied in a session that must have an API key/,
	'it registers nothing');
is($node->safe_psql('postgres', 'SELECT count(*) FROM apikey_keys'), '0', 'it sees nothing, from the first statement on');
is(told("LOAD 'apikey'; SET apikey.key = ''; SELECT apikey_authorize('$key', 'web', 'production', 'write')"),
	't', 'deciding goes on');
$node->safe_psql('postgres', 'ALTER ROLE CURRENT_USER RESET apikey.key');
is(told($create), '1', 'not set for it any more');

# A role that goes by keys alone, because an administrator says so.
my $delegate = $node->safe_psql('postgres', "SELECT key FROM apikey_create('acme', 'boss', organization_level => 'write')");
my $counts = 'SELECT count(*) FROM apikey_keys';

$node->safe_psql('postgres', q{
	CREATE ROLE issuer;
	CREATE ROLE app LOGIN IN ROLE issuer;
	GRANT EXECUTE ON FUNCTION apikey_create, apikey_add_project, apikey_set_budget, apikey_usage_stats TO app, issuer;
	GRANT SELECT ON apikey_keys TO app, issuer;
	GRANT CREATE ON SCHEMA public TO app;
	CREATE FUNCTION issue_one() RETURNS bigint LANGUAGE sql SECURITY DEFINER
		SET search_path = pg_catalog, public, pg_temp SET apikey.require_key = off
		AS $$ SELECT count(*) FROM apikey_create('acme', 'by a function') $$;
	ALTER ROLE app SET apikey.require_key = on});

sub app { return told(shift, extra_params => [ '-U', 'app' ]); }

sub check_required
{
	my ($when) = @_;
	my $no = qr/no API key is logged in/;

	like(app($create), $no, "$when: no key is made");
	is(app($counts), '0', "$when: none is seen");
	like(app($_), qr/permission denied in a session that must have an API key/, "$when: refused: $_") foreach
		"SELECT apikey_add_project('acme', 'taken')", "SELECT apikey_set_budget('$id', 5)", 'SELECT apikey_usage_stats()';
	is(app("BEGIN; SELECT label AS l FROM apikey_login('$delegate') \\gset\n$counts; $create; COMMIT") =~ s{^[1-9]\d*\n}{}r, '1',
		"$when: with a key as by that key");
	is(app('SELECT issue_one()'), '1', "$when: an administrator's function may do without");
	# what is set before the first call of a function is set before the library is loaded, unless that is preloaded
	foreach my $way ('SET apikey.require_key = off;',
		"SELECT count(set_config('apikey.require_key', 'off', false));", 'RESET apikey.require_key;', 'RESET ALL;', 'DISCARD ALL;',
		'SET ROLE issuer;', 'SET SESSION AUTHORIZATION DEFAULT;', 'ALTER ROLE app SET apikey.require_key = off;', 'ALTER ROLE app RESET ALL;',
		'ALTER ROLE app IN DATABASE postgres SET apikey.require_key = off;')
	{
		foreach my $first ('', 'SELECT count(apikey_key_id());')
		{
			# what it says on the way does not matter
			my ($status, $out, $err) = $node->psql('postgres', "$first $way\n$create;", on_error_stop => 0, extra_params => [ '-U', 'app' ]);

			like($err, $no, "$when: $first$way no way out");
			is(app($counts), '0', "$when: nor for the next session");
		}
	}
	$node->psql('postgres', "CREATE OR REPLACE FUNCTION mine() RETURNS bigint LANGUAGE sql SET apikey.require_key = off AS '$counts'",
		extra_params => [ '-U', 'app' ]);
	unlike(app("SELECT mine()"), qr/^[1-9]/, "$when: nor by a function");
	local $ENV{PGOPTIONS} = '-c apikey.require_key=off';
	unlike(app($create), qr/^1$/, "$when: nor by the options of the connection");
	unlike(app($counts), qr/^[1-9]/, "$when: which see nothing");
}

check_required('loaded when it is needed');
is(told($create), '1', 'others are what they were');

# preloaded, PostgreSQL refuses to keep it there
$node->safe_psql('postgres', "ALTER ROLE CURRENT_USER SET apikey.key = '$key'");
$node->stop;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'apikey'");
$node->start;
like(told($create), qr/WARNING:  parameter "apikey.key" cannot be set here.*no API key is logged in/s,
	'kept from before, preloaded now');
$node->safe_psql('postgres', 'ALTER ROLE CURRENT_USER RESET apikey.key');
is(told($create), '1', 'gone');
check_required('preloaded');
$node->safe_psql('postgres', 'ALTER ROLE app RESET apikey.require_key');
is(app($create), '1', 'until an administrator takes it back');
foreach my $statement ("ALTER ROLE CURRENT_USER SET apikey.key = '$key'",
	"ALTER DATABASE postgres SET apikey.key = '$key'",
	"CREATE FUNCTION f() RETURNS int LANGUAGE sql SET apikey.key = '$key' AS 'SELECT 1'")
{
	my $error = told($statement);

	like($error, qr/cannot be set here/, 'refused at once');
	unlike($error, qr/\Q$key\E/, 'without a word of the key');
}
{
	local $ENV{PGOPTIONS} = "-c apikey.key=$key";

	unlike(told($create), qr/^1$/, 'in the options of the connection: no application either');
	unlike(told(q{SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
		SELECT count(*) FROM apikey_keys}), qr/^[1-9]/m, 'which sees nothing, in parallel neither');
}

done_testing();
