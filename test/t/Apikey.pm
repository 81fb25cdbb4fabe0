# What the TAP tests share.
package Apikey;

use strict;
use warnings;
use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

our @EXPORT = qw(start_node issue may);

# A started server with the extension, a project "web" of "acme" and a project
# "mars" of "globex".  Options go to init(); "conf" is added to the settings.
sub start_node
{
	my ($name, %options) = @_;
	my $conf = delete $options{conf} // '';
	my $node = PostgreSQL::Test::Cluster->new($name);

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

# A new key of "acme" that may write in web, production: its id and its text.
sub issue
{
	my ($node, $database) = @_;
	my $row = $node->safe_psql($database // 'postgres', q{
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

1;
