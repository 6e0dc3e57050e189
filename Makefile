# Everything a checkout needs, from python3 (3.11 or later, with venv) and make alone.
# A target installs what it needs into .venv, from a lock file with hashes: `demo` and `up` the
# program with its engines, the others the development tools as well.

PYTHON ?= python3
BIN := .venv/bin
PIP = $(BIN)/python -m pip install -qq --disable-pip-version-check
# Written last by an install. STAMP holds the checkout's path, because a venv cannot be moved.
STAMP := .venv/.installed
DEV_STAMP := .venv/.installed-dev
BENCH_STAMP := .venv/.installed-bench

.DEFAULT_GOAL := help
.PHONY: help install demo up test test-fast lint bench bench-quick docs docs-serve asyncapi clients demo-svg lock clean reinstall

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-11s  %s\n", $$1, $$2}' Makefile

install: $(DEV_STAMP) ## install everything that the other targets need, but for the benchmark

demo: $(STAMP) ## watch a video being published, start to finish
	@$(BIN)/publish-worker demo $(ARGS)

up: $(STAMP) ## run everything: engines, API, worker and scheduler; Ctrl-C ends it
	@$(BIN)/publish-worker up $(ARGS)

# Two processes more than CI has cores: half of the time, a test waits for a program or an interval.
test: $(DEV_STAMP) ## run the tests; for some of them: make test ARGS="tests/unit -k slug"
	$(BIN)/pytest -n 4 --dist worksteal $(ARGS)

test-fast: $(DEV_STAMP) ## run the tests that start no processes
	$(BIN)/pytest -n 2 --dist worksteal -m "not processes" $(ARGS)

lint: $(DEV_STAMP) ## check format, style, types and import directions
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/basedpyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

bench: $(BENCH_STAMP) ## measure this project and others on the same work: twenty minutes on idle cores
	$(BIN)/python -m bench $(if $(findstring --only,$(ARGS)),,--write docs/benchmarks.md) $(ARGS)

bench-quick: $(BENCH_STAMP) ## the same in under three minutes, to see that every part runs
	$(BIN)/python -m bench --quick $(ARGS)

docs: $(DEV_STAMP) ## build the documentation site into site/; a broken link is an error
	$(BIN)/python -m website

docs-serve: $(DEV_STAMP) ## show the documentation site at http://localhost:8001
	$(BIN)/python -m website serve

asyncapi: $(DEV_STAMP) ## write docs/asyncapi.json, the AsyncAPI document, from the models
	$(BIN)/python -c "from worker.api.documents.asyncapi import main; main()" > docs/asyncapi.json

demo-svg: $(DEV_STAMP) ## run the demo and write docs/demo.svg, its picture
	$(BIN)/python -m tests.support.demo_picture docs/demo.svg

clients: asyncapi ## write the TypeScript types of the clients, from the documents
	PYTHONPATH=. $(BIN)/python clients/typescript/generate.py

# Extras stay in: without them pip takes the newest version of a package that another one wants
# with an extra. Each file takes the versions of the one before, so tests and image have the same ones.
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-package publish-worker-client --no-emit-index-url --no-emit-find-links --no-strip-extras --custom-compile-command "make lock" $(ARGS)

lock: $(DEV_STAMP) ## write the lock files from pyproject.toml; newer versions: ARGS=--upgrade
	$(COMPILE) pyproject.toml --extra oidc --extra tracing -o requirements.lock
	$(COMPILE) pyproject.toml --extra embedded --extra build -c requirements.lock -o requirements-demo.lock
	$(COMPILE) pyproject.toml --extra embedded --extra build --extra oidc --extra tracing --extra docs --extra dev -c requirements.lock -c requirements-demo.lock -o requirements-dev.lock
	$(COMPILE) pyproject.toml --extra embedded --extra build --extra oidc --extra tracing --extra docs --extra dev --extra bench -c requirements-dev.lock -o requirements-bench.lock

clean: ## remove .venv, caches and reports; the engines' data stays
	rm -rf .venv site .cache .coverage coverage.xml htmlcov .hypothesis .pytest_cache .ruff_cache .import_linter_cache build dist *.egg-info celerybeat-schedule*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A venv that was made in another folder, or whose Python is gone, is made again.
ifneq ($(shell test "$$(cat $(STAMP) 2>/dev/null)" = '$(CURDIR)' && $(BIN)/python -c '' 2>/dev/null && echo usable),usable)
$(STAMP): reinstall
endif

# Without a stamp an install was interrupted: only a clean start is sure to repair that.
$(STAMP): pyproject.toml clients/python/pyproject.toml requirements-demo.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "Python 3.11 or later is needed, and $(PYTHON) is not: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "Installing into .venv (once; one or two minutes) ..."
	@test '$(filter reinstall,$^)' = '' && test -e $@ || $(PYTHON) -m venv --clear .venv
	@rm -f $@ $(DEV_STAMP) $(BENCH_STAMP)
	@$(PIP) --require-hashes -r requirements-demo.lock
	@$(PIP) --no-deps --no-build-isolation -e clients/python -e .
	@echo '$(CURDIR)' > $@

# An interruption may leave half of a package in the venv, so meanwhile there is no stamp at all.
$(DEV_STAMP): $(STAMP) requirements-dev.lock
	@echo "Installing the development tools into .venv (once; a minute or so) ..."
	@rm -f $(STAMP) $@
	@$(PIP) --require-hashes -r requirements-dev.lock
	@echo '$(CURDIR)' > $(STAMP)
	@touch $@

$(BENCH_STAMP): $(DEV_STAMP) requirements-bench.lock
	@echo "Installing the peers of the benchmark into .venv (once) ..."
	@rm -f $(STAMP) $(DEV_STAMP) $@
	@$(PIP) --require-hashes -r requirements-bench.lock
	@echo '$(CURDIR)' > $(STAMP)
	@touch $(DEV_STAMP)
	@touch $@
