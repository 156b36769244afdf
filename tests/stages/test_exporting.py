"""bessemer export --to: folders for other runtimes, held against the graphs that they are made of."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
import pytest

from bessemer.api import run as run_recipe
from bessemer.core import artifact
from bessemer.core.answering import choose
from bessemer.core.errors import GuardError
from bessemer.core.events import Events
from bessemer.core.forms import Form, open_form, read_forms, write_forms
from bessemer.core.run import RunContext, Stop
from bessemer.stages._budget_measure import Place
from bessemer.stages._budget_pairs import write_pair
from bessemer.stages._exporting import Made, parity
from tests.conftest import Command
from tests.predictors.test_predictors import BLOCKED


def facts_of(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["facts"]
    return found


def test_export_to_each_runtime(copied: Path, bessemer: Command) -> None:
    run = copied / "runs" / "tiny"
    before = (run / "export" / "manifest.json").read_bytes()
    rows = pa.table({"text": ["The room number 7 was awful today.", "第7次，航班很好。"]})
    expected = open_form(run / "compress", "onnx-float32").predict(rows)["label"].values
    for to, first in (("openvino", "openvino-float32"), ("torch", "torch-program")):
        said = bessemer("export", run, "--to", to)
        folder = run / f"export-{to}"
        assert said.code == 0 and f"to have export-{to} answer, name its folder: bessemer serve {folder}" in " ".join(said.out.split())
        assert choose(run).folder == run / "export"  # the choice of a search may be no graph for this runtime
        assert [form.name for form in read_forms(folder)] == [first, "torch-float32"]
        np.testing.assert_allclose(open_form(folder).predict(rows)["label"].values, expected, atol=1e-5)
        assert list(facts_of(folder)["parity"]) == [first]  # the int8 graph has scales of a batch, which is for its own runtime
        assert list(json.loads((folder / "checks.json").read_text(encoding="utf-8"))["forms"]) == [first, "torch-float32"]
        assert "awful" in bessemer("predict", folder, "The room was awful.").out
    texts = pa.table({"text": ["good film", "bad day"]})
    script = BLOCKED.replace('"review"', '"text"')
    answered = subprocess.run([sys.executable, "-c", script, str(run / "export-openvino")], capture_output=True, text=True, check=True,
                          cwd=Path(__file__).parents[2]).stdout
    assert answered.strip() == open_form(run / "export-openvino").predict(texts)["label"].values.tobytes().hex()
    assert (run / "export" / "manifest.json").read_bytes() == before
    assert bessemer("export", run, "--to", "onnx").code == 0 and (run / "export" / "manifest.json").read_bytes() == before
    assert choose(run).folder == run / "export"
    assert bessemer("export", run, "--to", "onyx").error == (
        "--to: there is no export to 'onyx'; did you mean 'onnx'?")
    assert bessemer("export", run, "--to", "tflite").error == "--to: there is no export to 'tflite'; known are: onnx, openvino, torch"


def test_a_graph_that_openvino_does_not_know_is_left_out_and_the_float_one_answers(finished: Path, tmp_path: Path) -> None:
    source, heard = finished / "runs/tiny", list[str]()
    run_recipe({"name": "blocks", "threads": 1, "output_dir": str(tmp_path), "stages": {
        "compress": {"data": str(source / "prepare"), "model": str(source / "finetune"),
                     "methods": [{"kind": "weight_only", "bits": 4}], "max_accuracy_drop": 0.5, "min_agreement": 0.5},
        "export": {"data": str(source / "prepare"), "model": str(source / "finetune"), "to": "openvino"}}},
        events=Events([lambda kind, data: heard.append(str(data["message"])) if kind == "note" else None]))
    assert [form.name for form in read_forms(tmp_path / "compress")] == ["onnx-weight_only", "onnx-float32"]
    assert [form.name for form in read_forms(tmp_path / "export")] == ["openvino-float32", "torch-float32"]
    assert any(text.startswith("onnx-weight_only is left out: 'model_weight_only.onnx' has operators that OpenVINO does not know") for
               text in heard)
    assert "openvino-float32, made of onnx-float32, answers in place of onnx-weight_only" in heard


def exported(folder: Path, source: Path, compressed: Path, to: str) -> list[str]:
    """Export a network of a finished run for a runtime, with the forms of a stage; return the notes."""
    heard = list[str]()
    run_recipe({"name": "ship", "threads": 1, "output_dir": str(folder), "stages": {
        "export": {"data": str(source / "prepare"), "model": str(source / "finetune"), "compressed": str(compressed), "to": to}}},
        events=Events([lambda kind, data: heard.append(str(data["message"])) if kind == "note" else None]))
    return heard


@pytest.mark.parametrize(("to", "name"), [("openvino", "openvino-float32"), ("torch", "torch-program")])
def test_where_no_float_graph_lies_the_network_itself_is_exported(finished: Path, tmp_path: Path, to: str, name: str) -> None:
    source = finished / "runs/tiny"
    heard = exported(tmp_path, source, source / "baseline", to)  # TF-IDF, as a search may choose it
    assert [form.name for form in read_forms(tmp_path / "export")] == [name, "torch-float32"]
    assert heard == [f"tfidf_linear: none is one float graph, which alone {to} runs; the trained network is exported "
                     "instead, whole and in float32"]
    rows = pa.table({"text": ["The room number 7 was awful today.", "第7次，航班很好。"]})
    expected = open_form(source / "finetune").predict(rows)["label"].values
    np.testing.assert_allclose(open_form(tmp_path / "export").predict(rows)["label"].values, expected, atol=1e-5)
    assert list(json.loads((tmp_path / "export/checks.json").read_text(encoding="utf-8"))["forms"]) == [name, "torch-float32"]


def test_of_a_pair_the_trained_network_is_exported_to_torch_and_the_pair_to_onnx(finished: Path, tmp_path: Path) -> None:
    source, pair = finished / "runs/tiny", tmp_path / "pair"
    write_pair(pair, [Place(source / "baseline", "tfidf_linear"), Place(source / "compress", "onnx-float32")], 0.9)
    artifact.commit(pair, artifact.Manifest(kind="compress", key=artifact.digest("pair"), inputs={}, files={}, facts={}))
    rows = pa.table({"text": ["The room number 7 was awful today.", "第7次，航班很好。"]})
    assert exported(tmp_path / "torch", source, pair, "torch") == [
        "cascade, first-tfidf_linear, second-onnx-float32: none is one float graph, which alone torch runs; the trained network is "
        "exported instead, whole and in float32"]
    assert [form.name for form in read_forms(tmp_path / "torch/export")] == ["torch-program", "torch-float32"]
    for folder, other in ((tmp_path / "torch/export", source / "finetune"), (tmp_path / "onnx/export", pair)):
        if other == pair:
            assert exported(tmp_path / "onnx", source, pair, "onnx") == [] and read_forms(folder)[0].name == "cascade"
        expected = open_form(other).predict(rows)["label"].values
        np.testing.assert_allclose(open_form(folder).predict(rows)["label"].values, expected, atol=1e-5)


def test_a_lossy_form_that_another_runtime_answers_otherwise_is_left_out(finished: Path, tmp_path: Path) -> None:
    source, heard = finished / "runs/tiny", list[str]()
    exported(tmp_path / "ship", source, source / "compress", "openvino")
    out = tmp_path / "ship/export"
    other = shutil.copytree(source / "compress", tmp_path / "other")
    graph = onnx.load(str(other / "model.onnx"))
    end = graph.graph.output[0].name
    for node in graph.graph.node:
        node.output[:] = ["turned" if name == end else name for name in node.output]
    graph.graph.node.append(onnx.helper.make_node("Neg", ["turned"], [end]))  # stands for what another runtime makes of a graph
    onnx.save(graph, str(other / "model.onnx"))
    exact = next(form for form in read_forms(out) if form.name == "openvino-float32")
    shutil.copyfile(out / "model.xml", out / "blocks.xml")
    lossy = Form(name="openvino-blocks", predictor=exact.predictor, files=("blocks.xml", "model.bin"), lossy=True)
    write_forms(out, (lossy, exact))
    made = [Made(lossy, "onnx-float32", other), Made(exact, "onnx-float32", source / "compress")]
    context = RunContext("export", "k" * 64, 0, 1, tmp_path, tmp_path / "state", Events([
        lambda kind, data: heard.append(str(data["message"])) if kind == "note" else None]), Stop(), {})
    kept, found = parity(made, {"data": source / "prepare"}, out, 32, context)
    assert kept == made[1:] and list(found) == ["openvino-float32"]
    (said,) = heard
    assert said.startswith("onnx-float32 is left out: as openvino-blocks it answers otherwise than it does itself by ONNX Runtime: the "
                           "same label on 0.0% of 32 validation rows (min_agreement 95.0%), accuracy worse by ")
    assert not (out / "blocks.xml").exists() and (out / "model.bin").is_file()
    heard.clear()
    sparse = Form(name="openvino-sparse", predictor=exact.predictor, files=exact.files)
    write_forms(out, (sparse, exact))
    assert parity([Made(sparse, "onnx-float32", other), made[1]], {"data": source / "prepare"}, out, 32, context)[0] == made[1:]
    assert heard[0].startswith("onnx-float32 is left out: answers of the form openvino-sparse against ")
    with pytest.raises(GuardError, match="answers of the form openvino-float32 .* this runtime computes the network otherwise, so "
                                         "it cannot be exported to it: export it to onnx"):
        parity([Made(exact, "onnx-float32", other)], {"data": source / "prepare"}, out, 32, context)
