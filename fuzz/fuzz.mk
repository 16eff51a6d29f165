# The fuzz targets; see fuzz/README.md. Included by the Makefile.
# Every fuzz/fuzz_NAME.c is built for an engine by flags alone, and with fuzz/replay.c by any compiler. poller_poll is poller
# over the other backend; pollers_agree is its own other half. The fake kernel is not what is explored: without counters of
# its own it is several times as fast.
FUZZERS    := $(patsubst fuzz/fuzz_%.c,%,$(wildcard fuzz/fuzz_*.c)) poller_poll
# SHARD=0 to 3: every fourth of them.
FUZZ       ?= $(if $(SHARD),$(shell echo $(FUZZERS) | tr ' ' '\n' | awk 'NR % 4 == $(SHARD)'),$(FUZZERS))
FUZZ_CC    ?= clang
FUZZ_FLAGS := $(STD) -O2 -g -fsanitize=address,undefined -fno-sanitize-recover=all -I. -Itests/fake $(CPPFLAGS)
# What warnings somebody else's file may have is not for us to say.
HANDLER_FLAGS = $(if $(HANDLER),-w -DFUZZ_HANDLER='"$(abspath $(HANDLER))"' $(if $(DESCRIBE),-DFUZZ_DESCRIBE='$(DESCRIBE)') \
                -DFUZZ_SETTLE='$(SETTLE)')
