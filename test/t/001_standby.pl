# A hot standby decides like the primary, also in transactions that are open
# when a change arrives, and after its promotion.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Apikey;

my $primary = start_node('primary', allows_streaming => 1);
my ($id, $key) = issue($primary);

$primary->safe_psql('postgres', q{
	CREATE TABLE doc (project text, environment text, body text);
	INSERT INTO doc VALUES ('web', 'production', 'mine'), ('mars', 'production', 'theirs');
	CREATE INDEX ON doc (project, environment);
	SET client_min_messages = error;
	SELECT apikey_protect('doc', 'project', 'environment');
	CREATE ROLE app;
	GRANT SELECT ON doc TO app;
	CREATE TABLE bill (organization text, n int);
	INSERT INTO bill VALUES ('acme', 7), ('globex', 8);
	CREATE INDEX ON bill (organization, n);
	CREATE TABLE page (project text, environment text, n int NOT NULL);
	INSERT INTO page SELECT CASE WHEN n % 3 = 0 THEN 'web' ELSE 'mars' END, 'production', n FROM generate_series(1, 900) n;
	CREATE INDEX ON page (n);
	CREATE INDEX ON page (project, n);
	ANALYZE page;
});
$primary->safe_psql('postgres', "SELECT apikey_set_organization_level('$id', 'read')");
$primary->backup('b');

my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'b', has_streaming => 1);
$standby->append_conf('postgresql.conf', 'hot_standby_feedback = on');
$standby->start;
$primary->wait_for_catchup($standby);

is(may($standby, $key), 't', 'a standby decides');
is( $standby->safe_psql('postgres', qq{
		SET ROLE app;
		BEGIN READ ONLY;
		SELECT label FROM apikey_login('$key');
		SELECT body FROM doc;
		COMMIT;
		SELECT count(*) FROM doc}),
	"test\nmine\n0",
	'log-in and row-level security in a read-only transaction');
is( $standby->safe_psql('postgres', "SELECT label FROM apikey_verify('$key')"),
	'test', 'apikey_verify there');

