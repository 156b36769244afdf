"""Join: the rows of one source, each with the columns of its partner in another.

The left rows are streamed and keep their numbers and their order; the right source lies in DuckDB on disk, in bounded memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from bessemer.core.errors import UserError, nearest
from bessemer.core.registry import register
from bessemer.core.types import Chunk, Source
from bessemer.data.combine import Nested, Tables, inner, opened, outside_of, picked, tables
from bessemer.data.rows import Rows, rejects

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


class Join(Rows):
    """Rows of `left` with the columns of their partners in `right`; a row's number is that of the left row."""

    left: Nested
    """A file by its path, or a source with its `kind`: every row of it is read."""
    right: Nested
    """The same: where the partners are looked up."""
    on: Annotated[tuple[str, ...], Field(min_length=1)]
    """The columns, in both, whose values make two rows partners; a missing value has no partner."""
    how: Literal["left", "inner"] = "left"
    """Rows without a partner: kept, the right columns missing (left), or set aside in quarantine (inner)."""
    many: bool = False
    """Whether a row may have several partners; it then comes once for each, under its one number."""

    def outside(self) -> tuple[Path | str, ...]:
        """Return the files of both sides."""
        return outside_of(self.left, self.right)


@register("data/sources", "join")
def source(config: Join) -> Source:
    """Return the rows of one source with the columns of their partners in another."""
    left, right = inner(config.left), inner(config.right)
    name = f"{left.name} with {right.name}"
    files = tuple(item for item in config.outside() if isinstance(item, Path))

    def read() -> Iterator[Chunk]:
        yield from _read(config, left, name)

    return Source(name, files, read)


def _read(config: Join, left: Source, name: str) -> Iterator[Chunk]:
    import numpy as np
    import pyarrow as pa

    with tables() as base:
        right, names = base.load("partners", config.right, plain=config.on, numbers=False)
        _has(config.on, names, right.name)
        keys = [f"c{names.index(key)}" for key in config.on]
        if not config.many:
            _unique(base, keys, config.on, right.name)
        base.close_doors()
        notes, alone, total = tuple(base.notes), 0, 0
        empty: pa.Table | None = None
        for chunk in left.read():
            if not chunk.table.num_columns:
                yield chunk
                continue
            _has(config.on, chunk.table.column_names, left.name)
            both = sorted(set(chunk.table.column_names) & set(names) - set(config.on))
            if both:
                raise UserError(f"'{left.name}' and '{right.name}' both have a column '{both[0]}'; rename one of them ('rename' of its "
                                "source), or put it into 'on'")
            table, places, found = _partners(base, chunk.table, keys, config.on, names)
            alone, total = alone + int((~found).sum()), total + len(found)
            rejected, numbers = chunk.rejected, chunk.numbers[places]
            if config.how == "inner":
                rejected = _alone(chunk, found, config.on, right.name)
                table, numbers = table.filter(pa.array(found[places])), numbers[found[places]]
            table = picked(table, config.columns, name)
            empty = table.slice(0, 0)
            yield Chunk(table, numbers, rejected, (*chunk.notes, *notes))
            notes = ()
        if total and alone == total:
            raise UserError(f"no row of '{left.name}' has a partner in '{right.name}' by {', '.join(config.on)}; are the keys written "
                            "in the same way in both?")
        if alone and config.how == "left" and empty is not None:
            told = (f"{left.name}: of {total:,} rows, {alone:,} without a partner in '{right.name}'; its columns are missing there",)
            yield Chunk(empty, np.zeros(0, np.int64), None, told)


def _has(keys: tuple[str, ...], names: list[str], name: str) -> None:
    for key in keys:
        if key not in names:
            raise UserError(f"'{name}' has no column '{key}' to join on{nearest(key, names)}")


def _unique(base: Tables, keys: list[str], names: tuple[str, ...], source_name: str) -> None:
    """Refuse a right side where a key occurs twice."""
    listed = ", ".join(keys)
    found = base.database.execute(
        f"SELECT {listed}, count(*), min(number), max(number) FROM partners WHERE {' AND '.join(f'{key} IS NOT NULL' for key in keys)} "
        f"GROUP BY {listed} HAVING count(*) > 1 ORDER BY min(number) LIMIT 1").fetchone()
    if found:
        *values, count, first, last = found
        shown = ", ".join(f"{name} = {value!r}" for name, value in zip(names, values, strict=True))
        raise UserError(f"'{source_name}': {count:,} rows have the key {shown} (rows {first} to {last}), so a row would have several "
                        "partners; remove all but one, or write 'many: true' if that is meant")


def _partners(base: Tables, left: pa.Table, keys: list[str], on: tuple[str, ...],
              names: list[str]) -> tuple[pa.Table, np.ndarray, np.ndarray]:
    """Return the joined table, the position of each of its rows in `left`, int64 [R], and who has a partner, bool [len(left)]."""
    import numpy as np
    import pyarrow as pa

    stored = {row[0]: row[1] for row in base.database.execute("SELECT name, type FROM pragma_table_info('partners')").fetchall()}
    asked = pa.table({**{f"k{i}": opened(left[key]) for i, key in enumerate(on)}, "place": np.arange(len(left), dtype=np.int64)})
    base.database.register("asked", asked)
    kinds = {row[0]: row[1] for row in base.database.execute("DESCRIBE asked").fetchall()}
    match = []
    for i, key in enumerate(keys):
        text = (kinds[f"k{i}"] == "VARCHAR") != (stored[key] == "VARCHAR")
        match.append(f"CAST(k{i} AS VARCHAR) = CAST({key} AS VARCHAR)" if text else f"k{i} = {key}")
    others = [(position, name) for position, name in enumerate(names) if name not in on]
    columns = ", ".join(["place", "p.number IS NOT NULL AS met", *(f"p.c{position}" for position, _ in others)])
    found = base.database.sql(f"SELECT {columns} FROM asked LEFT JOIN partners p ON {' AND '.join(match)} "
                                  "ORDER BY place, p.rowid").to_arrow_table()
    base.database.unregister("asked")
    places = found["place"].to_numpy()
    met = np.zeros(len(left), bool)
    met[places[found["met"].to_numpy()]] = True
    table = left.take(pa.array(places))
    for position, name in others:
        table = table.append_column(name, found[f"c{position}"])
    return table, places, met


def _alone(chunk: Chunk, found: np.ndarray, on: tuple[str, ...], right: str) -> pa.Table | None:
    """Return the rows of a left chunk that are set aside: those that could not be read and those without a partner."""
    import pyarrow as pa

    rows = chunk.table.select(list(on)).filter(pa.array(~found))
    shown = [", ".join(f"{name} = {value.as_py()!r}" for name, value in zip(on, values, strict=True))
             for values in zip(*(opened(rows[name]) for name in on), strict=True)]
    alone = rejects([(int(number), f"no partner in '{right}'", text)
                     for number, text in zip(chunk.numbers[~found], shown, strict=True)]) if len(rows) else None
    parts = [part for part in (chunk.rejected, alone) if part is not None]
    return pa.concat_tables(parts) if parts else None
