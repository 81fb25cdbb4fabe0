# Connection poolers: PgBouncer, and Odyssey where it is installed, in transaction mode with
# several server connections; pgpool-II before a primary and a standby.  Nobody gets the key
# of the client before, however that one ended; what PostgreSQL itself leaves behind is
# shown, and what helps.

use strict;
use warnings;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes ();
use Apikey;

use constant SERVERS => 3;

my $dir = PostgreSQL::Test::Utils::tempdir;
my $primary = start_node('poolers', allows_streaming => 1);

$primary->safe_psql('postgres', q{
	SET client_min_messages = warning;
	CREATE TABLE orders (id int GENERATED ALWAYS AS IDENTITY, project text, environment text, item text);
	INSERT INTO orders (project, environment, item) VALUES
		('web', 'production', 'banner'), ('mars', 'production', 'rocket');
	SELECT apikey_protect('orders', 'project', 'environment');
	CREATE ROLE clerk;
	CREATE ROLE app LOGIN IN ROLE clerk;
	GRANT SELECT, INSERT, UPDATE ON orders TO app;
	CREATE TABLE trace (client int, pid int, wanted text, got text);
	GRANT INSERT ON trace TO app;
	CREATE SCHEMA evil AUTHORIZATION app;
});
my ($id, $key) = issue($primary);
my $their_key = $primary->safe_psql('postgres', q{
	SELECT key FROM apikey_create('globex', 'theirs',
		'[{"project": "mars", "environment": "production", "level": "write"}]')});

$primary->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('poolers_standby');
$standby->init_from_backup($primary, 'b', has_streaming => 1);
$standby->start;

# A pooler is a server to its clients: the port and the directory of its socket are those
# of one that is not started.
sub pooler
{
	my ($name, $program) = @_;
	my ($version) = `$program --version 2>&1` =~ /(\d+\.\d+)/ or die "no $program";

	note "$name $version";
	return ({ name => $name, program => $program, node => PostgreSQL::Test::Cluster->new($name), conf => "$dir/$name.conf" }, $version);
}

# Anew, with other settings
sub start_pooler
{
	my ($self, $conf, @arguments) = @_;

	stop_pooler($self);
	unlink $self->{conf};
	append_to_file($self->{conf}, $conf);
	$self->{run} = IPC::Run::start([ $self->{program}, @arguments ], '<', \undef, '>', "$dir/$self->{name}.out", '2>', "$dir/$self->{name}.err");
	foreach (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		return if alone($self, 'SELECT 1') eq '1';
		last if !$self->{run}->pumpable;
		Time::HiRes::sleep(0.1);
	}
	die map slurp_file("$dir/$self->{name}.$_"), 'out', 'err';
}

sub stop_pooler
{
	my ($self) = @_;

	return if !$self->{run};
	$self->{run}->signal('TERM');
	$self->{run}->finish;
	delete $self->{run};
}

