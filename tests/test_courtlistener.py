"""CourtListener's bulk export, on rows made up in each of the dialects it has had."""

from __future__ import annotations

import bz2
import hashlib
import random
import tracemalloc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loco.errors import LocoError
from loco.tasks.builders import courtlistener
from loco.tasks.builders.courtlistener import HTML_COLUMNS
from loco.tasks.card import task_card
from loco.tasks.data import Split, TaskData, read_task, write_task

HTML, PLAIN = "courtlistener_HTML", "courtlistener_Plain_Text"
PARENTHETICALS = ("id", "text", "score", "described_opinion_id", "describing_opinion_id", "group_id")
SOURCE_COLUMNS = ["html", "html_lawbox", "html_columbia", "html_anon_2020", "xml_harvard", "html_with_citations"]
OPINIONS = ("id", "date_created", "author_str", "plain_text", *SOURCE_COLUMNS, "extracted_by_ocr", "cluster_id")
Row = Sequence[str | None]

# quote, escape, whether all fields that are not NULL are quoted: today's export, then its predecessors.
DIALECTS = {
    "today": ('"', "\\", False),
    "January 2025": ('"', "\\", True),
    "2023": ('"', '"', True),
    "August 2024": ("`", "`", True),
}


def copied(rows: Iterable[Row], dialect: str = "today") -> str:
    """What PostgreSQL's COPY TO with FORMAT csv writes for rows, None being NULL."""
    quote, escape, force = DIALECTS[dialect]

    def field(value: str | None) -> str:
        if value is None:
            return ""
        if not (force or not value or any(character in value for character in (",", quote, "\n", "\r"))):
            return value
        escaped = (escape + character if character in (quote, escape) else character for character in value)
        return quote + "".join(escaped) + quote

    return "".join(",".join(map(field, row)) + "\n" for row in rows)


def csv(header: Sequence[str], rows: Iterable[Row], dialect: str = "today") -> bytes:
    return (",".join(header) + "\n" + copied(rows, dialect)).encode()


def opinion(identifier: int, plain: str | None = "", **html: str) -> Row:
    values = {"id": str(identifier), "plain_text": plain, "extracted_by_ocr": "f", "cluster_id": "9", **html}
    return [values.get(column, "" if column in HTML_COLUMNS else None) for column in OPINIONS]


def usable(identifiers: Iterable[int]) -> list[Row]:
    return [opinion(i, f"Opinion {i},\nplain.", html_with_citations=f'<pre class="o">{i}</pre>') for i in identifiers]


def parenthetical(identifier: int, described: int, text: str | None = None) -> Row:
    text = f'holding, in "{identifier}"' if text is None else text
    return [str(identifier), text, "0.5", str(described), "7", None]


