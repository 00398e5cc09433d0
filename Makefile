# Raincheck. `make` builds, `make demo` shows, `make test` proves; `make help` lists the rest.
#
# Everything goes to $(B). Another build of the same sources, with a sanitizer for instance, is the same rules with
# another B and VARIANT: see check-asan.

B       ?= build
VARIANT ?= release
VERSION := 0.1.0

# ---- packages -------------------------------------------------------------------------------------------------------

BUILD_PACKAGES := gcc libc6-dev make pkg-config liblmdb-dev libuv1-dev libcurl4-gnutls-dev libmsgpack-dev \
	libgnutls28-dev libmicrohttpd-dev libjansson-dev libcyaml-dev libyaml-dev libxxhash-dev
DEMO_PACKAGES  := ffmpeg fonts-dejavu-core curl
# npm's package is in the way of a Node.js that brings its own.
NODE_PACKAGES  := $(if $(shell command -v node),,nodejs) $(if $(shell command -v npm),,npm)
TEST_PACKAGES  := libcmocka-dev clang-14 libclang-rt-14-dev clang-tidy-14 clang-format-14 cppcheck python3-pynvim procps \
	prometheus nghttp2-server openssl nginx-light chromium $(NODE_PACKAGES)
BENCH_PACKAGES := redis-server beanstalkd postgresql-15 nginx-light wrk linux-perf python3 $(NODE_PACKAGES)

# ---- compiler -------------------------------------------------------------------------------------------------------

WARNINGS := -Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Werror
CPPFLAGS += -D_GNU_SOURCE -DRAINCHECK_VERSION='"$(VERSION)"' -I.
CFLAGS   += -std=c11 -g -fPIC $(WARNINGS) $(CFLAGS_$(VARIANT))
LDFLAGS  += $(LDFLAGS_$(VARIANT))

CFLAGS_release  := -O2 -D_FORTIFY_SOURCE=2 -fstack-protector-strong
LDFLAGS_release := -Wl,-z,relro,-z,now
# What only tests use: a linker that takes a third of the time (but with clang's sanitizers it complains of them), and
# of debug information what a backtrace shows.
LDFLAGS_tests   := -fuse-ld=gold
CFLAGS_asan     := -O1 -g1 -fsanitize=address,undefined,float-cast-overflow -fno-sanitize-recover=all -fno-omit-frame-pointer -DRAINCHECK_CHECKED
LDFLAGS_asan    := -fsanitize=address,undefined $(LDFLAGS_tests)
CFLAGS_tsan     := -O1 -g1 -fsanitize=thread -fno-omit-frame-pointer -DRAINCHECK_CHECKED
LDFLAGS_tsan    := -fsanitize=thread $(LDFLAGS_tests)
CFLAGS_fuzz     := -O1 -g1 -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=all -DRAINCHECK_CHECKED
LDFLAGS_fuzz    := -fsanitize=address,undefined
# What is measured is what runs where it is used: without the checks that only test builds make of themselves.
CFLAGS_coverage  := -O0 --coverage -fprofile-update=atomic
LDFLAGS_coverage := --coverage

PKG       = $(shell pkg-config --libs $(1))
LIBS_lib  = $(call PKG,libuv msgpack)
LIBS_cli  = $(LIBS_lib) $(call PKG,jansson)
LIBS_server = $(call PKG,lmdb libuv msgpack libmicrohttpd gnutls jansson libcyaml yaml-0.1) -lpthread -lm
LIBS_worker = $(LIBS_lib) $(call PKG,libcurl libcyaml yaml-0.1 jansson gnutls)
LIBS_render = $(call PKG,libmicrohttpd jansson) -lpthread
LIBS_tests  = $(LIBS_server) $(LIBS_worker) $(call PKG,cmocka)

# ---- sources --------------------------------------------------------------------------------------------------------

objects = $(patsubst %.c,$(B)/obj/%.o,$(wildcard $(1)))

