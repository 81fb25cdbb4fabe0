# The rules for secret scanners on the page about leaked keys, tried on keys.  Their
# regular expressions are read here by Perl; of Go's, which gitleaks and TruffleHog use,
# it is known what they lack.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Apikey;
use Pages;

my $node = start_node('scanners');
my $page = page('doc/how-to/leaked-keys.md');
my ($toml) = blocks($page, 'toml');
my ($yaml) = blocks($page, 'yaml');
my ($github) = grep /^Secret format: /, blocks($page, 'text');
my %rules = (
	gitleaks => $toml =~ /^regex = '''(.*)'''$/m,
	TruffleHog => $yaml =~ /^\s+key: '(.*)'$/m,
	GitHub => $github =~ /^Secret format: (.*)$/m);
my %keywords = (
	gitleaks => $toml =~ /^keywords = \["(.*)"\]$/m,
	TruffleHog => $yaml =~ /^\s+keywords:\n\s+- (.*)$/m);

# The same _ in Markdown, a URL, JSON, and JSON in JSON
my @escapes = ('\\_', '%5F', '%5f', '\\u005f', '\\\\u005F');

is(scalar(grep defined, values %rules, values %keywords), 5, 'rules and keywords');
foreach my $name (sort keys %rules)
{
	my $rule = $rules{$name};

	unlike($rule, qr/\(\?[=!<>]|\\[1-9ZGK]|[*+?}]\+/, "$name: nothing that Go's regular expressions lack");
	foreach my $prefix (qw(acme_live acme_test))
	{
		my $key = $node->safe_psql('postgres', "SELECT key FROM apikey_create('acme', 'x', prefix => '$prefix')");

		ok("key: $key." =~ /$rule/ && $& eq $key, "$name: finds a key with prefix $prefix");
		ok("0${key}0" =~ /$rule/ && $& eq $key, "$name: one that is glued to what stands beside it");
		unlike(substr($key, 0, -1), qr/$rule/, "$name: nothing shorter");
		unlike($key =~ s/^acme/acne/r, qr/$rule/, "$name: nothing of others");
		next if $name eq 'GitHub';
		foreach my $escape (@escapes)
		{
			my $escaped = $key =~ s/_/$escape/gr;

			ok("key: $escaped." =~ /$rule/ && $& eq $escaped, "$name: $escape");
			like(lc $escaped, qr/\Q$keywords{$name}\E/, "$name: by its keyword");
		}
	}
}

done_testing();
