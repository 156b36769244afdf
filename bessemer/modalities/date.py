"""Date: a day or a moment, as how long ago it is and where it lies in the year, the week and the day.

Legend: N rows, W features.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bessemer.core.config import Config
from bessemer.core.errors import UserError
from bessemer.core.registry import register
from bessemer.core.schema import Column
from bessemer.core.types import Codec, Modality
from bessemer.data.columns import literal

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

CLIP = 10.0
CYCLES = {"month": 12, "weekday": 7, "day of year": 366, "time": 1440}


class Date(Config):
    """A column of dates or of dates with times."""

    day_first: bool | None = None
    """How 05/01/2023 is read. By default as the training rows that leave no choice are (31/01/2023). A date that can only be read the
    other way round is none."""
    cycles: bool = True
    """Features for the month, the day of the week and of the year and, where there are times, the time of day: sine and cosine."""
    missing_values: tuple[str, ...] = ("", "na", "n/a", "nan", "nat", "null", "none", "?", "-")
    """Texts that mean that the date is missing, in any case."""


@register("modalities", "date", revision=2)
def date(config: Date) -> Modality:
    """Return the functions of a column of dates."""

    def clean(values: pa.Array) -> tuple[pa.Array, pa.Array]:
        return _clean(config, values)

    def fit(arrays: Iterator[pa.Array], seed: int, folder: Path) -> tuple[tuple[str, ...], dict[str, Any]]:
        return (), _fitted(config, arrays, seed)

    def load(column: Column, folder: Path) -> Codec:
        return _codec(config, column)

    return Modality(clean=clean, fit=fit, load=load, roles=("input",), vector=True, nulls=True)


def _words(config: Date, values: pa.Array) -> pa.Array:
    """Return dates as text: as they are written, trimmed, or as ISO text in UTC where they are typed; null where they are missing."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    kind = values.type
    if values.null_count == len(values) or (pa.types.is_floating(kind) and pc.all(pc.is_nan(values)).as_py()):
        return pa.nulls(len(values), pa.string())  # of whatever type: a file's writer knew none
    if pa.types.is_date(kind):
        return values.cast(pa.date32()).cast(pa.string())
    if pa.types.is_timestamp(kind):
        return values.cast(pa.timestamp("us", tz=kind.tz), safe=False).cast(pa.timestamp("us")).cast(pa.string())
    if pa.types.is_integer(kind):
        values = values.cast(pa.string())
    if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
        raise UserError(f"a column of type {kind} cannot be read as dates; expected dates, timestamps or text")
    words = pc.utf8_trim_whitespace(values.cast(pa.string()))
    return pc.if_else(pc.is_in(pc.utf8_lower(words), value_set=_absent(config.missing_values)), literal(None), words)


@functools.cache
def _absent(words: tuple[str, ...]) -> pa.Array:
    """Return the texts of a missing date as Arrow compares them, made once."""
    import pyarrow as pa

    return pa.array(sorted({item.strip().lower() for item in words}), pa.string())


