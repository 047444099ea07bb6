# ruff: noqa: RUF001  # letters of many alphabets
"""The reference tokenizer is bert-base-uncased's, and counting by it is exact, wherever the counts come from."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path

import pytest
from checkpoints import minilm
from hypothesis import example, given
from hypothesis import strategies as st
from tasks import small_task
from tokenizers import Tokenizer

from loco.tasks.data import TaskData, read_task, task_folder, write_task
from loco.tokens import lengths, reference
from loco.tokens.lengths import LENGTHS_FILE, relevant_lengths
from loco.tokens.reference import count_tokens, reference_tokenizer, vocabulary

TEXTS = [
    "",
    " \n\t ",
    "The quick brown fox's 3 dogs didn't jump, they'll say, over 12345 lazy cats. “Don’t” — it costs $4.50!",
    "café naïve cafe\u0301 A\u030angstro\u0308m ÅNGSTRÖM привет Ελλάδα σοφός İstanbul straße",
    "漢字 and かな mixed漢with 한국어 words ไทย हिन्दी العربية עברית \U0001f469\u200d\U0001f467 \U0001f1eb\U0001f1f7",
    "[CLS] a [SEP]b[MASK]c [UNK] [PAD] [sep]",
    "form\x0cfeed nul\0nul vertical\x0btab next\x85line unit\x1fseparator no\u00a0break \ufeffmark \ufffd.",
    "a soft\u00adhyphen",
    "antidisestablishmentarianism " + "x" * 100 + " " + "x" * 101 + " " + "漢" * 300,
    "http://example.com/a_b?c=d&e=f def f(x):\r\n\treturn x**2  # comment\u2028line\u3000wide",
]
WHITE = " \n\t\r\x0b\x0c\x1c\x1f\x85\u00a0\u2028\u3000"
MESSY = st.text(
    st.one_of(st.sampled_from(WHITE + "aàé[]-.漢"), st.characters(exclude_categories=("Cs",))), max_size=80
) | st.lists(st.sampled_from([*TEXTS, "[SEP]", "word", " ", "\n", "\u0301"]), max_size=6).map("".join)


@cache
def own() -> Tokenizer:
    return reference_tokenizer()


@cache
def published() -> Tokenizer:
    """The tokenizer of the real MiniLM, which is bert-base-uncased's, as its file has it."""
    tokenizer = Tokenizer.from_file(str(minilm() / "tokenizer.json"))
    tokenizer.no_truncation()  # sentence-transformers had them switched on when it wrote the file
    tokenizer.no_padding()
    return tokenizer


def counted(text: str) -> int:
    return len(own().encode(text, add_special_tokens=False).ids)


def test_it_is_the_published_tokenizer_part_by_part() -> None:
    assert json.loads(own().to_str()) == json.loads(published().to_str())


def test_it_makes_the_published_ids_alone_and_in_pairs() -> None:
    for text in TEXTS:
        mine, theirs = (tokenizer.encode(text, "and another") for tokenizer in (own(), published()))
        assert (mine.ids, mine.type_ids) == (theirs.ids, theirs.type_ids)
        assert own().encode(text).ids == published().encode(text).ids
        assert own().decode(mine.ids) == published().decode(mine.ids)


@given(MESSY)
def test_it_makes_the_published_ids_of_any_text(text: str) -> None:
    assert own().encode(text).ids == published().encode(text).ids


def test_the_vocabulary_is_the_published_file() -> None:
    content = "".join(f"{token}\n" for token in vocabulary()).encode()
    assert content == (minilm() / "vocab.txt").read_bytes()
    assert hashlib.sha256(content).hexdigest() == "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"


def test_what_one_caller_does_to_its_tokenizer_concerns_no_other() -> None:
    first = reference_tokenizer()
    first.enable_truncation(2)
    first.add_tokens(["quick"])
    assert len(reference_tokenizer().encode("the quick brown fox").ids) == 6


@given(st.lists(MESSY, max_size=5))
@example(TEXTS)
@example(["a\x0cb", "a\nb", "a\x85b", "a \u0301b", "\u0301"])
def test_counting_by_words_is_counting_the_tokens(texts: list[str]) -> None:
    assert list(count_tokens(texts)) == [counted(text) for text in texts]


@given(st.lists(MESSY, max_size=5))
def test_no_count_depends_on_what_is_kept_or_counted_at_once(texts: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference, "_LONGEST_KEPT", 3)
        patch.setattr(reference, "_MOST_KEPT", 4)
        patch.setattr(reference, "_AT_ONCE", 5)
        found = list(count_tokens(texts))
    assert found == [counted(text) for text in texts]


# --- The lengths of a task's relevant documents ----------------------------------------------------------------------


@pytest.fixture
def built(tmp_path: Path) -> TaskData:
    """Two of three documents are relevant; one is judged, and judged not to be."""
    task = small_task(qrels={"q1": {"d1": 1, "d3": 0}, "q2": {"d2": 2}})
    write_task(task, tmp_path)
    return task


def counted_never(*_: object) -> None:
    raise AssertionError("counted again")


def test_only_relevant_documents_are_counted_and_only_once(
    built: TaskData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = relevant_lengths(built, tmp_path)
    assert found == {document: counted(dict(built.documents)[document]) for document in ("d1", "d2")}
    monkeypatch.setattr(lengths, "count_tokens", counted_never)
    assert relevant_lengths(built, tmp_path) == found
    assert read_task(tmp_path, "mini", "qmsum").content == built.content


def test_kept_counts_are_the_same_bytes_whoever_counts(built: TaskData, tmp_path: Path) -> None:
    path = task_folder(tmp_path, "mini", "qmsum") / LENGTHS_FILE
    relevant_lengths(built, tmp_path)
    first = path.read_bytes()
    path.unlink()
    relevant_lengths(read_task(tmp_path, "mini", "qmsum"), tmp_path)
    assert path.read_bytes() == first


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 100_000, b"\xff", b'{"schema_version": 1}', None])
def test_damaged_counts_are_made_again(built: TaskData, tmp_path: Path, content: bytes | None) -> None:
    found = relevant_lengths(built, tmp_path)
    path = task_folder(tmp_path, "mini", "qmsum") / LENGTHS_FILE
    good = path.read_bytes()
    path.write_bytes(good.replace(b'"d2"', b'"d9"') if content is None else content)
    assert relevant_lengths(built, tmp_path) == found
    assert path.read_bytes() == good


def test_counts_of_other_contents_do_not_count(built: TaskData, tmp_path: Path) -> None:
    before = relevant_lengths(built, tmp_path)
    longer = {document: f"{text} And on it goes." for document, text in built.documents}
    changed = small_task(documents=longer, qrels=built.qrels)
    after = relevant_lengths(changed, tmp_path)
    assert after.keys() == before.keys()
    assert all(after[document] > before[document] for document in before)


def test_where_counts_cannot_be_kept_they_are_still_right(built: TaskData, tmp_path: Path) -> None:
    found = relevant_lengths(built, tmp_path)
    path = task_folder(tmp_path, "mini", "qmsum") / LENGTHS_FILE
    path.unlink()
    path.mkdir()
    assert relevant_lengths(built, tmp_path) == found
