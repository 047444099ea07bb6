# make demo   sets everything up and runs the benchmark on embedded data: BM25, and an encoder under three strategies;
#             ends with the leaderboard of it, a site that opens from its folder
# make test   sets everything up and runs the tests
# Both work on a fresh machine: they need Python 3.10 or newer and a package index, and install into .venv only.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
DEMO := demo

.PHONY: demo test browser lint check schema paper picture benchmarks clean

demo: $(READY)
	$(BIN)/loco build-data --variant mini --out $(DEMO)/data
	$(BIN)/loco eval --model bm25 --variant mini --data $(DEMO)/data --out $(DEMO)/results
	$(BIN)/loco eval --model hash-512 --strategy truncate,chunk,chunk-max --variant mini --data $(DEMO)/data \
		--cache $(DEMO)/embeddings --out $(DEMO)/results
	$(BIN)/loco needle-haystack --model bm25 --queries 60 --positions 9 --distractors 19 --out $(DEMO)/results
	$(BIN)/loco needle-haystack --model hash-512 --strategy truncate,chunk,chunk-max --queries 60 --positions 9 \
		--distractors 19 --cache $(DEMO)/embeddings --out $(DEMO)/results
	$(BIN)/loco results validate $(DEMO)/results
	$(BIN)/loco leaderboard build $(DEMO)/results --data $(DEMO)/data -o $(DEMO)/site
	@echo "Every figure above stands in $(DEMO)/results with its provenance, each ranking beside it as a TREC run."
	@echo "The board of it is a folder of pages: open $(DEMO)/site/index.html"

test: $(READY) browser
	$(BIN)/python -m pytest -n auto --dist loadgroup

# The leaderboard is tested in a browser. Where there is none, one is asked for; without it those tests are skipped.
browser: $(READY)
	@for name in chromium chromium-browser google-chrome google-chrome-stable; do \
		command -v $$name > /dev/null && exit 0; \
	done; \
	timeout 300 $(BIN)/playwright install --only-shell chromium > /dev/null 2>&1 || \
		echo "No browser, and none could be installed: its tests will be skipped."

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

# The picture of the board in the README.
picture: $(READY)
	$(BIN)/python docs/picture.py results docs/board.png

benchmarks: $(READY)
	$(BIN)/python benchmarks/bm25_analysis.py
	$(BIN)/python benchmarks/bm25_queries.py
	$(BIN)/python benchmarks/board.py
	$(BIN)/python benchmarks/encoding.py
	$(BIN)/python benchmarks/late_interaction.py
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
