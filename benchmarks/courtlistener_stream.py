"""CourtListener's two CSV files, generated at any size and built: peak memory and rows a second.

python benchmarks/courtlistener_stream.py                       2 GB of opinions as .csv, 0.2 GB as .csv.bz2
python benchmarks/courtlistener_stream.py --gigabytes 0.5 --peers

The opinions are made up from a seed, in the dialect and with the columns of today's export: plain text in lines, HTML
full of quotes, lengths like those of the paper's Table 10. Each build runs in a process of its own, which reports the
largest resident set it ever had. With --peers the same file is also read, and nothing else, by Python's csv and by
pyarrow's streaming reader.
"""

from __future__ import annotations

import argparse
import bz2
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

DATE = "2026-01-01"
SEED = 20260101
PARAGRAPHS = 3_000
MEAN_PARAGRAPHS = 96
COLUMNS = (
    "id,date_created,date_modified,author_str,per_curiam,joined_by_str,type,sha1,page_count,download_url,local_path,"
    "plain_text,html,html_lawbox,html_columbia,html_anon_2020,xml_harvard,html_with_citations,extracted_by_ocr,"
    "author_id,cluster_id"
)
WORDS = (
    "the of to and in that court was by for on not or is as with be it defendant plaintiff which this evidence trial "
    "motion judgment claim statute appeal district state jury order party counsel rule issue finding summary error "
    "held affirmed reversed remanded jurisdiction contract damages liability reasonable doubt search seizure warrant "
    "officer property agreement insurance employment notice hearing petition review standard discretion burden"
)


def paragraphs(dice: random.Random) -> Iterator[tuple[str, str]]:
    """Paragraphs as plain text and as HTML, both already escaped for a quoted field."""
    vocabulary = WORDS.split()
    for _ in range(PARAGRAPHS):
        words = dice.choices(vocabulary, k=dice.randint(30, 120))
        for _ in range(dice.randint(0, 3)):
            words.insert(
                dice.randrange(len(words)), dice.choice(("§ 1983,", "“substantial,”", '"clear error,"', "R&D\\"))
            )
        plain, markup = words[:], words[:]
        for _ in range(dice.randint(0, 1)):
            at, volume, page = dice.randrange(len(plain)), dice.randint(1, 600), dice.randint(1, 999)
            plain[at] = f"{volume} U.S. {page},"
            markup[at] = (
                f'<span class="citation" data-id="{volume * page}"><a href="/opinion/{volume * page}/a-v-b/" '
                f'aria-description="Citation for case: A v. B">{volume} U.S. {page}</a></span>,'
            )
        for at in range(12, len(plain), 13):
            plain[at] += "\n"
            markup[at] += "\n"
        yield tuple(" ".join(words).replace("\\", "\\\\").replace('"', '\\"') + "\n\n" for words in (plain, markup))


def generate(folder: Path, size: int, compressed: bool) -> None:
    """Write both files, the opinions with ``size`` bytes before compression."""
    dice = random.Random(SEED)
    pool, vocabulary = list(paragraphs(dice)), WORDS.split()
    suffix = ".csv.bz2" if compressed else ".csv"
    start = bz2.open if compressed else open
    written = 0
    described: list[int] = []
    with start(folder / f"opinions-{DATE}{suffix}", "wb") as file:
        line = (COLUMNS + "\n").encode()
        opinion = 0
        while written < size:
            written += file.write(line)
            opinion += dice.randint(1, 9)
            chosen = dice.choices(pool, k=max(1, round(dice.lognormvariate(0, 0.9) * MEAN_PARAGRAPHS * 0.67)))
            plain, markup = "".join(part for part, _ in chosen), "".join(part for _, part in chosen)
            if dice.random() < 0.1:  # from a scan: no plain text
                texts = f',,,,,"<opinion type=\\"majority\\">{markup}</opinion>","<div>{markup}</div>",t'
            else:
                texts = f'"{plain}",,,,,,"<pre class=\\"inline\\">{markup}</pre>",f'
            now = "2025-12-31 23:59:59.999999+00"
            line = f'{opinion},{now},{now},"Doe, J.",f,,010combined,{opinion:040x},,,,{texts},,{opinion}\n'.encode()
            if dice.random() < 0.9:
                described.append(opinion)
    identifier = 0
    with start(folder / f"parentheticals-{DATE}{suffix}", "wb") as file:
        file.write(b"id,text,score,described_opinion_id,describing_opinion_id,group_id\n")
        for opinion in described:
            for _ in range(dice.randint(1, 5)):
                identifier += 1
                text = "holding that " + " ".join(dice.choices(vocabulary, k=dice.randint(10, 35)))
                file.write(f'{identifier},"{text}, \\"{opinion}\\"",0.5,{opinion},{opinion + 1},\n'.encode())


