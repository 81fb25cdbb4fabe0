# An upgrade of the extension, simulated: sessions that have loaded the old library and
# such with the new one, before, during and after the script; where it is preloaded, and a
# standby whose files are old, too.

use strict;
use warnings;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Apikey;
use Upgrade;

my $copy = make_next();
my $dir = PostgreSQL::Test::Utils::tempdir;
my @tables = tables();
my $wait = 20;		# seconds, where nothing should have to wait

sub session
{
	my ($node, $database) = @_;
	my $session = $node->background_psql($database // 'postgres', on_error_stop => 1);

	$session->query_safe("SET statement_timeout = '${wait}s'; PREPARE decide AS $decide;");
	return $session;
}

sub decide { return $_[0]->query_safe('EXECUTE decide;') }
sub attempt { return $_[0]->query_safe("SELECT attempt(\$q\$$_[1]\$q\$);") }
sub live { return $_[0]->query_safe("SELECT live('$_[1]');") }

# Through row-level security, by an index and in parallel
my $visible = q{
	BEGIN;
	SET LOCAL ROLE app;
	SET LOCAL apikey.key = '%s';
	SELECT count(*) FROM doc;
	SET LOCAL enable_indexscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_indexonlyscan = off;
	SET LOCAL min_parallel_table_scan_size = 0; SET LOCAL parallel_setup_cost = 0; SET LOCAL parallel_tuple_cost = 0;
	SELECT count(*) FROM doc WHERE n > 1000;
	COMMIT;
};
my $parallel = q{
	SET min_parallel_table_scan_size = 0; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0;
	EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off) SELECT count(*) FROM token, generate_series(1, 100) WHERE apikey_authorize(key, 'web', 'production', 'write');
	SELECT count(*) FROM token, generate_series(1, 100) WHERE apikey_authorize(key, 'web', 'production', 'write');
	RESET min_parallel_table_scan_size; RESET parallel_setup_cost; RESET parallel_tuple_cost;
};

sub key { return $_[0]->safe_psql('postgres', "SELECT key FROM token WHERE name = '$_[1]'") }

# All is as it should be for each of the sessions, and what one takes away the others
# refuse at once.
my $times = 0;

sub check
{
	my ($what, $node, %sessions) = @_;
	my @names = sort keys %sessions;
	my $good_key = key($node, 'good');

	foreach my $name (@names)
	{
		my $session = $sessions{$name};
		my ($id, $key) = split /\|/, $session->query_safe("SELECT key_id, key FROM some_key('acme', 'taken', 'write');");
		my $ask = "SELECT apikey_authorize('$key', 'web', 'production', 'write');";

		is(decide($session), $good, "$what, $name: decisions");
		is($session->query_safe(sprintf($visible, $good_key)), "1000\n500", "$what, $name: row-level security");
		like($session->query_safe($parallel), qr/Workers Launched: [12]\n.*^600$/ms, "$what, $name: parallel workers");
		is(live($session, 'life' . ++$times), $lived, "$what, $name: changes");
		is(join('', map $sessions{$_}->query_safe($ask), @names), 't' x @names, "$what, $name: all accept its key");
		$session->query_safe("SELECT apikey_revoke('$id');");
		is(join('', map $sessions{$_}->query_safe($ask), @names), 'f' x @names, "$what, $name: what it revokes all refuse");
	}
}

# Which version a session's library has
sub library
{
	return attempt($_[0], "SELECT apikey_internal.require_library('$next')") eq 'done' ? 'new' : 'old';
}

sub is_extension
{
	my ($node, $version, $what) = @_;

	is($node->safe_psql('postgres', "SELECT extversion FROM pg_extension WHERE extname = 'apikey'"), $version, $what);
}

