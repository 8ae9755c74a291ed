# Every job of the project by name. Two of them are all that a fresh clone needs:
#
#     make demo     see it run
#     make test     every check there is
#
# What they need is made in the checkout: a virtual environment in $(VENV), cargo's output in
# target/. Nothing is installed outside. PYTHON chooses the interpreter (3.11 or newer), VENV the
# environment, PROFILE how the extension is compiled for `develop` and `test`.

SUPPORTED := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))
PYTHON  ?= $(firstword $(foreach p,python3 python3.13 python3.12 python3.11 python3.14,$(shell $(p) -c '$(SUPPORTED)' 2>/dev/null && echo $(p))))
VENV    ?= .venv
PROFILE ?= dev

# pyo3 compiles against one interpreter: each environment but the default has a target folder of
# its own, so that going back and forth between versions does not compile everything again.
TARGET  := target$(if $(filter .venv,$(VENV)),,/$(notdir $(VENV)))
PY      := $(VENV)/bin/python
INSTALL := $(PY) -m pip install --disable-pip-version-check --progress-bar off
export CARGO_TARGET_DIR := $(CURDIR)/$(TARGET)
# What cargo compiles outside of maturin (clippy, doc) sees the same interpreter as maturin does.
CARGO   := PYO3_PYTHON=$(abspath $(PY)) cargo
# Several runs of pytest take options from here: make py-test PYTEST="-k gather -x"
PYTEST  ?=

say = @printf '\n\033[1m== %s\033[0m\n' "$(1)"

.PHONY: help
help: ## This list
	@awk -F ':.*## ' '/^[a-z0-9.-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  PYTHON=$(PYTHON)  VENV=$(VENV)  PROFILE=$(PROFILE)"

# --- environment ---------------------------------------------------------------------------

.PHONY: venv
venv: $(VENV)/.made ## The virtual environment with all that building and testing needs

