# apikey: API keys that the database itself issues, keeps and checks
#
#	make && make install && make installcheck	as for any extension
#	make extension-image DESTDIR=...	what a container image of the extension
#			alone has in it, for extension_control_path of PostgreSQL 18
#	make demo	see it at work on a throw-away server; KEEP=1 leaves that running
#	make console	a console for operators, with sample data, on a throw-away server;
#			PORT=8000 is where it listens
#	make test	all tests, likewise; SUITE=regress for one suite, REGRESS=life
#			for one topic of it, TAP=test/t/001_standby.pl for one file
#	make citus	what a coordinator and workers do, with a PG_CONFIG that has Citus
#	make bench	measure
#	make indent	format the C code the way PostgreSQL's is
#
#	make first-run	the demo on a bare Debian, as root
#	make versions	all tests with each version of PostgreSQL, likewise; VERSION=17
#			only with that
#	make upgrades	pg_upgrade from version to version, likewise; VERSION="17 18"
#			only between these
#	make packages	build all packages and try each, likewise; PART=pgxn only that
#	make release	what is missing for a release; if nothing is, the archive for PGXN
#
# Demo, console, tests and measurements install what they miss by apt, with sudo unless
# you are root.  They work on a copy of this tree and of PostgreSQL, and so change
# nothing else in the system, nor anything here.

# Files are found from where this one is, so that one can build anywhere: make -f ../Makefile,
# with VPATH or without.  A relative path, because bitcode has the names of its sources.
HERE := $(patsubst %/,%,$(dir $(lastword $(MAKEFILE_LIST))))
HERE := $(or $(shell realpath --relative-to=. '$(HERE)' 2>/dev/null),$(HERE))
ifeq ($(wildcard $(HERE)/apikey.control),)
$(error make cannot find files by a name with blanks or quotes: go to the directory of the Makefile)
endif
files = $(patsubst $(HERE)/%,%,$(sort $(wildcard $(addprefix $(HERE)/,$(1)))))

EXTENSION = apikey
MODULE_big = apikey
OBJS := $(patsubst %.c,%.o,$(call files,src/*.c src/*/*.c))
DATA := $(call files,src/apikey--*.sql)
# Not by PGXS's DOCS, which puts the files of all extensions into one directory:
# README.md is the name of many, and pages link to each other by their places.
PAGES := $(call files,README.md CHANGELOG.md SECURITY.md LICENSE doc/*.* doc/*/*.*)
PGFILEDESC = "apikey - issue, keep and check API keys"

# Only what is marked PGDLLEXPORT is exported, before PostgreSQL 16 too.
# The library is the same, byte by byte, wherever it is built.
PG_CPPFLAGS = -I$(HERE)/src -DPGDLLEXPORT='__attribute__((visibility("default")))' \
	-ffile-prefix-map='$(HERE)/=' -ffile-prefix-map='$(CURDIR)=.'
# A decision is a few dozen nanoseconds for each row: where its functions begin
# in a cache line shows.
PG_CFLAGS = -Wall -Wextra -Wno-unused-parameter -fvisibility=hidden \
	-falign-functions=64

# Every other topic uses what "install" makes, which so runs first.
ifdef REGRESS
override export REGRESS := install $(filter-out install,$(REGRESS))
else ifneq ($(origin REGRESS),command line)
REGRESS = install $(filter-out install,$(basename $(notdir $(call files,sql/*.sql))))
endif
ISOLATION = $(basename $(notdir $(call files,test/isolation/specs/*.spec)))
LOAD = --load-extension=pgcrypto --load-extension=apikey
REGRESS_OPTS = $(LOAD)
ISOLATION_OPTS = --inputdir=$(HERE)/test/isolation $(LOAD)
# The same results on every server, whatever it is set to
ENCODING = UTF8
NO_LOCALE = 1
installcheck: export PGOPTIONS += -c standard_conforming_strings=on \
	-c default_transaction_isolation=read\ committed

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)
POSTGRES_H := $(shell $(PG_CONFIG) --includedir-server 2>/dev/null)/postgres.h

# Debian's client package has pgxs.mk, but not the headers.
ifneq ($(and $(wildcard $(PGXS)),$(wildcard $(POSTGRES_H))),)

# No bitcode for the JIT where PostgreSQL's own clang is missing.
CLANG_OF_PG := $(shell sed -n 's/^CLANG = //p' $(dir $(PGXS))../Makefile.global)
ifeq ($(shell command -v $(CLANG_OF_PG)),)
override with_llvm = no
endif

include $(PGXS)

# Sources are looked for where this file is, and nothing else: what has been built there
# is of another build.
srcdir := $(HERE)
override VPATH :=
vpath %.c $(HERE)
vpath %.h $(HERE)
vpath %.control $(HERE)

folders = $(sort $(dir $(OBJS)))
$(OBJS) $(OBJS:.o=.bc): $(call files,src/*/*.h) | $(folders)
$(folders):
	@mkdir -p $@

pagesdir = $(DESTDIR)$(docdir)/extension/apikey

install: install-pages
uninstall: uninstall-pages

install-pages:
	$(MKDIR_P) $(addprefix '$(pagesdir)'/,$(sort $(dir $(PAGES))))
	for page in $(PAGES); do $(INSTALL_DATA) $(HERE)/$$page '$(pagesdir)'/$$page || exit; done

uninstall-pages:
	rm -rf '$(pagesdir)'

# Without bitcode: PostgreSQL looks for it in its own directory alone.
extension-image: all
	$(if $(DESTDIR),,$(error DESTDIR= must say where to))
	$(MKDIR_P) '$(DESTDIR)/lib' '$(DESTDIR)/share/extension'
	$(INSTALL_SHLIB) $(shlib) '$(DESTDIR)/lib/'
	$(INSTALL_DATA) $(addprefix $(HERE)/,$(EXTENSION).control $(DATA)) '$(DESTDIR)/share/extension/'

.PHONY: install-pages uninstall-pages extension-image

else

all install installcheck extension-image clean:
	@echo "PostgreSQL's server development files are missing: install postgresql-server-dev-N, or set PG_CONFIG" >&2
	@exit 1

endif

.PHONY: demo console test citus bench indent first-run release packages versions upgrades

demo:
	@$(HERE)/examples/demo.sh

console:
	@$(HERE)/examples/console/start

test:
	@$(HERE)/test/run $(SUITE)

citus:
	@$(HERE)/test/run citus

bench:
	@$(HERE)/bench/run

indent:
	@$(HERE)/test/indent $(HERE)/src/*.c $(HERE)/src/*/*.[ch]

first-run:
	@$(HERE)/test/first-run

# PGXS has a VERSION of its own.
chosen = $(if $(filter command%,$(origin VERSION)),$(VERSION))

versions:
	@$(HERE)/test/versions $(chosen)

upgrades:
	@$(HERE)/test/pg_upgrade $(chosen)

packages:
	@$(HERE)/test/packages $(PART)

release:
	@$(HERE)/test/release
