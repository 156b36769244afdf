"""What rows of a request become on their way through a model: taken (cheap, at once), prepared, answered (in the model's thread).

Two ways: a network of texts, whose rows have a length; and any other predictor, whose rows are a table.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from bessemer.core.errors import UserError, nearest
from bessemer.core.schema import Column, Role, Schema
from bessemer.modalities._units import units_of
from bessemer.predictors._rows import NetworkPredictor
from bessemer.predictors._units import changed_words, odd_word, word_tags
from bessemer.predictors.onnx_form import THREADS
from bessemer.serve.answers import plain_rows
from bessemer.serve.problems import Problem

if TYPE_CHECKING:
    from bessemer.core.types import Answer, Predictor

MOST_ROWS = 64
"""Rows of a table that are answered at once."""
INT64 = 2**63
MOST_TOKENS = 512
"""Tokens of texts that a thread answers at once, padding included: more of them leave a processor's caches and take longer a row."""
LIGHT, LIGHT_ROWS, LIGHT_CHARS = 0.004, 8, 4096
"""Seconds of the longest row, rows and characters of a request, up to which the event loop answers by itself."""
REHEARSALS, GIVE_UP = 5, 0.05
"""How often a row is tried, and the seconds of one after which it is not tried again."""


class Prepared(NamedTuple):
    """A row ready to be answered: only rows of one `like` are answered together, those of near `cost` first."""

    like: Any
    cost: int
    data: Any


class Work(Protocol):
    """What a batcher does with rows; see Texts and Tables."""

    most_rows: int
    most_cost: int

    def take(self, row: Mapping[str, Any]) -> Any:
        """Return what is kept of a request's row; a Problem where it cannot be read. No heavy work: the event loop calls it."""
        ...

    def rehearse(self) -> None:
        """Find out how long a row takes, where that decides something; before the first row is asked."""
        ...

    def light(self, taken: Sequence[Any]) -> bool:
        """Tell whether rows are answered in no more time than a thread is worth: the event loop does it then."""
        ...

    def prepare(self, taken: Sequence[Any]) -> list[Prepared | Problem]:
        """Return the rows as they will be answered, or why one cannot be."""
        ...

    def answer(self, rows: Sequence[Prepared]) -> list[Any]:
        """Return for each row its answer, JSON values, or a Problem."""
        ...


def work_of(predictor: Predictor, max_chars: int) -> Work:
    """Return the way in which a predictor's rows are answered."""
    if isinstance(predictor, NetworkPredictor) and predictor.codec.tidy is not None and (
            predictor.codec.ids is not None and len(input_columns(predictor.schema)) == 1):
        return Texts(predictor, max_chars)
    return Tables(predictor, max_chars)


def input_columns(schema: Schema) -> tuple[Column, ...]:
    """Return the columns that a row must hold."""
    return tuple(column for column in schema.by_role(Role.INPUT) if not column.of)


def _missing(column: Column, row: Mapping[str, Any]) -> Problem:
    return Problem("row", f"the row has no column '{column.name}', which the model reads{nearest(column.name, list(row)[:100])}; give "
                   "every column that /page.json lists")


def _nested(column: Column, value: Any) -> Problem:
    what = "an object" if isinstance(value, Mapping) else "a list"
    cut = column.modality.get("lists") == "join"
    if cut:
        what = f"{what}{'' if isinstance(value, Mapping) else ' with other things than texts'}"
    return Problem("row", f"the column '{column.name}' holds {what}; expected "
                   f"{'a list of words, ' if cut else ''}one text, number, true, false or null")


def _too_long(column: Column, value: str, most: int) -> Problem:
    return Problem("too-large", f"the column '{column.name}' holds a text of {len(value):,} characters; this server takes {most:,}: cut "
                   "the text, or start the server with a larger --max-chars")


def _as_text(column: Column, value: Any, tagged: bool) -> Any:
    """Return the text of a list of words where the column takes such; every other value as it is. `tagged`: every word gets a tag."""
    if not (isinstance(value, list) and column.modality.get("lists") == "join" and all(isinstance(word, str) for word in value)):
        return value
    odd = next((word for word in value if len(word.split()) != 1), None) if tagged and len(value) > 1 else None
    if odd is not None:
        raise Problem("row", odd_word(column.name, odd))
    return " ".join(value)


