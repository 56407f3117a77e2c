"""Numbers in their written forms: 1,234 and 1234, (5) and -5, 4.0% and 4 percent, $1.5 million, FY19 and fiscal 2019.

A literal word is a run of letters and digits, so 1,234 is two words, and 1234 is a third. The words here are one for each
number, the same for all its forms. They stand beside the runs: a number is found as it is written too.
"""

from __future__ import annotations

import re
from collections import Counter
from decimal import Decimal

LONGEST_NUMBER = 30  # characters; a longer one is data
_SCALES = {"thousand": 3, "million": 6, "billion": 9, "trillion": 12, "k": 3, "m": 6, "mn": 6, "bn": 9, "b": 9, "tn": 12}
_NUMBER = re.compile(
    r"(?:(?<![^\s(\[{|:;=])(?P<before>\(?[-+\u2212\u2013]?))?"
    r"(?:(?P<currency>[a-z]{0,3}[$\u20ac\u00a3\u00a5\u20b9]\s?)(?P<after>[-\u2212\u2013(])?)?"
    r"(?<![\w.,/:])(?P<digits>\d{1,3}(?:,\d{3})+|\d+)(?P<decimals>\.\d+)?(?![\d]|[.,]\d|[-/:]\d)"
    r"(?P<scale>\s?(?:thousand|million|billion|trillion)s?\b|\s?(?:bn|mn|tn|[mkb])\b)?"
    r"(?P<percent>\s?%|\s(?:percent|per cent|percentage points?)\b)?"
    r"(?P<close>\s?\)\s?%?)?"
)
_FISCAL = re.compile(r"\b(?:fy|fiscal(?: years?)?|financial years?)[\s'\u2019-]*(?P<year>(?:19|20)\d\d|\d\d)\b")
_YEARS = re.compile(r"(?<![\w.,/-])(?P<century>19|20)(?P<first>\d\d)[/\u2013-](?P<last>\d\d)(?![\w,/-]|\.\d)")
_MINUS = "-\u2212\u2013"


def number_words(text: str) -> Counter[str]:
    """The normal forms of the numbers of a text, where they are no runs of digits already.

    ==================== ========================== ==============================================================
    written              words                      rule
    ==================== ========================== ==============================================================
    1,234.50             1234.5                     no commas between thousands, no zeros at the end of decimals
    (5), -5              -5                         brackets and signs are a minus; the number without it is a word too
    4.0%, 4 percent      4%                         a percentage has its sign, and the number alone is a word too
    $1.5 million, $1.5m  1.5, 1500000               multiplied out; single letters count behind a currency alone
    FY19, fiscal 2019    fy2019, 2019               a year of two digits lies in this century
    2018/19, 2018-19     2019                       the second year in full
    ==================== ========================== ==============================================================

    Args:
        text: after normalisation and case folding.

    >>> sorted(number_words("it lost $1,234.50, or (5)%, in fy19"))
    ['-5', '-5%', '1234.5', '2019', '5%', 'fy2019']
    >>> number_words("1234 in 2019")
    Counter()
    """
    found: Counter[str] = Counter()
    if not any(digit in text for digit in "0123456789"):
        return found
    for match in _NUMBER.finditer(text):
        if len(match["digits"]) + len(match["decimals"] or "") <= LONGEST_NUMBER:
            found.update(_forms(match))
    for match in _FISCAL.finditer(text):
        year = match["year"] if len(match["year"]) == 4 else f"20{match['year']}"
        found[f"fy{year}"] += 1
        if year != match["year"] or text[match.start("year") - 1].isalpha():  # a run of digits is a word already
            found[year] += 1
    for match in _YEARS.finditer(text):
        if int(match["last"]) == (int(match["first"]) + 1) % 100:
            century = int(match["century"]) + (match["last"] == "00")
            found[f"{century}{match['last']}"] += 1
    return found


def _forms(match: re.Match[str]) -> set[str]:
    """The words of a number; the run of its digits is none."""
    digits = match["digits"].replace(",", "").lstrip("0") or "0"
    decimals = (match["decimals"] or "").rstrip("0").rstrip(".")
    value = digits + decimals
    words = {value}
    scale = (match["scale"] or "").strip().rstrip("s")
    if scale in _SCALES and (match["currency"] or len(scale) > 2):
        value = _plain(Decimal(value).scaleb(_SCALES[scale]))
        words.add(value)
    percent = match["percent"] or "%" in (match["close"] or "")
    if percent:
        words.add(f"{value}%")
    signs = (match["before"] or "") + (match["after"] or "")
    if ("(" in signs and match["close"] is not None) or any(sign in signs for sign in _MINUS):
        words.add(f"-{value}")
        if percent:
            words.add(f"-{value}%")
    return words - {match["digits"]}


def _plain(number: Decimal) -> str:
    """A number without exponent, and without zeros at the end of its decimals.

    >>> _plain(Decimal("1.50E+3")), _plain(Decimal("0.1200"))
    ('1500', '0.12')
    """
    written = f"{number:f}"
    return written.rstrip("0").rstrip(".") if "." in written else written
