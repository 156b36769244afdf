"""Texts with targets of every kind, several at once, some missing: from a recipe to predictions without torch."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import torch

from bessemer import Model, run
from bessemer.core.errors import UserError
from bessemer.core.heads import Head, answers

WORDS = {"awful": 1, "poor": 2, "fair": 3, "good": 4, "superb": 5}
NETWORK = {"kind": "ngrams"}


def rows(count, seed=0):
    rng = np.random.default_rng(seed)
    stars = rng.integers(1, 6, count)
    things = rng.choice(["room", "meal", "staff"], (count, 2))
    texts = [f"the {a} and the {b} were {list(WORDS)[star - 1]} on day {number}"
             for star, (a, b), number in zip(stars, things, rng.permutation(10 * count)[:count], strict=True)]
    about = ["|".join(sorted(set(pair))) for pair in things.tolist()]
    price = stars * 10.0 + (things == "meal").any(1)
    return pa.table({"text": texts, "stars": [str(star) for star in stars], "about": about, "price": price})


def recipe(folder, targets, task=None, epochs=6):
    return {"name": "texts", "output_dir": str(folder / "run"), "threads": 1, "stages": {
        "prepare": {"sources": [{"kind": "parquet", "path": str(folder / "rows.parquet")}], "targets": targets,
                    "inputs": {"text": {"kind": "text", "max_length": 24, "tokenizer": {"kind": "wordpiece", "vocab_size": 300}}},
                    "split": {"kind": "random", "validation": 0.15, "test": 0.15}},
        "finetune": {"model": NETWORK, "num_train_epochs": epochs, "learning_rate": 2e-2, "per_device_train_batch_size": 16,
                     **({"task": task} if task else {})},
        "compress": {"methods": []},
        "evaluate": {"models": ["finetune", "compress"], "resamples": 100}}}


def test_a_label_labels_and_a_number_are_learnt_at_once_from_rows_that_lack_some(tmp_path):
    table = rows(500)
    hidden = np.arange(500) % 4 == 0
    partial = [None if missing else value for value, missing in zip(table["about"].to_pylist(), hidden, strict=True)]
    parquet.write_table(table.set_column(2, "about", pa.array(partial)), tmp_path / "rows.parquet")
    targets = {"stars": {"kind": "category"}, "about": {"kind": "multilabel"}, "price": {"kind": "number"}}
    result = run(recipe(tmp_path, targets, {"kind": "supervised", "quantiles": [0.1, 0.9]}, epochs=9))
    scores = json.loads((result.stages["evaluate"].folder / "scores.json").read_text())["forms"]["compress onnx-float32"]
    assert scores["metrics"]["accuracy"]["value"] > 0.8
    assert scores["others"]["price"]["metrics"]["r2"]["value"] > 0.9
    assert scores["others"]["about"]["metrics"]["f1_micro"]["value"] > 0.9
    model = Model.load(result.stages["compress"].folder, "onnx-float32")
    found = model.predict(["the room and the staff were superb on day 7"])
    assert found["stars"] == ["5"] and found["about"] == [("room", "staff")] and found["price"][0] == pytest.approx(50, abs=5)
    trained = Model.load(result.stages["finetune"].folder)
    for target, answer in trained.answers(table.slice(0, 20)).items():
        np.testing.assert_allclose(model.answers(table.slice(0, 20))[target].values, answer.values, atol=1e-3, rtol=1e-4)


def test_steps_of_a_scale_are_learnt_in_order(tmp_path):
    parquet.write_table(rows(400).select(["text", "stars"]), tmp_path / "rows.parquet")
    result = run(recipe(tmp_path, {"stars": {"kind": "category"}}, {"kind": "supervised", "ordinal": ["stars"]}, epochs=8))
    model = Model.load(result.stages["compress"].folder, "onnx-float32")
    found = model.predict_proba([f"the room and the meal were {word} on day 3" for word in WORDS])
    assert model.labels == ("1", "2", "3", "4", "5")
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)
    assert found.argmax(1).tolist() == [0, 1, 2, 3, 4]


def test_a_number_alone_is_regressed(tmp_path):
    parquet.write_table(rows(300).select(["text", "price"]), tmp_path / "rows.parquet")
    result = run(recipe(tmp_path, {"price": {"kind": "number"}}))
    assert result.stages["finetune"].manifest.facts["metric"] == "loss"
    scores = json.loads((result.stages["evaluate"].folder / "scores.json").read_text())["forms"]["finetune torch-float32"]
    assert scores["metrics"]["r2"]["value"] > 0.8


def test_ordinal_probabilities_are_differences_of_the_steps():
    head = Head(target="y", kind="label", width=2, labels=("low", "mid", "high"), link="ordinal")
    logits = np.array([[[2.0, -1.0]], [[-1.0, 2.0]]])  # the second contradicts itself: beyond mid, but not beyond low
    found = answers((head,), logits)["y"].values
    first, second = torch.sigmoid(torch.tensor([2.0, -1.0])).tolist()
    np.testing.assert_allclose(found[0], [1 - first, first - second, second], atol=1e-6)
    np.testing.assert_allclose(found[1], [1 - second, 0, second], atol=1e-6)


def test_ordinal_of_a_number_is_one_sentence(tmp_path):
    parquet.write_table(rows(100).select(["text", "price"]), tmp_path / "rows.parquet")
    with pytest.raises(UserError, match="ordinal: 'price' has no labels; it is for targets of kind category"):
        run(recipe(tmp_path, {"price": {"kind": "number"}}, {"kind": "supervised", "ordinal": ["price"]}))


def test_quantiles_of_labels_alone_are_one_sentence(tmp_path):
    parquet.write_table(rows(100).select(["text", "stars"]), tmp_path / "rows.parquet")
    with pytest.raises(UserError, match="task.quantiles: none of the targets is a number, so nothing has quantiles; leave quantiles out"):
        run(recipe(tmp_path, {"stars": {"kind": "category"}}, {"kind": "supervised", "quantiles": [0.1]}))
