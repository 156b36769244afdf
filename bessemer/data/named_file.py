"""A file of rows that a command names: how it is read (see `as_run.py`), and in which encoding, which no source says.

What the person says is so (--encoding). Else a file that is not UTF-8 and has no mark is read in the encoding that the sources of the run
name, where all that name one name the same: rows to predict, to score or to learn are mostly written as those that were trained on.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bessemer.core.config import Config
from bessemer.data.as_run import as_in_run, recipe_stages
from bessemer.data.encoding import unpacked
from bessemer.data.guess import binary, damaged, found_in
from bessemer.data.sources.folder import Folder, found_together
from bessemer.data.together import in_encoding, marked

BLOCK = 1 << 20
_PLAIN, _UTF8, _OTHER = "ASCII alone", "UTF-8, or shown by its first bytes", "neither"


def named_source(path: Path, encoding: str | None = None, run: Path | None = None) -> tuple[Config, str]:
    """Return how a file is read, and what a person should know of that, in a line, or nothing.

    Args:
        path: the file, as `infer_source` has it.
        encoding: what a person says that it is in.
        run: folder of the run, or of one of its stages, for whose model it is read.

    Raises:
        UserError: there is no such file or encoding, or the file's kind has none.
    """
    config, how = as_in_run(path, run)
    if encoding is not None:
        return in_encoding(config, encoding, path), how
    named = run_encoding(run) if run is not None else None
    if named is None or "encoding" not in type(config).model_fields or not _is_other(config):
        return config, how
    shown = found_in(_telling(config.outside()[0])).name if not isinstance(config, Folder) else None
    doubt = f", though its bytes look like {shown.upper()}" if shown is not None and _name(shown) != _name(named) else ""
    told = f"{path}: it is not UTF-8 and is read as {named.upper()}, as the run's sources are{doubt}; --encoding says another"
    return in_encoding(config, named, path), f"{how}; {told}" if how else told


def run_encoding(folder: Path) -> str | None:
    """Return the encoding beside UTF-8 that the sources of a run's recipe name, where all that name one name the same.

    Args:
        folder: the run's, or a stage's in it.
    """
    sources = [item["sources"] for item in recipe_stages(folder).values() if isinstance(item, dict) and "sources" in item]
    names = {_name(name): name for name in _encodings(sources) if _name(name) not in ("utf-8", "utf-8-sig")}
    return next(iter(names.values())) if len(names) == 1 else None


def _encodings(plain: Any) -> Iterator[str]:
    """Yield the encodings that sources name, those of a join's or a query's tables too."""
    for item in plain.values() if isinstance(plain, dict) else plain if isinstance(plain, list) else ():
        yield from _encodings(item)
    if isinstance(plain, dict) and isinstance(plain.get("encoding"), str):
        yield plain["encoding"]


def _name(encoding: str) -> str:
    try:
        return codecs.lookup(encoding).name
    except LookupError:
        return encoding


def _is_other(config: Any) -> bool:
    """Tell whether a source's files, those of them that tell, are not UTF-8 and nothing in them tells of UTF-16 or UTF-32."""
    if isinstance(config, Folder):
        together = found_together(config)
        return bool(together.sample) and not together.mixed
    kinds = {_kind(file) for file in config.outside()}
    return _OTHER in kinds and _UTF8 not in kinds


def _kind(file: Path) -> str:
    block = _telling(file)
    if marked(block) or binary(block) or block.startswith(codecs.BOM_UTF8):
        return _UTF8
    if block.isascii():
        return _PLAIN
    return _UTF8 if damaged(block + b"\n" if len(block) < BLOCK else block) else _OTHER


def _telling(file: Path) -> bytes:
    """Return the first bytes of a file, unpacked, that are not ASCII alone; none where all are."""
    with file.open("rb") as raw, unpacked(raw, file) as plain:
        while (block := plain.read(BLOCK)).isascii() and block:
            pass
    return block