PROTO  := $(call objects,proto/*.c proto/base/*.c)
CLIENT := $(call objects,client/*.c)
CLI    := $(call objects,client/cli/*.c)
SERVER := $(call objects,server/*.c server/*/*.c)
WORKER := $(call objects,worker/*.c worker/*/*.c)
RENDER := $(call objects,tests/render_api/*.c)
HARNESS := $(call objects,tests/harness/*.c)
UNIT        := $(patsubst tests/unit/%.c,$(B)/tests/unit/%,$(wildcard tests/unit/test_*.c))
INTEGRATION := $(patsubst tests/integration/%.c,$(B)/tests/integration/%,$(wildcard tests/integration/test_*.c))
# They put an allocator that fails in the place of malloc, where a sanitizer has one already: built plainly only.
PLAIN_ONLY  := $(addprefix $(B)/tests/,unit/test_net_memory unit/test_worker_memory integration/test_client_memory)
UNIT        := $(if $(filter asan tsan,$(VARIANT)),$(filter-out $(PLAIN_ONLY),$(UNIT)),$(UNIT))
INTEGRATION := $(if $(filter asan tsan,$(VARIANT)),$(filter-out $(PLAIN_ONLY),$(INTEGRATION)),$(INTEGRATION))
CRASH       := $(patsubst tests/crash/%.c,$(B)/tests/crash/%,$(wildcard tests/crash/test_*.c))
# All but one put a layer between a broker and its C library (tests/crash/layer): plainly only, likewise.
FAULT_LAYER := $(call objects,tests/crash/layer/*.c)
CRASH       := $(if $(filter asan tsan,$(VARIANT)),$(B)/tests/crash/test_kill,$(CRASH) $(B)/tests/libfault.so)
SIM         := $(B)/tests/sim/sim
FUZZ        := $(patsubst tests/fuzz/%.c,$(B)/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))

PROGRAMS := $(B)/raincheckd $(B)/raincheck-worker $(B)/raincheck $(B)/libraincheck.so $(B)/libraincheck.a

.PHONY: all
all: $(PROGRAMS)

.PHONY: help
help:
	@echo 'make                build the programs and the library into build/'
	@echo 'make demo           install what is missing, build, and show real renders (DEMO=once: and end)'
	@echo 'make test           install what is missing, build, and run every test'
	@echo 'make deps           only install the packages; make deps-build, make deps-demo: those for building, for the demo'
	@echo 'make install        PREFIX=/usr/local DESTDIR='
	@echo 'make clean          remove build/'
	@echo 'make bench          how fast, beside what (bench/README.md)'
	@echo 'make lint           clang-tidy, cppcheck, format and layers;  make check-layers, make format'
	@echo 'make check          the tests of one build;  make check-asan check-tsan check-valgrind'
	@echo 'make check-browser  the page in Chromium; pictures in build/browser/'
	@echo 'make fuzz           FUZZ_SECONDS=30 a target;  make sim SIM_STEPS=5000000'
	@echo 'make coverage       which lines and branches the tests run, file by file: build/coverage/index.html'
	@echo 'make crash          kills, power cuts, failing disks and memory: CRASHES=200 CUTS=200 FAULTS=12 ALLOCATIONS=150'

# ---- rules ----------------------------------------------------------------------------------------------------------

# V=1 shows the commands.
Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-5s %s\n' $(1) $@)

$(B)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

$(B)/libproto.a: $(PROTO)
$(B)/libraincheck.a: $(CLIENT) $(PROTO)
$(B)/libcli.a: $(filter-out %/main.o,$(CLI))
$(B)/libserver.a: $(filter-out %/main.o,$(SERVER))
$(B)/libworker.a: $(filter-out %/main.o,$(WORKER))
$(B)/libharness.a: $(HARNESS)
$(B)/lib%.a:
	@mkdir -p $(@D)
	$(call say,AR)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(B)/libraincheck.so: $(CLIENT) $(PROTO) client/libraincheck.map
	$(call say,LINK)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -shared -Wl,-soname,libraincheck.so.0 -Wl,--version-script=client/libraincheck.map \
		-o $@ $(CLIENT) $(PROTO) $(LIBS_lib)

LINK = $(CC) $(CFLAGS) $(LDFLAGS) -pie -o $@ $(filter %.o %.a,$^)

$(B)/raincheckd: $(B)/obj/server/main.o $(B)/libserver.a $(B)/libproto.a
	$(call say,LINK)
	$(Q)$(LINK) $(LIBS_server)
$(B)/raincheck-worker: $(B)/obj/worker/main.o $(B)/libworker.a $(B)/libraincheck.a
	$(call say,LINK)
	$(Q)$(LINK) $(LIBS_worker)
$(B)/raincheck: $(B)/obj/client/cli/main.o $(B)/libcli.a $(B)/libraincheck.a
	$(call say,LINK)
	$(Q)$(LINK) $(LIBS_cli)
$(B)/render-api: $(RENDER)
	$(call say,LINK)
	$(Q)$(LINK) $(LIBS_render)
# As a program of somebody else's would be built.
$(B)/obj/tests/custom_worker/%.o: CPPFLAGS += -Iclient
$(B)/custom-worker: $(call objects,tests/custom_worker/*.c) $(B)/libraincheck.a
	$(call say,LINK)
	$(Q)$(LINK) $(LIBS_lib)
$(B)/slow-api: $(call objects,tests/slow_api/*.c)
	$(call say,LINK)
	$(Q)$(LINK) $(call PKG,libuv)
$(B)/tests/%: LDFLAGS += $(LDFLAGS_tests)
$(B)/tests/%: $(B)/obj/tests/%.o $(B)/libharness.a $(B)/libserver.a $(B)/libworker.a $(B)/libcli.a $(B)/libraincheck.a
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(LINK) $(LIBS_tests)
# This one is the writer itself.
$(B)/tests/unit/test_http_told_twice: LDFLAGS += -Wl,--wrap=writer_submit
$(B)/tests/libfault.so: $(FAULT_LAYER)
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -shared -o $@ $^ -lpthread
# It defines what the fortified headers would define anew.
$(FAULT_LAYER): CFLAGS += -fvisibility=hidden -U_FORTIFY_SOURCE
# Programs that are killed and children that leave at once keep what they counted, too.
ifeq ($(VARIANT),coverage)
COUNTED := $(filter-out %.so %.a,$(PROGRAMS) $(CRASH)) $(UNIT) $(INTEGRATION) $(SIM) $(B)/custom-worker
$(COUNTED): $(call objects,tests/coverage/*.c)
$(COUNTED): LDFLAGS += -Wl,--wrap=_exit -Wl,--wrap=kill
endif
# The simulation comes between the engine and its store, to make it fail.
WRAPPED := store_get store_put store_delete store_seek store_next store_seek_back
$(SIM): $(call objects,tests/sim/*.c) $(B)/obj/tests/harness/tempdir.o $(B)/libserver.a $(B)/libproto.a
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(LINK) $(WRAPPED:%=-Wl,--wrap=%) $(LIBS_server) $(call PKG,cmocka)
$(B)/fuzz/%: $(B)/obj/tests/fuzz/%.o $(B)/libserver.a $(B)/libworker.a $(B)/libraincheck.a
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(LINK) -fsanitize=fuzzer $(LIBS_server) $(LIBS_worker)

.PRECIOUS: $(B)/obj/%.o
.SECONDARY:
-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)

# ---- packages: installs only what is missing, so that a machine that has all needs no rights ------------------------

SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
missing = $(shell for p in $(1); do dpkg-query -W -f '$${db:Status-Status}' $$p 2>/dev/null | grep -qx installed || echo $$p; done)
define install
	@set -- $(call missing,$(1)); [ $$# -eq 0 ] || $(SUDO) bench/install "$$@"
endef

# What the browser tests need from npm, pinned by the lock beside them. No browser is fetched: Debian's is used.
NODE ?= $(B)/node
$(NODE)/.done: tests/browser/package.json tests/browser/package-lock.json
	@mkdir -p $(@D)
	@cp $^ $(@D)/
	@cd $(@D) && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

.PHONY: deps deps-build deps-demo
deps-build:
	$(call install,$(BUILD_PACKAGES))
deps-demo:
	$(call install,$(BUILD_PACKAGES) $(DEMO_PACKAGES))
deps:
	$(call install,$(BUILD_PACKAGES) $(DEMO_PACKAGES) $(TEST_PACKAGES))

# ---- demo and tests: the second make reads the sources and packages as the first left them ---------------------------

JOBS ?= $(shell nproc)
AGAIN = $(MAKE) --no-print-directory -j$(JOBS)

.PHONY: demo test check unit-programs test-programs
demo: deps-demo
	+@$(AGAIN) all $(B)/render-api
	@B=$(B) DEMO=$(DEMO) tests/demo/run

test: deps
	+@tests/all

# What comes from npm, as its lock file says, where every build finds it.
FROM_NPM := $(patsubst %,build/npm/%/node_modules/.package-lock.json,openapi webhooks)
.SECONDEXPANSION:
$(FROM_NPM): build/npm/%/node_modules/.package-lock.json: $$(wildcard tests/$$*/*)
	@mkdir -p build/npm/$*
	$(call say,NPM)
	$(Q)cp $^ build/npm/$*/ && cd build/npm/$* && npm ci --silent --no-audit --no-fund --ignore-scripts && \
		touch ../../../$@

