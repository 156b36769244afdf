"""early_exit: the network's own answers for rows that go to its end, thresholds that hold on the validation rows, graphs without torch."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from bessemer.api import run
from bessemer.core.artifact import load_manifest
from bessemer.core.errors import UserError
from bessemer.core.events import Events
from bessemer.core.forms import open_form, read_forms
from bessemer.nn.bert import Bert, BertConfig
from bessemer.nn.early_exit import EarlyExits
from bessemer.predictors.early_exit_form import Steps
from bessemer.stages.compress import raw_rows
from bessemer.stages.early_exit import choose
from tests.conftest import sentences, write_csv

torch.set_num_threads(1)
RECIPE: dict[str, Any] = {"name": "exits", "threads": 1, "stages": {
    "prepare": {"sources": [{"kind": "csv", "path": "rows.csv"}],
                "inputs": {"text": {"kind": "text", "max_length": 24, "tokenizer": {"kind": "wordpiece", "vocab_size": 300}}},
                "targets": {"label": {"kind": "category"}}, "split": {"kind": "stratified", "validation": 100, "test": 60}},
    "finetune": {"model": {"kind": "bert", "num_hidden_layers": 3, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64,
                           "max_position_embeddings": 32}, "num_train_epochs": 4, "learning_rate": 3e-3},
    "early_exit": {"num_train_epochs": 3, "learning_rate": 3e-3, "accuracy_drop": 0.02, "methods": ["dynamic_int8", "static_int8"]},
    "evaluate": {"models": ["finetune", "early_exit"], "resamples": 100},
    "export": {"compressed": "early_exit", "scores": "evaluate"},
    "report": {"stages": ["prepare", "finetune", "early_exit", "evaluate", "export"]}}}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exits")
    write_csv(folder / "rows.csv", sentences(400))
    (folder / "recipe.yaml").write_text(yaml.safe_dump(RECIPE, sort_keys=False), encoding="utf-8")
    with contextlib.chdir(folder):
        run("recipe.yaml")
    return folder / "runs" / "exits"


def network(layers: int = 3) -> Bert:
    torch.manual_seed(0)
    return Bert(BertConfig(50, 16, layers, 2, 32, max_position_embeddings=16), ("classification",), 3, ("a", "b", "c")).eval()


def batch(rows: int = 5, length: int = 9) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    mask = (torch.arange(length)[None] < torch.randint(3, length + 1, (rows, 1), generator=generator)).long()
    return {"input_ids": torch.randint(5, 50, (rows, length), generator=generator) * mask, "attention_mask": mask,
            "token_type_ids": torch.zeros(rows, length, dtype=torch.int64)}


def test_segments_in_turn_are_the_whole_and_its_end_is_the_network() -> None:
    plain, given = network(), batch()
    exits = EarlyExits(plain, (1, 2)).eval()
    whole = exits(**given)
    assert torch.equal(whole[-1], plain(**given))
    first, second, last = exits.segments()
    logits, hidden = first(**given)
    assert torch.equal(logits, whole[0])
    logits, hidden = second(hidden=hidden, attention_mask=given["attention_mask"])
    assert torch.equal(logits, whole[1])
    assert torch.equal(last(hidden=hidden, attention_mask=given["attention_mask"]), whole[2])


def test_only_exits_are_trained_and_the_network_drops_nothing() -> None:
    exits = EarlyExits(network(), (2,)).train()
    trained = {name for name, value in exits.named_parameters() if value.requires_grad}
    assert trained and all(name.startswith("exits.") for name in trained)
    given = batch()
    assert torch.equal(exits(**given), exits(**given))


def test_what_cannot_have_exits_is_refused() -> None:
    with pytest.raises(UserError, match=r"layers \[3\]: the network has 3 layers; expected rising numbers from 1 to 2 after which"):
        EarlyExits(network(), (3,))
    with pytest.raises(UserError, match="early exits are for BERT's kind with a head of classes, and this is a Linear"):
        EarlyExits(torch.nn.Linear(1, 1), (1,))


def test_thresholds_lose_no_more_than_is_allowed() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 2000)
    good = np.eye(3)[np.where(rng.random(2000) < 0.95, truth, (truth + 1) % 3)]
    sure = rng.random(2000)
    early = np.eye(3)[np.where(rng.random(2000) < sure, truth, (truth + 2) % 3)] * (sure[:, None] / 3 + 1 / 3) + 0.2
    for drop in (0.0, 0.01, 0.1):
        (threshold,), left, said = choose([early, good], truth, drop)
        lost = (good.argmax(1) == truth).mean() - (said.argmax(1) == truth).mean()
        assert lost <= drop * left[0] + 1e-9 and sum(left) == pytest.approx(1)
        assert np.array_equal(said[early.max(1) < threshold], good[early.max(1) < threshold])


def test_forms_answer_as_they_were_measured(made: Path) -> None:
    folder = made / "early_exit"
    manifest = load_manifest(folder)
    assert manifest is not None
    told = manifest.facts["forms"]
    assert [form.name for form in read_forms(folder)] == ["early-exit-static_int8", "early-exit-dynamic_int8", "early-exit"]
    rows, truths = raw_rows(made / "prepare", "validation", np.arange(100))
    for form in read_forms(folder):
        answers = open_form(folder, form.name).predict(rows)["label"].values
        facts = told[form.name]
        assert (answers.argmax(1) == truths["label"]).mean() == pytest.approx(facts["accuracy"])
        assert sum(facts["left"]) == pytest.approx(1) and facts["left"][0] > 0
    plain = told["early-exit"]
    assert plain["accuracy"] >= plain["accuracy_of_network"] - 0.02 - 1e-9
    losses = [item["loss"] for item in manifest.facts["validations"]]
    assert losses[-1] < losses[0]


def test_rows_that_go_to_the_end_get_the_networks_answer(made: Path) -> None:
    folder = made / "early_exit"
    rows, _ = raw_rows(made / "prepare", "test", np.arange(60))
    exact = open_form(made / "finetune").predict(rows)["label"].values
    predictor: Any = open_form(folder, "early-exit")
    predictor.predict_batch = Steps(predictor.predict_batch.sessions, (2.0, 2.0)[:len(predictor.predict_batch.sessions) - 1])
    np.testing.assert_allclose(predictor.predict(rows)["label"].values, exact, atol=1e-4)


def test_the_export_predicts_without_torch(made: Path) -> None:
    code = ("import sys\nfrom bessemer import Model\nmodel = Model.load(sys.argv[1])\nfound = model.predict(['a fine warm day'])\n"
            "assert 'torch' not in sys.modules\nprint(model.form)")
    done = subprocess.run([sys.executable, "-c", code, str(made / "export")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().startswith("early-exit")
    scores = json.loads((made / "evaluate" / "scores.json").read_text())
    assert "early_exit early-exit" in scores["forms"]


@pytest.mark.parametrize(("to", "name"), [("openvino", "openvino-float32"), ("torch", "torch-program")])
def test_a_network_with_exits_is_exported_whole_to_other_runtimes(made: Path, tmp_path: Path, to: str, name: str) -> None:
    heard = list[str]()
    run({"name": "ship", "threads": 1, "output_dir": str(tmp_path), "stages": {"export": {
        "data": str(made / "prepare"), "model": str(made / "finetune"), "compressed": str(made / "early_exit"), "to": to}}},
        events=Events([lambda kind, data: heard.append(str(data["message"])) if kind == "note" else None]))
    assert [form.name for form in read_forms(tmp_path / "export")] == [name, "torch-float32"]
    assert [text for text in heard if text.startswith("early-exit-static_int8, early-exit-dynamic_int8, early-exit: none is one float "
                                                      f"graph, which alone {to} runs; the trained network is exported instead")]
    rows = raw_rows(made / "prepare", "validation", np.arange(20))[0]
    expected = open_form(made / "finetune").predict(rows)["label"].values
    np.testing.assert_allclose(open_form(tmp_path / "export").predict(rows)["label"].values, expected, atol=1e-5)
