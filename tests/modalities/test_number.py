from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from sklearn.preprocessing import MinMaxScaler, QuantileTransformer, RobustScaler, StandardScaler

from bessemer.core.errors import UserError
from bessemer.core.heads import Inverse
from bessemer.modalities import _summary
from bessemer.modalities._knots import knots_of
from bessemer.modalities._summary import Summary
from bessemer.modalities.number import Number, number
from tests.modalities.columns import codec, numbers

RNG = np.random.default_rng(0)
SKEWED = np.exp(RNG.standard_normal(3000) * 2)


def clean(values, **settings):
    found, why = number(Number(**settings)).clean(pa.array(values))
    return found.to_pylist(), why.to_pylist()


@pytest.mark.parametrize(("text", "value"), [
    ("1,234.5", 1234.5), ("1,234,567", 1234567.0), (" 7 ", 7.0), ("+3", 3.0), ("-.5", -0.5), ("5.", 5.0), ("1e3", 1000.0), ("−2", -2.0),
    ("12,345,6", None), ("0x10", None), ("1 2", None), ("1_0", None), ("one", None)])
def test_only_unambiguous_text_is_a_number(text, value):
    assert clean([text]) == ([value], [None if value is not None else "no number"])


def test_a_comma_that_may_be_a_decimal_mark_is_told():
    reads = "no number, but one with a decimal comma: decimal: ',' reads it"
    unsaid = "no number as long as nothing says whether its comma is a decimal mark: set decimal to ',' or '.'"
    assert clean(["1,23", "-3,3330617", "1,234", "x"]) == ([None] * 4, [reads, reads, unsaid, "no number"])
    assert clean(["1,23"], decimal=".") == ([None], [reads])


def test_decimal_marks_that_are_said():
    assert clean(["1.234,5", "1,5", "1.234", "2", "1,234.5"], decimal=",") == ([1234.5, 1.5, 1234.0, 2.0, None], [None] * 4 + ["no number"])
    assert clean(["1,234"], decimal=".") == ([1234.0], [None])


def test_missing_infinite_and_impossible_values():
    assert clean(["", "NA", "NaN", "null", "?", "-", None]) == ([None] * 7, [None] * 7)
    assert clean(["4", "?"], missing="reject") == ([4.0, None], [None, "missing"])
    assert clean([1.0, float("inf"), float("nan"), 1e200])[1] == [None, "infinite", None, "beyond 1e+150"]
    assert clean(["-inf", "1e999"])[1] == ["infinite", "infinite"]
    assert clean([float("inf")], infinite="missing") == ([None], [None])
    assert clean([-1.0, 5.0, 11.0], low=0, high=10)[1] == ["below 0", None, "above 10"]
    assert clean([True, False, None]) == ([1.0, 0.0, None], [None] * 3)
    with pytest.raises(UserError, match="expected numbers, true/false or text"):
        clean([[1.0]])


@pytest.mark.parametrize(("scale", "peer"), [("standard", StandardScaler()), ("robust", RobustScaler()), ("min_max", MinMaxScaler())])
def test_scales_equal_scikit_learn(tmp_path, scale, peer):
    values = RNG.standard_normal(999) * 3 + 7
    _, own = codec(tmp_path, {"kind": "number", "scale": scale}, pa.array(values))
    assert np.allclose(numbers(own.encode(pa.array(values)))[:, 0], peer.fit_transform(values[:, None])[:, 0], atol=1e-6)


def test_quantile_goes_on_beyond_the_training_values_within_the_clip(tmp_path):
    values = np.random.default_rng(3).standard_normal(4000)
    _, own = codec(tmp_path, "number", pa.array(values))
    end = values.max()
    found = numbers(own.encode(pa.array([end, end + 1, end + 2, 1e9, values.min() - 1, -1e9])))[:, 0]
    slope = 2 * 1.2815515655 / np.subtract(*np.quantile(values, (0.9, 0.1)))
    np.testing.assert_allclose(np.diff(found[:3]), slope, rtol=0.05)
    assert found[3] == 10 and found[5] == -10 and found[4] < -5.2


