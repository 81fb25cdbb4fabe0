# pg_stat_statements: one entry for each form of a log-in, whoever logs in, and no key in it.
# Where apikey is not preloaded, keys that are sent as parameters are not in it either, nor
# those in a query; before PostgreSQL 18 those in a SET are, as keys-in-logs.md says.

use strict;
use warnings;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Apikey;

use constant KEYS => 5;

my $dir = PostgreSQL::Test::Utils::tempdir;
my %node = (
	'preloaded' => start_node('statements', conf => "shared_preload_libraries = 'apikey, pg_stat_statements'\nfsync = off\n"),
	'not preloaded' => start_node('statements_plain', conf => "shared_preload_libraries = 'pg_stat_statements'\nfsync = off\n"));
my $sets = $node{preloaded}->pg_version->major < 18;	# is each SET an entry?

# [ form, what its entries are like, how many there are for all the keys, statements ];
# $1 is a parameter, KEY text
my @forms = (
	[ 'bound', qr/^SELECT label FROM apikey_login\(\$1\)$/, 1, 'SELECT label FROM apikey_login(:key);' ],
	[ 'literal', qr/^SELECT organization FROM apikey_login\(\$1\)$/, 1, "SELECT organization FROM apikey_login('KEY');" ],
	[ 'set_config, bound', qr/^SELECT set_config\(\$\d, \$\d, \$\d\)$/, 1, "SELECT set_config('apikey.key', :key, true);" ],
	[ 'set_config, literal', qr/^SELECT \$1, set_config\(\$2, \$3, \$4\)$/, 1, "SELECT 1, set_config('apikey.key', 'KEY', true);" ],
	[ 'decision, literal', qr/^SELECT apikey_authorize\(\$1, \$2, \$3, \$4\)$/, 1, "SELECT apikey_authorize('KEY', 'web', 'production', 'read');" ],
	[ 'SET LOCAL', qr/^SET LOCAL apikey\.key = /, $sets ? KEYS : 1, "SET LOCAL apikey.key = 'KEY';" ],
	[ 'SET LOCAL TO', qr/^SET LOCAL apikey\.key TO /, $sets ? KEYS : 1, "SET LOCAL apikey.key TO 'KEY';" ]);

# Send it for each of the keys, in a transaction, by a protocol.
sub send_by
{
	my ($node, $protocol, $statement, @keys) = @_;

	foreach my $key (@keys)
	{
		my $file = "$dir/script";
		my ($out, $err);

		unlink $file;
		append_to_file($file, "BEGIN;\n" . $statement =~ s/KEY/$key/gr . "\nCOMMIT;\n");
		IPC::Run::run([ 'pgbench', '-n', '-t', '1', '-M', $protocol, '-D', "key=$key", '-f', $file, $node->connstr('postgres') ],
			'>', \$out, '2>', \$err) or die $err;
	}
}

foreach my $kind (sort keys %node)
{
	my $node = $node{$kind};
	my @keys = map { (issue($node))[1] } 1 .. KEYS;

	$node->safe_psql('postgres', 'CREATE EXTENSION pg_stat_statements');
	foreach my $protocol (qw(simple extended prepared))
	{
		my @all;

		# each by itself: from PostgreSQL 16 on, an entry may stand for two ways to write it
		foreach my $form (@forms)
		{
			my ($name, $pattern, $wanted, $statement) = @$form;
			my (@entries, @found);
			my $calls = 0;

			# where nothing is bound, pgbench writes a variable into the text, without quotes
			$statement =~ s/:key/'KEY'/ if $protocol eq 'simple';
			$node->safe_psql('postgres', 'SELECT pg_stat_statements_reset()');
			send_by($node, $protocol, $statement, @keys);
			@entries = map [ split /\x1f/, $_, 2 ], split /\x1e/,
			  $node->safe_psql('postgres', 'SELECT calls, query FROM pg_stat_statements', extra_params => [ '-F', "\x1f", '-R', "\x1e" ]);
			push @all, @entries;
			@found = grep $_->[1] =~ $pattern, @entries;
			$calls += $_->[0] foreach @found;
			is(scalar @found, $wanted, "$kind, $protocol: entries of $name");
			is($calls, KEYS, "$kind, $protocol: which count " . KEYS . ' log-ins');
		}
		my @leaks = grep { my $text = $_->[1]; grep index($text, substr $_, 26, 20) >= 0, @keys } @all;
		if ($kind eq 'preloaded' || !$sets)
		{
			is(join("\n", map $_->[1], @leaks), '', "$kind, $protocol: no key in it");
		}
		else
		{
			is(scalar @leaks, 2 * KEYS, "$kind, $protocol: keys in it");
			is(join("\n", map $_->[1], grep $_->[1] !~ /^SET LOCAL/, @leaks), '', "$kind, $protocol: by SET alone");
			$node->safe_psql('postgres', "SET pg_stat_statements.track_utility = off; SELECT pg_stat_statements_reset();
				BEGIN; SET LOCAL apikey.key = '$keys[0]'; COMMIT");
			is($node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_statements WHERE query ~ '$keys[0]'"), 0,
				"$kind, $protocol: not with track_utility = off");
		}
	}
	$node->stop;
}
done_testing();
