"""early_exit: classifiers after some layers of a trained network of text, so that a row leaves as soon as one of them is sure of it.

The network itself stays as it is: a row that goes to its end gets the network's own answer. How sure an exit must be is chosen on the
validation rows, by the answers of the very graphs that are served. (DeeBERT, Xin et al. 2020, https://arxiv.org/abs/2004.12993.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, model_validator

from bessemer.core.errors import UserError
from bessemer.core.registry import register
from bessemer.core.run import RunContext
from bessemer.core.types import Calibration
from bessemer.engine.config import TrainingConfig
from bessemer.stages._compressing import Chain

if TYPE_CHECKING:
    import numpy as np
    import torch

    from bessemer.core.config import Config
    from bessemer.core.forms import Form
    from bessemer.core.task_spec import TaskSpec
    from bessemer.core.types import Batch, Loss, Task
    from bessemer.nn.early_exit import EarlyExits
    from bessemer.predictors.early_exit_form import Steps

NAME = "early-exit"


class EarlyExit(TrainingConfig):
    """Exits for a trained network, and the graphs between them."""

    needs: ClassVar[tuple[str, ...]] = ("data", "model")

    data: str = "prepare"
    """The prepared data."""
    model: str = "finetune"
    """The trained network of text: BERT, whole or pruned, with one label as its target."""
    layers: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] | None = None
    """After how many layers rows may leave; by default after a third and two thirds of them."""
    accuracy_drop: Annotated[float, Field(ge=0, le=1)] = 0.005
    """What the rows that leave early may lose together, as a part of all validation rows."""
    methods: tuple[Chain, ...] = ()
    """How the graphs become smaller, a form for each: as in compress. The float form is always there."""
    calibration_rows: Annotated[int, Field(ge=1)] = 256
    """Training rows at most that show a method what the activations look like."""

    @model_validator(mode="after")
    def _by_one_thread(self) -> EarlyExit:
        if self.gradient_threads > 1:
            raise ValueError("gradient_threads has no effect here: the network is frozen, and exits are small; remove it")
        return self


@register("stages", "early_exit")
def early_exit(config: EarlyExit, inputs: Mapping[str, Path], out: Path, run: RunContext) -> dict[str, Any]:
    """Train the exits and write a folder that predicts: a graph for each part of the network, thresholds, checks; return facts."""
    from bessemer.core.forms import write_forms
    from bessemer.stages import _learning as learning
    from bessemer.stages._checks import write_checks
    from bessemer.stages._tasks import task_for
    from bessemer.stages.compress import copy_files, validation_rows

    learning.use_threads(run)
    spec = learning.text_only(learning.open_split(inputs["data"], "train", run.seed), "early exit")
    network = _network(config, inputs["model"], run)
    facts = _train(config, network, (spec, task_for(None, inputs["model"], spec)), inputs["data"], (out, run))
    copy_files(inputs["model"], out)
    rows, truths = validation_rows(inputs["data"], 32 if run.rehearsal else 1_000_000)
    forms, told = _forms(config, network, spec, (inputs["model"], rows, truths), (out, run))
    write_forms(out, tuple(reversed(forms)))
    write_checks(out, rows)
    return {**facts, "task": "classification", "rows": spec.count, "layers": list(network.layers), "forms": told}


def _network(config: EarlyExit, folder: Path, run: RunContext) -> EarlyExits:
    """Return the trained network with new exits; a folder that cannot have them is a UserError."""
    import torch

    from bessemer.nn.checkpoint import answering, load_network
    from bessemer.nn.early_exit import EarlyExits
    from bessemer.nn.table import is_table_network

    if not (folder / "model.safetensors").is_file() or is_table_network(folder):
        raise UserError(f"'{folder}' holds no trained network of text, so there is no layer to leave after; give a finetune stage of one")
    if (folder / "heads.json").is_file() or answering(folder) != ("classification",):
        raise UserError(f"'{folder}' answers with something else than one label, and only of a label can be said how sure it is; leave the "
                        "stage early_exit out")
    network = load_network(folder, ("classification",))
    bert = getattr(network, "bert", None)
    depth = len(bert.encoder.layer) if bert is not None and hasattr(bert, "encoder") else 0
    layers = config.layers or tuple(sorted({max(1, round(depth * part / 3)) for part in (1, 2)} - {depth}))
    torch.manual_seed(run.seed)
    return EarlyExits(network, layers)


def _train(config: EarlyExit, network: EarlyExits, learnt: tuple[TaskSpec, Config | None], data: Path,
           where: tuple[Path, RunContext]) -> dict[str, Any]:
    """Train the exits by the labels and the network's own end; the weights that are best on the validation rows stay."""
    from bessemer.engine.job import Job
    from bessemer.stages import _learning as learning

    (spec, chosen), (out, run) = learnt, where
    validation, part = learning.rehearsed(learning.open_split(data, "validation", run.seed), run)
    checked = _task(learning.make_task(chosen, learning.fitted_on(validation, spec)))
    task = _task(learning.make_task(chosen, spec))
    score = learning.scorer(network, replace(checked, predict=None), validation, run, measured=False)
    learning.check_metric(config.metric_for_best_model or "loss", ("loss", "accuracy"))
    metric = config.metric_for_best_model or "loss"
    job = Job(network, task, config, learning.batch_shape(config, spec), run, score, (metric, metric == "accuracy"), validation_part=part,
              train_part=learning.train_part(run))
    facts = learning.train(job, out)
    network.eval()
    return facts


