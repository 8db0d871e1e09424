# Every command of the project. `make` alone lists them.
# VENV=folder puts the environment elsewhere; PYTHON=python3.12 makes it with another Python.

VENV   ?= .venv
PYTHON ?= python3

BIN    := $(VENV)/bin
UV     := $(BIN)/uv
STAMP  := $(VENV)/installed.stamp
# The peers that the benchmarks compare with are many and large: an environment of their own.
BENCH_VENV  ?= build/bench-venv
BENCH_STAMP := $(BENCH_VENV)/installed.stamp
PYTEST := $(BIN)/python -m pytest

export UV_HTTP_TIMEOUT ?= 300
# An environment that is active in the calling shell has no say in ours.
unexport VIRTUAL_ENV CONDA_PREFIX PYTHONHOME PYTHONPATH

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help install demo test test-slow test-servers bench check fmt lint types imports docs lock clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

install: $(STAMP) ## make or refresh the environment in .venv, from requirements.lock

# uv is taken from the lock too, by pip with its hash; then uv brings the environment in step with the lock.
$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	test -x $(UV) || { $(BIN)/python -m ensurepip --upgrade >/dev/null && \
		sed -n '/^uv==/,/[0-9a-f]$$/p' requirements.lock > $(VENV)/uv.lock && \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $(VENV)/uv.lock; }
	$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

demo: install ## verify, load, train and evaluate on the demo shards; no GPU, no download
	$(BIN)/fmrgb demo

test: install ## the quick tests, which need neither a network nor a server
	$(PYTEST)

test-slow: install ## the slow tests
	$(PYTEST) -m "slow and not network and not servers"

test-servers: install ## the tests against real servers; installs what can be: Ceph, nginx, Azurite, Google's emulator
	sh tests/support/install_servers.sh $(UV) $(BIN)/python
	$(PYTEST) -m servers

bench: $(BENCH_STAMP) ## all benchmarks, against the peers, into benchmarks/results; QUICK=1 is a trial
	$(BENCH_VENV)/bin/python -m benchmarks $(if $(QUICK),--quick)

$(BENCH_STAMP): requirements-bench.lock pyproject.toml $(STAMP)
	test -x $(BENCH_VENV)/bin/python || $(PYTHON) -m venv --without-pip $(BENCH_VENV)
	$(UV) pip sync --quiet --python $(BENCH_VENV)/bin/python --require-hashes requirements-bench.lock
	$(UV) pip install --quiet --python $(BENCH_VENV)/bin/python --no-deps --no-build-isolation --editable .
	@touch $@

check: lint types imports test ## all that a change has to pass

fmt: install ## format, and fix what can be fixed
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

lint: install ## ruff, format and spelling
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell

types: install ## pyright, strict on the package
	$(BIN)/pyright --pythonpath $(BIN)/python

imports: install ## who may import whom
	$(BIN)/lint-imports

docs: install ## the API as web pages, into build/docs
	$(BIN)/pdoc --output-directory build/docs --docformat google fmrgb_stream

LOCK = $(UV) pip compile --quiet --python $(BIN)/python --universal --fork-strategy fewest \
	--python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url \
	--no-emit-find-links $(if $(UPGRADE),--upgrade) pyproject.toml

lock: install ## resolve both locks anew; add UPGRADE=1 to take newer versions
	$(LOCK) --extra dev --output-file requirements.lock
# What stands in a file is kept where it can be: so both locks hold the same versions where peers allow it.
	cp requirements.lock requirements-bench.lock
	$(LOCK) --extra bench --output-file requirements-bench.lock

clean: ## remove what was made, the environment too
	rm -rf build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache $(VENV)
	find fmrgb_stream tests tools benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
