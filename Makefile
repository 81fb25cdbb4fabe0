# apikey: API keys that the database itself issues, keeps and checks
#
#	make && make install && make installcheck	as for any extension
#	make demo	see it at work on a throw-away server; KEEP=1 leaves that running
#	make test	all tests, likewise; SUITE=regress for one suite, REGRESS=life
#			for one topic of it, TAP=test/t/001_standby.pl for one file
#	make bench	measure
#	make indent	format the C code the way PostgreSQL's is
#
# The last four install what they miss by apt.  They work on a copy of this
# tree and of PostgreSQL, and so change nothing here nor in the system.

EXTENSION = apikey
MODULE_big = apikey
OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c src/*/*.c)))
DATA = $(sort $(wildcard src/apikey--*.sql))
PGFILEDESC = "apikey - issue, keep and check API keys"

# Only what is marked PGDLLEXPORT is exported, before PostgreSQL 16 too.
PG_CPPFLAGS = -I$(srcdir)/src -DPGDLLEXPORT='__attribute__((visibility("default")))'
# A decision is a few dozen nanoseconds for each row: where its functions begin
# in a cache line shows.
PG_CFLAGS = -Wall -Wextra -Wno-unused-parameter -fvisibility=hidden \
	-falign-functions=64

# Every other topic uses what "install" makes, which so runs first.
ifdef REGRESS
override export REGRESS := install $(filter-out install,$(REGRESS))
else ifneq ($(origin REGRESS),command line)
REGRESS = install $(filter-out install,$(basename $(notdir $(sort $(wildcard sql/*.sql)))))
endif
ISOLATION = $(basename $(notdir $(sort $(wildcard test/isolation/specs/*.spec))))
LOAD = --load-extension=pgcrypto --load-extension=apikey
REGRESS_OPTS = --inputdir=. $(LOAD)
ISOLATION_OPTS = --inputdir=test/isolation $(LOAD)
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

$(OBJS) $(OBJS:.o=.bc): $(wildcard src/*/*.h)

else

all install installcheck clean:
	@echo "PostgreSQL's server development files are missing: install postgresql-server-dev-N, or set PG_CONFIG" >&2
	@exit 1

endif

.PHONY: demo test bench indent

demo:
	@examples/demo.sh

test:
	@test/run $(SUITE)

bench:
	@bench/run

indent:
	@test/indent src/*.c src/*/*.[ch]
