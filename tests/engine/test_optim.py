"""Optimisers and schedules equal their references."""

import pytest
import torch
from transformers import get_cosine_schedule_with_warmup, get_linear_schedule_with_warmup

from bessemer.core.errors import UserError
from bessemer.core.recipe import make_recipe
from bessemer.engine.config import TrainingConfig
from bessemer.engine.optim import make_optimizer, make_schedule, penalise


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


GRADIENTS = torch.tensor([[0.5, -4.0], [0.1, 2.0], [-0.3, 1.0], [0.0, -1.0]])


def path(start: torch.Tensor, **settings: object) -> list[torch.Tensor]:
    """Return the weights after each of a few steps with given gradients."""
    module = torch.nn.Module()
    module.weight = torch.nn.Parameter(start.clone())
    optimizer = make_optimizer(module, TrainingConfig(learning_rate=0.1, **settings))  # type: ignore[arg-type]
    found = []
    for gradient in GRADIENTS:
        module.weight.grad = gradient[None].clone()
        penalise(optimizer)
        optimizer.step()
        found.append(module.weight.detach().clone())
    return found


@pytest.mark.parametrize("corrected", [True, False])
@pytest.mark.parametrize("kind", ["adamw", "adam"])
def test_adam_with_and_without_bias_correction_is_the_formula(kind: str, corrected: bool) -> None:
    start, rate, decay, (b1, b2), eps = torch.tensor([[1.0, -2.0]]), 0.1, 0.01, (0.8, 0.9), 1e-6
    weight, m, v = start.double(), torch.zeros(1, 2, dtype=torch.float64), torch.zeros(1, 2, dtype=torch.float64)
    found = path(start, optim=kind, weight_decay=decay, adam_beta1=b1, adam_beta2=b2, adam_epsilon=eps, bias_correction=corrected)
    for step, gradient in enumerate(GRADIENTS.double(), start=1):
        gradient = gradient[None] + (decay * weight if kind == "adam" else 0)
        m, v = b1 * m + (1 - b1) * gradient, b2 * v + (1 - b2) * gradient**2
        by = (m / (1 - b1**step), v / (1 - b2**step)) if corrected else (m, v)
        weight = weight * (1 - rate * decay * (kind == "adamw")) - rate * by[0] / (by[1].sqrt() + eps)
        assert torch.allclose(found[step - 1].double(), weight, atol=2e-6)


def test_bias_correction_is_on_unless_it_is_switched_off() -> None:
    start = torch.tensor([[1.0, -2.0]])
    assert all(torch.equal(one, other) for one, other in zip(path(start), path(start, bias_correction=True), strict=True))
    assert not torch.allclose(path(start)[0], path(start, bias_correction=False)[0])


def test_adam_equals_torch() -> None:
    weight = torch.nn.Parameter(torch.tensor([[1.0, -2.0]]))
    reference = torch.optim.Adam([weight], lr=0.1, weight_decay=0.3)
    for gradient, found in zip(GRADIENTS, path(weight.detach(), optim="adam", weight_decay=0.3), strict=True):
        weight.grad = gradient[None].clone()
        reference.step()
        assert torch.allclose(found, weight.detach(), atol=1e-6)


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_l1_and_l2_are_penalties_of_the_loss(kind: str) -> None:
    weight = torch.nn.Parameter(torch.tensor([[1.0, -2.0]]))
    module = torch.nn.Module()
    module.weight = weight
    reference = make_optimizer(module, TrainingConfig(learning_rate=0.1, optim=kind))  # type: ignore[arg-type]
    for gradient, found in zip(GRADIENTS, path(weight.detach(), optim=kind, l1=0.2, l2=0.7), strict=True):
        reference.zero_grad()
        ((gradient * weight).sum() + 0.2 * weight.abs().sum() + 0.35 * weight.square().sum()).backward()
        reference.step()
        assert torch.allclose(found, weight.detach(), atol=1e-6)


def test_biases_are_exempt_from_penalties_and_so_is_what_has_no_gradient() -> None:
    layer = torch.nn.Linear(2, 2)
    optimizer = make_optimizer(layer, TrainingConfig(l1=1.0, l2=1.0))
    layer.bias.grad = torch.zeros(2)
    penalise(optimizer)
    assert not layer.bias.grad.any() and layer.weight.grad is None


def test_momentum_of_sgd_is_the_formula() -> None:
    weight, speed = torch.tensor([[1.0, -2.0]]), torch.zeros(1, 2)
    for step, found in enumerate(path(weight, optim="sgd", momentum=0.5, weight_decay=0.0)):
        speed = 0.5 * speed + GRADIENTS[step][None]
        weight = weight - 0.1 * speed
        assert torch.allclose(found, weight, atol=1e-6)