test-programs: $(FROM_NPM)
test-programs: all $(B)/render-api $(B)/slow-api $(B)/custom-worker $(UNIT) $(INTEGRATION) $(CRASH) $(SIM)

# The longest first, here and below, so that all processors end at the same time.
check: test-programs
	@B=$(B) tests/run $(wildcard tests/integration/test_*.py) $(INTEGRATION) $(UNIT)

# The link's page in a real browser; pictures of it in $(B)/browser.
.PHONY: check-browser
check-browser: all $(B)/render-api $(NODE)/.done
	@B=$(B) NODE_PATH=$(abspath $(NODE))/node_modules tests/run tests/browser/browser.test.js

# Each campaign takes its counts from the environment and says so at its head; "all" where it says that. A long one
# needs TEST_SECONDS too, the time that tests/run gives a program.
CRASHES ?= 200
.PHONY: crash
crash: test-programs
	@B=$(B) CRASHES=$(CRASHES) tests/run $(filter-out %.so,$(CRASH))

# The engine beside its model; SEED=… RUN=… plays a run again. The time limit follows from the steps.
SIM_STEPS ?= 5000000
.PHONY: sim
sim: $(SIM)
	@B=$(B) SIM_STEPS=$(SIM_STEPS) TEST_SECONDS=$$((600 + $(SIM_STEPS) / 2000)) tests/run $(SIM)

