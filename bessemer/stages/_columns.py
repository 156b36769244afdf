"""How prepare fits every column on the training rows and writes the encoded rows of each split."""

from __future__ import annotations

import fnmatch
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bessemer.core.config import Config
from bessemer.core.errors import UserError
from bessemer.core.pick import dump_plugin
from bessemer.core.registry import plugin_of
from bessemer.core.run import RunContext
from bessemer.core.schema import Column, Role, Schema
from bessemer.core.types import Codec, Modality
from bessemer.data.crosses import bases, with_crosses
from bessemer.data.memory import give_back
from bessemer.data.selection import Selection
from bessemer.data.shards import ShardReader, ShardWriter
from bessemer.data.split import SPLITS
from bessemer.modalities import codec_of, column_folder
from bessemer.modalities.category import check_target
from bessemer.stages._tables import CODES, FIRSTS, NUMBERS, SCALED
from bessemer.stages._target_codes import CrossFitted, Fitting, targeted, targets_of

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from bessemer.modalities.vectors import Vectors

HELD_BYTES = 256 << 20
ROWS, TEXT_ROWS = 8192, 1024
SHARE, STEP = 0.98, 16
"""Share of the training rows that `max_length: auto` leaves whole, and what it is a multiple of."""


def rules_of(inputs: Mapping[str, Modality], targets: Mapping[str, Modality]) -> dict[str, Any]:
    """Return what a Plan says of columns beside how each is cleaned: `lists`, and `fits` of targets of tags, which fit the one text."""
    fits = {name: (next(iter(inputs)), item.misfit) for name, item in targets.items() if item.misfit is not None}
    return {"lists": frozenset(name for name, item in [*inputs.items(), *targets.items()] if item.lists), "fits": fits}


@dataclass(frozen=True)
class Work:
    """What the parts of the stage share.

    Attributes:
        inputs: column -> what it is.
        targets: column -> what it is.
        weight: the column of row weights, or None.
        aliases: column -> names that it has in raw rows where a source renames it.
        run: the run.
        out: the folder to write to.
        clean: the Parquet file of clean rows.
        crosses: input columns that are not in that file but derived from it -> the columns that each is made of.
    """

    inputs: Mapping[str, Config]
    targets: Mapping[str, Config]
    weight: str | None
    aliases: Mapping[str, tuple[str, ...]]
    run: RunContext
    out: Path
    clean: Path
    crosses: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def modality(config: Config) -> Modality:
    """Return the modality of a config."""
    made: Modality = plugin_of("modalities", config).function(config)
    return made


def expand_patterns(inputs: Mapping[str, Config], names: Sequence[str], taken: Collection[str | None], where: str) -> dict[str, Config]:
    """Return inputs with each pattern replaced by the columns that it names; those named one by one, and those taken, are left out."""
    found: dict[str, Config] = {}
    for pattern, config in inputs.items():
        if "*" not in pattern:
            found[pattern] = config
            continue
        chosen = [name for name in names if fnmatch.fnmatchcase(name, pattern) and name not in taken and name not in found]
        if not chosen:
            raise UserError(f"inputs: no column of '{where}' matches '{pattern}'; its columns are: {', '.join(names[:30])}")
        found.update(dict.fromkeys(chosen, config))
    return found


def fit(work: Work, chosen: Selection) -> Schema:
    """Fit every column on the training split alone."""
    pair = pair_of(work.inputs)
    columns = [] if pair else [_column(work, name, Role.INPUT, arrays) for name, arrays in _training(work, chosen, tuple(work.inputs))]
    if pair:
        columns = _pair(work, chosen, pair)
    for name, arrays in _training(work, chosen, tuple(work.targets)):
        column = _column(work, name, Role.TARGET, arrays)
        if modality(work.targets[name]).answer == "label":
            _check_labels(work, chosen, column)
        columns.append(column)
    columns = _target_codes(work, chosen, columns)
    if work.weight:
        columns.append(Column(name=work.weight, role=Role.WEIGHT, modality={"kind": "weight"}))
    found = sorted(work.out.glob("columns/*/tokenizer.json"))
    if len(found) == 1 or pair:
        shutil.copyfile(found[0], work.out / "tokenizer.json")
    return Schema(columns=tuple(columns))


