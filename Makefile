# make demo   sets everything up and runs the benchmark on embedded data: BM25, and an encoder under three strategies
# make test   sets everything up and runs the tests
# Both work on a fresh machine: they need Python 3.10 or newer and a package index, and install into .venv only.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
DEMO := demo

.PHONY: demo test lint check schema paper benchmarks clean

demo: $(READY)
	$(BIN)/loco build-data --variant mini --out $(DEMO)/data
	$(BIN)/loco eval --model bm25 --variant mini --data $(DEMO)/data --out $(DEMO)/results
	$(BIN)/loco eval --model hash-512 --strategy truncate,chunk,chunk-max --variant mini --data $(DEMO)/data \
		--cache $(DEMO)/embeddings --out $(DEMO)/results
	$(BIN)/loco results validate $(DEMO)/results
	@echo "Every figure above stands in $(DEMO)/results with its provenance, each ranking beside it as a TREC run."

test: $(READY)
	$(BIN)/python -m pytest -n auto

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

check: lint test

schema: $(READY)
	$(BIN)/python -c "import json; from loco.results import json_schema; print(json.dumps(json_schema(), indent=2))" > docs/result.schema.json

# The figures that others have reported, as result files.
paper: $(READY)
	$(BIN)/python -m loco.reported results/paper

benchmarks: $(READY)
	$(BIN)/python benchmarks/bm25_analysis.py
	$(BIN)/python benchmarks/bm25_queries.py
	$(BIN)/python benchmarks/encoding.py
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/nearest.py
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/whole_eval.py

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv $(DEMO) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
