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
BENCH_ARGS ?= --objects 1000
PRIMITIVES := tests/cache tests/ratelimit tests/breaker tests/pool tests/queue tests/diff tests/objects tests/threads tests/isolated \
	tests/fuzz
# Neither long runs nor a real server.
QUICK := 'not slow and not kube'

# Where the real kube-apiserver lies, as for controller-runtime's envtest.
export KUBEBUILDER_ASSETS ?= $(wildcard $(abspath ../shared/envtest))

.PHONY: help venv build demo test lint types bench bench-controllers bench-plots wheel services clean \
	nightly hammer sanitize valgrind fuzz freethreaded races refleaks

help: ## list the tasks
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-18s %s\n", $$1, $$2}'

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
	$(BIN)/python .ci/semantics.py --check

types: $(BUILT) ## mypy strict, stubs against the binaries, basedpyright on the public surface
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest --mypy-config-file pyproject.toml fastcore._ext
	$(BIN)/basedpyright --level error

bench: $(BUILT) ## every primitive against its twin and its peers, as ratios
	$(BIN)/python -m pytest benchmarks --benchmark-only --benchmark-quiet -q $(PYTEST_ARGS)

bench-controllers: $(BUILT) ## the reference job beside kopf and controller-runtime: BENCH_ARGS='--objects 1000 --strict'
	mkdir -p build
	$(BIN)/python -m benchmarks.controllers --json build/controllers.json $(BENCH_ARGS)

bench-plots: $(BUILT) ## the same, drawn into docs/plots
	$(BIN)/python -m pip install --quiet -c constraints.txt --group plots
	mkdir -p build
	$(BIN)/python -m pytest benchmarks --benchmark-only --benchmark-quiet -q --benchmark-json build/bench.json $(PYTEST_ARGS)
	$(BIN)/python -m benchmarks.plots build/bench.json docs/plots

wheel: $(STAMP) ## sdist, wheel from the sdist, and a smoke test of it in an empty environment
	PYTHON=$(abspath $(BIN)/python) .ci/wheel

services: ## install the Debian servers that the tests can use
	.ci/services

# What follows proves the primitives on other builds. `make nightly` runs all of it that the machine can.

# The thread tests again and again: what goes wrong once in a hundred runs shows.
HAMMERINGS ?= 20
hammer: $(BUILT) ## the thread tests HAMMERINGS=20 times over
	for n in $$(seq $(HAMMERINGS)); do $(BIN)/python -X dev -m pytest tests/threads -q $(PYTEST_ARGS) || exit 1; done

# The extensions under gcc's sanitizers, in a tree of their own; the interpreter itself stays as it is.
SANITIZED := $(abspath build/sanitize)
sanitize: $(BUILT) ## the primitives' tests under the address and undefined-behaviour sanitizers
	FASTCORE_SANITIZE=address,undefined $(BIN)/python setup.py -q build --build-base $(SANITIZED) --build-lib $(SANITIZED)/lib
	LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" PYTHONMALLOC=malloc \
	ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 PYTHONPATH=$(SANITIZED)/lib \
	$(BIN)/python -m pytest $(PRIMITIVES) -m $(QUICK) --no-py $(PYTEST_ARGS)

# Everything that is lost, or touched after it was freed, seen by valgrind; .ci/memory.py says whose it is.
WATCHED := $(abspath build/valgrind)
WATCH := PYTHONMALLOC=malloc PYTHONPATH=$(WATCHED)/lib \
	valgrind --quiet --xml=yes --xml-file=$(WATCHED)/report.%p.xml --leak-check=full --show-leak-kinds=definite \
	--undef-value-errors=no --num-callers=40 --error-limit=no --max-threads=2000 $(BIN)/python
valgrind: $(BUILT) ## re-entrancy, cycles, hostile input and every scenario of the leak tests under valgrind
	FASTCORE_DEBUG=1 $(BIN)/python setup.py -q build --build-base $(WATCHED) --build-lib $(WATCHED)/lib
	rm -f $(WATCHED)/report.*
	$(WATCH) -m pytest -q -o timeout=900 -o faulthandler_timeout=0 --no-py $(PYTEST_ARGS) \
		tests/cache/test_reentrancy.py tests/cache/test_early_joins.py tests/queue/test_reentrancy.py \
		tests/isolated/test_cycles.py tests/fuzz
	$(WATCH) tests/isolated/leaks.py 5
	$(BIN)/python .ci/memory.py $(WATCHED)

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