def _task(whole: Task) -> Task:
    """Return the task of all exits at once: the mean of their losses, each beside the labels and beside what the network's end says.

    Self-distillation (Zhang et al. 2019, https://arxiv.org/abs/1905.08094) at temperature 1, half and half.
    """
    if whole.name not in ("classification", "distillation"):
        raise UserError(f"early exits learn one label of a text, and the data's task is '{whole.name}'; leave the stage early_exit out")

    def loss(network: torch.nn.Module, batch: Batch) -> Loss:
        import torch
        import torch.nn.functional as F

        from bessemer.core.types import Loss

        inputs = next(iter(batch.inputs.values()))
        logits_EBC = network(inputs["input_ids"], inputs["attention_mask"], inputs["token_type_ids"]).float()
        (target,) = batch.targets if len(batch.targets) == 1 else [name for name in batch.targets if not name.endswith(".teacher")]
        present_B, code_B = batch.present[target], batch.targets[target]
        last_BC = logits_EBC[-1].detach()
        each_B = logits_EBC.new_zeros(len(present_B))
        right = 0.0
        exits = logits_EBC[:-1]
        for exit_BC in exits:
            taught_B = F.kl_div(exit_BC.log_softmax(-1), last_BC.log_softmax(-1), log_target=True, reduction="none").sum(-1)
            own_B = torch.where(present_B, F.cross_entropy(exit_BC, code_B.clamp(min=0), reduction="none"), taught_B)
            each_B = each_B + 0.5 * (taught_B + own_B) / len(exits)
            right += float((exit_BC.argmax(-1) == code_B)[present_B].sum()) / len(exits)
        sums = {"loss": (each_B.detach().sum(), len(each_B)), "accuracy": (right, int(present_B.sum()))}
        return Loss(each_B.mean(), sums, each_B.detach())

    return replace(whole, name=NAME, loss=loss, predict=None, mass=None)


def _forms(config: EarlyExit, network: EarlyExits, spec: TaskSpec, given: tuple[Path, Any, Mapping[str, np.ndarray]],
           where: tuple[Path, RunContext]) -> tuple[list[Form], dict[str, Any]]:
    """Write the graphs, as they are and by each chain of methods, and choose each form's thresholds on the validation rows."""
    from bessemer.stages._compressing import chain_names, write_chain

    model, rows, truths = given
    out, run = where
    plain = _export(network, out, run)
    forms, told = [], {}
    named = [("", ())] + [(f"-{name}", chain) for name, chain in zip(chain_names(config.methods), config.methods, strict=True)]
    for name, chain in named:
        files = plain
        if chain:
            files = [file.with_name(f"{file.stem}{name}.onnx") for file in plain]
            count = min(32, config.calibration_rows) if run.rehearsal else config.calibration_rows
            for place, (source, target) in enumerate(zip(plain, files, strict=True)):
                write_chain(chain, source, target, _seen(spec, plain[:place], count), run.scratch)
        form, facts = _calibrated(config, (f"{NAME}{name}", files, bool(chain)), (model, rows, truths), out)
        forms.append(form)
        told[form.name] = facts
        share = ", ".join(f"{part:.0%} after layer {layer}" for part, layer in zip(facts["left"], network.layers, strict=False))
        run.note(f"{form.name}: of {facts['rows']:,} validation rows {share}, {facts['left'][-1]:.0%} at the end; accuracy "
                 f"{facts['accuracy']:.4f}, the network's own {facts['accuracy_of_network']:.4f}")
        run.check()
    return forms, told


