# Monitoring: what the server counts, and the queries of examples/monitoring, as the roles
# of the pages, on a primary that is preloaded and one that is not, on a standby and in a
# verifier database; and what Prometheus gets from the exporter, where that is installed.

use strict;
use warnings;
use HTTP::Tiny;
use IPC::Run;
use Pages;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Apikey;

my $examples = "$tree/examples/monitoring";
my $settings = "fsync = off\nlisten_addresses = '127.0.0.1'\napikey.flush_interval = 3600\nwal_level = logical\n";
my $exporter = '/usr/bin/prometheus-postgres-exporter';

# ------------------------------------------------------------ the servers

# The extension and the roles, as the pages make them: the blocks run in one session.
sub run_page
{
	my ($node, $name) = @_;
	my $sql = join "\n", "SET client_min_messages = error;", blocks(page($name), 'sql');
	my ($out, $err);

	IPC::Run::run([ 'psql', '-XqAt', '-d', $node->connstr('postgres'), '-f', '-' ], '<', \$sql, '>', \$out, '2>', \$err);
	note $err;
}

sub start
{
	my ($name, $conf) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init(allows_streaming => 'logical');
	$node->append_conf('postgresql.conf', $settings . $conf);
	$node->start;
	run_page($node, 'doc/how-to/monitor.md');
	$node->safe_psql('postgres', 'ALTER DATABASE postgres SET search_path = public, apikey');
	$node->safe_psql('postgres', q{
		CREATE ROLE dashboard LOGIN;
		GRANT USAGE ON SCHEMA apikey TO dashboard;
		GRANT SELECT ON apikey_registry, apikey_keys, apikey_grants, apikey_budgets, apikey_events,
			apikey_usage, apikey_usage_hours, apikey_guesses, apikey_counters, apikey_protected, apikey_attached,
			apikey_replicas, apikey_subscriptions TO dashboard});
	return $node;
}

my $primary = start('monitored', "shared_preload_libraries = 'apikey'\n");
my $plain = start('monitored_plain', '');

# ---------------------------------------------------- what the server counts

is($primary->safe_psql('postgres', "SELECT string_agg(counter, ' ' ORDER BY counter) FROM apikey_counters WHERE reason IS NULL"),
	'cache_builds cache_evictions guesses uses', 'the counters');
is($plain->safe_psql('postgres', 'SELECT count(*) FROM apikey_counters'), 0, 'none where apikey is not preloaded');

