"""Optimisers and schedules equal their references."""

import pytest
import torch
from transformers import get_cosine_schedule_with_warmup, get_linear_schedule_with_warmup

from bessemer.core.errors import UserError
from bessemer.core.recipe import make_recipe
from bessemer.engine.config import TrainingConfig
from bessemer.engine.optim import make_optimizer, make_schedule


@pytest.mark.parametrize(("kind", "reference"), [("linear", get_linear_schedule_with_warmup), ("cosine", get_cosine_schedule_with_warmup)])
def test_schedule_equals_transformers(kind: str, reference: object) -> None:
    rate = make_schedule(TrainingConfig(learning_rate=1e-3, lr_scheduler_type=kind, warmup_ratio=0.1), 57)  # type: ignore[arg-type]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-3)
    schedule = reference(optimizer, 6, 57)  # type: ignore[operator]
    for step in range(57):
        assert rate(step) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12, abs=1e-18)
        optimizer.step()
        schedule.step()


def test_a_single_step_is_not_wasted_on_warming_up() -> None:
    assert make_schedule(TrainingConfig(learning_rate=1e-3, warmup_ratio=0.06), 1)(0) == 1e-3


def test_vectors_are_not_decayed() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.LayerNorm(2))
    optimizer = make_optimizer(network, TrainingConfig(weight_decay=0.5))
    assert [(len(group["params"]), group["weight_decay"]) for group in optimizer.param_groups] == [(1, 0.5), (3, 0.0)]


def test_heads_may_learn_faster() -> None:
    from bessemer.nn.bert import Bert, BertConfig

    network = Bert(BertConfig(vocab_size=30, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8),
                   ("classification",), 2)
    optimizer = make_optimizer(network, TrainingConfig(learning_rate=1e-4, head_learning_rate=1e-3))
    names = {id(value): name for name, value in network.named_parameters()}
    scaled = {names[id(value)]: group["scale"] for group in optimizer.param_groups for value in group["params"]}
    assert {name for name, scale in scaled.items() if scale == 10} == {"classifier.weight", "classifier.bias"}
    assert len(scaled) == len(names)


def test_adamw_first_step_is_the_textbook_formula() -> None:
    weight = torch.nn.Parameter(torch.tensor([[1.0, -2.0]]))
    module = torch.nn.Module()
    module.weight = weight
    optimizer = make_optimizer(module, TrainingConfig(learning_rate=0.1, weight_decay=0.01))
    weight.grad = torch.tensor([[0.5, -4.0]])
    optimizer.step()
    # bias-corrected moments after one step are g and g^2, so the step is lr * sign(g), after the decay by 1 - lr * wd
    assert torch.allclose(weight.detach(), torch.tensor([[1.0, -2.0]]) * (1 - 0.1 * 0.01) - 0.1 * torch.tensor([[1.0, -1.0]]), atol=1e-6)


def test_keys_of_another_optimiser_are_refused() -> None:
    tree = {"name": "r", "stages": {"finetune": {"model": {"kind": "bert"}, "optim": "sgd", "adam_beta1": 0.8}}}
    with pytest.raises(UserError, match="adam_beta1 and adam_beta2 have no effect with optim: sgd"):
        make_recipe(tree, "r")