def _column(work: Work, name: str, role: Role, arrays: Iterator[pa.Array]) -> Column:
    config = (work.inputs if role == Role.INPUT else work.targets)[name]
    folder = column_folder(work.out, name)
    folder.mkdir(parents=True)
    try:
        labels, facts = modality(config).fit(arrays, work.run.seed, folder)
    except UserError as error:  # a modality knows its values, not their column's name
        raise UserError(f"column '{name}': {error}") from None
    if not any(folder.iterdir()):
        folder.rmdir()
    return Column(name=name, role=role, modality=dump_plugin("modalities", config) or {}, labels=labels, facts=facts,
                  aliases=work.aliases.get(name, ()), of=work.crosses.get(name, ()) if role == Role.INPUT else ())


def _target_codes(work: Work, chosen: Selection, columns: list[Column]) -> list[Column]:
    """Return the fitted columns, those with `encoding: target` fitted on the targets too, in one pass over all of them."""
    asked = targeted(work.inputs)
    if not asked:
        return columns
    import numpy as np

    targets = targets_of(columns, work.out)
    parts = {column.name: Fitting(column, asked[column.name], targets, work.run.seed)
             for column in columns if column.role == Role.INPUT and column.name in asked}
    for table, _ in batches(work, chosen, 0, [*parts, *(target.column.name for target in targets)]):
        target_NW = np.concatenate([target.values(table[target.column.name].combine_chunks()) for target in targets], axis=1)
        for part in parts.values():
            part.add(table, target_NW)
    done = {name: part.end(work.out, work.run.scratch) for name, part in parts.items()}
    return [done.get(column.name, column) if column.role == Role.INPUT else column for column in columns]


def pair_of(inputs: Mapping[str, Config]) -> tuple[str, ...]:
    """Return the two columns of running text that are read together, or none; more than two, or two that differ, are a ValueError."""
    texts = tuple(name for name, config in inputs.items() if plugin_of("modalities", config).name == "text")
    if len(texts) > 2:
        raise ValueError(f"{len(texts)} columns of running text ({', '.join(texts[:5])}): two at most are read together; join some in the "
                         "source, or make all inputs columns of a table, the texts {kind: words}")
    if len(texts) < 2:
        return ()
    if len(texts) < len(inputs):
        raise ValueError("the inputs hold a pair of texts beside columns of a table, which this version does not learn together; make the "
                         "texts {kind: words} columns")
    if inputs[texts[0]] != inputs[texts[1]]:
        raise ValueError(f"the texts of a pair are cut by one tokenizer; give '{texts[0]}' and '{texts[1]}' the same settings")
    return texts


def _pair(work: Work, chosen: Selection, pair: tuple[str, ...]) -> list[Column]:
    """Fit one tokenizer on both texts of a pair."""
    whole = (table[name].combine_chunks() for table, _ in batches(work, chosen, 0, list(pair)) for name in pair)
    first = _column(work, pair[0], Role.INPUT, whole)
    shutil.copytree(column_folder(work.out, pair[0]), column_folder(work.out, pair[1]))
    return [first, first.model_copy(update={"name": pair[1], "aliases": work.aliases.get(pair[1], ())})]


