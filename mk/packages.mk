# What we build with: Debian packages to install, and which room sees the headers of which library.

PACKAGES := pkg-config gcc clang clang-format clang-tidy dpdk-dev liburcu-dev libprotobuf-c-dev \
            protobuf-c-compiler libjansson-dev libcriterion-dev libmicrohttpd-dev libssl-dev libpcap-dev \
            zlib1g-dev libclang-rt-14-dev llvm-14 lcov python3
CI_PACKAGES := valgrind

.PHONY: deps deps-ci
deps: ## installs what build, demo and test need (Debian packages)
	@mk/deps.sh $(PACKAGES)
deps-ci: deps ## and what only CI needs
	@mk/deps.sh $(CI_PACKAGES)

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
