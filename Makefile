# One command from a fresh clone: `make demo`, `make test`. `make` alone lists them all.

VENV := .venv
BIN := $(VENV)/bin
LOG := $(VENV)/install.log
PIP := $(BIN)/python -m pip install --disable-pip-version-check --no-input
CODE := $(wildcard src tests benchmarks faults)
UV := uv==0.13.*

# The first Python here that runs and is new enough; `make PYTHON=/path/to/python` takes another.
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 10))
PYTHON = $(shell for python in python3.11 python3 python3.12 python3.13 python3.10; do \
	$$python -c '$(NEW_ENOUGH)' >/dev/null 2>&1 && { echo $$python; break; }; done)

# $(call step,WORDS,COMMAND): one line on the terminal, the rest in the log, its end when it fails.
define step
@echo "  $(1)"
@$(2) >>$(LOG) 2>&1 || { tail -n 20 $(LOG) >&2; echo "Failed: $(1). The whole log: $(LOG)" >&2; exit 1; }
endef

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help venv demo test lint format bench faults docs build lock clean \
	python-test python-lint python-format python-build docs-build oci-image-build helm-chart-lint

help: ## List what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  \033[1m%-8s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# --- Set-up: every stamp stands for one finished step.

venv: $(VENV)/.project ## Set up .venv, once and after each change of the requirements

$(VENV)/.python:
	@[ -n "$(PYTHON)" ] || { echo "Python 3.10 or newer is needed, and none was found here. On Debian or Ubuntu:" \
		"apt install python3 python3-venv" >&2; exit 1; }
	@$(PYTHON) -c '$(NEW_ENOUGH)' || { echo "Python 3.10 or newer is needed: $(PYTHON) is" \
		"$$($(PYTHON) --version 2>&1)." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot make virtual environments." \
		"On Debian or Ubuntu: apt install python3-venv" >&2; exit 1; }
	@mkdir -p $(VENV)
	$(call step,Creating $(VENV) with $$($(PYTHON) --version),$(PYTHON) -m venv $(VENV))
	@touch $@

$(VENV)/.dev $(VENV)/.docs: $(VENV)/.%: requirements/%.txt $(VENV)/.python
	$(call step,Installing $<,$(PIP) --require-hashes --only-binary :all: -r $<)
	@touch $@

$(VENV)/.project: pyproject.toml $(VENV)/.dev
	$(call step,Installing ska-oso-activity itself,$(PIP) --no-deps --no-build-isolation -e .)
	@touch $@

# --- Use

demo: venv ## Start everything and watch two activities run (BLOCK=file ACTIVITY=name: one of yours)
	@$(BIN)/ska-oso-activity demo $(if $(BLOCK),--block "$$BLOCK") $(if $(ACTIVITY),--activity "$$ACTIVITY") $(ARGS)

bench: venv ## Measure how fast activities start
	@$(BIN)/python -m benchmarks $(ARGS)

faults: venv ## Kill everything at every moment and see what is promised (ARGS="--seed N --minutes M")
	@$(BIN)/python -m faults $(ARGS)

# --- Work

test: venv ## Run the tests (ARGS="-k name" chooses some)
	@$(if $(ARGS),$(BIN)/pytest $(ARGS),$(BIN)/python -m tests.halves)

lint: venv ## Check style, types and layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy $(CODE)
	$(BIN)/lint-imports --no-logo

format: venv ## Mend what ruff can mend
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

docs: venv $(VENV)/.docs ## Build the documentation into docs/_build/html
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html
	@echo "Read docs/_build/html/index.html"

build: venv ## Build the wheel and the source distribution into dist
	$(BIN)/hatchling build

# Each file is a subset of the next: docs.txt is resolved first, and holds the others to its choices.
LOCK := $(BIN)/uv pip compile -q --universal --python-version 3.10 --generate-hashes --no-emit-index-url \
	--strip-extras --custom-compile-command 'make lock' pyproject.toml
lock: venv ## Resolve the requirements anew (ARGS=--upgrade takes newer releases)
	$(call step,Installing $(UV),$(PIP) '$(UV)')
	$(LOCK) $(ARGS) --extra dev --extra docs -o requirements/docs.txt
	$(LOCK) $(ARGS) --extra dev -c requirements/docs.txt -o requirements/dev.txt
	$(LOCK) $(ARGS) -c requirements/dev.txt -o requirements/base.txt

clean: ## Remove what was built, and .venv
	rm -rf $(VENV) dist docs/_build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage htmlcov
	find src tests benchmarks faults -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

# --- The names that SKA's pipelines and developers know

python-test: test
python-lint: lint
python-format: format
python-build: build
docs-build: docs

oci-image-build helm-chart-lint:
	@echo "$@: the image and the Helm chart come with the deployment issue; there is nothing to build yet." >&2; exit 1
