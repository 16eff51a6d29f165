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

# Every fuzz/fuzz_NAME.c is built for an engine by flags alone, and with fuzz/replay.c by any compiler. poller_poll is poller
# over the other backend; pollers_agree is its own other half. The fake kernel is not what is explored: without counters of
# its own it is several times as fast.
FUZZERS    := $(patsubst fuzz/fuzz_%.c,%,$(wildcard fuzz/fuzz_*.c)) poller_poll
FUZZ       ?= $(FUZZERS)
FUZZ_CC    ?= clang
FUZZ_FLAGS := $(STD) -O2 -g -fsanitize=address,undefined -fno-sanitize-recover=all -I. -Itests $(CPPFLAGS)
HANDLER_FLAGS = $(if $(HANDLER),-DFUZZ_HANDLER='"$(abspath $(HANDLER))"' -DFUZZ_DESCRIBE='$(DESCRIBE)' \
                -DFUZZ_SETTLE='$(SETTLE)')
FUZZ_HEADERS := $(HEADERS) $(wildcard fuzz/*.h)

# What a target needs besides its own file: $(call fuzz_parts,NAME,SUFFIX), $(call fuzz_source,NAME).
fuzz_source = fuzz/fuzz_$(1:poller_poll=poller).c $(if $(filter poller_poll,$1),-DUDS_ECHO_USE_POLL) \
              $(if $(filter handler,$1),$(HANDLER_FLAGS))
fuzz_parts  = $(BUILD)/fuzz/fake_kernel.$2 $(if $(filter pollers_agree,$1),$(BUILD)/fuzz/other_half.$2)
fuzz_cc     = $(if $(filter replay,$1),$(COMPILE) -I. -Itests,$(if $(filter afl,$1),AFL_QUIET=1 AFL_USE_ASAN=1 \
              afl-clang-fast,$(FUZZ_CC)) $(FUZZ_FLAGS))

$(BUILD)/fuzz/fake_kernel.replay: tests/fake_kernel.c $(HEADERS) Makefile
	@mkdir -p $(@D)
	$(call fuzz_cc,replay) -c $< -o $@

$(BUILD)/fuzz/fake_kernel.engine $(BUILD)/fuzz/fake_kernel.afl: tests/fake_kernel.c $(HEADERS) Makefile
	@mkdir -p $(@D)
	$(FUZZ_CC) $(FUZZ_FLAGS) -c $< -o $@

$(BUILD)/fuzz/other_half.engine $(BUILD)/fuzz/other_half.afl $(BUILD)/fuzz/other_half.replay: $(BUILD)/fuzz/other_half.%: \
        fuzz/fuzz_pollers_agree.c $(FUZZ_HEADERS) Makefile
	@mkdir -p $(@D)
	$(call fuzz_cc,$*) $(if $(filter engine,$*),-fsanitize=fuzzer-no-link) -DUDS_ECHO_USE_POLL -c $< -o $@

.SECONDEXPANSION:
$(FUZZERS:%=$(BUILD)/fuzz/%): $(BUILD)/fuzz/%: fuzz/fuzz_$$(patsubst poller_poll,poller,$$*).c \
        $$(call fuzz_parts,$$*,engine) $(FUZZ_HEADERS) $$(if $$(filter handler,$$*),fuzz-always) Makefile
	$(call fuzz_cc,engine) -fsanitize=fuzzer $(call fuzz_source,$*) $(call fuzz_parts,$*,engine) -o $@

$(FUZZERS:%=$(BUILD)/fuzz/%.afl): $(BUILD)/fuzz/%.afl: fuzz/fuzz_$$(patsubst poller_poll,poller,$$*).c \
        $$(call fuzz_parts,$$*,afl) $(FUZZ_HEADERS) Makefile
	$(call fuzz_cc,afl) -fsanitize=fuzzer $(call fuzz_source,$*) $(call fuzz_parts,$*,afl) -o $@

$(FUZZERS:%=$(BUILD)/fuzz/%.replay): $(BUILD)/fuzz/%.replay: fuzz/fuzz_$$(patsubst poller_poll,poller,$$*).c fuzz/replay.c \
        $$(call fuzz_parts,$$*,replay) $(FUZZ_HEADERS) Makefile
	$(call fuzz_cc,replay) $(call fuzz_source,$*) fuzz/replay.c $(call fuzz_parts,$*,replay) -o $@ $(LDFLAGS)

$(BUILD)/fuzz/seeds: fuzz/seeds.sh
	@mkdir -p $@ && sh fuzz/seeds.sh $@ && touch $@

fuzz-engines: $(FUZZ:%=$(BUILD)/fuzz/%) $(BUILD)/fuzz/seeds
fuzz-afl-engines: $(FUZZ:%=$(BUILD)/fuzz/%.afl) $(BUILD)/fuzz/seeds
fuzz-replays: $(FUZZ:%=$(BUILD)/fuzz/%.replay)
fuzz-always:

# The engines need clang; replaying what they found does not.
FUZZ_RUN = $(MAKE) --no-print-directory -s $(JOBS) $1 && sh fuzz/run.sh $2 '$(BUILD)' $(FUZZ)

fuzz: ## fuzz with libFuzzer and show how it goes: FUZZ="$(FUZZERS)" SECONDS=60 HANDLER=yours.c (see fuzz/README.md)
	@sh fuzz/need.sh clang
	@echo "targets: $(FUZZERS)"
	@SECONDS_EACH='$(or $(SECONDS),60)'; export SECONDS_EACH; $(call FUZZ_RUN,fuzz-engines,fuzz)

fuzz-smoke: ## each fuzz target for FUZZ_SECONDS=60, a line each
	@sh fuzz/need.sh clang
	@$(call FUZZ_RUN,fuzz-engines,smoke)

fuzz-afl: ## each fuzz target under AFL++ for AFL_SECONDS=60; installs afl++ where it is missing and may be installed
	@sh fuzz/need.sh afl
	@$(call FUZZ_RUN,fuzz-afl-engines,afl)

fuzz-replay: ## run all committed fuzz inputs and every crash ever, with any C compiler; HASH=1: print the trace hashes
	@$(call FUZZ_RUN,fuzz-replays,replay)

fuzz-merge: ## minimise what fuzzing found into fuzz/corpus
	@sh fuzz/need.sh clang
	@$(call FUZZ_RUN,fuzz-engines,merge)

bench-check: all ## compare the speed with hand-written servers; fails where it fell behind
	sh bench/check.sh $(BUILD)

compile-matrix: ## compile the header with every compiler, language standard and configuration that is here
	@CC='$(CC)' sh tests/compile.sh

reading: ## check what a reader relies on: short functions, one platform section, the diagram, the seam
	@CC='$(CC)' sh tests/reading.sh

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

lint: ## shellcheck and clang-format, each if it is here
	@if command -v shellcheck >/dev/null; then shellcheck $(SH_FILES) && echo "shellcheck: fine"; \
	 else echo "shellcheck is not installed: skipped"; fi
	@if command -v clang-format >/dev/null; then \
	     clang-format --dry-run --Werror $(wildcard examples/*.c) && echo "clang-format: fine"; \
	 else echo "clang-format is not installed: skipped"; fi

format: ## put the C files of examples, bench and tests into the style of .clang-format
	clang-format -i $(C_FILES)

size: ## the size of the implementation's code, gcc -Os
	@mkdir -p $(BUILD)
	@gcc $(STD) -Os -D_GNU_SOURCE -DUDS_ECHO_IMPLEMENTATION -x c -c uds_echo.h -o $(BUILD)/size.o && size $(BUILD)/size.o

install: ## copy the header to $(DESTDIR)$(PREFIX)/include
	install -d '$(DESTDIR)$(PREFIX)/include'
	install -m 644 uds_echo.h '$(DESTDIR)$(PREFIX)/include/uds_echo.h'

clean: ## remove the build folder
	rm -rf '$(BUILD)'

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' Makefile
	@echo "Variables: CC=$(CC) CFLAGS='$(CFLAGS)' BUILD=$(BUILD) WERROR=$(WERROR) PREFIX=$(PREFIX) NO_INSTALL"

.PHONY: planted planted-fuzz mutants negative coverage analyze analyze-gcc analyze-clang analyze-tidy \
        analyze-cppcheck msan fake-tests
.PHONY: fuzz-engines fuzz-afl-engines fuzz-replays fuzz-always fuzz fuzz-smoke fuzz-afl fuzz-replay fuzz-merge
.PHONY: all c-tests demo test sanitize bench-check compile-matrix reading lint format size install clean help
.DELETE_ON_ERROR:
