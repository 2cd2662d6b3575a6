# make run     set up, build, and open the workbench on the sample project
# make test    every check, the cheapest first: what has to pass before a change lands
# make check   the quick loop while writing: format, lints and tests of the layers without networks and window

.PHONY: help run test check format spelling dependencies lint doc tests setup-run setup-test
.DEFAULT_GOAL := help
.NOTPARALLEL:

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/driftscope
export PATH := $(CACHE)/tools/bin:$(PATH)
export CARGO_TERM_PROGRESS_WHEN ?= never

help:
	@sed -n 's/^# //p' Makefile | head -3

run: setup-run
	cargo build --release
	@if [ -n "$$DISPLAY$$WAYLAND_DISPLAY" ] || [ "$$(uname)" = Darwin ]; then \
		cargo run --quiet --release -- open data/sample; \
	else \
		echo "No display here (neither DISPLAY nor WAYLAND_DISPLAY is set): running the demo in the terminal."; \
		cargo run --quiet --release -- demo data/sample; \
	fi

test: setup-test format spelling dependencies lint doc tests

check:
	cargo fmt --all --check
	cargo clippy --no-default-features --lib --bins -- -D warnings
	cargo test --no-default-features --lib --test architecture

format:
	cargo fmt --all --check

spelling:
	typos

dependencies:
	cargo deny check licenses bans sources

# Without the features first: that is where a stray import of a network or of the window shows.
lint:
	cargo clippy --no-default-features --lib --bins -- -D warnings
	cargo clippy --no-default-features --features torch --lib --bins -- -D warnings
	cargo clippy --all-features --all-targets -- -D warnings

doc:
	RUSTDOCFLAGS="-D warnings" cargo doc --quiet --all-features --no-deps

# Pictures are compared with stored ones, so they are always painted by the same software renderer. One libtorch thread
# per test: the tests themselves run side by side.
tests: export WGPU_BACKEND = vulkan
tests: export VK_DRIVER_FILES = /usr/share/vulkan/icd.d/lvp_icd.$(shell uname -m).json
tests: export OMP_NUM_THREADS = 1
tests: export RUST_TEST_THREADS = 2
tests:
	cargo test --all-features

setup-run:
	@.ci/setup run

setup-test:
	@.ci/setup test
