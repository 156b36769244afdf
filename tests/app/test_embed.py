"""Vectors against those that transformers gives for the same folder; every row of a file in the output."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import torch

from bessemer import run
from bessemer.app.embed import Embedder
from bessemer.core.errors import UserError
from tests.conftest import write_csv

RUN = "runs/tiny"


@pytest.mark.parametrize("pooling", ["mean", "first"])
def test_vectors_are_those_of_transformers(finished, pooling):
    from transformers import AutoModel, AutoTokenizer

    folder = finished / RUN / "finetune"
    texts = ["The room number 7 was lovely today.", "很好", "第5次，饭菜很差。 awful"]
    found = Embedder.load(finished / RUN, pooling=pooling, normalised=False).embed(pa.table({"text": texts}))
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    for text, vector in zip(texts, found, strict=True):
        with torch.no_grad():
            hidden = model(**tokenizer(text, return_tensors="pt", truncation=True, max_length=24)).last_hidden_state[0]
        np.testing.assert_allclose(vector, (hidden.mean(0) if pooling == "mean" else hidden[0]).numpy(), atol=1e-5)


def test_a_rows_vector_has_length_1_and_does_not_depend_on_its_neighbours(finished):
    embedder = Embedder.load(finished / RUN)
    texts = ["lovely", "The staff were rude. " * 5, "满意"]
    together = embedder.embed(pa.table({"text": texts}))
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    for text, vector in zip(texts, together, strict=True):
        np.testing.assert_allclose(embedder.embed(pa.table({"text": [text]}))[0], vector, atol=1e-5)


def test_every_row_of_a_file_is_in_the_output(finished, tmp_path, bessemer):
    write_csv(tmp_path / "new.csv", [("lovely", "x"), ("", "x"), ("rude", "x")])
    bessemer("embed", finished / RUN, tmp_path / "new.csv", "--output", tmp_path / "vectors.parquet")
    found = parquet.read_table(tmp_path / "vectors.parquet")
    assert found["row"].to_pylist() == [1, 2, 3]
    assert found["problem"].to_pylist() == [None, "missing", None]
    assert [value is None for value in found["embedding"].to_pylist()] == [False, True, False]
    alone = Embedder.load(finished / RUN).embed(pa.table({"text": ["rude"]}))[0]
    np.testing.assert_allclose(found["embedding"][2].as_py(), alone, atol=1e-5)


def test_the_pretrained_network_embeds_too_and_a_linear_one_does_not(finished):
    assert Embedder.load(finished / RUN, "pretrain").embed(pa.table({"text": ["lovely"]})).shape == (1, 32)
    with pytest.raises(UserError, match="its stage 'baseline' holds no trained network, which alone gives vectors"):
        Embedder.load(finished / RUN, "baseline")


def test_rows_of_a_table(tmp_path):
    rng = np.random.default_rng(0)
    rows = pa.table({"a": rng.normal(size=120), "b": rng.choice(["x", "y"], 120), "y": rng.normal(size=120)})
    parquet.write_table(rows, tmp_path / "rows.parquet")
    result = run({"name": "t", "output_dir": str(tmp_path / "run"), "threads": 1, "stages": {
        "prepare": {"sources": [{"kind": "parquet", "path": str(tmp_path / "rows.parquet")}], "targets": {"y": {"kind": "number"}},
                    "inputs": {"a": {"kind": "number"}, "b": {"kind": "category"}},
                    "split": {"kind": "random", "validation": 0.2, "test": 0.2}},
        "finetune": {"model": {"kind": "members", "members": 2, "hidden_sizes": [16]}, "num_train_epochs": 1}}})
    embedder = Embedder.load(result.root)
    whole = embedder.embed(rows.slice(0, 5))
    assert whole.shape == (5, 16)
    np.testing.assert_allclose(embedder.embed(rows.slice(2, 1))[0], whole[2], atol=1e-6)
