# `make install` and `make deb`. The Makefile includes this file.
#   make && sudo make install                          # into PREFIX, /usr/local
#   make install DESTDIR=/tmp/root PREFIX=/usr         # for a package; no path in it has DESTDIR

PREFIX  ?= /usr/local
to       = $(DESTDIR)$(PREFIX)
MAN     := $(BUILD)/man/parley.8 $(BUILD)/man/parley.conf.5

.PHONY: man install uninstall deb
man: $(MAN)
$(BUILD)/man/%: $(BUILD)/parley packaging/manual README.md CHANGELOG.md docs/reference/cli.md docs/reference/configuration.md
	@mkdir -p $(@D)
	packaging/manual $(BUILD)/parley $* >$@.new && mv $@.new $@

# The files of this repository name the paths of PREFIX=/usr.
install: $(BUILD)/parley $(MAN)
	install -D -m 0755 $(BUILD)/parley $(to)/bin/parley
	install -D -m 0644 -t $(to)/share/man/man8 $(BUILD)/man/parley.8
	install -D -m 0644 -t $(to)/share/man/man5 $(BUILD)/man/parley.conf.5
	install -D -m 0644 -t $(to)/lib/systemd/system packaging/systemd/parley.service packaging/systemd/parley.socket
	install -D -m 0644 packaging/systemd/sysusers.conf $(to)/lib/sysusers.d/parley.conf
	install -D -m 0644 packaging/systemd/tmpfiles.conf $(to)/lib/tmpfiles.d/parley.conf
	install -D -m 0644 -t $(to)/share/parley/nginx nginx/*.conf
	install -D -m 0644 -t $(to)/share/parley/console nginx/console/*
	install -D -m 0644 -t $(to)/share/parley/monitoring packaging/monitoring/*.yml packaging/monitoring/*.json
	install -D -m 0755 tests/integration.sh $(to)/share/parley/integration.sh
	install -D -m 0644 -t $(to)/share/doc/parley README.md CHANGELOG.md SECURITY.md LICENSE
	find docs -name node_modules -prune -o -type f -exec install -D -m 0644 {} $(to)/share/doc/parley/{} \;
	sed -i 's,/usr/\(bin\|share\)/,$(PREFIX)/\1/,g' $(to)/lib/systemd/system/parley.service $(to)/share/man/man8/parley.8 \
	    $(to)/share/parley/nginx/parley.conf
uninstall:
	rm -rf $(to)/bin/parley $(to)/share/man/man8/parley.8 $(to)/share/man/man5/parley.conf.5 $(to)/share/parley \
	    $(to)/share/doc/parley $(to)/lib/systemd/system/parley.s* $(to)/lib/sysusers.d/parley.conf $(to)/lib/tmpfiles.d/parley.conf

deb: $(BUILD)/parley
	@tests/stack/install deb
	packaging/debian/build $(BUILD) $(VERSION)
