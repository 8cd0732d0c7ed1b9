# Every target makes the environment first when it is missing, so each works as the first command on a fresh clone.
PYTHON ?= python3
BIN := .venv/bin
export HF_HUB_OFFLINE := 1
export TOKENIZERS_PARALLELISM := false

.PHONY: demo test test-all docs bench lint shelf clean

demo: .venv/ready  ## the main job, offline: a table, and demo/demo.html
	$(BIN)/scalearn demo --out demo

test: lint  ## what CI runs: lint, types, tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist worksteal

test-all: lint  ## and the tests that train for minutes
	$(BIN)/python -m pytest -q -m "slow or not slow"

docs: .venv/ready  ## the site, in site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: .venv/ready  ## speed; half an hour; writes benchmarks/RESULTS.md; with DATA=folder with glue/, losses too
	$(BIN)/python -m benchmarks $(if $(DATA),--data $(DATA))

lint: .venv/ready
	$(BIN)/ruff format --check src tests benchmarks docs examples notebooks
	$(BIN)/ruff check src tests benchmarks docs examples notebooks
	$(BIN)/mypy

shelf: .venv/ready  ## rebuild the shelf that ships, from DATA=folder with glue/
	PATH=$(CURDIR)/$(BIN):$$PATH sh recipes/minilm-shelf.sh $(DATA)

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "scalearn needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable '.[demo,dev,docs,images,onnx,peft,ray,serve,tracking]'
	$(BIN)/python -m compileall -qq -j 0 .venv/lib || :  # on every core; pip would take one
	touch $@

clean:
	rm -rf .venv demo site
