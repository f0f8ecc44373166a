# make              libleat, leatd, leat, leat-demo        make demo    a feed through a real broker, checked
# make test         everything that tests                 make check   format, layers, analysis, sanitizers
# make fuzz         every decoder; SECONDS=60 T=frame     make bench   ratios to yardsticks, build/bench/results.json
# make sim          real brokers and clients over wires that a seed breaks; SEEDS=2000 FROM=1
# make check-long   100,000 seeds of the simulation and the groups' minute: what takes longer than CI has
# make test-groups-chaos   group members that die and hang at random, over TCP and memif; SECONDS=60 each
# make count        instructions of a record's way, beside those in bench/counts.txt; count-update writes them
# make coverage     lines covered, per folder             make install DESTDIR= PREFIX=/usr/local
# make deps         installs what build, demo and test need (Debian packages); deps-ci what checks need beside it
#
# A build lives in $(BUILD_ROOT)/$(VARIANT): release by default, san with SAN=address,undefined, tsan with
# SAN=thread, fuzz, coverage; or name one (make CC=clang VARIANT=clang). `make test` and `make demo` do
# their own set-up, packages included.

CC         := $(if $(filter default,$(origin CC)),gcc,$(CC))
SAN        ?=
VARIANT    ?= $(if $(SAN),$(if $(findstring thread,$(SAN)),tsan,san),release)
BUILD_ROOT ?= build
BUILD      := $(BUILD_ROOT)/$(VARIANT)
GEN        := $(BUILD_ROOT)/gen
PREFIX     ?= /usr/local
DESTDIR    ?=
VERSION    := $(shell sed -n 's/.*LEAT_VERSION "\(.*\)".*/\1/p' schema/version.h)
ABI        := $(firstword $(subst ., ,$(VERSION)))

PACKAGES := pkg-config gcc clang clang-format clang-tidy dpdk-dev liburcu-dev libprotobuf-c-dev \
            protobuf-c-compiler libjansson-dev libcriterion-dev libmicrohttpd-dev libssl-dev libpcap-dev \
            zlib1g-dev libclang-rt-14-dev llvm-14 lcov python3
CI_PACKAGES := valgrind

# make V=1 shows every command; make -j, or what there is.
ifeq ($(V),)
  say = @printf '  %-5s %s\n' $1 $2;
endif
JOBS ?= $(shell nproc 2>/dev/null || echo 1)

CSTD := -std=c17 -D_GNU_SOURCE -I. -I$(GEN)
WARN := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla -Werror
OPT  ?= $(if $(SAN),-O2 -g -fno-omit-frame-pointer,-O3 -g)
HARD := -fPIC -fvisibility=hidden -fstack-protector-strong $(if $(SAN),,-D_FORTIFY_SOURCE=2)
LINK := -Wl,-z,defs -Wl,-z,relro -Wl,-z,now -Wl,--as-needed
ifneq ($(SAN),)
  HARD += -fsanitize=$(SAN) -fno-sanitize-recover=all $(if $(findstring thread,$(SAN)),-DLEAT_TSAN)
  LINK := -fsanitize=$(SAN)
endif
CFLAGS  ?=
LDFLAGS ?=
# Programs are optimised across files; everything else links the same objects' plain code.
LTO      := $(if $(filter gcc-release,$(notdir $(CC))-$(VARIANT)),-flto=auto)
LTO_OBJ  := $(if $(LTO),-flto=auto -ffat-lto-objects)
LTO_NONE := $(if $(LTO),-fno-lto)

# A package is named once, next to the one folder that may see its headers.
PKG_schema     := libprotobuf-c
PKG_client     := libprotobuf-c
PKG_client/cli := libprotobuf-c jansson libpcap zlib
PKG_broker     := libprotobuf-c liburcu-qsbr liburcu-cds jansson libcrypto
PKG_tests      := criterion libprotobuf-c jansson zlib libpcap liburcu-qsbr liburcu-cds libcrypto
PKG_bench      := libprotobuf-c jansson zlib liburcu-qsbr liburcu-cds libcrypto
cflags = $(if $(PKG_$1),$(shell pkg-config --cflags $(PKG_$1)))
libs   = $(shell pkg-config --libs $(sort $(foreach d,$1,$(PKG_$d))))

