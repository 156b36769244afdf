"""Averaged weights equal torch's along the same steps, are what is kept, and survive a stop bit for bit."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, get_swa_multi_avg_fn

from bessemer.core.errors import Interrupted, UserError
from bessemer.core.recipe import make_recipe
from bessemer.engine.averages import Averages
from bessemer.engine.config import Averaging
from bessemer.engine.loop import fit
from tests.engine.test_loop import Net, bytes_of, interrupted, make_job

KINDS: list[dict[str, Any]] = [{"kind": "swa", "start": 0.25}, {"kind": "swa", "start": 0.5, "every": 3},
                               {"kind": "ema", "start": 0.0, "decay": 0.9}]


@pytest.mark.parametrize("settings", KINDS)
def test_average_equals_torch_on_the_same_steps(settings: dict[str, Any]) -> None:
    torch.manual_seed(0)
    network, total = Net(), 20
    averages = Averages(Averaging(**settings), dict(network.named_parameters()), total)
    torch_own = get_ema_multi_avg_fn(settings["decay"]) if settings["kind"] == "ema" else get_swa_multi_avg_fn()
    mean = AveragedModel(network, multi_avg_fn=torch_own)
    start, every = int(settings["start"] * total), settings.get("every", 1)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for step in range(1, total + 1):
        network(torch.randn(8, 4)).square().mean().backward()
        optimizer.step()
        averages.add(step)
        if step > start and (step - start - 1) % every == 0:
            mean.update_parameters(network)
            assert all(torch.equal(averages.values[name], value) for name, value in mean.module.named_parameters())
    own = [value.detach().clone() for value in network.parameters()]
    with averages.in_place():
        assert all(torch.equal(one, other) for one, other in zip(network.parameters(), mean.module.parameters(), strict=True))
    assert all(torch.equal(one, other) for one, other in zip(network.parameters(), own, strict=True))


def test_what_is_validated_and_kept_is_the_average_from_its_start_on(tmp_path: Path) -> None:
    job = make_job(tmp_path, averaging={"kind": "swa", "start": 0.5})
    result = fit(job)
    assert result.best_step > result.total_steps // 2
    job.network.eval()
    assert job.validate()["loss"] == result.best_value
    plain = make_job(tmp_path / "plain")
    first = [item["loss"] for item in fit(plain).validations]
    mine = [item["loss"] for item in result.validations]
    assert first[:4] == mine[:4] and all(one != other for one, other in zip(first[4:], mine[4:], strict=True))


@pytest.mark.parametrize("settings", KINDS)
@pytest.mark.parametrize("at", [10, 27, 45])
def test_a_stopped_run_averages_on_with_the_same_bytes(tmp_path: Path, settings: dict[str, Any], at: int) -> None:
    straight = make_job(tmp_path / "a", averaging=settings)
    expected = bytes_of(fit(straight), straight.network)
    with pytest.raises(Interrupted):
        fit(interrupted(make_job(tmp_path / "b", averaging=settings), at, snapshots=True))
    again = make_job(tmp_path / "b", averaging=settings)
    assert bytes_of(fit(again), again.network) == expected


def test_a_network_without_a_mean_is_refused(tmp_path: Path) -> None:
    job = make_job(tmp_path, averaging={})
    with pytest.raises(UserError, match="averaging: the network has batch normalisation, whose statistics would be those of other weights"):
        fit(replace(job, network=torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4))))
    with pytest.raises(UserError, match="averaging: this training changes which connections the network has"):
        fit(replace(job, before_step=lambda step, total, batches: []))
    with pytest.raises(UserError, match="decay has an effect with kind: ema alone"):
        make_recipe({"name": "r", "stages": {"finetune": {"model": {"kind": "bert"}, "averaging": {"decay": 0.5}}}}, "r")
    assert np.isfinite(fit(job).best_value)
