# Thin verbs over the command line `ssm-bench`; `make help` lists them.
.DEFAULT_GOAL := help

VENV ?= .venv

# An environment that is ready to use (a GPU machine with its own JAX): SSM_BENCH_PYTHON=/path/to/python.
# Nothing is installed into it. Otherwise $(VENV) is made once, and again when the lock changes.
ifdef SSM_BENCH_PYTHON
RUN := $(SSM_BENCH_PYTHON)
READY :=
else
RUN := $(VENV)/bin/python
READY := $(VENV)/.installed
endif
BENCH := $(RUN) -m ssm_bench

PRESET ?= quick
BUDGET ?=
MODEL ?= s5
TASK ?= listops
JOBS ?= auto
ARGS ?=

.PHONY: help setup lock data test test-thorough smoke test-gpu check docs reproduce-table table bench

help: ## print this list
	@echo "usage: make VERB [VARIABLE=value ...]"
	@echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' Makefile | while IFS='|' read -r verb text; do printf '%-18s %s\n' "$$verb" "$$text"; done
	@echo
	@echo "  VENV=.venv            where the environment is made; PYTHON=python3.13 chooses what makes it"
	@echo "  SSM_BENCH_PYTHON=...  use this interpreter and its packages as they are, install nothing"

setup: $(READY) ## make the environment; EXTRAS=cuda13, tpu or data adds to it
ifneq ($(EXTRAS),)
	$(RUN) -m pip install -qq --no-build-isolation --editable ".[$(EXTRAS)]"
endif
	@echo "ready: $(RUN)"

$(VENV)/.installed: pyproject.toml constraints.txt constraints-3.13.txt
	@VENV="$(VENV)" PYTHON="$(PYTHON)" sh scripts/setup.sh

lock: ## resolve both locks from pyproject.toml; needs Python 3.11 and 3.13
	@sh scripts/lock.sh

data: $(READY) ## prepare the data sets found on this machine; ARGS="text image" for some of them
	$(BENCH) data prepare $(or $(ARGS),all)

test: $(READY) ## run the tests; JOBS=2 processes, ARGS="tests/ops -x" for some of them
	$(RUN) -m pytest -n $(JOBS) --maxprocesses 8 $(ARGS)

test-thorough: $(READY) ## run the tests that `make test` leaves out: more cases, faults, clusters, published sizes
	$(RUN) -m pytest -n $(JOBS) --maxprocesses 8 -m "thorough and not gpu" $(ARGS)

# A file or two of every layer: what breaks first with other versions of Python, JAX, Flax and Orbax.
SMOKE := tests/ops/test_recurrence.py tests/interop tests/network/test_build.py tests/training/test_checkpoint.py tests/api

smoke: $(READY) ## run about a minute of the tests, for another version: VENV=.venv-3.13 PYTHON=python3.13
	$(RUN) -m pytest -n $(JOBS) --maxprocesses 8 $(SMOKE) $(ARGS)

test-gpu: $(READY) ## on a machine with an NVIDIA GPU: what the kernels compute there, against float64
	SSM_BENCH_TEST_PLATFORM=cuda $(RUN) -m pytest -m gpu tests/gpu $(ARGS)

check: $(READY) ## lint, format, types, import contracts, spelling, records, tables and figures that still follow from them
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m pyright --pythonpath "$$($(RUN) -c 'import sys; print(sys.executable)')"
	$(RUN) -c 'from importlinter.cli import lint_imports_command as main; main()' --no-logo --no-cache
	$(RUN) -m codespell_lib
	$(BENCH) table --check
	$(BENCH) verify

docs: $(READY) ## build the documentation site in build/site, with warnings as errors
	$(RUN) scripts/site.py build/docs
	@# Without --quiet, under which --strict sees no warnings.
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --strict

reproduce-table: $(READY) ## train every model on every task, print the table and write results/report.html; PRESET=quick, budget or paper, BUDGET=2h
	$(BENCH) sweep --preset $(PRESET) $(if $(BUDGET),--budget $(BUDGET)) $(ARGS)

table: $(READY) ## write the tables and results/report.html from the committed records; ARGS="--check" to compare only
	$(BENCH) table $(ARGS)

bench: $(READY) ## time one training step; MODEL=s5 TASK=listops
	$(BENCH) bench step --model $(MODEL) --task $(TASK) $(ARGS)
