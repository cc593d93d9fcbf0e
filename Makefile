# Every target needs python3 with venv and pip, and nothing else; `powercut-ext4` also needs root.

PYTHON ?= python3
BIN := .venv/bin
ARGS ?=

# One environment for each peer of the benchmark, in .bench/.
PEERS := $(patsubst benchmarks/peers/requirements-%.txt,%,$(wildcard benchmarks/peers/*.txt))

# $(call install,<folder of the environment>,<what to install>)
# Compiled at once: imports take 2.5 times as long without bytecode, and some machines keep
# Python from writing it later. Pip compiles unless told otherwise, uv only when told to.
define install
	$(PYTHON) -m venv $(1)
	if command -v uv >/dev/null; then \
		uv pip install --quiet --compile-bytecode --python $(1)/bin/python $(2); \
	else \
		$(1)/bin/python -m pip install --quiet --disable-pip-version-check --compile $(2); \
	fi
endef

.PHONY: search test test-long lint docs tutorial bench bench-engines bench-search bench-search-curves bench-search-time demo torture powercut-ext4 ui clean

search: .venv/ready
	$(BIN)/python -m tuner.search $(ARGS)

test: .venv/ready lint
	$(BIN)/python -m pytest $(ARGS)

# What takes a minute or breaks rarely, and is left out of `make test`.
test-long: .venv/ready
	$(BIN)/python -m pytest --long -m long $(ARGS)

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Broken links, broken anchors and pages missing from the menu are errors. `.venv/bin/mkdocs serve`
# shows the pages while you edit them. The variable silences an advertisement of the theme.
docs: .venv/ready
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict $(ARGS)

# After a change of docs/tutorial.ipynb, or of what it shows.
tutorial: .venv/ready
	$(BIN)/python docs/rerun_tutorial.py

# A peer that cannot be installed is a failed row of the benchmark, not its end.
bench: .venv/ready
	-$(MAKE) --no-print-directory --keep-going $(PEERS:%=.bench/%/ready)
	$(BIN)/python -m benchmarks.run $(ARGS)

bench-engines: .venv/ready
	$(BIN)/python -m benchmarks.engines $(ARGS)

# The tables are no part of Glassy's environment, so that nothing comes to depend on them.
bench-search: .venv/ready .bench/search/ready
	PYTHONPATH=.bench/search $(BIN)/python -m benchmarks.search.run $(ARGS)

bench-search-curves: .venv/ready
	$(BIN)/python -m benchmarks.search.curves $(ARGS)

# A peer that cannot be installed is a failed row here, too.
bench-search-time: .venv/ready
	-$(MAKE) --no-print-directory --keep-going $(PEERS:%=.bench/%/ready)
	$(BIN)/python -m benchmarks.search.wall_time $(ARGS)

demo: .venv/ready
	$(BIN)/python -m tuner.demo $(ARGS)

torture: .venv/ready
	$(BIN)/python -m torture.run $(ARGS)

# On an image of its own, which takes root to mount.
powercut-ext4: .venv/ready
	$(BIN)/python -m torture.ext4 $(ARGS)

ui: .venv/ready
	$(BIN)/mlflow ui $(ARGS)

.venv/ready: pyproject.toml constraints.txt
	$(call install,.venv,--constraint constraints.txt --editable '.[dev]')
	touch $@

.bench/search/ready: benchmarks/search/requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade \
		--target $(@D) --requirement $<
	touch $@

.bench/%/ready: benchmarks/peers/requirements-%.txt constraints.txt
	$(call install,$(@D),--requirement $<)
	touch $@

clean:
	rm -rf .venv .bench site .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info
