"""The contract of a metric: state that merges, weights that mean repeated rows, no dependence on order.

Legend: N rows, C classes, L labels, Q quantiles, R weightings.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np

from bessemer.core.types import Metric
from bessemer.testing.plugin import PluginContract

ROWS = 120


class MetricContract(PluginContract):
    """The contract of a plug-in of `evaluate`.

    Attributes:
        classes: C of the rows that it is tried on, or L; 2 for a metric of two classes.
        quantiles: levels of the quantiles of the rows that a metric of numbers is tried on.
        reads_truth: whether the truth plays a part in it; it does not in the width of an interval.
    """

    folder: ClassVar[str] = "evaluate"
    classes: ClassVar[int] = 3
    quantiles: ClassVar[tuple[float, ...]] = (0.1, 0.5, 0.9)
    reads_truth: bool = True

    def metric(self, folder: Path) -> Metric:
        """Return the metric."""
        found: Metric = self.made(folder)
        return found

    def rows(self, kind: str) -> tuple[np.ndarray, np.ndarray]:
        """Return truth and values float64 of N rows, as `Metric` says for a kind; they are right more often than not."""
        rng = np.random.default_rng(4)
        if kind == "number":
            truth = rng.normal(20.0, 4.0, ROWS)
            guess = truth + rng.normal(0.0, 1.0, ROWS)
            return truth, np.stack([guess, *(guess + 3.0 * (level - 0.5) for level in self.quantiles)], axis=1)
        if kind == "flags":
            flags = rng.integers(0, 2, (ROWS, self.classes))
            return flags, np.clip(0.5 * flags + rng.random(flags.shape) * 0.6, 0.0, 1.0)
        if kind == "tags":
            tags = rng.integers(0, self.classes, (ROWS, 7))
            return tags, np.where(rng.random(tags.shape) < 0.8, tags, rng.integers(0, self.classes, tags.shape))
        codes = rng.integers(0, self.classes, ROWS)
        raw = rng.gamma(0.7, size=(ROWS, self.classes)) + 1e-3
        raw[np.arange(ROWS), codes] += 0.7
        return codes, raw / raw.sum(axis=1, keepdims=True)

    def test_merged_parts_equal_the_whole(self, tmp_path: Path) -> None:
        """`merge` of two parts, and `update` of one by the other, give the value of all rows at once."""
        metric = self.metric(tmp_path)
        truth, prob = self.rows(metric.kind)
        whole = metric.finalise(metric.update(None, truth, prob))
        assert isinstance(whole, float) and np.isfinite(whole)
        for cut in (1, 50, ROWS - 1):
            def part(which: slice) -> object:
                return metric.update(None, truth[which], prob[which])

            merged = metric.merge(part(slice(cut)), part(slice(cut, None)))
            grown = metric.update(part(slice(cut)), truth[cut:], prob[cut:])
            np.testing.assert_allclose([metric.finalise(merged), metric.finalise(grown)], whole, rtol=1e-12)

    def test_order_plays_no_part(self, tmp_path: Path) -> None:
        """Shuffled rows give the same value within rounding."""
        metric = self.metric(tmp_path)
        truth, prob = self.rows(metric.kind)
        order = np.random.default_rng(0).permutation(ROWS)
        np.testing.assert_allclose(metric.finalise(metric.update(None, truth[order], prob[order])),
                                   metric.finalise(metric.update(None, truth, prob)), rtol=1e-10)

    def test_weights_are_repetitions(self, tmp_path: Path) -> None:
        """Weights of one change nothing; whole weights are repeated rows; R weightings equal one at a time."""
        metric = self.metric(tmp_path)
        truth, prob = self.rows(metric.kind)
        state = metric.update(None, truth, prob)
        plain = metric.finalise(state)
        np.testing.assert_allclose(metric.finalise(state, np.ones((2, ROWS))), [plain, plain], rtol=1e-10)
        weights = np.random.default_rng(1).integers(0, 4, (4, ROWS)).astype(np.float64)
        together = metric.finalise(state, weights)
        assert together.shape == (4,)
        alone = [float(metric.finalise(state, row[None, :])[0]) for row in weights]
        np.testing.assert_allclose(together, alone, rtol=1e-10)
        drawn = [np.repeat(np.arange(ROWS), row.astype(np.int64)) for row in weights]
        repeated = [metric.finalise(metric.update(None, truth[rows], prob[rows])) for rows in drawn]
        np.testing.assert_allclose(together, repeated, rtol=1e-9)

    def test_rows_without_a_label_do_not_count(self, tmp_path: Path) -> None:
        """A row without a truth is no row: not for the value, nor for the length of weights; of no rows the value is nan."""
        metric = self.metric(tmp_path)
        truth, prob = self.rows(metric.kind)
        plain = metric.finalise(metric.update(None, truth, prob))
        absent = np.full((2, *truth.shape[1:]), np.nan if metric.kind == "number" else -1, dtype=truth.dtype)
        more = metric.update(None, np.concatenate([truth, absent]), np.vstack([prob, prob[:2]]))
        assert metric.finalise(more) == plain
        np.testing.assert_allclose(metric.finalise(more, np.ones((1, ROWS))), [plain], rtol=1e-10)
        assert np.isnan(metric.finalise(metric.update(None, truth[:0], prob[:0])))

    def test_the_better_direction_is_true(self, tmp_path: Path) -> None:
        """A wrong truth gives a worse value, in the direction that `higher_is_better` says."""
        metric = self.metric(tmp_path)
        truth, prob = self.rows(metric.kind)
        right = metric.finalise(metric.update(None, truth, prob))
        moved = truth[::-1] if metric.kind == "number" else (truth + 1) % (2 if metric.kind == "flags" else self.classes)
        wrong = metric.finalise(metric.update(None, moved, prob))
        if not self.reads_truth:
            assert wrong == right
            return
        assert (wrong < right) if metric.higher_is_better else (wrong > right)
