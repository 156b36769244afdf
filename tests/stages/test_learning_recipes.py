"""Whole recipes that learn from texts without a label: pseudo-labels, consistency, another domain. Those of docs/text.md, made small."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
import yaml

from bessemer.core.artifact import load_manifest
from bessemer.core.config import parse_yaml
from bessemer.data.shards import ShardReader
from tests.conftest import sentences
from tests.stages.test_teach import run_here

torch.set_num_threads(1)
DOCS = Path(__file__).parents[2] / "docs/text.md"
BERT = {"kind": "bert", "num_hidden_layers": 1, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64,
        "max_position_embeddings": 32}
TEXT = {"kind": "text", "max_length": 24, "tokenizer": {"kind": "wordpiece", "vocab_size": 300}}
TRAINING: dict[str, Any] = {"max_steps": 12, "num_train_epochs": 4, "learning_rate": 3e-3}


def small(name: str) -> dict[str, Any]:
    """Return a recipe of the page with a small network, few steps and few held-out rows."""
    page = DOCS.read_text(encoding="utf-8").split("## Learning")[1]
    blocks = [parse_yaml(block.split("```")[0], "docs/text.md") for block in page.split("```yaml\n")[1:]]
    recipe: dict[str, Any] = next(block for block in blocks if block["name"] == name)
    recipe["threads"] = 1
    for stage, settings in recipe["stages"].items():
        if stage == "prepare":
            settings["inputs"] = {"text": TEXT}
            settings["split"] = {"kind": "stratified", "validation": 30, "test": 30}
        elif stage not in ("teach", "evaluate"):
            settings.update(TRAINING)
            settings.update({"model": BERT} if "model" in settings else {})
    return recipe


def write(folder: Path) -> None:
    """Write labelled.csv, and unlabelled.csv with texts of other words."""
    folder.mkdir(parents=True, exist_ok=True)
    own, other = sentences(160), [text.replace("number", "nr") for text, _ in sentences(300, seed=5)[160:]]
    for name, rows in (("labelled.csv", own), ("unlabelled.csv", [(text, "") for text in other])):
        with (folder / name).open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows([("text", "label"), *rows])
    (folder / "unlabelled.txt").write_text("\n".join(other) + "\n", encoding="utf-8")


def facts(run: Path, stage: str) -> dict[str, Any]:
    manifest = load_manifest(run / stage)
    assert manifest is not None
    return manifest.facts


def test_fine(tmp_path: Path) -> None:
    write(tmp_path)
    found = facts(run_here(tmp_path, small("fine")), "finetune")
    assert found["steps"] == found["total_steps"] == 12 and found["best_step"] > 3  # of the averages, which begin after 30%


def test_pseudo_labels(tmp_path: Path) -> None:
    write(tmp_path)
    run = run_here(tmp_path, small("pseudo-labels"))
    assert facts(run, "teach")["unlabelled"] > 100
    rows = pa.concat_tables(ShardReader(run / "teach/train").tables())
    bare = rows["label"].to_numpy() < 0
    said = np.stack(rows["label.teacher"].filter(pa.array(bare)).combine_chunks().to_numpy(zero_copy_only=False))
    np.testing.assert_allclose(np.exp(said).sum(1), 1, atol=1e-4)
    assert facts(run, "student")["task"] == "distillation" and facts(run, "student")["rows"] == len(rows)


def test_consistency(tmp_path: Path) -> None:
    write(tmp_path)
    run = run_here(tmp_path, small("consistency"))
    rows, kept = facts(run, "finetune")["rows"], facts(run, "prepare")["rows"]["train"]
    assert facts(run, "finetune")["task"] == "consistency" and rows == kept == 100 + 140
    replay = pa.concat_tables(ShardReader(run / "finetune/replay").tables())
    assert len(replay) == 100 and (replay["label"].to_numpy() >= 0).all()
    names = {key for line in (run / "finetune/curves.jsonl").read_text(encoding="utf-8").splitlines() for key in yaml.safe_load(line)}
    assert {"consistency_loss", "sure"} <= names


@pytest.mark.parametrize("stage", ["adapted", "plain"])
def test_another_domain(tmp_path: Path, stage: str) -> None:
    write(tmp_path)
    recipe = small("another-domain")
    recipe["stages"] = {name: settings for name, settings in recipe["stages"].items() if name in ("prepare", "pretrain", stage)}
    run = run_here(tmp_path, recipe)
    assert facts(run, "pretrain")["rows"] + facts(run, "pretrain")["held_out_rows"] == 240  # both domains' texts
    assert facts(run, stage)["task"] == {"adapted": "shifted", "plain": "classification"}[stage]
