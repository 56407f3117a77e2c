"""What each kind of file gives: text with headings as Markdown lines, a title that is not repeated, fields."""

from __future__ import annotations

import bz2
import datetime
import gzip
import io
import mailbox
import re
import zipfile
from email.message import EmailMessage
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexite.corpus import Document, ReadOptions, ReadReport, read_documents
from lexite.corpus.kinds import BY_SUFFIX, markdown
from lexite.corpus.table_rows import row_groups
from lexite.errors import CorpusError, MissingExtraError


def read(path: Path, **options: object) -> Document:
    (document,) = read_documents([path], ReadOptions(**options))  # type: ignore[arg-type]
    return document


# Markdown ---------------------------------------------------------------------------------------------------------------


def test_front_matter_gives_title_and_fields(tmp_path: Path):
    (tmp_path / "a.md").write_text(
        "---\ntitle: Boiler\nyear: 2024\ndate: 2024-02-29\ntags: [heat, water]\ncategories: house\ndraft: false\n"
        "share: 0.5\nnested: {a: 1}\nnothing:\n---\n\n# Boiler\n\nIt is in the cellar.\n\nValves\n------\n\nRed.\n"
    )
    report = ReadReport()
    (document,) = read_documents([tmp_path / "a.md"], report=report)
    assert document.title == "Boiler"
    assert document.text == "It is in the cellar.\n\n## Valves\n\nRed."
    assert document.fields == {
        "year": 2024,
        "date": datetime.date(2024, 2, 29),
        "tags": ["heat", "water"],
        "categories": ["house"],
        "draft": False,
        "share": 0.5,
    }
    assert report.notes == [f"{tmp_path / 'a.md'}: the field 'nested' is left out: it holds objects."]


def test_a_heading_that_is_not_the_title_of_the_front_matter_stays(tmp_path: Path):
    (tmp_path / "a.md").write_text("---\ntitle: Boiler\n---\n# Where it is\n\nIn the cellar.")
    assert read(tmp_path / "a.md") == Document("a.md", "# Where it is\n\nIn the cellar.", "Boiler")


@pytest.mark.parametrize("yaml", ["a: [1", "a: b: c", "? [x]: {", "&a [*a]\n--\n: :", "a: !!python/object:os.system x"])
def test_bad_front_matter_is_told_and_the_text_still_read(tmp_path: Path, yaml: str):
    (tmp_path / "a.md").write_text(f"---\n{yaml}\n---\n# Title\n\nText.")
    report = ReadReport()
    (document,) = read_documents([tmp_path / "a.md"], report=report)
    assert (document.title, document.text) == ("Title", "Text.")
    assert "the front matter is not valid YAML" in report.notes[0] and str(tmp_path / "a.md") in report.notes[0]
    assert report.skipped == 0


_BOMB = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}\n" for n in range(1, 9))


@pytest.mark.parametrize(
    ("yaml", "reason"),
    [
        (_BOMB, "line 3: .*aliases are not read"),
        ("a: " + "[" * 60_000, "nested too deeply"),
        ("- " * 30_000 + "x", "nested too deeply"),
        ("year: !!int ''", "a value does not fit its tag"),
        ("year: !!float ''", ""),
        ("draft: !!bool foo", "a value does not fit its tag"),
        ("date: !!timestamp foo", "a value does not fit its tag"),
    ],
)
def test_front_matter_cannot_end_what_reads_it(tmp_path: Path, yaml: str, reason: str):
    (tmp_path / "a.md").write_text(f"---\n{yaml}\n---\n# Title\n\nText.")
    report = ReadReport()
    (document,) = read_documents([tmp_path / "a.md"], report=report)
    assert (document.title, document.text, document.fields) == ("Title", "Text.", {})
    assert re.search(reason, report.notes[0]) and "the front matter is not valid YAML" in report.notes[0]