.PHONY: check-asan check-tsan check-threads check-valgrind
check-asan:
	+@$(AGAIN) B=build/asan VARIANT=asan check
check-tsan:
	+@$(AGAIN) B=build/tsan VARIANT=tsan check-threads
# What runs threads: the broker with all that talks to it, and the units that start threads.
check-threads: test-programs
	@B=$(B) tests/run $(INTEGRATION) $(filter $(addprefix $(B)/tests/unit/test_,writer% net% http% client% cli%),$(UNIT))
# Some thirty times as slow. Valgrind puts its own allocator there, too.
check-valgrind: TEST_SECONDS ?= 3600
check-valgrind: test-programs
	$(call install,valgrind)
	@B=$(B) TEST_SECONDS=$(TEST_SECONDS) VALGRIND='valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite' \
		tests/run $(filter-out $(PLAIN_ONLY),$(UNIT))

FUZZ_SECONDS ?= 30
.PHONY: fuzz fuzz-programs
fuzz-programs: $(FUZZ)
fuzz:
	+@$(AGAIN) B=build/fuzz VARIANT=fuzz CC=clang-14 fuzz-programs
	@B=build/fuzz FUZZ_SECONDS=$(FUZZ_SECONDS) tests/fuzz/run $(patsubst tests/fuzz/%.c,build/fuzz/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))

# Not the one without memory, which writing the counts takes, nor the one of power cuts, which finds nothing more.
COVERED_CRASHES := commit_points directory_points disk_faults kill engine_allocations full_disk uncertain_commit
.PHONY: coverage
coverage: deps
	$(call install,gcovr)
	+@$(AGAIN) B=build/coverage VARIANT=coverage check
	+@$(AGAIN) B=build/coverage VARIANT=coverage SIM_STEPS=100000 sim
	@B=build/coverage tests/run $(COVERED_CRASHES:%=build/coverage/tests/crash/test_%)
	@gcovr --root . --object-directory build/coverage --filter 'server/' --filter 'worker/' --filter 'proto/' \
		--filter 'client/' --exclude-unreachable-branches --exclude-branches-by-pattern '\s*assert\(' \
		--print-summary --txt build/coverage/summary.txt --html-details build/coverage/index.html

