"""`loco cluster`: labelled texts in, v-measure and a picture out."""

from __future__ import annotations

import json
import math
import os
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import typer
from checkpoints import minilm
from encoders import WordEncoder
from pydantic import ValidationError
from sklearn.metrics import v_measure_score
from typer.testing import CliRunner

from loco.cluster import Clustered, cluster, collection, measure, read_collection
from loco.cluster.vectors import embed
from loco.commands.cluster import cluster_command
from loco.encode.store import EmbeddingStore
from loco.encode.strategies import Chunk, Truncate
from loco.errors import LocoError
from loco.models.registry import model_card
from loco.models.runtime import Runtime
from loco.results.cluster import ClusterResult
from loco.tasks.data import Texts

SVG = "{http://www.w3.org/2000/svg}"
SUBJECTS = {
    "cooking": "flour butter oven simmer garlic onion whisk dough roast pepper sauce recipe pan salt boil knead",
    "astronomy": "telescope galaxy orbit nebula planet comet lens redshift star moon eclipse spectrum dust quasar",
    "football": "goal referee penalty striker keeper league offside pitch coach corner derby tackle midfield crowd",
}
COMMON = "today people said that it was not as good as before and many think it will be better soon"

app = typer.Typer()
app.command()(cluster_command)


def texts(each: int = 8, common: float = 0.5, seed: int = 0) -> dict[str, list[str]]:
    """For each subject so many texts of 40 words, a share of them common to all subjects."""
    dice = Random(seed)
    return {
        subject: [
            " ".join(dice.choice((COMMON if dice.random() < common else words).split()) for _ in range(40))
            for _ in range(each)
        ]
        for subject, words in SUBJECTS.items()
    }


def folder(path: Path, labelled: Mapping[str, Sequence[str]]) -> Path:
    for label, members in labelled.items():
        (path / label).mkdir(parents=True)
        for number, text in enumerate(members):
            (path / label / f"{number:03}.txt").write_text(text, encoding="utf-8")
    return path


