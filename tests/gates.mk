# What checks the header beyond `make test`: other worlds, machines and tools, and the tests themselves. Included by the
# Makefile.

SIMULATE := $(BUILD)/tests/sim/simulate
SIMULATES := $(SIMULATE)_epoll $(SIMULATE)_poll $(SIMULATE)_plain
$(SIMULATE)_poll: FLAVOUR := -DUDS_ECHO_USE_POLL
$(SIMULATE)_plain: FLAVOUR := $(PLAIN:%=-DUDS_ECHO_HAVE_%=0)
$(SIMULATES): $(SIMULATE)_%: tests/sim/simulate.c $(FAKE) $(HEADERS) Makefile
	@mkdir -p $(@D)
	$(COMPILE) $(FLAVOUR) -DVARIANT='"$*"' -I. -Itests/fake $< $(FAKE) -o $@ $(LDFLAGS) $(LDLIBS)

# FIRST=today: seeds that no other day begins with, a million for each.
SEEDS   ?= 2000
FIRST   ?= 1
VARIANT ?= epoll
ONSET   := $(if $(filter today,$(FIRST)),$(shell echo $$(($$(date +%s) / 86400))000000),$(FIRST))
WHICH    = $(if $(SEED),-t -s $(SEED),-n $(SEEDS) -f $(ONSET))
simulate: $(SIMULATE)_$(VARIANT) ## test: whole lives of servers: SEEDS=n, SEED=n, FIRST=n
	@$< $(WHICH)

simulate-all: $(SIMULATES) ## test: the same over epoll, poll and a plain system
	@failed=; for p in $^; do $$p $(WHICH) || failed=1; done; test -z "$$failed"

matrix: examples ## test: real sockets, and docs/matrix.md from the results
	@sh tests/tools/need.sh bindfs=bindfs || true
	@if CC='$(CC)' sh tests/tools/need.sh cmocka; then \
	    $(MAKE) --no-print-directory $(JOBS) $(OS_TESTS) && \
	    UDS_ECHO_BUILD='$(BUILD)' sh tests/os/matrix.sh docs/matrix.md '$(BUILD)/matrix' $(OS_TESTS); \
	else echo "0 passed, 0 failed, 1 skipped"; fi

$(BUILD)/interop/exchange: tests/compat/interop/exchange.c uds_echo.h Makefile
	@mkdir -p $(@D)
	$(COMPILE) -I. $< -o $@ $(LDFLAGS) $(LDLIBS)

# Its helpers are on the machine or are installed by the scripts; what is missing all the same is named and skipped.
interop: all $(BUILD)/interop/exchange ## other systems: socat, Node, asyncio, Perl, curl, libuv, libevent
	@sh tests/tools/need.sh socat ncat systemd-socket-activate=systemd curl python3 perl node || true
	@CC='$(CC)' sh bench/peers/build.sh $(BUILD)
	@if command -v python3 >/dev/null; then python3 -B tests/compat/interop/interop.py $(BUILD); \
	 else echo "interop: python3 is missing"; echo "0 passed, 0 failed, 1 skipped"; fi