# BENCH="p1 p4" asks these questions only; see bench/README.md.
BENCH ?=
.PHONY: bench bench-programs
$(B)/bench/driver: $(call objects,bench/*.c tests/harness/api_model.c tests/harness/tempdir.c) \
		$(B)/libserver.a $(B)/libproto.a
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(LINK) $(LIBS_server)
$(B)/bench/%: $(B)/obj/bench/link/%.o $(B)/libraincheck.a
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(LINK) $(LIBS_lib)
# undici, in the version that bench/worker/package-lock.json pins with its checksum.
UNDICI := $(B)/bench/undici/node_modules/undici/package.json
$(UNDICI): bench/worker/package.json bench/worker/package-lock.json
	@mkdir -p $(B)/bench/undici
	$(call say,NPM)
	$(Q)cp $^ $(B)/bench/undici/ && cd $(B)/bench/undici && npm ci --silent --ignore-scripts --no-audit --no-fund && \
		touch $(abspath $@)
bench-programs: $(B)/raincheckd $(B)/raincheck $(B)/raincheck-worker $(B)/slow-api $(B)/bench/driver $(B)/bench/finish \
		$(B)/bench/visitors $(UNDICI)
bench: deps-build
	@set -- $(call missing,$(BENCH_PACKAGES)); [ $$# -eq 0 ] || $(SUDO) bench/install "$$@"
	+@$(AGAIN) bench-programs
	@B=$(B) bench/run $(BENCH)

# ---- lint -----------------------------------------------------------------------------------------------------------

ALL_C := $(sort $(shell find server worker proto client tests bench -name '*.[ch]'))

.PHONY: lint check-layers check-links check-format check-tidy check-cppcheck format
lint: check-layers check-links check-format check-cppcheck check-tidy
check-layers:
	@tests/lint/check-layers
check-links:
	@tests/lint/check-links
check-format:
	@clang-format-14 --dry-run -Werror $(ALL_C)
check-cppcheck:
	@cppcheck -q -j$(JOBS) --error-exitcode=1 --std=c11 -I. --inline-suppr --suppressions-list=tests/lint/cppcheck.txt \
		--enable=warning,performance,portability $(filter-out tests/fuzz/%,$(filter %.c,$(ALL_C)))
# The largest first, and those that the analyzer looks at before the tests.
check-tidy:
	@{ ls -S $(filter-out tests/%,$(filter %.c,$(ALL_C))); \
		ls -S $(filter-out tests/fuzz/%,$(filter tests/%.c,$(ALL_C))); } | xargs -P$(JOBS) -n4 sh -c 'log=$$(mktemp); \
		clang-tidy-14 --quiet "$$@" -- -std=c11 -D_GNU_SOURCE -DRAINCHECK_VERSION=\"$(VERSION)\" \
		-Itests/lint/opaque -I. -Iclient 2>$$log || \
		{ cat $$log; rm -f $$log; exit 1; }; rm -f $$log' tidy
format:
	@clang-format-14 -i $(ALL_C)

# ---- install --------------------------------------------------------------------------------------------------------

PREFIX ?= /usr/local
.PHONY: install
install: all
	install -d $(addprefix $(DESTDIR)$(PREFIX)/,bin lib/pkgconfig include)
	install -m 755 $(B)/raincheckd $(B)/raincheck-worker $(B)/raincheck $(DESTDIR)$(PREFIX)/bin/
	install -m 755 $(B)/libraincheck.so $(DESTDIR)$(PREFIX)/lib/libraincheck.so.0
	ln -sf libraincheck.so.0 $(DESTDIR)$(PREFIX)/lib/libraincheck.so
	install -m 644 $(B)/libraincheck.a $(DESTDIR)$(PREFIX)/lib/
	install -m 644 client/raincheck.h client/raincheck_worker.h client/raincheck_runner.h client/raincheck_admin.h $(DESTDIR)$(PREFIX)/include/
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' client/raincheck.pc.in \
		> $(DESTDIR)$(PREFIX)/lib/pkgconfig/raincheck.pc
	$(if $(DESTDIR),,-PATH="$$PATH:/sbin:/usr/sbin" ldconfig)

.PHONY: clean
clean:
	rm -rf build
