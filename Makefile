# Everything a checkout needs, from python3 (3.11 or later, with venv) and make alone.
# The first target that needs it installs into .venv, from a lock file with hashes.

PYTHON ?= python3
BIN := .venv/bin
# Written last by an install, and holds the checkout's path, since a venv does not survive a move.
STAMP := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help demo up test lint bench asyncapi lock clean reinstall

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' Makefile

demo: $(STAMP) ## watch a video being published, start to finish
	@$(BIN)/publish-worker demo $(ARGS)

up: $(STAMP) ## run everything: engines, API, worker and scheduler; Ctrl-C ends it
	@$(BIN)/publish-worker up $(ARGS)

test: $(STAMP) ## run the tests; for some of them: make test ARGS="tests/unit -k slug"
	$(BIN)/pytest -n 2 --dist loadfile $(ARGS)

lint: $(STAMP) ## check format, style, types and import directions
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/basedpyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

bench: $(STAMP) ## measure this project and its peers on the same work
	$(BIN)/python -m bench $(ARGS)

asyncapi: $(STAMP) ## write docs/asyncapi.json, the AsyncAPI document, from the models
	$(BIN)/python -m worker.api.documents.asyncapi > docs/asyncapi.json

# Extras stay in: pip takes the newest version for one that is not pinned with its extras.
# The second file takes the first one's versions: what is tested is what the image runs.
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-strip-extras --custom-compile-command "make lock" $(ARGS)

lock: $(STAMP) ## write the lock files from pyproject.toml; newer versions: ARGS=--upgrade
	$(COMPILE) pyproject.toml -o requirements.lock
	$(COMPILE) pyproject.toml --all-extras -c requirements.lock -o requirements-dev.lock

clean: ## remove .venv, caches and reports; the engines' data stays
	rm -rf .venv .coverage coverage.xml htmlcov .hypothesis .pytest_cache .ruff_cache .import_linter_cache build dist *.egg-info celerybeat-schedule*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A venv that another folder made, or whose Python has gone, is made anew.
ifneq ($(shell test "$$(cat $(STAMP) 2>/dev/null)" = '$(CURDIR)' && $(BIN)/python -c '' 2>/dev/null && echo usable),usable)
$(STAMP): reinstall
endif

# Without a stamp an install was interrupted: only a clean start is sure to repair that.
$(STAMP): pyproject.toml requirements-dev.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "Python 3.11 or later is needed, and $(PYTHON) is not: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "Installing into .venv (once; a minute or so) ..."
	@test '$(filter reinstall,$^)' = '' && test -e $@ || $(PYTHON) -m venv --clear .venv
	@rm -f $@
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@echo '$(CURDIR)' > $@
