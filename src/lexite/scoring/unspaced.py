"""Words of scripts that are written without blanks, or with particles that cling to a word: pairs of characters.

Chinese, Japanese, Thai, Lao, Khmer and Burmese put no blanks between words, and Korean writes particles onto them. No
dictionary decides here where a word ends: each two neighbouring characters are a word, and each Chinese character is one by
itself too. A question and a document share pairs wherever they share a word, whatever stands around it. A dictionary cuts the
same word in one way here and in another there, and in another way again in its next version.
"""

from __future__ import annotations

import re
import unicodedata

_HAN = "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3038-\u303b\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_KANA = "\u3041-\u309f\u30a1-\u312f\u31a0-\u31ff\U0001aff0-\U0001b16f"
_HANGUL = "\u1100-\u11ff\u3131-\u318e\ua960-\ua97f\uac00-\ud7ff"
_THAI_LAO_KHMER = "\u0e01-\u0e4f\u0e81-\u0ecd\u0edc-\u0edf\u1780-\u17df"
_BURMESE = "\u1000-\u103f\u1050-\u108f\ua9e0-\ua9ef\ua9fa-\ua9fe\uaa60-\uaa7f"
_PAIRED = re.compile(f"[{_HAN}{_KANA}{_HANGUL}{_THAI_LAO_KHMER}{_BURMESE}]")
_SINGLE = re.compile(f"[{_HAN}]")
_SELECTORS = re.compile("[\u180b-\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]")  # they choose a shape, not a letter


def words_in_pairs(text: str) -> list[str]:
    """The words of a text: pairs of characters where a script has no blanks, runs of letters and digits elsewhere.

    Marks belong to the letter before them in all scripts: vowel signs, tones, accents that are no letters of their own.

    Args:
        text: after normalisation and case folding.

    >>> words_in_pairs("東京へ 7月, हिन्दी"), words_in_pairs("seven")
    (['東京', '京へ', '東', '京', '7', '月', 'हिन्दी'], ['seven'])
    """
    runs, has_paired = _runs(text)
    return [word for run in runs for word in _words_of_run(run)] if has_paired else runs


def units_in_order(text: str) -> list[str]:
    """The same text one unit after the other: each character of a script without blanks, runs of letters and digits elsewhere.

    Args:
        text: after normalisation and case folding.

    >>> units_in_order("東京へ 7月, हिन्दी")
    ['東', '京', 'へ', '7', '月', 'हिन्दी']
    """
    runs, has_paired = _runs(text)
    return [unit for run in runs for unit in _units_of_run(run)] if has_paired else runs


def is_unspaced(word: str) -> bool:
    """Whether a word has characters of a script that is written without blanks."""
    return not word.isascii() and _PAIRED.search(word) is not None


def _runs(text: str) -> tuple[list[str], bool]:
    """Runs of letters and digits with their marks, and whether one has characters of a script without blanks."""
    letters = [letter for letter in set(text) if letter > "\u02ff"]
    marks = {letter for letter in letters if unicodedata.category(letter) in ("Mn", "Mc")}
    if any(map(_SELECTORS.match, marks)):
        text = _SELECTORS.sub("", text)
    inside = "".join(map(re.escape, sorted(marks)))
    runs = re.findall(rf"[^\W_]+(?:[{inside}]+[^\W_]*)*" if inside else r"[^\W_]+", text)
    return runs, any(map(_PAIRED.match, letters))


def _units_of_run(run: str) -> list[str]:
    if not _PAIRED.search(run):
        return [run]
    units: list[str] = []
    goes_on = False
    for character in _characters(run):
        paired = bool(_PAIRED.match(character))
        if goes_on and not paired:
            units[-1] += character
        else:
            units.append(character)
        goes_on = not paired
    return units


def _words_of_run(run: str) -> list[str]:
    if not _PAIRED.search(run):
        return [run]
    words: list[str] = []
    paired: list[str] = []
    other = ""
    for character in _characters(run):
        if _PAIRED.match(character):
            if other:
                words.append(other)
                other = ""
            paired.append(character)
        else:
            words += _pairs(paired)
            paired.clear()
            other += character
    return [*words, *([other] if other else []), *_pairs(paired)]


def _characters(run: str) -> list[str]:
    """Letters and digits with their marks."""
    characters: list[str] = []
    for letter in run:
        if characters and not letter.isalnum():
            characters[-1] += letter
        else:
            characters.append(letter)
    return characters


def _pairs(characters: list[str]) -> list[str]:
    if len(characters) < 2:
        return list(characters)
    pairs = [first + second for first, second in zip(characters, characters[1:], strict=False)]
    return pairs + [character for character in characters if _SINGLE.match(character)]
