# The option rate_limit of a key, on a server that has the extension preloaded and on
# one that has not. What it does to a log-in is not looked at here.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Apikey;

my $node = start_node('limit_option', conf => "shared_preload_libraries = 'apikey'");
my $plain = start_node('limit_option_plain');

# What a statement says, and all of an error.
sub try
{
	my ($node, $sql) = @_;
	my ($out, $err);

	$node->psql('postgres', "\\set VERBOSITY verbose\n$sql", stdout => \$out, stderr => \$err);
	return $err =~ /^psql:.*?ERROR:\s+(.*?)^LOCATION/ms ? $1 =~ s/\n/ /gr : $out;
}

sub limit_of
{
	my ($node, $id) = @_;

	return $node->safe_psql('postgres', "SELECT rate_limit FROM apikey_keys WHERE key_id = '$id'");
}

sub create
{
	my ($node, $limit) = @_;

	return try($node, "SELECT key_id FROM apikey_create('acme', 'x', rate_limit => \$\$$limit\$\$)");
}

# texts, and how they are shown
my @texts = (
	[ '100 per minute', '100 per 1 minute' ],
	[ '100 per 1 minute burst 20', '100 per 1 minute burst 20' ],
	[ '5 per 10 seconds', '5 per 10 seconds' ],
	[ '1000 per day', '1000 per 1 day' ],
	[ '10/second', '10 per 1 second' ],
	[ ' 10 / 2 hours  BURST  3 ', '10 per 2 hours burst 3' ],
	[ '10/1 hour burst 10', '10 per 1 hour' ],
	[ "1\tPER\n1.5\tminutes", '1 per 1 minute 30 seconds' ],
	[ '007 per 24:00', '7 per 1 day' ],
	[ '1 per P1DT2H', '1 per 1 day 2 hours' ],
	[ '1 per week burst 52', '1 per 7 days burst 52' ],
	[ '1 per 5', '1 per 5 seconds' ],
	[ '1 per 90 min', '1 per 1 hour 30 minutes' ],
	[ '1 per @ 1 day 25 hours', '1 per 2 days 1 hour' ],
	[ '1 per millisecond', '1 per 0.001 seconds' ],
	[ '1 per 1 day -1 microsecond', '1 per 23 hours 59 minutes 59.999999 seconds' ],
	[ '1 per H', '1 per 1 hour' ],
	[ '1000000000 per 366 days', '1000000000 per 366 days' ],
	[ '7 per 366 days', '7 per 366 days' ],
	[ '1000000 per second burst 1000000000', '1000000 per 1 second burst 1000000000' ]);

foreach (@texts)
{
	my ($text, $shown) = @$_;

	is(limit_of($node, create($node, $text)), $shown, "\"$text\" is shown as \"$shown\"");
	is(limit_of($node, create($node, $shown)), $shown, 'which says the same');
}
foreach my $style ('sql_standard', 'postgres_verbose', 'iso_8601')
{
	my $id = $node->safe_psql('postgres', "SET IntervalStyle = $style;"
		  . "SELECT key_id FROM apikey_create('acme', 'x', rate_limit => '3 per 1 day 2 hours 30 seconds')");

	is($node->safe_psql('postgres', "SET IntervalStyle = $style; SELECT rate_limit FROM apikey_keys WHERE key_id = '$id'"),
		'3 per 1 day 2 hours 30 seconds', "IntervalStyle $style does not matter");
}

# the interval is what the type takes
my $spans = q{unnest(array['1 minute', '90 seconds', '1:30', '01:02:03.004', '2 days', '1.25 hours', '3 weeks', '1 day 2:00', '@ 3 min',
	'PT90M', 'P0000-00-01T00:00:01', '15 min 30 sec', '1 d 2 h 3 m 4 s', '100 ms', '1 fortnight', '1e2 seconds'])};
$node->safe_psql('postgres', q{
	CREATE FUNCTION as_interval(span text) RETURNS interval LANGUAGE plpgsql AS $$
	BEGIN RETURN span::interval; EXCEPTION WHEN invalid_datetime_format THEN RETURN NULL; END $$;
	CREATE FUNCTION as_limit(span text) RETURNS interval LANGUAGE plpgsql AS $$
	DECLARE id uuid;
	BEGIN
		SELECT key_id INTO id FROM apikey_create('acme', 'span', rate_limit => '7 per ' || span);
		RETURN (SELECT rate_interval FROM apikey_key WHERE key_id = id);
	EXCEPTION WHEN invalid_parameter_value THEN RETURN NULL; END $$;
});
is($node->safe_psql('postgres', "SELECT s, as_interval(s), as_limit(s) FROM $spans s WHERE as_interval(s) IS DISTINCT FROM as_limit(s)"),
	'', 'intervals are read as the type interval reads them');
cmp_ok($node->safe_psql('postgres', "SELECT count(as_limit(s)) FROM $spans s"), '>=', 12, 'most of these are');

