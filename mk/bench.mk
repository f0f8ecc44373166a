# Benchmarks and the demo.

.PHONY: run-demo demo bench run-bench count count-update
FEED ?=
# BYPASS=1: over DPDK (memif, one port per client); UDP=1: over kernel UDP.
BYPASS ?=
UDP    ?=
DEMO_TRANSPORT := $(if $(BYPASS),bypass,$(if $(UDP),udp,tcp))
run-demo: $(BINS) $(LIBS)
	$(BUILD)/bin/leat-demo --leatd $(BUILD)/bin/leatd --transport $(DEMO_TRANSPORT) $(if $(FEED),--feed $(FEED))
demo: deps ## a feed through a real broker, checked; FEED=file, UDP=1, BYPASS=1
	@$(MAKE) --no-print-directory -j$(JOBS) $(BINS) $(LIBS)
	@$(MAKE) --no-print-directory run-demo

bench: deps ## all benchmarks, as ratios to yardsticks; writes build/bench/results.json
	@$(MAKE) --no-print-directory -j$(JOBS) $(BINS) $(BENCHES) $(YARDSTICKS) $(HELPERS) $(LIBS)
	@$(MAKE) --no-print-directory run-bench
# Counts instructions instead of time, so that a busy machine gives the same result.
COUNTED := $(BUILD)/bench/bench_path $(BUILD)/bench/bench_append
count: deps ## instructions per record, compared with bench/counts.txt
	@$(MAKE) --no-print-directory -j$(JOBS) $(COUNTED)
	@bench/count.sh $(BUILD)/bench || { code=$$?; [ $$code = 77 ] && echo "SKIPPED: make count"; exit $$code; }
count-update: deps ## stores the counts in bench/counts.txt
	@$(MAKE) --no-print-directory -j$(JOBS) $(COUNTED)
	@bench/count.sh $(BUILD)/bench --update
run-bench: $(BINS) $(BENCHES)
	@mkdir -p $(BUILD_ROOT)/bench
	$(RUN_ENV) BENCH_DIR=$(BUILD)/bench bench/run.sh $(BUILD_ROOT)/bench/results.json
