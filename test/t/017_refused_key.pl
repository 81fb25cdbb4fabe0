# A key that was to be in the session and was refused, where others could read it,
# leaves no application without a key behind: whether the library was there when
# the setting was made or not.

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
like(told($create), qr/WARNING:  parameter "apikey.key" cannot be set here.*invalid API key/s,
	'set for a role: a bad key, not none');
like(told("LOAD 'apikey'; SHOW apikey.key; SELECT count(*) FROM apikey_revoke('$id')"),
	qr/invalid API key/, 'whatever is asked');
like(told("SELECT apikey_add_project('acme', 'taken')"), qr/permission denied by API key/,
	'it registers nothing');
is($node->safe_psql('postgres', 'SELECT count(*) FROM apikey_keys'), '0', 'it sees nothing, from the first statement on');
is(told("LOAD 'apikey'; SET apikey.key = ''; SELECT apikey_authorize('$key', 'web', 'production', 'write')"),
	't', 'deciding goes on');
$node->safe_psql('postgres', 'ALTER ROLE CURRENT_USER RESET apikey.key');
is(told($create), '1', 'not set for it any more');

# preloaded, PostgreSQL refuses to keep it there
$node->safe_psql('postgres', "ALTER ROLE CURRENT_USER SET apikey.key = '$key'");
$node->stop;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'apikey'");
$node->start;
like(told($create), qr/WARNING:  parameter "apikey.key" cannot be set here.*invalid API key/s,
	'kept from before, preloaded now');
$node->safe_psql('postgres', 'ALTER ROLE CURRENT_USER RESET apikey.key');
is(told($create), '1', 'gone');
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
