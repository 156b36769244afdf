"""pretrain: learn from text without labels: masked language model, next sentence. Validated on rows held out of the training split."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, cast

from pydantic import Field

from bessemer.core.config import Config
from bessemer.core.pick import Pick, make
from bessemer.core.registry import register
from bessemer.core.run import RunContext
from bessemer.engine.config import TrainingConfig


class Pretrain(TrainingConfig):
    """Pretraining of a network on the training split's text."""

    needs: ClassVar[tuple[str, ...]] = ("data",)

    data: str = "prepare"
    """The prepared data."""
    model: Annotated[Config, Pick("models")]
    """What to train: `{kind: bert, …}` from scratch, or `{kind: pretrained, …}` to go on from weights."""
    task: Annotated[Config, Pick("tasks")] = Field(default_factory=lambda: make("tasks", "mlm"))
    """What is learned: mlm, or mlm_nsp."""
    held_out: Annotated[float, Field(gt=0, lt=0.5)] = 0.02
    """Part of the training split that is not learnt from but validates the pretraining; the validation and test splits are never read."""


@register("stages", "pretrain")
def pretrain(config: Pretrain, inputs: Mapping[str, Path], out: Path, run: RunContext) -> dict[str, Any]:
    """Pretrain and write config.json, model.safetensors (trunk and heads), the tokenizer and the curves."""
    import numpy as np

    from bessemer.core.types import BuildSpec
    from bessemer.engine.job import Job
    from bessemer.nn.checkpoint import save_network
    from bessemer.nn.network import Network
    from bessemer.stages import _learning as learning

    learning.use_threads(run)
    whole = learning.text_only(learning.open_split(inputs["data"], "train", run.seed), "pretraining")
    order = np.random.Generator(np.random.Philox(key=[run.seed, 2**32])).permutation(whole.count)
    count = max(1, min(whole.count - 1, round(whole.count * config.held_out)))
    held, spec = (learning.text_only(learning.part_of(whole, np.sort(part)), "pretraining") for part in (order[:count], order[count:]))
    task = learning.make_task(config.task, spec)
    network = learning.build_network(config.model, BuildSpec(whole.schema, whole.codec.info, task.heads), run, inputs["data"])
    shown, part = learning.rehearsed(held, run)
    held = learning.text_only(shown, "pretraining")
    checked = learning.make_task(config.task, learning.fitted_on(held, spec))
    if config.metric_for_best_model is not None:
        learning.check_metric(config.metric_for_best_model, learning.loss_names(network, checked))
    job = Job(network, task, config, learning.batch_shape(config, spec), run, learning.scorer(network, checked, held, run, measured=False),
              (config.metric_for_best_model or "loss", config.metric_for_best_model is not None
               and not config.metric_for_best_model.endswith("loss")),
              validation_part=part, train_part=learning.train_part(run))
    facts = learning.train(job, out)
    save_network(cast(Network, network), out)
    learning.copy_preprocessing(inputs["data"], out, whole)
    return {**facts, "task": task.name, "rows": spec.count, "held_out_rows": count}
