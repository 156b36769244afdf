"""Another budget for the same network finds what earlier searches trained, and what only the time prevented is said to be that."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bessemer.api import run
from bessemer.app.compressing import show
from bessemer.core.errors import UserError
from bessemer.core.events import Events
from bessemer.report.show import milliseconds
from bessemer.stages import _budget_try
from bessemer.stages._budget_space import Origin, space_of

BUDGET = {"size_mb": 0.0441, "accuracy_drop": 0.5}
SEARCH = {"minutes": 5, "trials": 1, "students": ["slim"], "distil": False, "cascades": False, "qat": False}


def squeeze(finished: Path, root: Path, budget: dict[str, Any], **search: Any) -> tuple[dict[str, Any], list[str], list[str]]:
    """Search in a run's folder; return the front, the stages that were started, and the ids of the journal's records in their order."""
    source, started = finished / "runs/tiny", list[str]()
    stage = {"kind": "compress", "data": str(source / "prepare"), "model": str(source / "finetune"), "methods": ["dynamic_int8"],
             "rows": 40, "budget": {**BUDGET, **budget}, "search": {**SEARCH, **search}}
    events = Events([lambda kind, data: started.append(data["stage"]) if kind == "stage_start" else None])
    result = run({"name": "squeezed", "threads": 1, "output_dir": str(root), "stages": {"compress": stage}}, events=events)
    key = result.stages["compress"].manifest.key
    lines = (root / f"trials/compress-{key[:12]}.jsonl").read_text(encoding="utf-8").splitlines()
    return json.loads((root / "compress/front.json").read_text(encoding="utf-8")), started, [json.loads(line)["id"] for line in lines]


@pytest.fixture(scope="module")
def searched(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("earlier") / "run"
    squeeze(finished, root, {})
    return root


def test_another_budget_takes_what_was_trained_first_and_trains_nothing(searched: Path, finished: Path, tmp_path: Path) -> None:
    root = tmp_path / "run"
    shutil.copytree(searched, root)
    front, started, ids = squeeze(finished, root, {"size_mb": 0.0442})
    assert not {"cut", "rung-1", "rung-2"} & set(started)
    assert [item.partition("-")[0] for item in ids] == ["reference", "trained", "length", "earlier", "slim"]
    chosen = next(item for item in front["candidates"] if item["chosen"])
    assert front["reachable"] and not front["ended_by_time"] and chosen["settings"]["family"] == "slim"


def test_what_this_search_would_train_otherwise_is_a_candidate_too(
        searched: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With so few passes that no training can be: what is chosen comes from the earlier search alone.

    The same network untrained is as small and as fast as the earlier one; whether the clock says that it is beaten is kept out.
    """
    monkeypatch.setattr(_budget_try, "dominates", lambda one, other: False)
    root = tmp_path / "run"
    shutil.copytree(searched, root)
    front, _, ids = squeeze(finished, root, {}, effort=1e-6)
    assert [item.partition("-")[0] for item in ids] == ["reference", "trained", "length", "earlier", "earlier", "slim"]
    assert [item["status"] for item in front["candidates"]][-1] == "failed"
    chosen = next(item for item in front["candidates"] if item["chosen"])
    assert front["reachable"] and " (trained by an earlier search); " in chosen["name"]


def test_what_only_the_time_prevented_is_not_called_unreachable(
        finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    front, _, ids = squeeze(finished, tmp_path / "run", {"size_mb": 0.001}, minutes=0.001)
    folder = tmp_path / "run/compress"
    done: Any = SimpleNamespace(root=tmp_path / "run", stages={"compress": SimpleNamespace(folder=folder)})
    show(done, "compress")
    shown = " ".join(capsys.readouterr().out.split())
    again = milliseconds(front["measured_again"]["1"]["median_ms"])
    assert f"its latency of {again} was measured again at the end, in turn with the trained network; the table's " in shown
    assert ids[-1] == "ended" and front["ended_by_time"] is True and front["reachable"] is False
    assert front["sentence"].startswith("not reached within 0.001 minutes; the nearest is trained network; dynamic_int8: ")


def test_families_that_have_one_answer_for_a_text_are_left_out_for_tags() -> None:
    config = {"model_type": "bert", "num_attention_heads": 2, "intermediate_size": 64, "hidden_size": 32, "num_hidden_layers": 2}
    families = {name: list(space_of(Origin(Path(), Path(), False, {**config, "architectures": [name]}), None))
                for name in ("BertForSequenceClassification", "BertForTokenClassification")}
    assert families == {"BertForSequenceClassification": ["slim", "text_cnn", "text_rnn", "ngrams"],
                        "BertForTokenClassification": ["slim", "text_rnn", "ngrams"]}
    with pytest.raises(UserError, match="search.students: this network cannot become 'text_cnn'"):
        space_of(Origin(Path(), Path(), False, {**config, "architectures": ["BertForTokenClassification"]}), ["text_cnn"])
