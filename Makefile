# Everything a person does with RedFire, by name. Needs Python 3.11 or newer and make; the rest is installed into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.setup
BACKTEST := services/strategy/backtest
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup run test lint gen lock clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

setup: $(STAMP) $(VENV)/.core ## Install everything into .venv (again: changes nothing)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("RedFire needs Python 3.11 or newer; this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else 0'
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "Python's venv module is missing: apt-get install python3-venv" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

# The quick core of backtests; without a C compiler one line says so, and the pure Python one is used.
$(VENV)/.core: $(STAMP) $(BACKTEST)/compile.py $(BACKTEST)/core.py $(wildcard $(BACKTEST)/*.pxd $(BACKTEST)/*.pyx)
	@$(BIN)/python -m services.strategy.backtest.compile
	@touch $@

run: setup ## Start the platform with a demo user and a strategy that trades; ARGS="--port 9090 …" goes to redfire up
	@$(BIN)/redfire up --demo $(ARGS)

test: setup ## Run all tests against real servers; ARGS="-k name" goes to pytest
	$(BIN)/python -m pytest $(ARGS)

lint: setup ## Check style, types, the layers and the contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check services tests
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m services.mesh.generate --lint

gen: setup ## Regenerate gen/ and envoy/ from proto/
	$(BIN)/python -m services.mesh.generate

lock: ## Renew requirements.lock from what is installed in .venv
	@{ sed -n '/^#/p' requirements.lock; $(BIN)/python -m pip freeze --exclude-editable; } > requirements.lock.new
	@mv requirements.lock.new requirements.lock

clean: ## Remove what setup and tests made, but no data
	rm -rf $(VENV) $(BACKTEST)/*.so $(BACKTEST)/_compiled.stamp .pytest_cache .mypy_cache .ruff_cache .hypothesis
