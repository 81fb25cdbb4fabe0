# Imported keys: bcrypt is computed once, and gives way to a hash of ours at the
# first use that may write; whoever uses a key neither waits nor fails for that.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Apikey;

my $node = start_node('import', allows_streaming => 1, conf => 'track_functions = all');
my $dir = PostgreSQL::Test::Utils::tempdir;

$node->safe_psql('postgres', q{
	CREATE FUNCTION bcrypt(t text, cost int) RETURNS text LANGUAGE sql AS $$
		SELECT '$2b' || substr(crypt(t, gen_salt('bf', cost)), 4)
	$$;
	CREATE FUNCTION import(t text, cost int DEFAULT 4) RETURNS uuid LANGUAGE sql AS $$
		SELECT apikey_import('acme', t, 'formbricks-v2', bcrypt(t, cost), encode(sha256(convert_to(t, 'UTF8')), 'hex'),
			'[{"project": "web", "environment": "production", "level": "write"}]')
	$$;
	-- only of functions that have settings C code leaves a trace when it calls them
	ALTER FUNCTION crypt(text, text) SET work_mem = '4MB';
	-- milliseconds that a command takes
	CREATE FUNCTION ms(command text) RETURNS float LANGUAGE plpgsql AS $$
	DECLARE
		start timestamptz = clock_timestamp();
	BEGIN
		EXECUTE command;
		RETURN extract(epoch FROM clock_timestamp() - start) * 1000;
	END $$;
});

# A new key, with bcrypt of the least cost unless told otherwise; its text.
my $count = 0;
sub take_over
{
	my $name = 'key' . $count++;

	$node->safe_psql('postgres', "SELECT import('$name'" . (@_ ? ", $_[0]" : '') . ')');
	return "fbk_$name";
}

sub scheme
{
	my ($key) = @_;

	return $node->safe_psql('postgres', qq{
		SELECT scheme FROM apikey_secret WHERE lookup = sha256(substr('$key', 5)::bytea)});
}

# apikey_login warns outside of transactions
sub session
{
	my $session = $_[0]->background_psql('postgres', on_error_stop => 1);

	$session->query_safe('SET client_min_messages = error');
	return $session;
}

sub login { return "SELECT count(label) FROM apikey_login('$_[0]');"; }

sub ask { return "SELECT apikey_authorize('$_[0]', 'web', 'production', 'write');"; }

# The first use.
{
	my $key = take_over();
	my $hash = $node->safe_psql('postgres', "SELECT verifier FROM apikey_secret");
	my ($one, $two) = (session($node), session($node));
	my $look = 'SELECT ctid, xmin, * FROM apikey_secret;';

	like($hash, qr/^\\x24326224/, 'bcrypt');
	is($two->query_safe(ask($key)), 't', 'a decision');
	is($two->query_safe("SELECT reason FROM apikey_explain('$key', 'web', 'production', 'read');"),
		'granted: write', 'another');
	is($one->query_safe("BEGIN READ ONLY; " . login($key)), '1', 'log-in in a read-only transaction');
	is($one->query_safe('SELECT label FROM apikey_whoami();'), 'key0', 'the key of the session there');
	$one->query_safe('COMMIT;');
	is($one->query_safe("SET default_transaction_read_only = on; " . login($key)), '1', 'in a read-only session');
	$one->query_safe('RESET default_transaction_read_only;');
	is(scheme($key), 'bcrypt', 'nothing has been written');

	is($one->query_safe(login($key)), '1', 'log-in where it may write');
	is(scheme($key), 'apikey', 'a hash of ours has taken the place');
	$hash =~ s/^\\x//;
	is($node->safe_psql('postgres', "SELECT count(*) FROM apikey_secret s WHERE strpos(s::text, '$hash') > 0"),
		0, 'bcrypt is gone');

	my $row = $node->safe_psql('postgres', $look);
	foreach my $session ($two, $one)
	{
		is($session->query_safe('BEGIN; ' . login($key)), '1', 'a session that remembers the key');
		is($session->query_safe('SELECT pg_current_xact_id_if_assigned() IS NULL; COMMIT;'), 't',
			'writes nothing, not even a lock');
	}
	is(may($node, $key), 't', 'a new session');
	is($node->safe_psql('postgres', login($key)), '1', 'logs in');
	is($node->safe_psql('postgres', $look), $row, 'it was written once');
	is(may($node, $key . 'x') . may($node, 'key0') . may($node, "fbk_$key"), 'fff', 'other texts are refused');

	my $other = take_over();
	is($one->query_safe("SELECT count(*) FROM apikey_verify('$other');"), '1', 'apikey_verify');
	is(scheme($other), 'apikey', 'does the same');
	$other = take_over();
	$one->query_safe(qq{BEGIN READ ONLY; SET LOCAL request.headers = '{"x-api-key": "$other"}'; SELECT apikey_pre_request(); COMMIT;});
	is(scheme($other), 'bcrypt', 'apikey_pre_request before a GET does not');
	$one->query_safe(qq{BEGIN; SET LOCAL request.headers = '{"authorization": "Bearer $other"}'; SELECT apikey_pre_request(); COMMIT;});
	is(scheme($other), 'apikey', 'before a POST it does');
	$_->quit foreach $one, $two;
}

