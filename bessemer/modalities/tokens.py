"""Tokenizers of any family through one set of names: special tokens, sentence starts, and batches of ids."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bessemer.core.errors import UserError
from bessemer.modalities._memo import remembered, word_for_word

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from tokenizers import Tokenizer

NAMES = {"pad": ("[PAD]", "<pad>"), "unk": ("[UNK]", "<unk>"), "cls": ("[CLS]", "<s>"), "sep": ("[SEP]", "</s>"),
         "mask": ("[MASK]", "<mask>")}
SENTENCE_END = re.compile(r"[。！？…；\n]+[\"'”’」』）)\]]*\s*|[.!?;]+[\"'”’)\]]*\s+")
LONGEST = 512
"""Tokens that models read at most unless something else is known of them: BERT's positions."""
WORDS, TEXTS, CALL = 50_000, 256, 256
"""Words that are remembered while prepared rows are written (some tens of megabytes); texts that are cut at a time; and texts of one call
of the library, which holds some hundred bytes for each of their tokens."""


@dataclass(frozen=True)
class Tokens:
    """Where a column's tokenizer comes from.

    Attributes:
        make: (clean training texts, list by list, read once) -> tokenizer.
        files: files outside the run that it is read from.
        longest: () -> tokens that a model of this tokenizer reads at most.
    """

    make: Callable[[Iterator[list[str]]], Tokenizer]
    files: Callable[[], tuple[Path, ...]]
    longest: Callable[[], int] = lambda: LONGEST


def special_ids(tokenizer: Tokenizer, where: str) -> dict[str, int]:
    """Return `pad_token_id`, `unk_token_id`, `cls_token_id`, `sep_token_id`, `mask_token_id`; one missing is a UserError."""
    found = {}
    for role, names in NAMES.items():
        ids = [tokenizer.token_to_id(name) for name in names]
        known = [number for number in ids if number is not None]
        if not known:
            raise UserError(f"the tokenizer of {where} has no token {' or '.join(names)}; expected one of BERT's or RoBERTa's kind")
        found[f"{role}_token_id"] = known[0]
    return found


def info_of(tokenizer: Tokenizer, where: str, max_length: int) -> dict[str, Any]:
    """Return what models need to know: vocabulary size, ids of special tokens, the default length."""
    ids = special_ids(tokenizer, where)
    added = [number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special]
    size = max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1
    return {"vocab_size": size, **ids, "special_token_ids": sorted({*ids.values(), *added}), "max_length": max_length}


def encoder(tokenizer: Tokenizer) -> Callable[[list[str]], tuple[pa.Array, pa.Array]]:
    """Return `encode` of a tokenizer, which remembers words where that is exact: most texts take a fraction of its time."""
    cut = _cutter(tokenizer)

    def found(texts: list[str]) -> tuple[pa.Array, pa.Array]:
        import pyarrow as pa

        parts = [cut(texts[start:start + TEXTS]) for start in range(0, max(1, len(texts)), TEXTS)]
        return pa.concat_arrays([ids for ids, _ in parts]), pa.concat_arrays([starts for _, starts in parts])

    return found


def _cutter(tokenizer: Tokenizer) -> Callable[[list[str]], tuple[pa.Array, pa.Array]]:
    simple = word_for_word(tokenizer)
    if simple is None:
        return lambda texts: encode(tokenizer, texts)
    quick = remembered(tokenizer, lambda texts: ids_of(tokenizer, texts), WORDS)

    def found(texts: list[str]) -> tuple[pa.Array, pa.Array]:
        import pyarrow as pa

        plain = [simple(text) for text in texts]
        rest = encode(tokenizer, [text for text, one in zip(texts, plain, strict=True) if not one])
        others = zip(*(part.to_pylist() for part in rest), strict=True)
        cuts = [sentences(text) if one else [] for text, one in zip(texts, plain, strict=True)]
        # a sentence ends behind a sign that is a token, so no token lies across its end and each can be cut by itself
        pieces = iter(quick([text[start:end] for text, places in zip(texts, cuts, strict=True) for start, end in pairwise(places)]))
        ids, starts = [], []
        for one, places in zip(plain, cuts, strict=True):
            if not one:
                row, firsts = next(others)
            elif len(places) == 2:
                row = next(pieces)
                firsts = [0] if row else []
            else:
                parts = [next(pieces) for _ in places[1:]]
                row = list(chain.from_iterable(parts))
                firsts = sorted({first for first in accumulate(map(len, parts), initial=0) if first < len(row)})
            ids.append(row)
            starts.append(firsts)
        return pa.array(ids, pa.list_(pa.int32())), pa.array(starts, pa.list_(pa.int32()))

    return found


