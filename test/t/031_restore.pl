# Every way to restore a dump carries every row, whatever order the tables come in; a
# row that was tampered with comes in no order.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Apikey;

my $node = start_node('restore');
my $dir = PostgreSQL::Test::Utils::tempdir;
my ($id, $key) = issue($node);

# Keys with grants on one environment, on all, and on all projects; imported, rotated,
# with budgets, and some that are over; derived ones, which come before their parents; a
# suspended organization; an attached and a protected table.
$node->safe_psql('postgres', q{
	SET client_min_messages = error;
	CREATE TABLE project (id text PRIMARY KEY, organization text NOT NULL);
	SELECT apikey_attach_projects('project', 'id', 'organization');
	INSERT INTO project SELECT 'p' || i, 'org' || i % 20 FROM generate_series(1, 200) i;
	CREATE TABLE doc (project text, environment text);
	INSERT INTO doc VALUES ('web', 'production'), ('mars', 'production'), ('p1', 'production');
	SELECT apikey_protect('doc', 'project', 'environment', force => true);
	CREATE ROLE app;
	GRANT SELECT ON doc TO app;
	CREATE TABLE made AS SELECT i, key_id, key FROM generate_series(1, 1000) i, apikey_create('org' || i % 20, 'key ' || i,
		jsonb_build_array(jsonb_build_object('project', 'p' || i % 200, 'environment', 'production', 'level', 'write'),
			jsonb_build_object('project', 'p' || (i + 20) % 200, 'environment', '*', 'level', 'read'),
			jsonb_build_object('project', '*', 'environment', '*', 'level', 'read')), max_derived => i % 3) WHERE i % 200 NOT IN (0, 180);
	CREATE TABLE derived AS SELECT m.key_id AS parent_id, d.* FROM made m, apikey_derive(m.key, 'derived', lifetime => '1 day') d WHERE i % 3 > 0;
	SELECT count(d.key_id) FROM (SELECT c.key FROM made m JOIN derived c ON c.parent_id = m.key_id WHERE i % 3 > 1 OFFSET 0) c,
		apikey_derive(c.key, 'below', lifetime => '1 day') d;
	ALTER TABLE derived DROP COLUMN key;
	UPDATE apikey_key SET label = label WHERE key_id IN (SELECT parent_id FROM derived);
	ALTER TABLE made DROP COLUMN key;
	SELECT count(apikey_grant(key_id, '*', '*', 'read')) FROM generate_series(1, 300) i,
		apikey_import('org' || i % 20, 'imported ' || i, 'sha256', encode(sha256(('secret ' || i)::bytea), 'hex')) AS key_id;
	SELECT count(r) FROM made, apikey_rotate(key_id, overlap => '1 year') r WHERE i % 10 = 1;
	SELECT count(apikey_set_budget(key_id, 100, '1 month')) FROM made WHERE i % 10 = 2;
	SELECT count(apikey_revoke(key_id)) FROM made WHERE i % 10 = 3;
	SELECT apikey_suspend('org5', 'unpaid');
	INSERT INTO apikey_use (key_id, uses, refusals, last_used_at, last_used_from, old_secret_used_at, last_refused_at, limit_until)
		SELECT key_id, i, 1, '2020-01-01', '2001:db8::1', '2019-12-01', '2020-02-01', '2020-03-01' FROM made;
	INSERT INTO apikey_use_hour SELECT key_id, '2020-01-01', i, 0 FROM made;
	INSERT INTO apikey_heartbeat (at, version) VALUES (now(), '1.0');
});
my @tables = split /\n/, $node->safe_psql('postgres',
	"SELECT c::regclass FROM pg_extension, unnest(extconfig) c WHERE extname = 'apikey'");
is(scalar @tables, 13, 'tables that are dumped');
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM apikey_key c JOIN apikey_key p ON p.key_id = c.parent_id WHERE c.ctid < p.ctid'),
	'>', 100, 'keys that come before their parents');
$node->safe_psql('postgres', "SELECT apikey_update('$id', max_derived => 1)");
my ($derived_id, $derived) = split /\|/, $node->safe_psql('postgres', "SELECT key_id, key FROM apikey_derive('$key', 'derived', lifetime => '1 day')");
my $mars_id = $node->safe_psql('postgres', q{SELECT key_id FROM apikey_create('globex', 'mars', '[{"project": "mars", "environment": "production", "level": "write"}]', max_derived => 1)});

