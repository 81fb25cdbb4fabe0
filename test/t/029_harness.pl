# A test that takes too long is ended: test/tap says which one it was, counts it
# as failed, shows the end of its log, and stops its servers.

use strict;
use warnings;
use File::Basename;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $tap = dirname(__FILE__) . '/../tap';
my $dir = PostgreSQL::Test::Utils::tempdir;
my $node = PostgreSQL::Test::Cluster->new('late');

# of the same name as this file, so that the server of this is a server of that
my $late = "$dir/" . basename(__FILE__);
append_to_file($late, q{
	print "ok 1 - begun\n";
	if (my $child = fork) { wait }
	sleep 1000;
});
append_to_file("$dir/good.pl", qq{print "ok 1 - good\\n1..1\\n"});

$node->init;
$node->start;
my ($out, $err);
{
	local $ENV{TEST_TIMEOUT} = 1;
	local $ENV{TESTDIR} = dirname($ENV{TESTDIR});
	ok(!IPC::Run::run([ $^X, $tap, "$dir/count", $late, "$dir/good.pl" ], '>', \$out, '2>', \$err), 'it fails');
}
like($out, qr/^--- \Q$late\E ran out of time: 1 seconds$/m, 'says which one was late');
unlike($out, qr/good.pl ran out of time/, 'and no other');
like($out, qr/^--- the end of .*regress_log_.*\n(?:.*\n)*.*initdb/m, 'shows the end of its log');
is(slurp_file("$dir/count"), "2 1 0\n", 'counts it as failed');
ok(!-e $node->data_dir . '/postmaster.pid', 'and has stopped its server');
$node->{_pid} = undef;

done_testing();
