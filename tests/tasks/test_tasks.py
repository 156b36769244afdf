"""The tasks: losses equal transformers' and torch's, masks are keyed by row, pairs are what they say."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
import transformers

from bessemer.core import registry
from bessemer.core.errors import GuardError, UserError
from bessemer.core.schema import Column, Role, Schema
from bessemer.core.task_spec import TaskSpec
from bessemer.core.types import Batch, Codec, Task
from bessemer.nn.bert import Bert, BertConfig
from bessemer.nn.checkpoint import save_network

torch.set_num_threads(1)
PAD, UNK, CLS, SEP, MASK, VOCAB = 0, 1, 2, 3, 4, 60
INFO: dict[str, Any] = {"vocab_size": VOCAB, "pad_token_id": PAD, "cls_token_id": CLS, "sep_token_id": SEP,
                        "mask_token_id": MASK, "special_token_ids": [PAD, UNK, CLS, SEP, MASK]}


def collate(columns: Any, max_length: int | None) -> dict[str, np.ndarray]:
    """[CLS] ids [SEP], padded: the plain reference."""
    rows = [[CLS, *ids[:max_length - 2 if max_length else None], SEP] for ids in columns["ids"].to_pylist()]
    length = max(map(len, rows))
    ids = np.array([row + [PAD] * (length - len(row)) for row in rows], np.int64)
    mask = np.array([[1] * len(row) + [0] * (length - len(row)) for row in rows], np.int64)
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}


def table(num_rows: int = 40, single: bool = False) -> pa.Table:
    """Rows whose token ids tell the row: 5 + row % 50, in sentences of 1 to 5 tokens; each third row has one."""
    rng = np.random.default_rng(0)
    ids, starts = [], []
    for row in range(num_rows):
        sizes = rng.integers(1, 6, 1 if single or row % 3 == 0 else rng.integers(2, 6))
        ids.append([5 + row % 50] * int(sizes.sum()))
        starts.append([0, *np.cumsum(sizes)[:-1].tolist()])
    return pa.table({"row_id": np.arange(num_rows) * 7 + 100, "post": ["x"] * num_rows,
                     "post.ids": pa.array(ids, pa.list_(pa.int32())),
                     "post.starts": pa.array(starts, pa.list_(pa.int32())),
                     "mood": pa.array(rng.integers(0, 3, num_rows), pa.int32())})


def spec_of(rows: pa.Table, max_length: int = 64, weight: bool = False) -> TaskSpec:
    """A split held in memory."""
    columns = [Column(name="post", role=Role.INPUT, modality={"kind": "text"}),
               Column(name="mood", role=Role.TARGET, modality={"kind": "category"}, labels=("sad", "calm", "glad"))]
    if weight:
        columns.append(Column(name="trust", role=Role.WEIGHT, modality={"kind": "number"}))
    lengths = np.array([len(ids) for ids in rows["post.ids"].to_pylist()])
    return TaskSpec(
        schema=Schema(columns=tuple(columns)), take=lambda positions: rows.take(pa.array(positions)), count=len(rows),
        stored=lambda name: rows[name].to_numpy(), lengths=lengths,
        codec=Codec(encode=lambda _: {}, collate=collate, length="ids", info=INFO), column="post", seed=5,
        max_length=max_length)


def task_of(name: str, spec: TaskSpec, **settings: Any) -> Task:
    """Build a registered task."""
    chosen = registry.plugin("tasks", name)
    found: Task = chosen.function(chosen.config(**settings), spec)
    return found


def network(*heads: str) -> Bert:
    """A seeded network without dropout."""
    torch.manual_seed(0)
    shape = BertConfig(vocab_size=VOCAB, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                       intermediate_size=16, max_position_embeddings=64, initializer_range=0.3)
    return Bert(shape, heads, 3 if "classification" in heads else 0).eval()


def row_of(batch: Batch, index: int) -> tuple[list[int], list[int]]:
    """Ids and segments of one row, without padding."""
    inputs = batch.inputs["post"]
    real = inputs["attention_mask"][index].bool()
    return inputs["input_ids"][index][real].tolist(), inputs["token_type_ids"][index][real].tolist()


def dense(batch: Batch) -> torch.Tensor:
    """The labels as Hugging Face wants them: -100 where nothing is predicted."""
    labels = torch.full_like(batch.inputs["post"]["input_ids"], -100)
    labels.view(-1)[batch.inputs["post"]["masked_positions"]] = batch.targets["mlm"]
    return labels


@pytest.mark.parametrize("name", ["mlm", "mlm_nsp"])
def test_pretraining_loss_equals_transformers(name: str, tmp_path: Path) -> None:
    """The loss equals BertForMaskedLM's / BertForPreTraining's on the same batch, rows of one sentence included."""
    task = task_of(name, spec_of(table()))
    net = network(*task.heads)
    save_network(net, tmp_path)
    batch = task.batch(np.arange(20), 0)
    inputs = {key: batch.inputs["post"][key] for key in ("input_ids", "attention_mask", "token_type_ids")}
    with torch.no_grad():
        found = task.loss(net, batch)
        if name == "mlm":
            expected = transformers.BertForMaskedLM.from_pretrained(tmp_path).eval()(**inputs, labels=dense(batch)).loss
        else:
            nsp = torch.where(batch.present["nsp"], batch.targets["nsp"], -100)
            assert set(nsp.tolist()) == {-100, 0, 1}
            theirs = transformers.BertForPreTraining.from_pretrained(tmp_path).eval()
            expected = theirs(**inputs, labels=dense(batch), next_sentence_label=nsp).loss
    torch.testing.assert_close(found.total, expected, atol=1e-5, rtol=1e-5)
    parts = sum(float(found.sums[key][0]) / float(found.sums[key][1]) for key in found.sums if key.endswith("loss"))
    assert parts == pytest.approx(expected.item(), abs=1e-5)


def test_masking_statistics() -> None:
    """15% are predicted, of those 80% masked, 10% random, 10% kept; never a special token; at least one a row."""
    ids = np.random.default_rng(0).integers(1, VOCAB, (400, 60))
    rows = pa.table({"row_id": np.arange(400), "post.ids": pa.array(ids.tolist(), pa.list_(pa.int32()))})
    batch = task_of("mlm", spec_of(rows)).batch(np.arange(400), 0)
    positions, hidden = batch.inputs["post"]["masked_positions"], batch.targets["mlm"]
    shown = batch.inputs["post"]["input_ids"].view(-1)[positions]
    assert hidden.min() > MASK and abs(len(positions) / (ids > MASK).sum() - 0.15) < 0.01
    masked, kept = (shown == MASK), (shown == hidden)
    assert abs(masked.float().mean() - 0.8) < 0.02 and abs(kept.float().mean() - 0.1) < 0.02
    assert shown[~masked].min() > MASK and len(set(shown[~masked & ~kept].tolist())) > 50
    short = pa.table({"row_id": np.arange(300), "post.ids": pa.array([[9]] * 300, pa.list_(pa.int32()))})
    assert task_of("mlm", spec_of(short)).batch(np.arange(300), 0).inputs["post"]["masked_positions"].tolist() == [
        1 + 3 * row for row in range(300)]


@pytest.mark.parametrize("name", ["mlm", "mlm_nsp"])
def test_a_row_does_not_depend_on_its_batch(name: str) -> None:
    """A row's masks and pair are the same in any batch; another epoch gives others, epoch -1 always the same."""
    task = task_of(name, spec_of(table()))
    whole, part = task.batch(np.arange(40), 3), task.batch(np.array([37, 4, 16]), 3)
    for index, position in enumerate((37, 4, 16)):
        assert row_of(part, index) == row_of(whole, position)
        real = part.inputs["post"]["attention_mask"][index].sum()
        assert torch.equal(dense(part)[index][:real], dense(whole)[position][:real])
    other = task.batch(np.arange(40), 4)
    assert [row_of(other, row) for row in range(40)] != [row_of(whole, row) for row in range(40)]