$(BUILD)/chaos/chaos: $(wildcard tests/chaos/*) uds_echo.h Makefile
	@mkdir -p $(@D)
	$(COMPILE) -I. -Itests/chaos tests/chaos/chaos.c -o $@ $(LDFLAGS) $(LDLIBS)

chaos: $(BUILD)/chaos/chaos ## other systems: hundreds of clients that misbehave: CHAOS_SECONDS=60
	@exec $(BUILD)/chaos/chaos

PEERS_REPORT ?= docs/peers.md
peers: all $(BUILD)/interop/exchange ## other systems: which echo server has which fault: docs/peers.md
	@CC='$(CC)' sh bench/peers/build.sh $(BUILD)
	@CC='$(CC)' sh tests/compat/peers/orderly.sh $(BUILD)
	@mkdir -p $(dir $(PEERS_REPORT))
	@if command -v python3 >/dev/null; then python3 -B tests/compat/peers/peers.py $(BUILD) $(PEERS_REPORT); \
	 else echo "peers: python3 is missing"; echo "0 passed, 0 failed, 1 skipped"; fi

# What ThreadSanitizer can follow: threads, but no test that forks and goes on in the child.
THREADED := tests/os/test_threads.c

trace-hash: ## other systems: what the fake kernel saw, as committed; UPDATE=1
	@CC='$(CC)' sh tests/compat/trace/trace.sh '$(BUILD)/trace'

portability: ## other systems: other compilers, libcs, processors: TARGETS='musl'
	@sh tests/compat/portability.sh '$(BUILD)/portability' $(TARGETS)

SYSTEMS ?= bookworm trixie sid bullseye
bare: ## other systems: bare Debians, as README.md says: SYSTEMS=, STEPS=
	@sh tests/compat/bare.sh '$(BUILD)/bare' $(SYSTEMS)

tsan: ## memory, numbers, threads: threads under ThreadSanitizer, gcc and clang
	@failed=; for cc in gcc clang; do \
	    if ! command -v $$cc >/dev/null; then echo "tsan: $$cc is not installed: skipped"; continue; fi; \
	    if [ $$cc = clang ] && ! sh tests/tools/need.sh clang-rt; then failed="$$failed clang"; continue; fi; \
	    echo "tsan: $$cc"; \
	    TSAN_OPTIONS=halt_on_error=1 $(MAKE) --no-print-directory $(JOBS) test CC=$$cc BUILD=$(BUILD)/tsan-$$cc \
	        CFLAGS='-O1 -g -fsanitize=thread -fno-omit-frame-pointer' UNIT= FAULT= OS='$(THREADED)' \
	        SCRIPTS=tests/tools/tsan.sh || failed="$$failed $$cc"; \
	done; test -z "$$failed" || { echo "tsan: failed with$$failed"; exit 1; }

valgrind: ## memory, numbers, threads: memory, leaks and descriptors under valgrind
	@CC='$(CC)' sh tests/tools/valgrind.sh '$(BUILD)/valgrind'

PYTHON ?= python3

planted: ## check the checks: planted bugs against the tests: BUGS=60 SEED=1
	@sh tests/tools/need.sh cmocka python3 && CC='$(CC)' $(PYTHON) tests/mutation/planted.py tests '$(BUILD)/planted'

planted-fuzz: ## check the checks: and against the fuzzers: SEEDS=1 BUGS=10 ENGINE=afl
	@sh tests/tools/need.sh clang-rt $(filter afl,$(ENGINE)) python3 && FUZZ_TEXT='$(FUZZ_TEXT)' $(PYTHON) tests/mutation/planted.py fuzz '$(BUILD)/planted'

mutants: ## check the checks: jumps forced, statements deleted: MUTANTS=300 or all
	@sh tests/mutation/mutants.sh '$(BUILD)/mutants'

survivors: fuzz-inputs ## check the checks: the listed ones against simulation, corpora, sockets
	@sh tests/mutation/mutants.sh '$(BUILD)/survivors' '$(BUILD)/fuzz'

# Singles are part of `make test`. 0: every second call of a run, however far behind the first, which takes hours.
PAIRS ?= 16
FAULTS := $(BUILD)/tests/fault/test_faults
faults: ## test: two calls of a run fail, at most PAIRS=16 apart
	@if CC='$(CC)' sh tests/tools/need.sh cmocka; then \
	    $(MAKE) --no-print-directory $(JOBS) $(FAULTS) $(FAULTS)_poll $(FAULTS)_plain && \
	    sh tests/fault/pairs.sh $(PAIRS) $(FAULTS) $(FAULTS)_poll $(FAULTS)_plain; \
	else echo "0 passed, 0 failed, 3 skipped"; fi

negative: ## check the checks: checks the checks with deliberate faults
	@sh tests/mutation/negative/negative.sh '$(BUILD)/negative'

# A quarter of an hour, for each breaks the project and runs the gate that should see it.
negative-gates: ## check the checks: each gate fails when broken: GATES='test lint'
	@CC='$(CC)' sh tests/mutation/negative/gates.sh '$(BUILD)/negative-gates' $(GATES)

coverage: all ## check the checks: lines, branches, and MCDC=1; HTML in build/coverage
	@sh tests/tools/coverage/coverage.sh '$(BUILD)/coverage'

analyze: ## write: gcc, clang, clang-tidy and cppcheck read the header
	@sh tests/tools/analyze.sh all

analyze-gcc analyze-clang analyze-tidy analyze-cppcheck: analyze-%:
	@sh tests/tools/analyze.sh $*

REAL := $(foreach kernel,fake real,$(foreach build,epoll poll plain,$(BUILD)/real/$(kernel)_$(build)))
$(BUILD)/real/fake_%: tests/real/transcript.c $(FAKE) $(HEADERS) Makefile tests/gates.mk
	@mkdir -p $(@D)
	$(COMPILE) $(call real_flags,$*) -I. -Itests/fake $< $(FAKE) -o $@ $(LDFLAGS) $(LDLIBS)
$(BUILD)/real/real_%: tests/real/transcript.c uds_echo.h Makefile tests/gates.mk
	@mkdir -p $(@D)
	$(COMPILE) $(call real_flags,$*) -DREAL -I. $< -o $@ $(LDFLAGS) $(LDLIBS)
real_flags = $(if $(filter poll,$1),-DUDS_ECHO_USE_POLL) $(if $(filter plain,$1),$(PLAIN:%=-DUDS_ECHO_HAVE_%=0))

real: $(REAL) fuzz-inputs ## test: equal transcripts of the fake and the real kernel
	@sh tests/real/real.sh '$(BUILD)/real' '$(BUILD)/fuzz/kept'

model: ## test: the claim of a path, every order: MODELS= DEEP=1
	@sh tests/model/model.sh '$(BUILD)/model' $(MODELS)

environment: examples ## test: FUSE, overlay, sandboxes, odd directories
	@CC='$(CC)' sh tests/os/environment.sh '$(BUILD)'

RACE := $(BUILD)/tests/os/races
$(RACE): tests/os/races.c uds_echo.h Makefile tests/gates.mk
	@mkdir -p $(@D)
	$(COMPILE) -I. $< -o $@ $(LDFLAGS) $(LDLIBS)

STARTS ?= 1000
races: $(RACE) ## test: starts against a neighbour who takes the path: STARTS=
	@exec $(RACE) $(STARTS)

package: ## other systems: the header from CMake, Meson, pkg-config
	@CC='$(CC)' sh tests/package/package.sh

# Deliberate wrap-around is listed in tests/tools/integer.ignore with its reason.
integer: ## memory, numbers, threads: wrap-around and conversions that change a value
	@sh tests/tools/integer.sh '$(BUILD)/integer'

CHECKS := sanitize integer msan tsan valgrind analyze
checks: ## test: sanitize integer msan tsan valgrind analyze
	@passed=0; failed=0; for t in $(CHECKS); do echo "checks: $$t"; \
	    if sh .ci/target.sh $$t; then passed=$$((passed + 1)); \
	    else failed=$$((failed + 1)); echo "checks: $$t failed"; fi; \
	done; echo "$$passed passed, $$failed failed, 0 skipped"; test $$failed -eq 0

# The tests over the fake kernel with one sanitizer of clang's: $(call one_sanitizer,NAME,FLAGS).
one_sanitizer = if sh tests/tools/need.sh cmocka clang-rt; then \
        $(MAKE) --no-print-directory $(JOBS) fake-tests CC=clang BUILD=$(BUILD)/$1 CFLAGS='-O1 -g $2 -fno-omit-frame-pointer' && \
        UDS_ECHO_BUILD='$(BUILD)/$1' sh tests/tools/run.sh $(FAKE_TESTS:$(BUILD)/%=$(BUILD)/$1/%); \
    else echo "0 passed, 0 failed, 1 skipped"; fi

asan: ## memory, numbers, threads: the tests under AddressSanitizer alone
	@ASAN_OPTIONS=detect_leaks=0 && export ASAN_OPTIONS && $(call one_sanitizer,asan,-fsanitize=address)

ubsan: ## memory, numbers, threads: under UndefinedBehaviorSanitizer alone
	@$(call one_sanitizer,ubsan,-fsanitize=undefined -fno-sanitize-recover=all)

lsan: ## memory, numbers, threads: under LeakSanitizer alone
	@$(call one_sanitizer,lsan,-fsanitize=leak)

msan: ## memory, numbers, threads: under MemorySanitizer alone
	@$(call one_sanitizer,msan,-fsanitize=memory -fno-sanitize-recover=all -fsanitize-memory-track-origins)

.PHONY: simulate simulate-all matrix interop chaos peers trace-hash portability bare tsan valgrind planted planted-fuzz mutants \
        survivors faults negative negative-gates coverage analyze analyze-gcc analyze-clang analyze-tidy analyze-cppcheck \
        asan ubsan lsan msan real model environment races package integer checks
