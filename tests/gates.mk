# What checks the header beyond `make test`: other worlds, machines and tools, and the tests themselves. Included by the
# Makefile.

SIMULATE := $(BUILD)/tests/sim/simulate
SIMULATES := $(SIMULATE)_epoll $(SIMULATE)_poll $(SIMULATE)_plain
$(SIMULATE)_poll: FLAVOUR := -DUDS_ECHO_USE_POLL
$(SIMULATE)_plain: FLAVOUR := $(PLAIN:%=-DUDS_ECHO_HAVE_%=0)
$(SIMULATES): $(SIMULATE)_%: tests/sim/simulate.c $(FAKE) $(HEADERS) Makefile
	@mkdir -p $(@D)
	$(COMPILE) $(FLAVOUR) -DVARIANT='"$*"' -I. -Itests $< $(FAKE) -o $@ $(LDFLAGS) $(LDLIBS)

# FIRST=today: seeds that no other day begins with, a million for each.
SEEDS   ?= 2000
FIRST   ?= 1
VARIANT ?= epoll
ONSET   := $(if $(filter today,$(FIRST)),$(shell echo $$(($$(date +%s) / 86400))000000),$(FIRST))
WHICH    = $(if $(SEED),-t -s $(SEED),-n $(SEEDS) -f $(ONSET))
simulate: $(SIMULATE)_$(VARIANT) ## whole lives of servers over the fake kernel (SEEDS=n, 0: endless; FIRST=n; SEED=n replays one, VARIANT=epoll)
	@$< $(WHICH)

simulate-all: $(SIMULATES) ## the same over epoll, poll and a plain system
	@failed=; for p in $^; do $$p $(WHICH) || failed=1; done; test -z "$$failed"

matrix: all ## run the tests over real sockets and write docs/matrix.md: every pitfall, every cell, with its result
	@if CC='$(CC)' sh tests/need.sh cmocka; then \
	    $(MAKE) --no-print-directory $(JOBS) $(OS_TESTS) && \
	    UDS_ECHO_BUILD='$(BUILD)' sh tests/os/matrix.sh docs/matrix.md '$(BUILD)/matrix' $(OS_TESTS); \
	else echo "0 passed, 0 failed, 1 skipped"; fi

$(BUILD)/interop/exchange: tests/interop/exchange.c uds_echo.h Makefile
	@mkdir -p $(@D)
	$(COMPILE) -I. $< -o $@ $(LDFLAGS) $(LDLIBS)

# Its helpers are on the machine or are installed by the scripts; what is missing all the same is named and skipped.
interop: all $(BUILD)/interop/exchange ## our server and client against socat, ncat, Node, asyncio, Perl, curl, libuv, libevent and the tutorial's
	@sh tests/need.sh socat ncat curl python3 perl node || true
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

# What ThreadSanitizer can follow: threads, but no test that forks and goes on in the child.
THREADED := tests/os/test_threads.c

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

PYTHON ?= python3

planted: ## put each planted bug into a copy of the header: the tests must find all but those listed; BUGS=60: so many, drawn by SEED=1
	@sh tests/need.sh cmocka python3 && CC='$(CC)' $(PYTHON) tests/planted/planted.py tests '$(BUILD)/planted'

planted-fuzz: ## the same for the fuzzers: SEEDS=1 BUGS=10 RUNS=2000000, ENGINE=afl for AFL++; the whole: SEEDS=10 BUGS=all
	@sh tests/need.sh clang-rt $(filter afl,$(ENGINE)) python3 && FUZZ_TEXT='$(FUZZ_TEXT)' $(PYTHON) tests/planted/planted.py fuzz '$(BUILD)/planted'

mutants: ## force conditional jumps of the header both ways: MUTANTS=300 of them drawn by SEED=1, or MUTANTS=all
	@sh tests/mutants/mutants.sh '$(BUILD)/mutants'

# Singles are part of `make test`. 0: every second call of a run, however far behind the first, which takes hours.
PAIRS ?= 16
FAULTS := $(BUILD)/tests/fault/test_faults
faults: ## two system calls of a run fail, at most PAIRS=16 calls apart, over epoll, poll and plain: minutes; PAIRS=0: however far apart
	@if CC='$(CC)' sh tests/need.sh cmocka; then \
	    $(MAKE) --no-print-directory $(JOBS) $(FAULTS) $(FAULTS)_poll $(FAULTS)_plain && \
	    sh tests/fault/pairs.sh $(PAIRS) $(FAULTS) $(FAULTS)_poll $(FAULTS)_plain; \
	else echo "0 passed, 0 failed, 3 skipped"; fi

