# What apikey_publish publishes, to a database of the same server: just what decides, by
# organization too, with the heartbeat; and what a database that subscribes refuses.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Apikey;

my $node = start_node('publish', allows_streaming => 'logical', conf => q{
shared_preload_libraries = 'apikey'
apikey.flush_interval = 1
max_worker_processes = 32
max_logical_replication_workers = 16
max_sync_workers_per_subscription = 9
wal_retrieve_retry_interval = '100ms'
});
my ($id, $key) = issue($node);
my $mars = $node->safe_psql('postgres', q{SELECT key_id FROM apikey_create('globex', 'mars', '[{"project": "mars", "environment": "production", "level": "write"}]')});
my $old = $node->safe_psql('postgres', q{SELECT apikey_import('acme', 'acme', 'sha256', encode(sha256('acme'), 'hex')), apikey_import('globex', 'globex', 'sha256', encode(sha256('globex'), 'hex'))});

# SQLSTATE and message of what fails, or nothing
sub call
{
	my ($database, $sql) = @_;

	$node->psql($database, "\\set VERBOSITY verbose\n$sql", stderr => \my $err);
	return $err =~ /ERROR:  (\w+: .*)/ ? $1 : '';
}

# A database that subscribes to a publication
sub follow
{
	my ($database, $publication) = @_;
	my $connection = $node->connstr('postgres') =~ s/'/''/gr;

	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql('postgres', "SELECT pg_create_logical_replication_slot('$database', 'pgoutput')");
	$node->safe_psql($database, "SET client_min_messages = error; CREATE EXTENSION apikey CASCADE;
		CREATE SUBSCRIPTION $database CONNECTION '$connection' PUBLICATION $publication WITH (create_slot = false)");
	$node->poll_query_until($database, "SELECT bool_and(srsubstate = 'r') FROM pg_subscription_rel") or die 'no copy';
}

# ---------------------------------------------------------------- publishing

my $heart = 'SELECT at FROM apikey_heartbeat';
my $published = q{SELECT tablename FROM pg_publication_tables WHERE pubname = 'apikey' ORDER BY 1};

$node->safe_psql('postgres', 'SELECT apikey_publish()');
is($node->safe_psql('postgres', $published), join("\n", map "apikey_$_", qw(budget derivation environment grant heartbeat key project secret suspension)),
	'what decides, and what refers to it');
$node->safe_psql('postgres', 'SELECT apikey_publish()');
is($node->safe_psql('postgres', q{SELECT count(*), max(detail ->> 'publication') FROM apikey_events WHERE action = 'publish'}), '1|apikey', 'one event');
$node->safe_psql('postgres', 'ALTER PUBLICATION apikey DROP TABLE apikey_key');
$node->safe_psql('postgres', 'SELECT apikey_publish()');
is($node->safe_psql('postgres', $published) =~ /apikey_key/, 1, 'brought up to date');
$node->safe_psql('postgres', "SELECT apikey_publish('region', '{globex, globex}')");

$node->safe_psql('postgres', 'CREATE TABLE mine (n int PRIMARY KEY); CREATE PUBLICATION mine FOR TABLE mine; CREATE PUBLICATION all_tables FOR ALL TABLES');
like(call('postgres', $_->[0]), qr/^$_->[1]/, $_->[0]) foreach
	[ "SELECT apikey_publish(NULL)", '22004' ], [ "SELECT apikey_publish('')", '22023' ], [ "SELECT apikey_publish(repeat('x', 64))", '22023' ],
	[ "SELECT apikey_publish('x', '{}')", '22023' ], [ "SELECT apikey_publish('x', '{*}')", '22023' ], [ "SELECT apikey_publish('x', array[''])", '22023' ],
	[ "SELECT apikey_publish('x', '{NULL}')", '22004' ], [ "SELECT apikey_publish('mine')", '42710: publication "mine" exists' ],
	[ "SELECT apikey_publish('all_tables')", '42710' ], [ "SELECT apikey_publish('apikey', '{acme}')", '42710' ], [ "SELECT apikey_publish('region')", '42710' ],
	[ "BEGIN; SELECT apikey_login('$key'); SELECT apikey_publish()", '42501' ];
is(call('postgres', "SELECT apikey_publish('region', '{globex}')"), '', 'for the same organizations');

# --------------------------------------------------------------- subscribing

follow('whole', 'apikey');
follow('globex', 'region');
is(may($node, $key, 'whole') . may($node, $key, 'globex'), 'tf', 'a key of the other region is not there');
my $foreign = join ' UNION ALL ', map "SELECT organization FROM apikey_$_", qw(project environment suspension key secret grant);
is($node->safe_psql('globex', "SELECT DISTINCT organization FROM ($foreign) t"), 'globex', 'nor anything else of others');
is($node->safe_psql('globex', 'SELECT count(*) FROM apikey_secret'), 1, 'but its own secrets');

# Revocations pass, and what moves across the filter comes and goes.
sub arrive
{
	$node->wait_for_catchup($_) foreach qw(whole globex);
}

is(call('postgres', $_), '', "filtered: $_") foreach "SELECT apikey_revoke('$mars')", "SELECT apikey_disable('$id')", "SELECT apikey_enable('$id')",
	"SELECT apikey_rotate('$id', '1 hour')", "SELECT apikey_suspend('acme')", "SELECT apikey_resume('acme')", "SELECT apikey_rename_project('web', 'wiki')",
	"SELECT apikey_rename_project('wiki', 'web')", "SELECT apikey_ungrant('$id', 'web', 'production')", "SELECT apikey_grant('$id', 'web', 'production', 'write')",
	"SELECT apikey_set_budget('$id', 5)";
arrive();
is($node->safe_psql('globex', "SELECT revoked_at IS NOT NULL FROM apikey_key WHERE key_id = '$mars'"), 't', 'revoked in the region');
like($node->safe_psql('postgres', q{SELECT rowfilter FROM pg_publication_tables WHERE pubname = 'region' AND tablename = 'apikey_suspension'}), qr/'globex'.*'\*'/, 'with what stands for all');
$node->safe_psql('postgres', "INSERT INTO apikey_key (key_id, organization, prefix, label) SELECT gen_random_uuid(), 'acme', 'apk', 'moves'");
$node->safe_psql('postgres', "UPDATE apikey_key SET organization = 'globex' WHERE label = 'moves'");
arrive();
is($node->safe_psql('globex', "SELECT count(*) FROM apikey_key WHERE label = 'moves'"), 1, 'a key that moves in');
$node->safe_psql('postgres', "UPDATE apikey_key SET organization = 'acme' WHERE label = 'moves'");
arrive();
is($node->safe_psql('globex', "SELECT count(*) FROM apikey_key WHERE label = 'moves'"), 0, 'and out');
is($node->safe_psql('whole', 'SELECT count(*) FROM apikey_budget'), 0, 'no budgets');

# ------------------------------------------------------------------ heartbeat

ok($node->poll_query_until('whole', "SELECT at > '" . $node->safe_psql('whole', $heart) . "' AND every = '1 s' FROM apikey_heartbeat"), 'the heartbeat goes on') for 1 .. 2;
is($node->safe_psql('globex', 'SELECT count(*) FROM apikey_heartbeat'), 1, 'in the region, too');
is($node->safe_psql('postgres', q{SELECT count(*) FROM apikey_events WHERE detail ->> 'table' = 'apikey_heartbeat'}), 0, 'and is no event');

# ------------------------------------------------------------------- refused

my $text = $node->safe_psql('postgres', "SELECT key FROM apikey_rotate('$id')");
arrive();
my $before = $node->safe_psql('whole', 'SELECT count(*) FROM apikey_events');
like(call('whole', $_), qr/^55000: API keys cannot be changed in a database that subscribes/, "refused: $_") foreach
	"SELECT apikey_create('acme', 'x')", "SELECT apikey_import('acme', 'x', 'sha256', repeat('0', 64))", "SELECT apikey_rotate('$id')",
	"SELECT apikey_update('$id', label => 'x')", "SELECT apikey_grant('$id', 'web', 'production', 'read')", "SELECT apikey_ungrant('$id', 'web', 'production')",
	"SELECT apikey_set_organization_level('$id', 'read')", "SELECT apikey_set_budget('$id', 5)", "SELECT apikey_set_budget('$id', NULL)",
	"SELECT apikey_disable('$id')", "SELECT apikey_enable('$id')", "SELECT apikey_revoke('$id')", "SELECT apikey_revoke('$mars')", "SELECT apikey_delete('$id')",
	"SELECT apikey_revoke_self('$text')", "SELECT apikey_derive('$text', 'x')", "SELECT apikey_spend('$text', 1)", "SELECT apikey_report_leak('$text', 'x')",
	"SELECT apikey_report_leak('nothing', 'x')", q{SELECT apikey_scanner_alert('[{"token": "x", "type": "y"}]')}, "SELECT apikey_suspend('acme')", "SELECT apikey_resume('acme')",
	"SELECT apikey_add_project('acme', 'web')", "SELECT apikey_remove_project('web')", "SELECT apikey_rename_project('web', 'x')", "SELECT apikey_add_environment('web', 'x')",
	"SELECT apikey_remove_environment('web', 'production')", 'SELECT apikey_purge_derived(now())',
	"UPDATE apikey_key SET label = 'x'", 'DELETE FROM apikey_grant', 'TRUNCATE apikey_key CASCADE', "INSERT INTO apikey_suspension VALUES ('x', now())",
	"SET session_replication_role = replica; DELETE FROM apikey_secret", "INSERT INTO apikey_budget VALUES ('$id', 1, 1, NULL, now(), NULL, 'acme')",
	"COPY apikey_project FROM STDIN;\nx\ty\n\\.\n";
is($node->safe_psql('whole', 'SELECT count(*) FROM apikey_events'), $before, 'nothing is half done');
is($node->safe_psql('whole', 'SELECT apikey_purge_events(now()) >= 0'), 't', 'but events of its own are');
is($node->safe_psql('whole', "SELECT count(*) FROM apikey_verify('$text')"), 1, 'keys are used');
$node->safe_psql('whole', 'CREATE TABLE project (id text PRIMARY KEY, organization text)');
like(call('whole', "SELECT apikey_attach_projects('project', 'id', 'organization'); INSERT INTO project VALUES ('new', 'acme')"), qr/^55000/, 'nor by a table that is attached');

# An attached table that is replicated besides: its projects would come twice.
$node->safe_psql($_, q{CREATE TABLE site (id text PRIMARY KEY, organization text); SELECT apikey_attach_projects('site', 'id', 'organization')}) foreach qw(postgres whole);
$node->safe_psql('postgres', 'CREATE PUBLICATION site FOR TABLE site');
$node->safe_psql('postgres', q{SELECT pg_create_logical_replication_slot('site', 'pgoutput')});
$node->safe_psql('whole', "CREATE SUBSCRIPTION site CONNECTION '@{[ $node->connstr('postgres') =~ s/'/''/gr ]}' PUBLICATION site WITH (create_slot = false)");
$node->safe_psql('whole', 'ALTER SUBSCRIPTION whole DISABLE');
$node->safe_psql('postgres', q{INSERT INTO site VALUES ('blog', 'acme')});
ok($node->poll_query_until('whole', 'SELECT count(*) = 1 FROM site'), 'an attached table that is replicated, too');
is($node->safe_psql('whole', q{SELECT count(*) FROM apikey_project WHERE project = 'blog'}), 0, 'registers nothing');
$node->safe_psql('whole', 'ALTER SUBSCRIPTION whole ENABLE');
ok($node->poll_query_until('whole', q{SELECT count(*) = 1 FROM apikey_project WHERE project = 'blog'}), 'so that the registry can come');
$node->safe_psql('postgres', 'DELETE FROM site');
ok($node->poll_query_until('whole', q{SELECT count(*) = 0 FROM (SELECT id FROM site UNION ALL SELECT project FROM apikey_project) s (id) WHERE id = 'blog'}), 'when it goes, either');
$node->safe_psql('whole', 'DROP SUBSCRIPTION site');

# ------------------------------------------------------------------ TRUNCATE

$node->safe_psql('postgres', 'TRUNCATE apikey_key CASCADE');
arrive();
is(may($node, $text, 'whole') . $node->safe_psql('globex', 'SELECT count(*) FROM apikey_key'), 'f0', 'TRUNCATE is obeyed, and stops nothing');

$node->safe_psql($_, "DROP SUBSCRIPTION $_") foreach qw(whole globex);
is(call('whole', "SELECT apikey_create('acme', 'x')"), '', 'without a subscription keys are made again');
$node->stop;
done_testing();
