"""Real files of every kind, read as documents: how many fail, for which reason, and how long it takes.

    python benchmarks/kinds.py [--files 100] [--folders FOLDER ...] [--json FILE]

HTML, reStructuredText, Markdown, code and text are files of this machine, drawn from what is installed: each group of files
(the first four parts of the path) gives as many as the others. DOCX, PPTX, PDF, e-mail and mailboxes are written from the
text of those files with python-docx, python-pptx, fpdf2 and the standard library, beside the PDF files that there are.
Reading starts no worker before the first file that needs one; its start is part of the first kind's time.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import mailbox
import os
import random
import site
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from email.message import EmailMessage
from pathlib import Path

from common import installed, parser, report

from lexite.corpus import Document, ReadOptions, ReadReport
from lexite.corpus.documents import read_files
from lexite.corpus.files import FileEntry
from lexite.corpus.kinds import KINDS, Kind, kind_of

FOUND = ("HTML", "reStructuredText", "Markdown", "code", "text", "PDF")
LARGEST = 4 << 20  # bytes of a file that is drawn
PARTS = 5  # of a path, which tell groups of files apart


def machine_folders() -> list[Path]:
    """Where installed packages and their documentation lie."""
    folders = [*site.getsitepackages(), "/usr/share/doc", "/usr/share", "/usr/lib", "/usr/local", os.path.expanduser("~")]
    return [Path(folder) for folder in dict.fromkeys(folders) if os.path.isdir(folder)]


def files_below(folders: Sequence[Path], suffixes: Sequence[str]) -> list[Path]:
    """The files with these endings, in a fixed order."""
    found: dict[str, None] = {}
    for folder in folders:
        for place, inside, names in os.walk(folder):
            inside[:] = sorted(name for name in inside if name != "__pycache__")
            for name in names:
                if name.lower().endswith(tuple(suffixes)):
                    found[os.path.join(place, name)] = None
    return [Path(path) for path in sorted(found)]


def drawn(paths: Sequence[Path], n: int, seed: int = 0) -> list[Path]:
    """As many files of each group as of the others, in a random order."""
    chance = random.Random(seed)
    groups: dict[tuple[str, ...], list[Path]] = {}
    for path in paths:
        if path.is_file() and 0 < path.stat().st_size <= LARGEST:
            groups.setdefault(path.parts[: PARTS + 1], []).append(path)
    for group in groups.values():
        chance.shuffle(group)
    rounds = itertools.zip_longest(*groups.values())
    return [path for path in itertools.chain.from_iterable(rounds) if path is not None][:n]


def entries(paths: Sequence[Path]) -> list[FileEntry]:
    return [FileEntry(path, str(path), kind_of(path.suffix.lower())) for path in paths]


def read_all(paths: Sequence[Path]) -> tuple[list[Document], ReadReport, float]:
    """The documents of some files, what was said of the others, and the seconds it took."""
    told, started = ReadReport(), time.perf_counter()
    documents = list(read_files(entries(paths), ReadOptions(skip_bad=True), told))
    return documents, told, time.perf_counter() - started


def paragraphs_of(documents: Sequence[Document]) -> Iterator[tuple[str, list[str]]]:
    """Titles and paragraphs of real documents, of which files of other kinds are made; the longest are cut."""
    for document in documents:
        blocks = [block for block in document.text[:20_000].split("\n\n") if block.strip()]
        if blocks:
            yield document.title or blocks[0][:60], blocks


def write_docx(path: Path, title: str, blocks: Sequence[str]) -> None:
    import docx

    document = docx.Document()
    document.core_properties.title = clean(title)
    for block in blocks:
        level = len(block) - len(block.lstrip("#"))
        document.add_heading(clean(block.lstrip("# ")), min(level, 9)) if level else document.add_paragraph(clean(block))
    document.save(str(path))


def write_pptx(path: Path, title: str, blocks: Sequence[str]) -> None:
    import pptx

    show = pptx.Presentation()
    for number in range(0, min(len(blocks), 60), 3):
        slide = show.slides.add_slide(show.slide_layouts[1])
        slide.shapes.title.text = clean(title if number == 0 else blocks[number][:50])
        slide.placeholders[1].text = clean("\n".join(blocks[number : number + 3]))
    show.save(str(path))


def write_pdf(path: Path, title: str, blocks: Sequence[str]) -> None:
    import fpdf

    page = fpdf.FPDF()
    page.add_page()
    page.set_title(clean(title))
    page.set_font("helvetica", size=11)
    for block in blocks:
        page.multi_cell(0, 5, clean(block).encode("latin-1", "replace").decode("latin-1"), new_x="LMARGIN", new_y="NEXT")
        page.ln(3)
    page.output(str(path))


def message(title: str, blocks: Sequence[str]) -> EmailMessage:
    mail = EmailMessage()
    mail["Subject"], mail["From"], mail["To"] = clean(title).replace("\n", " "), "a@example.org", "b@example.org"
    mail["Date"] = datetime.datetime(2024, 2, 29, tzinfo=datetime.timezone.utc)
    mail.set_content(clean("\n\n".join(blocks)))
    return mail


def clean(text: str) -> str:
    """Without the control characters that XML cannot hold."""
    return "".join(character for character in text if character in "\n\t" or character.isprintable())


def made(folder: Path, texts: Sequence[tuple[str, list[str]]], n: int) -> dict[str, list[Path]]:
    """Files of the kinds that are rare on a machine."""
    found: dict[str, list[Path]] = {"DOCX": [], "PPTX": [], "PDF": [], "e-mail": [], "mbox": []}
    writers = {"DOCX": ("docx", write_docx), "PPTX": ("pptx", write_pptx), "PDF": ("pdf", write_pdf)}
    packages = {"DOCX": "python-docx", "PPTX": "python-pptx", "PDF": "fpdf2"}
    for number, (title, blocks) in enumerate(texts[:n]):
        for kind, (ending, write) in writers.items():
            if installed(packages[kind]):
                found[kind].append(folder / f"{number}.{ending}")
                write(found[kind][-1], title, blocks)
        found["e-mail"].append(folder / f"{number}.eml")
        found["e-mail"][-1].write_bytes(bytes(message(title, blocks)))
        box = mailbox.mbox(str(folder / f"{number}.mbox"))
        for part in range(3):
            box.add(message(f"{title} {part}", blocks[part::3] or blocks))
        box.close()
        found["mbox"].append(folder / f"{number}.mbox")
    return found


def collect(folders: Sequence[Path], n: int, work: Path) -> dict[str, list[Path]]:
    """Up to ``n`` files of each kind: real ones, then those that are made of their text."""
    kinds: dict[str, Kind] = {kind.name: kind for kind in KINDS}
    found = {name: drawn(files_below(folders, kinds[name].suffixes), n) for name in FOUND}
    texts: list[tuple[str, list[str]]] = []
    for name in ("reStructuredText", "HTML", "Markdown"):
        texts.extend(paragraphs_of(read_all(found[name])[0]))
    random.Random(1).shuffle(texts)
    for name, paths in made(work, texts, n).items():
        found[name] = (found.get(name, []) + paths)[:n]
    return {kind.name: found[kind.name] for kind in KINDS if kind.name in found}


def options() -> argparse.Namespace:
    wanted = parser(__doc__)
    wanted.add_argument("--files", type=int, default=100, help="files of each kind")
    wanted.add_argument("--folders", nargs="*", type=Path, default=None, help="where real files are looked for")
    return wanted.parse_args()


def main() -> None:
    given = options()
    rows, figures = [], {}
    with tempfile.TemporaryDirectory(prefix="lexite-kinds-") as work:
        for name, paths in collect(given.folders or machine_folders(), given.files, Path(work)).items():
            documents, told, seconds = read_all(paths)
            reasons = ", ".join(f"{reason} {count}" for reason, count in told.reasons.most_common())
            size = sum(path.stat().st_size for path in paths)
            per_file = 1e3 * seconds / max(len(paths), 1)
            titled = sum(bool(document.title) for document in documents)
            rows.append(
                [name, f"{len(paths)}", f"{len(documents)}", f"{titled}", reasons, f"{size / 1e6:,.1f}", f"{per_file:,.1f}"]
            )
            key = name.lower().replace("-", "")
            figures |= {f"{key}_files": len(paths), f"{key}_documents": len(documents), f"{key}_failed": told.skipped}
            figures |= {f"{key}_ms_per_file": round(per_file, 2), f"{key}_mb": round(size / 1e6, 2)}
            for line in told.messages:
                print(line, file=sys.stderr)
    columns = ["kind", "files", "documents", "titled", "not read", "MB", "ms a file"]
    packages = ("selectolax", "docutils", "pypdfium2", "python-docx", "python-pptx")
    report("Files of every kind", columns, rows, {}, figures, given.json, *packages)


if __name__ == "__main__":
    main()
