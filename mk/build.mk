# Builds what is installed (leatd, leat, libleat), the demo and the examples.

VERSION := $(shell sed -n 's/.*LEAT_VERSION "\(.*\)".*/\1/p' schema/version.h)
ABI     := $(firstword $(subst ., ,$(VERSION)))

.PHONY: all clean FORCE
all: $(BINS) $(LIBS) $(EXAMPLES) $(BUILD)/lib/leat.pc $(BUILD)/lib/leat-dpdk.pc ## libleat, leatd, leat, leat-demo (the default)
clean: ## removes the builds of all variants
	rm -rf $(BUILD_ROOT)

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
# The static library is one object whose hidden symbols are local, so that they cannot collide with an
# application's names.
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

# No program links libleat-dpdk: transport/link_load.c loads it when a URL or a configuration names a bypass port.
DPDK_OBJECTS := $(patsubst %.c,$(BUILD)/%.o,$(DPDK_C) $(DPDK_PURE_C))
$(BUILD)/lib/libleat-dpdk.so: $(DPDK_OBJECTS)
	@mkdir -p $(@D)
	$(call say,LINK,$@)$(CC) -shared $(OPT) $(LTO) $(LINK) $(LDFLAGS) $^ -o $@ $(DPDK_LIBS) -lpthread

# The installed leat.h is self-contained: the project's headers that it includes are pasted into it.
$(BUILD_ROOT)/include/leat.h: client/leat.h client/leat_admin.h schema/codes.h schema/error.h
	@mkdir -p $(@D)
	@sed -e '/^#include "schema\/codes.h"/{r schema/codes.h' -e 'd}' \
	  -e '/^#include "schema\/error.h"/{r schema/error.h' -e 'd}' \
	  -e '/^#include "client\/leat_admin.h"/{r client/leat_admin.h' -e 'd}' client/leat.h >$@
# Rebuilt each time, because PREFIX may have changed.
$(BUILD)/lib/leat.pc: client/leat.pc.in schema/version.h FORCE
$(BUILD)/lib/leat-dpdk.pc: transport/leat-dpdk.pc.in schema/version.h FORCE
$(BUILD)/lib/%.pc:
	@mkdir -p $(@D)
	@sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' $< >$@

# The examples are compiled against the installed header only.
$(BUILD)/client/examples/%: client/examples/%.c $(BUILD_ROOT)/include/leat.h $(BUILD)/lib/libleat.so
	@mkdir -p $(@D)
	$(call say,LINK,$@)$(CC) -std=c17 $(WARN) -O2 -g $(if $(SAN),-fsanitize=$(SAN)) -I$(BUILD_ROOT)/include $< -o $@ \
	    -L$(BUILD)/lib -lleat -Wl,-rpath,$(abspath $(BUILD)/lib)
