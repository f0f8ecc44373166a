# Runs the tests under sanitizers and with the other compiler.

.PHONY: check-clang check-san check-sim check-race check-tsan run-races
check-clang:
	$(MAKE) --no-print-directory -j$(JOBS) CC=clang VARIANT=clang build-tests
check-san:
	$(MAKE) --no-print-directory -j$(JOBS) SAN=address,undefined build-tests
	$(MAKE) --no-print-directory SAN=address,undefined run-tests
# `make sim` runs other seeds, without sanitizers.
check-sim:
	$(MAKE) --no-print-directory -j$(JOBS) SAN=address,undefined $(BUILD_ROOT)/san/tests/simulation
	$(MAKE) --no-print-directory SAN=address,undefined SEEDS=1000 FROM=1000001 run-sim
check-race:
	$(MAKE) --no-print-directory -j$(JOBS) SAN=thread $(RACES:$(BUILD)/%=$(BUILD_ROOT)/tsan/%)
	$(MAKE) --no-print-directory SAN=thread run-races
run-races: $(RACES)
	@$(RUN_ENV) tests/run.sh $(RACES)
# Criterion cannot start under gcc's TSan: the tests are built without it, the programs that they start with it.
TSAN_GROUP := $(BUILD_ROOT)/tsan/tests/group_member $(BUILD_ROOT)/tsan/tests/group_feed
TSAN_PROGRAMS := $(patsubst $(BUILD)/%,$(BUILD_ROOT)/release/%,$(call test_programs,$(TSAN_C)))
check-tsan: $(TSAN_PROGRAMS) $(BUILD_ROOT)/release/tests/preload_clock.so
	$(MAKE) --no-print-directory -j$(JOBS) SAN=thread all $(TSAN_GROUP)
	@GROUP_MEMBER=$(BUILD_ROOT)/tsan/tests/group_member GROUP_FEED=$(BUILD_ROOT)/tsan/tests/group_feed \
	  PRELOAD_CLOCK=$(BUILD_ROOT)/release/tests/preload_clock.so LEATD=$(BUILD_ROOT)/tsan/bin/leatd LEAT=$(BUILD_ROOT)/tsan/bin/leat LEAT_DEMO=$(BUILD_ROOT)/tsan/bin/leat-demo \
	  EXAMPLES=$(BUILD_ROOT)/tsan/client/examples TALLY=$(BUILD_ROOT)/tally TSAN_OPTIONS=halt_on_error=1:exitcode=66 \
	  tests/run.sh --label tsan $(TSAN_PROGRAMS) $(TSAN_NETS)
