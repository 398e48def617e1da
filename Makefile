# Everything that one does with a checkout. `make help` lists it.

SHELL := /bin/bash
CARGO ?= cargo
export CARGO_TARGET_DIR ?= $(CURDIR)/target
# Where cargo-deny, cargo-fuzz, what makes packages and virtual environments go; beside the build, so that they survive with it.
TOOLS := $(CARGO_TARGET_DIR)/tools
# What came of the last look at the RustSec database, in one line.
ADVISORIES := $(CARGO_TARGET_DIR)/advisories.txt
CARGO_DENY_VERSION := 0.20.2
CARGO_FUZZ_VERSION := 0.13.2
CARGO_DEB_VERSION := 3.8.0
CARGO_GENERATE_RPM_VERSION := 0.21.1
# How long each target of `make fuzz` runs.
SECONDS ?= 60

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-13s %s\n", $$1, $$2 }'

# What packages are made for, by Rust's name of the architecture, where they go, and with what they are made.
ARCH ?= $(shell uname -m)
PACKAGES := $(CARGO_TARGET_DIR)/packages/$(ARCH)
PACKAGERS := $(TOOLS)/bin/cargo-deb $(TOOLS)/bin/cargo-generate-rpm

.PHONY: demo
demo: ## Control service, agent and three deployments, for real; KEEP=1 leaves them running
	@tests/prepare demo
	@$(CARGO) build --workspace --bins
	@"$(CARGO_TARGET_DIR)/debug/demo" $(if $(filter-out 0,$(KEEP)),--keep)

.PHONY: test
test: ## All tests, installing what they need where that can be done (Debian and Ubuntu, as root)
	@tests/prepare test
	$(CARGO) build --workspace --all-targets
	$(CARGO) test --workspace

.PHONY: test-faults
test-faults: ## Kill, fail and cut the power of installs everywhere (as root); ONLY=kill_recovery for one test
	@tests/prepare faults
	$(CARGO) build --workspace --bins
	@"$(CARGO_TARGET_DIR)/debug/faults" $(foreach test,$(ONLY),--only $(test))

.PHONY: test-races
test-races: ## A user flips directories for links under 1,000 installs each (as root); COUNT=100 for fewer
	@tests/prepare demo
	$(CARGO) build --workspace --bins
	SLIPWAY_RACES=$(COUNT) $(CARGO) test --workspace --test programs -- link_races::

# The packages that are tested are made by the recipe of those that ship, of the programs that the tests are built with.
.PHONY: test-system
test-system: $(PACKAGERS) ## Boot hosts, interrupt, upgrade, reboot while hooks run (as root); ONLY=deploys for one test
	@tests/prepare system
	$(CARGO) build --workspace --bins
	@for version in "" 99.0.0; do \
	    FAST=1 packaging/package "$(ARCH)" "$(CARGO_TARGET_DIR)/debug" "$(CARGO_TARGET_DIR)/debug/packages" $$version >/dev/null || exit 1; \
	done
	@"$(CARGO_TARGET_DIR)/debug/system" $(foreach test,$(ONLY),--only $(test))

# Instrumentation by a stable toolchain: what the sanitizer and its coverage need is in it, behind flags that
# only this variable opens. Nothing that is shipped is built so. Without `cfg(fuzzing)`, at which some crates
# leave out checks: what runs is what ships.
FUZZ := $(CARGO_TARGET_DIR)/fuzz
.PHONY: fuzz
fuzz: $(TOOLS)/bin/cargo-fuzz ## Feed the agent what nobody would send, each target for SECONDS=60; ONLY=appspec for one
	@tests/prepare demo
	cd agent && RUSTC_BOOTSTRAP=1 PATH="$(TOOLS)/bin:$$PATH" $(CARGO) fuzz build --release --debug-assertions --sanitizer address \
	    --no-cfg-fuzzing --target-dir "$(FUZZ)" $(ONLY)
	@agent/fuzz/run "$(FUZZ)" "$(SECONDS)" $(ONLY)

.PHONY: bench
bench: ## Latency and memory against their figures, with a release build and 12 GB of disk; fails beyond them
	@tests/prepare demo
	$(CARGO) build --release --workspace --bins
	@"$(CARGO_TARGET_DIR)/release/bench"

