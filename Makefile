# Two commands on a fresh machine: `make demo` and `make test`. Both rest on `make setup`.
# Needs Python 3.11 or newer and make; everything else comes from the package index, pinned with hashes.

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
STAMP := .venv/.set-up
JOBS ?= 2

.PHONY: setup demo test lint format bench constraints clean

setup: $(STAMP)

$(STAMP): constraints.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 or newer found"; echo "hint: install one, or run: make PYTHON=/path/to/python3 setup"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes -r constraints.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	$(BIN)/python -m compileall -q dbkit  # as pip does for what it installs: else a run that may not write compiles it all
	@touch $(STAMP)

# The main job on an embedded PostgreSQL 18: no server, no Docker, nothing to configure.
demo: setup
	$(BIN)/dbkit demo

test: setup
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(ARGS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Each benchmark runs both sides in one go and prints the ratio. WHICH=bench_indexes runs one of them.
bench: setup
	@for file in tests/bench/$(or $(WHICH),bench_*).py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

# Pins every dependency for every platform; `pip install uv` first.
constraints:
	uv pip compile pyproject.toml --all-extras --group dev --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-annotate --no-header --quiet -o constraints.txt

clean:
	rm -rf .venv build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
