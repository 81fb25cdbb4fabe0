# The pepper file: without the very file that a key was made under, its stored
# hash is worth nothing; and a cryptographic failure is never a "no".

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Apikey;

my $node = start_node('pepper', allows_streaming => 1);
my $dir = PostgreSQL::Test::Utils::tempdir;

sub spew
{
	my ($name, $content) = @_;

	unlink "$dir/$name";
	append_to_file("$dir/$name", $content);
	return "$dir/$name";
}

sub use_file
{
	$node->safe_psql('postgres', "ALTER SYSTEM SET apikey.pepper_file = '$_[0]'");
	$node->safe_psql('postgres', 'SELECT pg_reload_conf()');
	$node->poll_query_until('postgres',
		"SELECT setting = '$_[0]' FROM pg_settings WHERE name = 'apikey.pepper_file'");
}

# ALTER SYSTEM knows the setting only where the library is loaded
$node->append_conf('postgresql.conf', "session_preload_libraries = 'apikey'");
$node->reload;
$node->poll_query_until('postgres', "SHOW apikey.prefix", 'apk');

my (undef, $plain) = issue($node);
my $one = spew('one', "a pepper of some length\n");
my $two = spew('two', "another pepper of some length\n");

use_file($one);
is(may($node, $plain), 't', 'a key made without a pepper goes on');
my ($id, $key) = issue($node);
is(may($node, $key), 't', 'a key made with it works');
is( $node->safe_psql('postgres', 'SELECT count(DISTINCT scheme) FROM apikey_key'),
	2, 'they are told apart');

use_file($two);
is(may($node, $key), 'f', 'under another pepper it does not');
use_file('');
is(may($node, $key), 'f', 'nor without one');
is(may($node, $plain), 't', 'the other one still does');
is( $node->safe_psql('postgres', "SELECT (apikey_explain('$key', 'web', 'production', 'read')).reason"),
	'invalid key', 'and there is no telling why');

# a copy without the file accepts nothing that was made under it, a quarantined one nothing at all
$node->backup('copy');
my $copy = PostgreSQL::Test::Cluster->new('copy');
$copy->init_from_backup($node, 'copy');
$copy->append_conf('postgresql.conf', "shared_preload_libraries = 'apikey'");
$copy->start;
is(may($copy, $key), 'f', 'a copy without the file');
is(may($copy, $plain), 't', '... accepts a key that was made without a pepper');
isnt($copy->psql('postgres', "SELECT apikey_quarantine('copy', 'postgres')"), 0, '... which makes it look like an original');
my $insist = 'insist => pg_postmaster_start_time()';
isnt($copy->psql('postgres', "SELECT apikey_quarantine('production', 'postgres', $insist)"), 0, 'another name');
$copy->safe_psql('postgres', "SELECT apikey_quarantine('copy', 'postgres', $insist)");
is(may($copy, $plain), 'f', 'unless it is quarantined');
$copy->stop;

