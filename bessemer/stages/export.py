"""export: one folder that predicts without torch: graphs, weights, tokenizer, labels, preprocessing and the model card."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from bessemer.core.errors import GuardError, UserError
from bessemer.core.recipe import StageConfig
from bessemer.core.registry import register
from bessemer.core.run import RunContext
from bessemer.stages._checks import CHECKS, write_checks
from bessemer.stages._exporting import Made, parity, written
from bessemer.stages.compress import copy_files, copy_weights, validation_rows

if TYPE_CHECKING:
    from bessemer.core.forms import Form

CHECKED_ROWS = 64


class Export(StageConfig):
    """The folder to ship."""

    needs: ClassVar[tuple[str, ...]] = ("data", "model", "compressed", "scores")

    data: str = "prepare"
    """The prepared data; some validation rows check the folder."""
    model: str = "finetune"
    """The trained network, whose weights go along in Hugging Face's layout."""
    compressed: str = "compress"
    """The compress stage whose graphs go along."""
    scores: str | None = None
    """An evaluate stage whose numbers the model card shows."""
    form: str | None = None
    """The form that predicts by default; the first of `compressed` otherwise."""
    to: Literal["onnx", "openvino", "torch"] = "onnx"
    """What runs the folder: the graphs of `compressed` by ONNX Runtime; the same graphs by OpenVINO; or the network as a torch program."""


@register("stages", "export")
def export(config: Export, inputs: Mapping[str, Path], out: Path, run: RunContext) -> dict[str, Any]:
    """Assemble the folder; each form answers what the compress stage's answered, bit for bit where it is the same graph."""
    from bessemer.core.forms import read_forms
    source = inputs["compressed"]
    # What was compressed to a budget may be another, smaller network, which lies beside its graphs.
    network = source if (source / "model.safetensors").is_file() else inputs["model"]
    if not (network / "model.safetensors").is_file():
        raise UserError(f"model: '{config.model}' holds no network, whose weights a folder to ship has beside its graphs; give the "
                        f"finetune stage of one, or copy '{network}', which answers as it is")
    copy_files(network, out)
    for name in ("config.json", "model.safetensors"):
        shutil.copyfile(network / name, out / name)
    trained = read_forms(inputs["model"])  # in torch: one predictor opens whichever network lies there
    made = _copied(source, out) if config.to == "onnx" else written(config.to, source, network, (out, trained[0].name), run)
    _write_forms(config, made, trained, out)
    facts: dict[str, Any] = {}
    if config.to == "onnx":
        facts["identical_rows"] = _check(config, inputs, out, tuple(item.form for item in made), run)
    else:
        made, facts["parity"] = parity(made, inputs, out, CHECKED_ROWS, run)
        _write_forms(config, made, trained, out)
        write_checks(out, validation_rows(inputs["data"], CHECKED_ROWS)[0])
        first, wanted = made[0], read_forms(source)[0].name
        if config.form is None and first.folder == source and first.like != wanted:
            run.note(f"{first.form.name}, made of {first.like}, answers in place of {wanted}")
    names = [form.name for form in read_forms(out)]
    (out / "README.md").write_text(_card(config, inputs, run), encoding="utf-8")
    return {"form": names[0], "forms": names, **facts}


def _write_forms(config: Export, made: Sequence[Made], trained: Sequence[Form], out: Path) -> None:
    """Write the forms of a folder, the one that answers first; one that is asked for and not there is a UserError."""
    from bessemer.core.forms import write_forms

    names = [item.form.name for item in made]
    if not names:
        raise UserError(f"to: '{config.compressed}' holds no graph that {config.to} answers like; export it to onnx")
    chosen = config.form or names[0]
    if chosen not in names:
        raise UserError(f"form: '{config.compressed}' has no form '{chosen}' for {config.to}; it has {', '.join(names)}")
    write_forms(out, tuple([*sorted((item.form for item in made), key=lambda form: form.name != chosen), *trained]))


def _copied(source: Path, out: Path) -> list[Made]:
    """Copy the forms of a compress stage with their files."""
    from bessemer.core.forms import read_forms

    found = read_forms(source)
    if (source / CHECKS).is_file():
        shutil.copyfile(source / CHECKS, out / CHECKS)
    for form in found:
        copy_weights(form, source, out)
    return [Made(form, form.name, source) for form in found]


def _check(config: Export, inputs: Mapping[str, Path], out: Path, forms: tuple[Any, ...], run: RunContext) -> int:
    from bessemer.core.forms import open_form
    table, _ = validation_rows(inputs["data"], CHECKED_ROWS)
    for form in forms:
        run.check()
        before = open_form(inputs["compressed"], form.name).predict(table)
        after = open_form(out, form.name).predict(table)
        if any(answer.values.tobytes() != after[target].values.tobytes() for target, answer in before.items()):
            raise GuardError(f"the exported form {form.name} does not answer bit for bit what '{config.compressed}' answered on "
                             f"{table.num_rows} validation rows; delete the export folder and run again, and report this if it "
                             "persists")
    return table.num_rows


def _card(config: Export, inputs: Mapping[str, Path], run: RunContext) -> str:
    from bessemer.report.card import model_card
    from bessemer.stages._gather import gather

    found = {config.data: inputs["data"], config.model: inputs["model"], config.compressed: inputs["compressed"]}
    if config.scores is not None:
        found[config.scores] = inputs["scores"]
    return model_card(gather(run.root, found, timings=False))
