# What takes rights away and cannot wait: at once here, and then, by the time that the
# answer says so, on a hot standby and in a database that subscribes.
#
# One standby, which is synchronous and hangs in several ways, and one subscriber, in
# another database of the primary.

use strict;
use warnings;
use JSON::PP qw(decode_json);
use Time::HiRes qw(time);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Apikey;

my $primary = start_node('primary', allows_streaming => 'logical',
	conf => "wal_receiver_status_interval = 10s\n");
$primary->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'b', has_streaming => 1);
# a commit is replayed late: what is said too early shows
$standby->append_conf('postgresql.conf', "recovery_min_apply_delay = 30ms\n");
$standby->start;

my $connection = $primary->connstr('postgres') =~ s/'/''/gr;
$primary->safe_psql('postgres', q{
	CREATE PUBLICATION apikey FOR TABLE apikey_project, apikey_environment, apikey_suspension,
		apikey_key, apikey_secret, apikey_grant;
	SELECT pg_create_logical_replication_slot('verifier', 'pgoutput');
	CREATE DATABASE verifier});
$primary->safe_psql('verifier', 'SET client_min_messages = warning; CREATE EXTENSION apikey CASCADE');
$primary->safe_psql('verifier',
	"CREATE SUBSCRIPTION verifier CONNECTION '$connection' PUBLICATION apikey WITH (create_slot = false)");
$primary->poll_query_until('verifier',
	"SELECT count(*) = 6 AND bool_and(srsubstate = 'r') FROM pg_subscription_rel") or die 'no initial copy';
$primary->safe_psql('postgres', "ALTER SYSTEM SET synchronous_standby_names = 'standby'");
$primary->reload;
sub synchronous
{
	$primary->poll_query_until('postgres',
		"SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync' AND state = 'streaming'")
	  or die 'the standby did not become synchronous';
}
synchronous();

# Sessions with warm caches, and one that calls
my %asks = (
	primary => $primary->background_psql('postgres'),
	standby => $standby->background_psql('postgres'),
	verifier => $primary->background_psql('verifier'));
my $caller = $primary->background_psql('postgres');
$caller->query_safe('SET synchronous_commit = remote_apply;');

# "primary standby verifier" in this order: may the key do it there?
sub asked
{
	my ($key) = @_;

	return join '', map $asks{$_}->query_safe(
		"SELECT apikey_authorize('$key', 'web', 'production', 'write');"), qw(primary standby verifier);
}

# What a CALL answers: everywhere, and "kind:name state has_it" of each follower.
sub answer
{
	my ($call) = @_;
	my ($everywhere, $followers) = split /\|/, $caller->query_safe("CALL $call;"), 2;

	return join ', ', $everywhere, map "$_->{kind}:$_->{name} $_->{state} " . ($_->{has_it} ? 't' : 'f'),
	  @{ decode_json($followers) };
}

# A new key that all accept
sub issue_everywhere
{
	my @key = issue($primary);

	like(answer("apikey_wait_everywhere('60 s')"), qr/^t,/, 'what is committed is waited for');
	is(asked($key[1]), 'ttt', 'all accept a new key');
	return @key;
}

my $all = 't, standby:standby streaming t, subscriber:verifier streaming t';

# ---------------------------------------------------------------- replicas

is( $primary->safe_psql('postgres', q{
		SELECT name, kind, state, synchronous, slot, lag_bytes >= 0, lag < '1 min', retained_bytes IS NOT NULL
		FROM apikey_replicas ORDER BY name}),
	"standby|standby|streaming|t||t|t|f\nverifier|subscriber|streaming|f|verifier|t|t|t", 'who follows');
is($primary->safe_psql('verifier', 'SELECT name FROM apikey_replicas'), 'standby',
	'a subscriber of one database is none of another');
is($standby->safe_psql('postgres', 'SELECT count(*) FROM apikey_replicas'), '0', 'nobody follows the standby');
is( $primary->safe_psql('postgres', q{
		CREATE ROLE auditor;
		GRANT SELECT ON apikey_replicas TO auditor;
		SET ROLE auditor;
		SELECT count(state), count(reported_at) FROM apikey_replicas}),
	'2|2', 'whoever may read the view sees all of it');
