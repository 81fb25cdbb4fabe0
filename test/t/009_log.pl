# What the server log tells of keys: the reason of a refusal, which the client
# is not told, and never the key itself where the client sent it as a parameter.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Apikey;

my $node = start_node('log', conf => q{
log_min_duration_statement = -1
log_statement = none
log_error_verbosity = verbose
log_min_error_statement = error
});
my ($id, $key) = issue($node);

# Statement text and parameters travel apart, as from any driver.  pgbench sends
# parameters by the extended protocol.
my $file = PostgreSQL::Test::Utils::tempdir() . '/script';

append_to_file($file, q{
BEGIN;
SELECT label FROM apikey_login(:key);
SELECT apikey_authorize('web', 'production', 'read');
COMMIT;
SELECT apikey_authorize(:key, 'web', 'production', 'read');
SELECT reason FROM apikey_explain(:key, 'web', 'production', 'read');
SELECT label FROM apikey_verify(:key);
});
$node->command_ok(
	[ 'pgbench', '-n', '-t', '1', '-M', 'extended', '-D', "key=$key", '-f', $file, 'postgres' ],
	'every way to use a key, by parameter');
$node->safe_psql('postgres', "SELECT apikey_disable('$id')");
$node->command_fails_like(
	[ 'pgbench', '-n', '-t', '1', '-M', 'extended', '-D', "key=$key", '-f', $file, 'postgres' ],
	qr/invalid API key/, 'a refusal');

my $log = slurp_file($node->logfile);
unlike($log, qr/\Q$key\E/, 'the log has no key in it');
like($log, qr/ERROR:  28000: invalid API key/, 'it has the refusal');
like($log, qr/DETAIL:  key is disabled/, 'and its reason');

# What an operator gave as the reason is there too, and nowhere else.
foreach my $give ([ "apikey_disable('$id', 'looks odd')", 'key is disabled: looks odd' ],
	[ "apikey_enable('$id'), apikey_suspend('acme', 'unpaid invoice')", 'organization is suspended: unpaid invoice' ])
{
	my ($call, $reason) = @$give;
	my $from = -s $node->logfile;
	my $told = '';

	$node->safe_psql('postgres', "SELECT $call");
	foreach my $use ("SELECT apikey_login('$key')", "SELECT apikey_require('$key', 'web', 'production', 'read')",
		"SELECT apikey_spend('$key', 1)", "SET apikey.key = '$key'; SELECT apikey_create('acme', 'x')")
	{
		$node->psql('postgres', $use, stderr => \my $stderr);
		$told .= $stderr;
	}
	is(() = slurp_file($node->logfile, $from) =~ /DETAIL:  \Q$reason\E$/mg, 4, "$reason: in the log");
	unlike($told, qr/odd|invoice/, "$reason: the client is not told");
}
$node->safe_psql('postgres', "SELECT apikey_resume('acme'), apikey_disable('$id')");

# The client is told one thing, whatever the reason.  A literal is the client's
# own doing; even so an error of ours hides the statement from the log.
my %told;
my $revoked = (issue($node))[1];
foreach my $bad ($key, $revoked =~ s/.$/substr($&, 0, 1) eq 'x' ? 'y' : 'x'/er, 'junk', '')
{
	my ($status, undef, $stderr) =
	  $node->psql('postgres', "SELECT apikey_login('$bad')");

	isnt($status, 0, 'refused');
	$stderr =~ s/^psql:<stdin>:\d+: //;
	$told{$stderr} = 1;
}
is(scalar keys %told, 1, 'in the same words');
unlike((keys %told)[0], qr/disabled|expired|unknown|revoked/, 'without a reason');
$node->safe_psql('postgres', "SELECT apikey_enable('$id')");
foreach my $statement ("SELECT apikey_authorize('$key', 'web', 'production', 'frobnicate')",
	"BEGIN; SELECT apikey_login('$key'); SELECT apikey_require('mars', 'production', 'read')",
	map("BEGIN READ ONLY; SELECT $_", "apikey_spend('$key', 1)", "apikey_derive('$key', 'x')",
		"apikey_revoke_self('$key')", "FROM apikey_report_leak('x=$key')",
		qq{apikey_scanner_alert('[{"token": "$key", "type": "apikey"}]')}))
{
	my ($status) = $node->psql('postgres', $statement);

	isnt($status, 0, 'an error in a statement with a literal');
}
unlike(slurp_file($node->logfile), qr/\Q$key\E/, 'our errors do not log the statement');

# It can be found there, if it is: log_statement writes literals
$node->safe_psql('postgres', "SET log_statement = 'all';
	SELECT apikey_authorize('$key', 'web', 'production', 'read')");
like(slurp_file($node->logfile), qr/\Q$key\E/, 'log_statement does, as documented');

done_testing();
