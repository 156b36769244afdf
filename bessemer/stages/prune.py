"""prune: take the least important parts out of a trained network: a smaller network that predicts at once and that any stage goes on with.

What goes is chosen by first-order Taylor importance on training rows (Molchanov et al. 2019; Michel et al. 2019). A `finetune` stage with
`init: prune` (and, to learn from a teacher, `data: teach`) wins back most of what was lost; `rounds` takes the parts out step by step.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from bessemer.core.config import Config
from bessemer.core.pick import Pick
from bessemer.core.recipe import StageConfig
from bessemer.core.registry import register
from bessemer.core.run import RunContext
from bessemer.engine.config import TrainingConfig

Count = Annotated[int, Field(ge=1)]


class Prune(StageConfig):
    """What stays of a trained network; what is not named stays whole."""

    needs: ClassVar[tuple[str, ...]] = ("data", "model")

    data: str = "prepare"
    """The prepared data; its training rows decide what is important."""
    model: str = "finetune"
    """The trained network: BERT (or one that was pruned before), or a network for tables."""
    task: Annotated[Config, Pick("tasks")] | None = None
    """Whose loss importance is measured by: by default what the network was trained with."""
    layers: Count | None = None
    """Text: layers that stay."""
    layer_choice: Literal["importance", "spaced"] = "importance"
    """Which layers stay: the most important ones, or evenly spaced ones, the last among them."""
    heads: Count | None = None
    """Text: attention heads that stay, an average over the layers; which, is chosen over all layers together."""
    intermediate_size: Count | None = None
    """Text: feed-forward units that stay, an average over the layers; which, is chosen over all layers together."""
    hidden_size: Count | None = None
    """Width that stays. Text: channels between the layers, the same in all of them. Tables: units of a hidden layer, an average."""
    compensate: bool = True
    """Text: after heads, units or channels have gone, adjust what read them by least squares on the activations of the rows: most of the
    loss of quality is gone before any training."""
    vocabulary: Literal["all", "used"] = "all"
    """Text: `used` keeps the embeddings of tokens that the training rows hold; every other token is read as the unknown one."""
    min_count: Count = 1
    """Occurrences in the training rows that make a token a used one; with vocabulary: used."""
    positions: Literal["all", "prepared"] = "prepared"
    """Text: `prepared` keeps the embeddings of positions up to the column's max_length; answers do not change."""
    embedding_size: Count | None = None
    """Text: words are embedded in so many dimensions and projected to hidden_size (an SVD weighted by the tokens' counts)."""
    rank: Annotated[float, Field(gt=0)] | None = None
    """Text: linear layers become products of two thin ones. 1 or more: their rank. Below 1: the part of each layer's weights that its
    two factors have. A layer that would not become smaller stays."""
    rank_method: Literal["activations", "weights"] = "activations"
    """What the factors keep best: the layer's outputs on training rows (Chen et al. 2021), or its weights (plain SVD)."""
    columns: Count | None = None
    """Tables: input columns that the network goes on reading. The others may still be given and change nothing."""
    members: Count | None = None
    """Tables: members that stay; with 1 they are a plain MLP."""
    rows: Count = 1000
    """Training rows on which importance is measured, and validation rows on which the loss of quality is shown."""
    rounds: Count = 1
    """Steps in which the network shrinks (layers, heads, widths, members, columns); importance is measured anew before each."""
    tune: TrainingConfig | None = None
    """Training between two rounds, so that the parts that stay take over: any settings of training, such as `{max_steps: 100,
    learning_rate: 5.0e-5}`. After the last round a finetune stage goes on."""

    @model_validator(mode="after")
    def _effective(self) -> Prune:
        goals = (self.layers, self.heads, self.intermediate_size, self.hidden_size, self.embedding_size, self.rank, self.columns,
                 self.members)
        if self.vocabulary == "all" and all(goal is None for goal in goals):
            raise ValueError("nothing is to be pruned; give one or more of layers, heads, intermediate_size, hidden_size, vocabulary: "
                             "used, embedding_size, rank (text), hidden_size, columns, members (tables)")
        if self.tune is not None and self.rounds == 1:
            raise ValueError("tune trains between rounds and has no effect with rounds: 1; train in a finetune stage with init: prune")
        return self


@register("stages", "prune")
def prune(config: Prune, inputs: Mapping[str, Path], out: Path, run: RunContext) -> dict[str, Any]:
    """Write the folder of the smaller network, in the layout of finetune's; facts say what stayed and what it costs."""
    import shutil

    from bessemer.core.task_spec import TableSpec
    from bessemer.stages import _learning as learning
    from bessemer.stages._pruning import Shrinking, measured, opened, parts
    from bessemer.stages._pruning_tables import table_steps
    from bessemer.stages._pruning_text import text_steps
    from bessemer.stages._trained import REPLAY, save_trained

    learning.use_threads(run)
    work = opened(config, inputs, run)
    shrinking: Shrinking = (table_steps if isinstance(work.spec, TableSpec) else text_steps)(work, inputs["model"])
    before, scores = parts(shrinking.network), measured(work, shrinking.network)
    kept = shrinking.shrink()
    network = shrinking.network.eval()
    run.check()
    saved = save_trained(network, work.checked, work.validation, inputs["data"], out)
    if (inputs["model"] / REPLAY).is_dir():
        shutil.copytree(inputs["model"] / REPLAY, out / REPLAY)
    after = parts(network)
    total = {name: sum(counted.values()) for name, counted in (("before", before), ("after", after))}
    run.note(f"{total['before']:,} parameters became {total['after']:,} ({total['after'] / max(1, total['before']):.1%})")
    return {**saved, "parameters": total["after"], "parameters_before": total["before"], "parts": after, "parts_before": before,
            "kept": kept, "shape": shrinking.shape(), "validation": measured(work, network), "validation_before": scores}
