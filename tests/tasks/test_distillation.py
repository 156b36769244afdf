"""Distillation against Hinton's and MiniLMv2's equations, written out; tables' teachers likewise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from pydantic import ValidationError

from bessemer.core.errors import UserError
from bessemer.core.pick import make
from bessemer.core.registry import plugin_of
from bessemer.core.task_spec import TableRows, TableSpec, TaskSpec
from bessemer.core.types import Task
from bessemer.nn.bert import Bert, BertConfig
from bessemer.nn.checkpoint import save_network
from bessemer.nn.ngrams import Ngrams, NgramsConfig
from bessemer.nn.relations import answer, relation_heads, relation_loss
from bessemer.tasks.distillation import divergence
from bessemer.testing import rows

torch.set_num_threads(1)
HEADS, POSITIONS = ("classification",), np.arange(7)


def task(spec: object, **settings: object) -> Task:
    config = make("tasks", {"kind": "distillation", **settings})
    found: Task = plugin_of("tasks", config).function(config, spec)
    return found


def softmax(x: np.ndarray) -> np.ndarray:
    power = np.exp(x - x.max(-1, keepdims=True))
    found: np.ndarray = power / power.sum(-1, keepdims=True)
    return found


def test_divergence_is_hintons_to_the_letter() -> None:
    generator = np.random.default_rng(0)
    said, mine = generator.normal(size=(5, 4)) * 3, generator.normal(size=(5, 4)) * 2
    for temperature in (1.0, 2.5):
        p, q = softmax(said / temperature), softmax(mine / temperature)
        byhand = temperature**2 * (p * np.log(p / q)).sum(1)
        found = divergence(torch.from_numpy(said), torch.from_numpy(mine), temperature)
        np.testing.assert_allclose(found.numpy(), byhand, rtol=1e-9)
        torch_own = torch.nn.functional.kl_div((torch.from_numpy(mine) / temperature).log_softmax(-1),
                                               torch.from_numpy(p), reduction="none").sum(-1) * temperature**2
        np.testing.assert_allclose(found.numpy(), torch_own.numpy(), rtol=1e-9)


def test_the_gradient_of_the_soft_part_is_the_papers() -> None:
    """Section 2.1: dC/dz = T^2 (q - p) / T = T (q - p)."""
    mine = torch.tensor([[0.3, -1.0, 2.0]], dtype=torch.float64, requires_grad=True)
    said = torch.tensor([[1.0, 0.0, 0.5]], dtype=torch.float64)
    torch.autograd.backward(divergence(said, mine, 3.0).sum())
    assert mine.grad is not None
    torch.testing.assert_close(mine.grad, 3.0 * ((mine.detach() / 3).softmax(-1) - (said / 3).softmax(-1)))


def test_loss_weighs_labels_and_teacher_and_rows_without_label_have_the_teacher_alone() -> None:
    spec = rows.split_of()
    stored = spec.take(np.arange(spec.count))
    code = stored[rows.TARGET].to_numpy().copy()
    code[[0, 3, 5]] = -1
    table = stored.set_column(stored.column_names.index(rows.TARGET), rows.TARGET, pa.array(code, pa.int32()))
    spec = replace(spec, take=lambda positions: table.take(pa.array(positions)), stored=lambda name: table[name].to_numpy())
    mine, network = task(spec, temperature=2.0, label_weight=0.3), rows.network(HEADS)
    batch = mine.batch(POSITIONS, 0)
    found = mine.loss(network, batch)
    inputs = batch.inputs[rows.INPUT]
    with torch.no_grad():
        logits = network(inputs["input_ids"], inputs["attention_mask"], inputs["token_type_ids"]).numpy().astype(np.float64)
    said = np.stack(table[f"{rows.TARGET}.teacher"].to_pylist()[:7])
    p, q = softmax(said / 2), softmax(logits / 2)
    soft = 4 * (p * np.log(p / q)).sum(1)
    hard = np.array([-np.log(softmax(logits)[row, code[row]]) if code[row] >= 0 else 0.0 for row in range(7)])
    assert found.per_row is not None
    np.testing.assert_allclose(found.per_row.numpy(), 0.3 * hard + 0.7 * soft, rtol=1e-4)
    np.testing.assert_allclose(found.total.item(), (0.3 * hard + 0.7 * soft).mean(), rtol=1e-4)
    assert int(found.sums["accuracy"][1]) == 4 and int(found.sums["agreement"][1]) == 7


def wide(size: int = 24, heads: int = 3) -> Bert:
    torch.manual_seed(5)
    return Bert(BertConfig(rows.VOCAB_SIZE, hidden_size=size, num_hidden_layers=3, num_attention_heads=heads, intermediate_size=16,
                           max_position_embeddings=32, initializer_range=0.3), HEADS, 3, rows.LABELS).eval()


def test_relations_are_the_papers_equations_by_hand() -> None:
    """MiniLMv2, equations 3 to 6: softmax(X X^T / sqrt(d_r)) of queries, keys and values; KL, a mean over heads and tokens."""
    teacher, student, arrays = wide(), rows.network(HEADS), rows.batch_of(3, 6)
    inputs = {name: torch.from_numpy(array) for name, array in arrays.items()}
    with torch.no_grad():
        _, theirs = answer(teacher, inputs, "teacher")
        _, mine = answer(student, inputs, "student")
        found = relation_loss(theirs, mine, inputs["attention_mask"], 12).numpy()
    heads = relation_heads(24, 16, 12)
    assert heads == 8
    for row in range(3):
        length, total = int(arrays["attention_mask"][row].sum()), 0.0
        for part in ("query", "key", "value"):
            for head in range(heads):
                relation = []
                for states in (theirs, mine):
                    x = states[part][row, :length].numpy().astype(np.float64)
                    x = x[:, head * x.shape[1] // heads:(head + 1) * x.shape[1] // heads]
                    relation.append(softmax(x @ x.T / np.sqrt(x.shape[1])))
                total += (relation[0] * np.log(relation[0] / relation[1])).sum() / (heads * length)
        np.testing.assert_allclose(found[row], total, rtol=1e-4)
    query = dict(teacher.named_modules())["bert.encoder.layer.2.attention.self.query"]
    with torch.no_grad():
        before = teacher.bert.encoder.layer[1](teacher.bert.encoder.layer[0](
            teacher.bert.embeddings(inputs["input_ids"], inputs["token_type_ids"]), inputs["attention_mask"].bool()[:, None, None, :]),
            inputs["attention_mask"].bool()[:, None, None, :])
        torch.testing.assert_close(theirs["query"], query(before), atol=1e-5, rtol=1e-5)


def test_a_teachers_network_is_frozen_and_asked_where_no_answers_are_stored(tmp_path: Path) -> None:
    save_network(wide(), tmp_path)
    spec = rows.split_of()
    bare = spec.take(np.arange(spec.count)).drop_columns([f"{rows.TARGET}.teacher"])
    spec = replace(spec, take=lambda positions: bare.take(pa.array(positions)), teacher=tmp_path)
    mine, student = task(spec, hidden="relations", relation_weight=0.5, label_weight=0.0, temperature=1.0), rows.network(HEADS)
    batch = mine.batch(POSITIONS, 0)
    found = mine.loss(student, batch)
    inputs = batch.inputs[rows.INPUT]
    with torch.no_grad():
        right, theirs = answer(wide(), inputs, "teacher")
        said, own = answer(student, inputs, "student")
        by_hand = divergence(right, said, 1.0) + 0.5 * relation_loss(theirs, own, inputs["attention_mask"], 12)
    assert found.per_row is not None
    torch.testing.assert_close(found.per_row, by_hand, atol=1e-5, rtol=1e-4)
    torch.autograd.backward(found.total)
    assert dict(student.named_parameters())["bert.encoder.layer.1.attention.self.value.weight"].grad is not None


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    spec = rows.split_of()
    bare = spec.take(np.arange(spec.count)).drop_columns([f"{rows.TARGET}.teacher"])
    plain = replace(spec, take=lambda positions: bare.take(pa.array(positions)))
    with pytest.raises(UserError, match="the data hold no answers of one; give data of a 'teach' stage, or the stage's key 'teacher'"):
        task(plain)
    with pytest.raises(UserError, match="hidden: relations needs the teacher's network; give the stage's key 'teacher'"):
        task(spec, hidden="relations")
    with pytest.raises((ValidationError, ValueError), match="have an effect with hidden: relations alone"):
        task(spec, relation_weight=2.0)
    scored = task(replace(plain, fitted_on=spec))
    assert scored.loss(rows.network(HEADS), scored.batch(POSITIONS, -1)).total.isfinite()  # validation: by its labels


def drawn(count: int, seed: int) -> TaskSpec:
    """Rows of 6 tokens whose label is drawn by what the tokens add up to; the stored answers are those true chances."""
    draw, weight_VC = np.random.default_rng(seed), np.random.default_rng(0).normal(size=(rows.VOCAB_SIZE, 3))
    ids_NL = draw.integers(5, rows.VOCAB_SIZE, (count, 6))
    chance_NC = softmax(weight_VC[ids_NL].sum(1))
    code_N = (draw.random((count, 1)) > chance_NC.cumsum(1)).sum(1)
    table = pa.table({"row_id": np.arange(count), f"{rows.INPUT}.ids": pa.array(ids_NL.tolist(), pa.list_(pa.int32())),
                      rows.TARGET: pa.array(code_N, pa.int32()), f"{rows.TARGET}.teacher": pa.FixedSizeListArray.from_arrays(
                          pa.array(np.log(chance_NC).reshape(-1).astype(np.float32)), 3)})
    return replace(rows.split_of(), take=lambda positions: table.take(pa.array(positions)), count=count,
                   stored=lambda name: table[name].to_numpy(), lengths=np.full(count, 6))


def test_a_student_that_hears_a_good_teacher_generalises_better_than_from_labels() -> None:
    """Chances tell more than draws from them: the same network, rows and steps, the loss of rows that it has not seen."""
    train, held = drawn(300, 1), drawn(2000, 2)
    losses = {}
    for kind, settings in (("distillation", {"label_weight": 0.0, "temperature": 1.0}), ("classification", {})):
        config = make("tasks", {"kind": kind, **settings})
        mine, scored = (plugin_of("tasks", item).function(item, spec) for item, spec in ((config, train), (make("tasks", "classification"),
                                                                                                         held)))
        torch.manual_seed(0)
        network = Ngrams(NgramsConfig(rows.VOCAB_SIZE, embedding_size=8, sizes=(1,), hidden_size=0, dropout=0.0), HEADS, rows.LABELS)
        optimiser, batch = torch.optim.Adam(network.parameters(), 0.05), mine.batch(np.arange(300), 0)
        for _ in range(100):
            optimiser.zero_grad()
            torch.autograd.backward(mine.loss(network, batch).total)
            optimiser.step()
        with torch.no_grad():
            losses[kind] = scored.loss(network, scored.batch(np.arange(2000), -1)).total.item()
    assert losses["distillation"] < 0.9 * losses["classification"]


def taught_table() -> TableSpec:
    spec = rows.table_of()
    draw = np.random.default_rng(2)
    logits = draw.normal(size=(spec.count, 3)).astype(np.float32)
    said = {"label": (logits - np.log(np.exp(logits).sum(1, keepdims=True))).astype(np.float32),
            "value": draw.normal(size=spec.count).astype(np.float32), "flags": draw.normal(size=(spec.count, 2)).astype(np.float32)}
    return replace(spec, taught=True, read=lambda positions: replace(
        spec.read(positions), teachers={name: values[positions] for name, values in said.items()}))


def test_a_tables_teachers_count_by_their_kind() -> None:
    """label: T^2 KL. flags: T^2 KL of two outcomes. number: squared error. Rows without the target have the teacher alone."""
    spec = taught_table()
    config = make("tasks", {"kind": "supervised", "distil": {"temperature": 2.0, "label_weight": 0.25}})
    plain = make("tasks", "supervised")
    positions = np.arange(12)
    mine, own = (plugin_of("tasks", item).function(item, spec) for item in (config, plain))
    network = rows.table_network(sum(head.width for head in mine.outputs))
    found = mine.loss(network, mine.batch(positions, 0))
    read = spec.read(positions)
    with torch.no_grad():
        out = network(torch.from_numpy(read.numbers), torch.from_numpy(read.codes)).numpy().astype(np.float64)
    total = np.zeros(12)
    for member in range(2):
        label, value, flags = out[:, member, :3], out[:, member, 3], out[:, member, 4:]
        p, q = softmax(read.teachers["label"] / 2), softmax(label / 2)
        on, mine_on = 1 / (1 + np.exp(-read.teachers["flags"] / 2)), 1 / (1 + np.exp(-flags / 2))
        two = on * np.log(on / mine_on) + (1 - on) * np.log((1 - on) / (1 - mine_on))
        soft = 4 * (p * np.log(p / q)).sum(1) + (value - read.teachers["value"]) ** 2 + 4 * two.mean(1)
        known, code = read.targets["label"] >= 0, np.maximum(read.targets["label"], 0)
        hard = np.where(known, -np.log(softmax(label)[np.arange(12), code]), 0.0)
        hard += np.where(np.isfinite(read.targets["value"]), (value - np.nan_to_num(read.targets["value"])) ** 2, 0.0)
        chance, there = 1 / (1 + np.exp(-flags)), read.targets["flags"][:, 0] >= 0
        hard += np.where(there, -np.where(read.targets["flags"] == 1, np.log(chance), np.log(1 - chance)).mean(1), 0.0)
        total += (0.25 * hard + 0.75 * soft) / 2
    np.testing.assert_allclose(found.total.item(), total.mean(), rtol=1e-4)
    with pytest.raises(UserError, match=r"task.distil learns from teachers' answers, and the data hold none; give data of a 'teach' stage"):
        plugin_of("tasks", config).function(config, rows.table_of())
    assert "label.teacher" not in own.batch(positions, 0).targets


def on_a_scale(count: int) -> tuple[TableSpec, np.ndarray]:
    """Rows with labels drawn blindly, and what a teacher who knows the law says of them, log-probabilities float32 [N, 3]."""
    spec = rows.table_of(count)
    numbers = spec.read(np.arange(count)).numbers
    beyond = 1 / (1 + np.exp(-4 * (numbers @ np.array([1.0, -1.0, 0.5]))[:, None] + np.array([-3.0, 3.0])))
    edge = np.ones((count, 1))
    said = np.log(-np.diff(np.concatenate([edge, beyond, 0 * edge], axis=1), axis=1)).astype(np.float32)
    blind = np.random.default_rng(3).integers(0, 3, count).astype(np.int32)

    def read(positions: np.ndarray) -> TableRows:
        found = spec.read(positions)
        return replace(found, targets={**found.targets, "label": blind[positions]}, teachers={"label": said[positions]})

    return replace(spec, taught=True, read=read), said


def test_steps_of_a_scale_are_taught_by_the_chance_to_be_beyond_each() -> None:
    """T^2 times the sum over the steps of KL of two outcomes: its gradient is that of the cross-entropy with soft targets."""
    spec, said = on_a_scale(12)
    config = make("tasks", {"kind": "supervised", "ordinal": ["label"], "target_weights": {"value": 0, "flags": 0},
                            "distil": {"temperature": 2.0, "label_weight": 0.25}})
    mine = plugin_of("tasks", config).function(config, spec)
    assert [(head.target, head.link, head.width) for head in mine.outputs][0] == ("label", "ordinal", 2)
    network = rows.table_network(sum(head.width for head in mine.outputs))
    batch = mine.batch(np.arange(12), 0)
    found = mine.loss(network, batch)
    out_BMW = network(**batch.inputs["table"])[:, :, :2]
    chance = np.exp(said.astype(np.float64))
    beyond = torch.from_numpy(np.stack([chance[:, 1] + chance[:, 2], chance[:, 2]], axis=1)).float()
    soft_BMW = torch.sigmoid(torch.logit(beyond) / 2)[:, None].expand_as(out_BMW)
    step_BMW = torch.nn.functional.binary_cross_entropy_with_logits(out_BMW / 2, soft_BMW, reduction="none")
    own = -(soft_BMW * soft_BMW.log() + (1 - soft_BMW) * (1 - soft_BMW).log())
    code = batch.targets["label"].long()
    hard_BMW = (code[:, None] > torch.arange(2)).float()[:, None].expand_as(out_BMW)
    labelled = torch.nn.functional.binary_cross_entropy_with_logits(out_BMW, hard_BMW, reduction="none").sum(2).mean()
    entropy = 4 * own.sum(2).mean()
    expected = 0.25 * labelled + 0.75 * 4 * step_BMW.sum(2).mean()
    np.testing.assert_allclose(found.total.item(), (expected - 0.75 * entropy).item(), rtol=1e-4)
    parameters = [item for item in network.parameters() if item.requires_grad]
    for first, second in zip(torch.autograd.grad(found.total, parameters, allow_unused=True),
                             torch.autograd.grad(expected, parameters, allow_unused=True), strict=True):
        torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-6)


def test_a_student_of_steps_agrees_with_its_teacher_and_not_with_blind_labels() -> None:
    spec, said = on_a_scale(400)
    agreement = {}
    for name, settings in (("taught", {"distil": {"label_weight": 0.1}}), ("blind", {})):
        config = make("tasks", {"kind": "supervised", "ordinal": ["label"], "target_weights": {"value": 0, "flags": 0}, **settings})
        mine = plugin_of("tasks", config).function(config, spec)
        network = rows.table_network(sum(head.width for head in mine.outputs))
        optimiser, batch = torch.optim.Adam(network.parameters(), 0.01), mine.batch(np.arange(300), 0)
        for _ in range(60):
            optimiser.zero_grad()
            torch.autograd.backward(mine.loss(network, batch).total)
            optimiser.step()
        held = np.arange(300, 400)
        agreement[name] = (mine.predict(network, mine.batch(held, -1))["label"].values.argmax(1) == said[held].argmax(1)).mean()
    assert agreement["taught"] > 0.85 and agreement["blind"] < 0.6, agreement