def export(
    folder: Path,
    opinions: Iterable[Row],
    parentheticals: Iterable[Row],
    dialect: str = "today",
    date: str = "2026-06-30",
    suffix: str = ".csv",
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    tables = {
        "opinions": csv(OPINIONS, opinions, dialect),
        "parentheticals": csv(PARENTHETICALS, parentheticals, dialect),
    }
    for name, content in tables.items():
        (folder / f"{name}-{date}{suffix}").write_bytes(bz2.compress(content) if suffix == ".csv.bz2" else content)
    return folder


def small(folder: Path, count: int = 12, **options: str) -> Path:
    """``count`` usable opinions, each described once."""
    return export(
        folder, usable(range(1, count + 1)), (parenthetical(100 + i, i) for i in range(1, count + 1)), **options
    )


def build(source: Path | None, split: Split = "test", task: str = HTML) -> TaskData:
    return courtlistener.build(task_card(task), "paper", split, source)


def pairs(source: Path, task: str = HTML) -> dict[tuple[str, str], tuple[str, str]]:
    """(parenthetical id, opinion id) -> (query, document) of both splits together."""
    found = {}
    for split in ("test", "train"):
        built = build(source, split, task)
        queries, documents = dict(built.queries), dict(built.documents)
        for query, relevant in built.qrels.items():
            (document,) = relevant
            found[query, document] = queries[query], documents[document]
    return found


def error_of(call: Callable[[], object]) -> str:
    with pytest.raises(LocoError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """Small numbers of test and train pairs."""
    monkeypatch.setattr(courtlistener, "TEST_PAIRS", 5)
    monkeypatch.setattr(courtlistener, "TRAIN_PAIRS", 25)
    return 5, 25


def test_both_tasks_hold_the_same_pairs_with_another_column_as_document(tmp_path: Path) -> None:
    source = small(tmp_path / "in")
    html, plain = pairs(source, HTML), pairs(source, PLAIN)
    assert html.keys() == plain.keys() == {(str(100 + i), str(i)) for i in range(1, 13)}
    assert html["103", "3"] == ('holding, in "103"', '<pre class="o">3</pre>')
    assert plain["103", "3"] == ('holding, in "103"', "Opinion 3,\nplain.")
    for task in (HTML, PLAIN):
        built = build(source, "train", task)
        assert (built.card.name, built.split, built.variant) == (task, "train", "paper")
        assert "not documented" in write_task(built, tmp_path / "out").provenance.equivalent
        assert read_task(tmp_path / "out", "paper", task, "train").content == built.content


def test_the_sample_is_the_first_by_hash_and_test_the_first_of_it(tmp_path: Path, sizes: tuple[int, int]) -> None:
    tests, trains = sizes
    identifiers = list(range(1, 101))
    source = export(tmp_path, usable(identifiers), (parenthetical(1000 + i, i) for i in identifiers))
    order = sorted(identifiers, key=lambda identifier: courtlistener._place("opinion", identifier))
    test, train = build(source, "test"), build(source, "train")
    assert test.documents.ids == tuple(map(str, order[:tests]))
    assert train.documents.ids == tuple(map(str, order[tests : tests + trains]))
    assert test.provenance.dropped == {"usable pairs beyond the sample": 70}
    assert "usable pairs" not in test.provenance.equivalent


def test_the_order_of_rows_does_not_matter(tmp_path: Path, sizes: tuple[int, int]) -> None:
    opinions = usable(range(1, 90))
    parentheticals = [parenthetical(1000 + i, 1 + i % 80) for i in range(300)]
    contents = []
    for seed in range(3):
        dice = random.Random(seed)
        dice.shuffle(opinions)
        dice.shuffle(parentheticals)
        source = export(tmp_path / str(seed), opinions, parentheticals)
        contents.append([(build(source, split).content, build(source, split).qrels) for split in ("test", "train")])
    assert contents[0] == contents[1] == contents[2]


def test_fewer_pairs_than_the_sample_are_split_one_to_five(tmp_path: Path) -> None:
    source = small(tmp_path, 30)
    test, train = build(source, "test"), build(source, "train")
    assert (len(test.queries), len(train.queries)) == (5, 25)
    assert "1 in 6 of only 30 usable pairs" in test.provenance.equivalent
    assert [len(build(small(tmp_path / "two", 2), split).queries) for split in ("test", "train")] == [1, 1]


def test_each_opinion_has_one_parenthetical_and_what_is_left_out_is_counted(tmp_path: Path) -> None:
    opinions = [
        *usable(range(1, 8)),
        opinion(8, "no html"),
        opinion(9, None, html="<p>no plain text</p>"),
        opinion(10, " \n", html="<p>blank plain text</p>"),
        opinion(11, "blank html", html_with_citations=" "),
        opinion(12, "nobody describes it", html="<p>12</p>"),
    ]
    parentheticals = [parenthetical(100 * copy + i, i) for i in range(1, 12) for copy in (1, 2, 3)]
    parentheticals += [parenthetical(901, 1, " \t"), parenthetical(902, 2, ""), parenthetical(903, 77)]
    source = export(tmp_path, opinions, parentheticals)
    assert sorted(document for _, document in pairs(source)) == list("1234567")
    assert build(source).provenance.dropped == {
        "parentheticals without text": 2,
        "parentheticals beyond one an opinion": 22,
        "described opinions that are not in the file": 1,
        "described opinions without plain text or HTML": 4,
    }


def test_html_is_the_first_column_that_is_not_blank(tmp_path: Path) -> None:
    columns = ["html_with_citations", "xml_harvard", "html_columbia", "html_lawbox", "html_anon_2020", "html"]
    filled = [dict.fromkeys(columns[first:], "") | {columns[first]: f"<{columns[first]}>"} for first in range(6)]
    others = [{**dict.fromkeys(columns[first:], "<later>"), **filled[first]} for first in range(6)]
    blanks = [{**dict.fromkeys(columns[:first], " \n"), columns[first]: f"<{columns[first]}>"} for first in range(6)]
    rows = [opinion(i, "plain", **values) for i, values in enumerate([*others, *blanks], 1)]
    source = export(tmp_path, rows, (parenthetical(100 + i, i) for i in range(1, 13)))
    documents = {int(document): text for (_, document), (_, text) in pairs(source).items()}
    assert [documents[i] for i in range(1, 13)] == [f"<{column}>" for column in columns] * 2


NASTY = [
    'a "quoted" word, and a comma',
    '"starts and ends"',
    '"',
    '""',
    '\\"',
    "ends in a backslash\\",
    "C:\\dir\\\\server",
    "`back` ``ticks``",
    "lines\nof\r\ntext\n",
    '\n",\n"',
    "\\",
    "tab\t§ “curly” \U0001f600",
    ",",
    'x\\","y',
]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_gives_every_text_back(tmp_path: Path, dialect: str) -> None:
    opinions = [opinion(i, text, html_with_citations=text + "<p>") for i, text in enumerate(NASTY, 1)]
    source = export(tmp_path, opinions, (parenthetical(100 + i, i, text) for i, text in enumerate(NASTY, 1)), dialect)
    expected = {(str(100 + i), str(i)): (text, text) for i, text in enumerate(NASTY, 1)}
    assert pairs(source, PLAIN) == expected
    assert pairs(source, HTML) == {ids: (text, text + "<p>") for ids, (text, _) in expected.items()}


def test_a_backslash_that_ends_an_unquoted_field_does_not_swallow_the_next(tmp_path: Path) -> None:
    content = csv(PARENTHETICALS, [parenthetical(100 + i, i, f"see {i}\\") for i in range(1, 7)])
    assert b"101,see 1\\,0.5," in content
    source = export(tmp_path, usable(range(1, 7)), [])
    (source / "parentheticals-2026-06-30.csv").write_bytes(content)
    assert pairs(source)["101", "1"][0] == "see 1\\"


@pytest.mark.parametrize("dialect", DIALECTS)
@given(data=st.data())
def test_rows_come_back_from_any_blocks_of_lines(dialect: str, data: st.DataObject) -> None:
    value = st.none() | st.text(st.sampled_from('a,"\\`\n\ré'), max_size=6)
    columns = data.draw(st.integers(2, 4))  # COPY treats a single column of its own
    rows = data.draw(st.lists(st.lists(value, min_size=columns, max_size=columns), max_size=6))
    header = [f"c{number}" for number in range(columns)]
    lines = (",".join(header) + "\n" + copied(rows, dialect)).encode().splitlines(keepends=True)
    lines = list(unbroken(lines))
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(lines) - 1)), max_size=5)))
    blocks = [b"".join(lines[start:stop]) for start, stop in zip([0, *cuts], [*cuts, len(lines)], strict=True)]
    quote, escape, _ = (part.encode() if isinstance(part, str) else part for part in DIALECTS[dialect])
    reader = courtlistener._Dialect(quote, escape)
    found = [
        (line, [reader.value(raw).decode() for raw in fields])
        for line, fields in courtlistener._records(blocks, reader)
    ]
    assert [fields for _, fields in found] == [header, *[[text or "" for text in row] for row in rows]]
    before = [1 + copied([header, *rows[:number]], dialect).count("\n") for number in range(len(rows))]
    assert [line for line, _ in found] == [1, *before]