@pytest.mark.parametrize("max_length", [64, 9])
def test_pairs(max_length: int) -> None:
    """A true pair splits its own row at a sentence boundary; a false one ends with another row's tail; lengths fit."""
    rows = table(200)
    task = task_of("mlm_nsp", spec_of(rows, max_length), mask_probability=1e-9, replaced=0, randomised=0)
    batch = task.batch(np.arange(200), 0)
    label, paired = batch.targets["nsp"], batch.present["nsp"]
    assert paired.tolist() == [len(starts) >= 2 for starts in rows["post.starts"].to_pylist()]
    assert 0.4 < label[paired].float().mean() < 0.6 and not label[~paired].any()
    for row in range(200):
        ids, types = row_of(batch, row)
        own, starts = rows["post.ids"][row].as_py(), rows["post.starts"][row].as_py()
        assert len(ids) <= max_length and ids[0] == CLS and ids[-1] == SEP
        if not paired[row]:
            assert ids[1:-1] == own[:max_length - 2] and not any(types)
            continue
        middle = ids.index(SEP)
        first, second = ids[1:middle], ids[middle + 1:-1]
        assert types == [0] * (middle + 1) + [1] * (len(second) + 1) and first and second
        assert set(first) == {own[0]}
        if label[row] == 0:
            assert set(second) == {own[0]}
            if len(own) + 3 <= max_length:
                assert len(first) in starts and first + second == own