def build(task: str, split: str, source: Path, out: Path) -> dict[str, float]:
    """Build a task and write it, both timed."""
    from loco.tasks.builders import courtlistener
    from loco.tasks.card import task_card
    from loco.tasks.data import write_task

    start = time.perf_counter()
    built = courtlistener.build(task_card(task), "paper", split, source)
    seconds = time.perf_counter() - start
    read = peak_megabytes()
    manifest = write_task(built, out)
    return {"seconds": seconds, "read_peak": read, **manifest.counts.model_dump()}


def read_with_csv(source: Path) -> dict[str, float]:
    """Read all rows with Python's csv."""
    import csv

    csv.field_size_limit(1 << 30)
    start = time.perf_counter()
    with (source / f"opinions-{DATE}.csv").open(encoding="utf-8", newline="") as lines:
        rows = sum(1 for _ in csv.reader(lines, escapechar="\\", doublequote=False, strict=True)) - 1
    return {"seconds": time.perf_counter() - start, "rows": rows}


def read_with_pyarrow(source: Path) -> dict[str, float]:
    """Read the columns that the builder wants with pyarrow, batch by batch."""
    import pyarrow as pa
    import pyarrow.csv as pc

    start = time.perf_counter()
    names = [name for name in COLUMNS.split(",") if name in ("id", "plain_text") or "html" in name or "xml" in name]
    batches = pc.open_csv(
        source / f"opinions-{DATE}.csv",
        read_options=pc.ReadOptions(block_size=1 << 26),
        parse_options=pc.ParseOptions(escape_char="\\", double_quote=False, newlines_in_values=True),
        convert_options=pc.ConvertOptions(include_columns=names, column_types=dict.fromkeys(names, pa.large_binary())),
    )
    rows = sum(batch.num_rows for batch in batches)
    return {"seconds": time.perf_counter() - start, "rows": rows}


def peak_megabytes() -> float:
    """The largest resident set of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20) if sys.platform == "darwin" else peak / (1 << 10)


def measured(*arguments: str) -> dict[str, float]:
    """One of the functions above in a process of its own, with the peak memory of that."""
    process = subprocess.run([sys.executable, __file__, *arguments], check=True, capture_output=True, text=True)
    figures: dict[str, float] = json.loads(process.stdout)
    return figures


def compare(size: int, compressed: bool, peers: bool) -> None:
    """Generate, build, print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        generate(folder, size, compressed)
        (opinions,) = folder.glob("opinions-*")
        rows = sum(1 for _ in opinion_ids(opinions))
        print(f"{opinions.name}: {opinions.stat().st_size / 1e9:.2f} GB, {rows:,} opinions, {size / 1e9:.2f} GB of CSV")
        for task, split in (("courtlistener_HTML", "test"), ("courtlistener_HTML", "train")):
            figures = measured("build", task, split, name, str(folder / "out"))
            seconds = figures["seconds"]
            print(
                f"  {task} {split}: {seconds:.1f} s, {rows / seconds:,.0f} rows/s, {size / seconds / 1e6:.0f} MB/s of "
                f"CSV; peak {figures['peak']:.0f} MB, {figures['read_peak']:.0f} MB before writing; "
                f"{figures['documents']:,} documents of {figures['mean_document_chars']:,.0f} characters"
            )
        for peer in ("csv", "pyarrow") if peers and not compressed else ():
            figures = measured(peer, name)
            seconds = figures["seconds"]
            print(f"  {peer} alone: {seconds:.1f} s, {size / seconds / 1e6:.0f} MB/s, peak {figures['peak']:.0f} MB")


def opinion_ids(opinions: Path) -> Iterator[bytes]:
    """The lines that begin a row: those with this benchmark's time stamp right after a number."""
    with (bz2.open if opinions.suffix == ".bz2" else open)(opinions, "rb") as lines:
        for line in lines:
            identifier, _, rest = line[:60].partition(b",")
            if identifier.isdigit() and rest.startswith(b"2025-12-31"):
                yield identifier


def main() -> None:
    """Parse and run."""
    if len(sys.argv) > 1 and sys.argv[1] in ("build", "csv", "pyarrow"):
        what, *arguments = sys.argv[1:]
        if what == "build":
            task, split, source, out = arguments
            figures = build(task, split, Path(source), Path(out))
        else:
            figures = (read_with_csv if what == "csv" else read_with_pyarrow)(Path(arguments[0]))
        print(json.dumps({**figures, "peak": peak_megabytes()}))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=2.0, help="of opinions, as .csv (default 2)")
    parser.add_argument("--bz2-gigabytes", type=float, default=0.2, help="of opinions before bz2 (default 0.2)")
    parser.add_argument("--peers", action="store_true", help="also time csv and pyarrow on the .csv")
    options = parser.parse_args()
    compare(round(options.gigabytes * 1e9), False, options.peers)
    if options.bz2_gigabytes:
        compare(round(options.bz2_gigabytes * 1e9), True, False)


if __name__ == "__main__":
    main()
