# What the TAP tests share.
package Apikey;

use strict;
use warnings;
use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

our @EXPORT = qw(start_node issue may);
our @EXPORT_OK = qw(set flush);
our %EXPORT_TAGS = (DEFAULT => \@EXPORT);

# Before PostgreSQL 17, too, a server is a copy of the one that initdb made in INITDB_TEMPLATE.
if (my $template = $ENV{INITDB_TEMPLATE})
{
	no warnings 'redefine';
	my $run = \&PostgreSQL::Test::Utils::system_or_bail;

	*PostgreSQL::Test::Utils::system_or_bail = sub {
		return $run->(@_) if "@_" !~ /^initdb -D (\S+) -A trust -N$/;
		return $run->('cp', '-RPp', $template, $1);
	};
}

# A started server with the extension, a project "web" of "acme" and a project
# "mars" of "globex".  Options go to init(); "conf" is added to the settings;
# "install_path" is another installation.
sub start_node
{
	my ($name, %options) = @_;
	my $conf = delete $options{conf} // '';
	my $path = delete $options{install_path};
	my $node = PostgreSQL::Test::Cluster->new($name, $path ? (install_path => $path) : ());

	$node->init(%options);
	$node->append_conf('postgresql.conf', "jit = off\n$conf");
	$node->start;
	$node->safe_psql('postgres', q{
		SET client_min_messages = warning;
		CREATE EXTENSION apikey CASCADE;
		SELECT apikey_add_project('acme', 'web'), apikey_add_project('globex', 'mars');
	});
	return $node;
}

# A new key of "acme" that may write in web, production: its id and its text.  It is
# committed under "commit", as synchronous_commit has it.
sub issue
{
	my ($node, $database, $commit) = @_;
	my $row = $node->safe_psql($database // 'postgres', ($commit ? "SET synchronous_commit = $commit;" : '') . q{
		SELECT key_id, key FROM apikey_create('acme', 'test',
			'[{"project": "web", "environment": "production", "level": "write"}]')});

	return split /\|/, $row;
}

# 't' or 'f': may the key write in web, production?
sub may
{
	my ($node, $key, $database) = @_;

	return $node->safe_psql($database // 'postgres',
		"SELECT apikey_authorize('$key', 'web', 'production', 'write')");
}

# Settings of the server, by reload.
sub set
{
	my ($node, %settings) = @_;

	$node->safe_psql('postgres', "ALTER SYSTEM SET $_ = '$settings{$_}'") foreach keys %settings;
	$node->reload;
}

# Have all use of keys written down.
sub flush
{
	my ($node) = @_;

	set($node, 'apikey.flush_interval' => 1);
	$node->poll_query_until('postgres', 'SELECT pending = 0 FROM apikey_usage_stats()') or die 'no flush';
	set($node, 'apikey.flush_interval' => 3600);
}

1;
