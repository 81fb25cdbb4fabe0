# Kill the server again and again while keys are made and revoked with
# synchronous_commit off: no acknowledged revoke is lost, and no key is half made.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Apikey;

use constant ROUNDS => 20;

# the WAL writer sleeps, so that only what is forced reaches the disk
my $node = start_node('crash', conf => q{
fsync = on
synchronous_commit = off
wal_writer_delay = 10s
autovacuum = off
});

$node->safe_psql('postgres', q{
	CREATE TABLE plain (round int PRIMARY KEY, state text);
	INSERT INTO plain SELECT r, 'before' FROM generate_series(1, 20) r;
	CREATE TABLE token (round int, key_id uuid, key text);
	INSERT INTO token SELECT r, k.* FROM generate_series(1, 20) r,
		apikey_create('acme', 'round ' || r,
			'[{"project": "web", "environment": "production", "level": "write"}]') k;
	CHECKPOINT;
});

my $create = q{
	SELECT count(*) FROM generate_series(1, 20) i, apikey_create('acme', 'more ' || i,
		'[{"project": "web", "environment": "production", "level": "read"},
		  {"project": "web", "environment": "development", "level": "read"}]')};
my ($lost_revokes, $lost_updates) = (0, 0);
for my $round (1 .. ROUNDS)
{
	# The revoke flushes the keys that were made before it; what comes after it
	# may be lost, as a whole.
	$node->safe_psql('postgres', $create);
	$node->safe_psql('postgres',
		"SELECT apikey_revoke(key_id) FROM token WHERE round = $round");
	$node->safe_psql('postgres', $create);
	$node->safe_psql('postgres',
		"UPDATE plain SET state = 'after' WHERE round = $round");
	$node->stop('immediate');
	$node->start;
	$lost_revokes += $node->safe_psql('postgres', qq{
		SELECT count(*) FROM token WHERE round = $round
		AND apikey_authorize(key, 'web', 'production', 'read')});
	$lost_updates += $node->safe_psql('postgres',
		"SELECT count(*) FROM plain WHERE round = $round AND state <> 'after'");
}
is($lost_revokes, 0, 'no acknowledged revoke was lost');
cmp_ok($lost_updates, '>', 0,
	"but plain updates were ($lost_updates of 20): a lost revoke would have been seen");
is( $node->safe_psql('postgres', q{
		SELECT count(*) FROM apikey_keys k WHERE label LIKE 'more %'
		AND (SELECT count(*) FROM apikey_grants g WHERE g.key_id = k.key_id) <> 2}),
	0, 'every key has all its grants');
cmp_ok($node->safe_psql('postgres', "SELECT count(*) FROM apikey_keys WHERE label LIKE 'more %'"),
	'>=', 20 * ROUNDS, 'of those that a revoke made durable, and perhaps of others');

# the same for every other change that takes something away
my ($id, $key) = issue($node);
my @changes = (
	[ "apikey_disable('$id')", "apikey_enable('$id')" ],
	[ "apikey_grant('$id', 'web', 'production', 'read')",
		"apikey_grant('$id', 'web', 'production', 'write')" ],
	[ "apikey_ungrant('$id', 'web', 'production')",
		"apikey_grant('$id', 'web', 'production', 'write')" ],
	[ "apikey_rename_project('web', 'wiki')", "apikey_rename_project('wiki', 'web')" ],
	[ "apikey_remove_project('web')", "apikey_add_project('acme', 'web')" ],
	[ "apikey_suspend('acme')", "apikey_resume('acme')" ],
	[ "apikey_delete('$id')", undef ]);

foreach my $change (@changes)
{
	my ($do, $undo) = @$change;

	$node->safe_psql('postgres', 'CHECKPOINT');
	$node->safe_psql('postgres', "SELECT $do");
	$node->stop('immediate');
	$node->start;
	is(may($node, $key), 'f', "$do is not lost" =~ s/'[0-9a-f-]{36}'/key/r);
	$node->safe_psql('postgres', "SELECT $undo") if defined $undo;
}

done_testing();
