# `make help` lists what can be made. Each part in mk/ does one job.
#
# A build lives in $(BUILD_ROOT)/$(VARIANT): release by default, san with SAN=address,undefined, tsan with
# SAN=thread, fuzz, coverage; or name one (make CC=clang VARIANT=clang). `make test` and `make demo` do
# their own set-up, packages included.
.DEFAULT_GOAL := all
.SECONDARY:
.DELETE_ON_ERROR:

# What a rule needs when it is read is read before it: flags, packages and lists first.
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
help: ## this
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile mk/*.mk | sort | awk -F'\t' '{ printf "make %-18s %s\n", $$1, $$2 }'

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
