# Each target sets up what it needs on a fresh machine, once, in .venv; what is set up works without a network.
# Needs Python >= 3.11 with venv; `make test` also a C compiler (gcc, cmake), because it builds one engine from source.

VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check
DEFINITIONS := pyproject.toml constraints.txt
# An environment does not survive a move (its scripts and the editable install hold absolute paths), so the stamps
# carry the place: in a moved or copied clone they are missing, and the environment is made anew.
PLACE := $(shell printf '%s' '$(CURDIR)' | cksum | cut -d ' ' -f 1)
MADE := $(VENV)/.made-$(PLACE)
RUNS := $(VENV)/.runs-$(PLACE)
DEVELOPS := $(VENV)/.develops-$(PLACE)
TESTS := $(VENV)/.tests-$(PLACE)

BENCHMARKS := $(patsubst benchmarks/%.py,%,$(wildcard benchmarks/[a-z]*.py))
# Not costs but proofs: they play hundreds of requests on real engines.
LONG := injected_causes injected_prices policy_agreement ttft_inversion rehearsed_levers \
  ab_levers noise_floor residency_prediction perplexity_agreement speed_agreement tuning

.PHONY: help demo test lint types check docs bench proofs format clean

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 16

demo: $(RUNS)  ## measure the bundled tiny model on llama-server: two or three minutes, compiles nothing
	@$(VENV)/bin/dyno demo

# A process for each core, up to four: engines run on one thread, and a file's tests share its engine.
test: $(TESTS)  ## the tests, on real engines; ARGS="-k verdict" goes to pytest
	@$(PY) -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile $(ARGS)

lint: $(DEVELOPS)  ## ruff: rules and format
	@$(PY) -m ruff check
	@$(PY) -m ruff format --check

# With every engine installed: whether one is there changes what its types are.
types: $(TESTS)  ## mypy and pyright, both strict
	@$(PY) -m mypy
	@$(PY) -m pyright --pythonpath $(PY)

check: lint types  ## lint and types

docs: $(DEVELOPS)  ## whether README and docs/ say what the program does
	@$(PY) -m pytest -q tests/test_docs.py

bench: $(DEVELOPS)  ## what dyno itself costs: a few minutes
	@for name in $(filter-out $(LONG),$(BENCHMARKS)); do echo "== $$name"; $(PY) -m "benchmarks.$$name" || exit 1; done

proofs: $(TESTS)  ## how far dyno's inferences hold, on real engines: up to two hours
	@for name in $(LONG); do echo "== $$name"; $(PY) -m "benchmarks.$$name" || exit 1; done

format: $(DEVELOPS)  ## ruff: sort imports, format
	@$(PY) -m ruff check --fix-only --select I
	@$(PY) -m ruff format

clean:  ## remove the environment, caches and built packages; runs/ stays
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(MADE):
	@for python in $(PYTHON) python3.13 python3.12 python3.11 python3; do \
	  "$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; \
	  python=; done; \
	[ -n "$$python" ] || { \
	  echo 'no Python >= 3.11 with venv and pip found (tried python3.13, 3.12, 3.11, python3);' >&2; \
	  echo 'install one (on Debian also python3-venv), or name it: make PYTHON=/path/to/python3' >&2; exit 1; }; \
	echo "== .venv with $$("$$python" --version)"; "$$python" -m venv --clear $(VENV)
	@touch $@

$(RUNS): $(MADE) $(DEFINITIONS)
	@echo '== dyno and llama-server, prebuilt (once)'
	@$(PIP) install --only-binary :all: -c constraints.txt -e '.[llama-server,charts]'
	@touch $@

$(DEVELOPS): $(MADE) $(DEFINITIONS)
	@echo '== dyno, llama-server and the tools of development, prebuilt (once)'
	@$(PIP) install --only-binary :all: -c constraints.txt -e '.[dev,llama-server,charts]'
	@touch $(RUNS) $@

$(TESTS): $(DEVELOPS)
	@echo '== mlx-lm and the openai client, prebuilt (once; about 180 MB)'
	@$(PIP) install --only-binary :all: -c constraints.txt -e '.[mlx,openai,tune]'
	@echo '== llama-cpp-python, compiled from source (once; about 4 minutes on 2 cores)'
	@$(PIP) install -c constraints.txt -e '.[llama-cpp,llama-cpp-server]' || { \
	  echo 'the build failed: it needs gcc and g++ (or clang); its log is above' >&2; exit 1; }
	@touch $@