def sentences(text: str) -> list[int]:
    """Return where a text begins, where each of its sentences ends, and where it ends: rising, at least two places.

    >>> sentences("One. Two")
    [0, 5, 8]
    """
    if not any(sign in text for sign in ".!?;\n\u3002\uff01\uff1f\u2026\uff1b"):
        return [0, len(text)]
    return [0, *(end for match in SENTENCE_END.finditer(text) if (end := match.end()) < len(text)), len(text)]


def encode(tokenizer: Tokenizer, texts: list[str]) -> tuple[pa.Array, pa.Array]:
    """Return each text's token ids without special tokens, and the token at which each sentence starts (the first is 0).

    Returns:
        list<int32> [N] ids and list<int32> [N] starts; a text without tokens has neither.
    """
    import numpy as np
    import pyarrow as pa

    ends = [[match.end() for match in SENTENCE_END.finditer(text)] for text in texts]
    several = [bool(found) and found[0] < len(text) for found, text in zip(ends, texts, strict=True)]
    quick = iter(tokenizer.encode_batch_fast([t for t, many in zip(texts, several, strict=True) if not many],
                                             add_special_tokens=False))
    slow = iter(tokenizer.encode_batch([t for t, many in zip(texts, several, strict=True) if many], add_special_tokens=False))
    ids, starts = [], []
    for found, many in zip(ends, several, strict=True):
        row = next(slow if many else quick)
        ids.append(row.ids)
        if many and row.ids:
            last = np.array([end for _, end in row.offsets])
            firsts = np.unique(np.searchsorted(last, np.array([0, *found]), side="right"))
            starts.append(firsts[firsts < len(row.ids)].tolist())
        else:
            starts.append([0] if row.ids else [])
    return pa.array(ids, pa.list_(pa.int32())), pa.array(starts, pa.list_(pa.int32()))


def ids_of(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """Return each text's token ids without special tokens: those of `encode`, without its search for sentences."""
    if len(texts) == 1:  # a batch of one is handed to another thread, too
        return [tokenizer.encode(texts[0], add_special_tokens=False).ids]
    found: list[list[int]] = []
    for start in range(0, len(texts), CALL):
        found += [one.ids for one in tokenizer.encode_batch_fast(texts[start:start + CALL], add_special_tokens=False)]
    return found


def collate_ids(ids: Sequence[Sequence[int]], max_length: int, info: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return what `collate` gives of B rows, of their token ids as lists: for a few rows a fraction of its cost."""
    import numpy as np

    pad, cls, sep = info["pad_token_id"], info["cls_token_id"], info["sep_token_id"]
    kept = [row[:max_length - 2] for row in ids]
    length = max(map(len, kept), default=0) + 2
    ids_BL = np.array([[cls, *row, sep, *[pad] * (length - 2 - len(row))] for row in kept], np.int64).reshape(len(kept), length)
    size_B1 = np.array([[len(row) + 2] for row in kept], np.int64).reshape(len(kept), 1)
    return {"input_ids": ids_BL, "attention_mask": (np.arange(length) < size_B1).astype(np.int64),
            "token_type_ids": np.zeros((len(kept), length), np.int64)}


def collate(stored: Mapping[str, pa.Array], max_length: int, info: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return `[CLS] tokens [SEP]` of B rows, cut to `max_length` and padded to the longest: int64 [B, L] each."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    column = stored["ids"]
    lists = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    size_B = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    flat = lists.flatten().to_numpy()
    start_B = np.cumsum(size_B) - size_B
    kept_B = np.minimum(size_B, max_length - 2)
    length = int(kept_B.max(initial=0)) + 2
    place_BL = np.arange(length)[None, :]
    inside_BL = (place_BL >= 1) & (place_BL <= kept_B[:, None])
    ids_BL = np.full((len(size_B), length), info["pad_token_id"], np.int64)
    ids_BL[:, 0] = info["cls_token_id"]
    ids_BL[np.arange(len(size_B)), kept_B + 1] = info["sep_token_id"]
    ids_BL[inside_BL] = flat[(start_B[:, None] + place_BL - 1)[inside_BL]]
    return {"input_ids": ids_BL, "attention_mask": (place_BL < kept_B[:, None] + 2).astype(np.int64),
            "token_type_ids": np.zeros_like(ids_BL)}
