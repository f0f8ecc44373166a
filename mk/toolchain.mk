# Compiler, variants and flags. No rules.

CC         := $(if $(filter default,$(origin CC)),gcc,$(CC))
SAN        ?=
VARIANT    ?= $(if $(SAN),$(if $(findstring thread,$(SAN)),tsan,san),release)
BUILD_ROOT ?= build
BUILD      := $(BUILD_ROOT)/$(VARIANT)
GEN        := $(BUILD_ROOT)/gen

# make V=1 shows every command. Without -j, one job per CPU.
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
# Programs are linked with LTO; everything else uses the machine code in the same objects.
LTO      := $(if $(filter gcc-release,$(notdir $(CC))-$(VARIANT)),-flto=auto)
LTO_OBJ  := $(if $(LTO),-flto=auto -ffat-lto-objects)
LTO_NONE := $(if $(LTO),-fno-lto)
