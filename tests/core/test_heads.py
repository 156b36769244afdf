"""From raw outputs to answers, held against the formulas."""

import numpy as np
import pytest
from scipy.special import expit, softmax

from bessemer.core.errors import UserError
from bessemer.core.heads import Head, Inverse, answers

HEADS = (Head(target="kind", kind="label", width=3, labels=("a", "b", "c")),
         Head(target="size", kind="number", width=3, quantiles=(0.1, 0.9), offsets=(-0.5, 0.25), inverse=Inverse(shift=10, scale=2)),
         Head(target="tags", kind="flags", width=2, labels=("x", "y")))
OUTPUTS = np.random.default_rng(0).normal(size=(5, 4, 8)).astype(np.float32)


def test_members_are_averaged_as_probabilities_and_numbers() -> None:
    found, raw = answers(HEADS, OUTPUTS), OUTPUTS.astype(np.float64)
    each = softmax(raw[:, :, :3], axis=2)
    np.testing.assert_allclose(found["kind"].values, each.mean(1), rtol=1e-6)
    best = found["kind"].values.argmax(1)
    np.testing.assert_allclose(found["kind"].spread, each.std(1)[np.arange(5), best], rtol=1e-5)
    np.testing.assert_allclose(found["tags"].values, expit(raw[:, :, 6:]).mean(1), rtol=1e-6)
    mean = raw[:, :, 3:6].mean(1)
    np.testing.assert_allclose(found["size"].values[:, 0], 10 + 2 * mean[:, 0])
    np.testing.assert_allclose(found["size"].values[:, 1:], 10 + 2 * np.sort(mean[:, 1:] + (-0.5, 0.25), axis=1))
    np.testing.assert_allclose(found["size"].spread, (2 * raw[:, :, 3]).std(1), rtol=1e-5)


@pytest.mark.parametrize("members", [2, 8, 16, 33])
def test_means_and_spreads_are_numpys_own_bit_for_bit(members: int) -> None:
    outputs = np.random.default_rng(members).normal(size=(40, members, 8)).astype(np.float32) * 10
    found, raw = answers(HEADS, outputs), outputs[:, :, :3].astype(np.float64)
    power = np.exp(raw - raw.max(axis=2, keepdims=True))
    each = power / power.sum(axis=2, keepdims=True)
    assert found["kind"].values.tobytes() == each.mean(axis=1).astype(np.float32).tobytes()
    best = each.mean(axis=1).argmax(axis=1)[:, None]
    spread = np.take_along_axis(each.std(axis=1), best, axis=1)[:, 0].astype(np.float32)
    assert found["kind"].spread is not None and found["kind"].spread.tobytes() == spread.tobytes()


def test_other_inverses() -> None:
    z = np.array([-1.0, 0.0, 2.0])
    np.testing.assert_allclose(Inverse(kind="log", shift=1, scale=0.5, offset=3).apply(z), np.exp(1 + 0.5 * z) - 3)
    np.testing.assert_allclose(Inverse(kind="knots", scaled=(-1, 0, 1), raw=(5, 6, 9)).apply(z), [5, 6, 9])


def test_outputs_of_another_width_are_refused() -> None:
    with pytest.raises(UserError, match="the network gives 7 outputs, its heads have 8"):
        answers(HEADS, OUTPUTS[:, :, :7])
