# The rules for secret scanners on the page about leaked keys, and the list of
# prefixes that scanners take for another vendor's.  The rules are read from the page,
# and tried on keys by two engines; gitleaks and TruffleHog have a third, RE2, so what it
# does not know must not be in them.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Apikey;
use Pages;

my $page = page('doc/how-to/leaked-keys.md');
my ($toml) = blocks($page, 'toml');
my ($yaml) = blocks($page, 'yaml');

# what gitleaks and TruffleHog refuse a rule without
my ($gitleaks) = $toml =~ /^\[\[rules\]\]\n(?:\w+ = \N+\n)*?regex = '''(\N+)'''\n/m;
my @keywords = $toml =~ /^keywords = \["([a-z]+)"\]$/mg;
like($toml, qr/^id = "[a-z-]+"$/m, 'gitleaks: an id');
like($toml, qr/^description = "\N+"$/m, 'and a description');
is(scalar @keywords, 1, 'keywords in lower case');
unlike($toml, qr/^(?:entropy|secretGroup|path)\b/m, 'and nothing that would leave out keys');
my ($trufflehog) = $yaml =~ /^    regex:\n      \w+: '(\N+)'$/m;
like($yaml, qr/^detectors:\n  - name: \N+\n    keywords:\n      - \Q$keywords[0]\E\n/, 'TruffleHog: a name and the same keywords');
is($trufflehog, $gitleaks, 'the same expression');

# Without groups that capture, both take all of it for the secret.
unlike($gitleaks, qr/\((?!\?:)/, 'no group that captures, nor anything else that begins with "(?"');
unlike($gitleaks =~ s/\\\\//gr, qr/\\/, 'no reference, no class that engines differ in');
unlike($gitleaks, qr/[*+?}][+?]/, 'nothing possessive or lazy');
my @counts = $gitleaks =~ /\{([0-9]+)\}/g;
ok(!grep($_ > 1000, @counts), 'no count above 1000');

my $node = start_node('scanners');
my %ways = (
	plain => '_', Markdown => '\\_', 'Markdown in JSON' => '\\\\_', URL => '%5F', 'URL, lower case' => '%5f',
	JSON => '\\u005f', 'JSON in JSON' => '\\\\u005F', HTML => '&#95;');

# Does the expression match just this part of the text, here and in PostgreSQL?
sub match
{
	my ($expression, $text) = @_;
	my ($here) = $text =~ /($expression)/;
	my $there = $node->safe_psql('postgres', "SELECT substring(\$text\$$text\$text\$, \$re\$$expression\$re\$)");

	is($there, $here // '', 'two engines agree');
	return $here;
}

# The page's two prefixes, and others in their place
foreach my $prefixes ([ 'acme', 'live', 'test' ], [ 'widget', 'eu1', 'us' ])
{
	my ($name, @kinds) = @$prefixes;
	my $expression = $gitleaks =~ s/^acme/$name/r =~ s/live\|test/join '|', @kinds/er;

	foreach my $kind (@kinds)
	{
		my $key = $node->safe_psql('postgres', "SELECT key FROM apikey_create('acme', 'x', prefix => '${name}_$kind')");

		foreach my $way (sort keys %ways)
		{
			my $written = $key =~ s/_/$ways{$way}/gr;

			is(match($expression, "key=$written&x"), $written, "${name}_$kind: $way");
			is(match($expression, "0${written}0"), $written, 'glued to what stands beside it');
			like(lc $written, qr/\Q$name/, 'and it has the keyword');
			is($node->safe_psql('postgres', "SELECT status FROM apikey_find_keys('$written')"), 'active', 'as apikey_find_keys does');
		}
		is(match($expression, substr $key, 0, -1), undef, 'not one that is cut off');
		is(match($expression, $key =~ s/^\w+?_\w+?_/${name}_other_/r), undef, 'nor one of another prefix');
	}
}
is($node->safe_psql('postgres', q{SELECT apikey_pattern('acme_live')}), 'acme_live_[0-9A-Za-z]{71}', 'the plain form is that of apikey_pattern');
like($gitleaks, qr/\[0-9A-Za-z\]\{71\}$/, 'and so ends the rule');

# vendor.c looks its list up by halves.
my @vendors = slurp_file("$Pages::tree/src/base/vendor.c") =~ /^\t\{"(\w+)", "\N+"\},?$/mg;
cmp_ok(scalar @vendors, '>', 50, 'there are vendors');
is_deeply(\@vendors, [ sort @vendors ], 'in order');
my ($out, $err);
$node->psql('postgres', join('', 'SELECT apikey_pattern();', map "SET apikey.prefix = '$_';", @vendors), stdout => \$out, stderr => \$err);
is(scalar(() = $err =~ /WARNING:/g), scalar @vendors, 'each of them warns, and can be a prefix');
unlike($err, qr/ERROR/, 'none is refused');

$node->stop;
done_testing();
