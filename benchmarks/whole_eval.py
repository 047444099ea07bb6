"""`loco eval` of qmsum (paper) against a bare script: whole processes, promised at most 1.5 times as long.

The bare script does no more than it must: reads the same built files, tokenises with the same analyzer, scores with
bm25s as it comes (method "lucene"), and computes nDCG@10. Needs the real qmsum: the folder with SCROLLS files is the
one argument (default: ../shared/data/scrolls).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from timing import compare

BARE = """
import sys
import bm25s, pyarrow.parquet as pq, pytrec_eval
from bm25s.tokenization import Tokenized
from loco_adapters.bm25.analyzer import TermIds
folder = sys.argv[1]
queries, documents = (pq.read_table(f"{folder}/{name}.parquet").to_pydict() for name in ("queries", "documents"))
qrels = {}
for line in open(f"{folder}/qrels.tsv").readlines()[1:]:
    query, document, grade = line.split("\\t")
    qrels.setdefault(query, {})[document] = int(grade)
term_ids = TermIds()
corpus, asked = ([term_ids(text).tolist() for text in texts["text"]] for texts in (documents, queries))
model = bm25s.BM25(method="lucene", k1=1.2, b=0.75)
model.index(Tokenized(ids=corpus, vocab=term_ids.vocabulary), show_progress=False)
found, scores = model.retrieve(Tokenized(ids=asked, vocab=term_ids.vocabulary), k=100, show_progress=False)
run = {
    query: {documents["id"][d]: float(s) for d, s in zip(row, values)}
    for query, row, values in zip(queries["id"], found.tolist(), scores.tolist())
}
values = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut.10"}).evaluate(run)
print(sum(v["ndcg_cut_10"] for v in values.values()) / len(values))
"""

print("loco eval of qmsum (paper) against a bare script, whole processes")
source = Path(sys.argv[1] if len(sys.argv) > 1 else "../shared/data/scrolls")
loco = str(Path(sys.executable).with_name("loco"))
with tempfile.TemporaryDirectory() as folder:
    home = {"LOCO_HOME": folder}
    build = [loco, "build-data", "qmsum", "--variant", "paper", "--from", str(source), "--out", f"{folder}/data"]
    subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
    ours = [loco, "eval", "--model", "bm25", "--task", "qmsum", "--variant", "paper", "--force", "--out", folder]
    compare(ours, [sys.executable, "-c", BARE, f"{folder}/data/paper/qmsum"], runs=7, environment=home)
