# examples/listener/gateway.py, which remembers keys outside the database: what changes it
# forgets, and after whatever gap it remembers nothing that it has not heard of.
#
# It keeps a verdict for an hour here, so what it forgets it was told.

use strict;
use warnings;
use HTTP::Tiny;
use IO::Socket::INET;
use IPC::Run;
use JSON::PP ();
use Pages;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Apikey;

my $dir = PostgreSQL::Test::Utils::tempdir;
my $node = start_node('gateway', allows_streaming => 1, conf => "shared_preload_libraries = 'apikey'\nfsync = off\n");

# The role has what the page says. In a schema before the others are the view that can be
# made to wait when the key has been read, and a queue that can be full.
$node->safe_psql('postgres', q{
	CREATE ROLE gateway LOGIN;
	GRANT SELECT (key_id, parent_id, rate_limit, allowed_networks, overlap_until) ON apikey_keys TO gateway;
	CREATE SCHEMA slow;
	CREATE FUNCTION slow.pass() RETURNS boolean STABLE LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM pg_advisory_lock_shared(1);
		PERFORM pg_advisory_unlock_shared(1);
		RETURN true;
	END $$;
	CREATE VIEW slow.apikey_keys AS SELECT key_id, rate_limit, allowed_networks, overlap_until,
		CASE WHEN slow.pass() THEN parent_id END AS parent_id FROM public.apikey_keys;
	CREATE TABLE slow.queue AS SELECT 0.0::float8 AS usage;
	CREATE FUNCTION slow.pg_notification_queue_usage() RETURNS float8 LANGUAGE sql AS 'SELECT usage FROM slow.queue';
	GRANT USAGE ON SCHEMA slow TO gateway;
	GRANT SELECT ON ALL TABLES IN SCHEMA slow TO gateway;
	ALTER ROLE gateway SET search_path = slow, pg_catalog, public});
my $page = page('doc/how-to/outside-caches.md');
like($page, qr/\QGRANT SELECT (key_id, parent_id, rate_limit, allowed_networks, overlap_until) ON apikey_keys TO gateway;\E/, 'the page grants the same');

# ------------------------------------------------------------- the gateway

my $count = 0;

