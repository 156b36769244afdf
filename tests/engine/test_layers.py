"""Layer-wise learning rates and gradual unfreezing go by the depth of each parameter, in every family of text networks."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bessemer.core.errors import Interrupted, UserError
from bessemer.core.types import Batch, Loss, Task
from bessemer.engine.config import TrainingConfig
from bessemer.engine.job import Job, backpropagate
from bessemer.engine.layers import Unfreezing, depths
from bessemer.engine.loop import fit
from bessemer.engine.optim import make_optimizer
from bessemer.nn.bert import Bert, BertConfig
from bessemer.nn.hf import HfNetwork
from bessemer.nn.slim_bert import SlimBert, SlimConfig
from bessemer.nn.text_cnn import TextCnn, TextCnnConfig
from bessemer.nn.transformer import Transformer
from tests.engine.test_loop import bytes_of, interrupted, make_job

SIZES: dict[str, Any] = {"vocab_size": 30, "hidden_size": 8, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 8,
                         "max_position_embeddings": 16}


def roberta() -> HfNetwork:
    from transformers import RobertaConfig, RobertaForSequenceClassification

    return HfNetwork(RobertaForSequenceClassification(RobertaConfig(**SIZES)), ("classification",), ("a", "b"))


def distilbert() -> HfNetwork:
    from transformers import DistilBertConfig, DistilBertForSequenceClassification

    config = DistilBertConfig(vocab_size=30, dim=8, n_layers=3, n_heads=2, hidden_dim=8, max_position_embeddings=16)
    return HfNetwork(DistilBertForSequenceClassification(config), ("classification",), ("a", "b"))


def slim() -> SlimBert:
    config = SlimConfig(vocab_size=30, hidden_size=8, head_size=4, pooler_size=8, num_attention_heads=(2, 1, 2),
                        intermediate_size=(8, 4, 8))
    return SlimBert(config, ("classification",), ("a", "b"))


def bert() -> Bert:
    return Bert(BertConfig(**SIZES), ("classification",), 2)


FAMILIES = {"bert": bert, "transformer": lambda: Transformer(BertConfig(**SIZES), ("classification",), ("a", "b")), "slim_bert": slim,
            "roberta": roberta, "distilbert": distilbert}


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_depth_counts_from_the_heads_down(family: str) -> None:
    network = FAMILIES[family]()
    for name, depth in depths(network, "layer_decay").items():
        number = next((int(part) for part in name.split(".") if part.isdigit()), None)
        assert depth == (3 - number if number is not None else 4 if "embeddings" in name else 0), name


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_rates_fall_by_the_factor_from_layer_to_layer(family: str) -> None:
    network = FAMILIES[family]()
    optimizer = make_optimizer(network, TrainingConfig(learning_rate=1e-3, head_learning_rate=2e-3, layer_decay=0.5))
    names = {id(value): name for name, value in network.named_parameters()}
    scale = {names[id(value)]: group["scale"] for group in optimizer.param_groups for value in group["params"]}
    assert set(scale) == set(names.values())
    heads = tuple(f"{name}." for name in network.head_names())
    for name, depth in depths(network, "layer_decay").items():
        assert scale[name] == (2.0 if name.startswith(heads) else 0.5**depth)
    assert {group["weight_decay"] for group in optimizer.param_groups} == {0.0, 0.01}


def test_a_network_without_layers_is_a_sentence() -> None:
    network = TextCnn(TextCnnConfig(vocab_size=30, embedding_size=4, channels=4), ("classification",), ("a", "b"))
    with pytest.raises(UserError, match=r"layer_decay goes by the layers of a text network, .* this network \(TextCnn\) has none"):
        make_optimizer(network, TrainingConfig(layer_decay=0.9))
    with pytest.raises(UserError, match=r"gradual_unfreezing goes by the layers"):
        Unfreezing(nn.Linear(2, 2), 1.0, 10)


def test_layers_thaw_from_the_top_down() -> None:
    network = bert()
    unfreezing = Unfreezing(network, 0.5, 8)  # a layer every 4 steps
    deep = depths(network, "")
    for step in range(24):
        with unfreezing.at(step):
            trained = {name for name, value in network.named_parameters() if value.requires_grad}
        assert trained == {name for name, depth in deep.items() if depth <= step // 4}
        assert all(value.requires_grad for value in network.parameters())
    assert unfreezing.untrained(17) is None
    low = sum(depth == 4 for depth in deep.values())
    assert str(unfreezing.untrained(16)).startswith(f"gradual_unfreezing: {low} of {len(deep)} tensors, the lowest ones, are never trained")


def text_job(folder: Path, **settings: Any) -> Job:
    """Return the job of the loop's tests with a text network: which of two words comes first."""
    rows = np.random.default_rng(0).integers(5, 30, (64, 6))

    def batch(positions: np.ndarray, epoch: int) -> Batch:
        ids = torch.from_numpy(rows[positions])
        return Batch({"text": {"ids": ids}}, {"y": (ids[:, 1] > 17).long()}, row_ids=torch.from_numpy(positions))

    def loss(network: nn.Module, item: Batch) -> Loss:
        ids = item.inputs["text"]["ids"]
        each = nn.functional.cross_entropy(network(ids, torch.ones_like(ids), torch.zeros_like(ids)), item.targets["y"], reduction="none")
        return Loss(each.mean(), {"loss": (each.detach().sum(), len(each))}, each.detach())

    job = make_job(folder, Task("first", (), batch, loss, None, 64), **{"weight_decay": 0.1, **settings})
    torch.manual_seed(0)
    network = bert()
    return Job(**{**vars(job), "network": network, "validate": lambda: {"loss": float(loss(network, batch(np.arange(32), 0)).total)}})


def test_frozen_parameters_neither_move_nor_decay(tmp_path: Path) -> None:
    job = text_job(tmp_path, gradual_unfreezing=0.5, num_train_epochs=3, warmup_ratio=0.0, lr_scheduler_type="constant")
    seen: list[dict[str, torch.Tensor]] = []

    def gradients(item: Job, batches: list[Batch], step: int) -> list[Loss]:
        seen.append({name: value.detach().clone() for name, value in item.network.named_parameters()})
        return backpropagate(item, batches, step)

    fit(Job(**{**vars(job), "gradients": gradients}))
    assert len(seen) == 12  # 4 steps a pass: one layer more every 2 steps
    for name, depth in depths(job.network, "").items():
        moved = [not torch.equal(one[name], other[name]) for one, other in zip(seen, seen[1:], strict=False)]
        quiet = name.endswith("key.bias")  # whose gradient is zero but for rounding
        assert not any(moved[:2 * depth]) and (quiet or all(moved[2 * depth:])), name


@pytest.mark.parametrize("at", [1, 5, 9])
def test_a_stopped_run_thaws_on_with_the_same_bytes(tmp_path: Path, at: int) -> None:
    settings = {"gradual_unfreezing": 0.5, "layer_decay": 0.8, "num_train_epochs": 3, "bias_correction": False}
    straight = text_job(tmp_path / "a", **settings)
    expected = bytes_of(fit(straight), straight.network)
    with pytest.raises(Interrupted):
        fit(interrupted(text_job(tmp_path / "b", **settings), at, snapshots=True))
    again = text_job(tmp_path / "b", **settings)
    assert bytes_of(fit(again), again.network) == expected
