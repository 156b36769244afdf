"""The contract of a model of tables that fits itself, and the rows that it is tried on. All of it is seeded.

Legend: N rows, F numbers, K codes.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from bessemer.core.schema import Column, Role, Schema
from bessemer.core.types import FitSpec, Model
from bessemer.testing.plugin import PluginContract

LABELS, FLAGS, VALUES = ("high", "low", "middle"), ("left", "right"), ("", "a", "b", "c")
INFO: dict[str, Any] = {"numbers": 3, "names": ["size", "size missing", "speed"], "cardinalities": [len(VALUES)],
                        "columns": {"size": [0, 2, 0, 0], "speed": [2, 3, 0, 0], "shape": [3, 3, 0, 1]}}
"""As `Vectors.info` says it: two number columns, of which one has a mark for missing values, and a category."""


def schema(*targets: str) -> Schema:
    """Return the schema with these of the targets `label`, `amount` and `flags`."""
    inputs = [Column(name="size", role=Role.INPUT, modality={"kind": "number"}),
              Column(name="speed", role=Role.INPUT, modality={"kind": "number"}),
              Column(name="shape", role=Role.INPUT, modality={"kind": "category"}, labels=VALUES[1:])]
    known = {"label": Column(name="label", role=Role.TARGET, modality={"kind": "category"}, labels=LABELS),
             "amount": Column(name="amount", role=Role.TARGET, modality={"kind": "number"}),
             "flags": Column(name="flags", role=Role.TARGET, modality={"kind": "multilabel"}, labels=FLAGS)}
    return Schema(columns=(*inputs, *(known[name] for name in targets)))


def rows(num_rows: int, seed: int = 0) -> pa.Table:
    """Return rows as they are stored: clean columns, all targets (some missing), `.numbers` and `.codes`."""
    rng = np.random.default_rng(seed)
    size, speed, shape = rng.normal(size=num_rows), rng.normal(5, 2, num_rows), rng.integers(0, len(VALUES), num_rows)
    missing = rng.random(num_rows) < 0.1
    truth = np.where(missing, 0.5, size) + 0.5 * (speed - 5) + np.array([0.0, -1.0, 0.5, 1.0])[shape]
    label = np.digitize(truth + 0.2 * rng.normal(size=num_rows), (-0.5, 0.7))
    flags = np.stack([truth > 0, speed > 5], axis=1).astype(np.int8)
    amount = 100 + 10 * truth + rng.normal(size=num_rows)
    label[::17], amount[::19], flags[::23, 0] = -1, np.nan, -1
    numbers = np.stack([np.where(missing, 0, size), missing, (speed - 5) / 2], axis=1).astype(np.float32)
    words = pa.array([VALUES[code] for code in shape], mask=shape == 0)
    return pa.table({
        "size": pa.array(size, mask=missing), "speed": speed, "shape": words, "label": pa.array(label, pa.int32()), "amount": amount,
        "flags": pa.FixedSizeListArray.from_arrays(pa.array(flags.ravel()), len(FLAGS)),
        ".numbers": pa.FixedSizeListArray.from_arrays(pa.array(numbers.ravel()), numbers.shape[1]),
        ".codes": pa.FixedSizeListArray.from_arrays(pa.array(shape.astype(np.int32)), 1)})


def spec(out: Path, *targets: str, num_rows: int = 400, threads: int | None = 1) -> FitSpec:
    """Return what a model is fitted from: three blocks of training rows, one of validation rows."""
    table, held = rows(num_rows), rows(num_rows // 2, 1)
    step = num_rows // 3 + 1
    return FitSpec(schema(*targets), lambda: (table.slice(start, step) for start in range(0, num_rows, step)), lambda: iter([held]), 0,
                   out, INFO, threads=threads)


def prepared(folder: Path, out: Path, *targets: str) -> FitSpec:
    """Fit the input columns on the rows, write them and the schema to both folders, and return what a model is fitted from."""
    from bessemer.modalities import column_folder, modality_of
    from bessemer.modalities.vectors import open_vectors

    table, held, columns = rows(400), rows(200, 1), []
    for column in schema(*targets).columns:
        if column.role == Role.INPUT:
            place = column_folder(folder, column.name)
            place.mkdir(parents=True, exist_ok=True)
            labels, facts = modality_of(column).fit(iter([table[column.name].combine_chunks()]), 0, place)
            column = column.model_copy(update={"labels": labels, "facts": facts})
        columns.append(column)
    found = Schema(columns=tuple(columns))
    found.save(folder)
    if out != folder:
        shutil.copytree(folder / "columns", out / "columns")
        found.save(out)
    vectors = open_vectors(found, folder)

    def stored(part: pa.Table) -> pa.Table:
        numbers, codes = vectors.encode(part)
        part = part.drop_columns([".numbers", ".codes"])
        for name, matrix in ((".numbers", numbers), (".codes", codes)):
            part = part.append_column(name, pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), matrix.shape[1]))
        return part

    return FitSpec(found, lambda: iter([stored(table.slice(0, 150)), stored(table.slice(150))]), lambda: iter([stored(held)]), 0, out,
                   vectors.info, folder, 1)


class TableFitContract(PluginContract):
    """The contract of a plug-in of `models` that learns tables by a fit of its own."""

    folder: ClassVar[str] = "models"

    def fitted(self, folder: Path, name: str, *targets: str, full: bool = False) -> tuple[dict[str, Any], Path]:
        """Return the facts of a fit, and the folder that it wrote to."""
        out, files = folder / name, folder / "files"
        out.mkdir()
        files.mkdir(exist_ok=True)
        model: Model = self.made(files, full)
        assert model.fit is not None and model.build is None and model.table, "it has a fit and no build, and says that it reads tables"
        return model.fit(spec(out, *targets)), out

    def test_fitted_twice_it_is_the_same(self, tmp_path: Path) -> None:
        """The same rows and seed give the same files and facts; the facts are JSON; nothing is a pickle."""
        every = ("label", "amount", "flags")
        (first, one), (second, two) = self.fitted(tmp_path, "one", *every), self.fitted(tmp_path, "two", *every, full=True)
        assert first == second and json.loads(json.dumps(first, allow_nan=False)) == first
        names = sorted(file.name for file in one.iterdir())
        assert names and names == sorted(file.name for file in two.iterdir())
        assert all((one / name).read_bytes() == (two / name).read_bytes() for name in names)
        assert not [name for name in names if name.endswith((".pkl", ".pickle", ".joblib", ".pt"))]

    def test_every_kind_of_target_is_learnt(self, tmp_path: Path) -> None:
        """One label, one number, several flags, each alone; the facts speak of the target and of the rows."""
        for target in ("label", "amount", "flags"):
            facts, _ = self.fitted(tmp_path, target, target)
            assert list(facts["targets"]) == [target] and facts["num_train_rows"] == 400