# DPDK is seen by the files of its driver alone, which make a library of their own. As system headers,
# because they do not hold our warnings; what else they ask for (a newer dialect, -march) goes no further.
DPDK_C      := $(wildcard transport/link_dpdk*.c transport/eal*.c transport/inject*.c)
DPDK_PURE_C := transport/ether.c transport/neighbour.c transport/fault.c
DPDK_CFLAGS  = $(patsubst -I%,-isystem %,$(shell pkg-config --cflags libdpdk)) -std=gnu17 -DALLOW_EXPERIMENTAL_API
DPDK_LIBS    = $(shell pkg-config --libs libdpdk)

# Rooms, in the order in which they may know each other. Archives are per room, so that a test pulls in only
# the modules it exercises and two rooms may have a file of the same name.
sources = $(filter-out %_main.c %/main.c $(DPDK_C),$(wildcard $1/*.c))
objects = $(patsubst %.c,$(BUILD)/%.o,$(call sources,$1))
archive = $(BUILD)/room-$(subst /,-,$1).a
BROKER   := broker $(addprefix broker/,log shared group shard state config control)
HOUSE    := schema transport ops client client/cli $(BROKER)
ROOMS    := $(HOUSE) bench/common bench/demo
SUPPORT  := $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/support/*.c) tests/sim/fabric.c tests/sim/broker.c)
ARCHIVES := $(foreach r,$(ROOMS),$(if $(wildcard $r/*.c),$(call archive,$r)))
ALL_ARCHIVES = -Wl,--start-group $(ARCHIVES) -Wl,--end-group

# Programs of tests lie side by side in $(BUILD)/tests, whatever folder their source is in.
test_programs = $(patsubst %,$(BUILD)/tests/%,$(basename $(notdir $1)))
TESTS_C  := $(sort $(wildcard tests/unit/*/test_*.c tests/unit/*/*/test_*.c tests/process/test_*.c))
TESTS    := $(call test_programs,$(TESTS_C))
SIM_O    := $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/sim/*.c))
RACES    := $(call test_programs,$(wildcard tests/race/race_*.c))
FUZZERS  := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
NETS     := $(wildcard tests/net/net_*.sh)
BENCHES  := $(patsubst %.c,$(BUILD)/%,$(filter-out bench/dpdk_%,$(wildcard bench/*.c)))
YARDSTICKS := $(patsubst %.c,$(BUILD)/%,$(wildcard bench/dpdk_*.c))
EXAMPLES := $(patsubst %.c,$(BUILD)/%,$(wildcard client/examples/*.c))
BINS     := $(BUILD)/bin/leatd $(BUILD)/bin/leat $(BUILD)/bin/leat-demo
# DPDK knows nothing of ThreadSanitizer, which would take its threads for races.
LIBS     := $(BUILD)/lib/libleat.a $(BUILD)/lib/libleat.so $(if $(filter thread,$(SAN)),,$(BUILD)/lib/libleat-dpdk.so)
HELPERS  := $(call test_programs,$(wildcard tests/programs/link_*.c tests/programs/group_*.c))
PRELOADS := $(addsuffix .so,$(call test_programs,$(wildcard tests/programs/preload_*.c)))
EVERY_C  := $(wildcard $(addsuffix /*.[ch],$(ROOMS) client/examples $(addprefix tests,/* /*/* /*/*/*) bench))

.PHONY: all deps deps-ci count count-update demo test check fuzz sim bench coverage install clean run-tests run-demo run-sim fuzzers build-tests \
        run-groups-chaos test-groups-chaos check-format check-style check-layers check-tidy check-clang check-san check-sim check-race check-tsan \
        check-corpus check-links check-readme check-long check-long-sim check-long-chaos FORCE
.SECONDARY:
.DELETE_ON_ERROR:

all: $(BINS) $(LIBS) $(EXAMPLES) $(BUILD)/lib/leat.pc $(BUILD)/lib/leat-dpdk.pc
build-tests: all $(TESTS) $(RACES) $(BUILD)/tests/simulation $(HELPERS) $(PRELOADS) $(YARDSTICKS)

