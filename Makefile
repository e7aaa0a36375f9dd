# `make demo` and `make test` do all set-up: a virtual environment in .venv, dependencies pinned by hash, nothing else.
# PYTHON may name an interpreter (3.11, 3.12 or 3.13); REPO a git repository whose history `make demo` loads.

PYTHON ?=
REPO ?=
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
EXTRA ?=
BENCH := $(if $(EXTRA),$(VENV)/bench,$(VENV))

.PHONY: demo up test faults guards bench lint check format lock clean help

help:
	@echo "make demo    run the whole pipeline on sample data and git history (REPO=folder for another repository)"
	@echo "make up      embedded Postgres, Dagster's daemon and user interface, until Ctrl-C"
	@echo "make test    all tests            make lint    format, lint, types, import rules, Dagster definitions"
	@echo "make faults  kill, cut off and revoke things for an hour; the table goes to docs/reliability.md (FAULTS=names for some)"
	@echo "make guards  take away each guard of the record and see its tests go red"
	@echo "make bench   events per second and latency beside the same work without Dagster (EXTRA=1: and in other queues,"
	@echo "             in an environment of their own; BENCH_ARGS=\"--short\", \"--events 1000\", \"--help\")"
	@echo "make clean   remove the environment and all data of this checkout (stops the embedded server)"

demo: $(READY)
	@$(BIN)/neural demo $(if $(REPO),--repo "$(REPO)")

up: $(READY)
	@$(BIN)/neural up

# Tests with daemons need the machine for themselves. Exit code 5: PYTEST has selected none.
test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not daemons" $(PYTEST) || [ $$? -eq 5 ]
	$(BIN)/python -m pytest -m daemons $(PYTEST) || [ $$? -eq 5 ]

faults: $(READY)
	@$(BIN)/python -m neural_pipeline_tests.faults $(FAULTS) --write docs/reliability.md

guards: $(READY)
	@$(BIN)/python -m neural_pipeline_tests.guards

bench: $(BENCH)/ready
	@$(BENCH)/bin/python -m neural_pipeline_tests.benchmarks.fast $(BENCH_ARGS)

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports
	@mkdir -p $(VENV)/dagster
	DAGSTER_HOME="$(CURDIR)/$(VENV)/dagster" $(BIN)/dg check defs

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# One lock for all platforms and Python versions. It names no index: yours is used. The one with the queues of
# `make bench` differs in these alone.
COMPILE := pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
  --no-annotate pyproject.toml --group dev
lock: $(READY)
	$(BIN)/uv $(COMPILE) --output-file requirements/all.lock
	$(BIN)/uv $(COMPILE) --extra bench --constraint requirements/all.lock --output-file requirements/bench.lock

$(READY): requirements/uv.lock requirements/all.lock pyproject.toml bin/bootstrap
	@sh bin/bootstrap "$(VENV)" "$(PYTHON)"

$(VENV)/bench/ready: requirements/uv.lock requirements/bench.lock pyproject.toml bin/bootstrap
	@sh bin/bootstrap "$(VENV)/bench" "$(PYTHON)" requirements/bench.lock

clean:
	@if [ -x $(BIN)/neural ]; then $(BIN)/neural db remove --yes || true; fi
	rm -rf $(VENV) .neural .pytest_cache .ruff_cache .hypothesis .import_linter_cache