# Under a pepper
{
	my $key = take_over();
	my $pepper = "SET apikey.pepper_file = '$dir/pepper'; ";

	append_to_file("$dir/pepper", "a pepper of some length\n");
	is($node->safe_psql('postgres', $pepper . login($key)), '1', 'the first use under a pepper');
	is(scheme($key), 'apikey-pepper', 'mixes it in');
	is($node->safe_psql('postgres', $pepper . ask($key)), 't', 'with which the key works');
	is(may($node, $key), 'f', 'and not without');
}

# Somebody else has the row, or the table.
foreach my $case (
	[ 'rehashed it', sub { login($_[0]) } ],
	[ 'locked it', sub { "SELECT FROM apikey_secret WHERE lookup = sha256(substr('$_[0]', 5)::bytea) FOR UPDATE;" } ],
	[ 'is rotating it', sub { "SELECT FROM apikey_keys, apikey_rotate(key_id, '1 hour') WHERE label = substr('$_[0]', 5);" } ],
	[ 'is deleting it', sub { "SELECT apikey_delete(key_id) FROM apikey_keys WHERE label = substr('$_[0]', 5);" } ],
	[ 'locked the table', sub { 'LOCK TABLE apikey_secret IN EXCLUSIVE MODE;' } ])
{
	my ($what, $statement) = @$case;
	my $key = take_over();
	my ($one, $two) = (session($node), session($node));

	$two->query_safe("SET lock_timeout = '1ms';");
	$one->query_safe('BEGIN; ' . $statement->($key));
	foreach my $isolation ('READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE')
	{
		is($two->query_safe("BEGIN ISOLATION LEVEL $isolation; " . login($key) . 'COMMIT;'), '1',
			"another transaction $what: no wait, no failure in $isolation");
	}
	is(scheme($key), 'bcrypt', 'and nothing done');
	$one->query_safe('ROLLBACK;');
	is($one->query_safe(ask($key)), 't', 'rolled back: the key works there');
	is(may($node, $key), 't', 'and in a new session');
	is($two->query_safe(login($key)), '1', 'the next use');
	is(scheme($key), 'apikey', 'puts a hash of ours there');
	$_->quit foreach $one, $two;
}

# Nor does a first use that has not been committed hold up what takes a key away.
{
	my $key = take_over();
	my $session = session($node);

	$session->query_safe('BEGIN; ' . login($key));
	foreach my $call ('disable', 'revoke')
	{
		$node->safe_psql('postgres', "SET lock_timeout = '10s'; SELECT apikey_$call(key_id) FROM apikey_keys WHERE label = substr('$key', 5)");
		is($session->query_safe(ask($key)), 'f', "apikey_$call does not wait");
	}
	$session->query_safe('COMMIT;');
	is(may($node, $key), 'f', 'and holds');
	$session->quit;
}