$primary->safe_psql('postgres', q{
	SELECT pg_create_logical_replication_slot('other_plugin', 'test_decoding');
	SELECT pg_create_physical_replication_slot('never_used')});
is($primary->safe_psql('postgres', 'SELECT count(*) FROM apikey_replicas'), '2',
	'neither a slot of another plugin nor one that was never used is a follower');
$primary->safe_psql('postgres', q{
	SELECT pg_drop_replication_slot('other_plugin'), pg_drop_replication_slot('never_used')});

# ----------------------------------------------------- what is said is true

my ($id, $key) = issue_everywhere();
my ($late, $partly) = (0, 0);
foreach my $round (1 .. 15)
{
	$partly++ if answer("apikey_disable_everywhere('$id', '8 s')") ne $all;
	$late++ if asked($key) ne 'fff';
	$primary->safe_psql('postgres', "SET synchronous_commit = local; SELECT apikey_enable('$id')");
	$partly++ if answer("apikey_wait_everywhere('8 s')") ne $all;
	$late++ if asked($key) ne 'ttt';
}
is($late, 0, 'who is said to have it has it');
is($partly, 0, 'and all have it, when there is time');

is(answer("apikey_ungrant_everywhere('$id', 'web', 'production', '60 s')"), $all, 'a grant is taken away');
is(asked($key), 'fff', 'everywhere');
($id, $key) = issue_everywhere();
is(answer("apikey_suspend_everywhere('acme', '60 s', 'unpaid')"), $all, 'an organization is suspended');
is(asked($key), 'fff', 'everywhere');
$primary->safe_psql('postgres', "SET synchronous_commit = local; SELECT apikey_resume('acme')");
is(answer("apikey_revoke_everywhere('$id', '60 s', 'left')"), $all, 'a key is revoked');
is(asked($key), 'fff', 'everywhere');
is(answer("apikey_revoke_everywhere('$id', '60 s')"), $all, 'once more: nothing is changed, and all have it');
is( $primary->safe_psql('postgres', "SELECT action, detail->>'reason' FROM apikey_events WHERE key_id = '$id' ORDER BY event_id"),
	"create|\nrevoke|left", 'recorded as by apikey_revoke');

# ------------------------------------------------------- a standby that hangs

($id, $key) = issue_everywhere();
$standby->safe_psql('postgres', 'SELECT pg_wal_replay_pause()');
$standby->poll_query_until('postgres', "SELECT pg_get_wal_replay_pause_state() = 'paused'") or die 'no pause';

my $hanging = $primary->background_psql('postgres', on_error_stop => 0);
my $blocked = $hanging->query_safe('SELECT pg_backend_pid();');
$hanging->query_until(qr/sent/, qq{
	SET synchronous_commit = remote_apply;
	\\echo sent
	SELECT apikey_revoke('$id');
	\\echo done
});
$primary->poll_query_until('postgres',
	"SELECT wait_event = 'SyncRep' FROM pg_stat_activity WHERE pid = $blocked") or die 'it does not hang';
is(asked($key), 'ttf', 'while a synchronous standby hangs, so does apikey_revoke, and the primary accepts the key');
is( $primary->psql('postgres', "SET lock_timeout = '200ms';\\set VERBOSITY sqlstate\nCALL apikey_revoke_everywhere('$id')",
		on_error_stop => 1, stderr => \my $err),
	3, 'its lock on the key keeps others away, as long as their lock_timeout lets it');
like($err, qr/55P03/, 'which says so');
is(asked($key), 'ttf', 'and nothing was done');

# other keys are revoked at once all the same, though commits that notify wait for each other
my ($stuck_id, $stuck) = ($id, $key);
($id, $key) = split /\|/, $asks{primary}->query_safe(q{SET synchronous_commit = local; SET apikey.notify = off;
	SELECT key_id, key FROM apikey_create('acme', 'test',
		'[{"project": "web", "environment": "production", "level": "write"}]');});
