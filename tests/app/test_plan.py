"""`bessemer plan` finds what would fail before any training, and forecasts what the real run needs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from bessemer.app.rehearse import rehearse
from bessemer.core.artifact import folder_size
from bessemer.core.events import Events
from bessemer.core.recipe import load_recipe
from tests.conftest import Command, left_over, sentences, write_csv, write_tiny


def change(folder: Path, **stages: Any) -> None:
    """Set whole stages of tiny.yaml."""
    tree = yaml.safe_load((folder / "tiny.yaml").read_text(encoding="utf-8"))
    for name, value in stages.items():
        tree["stages"][name] = value
    (folder / "tiny.yaml").write_text(yaml.safe_dump(tree, sort_keys=False, allow_unicode=True), encoding="utf-8")


def weights(folder: Path, finished: Path, stage: str) -> Path:
    """Copy a trained network and the recipe's own data settings to a folder."""
    target = folder / "weights"
    target.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        shutil.copyfile(finished / "runs/tiny" / stage / name, target / name)
    return target


def missing_column(folder: Path, finished: Path) -> None:
    write_csv(folder / "rows.csv", sentences(40), ("text", "lable"))


def missing_file(folder: Path, finished: Path) -> None:
    (folder / "rows.csv").unlink()


def one_class(folder: Path, finished: Path) -> None:
    write_csv(folder / "rows.csv", [(text, "good") for text, _ in sentences(60)])


def unseen_label(folder: Path, finished: Path) -> None:
    rows = [(text, label, ("train", "train", "train", "validation", "test")[index % 5])
            for index, (text, label) in enumerate(sentences(100))]
    write_csv(folder / "rows.csv", [*rows, ("The room.", "fair", "test")], ("text", "label", "part"))
    tree = yaml.safe_load((folder / "tiny.yaml").read_text())
    change(folder, prepare={**tree["stages"]["prepare"], "split": {"kind": "given", "column": "part"}})


def other_vocabulary(folder: Path, finished: Path) -> None:
    weights(folder, finished, "pretrain")
    tree = yaml.safe_load((folder / "tiny.yaml").read_text())
    tree["stages"]["prepare"]["inputs"]["text"]["tokenizer"]["vocab_size"] = 150
    change(folder, prepare=tree["stages"]["prepare"], pretrain={"model": {"kind": "pretrained", "path": "weights"}})


def no_weights(folder: Path, finished: Path) -> None:
    target = weights(folder, finished, "pretrain")
    (target / "model.safetensors").unlink()
    (target / "tokenizer.json").unlink()
    change(folder, pretrain={"model": {"kind": "pretrained", "path": "weights"}})


def truncated_weights(folder: Path, finished: Path) -> None:
    target = weights(folder, finished, "pretrain")
    file = target / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    (target / "tokenizer.json").unlink()
    change(folder, pretrain={"model": {"kind": "pretrained", "path": "weights"}})


def other_labels(folder: Path, finished: Path) -> None:
    weights(folder, finished, "finetune")
    write_csv(folder / "rows.csv", [(text, label + "!") for text, label in sentences(200)])
    tree = yaml.safe_load((folder / "tiny.yaml").read_text())["stages"]["prepare"]
    tree["inputs"]["text"]["tokenizer"] = {"kind": "pretrained", "path": "weights"}
    change(folder, prepare=tree, finetune={"model": {"kind": "pretrained", "path": "weights"}})


def no_test_rows(folder: Path, finished: Path) -> None:
    write_csv(folder / "rows.csv", [(text, label, "train") for text, label in sentences(100)], ("text", "label", "part"))
    tree = yaml.safe_load((folder / "tiny.yaml").read_text())
    change(folder, prepare={**tree["stages"]["prepare"], "split": {"kind": "given", "column": "part"}})


def baseline_to_compress(folder: Path, finished: Path) -> None:
    change(folder, compress={"model": "baseline"})


FAULTS: dict[str, tuple[Any, str]] = {
    "a missing file": (missing_file, "prepare: there is no file 'rows.csv'"),
    "a missing column": (missing_column, "prepare: 'rows.csv' has no column 'label'; did you mean 'lable'?"),
    "only one class": (one_class, "prepare: the target 'label' has only one label ('good')"),
    "a test label that training lacks": (unseen_label, "prepare: the label 'fair' of the target 'label' occurs in test (row 101"),
    "given splits without test rows": (no_test_rows, "test"),
    "texts longer than the model's positions": ("prepare.inputs.text.max_length=100", "the model reads 32 tokens at most"),
    "a tokenizer of another vocabulary": (other_vocabulary, "prepare the data with that model's tokenizer"),
    "a weights folder without weights": (no_weights, "'weights' has no weights; expected model.safetensors"),
    "weights cut short": (truncated_weights, "model.safetensors' is damaged"),
    "weights for other labels": (other_labels, "labels"),
    "a stage that is not there": ("finetune.init=pretrian", "there is no stage 'pretrian'"),
    "an unknown LoRA layer": ("finetune.adaptation={kind: lora, target_modules: [qeury]}", "no linear layer's name ends with 'qeury'"),
    "an unknown metric": ("finetune.metric_for_best_model=f2", "there is no validation metric 'f2'; known are: accuracy"),
    "a learning rate of zero": ("finetune.learning_rate=0", "raise learning_rate"),
    "a learning rate that bursts": ("finetune.learning_rate=1e30", "finite"),
    "heads that do not divide the width": ("pretrain.model.num_attention_heads=3", "num_attention_heads"),
    "a batch smaller than a row": ("finetune.tokens_per_batch=10", "tokens_per_batch is 10, but one row may have max_length 24"),
    "a form that is not exported": ("export.form=onnx-int4", "has no form 'onnx-int4'"),
    "a baseline where a network is needed": (baseline_to_compress, "holds no fine-tuned network"),
}
LATE = ("a form that is not exported", "weights for other labels")  # found after the export of the rehearsal, which takes long


