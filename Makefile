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
PRIMITIVES := tests/cache tests/ratelimit tests/breaker tests/pool tests/queue tests/diff

# Where the real kube-apiserver lies, as for controller-runtime's envtest.
export KUBEBUILDER_ASSETS ?= $(wildcard $(abspath ../shared/envtest))

.PHONY: help venv build demo test lint types bench wheel services nightly sanitize clean

help: ## list the tasks
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

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

wheel: $(STAMP) ## sdist, wheel from the sdist, and a smoke test of it in an empty environment
	PYTHON=$(abspath $(BIN)/python) .ci/wheel

services: ## install the Debian servers that the tests can use
	.ci/services

nightly: $(BUILT) sanitize ## sanitizers, long property runs and the tests marked slow
	$(BIN)/python -X dev -m pytest --nightly $(PYTEST_ARGS)

# The extensions under gcc's sanitizers, in a tree of their own; the interpreter itself stays as it is.
SANITIZED := build/sanitize
sanitize: $(BUILT) ## the primitives' tests under the address and undefined-behaviour sanitizers
	FASTCORE_SANITIZE=address,undefined $(BIN)/python setup.py -q build --build-base $(SANITIZED) --build-lib $(SANITIZED)/lib
	LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" PYTHONMALLOC=malloc \
	ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 PYTHONPATH=$(SANITIZED)/lib \
	$(BIN)/python -m pytest $(PRIMITIVES) -k "not py" $(PYTEST_ARGS)

clean: ## remove everything that the tasks made
	rm -rf $(VENV) build dist .benchmarks src/*.egg-info
	find src -name '*.so' -delete
