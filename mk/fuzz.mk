# Fuzzes every decoder, starting from the corpus.

.PHONY: fuzzers fuzz check-corpus
SECONDS ?= 60
T       ?= $(FUZZERS)
$(BUILD)/tests/fuzz_%: $(BUILD)/tests/fuzz/fuzz_%.o $(ARCHIVES)
	$(call say,LINK,$@)$(CC) -fsanitize=fuzzer,address,undefined $< $(ALL_ARCHIVES) -o $@ $(call libs,broker schema)
fuzzers: $(foreach t,$(T),$(BUILD)/tests/fuzz_$t)
MAKE_FUZZ = $(MAKE) --no-print-directory -j$(JOBS) CC=clang VARIANT=fuzz SAN=fuzzer-no-link,address,undefined fuzzers
fuzz: deps ## fuzzes every decoder; SECONDS=60 T=frame
	@$(MAKE_FUZZ) T="$(T)"
	@for t in $(T); do mkdir -p $(BUILD_ROOT)/fuzz/found/$$t; \
	  echo "== fuzz_$$t"; $(BUILD_ROOT)/fuzz/tests/fuzz_$$t -max_total_time=$(SECONDS) -timeout=10 -print_final_stats=0 -verbosity=0 \
	  -artifact_prefix=$(BUILD_ROOT)/fuzz/ $(BUILD_ROOT)/fuzz/found/$$t tests/fuzz/corpus/$$t || exit 1; done
check-corpus:
	@$(MAKE_FUZZ)
	@for t in $(FUZZERS); do $(BUILD_ROOT)/fuzz/tests/fuzz_$$t -runs=0 -verbosity=0 tests/fuzz/corpus/$$t || exit 1; done
