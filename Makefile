# parley. `make help` lists the targets.
# BUILD and ROOMS narrow a build to some rooms of src/, for work on one of them:
#   make unit ROOMS="base json" BUILD=build/json

VERSION := 0.1.0
# make's own default for CC is cc, which ?= would keep.
ifeq ($(origin CC),default)
CC      := gcc
endif
BUILD   ?= build/$(notdir $(CC))$(if $(SAN),-$(subst $(comma),-,$(SAN)))
ROOMS   ?= base obs config json db auth cache session/sql session http api/common api/native api/transfer api/openai api/langgraph \
           api/admin api fcgi server cli
comma   := ,

PKGS     := libpq hiredis libsodium
# Only where a target compiles: `make run` must work before pkg-config is installed.
PKG_INC   = $(subst -I,-isystem ,$(shell pkg-config --cflags-only-I $(PKGS)))
PKG_LIBS  = $(shell pkg-config --libs $(PKGS)) -lfcgi -lpthread
WARN     := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes \
            -Wvla -Wformat=2 -Wundef -Wcast-qual -Wwrite-strings -Wnull-dereference \
            -Wno-overlength-strings
ifneq (,$(findstring gcc,$(CC)))
WARN     += -Wduplicated-cond -Wlogical-op
endif
CFLAGS   ?= -O2 -g
FORTIFY  := $(if $(SAN),,-D_FORTIFY_SOURCE=2)
ALL_CFLAGS = -std=c11 -D_GNU_SOURCE -DPARLEY_VERSION='"$(VERSION)"' $(WARN) $(WERROR) -fno-common \
             -fstack-protector-strong $(FORTIFY) -fPIE -pthread -Iinclude -Isrc $(PKG_INC) $(CFLAGS) \
             $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=undefined)
ALL_LDFLAGS = -pie -Wl,-z,relro,-z,now $(if $(SAN),-fsanitize=$(SAN)) $(LDFLAGS)

