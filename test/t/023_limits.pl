# Rate limits hold: exactly, whoever comes at once and by whatever way, over restarts,
# crashes, lack of memory and on standbys; and nobody but the bearer of a key uses its
# limit up.
#
# Most limits here let one pass in hundreds of hours, so exactly the burst passes.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);
use Apikey;

my $conf = "shared_preload_libraries = 'apikey'\napikey.usage_size = '256kB'\n";
my $node = start_node('limits', allows_streaming => 1,
	conf => $conf . "apikey.flush_interval = 1\nrestart_after_crash = on\nmax_connections = 60\nlog_statement = none\n");

$node->safe_psql('postgres', q{
	-- columns are computed in this order
	CREATE TABLE hits (key text, way text, asked int, began timestamptz, passed int, ended timestamptz);
	-- Come with a key n times; how often it was let in.
	CREATE FUNCTION hit(key text, n int DEFAULT 1, way text DEFAULT 'verify') RETURNS int LANGUAGE plpgsql AS $$
	DECLARE
		passed int := 0;
	BEGIN
		IF way = 'pre_request' THEN
			PERFORM set_config('request.headers', json_build_object('x-api-key', key)::text, true);
		END IF;
		FOR i IN 1 .. n LOOP
			BEGIN
				CASE way
					WHEN 'verify' THEN PERFORM apikey_verify(key); CONTINUE WHEN NOT FOUND;
					WHEN 'login' THEN PERFORM apikey_login(key);
					WHEN 'pre_request' THEN PERFORM apikey_pre_request();
				END CASE;
				passed := passed + 1;
			EXCEPTION
				WHEN SQLSTATE '53400' THEN
					IF way <> 'login' OR SQLERRM <> 'API key is over its rate limit' THEN RAISE; END IF;
				WHEN SQLSTATE 'PT429' THEN
					IF way <> 'pre_request' THEN RAISE; END IF;
			END;
		END LOOP;
		RETURN passed;
	END $$;
	CREATE FUNCTION remaining(key text) RETURNS bigint LANGUAGE sql AS 'SELECT remaining FROM apikey_rate_limit(key)';
});