# ---- compiling

$(GEN)/schema/control.pb-c.h: schema/control.proto
	@mkdir -p $(GEN)
	$(call say,GEN,$@)protoc-c --c_out=$(GEN) $<
$(GEN)/schema/control.pb-c.c: $(GEN)/schema/control.pb-c.h

room_of = $(if $(filter client/cli/%,$1),client/cli,$(firstword $(subst /, ,$1)))
$(BUILD)/%.o: %.c | $(GEN)/schema/control.pb-c.h
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(CSTD) $(WARN) $(OPT) $(HARD) $(LTO_OBJ) $(call cflags,$(call room_of,$*)) $(EXTRA) $(CFLAGS) -MMD -MP -c $< -o $@
$(DPDK_C:%.c=$(BUILD)/%.o) $(YARDSTICKS:%=%.o) $(BUILD)/tests/programs/link_external.o: EXTRA = $(DPDK_CFLAGS)
$(BUILD)/gen/%.o: $(GEN)/%.c
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(CSTD) $(OPT) $(HARD) $(CFLAGS) -MMD -MP -c $< -o $@

define room_rule
$(call archive,$1): $(call objects,$1) $(if $(filter schema,$1),$(BUILD)/gen/schema/control.pb-c.o)
	@rm -f $$@
	$$(call say,AR,$$@)ar rcs $$@ $$^
endef
$(foreach r,$(ROOMS),$(eval $(call room_rule,$r)))

# ---- programs and the library

$(BUILD)/bin/leatd: $(BUILD)/broker/main.o $(foreach r,$(BROKER) transport ops schema,$(filter $(call archive,$r),$(ARCHIVES)))
	@mkdir -p $(@D)
	$(call say,LINK,$@)$(CC) $(OPT) $(LTO) $(LINK) $(LDFLAGS) $< -Wl,--start-group $(wordlist 2,99,$^) -Wl,--end-group -o $@ $(call libs,broker schema) -lpthread
$(BUILD)/bin/leat: $(BUILD)/client/cli/main.o $(foreach r,client/cli client transport ops schema,$(filter $(call archive,$r),$(ARCHIVES)))
	@mkdir -p $(@D)
	$(call say,LINK,$@)$(CC) $(OPT) $(LTO) $(LINK) $(LDFLAGS) $^ -o $@ $(call libs,client/cli client schema) -lm
$(BUILD)/bin/leat-demo: $(BUILD)/bench/demo/main.o $(foreach r,bench/demo client transport ops schema,$(filter $(call archive,$r),$(ARCHIVES)))
	@mkdir -p $(@D)
	$(call say,LINK,$@)$(CC) $(OPT) $(LTO) $(LINK) $(LDFLAGS) $^ -o $@ $(call libs,bench client schema) -lpthread -lm

LIB_OBJECTS := $(call objects,client) $(filter-out $(DPDK_PURE_C:%.c=$(BUILD)/%.o),$(call objects,transport)) $(call objects,schema) $(BUILD)/gen/schema/control.pb-c.o
# One object with every hidden symbol made local: an application's own names cannot collide.
$(BUILD)/lib/libleat.a: $(LIB_OBJECTS)
	@mkdir -p $(@D)
	@rm -f $@
	@ld -r $^ -o $(BUILD)/lib/libleat.o
	@objcopy --localize-hidden --wildcard --remove-section='.gnu.*lto*' $(BUILD)/lib/libleat.o
	$(call say,AR,$@)ar rcs $@ $(BUILD)/lib/libleat.o
$(BUILD)/lib/libleat.so: $(LIB_OBJECTS) client/leat.map
	@mkdir -p $(@D)
	$(call say,LINK,$@)$(CC) -shared $(OPT) $(LTO) $(LINK) $(LDFLAGS) -Wl,-soname,libleat.so.$(ABI) -Wl,--version-script=client/leat.map \
	    $(LIB_OBJECTS) -o $@ $(call libs,client)
	@ln -sf libleat.so $(BUILD)/lib/libleat.so.$(ABI)

