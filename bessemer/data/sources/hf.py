"""A data set in the Hugging Face hub's layout: from the hub by name, at a pinned commit, or a local folder.

`README.md` may say which files belong to which split (`configs`) and what the columns are (`dataset_info`); without it the files' names
say (`train-00000-of-00001.parquet`, `data/test.jsonl.gz`). Classes stored as numbers become their names. A data set's own code is never
run.
"""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, model_validator

from bessemer.core.errors import UserError
from bessemer.core.registry import plugin, register
from bessemer.core.types import Chunk, Source
from bessemer.data.combine import picked
from bessemer.data.hub import README, card_of, classes_of, layout
from bessemer.data.rows import Rows, kind_of, split_name

if TYPE_CHECKING:
    import pyarrow as pa

_PATTERNS = tuple(f"{folder}*{end}{packed}" for folder in ("", "*/", "*/*/") for packed in ("", ".gz", ".zst", ".zip")
                  for end in (".parquet", ".csv", ".tsv", ".json", ".jsonl", ".arrow"))


class HuggingFace(Rows):
    """Rows of a data set of the hub; beside its columns stands `split`, by which `split: {kind: given, column: split}` divides them."""

    name: str | None = None
    """Its name on the hub, such as `org/data`; `HF_HUB_OFFLINE=1` takes it from the cache."""
    path: str | None = None
    """In place of a name: a local folder in the hub's layout."""
    config_name: str | None = None
    """Which of its configurations (subsets); the only one, or `default`."""
    revision: str | None = None
    """A commit, branch or tag of the hub; the main branch by default. The commit that it stands for is part of the cache key."""
    parts: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Which of its splits are read, by their own names; all by default."""

    @model_validator(mode="after")
    def _one(self) -> HuggingFace:
        if (self.name is None) == (self.path is None):
            raise ValueError("expected one of 'name' (on the hub) and 'path' (a local folder)")
        if self.path is not None and self.revision is not None:
            raise ValueError("a local folder has no 'revision'; remove it")
        return self

    def outside(self) -> tuple[Path | str, ...]:
        """Return the commit, or the files of a local folder."""
        if self.name is not None:
            return (f"{self.name}@{_commit(self.name, self.revision)}",)
        root = Path(self.path or "")
        readme = root / README
        rows = [file for _, files in layout(root, self.config_name, self.parts) for file in files]
        return (*((readme,) if readme.is_file() else ()), *rows)


@register("data/sources", "hf")
def source(config: HuggingFace) -> Source:
    """Return the rows of a data set in the hub's layout."""
    title = config.name or Path(config.path or "").resolve().name
    files = () if config.name else tuple(item for item in config.outside() if isinstance(item, Path))

    def read() -> Iterator[Chunk]:
        root, notes = _folder(config)
        yield from _read(root, config, title, notes)

    return Source(title + (f" ({config.config_name})" if config.config_name else ""), files, read)


def _read(root: Path, config: HuggingFace, title: str, notes: tuple[str, ...]) -> Iterator[Chunk]:
    import numpy as np
    import pyarrow as pa

    card, before = card_of(root), 0
    stated = card.classes.get(config.config_name or "default", next(iter(card.classes.values()), {}) if len(card.classes) == 1 else {})
    first: pa.Schema | None = None
    for split, files in layout(root, config.config_name, config.parts):
        for file in files:
            entry = plugin("data/sources", kind_of(file) or "")
            asked = None if config.columns is None else tuple(name for name in config.columns if name != "split")
            inner: Source = entry.function(entry.config.model_validate({"path": str(file), "columns": asked}))
            classes = {**_own_classes(file), **stated}
            last = before
            for chunk in inner.read():
                table = _named(chunk.table, classes, file)
                if "split" not in table.column_names:
                    table = table.append_column("split", pa.repeat(split_name(split) or split, len(table)))
                first = first or table.schema
                table = _alike(table, first, file)
                rejected = chunk.rejected
                if rejected is not None:
                    rejected = rejected.set_column(0, "row", pa.array(rejected["row"].to_numpy() + before, pa.int64()))
                    last = max(last, int(rejected["row"].to_numpy().max(initial=0)))
                last = max(last, int(chunk.numbers.max(initial=0)) + before)
                yield Chunk(picked(table, config.columns, title), chunk.numbers.astype(np.int64) + before, rejected,
                            (*chunk.notes, *notes))
                notes = ()
            before = last