class Texts:
    """Rows of one text, answered by a network: cleaned and cut into tokens together, answered in batches of like length."""

    def __init__(self, predictor: NetworkPredictor, max_chars: int) -> None:
        self.predictor, self.max_chars = predictor, max_chars
        self.column, self.tagged = input_columns(predictor.schema)[0], word_tags(predictor.schema)
        self.most_rows, self.most_cost = predictor.rows_at_once, MOST_TOKENS * int(os.environ.get(THREADS, "1"))
        self.light_chars = 0

    def rehearse(self) -> None:
        """Measure a longest row, so that `light` knows how long one takes."""
        longest = self.predictor.longest()
        best = math.inf
        for _ in range(REHEARSALS):
            started = time.perf_counter()
            self.predictor.answer([longest])
            best = min(best, time.perf_counter() - started)
            if best > GIVE_UP:
                return
        if best < LIGHT:
            self.light_chars = LIGHT_CHARS

    def light(self, taken: Sequence[str]) -> bool:
        """Tell whether rows are answered in no more time than a thread is worth."""
        return len(taken) <= LIGHT_ROWS and sum(map(len, taken)) <= self.light_chars

    def take(self, row: Mapping[str, Any]) -> str:
        """Return the text."""
        value = row.get(self.column.name)
        if value is None:
            name = self.column.named_in(row)
            if name is None:
                raise _missing(self.column, row)
            value = row[name]
        words, value = value, _as_text(self.column, value, self.tagged)
        if isinstance(value, str):
            if len(value) > self.max_chars:
                raise _too_long(self.column, value, self.max_chars)
            if self.tagged and isinstance(words, list) and len(words) > 1:
                self._check_words(value, len(words))
            return value
        if value is None:
            raise Problem("row", f"the value of the column '{self.column.name}' is null; every row to predict needs a text")
        if isinstance(value, (Mapping, list)):
            raise _nested(self.column, value)
        return _words(value)

    def _check_words(self, text: str, given: int) -> None:
        """Raise a Problem where the clean text of a list has another number of words than the list, as each gets a tag."""
        assert self.predictor.codec.tidy is not None
        left = len(units_of(self.predictor.codec.tidy([text])[0], "word"))
        if left not in (0, given):  # of none nothing can be said at all, which `prepare` says
            raise Problem("row", changed_words(self.column.name, given, left))

    def prepare(self, taken: Sequence[str]) -> list[Prepared | Problem]:
        """Return token ids; a text of which cleaning leaves nothing is a Problem."""
        assert self.predictor.codec.tidy is not None
        clean = self.predictor.codec.tidy(taken)
        ids = self.predictor.encode(clean)
        return [Prepared(None, self.predictor.cost(row), row) if text else self._empty() for text, row in zip(clean, ids, strict=True)]

    def _empty(self) -> Problem:
        return Problem("row", f"the value of the column '{self.column.name}' is empty (nothing that can be seen); every row to predict "
                       "needs a text")

    def answer(self, rows: Sequence[Prepared]) -> list[Any]:
        """Return the answers."""
        return plain_rows(self.predictor.answer([row.data for row in rows]))


def _words(value: Any) -> str:
    """Return a JSON number or truth value as text, as a table of rows would hold it."""
    import pyarrow as pa

    if isinstance(value, int) and not -INT64 <= value < INT64:
        return str(value)
    words: str = pa.array([value]).cast(pa.string())[0].as_py()
    return words


class Tables:
    """Rows of any columns, answered by any predictor.

    Only rows whose values have the same JSON types are put into one table: so a row is read as it would be alone.
    """

    def __init__(self, predictor: Predictor, max_chars: int) -> None:
        self.predictor, self.max_chars = predictor, max_chars
        self.columns, self.tagged = input_columns(predictor.schema), word_tags(predictor.schema)
        self.names = tuple(column.name for column in self.columns)
        # One text is answered alone: a table of texts has no length to be sorted by.
        self.most_rows = min(MOST_ROWS, getattr(predictor, "rows_at_once", MOST_ROWS))
        self.most_cost = self.most_rows

    def take(self, row: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return the values of the model's columns, in its order."""
        values = []
        for column in self.columns:
            name = column.name if column.name in row else column.named_in(row)
            if name is None:
                raise _missing(column, row)
            value = _as_text(column, row[name], self.tagged)
            if isinstance(value, str):
                if len(value) > self.max_chars:
                    raise _too_long(column, value, self.max_chars)
            elif isinstance(value, dict) or (isinstance(value, list) and column.modality["kind"] != "vector"):
                raise _nested(column, value)
            values.append(value)
        return tuple(values)

    def rehearse(self) -> None:
        """Nothing depends on it."""

    def light(self, taken: Sequence[tuple[Any, ...]]) -> bool:
        """Leave it to the thread: a table is read in milliseconds, however small the model is."""
        return False

    def prepare(self, taken: Sequence[tuple[Any, ...]]) -> list[Prepared | Problem]:
        """Return the rows under the types of their values."""
        return [Prepared(tuple(map(_kind, row)), 1, row) for row in taken]

    def answer(self, rows: Sequence[Prepared]) -> list[Any]:
        """Return the answers; where one row cannot be read, each is asked alone, so that the others have theirs."""
        try:
            return plain_rows(self._ask([row.data for row in rows]))
        except UserError as error:
            if len(rows) > 1:
                return [self.answer([row])[0] for row in rows]
            return [Problem("row", str(error).removeprefix("row 1: "))]

    def _ask(self, rows: Sequence[tuple[Any, ...]]) -> dict[str, Answer]:
        import pyarrow as pa

        from bessemer.data.columns import texts
        from bessemer.data.given import table_of

        table = table_of(dict(zip(self.names, zip(*rows, strict=True), strict=True)), self.names)
        for place, kind in enumerate(table.schema.types):
            if pa.types.is_struct(kind):
                table = table.set_column(place, self.names[place], texts(table.column(place)))
        return self.predictor.predict(table)


def _kind(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and not -INT64 <= value < INT64:
        return "large"
    if isinstance(value, list):
        return f"list of {len(value)}: {', '.join(sorted(set(map(_kind, value))))}"
    return type(value).__name__