def unbroken(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Lines that end with a line feed only: splitlines also cuts at a lone carriage return."""
    held = b""
    for line in lines:
        held += line
        if held.endswith(b"\n"):
            yield held
            held = b""


def test_compressed_and_decompressed_files_say_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, compressed = small(tmp_path / "a"), small(tmp_path / "b", suffix=".csv.bz2")
    for split in ("test", "train"):
        assert build(plain, split).content == build(compressed, split).content
    names = ("parentheticals-2026-06-30.csv", "opinions-2026-06-30.csv")
    for folder, suffix in ((plain, ""), (compressed, ".bz2")):
        provenance = build(folder).provenance
        digests = [hashlib.sha256((folder / (name + suffix)).read_bytes()).hexdigest() for name in names]
        assert provenance.source == ", ".join(name + suffix for name in names)
        assert list(provenance.source_sha256.values()) == digests
        assert provenance.source_revision == ", ".join(f"sha256:{digest}" for digest in digests)
    for name in names:
        (plain / f"{name}.bz2").write_bytes(b"not read, since the decompressed file lies beside it")
    assert build(plain).provenance.source == ", ".join(names)


def test_several_bz2_streams_in_one_file_are_one_file(tmp_path: Path) -> None:
    source = small(tmp_path, suffix=".csv.bz2")
    path = source / "opinions-2026-06-30.csv.bz2"
    expected = build(source).content
    content = bz2.decompress(path.read_bytes())
    path.write_bytes(bz2.compress(content[:100]) + bz2.compress(content[100:]))
    assert build(source).content == expected


def test_the_newest_date_that_has_both_files_is_read(tmp_path: Path) -> None:
    small(tmp_path, 6, date="2025-01-01")
    small(tmp_path, 8, date="2025-12-31")
    small(tmp_path, 10, date="2026-06-30")
    (tmp_path / "parentheticals-2026-06-30.csv").unlink()
    (tmp_path / "opinion-clusters-2026-06-30.csv").write_bytes(b"")
    assert len(pairs(tmp_path)) == 8
    assert "2025-12-31" in build(tmp_path).provenance.source


def test_the_files_are_read_once_for_both_tasks_and_splits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = small(tmp_path)
    first = build(source)

    def fail(*_: object) -> None:
        raise AssertionError("read again")

    with monkeypatch.context() as patched:
        patched.setattr(courtlistener, "_Sample", fail)
        assert build(source).content == first.content
        assert len(build(source, "train", PLAIN).queries) == 10
    small(tmp_path, 18)
    assert len(build(source).queries) == 3, "other files are not taken for the same"


def damaged(content: bytes, what: str) -> bytes:
    """An opinions file of 40 rows, each of two lines, with something wrong from row 21, lines 42 and 43, on."""
    lines = content.split(b"\n")
    row = b"\n".join(lines[41:43])
    assert row.startswith(b"21,")
    wrong = {
        "unclosed quote": row.replace(b'plain."', b"plain."),
        "unescaped quote": row.replace(b'\\"o\\"', b'\\"o"'),
        "too few columns": row.replace(b",9", b""),
        "too many columns": row + b",9",
        "not UTF-8": row.replace(b"plain.", b"pl\xe4in."),
        "NUL": row.replace(b"plain.", b"pl\0in."),
        "no id": row.replace(b"21,", b"x1,", 1),
        "twice": row.replace(b"21,", b"20,", 1),
    }
    if what in wrong:
        assert wrong[what] != row
        return content.replace(row, wrong[what])
    if what == "cut in a quoted field":
        return content[: content.index(row) + 30]
    if what == "cut between fields":
        return content[: content.index(row) + len(row) - 1]
    raise AssertionError(what)


@pytest.mark.parametrize("suffix", [".csv", ".csv.bz2"])
@pytest.mark.parametrize(
    ("what", "line", "said"),
    [
        ("unclosed quote", 42, "a quote is not closed, or not escaped, in the row that starts here"),
        ("unescaped quote", 42, "a quote is not closed, or not escaped, in the row that starts here"),
        ("too few columns", 42, "11 columns where the header has 12"),
        ("too many columns", 42, "13 columns where the header has 12"),
        ("not UTF-8", 43, "not UTF-8 (byte 0xe4)"),
        ("NUL", 43, "a NUL byte"),
        ("no id", 42, "the id 'x1' is not an id"),
        ("twice", 42, "the opinion 20 stands twice"),
        ("cut in a quoted field", 42, "a quote is not closed in the row that starts here, and the file ends"),
        ("cut between fields", 42, "the row is not complete in the row that starts here, and the file ends"),
    ],
)
def test_a_damaged_row_is_one_line_that_says_where(
    tmp_path: Path, what: str, line: int, said: str, suffix: str
) -> None:
    source = small(tmp_path, 40, suffix=suffix)
    path = source / f"opinions-2026-06-30{suffix}"
    unpack, pack = (bz2.decompress, bz2.compress) if suffix == ".csv.bz2" else (bytes, bytes)
    path.write_bytes(pack(damaged(unpack(path.read_bytes()), what)))
    message = error_of(lambda: build(source))
    assert message.startswith(f"{path}, line {line}: {said}")
    assert message.endswith("Get the file again.")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_unclosed_quote_is_found_near_it_in_every_dialect(tmp_path: Path, dialect: str) -> None:
    source = small(tmp_path, 40, dialect=dialect)
    path = source / "opinions-2026-06-30.csv"
    closed = "plain." + DIALECTS[dialect][0] + ","
    content = path.read_text(encoding="utf-8")
    at = content.index(closed, content.index("Opinion 21"))
    path.write_text(content[:at] + "plain.," + content[at + len(closed) :], encoding="utf-8", newline="\n")
    assert f"{path}, line 42: a quote is not closed" in error_of(lambda: build(source))


def test_an_error_far_into_the_file_names_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(courtlistener, "_BLOCK_BYTES", 50)
    source = small(tmp_path, 40)
    path = source / "opinions-2026-06-30.csv"
    good = path.read_bytes()
    for what, line in (("not UTF-8", 43), ("too few columns", 42), ("unclosed quote", 42), ("twice", 42)):
        path.write_bytes(damaged(good, what))
        assert f", line {line}: " in error_of(lambda: build(source))


@pytest.mark.parametrize("table", ["opinions", "parentheticals"])
def test_files_that_are_no_export_are_one_line(tmp_path: Path, table: str) -> None:
    def wrong(content: bytes, suffix: str) -> str:
        source = small(tmp_path / f"{len(list(tmp_path.iterdir()))}", suffix=suffix)
        path = source / f"{table}-2026-06-30{suffix}"
        path.write_bytes(content)
        message = error_of(lambda: build(source))
        assert str(path) in message
        return message

    header = OPINIONS if table == "opinions" else PARENTHETICALS
    rows = usable(range(1, 200)) if table == "opinions" else [parenthetical(i, i) for i in range(1, 200)]
    good = csv(header, rows)
    packed = bz2.compress(good)
    assert "is cut off: its bz2 data end too early" in wrong(packed[:-20], ".csv.bz2")
    middle = len(packed) // 2
    assert "is damaged or not bz2" in wrong(packed[:middle] + b"\0\0\0\0" + packed[middle + 4 :], ".csv.bz2")
    assert "is damaged or not bz2" in wrong(good, ".csv.bz2")
    assert "is empty" in wrong(b"", ".csv")
    assert "is cut off" in wrong(b"", ".csv.bz2")
    assert "is empty" in wrong(bz2.compress(b""), ".csv.bz2")
    for name in ("id", "plain_text" if table == "opinions" else "described_opinion_id"):
        assert f"the header has no column {name}. " in wrong(good.replace(name.encode(), b"other", 1), ".csv")
    message = wrong(good.splitlines()[0] + b"\n", ".csv") if table == "opinions" else ""
    assert "0 opinions" in message or table == "parentheticals"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    source = small(tmp_path)
    (source / "parentheticals-2026-06-30.csv").rename(source / "parentheticals-2025-12-31.csv")
    assert courtlistener.holds(HTML, source)
    message = error_of(lambda: build(source))
    assert "opinions-2026-06-30.csv" in message
    assert "parentheticals-<date>.csv.bz2" in message
    assert not courtlistener.holds(HTML, source / "opinions-2026-06-30.csv")
    assert not courtlistener.holds(HTML, tmp_path / "nowhere")
    (source / "parentheticals-2025-12-31.csv").rename(source / "parentheticals.csv")
    (source / "opinions-2026-06-30.csv").rename(source / "opinion-clusters-2026-06-30.csv")
    assert not courtlistener.holds(HTML, source)


def test_without_a_source_the_error_says_what_to_get_and_where() -> None:
    for task in (HTML, PLAIN):
        message = error_of(lambda task=task: build(None, "train", task))
        assert all(
            part in message for part in (task, "not on the hub", "https://www.courtlistener.com/help/api/bulk-data/")
        )
        assert message.endswith(f"loco build-data {task} --variant paper --split train --from DIR")
    assert courtlistener.tasks("paper", "test") == (PLAIN, HTML)
    assert not courtlistener.tasks("release", "test")


def test_a_quote_that_is_never_closed_does_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(courtlistener, "_LONGEST_ROW_BYTES", 3 << 20)
    source = small(tmp_path)
    path = source / "opinions-2026-06-30.csv"
    with path.open("ab") as file:
        file.write(b'13,,,,"')
        for _ in range(30):
            file.write(b"no end\n" * (1 << 17))
    assert f"{path}, line 26: the row that starts here has more than 3 MB" in error_of(lambda: build(source))


def test_memory_does_not_grow_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "opinions-2026-06-30.csv"
    text = 'A line of an opinion, with a "quote" in it.\n' * 5_000
    row = copied([opinion(1, text, html_with_citations=text)]).encode()
    path.write_bytes((",".join(OPINIONS) + "\n").encode() + row * 60)
    assert path.stat().st_size > 25_000_000
    monkeypatch.setattr(courtlistener, "_BLOCK_BYTES", 1 << 16)
    table = courtlistener._Table(path, ("id", "plain_text"))
    tracemalloc.start()
    try:
        assert sum(1 for _ in table.rows()) == 60
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 5_000_000


def test_a_full_temporary_folder_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare = courtlistener._Sample._prepare

    def in_ten_pages(sample: courtlistener._Sample) -> None:
        prepare(sample)
        sample._database.execute("PRAGMA max_page_count = 10")

    monkeypatch.setattr(courtlistener._Sample, "_prepare", in_ten_pages)
    message = error_of(lambda: build(small(tmp_path, 2_000)))
    assert "database or disk is full" in message
    assert "SQLITE_TMPDIR" in message


def test_nothing_is_left_in_the_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("SQLITE_TMPDIR", str(temporary))
    monkeypatch.setattr(courtlistener, "_CACHE_KIBIBYTES", 100)
    build(small(tmp_path / "in", 3_000))
    assert not list(temporary.iterdir())


def test_the_provenance_names_no_path_of_this_machine(tmp_path: Path) -> None:
    assert str(tmp_path) not in build(small(tmp_path)).provenance.model_dump_json()


def test_any_mapping_of_columns_to_places_is_read(tmp_path: Path) -> None:
    source = small(tmp_path / "a")
    expected = build(source).content
    columns: Mapping[str, int] = {name: place for place, name in enumerate(OPINIONS)}
    order = sorted(OPINIONS)
    rows = [[row[columns[name]] for name in order] for row in usable(range(1, 13))]
    (source / "opinions-2026-06-30.csv").write_bytes(csv(order, rows))
    assert build(source).content == expected


def test_a_parenthetical_that_stands_twice_is_refused(tmp_path: Path) -> None:
    source = export(tmp_path, usable(range(1, 7)), (parenthetical(100 + i // 2, i) for i in range(1, 7)))
    message = error_of(lambda: build(source))
    assert "parentheticals-2026-06-30.csv: some parentheticals stand twice" in message


def test_texts_stay_on_disk_until_they_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "A line of an opinion.\n" * 5_000
    opinions = (opinion(i, text, html_with_citations=f"<p>{i}</p>{text}") for i in range(1, 121))
    source = export(tmp_path / "a", opinions, (parenthetical(1000 + i, i) for i in range(1, 121)))
    monkeypatch.setattr(courtlistener, "_BLOCK_BYTES", 1 << 16)
    tracemalloc.start()
    try:
        built = build(source, "train")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4_000_000 < 10_000_000 < sum(map(len, built.documents.texts))
    assert len(build(small(tmp_path / "b")).queries) == 2, "another sample takes the place of the latest"
    assert all(document == f"<p>{i}</p>{text}" for i, document in built.documents)
    assert built.documents.texts[1:3][-1] == built.documents.texts[2]