# All that has changed since the last time: "uses 1 grant 2".
my %seen;
sub counted
{
	my ($node, $sql) = @_;
	my (%now, @changes);

	$node->psql('postgres', $sql, on_error_stop => 0) if defined $sql;
	%now = map split(/\|/), split /\n/, $node->safe_psql('postgres',
		"SELECT coalesce(reason, counter), total FROM apikey_counters WHERE counter !~ 'cache'");
	foreach my $name (sort keys %now)
	{
		my $more = $now{$name} - ($seen{ $node->name }{$name} // 0);
		push @changes, "$name $more" if $more != 0;
	}
	$seen{ $node->name } = \%now;
	return "@changes";
}

my $ids = $primary->safe_psql('postgres', q{
	SET client_min_messages = error;
	SELECT apikey_add_project('acme', 'web2'), apikey_add_project('frozen', 'ice') \g /dev/null
	SELECT label, key_id, key FROM (VALUES ('good', 'acme'), ('revoked', 'acme'), ('disabled', 'acme'), ('expired', 'acme'),
		('suspended', 'frozen'), ('rotated', 'acme'), ('parent', 'acme')) v (name, organization),
		apikey_create(organization, name, jsonb_build_array(jsonb_build_object('project', '*', 'environment', '*', 'level', 'write')), max_derived => 5),
		LATERAL (SELECT name AS label) l
	UNION ALL SELECT 'elsewhere', key_id, key FROM apikey_create('acme', 'elsewhere', allowed_networks => '{10.0.0.0/8}')
	UNION ALL SELECT 'limited', key_id, key FROM apikey_create('acme', 'limited', rate_limit => '1 per hour')});
my (%id, %key);
foreach (split /\n/, $ids)
{
	my ($name, $id, $key) = split /\|/;
	($id{$name}, $key{$name}) = ($id, $key);
}
my $derived = $primary->safe_psql('postgres', "SELECT key FROM apikey_derive('$key{parent}', 'child')");
$primary->safe_psql('postgres', "SELECT apikey_revoke('$id{revoked}'), apikey_disable('$id{disabled}'), apikey_suspend('frozen'),
	apikey_set_budget('$id{good}', 1); SELECT key FROM apikey_rotate('$id{rotated}');
	UPDATE apikey_key SET expires_at = now() - interval '1 s' WHERE key_id = '$id{expired}'");
counted($primary);

my $ask = "SELECT apikey_authorize('%s', 'web2', 'production', '%s')";
my @cases = (
	[ sprintf($ask, $key{good}, 'read'), 'uses 1', 'a use' ],
	[ "SELECT count(apikey_authorize('$key{good}', 'web2', 'production', 'read')) FROM generate_series(1, 5)", 'uses 1', 'by statement' ],
	[ "SELECT label FROM apikey_verify('$key{good}')", 'uses 1', 'by call' ],
	[ sprintf($ask, $derived, 'read'), 'uses 1', 'of a derived key, not of its parent too' ],
	[ sprintf($ask, $key{good}, 'manage'), 'grant 1 uses 1', 'no grant' ],
	[ "SELECT apikey_require('$key{good}', 'moon', 'production', 'read')", 'grant 1 uses 1', 'no grant, as an error' ],
	[ 'BEGIN; ' . sprintf($ask, $key{good}, 'read') . '; ROLLBACK', 'uses 1', 'a rollback undoes nothing' ],
	[ 'EXPLAIN ' . sprintf($ask, $key{good}, 'read'), '', 'EXPLAIN does not count' ],
	[ sprintf($ask, 'rubbish', 'read'), 'guesses 1', 'a guess' ],
	[ "SELECT apikey_login('rubbish')", 'guesses 1', 'a guess at a log-in' ],
	[ sprintf($ask, 'x' x 10000, 'read'), 'guesses 1', 'a long one' ],
	[ "SELECT apikey_spend('$key{good}', 1)", 'uses 1', 'spending' ],
	[ "SELECT apikey_spend('$key{good}', 1)", 'budget 1 uses 1', 'a budget that is spent' ],
	[ "SELECT apikey_login('$key{limited}')", 'uses 1', 'within its rate limit' ],
	[ "SELECT apikey_login('$key{limited}')", 'rate_limit 1', 'over its rate limit' ],
	[ "SET apikey.client_address = '192.0.2.1'; SELECT apikey_login('$key{elsewhere}')", 'networks 1', 'from elsewhere' ],
	[ sprintf($ask, $key{rotated}, 'read'), 'superseded 1', 'a superseded secret' ],
	map({ [ sprintf($ask, $key{$_}, 'read'), "$_ 1", $_ ], [ "SELECT apikey_login('$key{$_}')", "$_ 1", "$_, logging in" ] }
		qw(revoked disabled expired suspended)));
is(counted($primary, $_->[0]), $_->[1], "counted: $_->[2]") foreach @cases;

is(counted($primary, "BEGIN; ALTER TABLE apikey.apikey_key DISABLE TRIGGER apikey_changed; " . sprintf($ask, $key{good}, 'read') . '; ROLLBACK'),
	'trigger 1', 'counted: a trigger that does not fire');
my $sum = $primary->safe_psql('postgres', "SELECT sum(total) FROM apikey_counters WHERE counter = 'uses'");
is($primary->safe_psql('postgres', "SELECT sum(total) FROM apikey_counters WHERE counter = 'uses'"), $sum, 'looking does not count');

# many sessions at a time
my @clients = map $primary->background_psql('postgres'), 1 .. 4;
$_->query_safe("SELECT apikey_authorize('$key{good}', 'web2', 'production', 'read')") foreach (@clients) x 5;
is(counted($primary), 'uses 20', 'counted: by several sessions');
$_->quit foreach @clients;
is(counted($primary), '', 'what they have counted stays when they end');

# ... and what caches did
sub cache
{
	return $primary->safe_psql('postgres', "SELECT string_agg(total::text, ' ' ORDER BY counter) FROM apikey_counters WHERE counter ~ 'cache'");
}
my ($builds, $evictions) = split / /, cache();
$primary->safe_psql('postgres', q{
	CREATE TEMP TABLE many AS SELECT key FROM generate_series(1, 300) n, apikey_create('acme', 'many ' || n);
	SET apikey.cache_size = '64kB';
	SELECT count(v) FROM many, apikey_verify(key) v});
my ($built, $evicted) = split / /, cache();
cmp_ok($built - $builds, '>=', 300, 'keys that were read into a cache');
cmp_ok($evicted - $evictions, '>', 0, 'and that made room for others');

# ------------------------------------------------- other kinds of servers

$primary->safe_psql('postgres', q{
	CREATE TABLE doc (project text, environment text);
	SELECT apikey_protect('doc', 'project', 'environment');
	ALTER TABLE doc DISABLE ROW LEVEL SECURITY;
	SELECT pg_create_physical_replication_slot('away', true)});
$primary->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('monitored_standby');
$standby->init_from_backup($primary, 'b', has_streaming => 1);
$standby->start;
$primary->wait_for_catchup($standby);

is(counted($standby, sprintf $ask, $key{good}, 'read'), 'uses 1', 'a standby counts for itself');
is(counted($primary), 'uses 300', 'and the primary for itself');

# A verifier database, on the server that is not preloaded.
$primary->safe_psql('postgres', 'SELECT apikey_publish()');
$plain->safe_psql('postgres', 'CREATE DATABASE verifier');
$plain->safe_psql('verifier', "CREATE SCHEMA apikey; SET client_min_messages = error; CREATE EXTENSION apikey SCHEMA apikey CASCADE;
	GRANT USAGE ON SCHEMA apikey TO apikey_monitor, dashboard;
	GRANT SELECT ON ALL TABLES IN SCHEMA apikey TO apikey_monitor, dashboard;
	GRANT EXECUTE ON FUNCTION apikey.apikey_usage_stats TO apikey_monitor;
	ALTER DATABASE verifier SET search_path = public, apikey");
$plain->safe_psql('verifier', 'CALL apikey.apikey_subscribe($$' . $primary->connstr('postgres') . '$$)');

# ------------------------------------------------------------ the queries

# queries.yaml, which has no more of YAML than this: name => [ query, { column => usage } ]
my %metrics;
my $yaml = slurp_file("$examples/queries.yaml");
while ($yaml =~ /^(\w+):\n(.*?)(?=^\S|\z)/gms)
{
	my ($name, $text) = ($1, $2);
	my ($query) = $text =~ /^  query: \|\n((?:    .*\n)+)/m;
	my %usage = $text =~ /^    - (\w+):\n        usage: "([A-Z]+)"\n        description: "[^"]+"\n/mg;

	$metrics{$name} = [ $query, \%usage ];
	is(scalar(keys %usage), scalar(() = $text =~ /^    - /mg), "$name: each column has usage and description");
}
is(scalar(keys %metrics), scalar(() = $yaml =~ /^  query:/mg), 'all queries are found');

# Rows of it, as the role, each a list
sub rows_of
{
	my ($node, $database, $role, $query) = @_;

	my ($status, $out, $err) = $node->psql($database, $query, on_error_stop => 1,
		connstr => $node->connstr($database) . " user=$role", extra_params => [ '-P', 'tuples_only=off', '-P', 'footer=off', '-P', 'null=NULL' ]);
	is($status, 0, $node->name . ", $database, $role: " . ($query =~ /(\bapikey_\w+)/ ? $1 : $query)) or diag("$query: $err");
	return map [ split /\|/, $_, -1 ], split /\n/, $out;
}

my %label = (
	reason => qr/^(?:superseded|revoked|expired|disabled|suspended|quarantined|networks|copying|stale|trigger|rate_limit|budget|grant)$/,
	status => qr/^(?:active|revoked|expired|disabled|suspended|quarantined)$/,
	kind => qr/^(?:standby|subscriber)$/,
	state => qr/^(?:streaming|catching up|initial copy|disconnected|lost)$/);
my %rows;	# "server name" => number of rows

sub try_metrics
{
	my ($node, $database, $kind) = @_;

	foreach my $name (sort keys %metrics)
	{
		my ($query, $usage) = @{ $metrics{$name} };
		my ($head, @rows) = rows_of($node, $database, 'apikey_monitor', $query);

		is("@{[ sort @{ $head // [] } ]}", "@{[ sort keys %$usage ]}", "$kind: $name has these columns");
		$rows{"$kind $name"} = @rows;
		foreach my $row (@rows)
		{
			my %value;

			@value{@$head} = @$row;
			foreach my $column (@$head)
			{
				my $wanted = $usage->{$column} eq 'LABEL' ? $label{$column} // qr/(?!)/ : qr/^(?:-?[\d.]+(?:e-?\d+)?|NULL)$/;
				like($value{$column}, $wanted, "$kind: $name.$column");
			}
		}
	}
}

my @servers = ([ $primary, 'postgres', 'primary' ], [ $standby, 'postgres', 'standby' ], [ $plain, 'postgres', 'not preloaded' ], [ $plain, 'verifier', 'verifier' ]);
try_metrics(@$_) foreach @servers;
foreach my $name (qw(apikey apikey_memory apikey_refusals))
{
	is($rows{"$_ $name"} > 0, 1, "$_: $name") foreach 'primary', 'standby';
	is($rows{"$_ $name"}, 0, "$_: no $name") foreach 'not preloaded', 'verifier';
}
is($rows{'verifier apikey_subscription'}, 1, 'a verifier has a subscription');
is($rows{'primary apikey_subscription'}, 0, 'its publisher none');
cmp_ok($rows{'primary apikey_followers'}, '>=', 2, 'but followers');

# more customers, keys, addresses and tables are no more rows
my %before = %rows;
$primary->safe_psql('postgres', q{
	SELECT count(key) FROM generate_series(1, 50) n, apikey_create('customer ' || n, 'key ' || n);
	SELECT count(apikey_add_project('customer ' || n, 'project ' || n)) FROM generate_series(1, 50) n;
	DO $$ BEGIN
		FOR n IN 1 .. 20 LOOP
			PERFORM set_config('apikey.client_address', '198.51.100.' || n, true), apikey_authorize('rubbish ' || n, 'web2', 'production', 'read');
			EXECUTE format('CREATE TABLE doc%s (project text, environment text)', n);
			PERFORM apikey_protect(format('doc%s', n)::regclass, 'project', 'environment');
		END LOOP;
	END $$});
try_metrics(@{ $servers[0] });
is($rows{$_}, $before{$_}, "$_: as many rows as before") foreach grep /^primary/, sort keys %rows;

# the role sees no more than that
foreach my $query ('SELECT label FROM apikey_keys', 'SELECT key FROM apikey_keys', 'SELECT * FROM apikey_usage', 'SELECT * FROM apikey_guesses', 'SELECT * FROM apikey_events',
	'SELECT * FROM apikey_budgets', 'SELECT * FROM apikey_key', 'SELECT * FROM apikey_registry', "SELECT apikey_create('acme', 'x')")
{
	my (undef, undef, $err) = $primary->psql('postgres', $query, connstr => $primary->connstr('postgres') . ' user=apikey_monitor');
	like($err, qr/permission denied/, "apikey_monitor: not $query");
}

# for people
my $queries = slurp_file("$examples/queries.sql") =~ s/^--.*\n//gmr;
my @queries = grep /\S/, split /;\n/, $queries;
cmp_ok(scalar @queries, '>', 10, 'queries.sql has queries');
my %found;
foreach my $server (@servers)
{
	my ($node, $database, $kind) = @$server;

	foreach my $query (@queries)
	{
		my (undef, @rows) = rows_of($node, $database, 'dashboard', $query);

		$found{$query} += @rows;
		is(scalar(grep /apk_\w{23}/, map @$_, @rows), 0, "$kind: no key in it");
	}
}
# what no server here has: a customer that rotates with an overlap, a key that expires soon
foreach my $query (@queries)
{
	cmp_ok($found{$query}, '>', 0, 'finds something: ' . substr $query =~ s/\s+/ /gr, 0, 60) if $query !~ /overlap_until|7 days/;
}
my ($soon) = grep /7 days/, @queries;
my ($overlap) = grep /overlap_until/, @queries;
$primary->safe_psql('postgres', "SELECT apikey_update('$id{good}', expires_at => now() + interval '1 day'); SELECT count(key) FROM apikey_rotate('$id{parent}', '1 hour')");
is(scalar(() = rows_of($primary, 'postgres', 'dashboard', $_)), 2, 'and so does that') foreach $soon, $overlap;
my ($active) = grep $_->[0] eq 'active', rows_of($primary, 'postgres', 'apikey_monitor',
	"SELECT status, expiring FROM ($metrics{apikey_keys}[0]) k");
is($active->[1], 1, 'one key expires, and a derived one does not count');

# --------------------------------------------------------------- the alerts

my %exported;
foreach my $name (keys %metrics)
{
	$exported{"${name}_$_"} = 1 foreach grep $metrics{$name}[1]{$_} ne 'LABEL', keys %{ $metrics{$name}[1] };
}
my $alerts = slurp_file("$examples/alerts.yml");
my @expressions = $alerts =~ /^        expr: (.*)$/mg;
is(scalar @expressions, scalar(() = $alerts =~ /^      - alert: /mg), 'each alert has an expression');
my %used = map { $_ => 1 } grep /^apikey_/, map /(\w+)/g, @expressions;
is(join(' ', grep !$exported{$_}, sort keys %used), '', 'alerts are on metrics that there are');
foreach my $expression (@expressions)
{
	while ($expression =~ /(\w+)=~?"([^"]+)"/g)
	{
		like($_, $label{$1} // qr/(?!)/, "a label that there is: $1 $_") foreach split /\|/, $2;
	}
}

# ------------------------------------------------------------- the exporter

# What it says about a server, by metric with labels
sub scrape
{
	my ($node, $database) = @_;
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	my ($out, $answer) = ('');

	local $ENV{DATA_SOURCE_NAME} = sprintf 'host=127.0.0.1 port=%d dbname=%s user=apikey_monitor sslmode=disable', $node->port, $database;
	my $run = IPC::Run::start([ $exporter, "--web.listen-address=127.0.0.1:$port", '--disable-default-metrics', '--disable-settings-metrics',
		"--extend.query-path=$examples/queries.yaml" ], '<', \undef, '>&', \$out);
	foreach (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		$answer = HTTP::Tiny->new->get("http://127.0.0.1:$port/metrics");
		last if $answer->{success} || !$run->pumpable;
		select undef, undef, undef, 0.1;
	}
	$run->signal('TERM');
	$run->finish;
	unlike($out, qr/apk_\w{23}/, 'no key in its log');
	note $out;
	return $answer->{content};
}

if (-x $exporter)
{
	foreach my $server (@servers)
	{
		my ($node, $database, $kind) = @$server;

		# the exporter connects by TCP
		$node->append_conf('pg_hba.conf', 'host all apikey_monitor 127.0.0.1/32 trust');
		$node->reload;
		my $page = scrape($node, $database);
		my %value = $page =~ /^(\w+(?:\{[^}]*\})?) (\S+)$/mg;
		my %names = map { s/\{.*//r => 1 } keys %value;

		is($value{'pg_exporter_last_scrape_error'}, '0', "$kind: the exporter has no error");
		foreach my $name (sort keys %metrics)
		{
			my @columns = grep $metrics{$name}[1]{$_} ne 'LABEL', keys %{ $metrics{$name}[1] };

			is(scalar(grep $names{"${name}_$_"}, @columns), $rows{"$kind $name"} > 0 ? scalar @columns : 0, "$kind: it exports $name");
		}
		unlike($page, qr/apk_|acme|customer|198\.51\.100/, "$kind: no key, customer or address");
		next if $kind ne 'primary';
		my ($guesses) = map $value{$_}, grep /^apikey_guesses_total/, keys %value;
		is($guesses, $node->safe_psql('postgres', "SELECT total FROM apikey_counters WHERE counter = 'guesses'"), 'and the numbers are right');
		my ($open) = map $value{$_}, grep /^apikey_tables_open/, keys %value;
		is($open, 1, 'one table is open');
	}
}
else
{
	note "$exporter is not installed";
}

$_->stop foreach $standby, $plain, $primary;
is($primary->start && $primary->safe_psql('postgres', "SELECT sum(total) FROM apikey_counters WHERE counter <> 'cache_builds'"), 0, 'after a restart counting begins anew');
$primary->stop;
unlike(slurp_file($_->logfile), qr/apk_[0-9A-Za-z]{71}/, 'no key in the log of ' . $_->name) foreach $primary, $standby;
done_testing();
