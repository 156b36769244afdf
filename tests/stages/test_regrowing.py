"""Sparse layers regrow in a recipe: by which part, by which gradients, towards which inputs, and the same bits each time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pytest
import torch
from safetensors.torch import load_file
from sklearn.datasets import load_digits

from bessemer.api import Model, run
from bessemer.core.config import parse_yaml
from bessemer.core.errors import UserError
from bessemer.core.types import Batch, Loss, Task
from bessemer.nn.sparse import SparseLinear
from bessemer.stages._regrowing import gradients, part_of

SIZE, TOLD = 60, 3


def test_the_part_that_is_replaced_is_rigls() -> None:
    """Evci et al. 2020: a/2 (1 + cos(t pi / T_end)), with T_end at three quarters of the steps."""
    assert part_of(0.3, 0, 400) == 0.3 and part_of(0.3, 150, 400) == pytest.approx(0.15)
    assert part_of(0.3, 100, 400) == pytest.approx(0.15 * (1 + np.cos(np.pi / 3))) and part_of(0.3, 300, 400) == 0.0


def test_gradients_are_those_of_the_dense_layers_and_change_nothing() -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(SparseLinear(12, 16, 4), torch.nn.ReLU(), torch.nn.Dropout(0.5), SparseLinear(16, 8, 3))
    dense = torch.nn.Sequential(network[0].dense(), torch.nn.ReLU(), torch.nn.Identity(), network[3].dense())
    rows = [torch.randn(7, 12), torch.randn(5, 12)]

    def loss(module: torch.nn.Module, batch: Batch) -> Loss:
        return Loss(module(batch.inputs["x"]["x"]).square().sum(), {})

    batches = [Batch({"x": {"x": item}}) for item in rows]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    found = gradients(network, Task("t", (), None, loss, None, 0), [network[0], network[3]], batches)  # type: ignore[arg-type]
    for batch in batches:
        loss(dense, batch).total.backward()
    for (x, grad), layer in zip(found, (dense[0], dense[3]), strict=True):
        torch.testing.assert_close(grad.T @ x, layer.weight.grad, atol=1e-4, rtol=1e-4)
    assert network.training and all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(value.grad is None for value in network.parameters()) and not network[0]._forward_hooks


def recipe(root: Path, name: str, **model: Any) -> dict[str, Any]:
    """Return a recipe over rows of 60 numbers, of which the first 3 tell the target."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1200, SIZE))
    y = x[:, :TOLD].sum(1) * 3 + rng.normal(scale=0.1, size=len(x))
    csv.write_csv(pa.table({**{f"x_{place:02}": x[:, place] for place in range(SIZE)}, "y": y}), root / "rows.csv")
    network = {"kind": "mlp", "hidden_sizes": [32], "dropout": 0.1, "sparsity": 0.9, "regrow": 0.3, "regrow_every": 10, **model}
    return {"name": name, "threads": 1, "output_dir": str(root / name), "stages": {
        "prepare": {"sources": [{"kind": "csv", "path": str(root / "rows.csv")}], "inputs": {"x_*": {"kind": "number"}},
                    "targets": {"y": {"kind": "number"}}, "split": {"kind": "random", "validation": 0.2, "test": 0.2}},
        "finetune": {"model": network, "num_train_epochs": 12, "learning_rate": 0.01, "per_device_train_batch_size": 64}}}


def tensors(root: Path, name: str) -> dict[str, torch.Tensor]:
    return load_file(root / name / "finetune" / "model.safetensors")


def told(root: Path, name: str) -> int:
    """Return how many connections lead to an input that tells the target."""
    (columns,) = [value for key, value in tensors(root, name).items() if key.endswith("columns")]
    assert columns.shape == (32, 6) and bool((columns.sort(1).values.diff(dim=1) > 0).all())
    return int((columns < TOLD).sum())


def test_growth_by_gradient_finds_the_inputs_that_tell_the_target(tmp_path: Path) -> None:
    for name, model in (("rigl", {"regrow_by": "gradient"}), ("again", {"regrow_by": "gradient"}), ("set", {})):
        run(recipe(tmp_path, name, **model))
    first, again = tensors(tmp_path, "rigl"), tensors(tmp_path, "again")
    assert all(torch.equal(value, again[key]) for key, value in first.items())
    assert told(tmp_path, "rigl") > 1.5 * told(tmp_path, "set") > 0
    raw = pa.table({f"x_{place:02}": [1.0 if place < TOLD else 0.0] for place in range(SIZE)})
    assert np.asarray(Model.load(tmp_path / "rigl" / "finetune").predict(raw))[0] == pytest.approx(9.0, abs=1.5)


def test_growth_needs_something_that_regrows(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="regrow_by has no effect without a regrow above 0"):
        run(recipe(tmp_path, "none", regrow=0.0, regrow_by="gradient"))


def test_the_recipe_in_the_page_about_tables_runs(tmp_path: Path) -> None:
    """The page's recipe, on the same table read from a file, with fewer passes: both ways learn, and regrow to other connections."""
    page = (Path(__file__).parents[2] / "docs" / "tables.md").read_text(encoding="utf-8")
    body = next(part for part in page.split("```yaml\n")[1:] if part.startswith("name: regrow\n")).split("```")[0]
    told = parse_yaml(body, "tables.md")
    points, digits = load_digits(return_X_y=True)
    names = [f"row_{place // 8 + 1}_column_{place % 8 + 1}" for place in range(64)]
    csv.write_csv(pa.table({**dict(zip(names, points.T, strict=True)), "digit": digits}), tmp_path / "digits.csv")
    told["stages"]["prepare"]["sources"] = [{"kind": "csv", "path": str(tmp_path / "digits.csv")}]
    for stage in ("set", "rigl"):
        told["stages"][stage]["num_train_epochs"] = "8"
    run({**told, "threads": 1, "output_dir": str(tmp_path / "run")})
    results = json.loads((tmp_path / "run" / "results.json").read_text(encoding="utf-8"))
    rows = results["results"] if isinstance(results, dict) else results
    assert all(item["value"] > 0.85 for item in rows if item["metric"] == "accuracy")
    columns = [load_file(tmp_path / "run" / stage / "model.safetensors") for stage in ("set", "rigl")]
    (name, *_) = (name for name in columns[0] if name.endswith("columns"))
    assert columns[0][name].shape == columns[1][name].shape and not torch.equal(columns[0][name], columns[1][name])
