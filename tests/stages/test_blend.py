"""The stage `blend`: its weights are the best on validation, a useless member gets none, text and tables alike."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.optimize import minimize

from bessemer.api import run
from bessemer.core.errors import UserError
from bessemer.core.forms import open_form, read_forms
from bessemer.core.types import Answer
from bessemer.data.shards import ShardReader
from bessemer.measure.size import needed, size
from bessemer.predictors.blend_form import BlendPredictor
from bessemer.stages._blending import chosen, losses, parts, solve
from tests.conftest import sentences, write_csv


def members(kind: str, seed: int = 0) -> np.ndarray:
    """What three members give: errors, or probabilities of the truth; the last is useless."""
    rng = np.random.default_rng(seed)
    if kind == "number":
        errors = rng.normal(size=(500, 3)) * (1.0, 1.3, 2.0)
        return errors + np.outer(errors[:, 0], (0, 0, 3))
    return np.clip(np.column_stack([rng.beta(5, 2, 500), rng.beta(4, 2, 500), rng.beta(1, 9, 500)]), 1e-6, 1)


@pytest.mark.parametrize("kind", ["number", "label"])
def test_weights_are_the_constrained_optimum(kind: str) -> None:
    pieces, weights = members(kind), np.random.default_rng(1).uniform(0.5, 2, 500)
    mix = solve(kind, pieces, weights)
    peer = minimize(lambda mix: losses(kind, pieces, weights, mix[:, None])[0], np.full(3, 1 / 3), bounds=[(0, 1)] * 3, method="SLSQP",
                    constraints={"type": "eq", "fun": lambda mix: mix.sum() - 1}, options={"ftol": 1e-14, "maxiter": 500})
    assert losses(kind, pieces, weights, mix[:, None])[0] <= peer.fun + 1e-7
    np.testing.assert_allclose(mix, peer.x, atol=2e-3)
    assert (mix >= 0).all() and abs(mix.sum() - 1) < 1e-12 and mix[2] == 0
    each = losses(kind, pieces, weights, np.column_stack([mix, np.eye(3)]))
    assert each[0] < each[1:].min()


@pytest.mark.parametrize("kind", ["number", "label"])
def test_one_member_is_kept_where_blending_does_not_help(kind: str) -> None:
    pieces = members(kind)[:, [0, 2]]
    mix, judged = chosen(kind, pieces, np.ones(500))
    assert mix.tolist() == [1.0, 0.0]
    assert judged["blend"] == pytest.approx(min(judged["members"]), rel=1e-12)
    twins, _ = chosen(kind, pieces[:, [0, 0]], np.ones(500))
    assert twins.sum() == 1 and losses(kind, pieces[:, [0, 0]], np.ones(500), twins[:, None])[0] == pytest.approx(judged["blend"])


def test_parts_leave_out_what_is_unknown() -> None:
    weights = np.array([1.0, 2.0, 3.0])
    label = Answer("label", np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]], np.float32), ("a", "b"))
    found, kept = parts(np.array([0, -1, 1]), [label], weights)
    np.testing.assert_allclose(found, [[0.9], [0.5]], rtol=1e-6)
    assert kept.tolist() == [1, 3]
    found, kept = parts(np.array([1.0, np.nan, 0.0]), [Answer("number", np.array([[3.0], [1.0], [1.0]]))], weights)
    assert found.tolist() == [[2.0], [1.0]] and kept.tolist() == [1, 3]
    flags = Answer("flags", label.values, ("a", "b"))
    found, kept = parts(np.array([[1, 0], [-1, 1], [0, -1]]), [flags], weights)
    np.testing.assert_allclose(found[:, 0], [0.9, 0.9, 0.8, 0.5], rtol=1e-6)
    assert kept.tolist() == [1, 1, 2, 3]


def test_text_models_blend(here: Path) -> None:
    write_csv(here / "rows.csv", sentences(300))
    stages: dict[str, Any] = {
        "prepare": {"sources": [{"kind": "csv", "path": "rows.csv"}], "targets": {"label": {"kind": "category"}},
                    "inputs": {"text": {"kind": "text", "max_length": 24, "tokenizer": {"kind": "wordpiece", "vocab_size": 300}}},
                    "split": {"kind": "stratified", "validation": 60, "test": 40}},
        "words": {"kind": "finetune", "model": {"kind": "tfidf_linear", "analyzers": ["word"], "c": [0.01]}},
        "signs": {"kind": "finetune", "model": {"kind": "tfidf_linear", "analyzers": ["char_wb"], "c": [0.01]}},
        "blend": {"models": ["words", "signs"]}}
    found = run({"name": "texts", "threads": 1, "stages": stages}).stages["blend"]
    facts = found.manifest.facts["targets"]["label"]
    assert facts["blend"] <= min(facts["members"]) * (1 + 1e-12) and sum(facts["weights"].values()) == pytest.approx(1)
    form = read_forms(found.folder)[0]
    assert form.name == "blend" and all((found.folder / file).is_file() for file in form.files)
    table = pa.table({"text": ["The room was lovely.", "The room was awful."]})
    said = open_form(found.folder).predict(table)["label"].values
    each = [open_form(found.folder.parent / name).predict(table)["label"].values for name in found.manifest.facts["members"]]
    mix = [facts["weights"][name] for name in found.manifest.facts["members"]]
    np.testing.assert_allclose(said, sum(weight * values for weight, values in zip(mix, each, strict=True)), rtol=1e-5)
    assert_size_is_all_that_answers(found.folder, table, here / "copy")


def assert_size_is_all_that_answers(folder: Path, rows: pa.Table, copy: Path) -> None:
    """A blend counts what its members count, and answers with only the files that are counted."""
    form = read_forms(folder)[0]
    config: Any = form.predictor
    each = [size(folder / member, name)["form"] for member, name in zip(config.members, config.forms, strict=True)]
    assert size(folder, form.name)["form"] == sum(each) + (folder / "schema.json").stat().st_size
    for path in needed(folder, form.name):
        (copy / path.relative_to(folder)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy / path.relative_to(folder))
    before, after = (open_form(place).predict(rows) for place in (folder, copy))
    assert all(before[target].values.tobytes() == after[target].values.tobytes() for target in before)


def test_a_blend_is_scored_by_its_members_answers(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where its members are scored too they answer once; the scores are those of a blend that is scored alone."""
    asked: list[int] = []
    plain = BlendPredictor.predict

    def predict(self: BlendPredictor, rows: pa.Table) -> Any:
        asked.append(rows.num_rows)
        return plain(self, rows)

    monkeypatch.setattr(BlendPredictor, "predict", predict)
    recipe = table_recipe()
    recipe["stages"]["alone"] = {"kind": "evaluate", "models": ["blend"], "resamples": 100}
    recipe["stages"]["beside"] = {"kind": "evaluate", "models": ["blend", "linear", "trees"], "resamples": 100}
    recipe["stages"]["some"] = {"kind": "evaluate", "models": ["blend", "trees"], "resamples": 100}
    result = run(recipe, until="alone")
    assert max(asked) == 100
    asked.clear()
    result = run(recipe, until="beside")
    assert max(asked) == 1, "its latency alone is measured by asking it"
    alone, beside = (json.loads((result.root / name / "scores.json").read_text(encoding="utf-8"))["forms"]["blend blend"]
                     for name in ("alone", "beside"))
    assert alone == beside
    run(recipe, until="some")
    assert max(asked) == 100, "a member that is not scored is asked by the blend"