# the life of a limit
my ($id, $key) = split /\|/, $node->safe_psql('postgres', q{
	SELECT key_id, key FROM apikey_create('acme', 'limited', '[{"project": "web", "environment": "production", "level": "write"}]',
		organization_level => 'write', rate_limit => '100 per minute burst 20')});
is($node->safe_psql('postgres', "SELECT rate_count, rate_interval, rate_burst FROM apikey_key WHERE key_id = '$id'"),
	'100|00:01:00|20', 'stored');
$node->safe_psql('postgres', "SELECT apikey_update('$id', label => 'renamed')");
is(limit_of($node, $id), '100 per 1 minute burst 20', 'another change leaves it alone');
$node->safe_psql('postgres', "SELECT apikey_update('$id', rate_limit => '50/hour')");
is(limit_of($node, $id), '50 per 1 hour', 'changed');
$node->safe_psql('postgres', "SELECT apikey_update('$id', rate_limit => '50 per 60 minutes burst 50')");
$node->safe_psql('postgres', "SELECT count(*) FROM apikey_rotate('$id', '1 hour')");
is(limit_of($node, $id), '50 per 1 hour', 'rotating leaves it alone');
$node->safe_psql('postgres', "SELECT apikey_update('$id', rate_limit => '51/hour', label => 'faster')");
$node->safe_psql('postgres', "SELECT apikey_update('$id', remove => '{rate_limit}')");
is(limit_of($node, $id), '', 'taken away');
is( $node->safe_psql('postgres', "SELECT action, detail - 'grants' - 'overlap_until' - 'organization_level' FROM apikey_events WHERE key_id = '$id' ORDER BY at, event_id"),
	join("\n",
		'create|{"rate_limit": "100 per 1 minute burst 20"}',
		'update|{"label": "renamed"}',
		'update|{"rate_limit": "50 per 1 hour"}',
		'rotate|{}',
		'update|{"label": "faster", "rate_limit": "51 per 1 hour"}',
		'update|{"rate_limit": null}'),
	'the events tell it, and no change of nothing');
my $imported = $node->safe_psql('postgres', "SELECT apikey_import('acme', 'old', 'sha256', repeat('a', 64), rate_limit => '5/minute')");
is(limit_of($node, $imported), '5 per 1 minute', 'imported with a limit');
is($node->safe_psql('postgres', "SELECT detail FROM apikey_events WHERE key_id = '$imported'"),
	'{"scheme": "sha256", "rate_limit": "5 per 1 minute"}', 'which the event tells');
is($node->safe_psql('postgres', q{SELECT rate_limit FROM apikey_keys WHERE key_id =
	(SELECT key_id FROM apikey_create('42', 'number', rate_limit => '5/minute'))}), '', 'a key is not seen by the statement that makes it');
is($node->safe_psql('postgres', q{SELECT rate_limit FROM apikey_keys WHERE organization = '42'}), '5 per 1 minute', 'organizations that are not text');

# a bad one
my $count = $node->safe_psql('postgres', 'SELECT count(*) FROM apikey_keys');
like(create($node, '5 per month'), qr/^22023: invalid rate limit DETAIL: .* HINT: /, '22023 with detail and hint');
is($node->safe_psql('postgres', 'SELECT count(*) FROM apikey_keys'), $count, 'stores nothing');

# keys that give limits
$node->safe_psql('postgres', "SELECT apikey_update('$id', rate_limit => '10 per second burst 5')");
my %given = (
	'NULL' => '10 per 1 second burst 5',
	"'10 per second burst 5'" => '10 per 1 second burst 5',
	"'600 per minute burst 5'" => '600 per 1 minute burst 5',
	"'10 per second burst 4'" => '10 per 1 second burst 4',
	"'1 per day'" => '1 per 1 day',
	"'10 per second'" => undef,
	"'10 per second burst 6'" => undef,
	"'1 per day burst 6'" => undef,
	"'11 per second burst 5'" => undef,
	"'601 per minute burst 1'" => undef,
	"'100 per 10001 milliseconds burst 5'" => '100 per 10.001 seconds burst 5',
	"'100 per 9999 milliseconds burst 5'" => undef);
foreach my $limit (sort keys %given)
{
	my $said = try($node, "SET apikey.key = '$key'; SELECT key_id FROM apikey_create('acme', 'child', rate_limit => $limit)");

	if (defined $given{$limit})
	{
		is(limit_of($node, $said), $given{$limit}, "a key may give $limit");
	}
	else
	{
		like($said, qr/^42501: .*The key of the session has a lower rate limit\./, "a key may not give $limit");
	}
	my $change = $limit eq 'NULL' ? "remove => '{rate_limit}'" : "rate_limit => $limit";
	$said = try($node, "SET apikey.key = '$key'; SELECT apikey_update('$id', $change)");
	if (defined $given{$limit} && $limit ne 'NULL')
	{
		is($said, '', 'nor refuse it to itself');
		is(limit_of($node, $id), $given{$limit}, 'then it has it');
		$node->safe_psql('postgres', "SELECT apikey_update('$id', rate_limit => '10 per second burst 5')");
	}
	else
	{
		like($said, qr/^42501: /, 'nor to itself');
	}
}
my ($free, $free_key) = split /\|/,
  $node->safe_psql('postgres', "SELECT key_id, key FROM apikey_create('acme', 'free', organization_level => 'write')");
