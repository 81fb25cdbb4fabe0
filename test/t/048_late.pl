# A snapshot sees a commit whose messages are still to come: no session has a new key with
# old grants.

use strict;
use warnings;
use File::Basename;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Apikey;

# who notifies waits for each COMMIT that does
my $node = start_node('late', conf => "apikey.notify = off\n");
my $dir = $node->basedir;
my $held = "$dir/held";

my $include = `$ENV{PG_CONFIG} --includedir-server` =~ s/\s+$//r;

PostgreSQL::Test::Utils::system_or_bail('gcc', '-shared', '-fPIC', '-I', $include, '-o', "$dir/late.so", dirname(__FILE__) . '/late.c');
$node->safe_psql('postgres', "CREATE FUNCTION hold_next_commit(cstring) RETURNS void LANGUAGE c STRICT AS '$dir/late.so'");

# Two keys with the same part, see base/inval.h: a change of one has sessions read the other
# anew, though nothing has named it.
$node->safe_psql('postgres', q{
	CREATE TABLE done ();
	CREATE TABLE made AS SELECT c.*, (uuid_hash(c.key_id)::bigint & 4294967295) % 128 AS part FROM generate_series(1, 300) i,
		apikey_create('acme', left('test', 4 + 0 * i), '[{"project": "web", "environment": "production", "level": "write"}]') c});
my ($id, $key, $neighbour) = split /\|/, $node->safe_psql('postgres', q{
	SELECT a.key_id, a.key, b.key_id FROM made a JOIN made b ON a.part = b.part AND a.key_id < b.key_id LIMIT 1});
ok($neighbour, 'two keys have the same part');

my $committer = $node->background_psql('postgres', on_error_stop => 1);
my $asker = $node->background_psql('postgres', on_error_stop => 1);
my $ask = "SELECT reason FROM apikey_explain('$key', 'web', 'production', 'write');";

# Do this in one transaction whose COMMIT is held up; what does another session say then,
# having read the key anew, and when the messages have come?
sub meanwhile
{
	my ($changes) = @_;
	my @answers = $asker->query_safe($ask);

	append_to_file($held, '');
	$committer->query_safe("BEGIN; $changes; INSERT INTO done SELECT; SELECT hold_next_commit('$held');");
	$committer->query_until(qr/committing/, "\\echo committing\nCOMMIT;\n");
	$node->poll_query_until('postgres', 'SELECT count(*) = 1 FROM done') or die 'no commit';
	push @answers, $asker->query_safe($ask);
	$node->safe_psql('postgres', "SELECT apikey_update('$neighbour', label => 'changed' || random())");
	push @answers, $asker->query_safe($ask);
	unlink $held;
	$committer->query_safe('TRUNCATE done;');
	push @answers, $asker->query_safe($ask);
	return \@answers;
}

my $none = 'no grant on the project and environment';
my $ungrant = "SELECT apikey_ungrant('$id', 'web', 'production')";

$node->safe_psql('postgres', "SELECT apikey_disable('$id')");
is_deeply(meanwhile("$ungrant, apikey_enable('$id')"),
	[ ('key is disabled') x 2, ($none) x 2 ], 'a key that is enabled without a grant never has it');
$node->safe_psql('postgres', "SELECT apikey_grant('$id', 'web', 'production', 'write'), apikey_suspend('acme')");
is_deeply(meanwhile("$ungrant, apikey_resume('acme')"),
	[ ('organization is suspended') x 2, ($none) x 2 ], 'nor one whose organization is resumed');
$committer->quit;
$asker->quit;
done_testing();
