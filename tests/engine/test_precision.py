"""Training in bfloat16: gradients near float32's, the same bytes after a kill, float32 everywhere else, refused where it cannot be."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from bessemer.core.errors import UserError
from bessemer.core.types import Batch, Loss
from bessemer.engine.job import Job, backpropagate
from bessemer.engine.loop import fit
from bessemer.engine.precision import in_bfloat16, mixed, native
from bessemer.nn.transformer import Transformer
from bessemer.nn.vocabulary import vocabulary_loss
from tests.engine.test_parts import bert, bytes_of, job_of, task_of


@pytest.mark.parametrize("kind", ["classification", "mlm"])
@pytest.mark.parametrize("threads", [1, 2])
def test_gradients_point_where_those_of_float32_do(tmp_path: Path, kind: str, threads: int) -> None:
    found = []
    for bf16 in (False, True):
        task = task_of(kind)
        network = bert(task)
        kept: dict[str, torch.Tensor] = {}

        def gradients(job: Job, batches: list[Batch], step: int, kept: dict[str, torch.Tensor] = kept) -> list[Loss]:
            losses = backpropagate(job, batches, step)
            kept.update({name: value.grad.clone() for name, value in job.network.named_parameters() if value.grad is not None})
            return losses

        fit(replace(job_of(tmp_path / str(bf16), task, network, bf16=bf16, max_steps=1, gradient_threads=threads), gradients=gradients))
        assert all(value.dtype == torch.float32 for value in network.parameters())
        found.append(torch.cat([value.flatten() for value in kept.values()]))
    exact, rounded = found
    assert not torch.equal(exact, rounded)
    assert float(nn.functional.cosine_similarity(exact, rounded, dim=0)) > 0.999


def test_a_killed_run_ends_with_the_same_bytes(tmp_path: Path) -> None:
    task = task_of("classification")

    def job(name: str) -> Job:
        return job_of(tmp_path / name, task, bert(task, 0.2), bf16=True, checkpoint_seconds=1e-9)

    straight = job("a")
    expected = bytes_of(fit(straight), straight.network)

    def killed(item: Job, batches: list[Batch], step: int) -> list[Loss]:
        if step == 5:
            raise KeyboardInterrupt
        return backpropagate(item, batches, step)

    with pytest.raises(KeyboardInterrupt):
        fit(replace(job("b"), gradients=killed))
    again = job("b")
    result = fit(again)
    assert bytes_of(result, again.network) == expected
    again.network.eval()
    exact = again.validate()  # with the weights that were kept, in float32
    assert exact["loss"] == min(item["loss"] for item in result.validations)


def test_the_loss_falls(tmp_path: Path) -> None:
    task = task_of("classification")
    job = job_of(tmp_path, task, bert(task), bf16=True, num_train_epochs=8)
    losses = [item["train_loss"] for item in fit(job).validations]
    assert losses[-1] < 0.75 * losses[0]


def test_the_vocabulary_loss_in_bfloat16_is_near_that_in_float32() -> None:
    generator = torch.Generator().manual_seed(0)
    hidden_ND, weight_VD = torch.randn(40, 16, generator=generator), torch.randn(300, 16, generator=generator)
    bias_V, targets_N = torch.randn(300, generator=generator), torch.randint(0, 300, (40,), generator=generator)
    found = []
    for half in (False, True):
        given = [value.clone().requires_grad_() for value in (hidden_ND, weight_VD, bias_V)]
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            total, losses_N, _ = vocabulary_loss(given[0], given[1], given[2], targets_N)
        total.backward()  # type: ignore[no-untyped-call]
        assert losses_N.dtype == torch.float32
        found.append((total.detach(), *(value.grad for value in given)))
    for exact, rounded in zip(*found, strict=True):
        assert exact is not None and rounded is not None and rounded.dtype == torch.float32
        torch.testing.assert_close(rounded, exact, rtol=0.02, atol=0.02 * float(exact.abs().max()))


def test_only_networks_of_text_that_can_are_computed_so() -> None:
    task = task_of("classification")
    assert mixed(bert(task), False) is None
    assert mixed(bert(task), True) == "cpu"
    assert mixed(bert(task), "auto") == ("cpu" if native("cpu") else None)
    assert mixed(nn.Linear(2, 2), "auto") is None
    with pytest.raises(UserError) as error:
        mixed(nn.Linear(2, 2), True)
    assert str(error.value) == ("bf16 is true, but a Linear is computed in float32 alone (networks of BERT's kind can do both); remove the "
                                "key or set bf16: auto")


def test_a_transformer_of_sinusoids_learns_in_bfloat16() -> None:
    task = task_of("classification")
    shape = bert(task).config
    torch.manual_seed(0)
    network = Transformer(shape, ("classification",), tuple("abc"))
    losses = []
    for each in (task, in_bfloat16(task, "cpu")):
        losses.append(each.loss(network.eval(), each.batch(np.arange(8), 0)).total.detach())
    torch.testing.assert_close(losses[0], losses[1], rtol=0.02, atol=0.0)
