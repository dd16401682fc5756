# Keha. `make help` lists what there is.

CARGO ?= cargo
.DEFAULT_GOAL := help
.PHONY: help run test planted torture lint bench acceptance needs

help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

run: ## builds Keha and records four built-in cameras: nothing to configure
	$(CARGO) run --release -p keha -- demo

needs: ## installs the programs that tests use, or says which are missing
	@.ci/install

# The binary under test is the dev one: dependencies are optimised there too, and one build is enough.
test: needs ## every test, with real cameras, real kills and foreign programs as judges
	$(CARGO) build -p keha
	RUST_BACKTRACE=0 $(CARGO) test --workspace --no-fail-fast
	$(MAKE) planted

# What only these tests are built with; PLANT=Flush tries the bugs with that in their names alone.
planted: ## breaks the ring filesystem in a hundred ways, one after the other: its proof must find each
	KEHA_PLANT=$(PLANT) RUST_BACKTRACE=0 $(CARGO) test -p keha-fs --lib --features planted-bugs planted_tests

# It goes on where it was stopped: what is done stands in target/torture.state. DURATION is in seconds; a thirtieth of it goes to
# fuzzing what cameras send (by default a minute for each of eight readers).
TORTURE = RUST_BACKTRACE=0 CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS=true CARGO_PROFILE_RELEASE_LTO=off $(CARGO) test --release
DURATION ?= 14400
torture: ## hours of the ring filesystem's proof on every core, and of fuzzing what cameras send: DURATION=600 (seconds; four hours)
	@mkdir -p target
	KEHA_TORTURE_SECONDS=$$(($(DURATION) / 30)) $(TORTURE) -p keha-recorder --lib -- --ignored --exact fuzz::torture --nocapture
	KEHA_TORTURE_STATE=$(CURDIR)/target/torture.state KEHA_TORTURE_SECONDS=$$(($(DURATION) - $(DURATION) / 30)) \
	$(TORTURE) -p keha-fs --lib -- --ignored --exact proof::torture::torture --nocapture

lint: ## formatting, clippy, rustdoc, and the dependencies' licences and sources
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) clippy -p keha-fs --lib --profile test --features planted-bugs -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --document-private-items
	@if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny check bans licenses sources; \
	else echo "cargo-deny is not installed: licences and sources were not checked"; fi

bench: ## what storing, recording and giving back cost, as ratios on this machine (release build, an hour)
	@.ci/install fio
	$(CARGO) build --release -p keha
	$(CARGO) run --release -p keha-tests --bin bench_storage
	$(CARGO) run --release -p keha-tests --bin bench_record
	$(CARGO) run --release -p keha-tests --bin bench
	$(CARGO) run --release -p keha-tests --bin bench_http
	$(CARGO) run --release -p keha-tests --bin bench_timeline
	$(CARGO) run --release -p keha-tests --bin bench_reading
	KEHA_BENCH_DIR=$(CURDIR)/target $(CARGO) test --release -p keha-fs --lib -- --ignored --nocapture opening_after_a_crash

# The points of acceptance in full size, with the release binary; POINT= one of them, or POINT=COUNT for kill, kills, killed, powercut ...
# GROUND= where volumes lie and how recorders are started: file, threads, io_uring, partition, sandbox, unprivileged, or all
POINT ?= all
GROUND ?= file
acceptance: needs ## the promises in full size (hours): POINT=frames|clock|kill|kills|powercut|stalls|diskerrors|clocks|lap|copy|scrub|...
	$(CARGO) build --release -p keha
	$(CARGO) build --release -p keha-tests --bin acceptance
	KEHA_GROUND=$(GROUND) $(CARGO) run --release -p keha-tests --bin acceptance -- $(POINT)
