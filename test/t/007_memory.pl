# A backend that sees very many keys, good or bad, and a statement that makes
# very many, stay flat.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Apikey;

my $node = start_node('memory', conf => q{
fsync = off
shared_buffers = 256MB
max_parallel_workers_per_gather = 0
});
my $session = $node->background_psql('postgres', on_error_stop => 1);

# what a backend holds, in kB: its own memory, without shared buffers
my $pid = $session->query_safe('SELECT pg_backend_pid();');
sub held
{
	my ($kb) = slurp_file("/proc/$pid/status") =~ /^RssAnon:\s+(\d+) kB/m;

	return $kb;
}

my $grants = q{'[{"project": "web", "environment": "production", "level": "write"}]'};
my $make = "SELECT count(k.key) FROM generate_series(1, %d) i, apikey_create('acme', 'k' || i, $grants) k;";

# one statement; its plans are made while the tables are small and known to be
$session->query_safe(sprintf $make, 10);
$session->query_safe('VACUUM ANALYZE;');
$session->query_safe(sprintf $make, 1000);
my $before = held();
$session->query_safe("CREATE UNLOGGED TABLE token AS
	SELECT k.key FROM generate_series(1, 100000) i, apikey_create('acme', 'k' || i, $grants) k;");
my $grown = held() - $before;
cmp_ok($grown, '<', 8 * 1024, "creating 100,000 keys in one statement ($grown kB more)");

$session->query_safe('SELECT pg_stat_force_next_flush();');
is( $session->query_safe("SELECT coalesce(sum(seq_tup_read) / 10000, 0)::int FROM pg_stat_user_tables
		WHERE relname LIKE 'apikey%';"),
	0, 'and no table was read whole for each of them');

# good keys: far more than fit
my $ask = "SELECT count(*) FROM token WHERE apikey_authorize(key, 'web', 'production', 'read');";
is($session->query_safe("SET apikey.cache_size = '1MB'; $ask"), 100_000, 'all are good');
$before = held();
is($session->query_safe($ask), 100_000, 'and again') for 1 .. 2;
$grown = held() - $before;
cmp_ok($grown, '<', 2 * 1024, "200,000 decisions on as many keys ($grown kB more)");
my ($keys, $bytes, $evictions) = split /\|/,
  $session->query_safe('SELECT keys, bytes, evictions FROM apikey_cache_stats();');
cmp_ok($bytes, '<=', 1024 * 1024 + 64 * 1024, "within the setting: $bytes bytes for $keys keys");
cmp_ok($evictions, '>', 200_000, 'the others had to go');

# derived ones: many of one key, and chains that come and go
$session->query_safe("SELECT key AS root FROM apikey_create('acme', 'root', $grants, max_derived => 1000000) \\gset");
my $derive = "FROM generate_series(1, %d) i, apikey_derive(:'root', 'd' || i,
	'[{\"project\": \"*\", \"environment\": \"production\", \"level\": \"read\"}, {\"project\": \"web\", \"environment\": \"*\", \"level\": \"manage\"}]') d";
$session->query_safe('SELECT count(d.key) ' . sprintf("$derive;", 1000));
$before = held();
$session->query_safe('CREATE UNLOGGED TABLE derived AS SELECT d.key ' . sprintf("$derive;", 50_000));
$grown = held() - $before;
cmp_ok($grown, '<', 8 * 1024, "deriving 50,000 keys in one statement ($grown kB more)");
my $ask_derived = $ask =~ s/token/derived/r;
is($session->query_safe($ask_derived), 50_000, 'all are good');
$before = held();
is($session->query_safe($ask_derived), 50_000, 'and again') for 1 .. 2;
$grown = held() - $before;
cmp_ok($grown, '<', 2 * 1024, "100,000 decisions on as many derived keys ($grown kB more)");
my $chain = "SET app.root = :'root'; DO \$\$
	DECLARE
		chain text[];
	BEGIN
		FOR i IN 1 .. %d LOOP
			chain = ARRAY[current_setting('app.root')];
			FOR depth IN 1 .. 4 LOOP
				chain = chain || (SELECT key FROM apikey_derive(chain[depth], 'c'));
				ASSERT apikey_authorize(chain[depth + 1], 'web', 'production', 'write');
			END LOOP;
			PERFORM apikey_revoke_self(chain[2]);
			ASSERT NOT apikey_authorize(chain[5], 'web', 'production', 'write');
		END LOOP;
	END \$\$;";
# each counts what is live below the root
$session->query_safe("UPDATE apikey_key SET expires_at = now() - interval '1 s' WHERE label LIKE 'd%' AND parent_id IS NOT NULL; VACUUM ANALYZE;");
$session->query_safe(sprintf $chain, 300);
$before = held();
$session->query_safe(sprintf $chain, 1500);
$grown = held() - $before;
cmp_ok($grown, '<', 4 * 1024, "deriving, deciding on and revoking 1,500 chains in one statement ($grown kB more)");

# bad ones: malformed, and of the right form
$before = held();
is( $session->query_safe("SELECT count(*) FROM generate_series(1, 1000000) i
		WHERE apikey_authorize('apk_' || i, 'web', 'production', 'read');"),
	0, 'a million malformed keys');
is( $session->query_safe("SELECT count(*) FROM token
		WHERE apikey_authorize(translate(key, 'abc', 'bca'), 'web', 'production', 'read');"),
	0, '100,000 corrupt keys');
$session->query_safe('SET client_min_messages = warning; TRUNCATE apikey_key CASCADE;');
is($session->query_safe($ask), 0, '100,000 unknown keys');
$grown = held() - $before;
cmp_ok($grown, '<', 16 * 1024, "bad keys leave nothing behind ($grown kB more)");

# many projects: the remembered registry has a bound of its own
$session->query_safe("SELECT count(apikey_add_project('acme', repeat('p', 100) || i))
	FROM generate_series(1, 40000) i;");
$session->query_safe("SELECT key FROM apikey_create('acme', 'all',
	'[{\"project\": \"*\", \"environment\": \"*\", \"level\": \"read\"}]') \\gset");
$ask = "SELECT count(*) FROM generate_series(1, 40000) i, (VALUES ('production'), ('development')) e
	WHERE apikey_authorize(:'key', repeat('p', 100) || i, e.column1, 'read');";
is($session->query_safe($ask), 80_000, 'all environments of 40,000 projects');
($bytes) = $session->query_safe('SELECT bytes FROM apikey_cache_stats();');
cmp_ok($bytes, '<', 6 * 1024 * 1024, "within bounds: $bytes bytes");
$session->quit;

done_testing();
