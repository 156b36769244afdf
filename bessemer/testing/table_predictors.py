"""The contract of a predictor of tables: raw rows in, an answer a target out, each row its own.

Legend: N rows, C classes, L labels, Q quantiles.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa

from bessemer.core.schema import Role, Schema
from bessemer.core.types import Answer, Predictor
from bessemer.testing import table_models as kit
from bessemer.testing.plugin import PluginContract


class TablePredictorContract(PluginContract):
    """The contract of a plug-in of `predictors` for tables; `config` writes a model's folder of `table_models.schema` columns."""

    folder: ClassVar[str] = "predictors"

    def predictor(self, folder: Path) -> Predictor:
        """Return the opened form."""
        made = self.made(folder)
        found: Predictor = made(folder, Schema.load(folder), "a form")
        return found

    def rows(self) -> pa.Table:
        """Return 40 raw rows, with missing values and a category that training never had."""
        table = kit.rows(40, 7).select(["size", "speed", "shape"])
        return table.set_column(2, "shape", pa.array(["never seen", *table["shape"].to_pylist()[1:]]))

    def test_answers_are_of_the_targets_kinds(self, tmp_path: Path) -> None:
        """Label: float32 [N, C] that sums to 1; flags: float32 [N, L] of 0 to 1; number: float64 [N, 1 + Q]; rows differ."""
        predictor = self.predictor(tmp_path)
        found, targets = predictor.predict(self.rows()), Schema.load(tmp_path).by_role(Role.TARGET)
        assert predictor.form == "a form" and predictor.schema == Schema.load(tmp_path)
        assert list(found) == [column.name for column in targets]
        for column, answer in zip(targets, found.values(), strict=True):
            assert answer.labels == column.labels and np.isfinite(answer.values).all()
            assert len(np.unique(answer.values.round(6), axis=0)) > 1, "every row gets the same answer"
            if answer.kind == "number":
                assert answer.values.dtype == np.float64 and answer.values.shape == (40, 1 + len(answer.quantiles))
                continue
            assert answer.values.dtype == np.float32 and answer.values.shape == (40, len(column.labels))
            assert (answer.values >= 0).all() and (answer.values <= 1 + 1e-6).all()
            if answer.kind == "label":
                np.testing.assert_allclose(answer.values.sum(axis=1), 1, atol=1e-5)

    def test_order_and_neighbours_play_no_part(self, tmp_path: Path) -> None:
        """Shuffled, and alone, a row's answer is the same within 1e-5; asked again, bit for bit."""
        predictor, table = self.predictor(tmp_path), self.rows()
        found = predictor.predict(table)
        order = np.random.default_rng(0).permutation(len(table))
        self._same(predictor.predict(table.take(pa.array(order))), found, order)
        for row in range(6):
            self._same(predictor.predict(table.slice(row, 1)), found, np.array([row]))
        again = predictor.predict(table)
        assert all(again[name].values.tobytes() == answer.values.tobytes() for name, answer in found.items())

    @staticmethod
    def _same(found: dict[str, Answer], whole: dict[str, Answer], rows: np.ndarray) -> None:
        for name, answer in whole.items():
            np.testing.assert_allclose(found[name].values, answer.values[rows], rtol=1e-5, atol=1e-5)

    def test_no_rows_other_columns_and_text(self, tmp_path: Path) -> None:
        """No rows give [0, …]; a column that the model does not read changes nothing; nor do numbers written as text."""
        predictor, table = self.predictor(tmp_path), self.rows()
        found, none = predictor.predict(table), predictor.predict(table.slice(0, 0))
        written = pa.table({"speed": pa.array([repr(value) for value in table["speed"].to_pylist()]), "shape": table["shape"],
                            "a column of no use": range(40),
                            "size": pa.array(["" if value is None else repr(value) for value in table["size"].to_pylist()])})
        other = predictor.predict(written)
        for name, answer in found.items():
            assert none[name].values.shape == (0, answer.values.shape[1]) and none[name].values.dtype == answer.values.dtype
            assert other[name].values.tobytes() == answer.values.tobytes()
