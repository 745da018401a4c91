# The front door. `make` builds the module; `make demo` shows it at work; `make test` proves it.
#
# Needs only make and Rust (cargo); everything else is installed by .ci/packages (apt, with sudo when not root).

TARGET := $(or $(CARGO_TARGET_DIR),target)
MODULE := $(TARGET)/release/kazoo.so
CARGO  := cargo --locked
# Where `make install` puts the module: the folder of the installed Kamailio's modules.
MODULES_DIR ?= $(shell for d in /usr/lib/*/kamailio/modules /usr/lib64/kamailio/modules /usr/local/lib*/kamailio/modules; \
                 do test -d "$$d" && echo "$$d" && break; done)

.PHONY: all module packages headers install demo faults soak loadtest tuning scale test unit e2e loom loom-mistakes miri fuzz fuzz-short crash valgrind check fmt clippy docs doc licences versions bench instructions clean

all: module

# What building needs: compiler, libclang, and Kamailio itself, whose headers the module is compiled against.
packages:
	@.ci/packages

headers: packages
	@kamailio-sys/headers.sh

module: headers
	$(CARGO) build --release --package kazoo
	@cp -f $(TARGET)/release/libkazoo.so $(MODULE)
	@echo "built $(MODULE)"

install: module
	@test -n "$(MODULES_DIR)" || { echo "no Kamailio modules folder found; set MODULES_DIR" >&2; exit 1; }
	install -m 644 $(MODULE) $(DESTDIR)$(MODULES_DIR)/kazoo.so

demo: module
	@$(CARGO) build --quiet --package kazoo-loadtest --bin demo
	@KAZOO_MODULE=$(MODULE) $(TARGET)/debug/demo

# Every kind of trouble with broker, network and processes under SIP load, five times each: twenty minutes. Less of it:
# make faults FAULT=broker-kill,blackhole ROUNDS=1
faults: module
	@$(CARGO) build --quiet --package kazoo-loadtest --bin faults
	@KAZOO_MODULE=$(MODULE) $(TARGET)/debug/faults

# An hour of moderate SIP load with the broker restarted every minute: what every process and ring uses. Shorter, or
# without the restarts: make soak MINUTES=10 RESTARTS=no
soak: module
	@$(CARGO) build --quiet --package kazoo-loadtest --bin soak
	@KAZOO_MODULE=$(MODULE) $(TARGET)/debug/soak

# The same workloads against our module, the C module, rabbitmq.so and plain clients, in turns: half an hour on a quiet
# machine. Less of it: make loadtest RUNS=1 SECONDS=1 WORKLOADS=publish/,loop SUBJECTS=ours,plain
loadtest: module
	@$(CARGO) build --quiet --release --package kazoo-loadtest --bin loadtest
	@RUNS=$(RUNS) SECONDS=$(SECONDS) WORKLOADS="$(WORKLOADS)" SUBJECTS="$(SUBJECTS)" PARAMS="$(PARAMS)" \
	  BEFORE="$(BEFORE)" KAZOO_MODULE=$(MODULE) $(TARGET)/release/loadtest

# What each parameter does, and how cost grows: a quarter of an hour each on a quiet machine. Numbers and plots go to
# the folder `loadtest` in the target folder, or into the pages of a manual: make tuning SWEEPS=prefetch RUNS=1 DOC=doc
tuning scale: module
	@$(CARGO) build --quiet --release --package kazoo-loadtest --bin loadtest
	@RUNS=$(RUNS) SECONDS=$(SECONDS) SWEEPS="$(SWEEPS)" DOC="$(DOC)" KAZOO_MODULE=$(MODULE) $(TARGET)/release/loadtest $@

test: unit loom fuzz-short e2e

# Everything that needs no server: rings, payload, bus, manager's bookkeeping, layouts against the C compiler.
unit: headers
	$(CARGO) test --package kazoo-shm
	$(CARGO) test --package kamailio-sys
	$(CARGO) test --package kazoo --no-default-features --lib
	$(CARGO) test --package kazoo-doc

# Every ordering edge of the shared-memory parts, model-checked.
loom: packages
	RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=$(TARGET)/loom CARGO_PROFILE_RELEASE_LTO=off \
	  $(CARGO) test --package kazoo-shm --release --test loom

# Each of those edges weakened, one at a time: a model must fail. Minutes on a quiet machine.
loom-mistakes: packages
	CARGO_TARGET_DIR=$(TARGET) shm/tests/mistakes.sh

# Raw memory, aliasing and data races of the same parts, interpreted. Needs a nightly compiler:
# rustup component add --toolchain nightly miri rust-src
miri:
	CARGO_TARGET_DIR=$(TARGET)/miri cargo +nightly miri test --locked --package kazoo-shm --lib

# Coverage-guided fuzzing of everything that reads what others wrote: ten minutes per target, or SECONDS=n.
fuzz: packages
	fuzz/run $(or $(SECONDS),600) $(FUZZ_TARGETS)

fuzz-short: packages
	fuzz/run 5

# Real Kamailio, real RabbitMQ, real sipp. One test at a time: they measure and they share two cores with the servers. A
# failed test is not the end: the rest is worth knowing.
e2e: module
	KAZOO_MODULE=$(abspath $(MODULE)) $(CARGO) test --no-fail-fast --package kazoo-loadtest -- --test-threads=1
	KAZOO_MODULE=$(abspath $(MODULE)) $(CARGO) test --no-fail-fast --package kazoo --no-default-features --test '*' -- --test-threads=1

# Longer run of the rings' crash test: processes killed at random moments.
crash: packages
	KAZOO_CRASH_ROUNDS=$(or $(ROUNDS),10000) $(CARGO) test --package kazoo-shm --release --test crash

# Longer run of the deployed configurations under memcheck: what leaks per message leaks ROUNDS times.
valgrind: module
	KAZOO_VALGRIND_ROUNDS=$(or $(ROUNDS),50) KAZOO_MODULE=$(abspath $(MODULE)) $(CARGO) test --package kazoo \
	  --no-default-features --test valgrind -- --test-threads=1 --include-ignored --nocapture

# The manual: what follows from tables in the code, and its DocBook form. `make unit` fails when they are stale.
doc:
	@$(CARGO) run --quiet --package kazoo-doc

check: fmt clippy docs licences

fmt:
	cargo fmt --all --check

clippy: headers
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) clippy --package kazoo --no-default-features --all-targets -- -D warnings

docs: headers
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --document-private-items

licences:
	@.ci/licences

# Compiles against the headers of every supported Kamailio release.
versions: packages
	kamailio-sys/check-versions.sh check --package kazoo

bench: packages
	$(CARGO) bench --package kazoo-bench-rings
	$(CARGO) bench --package kazoo --no-default-features --bench payload
	$(CARGO) run --release --package kazoo-bench-broker

# Instructions of each hot path, against the recorded numbers.
instructions: packages
	@benches/instructions.sh

clean:
	cargo clean