def _alike(table: pa.Table, first: pa.Schema, file: Path) -> pa.Table:
    """Return a table with the columns of the files before it, in their order; other columns or types are a UserError."""
    odd = sorted(set(table.column_names) ^ set(first.names))
    if odd:
        raise UserError(f"'{file}' and the files before it differ in the column '{odd[0]}'; name the columns to read")
    table = table.select(first.names)
    for name, kind, before in zip(first.names, table.schema.types, first.types, strict=True):
        if kind != before:
            raise UserError(f"'{file}': the column '{name}' holds {kind}, but in the files before it {before}; make the files alike")
    return table


def _named(table: pa.Table, classes: Mapping[str, tuple[str, ...]], file: Path) -> pa.Table:
    """Return a table whose columns of classes hold their names in place of numbers; -1 is missing."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from bessemer.data.columns import texts

    for name in set(table.column_names) & set(classes):
        column = texts(table[name])
        names = classes[name]
        if pa.types.is_floating(column.type) or pa.types.is_string(column.type):
            whole = pc.match_substring_regex(column.cast(pa.string()), r"^-?\d{1,9}(\.0*)?$")
            if pc.any(pc.invert(pc.fill_null(whole, True))).as_py():
                continue  # the names themselves are stored
            column = column.cast(pa.float64())
        if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
            continue
        codes = column.cast(pa.int64())
        ends = pc.min_max(codes).as_py()
        if ends["max"] is not None and (ends["max"] >= len(names) or ends["min"] < -1):
            odd = ends["max"] if ends["max"] >= len(names) else ends["min"]
            raise UserError(f"'{file}': the column '{name}' holds the class {odd}, but the data set names {len(names)} (0 to "
                            f"{len(names) - 1})")
        found = pa.array(names, pa.string()).take(pc.if_else(pc.less(codes, 0), pa.scalar(None, pa.int64()), codes))
        table = table.set_column(table.column_names.index(name), name, found)
    return table


def _own_classes(file: Path) -> dict[str, tuple[str, ...]]:
    """Return the names of classes that a Parquet file itself states."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if kind_of(file) != "parquet":
        return {}
    try:
        stated = (pq.read_schema(file).metadata or {}).get(b"huggingface", b"{}")
        features = json.loads(stated).get("info", {}).get("features", {})
    except (pa.ArrowException, OSError, ValueError, AttributeError):
        return {}  # the reader of the file says what is wrong with it
    return classes_of(features if isinstance(features, dict) else {})


def _folder(config: HuggingFace) -> tuple[Path, tuple[str, ...]]:
    """Return the folder of the data set, fetched where it is not there, and which commit it is."""
    if config.path is not None:
        return Path(config.path), ()
    name, commit = str(config.name), _commit(str(config.name), config.revision)
    hub = _hub()
    try:
        folder = hub.snapshot_download(name, repo_type="dataset", revision=commit, allow_patterns=[README, *_PATTERNS])
    except _troubles() as error:
        raise _unreachable(name, error) from None
    return Path(folder), (f"{name}: commit {commit} of the hub",)


@functools.lru_cache(maxsize=64)
def _commit(name: str, revision: str | None) -> str:
    """Return the commit that a branch or tag stands for; offline, as the cache knows it."""
    if revision is not None and re.fullmatch("[0-9a-f]{40}", revision):
        return revision
    hub = _hub()
    from huggingface_hub import constants

    try:
        if constants.HF_HUB_OFFLINE:
            folder = Path(hub.snapshot_download(name, repo_type="dataset", revision=revision, local_files_only=True))
            return folder.name
        return str(hub.HfApi().dataset_info(name, revision=revision, timeout=30).sha)
    except _troubles() as error:
        raise _unreachable(name, error) from None


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError:
        raise UserError("reading from the hub needs the package huggingface_hub; install it: pip install huggingface_hub") from None
    return huggingface_hub


def _troubles() -> tuple[type[BaseException], ...]:
    from huggingface_hub import errors

    named = tuple(found for name in ("HfHubHTTPError", "HFValidationError", "LocalEntryNotFoundError", "OfflineModeIsEnabled")
                  if isinstance(found := getattr(errors, name, None), type))
    return (*named, OSError)


def _unreachable(name: str, error: BaseException) -> UserError:
    kind, why = type(error).__name__, (str(error).strip().splitlines() or ["no reason given"])[0][:200]
    if kind in ("RepositoryNotFoundError", "GatedRepoError", "RevisionNotFoundError", "HFValidationError"):
        return UserError(f"the hub gives no data set '{name}' ({kind}: {why}); correct the name or revision, or log in where it is private "
                         "(hf auth login)")
    offline = os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0")
    return UserError(f"the data set '{name}' cannot be fetched from the hub ({why}); "
                     + ("it is not in the cache, and HF_HUB_OFFLINE is set: unset it to fetch it" if offline else
                        "is there a network? A folder in the hub's layout can be read with 'path'"))