# Isolation levels; the snapshot is older than the key.
foreach my $isolation ('REPEATABLE READ', 'SERIALIZABLE')
{
	my ($one, $two) = (session($node), session($node));

	$_->query_safe("BEGIN ISOLATION LEVEL $isolation; SELECT count(*) FROM apikey_keys;") foreach $one, $two;
	my $key = take_over();
	is($one->query_safe(login($key)), '1', "first use in an old $isolation transaction");
	is($two->query_safe(login($key)), '1', 'and in one beside it');
	$_->query_safe('COMMIT;') foreach $one, $two;
	is(scheme($key), 'apikey', 'which both commit');
	is(may($node, $key), 't', 'and the key works');
	$_->quit foreach $one, $two;
}

# Many at the same time
{
	my @keys = map take_over(), 1 .. 5;
	my $script = join '', map login($_) . "\n", @keys;

	append_to_file("$dir/logins", $script);
	$node->command_ok([ 'pgbench', '-n', '-c', '8', '-t', '20', '-f', "$dir/logins", 'postgres' ],
		'many log-ins at the same time');
	is(join(' ', map scheme($_), @keys), join(' ', ('apikey') x 5), 'all keys are rehashed');
	is(join('', map may($node, $_), @keys), 'ttttt', 'and work');
}

# A bcrypt is slow: how often is it computed?
my $slow = take_over(12);
$node->safe_psql('postgres', q{
	CREATE TABLE doc (id int, project text, environment text);
	INSERT INTO doc SELECT i, CASE i % 2 WHEN 0 THEN 'web' ELSE 'mars' END, 'production' FROM generate_series(1, 100000) i;
	ANALYZE doc;
	SET client_min_messages = error;
	SELECT apikey_protect('doc', 'project', 'environment');
	CREATE ROLE app;
	GRANT SELECT ON doc TO app;
});

# So often up to now, in this session and those that have ended
sub bcrypts
{
	my ($session) = @_;

	my $pid = $session->query_safe('SELECT pg_backend_pid();');

	# a process tells as it ends, which may be after its client has gone, or its query
	$node->poll_query_until('postgres', qq{SELECT count(*) = 0 FROM pg_stat_activity
		WHERE backend_type IN ('parallel worker', 'client backend') AND pid NOT IN (pg_backend_pid(), $pid)}) or die;
	$session->query_safe('SELECT pg_stat_force_next_flush();');
	return $session->query_safe(q{SELECT coalesce(pg_stat_get_function_calls('crypt(text, text)'::regprocedure), 0);});
}

# "sql" returns this, and computes so many bcrypts
sub computes
{
	my ($session, $bcrypts, $sql, $wanted, $name) = @_;
	my $before = bcrypts($session);

	is($session->query_safe($sql), $wanted, $name);
	is(bcrypts($session) - $before, $bcrypts, "$name: $bcrypts bcrypt");
}
{
	my $session = session($node);
	my $builds = 'SELECT builds FROM apikey_cache_stats();';
	my $begin = "BEGIN READ ONLY; SET LOCAL ROLE app; SET LOCAL apikey.key = '$slow';";
	my $count = 'SELECT count(*) FROM doc;';

	$session->query_safe('SET max_parallel_workers_per_gather = 0;');
	computes($session, 1, "$begin $count COMMIT;", 50_000, 'a hundred thousand rows under a policy');
	is($session->query_safe($builds), '1', 'one verification');
	computes($session, 0, "SELECT count(*) FROM doc WHERE apikey_authorize('$slow', project, environment, 'read');", 50_000,
		'the key in an argument');
	is($session->query_safe($builds), '1', 'still one');
	is(scheme($slow), 'bcrypt', 'nothing has been written');

	# each process of a parallel plan has to do it once
	my $before = bcrypts($session);
	$session->query_safe('SET max_parallel_workers_per_gather = 2; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0;');
	is($session->query_safe("$begin $count COMMIT;"), 50_000, 'in a parallel plan');
	cmp_ok(bcrypts($session) - $before, '<=', 2, 'no more than one each');
	$session->query_safe('RESET ALL;');

	# a flush of what is remembered takes the verdict, but not what bcrypt came to
	$node->safe_psql('postgres', 'TRUNCATE apikey_suspension');
	computes($session, 0, ask($slow), 't', 'after a flush');
	is($session->query_safe($builds), '2', 'which was one');
	$session->quit;
}