@given(st.text("a# \t", max_size=12), st.sampled_from(["", "\nText."]))
def test_a_title_is_its_heading_without_marks_at_the_end(line: str, rest: str):
    text = "# " + (line.strip() or "a") + rest
    (found,) = markdown.extract(io.BytesIO(text.encode()), "a.md")
    plain = re.match(r"\s*#[ \t]+(.+?)[ \t]*#*[ \t]*(?:\n|\Z)", text)  # the rule in one pattern, slow on long lines
    assert plain and (found.title, found.text) == (plain[1], rest.strip())


def test_a_heading_of_blanks_is_read_at_once(tmp_path: Path):
    heading = f"a{' ' * 50_000}b"
    (tmp_path / "a.md").write_text(f"# {heading}\nText.")
    assert read(tmp_path / "a.md").text == "Text."


def test_line_ends_of_old_macs(tmp_path: Path):
    (tmp_path / "a.md").write_bytes(b"---\ryear: 2024\r---\r# Boiler\r\rIt is old.\rVery.")
    assert read(tmp_path / "a.md") == Document("a.md", "It is old.\nVery.", "Boiler", fields={"year": 2024})


@pytest.mark.parametrize(
    "yaml", ["date: '2024-01-02'", "datetime: '2024-01-02T10:00'", "date: 2024-01-02", "a: {date: '2024-01-02'}"]
)
def test_a_compressed_file_has_the_same_fields(tmp_path: Path, yaml: str):
    data = f"---\n{yaml}\n---\nText.".encode()
    (tmp_path / "a.md").write_bytes(data)
    (tmp_path / "b.md.gz").write_bytes(gzip.compress(data))
    assert read(tmp_path / "b.md.gz").fields == read(tmp_path / "a.md").fields


@pytest.mark.parametrize("text", ["---\nA text between rules.\n---\nMore.", "---\nno end", "--- a dash\ntext"])
def test_what_is_no_front_matter_is_text(tmp_path: Path, text: str):
    (tmp_path / "a.md").write_text(text)
    document = read(tmp_path / "a.md")
    assert "no end" in document.text or "text" in document.text
    assert document.fields == {}


def test_code_tables_and_rules_are_no_headings(tmp_path: Path):
    text = "Intro.\n\n```\nName\n----\n# comment\n```\n\na | b\n--|--\n1 | 2\n\n- item\n---\n\nTwo\nlines\n=====\n\nend"
    (tmp_path / "a.md").write_text(text)
    assert read(tmp_path / "a.md").text == text


def test_fields_of_front_matter_that_do_not_fit_are_left_out_and_told(tmp_path: Path):
    (tmp_path / "a.md").write_text("---\nyear: 2020\n---\nA.")
    (tmp_path / "b.md").write_text("---\nyear: unknown\n---\nB.")
    report = ReadReport()
    documents = list(read_documents([tmp_path], report=report))
    assert [dict(document.fields) for document in documents] == [{"year": 2020}, {}]
    (note,) = report.notes
    assert "b.md: the field 'year' is 'unknown', but it held a whole number before." in note and "left out here" in note
    documents = list(read_documents([tmp_path], ReadOptions(field_type=("year=text",))))
    assert [dict(document.fields) for document in documents] == [{"year": "2020"}, {"year": "unknown"}]


# HTML -------------------------------------------------------------------------------------------------------------------

PAGE = """<!doctype html><html lang="de"><head><title>Heizung – Haus &amp; Hof</title>
<meta name="keywords" content="heat, water"><meta name="author" content="Ada">
<style>p { color: red }</style><script>var a = "no";</script></head><body>
<nav><ul><li><a href="/">Start</a></li></ul></nav>
<main><h1>Heizung</h1><p>Der  <b>Hahn</b> ist\n rot<br>und alt.</p><h2>Ventile <a class="headerlink" href="#v">¶</a></h2>
<ul><li>eins</li><li><p>zwei</p></li></ul><table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table>
<pre># no heading\n  kept</pre><div>lose <span>Worte</span><p>Absatz</p></div></main>
<footer>Impressum</footer></body></html>"""