@pytest.mark.parametrize("values", [
    SKEWED, RNG.standard_normal(3000), RNG.integers(0, 5, 3000) * 1.0, np.round(RNG.exponential(1, 3000), 1), np.arange(20.0),
    np.where(RNG.random(3000) < 0.6, 0.0, RNG.standard_cauchy(3000))])
def test_quantile_equals_scikit_learn_within_2e_3(tmp_path, values):
    new = np.concatenate([values, RNG.uniform(*np.quantile(values, (0.0005, 0.9995)), 2000), np.quantile(values, np.linspace(0, 1, 777))])
    peer = QuantileTransformer(n_quantiles=min(1000, len(values)), output_distribution="normal", subsample=None).fit(values[:, None])
    _, own = codec(tmp_path, "number", pa.array(values))
    assert np.abs(numbers(own.encode(pa.array(new)))[:, 0] - peer.transform(new[:, None])[:, 0]).max() < 2e-3


@pytest.mark.parametrize("x", [np.sort(RNG.standard_normal(500)), np.sort(RNG.standard_cauchy(2000)) * 1e6, np.array([0.0, 1.0]),
                               np.exp(np.linspace(-200, 200, 300)), np.array([-1.0, 0, 1e-12, 2e-12, 5])])
def test_both_ways_to_find_a_knot_are_one(x):
    knots = knots_of(x, np.linspace(0, 1, len(x)))
    where = np.clip(np.concatenate([x, np.nextafter(x, np.inf), np.nextafter(x, -np.inf), RNG.uniform(x[0], x[-1], 4000),
                                    RNG.choice(x, 4000) * RNG.uniform(0.9, 1.1, 4000)]), x[0], x[-1])
    wanted = np.clip(np.searchsorted(x, where, side="right") - 1, 0, len(x) - 2)
    assert np.array_equal(knots.place(where), wanted)
    assert np.allclose(knots.apply(where), np.interp(where, x, np.linspace(0, 1, len(x))), atol=1e-9)


def test_missing_values_are_filled_and_shown(tmp_path):
    values = pa.array([1.0, None, 3.0, 8.0])
    for kind, filled in (("median", 3.0), ("mean", 4.0), ("zero", 0.0)):
        column, own = codec(tmp_path / kind, {"kind": "number", "scale": "none", "missing": kind}, values)
        assert numbers(own.encode(values)).tolist() == [[1, 0], [filled, 1], [3, 0], [8, 0]]
        assert own.info["names"] == ["x", "x missing"] and column.facts["missing"] == 1
    _, own = codec(tmp_path / "none", {"kind": "number", "scale": "none"}, pa.array([1.0, 2.0]))
    assert numbers(own.encode(values)).tolist() == [[1], [1.5], [3], [8]]


def test_a_wild_value_is_clipped(tmp_path):
    values = pa.array(np.linspace(0, 1, 50))
    _, own = codec(tmp_path / "a", {"kind": "number", "scale": "standard"}, values)
    assert numbers(own.encode(pa.array([1e149, -1e149])))[:, 0].tolist() == [10, -10]
    _, own = codec(tmp_path / "b", {"kind": "number", "scale": "none", "outliers": "clip", "outlier_range": 1.0}, values)
    assert numbers(own.encode(pa.array([5.0, -5.0])))[:, 0] == pytest.approx([1.25, -0.25])
    _, own = codec(tmp_path / "c", {"kind": "number", "scale": "none"}, values)
    assert np.isfinite(numbers(own.encode(pa.array([1e149])))).all()


def test_bins(tmp_path):
    values = pa.array(np.arange(100.0))
    _, own = codec(tmp_path / "a", {"kind": "number", "scale": "bins", "bins": 4}, values)
    hot = numbers(own.encode(values))
    assert hot.shape == (100, 4) and (hot.sum(axis=1) == 1).all() and hot.sum(axis=0).tolist() == [24, 25, 25, 26]
    _, own = codec(tmp_path / "b", {"kind": "number", "scale": "bins", "bins": 4, "bin_form": "ordinal"}, values)
    assert np.array_equal(numbers(own.encode(values))[:, 0], hot.argmax(axis=1).astype(np.float32) / np.float32(3))


