"""UCI's legal case reports, on cases made up in upstream's format and with its kinds of damage."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loco.errors import LocoError
from loco.tasks.builders import legal_cases
from loco.tasks.builders.legal_cases import SECTIONS, build_with, parsed
from loco.tasks.card import task_card
from loco.tasks.data import Split, TaskData, read_task, write_task

CARD = task_card("legal_case_reports")


def fulltext(*sentences: str) -> str:
    items = "".join(f'<sentence id="s{i}">\n{text}</sentence>\n' for i, text in enumerate(sentences))
    return (
        '<?xml version="1.0"?>\n<case>\n<name>Doe v Roe [2006] FCA 1</name>\n<AustLII>http://example.org/1</AustLII>\n'
        f'<catchphrases>\n<catchphrase "id=c0">costs</catchphrase>\n</catchphrases>\n<sentences>\n{items}</sentences>\n'
        "</case>\n"
    )


def citations(phrases: tuple[str, ...] = (), citances: tuple[str, ...] = (), titles: tuple[str, ...] = ()) -> str:
    phrase_items = "".join(
        f'<citphrase id="cp0.{i}" type=cited from="[2006] FCA 1222">{text}</citphrase>\n'
        for i, text in enumerate(phrases)
    )
    citance_items = "".join(
        f'<citance id="ct0.{i}" from="[2009] FCA 7">{text}</citance>\n' for i, text in enumerate(citances)
    )
    title_items = "".join(f"<title>{text}</title>\n" for text in titles)
    return (
        '<?xml version="1.0"?>\n<case>\n<name>Doe v Roe [2006] FCA 1</name>\n'
        f"<citphrases>\n{phrase_items}</citphrases>\n<citances>\n{citance_items}</citances>\n"
        f"<legistitles>\n{title_items}</legistitles>\n</case>\n"
    )


def corpus(cases: int) -> dict[str, str | bytes]:
    files: dict[str, str | bytes] = {}
    for number in range(cases):
        name = f"06_{number}.xml"
        files[f"fulltext/{name}"] = fulltext(f"Case {number} is about costs.", "The appeal is dismissed.")
        files[f"citations_summ/{name}"] = citations((f"phrase {number}",), (f"citance {number}",), (f"Act {number}",))
        files[f"citations_class/{name}"] = "<case></case>"
    return files


def folder(place: Path, files: Mapping[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return place


def zipped(path: Path, files: Mapping[str, str | bytes], root: str = "corpus/") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(root + name, content)
    return path


def build(source: Path | None, split: Split = "test") -> TaskData:
    return legal_cases.build(CARD, "paper", split, source)


def both(source: Path) -> dict[str, tuple[str, str]]:
    """Query and document of every case in either split."""
    splits = [build(source, "test"), build(source, "train")]
    queries = {name: text for split in splits for name, text in split.queries}
    documents = {name: text for split in splits for name, text in split.documents}
    assert queries.keys() == documents.keys()
    return {name: (queries[name], documents[name]) for name in queries}


def error_of(call: Callable[[], object]) -> str:
    with pytest.raises(LocoError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_query_is_the_case_s_citations_and_its_document_the_case_s_sentences(tmp_path: Path) -> None:
    cases = both(folder(tmp_path, corpus(12)))
    assert cases["06_3"] == ("phrase 3\ncitance 3\nAct 3", "Case 3 is about costs.\nThe appeal is dismissed.")
    assert len(cases) == 12
    for split in ("test", "train"):
        built = build(tmp_path, split)
        assert built.split == split
        assert built.qrels == {name: {name: 1} for name in built.queries.ids}
        assert built.queries.ids == built.documents.ids == tuple(sorted(built.queries.ids))
        assert write_task(built, tmp_path / "out").provenance.equivalent
        again = read_task(tmp_path / "out", "paper", "legal_case_reports", split)
        assert again.content == built.content


def test_other_sections_can_make_the_query(tmp_path: Path) -> None:
    source = folder(tmp_path, corpus(4))
    for sections, query in ((("citances",), "citance {}"), (("citances", "citphrases"), "citance {}\nphrase {}")):
        built = build_with(CARD, "paper", "train", source, sections)
        assert dict(built.queries) == {name: query.format(*[name[3:]] * 2) for name in built.queries.ids}
        assert ", ".join(sections) in built.provenance.equivalent
    assert "citphrases, citances, legistitles" in error_of(
        lambda: build_with(CARD, "paper", "test", source, ("names",))
    )
    assert "There are:" in error_of(lambda: build_with(CARD, "paper", "test", source, ()))


def test_the_paper_s_3864_cases_are_split_into_its_3094_and_770_and_the_rest_is_counted(tmp_path: Path) -> None:
    files = corpus(3890)
    for number in range(10):
        where = "fulltext" if number % 2 else "citations_summ"
        files[f"{where}/06_{number}.xml"] = fulltext("caf\xe9").encode("latin-1")
    for number in range(10, 26):
        files[f"citations_summ/06_{number}.xml"] = citations()
    source = zipped(tmp_path / "corpus.zip", files)
    test, train = build(source, "test"), build(source, "train")
    assert (len(test.queries), len(train.queries)) == (770, 3094)
    assert not set(test.queries.ids) & set(train.queries.ids)
    for built in (test, train):
        assert built.provenance.dropped == {"cases that are not UTF-8": 10, "cases without citations": 16}


def test_a_zip_and_its_folders_say_the_same_wherever_they_lie(tmp_path: Path) -> None:
    files = corpus(9)
    junk = {"__MACOSX/corpus/fulltext/._06_1.xml": b"\0\5", "fulltext/._06_1.xml": b"\0\5", "README.txt": "hello"}
    zips = [
        zipped(tmp_path / "a" / "legal+case+reports.zip", {**files, **junk}),
        zipped(tmp_path / "b" / "corpus.zip", dict(reversed(files.items())), root=""),
    ]
    places = [
        *zips,
        *(path.parent for path in zips),
        folder(tmp_path / "c", {**files, **junk}),
        folder(tmp_path / "d" / "corpus", files).parent,
    ]
    built = [build(place) for place in places]
    assert all(legal_cases.holds(CARD.name, place) for place in places)
    assert {task.content.model_dump_json() for task in built} == {built[0].content.model_dump_json()}
    labels = [task.provenance.source for task in built]
    assert labels == ["legal+case+reports.zip", "corpus.zip"] * 2 + ["fulltext, citations_summ"] * 2
    assert built[0].provenance.source_revision == "sha256:" + hashlib.sha256(zips[0].read_bytes()).hexdigest()
    assert built[4].provenance.source_revision == built[5].provenance.source_revision
    assert not any(str(tmp_path) in task.provenance.model_dump_json() for task in built)
    (tmp_path / "c" / "fulltext" / "06_0.xml").write_text(fulltext("Another."), encoding="utf-8")
    assert build(tmp_path / "c").provenance.source_revision != built[4].provenance.source_revision


def test_cases_without_sentences_or_with_one_file_are_counted(tmp_path: Path) -> None:
    files = corpus(8)
    files["fulltext/06_1.xml"] = fulltext()
    files["fulltext/06_2.xml"] = ""
    del files["citations_summ/06_3.xml"], files["fulltext/06_4.xml"]
    source = folder(tmp_path, files)
    assert sorted(both(source)) == ["06_0", "06_5", "06_6", "06_7"]
    assert build(source).provenance.dropped == {
        "cases without sentences": 2,
        "cases with only one of their two files": 2,
    }


@pytest.mark.parametrize(
    ("item", "text"),
    [
        ('<citphrase id="cp0.0" type=cited from="[2006] FCA 1222">corporations law</citphrase>', "corporations law"),
        ("<citphrase id=cp0.0 type=citing from=[2006] FCA 1222>>corporations law</citphrase>", "corporations law"),
        ('<citphrase "id=cp0">costs < 5 and > 3 where a<b</citphrase>', "costs < 5 and > 3 where a<b"),
        ("<citphrase>the <name withheld> matter <i>Re X</i></citphrase>", "the <name withheld> matter <i>Re X</i>"),
        ("<citphrase>R&D &amp; M&amp;A &lt;1&gt; &#8220;x&#x201D;</citphrase>", "R&D & M&A <1> “x”"),
        ("<citphrase>&foo; &copy 2006 &; &#xD800; &#99999999;</citphrase>", "&foo; &copy 2006 &; \ufffd &#99999999;"),
        ("<citphrase>not closed\n", "not closed"),
        ("<citphrase>first</citphrase><citphrase>  \n</citphrase>", "first"),
        ("<CITPHRASE>\n", "<CITPHRASE>"),
    ],
)
def test_malformed_markup_keeps_the_text(item: str, text: str) -> None:
    found = parsed(f"<case>\n<citphrases>\n{item}\n</citphrases>\n<citances>\n</citances>\n</case>")
    assert found.texts == {"citphrases": [text]}
    assert found.whole


def test_a_missing_section_tag_loses_nothing() -> None:
    found = parsed('<case><citance id="c">one</citance><title>Act</title><name>Doe</name></case>')
    assert found.texts == {"citances": ["one"], "legistitles": ["Act"]}
    found = parsed("<citphrases><citphrase>a</citphrase><citances><citance>b</citance><legistitles><title>c</title>")
    assert found.texts == {"citphrases": ["a"], "citances": ["b"], "legistitles": ["c"]}
    assert not found.whole


def test_a_file_cut_off_is_taken_as_far_as_it_goes_and_counted(tmp_path: Path) -> None:
    files = corpus(6)
    whole = fulltext("First.", "Second sentence.", "Third.")
    files["fulltext/06_2.xml"] = whole[: whole.index("sentence.")]
    source = folder(tmp_path, files)
    assert both(source)["06_2"][1] == "First.\nSecond"
    assert build(source).provenance.dropped == {"cases cut off in a file, taken as far as they go": 1}


def test_an_entity_bomb_does_not_expand(tmp_path: Path) -> None:
    entities = '<!ENTITY a0 "lol">' + "".join(
        f'<!ENTITY a{level} "{f"&a{level - 1};" * 10}">' for level in range(1, 30)
    )
    external = '<!ENTITY file SYSTEM "file:///etc/passwd">'
    bomb = f"<!DOCTYPE case [{entities}{external}]>" + fulltext("Boom &a29; &file; here.")
    files = {**corpus(4), "fulltext/06_1.xml": bomb}
    assert both(folder(tmp_path, files))["06_1"][1] == "Boom &a29; &file; here."


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
def test_any_content_is_parsed_and_never_grows(content: str) -> None:
    found = parsed(content + "<sentences>" + content)
    assert sum(len(text) for texts in found.texts.values() for text in texts) <= 2 * len(content)


@given(st.lists(st.text("abc &<>;\"=#/'é\n", max_size=30), min_size=1, max_size=5))
def test_what_is_between_the_tags_comes_back(sentences: list[str]) -> None:
    clean = [text.strip() for text in sentences if text.strip() and not text.strip().startswith(">")]
    assert parsed(fulltext(*clean)).texts.get("sentences", []) == clean


def test_a_damaged_or_hostile_zip_is_one_line(tmp_path: Path) -> None:
    files = corpus(5)
    good = zipped(tmp_path / "good.zip", files).read_bytes()

    def written(name: str, content: bytes) -> Path:
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    assert "cut.zip is not a zip, or cut off" in error_of(lambda: build(written("cut.zip", good[:-40])))
    assert "is not a zip" in error_of(lambda: build(written("text.zip", b"hello")))
    at = good.index(b"corpus/fulltext/06_2.xml") + len(b"corpus/fulltext/06_2.xml") + 10
    flipped = good[:at] + bytes(byte ^ 0xFF for byte in good[at : at + 8]) + good[at + 8 :]
    message = error_of(lambda: build(written("bits.zip", flipped)))
    assert "bits.zip (corpus/fulltext/06_2.xml) is damaged" in message
    for name in ("../06_9.xml", "/fulltext/06_9.xml", "..\\06_9.xml", "C:\\fulltext\\06_9.xml"):
        slip = zipped(tmp_path / "slip.zip", {**files, name: "x"}, root="")
        message = error_of(lambda slip=slip: build(slip))
        assert "outside its folder" in message
    assert not list(tmp_path.parent.glob("06_9.xml"))
    large = {**files, "fulltext/06_1.xml": b"<sentences>" + b" " * (1 << 26)}
    message = error_of(lambda: build(zipped(tmp_path / "bomb.zip", large)))
    assert "bomb.zip (corpus/fulltext/06_1.xml) has 67,108,875 bytes" in message
    message = error_of(lambda: build(zipped(tmp_path / "nested.zip", {"corpus.zip": good})))
    assert "holds no fulltext/*.xml" in message
    assert "unpack" in message
    message = error_of(lambda: build(zipped(tmp_path / "few.zip", corpus(1))))
    assert "1 cases" in message


def test_a_huge_file_in_a_folder_is_refused_unread(tmp_path: Path) -> None:
    source = folder(tmp_path, corpus(3))
    with (source / "fulltext" / "06_1.xml").open("r+b") as file:
        file.truncate(1 << 40)  # sparse
    assert "1,099,511,627,776 bytes" in error_of(lambda: build(source))


def test_without_a_source_the_error_says_what_to_get_and_where(tmp_path: Path) -> None:
    for split, option in (
        ("test", "--variant paper --from DIR"),
        ("train", "--variant paper --split train --from DIR"),
    ):
        message = error_of(lambda split=split: build(None, split))
        assert all(
            part in message for part in ("not on the hub", "legal+case+reports.zip", "archive.ics.uci.edu", option)
        )
    assert not legal_cases.holds(CARD.name, tmp_path)
    assert "legal+case+reports.zip" in error_of(lambda: build(tmp_path))
    assert legal_cases.tasks("paper", "train") == (CARD.name,)
    assert not legal_cases.tasks("release", "test")


def test_the_split_depends_on_names_alone(tmp_path: Path) -> None:
    few, more = folder(tmp_path / "few", corpus(40)), folder(tmp_path / "more", corpus(60))
    tests = [set(build(source).queries.ids) for source in (few, more)]
    assert [len(names) for names in tests] == [8, 12]
    again = tests[1] & {f"06_{number}" for number in range(40)}
    assert again <= tests[0] or tests[0] <= again
    other = corpus(40)
    other["fulltext/06_7.xml"] = fulltext("Quite another text.")
    assert set(build(folder(tmp_path / "other", other)).queries.ids) == tests[0]


def test_every_section_of_the_default_is_one_of_upstream_s() -> None:
    content = citations(("a",), ("b",), ("c",))
    assert parsed(content).texts == dict(zip(SECTIONS, (["a"], ["b"], ["c"]), strict=True))


def test_a_word_in_angle_brackets_is_text_unless_it_can_end_the_sentence() -> None:
    sentences = '<sentences><sentence id="s1">cf <case> stated, see <title>q</title></sentence>'
    found = parsed(f'<case>{sentences}<sentence id="s2">two</sentence></sentences></case>')
    assert found.texts == {"sentences": ["cf <case> stated, see <title>q</title>", "two"]}
    assert found.whole


def test_no_choice_of_sections_moves_a_case_into_the_other_split(tmp_path: Path) -> None:
    files = corpus(60)
    for number in range(0, 60, 3):
        files[f"citations_summ/06_{number}.xml"] = citations((f"phrase {number}",))
    source = folder(tmp_path, files)
    splits: tuple[Split, Split] = ("test", "train")
    whole, fewer = (
        {split: set(build_with(CARD, "paper", split, source, sections).queries.ids) for split in splits}
        for sections in (SECTIONS, ("citances",))
    )
    assert all(fewer[split] < whole[split] for split in splits)
    noted = build_with(CARD, "paper", "train", source, ("citances",)).provenance.dropped
    assert noted == {"train cases without text in the sections chosen": len(whole["train"] - fewer["train"])}


@pytest.mark.parametrize("sections", [(), ("citances", "citances"), ("citations",)])
def test_sections_that_cannot_make_a_query_are_one_line(sections: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(LocoError, match="cannot make a query"):
        build_with(CARD, "paper", "test", tmp_path, sections)
