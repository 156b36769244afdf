"""teach: rows of the data unchanged, rows made new beside them, answers that are the teachers' own; students learn more from them."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch
import yaml

from bessemer.api import run
from bessemer.core.artifact import load_manifest
from bessemer.core.errors import UserError
from bessemer.core.forms import open_form
from bessemer.core.schema import Schema
from bessemer.data.shards import ShardReader
from bessemer.modalities.vectors import open_vectors
from bessemer.stages._teaching import Parts, hashes
from tests.conftest import sentences, write_csv

torch.set_num_threads(1)
BERT = {"kind": "bert", "num_hidden_layers": 1, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64,
        "max_position_embeddings": 32}
NGRAMS = {"kind": "ngrams", "embedding_size": 16, "buckets": 64, "hidden_size": 0, "sizes": [1], "dropout": 0.0}
TEXT = {
    "name": "text", "threads": 1, "stages": {
        "prepare": {"sources": [{"kind": "csv", "path": "rows.csv"}],
                    "inputs": {"text": {"kind": "text", "max_length": 24, "tokenizer": {"kind": "wordpiece", "vocab_size": 300}}},
                    "targets": {"label": {"kind": "category"}}, "split": {"kind": "stratified", "validation": 80, "test": 40}},
        "pretrain": {"model": BERT, "num_train_epochs": 1, "learning_rate": 1e-3},
        "finetune": {"init": "pretrain", "num_train_epochs": 1, "learning_rate": 5e-3},
        "baseline": {"kind": "finetune", "model": {"kind": "tfidf_linear", "analyzers": ["word"], "losses": ["logistic"], "c": [1.0]}},
        "teach": {"models": ["finetune", "baseline"], "copies": 2, "sources": [{"kind": "lines", "path": "more.txt"}]},
        "by_model": {"kind": "teach", "models": ["baseline"], "masked_model": "pretrain", "copies": 1},
        "rounded": {"kind": "teach", "models": ["finetune"], "copies": 0, "bf16": True},
        "by_words": {"kind": "teach", "models": ["baseline"], "copies": 3, "spans": 0.5},
        "again": {"kind": "teach", "data": "teach", "models": ["baseline"], "copies": 1,
                  "sources": [{"kind": "lines", "path": "others.txt"}]},
        "taught": {"kind": "finetune", "data": "by_words", "model": NGRAMS, "learning_rate": 2e-2, "max_steps": 60, "num_train_epochs": 99},
        "alone": {"kind": "finetune", "model": NGRAMS, "learning_rate": 2e-2, "max_steps": 60, "num_train_epochs": 99}}}


def run_here(folder: Path, recipe: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False), encoding="utf-8")
    with contextlib.chdir(folder):
        run("recipe.yaml")
    return folder / "runs" / recipe["name"]


def write_texts(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(folder / "rows.csv", sentences(240))
    further = [text for text, _ in sentences(300, seed=9)][:60] + [text for text, _ in sentences(240)][:30]
    (folder / "more.txt").write_text("\n".join(text.replace("\n", " ") for text in further) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    write_texts(folder)
    (folder / "others.txt").write_text("\n".join(text for text, _ in sentences(300, seed=5)[:20]) + "\n", encoding="utf-8")
    return run_here(folder, TEXT)


def train(folder: Path) -> pa.Table:
    return pa.concat_tables(ShardReader(folder / "train").tables())


@pytest.mark.parametrize("stage", ["teach", "by_model", "by_words"])
def test_rows_of_the_data_come_first_and_unchanged(text: Path, stage: str) -> None:
    before, after = train(text / "prepare"), train(text / stage)
    assert after.slice(0, len(before)).select(before.column_names).equals(before)
    assert after[".made"].to_pylist()[:len(before)] == [0] * len(before)
    for name in ("schema.json", "validation/00000.arrow", "test/00000.arrow"):
        assert (text / stage / name).read_bytes() == (text / "prepare" / name).read_bytes()
    manifest = load_manifest(text / stage)
    assert manifest is not None and manifest.facts["given"] == len(before)
    made = manifest.facts["copies"] + manifest.facts["unlabelled"]
    asked = len(before) * {"teach": 2, "by_model": 1, "by_words": 3}[stage] + (90 if stage == "teach" else 0)
    assert made == len(after) - len(before) and made > 0.5 * asked
    assert made + manifest.facts["equal_left_out"] <= asked  # what is missing came out empty


@pytest.mark.parametrize("stage", ["teach", "by_model", "by_words"])
def test_new_rows_are_no_rows_that_there_were(text: Path, stage: str) -> None:
    """No label; no text of training, validation or test; none twice; ids of their own; answers that are log-probabilities."""
    after = train(text / stage)
    new = after.filter(pc.greater(after[".made"], 0))
    assert set(new["label"].to_pylist()) == {-1}
    known = [hashes(table, ("text.ids",)) for split in ("train", "validation", "test")
             for table in ShardReader(text / "prepare" / split).tables()]
    mine = hashes(new, ("text.ids",))
    assert not np.isin(mine, np.concatenate(known)).any() and len(np.unique(mine)) == len(mine)
    assert len(pc.unique(after["row_id"])) == len(after)
    said = np.array(after["label.teacher"].to_pylist())
    assert np.isfinite(said).all() and said.max() <= 0
    np.testing.assert_allclose(np.exp(said).sum(1), 1, atol=1e-6)


def test_answers_are_the_mean_of_the_teachers_probabilities(text: Path) -> None:
    after = train(text / "teach")
    rows = after.select(["text"])
    mean = np.mean([open_form(text / name).predict(rows)["label"].values for name in ("finetune", "baseline")], axis=0)
    np.testing.assert_allclose(np.exp(np.array(after["label.teacher"].to_pylist())), mean, atol=2e-5)


def test_rows_that_were_taught_are_taught_again(text: Path) -> None:
    """What the new teacher says counts; rows keep what they are; new ones have ids of their own."""
    before, after = train(text / "teach"), train(text / "again")
    count = len(before)
    kept = [name for name in before.column_names if name != "label.teacher"]
    assert after.column_names == before.column_names and after.slice(0, count).select(kept).equals(before.select(kept))
    said = open_form(text / "baseline").predict(after.select(["text"]))["label"].values
    np.testing.assert_allclose(np.exp(np.array(after["label.teacher"].to_pylist())), said, atol=2e-5)
    assert len(pc.unique(after["row_id"])) == len(after)
    assert set(after[".made"].to_pylist()[count:]) == {1, 2} and set(after["label"].to_pylist()[count:]) == {-1}


def test_answers_in_bfloat16_are_near_the_exact_ones(text: Path) -> None:
    after = train(text / "rounded")
    exact = open_form(text / "finetune").predict(after.select(["text"]))["label"].values
    found = np.exp(np.array(after["label.teacher"].to_pylist()))
    assert not np.allclose(found, exact, atol=1e-6)
    np.testing.assert_allclose(found, exact, atol=0.02)


def test_stored_ids_are_those_of_the_stored_text(text: Path) -> None:
    from bessemer.modalities import codec_of

    schema = Schema.load(text / "teach")
    for stage in ("teach", "by_model"):
        after = train(text / stage)
        encoded = codec_of(schema.columns[0], text / stage).encode(after["text"].combine_chunks())
        assert encoded["ids"].to_pylist() == after["text.ids"].to_pylist()


def test_the_same_seed_gives_the_same_bytes(text: Path, tmp_path: Path) -> None:
    """Another folder, another process state: the same shards; another seed: other rows."""
    write_texts(tmp_path)
    stages = {name: TEXT["stages"][name] for name in ("prepare", "baseline", "by_words")}  # type: ignore[index]
    again = run_here(tmp_path, {**TEXT, "stages": stages})
    assert (again / "by_words/train/00000.arrow").read_bytes() == (text / "by_words/train/00000.arrow").read_bytes()


def test_a_student_answers_more_as_its_teacher_than_one_of_the_labels(text: Path) -> None:
    """The same network, steps and rate; KL(teacher || student) over the validation rows."""
    rows = pa.concat_tables(ShardReader(text / "prepare/validation").tables()).select(["text"])
    teacher, taught, alone = (open_form(text / name).predict(rows)["label"].values.astype(np.float64)
                              for name in ("baseline", "taught", "alone"))
    apart = [float((teacher * np.log(teacher / np.maximum(student, 1e-9))).sum(1).mean()) for student in (taught, alone)]
    assert apart[0] < apart[1]
    found = load_manifest(text / "taught")
    assert found is not None and found.facts["task"] == "distillation"


def test_pieces_outlive_a_kill(tmp_path: Path) -> None:
    """What was asked once is not asked again; a piece that was not finished is."""
    calls: list[str] = []

    def make(name: str) -> pa.Table:
        calls.append(name)
        return pa.table({"x": [name]})

    parts = Parts(tmp_path)
    parts.table("one", lambda: make("one"))
    (tmp_path / "two.part").write_bytes(b"half")
    again = Parts(tmp_path)
    assert again.table("one", lambda: make("one"))["x"].to_pylist() == ["one"]
    assert again.table("two", lambda: make("two"))["x"].to_pylist() == ["two"]
    assert calls == ["one", "two"]


def test_what_cannot_be_taught_is_said(text: Path, tmp_path: Path) -> None:
    def error(**settings: Any) -> str:
        stage = {"kind": "teach", "data": str(text / "prepare"), "models": [str(text / "baseline")], **settings}
        with pytest.raises(UserError) as raised:
            run_here(tmp_path, {"name": "bad", "stages": {"teach": stage}})
        return str(raised.value)

    assert "replace: model needs 'masked_model'" in error(replace="model")
    assert "needs a network among 'models'" in error(replace="neighbours")


TABLE = {
    "name": "table", "threads": 1, "stages": {
        "prepare": {"sources": [{"kind": "csv", "path": "rows.csv"}],
                    "inputs": {"a": {"kind": "number"}, "b": {"kind": "number"}, "c": {"kind": "category"}},
                    "targets": {"y": {"kind": "number"}, "kind": {"kind": "category"}}, "crosses": [["a", "b"]],
                    "split": {"kind": "random", "validation": 60, "test": 40}},
        "finetune": {"model": {"kind": "linear", "c": [1.0]}},
        "teach": {"copies": 2},
        "again": {"kind": "teach", "data": "teach", "copies": 1},
        "student": {"kind": "finetune", "data": "teach", "model": {"kind": "mlp", "hidden_sizes": [16]}, "num_train_epochs": 2,
                    "learning_rate": 1e-2}}}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, draw = tmp_path_factory.mktemp("table"), np.random.default_rng(0)
    a, b, c = draw.normal(size=300).round(3), draw.exponential(size=300).round(3), draw.integers(0, 4, 300)
    y = (a * 2 - b + c).round(3)
    write_csv(folder / "rows.csv", [(a[i], b[i], "pqrs"[c[i]], y[i], "high" if y[i] > 1 else "low") for i in range(300)],
              ("a", "b", "c", "y", "kind"))
    return run_here(folder, TABLE)


def test_new_rows_of_a_table_are_made_of_its_cells_and_encoded_as_prepare_does(table: Path) -> None:
    before, after = train(table / "prepare"), train(table / "teach")
    count = len(before)
    assert after.slice(0, count).select(before.column_names).equals(before)
    new = after.slice(count)
    assert len(new) > 1.8 * count and set(new[".made"].to_pylist()) == {1}
    assert np.isnan(new["y"].to_numpy()).all() and np.isnan(new["y.scaled"].to_numpy()).all() and set(new["kind"].to_pylist()) == {-1}
    for name in ("a", "b", "c"):
        assert set(new[name].to_pylist()) <= set(before[name].to_pylist())
    np.testing.assert_allclose(new["a × b"].to_numpy(), new["a"].to_numpy() * new["b"].to_numpy())
    numbers, codes = open_vectors(Schema.load(table / "teach"), table / "teach").encode(after)
    np.testing.assert_array_equal(np.array(after[".numbers"].to_pylist(), np.float32), numbers)
    np.testing.assert_array_equal(np.array(after[".codes"].to_pylist(), np.int32), codes)
    assert len(np.unique(hashes(after, (".numbers", ".codes")))) >= len(after) - 2  # rows of the data may be alike


def test_a_tables_answers_are_learnt_in_the_targets_own_scale(table: Path) -> None:
    """Where the teacher's number is the row's own, its stored answer is the row's scaled target; labels are log-probabilities."""
    from bessemer.modalities import codec_of

    after, schema = train(table / "teach"), Schema.load(table / "teach")
    said = open_form(table / "finetune").predict(after.select(["a", "b", "c"]))
    column = next(column for column in schema.columns if column.name == "y")
    scaled = codec_of(column, table / "teach").encode(pa.array(said["y"].values[:, 0].astype(np.float64)))["scaled"].to_numpy()
    np.testing.assert_allclose(after["y.teacher"].to_numpy(), scaled, atol=1e-4)
    np.testing.assert_allclose(np.exp(np.array(after["kind.teacher"].to_pylist())), said["kind"].values, atol=1e-5)
    manifest = load_manifest(table / "student")
    assert manifest is not None and manifest.facts["task"] == "supervised" and manifest.facts["rows"] == len(after)


def test_a_tables_rows_that_were_taught_are_taught_again(table: Path) -> None:
    before, after = train(table / "teach"), train(table / "again")
    kept = [name for name in before.column_names if name not in ("y", "y.scaled")]  # which are nan in made rows
    assert after.column_names == before.column_names and after.slice(0, len(before)).select(kept).equals(before.select(kept))
    assert set(after[".made"].to_pylist()[len(before):]) == {1} and len(pc.unique(after["row_id"])) == len(after)
    assert np.isfinite(after["y.teacher"].to_numpy()).all()