.PHONY: bench-system
bench-system: ## What a hook costs on a booted host, with a release build (as root); prints the figure
	@tests/prepare system
	$(CARGO) build --release --workspace --bins
	@"$(CARGO_TARGET_DIR)/release/system" --only hook_cost

# As process 1 of a container, which inherits whatever a hook leaves, too: AS_INIT=1, as root.
COUNT ?= 1000
.PHONY: soak
soak: ## COUNT=1000 deployments in one life of an agent, which must not grow by them
	@tests/prepare demo
	$(CARGO) build --workspace --bins
	@"$(CARGO_TARGET_DIR)/debug/soak" --count $(COUNT) $(if $(filter-out 0,$(AS_INIT)),--as-init)

.PHONY: lint
lint: ## Formatting, clippy and the policy for dependencies
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path agent/fuzz/Cargo.toml --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	@$(MAKE) --no-print-directory deny

.PHONY: deny
deny: $(TOOLS)/bin/cargo-deny
	PATH="$(TOOLS)/bin:$$PATH" $(CARGO) deny --all-features check bans licenses sources
	@.ci/advisories "$(TOOLS)/bin/cargo-deny" "$(ADVISORIES)"

.PHONY: advisories
advisories: $(TOOLS)/bin/cargo-deny ## Hold the dependencies to the RustSec database, which must be in reach; for every day
	@.ci/advisories "$(TOOLS)/bin/cargo-deny" "$(ADVISORIES)" --required

$(TOOLS)/bin/cargo-deny:
	$(CARGO) install --locked --version $(CARGO_DENY_VERSION) --root "$(TOOLS)" --target-dir "$(TOOLS)/build" cargo-deny
	rm -rf "$(TOOLS)/build"

$(TOOLS)/bin/cargo-fuzz:
	$(CARGO) install --locked --version $(CARGO_FUZZ_VERSION) --root "$(TOOLS)" --target-dir "$(TOOLS)/build" cargo-fuzz
	rm -rf "$(TOOLS)/build"

.PHONY: package
package: $(PACKAGERS) ## deb and rpm of agent and control service, for glibc 2.17 and later; ARCH=x86_64 or aarch64
	@tests/prepare package
	packaging/build "$(ARCH)"
	$(CARGO) build --workspace --bin slipway-pages
	rm -rf "$(PACKAGES)"
	packaging/package "$(ARCH)" "$(CARGO_TARGET_DIR)/$(ARCH)-unknown-linux-gnu/dist" "$(PACKAGES)"
	@packaging/check "$(PACKAGES)"

.PHONY: reproduce
reproduce: $(PACKAGERS) ## Make the packages of this commit twice, in two places, and compare them; takes long
	@tests/prepare package
	$(CARGO) build --workspace --bin slipway-pages
	packaging/reproduce "$(ARCH)"

# The id of a secret key in GnuPG's keyring.
KEY ?=
.PHONY: repository
repository: ## A repository for apt and yum of the packages that were made, in target/repository; KEY=ID signs it
	@tests/prepare package
	@packaging/repository "$(PACKAGES)" "$(CARGO_TARGET_DIR)/repository" $(KEY)

.PHONY: repository-renew
repository-renew: ## The lists of target/repository made and signed again, before apt's expires; KEY=ID, VALID_DAYS=30
	@tests/prepare package
	@packaging/repository - "$(CARGO_TARGET_DIR)/repository" $(KEY)

# Both are used for seconds: what a release build would save is less than what it takes.
$(TOOLS)/bin/cargo-deb:
	CARGO_PROFILE_DEV_DEBUG=0 $(CARGO) install --locked --debug --version $(CARGO_DEB_VERSION) --root "$(TOOLS)" --target-dir "$(TOOLS)/build" cargo-deb
	rm -rf "$(TOOLS)/build"

$(TOOLS)/bin/cargo-generate-rpm:
	CARGO_PROFILE_DEV_DEBUG=0 $(CARGO) install --locked --debug --version $(CARGO_GENERATE_RPM_VERSION) --root "$(TOOLS)" --target-dir "$(TOOLS)/build" cargo-generate-rpm
	rm -rf "$(TOOLS)/build"

.PHONY: clean
clean: ## Remove what was built
	$(CARGO) clean