def test_html_gives_its_main_text(tmp_path: Path):
    pytest.importorskip("selectolax")
    (tmp_path / "a.html").write_text(PAGE)
    document = read(tmp_path / "a.html")
    assert document.title == "Heizung"
    assert document.text == (
        "Der Hahn ist rot und alt.\n\n## Ventile\n\n- eins\n- zwei\n\na | b\n1 | 2\n\n    # no heading\n      kept\n\n"
        "lose Worte\n\nAbsatz"
    )
    assert document.fields == {"author": "Ada", "keywords": ["heat", "water"], "lang": "de"}


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b'<meta charset="latin-1"><p>caf\xe9</p>', "caf\u00e9"),
        ("<p>caf\u00e9</p>".encode("utf-16"), "caf\u00e9"),
        (b"\xef\xbb\xbf<p>caf\xc3\xa9", "caf\u00e9"),
        (b"<p>a<p>b<td>c</b></i>", "a\n\nbc"),
        (b"no tags", "no tags"),
        (b"<table><tr><td><h2>Layout</h2><p>of old</p></td><td><p>pages</p></td></tr></table>", "## Layout\n\nof old\n\npages"),
        (b"<div>" * 20_000 + b"deep", "deep"),
    ],
)
def test_html_of_every_age(tmp_path: Path, data: bytes, text: str):
    pytest.importorskip("selectolax")
    (tmp_path / "a.htm").write_bytes(data)
    assert read(tmp_path / "a.htm").text == text


def test_replaced_characters_are_told(tmp_path: Path):
    pytest.importorskip("selectolax")
    (tmp_path / "a.html").write_bytes(b'<meta charset="utf-8"><p>caf\xe9 and more</p>')
    report = ReadReport()
    (document,) = read_documents([tmp_path / "a.html"], report=report)
    assert document.text == "caf\ufffd and more"
    assert report.notes == [f"{tmp_path / 'a.html'}: 1 character is not valid utf-8 and became U+FFFD."]
    (tmp_path / "b.html").write_bytes(b"<p>caf\xe9</p>")
    with pytest.raises(CorpusError, match=r"b\.html, line 1: not valid UTF-8 \(byte 0xe9\)"):
        read(tmp_path / "b.html")


# reStructuredText -------------------------------------------------------------------------------------------------------

RST = """
Boiler
======

It is in the :doc:`cellar <rooms/cellar>`, says :py:class:`~house.Plan`.

.. toctree::
   :maxdepth: 2

   other

Valves
------

.. note:: Two of them.

.. function:: close(valve)
   :noindex:

   Closes *it*.

* one
* two

Code::

   # no heading
   close()

.. include:: /etc/passwd

.. raw:: html

   <b>no</b>

===  ===
a    b
===  ===
1    2
===  ===
"""


def test_rst_with_what_sphinx_adds(tmp_path: Path):
    pytest.importorskip("docutils")
    (tmp_path / "a.rst").write_text(RST)
    document = read(tmp_path / "a.rst")
    assert document.title == "Boiler"
    assert document.text == (
        "It is in the cellar, says house.Plan.\n\n## Valves\n\nTwo of them.\n\nclose(valve)\n\nCloses it.\n\n- one\n- two\n\n"
        "Code:\n\n    # no heading\n    close()\n\na | b\n1 | 2"
    )


# PDF, DOCX, PPTX --------------------------------------------------------------------------------------------------------


def pdf(path: Path, *, password: str = "", text: bool = True) -> None:
    fpdf = pytest.importorskip("fpdf")
    page = fpdf.FPDF()
    page.set_title("The boiler")
    page.set_author("Ada")
    page.set_creation_date(datetime.datetime(2024, 2, 29, 12, 30, tzinfo=datetime.timezone.utc))
    page.add_page()
    page.set_font("helvetica", size=12)
    if text:
        page.start_section("Valves")
        page.cell(0, 10, "Valves", new_x="LMARGIN", new_y="NEXT")
        page.multi_cell(0, 6, "The valve is red. " * 12, new_x="LMARGIN", new_y="NEXT")
        page.add_page()
        page.cell(0, 10, "It closes to the right.")
    if password:
        page.set_encryption(owner_password=password, user_password=password)
    page.output(str(path))


