# How fast, and how large. Included by the Makefile.
bench: all peer-servers ## measure beside floors and other people's servers: prints the table of goals, draws docs/plots (ten minutes)
	@CC='$(CC)' sh bench/bench.sh $(BUILD)

bench-check: all ## compare the speed with hand-written servers and libuv, count instructions; fails where it fell behind
	@CC='$(CC)' sh bench/peers/build.sh $(BUILD) libuv_expert
	@sh bench/check.sh $(BUILD)

peer-servers: ## build other people's echo servers, to compare with; installs what they need where it may (NO_INSTALL=1: not)
	@CC='$(CC)' sh bench/peers/build.sh $(BUILD)

size: ## the size of the implementation's code and what a compile takes; fails over the limits
	@sh bench/size.sh $(BUILD)

.PHONY: bench bench-check peer-servers size
