.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z.-]+:.*## / {printf "%-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv: pyproject.toml ## Make the virtual environment (.venv/bin/ringledger is the program)
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || (apt-get update && apt-get install -y --no-install-recommends python3-venv)
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch .venv

run: .venv ## Run it: plays a recording at http://127.0.0.1:8081 until RINGLEDGER_AMI is set (options: make run UP=--speed=5)
	@$(BIN)/ringledger up $(UP)

lint: .venv ## Style, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test-fast: lint ## Everything that needs no container engine
	$(BIN)/python -m pytest -m 'not container'

test: lint ## Everything, with a containerised Asterisk
	$(BIN)/python -m pytest

.PHONY: help run lint test test-fast
