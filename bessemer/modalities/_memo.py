"""Token ids of plain texts from a memory of words: what BERT's kind of tokenizer gives, without its work on every word again.

BERT's normaliser and word splitting are simple for ASCII: small letters, words of letters and digits, each other sign alone; WordPiece
then cuts each word by itself. So a word's ids never change, and a memory of them answers most of a text. Every other text, and every
other tokenizer, is left to the `tokenizers` library.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers import Tokenizer

WORD = re.compile(r"[A-Za-z0-9]+|[^A-Za-z0-9\s]")
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
MOST_WORDS, LONGEST = 20_000, 32
"""Words that are remembered, then the memory begins anew; and the longest of them: so its size is bounded."""

MANY, TOGETHER, BETWEEN = 64, 100, "."
"""From so many new words on the library reads them, so many as one text, with a sign between two: a text costs more than a word."""
FLOOD = 2_000
"""Of more new words than these, and than one in five of all words, none is remembered: the library is as fast then."""

Ids = Callable[[Sequence[str]], list[list[int]]]


def word_for_word(tokenizer: Tokenizer) -> Callable[[str], bool] | None:
    """Return what tells of a text whether the tokenizer cuts each of its words by itself; None: that is never known."""
    return _simple(tokenizer, json.loads(tokenizer.to_str()))


def _simple(tokenizer: Tokenizer, plain: Mapping[str, Any]) -> Callable[[str], bool] | None:
    added = tokenizer.get_added_tokens_decoder().values()
    if _lowercase(plain) is None or any(token.normalized for token in added):
        return None
    special = [token.content for token in added]
    return lambda text: (text.isascii() and not any(map(text.__contains__, special))
                         and (text.isprintable() or not CONTROL.search(text)))


def remembered(tokenizer: Tokenizer, ids: Ids, most: int | None = None) -> Ids:
    """Return a function equal to `ids` (texts -> token ids without special tokens), which remembers `most` words where that is exact."""
    plain = json.loads(tokenizer.to_str())
    simple, lowercase = _simple(tokenizer, plain), _lowercase(plain)
    if simple is None:
        return ids
    # A word of one piece has its id, one of several its ids: fewer objects, as each costs a miss of the processor's caches.
    memory: list[dict[str, Any]] = [{}]
    pieces = _pieces(**plain["model"])

    def known(rows: list[list[str]]) -> dict[str, Any]:
        """Return a memory that holds the words of texts, but for those that are too long, or too many, for it."""
        found, room = memory[0], most or MOST_WORDS
        new = {word for row in rows for word in row if word not in found and len(word) <= LONGEST}
        if len(new) > FLOOD and 5 * len(new) > sum(map(len, rows)):
            return found
        if len(found) + len(new) > room:
            found = memory[0] = {}
            new = {word for word in set().union(*rows) if len(word) <= LONGEST}
        names = sorted(new) if len(new) <= room else []
        each = _together(names, ids) if len(names) >= MANY else ((name, pieces(name)) for name in names)
        found.update((name, row[0] if len(row) == 1 else row) for name, row in each)
        return found

    def recalled(words: list[str] | None, of_word: Callable[[str], Any]) -> list[int] | None:
        """Return the ids of words; None: one of them is not remembered."""
        if words is None:
            return None
        try:
            found = list(map(of_word, words))
        except KeyError:
            return None
        if list in set(map(type, found)):
            return [code for part in found for code in (part if isinstance(part, list) else (part,))]
        return found

    def quick(texts: Sequence[str]) -> list[list[int]]:
        rows = [WORD.findall(text.lower() if lowercase else text) if simple(text) else None for text in texts]
        found = [recalled(row, memory[0].__getitem__) for row in rows]
        if new := [row for row, ready in zip(rows, found, strict=True) if row is not None and ready is None]:
            of_word = known(new).__getitem__
            found = [ready or recalled(row, of_word) for row, ready in zip(rows, found, strict=True)]
        left = [place for place, row in enumerate(found) if row is None]  # no plain text, or with a word that is not remembered
        for place, row in zip(left, ids([texts[place] for place in left]) if left else (), strict=True):
            found[place] = row
        return [row for row in found if row is not None]

    return quick


def _pieces(vocab: Mapping[str, int], continuing_subword_prefix: str, max_input_chars_per_word: int, unk_token: str,
            **_: Any) -> Callable[[str], list[int]]:
    """Return WordPiece of a word: from its start on always the longest piece there is; a rest that no piece begins makes it unknown.

    The library hands even one text to a thread of its pool and waits for it: on a machine that works, for milliseconds.
    """
    unknown = [vocab[unk_token]]

    def found(word: str) -> list[int]:
        if len(word) > max_input_chars_per_word:
            return unknown
        ids: list[int] = []
        start, stop = 0, len(word)
        while start < len(word):
            code = vocab.get(f"{continuing_subword_prefix}{word[start:stop]}" if start else word[:stop])
            if code is not None:
                ids.append(code)
                start, stop = stop, len(word)
            elif (stop := stop - 1) == start:
                return unknown
        return ids

    return found


def _together(names: Sequence[str], ids: Ids) -> Iterator[tuple[str, list[int]]]:
    """Yield many words with their ids: letters and digits many at a time, signs one by one."""
    plain = [name for name in names if name.isalnum()]
    signs = [BETWEEN, *(name for name in names if not name.isalnum())]
    found = ids(signs)
    yield from zip(signs[1:], found[1:], strict=True)
    runs = [plain[start:start + TOGETHER] for start in range(0, len(plain), TOGETHER)]
    for run, row in zip(runs, ids([BETWEEN.join([*run, ""]) for run in runs]), strict=True):
        ends = [place for place, code in enumerate(row) if [code] == found[0]]
        if len(ends) == len(run):
            yield from zip(run, (row[begin:end] for begin, end in zip([0, *(end + 1 for end in ends)], ends, strict=False)), strict=True)
        else:  # the sign is no token of its own here, or a piece of some word
            yield from zip(run, ids(run), strict=True)


def _lowercase(plain: Mapping[str, Any]) -> bool | None:
    """Tell whether a tokenizer of BERT's kind writes small letters; None: it is of another kind."""
    normal, split, model = plain["normalizer"] or {}, plain["pre_tokenizer"] or {}, plain["model"]
    if (normal.get("type"), split.get("type"), model.get("type")) != ("BertNormalizer", "BertPreTokenizer", "WordPiece"):
        return None
    if model["unk_token"] not in model["vocab"]:
        return None
    return bool(normal["lowercase"]) if normal["clean_text"] else None