# A session with a warm cache and an old snapshot
my $session = $standby->background_psql('postgres', on_error_stop => 1);
my $ask = "SELECT apikey_authorize('$key', 'web', 'production', 'write');";
my $count = 'EXECUTE count;';
$session->query_safe("SET apikey.key = '$key'; SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan;
	PREPARE count AS SELECT count(*) FROM doc WHERE apikey_authorize(project, 'production', 'write');
	PREPARE page AS SELECT n FROM page WHERE apikey_authorize(project, environment, 'write') ORDER BY n DESC LIMIT 3;
	PREPARE newest AS SELECT n FROM bill WHERE apikey_authorize_organization(organization, 'read') ORDER BY n DESC LIMIT 1;");
like($session->query_safe('EXPLAIN EXECUTE count;'),
	qr/Index Cond: \(project = ANY \(apikey_projects\(/, 'rows are found by an index there');
like($session->query_safe('EXPLAIN EXECUTE newest;'),
	qr/Index Cond: \(organization = apikey_internal\.organization\(/, 'and those of its organization');
like($session->query_safe('EXPLAIN EXECUTE page;'), qr/apikey ordered scan/, 'there is an ordered scan');
$session->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ;');
is($session->query_safe($ask) . $session->query_safe($count), 't1', 'warm');
is($session->query_safe('EXECUTE newest;'), '7', 'by organization, too');
is($session->query_safe('EXECUTE page;'), "900\n897\n894", 'and in order');
$session->query_safe("DECLARE pages CURSOR FOR SELECT n FROM page WHERE apikey_authorize(project, environment, 'write') ORDER BY n DESC;");
is($session->query_safe('FETCH 2 FROM pages;'), "900\n897", 'an ordered scan has begun');
$primary->safe_psql('postgres', "SELECT apikey_disable('$id')");
$primary->wait_for_catchup($standby);
is($session->query_safe($ask) . $session->query_safe($count), 'f0',
	'disabled: refused in an open transaction once replayed');
is($session->query_safe('FETCH 2 FROM pages;') . $session->query_safe('EXECUTE page;'), '', 'an ordered scan ends');
$primary->safe_psql('postgres', "SELECT apikey_enable('$id')");
$primary->wait_for_catchup($standby);
is($session->query_safe($ask) . $session->query_safe($count), 't1', 'enabled: allowed again');

$primary->safe_psql('postgres', "SELECT apikey_suspend('acme', 'unpaid invoice')");
$primary->wait_for_catchup($standby);
is($session->query_safe($ask) . $session->query_safe($count), 'f0', 'its organization suspended: refused likewise');
is($session->query_safe('EXECUTE newest;'), '', 'by organization, too');
is( $standby->safe_psql('postgres', "SELECT reason, status FROM apikey_explain('$key', 'web', 'production', 'write'), apikey_keys"),
	'organization is suspended: unpaid invoice|suspended', 'and why');
is( $standby->psql('postgres', "\\set VERBOSITY sqlstate\nSELECT apikey_resume('acme')", stderr => \my $refused),
	3, 'a standby resumes nothing');
like($refused, qr/25006/, 'as it changes nothing');
$primary->safe_psql('postgres', "SELECT apikey_resume('acme')");
$primary->wait_for_catchup($standby);
is($session->query_safe($ask) . $session->query_safe($count), 't1', 'resumed: allowed again');

# a quarantine; here is the original, with a standby
my $quarantine = "apikey_quarantine('primary', 'postgres'";
is($primary->psql('postgres', "SELECT $quarantine)", stderr => \my $original), 3, 'the original is not quarantined by accident');
like($original, qr/this may be the original, not a copy.*are connected to it: 1\./s, 'as a standby follows it');
my ($insist) = $original =~ /insist => ('[^']+')/;
$primary->safe_psql('postgres', "SELECT $quarantine, insist => $insist)");
$primary->wait_for_catchup($standby);
is($session->query_safe($ask) . $session->query_safe($count), 'f0', 'but if one insists, and then on the standby, too');
$primary->safe_psql('postgres', 'SELECT apikey_lift_quarantine()');
$primary->wait_for_catchup($standby);
is($session->query_safe($ask) . $session->query_safe($count), 't1', 'lifted: allowed again');

# rotated, however far behind the clock of the standby may be
my ($rotating_id, $old) = issue($primary);
my $asked = "SELECT apikey_authorize('$old', 'web', 'production', 'write'), status FROM apikey_find_keys('$old');";
my $new = $primary->safe_psql('postgres', "SELECT key FROM apikey_rotate('$rotating_id', '1 hour')");
$primary->wait_for_catchup($standby);
is($session->query_safe($asked), 't|active', 'during an overlap the old secret is good there');
is($standby->safe_psql('postgres', "SELECT overlap_until > now() FROM apikey_keys WHERE key_id = '$rotating_id'"), 't', 'which is shown');
$primary->safe_psql('postgres', "SELECT apikey_finish_rotation('$rotating_id')");
$primary->wait_for_catchup($standby);
is($session->query_safe($asked), 'f|superseded', 'finished: superseded in an open transaction once replayed');
is(may($standby, $new), 't', 'the new one is good');
is($standby->safe_psql('postgres', "SELECT expires_at FROM apikey_secret WHERE key_id = '$rotating_id'"), '-infinity', 'which is over by every clock');
$primary->safe_psql('postgres', "SELECT apikey_delete('$rotating_id')");

# With remote_apply no waiting is needed.  No snapshot is held here: for one that
# rows are pruned behind, replay would wait.
$session->query_safe('COMMIT;');
$primary->append_conf('postgresql.conf', "synchronous_standby_names = '*'");
$primary->reload;
$primary->poll_query_until('postgres',
	"SELECT sync_state IN ('sync', 'quorum') FROM pg_stat_replication")
  or die 'the standby did not become synchronous';
my $wrong = 0;
for (1 .. 10)
{
	$primary->safe_psql('postgres',
		"SET synchronous_commit = remote_apply; SELECT apikey_disable('$id')");
	$wrong++ if $session->query_safe($ask) ne 'f';
	$primary->safe_psql('postgres',
		"SET synchronous_commit = remote_apply; SELECT apikey_enable('$id')");
	$wrong++ if $session->query_safe($ask) ne 't';
	$primary->safe_psql('postgres',
		"SET synchronous_commit = remote_apply; SELECT apikey_suspend('acme')");
	$wrong++ if $session->query_safe($ask) ne 'f';
	$primary->safe_psql('postgres',
		"SET synchronous_commit = remote_apply; SELECT apikey_resume('acme')");
	$wrong++ if $session->query_safe($ask) ne 't';
}
is($wrong, 0, 'under remote_apply the standby obeys as soon as the change returns');

my $ask_new = "SELECT apikey_authorize('$key', 'shop', 'production', 'write');";
$primary->safe_psql('postgres', q{
	SET synchronous_commit = remote_apply;
	SELECT apikey_rename_project('web', 'shop')});
is($session->query_safe($ask) . $session->query_safe($ask_new), 'ft', 'a project renamed on the primary');
$primary->safe_psql('postgres', q{
	SET synchronous_commit = remote_apply;
	SELECT apikey_rename_project('shop', 'web')});
is($session->query_safe($ask) . $session->query_safe($ask_new), 'tf', 'and renamed back');

$primary->safe_psql('postgres', q{
	SET synchronous_commit = remote_apply;
	SELECT apikey_remove_project('web')});
is($session->query_safe($ask) . $session->query_safe($count), 'f0', 'a project removed on the primary');
$session->quit;

$primary->stop('immediate');
$standby->promote;
is( $standby->safe_psql('postgres', q{
		SELECT apikey_add_project('acme', 'web') IS NOT NULL;}),
	't', 'the promoted standby changes the registry');
my ($next_id, $next) = issue($standby);
is(may($standby, $next), 't', 'and issues keys');
is( $standby->safe_psql('postgres', "SET apikey.key = '$next'; SET enable_seqscan = off;
	SELECT n FROM page WHERE apikey_authorize(project, environment, 'write') ORDER BY n DESC LIMIT 3"),
	"900\n897\n894", 'and has the rows of these in order');
$standby->safe_psql('postgres', "SELECT apikey_revoke('$next_id')");
is(may($standby, $next), 'f', 'and revokes them');

done_testing();