def test_facts_of_one_pass(tmp_path):
    column, _ = codec(tmp_path, "number", pa.array(SKEWED))
    assert column.facts["mean"] == pytest.approx(SKEWED.mean(), rel=1e-12) and column.facts["std"] == pytest.approx(SKEWED.std(), rel=1e-12)
    assert column.facts["quantiles"]["p25"] == np.quantile(SKEWED, 0.25)
    assert len(column.facts["edges"]) == 128 and (np.diff(column.facts["edges"]) > 0).all()
    big = number(Number()).clean(pa.array([2**53 + 2, 1]))[0]
    summary = Summary(0)
    summary.add(big)
    assert summary.beyond == 1


def test_the_sample_is_bounded_and_does_not_depend_on_the_cut():
    values = RNG.standard_normal(5000)
    samples = []
    for cuts in ([1700, 3000], [10], list(range(100, 5000, 100))):
        summary = Summary(1, limit=400)
        for part in np.split(values, cuts):
            summary.add(pa.array(part))
            assert summary._held <= 800 + len(part)
        samples.append(summary.sample())
        assert summary.mean == pytest.approx(values.mean(), abs=1e-14) and summary.std == pytest.approx(values.std(), abs=1e-12)
    assert len(samples[0]) == 400 and all(np.array_equal(samples[0], other) for other in samples)
    assert samples[0][0] == values.min() and samples[0][-1] == values.max()
    assert np.abs(np.quantile(samples[0], [0.25, 0.5, 0.75]) - np.quantile(values, [0.25, 0.5, 0.75])).max() < 0.2
    assert _summary.LIMIT == 200_000


@pytest.mark.parametrize(("transform", "kind"), [("none", "affine"), ("log", "log"), ("quantile", "knots"), ("auto", "log")])
def test_a_target_comes_back(tmp_path, transform, kind):
    values = pa.array([*SKEWED, None])
    column, own = codec(tmp_path, {"kind": "number", "transform": transform}, values, "target")
    stored, inverse = own.encode(values), Inverse(**own.info["inverse"])
    value, scaled = stored["value"].to_numpy(), stored["scaled"].to_numpy()
    assert inverse.kind == kind and value.dtype == np.float64 and scaled.dtype == np.float32
    assert np.isnan(value[-1]) and np.isnan(scaled[-1]) and np.array_equal(value[:-1], SKEWED)
    back = inverse.apply(scaled[:-1])
    assert (np.abs(back - SKEWED) <= 4e-6 * np.maximum(SKEWED, SKEWED.std())).all()
    if kind != "knots":
        assert scaled[:-1].mean() == pytest.approx(0, abs=1e-5) and scaled[:-1].std() == pytest.approx(1, abs=1e-4)


def test_auto_leaves_a_symmetric_target_as_it_is(tmp_path):
    _, own = codec(tmp_path / "a", "number", pa.array(RNG.standard_normal(500)), "target")
    assert own.info["inverse"]["kind"] == "affine"
    _, own = codec(tmp_path / "b", {"kind": "number", "transform": "log"}, pa.array([0.0, 1, 3]), "target")
    assert own.info["inverse"]["offset"] == 1.0 and np.isfinite(own.encode(pa.array([-5.0]))["scaled"].to_numpy()).all()


@pytest.mark.parametrize(("values", "message"), [
    ([2.0, 2.0], "the target 'x' is 2 in every training row, so there is nothing to learn"), ([None], "has no number in the training rows"),
    ([-3.0, 2.0], "has numbers down to -3, of which there is no logarithm")])
def test_targets_that_cannot_be_learnt(tmp_path, values, message):
    with pytest.raises(UserError, match=message):
        codec(tmp_path, {"kind": "number", "transform": "log"}, pa.array(values, pa.float64()), "target")


def test_a_constant_or_empty_input_is_nought(tmp_path):
    for place, values in enumerate(([4.0, 4.0], [None, None])):
        column, own = codec(tmp_path / str(place), "number", pa.array(values, pa.float64()))
        assert column.facts["constant"] and (numbers(own.encode(pa.array([4.0 * (1 - place)])))[:, 0] == 0).all()