def table_recipe(name: str = "tables") -> dict[str, Any]:
    rng = np.random.default_rng(0)
    x, code = rng.normal(size=(500, 4)), rng.integers(0, 3, 500)
    amount = 10 * x[:, 0] + 5 * x[:, 1] + 3 * np.abs(x[:, 2]) + 4 * code + rng.normal(size=500)
    write_csv(Path("rows.csv"), [(*row, "xyz"[c], value, "yes" if value > 8 else "no")
                                 for row, c, value in zip(x.tolist(), code.tolist(), amount.tolist(), strict=True)],
              ("a", "b", "c", "noise", "shape", "amount", "large"))
    prepare = {"sources": [{"kind": "csv", "path": "rows.csv"}], "split": {"kind": "random", "validation": 100, "test": 100},
               "inputs": {**{name: {"kind": "number"} for name in ("a", "b", "c", "noise")}, "shape": {"kind": "category"}},
               "targets": {"amount": {"kind": "number"}, "large": {"kind": "category"}}}
    return {"name": name, "threads": 1, "stages": {
        "prepare": prepare, "trees": {"kind": "finetune", "model": {"kind": "lightgbm", "num_boost_round": 60}},
        "linear": {"kind": "finetune", "model": {"kind": "linear"}},
        "useless": {"kind": "finetune", "model": {"kind": "lightgbm", "num_boost_round": 1, "learning_rate": 1e-6}},
        "blend": {"models": ["trees", "useless", "linear"]}}}


def test_tables_blend_better_than_each_member_and_without_the_useless_one(here: Path) -> None:
    recipe = table_recipe()
    result = run(recipe)
    found = result.stages["blend"]
    facts = found.manifest.facts
    assert "useless" in facts["left_out"] and not (found.folder / "members" / "useless").exists()
    assert not list(found.folder.glob("members/*/manifest.json")) and not list(found.folder.glob("members/*/timings.json"))
    for target in ("amount", "large"):
        judged = facts["targets"][target]
        assert judged["weights"]["useless"] == 0 and judged["blend"] <= min(judged["members"]) * (1 + 1e-12)
    validation = ShardReader(result.stages["prepare"].folder / "validation").take(np.arange(100))
    said = open_form(found.folder).predict(validation)["amount"].values[:, 0]
    error = ((said - validation["amount"].to_numpy())**2).mean()
    assert error == pytest.approx(facts["targets"]["amount"]["blend"], rel=1e-9)
    assert_size_is_all_that_answers(found.folder, validation, here / "copy")
    first = {file.relative_to(found.folder): file.read_bytes() for file in found.folder.rglob("*")
             if file.is_file() and file.name not in ("manifest.json", "timings.json")}
    again = run({**recipe, "name": "again"}).stages["blend"].folder
    assert all((again / file).read_bytes() == content for file, content in first.items())


def test_mistakes_are_sentences(here: Path) -> None:
    recipe = table_recipe()
    run(recipe, until="linear")
    recipe["stages"]["blend"]["models"] = ["trees", "trees"]
    with pytest.raises(UserError, match="models: 'trees' is named twice"):
        run(recipe)
    other = json.loads(json.dumps(recipe["stages"]["prepare"]))
    other["inputs"].pop("noise")
    recipe["stages"] |= {"other": {**other, "kind": "prepare"},
                         "apart": {"kind": "finetune", "data": "other", "model": {"kind": "linear"}},
                         "blend": {"models": ["linear", "apart"]}}
    with pytest.raises(UserError, match="'linear' and 'apart' were not made from the same prepared data"):
        run(recipe)
