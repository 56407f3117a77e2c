"""The words of a sample of passages, as its word pieces make them, with their stems, neighbours and usual spelling."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array

from lexite.terms.word_pieces import WordPieces

FREQUENT = 0.2  # a word in more passages than this share is a function word
LOWER_COUNTS = 3.0  # how much more a use in lower case counts for the usual spelling
LEAST_STEM = 4  # letters that a stem keeps
_FUNCTION_WORDS = frozenset(
    "a about above after again against all also although am among an and any are as at be because been before being below "
    "between both but by can could did do does doing down during each either etc few for from further had has have having "
    "he her here hers herself him himself his how however i if in into is it its itself just me more most my myself "
    "neither no nor not now of off on once only or other others our ours out over own per rather s same shall she should "
    "since so some such t than that the their theirs them themselves then there these they this those though through to "
    "too under until up upon us very via was we were what when where whether which while who whom whose why will with "
    "within without would yet you your yours one two said may might must much many".split()
)
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")
_ENDINGS = tuple(
    sorted(
        "ie ications ication ifications ified ifies ified ifying ify izations ization ised ises ising ise ized izes izing ize "
        "ations ation ating ated ates ate ions ion ments ment nesses ness ities ity ically ical ics ic ies ied ying ing ings "
        "ers er ed es s y ly al ally e ism ists ist ian ians an ans ese".split(),
        key=len,
        reverse=True,
    )
)


@functools.lru_cache(maxsize=1 << 18)
def word_stem(word: str) -> str:
    """What a word shares with its other forms: the word without accents, case and an English ending, of four letters or more.

    >>> word_stem("modified") == word_stem("Modifications") == word_stem("modify"), word_stem("bus"), word_stem("été")
    (True, 'bus', 'ete')
    """
    plain = plain_form(word)
    if not plain.isascii() or not plain.isalpha():
        return plain
    if plain.endswith("s") and len(plain) > LEAST_STEM and plain[-2:] not in ("ss", "us", "is"):
        plain = plain[:-1]
    for ending in _ENDINGS:
        if plain.endswith(ending) and len(plain) - len(ending) >= LEAST_STEM:
            return plain[: -len(ending)]
    return plain


def plain_form(word: str) -> str:
    """A word without case and accents."""
    folded = word.casefold()
    if folded.isascii():
        return folded
    return "".join(letter for letter in unicodedata.normalize("NFD", folded) if unicodedata.category(letter) != "Mn")


@dataclass(frozen=True, eq=False)
class SampleWords:
    """The words of a sample, one after the other.

    Attributes:
        of_token: ``(n_tokens,)`` int32, the word that each token belongs to, counted through the sample.
        forms: ``(n_words,)`` int32, the form of each word; a form is a spelling.
        form_texts: the spelling of each form; empty for what is no word.
        stems: ``(n_words,)`` int32, the stem of each word.
        stem_of_form: ``(n_forms,)`` int32.
        stem_numbers: the number of each stem; 0 is what is no word.
        function: ``(n_stems,)`` bool, function words, punctuation and lone letters.
        passages: ``(n_words,)`` int32, the passage of each word.
        counts: ``(n_stems,)`` int64, words with each stem.
        in_passages: ``(n_passages, n_stems)`` float32 of 1, which passage has which stem.
        by_stem: the same by stem.
        spelling: the usual spelling of a plain form in the texts.
        begins: ``(n_tokens,)`` bool, tokens that begin a word.
        ends: ``(n_tokens,)`` bool, tokens that end one.
        piece_texts: the text of each token id of the sample, without marks.
        by_form: ``(n_passages, n_forms)``, which passage has which form.
    """

    of_token: NDArray[np.int32]
    forms: NDArray[np.int32]
    form_texts: list[str]
    stems: NDArray[np.int32]
    stem_of_form: NDArray[np.int32]
    stem_numbers: dict[str, int]
    function: NDArray[np.bool_]
    passages: NDArray[np.int32]
    counts: NDArray[np.int64]
    in_passages: csr_array[np.float32]
    by_stem: csc_array[np.float32]
    spelling: dict[str, str]
    begins: NDArray[np.bool_]
    ends: NDArray[np.bool_]
    piece_texts: dict[int, str]
    by_form: csc_array[np.float32]

    @property
    def n_stems(self) -> int:
        """Number of stems."""
        return len(self.function)

    def written(self, form: int) -> str:
        """A form as the texts usually write it."""
        text = self.form_texts[form]
        return self.spelling.get(plain_form(text), text)


def sample_words(
    token_ids: NDArray[np.int32],
    offsets: NDArray[np.int64],
    texts: Iterable[str],
    describe_token: Callable[[int], str],
) -> SampleWords:
    """Finds the words of a sample.

    Args:
        token_ids: ``(n_tokens,)``.
        offsets: ``(n_passages + 1,)`` the tokens of each passage.
        texts: the passages.
        describe_token: the piece of a token id, as its tokenizer writes it.
    """
    pieces = WordPieces(describe_token)
    words = pieces.split(token_ids, offsets)
    unique, example, forms = np.unique(words.keys, return_index=True, return_inverse=True)
    ends = np.append(words.first_row[1:], len(token_ids))
    form_texts = [
        pieces.text(tuple(token_ids[words.first_row[place] : ends[place]].tolist())) if key else ""
        for key, place in zip(unique.tolist(), example.tolist(), strict=True)
    ]
    numbers: dict[str, int] = {"": 0}
    stem_of_form = np.array([numbers.setdefault(word_stem(text), len(numbers)) for text in form_texts], dtype=np.int32)
    stems = stem_of_form[forms]
    n_passages = len(offsets) - 1
    passages = (np.searchsorted(offsets, words.first_row, side="right") - 1).astype(np.int32)
    holds = csr_array((np.ones(len(stems), np.float32), (passages, stems)), shape=(n_passages, len(numbers)))
    holds.sum_duplicates()
    holds.data[:] = 1
    by_stem = holds.tocsc()
    with_form = csr_array((np.ones(len(stems), np.float32), (passages, forms)), shape=(n_passages, len(form_texts)))
    with_form.sum_duplicates()
    begins = np.zeros(len(token_ids) + 1, dtype=np.bool_)
    begins[words.first_row] = begins[-1] = True
    frequent = np.diff(by_stem.indptr) > FREQUENT * n_passages
    listed = {word_stem(word) for word in _FUNCTION_WORDS}
    named = np.array([stem in listed or not _is_content(stem) for stem in numbers], dtype=np.bool_)
    return SampleWords(
        words.of_row.astype(np.int32),
        forms.astype(np.int32),
        form_texts,
        stems,
        stem_of_form,
        numbers,
        named | frequent,
        passages,
        np.bincount(stems, minlength=len(numbers)),
        holds,
        by_stem,
        usual_spelling(texts),
        begins[:-1],
        begins[1:],
        {token: pieces.text((token,)) for token in np.unique(token_ids).tolist() if token >= 0},
        with_form.tocsc(),
    )


def _is_content(stem: str) -> bool:
    """Whether it has letters or digits, and is more than one Latin letter."""
    return any(letter.isalnum() for letter in stem) and (len(stem) > 1 or not stem.isascii())


def usual_spelling(texts: Iterable[str]) -> dict[str, str]:
    """How texts write each word, by its plain form: Paris, NASA, café. In lower case, where that is a third as frequent.

    Words are capitalised at the beginning of sentences and in names, as the bank is in Deutsche Bank.

    >>> found = usual_spelling(["Paris is old. Is Paris rich? Deutsche Bank is a bank. Bank of Japan."])
    >>> found["paris"], found["bank"]
    ('Paris', 'bank')
    """
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(_WORD.findall(text))
    best: dict[str, tuple[float, str]] = {}
    for word, count in counts.items():
        plain, rank = plain_form(word), (count * (LOWER_COUNTS if word.islower() else 1.0), word)
        if plain not in best or rank > best[plain]:
            best[plain] = rank
    return {plain: word for plain, (_, word) in best.items()}