# Loaded when a URL or a configuration names a bypass port (transport/link_load.c), linked by nobody.
DPDK_OBJECTS := $(patsubst %.c,$(BUILD)/%.o,$(DPDK_C) $(DPDK_PURE_C))
$(BUILD)/lib/libleat-dpdk.so: $(DPDK_OBJECTS)
	@mkdir -p $(@D)
	$(call say,LINK,$@)$(CC) -shared $(OPT) $(LTO) $(LINK) $(LDFLAGS) $^ -o $@ $(DPDK_LIBS) -lpthread

# The installed header stands alone: what it includes of ours is pasted in there.
$(BUILD_ROOT)/include/leat.h: client/leat.h client/leat_admin.h schema/codes.h schema/error.h
	@mkdir -p $(@D)
	@sed -e '/^#include "schema\/codes.h"/{r schema/codes.h' -e 'd}' \
	  -e '/^#include "schema\/error.h"/{r schema/error.h' -e 'd}' \
	  -e '/^#include "client\/leat_admin.h"/{r client/leat_admin.h' -e 'd}' client/leat.h >$@
# Always: PREFIX may be another one than last time.
$(BUILD)/lib/leat.pc: client/leat.pc.in schema/version.h FORCE
$(BUILD)/lib/leat-dpdk.pc: transport/leat-dpdk.pc.in schema/version.h FORCE
$(BUILD)/lib/%.pc:
	@mkdir -p $(@D)
	@sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' $< >$@

# Examples see the installed header and nothing else.
$(BUILD)/client/examples/%: client/examples/%.c $(BUILD_ROOT)/include/leat.h $(BUILD)/lib/libleat.so
	@mkdir -p $(@D)
	$(call say,LINK,$@)$(CC) -std=c17 $(WARN) -O2 -g $(if $(SAN),-fsanitize=$(SAN)) -I$(BUILD_ROOT)/include $< -o $@ \
	    -L$(BUILD)/lib -lleat -Wl,-rpath,$(abspath $(BUILD)/lib)

# ---- tests and benches

$(foreach t,$(TESTS_C),$(eval $(call test_programs,$t): $(BUILD)/$(t:.c=.o)))
$(TESTS): $(SUPPORT) $(ARCHIVES)
	$(call say,LINK,$@)$(CC) $(LTO_NONE) $(LINK) $(LDFLAGS) $(filter %.o,$^) $(ALL_ARCHIVES) -o $@ $(call libs,tests) -lpthread -lm
$(BUILD)/tests/race_%: $(BUILD)/tests/race/race_%.o $(ARCHIVES)
	$(call say,LINK,$@)$(CC) $(LTO_NONE) $(LINK) $(LDFLAGS) $< $(ALL_ARCHIVES) -o $@ $(call libs,broker schema) -lpthread -lm
# They ask for a driver by its seam, like a program would.
$(BUILD)/tests/link_%: $(BUILD)/tests/programs/link_%.o $(call archive,transport) $(call archive,schema)
	$(call say,LINK,$@)$(CC) $(OPT) $(LTO) $(LINK) $(LDFLAGS) $^ -o $@ $(MORE_LIBS) -lpthread
$(BUILD)/tests/link_external: MORE_LIBS = $(DPDK_LIBS)
$(BUILD)/tests/simulation: $(SIM_O) $(ARCHIVES)
	$(call say,LINK,$@)$(CC) $(LTO_NONE) $(LINK) $(LDFLAGS) $(SIM_O) $(ALL_ARCHIVES) -o $@ $(call libs,tests) -lpthread -lm
# Loaded into ordinary programs before libc, so without what sanitizers bring.
$(BUILD)/tests/preload_%.so: tests/programs/preload_%.c
	@mkdir -p $(@D)
	$(call say,LINK,$@)$(CC) -shared $(CSTD) $(WARN) -O2 -g -fPIC -fvisibility=hidden $< -o $@
