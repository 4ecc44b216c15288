# Everything a new machine needs is made here: Python 3.11 to 3.13 and make are enough.
PYTHON ?= $(firstword $(foreach v,python3 python3.13 python3.12 python3.11,\
  $(if $(shell $(v) -c 'import sys; print("ok" if (3, 11) <= sys.version_info[:2] < (3, 14) else "")' 2>/dev/null),$(v))))
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# One more than there are cores: some tests wait for servers.
WORKERS = $(shell $(BIN)/python -c "import os; print((os.cpu_count() or 1) + 1)")
CLOUD_STAMP := $(VENV)/.installed-cloud
# Tools whose dependencies clash with the project's: another DuckDB, another PyYAML.
TOOLS := bigquery-emulator checkov

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast test-cloud lint generate lock clean

help:  ## Say what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup: $(STAMP)  ## Make .venv from the lock

$(STAMP): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed; install one, or say which: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	@echo "Making $(VENV) with $$($(PYTHON) --version); the first time takes a minute or two."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --prefer-binary -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

demo: $(STAMP)  ## Simulate a small shop, run the job over it, show anomalies and a report
	@$(BIN)/aiops demo

test: $(STAMP)  ## Run all tests
	@$(BIN)/python -m pytest tests -n $(WORKERS) --dist worksteal

test-fast: $(STAMP)  ## Run the tests that take no time
	@$(BIN)/python -m pytest tests -m "not slow" -n $(WORKERS) --dist worksteal

CLOUD_TESTS := test_cloud_views test_cloud_looker test_looker test_queries_page test_views test_table_layout test_template test_launch test_terraform test_update test_bigquery_reader test_fetch test_dataflow test_end_to_end

test-cloud: $(CLOUD_STAMP) $(TOOLS:%=.venv-%/.installed)  ## Check what runs on Google Cloud: views, template, launch, Terraform, the job end to end
	@$(BIN)/python -m pytest $(CLOUD_TESTS:%=tests/%.py) -rs

$(CLOUD_STAMP): $(STAMP) requirements-cloud.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --prefer-binary -r requirements-cloud.lock
	@touch $(CLOUD_STAMP)

.venv-%/.installed: requirements-%.lock
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed"; exit 1; }
	@$(PYTHON) -m venv .venv-$*
	@.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --prefer-binary -r requirements-$*.lock
	@touch $@

lint: $(STAMP)  ## ruff, mypy --strict and the import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

generate: $(STAMP)  ## Renew the files that are made from the code
	@$(BIN)/python -m pipeline.generate

lock: $(STAMP)  ## Renew all locks from pyproject.toml (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --extra dev --extra build pyproject.toml -o requirements.lock
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url -c requirements.lock --extra build pyproject.toml -o templates/requirements.lock
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url -c requirements.lock requirements-cloud.in -o requirements-cloud.lock
	for tool in $(TOOLS); do uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url requirements-$$tool.in -o requirements-$$tool.lock || exit; done

clean:  ## Remove what was made
	rm -rf $(VENV) $(TOOLS:%=.venv-%) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache demo
