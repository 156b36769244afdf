"""The contract of a predictor: raw rows in, probabilities out, each row its own answer.

Legend: N rows, C classes.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa

from bessemer.core.schema import Role, Schema
from bessemer.core.types import Answer, Predictor
from bessemer.testing.plugin import PluginContract

TEXTS = ["a good film", "bad", "the same film again, seen by the same people on one rainy day", "good good good bad", "一", "42"] * 7


class PredictorContract(PluginContract):
    """The contract of a plug-in of `predictors`; `config` writes a model's folder, its schema.json included."""

    folder: ClassVar[str] = "predictors"

    def predictor(self, folder: Path) -> Predictor:
        """Return the opened form."""
        made = self.made(folder)
        found: Predictor = made(folder, Schema.load(folder), "a form")
        return found

    def rows(self, predictor: Predictor, texts: list[str]) -> pa.Table:
        """Return raw rows of the schema's input columns."""
        return pa.table({column.name: pa.array(texts, pa.string()) for column in predictor.schema.by_role(Role.INPUT)})

    def answer(self, predictor: Predictor, rows: pa.Table) -> Answer:
        """Return what is said about the first target."""
        return predictor.predict(rows)[predictor.schema.by_role(Role.TARGET)[0].name]

    def test_answers_are_probabilities(self, tmp_path: Path) -> None:
        """float32 [N, C] of 0 to 1 that sum to 1; the labels are the schema's; the form keeps its name."""
        predictor = self.predictor(tmp_path)
        found = self.answer(predictor, self.rows(predictor, TEXTS))
        assert predictor.form == "a form" and predictor.schema == Schema.load(tmp_path)
        assert found.labels == predictor.schema.by_role(Role.TARGET)[0].labels
        assert found.values.dtype == np.float32 and found.values.shape == (len(TEXTS), len(found.labels))
        assert (found.values >= 0).all()
        np.testing.assert_allclose(found.values.sum(axis=1), 1, atol=1e-5)
        assert len(np.unique(found.values.round(6), axis=0)) > 1, "every text gets the same answer"

    def test_order_and_neighbours_play_no_part(self, tmp_path: Path) -> None:
        """Shuffled, and alone, a row's answer is the same within 1e-5; asked again, bit for bit."""
        predictor = self.predictor(tmp_path)
        found = self.answer(predictor, self.rows(predictor, TEXTS)).values
        order = np.random.default_rng(0).permutation(len(TEXTS))
        moved = self.answer(predictor, self.rows(predictor, [TEXTS[row] for row in order])).values
        np.testing.assert_allclose(moved, found[order], atol=1e-5)
        for row in range(6):
            alone = self.answer(predictor, self.rows(predictor, TEXTS[row:row + 1])).values
            np.testing.assert_allclose(alone[0], found[row], atol=1e-5)
        assert self.answer(predictor, self.rows(predictor, TEXTS)).values.tobytes() == found.tobytes()

    def test_no_rows_and_other_columns(self, tmp_path: Path) -> None:
        """No rows give [0, C]; a column that the model does not read changes nothing."""
        predictor = self.predictor(tmp_path)
        none = self.answer(predictor, self.rows(predictor, []))
        assert none.values.shape == (0, len(none.labels)) and none.values.dtype == np.float32
        plain = self.rows(predictor, TEXTS)
        more = plain.append_column("a column of no use", pa.array(range(len(TEXTS))))
        assert self.answer(predictor, more).values.tobytes() == self.answer(predictor, plain).values.tobytes()