def test_negatives_come_from_other_rows() -> None:
    """With ids unique to a row, no false pair ever holds its own row."""
    rows = table(45)
    for epoch in range(5):
        task = task_of("mlm_nsp", spec_of(rows), mask_probability=1e-9, replaced=0, randomised=0)
        batch = task.batch(np.arange(45), epoch)
        for row in np.flatnonzero(batch.targets["nsp"].numpy()):
            ids, types = row_of(batch, int(row))
            second = {token for token, kind in zip(ids, types, strict=True) if kind and token != SEP}
            assert len(second) == 1 and second != {5 + row} and (second.pop() - 5) % 3 != 0


def test_no_pairs_is_an_error() -> None:
    """Next-sentence prediction without rows of several sentences names the task that fits."""
    with pytest.raises(UserError, match="found 0 in 40 rows; pretrain with the task 'mlm'"):
        task_of("mlm_nsp", spec_of(table(single=True)))


@pytest.mark.parametrize("class_weights", ["none", "balanced"])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_classification_equals_torch(class_weights: str, label_smoothing: float) -> None:
    """The loss equals torch's own weighted, smoothed mean; unlabelled rows do not count."""
    rows = table()
    rows = rows.set_column(4, "mood", pa.array([-1, *rows["mood"].to_pylist()[1:]], pa.int32()))
    task = task_of("classification", spec_of(rows), class_weights=class_weights, label_smoothing=label_smoothing)
    net, batch = network("classification"), task.batch(np.arange(40), 0)
    codes = torch.tensor(rows["mood"].to_pylist())
    counts = torch.bincount(codes[1:], minlength=3)
    weight = None if class_weights == "none" else (39 / (3 * counts)).float()
    logits = net(*(batch.inputs["post"][key] for key in ("input_ids", "attention_mask", "token_type_ids")))
    expected = torch.nn.CrossEntropyLoss(weight, label_smoothing=label_smoothing)(logits[1:], codes[1:])
    found = task.loss(net, batch)
    torch.testing.assert_close(found.total, expected)
    assert batch.present["mood"].tolist() == [False] + [True] * 39
    assert float(found.sums["loss"][0]) / float(found.sums["loss"][1]) == pytest.approx(expected.item())
    assert int(found.sums["accuracy"][0]) == int((logits[1:].argmax(1) == codes[1:]).sum())
    assert found.sums["accuracy"][1] == 39


def test_row_weights() -> None:
    """A row of weight 3 counts as three rows, one of weight 0 as none; a batch without labels has a loss of 0."""
    rows = table(6).append_column("weight", pa.array([3.0, 0, 1, 1, 1, 1]))
    rows = rows.set_column(4, "mood", pa.array([0, 1, 2, 0, 1, -1], pa.int32()))
    task, net = task_of("classification", spec_of(rows, weight=True)), network("classification")
    plain = task_of("classification", spec_of(rows))
    with torch.no_grad():
        torch.testing.assert_close(task.loss(net, task.batch(np.array([0, 1, 2]), 0)).total,
                                   plain.loss(net, plain.batch(np.array([0, 0, 0, 2]), 0)).total)
        assert task.loss(net, task.batch(np.array([5, 5]), 0)).total == 0


def test_classification_guards() -> None:
    """A label that never occurs in training is named; another split is judged by the training split; unknown target."""
    rows = table()
    train = spec_of(rows)
    poor = spec_of(rows.set_column(4, "mood", pa.array([0, 2] * 20, pa.int32())))
    with pytest.raises(GuardError, match="the label 'calm' of 'mood' never occurs in the training data"):
        task_of("classification", poor)
    task_of("classification", dataclasses.replace(poor, fitted_on=train))
    with pytest.raises(UserError, match="no target 'moot' of kind 'category'; did you mean 'mood'"):
        task_of("classification", train, target="moot")