@pytest.mark.parametrize("fault", [pytest.param(fault, marks=pytest.mark.slow if fault in LATE else ()) for fault in FAULTS])
def test_finds_the_fault(bessemer: Command, finished: Path, here: Path, fault: str) -> None:
    planted, said = FAULTS[fault]
    write_tiny(here, rows=200)
    if not isinstance(planted, str):
        planted(here, finished)
    before = sorted(path.name for path in here.iterdir())
    found = bessemer("plan", "tiny.yaml", *([planted] if isinstance(planted, str) else []))
    assert found.code == 2 and "Traceback" not in found.err, found.err
    assert said in " ".join(found.err.split()), found.err
    assert sorted(path.name for path in here.iterdir()) == before and not (here / "runs").exists()


def test_too_little_disk(bessemer: Command, here: Path, small_disk: Any) -> None:
    disk = small_disk("size=1m")
    write_tiny(here)
    found = bessemer("plan", "tiny.yaml", f"output_dir={disk}/run")
    assert found.code == 2 and "Traceback" not in found.err
    assert "make room, or choose another place with output_dir=FOLDER" in " ".join(found.err.split()), found.err
    assert list(disk.iterdir()) == []


def test_folder_that_cannot_be_written(bessemer: Command, here: Path, small_disk: Any) -> None:
    disk = small_disk("size=1m,ro")
    write_tiny(here)
    assert "is on a read-only disk" in bessemer("plan", "tiny.yaml", f"output_dir={disk}/run").error


def test_several_faults_at_once(bessemer: Command, here: Path) -> None:
    write_tiny(here)
    found = bessemer("plan", "tiny.yaml", "finetune.metric_for_best_model=f2", "baseline.model.analyzers=[word]", "baseline.data=prepare")
    told = " ".join(found.err.split())
    assert found.code == 2 and "finetune: metric_for_best_model" in told
    assert "compress: cannot be rehearsed before 'finetune' is mended" in told and "baseline:" not in told


def test_forecast_of_a_good_recipe(bessemer: Command, finished: Path, here: Path) -> None:
    write_tiny(here)
    made = load_recipe("tiny.yaml")
    found = rehearse(made, Events())
    assert found.problems == [] and [stage.stage for stage in found.stages] == list(made.stages)
    assert all(stage.seconds > 0 and stage.disk_bytes > 0 for stage in found.stages)
    assert found.seconds > 0 and 50e6 < found.memory_bytes < found.free_memory_bytes and found.disk_bytes < found.free_disk_bytes
    real = {name: folder_size(finished / "runs/tiny" / name) for name in made.stages}
    for stage in found.stages:
        assert real[stage.stage] / 1.5 <= stage.disk_bytes <= real[stage.stage] * 1.5, (stage, real[stage.stage])
    assert not (here / "runs").exists()


def test_plan_says_what_to_do_next(bessemer: Command, here: Path) -> None:
    write_tiny(here, pretrain=None, finetune={"model": {"kind": "bert", "num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 2,
                                                        "intermediate_size": 32, "max_position_embeddings": 32}},
               baseline=None, compress=None, export=None, evaluate={"models": ["finetune"]},
               report={"stages": ["prepare", "finetune", "evaluate"]})
    tree = yaml.safe_load((here / "tiny.yaml").read_text())
    del tree["stages"]["finetune"]["init"]
    (here / "tiny.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))
    found = bessemer("plan", "tiny.yaml", "seed=4")
    assert found.code == 0, found.err
    assert "in all: " in found.out and "next: bessemer run tiny.yaml seed=4" in " ".join(found.out.split())
    assert sorted(path.name for path in here.iterdir()) == ["rows.csv", "tiny.yaml"] and left_over(here) == []


@pytest.mark.slow
def test_a_finished_run_is_left_alone(bessemer: Command, copied: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in copied.rglob("*") if path.is_file()}
    assert bessemer("plan", "tiny.yaml").code == 0
    assert {path: path.stat().st_mtime_ns for path in copied.rglob("*") if path.is_file()} == before
    assert json.loads((copied / "runs/tiny/test_looks.json").read_text())
