# Static checks: format, style, layers, exports, README, analysis.

.PHONY: check check-format check-style check-lists check-layers check-links check-readme check-tidy check-long check-long-sim check-long-chaos
# Each check adds one line to the tally, even if another fails.
check: deps ## format, style, lists, layers, analysis, sanitizers, the other compiler
	@TALLY=$(BUILD_ROOT)/tally tests/checks/check.sh format style lists layers links readme tidy clang san sim race tsan corpus

check-format:
	clang-format --dry-run --Werror $(EVERY_C)
	@! grep -nE '^(<<<<<<<|>>>>>>>) ' $(EVERY_C) Makefile mk/* *.md */*.md ops/man/* schema/* tests/*.sh tests/*/*.sh \
	  || { echo 'marks of a merge'; exit 1; }

# Functions of at most 70 lines, files of at most 600, an opening comment in each .c file, no retired words.
STYLED = $(EVERY_C) $(wildcard tests/*.sh tests/*/*.sh tests/*/*.py mk/*.sh bench/*.sh) .ci/run Makefile $(wildcard mk/*.mk)
check-style:
	@tests/checks/check_style.py $(STYLED)

# Each file of tests/ has a unique name and is in exactly one list of lists.mk; no test is left out of a sanitizer
# without a reason.
check-lists:
	@tests/checks/check_lists.py --rooms $(HOUSE) --unit $(UNIT_C) --process $(PROCESS_C) --race $(RACE_C) --fuzz $(FUZZ_C) \
	  --program $(PROGRAM_C) --preload $(PRELOAD_C) --support $(SUPPORT_C) --sim $(SIM_C) --net $(NETS)

# Which folder may include which. Any other include is an error.
ALLOW_schema     := schema
ALLOW_transport  := schema transport
ALLOW_ops        := schema ops
ALLOW_client     := schema transport client
ALLOW_client/cli := schema client ops
ALLOW_broker     := schema transport ops $(BROKER)
# The rooms of broker/, lowest first: log/ includes only schema/; shard/ does not include control/.
ALLOW_broker/log     := schema ops broker/log
ALLOW_broker/shared  := schema ops broker/log broker/shared
ALLOW_broker/group   := schema transport ops broker/group
ALLOW_broker/shard   := schema transport ops broker/log broker/shared broker/shard
ALLOW_broker/state   := schema ops broker/shared broker/state
ALLOW_broker/config  := schema transport ops broker/log broker/shared broker/shard broker/config
ALLOW_broker/control := schema transport ops $(filter-out broker,$(BROKER))
check-layers:
	@$(foreach d,$(HOUSE),! grep -snE '^ *# *include "' $d/*.[ch] /dev/null \
	  | grep -vE '"($(subst $() ,|,$(strip $(ALLOW_$d))))/' || { echo '$d: forbidden include'; exit 1; };)
	@! grep -lE '^ *# *include <rte_' $(filter-out transport/link_dpdk% transport/eal% transport/inject% bench/dpdk_% tests/programs/link_external%,$(EVERY_C)) \
	  || { echo 'DPDK leaks out of its link'; exit 1; }
	@! grep -lE '^ *# *include <urcu' $(filter-out broker/% tests/% bench/%,$(EVERY_C)) || { echo 'RCU leaks'; exit 1; }
	@! grep -lE '^ *# *include <microhttpd' $(filter-out ops/%,$(EVERY_C)) || { echo 'HTTP leaks'; exit 1; }
	@! grep -nE '"(tests|bench)/' $(filter-out tests/% bench/%,$(EVERY_C)) || { echo 'tests leak'; exit 1; }

# The shared library exports only the documented functions.
check-links: $(LIBS) $(BINS) $(EXAMPLES)
	@! nm -D --defined-only $(BUILD)/lib/libleat.so | grep -vE ' (A|T) (leat_[a-z_]+|LEAT_[0-9.]+)(@@.*)?$$' \
	  || { echo 'libleat.so exports more than leat.h says'; exit 1; }
	@for f in $$(sed -n 's/^LEAT_API .*[ *]\(leat_[a-z_]*\)(.*/\1/p' client/leat.h client/leat_admin.h); do \
	  nm -D --defined-only $(BUILD)/lib/libleat.so | grep -q " $$f@@" || { echo "$$f is not exported"; exit 1; }; done
	@! ldd $(BUILD)/lib/libleat.so | grep -E 'rte_|urcu|jansson|microhttpd' || { echo 'libleat links too much'; exit 1; }
	@! ldd $(BINS) | grep rte_ || { echo 'a program links DPDK'; exit 1; }
	@test "$$(nm -D --defined-only $(BUILD)/lib/libleat-dpdk.so | sed 's/.* //')" = leat_dpdk_driver \
	  || { echo 'libleat-dpdk.so exports more than its driver'; exit 1; }

# The programs in README.md are the examples that are compiled, and README.md has at most 150 lines.
check-readme:
	@python3 -c 'import re,sys; r=open("README.md").read(); names=["hello_publish.c","hello_subscribe.c"]; \
	  shown=re.findall("```c\n(.*?)```",r,re.S); meant=[open("client/examples/"+n).read() for n in names]; \
	  sys.exit(shown!=meant and f"README.md does not show {names} as they are" or len(r.splitlines())>150 and "README.md has more than 150 lines" or 0)'

check-tidy: $(GEN)/schema/control.pb-c.h
	printf '%s\n' $(filter %.c,$(filter-out tests/% bench/% client/examples/% $(DPDK_C),$(EVERY_C))) \
	  | xargs -P 2 -n 1 sh -c 'clang-tidy --quiet "$$@" -- $(CSTD) 2>/dev/null' --
	printf '%s\n' $(DPDK_C) | xargs -P 2 -n 1 sh -c 'clang-tidy --quiet "$$@" -- $(CSTD) $(DPDK_CFLAGS) 2>/dev/null' --

# Too long for CI; run it before an issue is closed.
check-long: deps ## the simulation with 100,000 seeds, then test-groups-chaos
	@TALLY=$(BUILD_ROOT)/tally-long tests/checks/check.sh long-sim long-chaos
check-long-sim:
	$(MAKE) --no-print-directory -j$(JOBS) $(BUILD)/tests/simulation
	$(MAKE) --no-print-directory SEEDS=100000 FROM=1 run-sim
check-long-chaos:
	$(MAKE) --no-print-directory SECONDS=60 run-groups-chaos
