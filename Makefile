# uds_echo.h: `make help` lists the targets. Nothing here makes the header: it is used as it is.

CC     ?= cc
CFLAGS ?= -O2 -g
BUILD  ?= build
PREFIX ?= /usr/local

# The project builds its own programs with these; WERROR= lets a newer compiler have new opinions.
STD    := -std=c99
WERROR := -Werror
WARN   := -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wundef -Wstrict-prototypes \
          -Wmissing-prototypes

COMPILE = $(CC) $(STD) $(WARN) $(WERROR) $(CFLAGS) $(CPPFLAGS) -pthread
HEADERS := uds_echo.h $(wildcard tests/*.h tests/*/*.h bench/*.h)

EXAMPLES := $(patsubst examples/%.c,$(BUILD)/%,$(wildcard examples/*.c))
BENCHES  := $(patsubst bench/%.c,$(BUILD)/%,$(wildcard bench/*.c))

# Tests are found by name. Those of unit/ and fault/ run over the fake kernel, those of os/ over the real one. VARIED are
# built again: as test_x_poll over the poll backend, as test_x_plain without what a system need not have.
UNIT       := $(wildcard tests/unit/test_*.c)
FAULT      := $(wildcard tests/fault/test_*.c)
OS         := $(wildcard tests/os/test_*.c)
VARIED     ?= $(if $(UNIT)$(FAULT),$(shell grep -l 'harness\.h"' $(UNIT) $(FAULT)))
PLAIN      := EVENTFD ACCEPT4 RENAMEAT2
FAKE       := $(BUILD)/tests/fake_kernel.o
FAKE_TESTS := $(patsubst %.c,$(BUILD)/%,$(UNIT) $(FAULT)) $(patsubst %.c,$(BUILD)/%_poll,$(VARIED)) \
              $(patsubst %.c,$(BUILD)/%_plain,$(VARIED))
OS_TESTS   := $(patsubst %.c,$(BUILD)/%,$(OS))
C_TESTS    := $(FAKE_TESTS) $(OS_TESTS)
# Scripts that are no tests of `make test`: each has a target of its own below, or is called by one that has.
TOOLS      := cmocka.sh portability.sh trace.sh tsan.sh valgrind.sh
SCRIPTS    ?= $(filter-out $(addprefix tests/,run.sh need.sh $(TOOLS)),$(wildcard tests/*.sh))
SCRIPTS    ?= $(filter-out tests/run.sh tests/need.sh tests/analyze.sh,$(wildcard tests/*.sh))

# `make test` builds in parallel on its own, unless make was already told how parallel to be.
JOBS = $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1))

all: $(EXAMPLES) $(BENCHES) ## build the examples and the benchmarks (the default); needs only a C compiler and make

$(EXAMPLES): $(BUILD)/%: examples/%.c uds_echo.h Makefile
	@mkdir -p $(@D)
	$(COMPILE) -I. $< -o $@ $(LDFLAGS) $(LDLIBS)

$(BENCHES): $(BUILD)/%: bench/%.c $(HEADERS) Makefile
	@mkdir -p $(@D)
	$(COMPILE) -I. $< -o $@ $(LDFLAGS) $(LDLIBS) -lm

$(FAKE): tests/fake_kernel.c $(HEADERS) Makefile
	@mkdir -p $(@D)
	$(COMPILE) -I. -Itests -c $< -o $@

$(patsubst %.c,$(BUILD)/%,$(UNIT) $(FAULT)): $(BUILD)/%: %.c $(FAKE) $(HEADERS) Makefile
	@mkdir -p $(@D)
	$(COMPILE) -I. -Itests $< $(FAKE) -o $@ $(LDFLAGS) $(LDLIBS) -lcmocka

$(patsubst %.c,$(BUILD)/%_poll,$(VARIED)): $(BUILD)/%_poll: %.c $(FAKE) $(HEADERS) Makefile
	@mkdir -p $(@D)
	$(COMPILE) -DUDS_ECHO_USE_POLL -I. -Itests $< $(FAKE) -o $@ $(LDFLAGS) $(LDLIBS) -lcmocka

$(patsubst %.c,$(BUILD)/%_plain,$(VARIED)): $(BUILD)/%_plain: %.c $(FAKE) $(HEADERS) Makefile
	@mkdir -p $(@D)
	$(COMPILE) $(PLAIN:%=-DUDS_ECHO_HAVE_%=0) -I. -Itests $< $(FAKE) -o $@ $(LDFLAGS) $(LDLIBS) -lcmocka

$(OS_TESTS): $(BUILD)/%: %.c $(HEADERS) Makefile
	@mkdir -p $(@D)
	$(COMPILE) -I. -Itests $< -o $@ $(LDFLAGS) $(LDLIBS) -lcmocka

c-tests: $(C_TESTS)
fake-tests: $(FAKE_TESTS)

SIMULATE := $(BUILD)/tests/sim/simulate
$(SIMULATE): tests/sim/simulate.c $(FAKE) $(HEADERS) Makefile
	@mkdir -p $(@D)
	$(COMPILE) -I. -Itests $< $(FAKE) -o $@ $(LDFLAGS) $(LDLIBS)
$(SIMULATE)_poll: tests/sim/simulate.c $(FAKE) $(HEADERS) Makefile
	@mkdir -p $(@D)
	$(COMPILE) -DUDS_ECHO_USE_POLL -I. -Itests $< $(FAKE) -o $@ $(LDFLAGS) $(LDLIBS)
$(SIMULATE)_plain: tests/sim/simulate.c $(FAKE) $(HEADERS) Makefile
	@mkdir -p $(@D)
	$(COMPILE) $(PLAIN:%=-DUDS_ECHO_HAVE_%=0) -I. -Itests $< $(FAKE) -o $@ $(LDFLAGS) $(LDLIBS)

SEEDS ?= 2000
simulate: $(SIMULATE) ## whole lives of servers over the fake kernel (SEEDS=n, 0: endless; SEED=n replays one)
	@$(SIMULATE) $(if $(SEED),-t -s $(SEED),-n $(SEEDS))

simulate-all: $(SIMULATE) $(SIMULATE)_poll $(SIMULATE)_plain ## the same over epoll, poll and a plain system
	@failed=; for p in $^; do $$p -n $(SEEDS) || failed=1; done; test -z "$$failed"

demo: $(BUILD)/echo_server $(BUILD)/echo_client ## watch a client and a server talk, over a socket in a temporary folder
	@sh examples/demo.sh $(BUILD)

# Without cmocka the C tests are named and counted as skipped; the others run all the same.
test: all ## pass every test; installs cmocka where it is missing and may be installed (NO_INSTALL=1: it is not)
	@if CC='$(CC)' sh tests/need.sh cmocka; then \
	    $(MAKE) --no-print-directory $(JOBS) c-tests && \
	    CC='$(CC)' UDS_ECHO_BUILD='$(BUILD)' sh tests/run.sh $(C_TESTS) $(SCRIPTS); \
	else \
	    CC='$(CC)' UDS_ECHO_BUILD='$(BUILD)' sh tests/run.sh --skip '$(C_TESTS)' $(SCRIPTS); \
	fi

# What ThreadSanitizer can follow: threads, but no test that forks and goes on in the child.
THREADED := tests/os/test_threads.c

matrix: all ## run the tests over real sockets and write docs/matrix.md: every pitfall, every cell, with its result
	@if CC='$(CC)' sh tests/need.sh cmocka; then \
	    $(MAKE) --no-print-directory $(JOBS) $(OS_TESTS) && \
	    UDS_ECHO_BUILD='$(BUILD)' sh tests/os/matrix.sh docs/matrix.md '$(BUILD)/matrix' $(OS_TESTS); \
	else echo "0 passed, 0 failed, 1 skipped"; fi

SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
# These read or compile the header and run nothing of it: once, in `make test`, is enough.
STATIC_SCRIPTS := tests/compile.sh tests/reading.sh

sanitize: ## the same tests under ASan and UBSan, with gcc and with clang
	@failed=; for cc in gcc clang; do \
	    if ! command -v $$cc >/dev/null; then echo "sanitize: $$cc is not installed: skipped"; continue; fi; \
	    echo "sanitize: $$cc"; \
	    $(MAKE) --no-print-directory $(JOBS) test CC=$$cc BUILD=$(BUILD)/asan-$$cc CFLAGS='-O1 -g $(SANITIZE)' \
	        SCRIPTS='$(filter-out $(STATIC_SCRIPTS),$(SCRIPTS))' || failed="$$failed $$cc"; \
	done; test -z "$$failed" || { echo "sanitize: failed with$$failed"; exit 1; }

bench: all peer-servers ## measure beside floors and other people's servers: prints the table of goals, draws docs/plots (ten minutes)
	@CC='$(CC)' sh bench/bench.sh $(BUILD)

bench-check: all ## compare the speed with hand-written servers and libuv, count instructions; fails where it fell behind
	@CC='$(CC)' sh bench/peers/build.sh $(BUILD) libuv_expert
	@sh bench/check.sh $(BUILD)

peer-servers: ## build other people's echo servers, to compare with; installs what they need where it may (NO_INSTALL=1: not)
	@CC='$(CC)' sh bench/peers/build.sh $(BUILD)

$(BUILD)/interop/exchange: tests/interop/exchange.c uds_echo.h Makefile
	@mkdir -p $(@D)
	$(COMPILE) -I. $< -o $@ $(LDFLAGS) $(LDLIBS)

# Its helpers are on the machine or are installed by the scripts; what is missing all the same is named and skipped.
interop: all $(BUILD)/interop/exchange ## our server and client against socat, ncat, Node, asyncio, Perl, curl, libuv, libevent and the seed's
	@sh bench/need.sh socat ncat curl python3 perl nodejs || true
	@CC='$(CC)' sh bench/peers/build.sh $(BUILD)
	@if command -v python3 >/dev/null; then python3 -B tests/interop/interop.py $(BUILD); \
	 else echo "interop: python3 is missing"; echo "0 passed, 0 failed, 1 skipped"; fi

$(BUILD)/chaos/chaos: $(wildcard tests/chaos/*) uds_echo.h Makefile
	@mkdir -p $(@D)
	$(COMPILE) -I. -Itests/chaos tests/chaos/chaos.c -o $@ $(LDFLAGS) $(LDLIBS)

chaos: $(BUILD)/chaos/chaos ## hundreds of clients that misbehave at random: CHAOS_SECONDS=60 (0: until SIGINT), SEED=n
	@exec $(BUILD)/chaos/chaos

PEERS_REPORT ?= docs/peers.md
peers: all $(BUILD)/interop/exchange ## which echo server falls into which pitfall: writes docs/peers.md from what it sees
	@CC='$(CC)' sh bench/peers/build.sh $(BUILD)
	@CC='$(CC)' sh tests/peers/orderly.sh $(BUILD)
	@mkdir -p $(dir $(PEERS_REPORT))
	@if command -v python3 >/dev/null; then python3 -B tests/peers/peers.py $(BUILD) $(PEERS_REPORT); \
	 else echo "peers: python3 is missing"; echo "0 passed, 0 failed, 1 skipped"; fi

include fuzz/fuzz.mk

compile-matrix: ## compile the header with every compiler, language standard and configuration that is here
	@CC='$(CC)' sh tests/compile.sh

trace-hash: ## what the fake kernel saw of fixed inputs, as committed; UPDATE=1 where it is meant to change
	@CC='$(CC)' sh tests/trace.sh '$(BUILD)/trace'

portability: ## build and run the tests with other compilers, C libraries and processors; TARGETS='musl s390x': only these
	@sh tests/portability.sh '$(BUILD)/portability' $(TARGETS)

tsan: ## threads that share, stop and wake, and examples/threads.c, under ThreadSanitizer with gcc and with clang
	@failed=; for cc in gcc clang; do \
	    if ! command -v $$cc >/dev/null; then echo "tsan: $$cc is not installed: skipped"; continue; fi; \
	    echo "tsan: $$cc"; \
	    TSAN_OPTIONS=halt_on_error=1 $(MAKE) --no-print-directory $(JOBS) test CC=$$cc BUILD=$(BUILD)/tsan-$$cc \
	        CFLAGS='-O1 -g -fsanitize=thread -fno-omit-frame-pointer' UNIT= FAULT= OS='$(THREADED)' BENCHES= \
	        SCRIPTS=tests/tsan.sh || failed="$$failed $$cc"; \
	done; test -z "$$failed" || { echo "tsan: failed with$$failed"; exit 1; }

valgrind: ## the unit tests under valgrind: invalid and uninitialised memory, leaks, descriptors
	@CC='$(CC)' sh tests/valgrind.sh '$(BUILD)/valgrind'

reading: ## check what a reader relies on: short functions, one platform section, the diagram, the seam
	@CC='$(CC)' sh tests/reading.sh

C_FILES := $(wildcard fuzz/*.[ch] examples/*.c bench/*.[ch] bench/*/*.c tests/*.[ch] tests/*/*.[ch])
SH_FILES := $(wildcard fuzz/*.sh examples/*.sh bench/*.sh bench/*/*.sh tests/*.sh tests/*/*.sh)
PYTHON ?= python3