MIGRATIONS := $(sort $(wildcard src/db/migrations/*.sql))
SRCS    := $(filter-out src/cli/main.c,$(foreach r,$(ROOMS),$(sort $(wildcard src/$(r)/*.c))))
LIB     := $(BUILD)/libparley.a
OBJS    := $(SRCS:%.c=$(BUILD)/%.o) $(if $(filter db,$(ROOMS)),$(BUILD)/gen/migrations.o) \
           $(if $(filter api/admin,$(ROOMS)),$(BUILD)/gen/docs.o)
UNIT    := $(wildcard tests/unit/*.c) $(foreach r,$(ROOMS),$(sort $(wildcard tests/unit/$(r)/*.c)))
SERVICE := tests/unit/main.c $(filter tests/unit/session/same.c,$(UNIT)) \
           $(foreach r,$(ROOMS),$(sort $(wildcard tests/service/$(r)/*.c))) $(wildcard tests/service/*.c)

# Each fuzzer with replay.c is a program that runs its corpus; make fuzz has libFuzzer in its place.
FUZZERS := $(patsubst tests/fuzz/fuzz_%.c,%,$(sort $(wildcard tests/fuzz/fuzz_*.c)))
FUZZ    := $(FUZZERS:%=$(BUILD)/fuzz/%)
REPLAY  := tests/fuzz/replay.c
FUZZ_BY := $(filter-out tests/fuzz/fuzz_%.c tests/fuzz/replay.c,$(wildcard tests/fuzz/*.c)) \
           tests/unit/json/same.c $(filter tests/unit/session/same.c,$(UNIT))

CHECKS  := layers symbols headers isolation single stamps docs openapi plan pages logs monitoring compose mutants format
QUIET    = $(MAKE) --no-print-directory -s -j"$$(nproc)"

.PHONY: all help run test unit service system fuzz fuzz-replay analysis check $(CHECKS:%=check-%) \
        format-check format openapi test-compose test-faults test-hosts test-mutants \
        bench bench-scale clean
all: $(BUILD)/parley $(if $(wildcard packaging/package.mk),man)

help:
	@echo "make run            install what is missing, build, run the whole stack (PORT=8080)"
	@echo "make test           install what is missing, build, run every test; last line: N passed, N failed"
	@echo "make                build $(BUILD)/parley; CC=clang and SAN=address,undefined choose another way"
	@echo "make install        what is built: PREFIX=/usr/local, DESTDIR=DIR; make uninstall"
	@echo "make deb            build/parley_$(VERSION)_ARCHITECTURE.deb, a package of Debian"
	@echo "make unit           the tests that need no server"
	@echo "make service        the tests against a real PostgreSQL and Redis"
	@echo "make system         the tests of the whole stack; T=NAME for those whose name holds NAME"
	@echo "make fuzz           looks for inputs that break a promise; T=NAME, SECONDS=600, SEED=1"
	@echo "make check          all of: $(CHECKS:%=check-%)"
	@echo "make openapi        make docs/openapi.json from docs/openapi.yaml; needs node"
	@echo "make test-compose   docker-compose.yml, with Docker or the engine of PARLEY_TEST_ENGINE"
	@echo "make test-hosts     several hosts, failover, pgbouncer, Sentinel, upgrades; FAULTS=long, T=NAME"
	@echo "make test-faults    servers killed, stopped and cut off under load; FAULTS=long, SEED=N, T=NAME"
	@echo "make analysis       clang's analyser, cppcheck; tests under ThreadSanitizer and valgrind, FAULTS=long: all"
	@echo "make test-mutants    each rule broken in turn (tests/mutants), and the test that fails then; T=NAME"
	@echo "make bench          how fast it is here: table, JSON; SECONDS=3, ROUNDS=3, CONNECTIONS=1,4,16,64, OPS=get/one,…, OUT=DIR, COMPARE=FILE"
	@echo "make bench-scale    whether it stays so: long sessions, 1,000,000 sessions, memory, overload; T='STEP…', SECONDS, ROUNDS"
	@echo "make format         bring the C files into the form of .clang-format"
	@echo "make clean          remove build/"

run:
	@tests/stack/install run
	@echo "building $(BUILD)/parley"
	@$(QUIET) $(BUILD)/parley
	@exec setpriv --pdeathsig TERM -- tests/stack/run $(BUILD)/parley

test:
	@tests/stack/install test
	@echo "building"
	@$(QUIET) $(BUILD)/parley $(BUILD)/unit $(BUILD)/service $(BUILD)/offer $(FUZZ)
	@tests/run-all "check=tests/checks/all $(BUILD)" "unit=$(BUILD)/unit" \
	    "fuzzers' corpora=tests/fuzz/replay $(BUILD)" \
	    "service=tests/service/with-servers $(BUILD)/service" \
	    "description=tests/openapi/run" \
	    "system=PARLEY_BIN=$(abspath $(BUILD))/parley tests/system/main.py"

$(BUILD)/parley: $(BUILD)/src/cli/main.o $(LIB)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(PKG_LIBS)

$(LIB): $(OBJS)
	rm -f $@
	ar rcs $@ $(OBJS)

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# The migrations as C strings: one table entry a pair of files.
$(BUILD)/gen/migrations.c: src/db/grants.sql $(MIGRATIONS) src/db/migrations/embed.sh
	@mkdir -p $(@D)
	sh src/db/migrations/embed.sh src/db/grants.sql $(MIGRATIONS) >$@.new && mv $@.new $@
# The description and its page, likewise.
$(BUILD)/gen/docs.c: docs/openapi.json docs/api.html docs/status.html src/api/admin/embed.sh
	@mkdir -p $(@D)
	sh src/api/admin/embed.sh docs/openapi.json docs/api.html docs/status.html >$@.new && mv $@.new $@
$(BUILD)/gen/%.o: $(BUILD)/gen/%.c
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# Tests read JSON with json-c, too: see tests/unit/json/same.h.
$(BUILD)/unit: $(UNIT:%.c=$(BUILD)/%.o) $(LIB)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ -lcunit -ljson-c $(PKG_LIBS)
unit: $(BUILD)/unit
	$(BUILD)/unit

$(BUILD)/service: $(SERVICE:%.c=$(BUILD)/%.o) $(LIB)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ -lcunit $(PKG_LIBS)

$(FUZZ): $(BUILD)/fuzz/%: $(BUILD)/tests/fuzz/fuzz_%.o $(FUZZ_BY:%.c=$(BUILD)/%.o) \
                           $(REPLAY:%.c=$(BUILD)/%.o) $(LIB)
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) $(if $(REPLAY),,-fsanitize=fuzzer) -o $@ $^ -ljson-c $(PKG_LIBS)
fuzz-replay: $(FUZZ)
	tests/fuzz/replay $(BUILD)
fuzz:
	@tests/stack/install faults
	@SECONDS_EACH=$(SECONDS) tests/fuzz/run $(T)

service: $(BUILD)/service
	tests/service/with-servers $(BUILD)/service

# Lets the n-th call of malloc, read, … fail; see tests/faults/fault_injection.py.
$(BUILD)/libfail.so: tests/fault-injection/fail.c
	@mkdir -p $(@D)
	$(CC) -std=c11 -D_GNU_SOURCE $(WARN) $(WERROR) -O1 -g -fPIC -fvisibility=hidden -shared -o $@ $<

system: $(BUILD)/parley $(BUILD)/offer
	PARLEY_BIN=$(abspath $(BUILD))/parley tests/system/main.py $(T)

check: $(BUILD)/parley
	@tests/checks/all $(BUILD)
# Those that read objects or run the program need it built.
check-isolation check-single check-docs: $(BUILD)/parley
$(CHECKS:%=check-%): check-%:
	@tests/checks/$* $(BUILD)
format-check: check-format
format:
	find src include tests -name '*.[ch]' -print0 | xargs -0 clang-format-14 -i

openapi:
	@tests/openapi/run --install
	node tests/openapi/openapi.mjs json >docs/openapi.json.new && mv docs/openapi.json.new docs/openapi.json

test-compose:
	@tests/stack/compose

test-faults:
	@tests/stack/install test
	@$(QUIET) $(BUILD)/parley $(BUILD)/unit $(BUILD)/service
	@PARLEY_BIN=$(abspath $(BUILD))/parley tests/faults/main.py $(if $(SEED),--seed $(SEED)) $(T)

test-hosts:
	@tests/stack/install hosts
	@$(QUIET) $(BUILD)/parley
	@PARLEY_BIN=$(abspath $(BUILD))/parley tests/hosts/main.py $(T)

# FAULTS=long: every test there is under ThreadSanitizer and valgrind, for hours.
analysis:
	@tests/stack/install faults
	@tests/run-all "clang's analyser=tests/analysis/clang" "cppcheck=tests/analysis/cppcheck" \
	    "ThreadSanitizer=tests/analysis/under tsan" "valgrind=tests/analysis/under valgrind"

test-mutants:
	@tests/stack/install test
	@tests/mutants/run $(T)

bench:
	@tests/stack/install bench
	@echo "building $(BUILD)/parley"
	@$(QUIET) $(BUILD)/parley
	@PARLEY_BIN=$(abspath $(BUILD))/parley SECONDS='$(SECONDS)' ROUNDS='$(ROUNDS)' OPS='$(OPS)' OUT='$(OUT)' \
	    CONNECTIONS='$(CONNECTIONS)' COMPARE='$(COMPARE)' tests/bench/main.py
bench-scale:
	@tests/stack/install bench
	@echo "building $(BUILD)/parley"
	@$(QUIET) $(BUILD)/parley $(BUILD)/offer
	@PARLEY_BIN=$(abspath $(BUILD))/parley tests/bench/scale.py $(if $(SECONDS),--seconds $(SECONDS)) \
	    $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(OUT),--out $(OUT)) $(T)
# Asks at a pace of its own, whether it is answered or not.
$(BUILD)/offer: tests/bench/offer.c
	@mkdir -p $(@D)
	$(CC) -std=c11 -D_GNU_SOURCE $(WARN) $(WERROR) -O2 -g -o $@ $<

clean:
	rm -rf build

# A copy that only builds the program does not have it.
-include packaging/package.mk

-include $(shell find $(BUILD) -type f -name '*.d' 2>/dev/null)
