"""What the demo finds: thirty questions with the answers that a person would accept.

The questions were written down before any of them was asked, in words that mostly differ from those of the documentation. In
bf16, an answer comes first for 13 of them, in the first three for 18, in the first ten for 20.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from lexite import Searcher
from lexite.cli import demo
from lexite.corpus import builtin_documents

ACCEPTED = {
    "read a file of comma separated values": "csv csv.reader",
    "pause the program for some seconds": "asyncio.sleep time.sleep",
    "combine two sorted lists into one": "heapq.merge",
    "make a password hash that is slow to crack": "hashlib.pbkdf2_hmac hashlib.scrypt",
    "turn a string of JSON into Python objects": (
        "json json.JSONDecoder json.JSONDecoder.decode json.JSONDecoder.raw_decode json.loads"
    ),
    "run another program and capture what it prints": (
        "subprocess subprocess.Popen subprocess.Popen.communicate subprocess.check_output "
        "subprocess.getoutput subprocess.getstatusoutput subprocess.run"
    ),
    "delete a folder with everything inside it": "shutil.rmtree",
    "count how often each item occurs in a list": "collections.Counter",
    "how long does a small piece of code take to run": (
        "time.perf_counter timeit timeit.Timer timeit.Timer.autorange timeit.Timer.repeat "
        "timeit.Timer.timeit timeit.repeat timeit.timeit"
    ),
    "make a file that disappears when it is closed": (
        "tempfile tempfile.NamedTemporaryFile tempfile.SpooledTemporaryFile tempfile.TemporaryFile"
    ),
    "send an e-mail": "smtplib smtplib.SMTP smtplib.SMTP.send_message smtplib.SMTP.sendmail",
    "pick an element at random": "random random.choice random.choices random.sample",
    "which day of the week is a date": (
        "calendar.weekday datetime.date.isocalendar datetime.date.isoweekday datetime.date.weekday"
    ),
    "squeeze some bytes so that they take less space": (
        "bz2 bz2.BZ2Compressor bz2.compress gzip gzip.compress lzma lzma.LZMACompressor lzma.compress "
        "zlib zlib.compress zlib.compressobj"
    ),
    "find the middle value of some numbers": (
        "statistics statistics.median statistics.median_grouped statistics.median_high statistics.median_low"
    ),
    "remember the results of a function so that it need not run twice": "functools.cache functools.lru_cache",
    "every possible ordering of some things": "itertools.permutations",
    "find the files whose names fit a pattern with stars": (
        "fnmatch fnmatch.filter fnmatch.fnmatch fnmatch.fnmatchcase glob glob.glob glob.iglob "
        "pathlib.Path.glob pathlib.Path.rglob"
    ),
    "is there a file of this name": ("os.path.exists os.path.isfile os.path.lexists pathlib.Path.exists pathlib.Path.is_file"),
    "show a web page to the user": "webbrowser webbrowser.open webbrowser.open_new webbrowser.open_new_tab",
    "break a long paragraph into lines of equal width": (
        "textwrap textwrap.TextWrapper textwrap.TextWrapper.fill textwrap.TextWrapper.wrap textwrap.fill textwrap.wrap"
    ),
    "duplicate an object and all that it holds": "copy copy.deepcopy",
    "what changed between two versions of a text": (
        "difflib difflib.Differ difflib.Differ.compare difflib.HtmlDiff difflib.SequenceMatcher "
        "difflib.context_diff difflib.ndiff difflib.unified_diff"
    ),
    "a queue with fast access to both ends": ("collections.deque collections.deque.appendleft collections.deque.popleft"),
    "suggest a word that is spelled almost like this one": "difflib.get_close_matches",
    "keep objects on disk and load them again later": (
        "marshal.dump pickle pickle.dump pickle.dumps pickle.load shelve shelve.open"
    ),
    "replace dangerous characters before text goes into a web page": "html.escape xml.sax.saxutils.escape",
    "greatest number that divides both": "math.gcd",
    "how many bytes of memory does an object need": "sys.getsizeof",
    "a secret that nobody can guess": "os.urandom secrets secrets.token_bytes secrets.token_hex secrets.token_urlsafe",
}
FOUND_IN_THREE = 17  # 18 where it was measured; one may slip where another processor rounds otherwise


@pytest.fixture(scope="module")
def searcher(tmp_path_factory: pytest.TempPathFactory) -> Searcher:
    documents = list(builtin_documents())
    identifiers = {document.id for document in documents}
    assert all(set(answers.split()) <= identifiers for answers in ACCEPTED.values())
    place: Path = tmp_path_factory.mktemp("demo") / "index"
    return Searcher.build(documents, place, static=False, show_progress=False)


@pytest.mark.slow
def test_the_answer_is_among_the_first_three(searcher: Searcher):
    questions = list(ACCEPTED)
    found = {
        question
        for question, hits in zip(questions, searcher.rank(questions, top_k=3), strict=True)
        if any(hit.id in ACCEPTED[question].split() for hit in hits)
    }
    assert len(questions) == 30 and len(found) >= FOUND_IN_THREE, sorted(set(questions) - found)
    assert set(demo.QUESTIONS) <= found


def test_the_demo_asks_what_the_list_holds():
    assert set(demo.QUESTIONS) <= set(ACCEPTED) and len(set(demo.QUESTIONS)) == len(demo.QUESTIONS)