def lines(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def clustered(source: Path, tmp_path: Path, model: str = "hash-512", **options: Any) -> list[Clustered]:
    found = read_collection(source)
    return list(
        cluster(model_card(model), found, tmp_path / "out", "loco cluster", cache=tmp_path / "store", **options)
    )


def only(source: Path, tmp_path: Path, model: str = "hash-512", **options: Any) -> Clustered:
    (one,) = clustered(source, tmp_path, model, **options)
    return one


# Collections


def test_a_folder_is_read_with_its_sub_folders_as_labels(tmp_path: Path) -> None:
    folder(tmp_path / "news", {"b": ["two", "three"], "a": ["\ufeffone"]})
    (tmp_path / "news" / "b" / "deeper").mkdir()
    (tmp_path / "news" / "b" / "deeper" / "49960").write_text("four")
    (tmp_path / "news" / "b" / ".hidden").write_text("never")
    (tmp_path / "news" / ".git").mkdir()
    (tmp_path / "news" / "README").write_text("not a text")
    read = read_collection(tmp_path / "news")
    assert dict(read.texts) == {"a/000.txt": "one", "b/000.txt": "two", "b/001.txt": "three", "b/deeper/49960": "four"}
    assert (read.name, read.labels, read.blank, read.unlabelled) == ("news", ("a", "b", "b", "b"), 0, 1)


def test_a_jsonl_file_is_read_with_ids_where_it_has_them(tmp_path: Path) -> None:
    path = lines(
        tmp_path / "news.jsonl",
        {"text": "one", "label": "a", "id": "x"},
        {"text": "two", "label": 7, "id": 12, "more": None},
        {"text": " \n", "label": "only blank"},
        {"text": "three", "label": "a"},
    )
    read = read_collection(path)
    assert dict(read.texts) == {"x": "one", "12": "two", "line 4": "three"}
    assert (read.name, read.labels, read.blank) == ("news", ("a", "7", "a"), 1)


def test_a_link_within_the_folder_is_a_text_like_any_other(tmp_path: Path) -> None:
    folder(tmp_path / "news", {"a": ["one", "two"], "b": ["three"]})
    (tmp_path / "news" / "b" / "again").symlink_to("000.txt")
    assert len(read_collection(tmp_path / "news").texts) == 4


def test_the_hash_knows_ids_labels_and_texts(tmp_path: Path) -> None:
    rows = [{"text": "one", "label": "a", "id": "1"}, {"text": "two", "label": "b", "id": "2"}]
    rows.append({"text": "three", "label": "b", "id": "3"})
    seen = {read_collection(lines(tmp_path / "a.jsonl", *rows)).sha256}
    for field in ("text", "label", "id"):
        changed = [*rows[:2], rows[2] | {field: "a"}]
        seen.add(read_collection(lines(tmp_path / "a.jsonl", *changed)).sha256)
    assert len(seen) == 4
    assert read_collection(lines(tmp_path / "b.jsonl", *rows)).sha256 in seen


def _link_outside(root: Path) -> None:
    (root.parent / "secret").write_text("secret")
    (root / "a" / "link").symlink_to(root.parent / "secret")


def _link_to_folder(root: Path) -> None:
    (root / "c").symlink_to(root / "a")


BAD_FOLDERS: list[tuple[Callable[[Path], object], str]] = [
    (lambda root: [path.unlink() for path in root.rglob("*.txt")], "holds no text"),
    (lambda root: [path.write_text(" \n\t") for path in root.rglob("*.txt")], "without its blank texts holds no text"),
    (lambda root: [path.unlink() for path in (root / "b").iterdir()], "only one label, 'a': there is nothing to tell"),
    (lambda root: [path.unlink() for path in root.rglob("001.txt")], "2 texts of 2 labels, each alone"),
    (lambda root: (root / "a" / "old").write_bytes(b"caf\xe9"), r"old is not UTF-8 \(byte 0xe9 at 4\)\. Convert it"),
    (_link_outside, "link is a link that leads out of"),
    (lambda root: (root / "a" / "link").symlink_to("/nowhere/at/all"), "link is a link that leads out of"),
    (_link_to_folder, "c is a link to another folder"),
    (lambda root: (root / "a" / "loop").symlink_to(root), "loop is a link to another folder"),
    (lambda root: (root / "a" / "self").symlink_to("self"), "self is neither a file nor a folder"),
    (lambda root: os.mkfifo(root / "a" / "pipe"), "pipe is neither a file nor a folder"),
    (lambda root: (root / "a").rename(root / "\x1b[31m"), "its name is empty, has control characters"),
    (lambda root: (root / "a").rename(root / "x\ny"), "its name is empty, has control characters"),
    (lambda root: (root / "a").rename(root / os.fsdecode(b"\xff")), "its name is not UTF-8"),
]


@pytest.mark.parametrize(("spoil", "said"), BAD_FOLDERS)
def test_a_folder_that_cannot_be_clustered_says_why_in_one_line(
    spoil: Callable[[Path], object], said: str, tmp_path: Path
) -> None:
    root = folder(tmp_path / "news", {"a": ["one", "two"], "b": ["three", "four"]})
    spoil(root)
    with pytest.raises(LocoError, match=said) as error:
        read_collection(root)
    assert "\n" not in str(error.value)
    assert "\x1b" not in str(error.value)


GOOD = [{"text": "one", "label": "a"}, {"text": "two", "label": "b"}, {"text": "three", "label": "b"}]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"[]\n", "line 1: not a JSON object"),
        (b'{"text": "one"}\n', "line 1: the field 'label' is missing"),
        (b'{"label": "a", "text": null}\n', "line 1: the field 'text' should be a valid string"),
        (b'{"label": true, "text": "one"}\n', "line 1: the field 'label' should be a valid string"),
        (b'{"label": "", "text": "one"}\n', "line 1: the label is empty"),
        (b'{"label": "\\u001b[2J", "text": "one"}\n', "line 1: the label is empty, has control characters"),
        (b'{"label": "' + b"a" * 201 + b'", "text": "one"}\n', "line 1: the label .* longer than 200"),
        (b'{"label": "a", "text": "caf\xe9"}\n', "line 1: not UTF-8"),
        (b'{"label": "a", "text": "on', "line 1: not JSON .*cut off"),
        (b'{"label": "a", "text": "one", "id": 3}\n' * 2, "The document id '3' stands twice"),
        (b'{"label": "a", "text": "one", "id": "a\\tb"}\n', "holds a tab or line break"),
    ],
)
def test_a_line_that_is_no_labelled_text_says_why_in_one_line(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "news.jsonl"
    path.write_bytes(content + b"".join(json.dumps(row).encode() + b"\n" for row in GOOD if content.endswith(b"\n")))
    with pytest.raises(LocoError, match=said) as error:
        read_collection(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["nowhere", "text.txt", "files"])
def test_what_is_no_collection_says_so(name: str, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("one")
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "one.txt").write_text("one")
    said = {"nowhere": "No folder or file", "text.txt": "neither a folder of labels nor", "files": "but no folders"}
    with pytest.raises(LocoError, match=said[name]):
        read_collection(tmp_path / name)


def test_what_is_too_large_is_refused_before_it_is_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder(tmp_path / "news", {"a": ["x" * 90, "x"], "b": ["x"]})
    path = lines(tmp_path / "news.jsonl", {"text": "x" * 90, "label": "a"}, *GOOD)
    monkeypatch.setattr(collection, "_LONGEST_TEXT", 80)
    with pytest.raises(LocoError, match=r"000\.txt is longer than 80 bytes"):
        read_collection(root)
    with pytest.raises(LocoError, match=r"news\.jsonl, line 1 is longer than 80 bytes"):
        read_collection(path)
    monkeypatch.setattr(collection, "_LONGEST_TEXT", 1000)
    monkeypatch.setattr(collection, "_LARGEST", 80)
    for source in (root, path):
        with pytest.raises(LocoError, match="holds more than 80 bytes"):
            read_collection(source)


def test_a_file_of_a_gigabyte_is_refused_at_once(tmp_path: Path) -> None:
    root = folder(tmp_path / "news", {"a": ["one", "two"], "b": ["three"]})
    with (root / "a" / "huge").open("wb") as stream:
        stream.truncate(10**9)  # takes no room: a hole
    with pytest.raises(LocoError, match="huge is longer than 64,000,000 bytes"):
        read_collection(root)


# Figures


def test_subjects_without_a_common_word_are_found_exactly(tmp_path: Path) -> None:
    one = only(folder(tmp_path / "news", texts(common=0)), tmp_path)
    result = one.result
    assert result.v_measure.values == (1.0,) * 10
    assert result.k_means.clusters == 3
    assert result.collection.labels == {"astronomy": 8, "cooking": 8, "football": 8}
    assert len({(point.label, point.cluster) for point in result.points}) == 3


def v_measure(labels: Sequence[str], clusters: Sequence[int]) -> float:
    """As Rosenberg and Hirschberg define it, written down from the entropies."""

    def entropy(counts: Mapping[object, int], total: int) -> float:
        return -sum(count / total * math.log(count / total) for count in counts.values())

    total = len(labels)
    both = entropy(Counter(zip(labels, clusters, strict=True)), total)
    by_label, by_cluster = entropy(Counter(labels), total), entropy(Counter(clusters), total)
    homogeneity = 1 - (both - by_cluster) / by_label
    completeness = 1 - (both - by_label) / by_cluster
    return 2 * homogeneity * completeness / (homogeneity + completeness)


def test_the_v_measure_is_that_of_the_clusters_beside_it(tmp_path: Path) -> None:
    result = only(folder(tmp_path / "news", texts(each=20, common=0.9)), tmp_path).result
    labels = [point.label for point in result.points]
    clusters = [point.cluster for point in result.points]
    first = result.v_measure.values[0]
    assert 0.05 < first < 0.95  # neither nothing nor everything is found
    assert first == pytest.approx(v_measure(labels, clusters), abs=1e-6)
    assert first == pytest.approx(v_measure_score(labels, clusters), abs=1e-6)
    assert result.v_measure.lowest < result.v_measure.highest
    assert result.v_measure.mean == pytest.approx(np.mean(result.v_measure.values), abs=1e-6)
    assert result.homogeneity.values[0] != result.completeness.values[0]


def test_labels_drawn_at_random_are_not_found(tmp_path: Path) -> None:
    dice = Random(1)
    members = [text for theirs in texts(each=30, common=0).values() for text in theirs]
    rows = [{"text": text, "label": dice.choice("abc")} for text in members]
    assert only(lines(tmp_path / "news.jsonl", *rows), tmp_path).result.v_measure.mean < 0.15


def test_a_folder_and_a_file_of_the_same_texts_give_the_same(tmp_path: Path) -> None:
    labelled = texts(common=0.8)
    rows = [
        {"text": text, "label": label, "id": f"{label}/{number:03}.txt"}
        for label, members in sorted(labelled.items())
        for number, text in enumerate(members)
    ]
    first = only(folder(tmp_path / "news", labelled), tmp_path).result
    second = only(lines(tmp_path / "news.jsonl", *rows), tmp_path).result
    assert (first.collection, first.v_measure, first.points) == (second.collection, second.v_measure, second.points)


def vectors(count: int, seed: int = 0) -> tuple[np.ndarray, list[str]]:
    rng = np.random.default_rng(seed)
    labels = [str(place % 3) for place in range(count)]
    centres = rng.normal(size=(3, 16))
    rows = centres[[int(label) for label in labels]] * 0.5 + rng.normal(size=(count, 16))
    return rows.astype(np.float32), labels


def test_the_same_seed_gives_the_same_figures_and_places_to_the_bit() -> None:
    rows, labels = vectors(300)
    first = measure.grouped(rows, labels, [3, 4])
    assert measure.grouped(rows, labels, [3, 4]) == first
    assert measure.grouped(rows, labels, [4, 3]).clusters != first.clusters
    once, again = (measure.projected(rows[:120], "t-sne", 0).places for _ in range(2))
    assert once.tobytes() == again.tobytes()


def test_near_in_the_picture_is_near_in_the_vectors() -> None:
    rows, labels = vectors(90)
    rows[np.array(labels) == "0"] += 20
    places = measure.projected(rows, "t-sne", 0).places
    nearest = np.argsort(((places[:, None] - places[None]) ** 2).sum(axis=-1), axis=1)[:, 1]
    alone = np.array(labels) == "0"
    assert (alone[nearest] == alone).all()


@pytest.mark.parametrize("count", [3, 4, 10])
def test_a_handful_of_documents_can_be_drawn(count: int) -> None:
    projection = measure.projected(vectors(count)[0], "t-sne", 0)
    assert projection.places.shape == (count, 2)
    assert np.isfinite(projection.places).all()
    assert projection.settings["perplexity"] == (count - 1) / 3


def test_cosine_vectors_are_compared_by_direction_and_dot_ones_as_they_are() -> None:
    rows, _ = vectors(9)
    longer = rows * np.arange(1, 10, dtype=np.float32)[:, None]
    assert np.allclose(measure.compared(rows, "cosine"), measure.compared(longer, "cosine"), atol=1e-6)
    assert (measure.compared(longer, "dot") == longer).all()
    with pytest.raises(LocoError, match="cancel each other out"):
        measure.compared(np.zeros((1, 4), dtype=np.float32), "cosine")


def test_texts_that_the_model_cannot_tell_apart_are_refused(tmp_path: Path) -> None:
    source = folder(tmp_path / "news", {label: ["flour", "butter"] for label in "abc"})
    with pytest.raises(LocoError, match="2 different vectors and 3 labels"):
        clustered(source, tmp_path)


def test_copies_of_two_texts_can_be_clustered_and_drawn(tmp_path: Path) -> None:
    source = folder(tmp_path / "news", {"a": ["flour"] * 5, "b": ["orbit"] * 5})
    assert only(source, tmp_path).result.v_measure.mean == 1


@pytest.mark.parametrize("strategy", [Truncate(7), Chunk(7)])
def test_a_document_s_vector_is_the_mean_of_its_pieces(strategy: Truncate | Chunk, tmp_path: Path) -> None:
    encoder = WordEncoder()
    read = Texts.of([("long", "a b c d e f g h i j k l"), ("empty", ""), ("short", "a b")], "document")
    (embedded,) = embed(encoder, read, [strategy], EmbeddingStore(tmp_path))
    assert embedded.places == (0, 2)
    parts = [["a b c d e"], ["a b c d e", "f g h i j", "k l"]][isinstance(strategy, Chunk)]
    inputs = [encoder.tokenize([part], "document")[0] for part in parts]
    pieces = np.concatenate(encoder.encode([one.input(0, one.tokens) for one in inputs]))
    assert np.allclose(embedded.vectors[0], pieces.mean(axis=0), atol=1e-6)


# The whole


def test_several_strategies_share_a_pass_and_each_has_its_files(tmp_path: Path) -> None:
    source = folder(tmp_path / "news", texts())
    found = clustered(source, tmp_path, strategies="truncate(8), chunk(8)")
    assert [one.result.strategy for one in found] == ["truncate(8)", "chunk(8, overlap=0)"]
    cut, whole = (one.result.coverage for one in found)
    assert cut is not None
    assert whole is not None
    assert (cut.texts, cut.texts_cut, cut.tokens, cut.tokens_seen) == (24, 24, 24 * 40, 24 * 8)
    assert (whole.texts_cut, whole.tokens_seen) == (0, 24 * 40)
    for one in found:
        assert ClusterResult.model_validate_json(one.path.read_bytes()) == one.result
        figure = ET.fromstring(one.figure.read_text(encoding="utf-8"))
        words = [text.text or "" for text in figure.iter(SVG + "text")]
        assert words[0] == f"news: hash-512, {one.result.strategy}"
        assert f"v-measure {one.result.v_measure.mean:.3f}" in words[1]
        assert words[2:] == ["astronomy (8)", "cooking (8)", "football (8)"]


def test_what_was_encoded_before_is_not_encoded_again(tmp_path: Path) -> None:
    source = folder(tmp_path / "news", texts())
    first, second = (only(source, tmp_path).result for _ in range(2))
    assert (first.encoder.inputs_encoded, first.encoder.inputs_reused) == (24, 0)
    assert (second.encoder.inputs_encoded, second.encoder.inputs_reused) == (0, 24)
    assert first.points == second.points


def test_texts_without_a_token_are_left_out_and_counted(tmp_path: Path) -> None:
    labelled = texts()
    labelled["cooking"][0] = "?!"  # no word, yet not blank
    labelled["football"][0] = "\n"
    labelled["silence"] = ["..."]
    result = only(folder(tmp_path / "news", labelled), tmp_path).result
    assert (result.collection.blank, result.collection.without_tokens) == (1, 2)
    assert result.collection.labels == {"astronomy": 8, "cooking": 7, "football": 7}
    assert len(result.points) == 22


def test_where_only_one_label_has_tokens_there_is_nothing_to_tell_apart(tmp_path: Path) -> None:
    source = folder(tmp_path / "news", {"a": ["one", "two"], "b": ["...", "?"]})
    with pytest.raises(LocoError, match=r"'hash-512' can read of news has only one label"):
        clustered(source, tmp_path)


@pytest.mark.parametrize(
    ("model", "options", "said"),
    [
        ("bm25", {}, "ranks by itself and has no vectors"),
        ("hash-512", {"strategies": "chunk-max"}, r"chunk-max\(512, overlap=0\) keeps several vectors of a document"),
        ("hash-512", {"strategies": "truncate,late-chunk"}, "late-chunk"),
        ("hash-512", {"projection": "pca"}, "No projection 'pca'"),
        ("hash-512", {"runtime": Runtime(dtype="bfloat16")}, "does not run in bfloat16"),
        ("hash-512", {"runtime": Runtime(device="cuda")}, "does not run on cuda"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is(
    model: str, options: dict[str, Any], said: str, tmp_path: Path
) -> None:
    source = folder(tmp_path / "news", texts())
    with pytest.raises(LocoError, match=said):
        clustered(source, tmp_path, model, **options)
    assert not list((tmp_path / "out").rglob("*.*"))
    assert not (tmp_path / "store").exists()


def test_late_chunking_is_refused_for_its_several_vectors(tmp_path: Path) -> None:
    source = folder(tmp_path / "news", texts())
    with pytest.raises(LocoError, match=r"keeps several vectors of a document.* Choose --strategy truncate or chunk"):
        clustered(source, tmp_path, str(minilm()), strategies="late-chunk")


def test_umap_that_is_not_installed_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(LocoError, match="pip install umap-learn"):
        clustered(folder(tmp_path / "news", texts()), tmp_path, projection="umap")


def test_umap_draws_where_it_is_installed(tmp_path: Path) -> None:
    pytest.importorskip("umap")
    one = only(folder(tmp_path / "news", texts(common=0)), tmp_path, projection="umap")
    assert one.result.projection["method"] == "umap"
    assert "UMAP" in one.figure.read_text(encoding="utf-8")


def test_the_real_minilm_finds_subjects_by_meaning(tmp_path: Path) -> None:
    # No two texts of a label share a word that counts.
    rows = [
        ("space", "Astronauts docked their capsule to the orbital station."),
        ("space", "The rover photographed craters on Mars."),
        ("space", "A rocket lifted a satellite beyond the atmosphere."),
        ("space", "Jupiter's moons were seen through a telescope."),
        ("food", "Fry the onions in butter until golden."),
        ("food", "She baked bread with rye flour."),
        ("food", "This soup needs salt, garlic and thyme."),
        ("food", "Grilled salmon with lemon and rice for dinner."),
        ("law", "The judge dismissed the plaintiff's complaint."),
        ("law", "Her attorney filed an appeal with the court."),
        ("law", "A jury convicted him of fraud."),
        ("law", "The contract was breached, and damages were awarded by the tribunal."),
    ]
    source = lines(tmp_path / "news.jsonl", *({"label": label, "text": text} for label, text in rows))
    found = only(source, tmp_path, str(minilm())).result
    by_words = only(source, tmp_path).result
    assert found.v_measure.mean > 0.9
    assert by_words.v_measure.mean < 0.7
    assert (found.encoder.dim, found.encoder.similarity, found.coverage and found.coverage.texts_cut) == (
        384,
        "cosine",
        0,
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"v_measure": {"mean": 0.5, "lowest": 1, "highest": 1, "values": [1.0] * 10}}, "not those of the values"),
        ({"v_measure": {"mean": 1.0, "lowest": 1, "highest": 1, "values": [1.0]}}, "1 values for 10 seeds"),
        ({"points": []}, "not as many of each label"),
        ({"k_means": {"clusters": 2, "starts": 10, "seeds": list(range(10))}}, "2 clusters for 3 labels"),
        ({"surprise": 1}, "Extra inputs"),
    ],
)
def test_a_result_that_contradicts_itself_is_refused(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    one = only(folder(tmp_path / "news", texts(common=0)), tmp_path)
    content = json.loads(one.path.read_bytes())
    with pytest.raises(ValidationError, match=said):
        ClusterResult.model_validate_json(json.dumps(content | change))


# The command


def ran(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_command_prints_a_table_and_says_where_the_files_are(tmp_path: Path) -> None:
    source = folder(tmp_path / "news", texts(common=0))
    (source / "README").write_text("no text")
    (source / "cooking" / "blank").write_text("")
    done = ran(source, "--model", "hash-512", "--out", tmp_path / "out", "--cache", tmp_path / "store")
    assert done.exit_code == 0, done.output
    assert "Left out, being in no folder of a label: 1 file." in done.stderr
    assert "1.0000 to 1.0000" in done.stdout
    assert "1 blank text left out" in done.stdout
    assert "no figure is corrected for chance" in " ".join(done.stdout.split())
    for path in (tmp_path / "out").rglob("*.*"):
        assert str(path) in done.stdout.replace("\n", "")


def test_what_was_finished_before_an_error_is_shown(tmp_path: Path) -> None:
    labelled = {label: [f"same {label} {n}" for n in range(4)] for label in ("flour", "orbit")}
    source = folder(tmp_path / "news", labelled)
    arguments = (source, "--model", "hash-512", "--out", tmp_path / "out", "--cache", tmp_path / "store")
    done = ran(*arguments, "--strategy", "truncate, truncate(1)")
    assert "truncate(512)" in done.stdout
    assert "The documents have 1 different vectors and 2 labels" in str(done.exception)
    assert len(list((tmp_path / "out").rglob("*.json"))) == 1


def test_the_command_prints_json_for_machines(tmp_path: Path) -> None:
    source = folder(tmp_path / "news", texts(common=0))
    done = ran(source, "--model", "hash-512", "--out", tmp_path / "out", "--cache", tmp_path / "store", "--json")
    (row,) = json.loads(done.stdout)
    assert (row["v_measure"]["mean"], row["strategy"], "points" in row) == (1.0, "truncate(512)", False)
    assert Path(row["path"]).is_file()
    assert Path(row["figure"]).is_file()


def test_markup_in_names_is_text_on_the_terminal_and_in_the_figure(tmp_path: Path) -> None:
    labelled = texts(common=0)
    hostile = "[red]</text><script>&"
    rows = [{"text": text, "label": label} for label, members in labelled.items() for text in members]
    rows += [{"text": f"zebra lion tiger {n}", "label": hostile} for n in range(8)]
    source = lines(tmp_path / "[bold]a.jsonl", *rows)
    done = ran(source, "--model", "hash-512", "--out", tmp_path / "out", "--cache", tmp_path / "store")
    assert done.exit_code == 0, done.output
    assert "[bold]a: k-means" in done.stdout
    (svg,) = (tmp_path / "out").rglob("*.svg")
    figure = ET.fromstring(svg.read_text(encoding="utf-8"))
    assert f"{hostile} (8)" in [text.text for text in figure.iter(SVG + "text")]
    assert not list(figure.iter(SVG + "script"))
