# How fast, and how large. Included by the Makefile.
bench: all peer-servers ## speed: beside floors and other servers: docs/plots (10 min)
	@CC='$(CC)' sh bench/bench.sh $(BUILD)

bench-check: all ## speed: speed beside epoll and libuv; instructions
	@CC='$(CC)' sh bench/peers/build.sh $(BUILD) libuv_expert
	@sh bench/check.sh $(BUILD)

peer-servers: ## speed: other people's echo servers
	@CC='$(CC)' sh bench/peers/build.sh $(BUILD)

size: ## speed: code size and compile time, against limits
	@sh bench/size.sh $(BUILD)

.PHONY: bench bench-check peer-servers size
