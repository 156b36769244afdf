"""Exports that ONNX Runtime does not run: the graphs of a compress stage for OpenVINO, or the network as a torch program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bessemer.core.errors import GuardError
from bessemer.core.pick import make
from bessemer.core.registry import plugin_of
from bessemer.core.run import RunContext
from bessemer.stages.compress import FLOAT, Limits, Otherwise, check, graph_predictor, network_of, validation_rows

if TYPE_CHECKING:
    from bessemer.core.forms import Form

GRAPHS = ("onnx", "table_onnx")
# A form made of a lossy graph is held against that graph, which it should follow closely: only rounding differs.
LIMITS = Limits(min_agreement=0.95, max_accuracy_drop=0.02)


@dataclass(frozen=True)
class Made:
    """A written form, and the form that it must answer like.

    Attributes:
        form: of the folder that is written.
        like: the name of the other, which it was made of.
        folder: where that lies.
    """

    form: Form
    like: str
    folder: Path


def written(to: str, source: Path, network: Path, out: tuple[Path, str], run: RunContext) -> list[Made]:
    """Write the forms of an export to `openvino` or `torch`, in the order of the compress stage's.

    Where that holds no float graph (a search chose TF-IDF or a pair, or exits cut the graph into parts) the network itself is exported.

    Args:
        to: the runtime.
        source: the compress stage's folder.
        network: the folder of the network that its graphs were made of.
        out: the folder to write to, which has the network already, and the name of its form in torch.
        run: of the stage.
    """
    from bessemer.core.forms import read_forms

    every = read_forms(source)
    members = {name for form in every for name in getattr(form.predictor, "forms", ())}  # of a cascade: neither is the model alone
    graphs = [form for form in every if plugin_of("predictors", form.predictor).name in GRAPHS and form.name not in members]
    exact = next((form for form in graphs if not form.lossy), None)
    if exact is None:
        return [_whole(to, [form.name for form in every], network, out, run)]
    if to == "torch":
        return [Made(_torch(exact, network, out[0], run), exact.name, source)]
    return [Made(made, form.name, source) for form in graphs if (made := _openvino(form, source, out[0], run)) is not None]


def _whole(to: str, others: Sequence[str], network: Path, out: tuple[Path, str], run: RunContext) -> Made:
    """Export a network by itself, held against itself in torch."""
    from bessemer.core.forms import Form
    from bessemer.nn.table import is_table_network

    table = is_table_network(network)
    folder, like = out
    heads = ("heads.json",) if (folder / "heads.json").is_file() else ()
    plain = Form(name=FLOAT, predictor=graph_predictor(network, table, "model.onnx"), files=("model.onnx", *heads))
    run.note(f"{', '.join(others)}: none is one float graph, which alone {to} runs; the trained network is exported instead, "
             "whole and in float32")
    if to == "torch":
        made: Form | None = _torch(plain, network, folder, run)
    else:
        export = make("export", "onnx")
        with run.progress("export", None, "graphs"):
            plugin_of("export", export).function(export)(network_of(network, table), run.scratch / "model.onnx")
        made = _openvino(plain, run.scratch, folder, run)
    assert made is not None  # only lossy graphs, and those with scales of a batch, are left out
    return Made(made, like, folder)


def _torch(exact: Form, network: Path, out: Path, run: RunContext) -> Form:
    from bessemer.nn.table import is_table_network

    config = make("export", "torch")
    with run.progress("export to torch", None, "graphs"):
        plugin_of("export", config).function(config)(network_of(network, is_table_network(network)), out / "model.pt2")
    return _form("torch-program", "torch_program", exact, "model.pt2", ("model.pt2",))


def _openvino(form: Form, source: Path, out: Path, run: RunContext) -> Form | None:
    import onnx

    from bessemer.export.openvino import UnknownOperators, convert
    from bessemer.predictors.onnx_form import ROWS_AT_ONCE

    given = str(form.predictor.file)  # type: ignore[attr-defined]
    metadata = {item.key for item in onnx.load(str(source / given), load_external_data=False).metadata_props}
    if ROWS_AT_ONCE in metadata:
        run.note(f"{form.name} is left out: its activations share a scale a batch, which only its own runtime is told; static_int8 and "
                 "dynamic_int8 with {scales: row} have none")
        return None
    file = Path(given).with_suffix(".xml").name
    with run.progress(f"export {form.name} to openvino", None, "graphs"):
        try:
            convert(source / given, out / file)
        except UnknownOperators as error:
            if not form.lossy:
                raise
            run.note(f"{form.name} is left out: {error}")
            return None
    name = form.name.replace("onnx-", "openvino-", 1)
    return _form(name, "openvino", form, file, (file, Path(file).with_suffix(".bin").name))


def _form(name: str, kind: str, like: Form, file: str, files: tuple[str, ...]) -> Form:
    from bessemer.core.forms import Form

    settings: dict[str, Any] = {"kind": kind, "file": file}
    if hasattr(like.predictor, "max_length"):
        settings["max_length"] = like.predictor.max_length
    heads = tuple(part for part in like.files if part == "heads.json")
    return Form(name=name, predictor=make("predictors", settings), files=(*files, *heads), lossy=like.lossy)


def parity(made: Sequence[Made], inputs: Mapping[str, Path], out: Path, rows: int, run: RunContext) -> tuple[list[Made], dict[str, Any]]:
    """Compare each form with the one that it was made of, on validation rows: float within 1e-4, lossy within LIMITS.

    Returns those that agree, and how closely. A lossy form that does not is left out: two runtimes round otherwise, and 4 bits magnify it.
    So is a float form beside which another one lies: OpenVINO misreads the tensors of `sparse_storage`.
    """
    from bessemer.core.forms import open_form

    table, truths = validation_rows(inputs["data"], rows)
    kept, found = list[Made](), dict[str, Any]()
    exact = [item for item in made if not item.form.lossy]
    for item in made:
        run.check()
        reference = open_form(item.folder, item.like).predict(table)
        answers = open_form(out, item.form.name).predict(table)
        try:
            found[item.form.name] = check(item.form, reference, answers, truths, None if run.rehearsal else LIMITS)
        except Otherwise as error:
            run.note(f"{item.like} is left out: as {item.form.name} it answers otherwise than it does itself by ONNX Runtime: {error.how}")
            continue
        except GuardError as error:  # seen of hashed n-grams by OpenVINO, whose whole numbers have 32 bits
            exact.remove(item)
            if exact:
                run.note(f"{item.like} is left out: {error}")
                continue
            raise GuardError(f"{error}; this runtime computes the network otherwise, so it cannot be exported to it: export it to onnx"
                             ) from None
        kept.append(item)
    shared = {file for item in kept for file in item.form.files}
    for file in {file for item in made for file in item.form.files if item not in kept} - shared:
        (out / file).unlink(missing_ok=True)
    return kept, found