$(BUILD)/bench/dpdk_%: $(BUILD)/bench/dpdk_%.o $(BUILD)/transport/eal.o
	$(call say,LINK,$@)$(CC) $(OPT) $(LTO) $(LINK) $(LDFLAGS) $^ -o $@ $(DPDK_LIBS) -lpthread
# Of libleat, as applications are.
$(BUILD)/tests/group_%: $(BUILD)/tests/programs/group_%.o $(BUILD)/lib/libleat.a
	$(call say,LINK,$@)$(CC) $(OPT) $(LTO) $(LINK) $(LDFLAGS) $^ -o $@ $(call libs,client) -lpthread -lm
$(BUILD)/bench/%: $(BUILD)/bench/%.o $(SUPPORT) $(ARCHIVES)
	$(call say,LINK,$@)$(CC) $(OPT) $(LTO) $(LINK) $(LDFLAGS) $< $(SUPPORT) $(ALL_ARCHIVES) -o $@ $(call libs,bench) -lpthread -lm

# Tests find the programs here; a sanitizer's run names its own.
RUN_ENV = LINK_ECHO=$(BUILD)/tests/link_echo LINK_EXTERNAL=$(BUILD)/tests/link_external LINK_MEMIF_CONNECT=$(BUILD)/tests/link_memif_connect LINK_HOSTILE=$(BUILD)/tests/link_hostile LINK_WITHOUT=$(BUILD)/tests/link_without \
          PRELOAD_CLOCK=$(BUILD)/tests/preload_clock.so GROUP_MEMBER=$(BUILD)/tests/group_member GROUP_FEED=$(BUILD)/tests/group_feed \
          LEATD=$(BUILD)/bin/leatd LEAT=$(BUILD)/bin/leat LEAT_DEMO=$(BUILD)/bin/leat-demo \
          EXAMPLES=$(BUILD)/client/examples TALLY=$(BUILD_ROOT)/tally \
          LSAN_OPTIONS=suppressions=tests/lsan.supp:print_suppressions=0
run-tests: build-tests
	@$(RUN_ENV) tests/run.sh $(TESTS) $(RACES) $(NETS)
test: deps
	@$(MAKE) --no-print-directory -j$(JOBS) build-tests
	@$(MAKE) --no-print-directory run-tests

# What `make test` does of it for ten seconds. SECONDS is bash's own name, so the scripts have another.
run-groups-chaos: build-tests
	@$(RUN_ENV) CHAOS_SECONDS=$(SECONDS) tests/run.sh $(wildcard tests/net/net_groups*.sh)
test-groups-chaos: deps
	@$(MAKE) --no-print-directory -j$(JOBS) build-tests
	@$(MAKE) --no-print-directory run-groups-chaos

FEED ?=
# BYPASS=1: through DPDK (memif, a port for each client); UDP=1: in packets over kernel UDP.
BYPASS ?=
UDP    ?=
DEMO_TRANSPORT := $(if $(BYPASS),bypass,$(if $(UDP),udp,tcp))
run-demo: $(BINS) $(LIBS)
	$(BUILD)/bin/leat-demo --leatd $(BUILD)/bin/leatd --transport $(DEMO_TRANSPORT) $(if $(FEED),--feed $(FEED))
demo: deps
	@$(MAKE) --no-print-directory -j$(JOBS) $(BINS) $(LIBS)
	@$(MAKE) --no-print-directory run-demo

# Real brokers and clients over wires that a seed breaks: SEEDS=N of them, from FROM on.
SEEDS ?= 2000
FROM  ?= 1
sim: deps
	@$(MAKE) --no-print-directory -j$(JOBS) $(BUILD)/tests/simulation
	@$(MAKE) --no-print-directory run-sim
run-sim: $(BUILD)/tests/simulation
	@tests/sim/run.sh $(BUILD)/tests/simulation $(SEEDS) $(FROM)

# What takes longer than CI has; run before an issue is closed.
check-long: deps
	@TALLY=$(BUILD_ROOT)/tally-long tests/checks/check.sh long-sim long-chaos
check-long-sim:
	$(MAKE) --no-print-directory -j$(JOBS) $(BUILD)/tests/simulation
	$(MAKE) --no-print-directory SEEDS=100000 FROM=1 run-sim