def _clean(config: Date, values: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Return texts `YYYY-MM-DD` or `YYYY-MM-DD HH:MM:SS.ffffff` in UTC (a date of open order as it is written), and why some are none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from bessemer.data import dates

    words = _words(config, values)
    found = dates.parsed(words)
    micros, real = _read(found, config.day_first)
    valid = pa.array(real)
    timed = pa.array(micros % dates.DAY != 0)
    plain = pa.array(micros // dates.DAY).cast(pa.int32()).cast(pa.date32()).cast(pa.string())
    said = pc.if_else(timed, pa.array(micros).cast(pa.timestamp("us")).cast(pa.string()), plain)
    why = pc.if_else(pc.and_(words.is_valid(), pc.invert(valid)), literal("no date"), literal(None))
    if config.day_first is None:
        # Which way round is learnt from the training rows, so that what leaves no choice is also kept as it is written.
        kept = pa.array(found.open | found.day_first | found.month_first)
        said = pc.if_else(kept, words, said)
    else:
        why = pc.if_else(pa.array(found.valid & ~real), literal(
            f"written {_way(not config.day_first)}, and the column is {_way(config.day_first)}"), why)
    return pc.if_else(valid, said, literal(None)), why


def _way(day_first: bool) -> str:
    return "day first" if day_first else "month first"


def _read(found: Any, day_first: bool | None, strict: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Return the microseconds of each date and whether it is one, read in the way that is said.

    What leaves no choice is read as it must be where nothing is said (None) or that is not `strict`; else it is no date.
    """
    import numpy as np

    micros: np.ndarray = np.where(found.month_first | (found.open & (day_first is False)), found.swapped, found.micros)
    other = np.zeros(len(micros), bool) if day_first is None or not strict else found.month_first if day_first else found.day_first
    valid = found.valid & ~other
    return np.where(valid, micros, 0), valid


def _fitted(config: Date, arrays: Iterator[pa.Array], seed: int) -> dict[str, Any]:
    """Return the facts: extremes, mean and deviation in days, whether there are times, and which way round dates are."""
    import numpy as np
    import pyarrow as pa

    from bessemer.data import dates
    from bessemer.modalities._summary import Summary, edges_of

    each = {True: Summary(seed), False: Summary(seed)}
    days_first = months_first = opens = missing = 0
    times = False
    for array in arrays:
        found = dates.parsed(array)
        days_first, months_first = days_first + int(found.day_first.sum()), months_first + int(found.month_first.sum())
        opens, missing = opens + int(found.open.sum()), missing + array.null_count
        for way, summary in each.items():
            micros, valid = _read(found, way)
            micros = micros[valid]
            times = times or bool((micros % dates.DAY).any())
            summary.add(pa.array(micros / dates.DAY, pa.float64()))
    if config.day_first is None and days_first and months_first:
        raise UserError(f"a column of dates has {days_first:,} training rows that can only be day first and {months_first:,} that can only "
                        "be month first; write them in one way, or say 'day_first', by which those of the other way are set aside")
    if config.day_first is None and opens and not days_first and not months_first:
        raise UserError(f"a column of dates has {opens:,} training rows such as 05/01/2023 and none that shows whether the day comes "
                        "first; say 'day_first: true' or 'day_first: false'")
    way = config.day_first if config.day_first is not None else days_first > 0
    chosen = each[way]
    sample, spread = chosen.sample(), chosen.std or 1.0
    shown = np.clip((sample - chosen.mean) / spread, -CLIP, CLIP)
    first, last = (str(np.datetime64(int(np.floor(end)), "D")) if chosen.count else None for end in (chosen.low, chosen.high))
    # What the training rows decide is part of the column's settings from now on (`modalities.config_of`).
    settled: dict[str, Any] = {"settled": {"day_first": way}} if config.day_first is None and (days_first or months_first) else {}
    if config.day_first is None and not settled:
        settled = {"undecided": True}
    return {**settled, "count": chosen.count, "missing": missing, "mean": chosen.mean, "std": chosen.std, "first": first, "last": last,
            "times": times, "day_first": way, "constant": chosen.constant, "edges": edges_of(shown)}


def _codec(config: Date, column: Column) -> Codec:
    facts, name, learnt = column.facts, column.name, "settled" in column.facts
    cycles = [cycle for cycle in CYCLES if config.cycles and (cycle != "time" or facts["times"])]
    names = [f"{name} days", *(f"{name} {cycle} {part}" for cycle in cycles for part in ("sin", "cos"))]
    edges = [facts["edges"], *([[-1.0 + step / 16 for step in range(33)]] * (2 * len(cycles)))]
    if facts["missing"]:
        names, edges = [*names, f"{name} missing"], [*edges, [0.0, 1.0]]

    def encode(values: pa.Array) -> dict[str, pa.Array]:
        import numpy as np

        from bessemer.data import dates
        from bessemer.modalities._vectors import fixed

        words = _words(config, values)
        found = dates.parsed(words)
        micros, valid = _read(found, facts["day_first"], strict=learnt or config.day_first is not None)
        if learnt and (found.valid & ~valid).any():
            # Rows are cleaned before they are divided, so those held out are met here for the first time; others were set aside.
            first = words[int((found.valid & ~valid).argmax())].as_py()
            raise UserError(f"the column '{name}' holds '{first}', written {_way(not facts['day_first'])}, and its training rows are "
                            f"{_way(facts['day_first'])}; write them in one way, or say 'day_first', by which such rows are set aside")
        if facts.get("undecided") and found.open.any():
            first = words[int(found.open.argmax())].as_py()
            raise UserError(f"the column '{name}' holds '{first}', which may be day first or month first, and its training rows show "
                            "neither; write the year first (2021-04-03), or train with 'day_first'")
        days = micros // dates.DAY
        month, weekday, of_year = dates.fields_of(days)
        place = {"month": month - 1, "weekday": weekday, "day of year": of_year, "time": micros % dates.DAY // (60 * dates.MICRO)}
        out = np.zeros((len(values), len(names)), np.float32)
        out[:, 0] = np.clip((micros / dates.DAY - facts["mean"]) / (facts["std"] or 1.0), -CLIP, CLIP)
        for number, cycle in enumerate(cycles):
            # By a table, so that the bits are those of the row alone whatever the machine's vector units do.
            turn = np.arange(CYCLES[cycle]) * (2 * np.pi / CYCLES[cycle])
            out[:, 1 + 2 * number], out[:, 2 + 2 * number] = np.sin(turn)[place[cycle]], np.cos(turn)[place[cycle]]
        out[~valid] = 0.0
        if facts["missing"]:
            out[:, -1] = ~valid
        return {"numbers": fixed(out)}

    def collate(stored: Mapping[str, pa.Array], limit: int | None) -> dict[str, np.ndarray]:
        from bessemer.modalities._vectors import matrices

        return matrices(stored)

    return Codec(encode=encode, collate=collate, length=None,
                 info={"numbers": len(names), "names": names, "cardinalities": [], "edges": edges})
