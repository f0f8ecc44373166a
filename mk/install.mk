# Installs programs, libraries, headers and man pages.

PREFIX  ?= /usr/local
DESTDIR ?=

.PHONY: install
install: all ## programs, libraries, man pages; DESTDIR= PREFIX=/usr/local
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