# Clients are of the role of the application.
sub client
{
	my ($pooler, $database) = @_;

	local $ENV{PGUSER} = 'app';
	return $pooler->{node}->background_psql($database // 'postgres', on_error_stop => 0);
}

# What one client gets that sends this, and the errors in it
sub alone
{
	my ($pooler, $sql, $database) = @_;

	open my $file, '>', "$dir/sql" or die "$dir: $!";
	print $file $sql;
	close $file;
	IPC::Run::run([ 'psql', '-XqAt', '-U', 'app', '-d', $pooler->{node}->connstr($database // 'postgres'), '-f', "$dir/sql" ],
		'<', \undef, '>', \my $out, '2>', \my $err);
	return join "\n", split(/\n/, $out), $err =~ /(ERROR:  .*)/g;
}

my $login = "SELECT label FROM apikey_login('%s');";
my $items = "SELECT string_agg(item, ' ' ORDER BY item) FROM orders;";
my $nobody = "SELECT count(*), apikey_key_id() IS NULL, current_setting('apikey.key', true) = '' FROM orders;";
my $is_nobody = '0|t|t';

# ---------------------------------- transaction mode: PgBouncer and Odyssey

# the one that is tried, and does it keep the prepared statements of drivers?
my ($bouncer, $keeps);

# Each can have its server clean up after each transaction.
sub start_pgbouncer
{
	my ($clean) = @_;
	my $server = sprintf 'host=%s port=%d dbname=postgres user=app', $primary->host, $primary->port;

	start_pooler($bouncer, sprintf(q{
[databases]
postgres = %s pool_size=%d
one = %s pool_size=1

[pgbouncer]
pool_mode = transaction
listen_addr =
listen_port = %d
unix_socket_dir = %s
auth_type = any
logfile = %s
server_reset_query_always = %d
}, $server, SERVERS, $server, $bouncer->{node}->port, $bouncer->{node}->host, "$dir/pgbouncer.log", $clean), '-q', $bouncer->{conf});
}

# It looks for the server's socket where its own is.
sub start_odyssey
{
	my ($clean) = @_;
	my $databases = '';

	foreach ([ 'postgres', SERVERS ], [ 'one', 1 ])
	{
		$databases .= sprintf q{
database "%s" {
	user "app" {
		authentication "none"
		storage "primary"
		storage_db "postgres"
		pool "transaction"
		pool_size %d
		pool_reserve_prepared_statement %s
		%s
	}
}
}, @$_, $keeps ? 'yes' : 'no', $clean ? '' : 'pool_discard no';
	}
	start_pooler($bouncer, sprintf(q{
unix_socket_dir "%s"
unix_socket_mode "0700"
locks_dir "%s"
log_format "%%t %%l %%m\n"
listen {
	port %d
}
storage "primary" {
	type "remote"
	port %d
}
%s
}, $bouncer->{node}->host, $dir, $bouncer->{node}->port, $primary->port, $databases), $bouncer->{conf});
}

# As many clients as there are servers begin a transaction at once; with the pids of
# their servers.
sub together
{
	my @clients = map client($bouncer), 1 .. SERVERS;

	return \@clients, join ' ', sort map $_->query_safe('BEGIN; SELECT pg_backend_pid();'), @clients;
}

# However a transaction ends: the next client has no key.
sub check_ends
{
	my ($others, $servers) = together();

	# each has its library, and its first snapshot
	is($_->query_safe($nobody), $is_nobody, 'no key at first') foreach @$others;
	$_->query_safe('COMMIT;') foreach @$others;

	foreach my $end ('COMMIT', 'ROLLBACK', 'COMMIT AND CHAIN', 'an error', 'released', 'rolled back', 'vanish')
	{
		my ($clients, $same) = together();

		is($same, $servers, "$end: each client has a server");
		foreach my $client (@$clients)
		{
			$client->query_safe('SAVEPOINT s;');
			is($client->query_safe(sprintf $login, $key), 'test', "$end: one logs in");
			is($client->query_safe($items), 'banner', "$end: and sees its rows");
			if ($end eq 'vanish')
			{
				$client->{run}->signal('KILL');
				$client->{run}->finish;
				next;
			}
			$client->query_safe("$end; ROLLBACK;") if $end =~ /CHAIN/;
			$client->query_safe("$end;") if $end =~ /^(?:COMMIT|ROLLBACK)$/;
			$client->query_safe('RELEASE SAVEPOINT s; COMMIT;') if $end eq 'released';
			$client->query_safe('ROLLBACK TO SAVEPOINT s; COMMIT;') if $end eq 'rolled back';
			if ($end eq 'an error')
			{
				$client->query("INSERT INTO orders (project, environment) VALUES ('mars', 'production');");
				like($client->{stderr}, qr/violates row-level security/, "$end: one writes what it must not");
				$client->{stderr} = '';
				$client->query_safe('COMMIT;');
			}
		}
		# PgBouncer closes what had a transaction open, Odyssey rolls it back
		$primary->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity
				WHERE state LIKE 'idle in transaction%' AND pid IN (" . $servers =~ tr/ /,/r . ")")
		  if $end eq 'vanish';
		foreach my $other (@$others)
		{
			is($other->query_safe("BEGIN; $nobody"), $is_nobody, "$end: the next client has no key");
			is($other->query_safe(sprintf $login, $their_key), 'theirs', "$end: and logs in");
			is($other->query_safe($items), 'rocket', "$end: as itself");
		}
		$_->query_safe('COMMIT;') foreach @$others;
		next if $end eq 'vanish';
		is($_->query_safe($nobody), $is_nobody, "$end: nor has the first one afterwards") foreach @$clients;
		$_->quit foreach @$clients;
	}
	$_->quit foreach @$others;
}

# Many at random.  Each writes down whose rows it saw, and whose it should have seen.
append_to_file("$dir/load", q{
\set who random(1, 3)
\set ending random(1, 3)
INSERT INTO trace SELECT :client_id, pg_backend_pid(), NULL, string_agg(item, ' ') FROM orders;
BEGIN;
INSERT INTO trace SELECT :client_id, pg_backend_pid(), NULL, string_agg(item, ' ') FROM orders;
\if :who = 1
SELECT label FROM apikey_login(:mine);
INSERT INTO trace SELECT :client_id, pg_backend_pid(), 'banner', string_agg(item, ' ') FROM orders;
\endif
\if :who = 2
SELECT label FROM apikey_login(:theirs);
INSERT INTO trace SELECT :client_id, pg_backend_pid(), 'rocket', string_agg(item, ' ') FROM orders;
\endif
\if :ending = 1
ROLLBACK;
\else
COMMIT;
\endif
});

sub bench
{
	my ($mode, $clients, $database) = @_;

	# a thread each: it sleeps while it prepares a statement
	return ('pgbench', '-n', '-c', $clients, '-j', $clients, '-t', '100', '-U', 'app', '-D', "mine=$key", '-D', "theirs=$their_key",
		'-f', "$dir/load", '-M', $mode, $bouncer->{node}->connstr($database));
}

sub check_load
{
	my ($mode) = @_;

	$bouncer->{node}->command_ok([ bench($mode, 8, 'postgres') ], "clients at random, with $mode statements");
	is($primary->safe_psql('postgres', 'SELECT count(*) FROM trace WHERE wanted IS DISTINCT FROM got'), 0, 'saw what they should');
	is( $primary->safe_psql('postgres', 'SELECT count(DISTINCT pid) >= ' . SERVERS . ', count(DISTINCT client), count(DISTINCT wanted),
			(SELECT count(*) > 0 FROM (SELECT FROM trace GROUP BY client HAVING count(DISTINCT pid) > 1) c) FROM trace'),
		't|8|2|t', 'by all servers');
	$primary->safe_psql('postgres', 'TRUNCATE trace');
}

# What PostgreSQL leaves on the server: one client makes it, and another one finds it.
$primary->safe_psql('postgres', q{
	CREATE TABLE stolen (key text);
	GRANT INSERT ON stolen TO app;
	SET ROLE app;
	CREATE FUNCTION evil.apikey_login(key text, OUT label text) LANGUAGE sql AS 'INSERT INTO public.stolen VALUES (key) RETURNING $$gotcha$$';
});
sub logged_in { return 'BEGIN; ' . sprintf($login, $key) . " $_[0]; COMMIT;" }
my $any_login = sprintf $login, $their_key;
my $locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()";
my @left = (
	[ 'a cursor WITH HOLD', logged_in('DECLARE c CURSOR WITH HOLD FOR SELECT item FROM orders'), 'FETCH ALL FROM c', 'banner', 'ERROR:  cursor "c" does not exist' ],
	[ 'a temporary table', logged_in('CREATE TEMP TABLE t AS SELECT item FROM orders'), 'SELECT item FROM t', 'banner', 'ERROR:  relation "t" does not exist' ],
	[ 'a temporary table in the place of another', 'CREATE TEMP TABLE orders AS SELECT 7 AS item', 'SELECT item FROM orders', '7', '' ],
	[ 'a key set for the session', "SET apikey.key = '$key'", $items, 'banner', '' ],
	[ 'a key set in a transaction, for the session', "BEGIN; SELECT set_config('apikey.key', '$key', false); COMMIT", $items, 'banner', '' ],
	[ 'an advisory lock', 'SELECT pg_advisory_lock(7)', $locks, '1', '0' ],
	[ 'a channel', 'LISTEN c', 'SELECT count(*) FROM pg_listening_channels()', '1', '0' ],
	[ 'a role', 'SET ROLE clerk', 'SELECT current_user', 'clerk', 'app' ],
	[ 'a search_path', 'SET search_path = evil, public', $any_login, 'gotcha', 'theirs' ],
	[ 'the same, with a name that has its schema', 'SET search_path = evil, public', sprintf($login =~ s/apikey_/public.apikey_/r, $their_key), 'theirs', 'theirs' ],
	[ 'a prepared statement', logged_in('PREPARE q AS SELECT item FROM orders; EXECUTE q'),
		"BEGIN; $any_login" . ' EXECUTE q; COMMIT', "theirs\nrocket", "theirs\nERROR:  prepared statement \"q\" does not exist" ]);

# One client leaves each on the only server of a database, and another one looks.  Some
# things the pooler itself takes away, or leaves: what is found instead.
sub check_left
{
	my ($clean, %found) = @_;

	foreach my $left (@left)
	{
		my ($name, $leave, $find, @found) = @$left;
		my $first = client($bouncer, 'one');

		$first->query_safe("$leave;");
		is(alone($bouncer, $find, 'one'), $found{$name} // $found[$clean], $name . ($clean ? ' is cleaned up' : ' stays'));
		$first->quit;
		alone($bouncer, 'DISCARD ALL', 'one');
	}
}

sub fails_prepared
{
	my ($why) = @_;

	command_fails_like([ bench('prepared', 2, 'one') ], qr/prepared statement "\w+" (?:already exists|does not exist)/,
		"prepared statements: an error, $why");
}

($bouncer, my $version) = pooler('pgbouncer', '/usr/sbin/pgbouncer');
$keeps = $version >= 1.21;
diag "pgbouncer $version keeps no prepared statements in transaction mode, as 1.21 does" if !$keeps;
start_pgbouncer(0);
check_ends();
check_load('extended');
$keeps ? check_load('prepared') : fails_prepared("by pgbouncer $version");
# which PostgreSQL 18 reports
check_left(0, $version >= 1.26 && $primary->safe_psql('postgres', 'SHOW server_version_num') >= 180000 ? ('a search_path' => 'theirs') : ());
start_pgbouncer(1);
check_left(1);
check_load($keeps ? 'prepared' : 'extended');
stop_pooler($bouncer);

if (-x '/usr/bin/odyssey')
{
	($bouncer) = pooler('odyssey', '/usr/bin/odyssey');
	$keeps = 0;
	start_odyssey(1);
	check_load('extended');
	fails_prepared('unless odyssey reserves them');
	check_left(1);
	$keeps = 1;
	start_odyssey(0);
	check_ends();
	check_load('prepared');
	check_left(0);
	start_odyssey(1);
	check_load('prepared');
	# not one made by PREPARE
	check_left(1, 'a prepared statement' => "theirs\nrocket");
	stop_pooler($bouncer);
}
else
{
	note 'no odyssey here';
}

# -------------------------------------------------------------- pgpool-II

my ($pgpool, $pgpool_version) = pooler('pgpool', '/usr/sbin/pgpool');

sub start_pgpool
{
	my $sockets = $pgpool_version >= 4.4 ? 'unix_socket_directories' : 'socket_dir';
	my $host = $primary->host;
	my $user = $primary->safe_psql('postgres', 'SELECT current_user');

	start_pooler($pgpool, sprintf(q{
backend_clustering_mode = 'streaming_replication'
listen_addresses = ''
port = %d
%s = '%s'
pcp_listen_addresses = ''
pcp_port = %d
pcp_socket_dir = '%s'
pid_file_name = '%s/pgpool.pid'
logdir = '%s'
work_dir = '%s'
enable_pool_hba = off
pool_passwd = ''
num_init_children = 4
sr_check_user = '%s'
sr_check_database = 'postgres'
backend_hostname0 = '%s'
backend_port0 = %d
backend_weight0 = 0
backend_hostname1 = '%s'
backend_port1 = %d
backend_weight1 = 1
%s
}, $pgpool->{node}->port, $sockets, $pgpool->{node}->host, $pgpool->{node}->port + 1, $dir, $dir, $dir, $dir, $user,
		$host, $primary->port, $host, $standby->port, join("\n", @_)),
		'-n', '-f', $pgpool->{conf}, '-F', '/dev/null');
}

my $where = "SELECT current_setting('port');";
my ($on_primary, $on_standby) = ($primary->port, $standby->port);
my $work = "BEGIN; $where " . sprintf($login, $key) . " $where $items COMMIT; $nobody";

start_pgpool();
is(alone($pgpool, $where), $on_standby, 'pgpool reads on the standby');
is(alone($pgpool, $work), join("\n", $on_standby, 'test', $on_primary, 'banner', $is_nobody),
	'what follows a log-in goes where that went: to the primary');

# a standby that does not know yet
my ($waiting_id, $waiting) = issue($primary);
my $ask = "SELECT apikey_authorize('%s', 'web', 'production', 'write');";
$primary->wait_for_catchup($standby);
$standby->safe_psql('postgres', 'SELECT pg_wal_replay_pause()');
$standby->poll_query_until('postgres', "SELECT pg_get_wal_replay_pause_state() = 'paused'") or die 'no pause';
$primary->safe_psql('postgres', "SELECT apikey_revoke('$id')");
is(alone($pgpool, sprintf $ask, $key), 't', 'a decision alone is made there, and so late');
is(alone($pgpool, 'BEGIN; ' . sprintf($ask, $key) . ' COMMIT'), 't', 'in a transaction, too');
is(alone($pgpool, 'BEGIN ISOLATION LEVEL SERIALIZABLE; ' . sprintf($ask, $key) . ' COMMIT'), 'f', 'but not in a serializable one');
like(alone($pgpool, 'BEGIN; ' . sprintf($login, $key)), qr/^ERROR:  invalid API key/, 'a log-in is refused at once');
is(alone($pgpool, "SELECT label FROM apikey_verify('$key')"), '', 'and apikey_verify');

# under remote_apply it knows when the revocation returns
$primary->append_conf('postgresql.conf', "synchronous_standby_names = '*'");
$primary->reload;
$primary->poll_query_until('postgres', "SELECT sync_state IN ('sync', 'quorum') FROM pg_stat_replication") or die 'not synchronous';
my $revoking = $primary->background_psql('postgres', on_error_stop => 0);
$revoking->query_until(qr/begun/, "\\echo begun\nSET synchronous_commit = remote_apply; SELECT apikey_revoke('$waiting_id');\n");
$primary->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'") or die 'no wait';
is(alone($pgpool, sprintf $ask, $waiting), 't', 'under remote_apply: while the revocation waits');
start_pgpool("primary_routing_query_pattern_list = '.*apikey_.*'");
is(alone($pgpool, sprintf $ask, $key), 'f', 'primary_routing_query_pattern_list has the primary decide');
is(alone($pgpool, $where), $on_standby, 'and no more than that');
$standby->safe_psql('postgres', 'SELECT pg_wal_replay_resume()');
$revoking->query_safe('SELECT 1;');
$revoking->quit;
start_pgpool("disable_load_balance_on_write = 'off'");
is(alone($pgpool, sprintf $ask, $waiting), 'f', 'it has returned: refused by the standby');

# nobody is logged in where the reads go
is(alone($pgpool, $work =~ s/\Q$key\E/$their_key/r), join("\n", $on_standby, 'theirs', $on_standby, '', $is_nobody),
	'disable_load_balance_on_write = off: there are no rows');
stop_pooler($pgpool);

$_->stop('immediate') foreach $standby, $primary;
done_testing();