# Text is explored by what it is compared with. Elsewhere an input is a list of actions: comparisons teach the engine nothing
# there, and watching them takes a third of the time.
FUZZ_TEXT   := address frame handler
# FUZZ_ENGINE is another engine than clang's own, as an argument of the linker FUZZ_LINK; what has to be compiled for it is then
# in FUZZ_FLAGS. That is how OSS-Fuzz has it.
fuzz_engine = $(if $(FUZZ_ENGINE),,-fsanitize=$2) $(if $(filter $1,$(FUZZ_TEXT)),,-fno-sanitize-coverage=trace-cmp)
FUZZ_HEADERS := $(HEADERS) $(wildcard fuzz/*.h)

# What a target needs besides its own file: $(call fuzz_parts,NAME,SUFFIX), $(call fuzz_source,NAME).
fuzz_source = fuzz/fuzz_$(1:poller_poll=poller).c $(if $(filter poller_poll,$1),-DUDS_ECHO_USE_POLL) \
              $(if $(filter handler,$1),$(HANDLER_FLAGS))
fuzz_parts  = $(BUILD)/fuzz/fake_kernel.$2 $(if $(filter pollers_agree,$1),$(BUILD)/fuzz/other_half.$2)
# Which handler was compiled in the last time, no date tells.
fuzz_anew   = $(if $(filter handler,$1),fuzz-always)
fuzz_cc     = $(if $(filter replay,$1),$(COMPILE) -I. -Itests/fake,$(if $(filter afl,$1),AFL_QUIET=1 AFL_USE_ASAN=1 \
              afl-clang-fast,$(FUZZ_CC)) $(FUZZ_FLAGS))

$(BUILD)/fuzz/fake_kernel.replay: tests/fake/fake_kernel.c $(HEADERS) Makefile fuzz/fuzz.mk
	@mkdir -p $(@D)
	$(call fuzz_cc,replay) -c $< -o $@

$(BUILD)/fuzz/fake_kernel.engine $(BUILD)/fuzz/fake_kernel.afl: tests/fake/fake_kernel.c $(HEADERS) Makefile fuzz/fuzz.mk
	@mkdir -p $(@D)
	$(FUZZ_CC) $(FUZZ_FLAGS) $(if $(FUZZ_ENGINE),-fno-sanitize=fuzzer-no-link) -c $< -o $@

$(BUILD)/fuzz/other_half.engine $(BUILD)/fuzz/other_half.afl $(BUILD)/fuzz/other_half.replay: $(BUILD)/fuzz/other_half.%: \
        fuzz/fuzz_pollers_agree.c $(FUZZ_HEADERS) Makefile fuzz/fuzz.mk
	@mkdir -p $(@D)
	$(call fuzz_cc,$*) $(if $(filter engine,$*),$(call fuzz_engine,pollers_agree,fuzzer-no-link)) -DUDS_ECHO_USE_POLL -c $< -o $@

.SECONDEXPANSION:
$(FUZZERS:%=$(BUILD)/fuzz/%): $(BUILD)/fuzz/%: fuzz/fuzz_$$(patsubst poller_poll,poller,$$*).c \
        $$(call fuzz_parts,$$*,engine) $(FUZZ_HEADERS) $$(call fuzz_anew,$$*) Makefile fuzz/fuzz.mk
ifeq ($(FUZZ_ENGINE),)
	$(call fuzz_cc,engine) $(call fuzz_engine,$*,fuzzer) $(call fuzz_source,$*) $(call fuzz_parts,$*,engine) -o $@
else
	$(call fuzz_cc,engine) $(call fuzz_engine,$*) $(call fuzz_source,$*) -c -o $@.o
	$(FUZZ_LINK) $@.o $(call fuzz_parts,$*,engine) $(FUZZ_ENGINE) -o $@
endif

$(FUZZERS:%=$(BUILD)/fuzz/%.afl): $(BUILD)/fuzz/%.afl: fuzz/fuzz_$$(patsubst poller_poll,poller,$$*).c \
        $$(call fuzz_parts,$$*,afl) $(FUZZ_HEADERS) $$(call fuzz_anew,$$*) Makefile fuzz/fuzz.mk
	$(call fuzz_cc,afl) -fsanitize=fuzzer $(call fuzz_source,$*) $(call fuzz_parts,$*,afl) -o $@

$(FUZZERS:%=$(BUILD)/fuzz/%.replay): $(BUILD)/fuzz/%.replay: fuzz/fuzz_$$(patsubst poller_poll,poller,$$*).c fuzz/replay.c \
        $$(call fuzz_parts,$$*,replay) $(FUZZ_HEADERS) $$(call fuzz_anew,$$*) Makefile fuzz/fuzz.mk
	$(call fuzz_cc,replay) $(call fuzz_source,$*) fuzz/replay.c $(call fuzz_parts,$*,replay) -o $@ $(LDFLAGS)

$(BUILD)/fuzz/seeds: fuzz/seeds.sh
	@mkdir -p $@ && sh fuzz/seeds.sh $@ && touch $@

# What is committed as a line each in corpus/NAME.hex and crashes/NAME.hex, as a file each in $(BUILD)/fuzz/kept/NAME and
# $(BUILD)/fuzz/crashes/NAME. The tool for that runs here, whatever the targets are compiled for.
HOSTCC ?= cc
$(BUILD)/hex: fuzz/hex.c
	@mkdir -p $(@D)
	$(HOSTCC) $(STD) $(WARN) $(WERROR) -O1 $< -o $@

$(BUILD)/fuzz/kept/%: fuzz/corpus/%.hex $(BUILD)/hex
	@rm -rf $@ && mkdir -p $(@D) && { $(BUILD)/hex unpack $@ $< || { rm -rf $@ && false; }; }

$(BUILD)/fuzz/crashes/%: fuzz/crashes/%.hex $(BUILD)/hex
	@rm -rf $@ && mkdir -p $(@D) && { $(BUILD)/hex unpack $@ $< || { rm -rf $@ && false; }; }

fuzz-inputs: $(patsubst fuzz/corpus/%.hex,$(BUILD)/fuzz/kept/%,$(wildcard fuzz/corpus/*.hex)) \
             $(patsubst fuzz/crashes/%.hex,$(BUILD)/fuzz/crashes/%,$(wildcard fuzz/crashes/*.hex))

# How fast the machine is; see run.sh.
$(BUILD)/fuzz/yardstick: fuzz/yardstick.c Makefile fuzz/fuzz.mk
	@mkdir -p $(@D)
	$(FUZZ_CC) $(FUZZ_FLAGS) -fsanitize=fuzzer -fno-sanitize-coverage=trace-cmp $< -o $@

fuzz-engines: $(FUZZ:%=$(BUILD)/fuzz/%) $(BUILD)/fuzz/seeds fuzz-inputs
fuzz-afl-engines: $(FUZZ:%=$(BUILD)/fuzz/%.afl) $(BUILD)/fuzz/seeds fuzz-inputs
fuzz-replays: $(FUZZ:%=$(BUILD)/fuzz/%.replay) fuzz-inputs
fuzz-always:

# The engines need clang; replaying what they found does not.
export DICT MAX_LEN
FUZZ_RUN = $(MAKE) --no-print-directory -s $(JOBS) $1 && sh fuzz/run.sh $2 '$(BUILD)' $(FUZZ)

fuzz: ## fuzz: libFuzzer: FUZZ='conn server' SECONDS=60 HANDLER=x.c
	@sh tests/tools/need.sh fuzzer
	@echo "targets: $(FUZZERS)"
	@SECONDS_EACH='$(or $(SECONDS),60)'; export SECONDS_EACH; $(call FUZZ_RUN,fuzz-engines,fuzz)

fuzz-smoke: ## fuzz: each target for FUZZ_SECONDS=60, a line each
	@sh tests/tools/need.sh fuzzer
	@$(call FUZZ_RUN,fuzz-engines $(BUILD)/fuzz/yardstick,smoke)

fuzz-afl: ## fuzz: each target under AFL++ for AFL_SECONDS=60
	@sh tests/tools/need.sh afl
	@$(call FUZZ_RUN,fuzz-afl-engines,afl)

fuzz-replay: ## fuzz: all committed inputs, any C compiler; HASH=1
	@$(call FUZZ_RUN,fuzz-replays,replay)

fuzz-merge: ## fuzz: what was found into fuzz/corpus, minimised
	@sh tests/tools/need.sh fuzzer
	@$(call FUZZ_RUN,fuzz-engines,merge)

.PHONY: fuzz-inputs fuzz-engines fuzz-afl-engines fuzz-replays fuzz-always fuzz fuzz-smoke fuzz-afl fuzz-replay fuzz-merge
