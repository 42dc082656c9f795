# SPDX-License-Identifier: MIT
# The front door. The work is done by Kbuild, lib/, tools/, selftests/ and scripts/.
#
#   K=<name>|<release of an installed kernel>     one kernel instead of the whole matrix (scripts/kernels)
#   T=<shell pattern>                             only tests whose name matches
#   B=<name>                                      which benchmark

K ?=
T ?=
B ?= fastpath
PREFIX ?= /usr/local
DESTDIR ?=
UDEVDIR ?= /usr/lib/udev/rules.d
SYSUSERSDIR ?= /usr/lib/sysusers.d
DOCDIR ?= $(PREFIX)/share/doc/homi
export PREFIX DESTDIR

VERSION := $(shell sed -n 's/^PACKAGE_VERSION="\(.*\)"/\1/p' dkms.conf)

# The module is "make dkms-install", or "make modules K=<release>".
all: lib tools

setup:
	scripts/setup

modules:
	scripts/build-modules $(K)

lib:
	$(MAKE) -C lib

tools: lib
	$(MAKE) -C tools

selftests:
	$(MAKE) -C selftests

check:
	@+K='$(K)' T='$(T)' scripts/check-all

soak:
	@+HOMI_SOAK=1 K='$(K)' T='$(T)' scripts/check-all

demo:
	@+K='$(K)' scripts/demo

bench:
	@+K='$(K)' scripts/bench-$(B)

install: lib tools
	$(MAKE) -C lib install
	$(MAKE) -C tools install
	install -D -m 644 scripts/60-homi.rules $(DESTDIR)$(UDEVDIR)/60-homi.rules
	install -D -m 644 scripts/homi.sysusers $(DESTDIR)$(SYSUSERSDIR)/homi.conf
	install -D -m 644 include/uapi/linux/homi.h $(DESTDIR)$(PREFIX)/include/linux/homi.h
	install -d $(DESTDIR)$(DOCDIR)
	install -m 644 LICENSES/*.txt $(DESTDIR)$(DOCDIR)/
	@[ -n "$(DESTDIR)" ] || [ "$$(id -u)" != 0 ] || ldconfig

dkms-install:
	scripts/dkms-install $(VERSION)

dkms-uninstall:
	scripts/dkms-install --remove $(VERSION)

clean:
	rm -rf build
	@for dir in lib tools selftests; do \
		[ ! -f $$dir/Makefile ] || $(MAKE) -C $$dir clean; \
	done

.PHONY: all setup modules lib tools selftests check soak demo bench install \
	dkms-install dkms-uninstall clean