# a no is remembered as well: here the hash is of another text than the digest
{
	my $session = session($node);

	$node->safe_psql('postgres', q{SELECT apikey_import('acme', 'mixed up', 'formbricks-v2', bcrypt('this', 12), encode(sha256('that'), 'hex'))});
	computes($session, 1, ask('fbk_that'), 'f', 'a wrong hash');
	computes($session, 0, ask('fbk_that'), 'f', 'once');
	computes($session, 0, "SELECT count(*) FROM generate_series(1, 1000) i WHERE apikey_authorize('fbk_that', i::text, 'production', 'read');", 0,
		'for any number of rows');
	is($session->query_safe(ask('fbk_this')), 'f', 'and the text that the hash is of');
	$session->quit;
}

# unknown texts cost none
{
	my $session = session($node);

	computes($session, 0, q{SELECT count(*) FROM generate_series(1, 200) i WHERE apikey_authorize('fbk_unknown' || i, 'web', 'production', 'read');},
		0, '200 unknown texts');
	computes($session, 1, qq{SELECT count(*) FROM generate_series(0, 199) i WHERE apikey_authorize('$slow' || CASE WHEN i > 0 THEN chr(31 + i) ELSE '' END, 'web', 'production', 'read');},
		1, '200 of which one is the key');
	$session->quit;
}

# more keys than outcomes are remembered
{
	my $session = session($node);
	my $all = q{SELECT count(*), count(*) FILTER (WHERE apikey_authorize('fbk_many' || i, 'web', 'production', 'write')) FROM generate_series(1, 1100) i;};

	$node->safe_psql('postgres', q{SELECT count(import('many' || i)) FROM generate_series(1, 1100) i});
	is($session->query_safe($all), '1100|1100', 'more than a thousand keys');
	$node->safe_psql('postgres', 'TRUNCATE apikey_suspension');
	is($session->query_safe($all), '1100|1100', 'again after a flush');
	$session->quit;
}

# what was interrupted is no outcome
{
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	my $bcrypt = $node->safe_psql('postgres', q{SELECT min(ms($$SELECT crypt('x', gen_salt('bf', 12))$$)) FROM generate_series(1, 3)});

	# within a transaction, whose end takes the setting back
	$session->query_safe(sprintf "BEGIN; SET LOCAL statement_timeout = '%dms';", 1 + $bcrypt / 10);
	is($session->query(ask($slow)), '', 'bcrypt can be interrupted');
	like($session->{stderr}, qr/canceling statement due to statement timeout/, 'by a timeout');
	$session->{stderr} = '';
	$session->query_safe('ROLLBACK;');
	computes($session, 1, ask($slow), 't', 'and is computed anew');
	$session->quit;
}

