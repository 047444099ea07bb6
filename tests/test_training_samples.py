"""What is pretrained on: corpora, the mixture of samples, masking, a vocabulary."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hub_server import COMMIT, Served, hub
from hypothesis import given, settings
from hypothesis import strategies as st
from tasks import small_task

from loco.errors import LocoError
from loco.tasks.data import write_task
from loco.training.corpora import Corpus, Shard, corpora, documents
from loco.training.samples import IGNORED, Marks, Mixture, Stream, masked, padded
from loco.training.vocabulary import SPECIAL, train_wordpiece

MARKS = Marks(cls=2, sep=3, pad=0, mask=4, words=1000)
WINDOW = 32


def numbers(text: str) -> list[int]:
    """Texts of these tests are numbers from 10 on, and their own tokens."""
    return [int(word) for word in text.split()]


def corpus(folder: Path, name: str, texts: Sequence[str], weight: float = 1.0, files: int = 1) -> Corpus:
    shards = []
    for part in range(files):
        path = folder / f"{name}-{part}.jsonl"
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts[part::files]))
        shards.append(Shard(str(path)))
    return Corpus(name, weight, tuple(shards))


def texts(count: int, length: int, first: int = 10) -> list[str]:
    """Documents of ``length`` tokens each, every token another number."""
    return [" ".join(map(str, range(at, at + length))) for at in range(first, first + count * length, length)]


# --- files


def test_documents_are_read_from_every_kind_of_file_and_from_any_one_on(tmp_path: Path) -> None:
    wanted = ["first text\nof two lines", "second é text", "third"]
    lines = "".join(json.dumps({"text": text, "id": 7}) + "\n" for text in ["", *wanted])
    (tmp_path / "a.jsonl").write_text(lines + "\n")
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    (tmp_path / "c.json.gz").write_bytes(gzip.compress(lines.encode()))
    pq.write_table(pa.table({"text": [*wanted, None, "  "], "id": range(5)}), tmp_path / "d.parquet")
    (tmp_path / "e.txt").write_text("\n\n".join(wanted) + "\n\n \n\n")
    for path in sorted(tmp_path.iterdir()):
        assert [text.strip() for text in documents(path)] == wanted, path
        assert [text.strip() for text in documents(path, 2)] == wanted[2:], path
        assert [" ".join(text.split()) for text in documents(path, 1, 2)] == ["third"], path
    assert [shard.name for shard in corpora([str(tmp_path)])[0].shards] == [str(p) for p in sorted(tmp_path.iterdir())]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", b'{"text": "fine"}\n{"text": ', "a.jsonl, line 2: not JSON"),
        ("a.jsonl", b'{"text": 3}\n', "a.jsonl, line 1: no field 'text'"),
        ("a.jsonl", b"[1]\n", "a.jsonl, line 1: no field 'text'"),
        ("a.jsonl", b"[" * 100_000, "a.jsonl, line 1: not JSON"),
        ("a.jsonl", b'{"text": "\xff"}\n', "a.jsonl, line 1: not JSON"),
        ("a.txt", b"fine\n\xff\n", "a.txt, line 2: not UTF-8"),
        ("a.jsonl.gz", b"no gzip", "Cannot read .*a.jsonl.gz"),
        ("a.jsonl.gz", gzip.compress(b'{"text": "x"}\n' * 99, mtime=0)[:-9], "Cannot read .*a.jsonl.gz"),
        ("a.parquet", b"PAR1 no parquet", "a.parquet is no parquet file, or damaged"),
    ],
)
def test_a_bad_file_is_told_with_its_line(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(LocoError, match=said):
        list(documents(tmp_path / name))


def test_a_parquet_file_without_texts_is_told(tmp_path: Path) -> None:
    pq.write_table(pa.table({"title": ["x"]}), tmp_path / "a.parquet")
    with pytest.raises(LocoError, match="no column 'text', only title"):
        list(documents(tmp_path / "a.parquet"))
    pq.write_table(pa.table({"text": [1]}), tmp_path / "b.parquet")
    with pytest.raises(LocoError, match="column 'text' is no text"):
        list(documents(tmp_path / "b.parquet"))


def test_half_a_surrogate_pair_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "x \\ud800 y"}\n')
    assert list(documents(tmp_path / "a.jsonl")) == ["x \ufffd y"]


def test_corpora_that_cannot_be_are_told_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "a.csv").write_text("x")
    (tmp_path / "nothing").mkdir()
    write_task(small_task(), tmp_path / "data")
    for asked, said in (
        (tmp_path / "empty.jsonl", "is empty"),
        (tmp_path / "a.csv", "is of no kind that is read"),
        (tmp_path / "nothing", "holds no file that can be read"),
        (tmp_path / "missing", "There is no corpus"),
        (tmp_path / "data" / "mini" / "qmsum" / "documents.parquet", "is of a test split"),
        (tmp_path / "data", "is of a test split"),
        ("x=0", "0 is no weight"),
        ("x=nan", "nan is no weight"),
        ("hub:allenai/c4", "names no files"),
    ):
        with pytest.raises(LocoError, match=said):
            corpora([str(asked)])
    with pytest.raises(LocoError, match="Nothing is named to read"):
        corpora([])


def test_a_folder_is_described_file_by_file_wherever_it_lies(tmp_path: Path) -> None:
    for place in ("one", "other"):
        for folder in ("a.train", "b.train"):
            (tmp_path / place / "texts" / folder).mkdir(parents=True)
            (tmp_path / place / "texts" / folder / "documents.txt").write_text(folder)
    one, other = (corpora([str(tmp_path / place / "texts")])[0].described() for place in ("one", "other"))
    assert one == other
    assert list(one.files) == ["a.train/documents.txt", "b.train/documents.txt"]
    assert len(set(one.files.values())) == 2


def test_a_folder_of_many_files_is_described_in_a_few_words(tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / f"{number}.txt").write_text(f"book {number}")
    one = corpora([str(tmp_path)])[0].described()
    assert one.files.keys() == {"files", "all of them"}
    (tmp_path / "7.txt").write_text("another")
    assert corpora([str(tmp_path)])[0].described() != one


def test_a_folder_by_its_dot_has_its_own_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_text("text")
    monkeypatch.chdir(tmp_path)
    assert corpora(["."])[0].described().name == tmp_path.name


def test_a_name_that_no_card_holds_is_told(tmp_path: Path) -> None:
    (tmp_path / "a\nb.txt").write_text("text")
    with pytest.raises(LocoError, match=r"is no plain text\. Rename it"):
        corpora([str(tmp_path / "a\nb.txt")])[0].described()


def test_a_weight_stands_behind_a_name(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "b=2.txt").write_text("x")
    first, second, third = corpora([f"{tmp_path}/a.txt=2.5", f"{tmp_path}/b=2.txt", f"{tmp_path}/b=2.txt=3"])
    assert (first.weight, second.weight, third.weight) == (2.5, 1.0, 3.0)


HUB = """
import sys
from loco.errors import LocoError
from loco.training.corpora import corpora, documents
for name in sys.argv[1:]:
    try:
        corpus = corpora([name])[0]
        print([text for shard in corpus.shards for text in documents(shard.path())], corpus.described().files)
    except LocoError as error:
        print(error)