negative: ## check the checks: deliberate faults that sanitizers, analysers, the fake kernel and the runner must report
	@sh tests/negative/negative.sh '$(BUILD)/negative'

# A quarter of an hour, for each breaks the project and runs the gate that should see it.
negative-gates: ## check the gates: each must fail in a copy of the project that is broken for it; GATES='test lint': only these
	@CC='$(CC)' sh tests/negative/gates.sh '$(BUILD)/negative-gates' $(GATES)

coverage: all ## what of the header all tests together run, as HTML in build/coverage/html; lines 100 %, branches 98 % (MCDC=1: MC/DC, too; needs clang 19)
	@sh tests/coverage/coverage.sh '$(BUILD)/coverage'

analyze: ## gcc -fanalyzer, clang's analyzer, clang-tidy and cppcheck over the implementation
	@sh tests/analyze.sh all

analyze-gcc analyze-clang analyze-tidy analyze-cppcheck: analyze-%: ## one of them
	@sh tests/analyze.sh $*

REAL := $(foreach kernel,fake real,$(foreach build,epoll poll plain,$(BUILD)/real/$(kernel)_$(build)))
$(BUILD)/real/fake_%: tests/real/transcript.c $(FAKE) $(HEADERS) Makefile tests/gates.mk
	@mkdir -p $(@D)
	$(COMPILE) $(call real_flags,$*) -I. -Itests $< $(FAKE) -o $@ $(LDFLAGS) $(LDLIBS)
$(BUILD)/real/real_%: tests/real/transcript.c uds_echo.h Makefile tests/gates.mk
	@mkdir -p $(@D)
	$(COMPILE) $(call real_flags,$*) -DREAL -I. $< -o $@ $(LDFLAGS) $(LDLIBS)
real_flags = $(if $(filter poll,$1),-DUDS_ECHO_USE_POLL) $(if $(filter plain,$1),$(PLAIN:%=-DUDS_ECHO_HAVE_%=0))

real: $(REAL) ## inputs of the corpus over the fake kernel and over real sockets, through epoll, poll and plain: equal transcripts
	@sh tests/real/real.sh '$(BUILD)/real'

# Deliberate wrap-around is listed in tests/integer.ignore with its reason.
integer: ## the tests over the fake kernel under UBSan with clang's checks of integers
	@sh tests/integer.sh '$(BUILD)/integer'

CHECKS := sanitize integer msan tsan valgrind analyze
checks: ## all that watches over memory, numbers and threads: sanitize integer msan tsan valgrind analyze
	@passed=0; failed=0; for t in $(CHECKS); do echo "checks: $$t"; \
	    if sh .ci/target.sh $$t; then passed=$$((passed + 1)); \
	    else failed=$$((failed + 1)); echo "checks: $$t failed"; fi; \
	done; echo "$$passed passed, $$failed failed, 0 skipped"; test $$failed -eq 0

# The tests over the fake kernel with one sanitizer of clang's: $(call one_sanitizer,NAME,FLAGS).
one_sanitizer = if sh tests/need.sh cmocka clang-rt; then \
        $(MAKE) --no-print-directory $(JOBS) fake-tests CC=clang BUILD=$(BUILD)/$1 CFLAGS='-O1 -g $2 -fno-omit-frame-pointer' && \
        UDS_ECHO_BUILD='$(BUILD)/$1' sh tests/run.sh $(FAKE_TESTS:$(BUILD)/%=$(BUILD)/$1/%); \
    else echo "0 passed, 0 failed, 1 skipped"; fi

asan: ## the tests over the fake kernel under AddressSanitizer alone; sanitize runs more of them, with UBSan and with gcc, too
	@ASAN_OPTIONS=detect_leaks=0 && export ASAN_OPTIONS && $(call one_sanitizer,asan,-fsanitize=address)

ubsan: ## the same under UndefinedBehaviorSanitizer alone
	@$(call one_sanitizer,ubsan,-fsanitize=undefined -fno-sanitize-recover=all)

lsan: ## the same under LeakSanitizer alone
	@$(call one_sanitizer,lsan,-fsanitize=leak)

msan: ## the same under MemorySanitizer
	@$(call one_sanitizer,msan,-fsanitize=memory -fno-sanitize-recover=all -fsanitize-memory-track-origins)

.PHONY: simulate simulate-all matrix interop chaos peers trace-hash portability tsan valgrind planted planted-fuzz mutants \
        faults negative negative-gates coverage analyze analyze-gcc analyze-clang analyze-tidy analyze-cppcheck asan ubsan \
        lsan msan real integer checks
