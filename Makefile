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
# clang: strchr() and memchr() of glibc 2.43 are macros with _Generic in them.
WARN   += -Wno-c11-extensions

COMPILE = $(CC) $(STD) $(WARN) $(WERROR) $(CFLAGS) $(CPPFLAGS) -pthread
HEADERS := uds_echo.h $(wildcard tests/*/*.h bench/*.h)

EXAMPLES := $(patsubst examples/%.c,$(BUILD)/%,$(wildcard examples/*.c))
BENCHES  := $(patsubst bench/%.c,$(BUILD)/%,$(wildcard bench/*.c))

# Tests are found by name. Those of unit/ and fault/ run over the fake kernel, those of os/ over the real one. VARIED are
# built again: as test_x_poll over the poll backend, as test_x_plain without what a system need not have.
UNIT       := $(wildcard tests/unit/test_*.c)
FAULT      := $(wildcard tests/fault/test_*.c)
OS         := $(wildcard tests/os/test_*.c)
VARIED     ?= $(if $(UNIT)$(FAULT),$(shell grep -l 'harness\.h"' $(UNIT) $(FAULT)))
PLAIN      := EVENTFD ACCEPT4 RENAMEAT2 SYSCALL
FAKE       := $(BUILD)/tests/fake/fake_kernel.o
FAKE_TESTS := $(patsubst %.c,$(BUILD)/%,$(UNIT) $(FAULT)) $(patsubst %.c,$(BUILD)/%_poll,$(VARIED)) \
              $(patsubst %.c,$(BUILD)/%_plain,$(VARIED))
OS_TESTS   := $(patsubst %.c,$(BUILD)/%,$(OS))
C_TESTS    := $(FAKE_TESTS) $(OS_TESTS)
SCRIPTS    ?= tests/compat/compile.sh tests/compat/reading.sh tests/os/examples.sh

# `make test` builds in parallel on its own, unless make was already told how parallel to be.
JOBS = $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1))

examples: $(EXAMPLES)

all: examples $(BENCHES) ## use: the examples and benchmarks; needs only a C compiler

$(EXAMPLES): $(BUILD)/%: examples/%.c uds_echo.h Makefile
	@mkdir -p $(@D)
	$(COMPILE) -I. $< -o $@ $(LDFLAGS) $(LDLIBS)

$(BENCHES): $(BUILD)/%: bench/%.c $(HEADERS) Makefile
	@mkdir -p $(@D)
	$(COMPILE) -I. $< -o $@ $(LDFLAGS) $(LDLIBS) -lm

$(FAKE): tests/fake/fake_kernel.c $(HEADERS) Makefile
	@mkdir -p $(@D)
	$(COMPILE) -I. -Itests/fake -c $< -o $@

$(patsubst %.c,$(BUILD)/%,$(UNIT) $(FAULT)): $(BUILD)/%: %.c $(FAKE) $(HEADERS) Makefile
	@mkdir -p $(@D)
	$(COMPILE) -I. -Itests/fake $< $(FAKE) -o $@ $(LDFLAGS) $(LDLIBS) -lcmocka

$(patsubst %.c,$(BUILD)/%_poll,$(VARIED)): $(BUILD)/%_poll: %.c $(FAKE) $(HEADERS) Makefile
	@mkdir -p $(@D)
	$(COMPILE) -DUDS_ECHO_USE_POLL -I. -Itests/fake $< $(FAKE) -o $@ $(LDFLAGS) $(LDLIBS) -lcmocka

$(patsubst %.c,$(BUILD)/%_plain,$(VARIED)): $(BUILD)/%_plain: %.c $(FAKE) $(HEADERS) Makefile
	@mkdir -p $(@D)
	$(COMPILE) $(PLAIN:%=-DUDS_ECHO_HAVE_%=0) -I. -Itests/fake $< $(FAKE) -o $@ $(LDFLAGS) $(LDLIBS) -lcmocka

$(OS_TESTS): $(BUILD)/%: %.c $(HEADERS) Makefile
	@mkdir -p $(@D)
	$(COMPILE) -I. -Itests/fake $< -o $@ $(LDFLAGS) $(LDLIBS) -lcmocka

c-tests: $(C_TESTS)
fake-tests: $(FAKE_TESTS)

demo: $(BUILD)/echo_server $(BUILD)/echo_client ## use: watch a client and a server talk
	@sh examples/demo.sh $(BUILD)

# Without cmocka the C tests are named and counted as skipped; the others run all the same. Without bindfs one is.
test: examples ## test: every test; installs cmocka and bindfs if it may
	@$(if $(filter %test_guest.c,$(OS)),sh tests/tools/need.sh bindfs=bindfs || true)
	@if CC='$(CC)' sh tests/tools/need.sh cmocka; then \
	    $(MAKE) --no-print-directory $(JOBS) c-tests && \
	    CC='$(CC)' UDS_ECHO_BUILD='$(BUILD)' sh tests/tools/run.sh $(C_TESTS) $(SCRIPTS); \
	else \
	    CC='$(CC)' UDS_ECHO_BUILD='$(BUILD)' sh tests/tools/run.sh --skip '$(C_TESTS)' $(SCRIPTS); \
	fi

SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
# These read or compile the header and run nothing of it: once, in `make test`, is enough.
STATIC_SCRIPTS := tests/compat/compile.sh tests/compat/reading.sh

COMPILERS = gcc clang
sanitize: ## test: the tests under ASan and UBSan: COMPILERS="gcc clang"
	@failed=; for cc in $(COMPILERS); do \
	    if ! command -v $$cc >/dev/null; then echo "sanitize: $$cc is not installed: skipped"; continue; fi; \
	    if [ $$cc = clang ] && ! sh tests/tools/need.sh clang-rt; then failed="$$failed clang"; continue; fi; \
	    echo "sanitize: $$cc"; \
	    $(MAKE) --no-print-directory $(JOBS) test CC=$$cc BUILD=$(BUILD)/asan-$$cc CFLAGS='-O1 -g $(SANITIZE)' \
	        SCRIPTS='$(filter-out $(STATIC_SCRIPTS),$(SCRIPTS))' || failed="$$failed $$cc"; \
	done; test -z "$$failed" || { echo "sanitize: failed with$$failed"; exit 1; }

include tests/gates.mk
include fuzz/fuzz.mk
include bench/bench.mk

compile-matrix: ## other systems: every compiler, standard and configuration here
	@CC='$(CC)' sh tests/compat/compile.sh

reading: ## write: short functions, one platform section, the diagram
	@CC='$(CC)' sh tests/compat/reading.sh

C_FILES := uds_echo.h $(wildcard fuzz/*.[ch] examples/*.c bench/*.[ch] bench/*/*.c tests/*/*.[ch] tests/*/*/*.[ch])
SH_FILES := $(wildcard fuzz/*.sh examples/*.sh bench/*.sh bench/*/*.sh tests/*/*.sh tests/*/*/*.sh)
lint: ## write: scripts, C style and workflows
	@sh tests/tools/lint/lint.sh '$(BUILD)'

format: ## write: apply .clang-format to the C files
	clang-format -i $(C_FILES)

# The version is the header's. An include directory below PREFIX is written relative to it, so that an
# installed tree can be moved.
PACKAGE_VERSION = $(shell awk '/define UDS_ECHO_VERSION_/ { printf "%s%s", dot, $$3; dot = "." }' uds_echo.h)
FILL = sed -e 's|@VERSION@|$(PACKAGE_VERSION)|' -e 's|@PREFIX@|$(PREFIX)|' \
       -e 's|@INCLUDEDIR@|$(patsubst $(PREFIX)/%,$${prefix}/%,$(includedir))|'
includedir   ?= $(PREFIX)/include
pkgconfigdir ?= $(PREFIX)/share/pkgconfig
cmakedir     := $(PREFIX)/share/cmake/uds_echo
licensedir   := $(PREFIX)/share/licenses/uds_echo
INSTALLED    := $(includedir)/uds_echo.h $(pkgconfigdir)/uds_echo.pc $(cmakedir)/uds_echo-config.cmake \
                $(cmakedir)/uds_echo-config-version.cmake $(licensedir)/LICENSE

install: ## use: the header, its CMake and pkg-config packages: PREFIX=
	install -d $(patsubst %,'$(DESTDIR)%',$(sort $(dir $(INSTALLED))))
	install -m 644 uds_echo.h '$(DESTDIR)$(includedir)'
	install -m 644 LICENSE '$(DESTDIR)$(licensedir)'
	$(FILL) packaging/uds_echo.pc.in >'$(DESTDIR)$(pkgconfigdir)/uds_echo.pc'
	$(FILL) packaging/uds_echo-config.cmake.in >'$(DESTDIR)$(cmakedir)/uds_echo-config.cmake'
	$(FILL) packaging/uds_echo-config-version.cmake.in >'$(DESTDIR)$(cmakedir)/uds_echo-config-version.cmake'
	chmod 644 $(patsubst %,'$(DESTDIR)%',$(INSTALLED))

uninstall: ## use: remove them again: the same PREFIX=
	rm -f $(patsubst %,'$(DESTDIR)%',$(INSTALLED))
	rmdir '$(DESTDIR)$(cmakedir)' '$(DESTDIR)$(licensedir)' 2>/dev/null || true

clean: ## use: remove the build directory
	rm -rf '$(BUILD)'

# A target's text is `## GROUP: what it is`.
GROUPS := use|test|fuzz|write|memory, numbers, threads|other systems|check the checks|speed
help: ## use: this list
	@awk -v groups='$(GROUPS)' '/^[a-z-]+:.* ## / { \
	        target = $$0; sub(/:.*/, "", target); text = $$0; sub(/^.* ## /, "", text); \
	        group = text; sub(/: .*/, "", group); sub(/^[^:]*: /, "", text); \
	        lines[group] = lines[group] sprintf("  make %-15s %s\n", target, text) } \
	    END { n = split(groups, name, "|"); \
	        for (i = 1; i <= n; i++) { printf "%s\n%s", name[i], lines[name[i]]; delete lines[name[i]] } \
	        for (group in lines) { print "help: no such group: " group; exit 1 } }' $(MAKEFILE_LIST)
	@echo "Variables: CC CFLAGS LDFLAGS BUILD WERROR NO_INSTALL"
	@echo "To install: PREFIX DESTDIR includedir pkgconfigdir"

.PHONY: all examples c-tests fake-tests demo test sanitize compile-matrix reading lint format install uninstall clean help
.DELETE_ON_ERROR:
