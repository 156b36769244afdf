"""embed: a vector of fixed length for every row of a file, by the trunk of a trained or pretrained network.

Legend: N rows, B rows in a batch, L tokens, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bessemer.core import artifact
from bessemer.core.answering import Choice, Finished
from bessemer.core.errors import GuardError, UserError
from bessemer.core.schema import Role, Schema

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from bessemer.api import Rows
    from bessemer.core.types import Chunk

Pooling = Literal["mean", "first"]
KINDS = ("finetune", "pretrain", "prune", "update")
FIRST = f"of {', '.join(KINDS)} the first that is there"
NETWORK = ("config.json", "model.safetensors")
TRUNK_ROWS = 64


class Embedder:
    """Rows in, vectors out, float32 [N, D]; a row's vector does not depend on its neighbours' texts.

    Attributes:
        schema: of the data that the network was trained on.
        folder: where the network lies.
        inputs: names of the columns that it reads.
        width: D.
    """

    def __init__(self, folder: Path, pooling: Pooling, normalised: bool) -> None:
        self.folder, self.schema = folder, Schema.load(folder)
        self.inputs = tuple(column.name for column in self.schema.by_role(Role.INPUT) if not column.of)
        self.normalised = normalised
        kinds = [column.modality["kind"] for column in self.schema.by_role(Role.INPUT)]
        if kinds == ["text", "text"]:
            raise UserError(f"the model reads pairs of texts ('{self.inputs[0]}' and '{self.inputs[1]}'), and vectors are of one text; "
                            "take a model of one text column")
        texts = kinds == ["text"]
        if not texts and pooling != "mean":
            raise UserError("--pooling goes with texts, whose tokens are pooled; a row of a table has one vector: leave it out")
        self._vectors = _of_text(folder, self.schema, pooling) if texts else _of_table(folder, self.schema)

    @staticmethod
    def load(run: str | Path, stage: str | None = None, pooling: Pooling = "mean", normalised: bool = True) -> Embedder:
        """Open the network of a run: of the stage named, else one fine-tuned, else pretrained, by the rule of `core/answering.py`."""
        return Embedder(network_choice(Path(run), stage).folder, pooling, normalised)

    def embed(self, rows: pa.Table) -> np.ndarray:
        """Return float32 [N, D] of raw rows; with `normalised` each of length 1, so that a product of two is their cosine."""
        import numpy as np

        from bessemer.nn.pooled import of_length_1

        found = self._vectors(rows)
        if not np.isfinite(found).all():
            bad = int(np.flatnonzero(~np.isfinite(found).all(axis=1))[0])
            raise GuardError(f"the network of '{self.folder}' gives no finite vector for row {bad + 1}; its weights are damaged")
        if self.normalised:
            found = of_length_1(found)
        return found


def network_choice(root: Path, stage: str | None) -> Choice:
    """Return the folder that holds the network to embed with, and which it was chosen from; none is a UserError."""
    if not root.is_dir():
        raise UserError(f"there is no folder '{root}'; give a run's folder, such as runs/NAME (bessemer run makes it)")
    found = [Choice(root / stage if stage is not None else root)]
    if stage is None and not (root / "config.json").is_file():
        finished = Finished(root)
        reasons = dict(finished.ordered(lambda name, _: all((root / name / file).is_file() for file in NETWORK)))
        kinds = {name: finished.kept[name].kind for name in reasons}
        names = sorted(reasons, key=lambda name: KINDS.index(kinds[name]) if kinds[name] in KINDS else len(KINDS))
        found = [Choice(root / name, reasons[name] if sum(kinds[item] == kinds[name] for item in names) > 1 else FIRST,
                        tuple(item for item in names if item != name), finished=finished) for name in names[:1]]
    if not found or not all((found[0].folder / file).is_file() for file in NETWORK):
        where = f"its stage '{stage}' holds no" if stage is not None else "none of its stages holds a"
        raise UserError(f"'{root}': {where} trained network, which alone gives vectors; expected a pretrain or finetune stage of a "
                        "network (--stage NAME)")
    manifest = artifact.load_manifest(found[0].folder)
    if manifest is not None:
        artifact.verify(found[0].folder, manifest)
    return found[0]


def open_embedder(run: Path, stage: str | None, pooling: Pooling, normalised: bool) -> Embedder:
    """Open the network of a run to embed with, having told which of several it is."""
    from bessemer.app.console import err

    choice = network_choice(run, stage)
    for line in choice.said("makes the vectors", f"to take another, give --stage {(*choice.others, '')[0]}"):
        err.print(line, markup=False)
    return Embedder(choice.folder, pooling, normalised)


def _of_text(folder: Path, schema: Schema, pooling: Pooling) -> Callable[[pa.Table], np.ndarray]:
    from bessemer.modalities import codec_of
    from bessemer.nn.checkpoint import load_network
    from bessemer.nn.pooled import vectors
    from bessemer.predictors._rows import batches, clean_texts

    column = schema.only(Role.INPUT, "text")
    network, codec = load_network(folder, ()).eval(), codec_of(column, folder)
    length = int(column.modality["max_length"])

    def of_rows(rows: pa.Table) -> np.ndarray:
        import numpy as np

        ids = codec.encode(clean_texts(rows, column))["ids"]
        cost_N = np.minimum(np.diff(ids.offsets.to_numpy()) + 2, length)
        return vectors(network, batches(cost_N, TRUNK_ROWS), lambda chosen: codec.collate({"ids": ids.take(chosen)}, length), len(ids),
                       pooling == "first")

    return of_rows


def _of_table(folder: Path, schema: Schema) -> Callable[[pa.Table], np.ndarray]:
    import torch

    from bessemer.modalities.vectors import open_vectors
    from bessemer.nn.table import load_table_network
    from bessemer.predictors._tables import MAX_ROWS, clean_columns

    network, fitted = load_table_network(folder).eval(), open_vectors(schema, folder)

    def vectors(rows: pa.Table) -> np.ndarray:
        import numpy as np

        clean = clean_columns(rows, schema)
        return np.concatenate([part(clean.slice(start, MAX_ROWS)) for start in range(0, max(1, len(clean)), MAX_ROWS)])

    def part(clean: pa.Table) -> np.ndarray:
        numbers, codes = fitted.encode(clean)
        with torch.inference_mode():
            hidden_BMH = network.hidden(network.encode(torch.tensor(numbers), torch.tensor(codes, dtype=torch.int64)))
        found: np.ndarray = hidden_BMH.mean(1).numpy()
        return found

    return vectors


def embed_file(run: Path, file: Path, output: Path, embedder: Embedder, encoding: str | None = None) -> None:
    """Write a Parquet file: `row` (its number in the file), `embedding` (float32 list of D), `problem` (why a row has none)."""
    import pyarrow.parquet as parquet

    from bessemer.api import Rows
    from bessemer.app.console import Bars, err
    from bessemer.core.events import Events
    from bessemer.core.registry import plugin_of
    from bessemer.data.named_file import named_source

    if output.suffix != ".parquet":
        raise UserError(f"'{output}': vectors are written as Parquet; give a name that ends in .parquet")
    if not output.parent.is_dir():
        raise UserError(f"there is no folder '{output.parent}' to write '{output.name}' into; make it first")
    if output.exists() and file.exists() and output.samefile(file):
        raise UserError(f"'{output}' is the file to read; give another name")
    config, said = named_source(file, encoding, embedder.folder)
    if said:
        err.print(said, markup=False)
    source, part, counts = plugin_of("data/sources", config).function(config), output.with_name(f".{output.name}.part"), [0, 0]
    judge, writer = Rows(embedder.schema), None
    try:
        with Bars() as bars, Events([bars]).progress("embed", None, "rows") as progress:
            for chunk in source.read():
                found = _chunk(chunk, embedder, judge)
                writer = writer or parquet.ParquetWriter(part, found.schema)
                writer.write_table(found)
                counts[0] += len(found)
                counts[1] += found.column("problem").drop_null().length()
                progress.advance(len(found))
        if writer is None:
            raise UserError(f"'{file}' has no rows; give a file with at least one")
        writer.close()
        part.rename(output)
    finally:
        part.unlink(missing_ok=True)
    err.print(f"{counts[0]:,} rows of {file}, {counts[1]:,} without a vector (see the column 'problem') → {output}; the network of "
              f"{embedder.folder}", markup=False)
    err.print(f"next: bessemer predict {run} --file {file}{f' --encoding {encoding}' if encoding else ''}", markup=False)


def _chunk(chunk: Chunk, embedder: Embedder, judge: Rows) -> pa.Table:
    """Return the rows of one chunk; those that were not read come last."""
    import numpy as np
    import pyarrow as pa

    table = judge.named(chunk.table)
    problems = judge.problems(table)
    good = np.flatnonzero(problems.is_null().to_numpy(zero_copy_only=False))
    vectors = embedder.embed(judge.table(table.take(good))) if len(good) else np.zeros((0, 1), np.float32)
    place = np.zeros(len(table), np.int64)
    place[good] = np.arange(len(good))
    lists = pa.ListArray.from_arrays(pa.array(np.arange(len(vectors) + 1) * vectors.shape[1], pa.int32()), pa.array(vectors.reshape(-1)))
    found = pa.table({"row": pa.array(chunk.numbers, pa.int64()),
                      "embedding": lists.take(pa.array(place, mask=problems.is_valid().to_numpy(zero_copy_only=False))),
                      "problem": problems})
    if chunk.rejected is None or not len(chunk.rejected):
        return found
    rejected = pa.table({"row": chunk.rejected.column("row").cast(pa.int64()), "embedding": pa.nulls(len(chunk.rejected), lists.type),
                         "problem": chunk.rejected.column("reason").cast(pa.string())})
    return pa.concat_tables([found, rejected])
