"""A network that was not trained, in every form: what it costs to run does not depend on its weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bessemer.core.pick import make

if TYPE_CHECKING:
    import torch

    from bessemer.core.config import Config
    from bessemer.core.forms import Form
    from bessemer.stages._budget_space import Settings
    from bessemer.stages._budget_try import Hunt


def untrained(hunt: Hunt, settings: Settings, folder: Path) -> list[Form]:
    """Write the graphs of an untrained network of these settings to a folder and return its forms, by each chain of methods.

    One that is cut out of the trained network is cut here (seconds); others have random weights.
    """
    from bessemer.stages._budget_space import recipe_of
    from bessemer.stages.compress import Compress, graph_forms

    config = Compress.model_validate({"methods": hunt.chains or [], "calibration_rows": 32})
    if settings["family"] == "slim":
        recipe = recipe_of(settings, 0, hunt.origin, hunt.training)
        hunt.execute(recipe)
        model = hunt.folder(recipe) / "cut"
    else:
        model = folder / "random"
        model.mkdir()
        _random(hunt, settings, model)
    forms, _ = graph_forms(config, model, hunt.origin.data, folder, hunt.run)
    return forms[1:] or forms


def _random(hunt: Hunt, settings: Settings, out: Path) -> None:
    """Write the folder of a network with random weights."""
    import torch

    from bessemer.stages import _learning as learning
    from bessemer.stages._budget_space import model_of
    from bessemer.stages._trained import build_spec, save_trained

    run, data = hunt.run, hunt.training.data
    spec = learning.open_split(data, "train", run.seed)
    validation = learning.open_split(data, "validation", run.seed)
    said: Config | None = None if hunt.training.task is None else make("tasks", dict(hunt.training.task))
    task = learning.make_task(said, spec)
    config: Any = make("models", model_of(settings, hunt.origin))
    torch.manual_seed(run.seed)
    network: torch.nn.Module = learning.build_network(config, build_spec(spec, task, None), run, data)
    small = learning.part_of(validation, _few(validation.count))
    save_trained(network.eval(), learning.make_task(said, learning.fitted_on(small, spec)), small, data, out)


def _few(count: int) -> Any:
    import numpy as np

    return np.unique(np.linspace(0, count - 1, min(64, count)).astype(np.int64))