def test_pdf(tmp_path: Path):
    pytest.importorskip("pypdfium2")
    pdf(tmp_path / "a.pdf")
    document = read(tmp_path / "a.pdf")
    assert document.title == "The boiler"
    assert document.text == f"# Valves\n\n{('The valve is red. ' * 12).strip()}\n\nIt closes to the right."
    assert document.fields == {"pages": 2, "author": "Ada", "created": datetime.datetime(2024, 2, 29, 12, 30)}


def test_pdfs_without_a_text(tmp_path: Path):
    pytest.importorskip("pypdfium2")
    pdf(tmp_path / "secret.pdf", password="x")
    pdf(tmp_path / "scan.pdf", text=False)
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.7 and then nothing")
    for name, message in (("secret", "encrypted with a password"), ("scan", "holds no text"), ("broken", "not a readable PDF")):
        with pytest.raises(CorpusError, match=rf"{name}\.pdf: .*{message}"):
            read(tmp_path / f"{name}.pdf")


def docx(path: Path) -> None:
    library = pytest.importorskip("docx")
    document = library.Document()
    document.core_properties.author, document.core_properties.keywords = "Ada", "heat, water"
    document.core_properties.created = datetime.datetime(2024, 2, 29, 12, 30)
    document.core_properties.modified = datetime.datetime(2024, 3, 1)
    document.add_heading("The boiler", 0)
    document.add_paragraph("It is in the cellar.")
    document.add_heading("Valves", 2)
    document.add_paragraph("red", style="List Bullet")
    document.add_paragraph("blue", style="List Bullet")
    table = document.add_table(rows=2, cols=2)
    for row, cells in enumerate((("a", "b"), ("1", "2"))):
        for column, text in enumerate(cells):
            table.cell(row, column).text = text
    document.save(str(path))


def test_docx(tmp_path: Path):
    docx(tmp_path / "a.docx")
    document = read(tmp_path / "a.docx")
    assert document.title == "The boiler"
    assert document.text == "It is in the cellar.\n\n## Valves\n\n- red\n- blue\n\na | b\n1 | 2"
    assert document.fields == {
        "author": "Ada",
        "created": datetime.datetime(2024, 2, 29, 12, 30),
        "modified": datetime.datetime(2024, 3, 1),
        "keywords": ["heat", "water"],
    }


def test_pptx(tmp_path: Path):
    library = pytest.importorskip("pptx")
    show = library.Presentation()
    for title, text in (("The boiler", "It is in\nthe cellar."), ("Valves", "Red ones.")):
        slide = show.slides.add_slide(show.slide_layouts[1])
        slide.shapes.title.text, slide.placeholders[1].text = title, text
    slide.notes_slide.notes_text_frame.text = "Mention the key."
    show.save(str(tmp_path / "a.pptx"))
    document = read(tmp_path / "a.pptx")
    assert document.title == "The boiler"
    assert document.text == "It is in\nthe cellar.\n\n## Valves\n\nRed ones.\n\nMention the key."
    assert document.fields["slides"] == 2


@pytest.mark.parametrize("name", ["a.docx", "a.pptx"])
def test_office_files_without_properties_get_none(tmp_path: Path, name: str):
    library = pytest.importorskip(name[2:])
    made = library.Document() if name == "a.docx" else library.Presentation()
    if name == "a.docx":
        made.add_paragraph("It is in the cellar.")
    else:
        made.slides.add_slide(made.slide_layouts[0]).placeholders[1].text = "It is in the cellar."
    made.save(str(tmp_path / f"whole-{name}"))
    with zipfile.ZipFile(tmp_path / f"whole-{name}") as whole, zipfile.ZipFile(tmp_path / name, "w") as bare:
        for part in whole.namelist():
            if part != "docProps/core.xml":
                data = whole.read(part)
                related = rb'<Relationship [^>]*metadata/core-properties"[^>]*>'
                bare.writestr(part, re.sub(related, b"", data) if part == "_rels/.rels" else data)
    document = read(tmp_path / name)
    assert (document.title, document.text) == ("", "It is in the cellar.")
    assert set(document.fields) <= {"slides"}