def _training(work: Work, chosen: Selection, names: tuple[str, ...]) -> Iterator[tuple[str, Iterator[pa.Array]]]:
    """Yield each column with its training values; as many columns at a time are read as fit into 256 MB, so that a file of a
    thousand columns is not read a thousand times.
    """
    rows = max(1, int((chosen.splits == 0).sum()))
    size = max(1, HELD_BYTES // (rows * 16))
    for start in range(0, len(names), size):
        group = list(names[start:start + size])
        if len(group) == 1:
            yield group[0], (table[group[0]].combine_chunks() for table, _ in batches(work, chosen, 0, group))
            continue
        held = [table for table, _ in batches(work, chosen, 0, group)]
        for name in group:
            yield name, (table[name].combine_chunks() for table in held)


def _check_labels(work: Work, chosen: Selection, column: Column) -> None:
    """Refuse a target of fewer than two labels, and validation or test rows whose label no training row has."""
    import pyarrow as pa
    import pyarrow.compute as pc

    name, labels = column.name, column.labels
    check_target(labels, column.facts, name)
    if len(labels) < 2:
        raise UserError(f"the target '{name}' has only one label ('{labels[0]}') in the training rows, so there is nothing to tell "
                        "apart; expected at least two" if labels else f"the target '{name}' has no label in the training rows")
    for split in (1, 2):
        for table, _ in batches(work, chosen, split, ["source", "row", name]):
            strange = pc.and_(table[name].is_valid(), pc.invert(pc.is_in(table[name], value_set=pa.array(labels, pa.string()))))
            first = pc.index(strange, True).as_py()
            if first >= 0:
                row = table.slice(first, 1).to_pylist()[0]
                raise UserError(f"the label '{row[name]}' of the target '{name}' occurs in {SPLITS[split]} (row {row['row']} of "
                                f"'{chosen.names[row['source']]}') but never in training; add training rows with it or remove those "
                                "rows")


def batches(work: Work, chosen: Selection, split: int | None, columns: list[str], rows: int = ROWS) -> Iterator[tuple[pa.Table, Any]]:
    """Yield the clean rows that are used (of one split, or all) with the split of each, int8 [n], up to `rows` at a time."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    crosses = {name: work.crosses[name] for name in columns if name in work.crosses}
    with pq.ParquetFile(work.clean, pre_buffer=False) as file:
        for batch in file.iter_batches(batch_size=rows, columns=["row_id", *bases(columns, crosses)], use_threads=False):
            work.run.check()
            splits = chosen.split_of(batch.column("row_id").to_numpy())
            kept = splits >= 0 if split is None else splits == split
            if kept.any():
                found = batch.filter(pa.array(kept))
                whole = with_crosses(dict(zip(found.schema.names, found.columns, strict=True)), crosses)
                yield pa.table({name: whole[name] for name in ["row_id", *columns]}), splits[np.flatnonzero(kept)]


def encode(work: Work, chosen: Selection, schema: Schema, codecs: Mapping[str, Codec]) -> dict[str, int]:
    """Write the shards and return the rows of each split."""
    import pyarrow as pa

    from bessemer.modalities.vectors import open_vectors

    vector = [name for name, config in work.inputs.items() if modality(config).vector]
    vectors = open_vectors(schema, work.out) if vector else None
    columns = [*work.inputs, *work.targets, *(["weight"] if work.weight else [])]
    own = CrossFitted.open(schema, vectors, work.run.scratch, work.run.seed) if vectors else None
    writers = {code: ShardWriter(work.out / SPLITS[code]) for code in sorted(set(chosen.splits.tolist()))}
    with work.run.progress("encoding", len(chosen.splits), "rows") as progress:
        for table, splits in batches(work, chosen, None, columns, ROWS if vector else TEXT_ROWS):
            whole = stored(table, schema, codecs, vectors)
            if own is not None:
                whole = own.replaced(whole, table, splits == 0, NUMBERS)
            if chosen.overlap is not None:
                whole = whole.append_column("overlap", pa.array(chosen.overlap_of(table["row_id"].to_numpy())))
            for code, writer in writers.items():
                writer.add(whole.filter(pa.array(splits == code)))
            progress.advance(len(table))
            give_back()
    for writer in writers.values():
        writer.close()
    return {SPLITS[code]: writer.total for code, writer in writers.items()}


def stored(table: pa.Table, schema: Schema, codecs: Mapping[str, Codec], vectors: Vectors | None) -> pa.Table:
    """Return clean rows as they are stored: raw inputs and their codes, targets as they are learnt and scored."""
    import pyarrow as pa

    found: dict[str, Any] = {"row_id": table["row_id"]}
    for column in schema.columns:
        if column.role == Role.WEIGHT:
            found["weight"] = table["weight"]
        elif column.role == Role.TARGET:
            encoded = codecs[column.name].encode(table[column.name].combine_chunks())
            found[column.name] = next(encoded[part] for part in ("codes", "value", "flags") if part in encoded)
            if column.modality["kind"] == "tags":
                found[f"{column.name}{FIRSTS}"] = first_tokens(table, column, schema, codecs)
            if "scaled" in encoded:
                found[f"{column.name}{SCALED}"] = encoded["scaled"]
        else:
            found[column.name] = table[column.name]
            if codecs[column.name].length is not None:
                encoded = codecs[column.name].encode(table[column.name].combine_chunks())
                found.update({f"{column.name}.{part}": values for part, values in encoded.items()})
    if vectors is not None:
        for name, matrix in zip((NUMBERS, CODES), vectors.encode(table), strict=True):
            if matrix.shape[1]:
                found[name] = pa.FixedSizeListArray.from_arrays(pa.array(matrix.reshape(-1)), matrix.shape[1])
    return pa.table(found)


def first_tokens(table: pa.Table, column: Column, schema: Schema, codecs: Mapping[str, Codec]) -> pa.Array:
    """Return for each unit of the text that a column of tags is about the place of its first token: list<int32>."""
    import pyarrow as pa

    read = codecs[schema.only(Role.INPUT, "text").name].firsts
    assert read is not None
    text = table[schema.only(Role.INPUT, "text").name].to_pylist()
    return pa.array([first for _, first in read(text, codecs[column.name].info["unit"])], pa.list_(pa.int32()))


def with_lengths(work: Work, schema: Schema, codecs: Mapping[str, Codec]) -> Schema:
    """Return the schema with each text column's length quantiles in the training split, and the max_length that is left to prepare."""
    import numpy as np

    train = ShardReader(work.out / SPLITS[0])
    found = {column.name: train.lengths(f"{column.name}.{codecs[column.name].length}") for column in schema.columns
             if column.name in codecs and codecs[column.name].length is not None}
    auto = [column.name for column in schema.columns if column.name in found and column.modality["max_length"] == "auto"]
    chosen = _enough(work, np.sum(list(found.values()), axis=0) + len(found) + 1, codecs[auto[0]].info["max_length"]) if auto else 0
    columns = []
    for column in schema.columns:
        if column.name in found:
            lengths = found[column.name]
            marks = {f"p{mark}": int(np.quantile(lengths, mark / 100, method="lower")) for mark in (5, 25, 50, 75, 95, 99, 100)}
            facts = {**column.facts, "lengths": {**marks, "mean": float(lengths.mean())}}
            column = column.model_copy(update={"facts": facts})
            if column.name in auto:
                column = column.model_copy(update={"modality": {**column.modality, "max_length": chosen},
                                                   "facts": {**facts, "max_length": chosen}})
        columns.append(column)
    return Schema(columns=tuple(columns))


def _enough(work: Work, size_N: np.ndarray, most: int) -> int:
    """Return the tokens that SHARE of the rows with these sizes need, in steps of STEP and up to `most`, and say so."""
    import numpy as np

    needed = int(np.quantile(size_N, SHARE, method="higher"))
    chosen = max(STEP, min(most, -(-needed // STEP) * STEP))
    cut = float((size_N > chosen).mean())
    work.run.note(f"max_length: auto is {chosen} tokens; {cut:.1%} of the training rows are longer and will be cut")
    return chosen


def with_years(tables: Iterator[pa.Table], schema: Schema, folder: Path) -> Iterator[pa.Table]:
    """Yield tables whose dates are years (2023.5), so that a profile compares them as times and not as words."""
    import numpy as np
    import pyarrow as pa

    dates = [(column, codec_of(column, folder)) for column in schema.by_role(Role.INPUT) if column.modality["kind"] == "date"]
    for table in tables:
        for column, codec in dates:
            values = table[column.name].combine_chunks()
            scaled = codec.encode(values)["numbers"]
            days = scaled.flatten().to_numpy().reshape(len(values), -1)[:, 0] * (column.facts["std"] or 1.0) + column.facts["mean"]
            years = pa.array(1970 + days.astype(np.float64) / 365.2425, mask=values.is_null().to_numpy(zero_copy_only=False))
            table = table.set_column(table.column_names.index(column.name), column.name, years)
        yield table