sub sql
{
	my ($sql, $on) = @_;

	return ($on // $node)->safe_psql('postgres', $sql);
}

# A key of "acme" with this limit: its id and its text.
sub limited
{
	my ($limit) = @_;

	return split /\|/, sql(q{
		SELECT key_id, key FROM apikey_create('acme', 'limited',
			'[{"project": "web", "environment": "production", "level": "write"}]', rate_limit => '} . $limit . "')");
}

sub hit
{
	my ($key, $n, $way, $on) = @_;

	return sql("SELECT hit('$key', " . ($n // 1) . ", '" . ($way // 'verify') . "')", $on);
}

sub remaining
{
	my ($key, $on) = @_;

	return sql("SELECT remaining('$key')", $on);
}

# All of the error of a statement, in one line.
sub error
{
	my ($sql, $on) = @_;
	my $err;

	($on // $node)->psql('postgres', "\\set VERBOSITY verbose\n$sql", stderr => \$err);
	return $err =~ /^psql:.*?ERROR:\s+(.*?)^LOCATION/ms ? $1 =~ s/\n/ /gr : $err;
}

# Start 16 clients that come with these keys by all ways: [ key, way, how often ].
sub start_hammering
{
	my ($options, @hits) = @_;
	my @files;

	foreach my $hit (@hits)
	{
		my ($key, $way, $n) = @$hit;

		push @files, PostgreSQL::Test::Utils::tempdir . "/hit$#files-$way-" . substr($key, -6);
		PostgreSQL::Test::Utils::append_to_file($files[-1],
			"INSERT INTO hits SELECT '$key', '$way', $n, clock_timestamp(), hit('$key', $n, '$way'), clock_timestamp();\n") if !-e $files[-1];
	}
	my %run = (out => '', err => '');
	$run{harness} = IPC::Run::start(
		[ 'pgbench', '-n', '-c', 16, '-j', 2, @$options, map({ ('-f', $_) } @files), $node->connstr('postgres') ],
		'>', \$run{out}, '2>', \$run{err});
	return \%run;
}

sub end_hammering
{
	my ($run) = @_;

	ok($run->{harness}->finish, 'all clients came to their end') or diag($run->{err});
	return;
}

sub hammer
{
	end_hammering(start_hammering(@_));
	return;
}

sub passed
{
	my ($key) = @_;

	return sql("SELECT sum(passed) FROM hits WHERE key = '$key'");
}

# A new key by its hash, and its text
sub imported
{
	my ($limit) = @_;
	my $text = 'imported_' . join '', map { chr(97 + int rand 26) } 1 .. 30;

	return (sql("SELECT apikey_import('acme', 'imported', 'sha256', encode(sha256('$text'), 'hex'), rate_limit => '$limit')"), $text);
}

# Until all is in the table
sub wait_for_flush
{
	$node->poll_query_until('postgres', 'SELECT pending = 0 FROM apikey_usage_stats()') or die;
	return;
}

# ------------------------------------------------------------------ exactness

my (undef, $one) = limited('2000 per 8000 hours burst 2000');
my ($id, $old) = limited('1000 per 8000 hours burst 700');
my $new = sql("SELECT key FROM apikey_rotate('$id', '1 hour')");
my ($imported_id, $imported) = imported('999 per 8000 hours');
my $own = sql("SELECT key FROM apikey_rotate('$imported_id', '1 hour')");
my (undef, $single) = limited('1 per 366 days');
my ($parent_id, $parent) = limited('600 per 8000 hours');
sql("SELECT apikey_update('$parent_id', max_derived => 2)");
my ($child_id, $child) = split /\|/, sql("SELECT key_id, key FROM apikey_derive('$parent', 'child', lifetime => '1 day')");
my $grandchild = sql("SELECT key FROM apikey_derive('$child', 'grandchild', lifetime => '1 day')");
# to derive is to use
my %derived = map { ($_ => sql("SELECT uses FROM apikey_usage WHERE key_id = '$_'")) } $parent_id, $child_id;

# Which of them a client takes is chance: often enough that each has a part.
hammer([ '-t', 60 ], [ $one, 'verify', 25 ], [ $one, 'login', 25 ], [ $one, 'pre_request', 25 ],
	[ $old, 'login', 10 ], [ $new, 'verify', 10 ], [ $old, 'pre_request', 10 ],
	[ $imported, 'verify', 12 ], [ $own, 'login', 12 ], [ $single, 'verify', 12 ],
	[ $parent, 'login', 10 ], [ $child, 'verify', 10 ], [ $grandchild, 'pre_request', 10 ]);
is(passed($one), 2000, 'of 16 clients that come by three ways exactly the burst passes');
is(passed($old) + passed($new), 700, 'two secrets share the limit');
is(passed($imported) + passed($own), 999, 'an imported one and one of our own, too');
is(passed($parent) + passed($child) + passed($grandchild), 600, 'a key and those that are derived from it share its limit');
cmp_ok(passed($_), '>', 0, 'each had a part of it') foreach $parent, $child, $grandchild;
is(sql("SELECT uses FROM apikey_usage WHERE key_id = '$parent_id'") - $derived{$parent_id}, 600, 'all of it are uses of the key');
is(sql("SELECT refusals FROM apikey_usage WHERE key_id = '$parent_id'"), sql("SELECT sum(asked) - 600 FROM hits WHERE key IN ('$parent', '$child', '$grandchild')"), 'and all others refusals');
is(sql("SELECT uses FROM apikey_usage WHERE key_id = '$child_id'") - $derived{$child_id}, passed($child) + passed($grandchild), 'its child has those of its own child besides its own');
is(passed($single), 1, 'of one a year, one');
is(sql("SELECT count(DISTINCT way) FROM hits WHERE key = '$one' AND passed > 0"), 3, 'each way had its share');
is(remaining($_), 0, 'nothing remains') foreach $one, $old, $own, $single, $parent, $child, $grandchild;
is(sql("SELECT uses FROM apikey_usage WHERE key_id = '$id'"), 700, 'a use is a call that passed');

# the rate, by the clocks of those who passed
my (undef, $fast) = limited('100 per second burst 500');
hammer([ '-T', 3 ], [ $fast, 'verify', 20 ], [ $fast, 'login', 20 ]);
my ($count, $time, $least) = split /\|/,
  sql("SELECT sum(passed), extract(epoch FROM max(ended) - min(began)),
	-- who was refused in the end came when there was nothing left
	extract(epoch FROM max(began) FILTER (WHERE passed < asked) - min(ended)) FROM hits WHERE key = '$fast'");
cmp_ok($count, '<=', 500 + 100 * $time + 1, "a burst of 500 and 100 a second in $time seconds");
cmp_ok($count, '>=', 500 + 100 * $least - 1, "and no less in $least");

# ---------------------------------------------------------------- retry after

# Within one statement: what counts is the clock.
my (undef, $slow) = limited('1 per 0.3 seconds');
sql(qq{DO \$\$
	DECLARE
		key text := '$slow';
		told interval;
		before timestamptz;
		after timestamptz;
		began timestamptz;
		asked int := 0;
		detail text;
	BEGIN
		FOR i IN 1 .. 3 LOOP
			IF i = 1 AND hit(key) <> 1 THEN RAISE 'a new key is not let in'; END IF;
			before := clock_timestamp();
			SELECT retry_after * interval '1 second' INTO told FROM apikey_rate_limit(key);
			after := clock_timestamp();
			IF told > '0.3 seconds' OR told <= '0' THEN RAISE 'retry after %', told; END IF;
			LOOP
				began := clock_timestamp();
				asked := asked + 1;
				EXIT WHEN hit(key) = 1;
				IF began >= after + told THEN RAISE 'not let in % later', began - after; END IF;
			END LOOP;
			IF clock_timestamp() < before + told THEN RAISE 'let in % early', before + told - clock_timestamp(); END IF;
		END LOOP;
		-- what apikey_login tells
		FOR i IN 1 .. 3 LOOP
			LOOP
				BEGIN
					PERFORM apikey_login(key);
				EXCEPTION WHEN configuration_limit_exceeded THEN
					GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
					EXIT;
				END;
			END LOOP;
			told := (substring(detail from '^retry_after=([0-9.]+)') || ' seconds')::interval;
			IF told > '0.3 seconds' OR told <= '0' THEN RAISE 'retry after %', told; END IF;
			PERFORM pg_sleep_for(told);
			PERFORM apikey_login(key);
		END LOOP;
		IF asked < 30 THEN RAISE 'asked % times', asked; END IF;
	END \$\$});
pass('refused before the time that is told, let in at it');

# ------------------------------------------------------------ what is told

my ($told_id, $told) = limited('2 per 1000 hours');
my $over = qr/API key is over its rate limit DETAIL:  retry_after=1\d{6}\.\d{3} $/;
is(hit($told, 5), 2, 'two');
like(error("SELECT apikey_login('$told')"), qr/^53400: $over/, 'apikey_login: 53400, and when to come back');
like(error("SELECT set_config('request.headers', '{\"x-api-key\": \"$told\"}', false); SELECT apikey_pre_request()"),
	qr/^PT429: $over/, 'apikey_pre_request: PT429');
like(error("SELECT set_config('request.headers', '{\"authorization\": \"Bearer $told\"}', false); SELECT apikey_pre_request()"),
	qr/^PT429: $over/, 'a bearer token');
is(sql("SELECT count(*) FROM apikey_verify('$told')"), 0, 'apikey_verify: no row');
like(sql("SELECT * FROM apikey_explain('$told', 'web', 'production', 'write')"),
	qr/^t\|granted: write; no log-in, over the rate limit, retry after 1\d{6}\.\d{3} seconds$/, 'apikey_explain says why, and what may be done');
like(sql("SELECT * FROM apikey_explain('$told', 'web', 'production', 'manage')"),
	qr/^f\|highest grant is write; no log-in, over the rate limit, retry after/, 'and what may not');
like(sql("SELECT rate_limit, remaining, retry_after FROM apikey_rate_limit('$told')"),
	qr/^2 per 41 days 16 hours\|0\|1\d{6}(?:\.\d+)?$/, 'apikey_rate_limit');
is(sql("SELECT apikey_authorize('$told', 'web', 'production', 'write')"), 't', 'what decides has no limit');
is( sql(qq{
		BEGIN;
		SELECT set_config('apikey.key', '$told', true) <> '';
		SELECT apikey_authorize('web', 'production', 'write'), (SELECT label FROM apikey_whoami()), apikey_projects('read');
		COMMIT}),
	"t\nt|limited|{web}", 'nor has the key of a session');
is( sql(qq{
		BEGIN;
		SELECT label FROM apikey_login('$fast');
		SAVEPOINT s;
		DO \$\$ BEGIN PERFORM apikey_login('$told'); RAISE 'let in'; EXCEPTION WHEN configuration_limit_exceeded THEN END \$\$;
		SELECT key_id = '$told_id' FROM apikey_whoami();
		COMMIT}),
	"limited\nf", 'who is refused does not become the key of the session');
like(error("SELECT apikey_login('$told')"), qr/^53400: $over/, 'still');
sql("SELECT apikey_disable('$told_id')");
like(error("SELECT apikey_login('$told')"), qr/^28000: invalid API key $/, 'disabled: 28000');
is(sql("SELECT reason FROM apikey_explain('$told', 'web', 'production', 'write')"), 'key is disabled', 'and nothing of the limit');
is(sql("SELECT count(*) FROM apikey_rate_limit('$told')"), 0, 'nor here');
like(sql("SELECT apikey_revoke_self('$told'), 1"), qr/^\|1$/, 'its bearer may revoke it');

# ----------------------------------------------------------- what takes nothing

my ($quiet_id, $quiet) = limited('10 per 1000 hours');
my $wrong = $quiet;
$quiet = sql("SELECT key FROM apikey_rotate('$quiet_id')");
is(hit($quiet, 3), 3, 'three of ten');
my $headers = "SET \"request.headers\" = '{\"x-api-key\": \"$quiet\"}';";
sql(join ';', $headers, map { my $s = $_; map $s, 1 .. 100 }
	  "EXPLAIN SELECT * FROM apikey_login('$quiet')", "EXPLAIN VERBOSE SELECT apikey_verify('$quiet')", 'EXPLAIN SELECT apikey_pre_request()',
	"EXPLAIN SELECT * FROM hits WHERE key = (SELECT label FROM apikey_verify('$quiet'))",
	"EXPLAIN ANALYZE SELECT * FROM apikey_rate_limit('$quiet')",
	"SELECT * FROM apikey_explain('$quiet', 'web', 'production', 'write')", "SELECT * FROM apikey_rate_limit('$quiet')",
	"SELECT apikey_authorize('$quiet', 'web', 'production', 'write')");
is(remaining($quiet), 7, 'EXPLAIN, apikey_explain, apikey_rate_limit, apikey_authorize, a hundred times');
sql(qq{DO \$\$ BEGIN FOR i IN 1 .. 100 LOOP
	PERFORM apikey_verify('$wrong');
	BEGIN PERFORM apikey_login('$wrong'); RAISE 'let in'; EXCEPTION WHEN invalid_authorization_specification THEN END;
	END LOOP; END \$\$});
is(remaining($quiet), 7, 'a wrong secret with the id of the key');
foreach my $state (
	[ 'disabled', "SELECT apikey_disable('$quiet_id')", "SELECT apikey_enable('$quiet_id')" ],
	[ 'elsewhere', "SELECT apikey_update('$quiet_id', allowed_networks => '{192.0.2.0/24}')", "SELECT apikey_update('$quiet_id', remove => '{allowed_networks}')" ],
	[ 'expired', "UPDATE apikey_key SET expires_at = now() WHERE key_id = '$quiet_id'", "SELECT apikey_update('$quiet_id', remove => '{expires_at}')" ])
{
	my ($what, $do, $undo) = @$state;

	sql($do);
	like(error("SELECT apikey_login('$quiet')"), qr/^28000: invalid API key $/, "$what: refused as such");
	is(hit($quiet, 20), 0, "$what: however often");
	sql($undo);
	is(remaining($quiet), 7, "$what: nothing is taken");
}
is(sql("BEGIN; SELECT count(*) FROM apikey_verify('$quiet'); SAVEPOINT s; SELECT count(*) FROM apikey_login('$quiet'); ROLLBACK TO s; ROLLBACK"), "1\n1", 'two');
is(remaining($quiet), 5, 'no ROLLBACK gives one back');
is(sql("BEGIN READ ONLY; SELECT count(*) FROM apikey_login('$quiet'); COMMIT"), 1, 'one in a READ ONLY transaction');
is(remaining($quiet), 4, 'is one, too');
is( sql(qq{
		CREATE FUNCTION hidden(key text) RETURNS bigint IMMUTABLE LANGUAGE sql AS 'SELECT count(*) FROM apikey_verify(key)';
		SELECT hidden('$quiet'); SELECT hidden('$quiet'); SELECT hidden('$quiet'); SELECT hidden('$quiet'); SELECT hidden('$quiet'); SELECT hidden('$quiet')}),
	"1\n1\n1\n1\n0\n0", 'a call that hides in an IMMUTABLE function counts');
sql("SELECT apikey_revoke('$quiet_id')");
like(error("SELECT apikey_login('$quiet')"), qr/^28000: invalid API key $/, 'revoked: 28000');
is(sql('SELECT count(*) FROM apikey_usage WHERE uses < 0 OR refusals < 0'), 0, 'no count below zero');

# --------------------------------------------------------------- changed limits

my ($changed_id, $changed) = limited('5 per 1000 hours');
my $update = "SELECT apikey_update('$changed_id', rate_limit => ";
is(hit($changed, 20), 5, 'five');
sql("$update '8 per 1600 hours')");
is(hit($changed, 20), 3, 'a larger burst: three more');
sql("$update '2 per 400 hours')");
is(hit($changed, 20), 0, 'a smaller one: none');
sql("$update NULL)");
is(hit($changed, 20), 0, 'null is no change');
sql("SELECT apikey_update('$changed_id', remove => '{rate_limit}')");
is(hit($changed, 200), 200, 'none at all');
is(sql("SELECT count(*) FROM apikey_rate_limit('$changed')"), 0, 'then apikey_rate_limit has no row');
sql("$update '5 per 1000 hours')");
is(hit($changed, 20), 3, 'back again: used up by two, as it was at most under the smaller one');
sql("BEGIN; $update '100 per 1000 hours'); ROLLBACK");
is(hit($changed, 20), 0, 'a change that is rolled back');

# a long wait is not carried over
my ($year_id, $year) = limited('1 per 366 days');
is(hit($year, 3), 1, 'one a year');
$node->poll_query_until('postgres', "SELECT limit_until > now() + '365 days' FROM apikey_use WHERE key_id = '$year_id'") or die;
sql("SELECT apikey_update('$year_id', rate_limit => '1 per 0.2 seconds')");
is(sql("SELECT coalesce(retry_after, 0) <= 0.2 FROM apikey_rate_limit('$year')"), 't', 'one in 0.2 seconds, from now on');
ok($node->poll_query_until('postgres', "SELECT remaining('$year') = 1"), 'it is good after these, though nobody came');
is(hit($year), 1, 'it is');
$node->poll_query_until('postgres', "SELECT limit_until < now() FROM apikey_use WHERE key_id = '$year_id'") or die;

# while it is used
my ($busy_id, $busy) = limited('1000000 per 8000 hours');
my $run = start_hammering([ '-T', 10 * $PostgreSQL::Test::Utils::timeout_default ], [ $busy, 'verify', 10 ], [ $busy, 'login', 10 ]);
$node->poll_query_until('postgres', "SELECT sum(passed) > 100 FROM hits WHERE key = '$busy'") or die;
my $since = sql("SELECT apikey_update('$busy_id', rate_limit => '10 per 8000 hours'); SELECT clock_timestamp()") =~ s/\n//gr;
$node->poll_query_until('postgres', "SELECT count(*) > 20 FROM hits WHERE key = '$busy' AND began > '$since'") or die;
$run->{harness}->signal('TERM');
$run->{harness}->finish;
unlike($run->{err}, qr/error|aborted/, 'used by 16 clients');
# the clients may have its burst before or after that; of the old limit it would be 200
cmp_ok(sql("SELECT sum(passed) FROM hits WHERE key = '$busy' AND began > '$since'"), '<=', 10,
	'a lower limit holds for what begins after the change');

# -------------------------------------------------------------------- little memory

sql(q{
	CREATE TABLE other AS SELECT key FROM generate_series(1, 1000) i,
		apikey_create('acme', 'other ' || i, '[{"project": "web", "environment": "production", "level": "write"}]');
	CREATE TABLE small AS SELECT key FROM generate_series(1, 600) i, apikey_create('acme', 'small ' || i, rate_limit => '5 per 1000 hours')});
cmp_ok(sql('SELECT capacity FROM apikey_usage_stats()'), '<', 400, 'there is room for less than 400 keys');
my ($evicted_id, $evicted) = limited('10 per 1000 hours');
is(hit($evicted, 4), 4, 'four of ten');
my $use_others = "SELECT count(*) FROM other WHERE apikey_authorize(key, 'web', 'production', 'write')";
is(sql($use_others), 1000, 'then a thousand others');
is(remaining($evicted), 6, 'six remain');
is(remaining($one), 0, 'and of those that had nothing, nothing');
is(hit($evicted, 20), 6, 'which pass');
is(sql('SELECT sum(hit(key, 2)) FROM small'), 1200, 'six hundred with a limit, twice each');
is(sql('SELECT sum(hit(key, 5)) FROM small'), 1800, 'all of them have three left');
is(sql('SELECT sum(hit(key, 5)) FROM small'), 0, 'and none then');
is(hit($evicted), 0, 'nor has the other one');
wait_for_flush();
sql("UPDATE apikey_use SET limit_until = 'infinity' WHERE key_id = '$evicted_id'; $use_others");
is(hit($evicted), 0, 'a time in the table that is none opens nothing');

# ----------------------------------------------------------------------- standby

my ($seed_id, $seed) = limited('10 per 1000 hours');
is(hit($seed, 4), 4, 'four of ten');
$node->poll_query_until('postgres', "SELECT limit_until IS NOT NULL FROM apikey_use WHERE key_id = '$seed_id'") or die;
my (undef, $local) = limited('3 per 1000 hours');
$node->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('limits_standby');
$standby->init_from_backup($node, 'b', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby);
is(remaining($seed, $standby), 6, 'a standby begins with what the primary has written down');
is(hit($seed, 20, 'login', $standby), 6, 'these pass there');
is(remaining($seed), 6, 'and here');
is(sql($use_others, $standby), 1000, 'a standby whose memory is full of others');
is(hit($local, 2, 'pre_request', $standby), 2, 'still limits a key, rather than to refuse it');
is(hit($local, 20, 'verify', $standby), 1, 'to three');
sql("SELECT apikey_update(key_id, rate_limit => '500 per 1000 hours') FROM apikey_keys WHERE label LIKE 'small%'");
$node->wait_for_catchup($standby);
like(error('SELECT sum(hit(key, 1)) FROM small', $standby),
	qr/^53400: no shared memory for the rate limit of an API key HINT:  Increase the setting "apikey.usage_size"\./,
	'more limits in use than there is room for: who cannot be limited is refused');
is(hit($seed, 20, 'verify', $standby), 0, 'and nobody let in');
$standby->stop('fast');
$standby->start;
is(hit($_, 20, 'verify', $standby), 0, 'a restart of the standby gives nothing back') foreach $seed, $local;

# ------------------------------------------------------------------------ restart

my ($kept_id, $kept) = limited('10 per 1000 hours');
is(hit($kept, 4), 4, 'four of ten');
$node->stop('fast');
$node->start;
is(remaining($kept), 6, 'a restart');
is(hit($kept, 2), 2, 'two more');
wait_for_flush();
my $victim = $node->background_psql('postgres');
my $pid = $victim->query_safe('SELECT pg_backend_pid()');
my $from = -s $node->logfile;
kill 'KILL', $pid;
$node->wait_for_log(qr/reinitializing.*ready to accept connections/s, $from);
is(remaining($kept), 4, 'a crash, once it was written down');
is(hit($kept, 1), 1, 'one more');
wait_for_flush();
$node->stop('immediate');
$node->start;
is(remaining($kept), 3, 'an immediate stop');

# ------------------------------------------------------------------ not preloaded

$node->stop('fast');
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->start;
my $needed = qr/^55000: rate limits need the extension to be preloaded HINT:  Add apikey to shared_preload_libraries and restart the server\. /;
like(error("SELECT apikey_login('$kept')"), $needed, 'not preloaded: apikey_login');
like(error("SELECT apikey_verify('$kept')"), $needed, 'apikey_verify');
like(error("SELECT set_config('request.headers', '{\"x-api-key\": \"$kept\"}', false); SELECT apikey_pre_request()"), $needed, 'apikey_pre_request');
like(error("SELECT apikey_rate_limit('$kept')"), $needed, 'apikey_rate_limit');
is(sql("SELECT reason FROM apikey_explain('$kept', 'web', 'production', 'write')"),
	'granted: write; no log-in, as the rate limit needs the extension to be preloaded', 'apikey_explain says so');
is(may($node, $kept), 't', 'all else works');
is(hit((issue($node))[1], 3, 'login'), 3, 'so do keys without a limit');
like(error("SELECT apikey_login('$wrong')"), qr/^28000: invalid API key $/, 'a bad key is told nothing of it');
sql("SELECT apikey_disable('$kept_id')");
like(error("SELECT apikey_login('$kept')"), qr/^28000: invalid API key $/, 'nor the bearer of one that is disabled');
sql("SELECT apikey_enable('$kept_id')");
$node->stop('fast');
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'apikey'");
$node->start;
is(remaining($kept), 3, 'preloaded again: as before');

# ------------------------------------------------------------------ a new extension

$node->safe_psql('postgres', 'CREATE DATABASE again');
foreach my $time ('a database of its own', 'dropped and created again')
{
	is( $node->safe_psql('again', q{
			SET client_min_messages = error;
			DROP EXTENSION IF EXISTS apikey;
			CREATE EXTENSION apikey CASCADE;
			SELECT key FROM apikey_create('acme', 'x', rate_limit => '3 per 1000 hours') \gset
			SELECT count(key_id) FROM (SELECT (apikey_verify(:'key')).key_id FROM generate_series(1, 10)) s;
			SELECT remaining FROM apikey_rate_limit(:'key')}),
		"3\n0", $time);
}

# ---------------------------------------------------------------------- promotion

$node->stop('immediate');
$standby->promote;
is(hit($_, 20, 'verify', $standby), 0, 'a promotion gives nothing back') foreach $seed, $local;
$standby->append_conf('postgresql.conf', 'apikey.flush_interval = 1');
$standby->reload;
ok($standby->poll_query_until('postgres', "SELECT limit_until > now() + '900 hours' FROM apikey_use WHERE key_id = '$seed_id'"),
	'what the standby knew is written down then');

# --------------------------------------------------------------------------- logs

foreach my $server ($node, $standby)
{
	my $log = slurp_file($server->logfile);

	like($log, qr/API key is over its rate limit/, 'refusals are in the log') if $server == $node;
	unlike($log, qr/STATEMENT:.*apikey_(?:login|verify|pre_request)/, 'statements are not');
	unlike($log, qr/\Q$_\E/, 'nor any key') foreach $told, $kept, $seed, $imported;
}

$standby->stop;
done_testing();
