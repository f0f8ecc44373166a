# Line coverage per folder.

.PHONY: coverage
coverage: deps ## lines covered, per folder
	$(MAKE) --no-print-directory VARIANT=coverage OPT="-O0 -g --coverage" LDFLAGS=--coverage run-tests
	@lcov --quiet --capture --directory $(BUILD_ROOT)/coverage --no-external --base-directory . --output-file $(BUILD_ROOT)/coverage/all.info 2>/dev/null
	@for d in $(HOUSE); do \
	  lcov --quiet --extract $(BUILD_ROOT)/coverage/all.info "$(CURDIR)/$$d/*.c" --output-file $(BUILD_ROOT)/coverage/one.info 2>/dev/null; \
	  printf '%-12s %s\n' "$$d" "$$(lcov --summary $(BUILD_ROOT)/coverage/one.info 2>&1 | sed -n 's/.*lines\.*: //p')"; done
