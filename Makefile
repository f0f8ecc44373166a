# `make help` lists the targets. Each part in mk/ does one job.
#
# A build is in $(BUILD_ROOT)/$(VARIANT): release by default, san with SAN=address,undefined, tsan with
# SAN=thread, fuzz, coverage, or a name of your choice (make CC=clang VARIANT=clang). `make test` and
# `make demo` install the packages that they need.
.DEFAULT_GOAL := all
.SECONDARY:
.DELETE_ON_ERROR:

# Rules expand variables when they are read, so flags, packages and lists come first.
include mk/toolchain.mk
include mk/packages.mk
include mk/lists.mk
include mk/build.mk
include mk/install.mk
include mk/tests.mk
include mk/bench.mk
include mk/fuzz.mk
include mk/checks.mk
include mk/sanitizers.mk
include mk/coverage.mk

.PHONY: help
help: ## lists the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile mk/*.mk | sort | awk -F'\t' '{ printf "make %-18s %s\n", $$1, $$2 }'

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