# What is in all of them
sub content
{
	my ($database) = @_;

	return $node->safe_psql($database, join(' UNION ALL ',
		map "SELECT '$_', count(*), md5(string_agg(t::text, ' ' ORDER BY t::text COLLATE \"C\")) FROM $_ t", @tables) . ' ORDER BY 1');
}
my $content = content('postgres');
unlike($content =~ s/^apikey_subscription\|0\|$//mr, qr/\|0\|/, 'none is empty, but for what a subscriber has');

# Rows that refer to one of another organization
sub joins
{
	my ($database) = @_;

	return $node->safe_psql($database, q{
		SELECT 'key', key_id FROM apikey_grant g JOIN apikey_key k USING (key_id) WHERE g.organization <> k.organization UNION ALL
		SELECT 'parent', c.key_id FROM apikey_key c JOIN apikey_key p ON p.key_id = c.parent_id WHERE c.organization <> p.organization UNION ALL
		SELECT 'grant', key_id FROM apikey_grant g JOIN apikey_environment e USING (project) WHERE g.organization <> e.organization UNION ALL
		SELECT 'environment', NULL FROM apikey_environment e JOIN apikey_project p USING (project) WHERE e.organization <> p.organization});
}

my $n = 0;
$node->safe_psql('postgres', 'CREATE DATABASE extended');
$node->safe_psql('extended', 'SET client_min_messages = warning; CREATE EXTENSION apikey CASCADE');

sub create_database
{
	my ($extension) = @_;
	my $name = 'restored' . ++$n;

	$node->safe_psql('postgres', "CREATE DATABASE $name" . ($extension ? ' TEMPLATE extended' : ''));
	return $name;
}

# It is the same database, and works.
sub check
{
	my ($what, $database) = @_;

	is(content($database), $content, "$what: every row");
	is(may($node, $key, $database), 't', "$what: a key works");
	is(may($node, $derived, $database), 't', "$what: and one that is derived from it");
	is($node->safe_psql($database, q{SELECT apikey_authorize('secret 7', 'p7', 'production', 'read')}),
		't', "$what: and an imported one");
	is(($node->psql($database, qq{SET ROLE app; BEGIN; SELECT organization FROM apikey_login('$key'); SELECT * FROM doc}))[1],
		"acme\nweb|production", "$what: row-level security works") if $what !~ /keys only/;
	# whatever refers to a key or a project falls with it, and nothing refers to none
	is( $node->safe_psql($database, q{BEGIN;
			WITH gone AS (DELETE FROM apikey_key WHERE key_id IN (SELECT key_id FROM apikey_secret UNION SELECT key_id FROM apikey_budget) RETURNING 1)
			SELECT count(*) > 400 FROM gone;
			DELETE FROM apikey_project WHERE project LIKE 'p%';
			SELECT count(*) FROM (SELECT key_id FROM apikey_secret UNION SELECT key_id FROM apikey_budget) t;
			SELECT count(*) FROM apikey_grant WHERE project LIKE 'p%';
			DELETE FROM apikey_key WHERE organization LIKE 'org%' AND parent_id IS NULL;
			SELECT (SELECT count(*) FROM apikey_key WHERE organization LIKE 'org%'), (SELECT count(*) FROM apikey_derivation d WHERE NOT EXISTS (SELECT FROM apikey_key k WHERE k.key_id = d.key_id))}),
		"t\n0\n0\n0|0", "$what: rows fall with what they refer to");
	my @refused = (
		"INSERT INTO apikey_grant VALUES ('$id', 'read', 'mars', 'production', 'acme')",
		"INSERT INTO apikey_grant VALUES ('$id', 'read', 'venus', '*', 'acme')",
		"INSERT INTO apikey_budget VALUES (gen_random_uuid(), 1, 1, NULL, now(), NULL, 'acme')",
		"UPDATE apikey_budget SET organization = 'globex'",
		"INSERT INTO apikey_environment VALUES ('web', 'new', 'globex')",
		"UPDATE apikey_grant SET organization = 'globex' WHERE key_id = '$id'",
		"UPDATE apikey_key SET organization = 'globex' WHERE key_id = '$id'",
		"UPDATE apikey_key SET organization = 'globex' WHERE key_id = '$derived_id'",
		"UPDATE apikey_key SET parent_id = '$mars_id' WHERE key_id = '$derived_id'",
		"UPDATE apikey_key SET parent_id = gen_random_uuid() WHERE key_id = '$derived_id'",
		"INSERT INTO apikey_derivation VALUES (gen_random_uuid(), 1)");
	my $stderr;

	$node->psql($database, join("\n", '\set VERBOSITY sqlstate', map "$_;", @refused), stderr => \$stderr, on_error_stop => 0);
	foreach my $i (0 .. $#refused)
	{
		like($stderr, qr/^psql:<stdin>:@{[$i + 2]}: ERROR:  23503$/m, "$what: refused: " . substr($refused[$i], 0, 40));
	}
	$node->psql($database, "SELECT apikey_revoke('$id')");
	is(may($node, $_, $database), 'f', "$what: revoking works") foreach $key, $derived;
}

sub dump_to
{
	my ($name, @options) = @_;

	$node->command_ok([ 'pg_dump', '-f', "$dir/$name", @options, 'postgres' ], "dump: $name");
}

sub restore
{
	my ($what, $database, $file, @options) = @_;

	$node->command_ok([ 'pg_restore', '--exit-on-error', @options, '-d', $database, "$dir/$file" ], "$what: restore @options");
}

# Without what INSERT adds to the history
sub content_but_events
{
	my ($database) = @_;

	return join "\n", grep !/^apikey_event\|/, split /\n/, content($database);
}

sub restore_tables
{
	my ($database, $file, @order) = @_;
	my @failed;

	foreach my $table (@order)
	{
		my ($out, $err) = run_command([ 'pg_restore', '-h', $node->host, '-p', $node->port,
			'--data-only', '-t', $table, '-d', $database, "$dir/$file" ]);

		push @failed, "$table: $err" if $err ne '';
	}
	return join '', @failed;
}

# The same, by one pg_restore
sub restore_in_order
{
	my ($database, $file, @order) = @_;
	my ($list) = run_command([ 'pg_restore', '-l', "$dir/$file" ]);

	unlink "$dir/list";
	append_to_file("$dir/list", join '', map $list =~ /^(.* TABLE DATA \S+ $_ .*\n)/m, @order);
	return (run_command([ 'pg_restore', '-h', $node->host, '-p', $node->port,
		'--data-only', '-L', "$dir/list", '-d', $database, "$dir/$file" ]))[1];
}

sub drop
{
	$node->safe_psql('postgres', "DROP DATABASE $_[0]");
}

# ---------------------------------------------------------------- all of it

dump_to('plain');
dump_to('clean', '--clean', '--if-exists');
dump_to('custom', '-Fc');
dump_to('directory', '-Fd', '-j2', '-Z0');
dump_to('inserts', '-Fd', '--inserts');

foreach my $options ([], [ '-1' ])
{
	my $database = create_database();

	$node->command_ok([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', @$options, '-d', $database, '-f', "$dir/plain" ], "plain @$options");
	check("plain @$options", $database);
}
{
	my $database = create_database('with the extension');

	$node->safe_psql($database, "SELECT apikey_add_project('acme', 'old'); SELECT count(key) FROM apikey_create('acme', 'old')");
	$node->command_ok([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $database, '-f', "$dir/clean" ], 'plain, clean');
	check('plain, clean', $database);
}

foreach my $options ([], [ '-1' ], ['-j2'], ['-j4'], ['-j8'], [ '-j4', '--clean', '--if-exists' ])
{
	my $database = create_database("@$options" =~ /clean/);

	restore("custom @$options", $database, 'custom', @$options);
	check("custom @$options", $database);
}
foreach my $options ([], ['-j2'], ['-j8'])
{
	my $database = create_database();

	restore("directory @$options", $database, 'directory', @$options);
	check("directory @$options", $database);
}
{
	# pg_restore -j adds the foreign key of a table before the keys that it refers to,
	# which are data of an extension, but no section before the one that it is in
	$node->safe_psql('postgres', 'ALTER TABLE made ADD FOREIGN KEY (key_id) REFERENCES apikey_key ON DELETE CASCADE');
	dump_to('referring', '-Fd');
	foreach my $options ([], ['-j4'])
	{
		my $database = create_database();

		foreach my $section ('pre-data', 'data', 'post-data')
		{
			restore("sections @$options", $database, 'referring', "--section=$section", @$options);
		}
		check("sections @$options", $database);
		is($node->safe_psql($database, q{SELECT conrelid::regclass FROM pg_constraint WHERE contype = 'f' AND conrelid = 'made'::regclass}),
			'made', "sections @$options: a foreign key to keys");
	}
}
foreach my $options ([], ['-j2'], ['-j8'], [ '-j4', '--disable-triggers' ])
{
	my $database = create_database('with the extension');

	restore("keys only @$options", $database, 'custom', '--data-only', @$options, map { ('-t', $_) } @tables);
	check("keys only @$options", $database);
}
{
	# INSERT is what anybody may write: it obeys the foreign keys
	my $database = create_database();
	local $ENV{PGOPTIONS} = '-c session_replication_role=replica';

	restore('INSERTs', $database, 'inserts', '-j4');
	delete $ENV{PGOPTIONS};
	is( content_but_events($database), content_but_events('postgres'), 'INSERTs: every row');
}

# ------------------------------------------------------- table after table

# Each table by itself, those first that refer to others
my @children_first = qw(apikey_grant apikey_budget apikey_derivation apikey_secret apikey_environment
	apikey_suspension apikey_heartbeat apikey_subscription apikey_use apikey_use_hour apikey_event apikey_key apikey_project);
is("@{[sort @children_first]}", "@{[sort @tables]}", 'these are all tables');

foreach my $order ([@children_first], [ reverse @children_first ])
{
	my $database = create_database('with the extension');

	is(restore_tables($database, 'custom', @$order), '', "one by one: @$order[0..2] ...");
	check("keys only, one by one, $order->[0] first", $database);
}

# What refers to nothing opens nothing, and is no error.
{
	my $database = create_database('with the extension');

	is(restore_tables($database, 'custom', qw(apikey_grant apikey_secret apikey_budget apikey_derivation)), '', 'what refers to keys, without these');
	is(may($node, $key, $database), 'f', 'a key that is not there is refused');
	is($node->safe_psql($database, "SELECT apikey_authorize('secret 7', 'p7', 'production', 'read')"), 'f', 'an imported one, too');
	is($node->safe_psql($database, 'SELECT count(*) FROM apikey_keys'), 0, 'there are none');
	$node->safe_psql($database, "SELECT * FROM $_") foreach qw(apikey_grants apikey_budgets apikey_usage);
	is(joins($database), '', 'nothing joins two organizations');
}

# ------------------------------------------------------------ tampered with

# The files of the directory format have a table each.
my ($list) = run_command([ 'pg_restore', '-l', "$dir/directory" ]);
my %file = map { $list =~ /^(\d+); .* TABLE DATA \S+ $_ /m ? ($_ => "$1.dat") : () } @tables;
is(scalar keys %file, scalar @tables, 'files of the tables');

my %tampered = (
	'a grant on a project of another organization' =>
		[ 'apikey_grant', qr/^\Q$id\E\twrite\tweb\tproduction\tacme$/m, "$id\twrite\tmars\tproduction\tacme" ],
	'a grant on an environment that this does not have' =>
		[ 'apikey_grant', qr/^\Q$id\E\twrite\tweb\tproduction\tacme$/m, "$id\twrite\tmars\tstaging\tacme" ],
	'a grant for a key of another organization' =>
		[ 'apikey_grant', qr/^\Q$id\E\twrite\tweb\tproduction\tacme$/m, "$id\twrite\tmars\tproduction\tglobex" ],
	'a grant on all projects of another organization' =>
		[ 'apikey_grant', qr/^\Q$id\E\twrite\tweb\tproduction\tacme$/m, "$id\twrite\t\\N\tproduction\tglobex" ],
	'a key that is derived from one of another organization' =>
		[ 'apikey_key', qr/^(\Q$derived_id\E\t.*\t)\Q$id\E\t/m, $mars_id ],
	'a key of another organization' => [ 'apikey_key', qr/^(\Q$id\E\t(?:[^\t]*\t){4})acme\t/m, 'globex' ],
	'a project of another organization' => [ 'apikey_project', qr/^web\tacme$/m, "web\tglobex" ],
	'an environment of another organization' => [ 'apikey_environment', qr/^web\tproduction\tacme$/m, "web\tproduction\tglobex" ]);

foreach my $what (sort keys %tampered)
{
	my ($table, $pattern, $by) = @{ $tampered{$what} };
	my $copy = 'tampered';

	system_or_bail('rm', '-rf', "$dir/$copy");
	system_or_bail('cp', '-r', "$dir/directory", "$dir/$copy");
	my $data = slurp_file("$dir/$copy/$file{$table}");
	is($data =~ s/$pattern/defined $1 ? "$1$by\t" : $by/e, 1, "$what is put into the dump");
	unlink "$dir/$copy/$file{$table}";
	append_to_file("$dir/$copy/$file{$table}", $data);

	foreach my $order ([@children_first], [ reverse @children_first ],
		[ 'apikey_project', 'apikey_grant', 'apikey_environment', 'apikey_key' ])
	{
		my $database = create_database('with the extension');

		like(restore_in_order($database, $copy, @$order), qr/violates foreign key constraint/, "$what: does not load, $order->[0] first");
		is(joins($database), '', 'and nothing joins two organizations');
		is($node->safe_psql($database, "SELECT apikey_authorize('$key', 'mars', 'production', 'read')"), 'f', 'it opens nothing');
		drop($database);
	}
	foreach my $jobs (1, 4)
	{
		my $database = create_database();

		$node->command_fails_like([ 'pg_restore', "-j$jobs", '-d', $database, "$dir/$copy" ],
			qr/violates foreign key constraint/, "$what: does not load, -j$jobs");
		is(joins($database), '', 'and nothing joins two organizations');
		drop($database);
	}
}

done_testing();