$asks{primary}->query_safe("SELECT apikey_authorize('$key', 'web', 'production', 'write');");
my $listener = $primary->background_psql('postgres');
$listener->query_safe('LISTEN apikey;');
my $began = time;
is( $primary->safe_psql('postgres', "CALL apikey_revoke_everywhere('$id', '300 ms')") =~ s/\|.*//r, 'f', 'who hangs is "not yet"');
cmp_ok(time - $began, '<', 30, 'and nobody waits for it');
is(asked($key), 'fff', 'the primary refuses, in a warm session');
$primary->psql('postgres', "CALL apikey_revoke_everywhere('$id', '0', 'once more')", stderr => \$err);
like($err, qr/WARNING:  channel "apikey" was not notified\nDETAIL:  Another transaction/, 'a message that cannot be sent is missed');
my $patient = $primary->background_psql('postgres');
$patient->query_until(qr/sent/, "\\echo sent\nCALL apikey_revoke_everywhere('$id', '1 h', 'and again');\n");
$primary->poll_query_until('postgres',
	"SELECT revoked_reason = 'and again' FROM apikey_keys WHERE key_id = '$id'") or die 'not revoked';
unlike($listener->query_safe('SELECT 1;'), qr/notification/, 'while one waits it is not sent');

$primary->safe_psql('postgres', "SELECT pg_cancel_backend($blocked)");
$hanging->query_until(qr/done/, "\n");
like($hanging->{stderr}, qr/WARNING:  canceling wait for synchronous replication/, 'a cancelled wait is a warning');
$hanging->{stderr} = '';
is(asked($stuck), 'ftf', 'and committed here');
my $heard = '';
for (my $n = 0; $n < 600 && $heard !~ /$id/; $n++)
{
	$heard .= $listener->query_safe('SELECT pg_sleep(0.05);');
}
like($heard, qr/"action": "revoke", "key_id": "$id"/, 'the message is sent when it can be');
$primary->safe_psql('postgres', "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'CALL %'");
like(answer("apikey_wait_everywhere('300 ms')"),
	qr/^f, standby:standby streaming f, subscriber:verifier streaming t/, 'all but the standby have it');
is(asked($stuck), 'ftf', 'the standby knows nothing of it, as was said');
like(answer("apikey_wait_everywhere('0')"), qr/^f, standby:standby streaming f,/, 'a timeout of 0 does not wait');
$standby->safe_psql('postgres', 'SELECT pg_wal_replay_resume()');
is(answer("apikey_wait_everywhere('60 s')"), $all, 'it goes on: all have it');
is(asked($stuck), 'fff', 'it refuses the key that it had accepted');

# stopped, so that its connection hangs, too
($id, $key) = issue_everywhere();
my $receiver = $standby->safe_psql('postgres', 'SELECT pid FROM pg_stat_wal_receiver');
kill 'STOP', $receiver;
like(answer("apikey_revoke_everywhere('$id', '100 ms')"), qr/^f, standby:standby streaming f,/, 'a stopped receiver');
is(asked($key), 'ftf', 'knows nothing');

# a cancel and a timeout end the wait, and undo nothing
foreach my $how ('pg_cancel_backend', 'statement_timeout')
{
	($id, $key) = issue($primary, 'postgres', 'local');
	my $pid = $hanging->query_safe('SELECT pg_backend_pid();');
	$hanging->query_safe("SET statement_timeout = '500ms';") if $how eq 'statement_timeout';
	$hanging->query_until(qr/sent/, "\\echo sent\nCALL apikey_revoke_everywhere('$id', '1 h');\n\\echo done\n");
	if ($how eq 'pg_cancel_backend')
	{
		$primary->poll_query_until('postgres',
			"SELECT status = 'revoked' FROM apikey_keys WHERE key_id = '$id'") or die 'not revoked';
		$primary->safe_psql('postgres', "SELECT pg_cancel_backend($pid)");
	}
	$hanging->query_until(qr/done/, "\n");
	like($hanging->{stderr}, qr/ERROR:  canceling statement due to .*\nDETAIL:  The key is revoked on this server: that is committed/,
		"$how: the error says what is done");
	$hanging->{stderr} = '';
	is(may($primary, $key), 'f', 'which it is');
}

# gone, and named in synchronous_standby_names alone
$primary->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM pg_stat_replication WHERE application_name = 'standby'");
$primary->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_replication") or die 'still there';
is( $primary->safe_psql('postgres', "SELECT name, state, synchronous, lag_bytes IS NULL FROM apikey_replicas WHERE kind = 'standby'"),
	'standby|disconnected|t|t', 'a synchronous standby that is away is a follower');
is(answer("apikey_wait_everywhere('100 ms')"),
	'f, standby:standby disconnected f, subscriber:verifier streaming t', 'and does not have it');
kill 'CONT', $receiver;
synchronous();
is(answer("apikey_wait_everywhere('60 s')"), $all, 'it comes back, and has it');

# one that no setting names and no slot keeps is remembered while it is waited for
$primary->safe_psql('postgres', 'ALTER SYSTEM RESET synchronous_standby_names');
$primary->reload;
$standby->safe_psql('postgres', 'SELECT pg_wal_replay_pause()');
$standby->poll_query_until('postgres', "SELECT pg_get_wal_replay_pause_state() = 'paused'") or die 'no pause';
$primary->safe_psql('postgres', 'SELECT pg_switch_wal()');
$hanging->query_until(qr/sent/, "RESET statement_timeout;\n\\echo sent\nCALL apikey_wait_everywhere('2 s');\n\\echo done\n");
$primary->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE 'CALL%' AND wait_event = 'Extension'") or die 'it does not wait';
$standby->stop('immediate');
like($hanging->query_until(qr/done/, "\n"), qr/^f\|.*"name": "standby", "slot": null, "state": "disconnected", "has_it": false/m,
	'who goes away meanwhile does not have it');
is(answer("apikey_wait_everywhere('60 s')"), 't, subscriber:verifier streaming t', 'afterwards nothing is known of it');
$standby->start;
$asks{standby}->quit;
$asks{standby} = $standby->background_psql('postgres');
$primary->poll_query_until('postgres', "SELECT count(*) = 2 FROM apikey_replicas WHERE state = 'streaming'") or die 'it is not back';

# --------------------------------------------------------- a slot that waits

($id, $key) = issue_everywhere();
$primary->safe_psql('verifier', 'ALTER SUBSCRIPTION verifier DISABLE');
$primary->poll_query_until('postgres', "SELECT NOT active FROM pg_replication_slots") or die 'still connected';
is( $primary->safe_psql('postgres', "SELECT name, state, lag_bytes >= 0 FROM apikey_replicas WHERE kind = 'subscriber'"),
	'verifier|disconnected|t', 'a subscriber that is away is a follower');
is(answer("apikey_revoke_everywhere('$id', '1 s')"), 'f, standby:standby streaming t, subscriber:verifier disconnected f',
	'and does not have it');
is(asked($key), 'fft', 'as was said');
$primary->safe_psql('verifier', 'ALTER SUBSCRIPTION verifier ENABLE');
is(answer("apikey_wait_everywhere('60 s')"), $all, 'it comes back, and has it');
is(asked($key), 'fff', 'and refuses');

# ------------------------------------------------------------------ refused

# A statement that fails with this SQLSTATE
sub fails
{
	my ($node, $sql, $state, $name, $database) = @_;
	my $status = $node->psql($database // 'postgres', "\\set VERBOSITY sqlstate\n$sql", on_error_stop => 1, stderr => \my $err);

	is($status, 3, $name);
	like($err, qr/ERROR:  $state$/m, "$name: $state");
}

($id, $key) = issue_everywhere();
fails($primary, "BEGIN; CALL apikey_revoke_everywhere('$id');", '25001', 'in a transaction block');
fails($primary, "BEGIN; CALL apikey_wait_everywhere();", '25001', 'nothing is waited for there, either');
fails($primary, "DO \$\$ BEGIN CREATE TABLE mine (); CALL apikey_revoke_everywhere('$id', '0', NULL, NULL, NULL); END \$\$",
	'42601', 'PL/pgSQL wants variables for what comes out');
fails($primary, "DO \$\$ DECLARE e bool; f jsonb; BEGIN CREATE TABLE mine (); CALL apikey_revoke_everywhere('$id', '0', NULL, e, f); END \$\$",
	'25001', 'after other changes');
fails($primary, "DO \$\$ DECLARE e bool; f jsonb; BEGIN CALL apikey_revoke_everywhere('$id', '0', NULL, e, f); EXCEPTION WHEN division_by_zero THEN END \$\$",
	'25001', 'in a block that could be rolled back');
fails($primary, "CALL apikey_revoke_everywhere('$id', '-1 s');", '22023', 'a negative timeout');
fails($primary, "CALL apikey_revoke_everywhere('$id', '300000 years');", '22008', 'one that ends after all time');
fails($primary, "CALL apikey_revoke_everywhere('$id', NULL);", '22004', 'no timeout');
fails($primary, "SET default_transaction_read_only = on; CALL apikey_revoke_everywhere('$id');", '25006', 'read only');
fails($standby, "CALL apikey_revoke_everywhere('$id');", '25006', 'on a standby');
fails($standby, "CALL apikey_wait_everywhere();", '25006', 'which waits for nobody');
fails($primary, "CALL apikey_revoke_everywhere('00000000-0000-0000-0000-000000000000');", '42704', 'no such key');
fails($primary, "CALL apikey_revoke_everywhere('$id');", '55000', 'in a database that subscribes', 'verifier');
is(asked($key), 'ttt', 'nothing was done');

# by a session's key, as by apikey_revoke
my ($other_id, $other) = split /\|/, $primary->safe_psql('postgres',
	q{SELECT key_id, key FROM apikey_create('globex', 'its admin', organization_level => 'write')});
fails($primary, "SET apikey.key = '$other'; CALL apikey_revoke_everywhere('$id');", '42704', 'by a key of another organization');
is( $primary->safe_psql('postgres', qq{
		DO \$\$ DECLARE e bool; f jsonb; BEGIN
			PERFORM apikey_login('$other');
			CALL apikey_revoke_everywhere('$other_id', '60 s', NULL, e, f);
		END \$\$;
		SELECT acting_key = '$other_id' FROM apikey_events WHERE key_id = '$other_id' AND action = 'revoke'}),
	't', 'by the session\'s own key');

# ------------------------------------------------------------------ hostile

$primary->safe_psql('postgres', q{
	CREATE ROLE stopper LOGIN;
	GRANT EXECUTE ON PROCEDURE apikey_revoke_everywhere, apikey_wait_everywhere TO stopper;
	CREATE SCHEMA evil AUTHORIZATION stopper});
$primary->safe_psql('postgres', q{
	CREATE TABLE evil.seen (who text);
	CREATE FUNCTION evil.note() RETURNS void LANGUAGE sql AS 'INSERT INTO evil.seen VALUES (current_user)';
	CREATE FUNCTION evil.lower(text) RETURNS text LANGUAGE sql AS 'SELECT evil.note(); SELECT $1';
	CREATE FUNCTION evil.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS 'SELECT evil.note(); SELECT now()';
	CREATE FUNCTION evil.bool_and(boolean) RETURNS boolean LANGUAGE sql AS 'SELECT evil.note(); SELECT true';
	CREATE FUNCTION evil.pg_is_in_recovery() RETURNS boolean LANGUAGE sql AS 'SELECT evil.note(); SELECT true';
	CREATE FUNCTION evil.lsn_ge(pg_lsn, pg_lsn) RETURNS boolean LANGUAGE sql AS 'SELECT evil.note(); SELECT true';
	CREATE OPERATOR evil.>= (LEFTARG = pg_lsn, RIGHTARG = pg_lsn, FUNCTION = evil.lsn_ge);
	CREATE VIEW evil.pg_stat_replication AS SELECT 1 AS pid;
	CREATE VIEW evil.apikey_replicas AS SELECT 1 AS name;
	CREATE FUNCTION evil.apikey_revoke(uuid, text) RETURNS void LANGUAGE sql AS 'SELECT evil.note()';
}, extra_params => [ '-U', 'stopper' ]);
is( $primary->safe_psql('postgres', qq{
		SET search_path = evil, pg_temp, pg_catalog, public;
		SET default_transaction_isolation = serializable;
		SET synchronous_commit = off;
		CREATE TEMP TABLE pg_replication_slots (slot_name name);
		CREATE TEMP TABLE apikey_key (key_id uuid, revoked_at timestamptz);
		CALL apikey_revoke_everywhere('$id', '60 s');
		SHOW search_path;
		SELECT current_user, current_setting('synchronous_commit');
		SELECT count(*) FROM evil.seen;
	}, extra_params => [ '-U', 'stopper' ]) =~ s/^t\|.*"has_it": true.*"has_it": true.*$/all/mr,
	"all\nevil, pg_temp, pg_catalog, public\nstopper|off\n0", 'EXECUTE is enough, and gives nothing else');
is(asked($key), 'fff', 'the key is revoked');
fails($primary, "SET ROLE stopper; SELECT apikey_revoke('$id');", '42501', 'which the function would not do for this role');
fails($primary, "SET ROLE stopper; CALL apikey_disable_everywhere('$id');", '42501', 'nor another procedure');
fails($primary, "SET ROLE stopper; SELECT * FROM apikey_replicas;", '42501', 'nor the view');
fails($primary, "SET ROLE stopper; SELECT apikey_internal.replicas();", '42501', 'nor what is behind it');

# ------------------------------------------------------------- publications

# who takes another publication follows something else
$primary->safe_psql('postgres', 'CREATE TABLE orders (id int); CREATE PUBLICATION shop FOR TABLE orders');
$primary->safe_psql('postgres', "SELECT pg_create_logical_replication_slot('shop', 'pgoutput')");
$primary->safe_psql('verifier', "CREATE TABLE orders (id int); CREATE SUBSCRIPTION shop CONNECTION '$connection' PUBLICATION shop WITH (create_slot = false)");
$primary->poll_query_until('postgres', "SELECT active FROM pg_replication_slots WHERE slot_name = 'shop'") or die 'no subscription';
$primary->poll_query_until('postgres', "SELECT count(*) = 2 FROM apikey_replicas")
  or diag $primary->safe_psql('postgres', 'SELECT * FROM apikey_replicas');
is($primary->safe_psql('postgres', "SELECT string_agg(name, ' ' ORDER BY name) FROM apikey_replicas"), 'standby verifier',
	'a subscriber of another publication is none of ours');
$primary->safe_psql('verifier', 'DROP SUBSCRIPTION shop');
$primary->safe_psql('postgres', 'DROP PUBLICATION apikey');
is($primary->safe_psql('postgres', "SELECT string_agg(name, ' ' ORDER BY name) FROM apikey_replicas"), 'standby',
	'without a publication of keys nobody subscribes to them');

$primary->safe_psql('verifier', 'ALTER SUBSCRIPTION verifier DISABLE; ALTER SUBSCRIPTION verifier SET (slot_name = NONE); DROP SUBSCRIPTION verifier');

# with nothing else on the way, within less than what a standby takes to report by itself
($id, $key) = issue($primary);
my $slow = 0;
foreach my $call ("apikey_wait_everywhere('8 s')", "apikey_disable_everywhere('$id', '8 s')", "apikey_revoke_everywhere('$id', '8 s')")
{
	$slow++ if answer($call) ne 't, standby:standby streaming t';
}
is($slow, 0, 'a standby tells before it would by itself');

$_->quit foreach values %asks, $caller, $hanging, $listener;
$standby->stop;
$primary->stop;
done_testing();
