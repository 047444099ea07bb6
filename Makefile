# make demo   sets everything up and runs the benchmark on embedded data: BM25, an encoder under three strategies, and a
#             small M2-BERT that reads 2,048 tokens; ends with the leaderboard of it, a site that opens from its folder
# make test   sets everything up and runs the tests
# Both work on a fresh machine: they need Python 3.10 or newer and a package index, and install into .venv only.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
DEMO := demo

.PHONY: demo test browser lint check schema paper picture m2bert-mini benchmarks clean

demo: $(READY)
	$(BIN)/loco build-data --variant mini --out $(DEMO)/data
	$(BIN)/loco eval --model bm25 --variant mini --data $(DEMO)/data --out $(DEMO)/results
	$(BIN)/loco eval --model hash-512 --strategy truncate,chunk,chunk-max --variant mini --data $(DEMO)/data \
		--cache $(DEMO)/embeddings --out $(DEMO)/results
	$(BIN)/loco eval --model m2bert-mini --strategy chunk --variant mini --data $(DEMO)/data \
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

# The small model that comes with loco, from nothing: 37 minutes on two cores of a Xeon, up to 16 GiB of memory.
# All seeds stand in the commands (the commands' own defaults where they are not named) and in the model's loco.json.
# What is stopped goes on where it was. The variables keep the C library from giving memory back, which is half the time.
MINI := build/m2bert-mini
MINI_SEEDS := $(shell seq 1 25)
MINI_MEMORY := MALLOC_MMAP_THRESHOLD_=8000000000 MALLOC_TRIM_THRESHOLD_=16000000000 MALLOC_TOP_PAD_=500000000

m2bert-mini: $(READY)
	for seed in $(MINI_SEEDS); do \
		$(BIN)/loco build-data --variant mini --split train --seed $$seed --out $(MINI)/train/$$seed || exit; \
	done
	$(BIN)/loco build-data --variant mini --out $(MINI)/data
	$(MINI_MEMORY) $(BIN)/loco pretrain \
		$$(for folder in $(MINI)/train/1/mini/*.train $(MINI)/train/2/mini/*.train; do echo --from $$folder; done) \
		--config adapters/m2bert/mini/shape.json --vocabulary 3584 --window 2048 --variable 0 --steps 50 --batch 4 \
		--micro-batch 4 --lr 2e-5 --out $(MINI)/pretrained
	$(MINI_MEMORY) $(BIN)/loco train --model $(MINI)/pretrained --variant mini --task all \
		$$(for seed in $(MINI_SEEDS); do echo --train-data $(MINI)/train/$$seed; done) --data $(MINI)/data \
		--loss ranking --one-task --negatives 0 --batch 24 --micro-batch 24 --lr 3e-4 --save-every 50 \
		--out $(MINI)/trained
	cp $(MINI)/trained/config.json $(MINI)/trained/tokenizer.json $(MINI)/trained/model.safetensors \
		$(MINI)/trained/loco.json adapters/m2bert/mini/

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
