"""Rows that say the same thing: exact duplicates and conflicting labels, found over the clean file by DuckDB.

Rows are compared by a 128-bit digest of their clean inputs, so that what is sorted is small however long the texts are;
DuckDB spills to disk beyond its memory limit.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

MEMORY = "1GB"


@dataclass(frozen=True)
class Twins:
    """What was found.

    Attributes:
        rows: one row for each clean row, in order of row_id: `row_id` (int64), `key` (int64, a digest of its inputs; equal
            inputs have equal keys), `split` (string), `code` of each target in `labels` (int32, -1 where missing).
        duplicates: later rows with the same inputs and labels: `row_id`, `detail`, `near` (bool: not the same to the last digit).
        conflicts: rows whose inputs have several labels: `row_id`, `detail`.
        labels: target -> its distinct labels, in an arbitrary but fixed order.
    """

    rows: pa.Table
    duplicates: pa.Table
    conflicts: pa.Table
    labels: dict[str, list[str]]


@contextmanager
def database(scratch: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open DuckDB with bounded memory; it spills into the scratch folder and loads nothing from outside."""
    import duckdb

    with duckdb.connect() as opened:
        opened.execute("SET autoinstall_known_extensions = false; SET autoload_known_extensions = false")
        opened.execute(f"SET memory_limit = '{MEMORY}'; SET threads = 2")
        opened.execute("SET temp_directory = $1", [str(scratch / "duckdb")])
        opened.execute("SET enable_progress_bar = false")
        yield opened


@dataclass(frozen=True)
class Compared:
    """What makes rows alike.

    Attributes:
        inputs: columns that are compared.
        targets: columns of labels; a row without a label conflicts with none.
        values: other targets.
        hashed: by a 64-bit hash, fast over many columns, instead of an MD5 of their text.
        digits: numbers are alike that are equal in this many significant digits, and words whose letters differ in case; None: exact.
    """

    inputs: tuple[str, ...]
    targets: tuple[str, ...]
    values: tuple[str, ...] = ()
    hashed: bool = False
    digits: int | None = None


def find(file: Path, compared: Compared, names: list[str], scratch: Path) -> Twins:
    """Return duplicates and conflicts among clean rows.

    Args:
        file: the clean Parquet file.
        compared: what makes rows alike.
        names: of the sources, by their number in the clean file.
        scratch: folder for spilling.
    """
    import pyarrow as pa

    inputs, targets = list(compared.inputs), list(compared.targets)
    both = [*targets, *compared.values]
    with database(scratch) as opened:
        opened.register("names", pa.table({"source": pa.array(range(len(names)), pa.int32()), "name": names}))
        opened.execute(f"CREATE VIEW clean AS SELECT * FROM read_parquet({_text(str(file))})")
        exact = _key([_name(name) for name in inputs], compared.hashed)
        key, same = exact, {name: _name(name) for name in both}
        if compared.digits is not None:
            kinds = {row[0]: row[1] for row in opened.execute("DESCRIBE clean").fetchall()}
            key = _key([_rounded(name, kinds[name], compared.digits) for name in inputs], compared.hashed)
            same.update({name: _rounded(name, kinds[name], compared.digits) for name in compared.values})
        told = _joined([_name(name) for name in both]) if both else _text("")
        near = f"md5_number({told} || ({exact})::VARCHAR)" if compared.digits is not None else "0"
        opened.execute(f"CREATE TABLE keyed AS SELECT row_id, source, row, split, {key} AS k, {near} AS e, "
                       f"{_joined(list(same.values())) if both else _text('')} AS t"
                       f"{''.join(f', {_name(name)} AS t{i}' for i, name in enumerate(targets))} FROM clean")
        labels = {}
        for i, target in enumerate(targets):
            opened.execute(f"CREATE TABLE labels{i} AS SELECT label, (row_number() OVER (ORDER BY label) - 1)::INTEGER AS code "
                           f"FROM (SELECT DISTINCT t{i} AS label FROM keyed WHERE t{i} IS NOT NULL)")
            labels[target] = [row[0] for row in opened.execute(f"SELECT label FROM labels{i} ORDER BY code").fetchall()]
        opened.execute(_conflicts(len(targets)))
        duplicates = opened.sql(
            "SELECT row_id, CASE WHEN near THEN 'near ' ELSE '' END || 'duplicate of ' || name || ' row ' || first_row AS detail, near "
            "FROM (SELECT row_id, first_value(row) OVER same AS first_row, first_value(source) OVER same AS first_source, "
            "first_value(e) OVER same <> e AS near, "
            "row_number() OVER same AS n FROM keyed WINDOW same AS (PARTITION BY k, t ORDER BY row_id)) "
            "JOIN names ON names.source = first_source WHERE n > 1 ORDER BY row_id").to_arrow_table()
        conflicts = opened.sql("SELECT row_id, detail FROM keyed JOIN conflicting USING (k) ORDER BY row_id").to_arrow_table()
        codes = "".join(f", coalesce(labels{i}.code, -1) AS code{i}" for i in range(len(targets)))
        joins = "".join(f" LEFT JOIN labels{i} ON labels{i}.label = t{i}" for i in range(len(targets)))
        rows = opened.sql(f"SELECT row_id, (k & 9223372036854775807)::BIGINT AS key, split{codes} FROM keyed{joins} "
                              "ORDER BY row_id").to_arrow_table()
    return Twins(rows, duplicates, conflicts, labels)


def _conflicts(count: int) -> str:
    if not count:
        return "CREATE TABLE conflicting AS SELECT k, '' AS detail FROM keyed WHERE false"
    # which keys first, then what is told of these few: a set of labels for every key would be the most memory of all
    several = " OR ".join(f"min(t{i}) <> max(t{i})" for i in range(count))
    detail = " || ".join(f"CASE WHEN count(DISTINCT t{i}) > 1 THEN ' ' || string_agg(DISTINCT '''' || t{i} || '''', ', ' "
                         f"ORDER BY '''' || t{i} || '''') ELSE '' END" for i in range(count))
    return (f"CREATE TABLE conflicting AS SELECT k, 'the same input has the labels' || {detail} AS detail FROM keyed "
            f"WHERE k IN (SELECT k FROM keyed GROUP BY k HAVING {several}) GROUP BY k")


def _key(columns: list[str], hashed: bool) -> str:
    """Return SQL for the digest of columns."""
    return f"hash({', '.join(columns)})::HUGEINT" if hashed else f"md5_number({_joined(columns)})"


def _rounded(name: str, kind: str, digits: int) -> str:
    """Return SQL for a column whose numbers are rounded to significant digits and whose words are in small letters."""
    if kind in ("DOUBLE", "FLOAT"):
        return f"printf('%.{digits - 1}e', {_name(name)}::DOUBLE + 0.0)"
    return f"lower({_name(name)})" if kind == "VARCHAR" else _name(name)


def _joined(columns: list[str]) -> str:
    """Return SQL for one text that differs wherever the columns differ: each value after its length."""
    parts = [f"coalesce(length({column}::VARCHAR)::VARCHAR || ':' || {column}::VARCHAR, '-')" for column in columns]
    return " || ".join(parts)


def _name(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