is(limit_of($node, try($node, "SET apikey.key = '$free_key'; SELECT key_id FROM apikey_create('acme', 'child')")), '', 'a key without a limit gives none');
is(limit_of($node, try($node, "SET apikey.key = '$free_key'; SELECT key_id FROM apikey_create('acme', 'child', rate_limit => '1000/second')")),
	'1000 per 1 second', 'or any');

# a server that is not preloaded
my $needed = qr/^55000: rate limits need the extension to be preloaded HINT:  Add apikey to shared_preload_libraries/;
my ($plain_id, $plain_key) = issue($plain);
my $before = 'SELECT (SELECT count(*) FROM apikey_key), (SELECT count(*) FROM apikey_event), (SELECT count(*) FROM apikey_secret)';
my $was = $plain->safe_psql('postgres', $before);
like(create($plain, '10/second'), $needed, 'a limit needs preloading: 55000 with a hint');
like(try($plain, "SELECT apikey_import('acme', 'x', 'sha256', repeat('a', 64), rate_limit => '10/second')"), $needed, 'import');
like(try($plain, "SELECT apikey_update('$plain_id', label => 'new', rate_limit => '10/second')"), $needed, 'update');
like(create($plain, '10/month'), qr/^22023: /, 'what is no limit is told first');
is(try($plain, "SELECT apikey_update('$plain_id', remove => '{rate_limit}')"), '', 'taking none away is no change');
is($plain->safe_psql('postgres', $before), $was, 'nothing is stored');
is($plain->safe_psql('postgres', "SELECT label, rate_limit IS NULL FROM apikey_keys"), 'test|t', 'nor changed');
is(may($plain, $plain_key), 't', 'the key works');

# settings that have an effect only where it is preloaded
my $setting = q{LOAD 'apikey'; SELECT count(*), max(setting), max(vartype) FROM pg_settings WHERE name = 'apikey.guess_limit'};
is($node->safe_psql('postgres', $setting), '1|20|integer', 'preloaded: there is such a setting');
is($plain->safe_psql('postgres', $setting), '0||', 'not preloaded: there is none');
is($plain->safe_psql('postgres', "SET apikey.guess_limit = 5; $setting"), '1|5|integer', 'unless it was set');
like(try($plain, "LOAD 'apikey'; SET apikey.guess_limit = 5"), qr/^42602: invalid configuration parameter name/, 'which comes too late then');

# a dump carries limits to either
my $dump = PostgreSQL::Test::Utils::tempdir . '/dump';
my $look = 'SELECT key_id, label, rate_limit, rate_count, rate_interval, rate_burst FROM apikey_keys JOIN apikey_key USING (key_id, label) ORDER BY 1';
my $limits = $node->safe_psql('postgres', $look);
$node->safe_psql('postgres', 'DROP FUNCTION as_limit, as_interval');
$node->command_ok([ 'pg_dump', '-f', $dump, 'postgres' ], 'dump');
foreach my $to ($node, $plain)
{
	my $where = $to == $node ? 'preloaded' : 'not preloaded';

	$to->safe_psql('postgres', 'CREATE DATABASE restored');
	$to->command_ok([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', 'restored', '-f', $dump ], "restore where $where");
	is($to->safe_psql('restored', $look), $limits, "$where: the same limits");
	is(may($to, $key, 'restored'), 't', "$where: the key decides");
}
my $child = $plain->safe_psql('restored', "SET apikey.key = '$key'; SELECT key_id FROM apikey_create('acme', 'child')");
is($plain->safe_psql('restored', "SELECT rate_limit FROM apikey_keys WHERE key_id = '$child'"), '10 per 1 second burst 5', 'a limit is passed on');
$plain->safe_psql('restored', "SELECT apikey_update('$id', remove => '{rate_limit}')");
is($plain->safe_psql('restored', "SELECT rate_limit IS NULL FROM apikey_keys WHERE key_id = '$id'"), 't', 'and can be taken away');

# what was tampered with does not load
my $text = slurp_file($dump);
ok($text =~ s/^(\Q$id\E\t.*\t)10\t00:00:01\t5\t/$1-10\t00:00:01\t5\t/m, 'a bad limit is put into the dump');
append_to_file("$dump.bad", $text);
$plain->safe_psql('postgres', 'CREATE DATABASE tampered');
$plain->command_fails_like([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', 'tampered', '-f', "$dump.bad" ],
	qr/invalid rate limit/, 'which does not load');

$node->stop;
$plain->stop;
done_testing();
