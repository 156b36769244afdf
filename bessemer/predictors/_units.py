"""Predictors of texts that are more than one text with one answer: pairs; and tags, an answer for each unit of a text.

Legend: N rows, B rows in a batch, W windows of these, L tokens, U units, C tags.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bessemer.core.errors import GuardError, UserError
from bessemer.core.heads import tag_answers
from bessemer.core.schema import Role
from bessemer.core.types import Answer
from bessemer.modalities._units import units_of
from bessemer.predictors._rows import NetworkPredictor, batches, clean_texts, input_column

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from bessemer.core.schema import Schema


def of_texts(plain: NetworkPredictor) -> NetworkPredictor:
    """Return a network's predictor as its heads and columns need it: the one of tags or of pairs, or itself."""
    tags = [head.kind for head in plain.heads] == ["tags"]
    if not tags and len(plain.schema.texts()) == 1:
        return plain
    made = TagPredictor if tags else PairPredictor
    return made(plain.schema, plain.form, plain.codec, plain.max_length, plain.predict_batch, plain.heads, plain.rows_at_once)


@dataclass(eq=False)
class PairPredictor(NetworkPredictor):
    """A network that reads `[CLS] first [SEP] second [SEP]`."""

    def clean(self, rows: pa.Table) -> list[Any]:
        """Return the clean texts of raw rows, (first, second) each."""
        first, second = (clean_texts(rows, column).to_pylist() for column in self.schema.texts())
        return list(zip(first, second, strict=True))

    def encode(self, texts: Sequence[Any]) -> list[Any]:
        """Return the token ids of both texts of each row."""
        assert self.codec.ids is not None
        both = self.codec.ids([text for side in (0, 1) for text in (row[side] for row in texts)])
        return list(zip(both[:len(texts)], both[len(texts):], strict=True))

    def cost(self, ids: Any) -> int:
        """Return how many tokens the network reads of a row."""
        return min(len(ids[0]) + len(ids[1]) + 3, self.max_length)

    def longest(self) -> Any:
        """Return an encoded row that is as long as the network reads."""
        return [0] * self.max_length, [0] * self.max_length

    def collated(self, ids: Sequence[Any]) -> dict[str, np.ndarray]:
        """Return what the network reads of rows of token ids, int64 [B, L] each."""
        from bessemer.modalities.pairs import framed

        return framed([row[0] for row in ids], [row[1] for row in ids], self.max_length, self.codec.info)


