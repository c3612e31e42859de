# The tasks; .ci/run and the hosted workflows call the same targets. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= $(firstword $(foreach p,python3.11 python3.12 python3.13 python3.14 python3.15 python3,$(if $(shell command -v $(p)),$(p))))
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SOURCES := $(wildcard src/fastcore/_ext/*.pyx src/fastcore/_ext/*.pxd)
BUILT := $(VENV)/.built
PYTEST_ARGS ?=
PRIMITIVES := tests/cache tests/ratelimit tests/breaker tests/pool tests/queue tests/diff tests/threads tests/isolated

# Where the real kube-apiserver lies, as for controller-runtime's envtest.
export KUBEBUILDER_ASSETS ?= $(wildcard $(abspath ../shared/envtest))

.PHONY: help venv build demo test lint types bench bench-plots wheel services nightly sanitize freethreaded races refleaks clean

help: ## list the tasks
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "no python3 found; set PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet -c constraints.txt --group dev
	touch $@

venv: $(STAMP) ## create .venv with everything the tasks need

$(BUILT): $(STAMP) setup.py $(SOURCES)
	$(BIN)/python -m pip install --quiet --no-build-isolation -c constraints.txt -e '.[controller]'
	touch $@

build: $(BUILT) ## compile the extensions in place

demo: $(BUILT) ## the whole scenario on the embedded API server
	$(BIN)/fastcore demo

test: $(BUILT) ## every test that this machine can run
	$(BIN)/python -X dev -m pytest $(PYTEST_ARGS)

lint: $(STAMP) ## formatting, style, Cython, layers, spelling, workflows
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/cython-lint src/fastcore/_ext
	PYTHONPATH=src $(BIN)/lint-imports --no-cache
	$(BIN)/codespell src tests docs examples benchmarks *.md
	$(BIN)/validate-pyproject pyproject.toml
	$(BIN)/zizmor --offline --quiet .github/workflows
	$(BIN)/python .ci/wheel_matrix.py

types: $(BUILT) ## mypy strict, stubs against the binaries, basedpyright on the public surface
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest --mypy-config-file pyproject.toml fastcore._ext
	$(BIN)/basedpyright --level error

bench: $(BUILT) ## every primitive against its twin and its peers, as ratios
	$(BIN)/python -m pytest benchmarks --benchmark-only --benchmark-quiet -q $(PYTEST_ARGS)

bench-plots: $(BUILT) ## the same, drawn into docs/plots
	$(BIN)/python -m pip install --quiet -c constraints.txt --group plots
	mkdir -p build
	$(BIN)/python -m pytest benchmarks --benchmark-only --benchmark-quiet -q --benchmark-json build/bench.json $(PYTEST_ARGS)
	$(BIN)/python -m benchmarks.plots build/bench.json docs/plots

wheel: $(STAMP) ## sdist, wheel from the sdist, and a smoke test of it in an empty environment
	PYTHON=$(abspath $(BIN)/python) .ci/wheel

services: ## install the Debian servers that the tests can use
	.ci/services

# Other interpreters for the primitives; make nightly uses those that are there.
FREETHREADED ?= $(firstword $(foreach p,python3.15t python3.14t python3.13t,$(shell command -v $(p))))
THREAD_SANITIZED ?=
DEBUG_PYTHON ?= $(firstword $(foreach p,python3.13-dbg python3.12-dbg python3.11-dbg,$(shell command -v $(p))))
ELSEWHERE := $(if $(FREETHREADED),freethreaded) $(if $(THREAD_SANITIZED),races) $(if $(DEBUG_PYTHON),refleaks)

nightly: $(BUILT) sanitize $(ELSEWHERE) ## sanitizers, other interpreters, long property runs and the tests marked slow
	$(BIN)/python -X dev -m pytest --nightly $(PYTEST_ARGS)

# The extensions under gcc's sanitizers, in a tree of their own; the interpreter itself stays as it is.
SANITIZED := $(abspath build/sanitize)
sanitize: $(BUILT) ## the primitives' tests under the address and undefined-behaviour sanitizers
	FASTCORE_SANITIZE=address,undefined $(BIN)/python setup.py -q build --build-base $(SANITIZED) --build-lib $(SANITIZED)/lib
	LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" PYTHONMALLOC=malloc \
	ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 PYTHONPATH=$(SANITIZED)/lib \
	$(BIN)/python -m pytest $(PRIMITIVES) --no-py $(PYTEST_ARGS)

# The extensions built for the interpreter $(1), in an environment in $(2); .venv has no part in it. Binaries where
# there are any: not every dependency builds on every interpreter, and its older releases will do.
define elsewhere
	@test -n "$(1)" || { echo "make $@ needs an interpreter: make $@ $(3)" >&2; exit 1; }
	$(1) -m venv $(2)/venv
	$(2)/venv/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(2)/venv/bin/python -m pip install --quiet --prefer-binary --group build \
		numpy prometheus-client pytest pytest-timeout hypothesis cachetools PyYAML
	$(2)/venv/bin/python setup.py -q build --build-base $(2) --build-lib $(2)/lib
endef

FREE := $(abspath build/freethreaded)
freethreaded: ## the primitives' tests without a GIL, on FREETHREADED=/path/to/python3.14t
	$(call elsewhere,$(FREETHREADED),$(FREE),FREETHREADED=/path/to/python3.14t)
	PYTHONPATH=$(FREE)/lib $(FREE)/venv/bin/python -W error tests/smoke.py | grep 'the GIL stayed off'
	PYTHONPATH=$(FREE)/lib PYTHON_GIL=0 $(FREE)/venv/bin/python -X dev -m pytest $(PRIMITIVES) $(PYTEST_ARGS)

# For CPython built with --disable-gil --with-thread-sanitizer by clang.
RACES := $(abspath build/races)
races: export CC := clang
races: export LDSHARED := clang -shared
races: export FASTCORE_SANITIZE := thread
races: export TSAN_OPTIONS := report_bugs=0
races: ## data races under the thread sanitizer, on THREAD_SANITIZED=/path/to/python3.14t built with it
	$(call elsewhere,$(THREAD_SANITIZED),$(RACES),THREAD_SANITIZED=/path/to/python3.14t)
	rm -f $(RACES)/report.*
	TSAN_OPTIONS='log_path=$(RACES)/report exitcode=0' PYTHONPATH=$(RACES)/lib PYTHON_GIL=0 \
	$(RACES)/venv/bin/python -m pytest tests/threads --no-py $(PYTEST_ARGS)
	$(RACES)/venv/bin/python .ci/races.py $(RACES)

COUNTED := $(abspath build/refleaks)
refleaks: export FASTCORE_DEBUG := 1
refleaks: ## the primitives' tests with assertions and counted references, on DEBUG_PYTHON=/path/to/python3.11-dbg
	$(call elsewhere,$(DEBUG_PYTHON),$(COUNTED),DEBUG_PYTHON=/path/to/python3.11-dbg)
	PYTHONPATH=$(COUNTED)/lib $(COUNTED)/venv/bin/python -X dev -m pytest $(PRIMITIVES) --no-py $(PYTEST_ARGS)

clean: ## remove everything that the tasks made
	rm -rf $(VENV) build dist .benchmarks src/*.egg-info
	find src -name '*.so' -delete