# one session that changes over, with a warm cache
is( $node->safe_psql('postgres', "
		SET apikey.pepper_file = '$one';
		SELECT apikey_authorize('$key', 'web', 'production', 'write');
		SET apikey.pepper_file = '$two';
		SELECT apikey_authorize('$key', 'web', 'production', 'write');
		SET apikey.pepper_file = '$one';
		SELECT apikey_authorize('$key', 'web', 'production', 'write')"),
	"t\nf\nt", 'a change of the setting is obeyed at once');

# a file that cannot serve is an error, wherever it is needed
my %bad = (
	'missing' => [ "$dir/missing", qr/could not open the file of "apikey.pepper_file"/ ],
	'too short' => [ spew('short', "short\n"), qr/must hold 16 to 1024 bytes/ ],
	'too long' => [ spew('long', 'x' x 1025), qr/must hold 16 to 1024 bytes/ ],
	'a directory' => [ $dir, qr/could not (open|read) the file of "apikey.pepper_file"/ ]);
foreach my $case (sort keys %bad)
{
	my ($file, $error) = @{ $bad{$case} };

	foreach my $call ("apikey_authorize('$key', 'web', 'production', 'write')",
		"apikey_create('acme', 'x')")
	{
		my ($status, undef, $stderr) = $node->psql('postgres',
			"SET apikey.pepper_file = '$file'; SELECT $call");

		ok($status != 0 && $stderr =~ $error, "$case: " . $call =~ s/\(.*//r);
	}
	is( $node->safe_psql('postgres', "
			SET apikey.pepper_file = '$file';
			SELECT apikey_authorize('$plain', 'web', 'production', 'write')"),
		't', "$case: a key without pepper does not need it");
}
is($node->safe_psql('postgres', 'SELECT count(*) FROM apikey_keys'), 2, 'nothing was stored');

# Rotation takes a key from one pepper to the next, and back
my ($rotated_id, $first) = issue($node);
my $rotate = "SELECT key FROM apikey_rotate('$rotated_id', '1 hour')";
my $second = $node->safe_psql('postgres', "SET apikey.pepper_file = '$one'; $rotate");
my $look = sub {
	my ($file) = @_;

	return join '', map $node->safe_psql('postgres',
		"SET apikey.pepper_file = '$file'; SELECT apikey_authorize('$_', 'web', 'production', 'write')"), @_[1 .. $#_];
};
is($look->($one, $first, $second), 'tt', 'rotated: the old secret without a pepper, the new one with it');
is($look->($two, $first, $second) . $look->('', $first, $second), 'tftf', 'each by the pepper that it was made under');
my $third = $node->safe_psql('postgres', "SET apikey.pepper_file = '$two'; $rotate");
is($look->($one, $first, $second, $third) . $look->($two, $first, $second, $third), 'ftffft',
	'rotated once more, under another pepper');
$node->safe_psql('postgres', "SELECT apikey_cancel_rotation('$rotated_id')");
is($look->($one, $first, $second, $third) . $look->($two, $first, $second, $third), 'ftffff',
	'and back, which takes no pepper at all');
$node->safe_psql('postgres', "SELECT apikey_delete('$rotated_id')");

# The key of imported HMACs is a file of the same kind.
{
	my $hmac = sub { return "hmac('$_[0]', '$_[1]', 'sha256')" };
	my $old = "the secret of the old system";
	my $file = spew("hmac", "$old\n");
	my $other = spew("other", "another secret of the old system");
	my $import = sub {
		my ($text, $hash, $more) = @_;

		return "SELECT apikey_import('acme', 'hmac', 'hmac-sha256', encode($hash, 'hex'), grants => '[{\"project\": \"web\", \"environment\": \"production\", \"level\": \"write\"}]'" . ($more // "") . ")";
	};
	my $ask = sub {
		my ($path, @texts) = @_;

		return join "", map $node->safe_psql("postgres",
			"SET apikey.hmac_key_file = '$path'; SELECT apikey_authorize('$_', 'web', 'production', 'write')"), @texts;
	};
	my $set = "SET apikey.hmac_key_file = '$file'; ";
	my ($status, undef, $stderr) = $node->psql("postgres", $import->("old-1", $hmac->("old-1", $old)));

	like($stderr, qr/no key for hashes of scheme "hmac-sha256" is configured/, "an HMAC without a key is refused");
	$node->safe_psql("postgres", $set . $import->("old-1", $hmac->("old-1", $old)));
	$node->safe_psql("postgres", $set . $import->("old_2", $hmac->("2", $old), ", strip_prefix => 'old_'"));
	is($ask->($file, "old-1", "old-2", "old_2", "2", $old), "tftff", "with it an HMAC of all or of a part opens");
	is($ask->($other, "old-1", "old_2") . $ask->("", "old-1", "old_2"), "ffff", "under another key it does not, nor under none");
	is( $node->safe_psql("postgres", "
			SET apikey.hmac_key_file = '$file';
			SELECT apikey_authorize('old-1', 'web', 'production', 'write');
			SET apikey.hmac_key_file = '$other';
			SELECT apikey_authorize('old-1', 'web', 'production', 'write');
			SET apikey.hmac_key_file = '$file';
			SELECT apikey_authorize('old-1', 'web', 'production', 'write')"),
		"t\nf\nt", "a change of the setting is obeyed at once");
	is($node->safe_psql("postgres", "$set SELECT reason FROM apikey_check_import('hmac-sha256', encode(@{[$hmac->('old-3', $old)]}, 'base64'), 'old-3')"),
		"good", "the dry run knows it");
	is($node->safe_psql("postgres", "SELECT reason FROM apikey_check_import('hmac-sha256', encode(@{[$hmac->('old-3', $old)]}, 'base64'), 'old-3')"),
		"apikey.hmac_key_file is not set", "and says when it is missing");
	# where it cannot be used, what needs it fails; other keys do not need it
	$node->safe_psql("postgres", "SELECT apikey_import('acme', 'plain', 'sha256', encode(sha256('plain'), 'hex'), grants => '[{\"project\": \"web\", \"environment\": \"production\", \"level\": \"write\"}]')");
	foreach my $case (sort keys %bad)
	{
		my ($path, $error) = @{ $bad{$case} };

		$error = qr/@{[ "$error" =~ s!apikey.pepper_file!apikey.hmac_key_file!r ]}/;
		foreach my $call ("apikey_authorize('old-1', 'web', 'production', 'write')",
			"apikey_authorize('unknown', 'web', 'production', 'write')",
			"apikey_import('acme', 'x', 'hmac-sha256', repeat('0', 64))",
			"apikey_check_import('hmac-sha256', repeat('0', 64), 'x')")
		{
			($status, undef, $stderr) = $node->psql("postgres", "SET apikey.hmac_key_file = '$path'; SELECT $call");
			ok($status != 0 && $stderr =~ $error, "$case: " . $call =~ s/\(.*//r) or diag($stderr);
		}
		is($ask->($path, $key, $plain, "plain"), "ftt", "$case: keys of other kinds do not need it");
	}
	$node->safe_psql("postgres", "DELETE FROM apikey_key WHERE label IN ('hmac', 'plain')");
}

# No randomness, or no hash: a shim in front of OpenSSL fails on demand.
{
	my $shim = "$dir/shim.so";
	my $fail = "$dir/fail";

	append_to_file("$dir/shim.c", <<"END");
#define _GNU_SOURCE
#include <dlfcn.h>
#include <string.h>
#include <stdlib.h>
#include <unistd.h>
#define FAILS(what) (access("$fail." what, F_OK) == 0)
#define NEXT(name) dlsym(RTLD_NEXT, name)
int RAND_bytes(unsigned char *b, int n)
{ int (*next)(unsigned char *, int) = NEXT("RAND_bytes"); return FAILS("random") ? 0 : next(b, n); }
int RAND_poll(void)
{ int (*next)(void) = NEXT("RAND_poll"); return FAILS("random") ? 0 : next(); }
int EVP_DigestInit_ex(void *c, const void *t, void *e)
{ int (*next)(void *, const void *, void *) = NEXT("EVP_DigestInit_ex"); return FAILS("digest") ? 0 : next(c, t, e); }
int HMAC_Init_ex(void *c, const void *k, int n, const void *t, void *e)
{ int (*next)(void *, const void *, int, const void *, void *) = NEXT("HMAC_Init_ex"); return FAILS("hmac") ? 0 : next(c, k, n, t, e); }
END
	system_or_bail('gcc', '-shared', '-fPIC', '-w', '-o', $shim, "$dir/shim.c", '-ldl');
	$node->stop;
	{
		local $ENV{LD_PRELOAD} = $shim;
		$node->start;
	}

	# the session is there before the failure begins
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	my $ask = "SELECT apikey_authorize('$plain', 'web', 'production', 'write');";
	my $create = "SELECT count(key) FROM apikey_create('acme', 'x');";
	my $forget = "SET apikey.pepper_file = ''; RESET apikey.pepper_file;";
	my $expect = sub {
		my ($statement, $error, $name) = @_;

		$session->{stderr} = '';
		my $out = $session->query($statement);
		ok($out eq '' && $session->{stderr} =~ $error, $name)
		  or diag("$out\n$session->{stderr}");
		$session->{stderr} = '';
	};

	is($session->query_safe($ask), 't', 'under the shim');
	append_to_file("$fail.digest", '');
	$session->query_safe($forget);
	$expect->($ask, qr/could not compute SHA-256 hash/, 'no SHA-256: verification raises');
	unlink "$fail.digest";
	append_to_file("$fail.hmac", '');
	$session->query_safe($forget);
	$expect->($ask, qr/could not compute HMAC-SHA-256/, 'no HMAC: verification raises');
	$expect->($create, qr/could not compute HMAC-SHA-256/, 'no HMAC: creation raises');
	unlink "$fail.hmac";
	append_to_file("$fail.random", '');
	$expect->($create, qr/could not generate random bytes/, 'no random bytes: creation raises');
	unlink "$fail.random";
	$session->{stderr} = '';
	is($session->query_safe('SELECT count(*) FROM apikey_keys;'), 2, 'nothing was stored');
	is($session->query_safe($ask), 't', 'and all is well again');
	$session->quit;
}

# A prefix of another vendor's: whoever sets it is warned, and nobody after that.
my $warnings = sub {
	my ($sql) = @_;
	my ($out, $err);

	$node->psql('postgres', $sql, stdout => \$out, stderr => \$err);
	return scalar(() = $err =~ /look like those of GitHub/g);
};

is($warnings->("ALTER SYSTEM SET apikey.prefix = 'ghp'"), 1, 'ALTER SYSTEM warns');
is($warnings->("ALTER DATABASE postgres SET apikey.prefix = 'ghp'"), 1, 'ALTER DATABASE warns');
$node->restart;
is($warnings->('SELECT 1'), 0, 'a session does not');
is($warnings->("SELECT pg_reload_conf(), pg_sleep(1); SHOW apikey.prefix; SELECT apikey_create('acme', 'x')"), 0,
	'nor does a file that is read, nor a key');
is($warnings->("SET apikey.prefix = 'ghs'; SET debug_parallel_query = on; SET force_parallel_mode = on; SET parallel_setup_cost = 0; SELECT count(*) FROM pg_class"), 1,
	'SET warns, parallel workers do not');
is(scalar(() = slurp_file($node->logfile) =~ /look like those of GitHub/g), 3, 'nor does the start');
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'apikey'");
$node->restart;
is(scalar(() = slurp_file($node->logfile) =~ /look like those of GitHub/g), 4, 'but that of a server that preloads it does, in the log');
is($warnings->('SELECT 1'), 0, 'and still no session');

done_testing();