# atheris, whose wheels are for few interpreters, preloads an address sanitizer; clang builds the extensions for both.
# What it found stays in build/fuzz for the next run; an input that fails is build/fuzz/TARGET-crash-....
FUZZED := $(abspath build/fuzz)
FUZZ_PYTHON ?= $(firstword $(foreach p,python3.11 python3.12 python3.13,$(if $(shell command -v $(p)),$(p))))
FUZZ_TIME ?= 60
FUZZ_TARGETS ?= $(patsubst tests/fuzz/fuzz_%.py,%,$(wildcard tests/fuzz/fuzz_*.py))
fuzz: export CC := clang
fuzz: export LDSHARED := clang -shared
fuzz: export FASTCORE_DEBUG := 1
fuzz: export FASTCORE_SANITIZE := fuzzer-no-link,address
fuzz: ## each of FUZZ_TARGETS for FUZZ_TIME=60 seconds, guided by what the compiled code does, needs clang
	$(call elsewhere,$(FUZZ_PYTHON),$(FUZZED),FUZZ_PYTHON=/path/to/python3.11)
	$(FUZZED)/venv/bin/python -m pip install --quiet --only-binary :all: 'atheris>=3'
	failed=; for target in $(FUZZ_TARGETS); do \
		mkdir -p $(FUZZED)/corpus/$$target; \
		LD_PRELOAD="$$(echo $(FUZZED)/venv/lib/python*/site-packages/asan_with_fuzzer.so)" PYTHONMALLOC=malloc \
		ASAN_OPTIONS=detect_leaks=0 PYTHONPATH=$(FUZZED)/lib:tests $(FUZZED)/venv/bin/python tests/fuzz/run.py \
			$$target $(FUZZED)/corpus/$$target -artifact_prefix=$(FUZZED)/$$target- -max_total_time=$(FUZZ_TIME) \
			-max_len=1500 -timeout=60 -rss_limit_mb=4096 >$(FUZZED)/$$target.log 2>&1 \
		&& echo "$$target: $$(grep -a '^Done ' $(FUZZED)/$$target.log)" \
		|| { echo "$$target failed:"; tail -n 60 $(FUZZED)/$$target.log; failed="$$failed $$target"; }; \
	done; test -z "$$failed"

# Other interpreters; make nightly uses those that are there.
FREETHREADED ?= $(firstword $(foreach p,python3.15t python3.14t python3.13t,$(shell command -v $(p))))
THREAD_SANITIZED ?=
DEBUG_PYTHON ?= $(firstword $(foreach p,python3.13-dbg python3.12-dbg python3.11-dbg,$(shell command -v $(p))))

FREE := $(abspath build/freethreaded)
freethreaded: HAMMERINGS := 1
freethreaded: ## the primitives' tests without a GIL, on FREETHREADED=/path/to/python3.14t
	$(call elsewhere,$(FREETHREADED),$(FREE),FREETHREADED=/path/to/python3.14t)
	PYTHONPATH=$(FREE)/lib $(FREE)/venv/bin/python -W error tests/smoke.py | grep 'the GIL stayed off'
	PYTHONPATH=$(FREE)/lib PYTHON_GIL=0 $(FREE)/venv/bin/python -X dev -m pytest $(PRIMITIVES) -m $(QUICK) $(PYTEST_ARGS)
	for n in $$(seq 2 $(HAMMERINGS)); do PYTHONPATH=$(FREE)/lib PYTHON_GIL=0 \
		$(FREE)/venv/bin/python -X dev -m pytest tests/threads -q $(PYTEST_ARGS) || exit 1; done

# For CPython built with --disable-gil --with-thread-sanitizer by clang.
RACES := $(abspath build/races)
races: export CC := clang
races: export LDSHARED := clang -shared
races: export FASTCORE_SANITIZE := thread
races: export TSAN_OPTIONS := report_bugs=0
races: ## data races under the thread sanitizer, on THREAD_SANITIZED=/path/to/python3.14t built with it
	$(call elsewhere,$(THREAD_SANITIZED),$(RACES),THREAD_SANITIZED=/path/to/python3.14t)
	rm -f $(RACES)/report.*
	TSAN_OPTIONS='log_path=$(RACES)/report exitcode=0' PYTHONPATH=$(RACES)/lib PYTHON_GIL=0 HAMMER_PATIENCE=800 \
	$(RACES)/venv/bin/python -m pytest tests/threads --no-py -o timeout=900 -o faulthandler_timeout=850 $(PYTEST_ARGS)
	$(RACES)/venv/bin/python .ci/races.py $(RACES)

COUNTED := $(abspath build/refleaks)
refleaks: export FASTCORE_DEBUG := 1
refleaks: ## the primitives' tests with assertions and counted references, on DEBUG_PYTHON=/path/to/python3.11-dbg
	$(call elsewhere,$(DEBUG_PYTHON),$(COUNTED),DEBUG_PYTHON=/path/to/python3.11-dbg)
	PYTHONPATH=$(COUNTED)/lib $(COUNTED)/venv/bin/python -X dev -m pytest $(PRIMITIVES) -m $(QUICK) --no-py $(PYTEST_ARGS)

export FREETHREADED THREAD_SANITIZED DEBUG_PYTHON
nightly: ## all of these, the long property runs and the tests marked slow; ends with what ran and what did not
	.ci/nightly

clean: ## remove everything that the tasks made
	rm -rf $(VENV) build dist .benchmarks src/*.egg-info
	find src -name '*.so' -delete
