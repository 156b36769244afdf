from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats
from scipy.stats.contingency import association

from bessemer.core.schema import Column, Role, Schema
from bessemer.data import profile as module
from bessemer.data.profile import profile

N = 3000
RNG = np.random.default_rng(0)
X = RNG.standard_normal(N)
WORDS = RNG.choice(["a", "b", "c"], N, p=[0.6, 0.3, 0.1])
Y = X * 2 + RNG.standard_normal(N) + (WORDS == "a")
LABELS = np.where((Y > 0) ^ (RNG.random(N) < 0.1), "yes", "no")


def table(x=X, words=WORDS):
    return pa.table({"x": x, "words": words, "same": x, "one": np.ones(N), "leak": Y * 3 + 1, "text": LABELS,
                     "holes": pa.array([None if i % 4 == 0 else float(v) for i, v in enumerate(X)]), "y": Y, "label": LABELS})


def schema():
    kinds = {"x": "number", "words": "category", "same": "number", "one": "number", "leak": "number", "text": "category",
             "holes": "number"}
    return Schema(columns=(*(Column(name=name, role=Role.INPUT, modality={"kind": kind}) for name, kind in kinds.items()),
                           Column(name="y", role=Role.TARGET, modality={"kind": "number"}),
                           Column(name="label", role=Role.TARGET, modality={"kind": "category"})))


def found(after=None):
    parts = [pa.Table.from_batches([batch]) for batch in table().to_batches(max_chunksize=700)]
    return profile(iter(parts), None if after is None else iter([after]), schema(), ["y", "label"])


def test_associations_equal_scipy():
    columns = found()["columns"]
    assert columns["x"]["targets"]["y"]["pearson"] == pytest.approx(stats.pearsonr(X, Y)[0], abs=1e-12)
    assert columns["x"]["targets"]["y"]["spearman"] == pytest.approx(stats.spearmanr(X, Y)[0], abs=1e-12)
    counts = stats.contingency.crosstab(WORDS, LABELS)[1]
    v = columns["words"]["targets"]["label"]["cramers_v"]
    # Bergsma's correction of scipy's V, written out.
    r, k = counts.shape
    raw = association(counts, method="cramer") ** 2 * (min(r, k) - 1)
    phi = max(0, raw - (r - 1) * (k - 1) / (N - 1))
    assert v == pytest.approx(np.sqrt(phi / (min(r - (r - 1)**2 / (N - 1), k - (k - 1)**2 / (N - 1)) - 1)), abs=1e-9)
    groups = [Y[word == WORDS] for word in "abc"]
    f = stats.f_oneway(*groups).statistic
    assert columns["words"]["targets"]["y"]["eta"] == pytest.approx(np.sqrt(max(0, (f - 1) * 2 / (f * 2 + N - 3))), abs=1e-9)


def test_drift_equals_scipy():
    x, words = RNG.standard_normal(N) + 0.5, RNG.choice(["a", "b", "d"], N)
    columns = found(after=table(x, words))["columns"]
    assert columns["x"]["drift"]["ks"] == pytest.approx(stats.ks_2samp(X, x).statistic, abs=1e-12)
    counts = np.array([[np.sum(part == word) for word in "abcd"] for part in (WORDS, words)])
    expected = stats.chi2_contingency(counts, correction=False)
    assert columns["words"]["drift"]["chi_square"] == pytest.approx(expected.statistic)
    assert columns["words"]["drift"]["p"] == pytest.approx(expected.pvalue, abs=1e-12)
    p, q = counts[0] / N, counts[1] / N
    assert columns["words"]["drift"]["total_variation"] == pytest.approx(np.abs(p - q).sum() / 2)
    assert columns["words"]["drift"]["psi"] == pytest.approx(sum((b - a) * np.log(b / a) for a, b in zip(
        np.maximum(p, 1e-4), np.maximum(q, 1e-4), strict=True)))
    assert columns["words"]["drift"]["new_values"] == pytest.approx(np.mean(words == "d"))
    assert columns["one"]["drift"]["psi"] == columns["one"]["drift"]["ks"] == 0


def test_flags_missing_and_histogram():
    result = found()
    columns = result["columns"]
    assert {name: item["flags"] for name, item in columns.items() if item["flags"]} == {
        "same": ["identical to x"], "one": ["constant"], "leak": ["likely leak: y"], "text": ["likely leak: label"]}
    assert columns["holes"]["missing"] == {"train": 0.25} and columns["x"]["missing"] == {"train": 0.0}
    edges = columns["x"]["distribution"]["edges"]
    assert np.allclose(np.histogram(X, edges)[0] / N, columns["x"]["distribution"]["train"])
    assert columns["words"]["distribution"]["top"][0] == {"value": "a", "train": np.mean(WORDS == "a")}
    assert json.loads(json.dumps(result)) == result and result["rows"] == {"train": N, "test": 0}


def test_a_key_of_every_row_is_no_leak():
    rows = pa.table({"key": [f"k{i}" for i in range(N)], "y": Y, "label": LABELS})
    one = Schema(columns=(Column(name="key", role=Role.INPUT, modality={"kind": "category"}),))
    column = profile(iter([rows]), None, one, ["y", "label"])["columns"]["key"]
    assert column["flags"] == [] and column["targets"] == {"y": {"eta": None}, "label": {"cramers_v": None}}


def test_the_sample_is_bounded_and_does_not_depend_on_the_cut(monkeypatch):
    monkeypatch.setattr(module, "ROWS", 500)
    parts = [pa.Table.from_batches([batch]) for batch in table().to_batches(max_chunksize=333)]
    one, two = (profile(iter(rows), None, schema(), ["y"]) for rows in (parts, [table()]))
    assert one == two and one["rows"]["train"] == N
    assert one["columns"]["x"]["targets"]["y"]["pearson"] == pytest.approx(np.corrcoef(X, Y)[0, 1], abs=0.05)


def test_no_rows():
    assert profile(iter([]), None, schema(), ["y"]) == {"rows": {"train": 0, "test": 0}, "columns": {}}