def _export(network: EarlyExits, out: Path, run: RunContext) -> list[Path]:
    from bessemer.core.pick import make
    from bessemer.core.registry import plugin_of

    export = make("export", "onnx")
    files = []
    with run.progress("export", len(network.layers) + 1, "graphs") as progress:
        for place, segment in enumerate(network.segments()):
            files.append(out / f"part_{place + 1}.onnx")
            plugin_of("export", export).function(export)(segment.eval(), files[-1])
            progress.advance(1)
            run.check()
    return files


def _seen(spec: TaskSpec, before: list[Path], count: int) -> Calibration:
    """Return what a part of the network reads of training rows: the outputs of the parts before it."""
    import numpy as np

    from bessemer.predictors.early_exit_form import Steps
    from bessemer.predictors.onnx_form import open_session

    steps = Steps([open_session(file) for file in before], ())
    positions = np.unique(np.linspace(0, spec.count - 1, min(count, spec.count)).astype(np.int64))
    positions = positions[np.argsort(spec.lengths[positions], kind="stable")]

    def batches() -> Iterator[dict[str, np.ndarray]]:
        for start in range(0, len(positions), 16):
            yield steps.through(spec.inputs(spec.take(positions[start:start + 16])))

    return Calibration(len(positions), batches)


def _calibrated(config: EarlyExit, made: tuple[str, list[Path], bool], given: tuple[Path, Any, Mapping[str, np.ndarray]], out: Path
                ) -> tuple[Form, dict[str, Any]]:
    """Return a form with its thresholds, and what it does to the validation rows."""
    import numpy as np

    from bessemer.core.forms import Form, open_form
    from bessemer.core.pick import make
    from bessemer.core.schema import Schema
    from bessemer.export.parity import same_answers
    from bessemer.measure.cascade import NEVER
    from bessemer.predictors._rows import softmax
    from bessemer.predictors.early_exit_form import EarlyExitForm, early_exit_form

    name, files, lossy = made
    model, rows, truths = given
    (target, truth), = truths.items()
    length = int(Schema.load(out).texts()[0].modality["max_length"])
    settings = {"graphs": tuple(file.name for file in files), "max_length": length}
    bare: Any = early_exit_form(EarlyExitForm(**settings, thresholds=(NEVER,) * (len(files) - 1)))(out, Schema.load(out), name)
    steps: Steps = bare.predict_batch
    found: list[tuple[np.ndarray, list[np.ndarray]]] = []
    ids = bare.encode(bare.clean(rows))
    order = np.argsort([bare.cost(item) for item in ids], kind="stable")
    for start in range(0, len(order), bare.rows_at_once):
        chosen = order[start:start + bare.rows_at_once]
        found.append((chosen, steps.every(bare.collated([ids[row] for row in chosen.tolist()]))))
    back = np.argsort(np.concatenate([item[0] for item in found]), kind="stable")
    exits = [softmax(np.concatenate([item[1][place] for item in found])[back]) for place in range(len(files))]
    reference = open_form(model).predict(rows)
    if not lossy:
        same_answers(reference, {target: replace(reference[target], values=exits[-1])}, f"answers of {name} without exits")
    thresholds, left, said = choose(exits, truth, config.accuracy_drop)
    form = Form(name=name, predictor=make("predictors", {"kind": "early_exit", **settings, "thresholds": thresholds}),
                files=settings["graphs"], lossy=True)
    known = truth >= 0
    right = {"accuracy": said, "accuracy_of_network": reference[target].values}
    return form, {"thresholds": list(thresholds), "left": left, "rows": len(truth), "lossy": lossy,
                  **{key: float((values.argmax(1) == truth)[known].mean()) for key, values in right.items()}}


def choose(exits: list[np.ndarray], truth: np.ndarray, drop: float) -> tuple[tuple[float, ...], list[float], np.ndarray]:
    """Return the thresholds of all exits but the last, the share of rows that leaves at each exit, and the answers.

    Args:
        exits: probabilities [N, C] of each exit, the network's end last.
        truth: codes [N], -1 where there is none.
        drop: what the rows that leave early may lose together, as a part of all.
    """
    import numpy as np

    from bessemer.measure.cascade import calibrate_cascade

    staying = np.arange(len(truth))
    said, thresholds, left = exits[-1].copy(), [], []
    for answers in exits[:-1]:
        threshold = calibrate_cascade(answers[staying], exits[-1][staying], truth[staying], drop)
        leaves = answers[staying].max(axis=1) >= threshold
        said[staying[leaves]] = answers[staying[leaves]]
        left.append(float(leaves.sum() / max(1, len(truth))))
        staying = staying[~leaves]
        thresholds.append(threshold)
    return tuple(thresholds), [*left, len(staying) / max(1, len(truth))], said
