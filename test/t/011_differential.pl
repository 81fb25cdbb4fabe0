# The differential test: whatever the tables, indexes, policies, keys, queries
# and plans, the rows that are seen are those that plain SQL over the tables of
# the extension says.  All of it is made at random, from a seed.
#
# Environment: APIKEY_SEED, where to begin; APIKEY_ROUNDS, how many worlds.  Each
# takes the next seed, so that a world alone is APIKEY_SEED=... APIKEY_ROUNDS=1.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Apikey;

my $default_seed = 20250101;
my $default_rounds = 9;
my ($tables, $questions, $dear) = (7, 70, 8);	# in a world; so many questions of large tables

# In what an oracle is led astray to see that this is found out: a grant of each
# key is missing, and each organization level; all of them are for the highest level, or
# for all environments; or derived keys have no parents
my @wrong = ('missing', 'higher', 'anywhere', 'parentless');
my $seed = $ENV{APIKEY_SEED} // $default_seed;
my $rounds = $ENV{APIKEY_ROUNDS} // $default_rounds;

note "APIKEY_SEED=$seed APIKEY_ROUNDS=$rounds";

my $node = start_node('differential',
	conf => "fsync = off\nautovacuum = off\nlog_statement = none\nmax_worker_processes = 16\nmax_parallel_workers = 8\n");

# ---------------------------------------------- what is the same in all worlds