planted: ## put each planted bug into a copy of the header: at least 90 % must be found by the tests
	@sh tests/need.sh cmocka python3 && CC='$(CC)' $(PYTHON) tests/planted/planted.py tests '$(BUILD)/planted'

planted-fuzz: ## the same for the fuzzers: SEEDS=1 BUGS=10 RUNS=200000; the whole: SEEDS=10 BUGS=all RUNS=2000000
	@sh tests/need.sh clang-rt python3 && $(PYTHON) tests/planted/planted.py fuzz '$(BUILD)/planted'

mutants: ## force conditional jumps of the header both ways: MUTANTS=300 of them drawn by SEED=1, or MUTANTS=all
	@sh tests/mutants/mutants.sh '$(BUILD)/mutants'

negative: ## check the checks: deliberate faults that sanitizers, analysers, the fake kernel and the runner must report
	@sh tests/negative/negative.sh '$(BUILD)/negative'

coverage: ## what of the header all tests together run, as HTML in build/coverage/html; lines 100 %, branches 98 %
	@sh tests/coverage/coverage.sh '$(BUILD)/coverage'

analyze: ## gcc -fanalyzer, clang's analyzer, clang-tidy and cppcheck over the implementation
	@sh tests/analyze.sh all

analyze-gcc analyze-clang analyze-tidy analyze-cppcheck: analyze-%: ## one of them
	@sh tests/analyze.sh $*

