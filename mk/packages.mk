# The Debian packages that the build needs, and which room may include the headers of which library.

PACKAGES := pkg-config gcc clang clang-format clang-tidy dpdk-dev liburcu-dev libprotobuf-c-dev \
            protobuf-c-compiler libjansson-dev libcriterion-dev libmicrohttpd-dev libssl-dev libpcap-dev \
            zlib1g-dev libclang-rt-14-dev llvm-14 lcov python3
CI_PACKAGES := valgrind

.PHONY: deps deps-ci
deps: ## installs what build, demo and test need (Debian packages)
	@mk/deps.sh $(PACKAGES)
deps-ci: deps ## installs what CI needs in addition
	@mk/deps.sh $(CI_PACKAGES)

# Each package is named once, next to the only folder that may include its headers.
PKG_schema     := libprotobuf-c
PKG_client     := libprotobuf-c
PKG_client/cli := libprotobuf-c jansson libpcap zlib
PKG_broker     := libprotobuf-c liburcu-qsbr liburcu-cds jansson libcrypto
PKG_tests      := criterion libprotobuf-c jansson zlib libpcap liburcu-qsbr liburcu-cds libcrypto
PKG_bench      := libprotobuf-c jansson zlib liburcu-qsbr liburcu-cds libcrypto
cflags = $(if $(PKG_$1),$(shell pkg-config --cflags $(PKG_$1)))
libs   = $(shell pkg-config --libs $(sort $(foreach d,$1,$(PKG_$d))))

# Only the driver's files, which form their own library, may include DPDK's headers. These are system headers,
# because they do not compile with the project's warnings. Their flags (-std, -march) apply to those files only.
DPDK_C      := $(wildcard transport/link_dpdk*.c transport/eal*.c transport/inject*.c)
DPDK_PURE_C := transport/ether.c transport/neighbour.c transport/fault.c
DPDK_CFLAGS  = $(patsubst -I%,-isystem %,$(shell pkg-config --cflags libdpdk)) -std=gnu17 -DALLOW_EXPERIMENTAL_API
DPDK_LIBS    = $(shell pkg-config --libs libdpdk)