# Collations and access methods that are there, and what a setting is called
my %have;
$have{icu} = !$node->psql('postgres', q{
	CREATE COLLATION try (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
	SELECT 'a' = 'A' COLLATE try, 'a' < 'b' COLLATE "en-x-icu"; DROP COLLATION try});
$have{$_} = !$node->psql('postgres', "BEGIN; CREATE EXTENSION $_; ROLLBACK") foreach 'btree_gin', 'btree_gist';
my $forced = $node->safe_psql('postgres',
	"SELECT name FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query')");
note join ', ', map { ($have{$_} ? '' : 'no ') . $_ } sort keys %have;

my @project_labels = ('web', 'Web', 'shop', 'p-07', 'nobody', '*');
my @environment_labels = ('production', 'Production', 'development', 'staging', 'nowhere', '*');
sub literal { return defined $_[0] ? "'" . $_[0] =~ s/'/''/gr . "'" : 'NULL'; }
sub literals { return join ', ', map literal($_), @_; }

# Whatever the settings of the query that is tried are
my $oracle_plan = 'SET enable_hashjoin = on SET enable_nestloop = off SET enable_mergejoin = off SET enable_seqscan = on';

$node->safe_psql('postgres', "CREATE ROLE app; CREATE ROLE builder; CREATE DATABASE base");
$node->safe_psql('base', "SET client_min_messages = warning;
	CREATE EXTENSION apikey CASCADE;
	" . join('', map "CREATE EXTENSION $_;\n", grep $have{$_}, 'btree_gin', 'btree_gist') . "
	" . ($have{icu} ? "CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);" : '') . "
	CREATE TYPE project_enum AS ENUM (" . literals(@project_labels) . ");
	CREATE TYPE environment_enum AS ENUM (" . literals(@environment_labels) . ");
	CREATE DOMAIN text_domain AS text;
	CREATE DOMAIN uuid_domain AS uuid;
	CREATE DOMAIN int_domain AS int CHECK (VALUE <> 12345);
	CREATE DOMAIN project_enum_domain AS project_enum;
	CREATE DOMAIN environment_enum_domain AS environment_enum;
	GRANT CREATE, USAGE ON SCHEMA public TO app, builder;
	" . q{
	CREATE TABLE token (k int PRIMARY KEY, what text, key_id uuid, key text, superseded boolean NOT NULL DEFAULT false);
	CREATE TABLE setting (s int PRIMARY KEY, env text);
	CREATE TABLE customer (wrong text, k int, organization text COLLATE "C", level int);
	CREATE TABLE verdict (wrong text, k int, in_project text COLLATE "C", in_environment text COLLATE "C", level int);

	-- which level each key has on what, by plain SQL over the tables; "wrong"
	-- makes it wrong in one point
	CREATE FUNCTION verdict(wrong text, one int) RETURNS TABLE (k int, project text, environment text, level int)
	LANGUAGE sql STABLE } . $oracle_plan . q{ AS $$
		WITH RECURSIVE lineage AS (
			SELECT t.k, s.key_id, s.parent_id FROM token t JOIN apikey_key s USING (key_id)
			WHERE (one IS NULL OR t.k = one) AND NOT t.superseded
			UNION ALL
			SELECT l.k, s.key_id, s.parent_id FROM lineage l JOIN apikey_key s ON s.key_id = l.parent_id
			WHERE $1 <> 'parentless'
		), alive AS (
			SELECT l.k, s.organization, count(*) AS members FROM lineage l JOIN apikey_key s USING (key_id)
			GROUP BY 1, 2
			HAVING bool_and(s.revoked_at IS NULL AND s.disabled_at IS NULL
				AND (s.expires_at IS NULL OR s.expires_at > now()) AND s.allowed_networks IS NULL
				AND s.organization NOT IN (SELECT organization FROM apikey_suspension))
		), seen AS (
			SELECT g.key_id, g.project, g.environment,
				array_position('{read,write,manage}', g.level::text) AS level,
				row_number() OVER (PARTITION BY g.key_id ORDER BY g.level DESC, g.project, g.environment) AS n
			FROM apikey_grant g
		), given AS (
			SELECT a.k, a.members, g.key_id, e.project, e.environment,
				max(CASE WHEN $1 = 'higher' THEN 3 ELSE g.level END) AS level
			FROM alive a
				JOIN lineage l USING (k)
				JOIN apikey_environment e USING (organization)
				JOIN seen g ON g.key_id = l.key_id AND (g.project = e.project OR g.project IS NULL)
					AND (g.environment = e.environment OR g.environment = '*' OR $1 = 'anywhere')
			WHERE e.environment <> '*' AND NOT ($1 = 'missing' AND n = 1)
			GROUP BY 1, 2, 3, 4, 5
		)
		SELECT k, project, environment, min(level) FROM given
		GROUP BY 1, 2, 3, members HAVING count(*) = members
	$$;
	-- likewise, which level it has on which organization
	CREATE FUNCTION customer(wrong text, one int) RETURNS TABLE (k int, organization text, level int)
	LANGUAGE sql STABLE } . $oracle_plan . q{ AS $$
		SELECT t.k, s.organization, CASE WHEN $1 = 'higher' THEN 3 ELSE array_position('{read,write}', s.organization_level::text) END
		FROM token t JOIN apikey_key s USING (key_id)
		WHERE (one IS NULL OR t.k = one) AND s.revoked_at IS NULL AND s.disabled_at IS NULL
			AND (s.expires_at IS NULL OR s.expires_at > now()) AND s.allowed_networks IS NULL
			AND s.organization_level IS NOT NULL AND NOT t.superseded AND $1 <> 'missing'
			AND NOT EXISTS (SELECT FROM apikey_suspension u WHERE u.organization = s.organization)
	$$;
	CREATE FUNCTION judge(one int, wrong text) RETURNS void LANGUAGE sql AS $$
		DELETE FROM verdict WHERE k = one;
		DELETE FROM customer WHERE k = one;
		INSERT INTO customer
		SELECT w, v.* FROM unnest(ARRAY['', wrong]) w, LATERAL customer(w, one) v;
		INSERT INTO verdict
		SELECT w, v.* FROM unnest(ARRAY['', wrong]) w, LATERAL verdict(w, one) v
	$$;
	CREATE FUNCTION look(one int, wrong text, name text) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		EXECUTE format('DELETE FROM visible_%s WHERE k = $1', name) USING one;
		EXECUTE format($f$INSERT INTO visible_%1$s
			SELECT w, k, s, command, array_agg(id) FROM unnest(ARRAY['', $2]) w, LATERAL see_%1$s($1, w) v
			GROUP BY 1, 2, 3, 4$f$, name) USING one, wrong;
	END $$;
	CREATE FUNCTION level_of(verb text) RETURNS int LANGUAGE sql IMMUTABLE AS $$
		SELECT CASE WHEN lower($1) IN ('read', 'get', 'head', 'options', 'select') THEN 1
			WHEN lower($1) IN ('write', 'post', 'put', 'patch', 'insert', 'update') THEN 2
			WHEN lower($1) IN ('manage', 'delete') THEN 3 END
	$$;

	-- not all types have all operator classes
	CREATE FUNCTION try_index(command text) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		EXECUTE command;
	EXCEPTION WHEN undefined_object OR feature_not_supported OR datatype_mismatch OR indeterminate_collation
		OR invalid_object_definition OR undefined_function THEN NULL;
	END $$;

	-- by who may not do it, so that nothing else changes for a plan; of a derived key,
	-- the one that it comes from
	CREATE FUNCTION change(k int, how text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
	SET apikey.key = '' AS $$
	DECLARE
		id uuid = (WITH RECURSIVE lineage AS (
			SELECT s.key_id, s.parent_id FROM token t JOIN apikey_key s USING (key_id) WHERE t.k = $1
			UNION ALL
			SELECT s.key_id, s.parent_id FROM lineage l JOIN apikey_key s ON s.key_id = l.parent_id)
			SELECT key_id FROM lineage WHERE parent_id IS NULL);
	BEGIN
		CASE how
			WHEN 'more' THEN
				PERFORM apikey_grant(id, '*', '*', 'manage'), apikey_set_organization_level(id, 'write');
			WHEN 'less' THEN
				PERFORM apikey_set_organization_level(id, NULL);
				PERFORM apikey_ungrant(key_id, coalesce(project, '*'), environment)
				FROM (SELECT *, row_number() OVER (ORDER BY project, environment) AS n
					FROM apikey_grant WHERE key_id = id) g WHERE n % 2 = 1;
			WHEN 'revoke' THEN
				PERFORM apikey_revoke(id);
			WHEN 'suspend' THEN
				PERFORM CASE WHEN EXISTS (SELECT FROM apikey_suspension s WHERE s.organization = o.organization)
					THEN apikey_resume(o.organization) ELSE apikey_suspend(o.organization, 'x') END
				FROM (SELECT organization FROM apikey_key WHERE key_id = id) o;
			WHEN 'rotate' THEN
				PERFORM apikey_rotate(id);
				UPDATE token SET superseded = true WHERE key_id = id;
			WHEN 'finish' THEN
				PERFORM apikey_rotate(id, '1 hour');
				PERFORM apikey_finish_rotation(id);
				UPDATE token SET superseded = true WHERE key_id = id;
			WHEN 'cancel' THEN
				PERFORM apikey_rotate(id, '1 hour');
				PERFORM apikey_cancel_rotation(id);
			WHEN 'project' THEN
				PERFORM apikey_remove_project(project)
				FROM (SELECT *, row_number() OVER (ORDER BY project) AS n FROM apikey_project
					WHERE organization = (SELECT organization FROM apikey_key WHERE key_id = id)) p WHERE n % 2 = 1;
			WHEN 'environment' THEN
				PERFORM apikey_remove_environment(project, environment)
				FROM apikey_environment WHERE environment = 'production';
		END CASE;
	END $$;
});

# --------------------------------------------------------------------- chance

sub any { return $_[ int rand @_ ]; }
sub chance { return rand() < $_[0]; }
sub between { return $_[0] + int rand($_[1] - $_[0] + 1); }

# The values that come first are the most common ones.
sub often { return $_[ int @_ * rand()**3 ]; }

sub shuffled
{
	my @list = @_;

	foreach my $i (reverse 1 .. $#list)
	{
		my $j = int rand($i + 1);
		@list[ $i, $j ] = @list[ $j, $i ];
	}
	return @list;
}

sub some
{
	my ($count, @list) = @_;

	@list = shuffled(@list);
	return splice @list, 0, $count;
}

sub verb_of
{
	my ($verb) = any(@{ { read => [qw(read read GET Select head oPTIONS)], write => [qw(write write POST put Update)],
		manage => [qw(manage DELETE delete)] }->{ $_[0] } });

	return $verb;
}

# A text where things stand that are written in one way for the extension, and
# in another for the oracle.  \x01 type \x02 value \x03: a constant, which may become
# a parameter; \x04 key \x05 project \x05 environment \x05 verb \x06: a call; without an
# environment it is about an organization.
sub constant { return "\x01$_[0]\x02$_[1]\x03"; }
sub call { return "\x04" . join("\x05", @_) . "\x06"; }

my $keyed = "current_setting('app.key', true)";
my $env_setting = "current_setting('app.env', true)";

sub write_constants
{
	my ($sql) = @_;

	return $sql =~ s/\x01(.*?)\x02(.*?)\x03/"CAST(" . literal($2) . " AS $1)"/gesr;
}

sub write_calls
{
	my ($sql) = @_;

	return $sql =~ s/\x04(.*?)\x05(.*?)\x05(.*?)\x05(.*?)\x06/
		'apikey_authorize' . ($3 eq '' ? '_organization' : '') . '(' . join(', ', grep($_ ne '', $1, $2, $3, $4)) . ')'/gesrx;
}

# ---------------------------------------------------------------------- worlds

# kind of a project column => its type, the type of a constant, which names
my %kind = (
	text => [ 'text', 'text', 'text' ],
	varchar => [ 'varchar(40)', 'varchar', 'text' ],
	'"C"' => [ 'text COLLATE "C"', 'text', 'text' ],
	'"POSIX"' => [ 'text COLLATE "POSIX"', 'text', 'text' ],
	icu => [ 'text COLLATE "en-x-icu"', 'text', 'text' ],
	ci => [ 'text COLLATE ci', 'text', 'text' ],
	name => [ 'name', 'name', 'text' ],
	domain => [ 'text_domain', 'text', 'text' ],
	uuid => [ 'uuid', 'uuid', 'uuid' ],
	'uuid domain' => [ 'uuid_domain', 'uuid', 'uuid' ],
	int2 => [ 'int2', 'int2', 'int2' ],
	int4 => [ 'int4', 'int4', 'int4' ],
	'int domain' => [ 'int_domain', 'int4', 'int4' ],
	int8 => [ 'int8', 'int8', 'int8' ],
	enum => [ 'project_enum', 'project_enum', 'enum' ],
	'enum domain' => [ 'project_enum_domain', 'project_enum', 'enum' ]);
my @kinds = sort grep { $have{icu} || !/^(?:icu|ci)$/ } keys %kind;
my %environment_kind = (
	text => [ 'text', 'text' ],
	'"C"' => [ 'text COLLATE "C"', 'text' ],
	varchar => [ 'varchar', 'varchar' ],
	enum => [ 'environment_enum', 'environment_enum' ],
	'enum domain' => [ 'environment_enum_domain', 'environment_enum' ],
	domain => [ 'text_domain', 'text' ],
	$have{icu} ? (ci => [ 'text COLLATE ci', 'text' ]) : ());
my @environment_kinds = sort keys %environment_kind;
my @environments = ('production', 'development', 'staging', 'qa', 'Production');

# Registered and other names by type.  Of the first list there are columns, of
# the second there are projects only, which no value may be taken for.
sub make_names
{
	my @uuids = map {
		sprintf 'a%03x%04x-%04x-4%03x-b%03x-%04x%04x%04x', map int rand $_,
		  4096, 65536, 65536, 4096, 4096, 65536, 65536, 65536
	} 1 .. 40;
	my %columns = (
		text => [ 'web', 'Web', 'WEB', 'shop', 'p-07', 'a b', "o'hare", 'x,"y', "h\xc3\xa4user", '*', '', 'nobody', '7', '007',
			map(sprintf('bulk-%03d', $_), 1 .. 60), @uuids[ 0 .. 3 ] ],
		uuid => \@uuids,
		int2 => [ 7, -3, 0, 42, 32767, -32768, 4464, 1001 .. 1060 ],
		int4 => [ 7, -3, 0, 42, 70000, 2147483647, -2147483648, 4464, -1294967296, 1001 .. 1060 ],
		int8 => [ 7, -3, 0, 42, 70000, qw(3000000000 9007199254740993 9223372036854775807 -9223372036854775808 -1294967296),
			1001 .. 1060 ],
		enum => \@project_labels);
	# these would be read as one of the values below
	my @traps = (
		uc $uuids[31], $uuids[32] =~ s/-//gr, "{$uuids[33]}", $uuids[34] =~ s/.$//r, "$uuids[35]0",
		'99999999999999999999', '+7', ' 7', '7 ', '007', '-0', '0x7', '7.0', '3000000000', '70000', '4464x', '1_001');
	my %trapped = (
		uuid => [ @uuids[ 31 .. 35 ] ],
		int2 => [ 7, 0, 4464 ],
		int4 => [ 7, 0, 4464, -1294967296 ],
		int8 => [ 7, 0 ]);
	my %seen;
	my @projects = grep !$seen{$_}++, (
		@traps, (grep $_ ne '*' && $_ ne '' && $_ ne 'nobody', @{ $columns{text} }),
		@uuids[ 4 .. 30 ], -3, 42, 32767, 1001 .. 1055, '-32768', '2147483647', '9007199254740993', '9223372036854775807',
		'-9223372036854775808');

	return (\%columns, \@projects, \@traps, \%trapped);
}

# Moments are numbers, written as a value of a type
my %moment = (
	int4 => sub { return $_[0] },
	numeric => sub { return "$_[0].50" },
	text => sub { return sprintf 'm%05d', $_[0] },
	name => sub { return sprintf 'm%05d', $_[0] },
	timestamptz => sub { return sprintf '2026-01-%02d %02d:%02d:00+00', 1 + $_[0] / 1440, $_[0] / 60 % 24, $_[0] % 60 });
my @moments = sort keys %moment;

# Values, some of them more often than others
sub skewed
{
	my ($skew, @values) = @_;

	return sub { return $values[ int(@values * rand()**$skew) ]; };
}

my @index_parts = (
	('(project)') x 2, ('(project, environment)') x 2, ('(environment, project)') x 2, '(environment)',
	'(id, project)', '(project, id)', '(id, environment, project)', '(environment, project, id)',
	'(environment, id)', '(environment, id, project)', '(public, project)',
	'(project DESC)', '(project DESC, environment NULLS FIRST, id)', '(environment DESC, project DESC, id DESC)',
	'(project NULLS FIRST, id DESC)', '(id DESC, project)', '(project text_pattern_ops)', '(project COLLATE "C", id)',
	'(project) INCLUDE (id)', '(project, environment) INCLUDE (id)', '(environment) INCLUDE (project, id)',
	'(id) INCLUDE (project, environment)', ('UNIQUE (id)') x 2,
	('USING hash (project)') x 2, 'USING hash (environment)',
	('USING brin (project) WITH (pages_per_range = 1)') x 3, 'USING brin (project, environment) WITH (pages_per_range = 1)',
	'USING gin (project)', 'USING gin (project, environment)', 'USING gin (id, environment)',
	'USING gist (project)', 'USING gist (environment, project)', 'USING spgist (project)',
	"(project) WHERE environment = 'production'", '(project, id) WHERE id % 2 = 0', '(environment) WHERE public',
	'(project) WHERE project IS NOT NULL', '(project, id) WHERE id > 100',
	q{((data->>'project'))}, q{((data->>'project'), id)}, q{((data->>'project'), environment)},
	'((project::text), environment)', q{USING hash ((data->>'project'))});

# For pages: indexes, each with orders that it can give
my @page_parts = (
	[ '(moment, id)', 'moment, id', 'moment DESC, id DESC' ],
	[ '(moment)', 'moment', 'moment DESC', 'moment DESC, id' ],
	[ '(moment DESC NULLS LAST, id DESC)', 'moment DESC NULLS LAST, id DESC' ],
	([ '(project, moment, id)', 'moment, id', 'moment DESC, id DESC', 'moment' ]) x 3,
	[ '(project, moment)', 'moment', 'moment DESC', 'moment DESC, id', 'moment, id DESC' ],
	[ '(project, moment DESC NULLS LAST, id DESC)', 'moment DESC NULLS LAST, id DESC', 'moment NULLS FIRST, id' ],
	[ '(project DESC, moment NULLS FIRST, id)', 'moment NULLS FIRST, id', 'moment DESC NULLS LAST, id DESC' ],
	[ '(project, moment DESC, id)', 'moment DESC, id', 'moment, id DESC' ],
	[ '(project, moment, id) INCLUDE (environment)', 'moment, id', 'moment DESC, id DESC' ],
	[ '(project, id DESC) INCLUDE (environment, moment)', 'id', 'id DESC' ],
	[ '(project, environment, moment, id)', 'environment, moment, id', 'environment DESC, moment DESC, id DESC' ],
	[ '(environment, project, moment, id)', 'moment, id', 'moment DESC, id DESC' ],
	[ '(public, project, moment, id)', 'moment, id', 'moment DESC, id DESC' ],
	[ '(project, public, moment, id DESC)', 'public, moment, id DESC', 'public DESC, moment DESC, id' ],
	[ '(project, (id % 5), moment, id)', 'id % 5, moment, id', 'id % 5 DESC, moment DESC, id DESC' ],
	[ '(project, moment, id) WHERE public', 'moment, id', 'moment DESC, id DESC' ],
	[ '(project, moment) WHERE moment IS NOT NULL', 'moment', 'moment DESC, id' ],
	[ '(project COLLATE "C", moment, id)', 'moment, id', 'moment DESC, id DESC' ],
	[ q{((data->>'project'), moment, id)}, 'moment, id', 'moment DESC, id DESC' ]);

# The policies of a table: for each command what is permitted by any of a list,
# and restricted by all of another
sub make_policies
{
	my ($form) = @_;
	my $level = any(qw(read read write));
	my $project = 'project';
	my $environment = 'environment';
	my @policies;

	return ('none') if $form eq 'none';
	if ($form eq 'organization')
	{
		push @policies, map [ $_->[0], 1, call('', 'project', '', "'$_->[1]'"), 'protect' ],
		  [ 'SELECT', 'read' ], [ 'UPDATE', 'write' ], [ 'DELETE', 'write' ];
	}
	elsif ($form eq 'protected')
	{
		push @policies, map [ $_->[0], 1, call('', 'project', 'environment', "'$_->[1]'"), 'protect' ],
		  [ 'SELECT', 'read' ], [ 'UPDATE', 'write' ], [ 'DELETE', 'manage' ];
	}
	else
	{
		# what depends on the plan most has a table of its own in each world
		my $plain = $form ne 'by hand';
		$project = any('project', 'project', 'project', "(data->>'project')", "'web'::text", "'1001'::text") if !$plain;
		if ($project =~ /^'/)
		{
			$environment = 'environment';
		}
		else
		{
			$environment = any(('environment') x 3, ("'production'::text") x 4, "'staging'::text", ($env_setting) x 2,
				"(SELECT $env_setting)", "'production'::environment_enum", "(data->>'environment')");
			# an untyped literal, too
			$environment =~ s/::text// if chance(0.5);
		}
		$environment = any("'production'", $env_setting) if $form eq 'constant' || $form eq 'verb' && chance(0.6);
		$environment = '' if $form eq 'by hand' && chance(0.4) || $form eq 'verb' && chance(0.2);
		my $verb = $form eq 'verb' || !$plain && chance(0.3) ? 'verb' : "'" . verb_of($level) . "'";
		my $call = call(chance(0.25) ? $keyed : '', $project, $environment, $verb);
		my $condition = $plain ? $call : any(($call) x 4, "(public OR $call)", "(public AND $call)", "($call AND id % 5 <> 0)",
			"(environment IS NOT NULL AND $call)", "($call OR $call)",
			"($call OR " . call('', 'project', 'environment', "'manage'") . ')',
			"($call AND " . call('', 'project', 'environment', "'write'") . ')',
			"NOT $call");

		push @policies, [ 'ALL', 1, $condition ];
	}
	push @policies, [ any('ALL', 'SELECT'), 1, any('id % 11 = 3', 'public', call('', 'project', '', "'write'"), call('', 'project', "'staging'", "'read'"),
			call($keyed, 'project', 'environment', "'write'"), call('', "'shop'::text", 'environment', "'read'")) ] if chance(0.15);
	push @policies, [ any('ALL', 'SELECT'), 0, any('id % 7 <> 3', 'NOT public', call('', 'project', '', "'read'"), call('', 'project', 'environment', "'write'"),
			call('', 'project', "'production'", "'GET'"), call('', "'web'::text", 'environment', "'read'")) ] if chance(0.2);
	return @policies;
}

# The condition for rows under a command; SELECT counts for all of them.
sub condition_of
{
	my ($command, @policies) = @_;
	my @conditions;

	return 'true' if $policies[0] eq 'none';
	foreach my $c ('SELECT', $command eq 'SELECT' ? () : $command)
	{
		my @those = grep $_->[0] eq 'ALL' || $_->[0] eq $c, @policies;

		push @conditions, '(' . (join(' OR ', map $_->[2], grep $_->[1], @those) || 'false') . ')',
		  map $_->[2], grep !$_->[1], @those;
	}
	return join ' AND ', @conditions;
}

sub any_moment
{
	my ($t, $age) = @_;
	my $last = $t->{last_moment};
	my ($from, $to) = @{ { old => [ 0, $last / 5 ], new => [ $last * 4 / 5, $last ] }->{ $age // 'spread' } // [ 0, $last ] };

	return $moment{ $t->{moment} }->(between(int $from, int $to));
}

# A function that tells by plain SQL what can be seen of a table
sub oracle_of
{
	my ($table) = @_;
	my @calls;
	my $settings = 'true';
	my @branches;

	foreach my $command ('SELECT', 'UPDATE', 'DELETE')
	{
		my $condition = condition_of($command, @{ $table->{policies} });

		$condition =~ s{(\x04.*?\x06)}{
			my $call = $1;
			my ($n) = grep $calls[$_] eq $call, 0 .. $#calls;
			$n //= push(@calls, $call) - 1;
			"((k.k, s.s, t.id) IN (SELECT k, s, id FROM c$n) IS TRUE)"
		}ge;
		push @branches, "SELECT k.k, s.s, '$command', t.id FROM token k, s, $table->{name} t WHERE $condition";
	}
	$settings = 's = 0' if !grep /app\.env/, @calls;
	my $ctes = '';
	foreach my $n (0 .. $#calls)
	{
		my ($project, $environment, $verb) = $calls[$n] =~ /\x04.*?\x05(.*?)\x05(.*?)\x05(.*?)\x06/;

		if ($environment eq '')
		{
			$ctes .= ", c$n AS MATERIALIZED (
				SELECT v.k, s.s, t.id FROM $table->{name} t CROSS JOIN s JOIN customer v
					ON v.organization = CAST($project AS text) COLLATE \"C\" AND v.level >= level_of($verb)
				WHERE v.wrong = \$2 AND (one IS NULL OR v.k = one))";
			next;
		}
		$environment = 's.env' if $environment =~ /app\.env/;
		$ctes .= ", c$n AS MATERIALIZED (
			SELECT v.k, s.s, t.id FROM $table->{name} t CROSS JOIN s JOIN verdict v
				ON v.in_project = CAST($project AS text) COLLATE \"C\" AND v.in_environment = CAST($environment AS text) COLLATE \"C\"
				AND v.level >= level_of($verb)
			WHERE v.wrong = \$2 AND (one IS NULL OR v.k = one))";
	}
	return "CREATE FUNCTION see_$table->{name}(one int, wrong text) RETURNS TABLE (k int, s int, command text, id int)
		LANGUAGE sql STABLE SET work_mem = '64MB' $oracle_plan AS \$see\$
		WITH s AS MATERIALIZED (SELECT * FROM setting WHERE $settings)$ctes
		" . join("\n\t\tUNION ALL ", map "$_ AND (one IS NULL OR k.k = one)", @branches) . "\$see\$;\n";
}

# Its columns and their values
sub plan_table
{
	my ($world, $name, $like, $trapped) = @_;
	my %table = (name => $name);

	# one kind after the other, so that all of them have their turn
	$table{kind} = $like && chance(0.2) ? $like->{kind} : $kinds[ ($world->{seed} * $tables + substr $name, 1) % @kinds ];
	$table{environment_kind} = $like && chance(0.4) ? $like->{environment_kind} : any(@environment_kinds);
	(undef, $table{base}, $table{family}) = @{ $kind{ $table{kind} } };
	(undef, $table{environment_base}) = @{ $environment_kind{ $table{environment_kind} } };
	# enums have no operators for domains
	$table{project} = 'project' . ($table{kind} eq 'enum domain' ? "::$table{base}" : '');
	$table{environment} = 'environment' . ($table{environment_kind} eq 'enum domain' ? "::$table{environment_base}" : '');

	my @all = @{ $world->{columns}{ $table{family} } };
	my @names = some(any(3, 6, 10), grep $_ ne '' && $_ ne '*' && $_ ne 'nobody', @all);
	push @names, some(2, @{ $trapped->{ $table{family} } // [] });
	@names = shuffled(@names);
	unshift @names, shuffled('web', 'Web', 'WEB') if $table{kind} eq 'ci';
	push @names, some(any(0, 2, 10, 1000), @all);
	my %seen;
	$table{names} = [ grep !$seen{$_}++, @names ];

	my @places = some(any(3, 5, 7),
		$table{environment_base} eq 'environment_enum' ? @environment_labels : (@environments, '*', '', 'nowhere'));
	unshift @places, 'production' if chance(0.7);
	%seen = ();
	$table{places} = [ grep !$seen{$_}++, @places ];

	# moments: how many there are, and which projects have the first ones, the last ones or any
	$table{moment} = chance(0.5) && $like ? $like->{moment} : any(@moments);
	$table{last_moment} = any(6, 30, 200, 5000);
	$table{ages} = { map { ($_ => any(qw(old old new spread))) } @{ $table{names} } };
	return \%table;
}

sub make_table
{
	my ($world, $table) = @_;
	my %table = %$table;
	my $name = $table{name};
	my @names = @{ $table{names} };
	my ($type, $environment_type) = ($kind{ $table{kind} }[0], $environment_kind{ $table{environment_kind} }[0]);
	my $sql = '';

	# values
	my ($project, $environment) = (skewed(any(1, 1, 2, 4), @names), skewed(any(1, 2), @{ $table{places} }));
	my ($nulls, $public) = (any(0, 0.03, 0.1), any(0.02, 0.1));
	$table{rows} = any(between(200, 600), between(200, 600), between(200, 1500), between(1000, 3000));

	# its shape
	$table{shape} = any(('plain') x 7, 'list', 'hash', 'range', 'both', 'children');
	my %partition = (list => 'LIST (project)', hash => 'HASH (project)', range => 'RANGE (id)', both => 'RANGE (id)');
	my $partition = $partition{ $table{shape} } ? "PARTITION BY $partition{ $table{shape} }" : '';
	my $parallel = chance(0.4) ? 'WITH (parallel_workers = 2)' : '';
	my @leaves = ($name);
	$sql .= "CREATE TABLE $name (id int NOT NULL, project $type, environment $environment_type, verb text,
		public boolean NOT NULL, moment $table{moment}, data jsonb, filler text) " . ($partition || $parallel) . ";\n";
	if ($partition)
	{
		my @bounds =
		    $table{shape} eq 'list' ? ('DEFAULT', map 'FOR VALUES IN (' . literal($_) . ')', some(2, grep lc ne 'web', @names))
		  : $table{shape} eq 'hash' ? map("FOR VALUES WITH (MODULUS 3, REMAINDER $_)", 0 .. 2)
		  : ('FOR VALUES FROM (MINVALUE) TO (300)', 'FOR VALUES FROM (300) TO (900)', 'DEFAULT');

		my %seen;
		@bounds = grep !$seen{lc $_}++, @bounds;
		@leaves = map "${name}_$_", 1 .. @bounds;
		foreach my $i (0 .. $#bounds)
		{
			my $below = $table{shape} eq 'both' ? 'PARTITION BY HASH (project)' : $parallel;

			$sql .= "CREATE TABLE $leaves[$i] PARTITION OF $name $bounds[$i] $below;\n";
			next if $below eq $parallel;
			$sql .= "CREATE TABLE $leaves[$i]_$_ PARTITION OF $leaves[$i] FOR VALUES WITH (MODULUS 2, REMAINDER $_) $parallel;\n"
			  foreach 0, 1;
		}
	}
	elsif ($table{shape} eq 'children')
	{
		push @leaves, "${name}_1";
		$sql .= "CREATE TABLE ${name}_1 () INHERITS ($name) $parallel;\n";
	}

	# rows
	$sql .= "CREATE TEMP TABLE raw (id int, project text, environment text, verb text, public boolean, moment text);
COPY raw FROM stdin;\n";
	foreach my $id (shuffled(1 .. $table{rows}))
	{
		my $of = chance($nulls) ? '\N' : $project->();

		$sql .= join("\t", $id, $of, chance($nulls) ? '\N' : $environment->(),
			any('read', 'GET', 'Select', 'write', 'PATCH', 'manage', 'delete', '\N'), chance($public) ? 't' : 'f',
			chance($nulls) ? '\N' : any_moment(\%table, $table{ages}{$of})) . "\n";
	}
	my $filler = any(0, 20, 200);
	my $rest = "project::$type, environment::$environment_type, verb, public, moment::$table{moment},
		jsonb_build_object('project', project, 'environment', environment), repeat('x', $filler)";
	$sql .= "\\.\n";
	if ($table{shape} eq 'children')
	{
		$sql .= "INSERT INTO ${name}_1 SELECT id, $rest FROM raw WHERE id % 3 = 0;\n"
		  . "INSERT INTO $name SELECT id, $rest FROM raw WHERE id % 3 <> 0;\n";
	}
	else
	{
		$sql .= "INSERT INTO $name SELECT id, $rest FROM raw;\n";
	}
	$sql .= "DROP TABLE raw;
		CREATE TABLE pick_$name AS
		SELECT DISTINCT ON (project::text, environment::text) id, project, environment
		FROM (SELECT * FROM $name ORDER BY id LIMIT 25) t ORDER BY project::text, environment::text, id;\n";

	# indexes
	my @policies = make_policies($table{form});
	my @indexes;

	$table{policies} = \@policies;
	my @parts = some(any(0, 1, 1, 2, 2, 3, 4, 6, 10), @index_parts);
	push @parts, any('(project)', '(project, environment)', '(project, id)', 'USING hash (project)')
	  if $table{form} ne 'by hand' || chance(0.5);
	# mostly two of the same order, one of all rows and one of each project
	my @pages = chance(0.5) ? @page_parts[ any([ 0, 3 ], [ 0, 6 ], [ 1, 6 ])->@* ] : some(any(0, 1, 2, 3), @page_parts);
	push @parts, map $_->[0], @pages;
	$table{orders} = [ map @$_[ 1 .. $#$_ ], @pages ];
	foreach my $part (@parts)
	{
		my $unique = $part =~ s/^UNIQUE// ? 'UNIQUE ' : '';

		foreach my $leaf ($table{shape} eq 'children' ? @leaves : $name)
		{
			my $method = $part =~ /USING (\w+)/ ? $1 : 'btree';

			push @indexes, "CREATE ${unique}INDEX ${leaf}_i" . @indexes . "_$method ON $leaf $part" if $leaf eq $name || chance(0.7);
		}
	}
	$sql .= 'SELECT try_index(' . literal($_) . ");\n" foreach @indexes;
	if (chance(0.2))
	{
		# not all rows are where they were
		$sql .= "UPDATE $name SET public = NOT public WHERE id % 9 = 1;\n";
	}
	my $after = any('', 'ANALYZE', 'ANALYZE', 'VACUUM ANALYZE', 'VACUUM ANALYZE', 'VACUUM');
	$sql .= "$after $name;\n" if $after;

	# policies
	if ($policies[0] ne 'none')
	{
		foreach my $n (grep !$policies[$_][3], 0 .. $#policies)
		{
			my ($command, $permissive, $condition) = @{ $policies[$n] };

			$sql .= "CREATE POLICY p$n ON $name AS " . ($permissive ? 'PERMISSIVE' : 'RESTRICTIVE')
			  . " FOR $command USING (" . write_calls($condition) . ");\n";
		}
		$sql .= "ALTER TABLE $name ENABLE ROW LEVEL SECURITY;\n";
		if ($policies[0][3] && $table{kind} eq 'name')
		{
			# not a type for apikey_protect
			$sql .= "CREATE POLICY apikey_$_->[0] ON $name FOR $_->[0] USING (" . write_calls($_->[2]) . ");\n"
			  foreach grep $_->[3], @policies;
		}
		elsif ($policies[0][3])
		{
			$sql .=
			  $table{form} eq 'organization'
			  ? "SELECT apikey_protect_organization('$name', 'project');\n"
			  : "SELECT apikey_protect('$name', 'project', 'environment');\n";
		}
		$sql .= "ALTER TABLE $name FORCE ROW LEVEL SECURITY;\n" if $world->{forced};
	}
	$table{by_organization} = 1 if grep ref && $_->[2] =~ /\x05\x05/, @policies;
	$table{env_setting} = 1 if grep ref && $_->[2] =~ /app\.env/, @policies;
	$sql .= "GRANT SELECT, UPDATE, DELETE ON $name, pick_$name TO app;\nALTER TABLE $name OWNER TO builder;\n";
	$sql .= "GRANT SELECT ON pick_$name TO builder;\n";
	$sql .= "ALTER TABLE $_ OWNER TO builder;\n" foreach grep $_ ne $name, @leaves;
	$sql .= oracle_of(\%table);
	$sql .= "CREATE TABLE visible_$name (wrong text, k int, s int, command text, ids int[]);
		SELECT look(NULL, '$world->{wrong}', '$name') \\g /dev/null\n";
	$table{sql} = $sql =~ s/^COPY raw.*?^\\\.$/-- $table{rows} rows: COPY raw .../msr;
	$world->{script} .= $sql;
	return \%table;
}

my @key_kinds = ('no grants', 'one', 'several', 'hundreds', 'project *', 'environment *', 'both *', 'mixed', 'writes',
	'revoked', 'disabled', 'expired', 'another organization', 'no key', 'garbage', 'derived', 'chain', 'below revoked', 'superseded',
	('customer') x $tables);

# Grants by pair as JSON, in SQL
sub grants_of
{
	my (%grant) = @_;

	return "(SELECT coalesce(jsonb_agg(jsonb_build_object('project', p, 'environment', e, 'level', l)), '[]')
			FROM (VALUES " . join(', ', '(NULL, NULL, NULL)', map '(' . literals(split(/\0/), $grant{$_}) . ')', sort keys %grant)
	  . ") AS v (p, e, l) WHERE p IS NOT NULL)";
}

# Derive so many keys, the first from this one, and each from the one before; what the
# last one is.
sub derive
{
	my ($k, $what, $parent, $count, @pairs) = @_;
	my $sql = "SELECT key AS d FROM token WHERE k = $parent \\gset\n";

	foreach (1 .. $count)
	{
		my @scopes = (some(between(5, 60), @pairs), map([ $_->[0], '*' ], some(between(0, 20), @pairs)),
			map([ '*', $_ ], some(between(1, 2), @environments)), chance(0.3) ? [ '*', '*' ] : ());
		my %grant = map { ("$_->[0]\0$_->[1]" => any('read', 'write', 'manage')) } @scopes;
		my $grants = $what eq 'below revoked' || chance(0.25) ? 'NULL' : grants_of(%grant);

		$sql .= "SELECT key_id AS d_id, key AS d FROM apikey_derive(:'d', '$what', $grants, '1 day') \\gset\n";
	}
	return "${sql}INSERT INTO token VALUES ($k, '$what', :'d_id', :'d');\n";
}

sub make_world
{
	my ($seed) = @_;
	my %world = (seed => $seed, cases => [], wanted => []);

	srand($seed);
	$world{forced} = chance(0.3);
	$world{wrong} = $wrong[ $seed % @wrong ];
	($world{columns}, my ($projects, $traps, $trapped)) = make_names();
	$world{script} = "\\set VERBOSITY verbose\nSET client_min_messages = error;
		SET enable_nestloop = off;\nSET max_parallel_workers_per_gather = 0;\nSET enable_partition_pruning = off;\n";

	# the registry
	my %registered;		# organization => pairs
	my @values;
	my %focus;			# what is used most
	my @planned;
	my @forms = shuffled('none', ('protected') x 2, 'organization', 'constant', 'verb', ('by hand') x ($tables - 6));
	foreach my $n (1 .. $tables)
	{
		push @planned, plan_table(\%world, "t$n", $planned[0], $trapped);
		$planned[-1]{form} = $planned[-1]{kind} eq 'ci' ? any('constant', 'organization') : $forms[ $n - 1 ];
		my @names = @{ $planned[-1]{names} };
		$focus{$_} = 1 foreach splice @names, 0, 8;
	}
	@focus{@$traps} = (1) x @$traps;
	foreach my $project (@$projects)
	{
		my $organization = any(('acme') x ($focus{$project} ? 15 : 3), 'globex', 'initech');
		my @in;

		next if chance($focus{$project} ? 0.02 : 0.1);
		@in = some(between(1, 4), @environments);
		push @in, 'production' if chance(0.5) && !grep $_ eq 'production', @in;
		push @{ $registered{$organization} }, map [ $project, $_ ], @in;
		push @values, '(' . literals($organization, $project, '{' . join(',', @in) . '}') . ')';
	}
	$world{script} .= "SELECT apikey_add_project(o, p, e::text[]) FROM (VALUES\n\t"
	  . join(",\n\t", @values) . ") AS v (o, p, e);\n";

	# the keys; what a key may do is most often what tables hold
	foreach my $k (1 .. @key_kinds)
	{
		my $what = $key_kinds[ $k - 1 ];
		my $organization = $what eq 'another organization' ? any('globex', 'initech') : 'acme';
		my @pairs = @{ $registered{$organization} };
		my @focused = grep $focus{ $_->[0] }, @pairs;

		@pairs = (@focused, some(@focused / 3, @pairs)) if $what !~ /hundreds/ && @focused > 10;
		my @levels = $what eq 'writes' ? ('write', 'manage') : ('read', 'read', 'write', 'manage');
		my @scopes =
		    $what eq 'no grants' ? ()
		  : $what eq 'one' ? some(1, @pairs)
		  : $what eq 'several' ? some(between(8, 30), @pairs)
		  : $what eq 'hundreds' ? some(between(150, 300), @pairs)
		  : $what eq 'project *' ? map([ '*', $_ ], some(between(1, 2), map $_->[1], some(1, @pairs), some(1, @pairs)))
		  : $what eq 'environment *' ? map([ $_->[0], '*' ], some(between(1, 40), @pairs))
		  : $what eq 'mixed' || $what eq 'another organization'
		  ? (some(between(20, 60), @pairs), map([ $_->[0], '*' ], some(5, @pairs)), [ '*', any(@environments) ])
		  : $what eq 'writes' ? some(between(30, 150), @pairs)
		  : ([ '*', '*' ]);
		my %grant = map { ("$_->[0]\0$_->[1]" => any(@levels)) } @scopes;

		next if $k >= 14 && $what ne 'superseded';
		$world{script} .= "INSERT INTO token SELECT $k, '$what', c.* FROM apikey_create('$organization', '$what',
			" . grants_of(%grant) . ', max_derived => 20) c;' . "\n";
	}
	my @derivable = @{ $registered{acme} };
	my @derivable_focused = grep $focus{ $_->[0] }, @derivable;
	$world{script} .= derive(16, 'derived', any(3 .. 8), 1, @derivable_focused > 10 ? @derivable_focused : @derivable)
	  . derive(17, 'chain', any(4, 6, 7, 7, 8), between(2, 4), @derivable_focused > 10 ? @derivable_focused : @derivable)
	  . derive(18, 'below revoked', 10, between(1, 2));
	# one that knows each table: as an organization, what is most common there
	foreach my $n (0 .. $#planned)
	{
		my $name = chance(0.15) ? any(@$traps) : often(grep $_ ne '' && $_ ne '*', @{ $planned[$n]{names} });

		$world{script} .= "INSERT INTO token SELECT " . customer_of($n + 1) . ", 'customer', c.* FROM apikey_create("
		  . literals($name, 'customer') . ", organization_level => '" . any('read', 'write') . "') c;\n";
	}
	$world{script} .= "INSERT INTO token VALUES (14, 'no key', NULL, ''), (15, 'garbage', NULL, 'apk_nonsense');
		SELECT apikey_revoke(key_id) FROM token WHERE what = 'revoked';
		SELECT apikey_disable(key_id) FROM token WHERE what = 'disabled';
		UPDATE apikey_key SET expires_at = now() - interval '1 second' WHERE label = 'expired';
		SELECT change(19, 'rotate');
		SELECT apikey_suspend(organization) FROM apikey_key WHERE organization = 'initech';
		SELECT judge(NULL, '$world{wrong}') \\g /dev/null
		ANALYZE token, verdict, customer;
		INSERT INTO setting VALUES (0, 'production'), (1, 'staging'), (2, 'nowhere');
		SELECT " . join(', ', map "max(key) FILTER (WHERE k = $_) AS k$_", 1 .. @key_kinds) . " FROM token \\gset\n";
	if (chance(0.3))
	{
		$world{script} .= "ANALYZE;\n";
	}

	push @{ $world{tables} }, make_table(\%world, $_) foreach @planned;
	return \%world;
}

# ------------------------------------------------------------------- questions

my @switches = qw(seqscan indexscan indexonlyscan bitmapscan hashjoin mergejoin nestloop sort incremental_sort memoize
  material);

# As if a table were large: all of it is read for a key that sees much, and the plan may be
# kept for one that sees little
sub make_dear_settings
{
	return ('cpu_tuple_cost = 50', 'cpu_index_tuple_cost = 50',
		chance(0.4) ? qw(parallel_setup_cost=0 parallel_tuple_cost=0 min_parallel_table_scan_size=0 max_parallel_workers_per_gather=2) : (),
		chance(0.2) ? 'parallel_leader_participation = off' : (), chance(0.2) ? 'enable_bitmapscan = off' : ());
}

sub make_settings
{
	my ($q) = @_;
	my @settings;

	return make_dear_settings() if $q->{dear};
	my $plan = any($q->{plans} ? @{ $q->{plans} } : qw(as-is as-is index index index index-only index-only bitmap bitmap
		  sequential random random));
	my %off = (
		index => [qw(seqscan bitmapscan indexonlyscan)],
		'index-only' => [qw(seqscan bitmapscan)],
		bitmap => [qw(seqscan indexscan indexonlyscan)],
		sequential => [qw(indexscan bitmapscan indexonlyscan)],
		ordered => [qw(seqscan bitmapscan sort)],
		merge => [qw(hashjoin nestloop sort)],
		random => [ grep chance(0.4), @switches ]);

	push @settings, map "enable_$_ = off", @{ $off{$plan} // [] };
	if ($plan ne 'random' && chance(0.6))
	{
		push @settings, map "enable_$_ = off", split / /, any('hashjoin mergejoin', 'hashjoin mergejoin material',
			'nestloop hashjoin', 'nestloop mergejoin', 'sort', 'sort incremental_sort', 'memoize');
	}
	if (chance(0.12))
	{
		push @settings, qw(parallel_setup_cost=0 parallel_tuple_cost=0 min_parallel_table_scan_size=0
		  min_parallel_index_scan_size=0 max_parallel_workers_per_gather=2);
		push @settings, any('parallel_leader_participation=off', 'parallel_leader_participation=on');
	}
	push @settings, "$forced = on", 'max_parallel_workers_per_gather = 2' if chance(0.03);
	push @settings, 'random_page_cost = 1' if chance(0.3);
	return @settings;
}

sub constant_project { my ($t) = @_; return constant($t->{base}, often(@{ $t->{names} })); }
sub constant_environment { my ($t) = @_; return constant($t->{environment_base}, often(@{ $t->{places} })); }

sub make_call
{
	my ($t, $alias) = @_;
	my $level = verb_of(any('read', 'write'));

	return call(chance(0.3) ? $keyed : '', any("$alias.project", "$alias.project", "($alias.data->>'project')"), '', "'$level'")
	  if chance(0.25);
	return call(chance(0.3) ? $keyed : '', @{ any(
			([ "$alias.project", "$alias.environment" ]) x 2, [ "$alias.project", "'production'" ],
			[ "'web'::text", "$alias.environment" ], [ "($alias.data->>'project')", "'production'" ],
			[ "$alias.project", constant('text', any(@environments)) ]) }, "'$level'");
}

sub make_condition
{
	my ($t, $alias) = @_;
	my $project = "$alias.$t->{project}";
	my $environment = "$alias.$t->{environment}";
	my $from = between(1, $t->{rows});

	return any(
		sub { return "$project = " . constant_project($t) },
		sub { return "$project = " . constant_project($t) },
		sub { return "$project IN (" . join(', ', map constant_project($t), 1 .. between(2, 5)) . ')' },
		sub { return "$environment = " . constant_environment($t) },
		sub { return "$environment = " . constant_environment($t) },
		sub { return "$environment IN (" . join(', ', map constant_environment($t), 1 .. 2) . ')' },
		sub { return "$environment = " . constant_environment($t) . " AND $project = " . constant_project($t) },
		sub
		{
			return "$environment = " . constant_environment($t) . " AND $project IN (" . join(', ', map constant_project($t), 1 .. 3)
			  . ')';
		},
		sub { return "$alias.id BETWEEN " . constant('int', $from) . ' AND ' . constant('int', $from + between(1, 200)) },
		sub { return "$alias.id = " . constant('int', $from) },
		sub { return "$alias.id IN (" . join(', ', map between(1, $t->{rows}), 1 .. 40) . ')' },
		sub { return "$project = " . constant_project($t) . " AND $alias.id > " . constant('int', $from) },
		sub { return "$project >= " . constant_project($t) },
		sub { return "$project < " . constant_project($t) . " AND $environment > " . constant_environment($t) },
		sub { return "($project = " . constant_project($t) . " OR $environment = " . constant_environment($t) . ')' },
		sub { return "$project IS " . any('', 'NOT ') . 'NULL' },
		sub
		{
			my @names = grep /^[\w-]+$/, map any(@{ $t->{names} }), 1 .. 4;

			return "$project = ANY (CAST(" . constant('text', '{' . join(',', @names) . "}") . " AS $t->{base}\[]))";
		},
		sub { return "$alias.data->>'project' = " . constant('text', any(@{ $t->{names} })) },
		sub { return "$alias.id % 2 = 0 AND $alias.id > " . constant('int', $from) },
		sub { return "$alias.id % 2 = 0" },
		sub { return any("$alias.public", "$alias.verb = 'read'") })->();
}

my @orders = (
	[ 'id', 'LIMIT' ], [ 'id', 'LIMIT' ], ['id'], ['id DESC'], [ 'id DESC', 'LIMIT' ],
	['environment, project, id'], ['environment, project, id'],
	[ 'environment, project, id', 'LIMIT' ], [ 'project, id', 'LIMIT' ], [ 'project, id', 'LIMIT', 'OFFSET' ], ['project, id'],
	['project DESC, environment DESC, id'], ['project, environment, id'], [ 'project, environment, id', 'LIMIT' ],
	['project NULLS FIRST, id DESC'], [ 'environment, id', 'LIMIT' ], ['environment, id'],
	['environment DESC, project DESC, id DESC'],
	['project DESC, environment NULLS FIRST, id'], [q{data->>'project', id}],
	[ q{data->>'project', environment, id}, 'LIMIT' ]);

# A question about a page: what is first in an order, or next
sub make_page
{
	my ($world, $q) = @_;
	my ($t) = @{ $q->{tables} };
	my @fit = @{ $t->{orders} };
	my $order = @fit && chance(0.8) ? any(@fit) : any(map @$_[ 1 .. $#$_ ], @page_parts);
	my @keys = map /^(.*?)( DESC)?( NULLS \w+)?$/ ? [ "a.$1", ($2 // '') . ($3 // '') ] : (), split /, /, $order;
	my $by = join ', ', map "$_->[0]$_->[1]", @keys;
	my $by_id = $order =~ /\bid\b(?! %)/;
	my $value = sub { return constant($t->{moment}, any_moment($t)) };
	my $op = $order =~ /DESC/ ? '<' : '>';
	my $next = any("(a.moment, a.id) $op (" . $value->() . ', ' . constant('int4', between(1, $t->{rows})) . ')',
		"a.moment $op " . $value->());
	my @where = (
		($t->{policies}[0] eq 'none' ? make_call($t, 'a') : ()),
		(chance(0.3) ? $next : ()),
		(chance(0.2) ? any('a.moment IS NOT NULL', 'a.moment IS NULL', 'a.public', 'a.moment IN (' . $value->() . ', ' . $value->() . ')',
			'a.moment BETWEEN ' . $value->() . ' AND ' . $value->(), 'a.id % 3 = 0', make_condition($t, 'a')) : ()));
	my $filter = @where ? 'WHERE ' . join ' AND ', @where : '';
	my $count = any(1, 3, 10, 50, 200);
	my $limit = 'LIMIT ' . (chance(0.3) ? constant('int8', $count) : $count) . (chance(0.2) ? ' OFFSET ' . any(1, 7, 50) : '');
	# of what is equal in the order, any may be first
	my $columns = $by_id ? any(('a.id') x 3, 'a.id, a.moment', 'a.id, a.environment, a.filler') : join ', ', map $_->[0], @keys;
	my $form = any(('plain') x 12, qw(all all all lock lock lock lateral lateral extremes distinct groups window union merge));
	my @others = grep $_->{moment} eq $t->{moment}, @{ $world->{tables} };
	my $b = any(@others);

	$q->{plans} = [qw(as-is as-is as-is ordered ordered ordered ordered index index-only random)];
	@$q{ 'ordered', 'columns', 'type' } = (1, scalar(split /, /, $columns), $columns eq 'a.id' ? undef : 'text');
	if ($form eq 'plain' || $form eq 'all' || $form eq 'lock')
	{
		$limit = '' if $form eq 'all';
		$q->{sql} = "SELECT $columns FROM {0} a $filter ORDER BY $by $limit";
		# later rows are of the same order then
		$q->{grows} = $form eq 'all';
		@$q{ 'app', 'command' } = ("$q->{sql} FOR " . any('UPDATE', 'SHARE'), 'UPDATE') if $form eq 'lock' && $by_id;
	}
	elsif ($form eq 'lateral')
	{
		my $also = join ' AND ', @where, any("a.id > p.id", "a.id % 10 = p.id % 10", "a.$t->{project} = p.$t->{project}", 'p.id > 0');

		@$q{ 'ordered', 'columns', 'type' } = (0, 2, 'text');
		$by .= ', a.id' if !$by_id;
		$q->{sql} = "SELECT p.id, a.id FROM pick_$t->{name} p CROSS JOIN LATERAL (SELECT a.id FROM {0} a WHERE $also ORDER BY $by LIMIT "
		  . any(1, 2, 5) . ') a';
	}
	elsif ($form eq 'extremes')
	{
		@$q{ 'columns', 'type' } = (2, 'text');
		$q->{sql} = "SELECT min(a.moment::text), (SELECT max(a.moment::text) FROM {0} a $filter) FROM {0} a $filter";
		$q->{sql} =~ s/::text//g if $t->{moment} ne 'name';
	}
	elsif ($form eq 'distinct')
	{
		@$q{ 'columns', 'type' } = (1, undef);
		$q->{sql} = "SELECT DISTINCT ON (a.moment) a.id FROM {0} a $filter ORDER BY a.moment" . any('', ' DESC') . ', a.id' . any('', ' DESC') . " $limit";
	}
	elsif ($form eq 'groups')
	{
		@$q{ 'columns', 'type' } = (2, 'text');
		$q->{sql} = "SELECT a.moment, count(*) FROM {0} a $filter GROUP BY a.moment ORDER BY a.moment" . any('', ' DESC') . " $limit";
	}
	elsif ($form eq 'window')
	{
		@$q{ 'columns', 'type' } = (2, 'text');
		$by .= ', a.id' if !$by_id;
		$q->{sql} = "SELECT a.id, row_number() OVER (ORDER BY $by) FROM {0} a $filter ORDER BY $by $limit";
	}
	elsif ($form eq 'union')
	{
		my ($way) = any('', ' DESC');

		@$q{ 'tables', 'columns', 'type' } = ([ $t, $b ], 2, 'text');
		$q->{sql} = "SELECT a.moment, a.id FROM {0} a $filter UNION ALL SELECT b.moment, b.id FROM {1} b ORDER BY 1$way, 2$way $limit";
	}
	else
	{
		@$q{ 'tables', 'ordered', 'columns', 'type' } = ([ $t, $b ], 0, 2, 'text');
		push @{ $q->{plans} }, qw(merge merge merge);
		$q->{sql} = "SELECT a.id, b.id FROM {0} a JOIN {1} b ON b.moment = a.moment WHERE "
		  . join ' AND ', @where, 'a.id % 10 = ' . between(0, 9), 'b.id % 3 = ' . between(0, 2);
	}
	return;
}

# A question: "sql" with {0} and {1} for tables; "ordered": its rows come in an
# order that the query says; "columns": of a row; "command"; "grows": no row is out of
# it because others are in
sub make_question
{
	my ($world) = @_;
	my $t = any(@{ $world->{tables} });
	my %q = (tables => [$t], command => 'SELECT', ordered => 0, columns => 1);
	my $where = join ' AND ', (chance(0.4) ? make_condition($t, 'a') : ()), (chance(0.08) ? make_condition($t, 'a') : ()),
	  (chance($t->{policies}[0] eq 'none' ? 1 : 0.1) ? make_call($t, 'a') : ());
	my $filter = $where ? "WHERE $where" : '';
	my $form = any(('page') x 16, ('simple') x 9, ('ordered') x 9, qw(aggregate groups distinct), ('join') x 8, qw(update delete lock lock));

	$form = 'join' if $t->{policies}[0] eq 'none' && chance(0.3);
	if ($form eq 'page')
	{
		make_page($world, \%q);
	}
	elsif ($form eq 'simple')
	{
		$q{sql} = "SELECT a.id FROM {0} a $filter";
	}
	elsif ($form eq 'ordered')
	{
		my ($order, @limits) = @{ any(@orders) };

		$q{sql} = "SELECT a.id FROM {0} a $filter ORDER BY " . join ', ', map "a.$_", split /, /, $order;
		$q{sql} .= " LIMIT " . any(1, 5, 20, 100) if @limits;
		$q{sql} .= " OFFSET " . any(1, 7, 50) if @limits > 1;
		$q{ordered} = 1;
	}
	elsif ($form eq 'aggregate')
	{
		$q{sql} = 'SELECT ' . any('count(*)', 'count(DISTINCT a.project)', 'count(DISTINCT a.environment)', 'count(a.project)',
			'min(a.id)', 'max(a.id)', 'sum(a.id)') . " FROM {0} a $filter";
		$q{type} = 'bigint';
	}
	elsif ($form eq 'groups')
	{
		my $by = any('project', 'environment', 'public');
		$q{sql} = "SELECT lower(a.$by\::text), count(*), min(a.id), max(a.id) FROM {0} a $filter GROUP BY 1";
		$q{columns} = 4;
	}
	elsif ($form eq 'distinct')
	{
		$q{sql} = "SELECT DISTINCT ON (a.project) a.id FROM {0} a $filter ORDER BY a.project, a.id";
		$q{ordered} = 1;
	}
	elsif ($form eq 'update' || $form eq 'delete' || $form eq 'lock')
	{
		$q{command} = $form eq 'delete' ? 'DELETE' : 'UPDATE';
		$q{sql} = "SELECT a.id FROM {0} a $filter";
		$q{app} =
		    $form eq 'update' ? "UPDATE {0} a SET filler = 'y' $filter RETURNING a.id"
		  : $form eq 'delete' ? "DELETE FROM {0} a $filter RETURNING a.id"
		  : "SELECT a.id FROM {0} a $filter FOR " . any('UPDATE', 'SHARE', 'NO KEY UPDATE');
	}
	else
	{
		my @same = grep $_->{base} eq $t->{base}, @{ $world->{tables} };
		my $b = chance(0.5) ? any(@same) : any(@{ $world->{tables} });
		my $from = between(1, $t->{rows});
		my $few = "a.id BETWEEN " . constant('int', $from) . ' AND ' . constant('int', $from + between(0, 30));
		my $projects = "b.$b->{project} = a.$t->{project}";
		my $environments = "b.$b->{environment} = a.$t->{environment}";
		# two collations may be as strong as each other
		$projects = 'b.project::text COLLATE "C" = a.project::text' if $b->{kind} ne $t->{kind};
		$environments = 'b.environment::text COLLATE "C" = a.environment::text'
		  if $b->{environment_kind} ne $t->{environment_kind};
		my $on = any('b.id = a.id', ($projects) x 2, "$projects AND $environments", "$projects AND b.id > a.id");
		my $also = $where ? "AND $where" : '';
		my $at_b = join ' AND ', $on, chance(0.3) ? make_condition($b, 'b') : ();

		$q{tables} = [ $t, $b ];
		my @picked = (
			"a.$t->{project} = p.$t->{project}",
			"a.$t->{project} = p.$t->{project} AND a.$t->{environment} = p.$t->{environment}",
			map "$_ AND a.id % 7 = " . between(0, 6),
			call(chance(0.3) ? $keyed : '', 'a.project', 'p.environment', "'read'"),
			call('', 'p.project', 'a.environment', "'" . verb_of('read') . "'"));
		my @joins = (
			[ 2, "SELECT a.id, b.id FROM {0} a JOIN {1} b ON $at_b WHERE $few $also" ],
			[ 2, "SELECT a.id, b.id FROM {0} a LEFT JOIN {1} b ON $at_b WHERE $few $also" ],
			[ 2, "SELECT a.id, b.id FROM {0} a FULL JOIN {1} b ON b.id = a.id" ],
			[ 1, "SELECT a.id FROM {0} a WHERE EXISTS (SELECT FROM {1} b WHERE $at_b) $also" ],
			[ 1, "SELECT a.id FROM {0} a WHERE NOT EXISTS (SELECT FROM {1} b WHERE $at_b) AND $few $also" ],
			[ 1, "SELECT a.id FROM {0} a WHERE a.id IN (SELECT b.id FROM {1} b WHERE " . make_condition($b, 'b') . ") $also" ],
			[ 2, "SELECT a.id, (SELECT count(*) FROM {1} b WHERE $at_b) FROM {0} a WHERE $few $also" ],
			[ 2, "SELECT a.id, b.id FROM {0} a
				CROSS JOIN LATERAL (SELECT b.id FROM {1} b WHERE $at_b ORDER BY b.id LIMIT 2) b WHERE $few $also" ],
			[ 1, "SELECT a.id FROM {0} a $filter UNION " . any('', 'ALL') . ' SELECT b.id FROM {1} b' ],
			map [ 2, "SELECT p.id, a.id FROM pick_$t->{name} p $_ $filter" ],
			map(any('JOIN', 'LEFT JOIN') . " {0} a ON $_", @picked[ 0, 1 ]),
			map("JOIN {0} a ON $_", @picked[ 2, 3 ]));

		if ($t->{policies}[0] eq 'none' && chance(0.7))
		{
			@joins = @joins[ -2, -1 ];
			$q{plans} = [ 'index', 'index-only', 'bitmap' ];
		}
		@q{ 'columns', 'sql' } = @{ any(@joins) };
	}
	$q{app} //= $q{sql};
	$q{form} = $form;
	return \%q;
}

# One that may read all of a table, whose rows the session's key decides about
sub make_dear_question
{
	my ($world) = @_;

	while (1)
	{
		my $q = make_question($world);

		next if $q->{form} eq 'page' || !grep(ref && $_->[2] =~ /\x04\x05/, map @{ $_->{policies} }, @{ $q->{tables} });
		$q->{dear} = 1;
		return $q;
	}
}

# As the application writes it; with parameters, if there are to be any
sub app_query
{
	my ($q, $parameters) = @_;
	my $sql = write_calls($q->{app});
	my @types;
	my @values;

	$sql =~ s/\{(\d)\}/$q->{tables}[$1]{name}/g;
	if ($parameters)
	{
		$sql =~ s/\x01(.*?)\x02(.*?)\x03/push @types, $1; push @values, literal($2); '$' . @types/ges;
	}
	return (write_constants($sql), join(', ', @types), join(', ', @values));
}

# As plain SQL over what a key may see
sub oracle_query
{
	my ($q, $k, $s, $wrong) = @_;
	my $sql = $q->{sql};

	$sql =~ s{\{(\d)\}}{
		my $t = $q->{tables}[$1];
		my $setting = $t->{env_setting} ? $s : 0;
		"(SELECT * FROM $t->{name} WHERE id IN (SELECT unnest(ids) FROM visible_$t->{name}
			WHERE wrong = '$wrong' AND k = $k AND s = $setting AND command = '$q->{command}'))"
	}ge;
	$sql =~ s{\x04(.*?)\x05(.*?)\x05(.*?)\x05(.*?)\x06}{
		$3 eq ''
		  ? "CAST($2 AS text) COLLATE \"C\" IN (SELECT organization
			FROM customer WHERE wrong = '$wrong' AND k = $k AND level >= level_of($4))"
		  : "(CAST($2 AS text) COLLATE \"C\", CAST($3 AS text) COLLATE \"C\") IN (SELECT in_project, in_environment
			FROM verdict WHERE wrong = '$wrong' AND k = $k AND level >= level_of($4))"
	}ges;
	return write_constants($sql);
}

# ----------------------------------------------------------------------- cases

my $no_key = 14;
my @dead = (1, 10 .. 12, $no_key, 15, 18, 19);
sub customer_of { return 19 + $_[0]; }

sub any_key
{
	my ($q) = @_;
	my @asked = grep $_->{by_organization}, @{ $q->{tables} };

	return customer_of(substr any(@asked)->{name}, 1) if @asked && chance(0.7);
	return customer_of(between(1, $tables)) if chance(0.08);
	return any(@dead) if chance($q->{form} eq 'page' ? 0.04 : 0.12);
	return any(3, 4, 4, 4, 4, 5, 5, 6, 7, 8, 8, 8, 9, 9, 16, 17, 17) if $q->{form} eq 'page';
	return any(2, 3, 4, 4, 4, 5, 5, 6, 6, 6, 7, 8, 8, 8, 9, 9, 13, 16, 16, 17, 17, 17);
}

my $all_on = join '\; ', map "SET LOCAL enable_$_ = on", @switches;

# One more answer of the oracle; its number.  In the middle of a transaction it
# is another role that asks, with other settings; after a change there, it has to
# look again.
sub want
{
	my ($world, $q, $k, $s, $within) = @_;
	my $n = push @{ $world->{wanted} }, {};

	$world->{script} .= "SAVEPOINT b\\; SET LOCAL ROLE NONE\\; $all_on\\; SET LOCAL enable_nestloop = off\\; SET LOCAL enable_partition_pruning = off;\n" if $within;
	if (($within // '') eq 'changed')
	{
		my %names = map { $_->{name} => 1 } @{ $q->{tables} };

		$world->{script} .= "SELECT judge($k, '$world->{wrong}') \\g /dev/null\n";
		$world->{script} .= "SELECT look($k, '$world->{wrong}', '$_') \\g /dev/null\n" foreach sort keys %names;
	}
	foreach my $wrong ('', $world->{wrong})
	{
		$world->{script} .= "\\echo \@want $n" . ($wrong ? ' wrong' : '') . "\n" . oracle_query($q, $k, $s, $wrong)
		  . ";\n\\echo \@done :SQLSTATE :LAST_ERROR_MESSAGE\n";
	}
	$world->{script} .= "ROLLBACK TO b;\n" if $within;
	return $n;
}

# A case begins with its plan, if there is one to be told, and the rows
sub ask
{
	my ($world, $case, $explained, $query) = @_;
	my $n = push @{ $world->{cases} }, $case;

	$world->{script} .= "\\echo \@plan $n\nEXPLAIN (COSTS OFF) $explained;\n" if $explained;
	# what is written is undone at once
	$world->{script} .= "SAVEPOINT w;\n" if !$case->{reads};
	$world->{script} .= "\\echo \@rows $n\n$query;\n\\echo \@done :SQLSTATE :LAST_ERROR_MESSAGE\n";
	$world->{script} .= "ROLLBACK TO w;\n" if !$case->{reads};
	return;
}

sub set_key
{
	my ($k) = @_;

	# a policy that is given the key has nothing to do with the session's
	return "SET LOCAL apikey.key = :'k$k'\\; SET LOCAL app.key = :'k$k';\n";
}

sub begin
{
	my ($world, $role, $k, $s, @settings) = @_;

	my $env = (qw(production staging nowhere))[$s];

	$world->{script} .= join '\; ', 'BEGIN', map "SET LOCAL $_", 'enable_nestloop = on', 'enable_partition_pruning = on', @settings, "app.env = '$env'";
	$world->{script} .= ";\n" . set_key($k);
	$world->{script} .= "SET LOCAL ROLE $role;\n";
	return;
}

sub make_cases
{
	my ($world, $dear) = @_;
	my $q = $dear ? make_dear_question($world) : make_question($world);
	my ($k, $s) = ($dear ? any(7, 7, 9, 5) : any_key($q), any(0, 0, 0, $q->{form} eq 'page' ? 0 : (), 1, 1, 2));
	my @roles = $world->{forced} && !grep($_->{policies}[0] eq 'none', @{ $q->{tables} }) ? ('app', 'builder') : ('app');
	my $wanted = want($world, $q, $k, $s);
	my $other = $dear ? any(2, 3, 3, 16) : any_key($q);
	my $wanted_other = want($world, $q, $other, $s);
	my $change = any(qw(more more more less less revoke suspend rotate finish cancel project project environment));
	my ($wanted_none, $wanted_changed);
	my $reads = $q->{app} eq $q->{sql};
	my $restrict = $q->{grows} && !grep($_ == $k, @dead) && !grep(ref && $_->[2] =~ /NOT \x04/, map @{ $_->{policies} }, @{ $q->{tables} })
	  && any(qw(revoke less rotate project environment));

	foreach (1 .. 3)
	{
		my @settings = make_settings($q);
		my $role = any(@roles);
		my $how = $dear ? 'steps' : any(qw(direct direct direct direct prepared prepared cursor cursor with steps steps));
		my %case = (how => $how, q => $q, k => $k, s => $s, role => $role, wanted => $wanted, settings => \@settings,
			reads => $reads);

		$how = $case{how} = 'direct' if !$reads && ($how eq 'cursor' || $how eq 'with');
		push @settings, 'plan_cache_mode = ' . any(qw(auto force_generic_plan force_generic_plan force_custom_plan))
		  if $how =~ /prepared|steps/;
		my $function = $how eq 'steps' && $q->{columns} == 1 && !$q->{type} && $reads && chance(0.4);
		my ($query, $types, $values) = app_query($q, $how eq 'prepared' || $how eq 'steps');
		# arguments of the two types would leave it without a collation
		$function = 0 if $types =~ /\bname\b/;
		if ($function)
		{
			# its body and its plan live as long as the session
			my $language = any('plpgsql', 'plpgsql', 'sql');
			my $body = $language eq 'sql' ? $query : "BEGIN RETURN QUERY $query; END";

			$world->{script} .= "CREATE FUNCTION f($types) RETURNS SETOF int LANGUAGE $language STABLE AS \$f\$ $body \$f\$;\n";
		}
		begin($world, $role, $k, $s, @settings);
		if ($how eq 'direct')
		{
			ask($world, { %case, query => $query }, $query, $query);
		}
		elsif ($how eq 'with')
		{
			$query = "WITH q AS MATERIALIZED ($query) SELECT * FROM q";
			ask($world, { %case, query => $query }, $query, $query);
		}
		elsif ($how eq 'cursor' && $restrict && chance(0.5))
		{
			# what is fetched after the key can do less comes by what it could do, or can
			my $few = any(1, 3, 10, 40);

			$world->{script} .= "DECLARE c CURSOR FOR $query;\n";
			ask($world, { %case, query => "DECLARE c CURSOR FOR $query; fetch $few; change($k, '$restrict'); fetch all", first => $few }, $query,
				"FETCH $few FROM c;\nSELECT change($k, '$restrict') \\g /dev/null\nFETCH ALL FROM c");
		}
		elsif ($how eq 'cursor')
		{
			my ($few, $back) = (any(1, 3, 10), any(1, 2, 20));
			my @moves = $q->{ordered} ? ($few, -$back, $few, -1e9, 2, 1e9, -$back, 1e9) : (1e9, -1e9);

			$world->{script} .= "DECLARE c SCROLL CURSOR FOR $query;\n";
			ask($world, { %case, query => "DECLARE c SCROLL CURSOR FOR $query; fetch @moves", moves => \@moves }, $query,
				join ";\n", map 'FETCH ' . ($_ < 0 ? 'BACKWARD ' : '') . (abs $_ == 1e9 ? 'ALL' : abs $_) . ' FROM c', @moves);
		}
		else
		{
			my $execute = $function ? "SELECT * FROM f($values)" : 'EXECUTE s' . ($values ? " ($values)" : '');
			my $explained = $function ? '' : $execute;

			$world->{script} .= 'PREPARE s' . ($types ? " ($types)" : '') . " AS $query;\n" if !$function;
			$case{query} = $function ? "f: $query; $execute" : "PREPARE s ($types) AS $query; $execute";
			ask($world, {%case}, $explained, $execute);
			if ($how eq 'prepared')
			{
				# as often as it takes for a plan to become a generic one
				ask($world, {%case}, '', $execute) foreach 1 .. any(0, 1);
			}
			else
			{
				$world->{script} .= set_key($other);
				ask($world, { %case, k => $other, wanted => $wanted_other }, $explained, $execute);
				$world->{script} .= set_key($no_key);
				$wanted_none //= want($world, $q, $no_key, $s, 'within');
				ask($world, { %case, k => $no_key, wanted => $wanted_none }, $explained, $execute);
				if (!grep($_ == $k, @dead) && chance(0.6))
				{
					$world->{script} .= set_key($k);
					$world->{script} .= "SAVEPOINT a;\nSELECT change($k, '$change') \\g /dev/null\n";
					my $n = @{ $world->{cases} };
					ask($world, { %case, query => "$case{query} after change($k, '$change')" }, $explained, $execute);
					$wanted_changed //= want($world, $q, $k, $s, 'changed');
					$world->{cases}[$n]{wanted} = $wanted_changed;
					$world->{script} .= "ROLLBACK TO a;\n";
					ask($world, { %case, query => "$case{query} after the change was undone" }, '', $execute);
				}
			}
		}
		$world->{script} .= "ROLLBACK;\n";
		$world->{script} .= "DROP FUNCTION f($types);\n" if $function;
		$world->{script} .= "DEALLOCATE s;\n" if $how =~ /prepared|steps/ && !$function;
	}
	return;
}

# ------------------------------------------------------------------ comparison

# What a cursor returns, given all rows
sub fetched
{
	my ($rows, @moves) = @_;
	my $at = 0;
	my @fetched;

	foreach my $move (@moves)
	{
		if ($move > 0)
		{
			my $to = $at + $move > @$rows ? @$rows + 1 : $at + $move;
			push @fetched, @$rows[ $at .. ($to > @$rows ? @$rows : $to) - 1 ];
			$at = $to;
		}
		else
		{
			my $to = $at + $move < 1 ? 0 : $at + $move;
			push @fetched, reverse @$rows[ ($to < 1 ? 1 : $to) - 1 .. $at - 2 ];
			$at = $to;
		}
	}
	return @fetched;
}

sub is_same
{
	my ($case, $rows, $wanted) = @_;
	my @rows = @$rows;
	my @wanted = @$wanted;

	if ($case->{first})
	{
		my $first = @wanted < $case->{first} ? @wanted : $case->{first};

		return 0 if @rows < $first || join("\n", splice @rows, 0, $first) ne join("\n", splice @wanted, 0, $first);
		foreach my $row (@wanted)
		{
			shift @rows if @rows && $rows[0] eq $row;
		}
		return !@rows;
	}
	if ($case->{moves} && $case->{q}{ordered})
	{
		@wanted = fetched($wanted, @{ $case->{moves} });
	}
	elsif ($case->{moves})
	{
		# there and back; where a page holds a list of equal rows, the way back is
		# not the reverse
		my @back = splice @rows, @rows / 2;
		return 0 if join("\n", sort @rows) ne join("\n", sort @back);
	}
	return 1 if join("\n", @rows) eq join("\n", @wanted);
	return 0 if $case->{q}{ordered} || @rows != @wanted;
	return join("\n", sort @rows) eq join("\n", sort @wanted);
}

# Read what psql wrote
sub read_answers
{
	my ($world) = @_;
	my $into;
	my @errors;
	my $current = 'the beginning';

	foreach my $line (split /\n/, $world->{output})
	{
		if ($line !~ /^\@(\w+) (.*)/)
		{
			push @$into, $line if $into;
		}
		elsif ($1 eq 'done')
		{
			push @errors, "$current: $2" if $2 !~ /^00000/;
			undef $into;
		}
		else
		{
			my ($what, $n, $wrong) = ($1, split / /, $2);

			$current = $line;
			$into = [];
			if ($what eq 'want')
			{
				$world->{wanted}[ $n - 1 ]{ $wrong // 'right' } = $into;
			}
			else
			{
				$world->{cases}[ $n - 1 ]{$what} = $into;
			}
		}
	}
	return @errors;
}

sub few { return @_ > 12 ? join(' ', @_[ 0 .. 11 ], '...') : join(' ', @_); }

sub show_case
{
	my ($world, $case) = @_;
	my @rows = @{ $case->{rows} // [] };
	my @wanted = @{ $world->{wanted}[ $case->{wanted} - 1 ]{right} // [] };
	my (%rows, %wanted);
	my %names = map { $_->{name} => $_ } @{ $case->{q}{tables} };

	@wanted = fetched(\@wanted, @{ $case->{moves} }) if $case->{moves} && $case->{q}{ordered};
	$rows{$_}++ foreach @rows;
	$wanted{$_}++ foreach @wanted;
	my @missing = grep !$rows{$_}, @wanted;
	my @extra = grep !$wanted{$_}, @rows;
	diag "APIKEY_SEED=$world->{seed} APIKEY_ROUNDS=1";
	diag $names{$_}{sql} foreach sort keys %names;
	diag "role $case->{role}, key $case->{k}: $key_kinds[ $case->{k} - 1 ], app.env $case->{s}";
	diag "grants: ", $node->safe_psql($world->{database}, "SELECT coalesce(project, '*'), environment, level
		FROM token JOIN apikey_grant USING (key_id) WHERE k = $case->{k} ORDER BY 1, 2 LIMIT 40");
	diag 'settings: ', join ', ', @{ $case->{settings} };
	diag "query: $case->{query}";
	diag 'plan: ', join "\n", @{ $case->{plan} // ['as before'] };
	diag scalar(@rows), ' rows: ', few(@rows);
	diag scalar(@wanted), ' wanted: ', few(@wanted);
	diag 'rows that are missing: ', few(@missing), '; that should not be there: ', few(@extra);
	my @ids = grep /^\d+$/, map { split /\|/ } @missing, @extra;
	splice @ids, 20 if @ids > 20;
	diag $node->safe_psql($world->{database},
		"SELECT id, project, environment, verb, public FROM $_ WHERE id IN (" . join(',', @ids) . ')')
	  foreach @ids ? sort keys %names : ();
	return;
}

# -------------------------------------------------------------------- all of it

my %plans = (
	'sequential scan' => qr/\bSeq Scan on t\d/,
	'index scan' => qr/Index Scan (?:Backward )?using [^\n]*\n\s+Index Cond: [^\n]*apikey_(?:internal\.)?projects/,
	'index-only scan' => qr/Index Only Scan (?:Backward )?using [^\n]*\n\s+Index Cond: [^\n]*apikey_(?:internal\.)?projects/,
	'bitmap scan' => qr/Bitmap Index Scan on [^\n]*\n\s+Index Cond: [^\n]*apikey_(?:internal\.)?projects/,
	'list of text' => qr/Cond: [^\n]*apikey_projects(?:_of)?\(/,
	'list of another type' => qr/Cond: [^\n]*apikey_internal\.projects(?:_of)?\(/,
	'list for a given key' => qr/Cond: [^\n]*apikey_(?:internal\.)?projects_of/,
	'list of environments' => qr/Cond: [^\n]*apikey_internal\.environments/,
	'exact index scan' =>
	  qr/Index (?:Only )?Scan (?:Backward )?using [^\n]*\n\s+Index Cond: [^\n]*apikey_(?:internal\.)?projects[^\n]*(?:\n(?!\s+Filter:)|$)/,
	(map { ("$_ index" => qr/Bitmap Index Scan on t\d\w*_$_\n\s+Index Cond: [^\n]*apikey_/) }
		qw(btree hash brin), $have{btree_gin} ? 'gin' : ()),
	'with other conditions' => qr/Index Cond: [^\n]*(?: AND [^\n]*apikey_|apikey_[^\n]* AND )/,
	'inner side of a nested loop' => qr/Nested Loop.*Index (?:Only )?Scan[^\n]*\n\s+Index Cond: [^\n]*apikey_/s,
	'verb of a column' => qr/Cond: [^\n]*apikey_[^\n]*\n\s+Filter: [^\n]*, verb\)/,
	'list of another table\'s environment' => qr/Cond: [^\n]*apikey_(?:internal\.)?projects[^\n]*p\.environment/,
	'parallel' => qr/Gather.*Parallel/s,
	'parallel, over an index with a list' => qr/Gather.*Parallel Bitmap Heap Scan.*Index Cond: [^\n]*apikey_/s,
	'append' => qr/Append.*Index Cond: [^\n]*apikey_/s,
	'merge join' => qr/Merge (?:\w+ )?Join/,
	'hash join' => qr/Hash (?:\w+ )*Join/,
	'organization: index scan' => qr/Index Scan (?:Backward )?using [^\n]*\n\s+Index Cond: [^\n]*apikey_internal\.organization/,
	'organization: index-only scan' =>
	  qr/Index Only Scan (?:Backward )?using [^\n]*\n\s+Index Cond: [^\n]*apikey_internal\.organization/,
	'organization: bitmap scan' => qr/Bitmap Index Scan on [^\n]*\n\s+Index Cond: [^\n]*apikey_internal\.organization/,
	'organization: filter' => qr/Filter: [^\n]*= apikey_internal\.organization/,
	'organization: once' => qr/One-Time Filter: [^\n]*apikey_internal\.organization/,
	'organization: call' => qr/Filter: [^\n]*apikey_authorize_organization/,
	'organization: given key' => qr/= apikey_internal\.organization_of/,
	'organization: unknown' => qr/apikey_internal\.unknown/,
	'sort' => qr/\bSort Key/,
	'ordered scan' => qr/apikey ordered scan/,
	'ordered scan, backward' => qr/Merged Index: \S+ backward/,
	'ordered scan, with a walk' => qr/Walked Index: /,
	'partitions left out' => qr/Subplans Removed: /,
	'ordered scan of partitions' => qr/Append.*apikey ordered scan/s,
	'ordered scan below an incremental sort' => qr/Presorted Key[^\n]*\n[^\n]*apikey ordered scan/,
	'ordered scan, inner side of a nested loop' => qr/Nested Loop.*apikey ordered scan/s,
	'ordered scan for another type' => qr/Merged Index: [^\n]*\n\s+Index Cond: [^\n]*apikey_internal\.projects/,
	'ordered scan, locked' => qr/LockRows.*apikey ordered scan/s,
	'choice' => qr/Custom Scan \(apikey choice\)/,
	'choice of all rows' => qr/Custom Scan \(apikey choice\)[^\n]*\n\s+->\s+(?:Parallel )?Seq Scan/,
	'choice of an index' => qr/Custom Scan \(apikey choice\)[^\n]*\n\s+->\s+(?:Index|Bitmap)/,
	'choice in parallel, of all rows' => qr/Parallel Custom Scan \(apikey choice\)[^\n]*\n\s+->\s+Parallel Seq Scan/,
	'choice in parallel, of an index' => qr/Parallel Custom Scan \(apikey choice\)[^\n]*\n\s+->\s+(?:Index|Bitmap)/);
my %seen;
my ($cases, $empty) = (0, 0);
my %found;

# Start a world in a database of its own
sub start
{
	my ($seed) = @_;
	my $world = make_world($seed);

	make_cases($world) foreach 1 .. $questions;
	make_cases($world, 1) foreach 1 .. $dear;
	@$world{ 'database', 'output', 'errors' } = ("world_$seed", '', '');
	$node->safe_psql('postgres', "CREATE DATABASE $world->{database} TEMPLATE base STRATEGY = file_copy");
	$world->{psql} = IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr($world->{database}), '-f', '-' ],
		'<', \$world->{script}, '>', \$world->{output}, '2>', \$world->{errors});
	return $world;
}

sub finish
{
	my ($world) = @_;

	IPC::Run::finish($world->{psql});
	my @errors = read_answers($world);
	is(join("\n", grep defined, (split /\n/, $world->{errors})[ 0 .. 9 ]), '', "world $world->{seed}: no errors");
	is(join("\n", grep defined, @errors[ 0 .. 9 ]), '', "world $world->{seed}: no errors in queries");

	my @differ;
	$found{ $world->{wrong} } += 0;
	foreach my $case (@{ $world->{cases} })
	{
		my ($rows, $wanted) = ($case->{rows}, $world->{wanted}[ $case->{wanted} - 1 ]);

		# newer versions tell in a line what is switched off but there is no other way
		if (my $plan = join "\n", grep !/^\s*Disabled: /, @{ $case->{plan} // [] })
		{
			$seen{$_} += $plan =~ $plans{$_} foreach keys %plans;
		}
		$cases++;
		$empty++ if $wanted->{right} && !@{ $wanted->{right} };
		push @differ, $case if !$rows || !$wanted->{right} || !is_same($case, $rows, $wanted->{right});
		$found{ $world->{wrong} } += 1 if $rows && $wanted->{wrong} && !is_same($case, $rows, $wanted->{wrong});
	}
	is(scalar(@differ), 0, "world $world->{seed}: " . scalar(@{ $world->{cases} }) . ' cases');
	show_case($world, $_) foreach grep defined, @differ[ 0 .. 2 ];
	$node->safe_psql('postgres', "DROP DATABASE $world->{database}");
	return;
}

# two at a time
my @running;
foreach my $n (0 .. $rounds - 1)
{
	finish(shift @running) if @running == 2;
	push @running, start($seed + $n);
}
finish($_) foreach @running;

# ------------------------------------------------- all this must be able to fail

note "$cases cases, $empty of them without rows";
note join ', ', map "$_: " . ($seen{$_} // 0), sort keys %plans;

# wrong oracles are found out, if there was one of each kind
foreach my $wrong (sort keys %found)
{
	cmp_ok($found{$wrong}, '>', 0, "a wrong oracle ($wrong) is found out in $found{$wrong} cases");
}
if ($seed == $default_seed && $rounds >= $default_rounds)
{
	is(scalar(keys %found), scalar(@wrong), 'all wrong oracles were there');
	cmp_ok($cases, '>=', 3000, "$cases cases");
	cmp_ok($cases - $empty, '>', 1000, $cases - $empty . ' with rows');
	ok($seen{$_}, "$_: " . ($seen{$_} // 0) . ' plans') foreach sort keys %plans;
}

done_testing();