msan: ## the tests over the fake kernel under MemorySanitizer
	@sh tests/need.sh cmocka clang-rt && $(MAKE) --no-print-directory $(JOBS) fake-tests CC=clang BUILD=$(BUILD)/msan \
	    CFLAGS='-O1 -g -fsanitize=memory -fno-sanitize-recover=all -fsanitize-memory-track-origins' && \
	    UDS_ECHO_BUILD='$(BUILD)/msan' sh tests/run.sh $(FAKE_TESTS:$(BUILD)/%=$(BUILD)/msan/%)

C_FILES := $(wildcard fuzz/*.[ch] examples/*.c bench/*.c tests/*.[ch] tests/*/*.[ch])
SH_FILES := $(wildcard fuzz/*.sh examples/*.sh bench/*.sh tests/*.sh tests/*/*.sh)

lint: ## scripts, the style of C files, and the workflows; installs shellcheck, clang-format and npm's tools where it may
	@sh tests/lint/lint.sh '$(BUILD)'

format: ## put the C files of examples, bench and tests into the style of .clang-format
	clang-format -i $(C_FILES)

size: ## the size of the implementation's code and what a compile takes; fails over the limits
	@sh bench/size.sh $(BUILD)

install: ## copy the header to $(DESTDIR)$(PREFIX)/include
	install -d '$(DESTDIR)$(PREFIX)/include'
	install -m 644 uds_echo.h '$(DESTDIR)$(PREFIX)/include/uds_echo.h'

clean: ## remove the build folder
	rm -rf '$(BUILD)'

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "Variables: CC=$(CC) CFLAGS='$(CFLAGS)' BUILD=$(BUILD) WERROR=$(WERROR) PREFIX=$(PREFIX) NO_INSTALL"

.PHONY: all c-tests demo test sanitize bench bench-check interop chaos peers peer-servers compile-matrix reading lint \
        format size install clean help trace-hash portability tsan valgrind
.PHONY: planted planted-fuzz mutants negative coverage analyze analyze-gcc analyze-clang analyze-tidy \
        analyze-cppcheck msan fake-tests
.PHONY: fuzz-engines fuzz-afl-engines fuzz-replays fuzz-always fuzz fuzz-smoke fuzz-afl fuzz-replay fuzz-merge
        analyze-cppcheck msan fake-tests matrix
.PHONY: all c-tests demo test sanitize bench-check compile-matrix reading lint format size install clean help
.PHONY: all c-tests demo test sanitize bench-check compile-matrix reading lint format size install clean help \
        simulate simulate-all
.DELETE_ON_ERROR:
