# make search, make test and make ui need python3 with venv and pip, and nothing else.

PYTHON ?= python3
BIN := .venv/bin
ARGS ?=

.PHONY: search test lint ui clean

search: .venv/ready
	$(BIN)/python -m tuner.search $(ARGS)

test: .venv/ready lint
	$(BIN)/python -m pytest $(ARGS)

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

ui: .venv/ready
	$(BIN)/mlflow ui $(ARGS)

# Compiled at once: imports take 2.5 times as long without bytecode, and some machines keep
# Python from writing it later. Pip compiles unless told otherwise, uv only when told to.
.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	if command -v uv >/dev/null; then \
		uv pip install --quiet --compile-bytecode --python $(BIN)/python \
			--constraint constraints.txt --editable '.[dev]'; \
	else \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --compile \
			--constraint constraints.txt --editable '.[dev]'; \
	fi
	touch $@

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache *.egg-info
