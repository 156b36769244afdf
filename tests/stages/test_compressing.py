"""Chains of methods, and the rows that they calibrate on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bessemer.core.errors import UserError
from bessemer.core.pick import make
from bessemer.core.recipe import make_recipe
from bessemer.core.schema import Schema
from bessemer.data.shards import ShardReader
from bessemer.stages._compressing import calibration_of, chain_names, write_chain
from bessemer.testing.graphs import CALIBRATION
from tests.export.test_onnx import export, tiny_bert


def methods_of(given: object) -> list[object]:
    recipe = make_recipe({"name": "a", "stages": {"compress": {"methods": given}}}, "test")
    found = recipe.plain()["stages"]["compress"]["methods"]
    again = make_recipe(json.loads(json.dumps({"name": "a", "stages": {"compress": {"methods": found}}})), "test")
    assert again.stages == recipe.stages
    return [[method["kind"] for method in chain] for chain in found]


def test_a_method_may_stand_alone_or_follow_another() -> None:
    assert methods_of(["dynamic_int8", {"kind": "dynamic_int8", "per_channel": False}]) == [["dynamic_int8"], ["dynamic_int8"]]
    assert methods_of([["dynamic_int8", "dynamic_int8"]]) == [["dynamic_int8", "dynamic_int8"]]
    with pytest.raises(UserError, match=r"stages\.compress: 'methods\.1\.0': .*there is no 'dynamic_int9'.*did you mean 'dynamic_int8'"):
        methods_of(["dynamic_int8", ["dynamic_int9"]])
    with pytest.raises(UserError, match="'methods.0': expected at least 1 item, not 0"):
        methods_of([[]])


def test_names_of_chains_are_different() -> None:
    one = make("compress", "dynamic_int8")
    assert chain_names([(one,), (one, one), (one,), (one,)]) == ["dynamic_int8", "dynamic_int8+dynamic_int8", "dynamic_int8-2",
                                                                 "dynamic_int8-3"]


def test_a_chain_of_two_is_the_second_on_what_the_first_wrote(tmp_path: Path) -> None:
    export(tiny_bert(), tmp_path / "model.onnx")
    one, scratch = make("compress", "dynamic_int8"), tmp_path / "scratch"
    scratch.mkdir()
    first = write_chain((one,), tmp_path / "model.onnx", tmp_path / "a.onnx", CALIBRATION, scratch)
    second = write_chain((one,), tmp_path / "a.onnx", tmp_path / "b.onnx", CALIBRATION, scratch)
    both = write_chain((one, one), tmp_path / "model.onnx", tmp_path / "c.onnx", CALIBRATION, scratch)
    assert both == {"bytes": second["bytes"], "bytes_before": first["bytes_before"], "lossy": True, "steps": [first, second]}
    assert (tmp_path / "b.onnx").read_bytes() == (tmp_path / "c.onnx").read_bytes()
    assert not any(scratch.iterdir())


def test_calibration_rows_are_training_rows_as_the_network_was_trained_on_them(finished: Path) -> None:
    data = finished / "runs" / "tiny" / "prepare"
    found, reader = calibration_of(data, 50, 0), ShardReader(data / "train")
    batches = list(found.batches())
    assert found.rows == 50 and [len(batch["input_ids"]) for batch in batches] == [16, 16, 16, 2]
    assert all(np.array_equal(one["input_ids"], two["input_ids"]) for one, two in zip(batches, found.batches(), strict=True))
    known = {tuple(row) for row in reader.take(np.arange(len(reader)), ["text.ids"])["text.ids"].to_pylist()}
    most = Schema.load(data).columns[0].modality["max_length"]
    for batch in batches:
        for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True):
            real = ids[mask == 1]
            assert len(real) <= most and (tuple(real[1:-1]) in known or len(real) == most)
    assert calibration_of(data, 10**6, 0).rows == len(reader)