check-long-chaos:
	$(MAKE) --no-print-directory SECONDS=60 run-groups-chaos

bench: deps
	@$(MAKE) --no-print-directory -j$(JOBS) $(BINS) $(BENCHES) $(YARDSTICKS) $(HELPERS) $(LIBS)
	@$(MAKE) --no-print-directory run-bench
# Instructions, not time: the same on a busy machine.
COUNTED := $(BUILD)/bench/bench_path $(BUILD)/bench/bench_append
count: deps
	@$(MAKE) --no-print-directory -j$(JOBS) $(COUNTED)
	@bench/count.sh $(BUILD)/bench || { code=$$?; [ $$code = 77 ] && echo "SKIPPED: make count"; exit $$code; }
count-update: deps
	@$(MAKE) --no-print-directory -j$(JOBS) $(COUNTED)
	@bench/count.sh $(BUILD)/bench --update
run-bench: $(BINS) $(BENCHES)
	@mkdir -p $(BUILD_ROOT)/bench
	$(RUN_ENV) BENCH_DIR=$(BUILD)/bench bench/run.sh $(BUILD_ROOT)/bench/results.json

# ---- checks: each is one line of the tally, whatever happens to the others

check: deps
	@TALLY=$(BUILD_ROOT)/tally tests/checks/check.sh format style layers links readme tidy clang san sim race tsan corpus

check-format:
	clang-format --dry-run --Werror $(EVERY_C)
	@! grep -nE '^(<<<<<<<|>>>>>>>) ' $(EVERY_C) Makefile *.md */*.md ops/man/* schema/* tests/*.sh tests/*/*.sh \
	  || { echo 'marks of a merge'; exit 1; }

