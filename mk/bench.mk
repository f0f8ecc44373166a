# Measurements and the demo.

.PHONY: run-demo demo bench run-bench count count-update
FEED ?=
# BYPASS=1: through DPDK (memif, a port for each client); UDP=1: in packets over kernel UDP.
BYPASS ?=
UDP    ?=
DEMO_TRANSPORT := $(if $(BYPASS),bypass,$(if $(UDP),udp,tcp))
run-demo: $(BINS) $(LIBS)
	$(BUILD)/bin/leat-demo --leatd $(BUILD)/bin/leatd --transport $(DEMO_TRANSPORT) $(if $(FEED),--feed $(FEED))
demo: deps ## a feed through a real broker, checked; FEED=file, UDP=1, BYPASS=1
	@$(MAKE) --no-print-directory -j$(JOBS) $(BINS) $(LIBS)
	@$(MAKE) --no-print-directory run-demo

bench: deps ## ratios to yardsticks, build/bench/results.json
	@$(MAKE) --no-print-directory -j$(JOBS) $(BINS) $(BENCHES) $(YARDSTICKS) $(HELPERS) $(LIBS)
	@$(MAKE) --no-print-directory run-bench
# Instructions, not time: the same on a busy machine.
COUNTED := $(BUILD)/bench/bench_path $(BUILD)/bench/bench_append
count: deps ## instructions of a record's way, beside those in bench/counts.txt
	@$(MAKE) --no-print-directory -j$(JOBS) $(COUNTED)
	@bench/count.sh $(BUILD)/bench || { code=$$?; [ $$code = 77 ] && echo "SKIPPED: make count"; exit $$code; }
count-update: deps ## writes them there
	@$(MAKE) --no-print-directory -j$(JOBS) $(COUNTED)
	@bench/count.sh $(BUILD)/bench --update
run-bench: $(BINS) $(BENCHES)
	@mkdir -p $(BUILD_ROOT)/bench
	$(RUN_ENV) BENCH_DIR=$(BUILD)/bench bench/run.sh $(BUILD_ROOT)/bench/results.json
