.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z.-]+:.*## / {printf "%-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv: pyproject.toml ## Make the virtual environment (.venv/bin/ringledger is the program)
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || (apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends python3-venv)
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[dev]' $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS))
	@touch .venv

run: .venv ## Run it: plays a recording at http://127.0.0.1:8081 until RINGLEDGER_AMI is set (options: make run UP=--speed=5)
	@$(BIN)/ringledger up $(UP)

lint: check ## Style, types, layers, spelling, prose, names in the docs
	$(BIN)/python -m pytest -q tests/docs/test_names.py tests/docs/test_code_names.py tests/lint

# The parts of lint that are no tests; a run of all tests has those. They run at once, and each prints its output whole.
check: .venv
	@$(MAKE) --no-print-directory -j $(if $(filter output-sync,$(.FEATURES)),-O) check-types check-text check-style

check-types:
	$(BIN)/mypy
	cd docker && ../$(BIN)/mypy --config-file ../pyproject.toml --cache-dir ../.mypy_cache engine.py

check-text:
	$(BIN)/codespell
	$(BIN)/python -m tests.support.prose

check-style:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

fmt: .venv ## Format the code, and fix what ruff can fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

engine: .venv ## Make the container images of the tests; as root on Debian it installs an engine if there is none
	$(BIN)/python docker/engine.py images

test: $(if $(PART),.venv,check) $(if $(filter-out e2e%,$(PART)),,engine) ## Everything, with Asterisk 22 and 16 in containers; PART=services/log for one room
	$(if $(filter-out e2e%,$(PART)),,$(BIN)/python docker/engine.py run) $(BIN)/python -m tests $(PART)

test-fast: check ## Everything that needs no container engine
	$(BIN)/python -m tests --fast

test-changed: .venv ## The tests of the rooms that differ from the branch main, without containers
	$(BIN)/python -m tests --changed

bench: .venv ## Measure everything that has a target (PART=ingest,load for some of it; ROWS= of the parts calls and statistics)
	$(BIN)/python -m tests.bench $(PART) $(if $(ROWS),--rows=$(ROWS))

chaos: engine ## Kill everything at random under call load, and prove that nothing is lost (SEED=, FAULTS=, DURATION= in seconds)
	$(BIN)/python docker/engine.py run $(BIN)/python -m tests.chaos $(if $(SEED),--seed=$(SEED)) $(if $(FAULTS),--faults=$(FAULTS)) $(if $(DURATION),--duration=$(DURATION))

docs: .venv ## Build the documentation as a site in build/docs
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --config-file - < docs/mkdocs.yml

lock: .venv ## Write the installed versions to docs/constraints.txt
	$(BIN)/python -m pip freeze --exclude-editable > docs/constraints.txt

.PHONY: bench chaos check check-style check-text check-types docs engine fmt help lint lock run test test-changed test-fast
