"""Token ids of plain texts from a memory of words: what BERT's kind of tokenizer gives, without its work on every word again.

BERT's normaliser and word splitting are simple for ASCII: small letters, words of letters and digits, each other sign alone; WordPiece
then cuts each word by itself. So a word's ids never change, and a memory of them answers most of a text. Every other text, and every
other tokenizer, is left to the `tokenizers` library.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

WORD = re.compile(r"[A-Za-z0-9]+|[^A-Za-z0-9\s]")
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
MOST_WORDS, LONGEST = 20_000, 32
"""Words that are remembered, then the memory begins anew; and the longest of them: so its size is bounded."""

Ids = Callable[[Sequence[str]], list[list[int]]]


def remembered(tokenizer: Tokenizer, ids: Ids) -> Ids:
    """Return a function equal to `ids` (texts -> token ids without special tokens), which remembers words where that is exact."""
    added = tokenizer.get_added_tokens_decoder().values()
    lowercase = _lowercase(tokenizer)
    if lowercase is None or any(token.normalized for token in added):
        return ids
    special = re.compile("|".join(re.escape(token.content) for token in added) or r"(?!)")
    memory: list[dict[str, list[int]]] = [{}]

    def of_words(words: list[str]) -> list[int] | None:
        known = memory[0]
        try:
            return list(chain.from_iterable(map(known.__getitem__, words)))
        except KeyError:
            new = list(dict.fromkeys(word for word in words if word not in known))
        if max(map(len, new)) > LONGEST or len(new) > MOST_WORDS:
            return None
        if len(known) + len(new) > MOST_WORDS:
            known = memory[0] = {}
            new = list(dict.fromkeys(words))
        known.update(zip(new, ids(new), strict=True))
        return list(chain.from_iterable(map(known.__getitem__, words)))

    def of_text(text: str) -> list[int] | None:
        if not text.isascii() or special.search(text) or CONTROL.search(text):
            return None
        return of_words(WORD.findall(text.lower() if lowercase else text))

    def quick(texts: Sequence[str]) -> list[list[int]]:
        found = [of_text(text) for text in texts]
        left = [place for place, row in enumerate(found) if row is None]
        for place, row in zip(left, ids([texts[place] for place in left]) if left else (), strict=True):
            found[place] = row
        return [row for row in found if row is not None]

    return quick


def _lowercase(tokenizer: Tokenizer) -> bool | None:
    """Tell whether a tokenizer of BERT's kind writes small letters; None: it is of another kind."""
    plain = json.loads(tokenizer.to_str())
    normal, split = plain["normalizer"] or {}, plain["pre_tokenizer"] or {}
    if (normal.get("type"), split.get("type"), plain["model"].get("type")) != ("BertNormalizer", "BertPreTokenizer", "WordPiece"):
        return None
    return bool(normal["lowercase"]) if normal["clean_text"] else None
