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
TOOLS      := analyze.sh cmocka.sh integer.sh portability.sh trace.sh tsan.sh valgrind.sh
SCRIPTS    ?= $(filter-out $(addprefix tests/,run.sh need.sh $(TOOLS)),$(wildcard tests/*.sh))

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
test: all ## run every test; installs cmocka where it is missing and may be installed (NO_INSTALL=1: it is not)
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

include tests/gates.mk
include fuzz/fuzz.mk
include bench/bench.mk

compile-matrix: ## compile the header with every compiler, language standard and configuration that is here
	@CC='$(CC)' sh tests/compile.sh

reading: ## check what a reader relies on: short functions, one platform section, the diagram, the seam
	@CC='$(CC)' sh tests/reading.sh

C_FILES := uds_echo.h $(wildcard fuzz/*.[ch] examples/*.c bench/*.[ch] bench/*/*.c tests/*.[ch] tests/*/*.[ch])
SH_FILES := $(wildcard fuzz/*.sh examples/*.sh bench/*.sh bench/*/*.sh tests/*.sh tests/*/*.sh)
lint: ## scripts, the style of C files, and the workflows; installs shellcheck, clang-format and npm's tools where it may
	@sh tests/lint/lint.sh '$(BUILD)'

format: ## put the header and the C files of fuzz, examples, bench and tests into the style of .clang-format
	clang-format -i $(C_FILES)

install: ## copy the header to $(DESTDIR)$(PREFIX)/include
	install -d '$(DESTDIR)$(PREFIX)/include'
	install -m 644 uds_echo.h '$(DESTDIR)$(PREFIX)/include/uds_echo.h'

clean: ## remove the build folder
	rm -rf '$(BUILD)'

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "Variables: CC=$(CC) CFLAGS='$(CFLAGS)' BUILD=$(BUILD) WERROR=$(WERROR) PREFIX=$(PREFIX) NO_INSTALL"

.PHONY: all c-tests fake-tests demo test sanitize compile-matrix reading lint format install clean help
.DELETE_ON_ERROR:
