"""Weights that are switched off while training: the part and the pattern asked for, exactly; the same bytes after a kill."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bessemer.api import run
from bessemer.core.errors import UserError
from bessemer.core.pick import make
from bessemer.core.registry import plugin
from bessemer.nn.checkpoint import load_network
from bessemer.nn.pruned import PrunedLinear, cubic, mask_of
from bessemer.nn.table import load_table_network
from bessemer.testing import rows
from tests.conftest import sentences, write_csv

torch.set_num_threads(1)
TUNED = {"max_steps": 40, "learning_rate": 5e-3, "evals_per_epoch": 4, "replay_rows": 0}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared texts and a prepared table."""
    folder = tmp_path_factory.mktemp("sparse")
    write_csv(folder / "rows.csv", sentences(240))
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 2))
    write_csv(folder / "table.csv", [(repr(float(a)), repr(float(b)), repr(float(np.sin(2 * a) + b))) for a, b in x], ("a", "b", "y"))
    split = {"kind": "random", "validation": 0.2, "test": 0.1}
    run({"name": "text", "threads": 1, "output_dir": str(folder / "text"), "stages": {"prepare": {
        "sources": [{"kind": "csv", "path": str(folder / "rows.csv")}], "split": split, "targets": {"label": {"kind": "category"}},
        "inputs": {"text": {"kind": "text", "max_length": 24, "tokenizer": {"kind": "wordpiece", "vocab_size": 300}}}}}})
    run({"name": "table", "threads": 1, "output_dir": str(folder / "table"), "stages": {"prepare": {
        "sources": [{"kind": "csv", "path": str(folder / "table.csv")}], "split": split, "targets": {"y": {"kind": "number"}},
        "inputs": {"a": {"kind": "number"}, "b": {"kind": "number"}}}}})
    return folder


def tuned(data: Path, out: Path, adaptation: dict[str, Any], kind: str = "table", **more: Any) -> dict[str, Any]:
    """Train with some weights switched off; return the facts."""
    model = {"kind": "mlp", "hidden_sizes": [32, 32], "dropout": 0.0} if kind == "table" else {
        "kind": "bert", "num_hidden_layers": 1, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64,
        "max_position_embeddings": 32, "initializer_range": 0.1}
    stage = {"data": str(data / kind / "prepare"), "model": model, "num_train_epochs": 8, **TUNED,
             "adaptation": {"kind": "sparse", **adaptation}, **more}
    result = run({"name": "s", "threads": 1, "output_dir": str(out), "stages": {"finetune": stage}})
    return dict(result.stages["finetune"].manifest.facts)


def zeros(weight: torch.Tensor) -> float:
    return float((weight == 0).double().mean())


@pytest.mark.parametrize("method", ["magnitude", "movement"])
def test_sparsity_is_reached_exactly_and_the_loss_falls(data: Path, tmp_path: Path, method: str) -> None:
    """Of every linear layer of the trunk 80% of the weights are zero, no more; the text is still learnt."""
    facts = tuned(data, tmp_path, {"method": method, "sparsity": 0.8, "every": 3}, "text", max_steps=150,
                  num_train_epochs=20, evals_per_epoch=1, per_device_train_batch_size=16, learning_rate=3e-3)
    network = load_network(tmp_path / "finetune", ("classification",))
    for name, value in network.named_parameters():
        if name.startswith(("bert.encoder", "bert.pooler")) and name.endswith("dense.weight" if "self" not in name else ".weight") and (
                "LayerNorm" not in name):
            assert int((value == 0).sum()) == round(0.8 * value.numel()), name
    losses = [item["loss"] for item in facts["validations"]]
    assert losses[-1] < 0.7 * losses[0] and facts["best_step"] > 0.7 * facts["steps"]
    assert zeros(network.get_parameter("classifier.weight")) == 0 and facts["adaptation"] == "sparse"


def test_patterns_hold(data: Path, tmp_path: Path) -> None:
    """2:4: two zeros in each four neighbours; block: whole tiles."""
    tuned(data, tmp_path / "a", {"pattern": "2:4"}, "text")
    for name, value in load_network(tmp_path / "a/finetune", ("classification",)).named_parameters():
        if "encoder" in name and name.endswith(("query.weight", "dense.weight")):
            assert torch.equal((value.view(-1, 4) == 0).sum(1), torch.full((value.numel() // 4,), 2)), name
    tuned(data, tmp_path / "b", {"pattern": "block", "block_size": 8, "sparsity": 0.75, "target_modules": ["layers.1.linear"]})
    first, second = (layer.linear.weight for layer in load_table_network(tmp_path / "b/finetune").layers)
    tiles = (second.view(4, 8, 4, 8) == 0).double().mean((1, 3))
    assert zeros(first) == 0 and sorted(tiles.unique().tolist()) == [0.0, 1.0] and tiles.sum() == 12


def test_killed_and_run_again_it_has_the_same_bytes(data: Path, tmp_path: Path) -> None:
    """Masks and scores are in the checkpoint: a kill in the middle of the schedule changes nothing."""
    from bessemer.engine import loop

    class Killed(Exception):
        pass

    settings = {"method": "movement", "sparsity": 0.7, "every": 4}
    expected = tuned(data, tmp_path / "one", settings)
    original = loop._Session.step

    def step(self: Any, batches: Any, epoch: float) -> Any:
        if self.state.step == 17 and not (tmp_path / "killed").exists():
            (tmp_path / "killed").touch()
            self.save(wait=True)
            raise Killed
        return original(self, batches, epoch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop._Session, "step", step)
        with pytest.raises(Killed):
            tuned(data, tmp_path / "two", settings)
        assert tuned(data, tmp_path / "two", settings) == expected
    one, two = (tmp_path / name / "finetune/model.safetensors" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


def test_scores_are_minus_gradient_times_weight_also_where_a_weight_is_off() -> None:
    """Two backward passes add up; a weight that is off gets no gradient."""
    torch.manual_seed(0)
    layer = PrunedLinear(torch.nn.Linear(6, 4), movement=True)
    layer.prune(0.5, "unstructured", 1)
    x = torch.randn(5, 6)
    expected = torch.zeros(4, 6)
    for _ in range(2):
        layer.base.weight.grad = None
        y = layer(x)
        y.square().sum().backward()
        full = (2 * y.detach()).T @ x
        expected -= full * layer.base.weight.detach()
        torch.testing.assert_close(layer.base.weight.grad, full * layer.mask)
    torch.testing.assert_close(layer.scores, expected)


def test_masks_are_exact_where_strengths_are_equal() -> None:
    assert mask_of(torch.zeros(4, 6), 0.5, "unstructured", 1).sum() == 12
    assert mask_of(torch.ones(4, 8), 0.25, "2:4", 1).sum() == 24  # half of the groups
    strength = torch.tensor([[4.0, 1.0, 2.0, 3.0]])
    assert mask_of(strength, 0.5, "2:4", 1).tolist() == [[True, False, False, True]]
    assert mask_of(strength, 0.25, "unstructured", 1).tolist() == [[True, False, True, True]]


def test_the_schedule_is_cubic() -> None:
    """Zhu & Gupta 2017, equation 1, with an initial sparsity of 0."""
    assert [cubic(step, 100, 500, 0.9) for step in (0, 100, 500, 900)] == [0.0, 0.0, 0.9, 0.9]
    assert cubic(300, 100, 500, 0.9) == pytest.approx(0.9 - 0.9 * (1 - 200 / 400) ** 3)


@pytest.mark.parametrize(("settings", "message"), [
    ({"pattern": "2:4", "sparsity": 0.7}, "leaves two weights of each four, which is sparsity 0.5, not 0.7"),
    ({"block_size": 8}, "block_size has an effect with pattern: block alone"),
    ({"start": 0.8}, "end must come after start"),
])
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make("adapt", {"kind": "sparse", **settings})


def test_layers_that_do_not_fit_are_told_at_once() -> None:
    chosen = plugin("adapt", "sparse")
    network = rows.network(("classification",))
    with pytest.raises(UserError, match="has no whole tiles of 5 x 5"):
        chosen.function(make("adapt", {"kind": "sparse", "pattern": "block", "block_size": 5})).apply(network)
    with pytest.raises(UserError, match="no linear layer's name ends with 'q_proj'"):
        chosen.function(make("adapt", {"kind": "sparse", "target_modules": ["q_proj"]})).apply(network)


def test_a_network_without_linear_layers_says_what_can_be_done() -> None:
    from bessemer.adapt._layers import linear_layers

    class Bare(torch.nn.Module):
        def head_names(self) -> tuple[str, ...]:
            return ()

    with pytest.raises(UserError) as error:
        linear_layers(Bare(), ("query",), "lora")
    assert str(error.value) == ("lora: this model has no linear layers in its trunk, so there is nothing to adapt; leave adaptation out to "
                                "train all of it, or take a model such as 'bert'")
