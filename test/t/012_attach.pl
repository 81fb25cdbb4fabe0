# An attached table of projects: the registry follows it on a logical
# subscriber, past old snapshots, and after a dump and restore.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Apikey;

my $node = start_node('attach', allows_streaming => 'logical');
my $registry = q{SELECT project, organization FROM apikey_project
	WHERE organization = 'attached' ORDER BY 1};
my $all = q{SELECT string_agg(project, ' ' ORDER BY project) FROM apikey_project
	WHERE organization = 'attached'};
my $table = 'CREATE TABLE project (id text PRIMARY KEY, organization text, note text);';

sub issue_on
{
	my ($server, $database, $project) = @_;

	return $server->safe_psql($database, qq{
		SELECT key FROM apikey_create('attached', 'k',
			'[{"project": "$project", "environment": "production", "level": "write"}]')});
}

sub may_on
{
	my ($server, $database, $key, $project) = @_;

	return $server->safe_psql($database,
		"SELECT apikey_authorize('$key', '$project', 'production', 'write')");
}

$node->safe_psql('postgres', $table . q{
	INSERT INTO project VALUES ('one', 'attached'), ('two', 'attached');
	SELECT apikey_attach_projects('project', 'id', 'organization')});

# Dump and restore
my $dir = PostgreSQL::Test::Utils::tempdir;
my $key = issue_on($node, 'postgres', 'one');
foreach my $format ('plain', 'custom')
{
	$node->safe_psql('postgres', "CREATE DATABASE $format");
	$node->command_ok([ 'pg_dump', "--format=$format", '-f', "$dir/$format", 'postgres' ],
		"$format dump");
	$node->command_ok($format eq 'plain'
		? [ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $format, '-f', "$dir/$format" ]
		: [ 'pg_restore', '--exit-on-error', '-d', $format, "$dir/$format" ],
		"$format restore");
	is($node->safe_psql($format, $registry), $node->safe_psql('postgres', $registry),
		"$format: the same registry");
	$node->safe_psql($format, q{INSERT INTO project VALUES ('three', 'attached')});
	is($node->safe_psql($format, $all), 'one three two', "$format: which follows");
	is(may_on($node, $format, $key, 'one'), 't', "$format: the key works");
	$node->safe_psql($format, q{
		SET session_replication_role = replica;
		DELETE FROM project WHERE id = 'one'});
	is(may_on($node, $format, $key, 'one'), 'f', "$format: and ends with the project");
	$node->safe_psql($format, 'TRUNCATE project');
	is($node->safe_psql($format, $all), '', "$format: TRUNCATE");
	$node->safe_psql($format, q{SELECT apikey_detach_projects('project')});
}
is(may_on($node, 'postgres', $key, 'one'), 't', 'the first database is another');

# A transaction with an old snapshot.  What it removes may be newer than that.
my $old = $node->background_psql('postgres', on_error_stop => 1);
sub with_old_snapshot
{
	my ($level, $between, $command) = @_;

	$old->query_safe("BEGIN ISOLATION LEVEL $level");
	$old->query_safe('SELECT count(*) FROM apikey_project');
	my @result = $between->();
	$old->query_safe($command);
	$old->query_safe('COMMIT');
	return @result;
}
foreach my $level ('READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE')
{
	my ($new) = with_old_snapshot($level, sub {
			$node->safe_psql('postgres', q{INSERT INTO project VALUES ('new', 'attached')});
			return issue_on($node, 'postgres', 'new');
		}, 'TRUNCATE project');
	is($node->safe_psql('postgres', $all), '', "$level: TRUNCATE ends a newer project, too");
	is(may_on($node, 'postgres', $new, 'new'), 'f', "$level: with its grants");
	$node->safe_psql('postgres', q{INSERT INTO project VALUES ('new', 'attached')});
	is(may_on($node, 'postgres', $new, 'new'), 'f', "$level: which do not come back");

	# an older row that was registered again
	with_old_snapshot($level, sub {
			$node->safe_psql('postgres', q{SELECT apikey_remove_project('new')});
			$node->safe_psql('postgres', q{SELECT apikey_attach_projects('project', 'id', 'organization')});
			$new = issue_on($node, 'postgres', 'new');
		}, q{DELETE FROM project WHERE id = 'new'});
	is($node->safe_psql('postgres', $all), '', "$level: DELETE of a row that was registered since");
	is(may_on($node, 'postgres', $new, 'new'), 'f', "$level: with its grants");

	# attaching by an old snapshot
	$node->safe_psql('postgres', q{SELECT apikey_detach_projects('project')});
	with_old_snapshot($level, sub {
			$node->safe_psql('postgres', q{INSERT INTO project VALUES ('new', 'attached')});
		}, q{SELECT apikey_attach_projects('project', 'id', 'organization')});
	is($node->safe_psql('postgres', $all), 'new', "$level: attaching finds newer rows");
	$node->safe_psql('postgres', q{DELETE FROM project});
}
$old->quit;

# Logical replication of the application's table to a server whose own
# registry follows the copy
my $other = start_node('subscriber');
$node->safe_psql('postgres', q{
	INSERT INTO project VALUES ('one', 'attached'), ('two', 'attached');
	CREATE PUBLICATION p FOR TABLE project});
$other->safe_psql('postgres', $table . q{
	SELECT apikey_attach_projects('project', 'id', 'organization', '{production}');
	CREATE SUBSCRIPTION s CONNECTION '} . $node->connstr . q{ dbname=postgres' PUBLICATION p});
$other->wait_for_subscription_sync($node, 's');
is($other->safe_psql('postgres', $all), 'one two', 'the first copy');

my $session = $other->background_psql('postgres', on_error_stop => 1);
my $copied = issue_on($other, 'postgres', 'one');
my $ask = "SELECT apikey_authorize('$copied', 'one', 'production', 'write')";
is($session->query_safe($ask), 't', 'a key there, warm');

# Run a command here; what is registered there?
sub replicated
{
	$node->safe_psql('postgres', $_[0]);
	$node->wait_for_catchup('s');
	return $other->safe_psql('postgres', $all);
}
is(replicated(q{INSERT INTO project VALUES ('three', 'attached'), ('none', NULL)}),
	'one three two', 'INSERT');
is(replicated(q{UPDATE project SET note = 'noted'}), 'one three two',
	'UPDATE of another column');
is($session->query_safe($ask), 't', 'leaves the grants alone');
is(replicated(q{UPDATE project SET id = 'four' WHERE id = 'three'}), 'four one two',
	'UPDATE of an id');
is(replicated(q{UPDATE project SET organization = 'moved' WHERE id = 'two'}), 'four one',
	'UPDATE of the organization');
is(replicated(q{DELETE FROM project WHERE id = 'one'}), 'four', 'DELETE');
is($session->query_safe($ask), 'f', 'ends the grants');
is(replicated(q{INSERT INTO project VALUES ('one', 'attached')}), 'four one', 'INSERT again');
is($session->query_safe($ask), 'f', 'brings none back');
is($other->safe_psql('postgres', 'SELECT count(*) FROM apikey_grant'), '0', 'no grant is left');
is(replicated(q{TRUNCATE project}), '', 'TRUNCATE');
is($other->safe_psql('postgres', q{SELECT count(*) FROM apikey_environment
	WHERE project NOT IN ('web', 'mars')}), '0', 'no environment is left');
$session->quit;

done_testing();
