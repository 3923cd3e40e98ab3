# Everything a person does with RedFire, by name. Needs Python 3.11 or newer and make; the rest is installed into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := VIRTUAL_ENV=$(VENV) $(BIN)/uv
# On a terminal uv shows how far it is.
INSTALL = $(UV) pip install $(shell test -t 2 || echo --quiet) --require-hashes --no-deps
COMPILED := services/quant/backtest/engine services/quant/ticks
CLIENTS := tests/edge/clients
BUILT := $(VENV)/clients
ARGS ?=
ROUNDS ?= 20
SEED ?= 1
# For every platform and Python that RedFire runs on; no registry's name is written.
LOCK := --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate

# Container images tend to set it: every process of a platform or a test would compile every module anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev core run run-production test test-fast chaos floods bench upgrade lint gen lock sbom advisories clients clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

setup: $(VENV)/.run core ## Install what RedFire runs with into .venv (again: changes nothing)

setup-dev: $(VENV)/.dev core ## The same with what builds, checks and tests it

# An interrupted start leaves no half of a venv: without its mark it is made anew. pip installs uv, which does the rest: 27 MB less.
$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit("RedFire needs Python 3.11 or newer; this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else 0'
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "Python's venv module is missing: apt-get install python3-venv" >&2; exit 1; }
	@echo "Making $(VENV) with $$($(PYTHON) --version) …"
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@sed -n '/^uv==/,/[^\\]$$/p' requirements.lock > $(VENV)/uv.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r $(VENV)/uv.txt
	@$(UV) pip uninstall --quiet pip setuptools
	@touch $@

$(VENV)/.run: $(VENV)/.made requirements.lock pyproject.toml
	@echo "Installing RedFire's packages into $(VENV): about 250 MB to download, 650 MB on disk …"
	@$(INSTALL) -r requirements.lock
	@$(UV) pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements-dev.lock
	@echo "Installing what builds, checks and tests RedFire: about 120 MB more …"
	@$(INSTALL) -r requirements-dev.lock
	@touch $@

# The quick core of backtests and the codec of ticks; without a C compiler a line says so, and pure Python ones are used.
# And bytecode: a strategy's sandbox writes no file beside the code, and would compile its modules at each start.
core: $(VENV)/.run
	@$(BIN)/python -m services.quant.compile
	@$(BIN)/python -m compileall -q services gen/python

run: setup ## Start the platform with a demo user and a strategy that trades; ARGS="--port 9090 …" goes to redfire up
	@$(BIN)/redfire up --demo $(ARGS)

run-production: setup ## Start PostgreSQL, Redis and RabbitMQ in temporary folders, and the platform on them in processes, two of each
	@$(BIN)/python -m deploy.production $(ARGS)

# Files in their order: those that take longest, of chaos, come early, and the end waits for none of them.
test: setup-dev ## Run all tests against real servers, three files at a time; ARGS="-k name" goes to pytest, "-n 0" runs one after the other
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not upgrade and not floods" $(ARGS)

test-fast: setup-dev ## Run what takes two minutes: nothing that starts the whole platform, a server or a browser, kills, or replays days
	$(BIN)/python -m pytest -n $(shell echo $$(($$(nproc 2>/dev/null || echo 2) + 2))) --dist worksteal -m "not slow and not upgrade and not floods" --hypothesis-profile=fast -q $(ARGS)

chaos: setup-dev ## Break things under clients that trade, and check that nothing is lost; ROUNDS=50, SEED=7, ARGS="--on replicated"
	$(BIN)/python -m tests.chaos --rounds $(ROUNDS) --seed $(SEED) $(ARGS)

upgrade: setup-dev ## Replace every process of two replicas by another version under clients that trade, in five minutes
	$(BIN)/python -m pytest -m upgrade tests/e2e/test_rolling_upgrade.py $(ARGS)

floods: setup-dev ## Flood a real edge with 20,000 streams and 16,400 silent connections while another address logs in; says what it took
	$(BIN)/python -m pytest -m floods tests/security/edge/test_floods.py $(ARGS)

bench: setup-dev ## Measure the tick path, history and the order path beside others, in 15 minutes; ARGS="--only fan_out" one of them
	$(BIN)/python -m tests.bench $(ARGS)

lint: setup-dev ## Check style, types, the layers and the contract; ADVISORIES=advisories.json (OSV) compares the lock files, too
	$(BIN)/ruff check .
	$(BIN)/ruff format --check services tests
	@# It warns of each name of an excuse that it did not need beside another one.
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive services deploy 2>/dev/null
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m services.mesh.generate --lint
	@[ -z "$(ADVISORIES)" ] || $(BIN)/python -m deploy.supply_chain.advisories $(ADVISORIES)

gen: setup-dev ## Regenerate gen/ and envoy/ from proto/ and the settings
	$(BIN)/python -m services.mesh.generate

lock: $(VENV)/.made ## Renew the lock files from pyproject.toml, to the newest versions
	@$(UV) pip compile $(LOCK) --upgrade -o requirements.lock pyproject.toml
	@$(UV) pip compile $(LOCK) --upgrade -c requirements.lock --extra cluster --group dev -o requirements-dev.lock pyproject.toml

sbom: setup ## Write the bill of materials of what RedFire runs with, sbom.cdx.json (CycloneDX)
	@$(BIN)/python -m deploy.supply_chain.sbom --output sbom.cdx.json

advisories: setup ## Compare the lock files with advisories, offline; FILE=advisories.json (a list in the OSV format)
	@$(BIN)/python -m deploy.supply_chain.advisories $(FILE) $(ARGS)

clients: $(BUILT)/go/client $(BUILT)/java/Client.class $(BUILT)/node/client.js ## Build the gRPC clients in Go, Java and Node.js that tests of the edge run

$(BUILT)/go/client: $(wildcard $(CLIENTS)/go/*)
	@mkdir -p $(@D)
	@cd $(CLIENTS)/go && go build -o $(abspath $@) .

$(BUILT)/java/Client.class: $(wildcard $(CLIENTS)/java/*)
	@mkdir -p $(@D)
	@mvn --quiet --batch-mode --file $(CLIENTS)/java/pom.xml dependency:copy-dependencies -DoutputDirectory=$(abspath $(@D))
	@javac -cp '$(@D)/*' -d $(@D) $(CLIENTS)/java/Client.java

$(BUILT)/node/client.js: $(wildcard $(CLIENTS)/node/*)
	@mkdir -p $(@D)
	@cp $(CLIENTS)/node/package*.json $(@D)
	@cd $(@D) && npm ci --silent --ignore-scripts --no-audit --no-fund
	@cp $(CLIENTS)/node/client.js $@

clean: ## Remove what setup and tests made, but no data
	rm -rf $(VENV) $(COMPILED:=/*.so) $(COMPILED:=/_compiled.stamp) .pytest_cache .mypy_cache .ruff_cache .hypothesis