$(VENV)/.base:
	$(call say,virtual environment $(VENV))
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer with venv found: name one with PYTHON=/path/to/python3"; exit 1; }
	@command -v cargo >/dev/null || { echo "cargo is not on PATH: roundel is built with Rust"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --upgrade 'pip>=25.1'
	@touch $@

$(VENV)/.made: $(VENV)/.base pyproject.toml
	$(call say,tools for building and testing)
	$(INSTALL) --group dev
	@touch $@

$(VENV)/.ecosystem: $(VENV)/.made
	$(call say,other people's libraries)
	$(INSTALL) --group ecosystem
	@touch $@

$(VENV)/.bench: $(VENV)/.made
	$(call say,the loops to measure against)
	$(INSTALL) --group bench
	@touch $@

# --- building ------------------------------------------------------------------------------

.PHONY: develop
develop: $(VENV)/.made ## Compile the extension and install the package in place (PROFILE=dev)
	$(call say,build: profile $(PROFILE) for $(VENV))
	. $(VENV)/bin/activate && maturin develop --profile $(PROFILE)
	@$(MAKE) --no-print-directory extension

.PHONY: extension
extension: $(VENV)/.made ## The example of an extension on the bridge, and the tests' own, into the environment
	$(call say,extensions on the bridge: profile $(PROFILE))
	. $(VENV)/bin/activate && maturin develop --quiet --profile $(PROFILE) --manifest-path examples/extension/Cargo.toml
	. $(VENV)/bin/activate && maturin develop --quiet --profile $(PROFILE) --manifest-path tests/extension/Cargo.toml

.PHONY: build
build: ## The same, optimised: what the benchmarks and the demo run
	@$(MAKE) --no-print-directory develop PROFILE=release

.PHONY: demo
demo: $(VENV)/.base ## Build, install, and run one program on asyncio and on roundel, side by side
	$(call say,build and install roundel)
	$(INSTALL) --group build
	. $(VENV)/bin/activate && maturin develop --release
	$(call say,one program on two loops)
	@$(PY) scripts/demo.py

.PHONY: wheel
wheel: $(VENV)/.made ## An optimised wheel in dist/, tried in a clean environment
	$(call say,wheel)
	$(VENV)/bin/maturin build --release --interpreter $(PY) --out dist
	$(call say,the wheel in a clean environment)
	@rm -rf $(TARGET)/clean-venv && $(PY) -m venv $(TARGET)/clean-venv
	@$(TARGET)/clean-venv/bin/python -m pip install --disable-pip-version-check --no-index --find-links dist --no-deps roundel
	@cd $(TARGET) && clean-venv/bin/roundel --version && clean-venv/bin/roundel run $(CURDIR)/examples/python/overlap.py

# --- tests ---------------------------------------------------------------------------------

.PHONY: test
test: ## Every check: Rust tests, Python tests, random programs, stubs, lint, docs, CPython's own suite
	@$(MAKE) --no-print-directory rust-test
	@$(MAKE) --no-print-directory loom
	@$(MAKE) --no-print-directory develop
	@$(MAKE) --no-print-directory py-test
	@$(MAKE) --no-print-directory fuzz
	@$(MAKE) --no-print-directory observe
	@$(MAKE) --no-print-directory stubtest
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory docs
	@$(MAKE) --no-print-directory cpython
	$(call say,all checks passed)

.PHONY: rust-test
rust-test: ## The Rust tests
	$(call say,Rust tests)
	cargo test --package roundel-core --package roundel

.PHONY: loom
loom: ## The inbox and the tasks' memory under the interleavings of their threads
	$(call say,the inbox and the tasks under loom)
	RUSTFLAGS="--cfg loom" CARGO_PROFILE_RELEASE_LTO=off CARGO_TARGET_DIR=$(CARGO_TARGET_DIR)/loom \
	    cargo test --package roundel-core --package roundel --release --test loom_inbox --test loom_task

.PHONY: py-test
py-test: ## The Python tests, on what `make develop` installed last
	$(call say,Python tests: $$($(PY) --version))
	ROUNDEL_TESTS_REQUIRE=1 $(PY) -m pytest $(PYTEST)

.PHONY: observe
observe: $(VENV)/.made ## What the probe is told, on an extension built with a probe that writes down
	$(call say,the probe's hooks)
	scripts/observe.sh $(PY)

.PHONY: fuzz
fuzz: ## Random programs, transports and sockets on asyncio and on roundel (ROUNDEL_FUZZ_EXAMPLES=n for more)
	$(call say,random programs on two loops)
	ROUNDEL_TESTS_REQUIRE=1 $(PY) -m pytest tests/fuzz $(PYTEST)

.PHONY: ecosystem
ecosystem: $(VENV)/.ecosystem ## Servers, clients and drivers that people use, on what `make develop` installed last
	$(call say,the ecosystem: $$($(PY) --version))
	$(PY) -m pytest tests/ecosystem

.PHONY: cpython
cpython: ## CPython's own asyncio tests, on roundel's loop, Task and Future
	$(call say,CPython's own asyncio tests: $$($(PY) --version))
	$(PY) -m tests.cpython

.PHONY: stubtest
stubtest: ## The extension's stubs against the extension
	$(call say,stubs)
	$(PY) -m mypy.stubtest roundel._roundel

.PHONY: lint
lint: $(VENV)/.made ## rustfmt, clippy, ruff, mypy --strict: a warning is an error
	$(call say,lint)
	cargo fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(PY) -m mypy

.PHONY: format
format: $(VENV)/.made ## Put every file into the project's format
	cargo fmt --all
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

.PHONY: docs
docs: $(VENV)/.made ## rustdoc, a warning is an error (pages and links: tests/test_package.py)
	$(call say,docs)
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --document-private-items

.PHONY: test-all-pythons
test-all-pythons: ## The Python tests and CPython's suite on every supported Python found here
	@scripts/pythons.sh | while read -r version python; do \
	    $(MAKE) --no-print-directory develop py-test cpython PYTHON=$$python VENV=.venv-$$version </dev/null || exit 1; \
	done

.PHONY: test-3.14 test-3.15
test-3.14: ## The same on Python 3.14, in a root folder that debootstrap makes (needs root; PROFILE, PYTEST)
test-3.15: ## And on 3.15
test-3.14 test-3.15:
	$(call say,Python $(@:test-%=%) in a root folder)
	@PROFILE=$(PROFILE) PYTEST="$(PYTEST)" scripts/debian_python.sh $(@:test-%=%) test

.PHONY: refused
refused: ## That a free-threaded Python is refused, in words (PYTHON=python3.14t)
	scripts/refused.sh $(PYTHON)

.PHONY: portable
portable: ## The kernel's tests on the poller that other Unixes use
	$(call say,Rust tests on the portable poller)
	cargo test --package roundel-core --features portable

.PHONY: sanitize
sanitize: ## The Rust tests under the address and thread sanitizers (nightly Rust)
	scripts/sanitize.sh

.PHONY: sanitize-python
sanitize-python: $(VENV)/.made ## The Python tests under the address sanitizer, the debug allocator and valgrind
	PYTHON=$(PY) scripts/sanitize-python.sh address stress valgrind

.PHONY: soak
soak: build ## Ten minutes of everything at once, with accidents (SOAK="--minutes 60")
	$(PY) scripts/soak.py $(SOAK)

.PHONY: leak
leak: ## A million tasks, cycles through every native object: memory comes back
	$(call say,leaks)
	ROUNDEL_TESTS_REQUIRE=1 $(PY) -m pytest -v tests/test_gc.py tests/test_gc_loop.py tests/test_leaks.py

# --- figures -------------------------------------------------------------------------------

.PHONY: bench
bench: $(VENV)/.bench build ## Side by side with asyncio, uvloop, rloop, blazio (BENCH="--quick", "--rows a,b"; --markdown writes docs/)
	$(call say,benchmarks)
	$(PY) benches/run.py $(BENCH)

.PHONY: bench-load
bench-load: $(VENV)/.bench build ## Many connections, mixed sizes, a noisy neighbour: requests/s, latencies, memory (LOAD="--rounds 5")
	$(call say,open-ended load)
	$(PY) benches/crowd.py $(LOAD)

.PHONY: bench-memory
bench-memory: $(VENV)/.bench build ## Bytes for each idle future, pending timer and sleeping task, side by side
	$(call say,memory)
	$(PY) benches/memory.py

.PHONY: bench-rust
bench-rust: ## The crate beside tokio, smol, monoio, compio, glommio and a bound (BENCH="--quick", "--rows a,b"; --markdown writes docs/)
	$(call say,the crate beside other runtimes)
	@CARGO_TARGET_DIR=$(CARGO_TARGET_DIR)/benches cargo build --release --manifest-path benches/rust/Cargo.toml
	@$(PYTHON) benches/crate.py $(CARGO_TARGET_DIR)/benches/release/roundel-benches $(BENCH)

.PHONY: bench-bridge
bench-bridge: $(VENV)/.made build ## Rust futures awaited from Python, beside pyo3-async-runtimes with tokio (BRIDGE="--rounds 3")
	$(call say,Rust futures awaited from Python)
	PYO3_BUILD_EXTENSION_MODULE=1 CARGO_TARGET_DIR=$(CARGO_TARGET_DIR)/benches $(CARGO) build --release --manifest-path benches/bridge/Cargo.toml
	$(PY) benches/bridge/run.py --folder $(CARGO_TARGET_DIR)/benches/release $(BRIDGE)

# The count is worth something for the optimised extension only: `build`, whatever PROFILE says.
.PHONY: bench-instructions
bench-instructions: $(VENV)/.made build ## Instructions for an operation, against the record (RECORD=1 writes it)
	$(call say,instructions: $$($(PY) --version))
	$(PY) benches/instructions.py check $(if $(RECORD),--record)

.PHONY: probe-cost
probe-cost: ## Instructions of a loop with the empty probe against one without the calls
	scripts/probe-cost.sh

.PHONY: clean
clean: ## Remove the environments, cargo's output and the wheels
	rm -rf .venv .venv-* target dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find python tests examples benches scripts -name __pycache__ -type d -prune -exec rm -rf {} +
	find python -name '*.so' -delete
