# Links and runs tests and benchmarks.

.PHONY: build-tests run-tests test run-groups-chaos test-groups-chaos run-sim sim
build-tests: all $(TESTS) $(RACES) $(BUILD)/tests/simulation $(HELPERS) $(PRELOADS) $(YARDSTICKS)

$(foreach t,$(UNIT_C) $(PROCESS_C),$(eval $(call test_programs,$t): $(BUILD)/$(t:.c=.o)))
$(TESTS): $(SUPPORT) $(ARCHIVES)
	$(call say,LINK,$@)$(CC) $(LTO_NONE) $(LINK) $(LDFLAGS) $(filter %.o,$^) $(ALL_ARCHIVES) -o $@ $(call libs,tests) -lpthread -lm
$(BUILD)/tests/race_%: $(BUILD)/tests/race/race_%.o $(ARCHIVES)
	$(call say,LINK,$@)$(CC) $(LTO_NONE) $(LINK) $(LDFLAGS) $< $(ALL_ARCHIVES) -o $@ $(call libs,broker schema) -lpthread -lm
# Like programs, they load the driver through link_load.c.
$(BUILD)/tests/link_%: $(BUILD)/tests/programs/link_%.o $(call archive,transport) $(call archive,schema)
	$(call say,LINK,$@)$(CC) $(OPT) $(LTO) $(LINK) $(LDFLAGS) $^ -o $@ $(MORE_LIBS) -lpthread
$(BUILD)/tests/link_external: MORE_LIBS = $(DPDK_LIBS)
$(BUILD)/tests/simulation: $(SIM_O) $(ARCHIVES)
	$(call say,LINK,$@)$(CC) $(LTO_NONE) $(LINK) $(LDFLAGS) $(SIM_O) $(ALL_ARCHIVES) -o $@ $(call libs,tests) -lpthread -lm
# Preloaded into ordinary programs before libc, so built without sanitizers.
$(BUILD)/tests/preload_%.so: tests/programs/preload_%.c
	@mkdir -p $(@D)
	$(call say,LINK,$@)$(CC) -shared $(CSTD) $(WARN) -O2 -g -fPIC -fvisibility=hidden $< -o $@
$(BUILD)/bench/dpdk_%: $(BUILD)/bench/dpdk_%.o $(BUILD)/transport/eal.o
	$(call say,LINK,$@)$(CC) $(OPT) $(LTO) $(LINK) $(LDFLAGS) $^ -o $@ $(DPDK_LIBS) -lpthread
# Linked with libleat, as an application is.
$(BUILD)/tests/group_%: $(BUILD)/tests/programs/group_%.o $(BUILD)/lib/libleat.a
	$(call say,LINK,$@)$(CC) $(OPT) $(LTO) $(LINK) $(LDFLAGS) $^ -o $@ $(call libs,client) -lpthread -lm
$(BUILD)/bench/%: $(BUILD)/bench/%.o $(SUPPORT) $(ARCHIVES)
	$(call say,LINK,$@)$(CC) $(OPT) $(LTO) $(LINK) $(LDFLAGS) $< $(SUPPORT) $(ALL_ARCHIVES) -o $@ $(call libs,bench) -lpthread -lm

# Where tests find the programs; a sanitizer build sets its own paths.
RUN_ENV = LINK_ECHO=$(BUILD)/tests/link_echo LINK_EXTERNAL=$(BUILD)/tests/link_external LINK_MEMIF_CONNECT=$(BUILD)/tests/link_memif_connect \
          LINK_HOSTILE=$(BUILD)/tests/link_hostile LINK_WITHOUT=$(BUILD)/tests/link_without \
          PRELOAD_CLOCK=$(BUILD)/tests/preload_clock.so GROUP_MEMBER=$(BUILD)/tests/group_member GROUP_FEED=$(BUILD)/tests/group_feed \
          LEATD=$(BUILD)/bin/leatd LEAT=$(BUILD)/bin/leat LEAT_DEMO=$(BUILD)/bin/leat-demo \
          EXAMPLES=$(BUILD)/client/examples TALLY=$(BUILD_ROOT)/tally \
          LSAN_OPTIONS=suppressions=tests/lsan.supp:print_suppressions=0
# An empty NETS= skips the scripts.
run-tests: build-tests
	@$(RUN_ENV) tests/run.sh $(TESTS) $(RACES) $(NETS)
test: deps ## all tests
	@$(MAKE) --no-print-directory -j$(JOBS) build-tests
	@$(MAKE) --no-print-directory run-tests

# `make test` runs these for ten seconds. bash uses the name SECONDS itself, so the scripts get another name.
run-groups-chaos: build-tests
	@$(RUN_ENV) CHAOS_SECONDS=$(SECONDS) tests/run.sh $(wildcard tests/net/net_groups*.sh)
test-groups-chaos: deps ## kills and stops group members at random, over TCP and memif; SECONDS=60 each
	@$(MAKE) --no-print-directory -j$(JOBS) build-tests
	@$(MAKE) --no-print-directory run-groups-chaos

# Runs SEEDS=N seeds, starting at FROM.
SEEDS ?= 2000
FROM  ?= 1
sim: deps ## simulation: real brokers and clients, seeded faults; SEEDS=2000 FROM=1
	@$(MAKE) --no-print-directory -j$(JOBS) $(BUILD)/tests/simulation
	@$(MAKE) --no-print-directory run-sim
run-sim: $(BUILD)/tests/simulation
	@tests/sim/run.sh $(BUILD)/tests/simulation $(SEEDS) $(FROM)
