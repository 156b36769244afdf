"""Answers of several members become one: means, quantiles, spread; a damaged folder is a sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bessemer.core.errors import UserError
from bessemer.core.pick import make
from bessemer.core.registry import plugin_of
from bessemer.core.types import Answer
from bessemer.predictors.blend_form import mixed
from bessemer.testing import table_models as kit


def number(values: list[list[float]], quantiles: tuple[float, ...] = (), spread: list[float] | None = None) -> Answer:
    return Answer("number", np.array(values), quantiles=quantiles, spread=None if spread is None else np.array(spread, np.float32))


def test_probabilities_are_averaged() -> None:
    one, two = (Answer("label", np.array(values, np.float32), ("a", "b")) for values in ([[0.9, 0.1]], [[0.5, 0.5]]))
    found = mixed([one, two], [0.25, 0.75])
    np.testing.assert_allclose(found.values, [[0.6, 0.4]], rtol=1e-6)
    assert found.values.dtype == np.float32 and found.labels == ("a", "b") and found.spread is not None
    np.testing.assert_allclose(found.spread, np.sqrt(0.25 * 0.3**2 + 0.75 * 0.1**2), rtol=1e-6)


def test_numbers_their_quantiles_and_their_spread() -> None:
    one, two = number([[1.0, 0.0, 2.0]], (0.1, 0.9), [0.5]), number([[3.0, 2.0, 4.0]], (0.1, 0.9), [1.0])
    found = mixed([one, two], [0.5, 0.5])
    np.testing.assert_array_equal(found.values, [[2.0, 1.0, 3.0]])
    assert found.quantiles == (0.1, 0.9) and found.spread is not None
    np.testing.assert_allclose(found.spread, np.sqrt(1 + (0.25 + 1) / 2), rtol=1e-6)  # between the members, and within them
    apart = mixed([one, number([[3.0]])], [0.5, 0.5])
    np.testing.assert_array_equal(apart.values, [[2.0]])
    assert apart.quantiles == ()


def test_a_member_without_weight_plays_no_part() -> None:
    one = number([[1.0, 0.0]], (0.1,))
    assert mixed([one, number([[np.nan]])], [1.0, 0.0]) is one


def test_mistakes_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="do not answer alike"):
        mixed([number([[1.0]]), Answer("label", np.ones((1, 1), np.float32), ("a",))], [0.5, 0.5])
    with pytest.raises(ValueError, match="a weight for each of the members"):
        make("predictors", {"kind": "blend", "members": ["a", "b"], "forms": ["x", "y"], "weights": {"label": [1.0]}})
    config = make("predictors", {"kind": "blend", "members": ["a"], "forms": ["x"], "weights": {"other": [1.0]}})
    with pytest.raises(UserError, match="the blend has weights for other, the schema beside it has the targets label"):
        plugin_of("predictors", config).function(config)(tmp_path, kit.schema("label"), "blend")
