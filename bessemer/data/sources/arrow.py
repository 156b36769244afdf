"""Arrow IPC: files (`.arrow`, Feather) and streams, mapped into memory, so that what is not compressed is never held."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bessemer.core.errors import UserError
from bessemer.core.registry import register
from bessemer.core.types import Chunk, Source
from bessemer.data.rows import Rows, expand, open_checked
from bessemer.data.typed import Types, batch_rows, chosen, plain_chunk

if TYPE_CHECKING:
    import pyarrow as pa

_ENDS = (b"\xff\xff\xff\xff\x00\x00\x00\x00", b"\x00\x00\x00\x00")


class Arrow(Rows):
    """Rows of Arrow files or streams; files that are stacked must agree on the types of the columns used."""

    path: str | tuple[str, ...]
    """A file, a pattern with `*`, or a list of them; several are stacked."""

    def outside(self) -> tuple[Path, ...]:
        """Return the files that are read."""
        return expand(self.path)


@register("data/sources", "arrow")
def source(config: Arrow) -> Source:
    """Return the rows of Arrow IPC files or streams."""
    files = expand(config.path)

    def read() -> Iterator[Chunk]:
        types: Types = {}
        for file in files:
            yield from _read(file, config, types)

    return Source(files[0].name if len(files) == 1 else f"{files[0].name} and {len(files) - 1} more", files, read)


def _read(file: Path, config: Arrow, types: Types) -> Iterator[Chunk]:
    import pyarrow as pa

    with open_checked(file, "Arrow", text=False) as stream:
        whole_file = stream.read(6) == b"ARROW1"
        stream.seek(max(0, file.stat().st_size - 8))
        end = stream.read()
    if not whole_file and not end.endswith(_ENDS):
        raise _damaged(file, "it has neither the mark of an Arrow file nor the end of a stream")
    done = 0
    with pa.memory_map(str(file)) as mapped:
        try:
            opened = pa.ipc.open_file(mapped) if whole_file else pa.ipc.open_stream(mapped)
            wanted = chosen(opened.schema, config.columns, file, types)
            size = batch_rows(len(wanted))
            for batch in _batches(opened, whole_file):
                for start in range(0, batch.num_rows, size):
                    piece = batch.slice(start, size) if batch.num_rows > size else batch
                    yield plain_chunk(piece, wanted, done, asked=config.columns is not None)
                    done += piece.num_rows
        except (pa.ArrowException, OSError, OverflowError, UnicodeError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise _damaged(file, str(error)) from None
    if not done:
        raise UserError(f"'{file}' has columns but no rows; expected at least one")


def _batches(opened: pa.ipc.RecordBatchFileReader | pa.ipc.RecordBatchStreamReader, whole_file: bool) -> Iterator[pa.RecordBatch]:
    if whole_file:
        for position in range(opened.num_record_batches):
            yield opened.get_batch(position)
    else:
        yield from opened


def _damaged(file: Path, why: str) -> UserError:
    return UserError(f"'{file}' is damaged or no Arrow file ({(why.splitlines() or ['no reason given'])[0][:300]}); was it copied "
                     "whole? Get it again")
