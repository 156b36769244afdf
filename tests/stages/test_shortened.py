"""finetune with max_length: learnt from fewer tokens than prepared, answered by all."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bessemer.api import run
from bessemer.core.errors import UserError
from bessemer.core.forms import open_form, read_forms
from bessemer.stages._budget_space import Origin, Training, recipe_of
from bessemer.stages.compress import validation_rows
from tests.conftest import sentences, write_csv

torch.set_num_threads(1)
MODEL = {"kind": "bert", "num_hidden_layers": 1, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64,
         "max_position_embeddings": 32}


def recipe(length: int, **stages: dict[str, Any]) -> dict[str, Any]:
    plain = {"num_train_epochs": 1, "learning_rate": 5e-3}
    return {"name": f"to-{length}", "threads": 1, "stages": {
        "prepare": {"sources": [{"kind": "csv", "path": "rows.csv"}], "targets": {"label": {"kind": "category"}},
                    "inputs": {"text": {"kind": "text", "max_length": length, "tokenizer": {"kind": "words"}}},
                    "split": {"kind": "stratified", "validation": 60, "test": 20}},
        **{name: {"kind": "finetune", "model": MODEL, **plain, **item} for name, item in stages.items()}}}


def test_it_learns_what_data_prepared_so_short_teach_and_answers_by_all_tokens(tmp_path: Path) -> None:
    write_csv(tmp_path / "rows.csv", sentences(200))
    with contextlib.chdir(tmp_path):
        run(recipe(24, finetune={}, cut={"max_length": 8}))
        run(recipe(8, finetune={}))
    places = ("to-24/cut", "to-8/finetune", "to-24/finetune")
    weights = {name: (tmp_path / "runs" / name / "model.safetensors").read_bytes() for name in places}
    assert weights["to-24/cut"] == weights["to-8/finetune"] != weights["to-24/finetune"]
    rows, _ = validation_rows(tmp_path / "runs/to-24/prepare", 60)
    long, short = (open_form(tmp_path / "runs" / name).predict(rows)["label"].values for name in ("to-24/cut", "to-8/finetune"))
    assert read_forms(tmp_path / "runs/to-24/cut")[0].predictor.max_length == 24  # type: ignore[attr-defined]
    assert not np.allclose(long, short)
    with contextlib.chdir(tmp_path), pytest.raises(UserError, match="max_length is 40, and the column 'text' was prepared with 24;"):
        run(recipe(24, cut={"max_length": 40}))


def test_a_search_trains_at_the_length_that_is_enough(finished: Path) -> None:
    source = finished / "runs/tiny"
    origin = Origin.of(source / "finetune", source / "prepare")
    settings = {"family": "text_cnn", "embedding_size": 16, "channels": 8, "min_count": 1}
    plain, short = (recipe_of(settings, 2, origin, Training("of-a", 0, 1, origin.data, length=length)) for length in (None, 12))
    assert [stage.get("max_length") for stage in short["stages"].values()] == [12, 12] and plain["name"] != short["name"]
    assert all("max_length" not in stage for stage in plain["stages"].values())
