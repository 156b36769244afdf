"""A run that is killed at any moment and run again ends with the same bytes as one left alone."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import left_over, write_tiny

ROOT = Path(__file__).parents[1]
STAGES = ("prepare", "pretrain", "finetune", "compress", "evaluate", "export", "report")
FAST = {"checkpoint_seconds": 0.001, "num_train_epochs": 6, "logging_steps": 1}
LIMIT = 120.0


def recipe(folder: Path) -> Path:
    """Write a recipe that checkpoints all the time."""
    return write_tiny(folder, pretrain=FAST, finetune={**FAST, "evals_per_epoch": 2}, baseline=None,
                      evaluate={"models": ["finetune", "compress"]}, report={"stages": [name for name in STAGES if name != "report"]})


@contextlib.contextmanager
def command(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Start `bessemer run` in a folder."""
    with subprocess.Popen([sys.executable, "-m", "bessemer", "run", "tiny.yaml"], cwd=folder, text=True, start_new_session=True,
                          env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def events(folder: Path) -> list[dict[str, object]]:
    """Return the events told so far; a line cut by a kill is no event."""
    file = folder / "runs/tiny/events.jsonl"
    found = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else []:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def begun(stage: str) -> Callable[[Path, int], bool]:
    """Return whether a stage has begun since the process was started."""
    return lambda folder, told: any(item["event"] == "stage_start" and item["stage"] == stage for item in events(folder)[told:])


def writing(stage: str) -> Callable[[Path, int], bool]:
    """Return whether a checkpoint of a stage is being written."""
    return lambda folder, told: begun(stage)(folder, told) and any(
        (folder / "runs/tiny/.work").glob(f"{stage}-*/state/checkpoints/*.part"))


def strike(folder: Path, moment: Callable[[Path, int], bool], delay: float, number: int) -> tuple[int, str]:
    """Run the command and send it a signal some time after a moment; return its exit code and what it said."""
    told = len(events(folder))
    with command(folder) as process:
        end = time.monotonic() + LIMIT
        while process.poll() is None and not moment(folder, told):
            assert time.monotonic() < end, "the moment never came"
            time.sleep(0.0005)
        time.sleep(delay)
        process.send_signal(number)
        _, said = process.communicate(timeout=LIMIT)
        return process.returncode, said


def finish(folder: Path) -> None:
    """Run the command to its end."""
    with command(folder) as process:
        _, said = process.communicate(timeout=LIMIT)
        assert process.returncode == 0, said


def contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every manifest and of every file that it names, timings aside."""
    found = {}
    for stage in STAGES:
        place = folder / "runs/tiny" / stage
        manifest = (place / "manifest.json").read_bytes()
        found[f"{stage}/manifest.json"] = manifest
        found.update({f"{stage}/{name}": (place / name).read_bytes() for name in json.loads(manifest)["files"]})
    return found


def compare(folder: Path, expected: dict[str, bytes]) -> None:
    """Check that a run has the expected bytes and that nothing unfinished is left."""
    found = contents(folder)
    assert found.keys() == expected.keys()
    assert [name for name in expected if found[name] != expected[name]] == []
    assert left_over(folder) == []
    assert not any((folder / "runs/tiny/.work").glob("*"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The bytes of a run that was left alone."""
    from bessemer.api import run

    folder = tmp_path_factory.mktemp("undisturbed")
    recipe(folder)
    with contextlib.chdir(folder):
        run("tiny.yaml")
    found = contents(folder)
    assert len(found) > 40 and "finetune/model.safetensors" in found and "export/model_dynamic_int8.onnx" in found
    shutil.rmtree(folder)
    return found


def test_three_kills(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    generator = random.Random(5)
    recipe(tmp_path)
    for moment, most in ((begun("pretrain"), 0.4), (writing("finetune"), 0.002), (begun("compress"), 1.5)):
        code, said = strike(tmp_path, moment, generator.uniform(0, most), signal.SIGKILL)
        assert code == -signal.SIGKILL, said
    finish(tmp_path)
    compare(tmp_path, undisturbed)


@pytest.mark.slow
def test_twenty_kills(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    generator = random.Random(11)
    moments = ((begun("prepare"), 0.5), (begun("pretrain"), 0.3), (writing("pretrain"), 0.003), (begun("finetune"), 0.3),
               (writing("finetune"), 0.003), (begun("finetune"), 0.8), (begun("compress"), 3.0), (begun("evaluate"), 0.7),
               (begun("export"), 0.4), (begun("report"), 0.3))
    kills = 0
    for attempt in range(8):
        folder = tmp_path / str(attempt)
        recipe(folder)
        for moment, most in moments:
            code, said = strike(folder, moment, generator.uniform(0, most), signal.SIGKILL)
            assert code in (-signal.SIGKILL, 0), said
            kills += code != 0
        finish(folder)
        compare(folder, undisturbed)
        if kills >= 20:
            break
    assert kills >= 20


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "sigterm"])
def test_asked_to_stop(tmp_path: Path, undisturbed: dict[str, bytes], number: int, code: int) -> None:
    recipe(tmp_path)
    found, said = strike(tmp_path, writing("finetune"), 0.0, number)
    assert found == code, said
    assert "what was done is kept; to go on from there: bessemer run tiny.yaml" in said and "Traceback" not in said
    assert left_over(tmp_path) == [] and not (tmp_path / "runs/tiny/finetune").exists()
    finish(tmp_path)
    assert any("goes on from step" in str(item.get("message")) for item in events(tmp_path))
    compare(tmp_path, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["prepare", "compress", "evaluate", "export"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "sigterm"])
def test_asked_to_stop_in_every_stage(tmp_path: Path, undisturbed: dict[str, bytes], stage: str, number: int, code: int) -> None:
    recipe(tmp_path)
    found, said = strike(tmp_path, begun(stage), 0.0, number)
    assert found == code and "to go on from there: bessemer run tiny.yaml" in said and "Traceback" not in said, said
    finish(tmp_path)
    compare(tmp_path, undisturbed)