@pytest.mark.parametrize("name", ["a.docx", "a.pptx"])
@pytest.mark.parametrize("data", [b"PK\x03\x04 broken", b"no archive", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, b""])
def test_broken_office_files(tmp_path: Path, name: str, data: bytes):
    pytest.importorskip(name[2:])
    (tmp_path / name).write_bytes(data)
    with pytest.raises(CorpusError) as caught:
        read(tmp_path / name)
    assert str(caught.value).startswith(f"{tmp_path / name}: ") and len(str(caught.value).splitlines()) == 1


# E-mail -----------------------------------------------------------------------------------------------------------------


def message(subject: str, text: str) -> EmailMessage:
    mail = EmailMessage()
    mail["Subject"], mail["From"], mail["To"] = subject, "Ada Łem <ada@example.org>", "b@example.org, C <c@example.org>"
    mail["Date"] = "Thu, 29 Feb 2024 13:30:00 +0100"
    mail.set_content(text)
    return mail


def test_eml(tmp_path: Path):
    mail = message("Héating", "Where is the valve?\n\nHere.")
    mail.add_alternative("<p>html</p>", subtype="html")
    mail.add_attachment(b"...", maintype="image", subtype="png", filename="valve.png")
    (tmp_path / "a.eml").write_bytes(bytes(mail))
    document = read(tmp_path / "a.eml")
    assert (document.title, document.text) == ("Héating", "Where is the valve?\n\nHere.")
    assert document.fields == {
        "from": "Ada Łem <ada@example.org>",
        "to": ["b@example.org", "C <c@example.org>"],
        "date": datetime.datetime(2024, 2, 29, 12, 30),
        "attachments": ["valve.png"],
    }


def test_mbox_is_a_document_for_each_message(tmp_path: Path):
    box = mailbox.mbox(str(tmp_path / "in.mbox"))
    box.add(message("One", "First.\n\nFrom here on it is quoted."))
    box.add(message("Two", "Second."))
    box.flush()
    expected = [("in.mbox#1", "One", "First.\n\nFrom here on it is quoted."), ("in.mbox#2", "Two", "Second.")]
    assert [(d.id, d.title, d.text) for d in read_documents(tmp_path / "in.mbox")] == expected
    (tmp_path / "in.mbox.bz2").write_bytes(bz2.compress((tmp_path / "in.mbox").read_bytes()))
    assert [d.title for d in read_documents(tmp_path / "in.mbox.bz2")] == ["One", "Two"]
    (tmp_path / "no.mbox").write_text("something else")
    with pytest.raises(CorpusError, match=r"no\.mbox: this is no mbox"):
        list(read_documents(tmp_path / "no.mbox"))


def test_mail_in_html_and_in_a_charset_that_is_not_its_own(tmp_path: Path):
    pytest.importorskip("selectolax")
    (tmp_path / "a.eml").write_bytes(b"Subject: x\nContent-Type: text/html; charset=us-ascii\n\n<h2>Hi</h2><p>caf\xe9</p>")
    report = ReadReport()
    (document,) = read_documents([tmp_path / "a.eml"], report=report)
    assert document.text == "## Hi\n\ncaf\ufffd"
    assert report.notes == [f"{tmp_path / 'a.eml'}: 1 character is not valid us-ascii and became U+FFFD."]


@pytest.mark.parametrize(
    "data", [b"Date: nonsense\nFrom: <<>>,,\nTo: \xff\xfe\n\nx", b"Content-Type: multipart/mixed\n\nx", b"A: b\n\n\nx"]
)
def test_malformed_mail_is_read_as_far_as_it_goes(tmp_path: Path, data: bytes):
    (tmp_path / "a.eml").write_bytes(data)
    assert read(tmp_path / "a.eml").text == "x"


