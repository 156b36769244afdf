"""The units of a text that have a tag each, and where their first tokens are. N texts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from tokenizers import Tokenizer

UNITS = {"word": re.compile(r"\S+"), "character": re.compile(r"\S")}


def units_of(text: str, unit: str) -> list[str]:
    """Return the units of a text: what stands between spaces, or its characters that are no space.

    >>> units_of("a bc", "word"), units_of("a bc", "character")
    (['a', 'bc'], ['a', 'b', 'c'])
    """
    return UNITS[unit].findall(text)


def counted(texts: pa.Array, unit: str) -> np.ndarray:
    """Return how many units each clean text has, int64 [N]; a missing one has none."""
    import numpy as np

    return np.array([len(units_of(text, unit)) for text in texts.fill_null("").to_pylist()], np.int64)


def firsts(tokenizer: Tokenizer, texts: Sequence[str], unit: str) -> list[tuple[list[int], list[int]]]:
    """Return each text's token ids, without special tokens, and for each of its units the place of its first token among them.

    That is the first token that ends behind the unit's beginning; where none does (the tokenizer drops the last characters), the last.
    """
    import numpy as np

    found = []
    for text, row in zip(texts, tokenizer.encode_batch(list(texts), add_special_tokens=False), strict=True):
        begins = np.array([match.start() for match in UNITS[unit].finditer(text)], np.int64)
        ends = np.array([end for _, end in row.offsets], np.int64)
        places = np.searchsorted(ends, begins, side="right")
        found.append((row.ids, np.minimum(places, max(len(row.ids) - 1, 0)).tolist()))
    return found