@dataclass(eq=False)
class TagPredictor(NetworkPredictor):
    """A network that gives logits for each token; `predict_batch` returns [W, L, C]."""

    def clean(self, rows: pa.Table) -> list[str]:
        """Return the clean texts of raw rows; a list of words has to hold one word each, as each gets one tag."""
        texts = super().clean(rows)
        if self.heads[0].unit == "word":
            import pyarrow.compute as pc

            why = odd_lists(self._input.name, rows.column(self._input.named_in(rows.column_names)), texts)
            row = pc.index(why.is_valid(), True).as_py()
            if row >= 0:
                raise UserError(f"row {row + 1}: {why[row].as_py()}")
        return texts

    def encode(self, texts: Sequence[str]) -> list[Any]:
        """Return each clean text's token ids, and the place of each unit's first token among them."""
        if self.codec.firsts is None:
            raise UserError(f"the column '{self._input.name}' is no text, and the form '{self.form}' reads texts")
        return list(self.codec.firsts(texts, self.heads[0].unit))

    def cost(self, ids: Any) -> int:
        """Return how many tokens the network reads of a row, those in two windows twice."""
        count, room = len(ids[0]), self.max_length - 2
        return count + 2 if count <= room else (1 + -(-(count - room) // max(1, room - room // 4))) * self.max_length

    def longest(self) -> Any:
        """Return an encoded row that fills one window."""
        count = self.max_length - 2
        return [0] * count, list(range(count))

    def answer(self, ids: Sequence[Any]) -> dict[str, Answer]:
        """Return the answers of encoded rows, in their order."""
        import numpy as np

        from bessemer.data.windows import windows

        offsets = np.cumsum([0, *(len(first) for _, first in ids)]).astype(np.int64)
        logits_UC = np.zeros((int(offsets[-1]), self.heads[0].width), np.float32)
        cost_N = np.array([self.cost(row) for row in ids], np.int64)
        for chosen_B in batches(cost_N, self.rows_at_once):
            rows = [ids[row] for row in chosen_B.tolist()]
            found = windows([row[0] for row in rows], [row[1] for row in rows], self.max_length, self.codec.info)
            part_UC = self._scored(found.arrays)[found.window, found.place]
            for place, row in enumerate(chosen_B.tolist()):
                logits_UC[offsets[row]:offsets[row + 1]] = part_UC[found.offsets[place]:found.offsets[place + 1]]
        broken = np.flatnonzero(~np.isfinite(logits_UC).all(axis=1))
        if len(broken):
            raise GuardError(f"the form '{self.form}' gives scores that are no finite numbers, first in row "
                             f"{int(np.searchsorted(offsets, broken[0], side='right'))}; its weights are damaged: train or export it again")
        return tag_answers(self.heads, logits_UC, offsets)

    def _scored(self, arrays: dict[str, np.ndarray]) -> np.ndarray:
        """Return logits [W, L, C]; where rows must be scored one by one, so must windows."""
        import numpy as np

        if self.rows_at_once > 1 or len(arrays["input_ids"]) == 1:
            return self.predict_batch(arrays)
        return np.concatenate([self.predict_batch({name: array[row:row + 1] for name, array in arrays.items()})
                               for row in range(len(arrays["input_ids"]))])


def unfit_lists(schema: Schema, rows: pa.Table) -> pa.Array:
    """Return for each raw row why its list of words cannot have a tag a word; null where it can, or no word has one: string [N]."""
    import pyarrow as pa

    from bessemer.data.columns import texts
    from bessemer.modalities import modality_of

    nothing = pa.nulls(len(rows), pa.string())
    if not word_tags(schema):
        return nothing
    column = input_column(schema)
    kind = modality_of(column)
    values = texts(rows.column(column.name), lists=kind.lists)
    if not (kind.lists and _are_lists(values)) or pa.types.is_nested(values.type.value_type):
        return nothing
    return odd_lists(column.name, values, kind.clean(values)[0].to_pylist())


def odd_lists(column: str, values: pa.Array | pa.ChunkedArray, clean: Sequence[str | None]) -> pa.Array:
    """Return what is wrong with each list of words that gets one tag a word, null where nothing is: string [N].

    A word of it is none or several, or its clean text has another number of words. A list of one is a text, and a null is no list.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    lists = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    found = np.full(len(lists), None, object)
    if not _are_lists(lists):
        return pa.array(found, pa.string())
    sizes = pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False)
    lists = pc.if_else(pa.array(sizes > 1), lists, None)
    words = lists.flatten().cast(pa.string())
    bare = pc.utf8_trim_whitespace(words)
    several = pc.not_equal(pc.list_value_length(pc.utf8_split_whitespace(bare)), 1)
    parents = pc.list_parent_indices(lists)
    for place in np.flatnonzero(pc.fill_null(pc.or_(several, pc.equal(bare, "")), False).to_numpy(zero_copy_only=False)).tolist()[::-1]:
        found[parents[place].as_py()] = odd_word(column, words[place].as_py())
    for row in np.flatnonzero(sizes > 1).tolist():
        text = clean[row]
        if found[row] is None and text and (left := len(units_of(text, "word"))) != sizes[row]:
            found[row] = changed_words(column, int(sizes[row]), left)
    return pa.array(found, pa.string())


def _are_lists(values: pa.Array) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list(values.type) or pa.types.is_large_list(values.type))


def word_tags(schema: Schema) -> bool:
    """Tell whether every word of a text gets a tag."""
    return any(column.modality["kind"] == "tags" and column.modality.get("unit", "word") == "word"
               for column in schema.by_role(Role.TARGET))


def odd_word(column: str, word: str) -> str:
    """Return what is wrong with a list that holds such a word."""
    what = "has a space in it" if word.strip() else "is empty"
    return (f"the column '{column}' holds the word {word!r:.60}, which {what}; every word of a list gets one tag: write it as one word, or "
            "as several of the list")


def changed_words(column: str, given: int, left: int) -> str:
    """Return what is wrong with a list of words whose clean text has another number of them."""
    return (f"the column '{column}' holds a list of {given} words, which are {left} once they are clean (signs that nobody sees, markup "
            "and personal data do not stay one word each); every word of a list gets one tag: leave out or write anew those words")