# Every row has the default, whoever wrote it.
sub check_notes
{
	my ($node, $what, %empty) = @_;

	foreach my $table (@tables)
	{
		my ($rows, $others) = split /\|/, $node->safe_psql('postgres', "SELECT count(*), count(*) FILTER (WHERE note IS DISTINCT FROM 'none') FROM $table");

		is($others, 0, "$what: defaults in $table");
		$table eq 'apikey_subscription' || $empty{$table} ? is($rows, 0, 'which is empty') : cmp_ok($rows, '>', 0, 'in all of its rows');
	}
}

# What is in all tables, with what the upgrade has added or without
sub content
{
	my ($node, $database, $row) = @_;

	return $node->safe_psql($database, join ' UNION ALL ',
		map "SELECT '$_', count(*), md5(string_agg(($row)::text, ' ' ORDER BY ($row)::text COLLATE \"C\")) FROM $_ t", @tables);
}

sub dump_to
{
	my ($node, $file) = @_;

	$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/$file", 'postgres' ], "dump: $file");
}

sub restore
{
	my ($node, $file, @options) = @_;

	$node->safe_psql('postgres', "CREATE DATABASE $file");
	$node->command_ok([ 'pg_restore', '--exit-on-error', @options, '-d', $file, "$dir/$file" ], "restored: $file @options");
	is($node->safe_psql($file, $decide), $good, "$file: decisions");
	is($node->safe_psql($file, "SELECT live('restored')"), $lived, "$file: changes");
}

# An upgrade is made, while sessions wait for it or do not, and undone; then it is made for good.
sub upgrade
{
	my ($node, %warm) = @_;
	my $upgrade = "SET lock_timeout = '10s'; BEGIN; ALTER EXTENSION apikey UPDATE;";
	my $session = session($node);

	foreach my $end ('ROLLBACK', 'COMMIT')
	{
		my $cold = session($node);
		my $warm = (sort keys %warm)[0];

		decide($_) foreach values %warm;
		$session->query_safe($upgrade);
		is(decide($warm{$_}), $good, "$end: $_, which knows the keys, decides meanwhile") foreach sort keys %warm;
		$cold->query_until(qr/begun/, "\\echo begun\n$decide;\n");
		ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_locks WHERE NOT granted AND relation::regclass::text LIKE 'apikey%'"),
			"$end: one that does not know them waits");
		$session->query_safe("$end;");
		is($cold->query_safe(''), $good, "$end: and then decides");
		is(decide($warm{$_}), $good, "$end: so does $_") foreach sort keys %warm;
		$cold->quit;
	}
	$session->quit;
}

# ------------------------------------------------------------- not preloaded

