# NOTIFY where the queue is full: what takes something away does not depend on it.

use strict;
use warnings;
use File::Basename;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Apikey;

my $small = PostgreSQL::Test::Cluster->new('version')->pg_version >= 17;	# the queue may be
my $node = start_node('queue', conf => "log_statement = none\nlog_min_error_statement = warning\nlog_error_verbosity = verbose\n"
	. ($small ? "max_notify_queue_pages = 64\n" : ''));

# ------------------------------------------------------- how to fill it

if (!$small)
{
	my $dir = PostgreSQL::Test::Utils::tempdir;
	my $include = `$ENV{PG_CONFIG} --includedir-server` =~ s/\s+$//r;

	PostgreSQL::Test::Utils::system_or_bail('gcc', '-shared', '-fPIC', '-I', $include,
		'-o', "$dir/queue.so", dirname(__FILE__) . '/queue.c');
	$node->safe_psql('postgres', "CREATE FUNCTION move_head(bigint, bigint) RETURNS bigint
		LANGUAGE c AS '$dir/queue.so'");
}

# The position of the head, up to PostgreSQL 16; moved, if there is a new one.
sub head
{
	my $position = shift // 'NULL';

	return $node->safe_psql('postgres', "SELECT move_head(size, $position)
		FROM pg_shmem_allocations WHERE name = 'Async Queue Control'");
}

# Fill this share of the queue.
sub fill
{
	my ($share) = @_;

	if ($small)
	{
		$node->safe_psql('postgres', qq{DO \$\$ BEGIN
			WHILE pg_notification_queue_usage() < $share LOOP
				PERFORM pg_notify('x', repeat('x', 7000));
				COMMIT;
			END LOOP; END \$\$});
	}
	else
	{
		my $page = int(1048576 * $share + 0.999) - ($share == 1);
		my $segment = $node->data_dir . sprintf('/pg_notify/%04X', $page / 32);

		# an entry will be added to a page that is there
		open my $file, '>', $segment or die "$segment: $!";
		print $file "\0" x (32 * 8192);
		close $file;
		head($page * 8192);
	}
}

# ---------------------------------------------------------- what goes on

my $listener = $node->background_psql('postgres', on_error_stop => 1);
# what nobody listens to takes no room from PostgreSQL 19 on
$listener->query_safe('LISTEN apikey; LISTEN x;');
my $told = qr/Asynchronous notification "apikey" with payload "(.*)" received/;

# What has been told since the last look.
sub told { return [ $listener->query_safe('SELECT;') =~ /$told/g ] }

my ($id, $key) = issue($node);
$node->safe_psql('postgres', "SELECT apikey_disable('$id')");
is("@{ told() }", qq({"action": "disable", "key_id": "$id"}), 'action and key, and nothing else');
$node->safe_psql('postgres', "SELECT apikey_add_project('acme', 'shop')");
$node->safe_psql('postgres', "SELECT apikey_remove_project('shop')");
is("@{ told() }", '{"action": "remove_project"}', 'nor does it name a project');

# A change by each function, and by SQL, of a key of its own.
my @changes = (
	[ disable => "SELECT apikey_disable('ID')" ],
	[ revoke => "SELECT apikey_revoke('ID')" ],
	[ revoke_self => "SELECT apikey_revoke_self('KEY')" ],
	[ report_leak => "SELECT count(*) FROM apikey_report_leak('found: KEY')" ],
	[ ungrant => "SELECT apikey_ungrant('ID', 'web', 'production')" ],
	[ delete => "SELECT apikey_delete('ID')" ],
	[ rotate => "SELECT count(key) FROM apikey_rotate('ID')" ],
	[ finish_rotation => "SELECT f.* FROM apikey_rotate('ID', '1 hour') r, apikey_finish_rotation(r.key_id) f" ],
	[ expire => "UPDATE apikey_key SET expires_at = now() WHERE key_id = 'ID'" ],
	[ SQL => "DELETE FROM apikey_grant WHERE key_id = 'ID'" ]);

sub changes
{
	my ($name, $warns) = @_;

	foreach my $change (@changes)
	{
		my ($what, $sql) = @$change;
		my ($id, $key) = issue($node);

		(my $call = $sql) =~ s/ID|KEY/$& eq 'ID' ? $id : $key/ge;
		my ($status, undef, $stderr) = $node->psql('postgres', $call, extra_params => [ '-v', 'VERBOSITY=verbose' ]);
		is($status, 0, "$name: $what");
		is(may($node, $key), 'f', "$name: $what: refused from now on");
		$warns
		  ? like($stderr, qr/WARNING:  54000: channel "apikey" was not notified/, "$name: $what: a warning")
		  : unlike($stderr, qr/apikey/, "$name: $what: no warning");
	}
	my ($id, $key) = issue($node);
	my ($status, undef, $stderr) = $node->psql('postgres', "SELECT apikey_remove_project('web')");
	is($status, 0, "$name: remove_project");
	is(may($node, $key), 'f', "$name: remove_project: refused from now on");
	is($stderr =~ /WARNING:  channel "apikey" was not notified/, $warns, "$name: remove_project: warnings");
	$node->safe_psql('postgres', "SELECT apikey_add_project('acme', 'web')");
}

changes('empty', '');
is(scalar @{ told() }, @changes + 2, 'empty: each told, a rotation before it is finished, too');

# Nothing is taken out of the queue from here on.
my $origin = $small ? 0 : head();
$listener->query_safe('BEGIN;');
$listener->query_safe('SELECT;');
fill(0.4);
changes('less than half', '');
fill(0.5);
my $usage = $node->safe_psql('postgres', 'SELECT pg_notification_queue_usage()');
cmp_ok($usage, '>=', 0.5, 'half full');
changes('half full', '1');
is($node->safe_psql('postgres', 'SELECT pg_notification_queue_usage()'), $usage, 'half full: nothing added');
fill(1) if !$small;
my ($status, undef, $stderr) = $node->psql('postgres', $small
	? q{SELECT pg_notify('x', repeat('x', 7000) || i) FROM generate_series(1, 64) i} : 'NOTIFY x');
isnt($status, 0, 'full: who notifies fails');
like($stderr, qr/too many notifications/, 'full: because of that');
changes('full', '1');

# Once it has room again all is as before.
head($origin) if !$small;
$listener->query_safe('COMMIT;');
told();
changes('empty again', '');
is(scalar @{ told() }, @changes + 2, 'empty again: each told');

# ------------------------------------------------- many in one transaction

$node->safe_psql('postgres', q{SELECT count(key) FROM generate_series(1, 1001) i, apikey_create('acme', 'many ' || i)});
$node->safe_psql('postgres', q{UPDATE apikey_key SET label = 'changed' || label WHERE label LIKE 'many %' AND label <> 'many 1'});
is(scalar @{ told() }, 1000, 'a thousand changes are told one by one');
$node->safe_psql('postgres', q{UPDATE apikey_key SET label = 'many' WHERE label ~ 'many'});
is("@{ told() }", '{"action": "many"}', 'more are told as one');
$node->safe_psql('postgres', qq{BEGIN; SAVEPOINT s; UPDATE apikey_key SET label = 'more' WHERE label = 'many';
	ROLLBACK TO s; SELECT apikey_disable(key_id) FROM apikey_key WHERE label = 'many' LIMIT 1; COMMIT});
is("@{ told() }", '{"action": "many"}', 'also if they were undone, for something was changed');
$node->safe_psql('postgres', qq{BEGIN; UPDATE apikey_key SET label = 'more' WHERE label = 'many'; ROLLBACK;
	SELECT apikey_enable(key_id) FROM apikey_key WHERE label = 'many' AND disabled_at IS NOT NULL});
like("@{ told() }", qr/^\{"action": "enable", "key_id": "[-0-9a-f]+"\}$/, 'not in the next transaction');

$listener->quit;
$node->stop;
my $log = slurp_file($node->logfile);
unlike($log, qr/apk_\w{71}/, 'no key in the log');
like($log, qr/WARNING:  54000: channel "apikey" was not notified/, 'but the warnings');

done_testing();
