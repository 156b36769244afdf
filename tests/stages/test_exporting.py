"""bessemer export --to: folders for other runtimes, held against the graphs that they are made of."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa

from bessemer.core.forms import open_form, read_forms
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
        assert bessemer("export", run, "--to", to).code == 0
        folder = run / f"export-{to}"
        assert [form.name for form in read_forms(folder)] == [first, "torch-float32"]
        np.testing.assert_allclose(open_form(folder).predict(rows)["label"].values, expected, atol=1e-5)
        assert list(facts_of(folder)["parity"]) == [first]  # the int8 graph has scales of a batch, which is for its own runtime
        assert list(json.loads((folder / "checks.json").read_text(encoding="utf-8"))["forms"]) == [first, "torch-float32"]
        assert "awful" in bessemer("predict", folder, "The room was awful.").out
    texts = pa.table({"text": ["good film", "bad day"]})
    script = BLOCKED.replace('"review"', '"text"')
    said = subprocess.run([sys.executable, "-c", script, str(run / "export-openvino")], capture_output=True, text=True, check=True,
                          cwd=Path(__file__).parents[2]).stdout
    assert said.strip() == open_form(run / "export-openvino").predict(texts)["label"].values.tobytes().hex()
    assert (run / "export" / "manifest.json").read_bytes() == before
    assert bessemer("export", run, "--to", "onnx").code == 0 and (run / "export" / "manifest.json").read_bytes() == before
    assert bessemer("export", run, "--to", "onyx").error == (
        "--to: there is no export to 'onyx'; did you mean 'onnx'?")
    assert bessemer("export", run, "--to", "tflite").error == "--to: there is no export to 'tflite'; known are: onnx, openvino, torch"
