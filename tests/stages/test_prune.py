"""The stage `prune`: a smaller network that predicts at once and goes through every later stage; what it says of itself is so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bessemer.api import Model, run
from bessemer.core.artifact import load_manifest
from bessemer.core.errors import GuardError, UserError
from bessemer.core.run import RunResult
from bessemer.data.shards import ShardReader
from bessemer.nn.checkpoint import load_network
from bessemer.nn.slim_bert import SlimBert
from bessemer.nn.table import load_table_network
from bessemer.stages._pruning import parts, strongest
from tests.conftest import sentences, write_csv

BERT = {"kind": "bert", "num_hidden_layers": 3, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64,
        "max_position_embeddings": 40, "initializer_range": 0.1}
TEXT: dict[str, Any] = {
    "prepare": {"inputs": {"text": {"kind": "text", "max_length": 24, "tokenizer": {"kind": "wordpiece", "vocab_size": 300}}},
                "targets": {"label": {"kind": "category"}}, "split": {"kind": "stratified", "validation": 60, "test": 40}},
    "finetune": {"model": BERT, "num_train_epochs": 4, "learning_rate": 3e-3}}


def write(folder: Path, stages: dict[str, Any]) -> dict[str, Any]:
    """Return a recipe over rows.csv of a folder."""
    tree = json.loads(json.dumps(stages))
    if "prepare" in tree:
        tree["prepare"]["sources"] = [{"kind": "csv", "path": str(folder / "rows.csv")}]
    return {"name": "pruned", "threads": 1, "output_dir": str(folder / "run"), "stages": tree}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prune-text")
    write_csv(folder / "rows.csv", sentences(320))
    run(write(folder, TEXT))
    return folder


def pruned(trained: Path, out: Path, settings: dict[str, Any], **more: Any) -> RunResult:
    """Prune the trained network with some settings, in a run of its own."""
    base = {"data": str(trained / "run/prepare"), "model": str(trained / "run/finetune")}
    return run({"name": "p", "threads": 1, "output_dir": str(out), "stages": {"prune": {**base, **settings}, **more}})


def facts(result: RunResult, stage: str = "prune") -> dict[str, Any]:
    return dict(result.stages[stage].manifest.facts)


def test_everything_at_once(trained: Path, tmp_path: Path) -> None:
    """The widths are those asked for, the counts those of the tensors; the folder predicts, and every later stage takes it."""
    data = str(trained / "run/prepare")
    result = pruned(
        trained, tmp_path, {"layers": 2, "heads": 2, "intermediate_size": 32, "hidden_size": 24, "vocabulary": "used",
                            "embedding_size": 12, "rank": 0.5},
        finetune={"init": "prune", "data": data, "num_train_epochs": 2, "learning_rate": 3e-3},
        lora={"kind": "finetune", "init": "prune", "data": data, "num_train_epochs": 1, "learning_rate": 1e-2,
              "adaptation": {"kind": "lora", "target_modules": ["value.up", "key.down"]}},
        compress={"data": data, "model": "finetune", "min_agreement": 0.5, "max_accuracy_drop": 0.5},
        evaluate={"data": data, "models": ["prune", "finetune", "compress"], "resamples": 100},
        export={"data": data, "model": "finetune", "compressed": "compress", "scores": "evaluate"})
    found = facts(result)
    network = load_network(tmp_path / "prune", ("classification",))
    assert isinstance(network, SlimBert)
    config = network.config
    assert sum(config.num_attention_heads) == 4 and sum(config.intermediate_size) == 64 and config.hidden_size == 24
    assert config.embedding_size == 12 and config.max_position_embeddings == 24 and config.ranks
    assert found["parameters"] == sum(value.numel() for value in network.parameters()) == sum(found["parts"].values())
    before = load_network(trained / "run/finetune", ("classification",))
    assert found["parameters_before"] == sum(value.numel() for value in before.parameters())
    assert set(found["parts"]) == {"embeddings", "attention", "feed_forward", "pooler", "classifier"}
    assert 0 < found["kept"][0]["hidden_size"] <= 1 and 2 / 3 <= found["kept"][0]["layers"] <= 1
    assert facts(result, "finetune")["best_value"] > 0.8 and facts(result, "finetune")["model"] == "slim_bert"
    assert facts(result, "compress")["methods"]["dynamic_int8"]["matmuls"] > 0
    answer = Model.load(tmp_path / "prune").predict([{"text": "The room number 5 was superb today."}])
    assert answer


def test_used_vocabulary_alone_changes_no_training_answer(trained: Path, tmp_path: Path) -> None:
    """Tokens and positions that the training rows lack go; the logits of training rows are those of the whole network."""
    result = pruned(trained, tmp_path, {"vocabulary": "used"})
    found = facts(result)
    reader = ShardReader(trained / "run/prepare/train")
    ids = np.unique(np.concatenate([np.asarray(row, np.int64) for row in reader.take(
        np.arange(len(reader)), ["text.ids"])["text.ids"].to_pylist()]))
    assert found["shape"]["tokens"] == len(np.union1d(ids, np.arange(5))) and found["shape"]["positions"] == 24
    rows = reader.take(np.arange(40), ["text"])
    whole, smaller = (Model.load(folder) for folder in (trained / "run/finetune", tmp_path / "prune"))
    np.testing.assert_allclose(smaller.predict_proba(rows), whole.predict_proba(rows), atol=1e-6)
    assert found["validation"] == pytest.approx(found["validation_before"], abs=1e-3)


def test_thin_layers_look_at_the_activations(trained: Path, tmp_path: Path) -> None:
    """The factors of half the weights keep the answers better where they look at the activations."""
    gaps = {}
    rows = ShardReader(trained / "run/prepare/validation").take(np.arange(60), ["text"])
    whole = Model.load(trained / "run/finetune").predict_proba(rows)
    for method in ("activations", "weights"):
        pruned(trained, tmp_path / method, {"rank": 0.4, "rank_method": method})
        gaps[method] = float(np.abs(Model.load(tmp_path / method / "prune").predict_proba(rows) - whole).mean())
    assert gaps["activations"] < gaps["weights"]


def test_rounds_with_tuning(trained: Path, tmp_path: Path) -> None:
    """Three rounds shrink step by step; killed in between and run again, the end has the same bytes."""
    settings = {"heads": 2, "intermediate_size": 24, "rounds": 3,
                "tune": {"max_steps": 6, "learning_rate": 3e-3, "checkpoint_seconds": 0.01}}
    first = pruned(trained, tmp_path / "one", settings)
    found = facts(first)
    assert len(found["kept"]) == 3 and sum(found["shape"]["heads"]) == 6 and sum(found["shape"]["intermediate_size"]) == 72
    expected = (tmp_path / "one/prune/model.safetensors").read_bytes()

    from bessemer.engine import loop

    class Killed(Exception):
        pass

    calls = 0
    original = loop._Session.step

    def step(self: Any, batches: Any, epoch: float) -> Any:
        nonlocal calls
        calls += 1
        if calls == 10:  # in the middle of the second round's training
            self.save(wait=True)
            raise Killed
        return original(self, batches, epoch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop._Session, "step", step)
        with pytest.raises(Killed):
            pruned(trained, tmp_path / "two", settings)
        calls = 100
        again = pruned(trained, tmp_path / "two", settings)
        assert 100 < calls < 112
    assert (tmp_path / "two/prune/model.safetensors").read_bytes() == expected and facts(again) == found


@pytest.mark.parametrize(("settings", "message"), [
    ({"layers": 4}, "layers: 4 should stay, but the network has 3"),
    ({"heads": 5}, "heads: 5 should stay, but the network has 4"),
    ({"rank": 30}, "rank: no layer becomes smaller by two factors of rank 30"),
    ({"embedding_size": 33}, "embedding_size 33: expected 1 to 32"),
    ({"layers": 2, "members": 3}, "nothing reads the key 'members'"),
    ({"heads": 2, "layer_choice": "spaced"}, "nothing reads the key 'layer_choice'"),
    ({}, "nothing is to be pruned"),
    ({"layers": 2, "tune": {"max_steps": 2}}, "tune trains between rounds"),
])
def test_bad_settings_are_one_sentence(trained: Path, tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises((UserError, GuardError), match=message):
        pruned(trained, tmp_path, settings)
    assert not (tmp_path / "prune").exists()


def test_spaced_layers(trained: Path, tmp_path: Path) -> None:
    """One of three is the last; two of three are the second and the last."""
    result = pruned(trained, tmp_path, {"layers": 2, "layer_choice": "spaced"})
    assert facts(result)["kept"] == [{"layers": [1, 2]}]
    old = load_network(trained / "run/finetune", ("classification",)).tensors()
    new = load_network(tmp_path / "prune", ("classification",)).tensors()
    name = "bert.encoder.layer.{}.output.dense.weight"
    assert torch.equal(new[name.format(0)], old[name.format(1)]) and torch.equal(new[name.format(1)], old[name.format(2)])


def test_strongest_keeps_the_total_and_one_in_each_layer() -> None:
    scores = [torch.tensor([9.0, 8.0, 7.0, 6.0]), torch.tensor([0.1, 0.4, 0.3, 0.2])]
    assert strongest(scores, 5) == [[0, 1, 2, 3], [1]]
    assert strongest(scores, 4, 2) == [[0, 1], [1, 2]] and strongest(scores, 6, 2) == [[0, 1, 2, 3], [1, 2]]


TABLE: dict[str, Any] = {
    "prepare": {"inputs": {name: {"kind": "number"} for name in ("a", "b", "noise")} | {"c": {"kind": "category"}},
                "targets": {"y": {"kind": "number"}}, "split": {"kind": "random", "validation": 0.2, "test": 0.1}},
    "finetune": {"model": {"kind": "members", "members": 6, "hidden_sizes": [48, 48], "dropout": 0.0}, "num_train_epochs": 12,
                 "learning_rate": 5e-3, "per_device_train_batch_size": 64}}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prune-table")
    rng = np.random.default_rng(0)
    a, b, noise, c = rng.normal(size=800), rng.normal(size=800), rng.normal(size=800), rng.integers(0, 3, 800)
    y = 2 * a + np.sin(2 * b) + c + rng.normal(scale=0.05, size=800)
    write_csv(folder / "rows.csv", [(*map(repr, map(float, row[:3])), f"kind {k}", repr(float(t))) for row, k, t in zip(
        zip(a, b, noise, strict=True), c, y, strict=True)], ("a", "b", "noise", "c", "y"))
    run(write(folder, TABLE))
    return folder


def test_a_table_loses_noise_members_and_width(table: Path, tmp_path: Path) -> None:
    """The column that means nothing goes and may say anything; every later stage takes the smaller network."""
    data = str(table / "run/prepare")
    base = {"data": data, "model": str(table / "run/finetune")}
    result = run({"name": "p", "threads": 1, "output_dir": str(tmp_path), "stages": {
        "prune": {**base, "columns": 3, "members": 3, "hidden_size": 24, "rounds": 2,
                  "tune": {"num_train_epochs": 2, "learning_rate": 5e-3}},
        "finetune": {"init": "prune", "data": data, "num_train_epochs": 4, "learning_rate": 5e-3},
        "compress": {"data": data, "model": "finetune"}, "evaluate": {"data": data, "models": ["prune", "finetune", "compress"],
                                                                      "resamples": 100}}})
    found = facts(result)
    assert found["shape"]["columns_left_out"] == ["noise"] and found["shape"]["members"] == 3
    assert sum(found["shape"]["hidden_sizes"]) == 48 and found["parameters"] < 0.5 * found["parameters_before"]
    network = load_table_network(tmp_path / "prune")
    assert found["parameters"] == sum(value.numel() for value in network.parameters()) and network.config.used_numbers is not None
    rows = [{"a": 1.0, "b": 0.5, "c": "kind 1", "noise": value} for value in (0.0, 3.0)]
    for folder in ("finetune", "compress"):
        first, second = (Model.load(tmp_path / folder).predict([row]) for row in rows)
        assert str(first) == str(second)
    assert found["validation"]["r2"] > 0.5
    manifest = load_manifest(tmp_path / "finetune")
    assert manifest is not None and max(item["r2"] for item in manifest.facts["validations"]) > 0.9


def test_one_member_is_a_plain_network(table: Path, tmp_path: Path) -> None:
    base = {"data": str(table / "run/prepare"), "model": str(table / "run/finetune")}
    run({"name": "p", "threads": 1, "output_dir": str(tmp_path), "stages": {"prune": {**base, "members": 1}}})
    tensors = load_table_network(tmp_path / "prune").tensors()
    assert not [name for name in tensors if name.endswith((".r", ".s", ".b"))]
    assert json.loads((tmp_path / "prune/config.json").read_text(encoding="utf-8"))["members"] == 1


def test_parts_add_up() -> None:
    from bessemer.testing import rows

    network = rows.network(("classification",))
    found = parts(network)
    assert sum(found.values()) == sum(value.numel() for value in network.parameters())
    assert set(found) == {"embeddings", "attention", "feed_forward", "pooler", "classifier"}
    assert found["feed_forward"] == 2 * (2 * 16 * 16 + 16 + 16 + 2 * 16)