# Importing empties nobody's cache, unless a text leads to its hash in a new way.
{
	my $session = session($node);
	my ($id, $key) = issue($node);
	my $told = sub { return $session->query_safe(ask($key) . 'SELECT flushes FROM apikey_cache_stats();') =~ s/^t\n//r };
	my $before = $told->();

	take_over() foreach 1 .. 3;
	is($told->(), $before, 'imports, and the cache of others stays');
	$node->safe_psql('postgres', q{SELECT apikey_import('acme', 'way', 'sha512', encode(sha512('way'), 'hex'))});
	is($told->(), $before + 1, 'a new way is told');
	$node->safe_psql('postgres', q{SELECT apikey_import('acme', 'way', 'sha512', encode(sha512('way 2'), 'hex'))});
	is($told->(), $before + 1, 'once');
	is($session->query_safe(q{SELECT count(*) FROM apikey_verify('way 2');}), 1, 'and what was not told of works');
	$session->quit;
}

# pgcrypto may be anywhere
{
	my $key = take_over();

	$node->safe_psql('postgres', 'CREATE SCHEMA "Other ""Schema"; ALTER EXTENSION pgcrypto SET SCHEMA "Other ""Schema"');
	is(may($node, $key), 't', 'pgcrypto in another schema');
	$node->safe_psql('postgres', 'ALTER EXTENSION pgcrypto SET SCHEMA public');
}

# A standby
{
	my $key = take_over();

	$node->backup('b');
	my $standby = PostgreSQL::Test::Cluster->new('standby');
	$standby->init_from_backup($node, 'b', has_streaming => 1);
	$standby->start;
	my $late = take_over();
	$node->wait_for_catchup($standby);

	my $session = session($standby);
	is($session->query_safe(login($key)), '1', 'first use on a standby');
	is($session->query_safe(login($late)), '1', 'of a key imported since');
	is($session->query_safe("SELECT count(*) FROM apikey_verify('$key');"), '1', 'apikey_verify there');
	is(scheme($key), 'bcrypt', 'nothing is written');
	is($node->safe_psql('postgres', login($key)), '1', 'first use on the primary');
	$node->wait_for_catchup($standby);
	is($standby->safe_psql('postgres', 'SELECT scheme FROM apikey_secret JOIN apikey_keys USING (key_id)'
			. " WHERE label = substr('$key', 5)"), 'apikey', 'comes over');
	is($session->query_safe(ask($key)) . may($standby, $key), 'tt', 'and the key works in old and new sessions');
	$node->safe_psql('postgres', "SELECT apikey_revoke(key_id) FROM apikey_keys WHERE label = substr('$key', 5)");
	$node->wait_for_catchup($standby);
	is($session->query_safe(ask($key)) . may($standby, $key), 'ff', 'until it is revoked');
	$session->quit;
	$standby->stop;
}

# The server log: hashes that were sent as parameters are in no message.
{
	my $bcrypt = '$2b$04$' . ('abcdefg.' x 7) =~ s/.{3}$//r;
	my $digest = '0123456789abcdef' x 4;
	my %calls = (
		'unknown scheme' => [ "'acme', 'x', 'md5', :hash", $digest ],
		'in another order' => [ "'acme', 'x', :hash, 'sha256'", $digest ],
		'too short' => [ "'acme', 'x', 'sha256', :hash", "x$digest" ],
		'cost' => [ "'acme', 'x', 'formbricks-v2', :hash, :lookup", $bcrypt =~ s/04/31/r ],
		'lookup' => [ "'acme', 'x', 'formbricks-v2', :hash", $bcrypt ],
		'superfluous' => [ "'acme', 'x', 'sha256', :hash, :lookup", $digest ],
		'label' => [ "'acme', ' ', 'sha256', :hash", $digest ],
		'grants' => [ "'acme', 'x', 'sha256', :hash, NULL, '{}'", $digest ],
		'project' => [ "'acme', 'x', 'sha256', :hash, NULL, '[{\"project\": \"mars\", \"environment\": \"*\", \"level\": \"read\"}]'", $digest ],
		'expiry' => [ "'acme', 'x', 'sha256', :hash, expires_at => '2001-01-01'", $digest ]);
	my $before = -s $node->logfile;

	is(length $bcrypt, 60, 'a hash of the right length');
	$node->append_conf('postgresql.conf', q{
		log_statement = all
		log_parameter_max_length = 0
		log_min_error_statement = error
		log_error_verbosity = verbose});
	$node->reload;
	foreach my $name (sort keys %calls)
	{
		my ($arguments, $hash) = @{ $calls{$name} };
		my $script = "$dir/script $name";

		append_to_file($script, "SELECT apikey_import($arguments);\n");
		$node->command_fails_like([ 'pgbench', '-n', '-t', '1', '-M', 'extended', '-D', "hash=$hash", '-D', "lookup=$digest",
				'-f', $script, 'postgres' ], qr/aborted/, "refused: $name");
	}
	$node->safe_psql('postgres', qq{SET log_statement = none; SELECT apikey_import('acme', 'first', 'sha256', '$digest')});
	append_to_file("$dir/again", "SELECT apikey_import('acme', 'x', 'sha256', :hash);\n");
	$node->command_fails_like([ 'pgbench', '-n', '-t', '1', '-M', 'extended', '-D', "hash=$digest", '-f', "$dir/again", 'postgres' ],
		qr/imported before/, 'refused: again');

	my $log = substr slurp_file($node->logfile), $before;
	my @errors = $log =~ /ERROR:  ?(.*)/g;
	is(scalar @errors, 1 + keys %calls, 'all refusals are in the log')
	  or diag(join "\n", @errors);
	unlike($log, qr/\Q$digest\E/i, 'the digest is not');
	unlike($log, qr/abcdefg\.abcdefg/, 'nor the bcrypt hash');

	# nor a literal, by the messages about hashes
	$before = -s $node->logfile;
	$node->psql('postgres', "SET log_statement = none; SELECT apikey_import('acme', 'x', $_)")
	  foreach "'md5', '$digest'", "'sha256', 'x$digest'", "'sha256', '$digest', '$digest'", "'sha256', '$digest'",
	  "'formbricks-v2', '$bcrypt'";
	$log = substr slurp_file($node->logfile), $before;
	like($log, qr/imported before/, 'refused');
	unlike($log, qr/\Q$digest\E|abcdefg\.abcdefg/i, 'a statement that such an error is about is not logged');
	is($node->safe_psql('postgres', q{SELECT count(*) FROM apikey_keys WHERE label = 'x'}), 0, 'nothing was stored');
}

# A dump carries them.
{
	my ($bcrypt, $ours, $rotated) = map take_over(), 1 .. 3;
	my $label = q{label = substr('} . $rotated . q{', 5)};
	my $look = q{SELECT s.*, label FROM apikey_secret s JOIN apikey_keys USING (key_id) ORDER BY 1};

	$node->safe_psql('postgres', login($ours) . "SELECT FROM apikey_keys, apikey_rotate(key_id, '1 hour') WHERE $label");
	foreach my $format ('plain', 'custom')
	{
		my $file = "$dir/$format";

		$node->safe_psql('postgres', "CREATE DATABASE $format");
		$node->command_ok([ 'pg_dump', "--format=$format", '-T', 'doc', '-f', $file, 'postgres' ], "$format dump");
		$node->command_ok($format eq 'plain'
			? [ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $format, '-f', $file ]
			: [ 'pg_restore', '--exit-on-error', '-d', $format, $file ],
			"$format restore");
		ok($node->safe_psql($format, $look) eq $node->safe_psql('postgres', $look), 'the same secrets');
		is(join('', map may($node, $_, $format), $bcrypt, $ours, $rotated), 'ttt', 'the keys work');
		is($node->safe_psql($format, login($bcrypt) . "SELECT scheme FROM apikey_secret WHERE lookup = sha256(substr('$bcrypt', 5)::bytea)"),
			"1\napikey", 'and are rehashed');
		is(may($node, $bcrypt, $format), 't', 'and work on');
		unlike(slurp_file($file), qr/\Q$bcrypt\E/, 'their text is not in the dump') if $format eq 'plain';
	}
	is(scheme($bcrypt), 'bcrypt', 'the first database is another');
}

done_testing();
