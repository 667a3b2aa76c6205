# make run | test | check | gpu | soak | setup | lock | clean. Each sets up what it needs; setup is quiet unless it fails.

SHELL := bash
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp
PYTHON ?= $(shell for p in python3.11 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
PYTEST_ARGS ?=
STRESS_ARGS ?=
SOAK_RUNS ?= 2000

.PHONY: run test check gpu soak setup lock clean

run: setup
	@$(BIN)/wasm-engine stress $(STRESS_ARGS)

test: setup
	@$(BIN)/python -m pytest -n auto $(PYTEST_ARGS)

check: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

# What runs on a GPU, where one is: admission, the journal's digest, a loss in mid-run. Skips with the reason elsewhere.
gpu: setup
	@$(BIN)/wasm-engine devices
	@$(BIN)/python -m pytest -n 0 -rs tests/test_gpu.py

soak: setup
	@$(BIN)/wasm-engine stress --runs $(SOAK_RUNS) $(STRESS_ARGS)
	@WASM_ENGINE_SOAK=1 $(BIN)/python -m pytest -n auto tests/test_runtime_crashes.py tests/test_verify_leaks.py tests/test_wasm_mutated.py

setup: $(STAMP)
	@:

$(STAMP): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "setup: no Python of at least 3.11 found; install one, or give PYTHON=path" >&2; exit 4; }
	@log=$$(mktemp) && { \
	$(PYTHON) -m venv $(VENV) && \
	$(BIN)/python -m pip install --no-input --disable-pip-version-check --require-hashes -r requirements.lock && \
	$(BIN)/python -m pip install --no-input --disable-pip-version-check --no-deps --no-build-isolation --editable . ; \
	} >$$log 2>&1 || { cat $$log >&2; rm -f $$log; echo "setup failed; the lines above say why" >&2; exit 3; }; rm -f $$log
	@touch $@

# Needs uv. Keeps the exact versions of pyproject.toml; what they need moves to the newest that fits.
lock:
	@printf 'setuptools\nwheel\n' | uv pip compile pyproject.toml - --extra dev --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-annotate --no-header --quiet --output-file requirements.lock
	@sed -i '1i # Every dependency with the hashes of all its published files. Made by `make lock`; never edited by hand.' requirements.lock

clean:
	@rm -rf $(VENV) out build ./*.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