def test_halves_of_surrogate_pairs_become_replacement_characters(tmp_path: Path):
    (tmp_path / "a.eml").write_bytes(b"Subject: caf\xe9\nTo: \xff@example.org\nX: y\n\nx")
    (document,) = read_documents(tmp_path)
    assert document.title == "caf\ufffd"
    for text in (document.text, repr(document.fields)):
        text.encode()


# All of them ------------------------------------------------------------------------------------------------------------


def test_source_code_is_text_under_its_path(tmp_path: Path):
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.py").write_text("# not a title\nprint(1)\n")
    (tmp_path / "conf.toml").write_text("a = 1\n")
    documents = list(read_documents([tmp_path]))
    assert documents == [Document("conf.toml", "a = 1"), Document("src/a.py", "# not a title\nprint(1)")]


@pytest.mark.parametrize("compression", [".gz", ".bz2"])
def test_any_kind_may_be_compressed(tmp_path: Path, compression: str):
    pytest.importorskip("selectolax")
    compress = {".gz": gzip.compress, ".bz2": bz2.compress}[compression]
    docx(tmp_path / "a.docx")
    (tmp_path / f"a.docx{compression}").write_bytes(compress((tmp_path / "a.docx").read_bytes()))
    (tmp_path / "a.docx").unlink()
    (tmp_path / f"b.html{compression}").write_bytes(compress(b"<title>T</title><p>text"))
    (tmp_path / f"c.md{compression}").write_bytes(compress(b"# H\n\ntext"))
    documents = list(read_documents(tmp_path))
    assert [(d.id, d.title) for d in documents] == [
        (f"a.docx{compression}", "The boiler"),
        (f"b.html{compression}", "T"),
        (f"c.md{compression}", "H"),
    ]


def test_kinds_whose_package_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("lexite.corpus.kinds._is_installed", lambda package: False)
    (tmp_path / "a.html").write_text("<p>x")
    (tmp_path / "a.md").write_text("x")
    with pytest.raises(MissingExtraError, match=r"a\.html needs the package 'selectolax'.*pip install 'lexite\[documents\]'"):
        read(tmp_path / "a.html")
    report = ReadReport()
    assert [d.id for d in read_documents(tmp_path, report=report)] == ["a.md"]
    assert report.unread == {".html": 1}
    assert report.notes == [f"{tmp_path}: reading HTML needs 'selectolax'. Run: pip install 'lexite[documents]'"]


def test_reading_markdown_loads_nothing_heavy(tmp_path: Path):
    import subprocess
    import sys

    (tmp_path / "a.md").write_text("# H\n\nx")
    code = (
        "import sys; from lexite.corpus import read_documents; print(len(list(read_documents(sys.argv[1])))); "
        "print(sorted({'yaml', 'selectolax', 'docutils', 'docx', 'pptx', 'pypdfium2', 'email', 'pyarrow', 'torch', 'lxml'} "
        "& set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["1", "[]"]
    assert io.StringIO(done.stderr).read() == ""


# Tables -----------------------------------------------------------------------------------------------------------------

GRID = (("", "2019", "2018", "2017"), ("Office", "1,234", "", "(5)"), ("Store", "", "6", ""), ("", "", "", ""))
GRID_LINES = "| 2019 | 2018 | 2017\nOffice | 1,234 | | (5)\nStore | | 6 |"


def extracted(kind: str, data: bytes) -> str:
    """The text that a kind finds, in this process."""
    (found,) = BY_SUFFIX[f".{kind}"].extract(io.BytesIO(data), f"a.{kind}")
    return found.text


def html_table() -> bytes:
    rows = ("".join(f"<td> {cell} </td>" for cell in row) for row in GRID)
    return f"<table>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>".encode()


def rst_table() -> bytes:
    rows = "".join("".join(f"   {'* -' if number == 0 else '  -'} {cell}\n" for number, cell in enumerate(row)) for row in GRID)
    return f".. list-table::\n\n{rows}".encode()


def office_table(kind: str) -> bytes:
    made, file = pytest.importorskip(kind), io.BytesIO()
    if kind == "docx":
        document = made.Document()
        table = document.add_table(rows=4, cols=4)
    else:
        document = made.Presentation()
        slide = document.slides.add_slide(document.slide_layouts[6])
        table = slide.shapes.add_table(4, 4, 0, 0, 9_000_000, 3_000_000).table
    for row, cells in enumerate(GRID):
        for column, text in enumerate(cells):
            table.cell(row, column).text = text
    document.save(file)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["html", "rst", "docx", "pptx"])