"""


def test_a_data_set_of_the_hub_is_read_file_by_file_at_one_commit(tmp_path: Path) -> None:
    lines = [gzip.compress(json.dumps({"text": text}).encode()) for text in ("first", "second")]
    files = {("allenai/c4", f"en/c4-train.{i}.json.gz"): Served(content) for i, content in enumerate(lines)}
    files |= {("allenai/c4", "en/c4-validation.0.json.gz"): Served(lines[0]), ("a/b", "README.md"): Served(b"x")}
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(("HF_", "HUGGING"))}
    quiet = {"HF_HOME": str(tmp_path), "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    with hub(files) as running:
        environment = {**kept, **quiet, "HF_ENDPOINT": running.url}
        asked = [sys.executable, "-c", HUB, "c4", "hub:a/b/*.jsonl", "hub:no/where/*.txt"]
        ran = subprocess.run(asked, env=environment, capture_output=True, text=True, timeout=120, check=True)
    assert ran.stdout.splitlines()[0] == f"['first', 'second'] {{'allenai/c4': '{COMMIT}', 'files': '2'}}"
    assert "The dataset a/b has no file *.jsonl of a kind that is read" in ran.stdout.splitlines()[1]
    assert ran.stdout.splitlines()[2].startswith("Cannot read the corpus hub:no/where/*.txt: there is no such dataset")


# --- streams and samples


def test_a_pass_shows_every_document_once_and_the_next_pass_too_in_another_order(tmp_path: Path) -> None:
    stream = Stream(corpus(tmp_path, "a", texts(40, 12), files=3), numbers, (5,))
    first, second = [tuple(stream.next()) for _ in range(40)], [tuple(stream.next()) for _ in range(40)]
    assert set(first) == set(second) == {tuple(numbers(text)) for text in texts(40, 12)}
    assert first != second


def test_short_documents_are_passed_over_and_a_corpus_of_them_alone_is_refused(tmp_path: Path) -> None:
    assert len(Stream(corpus(tmp_path, "a", ["1 2 3", texts(1, 10)[0]]), numbers, (5,)).next()) == 10
    with pytest.raises(LocoError, match="short holds no document of 10 tokens"):
        Stream(corpus(tmp_path, "short", ["1 2 3", "4"]), numbers, (5,)).next()


@settings(max_examples=20)
@given(stop=st.integers(0, 60), share=st.sampled_from([0.0, 0.3, 1.0]))
def test_samples_go_on_from_any_of_them_as_if_nothing_had_been(
    stop: int, share: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("corpus")
    both = [corpus(folder, "a", texts(17, 14), files=2), corpus(folder, "b", texts(9, 50, 500))]

    def mixture(state: object = None) -> Mixture:
        return Mixture(both, numbers, MARKS, WINDOW, share, 3, json.loads(json.dumps(state)))

    whole = mixture()
    samples = [whole.next() for _ in range(64)]
    before = mixture()
    for number, ids in samples[:stop]:
        again = before.next()
        assert again[0] == number
        assert again[1].tolist() == ids.tolist()
    after = mixture(before.state)
    for number, ids in samples[stop:]:
        again = after.next()
        assert again[0] == number
        assert again[1].tolist() == ids.tolist()


def test_samples_are_three_tenths_documents_and_seven_tenths_full_windows_by_weight(tmp_path: Path) -> None:
    both = [corpus(tmp_path, "a", texts(40, 12), 1.0), corpus(tmp_path, "b", texts(40, 12, 5000), 3.0)]
    mixture = Mixture(both, numbers, MARKS, WINDOW, 0.3, 3)
    samples = [mixture.next()[1] for _ in range(4000)]
    assert all(ids[0] == MARKS.cls and ids[-1] == MARKS.sep for ids in samples)
    lengths = np.array([len(ids) for ids in samples])
    assert set(lengths) == {14, WINDOW}  # a document with its two marks, or all that fits
    assert np.mean(lengths == WINDOW) == pytest.approx(0.7, abs=0.03)
    assert np.mean([max(ids) >= 5000 for ids in samples]) == pytest.approx(0.75, abs=0.03)


def test_full_windows_lose_no_token_and_part_documents_by_a_mark(tmp_path: Path) -> None:
    mixture = Mixture([corpus(tmp_path, "a", texts(30, 17))], numbers, MARKS, WINDOW, 0.0, 3)
    joined = [int(number) for _ in range(17) for number in mixture.next()[1][1:-1]]
    written = joined[: 28 * 18]
    assert sorted(number for number in written if number != MARKS.sep) == sorted(
        number for number in written if number >= 10
    )
    assert len(set(written) - {MARKS.sep}) == 28 * 17  # no token twice
    assert all(written[at] == MARKS.sep for at in range(17, len(written), 18))


def test_masking_hides_what_was_asked_for_in_the_proportions_of_bert() -> None:
    ids = np.concatenate([[MARKS.cls], np.arange(10, 10 + 200_000) % 900 + 50, [MARKS.sep]])
    for share in (0.30, 0.15):
        shown, labels = masked(ids, share, MARKS, [1, 2])
        chosen = labels != IGNORED
        assert np.mean(chosen) == pytest.approx(share, abs=0.005)
        assert not chosen[0]
        assert not chosen[-1]
        np.testing.assert_array_equal(labels[chosen], ids[chosen])
        np.testing.assert_array_equal(shown[~chosen], ids[~chosen])
        assert np.mean(shown[chosen] == MARKS.mask) == pytest.approx(0.8, abs=0.01)
        other = (shown != ids) & (shown != MARKS.mask) & chosen
        assert np.mean(other[chosen]) == pytest.approx(0.1, abs=0.005)
        assert shown[other].min() < 50
        assert shown[other].max() >= 950  # any word there is
    again, _ = masked(ids, 0.15, MARKS, [1, 2])
    np.testing.assert_array_equal(again, shown)
    assert (masked(ids, 0.15, MARKS, [1, 3])[0] != shown).any()


def test_rows_are_filled_up_to_the_window() -> None:
    assert padded([np.array([5, 6]), np.array([7])], 3, 0).tolist() == [[5, 6, 0], [7, 0, 0]]


# --- vocabulary


def test_a_vocabulary_is_made_of_the_texts_and_reads_them_as_bert_does(tmp_path: Path) -> None:
    words = ["the budget", "of the remote control", "next meeting", "Zürich"]
    (tmp_path / "a.txt").write_text("\n\n".join(f"{a} {b} number{i}" for i in range(60) for a in words for b in words))
    read = corpora([str(tmp_path / "a.txt")])
    train_wordpiece(read, 120, tmp_path / "tokenizer.json")
    made = json.loads((tmp_path / "tokenizer.json").read_text())
    assert len(made["model"]["vocab"]) == 120
    assert [made["model"]["vocab"][token] for token in SPECIAL] == [0, 1, 2, 3, 4]

    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    encoded = tokenizer.encode("The BUDGET of Zurich, budget")
    assert encoded.tokens[:3] == ["[CLS]", "the", "budget"]
    assert encoded.tokens[-1] == "[SEP]"
    train_wordpiece(read, 120, tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "tokenizer.json").read_bytes()


def test_a_vocabulary_that_the_texts_do_not_give_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a few words only")
    with pytest.raises(LocoError, match="take a smaller --vocabulary"):
        train_wordpiece(corpora([str(tmp_path / "a.txt")]), 5000, tmp_path / "tokenizer.json")
    with pytest.raises(LocoError, match="--vocabulary 20 is too small for an alphabet of"):
        train_wordpiece(corpora([str(tmp_path / "a.txt")]), 20, tmp_path / "tokenizer.json")
