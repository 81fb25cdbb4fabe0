# README.md and the other papers beside it, and the pages in doc/, as text.
package Pages;

use strict;
use warnings;
use Exporter 'import';
use File::Basename;
use File::Find;
use PostgreSQL::Test::Utils;

our @EXPORT = qw($tree pages page blocks sections anchors table);

our $tree = dirname(__FILE__) . '/../..';

# The names of all pages, from the top of the tree
sub pages
{
	my @pages = qw(README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md);

	find(
		{
			no_chdir => 1,
			wanted => sub { push @pages, s!^\Q$tree/\E!!r if /\.md$/ }
		},
		"$tree/doc");
	return sort @pages;
}

sub page { return slurp_file("$tree/$_[0]") }

# The text of the blocks in a language, in order.  Those in a list are indented.
sub blocks
{
	my ($text, $language) = @_;
	my @blocks;

	while ($text =~ /^(\h*)```(\w+)\n(.*?)^\1```$/gms)
	{
		push @blocks, $3 =~ s/^\Q$1\E//gmr if $2 eq $language;
	}
	return @blocks;
}

# Headings of one level, and the text under each, as a list of pairs.
sub sections
{
	my ($text, $level) = @_;
	my $marks = '#' x $level;
	my @sections;

	push @sections, [ $1, $2 ]
	  while $text =~ /^$marks (\N*)\n(.*?)(?=^#{1,$level} |\z)/gms;
	return @sections;
}

# What links can name on a page, as GitHub makes it of the headings
sub anchors
{
	my ($text) = @_;
	my %anchors;

	$text =~ s/^(\h*)```.*?^\1```$//gms;
	foreach my $heading ($text =~ /^#+ (.*)$/gm)
	{
		my $anchor = lc $heading =~ s/\]\([^)]*\)//gr;

		$anchor =~ s/[^\w\- ]//g;
		$anchor =~ tr/ /-/;
		$anchors{$anchor} = 1;
	}
	return \%anchors;
}

# The rows of the first table in a text, each a list of its cells, without the head.
sub table
{
	my ($text) = @_;
	my ($table) = $text =~ /((?:^\|\N*\n)+)/m or return;
	my @rows = map [ s/^\|\h*|\h*\|$//gr ], split /\n/, $table;

	return map [ split /\h*(?<!\\)\|\h*/, $_->[0] ], @rows[ 2 .. $#rows ];
}

1;