# A started one; "env" is what it is told besides
sub start_gateway
{
	my ($server, %env) = @_;
	my %self = (err => "$dir/gateway" . ++$count, out => "$dir/url$count");

	local @ENV{qw(PGHOST PGPORT PGDATABASE PGUSER PORT LIFETIME HEARTBEAT)} =
	  ($server->host, $server->port, 'postgres', 'gateway', 0, 3600, 0.2);
	local @ENV{ keys %env } = values %env;
	$self{run} = IPC::Run::start([ '/usr/bin/python3', '-B', "$tree/examples/listener/gateway.py" ],
		'<', \undef, '>', $self{out}, '2>', $self{err});
	eventually(sub { slurp_file($self{out}) =~ m!(http://\S+)\n! && ($self{url} = "$1/") }, 'a gateway');
	return \%self;
}

sub stop_gateway
{
	my ($gateway) = @_;

	$gateway->{run}->signal('TERM');
	$gateway->{run}->finish;
	unlike(slurp_file($gateway->{err}), qr/apk_\w{23}/, 'no key in what it logs');
	unlike(slurp_file($gateway->{err}), qr/Traceback/, 'nor a bug');
}

# Its answer: "200 hit label", "401 miss"
sub answer
{
	my ($gateway, $key) = @_;
	my $response = HTTP::Tiny->new->get($gateway->{url}, { headers => { 'X-API-Key' => $key } });
	my $content = eval { JSON::PP::decode_json($response->{content}) } // {};

	return join ' ', grep defined, $response->{status}, $response->{headers}{'x-cache'}, $content->{label};
}

# Wait until that is so
sub eventually
{
	my ($is, $what) = @_;

	foreach (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		return pass($what) if $is->();
		select undef, undef, undef, 0.1;
	}
	fail($what);
}

# ... it answers so
sub comes
{
	my ($gateway, $key, $wanted, $what) = @_;

	eventually(sub { answer($gateway, $key) =~ $wanted }, $what) or diag(answer($gateway, $key));
}

# ... it has said so that many times
sub says
{
	my ($gateway, $pattern, $times) = @_;

	eventually(sub { $times <= (() = slurp_file($gateway->{err}) =~ /$pattern/g) }, "the gateway says: $pattern");
}

# How often it has begun to listen
sub listens { return scalar(() = slurp_file($_[0]->{err}) =~ /^listening$/mg) }

# The gateway knows the key from here on.
sub know
{
	my ($gateway, $key) = @_;

	comes($gateway, $key, qr/^200 hit/, 'it is remembered');
}

# A new key, of that name, made with such arguments
sub create
{
	my ($name, $arguments) = @_;

	return split /\|/, $node->safe_psql('postgres', "SELECT key_id, key FROM apikey_create('acme', '$name', max_derived => 5"
		  . ($arguments ? ", $arguments" : '') . ')');
}

my $gateway = start_gateway($node);
says($gateway, qr/^listening$/m, 1);

# ------------------------------------------------- what changes it forgets

my ($id, $key) = create('bot');
my ($other_id, $other) = create('other');
is(answer($gateway, $key), '200 miss bot', 'it asks');
is(answer($gateway, $key), '200 hit bot', 'and remembers');
is(answer($gateway, $_), '401 miss', 'a bad key is asked about') foreach ('rubbish') x 2, '', $key . 'x';
know($gateway, $other);

foreach (
	[ "SELECT apikey_disable('ID')", qr/^401/ ], [ "SELECT apikey_enable('ID')", qr/^200 miss bot/ ],
	[ "SELECT apikey_update('ID', label => 'robot')", qr/^200 miss robot/ ],
	[ "UPDATE apikey_key SET label = 'bot' WHERE key_id = 'ID'", qr/^200 miss bot/ ],
	[ "SELECT apikey_grant('ID', 'web', '*', 'read')", qr/^200 miss/ ])
{
	my ($sql, $wanted) = @$_;

	know($gateway, $key) if $sql !~ /enable/;
	$node->safe_psql('postgres', $sql =~ s/ID/$id/r);
	comes($gateway, $key, $wanted, "told of: $sql");
	is(answer($gateway, $other), '200 hit other', 'another key is remembered all the while');
}

# that is what the message does
know($gateway, $key);
$node->safe_psql('postgres', "SET apikey.notify = off; SELECT apikey_disable('$id')");
is(answer($gateway, $key), '200 hit bot', 'without a message it goes on');
$node->safe_psql('postgres', "SELECT apikey_enable('$id'), apikey_disable('$id')");
comes($gateway, $key, qr/^401/, 'until the next one');
$node->safe_psql('postgres', "SELECT apikey_enable('$id')");

# all keys
know($gateway, $_) foreach $key, $other;
$node->safe_psql('postgres', "SELECT apikey_suspend('acme')");
comes($gateway, $_, qr/^401/, 'told of a suspension') foreach $key, $other;
$node->safe_psql('postgres', "SELECT apikey_resume('acme')");
know($gateway, $_) foreach $key, $other;
$node->safe_psql('postgres', q{SELECT count(key) FROM generate_series(1, 1001) n, apikey_create('acme', 'many ' || n)});
$node->safe_psql('postgres', "UPDATE apikey_key SET disabled_at = now() WHERE label ~ 'many' OR key_id = '$id'");
comes($gateway, $key, qr/^401/, 'told of more than a thousand');
$node->safe_psql('postgres', "SELECT apikey_enable('$id')");

# what is no message of apikey
foreach my $payload ('', 'rubbish', '[]', '7', '{"key_id": 7}', '{"key_id": [1]}', '{"action": "x"}')
{
	$node->safe_psql('postgres', "SELECT pg_notify('apikey', '$payload')");
}
know($gateway, $key);
$node->safe_psql('postgres', "SELECT apikey_disable('$id')");
comes($gateway, $key, qr/^401/, 'rubbish on the channel harms nothing');
$node->safe_psql('postgres', "SELECT apikey_enable('$id')");
is(listens($gateway), 1, 'it has listened on one connection');

# ------------------------------------------------- what it never remembers

my ($limited_id, $limited) = create('limited', "rate_limit => '2 per hour'");
is(answer($gateway, $limited), '200 miss limited', 'a key with a rate limit is asked about') for 1 .. 2;
is(answer($gateway, $limited), '401 miss', 'so it is held to it');
my (undef, $near) = create('near', "allowed_networks => '{0.0.0.0/0, ::/0}'");
is(answer($gateway, $near), '401 miss', 'a key with networks is refused over a Unix socket');
my $derived = $node->safe_psql('postgres', "SELECT key FROM apikey_derive('$other', 'child')");
is(answer($gateway, $derived), '200 miss child', 'a derived key') for 1 .. 2;
$node->safe_psql('postgres', "SELECT apikey_disable('$other_id')");
is(answer($gateway, $derived), '401 miss', 'so its parent takes it along');
$node->safe_psql('postgres', "SELECT apikey_enable('$other_id')");

# an end that is known
my ($soon_id, $soon) = create('soon', "expires_at => now() + interval '3 seconds'");
like(answer($gateway, $soon), qr/^200/, 'a key that expires soon');
comes($gateway, $soon, qr/^401/, 'is not remembered for longer');
my ($turn_id, $turn) = create('turn');
$node->safe_psql('postgres', "SELECT key FROM apikey_rotate('$turn_id', '3 seconds')");
like(answer($gateway, $turn), qr/^200/, 'a secret whose overlap ends soon');
comes($gateway, $turn, qr/^401/, 'likewise');
my ($far_id, $far) = create('for ever', "expires_at => 'infinity'");
know($gateway, $far);

# --------------------------------------------- read before, stored after it

# A request that is answered later
sub request
{
	my ($gateway, $key) = @_;
	my ($host, $port) = $gateway->{url} =~ m!//([\d.]+):(\d+)/!;
	my $socket = IO::Socket::INET->new(PeerAddr => $host, PeerPort => $port) or die "$gateway->{url}: $!";

	print $socket "GET / HTTP/1.0\r\nX-API-Key: $key\r\n\r\n";
	$socket->flush;
	return $socket;
}

my $holder = $node->background_psql('postgres');
$holder->query_safe('SELECT pg_advisory_lock(1)');
my ($race_id, $race) = create('race');
my $request = request($gateway, $race);
$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted") or die 'it does not wait';
$node->safe_psql('postgres', "SELECT apikey_revoke('$race_id')");
# whoever has begun a second statement since has got the answer to the first, and what came with it
foreach (1, 2)
{
	my $now = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
	$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE query ~ 'queue_usage' AND usename = 'gateway' AND query_start > '$now'")
	  or die 'no heartbeat';
}
$holder->query_safe('SELECT pg_advisory_unlock(1)');
my $late = join '', <$request>;
like($late, qr/^HTTP\S+ 200 .*^X-Cache: miss/ms, 'a key that was good as it was read');
is(answer($gateway, $race), '401 miss', 'and revoked before it was stored, is not kept');

# ------------------------------------------------------------ after a gap

# the server restarts
know($gateway, $key);
my $before = listens($gateway);
$node->restart;
$node->safe_psql('postgres', "SELECT apikey_disable('$id')");
comes($gateway, $key, qr/^401/, 'changed right after a restart');
says($gateway, qr/^listening$/m, $before + 1);
$node->safe_psql('postgres', "SELECT apikey_enable('$id')");
know($gateway, $_) foreach $key, $other, $far;

# it is kept from listening, and does not hear what is sent meanwhile
my $listener = "SELECT pid FROM pg_stat_activity WHERE usename = 'gateway' AND query ~ 'queue_usage|LISTEN'";
$node->safe_psql('postgres', 'ALTER ROLE gateway NOLOGIN');
$before = listens($gateway);
$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM ($listener) l");
says($gateway, qr/not permitted to log in/m, 1);
is(answer($gateway, $far), '200 miss for ever', 'while nobody listens it asks each time') for 1 .. 2;
$node->safe_psql('postgres', "SELECT apikey_revoke('$far_id')");
$node->safe_psql('postgres', 'ALTER ROLE gateway LOGIN');
says($gateway, qr/^listening$/m, $before + 1);
is(answer($gateway, $far), '401 miss', 'revoked in the gap');
know($gateway, $key);

# the connection is there, and nothing comes: the process of the server has stopped
my $pid = $node->safe_psql('postgres', $listener);
kill 'STOP', $pid;
comes($gateway, $key, qr/^200 miss/, 'without a heartbeat it asks');
kill 'CONT', $pid;
know($gateway, $key);

# apikey sends nothing while the queue is half full
$before = listens($gateway);
$node->safe_psql('postgres', 'UPDATE slow.queue SET usage = 0.5');
says($gateway, qr/^not listening: the queue is half full/m, 1);
comes($gateway, $key, qr/^200 miss/, 'a queue that is half full');
is(answer($gateway, $key), '200 miss bot', 'it asks each time');
$node->safe_psql('postgres', 'UPDATE slow.queue SET usage = 0');
says($gateway, qr/^listening$/m, $before + 1);
know($gateway, $key);
stop_gateway($gateway);

# a limit of time, for what nobody tells
$gateway = start_gateway($node, LIFETIME => 0);
says($gateway, qr/^listening$/m, 1);
is(answer($gateway, $key), '200 miss bot', 'an entry whose time is over') for 1 .. 2;
stop_gateway($gateway);

# ------------------------------------------- where nobody can listen

$node->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('gateway_standby');
$standby->init_from_backup($node, 'b', has_streaming => 1);
$standby->start;
my (undef, undef, $err) = $standby->psql('postgres', 'LISTEN apikey');
like($err, qr/cannot execute LISTEN during recovery/, 'nobody can LISTEN on a standby');
$gateway = start_gateway($standby);
says($gateway, qr/^not listening: this is a standby/m, 1);
is(answer($gateway, $key), '200 miss bot', 'there it asks each time') for 1 .. 2;
stop_gateway($gateway);
$standby->stop;

# PgBouncer in transaction mode: LISTEN succeeds, and nothing comes
my $pooler = PostgreSQL::Test::Cluster->new('gateway_pooler');
my $conf = "$dir/pgbouncer.ini";
append_to_file($conf, sprintf "[databases]\npostgres = host=%s port=%d dbname=postgres user=gateway\n[pgbouncer]\n" .
	"listen_addr =\nlisten_port = %d\nunix_socket_dir = %s\nauth_type = any\npool_mode = transaction\nignore_startup_parameters = extra_float_digits\n",
	$node->host, $node->port, $pooler->port, $pooler->host);
my $bouncer = IPC::Run::start([ '/usr/sbin/pgbouncer', $conf ], '<', \undef, '>&', "$dir/pgbouncer.out");
$gateway = start_gateway($pooler);
says($gateway, qr/^not listening: there is a pooler in between/m, 1);
is(answer($gateway, $key), '200 miss bot', 'behind a pooler it asks each time') for 1 .. 2;
stop_gateway($gateway);
$bouncer->signal('TERM');
$bouncer->finish;

$holder->quit;
$node->stop;
done_testing();