def test_empty_cells_keep_their_places(kind: str):
    pytest.importorskip({"html": "selectolax", "rst": "docutils"}.get(kind, kind))
    data = {"html": html_table, "rst": rst_table}.get(kind, lambda: office_table(kind))()
    text = extracted(kind, data)
    assert text == GRID_LINES
    assert [group.text for group in row_groups(text, 3)] == ["Office, 2019 1,234, 2017 (5)", "Store, 2018 6"]


SPANS = """<table><tr><th rowspan=2>Plan</th><th></th><th colspan="2">Home</th><th colspan=2>Abroad</th></tr>
<tr><td></td><td>2019</td><td>2018</td><td>2019</td><td>2018</td></tr>
<tr><td>Rate</td><td></td><td>4</td><td>3</td><td></td><td>1</td></tr>
<tr><td>a|b</td><td></td><td></td><td></td><td>8</td></tr></table><p>After.</p>"""


def test_cells_that_span_columns_and_rows():
    pytest.importorskip("selectolax")
    text = extracted("html", SPANS.encode())
    assert text == ("Plan | Home | | Abroad |\n| 2019 | 2018 | 2019 | 2018\nRate | 4 | 3 | | 1\na\\|b | | | 8\n\nAfter.")
    rows = ["Plan Rate, Home 2019 4, Home 2018 3, Abroad 2018 1", "Plan a|b, Abroad 2019 8"]
    assert [group.text for group in row_groups(text, 3)] == rows


def test_spans_in_restructured_text():
    pytest.importorskip("docutils")
    rule = "+------+------+------+\n"
    table = f"{rule}| Plan | Home        |\n|      +------+------+\n|      | 2019 | 2018 |\n{rule}"
    text = extracted("rst", (table + "| Rate |      | 3    |\n+------+------+------+\n\nAfter.\n").encode())
    assert text == "Plan | Home |\n| 2019 | 2018\nRate | | 3\n\nAfter."


def test_a_cell_of_word_that_spans_columns_is_written_once():
    library, file = pytest.importorskip("docx"), io.BytesIO()
    document = library.Document()
    table = document.add_table(rows=2, cols=3)
    for row, cells in enumerate((("", "Home", ""), ("Rate", "4", "3"))):
        for column, text in enumerate(cells):
            table.cell(row, column).text = text
    table.cell(0, 1).merge(table.cell(0, 2))
    document.save(file)
    assert extracted("docx", file.getvalue()) == "| Home |\nRate | 4 | 3"


def test_tables_within_cells_and_hostile_spans():
    pytest.importorskip("selectolax")
    nested = b"<table><tr><td>a</td><td>b<table><tr><td></td><td>c</td><td>d</td></tr></table></td><td>e</td></tr></table>x"
    layout = b"<table><tr><td><p>a</p>b</td><td>c</td><td>d</td></tr><tr><td>e</td><td>f</td></tr></table>"
    assert extracted("html", layout) == "a\n\nb\n\nc | d\ne | f"
    assert extracted("html", nested).split() == ["a", "b", "c", "|", "d", "e", "x"]
    wide = (
        b"<table><tr>"
        + b"<td colspan=99999 rowspan=99999>a</td>" * 2000
        + b"</tr><tr><td colspan=-3 rowspan=x>b</td></tr></table>"
    )
    assert extracted("html", wide).split().count("a") == 2000