{
	my ($pg_config, $path) = installation();
	my $node = start_node('on_demand', install_path => $path);
	my $old = $node->safe_psql('postgres', "SELECT extversion FROM pg_extension WHERE extname = 'apikey'");

	$node->safe_psql('postgres', $setup);
	my %sessions = (old => session($node));
	check('before', $node, %sessions);

	# transactions that have begun, with a cursor and with an old snapshot
	my $reader = session($node);
	$reader->query_safe("BEGIN ISOLATION LEVEL REPEATABLE READ; DECLARE c CURSOR FOR SELECT apikey_authorize('" . key($node, 'good')
		  . "', project, environment, 'write') FROM doc ORDER BY n;");
	is($reader->query_safe('FETCH 2 FROM c; EXECUTE decide;'), "f\nt\n$good", 'in a transaction');
	dump_to($node, 'before');
	my $content = content($node, 'postgres', 't');

	install_next($copy, $pg_config);
	$sessions{new} = session($node);
	is("@{[ map library($_), @sessions{'old', 'new'} ]}", 'old new', 'new sessions load the new library');
	is(attempt($sessions{old}, "SELECT apikey_internal.require_library('$next')"),
		qq(55000 | extension "apikey" has version $next, but this session has loaded the library of version $old | )
		  . 'Reconnect, or restart the server if the library is in "shared_preload_libraries"; if its new version is not installed, install that.',
		'the old one says what to do');
	is(attempt($sessions{$_}, "SELECT apikey_internal.require_library('1.0')"), 'done', "$_: an earlier version is enough") foreach keys %sessions;
	check('new files', $node, %sessions);
	is($node->safe_psql('postgres', "SELECT installed_version, default_version FROM pg_available_extensions WHERE name = 'apikey'"), "$old|$next",
		'the server tells that an upgrade is due');

	# from a session with the old library the script does not run
	like(attempt($sessions{old}, 'ALTER EXTENSION apikey UPDATE'), qr/^55000 \| extension "apikey" has version \Q$next\E, but this session has loaded/,
		'the script needs the new library');
	is_extension($node, $old, 'and then does nothing');

	upgrade($node, %sessions);
	is_extension($node, $next, 'upgraded');
	is($reader->query_safe('FETCH 2 FROM c; EXECUTE decide;'), "f\nt\n$good", 'a transaction goes on, with its cursor');
	$sessions{newer} = session($node);
	check('upgraded', $node, %sessions);
	$reader->query_safe('COMMIT;');
	$node->safe_psql('postgres', "DELETE FROM apikey_use; INSERT INTO apikey_use (key_id, uses, refusals) VALUES (gen_random_uuid(), 1, 0);
		INSERT INTO apikey_use_hour (key_id, hour, uses, refusals) VALUES (gen_random_uuid(), now(), 1, 0)");
	check_notes($node, 'upgraded');

	# the new function
	is(attempt($sessions{newer}, q{SELECT apikey_answer('x')}), 42, 'the new library has the new function');
	like(attempt($sessions{old}, q{SELECT apikey_answer('x')}), qr/^42883 \| could not find function "apikey_answer" in file /, 'the old one does not');
	is(attempt($sessions{old}, 'SELECT count(note) FROM apikey_budgets WHERE key_id = (SELECT key_id FROM token WHERE name = $$good$$)'), 1, 'views have new columns');

	# the new table, of which the old library knows nothing
	my ($id, $key) = issue($node);
	my $ask = "SELECT apikey_authorize('$key', 'web', 'production', 'write');";
	$node->safe_psql('postgres', "INSERT INTO apikey_note SELECT key_id, organization, 'a note' FROM apikey_key WHERE label IN ('test', 'good')");
	is($sessions{new}->query_safe($ask), 't', 'a key with a row in the new table');
	$sessions{old}->query_safe("SELECT apikey_delete('$id');");
	is($sessions{new}->query_safe($ask), 'f', 'deleted with that row by the old library');
	is($node->safe_psql('postgres', q{SELECT body, (SELECT action FROM apikey_events ORDER BY at DESC LIMIT 1) FROM apikey_note}), 'a note|delete', 'and only with that one');
	$sessions{old}->query_safe('UPDATE apikey_note SET body = body;');
	is($node->safe_psql('postgres', q{SELECT action, detail ->> 'table' FROM apikey_events ORDER BY at DESC LIMIT 1}), 'update|apikey_note', 'what SQL does to it is recorded');
	$node->safe_psql('postgres', 'CREATE TRIGGER new AFTER INSERT ON apikey_note FOR EACH ROW EXECUTE FUNCTION apikey_internal.changed()');
	like(attempt($sessions{old}, q{INSERT INTO apikey_note SELECT key_id, organization, 'x' FROM apikey_key WHERE label = 'reader'}),
		qr/^55000 \| table "apikey_note" is not known to the library of version \Q$old\E, which this session has loaded \| Reconnect/, 'nor does it check rows of it');
	$node->safe_psql('postgres', 'DROP TRIGGER new ON apikey_note');
	$node->safe_psql('postgres', 'CREATE TABLE other (key_id uuid); CREATE TRIGGER other AFTER DELETE ON other FOR EACH ROW EXECUTE FUNCTION apikey_internal.changed(); INSERT INTO other VALUES (NULL)');
	like(attempt($sessions{old}, 'DELETE FROM other'), qr/^39P01/, 'a table that is no member is none of ours');

	# dumps
	$node->safe_psql('postgres', "UPDATE $_ SET note = 'other' WHERE ctid = (SELECT min(ctid) FROM $_)") foreach grep !/_event$/, @tables;
	dump_to($node, 'after');
	$node->safe_psql('postgres', 'CREATE TABLE was AS SELECT 1');
	my $now = content($node, 'postgres', 't');
	restore($node, 'after', '-j2');
	is($node->safe_psql('after', "SELECT count(*) FROM apikey_key WHERE note = 'other'"), 1, 'what the upgrade added is in a dump');
	is($node->safe_psql('after', 'SELECT body, note FROM apikey_note, apikey_budgets b WHERE b.key_id = apikey_note.key_id'), 'a note|other', 'the new table, too');
	restore($node, 'before');
	is($node->safe_psql('before', "SELECT extversion FROM pg_extension WHERE extname = 'apikey'"), $next, 'a dump of the old version restores into the new one');
	is($node->safe_psql('before', "SELECT count(*) FROM apikey_key WHERE note <> 'none'"), 0, 'with defaults');

	# dropped and made again, with warm sessions
	$node->safe_psql('postgres', 'SET client_min_messages = error; DROP EXTENSION apikey CASCADE');
	like(attempt($sessions{$_}, "SELECT apikey_authorize('$key', 'web', 'production', 'read')"), qr/^42883/, "$_: dropped") foreach sort keys %sessions;
	$node->safe_psql('postgres', q{CREATE EXTENSION apikey; SELECT apikey_add_project('acme', 'web'), apikey_add_project('globex', 'mars')});
	foreach my $name (sort keys %sessions)
	{
		is(decide($sessions{$name}), '', "$name: made again, and empty");
		is(live($sessions{$name}, "again_$name"), $lived, "$name: changes");
		$sessions{$name}->quit;
	}
	$reader->quit;
	unlike(slurp_file($node->logfile), qr/terminated by signal|PANIC|TRAP|XX000/, 'no crash');
	$node->stop;
}

# ----------------------------------------------------------------- preloaded

{
	my ($pg_config, $path) = installation();
	my (undef, $other_path) = installation();
	my $node = start_node('preloaded', install_path => $path, allows_streaming => 1,
		conf => "shared_preload_libraries = 'apikey'\napikey.flush_interval = 1\n");
	my $old = $node->safe_psql('postgres', "SELECT extversion FROM pg_extension WHERE extname = 'apikey'");

	$node->safe_psql('postgres', $setup);
	$node->backup('b');
	my $standby = PostgreSQL::Test::Cluster->new('standby', install_path => $other_path);
	$standby->init_from_backup($node, 'b', has_streaming => 1);
	$standby->start;
	my $far = session($standby);
	$node->wait_for_catchup($standby);
	is(decide($far), $good, 'a standby decides');

	my %sessions = (warm => session($node));
	check('before', $node, %sessions);
	install_next($copy, $pg_config);
	$sessions{fresh} = session($node);
	is("@{[ map library($_), @sessions{'warm', 'fresh'} ]}", 'old old', 'new sessions have the old library until the restart');
	check('new files', $node, %sessions);
	like(attempt($sessions{fresh}, 'ALTER EXTENSION apikey UPDATE'),
		qr/^55000 \| extension "apikey" has version \Q$next\E, but this session has loaded the library of version \Q$old\E \| .*restart the server/, 'the script asks for it');
	like(attempt($sessions{fresh}, 'CREATE EXTENSION apikey'), qr/^42710/, 'there is one');
	$node->safe_psql('postgres', 'CREATE DATABASE another');
	like(($node->psql('another', 'CREATE EXTENSION apikey CASCADE'))[2], qr/has version \Q$next\E, but this session has loaded the library of version \Q$old\E/,
		'the whole script does likewise');
	is($node->safe_psql('another', 'SET client_min_messages = error; CREATE EXTENSION apikey VERSION "1.0" CASCADE; SELECT extversion FROM pg_extension WHERE extname = $$apikey$$'), '1.0',
		'the old version can be installed');
	is_extension($node, $old, 'nothing has changed');
	check('asked', $node, %sessions);
	$_->quit foreach values %sessions;

	$node->restart;
	%sessions = (warm => session($node));
	is(library($sessions{warm}), 'new', 'after the restart they have the new one');
	check('restarted', $node, %sessions);
	$node->poll_query_until('postgres', 'SELECT count(*) > 5 FROM apikey_use') or die 'no flush';
	upgrade($node, %sessions);
	is_extension($node, $next, 'upgraded');
	$sessions{fresh} = session($node);
	check('upgraded', $node, %sessions);
	$node->poll_query_until('postgres', 'SELECT pending = 0 FROM apikey_usage_stats()') or die 'no flush';
	check_notes($node, 'upgraded');
	is($node->safe_psql('postgres', q{SELECT count(*) FROM apikey_use WHERE key_id IN (SELECT key_id FROM apikey_key WHERE created_at > (SELECT pg_postmaster_start_time()))}) > 5,
		1, 'the worker goes on, and fills in defaults');
	is(attempt($sessions{warm}, q{SELECT apikey_answer('x')}), 42, 'the new function');

	# the standby has the old files, and preloads them
	$node->wait_for_catchup($standby);
	is(library($far), 'old', 'the standby has the old library');
	is(decide($far), $good, 'and decides');
	my ($id, $key) = split /\|/, $sessions{warm}->query_safe(q{SELECT key_id, key FROM some_key('acme', 'taken', 'write');});
	$node->wait_for_catchup($standby);
	is($far->query_safe("SELECT apikey_authorize('$key', 'web', 'production', 'write');"), 't', 'it accepts a new key');
	$sessions{warm}->query_safe("SELECT apikey_revoke('$id');");
	$node->wait_for_catchup($standby);
	is($far->query_safe("SELECT apikey_authorize('$key', 'web', 'production', 'write');"), 'f', 'and refuses it when it is revoked');
	like(attempt($far, q{SELECT apikey_answer('x')}), qr/^42883 \| could not find function/, 'the new function it has not');
	$_->quit foreach values %sessions;
	$node->stop('fast');
	$standby->promote;
	my $promoted = session($standby);
	check('promoted', $standby, 'promoted' => $promoted);
	$far->quit;
	$promoted->quit;
	unlike(slurp_file($_->logfile), qr/terminated by signal|PANIC|TRAP|XX000/, 'no crash') foreach $node, $standby;
	$standby->stop;
}

# ---------------------------------------------------- beside other work

# An upgrade that waits for a short time only, and then begins anew, makes no deadlock that
# others would see.  The subscriber comes first.
{
	my ($pg_config, $path) = installation();
	my $node = start_node('busy', install_path => $path, allows_streaming => 'logical');
	my ($out, $err);
	my %ended = (done => 0);

	$node->safe_psql('postgres', 'CREATE DATABASE subscriber');
	$node->safe_psql('subscriber', 'SET client_min_messages = error; CREATE EXTENSION apikey CASCADE');
	$node->safe_psql('postgres', "CREATE PUBLICATION keys FOR TABLE apikey_project, apikey_environment, apikey_suspension, apikey_key, apikey_secret, apikey_grant;
		SELECT pg_create_logical_replication_slot('keys', 'pgoutput')");
	my $publisher = $node->connstr('postgres') =~ s/'/''/gr;
	$node->safe_psql('subscriber', "CREATE SUBSCRIPTION keys CONNECTION '$publisher' PUBLICATION keys WITH (create_slot = false)");
	$node->poll_query_until('subscriber', "SELECT count(*) = 6 FROM pg_subscription_rel WHERE srsubstate = 'r'") or die 'no copy';
	install_next($copy, $pg_config);

	append_to_file("$dir/load", q{
SELECT key_id, key FROM apikey_create('acme', 'load', '[{"project": "web", "environment": "production", "level": "write"}]', max_derived => 3) \gset
SELECT 1 / apikey_authorize(:key, 'web', 'production', 'write')::int;
SELECT count(d) FROM apikey_derive(:key, 'derived') d;
SELECT apikey_rotate(:key_id, '1 day');
SELECT apikey_set_budget(:key_id, 100);
SELECT apikey_spend(:key, 1);
SELECT apikey_add_project('acme', concat('p', :client_id::text));
SELECT apikey_remove_project(concat('p', :client_id::text));
SELECT apikey_revoke(:key_id);
SELECT 1 / (NOT apikey_authorize(:key, 'web', 'production', 'write'))::int;
SELECT apikey_delete(:key_id);
});
	my $nothing = '';
	my $bench = IPC::Run::start([ 'pgbench', '-n', '-M', 'prepared', '-c', 6, '-T', 12, '-f', "$dir/load", '-h', $node->host, '-p', $node->port, 'postgres' ],
		'<', \$nothing, '>', \$out, '2>', \$err);
	for my $try (1 .. 100)
	{
		my $database = $ended{done} < 4 ? 'subscriber' : 'postgres';
		my $end = $ended{done} % 4 < 3 ? 'ROLLBACK' : 'COMMIT';
		my $said = ($node->psql($database, "\\set VERBOSITY sqlstate\nSET lock_timeout = '200ms'; BEGIN; ALTER EXTENSION apikey UPDATE; $end"))[2];

		$ended{ $said =~ /ERROR:  (\w+)/ ? $1 : 'done' }++;
		last if $ended{done} == 8;
	}
	is(delete $ended{done}, 8, 'it was made');
	is(join(' ', keys %ended) =~ s/55P03//r, '', 'or said that it had to wait too long');
	is_extension($node, $next, 'upgraded');
	ok($bench->finish, 'others work');
	unlike($err, qr/ERROR/, 'without an error');
	like($out, qr/^number of failed transactions: 0 /m, 'nor a deadlock');
	note $out;
	check_notes($node, 'upgraded', map { $_ => 1 } qw(apikey_suspension apikey_use apikey_use_hour apikey_budget apikey_secret apikey_derivation apikey_heartbeat apikey_key apikey_grant));

	my ($id, $key) = issue($node);
	$node->wait_for_catchup('keys');
	is(may($node, $key, 'subscriber'), 't', 'the subscriber, which came first, gets new keys');
	$node->safe_psql('postgres', "SELECT apikey_revoke('$id')");
	$node->wait_for_catchup('keys');
	is(may($node, $key, 'subscriber'), 'f', 'and what is revoked');

	# the other way round it would hear of nothing more, until it is upgraded
	$node->safe_psql('subscriber', 'ALTER TABLE apikey_key DROP COLUMN note');
	($id, $key) = issue($node);
	$node->wait_for_log(qr/logical replication target relation "public\.apikey_key" is missing replicated column: "note"/);
	is(may($node, $key, 'subscriber'), 'f', 'a subscriber that lacks a column gets nothing');
	$node->safe_psql('subscriber', q{ALTER TABLE apikey_key ADD COLUMN note text NOT NULL DEFAULT 'none'});
	$node->wait_for_catchup('keys');
	is(may($node, $key, 'subscriber'), 't', 'and goes on when it has it');
	$node->safe_psql('subscriber', 'ALTER SUBSCRIPTION keys DISABLE; ALTER SUBSCRIPTION keys SET (slot_name = NONE); DROP SUBSCRIPTION keys');
	$node->stop;
}

done_testing();
