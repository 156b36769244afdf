"""compress with a budget: TF-IDF with a linear model as a candidate, as the first of a pair and as a second teacher; rows without labels;
and what can read pairs of texts."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from bessemer.api import Model, run
from bessemer.core.errors import UserError
from bessemer.core.events import Events
from bessemer.core.forms import open_form, read_forms
from bessemer.core.types import Answer
from bessemer.data.shards import ShardReader
from bessemer.measure.size import size
from bessemer.stages._budget_classical import CLASSICAL, better_together, seconds
from bessemer.stages._budget_measure import Place
from bessemer.stages._budget_pairs import write_pair
from bessemer.stages._budget_space import Origin, space_of
from bessemer.stages._teaching_text import _beside
from bessemer.stages.compress import validation_rows
from tests.conftest import sentences


@pytest.fixture(scope="module")
def squeezed(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A search for which the classical model and one small network are named, with further texts to ask about."""
    root, heard = tmp_path_factory.mktemp("classical"), []
    further = root / "more.txt"
    further.write_text("\n".join(text.replace("\n", " ") for text, _ in sentences(50, seed=5)) + "\n", encoding="utf-8")
    source = finished / "runs/tiny"
    stage = {"kind": "compress", "data": str(source / "prepare"), "model": str(source / "finetune"), "methods": [], "rows": 40,
             "budget": {"size_mb": 1, "latency_ms": 1000, "accuracy_drop": 0.5},
             "search": {"minutes": 5, "trials": 1, "students": ["tfidf_linear", "ngrams"], "cascades": False,
                        "unlabelled": [{"kind": "lines", "path": str(further)}]}}
    run({"name": "s", "threads": 1, "output_dir": str(root / "run"), "stages": {"compress": stage}},
        events=Events([lambda kind, data: heard.append(str(data.get("message", ""))) if kind == "note" else None]))
    return root / "run", heard


def test_it_is_measured_and_may_be_chosen(squeezed: tuple[Path, list[str]], finished: Path) -> None:
    root, _ = squeezed
    front = json.loads((root / "compress/front.json").read_text(encoding="utf-8"))
    found = {item["settings"].get("analyzer"): item for item in front["candidates"] if item["status"] == "finished"}
    assert found["word"]["name"] == "TF-IDF of words and a linear model; float32"
    assert found["word"]["size_bytes"] < found["both"]["size_bytes"]
    own = found["both"]
    assert own["name"] == "TF-IDF and a linear model; float32" and own["latency_ms"] > 0 and not own["lossy"]
    chosen = next(item for item in front["candidates"] if item["chosen"])
    rows, _ = validation_rows(finished / "runs/tiny/prepare", 40)
    fitted = next((root / "trials").glob(f"*-{CLASSICAL}-both")) / "fit"
    assert own["size_bytes"] == size(fitted, "tfidf_linear")["form"]
    if chosen["settings"].get("analyzer") == "both":  # which is the fastest is for the clock to say
        assert [form.name for form in read_forms(root / "compress")] == ["tfidf_linear"]
        assert not (root / "compress" / "model.safetensors").exists()
        said = open_form(root / "compress").predict(rows)["label"].values
        assert np.array_equal(said, open_form(fitted).predict(rows)["label"].values)
    assert Model.load(root / "compress").predict(["The room was lovely today."]) in (["good"], ["bad"])


def test_further_texts_are_asked_about(squeezed: tuple[Path, list[str]]) -> None:
    root, heard = squeezed
    made = ShardReader(next((root / "trials").glob("*-teach-*/teach")) / "train").stored(".made")
    assert (made == 2).sum() > 20
    assert any("to ask about" in line for line in heard)


def test_a_pair_may_begin_with_it(squeezed: tuple[Path, list[str]], finished: Path, tmp_path: Path) -> None:
    root, _ = squeezed
    fitted, network = next((root / "trials").glob(f"*-{CLASSICAL}-both")) / "fit", finished / "runs/tiny/compress"
    graph = read_forms(network)[0].name
    form = write_pair(tmp_path / "pair", [Place(fitted, "tfidf_linear"), Place(network, graph)], 0.8)
    rows, _ = validation_rows(finished / "runs/tiny/prepare", 40)
    first, second = open_form(fitted).predict(rows)["label"].values, open_form(network, graph).predict(rows)["label"].values
    sure = first.max(axis=1) >= 0.8
    assert np.array_equal(open_form(tmp_path / "pair", form.name).predict(rows)["label"].values, np.where(sure[:, None], first, second))
    alone = tmp_path / "moved"
    alone.mkdir()
    for name in ("schema.json", "predictor.json", *form.files):
        shutil.copyfile(tmp_path / "pair" / name, alone / name)
    shutil.copytree(tmp_path / "pair" / "columns", alone / "columns")
    assert np.array_equal(open_form(alone, form.name).predict(rows)["label"].values, np.where(sure[:, None], first, second))


@pytest.mark.parametrize(("other", "teaches"), [(0.9, True), (0.5, False)])
def test_it_teaches_where_both_together_are_better(other: float, teaches: bool) -> None:
    """200 rows: the network is right about 160; the other about all of them, the more surely the better for the mean."""
    truth = np.arange(200) % 2
    wrong = np.arange(200) < 40
    network = np.eye(2)[np.where(wrong, 1 - truth, truth)] * 0.6 + 0.2
    sure = np.eye(2)[truth] * (2 * other - 1) + (1 - other)
    answers = {name: {"y": Answer("label", values.astype(np.float32), ("0", "1"))} for name, values in (("a", network), ("b", sure))}
    yard = SimpleNamespace(reference=answers["a"], truths={"y": truth}, answers=lambda _: answers["b"])
    hunt: Any = SimpleNamespace(yard=yard, run=SimpleNamespace(seed=0))
    assert better_together(hunt, Place(Path())) is teaches


def test_a_fit_that_takes_too_long_is_left_out() -> None:
    facts = {"rows": {"train": 1_000_000}, "columns": {"text": {"lengths": {"mean": 100.0}}}}
    hunt: Any = SimpleNamespace(run=SimpleNamespace(input_manifests={"data": SimpleNamespace(facts=facts)}),
                                yard=SimpleNamespace(reference={"y": Answer("label", np.zeros((1, 20)), tuple("abcdefghijklmnopqrst"))}))
    assert 900 < seconds(hunt) < 3600


def test_pairs_of_texts_become_what_reads_pairs(finished: Path) -> None:
    origin = Origin.of(finished / "runs/tiny/finetune", finished / "runs/tiny/prepare")
    assert set(space_of(origin, None)) == {"slim", "text_cnn", "text_rnn", "ngrams"}
    assert set(space_of(replace(origin, inputs=2), None)) == {"slim"}
    with pytest.raises(UserError, match="search.students: this network cannot become 'text_cnn'"):
        space_of(replace(origin, inputs=2), ["text_cnn"])


def test_new_texts_of_a_pair_stand_beside_each_other() -> None:
    first = pa.table({"row_id": [3, 1, 2], "a": ["x3", "x1", "x2"]})
    second = pa.table({"row_id": [3, 2], "b": ["y3", "y2"]})
    assert _beside([first, second]).to_pydict() == {"row_id": [3, 2], "a": ["x3", "x2"], "b": ["y3", "y2"]}
    assert _beside([first]).equals(first)
