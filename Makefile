# The front door. `make run` and `make test` need Python 3.11+ and nothing else.
PYTHON ?= python3
BIN := .venv/bin

# Not the bench-… targets: make looks for no pattern rule for what is phony.
.PHONY: run test test-slow check lint types unit install docs bench down clean

run: .venv/installed
	@$(BIN)/agent-memory up --detach
	@$(BIN)/agent-memory welcome

test: check
	$(BIN)/python -m pytest -m 'not slow'

# A small model is really trained: a quarter of an hour on two cores.
test-slow: .venv/dev
	$(BIN)/python -m pytest -m slow

check: lint types

lint: .venv/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: .venv/dev
	$(BIN)/mypy

unit: .venv/dev
	$(BIN)/python -m pytest tests/unit

install: .venv/installed

down:
	$(BIN)/agent-memory down

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'agent-memory needs Python 3.11 or newer: make run PYTHON=/path/to/python3'; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'

.venv/installed: .venv/bin/python pyproject.toml
	@echo 'Installing into .venv (400 MB, once; some minutes) …'
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

.venv/dev: .venv/installed
	$(BIN)/python -m pip install --quiet --editable '.[finetune]' --no-binary claude-agent-sdk --group dev
	@touch $@

docs: .venv/dev
	@$(BIN)/python docs/reference.py

# Every figure, held against those of bench/results.json. ONLY="hook ingest" measures some.
bench: .venv/dev
	$(BIN)/python -m bench.all $(ONLY)

# The latest figures become those that others are held against.
bench-accept: .venv/dev
	$(BIN)/python -m bench.all accept

bench-recall-scale: .venv/dev
	$(BIN)/python -m bench.recall_scale $(SIZES)

bench-%: .venv/dev
	$(BIN)/python -m bench.$* $(ARGS)

clean:
	rm -rf .venv
