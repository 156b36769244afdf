"""Parquet: rows of typed columns, read a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bessemer.core.errors import UserError
from bessemer.core.registry import register
from bessemer.core.types import Chunk, Source
from bessemer.data.rows import Rows, expand, missing_column, open_checked


class Parquet(Rows):
    """Rows of Parquet files; files that are stacked must agree on the types of the columns used."""

    path: str | tuple[str, ...]
    """A file, a pattern with `*`, or a list of them; several are stacked."""

    def outside(self) -> tuple[Path, ...]:
        """Return the files that are read."""
        return expand(self.path)


@register("data/sources", "parquet")
def source(config: Parquet) -> Source:
    """Return the rows of Parquet files."""
    files = expand(config.path)

    def read() -> Iterator[Chunk]:
        types: dict[str, tuple[str, Path]] = {}
        for file in files:
            yield from _read(file, config, types)

    return Source(files[0].name if len(files) == 1 else f"{files[0].name} and {len(files) - 1} more", files, read)


def _read(file: Path, config: Parquet, types: dict[str, tuple[str, Path]]) -> Iterator[Chunk]:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    damaged = "is damaged or no Parquet file ({}); was it copied whole? Get it again"
    with open_checked(file, "Parquet", text=False) as stream:
        try:
            opened = pq.ParquetFile(stream)
            schema = opened.schema_arrow
            wanted = list(config.columns) if config.columns is not None else schema.names
            for name in wanted:
                if name not in schema.names:
                    raise missing_column(name, schema.names, file)
                kind = str(schema.field(name).type)
                known, where = types.setdefault(name, (kind, file))
                if known != kind:
                    raise UserError(f"'{file}': the column '{name}' holds {kind}, but in '{where}' it holds {known}; make the "
                                    "files alike or use them as two sources")
            if not opened.metadata.num_rows:
                raise UserError(f"'{file}' has columns but no rows; expected at least one")
            done = 0
            for batch in opened.iter_batches(batch_size=16384, columns=wanted, use_threads=False):
                yield Chunk(pa.Table.from_batches([batch]),
                            np.arange(done + 1, done + 1 + batch.num_rows, dtype=np.int64))
                done += batch.num_rows
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise UserError(f"'{file}' {damaged.format(str(error).splitlines()[0])}") from None
        except OSError as error:
            if error.errno is not None:
                raise
            raise UserError(f"'{file}' {damaged.format(str(error).splitlines()[0])}") from None