# Functions of at most 70 lines, files of at most 600, an opening comment in each .c file, no retired words.
STYLED = $(EVERY_C) $(wildcard tests/*.sh tests/*/*.sh tests/*/*.py mk/*.sh bench/*.sh) .ci/run Makefile
check-style:
	@tests/checks/check_style.py $(STYLED)

# Who may include whom. Anything not listed is an error, not a review comment.
ALLOW_schema     := schema
ALLOW_transport  := schema transport
ALLOW_ops        := schema ops
ALLOW_client     := schema transport client
ALLOW_client/cli := schema client ops
ALLOW_broker     := schema transport ops $(BROKER)
# The broker's rooms, from the cellar up: a log knows nothing but formats; shards know no control plane.
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
	@! grep -lE '^ *# *include <rte_' $(filter-out transport/link_dpdk% transport/eal% transport/inject% ops/capture% bench/dpdk_% tests/programs/link_external%,$(EVERY_C)) \
	  || { echo 'DPDK leaks out of its link'; exit 1; }
	@! grep -lE '^ *# *include <urcu' $(filter-out broker/% tests/% bench/%,$(EVERY_C)) || { echo 'RCU leaks'; exit 1; }
	@! grep -lE '^ *# *include <microhttpd' $(filter-out ops/%,$(EVERY_C)) || { echo 'HTTP leaks'; exit 1; }
	@! grep -nE '"(tests|bench)/' $(filter-out tests/% bench/%,$(EVERY_C)) || { echo 'tests leak'; exit 1; }

# Nothing but the documented functions leaves the shared library.
check-links: $(LIBS) $(BINS) $(EXAMPLES)
	@! nm -D --defined-only $(BUILD)/lib/libleat.so | grep -vE ' (A|T) (leat_[a-z_]+|LEAT_[0-9.]+)(@@.*)?$$' \
	  || { echo 'libleat.so exports more than leat.h says'; exit 1; }
	@for f in $$(sed -n 's/^LEAT_API .*[ *]\(leat_[a-z_]*\)(.*/\1/p' client/leat.h client/leat_admin.h); do \
	  nm -D --defined-only $(BUILD)/lib/libleat.so | grep -q " $$f@@" || { echo "$$f is not exported"; exit 1; }; done
	@! ldd $(BUILD)/lib/libleat.so | grep -E 'rte_|urcu|jansson|microhttpd' || { echo 'libleat links too much'; exit 1; }
	@! ldd $(BINS) | grep rte_ || { echo 'a program links DPDK'; exit 1; }
	@test "$$(nm -D --defined-only $(BUILD)/lib/libleat-dpdk.so | sed 's/.* //')" = leat_dpdk_driver \
	  || { echo 'libleat-dpdk.so exports more than its driver'; exit 1; }

# The programs README shows are the ones that compile, and it stays short.
check-readme:
	@python3 -c 'import re,sys; r=open("README.md").read(); names=["hello_publish.c","hello_subscribe.c"]; \
	  shown=re.findall("```c\n(.*?)```",r,re.S); meant=[open("client/examples/"+n).read() for n in names]; \
	  sys.exit(shown!=meant and f"README.md does not show {names} as they are" or len(r.splitlines())>150 and "README.md has more than 150 lines" or 0)'

check-tidy: $(GEN)/schema/control.pb-c.h
	printf '%s\n' $(filter %.c,$(filter-out tests/% bench/% client/examples/% $(DPDK_C),$(EVERY_C))) \
	  | xargs -P 2 -n 1 sh -c 'clang-tidy --quiet "$$@" -- $(CSTD) 2>/dev/null' --
	printf '%s\n' $(DPDK_C) | xargs -P 2 -n 1 sh -c 'clang-tidy --quiet "$$@" -- $(CSTD) $(DPDK_CFLAGS) 2>/dev/null' --
check-clang:
	$(MAKE) --no-print-directory -j$(JOBS) CC=clang VARIANT=clang build-tests
check-san:
	$(MAKE) --no-print-directory -j$(JOBS) SAN=address,undefined build-tests
	$(MAKE) --no-print-directory SAN=address,undefined run-tests
# Not the seeds of `make sim`, which runs the same code without the sanitizers.
check-sim:
	$(MAKE) --no-print-directory -j$(JOBS) SAN=address,undefined $(BUILD_ROOT)/san/tests/simulation
	$(MAKE) --no-print-directory SAN=address,undefined SEEDS=1000 FROM=1000001 run-sim
check-race:
	$(MAKE) --no-print-directory -j$(JOBS) SAN=thread $(RACES:$(BUILD)/%=$(BUILD_ROOT)/tsan/%)
	$(MAKE) --no-print-directory SAN=thread run-races
run-races: $(RACES)
	@$(RUN_ENV) tests/run.sh $(RACES)
# Criterion cannot start under gcc's TSan: the tests are ordinary, the programs they start are not.
TSAN_SUITE := $(filter $(addprefix tests/process/test_,faults% restart% client_live% client_trouble% control_plane% groups% client_groups%),$(TESTS_C))
TSAN_NETS := $(filter-out tests/net/net_link_dpdk% tests/net/net_memif% tests/net/net_vhost% tests/net/net_af_% tests/net/net_bypass% tests/net/net_groups_memif% tests/net/net_idle%,$(NETS))
TSAN_GROUP := $(BUILD_ROOT)/tsan/tests/group_member $(BUILD_ROOT)/tsan/tests/group_feed
TSAN_PROGRAMS = $(patsubst %,$(BUILD_ROOT)/release/tests/%,$(basename $(notdir $(TSAN_SUITE))))
check-tsan: $(TSAN_PROGRAMS) $(BUILD_ROOT)/release/tests/preload_clock.so
	$(MAKE) --no-print-directory -j$(JOBS) SAN=thread all $(TSAN_GROUP)
	@GROUP_MEMBER=$(BUILD_ROOT)/tsan/tests/group_member GROUP_FEED=$(BUILD_ROOT)/tsan/tests/group_feed \
	  PRELOAD_CLOCK=$(BUILD_ROOT)/release/tests/preload_clock.so LEATD=$(BUILD_ROOT)/tsan/bin/leatd LEAT=$(BUILD_ROOT)/tsan/bin/leat LEAT_DEMO=$(BUILD_ROOT)/tsan/bin/leat-demo \
	  EXAMPLES=$(BUILD_ROOT)/tsan/client/examples TALLY=$(BUILD_ROOT)/tally TSAN_OPTIONS=halt_on_error=1:exitcode=66 \
	  tests/run.sh --label tsan $(TSAN_PROGRAMS) $(TSAN_NETS)

# ---- fuzzing

SECONDS ?= 60
T       ?= $(FUZZERS)
$(BUILD)/tests/fuzz_%: $(BUILD)/tests/fuzz/fuzz_%.o $(ARCHIVES)
	$(call say,LINK,$@)$(CC) -fsanitize=fuzzer,address,undefined $< $(ALL_ARCHIVES) -o $@ $(call libs,broker schema)
fuzzers: $(foreach t,$(T),$(BUILD)/tests/fuzz_$t)
MAKE_FUZZ = $(MAKE) --no-print-directory -j$(JOBS) CC=clang VARIANT=fuzz SAN=fuzzer-no-link,address,undefined fuzzers
fuzz: deps
	@$(MAKE_FUZZ) T="$(T)"
	@for t in $(T); do mkdir -p $(BUILD_ROOT)/fuzz/found/$$t; \
	  echo "== fuzz_$$t"; $(BUILD_ROOT)/fuzz/tests/fuzz_$$t -max_total_time=$(SECONDS) -timeout=10 -print_final_stats=0 -verbosity=0 \
	  -artifact_prefix=$(BUILD_ROOT)/fuzz/ $(BUILD_ROOT)/fuzz/found/$$t tests/fuzz/corpus/$$t || exit 1; done
check-corpus:
	@$(MAKE_FUZZ)
	@for t in $(FUZZERS); do $(BUILD_ROOT)/fuzz/tests/fuzz_$$t -runs=0 -verbosity=0 tests/fuzz/corpus/$$t || exit 1; done

# ---- the rest

coverage: deps
	$(MAKE) --no-print-directory VARIANT=coverage OPT="-O0 -g --coverage" LDFLAGS=--coverage run-tests
	@lcov --quiet --capture --directory $(BUILD_ROOT)/coverage --no-external --base-directory . --output-file $(BUILD_ROOT)/coverage/all.info 2>/dev/null
	@for d in $(HOUSE); do \
	  lcov --quiet --extract $(BUILD_ROOT)/coverage/all.info "$(CURDIR)/$$d/*.c" --output-file $(BUILD_ROOT)/coverage/one.info 2>/dev/null; \
	  printf '%-12s %s\n' "$$d" "$$(lcov --summary $(BUILD_ROOT)/coverage/one.info 2>&1 | sed -n 's/.*lines\.*: //p')"; done

deps:
	@mk/deps.sh $(PACKAGES)
deps-ci: deps
	@mk/deps.sh $(CI_PACKAGES)

install: all
	install -d $(addprefix $(DESTDIR)$(PREFIX)/,bin lib/pkgconfig include share/man/man1 share/man/man8)
	install -m 755 $(BUILD)/bin/leatd $(BUILD)/bin/leat $(DESTDIR)$(PREFIX)/bin
	install -m 644 $(BUILD)/lib/libleat.a $(DESTDIR)$(PREFIX)/lib
	install -m 755 $(BUILD)/lib/libleat.so $(DESTDIR)$(PREFIX)/lib/libleat.so.$(VERSION)
	ln -sf libleat.so.$(VERSION) $(DESTDIR)$(PREFIX)/lib/libleat.so.$(ABI)
	ln -sf libleat.so.$(ABI) $(DESTDIR)$(PREFIX)/lib/libleat.so
	install -m 644 $(BUILD_ROOT)/include/leat.h $(DESTDIR)$(PREFIX)/include
	install -m 755 $(BUILD)/lib/libleat-dpdk.so $(DESTDIR)$(PREFIX)/lib
	install -m 644 $(BUILD)/lib/leat.pc $(BUILD)/lib/leat-dpdk.pc $(DESTDIR)$(PREFIX)/lib/pkgconfig
	install -m 644 ops/man/leat.1 $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 644 ops/man/leatd.8 $(DESTDIR)$(PREFIX)/share/man/man8

clean:
	rm -rf $(BUILD_ROOT)

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
