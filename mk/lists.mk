# Lists of rooms, programs and tests, made from the folders; `make check-lists` compares tests/ with them.

# Rooms, lowest first. There is one archive per room, so that a test links only the modules it uses, and two
# rooms may have files of the same name.
sources = $(filter-out %_main.c %/main.c $(DPDK_C),$(wildcard $1/*.c))
objects = $(patsubst %.c,$(BUILD)/%.o,$(call sources,$1))
archive = $(BUILD)/room-$(subst /,-,$1).a
BROKER   := broker $(addprefix broker/,log shared group shard state config control)
HOUSE    := schema transport ops client client/cli $(BROKER)
ROOMS    := $(HOUSE) bench/common bench/demo

ARCHIVES := $(foreach r,$(ROOMS),$(if $(wildcard $r/*.c),$(call archive,$r)))
ALL_ARCHIVES = -Wl,--start-group $(ARCHIVES) -Wl,--end-group

BENCHES    := $(patsubst %.c,$(BUILD)/%,$(filter-out bench/dpdk_%,$(wildcard bench/*.c)))
YARDSTICKS := $(patsubst %.c,$(BUILD)/%,$(wildcard bench/dpdk_*.c))
EXAMPLES   := $(patsubst %.c,$(BUILD)/%,$(wildcard client/examples/*.c))
BINS       := $(BUILD)/bin/leatd $(BUILD)/bin/leat $(BUILD)/bin/leat-demo
# DPDK is not instrumented for ThreadSanitizer, which would report false races in it.
LIBS       := $(BUILD)/lib/libleat.a $(BUILD)/lib/libleat.so $(if $(filter thread,$(SAN)),,$(BUILD)/lib/libleat-dpdk.so)

# All test programs are built into $(BUILD)/tests, regardless of the folder of their source.
test_programs = $(patsubst %,$(BUILD)/tests/%,$(basename $(notdir $1)))
UNIT_C    := $(sort $(wildcard tests/unit/*/test_*.c tests/unit/*/*/test_*.c))
PROCESS_C := $(sort $(wildcard tests/process/test_*.c))
RACE_C    := $(sort $(wildcard tests/race/race_*.c))
FUZZ_C    := $(sort $(wildcard tests/fuzz/fuzz_*.c))
PROGRAM_C := $(sort $(wildcard tests/programs/link_*.c tests/programs/group_*.c))
PRELOAD_C := $(sort $(wildcard tests/programs/preload_*.c))
SUPPORT_C := $(sort $(wildcard tests/support/*.c))
SIM_C     := $(sort $(wildcard tests/sim/*.c))
NETS      := $(sort $(wildcard tests/net/net_*.sh))
TESTS     := $(call test_programs,$(UNIT_C) $(PROCESS_C))
SUPPORT   := $(patsubst %.c,$(BUILD)/%.o,$(SUPPORT_C) tests/sim/fabric.c tests/sim/broker.c)
SIM_O     := $(SIM_C:%.c=$(BUILD)/%.o)
RACES     := $(call test_programs,$(RACE_C))
FUZZERS   := $(FUZZ_C:tests/fuzz/fuzz_%.c=%)
HELPERS   := $(call test_programs,$(PROGRAM_C))
PRELOADS  := $(addsuffix .so,$(call test_programs,$(PRELOAD_C)))

# All C files of the project, for the checks.
EVERY_C := $(wildcard $(addsuffix /*.[ch],$(ROOMS) client/examples $(addprefix tests,/* /*/* /*/*/*) bench))

# TSan runs race/, process/ and net/, except the tests in tests/checks/tsan_excluded.txt, each with its reason.
TSAN_EXCLUDED := $(shell sed -n 's/^\([a-z][a-z0-9_]*\)\t.*/\1/p' tests/checks/tsan_excluded.txt)
TSAN_C    := $(filter-out $(TSAN_EXCLUDED:%=tests/process/%.c),$(PROCESS_C))
TSAN_NETS := $(filter-out $(TSAN_EXCLUDED:%=tests/net/%.sh),$(NETS))
