"""Training over rows that are never held: killed in the middle of an epoch and run again, it ends with the same bytes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bessemer.core.artifact import load_manifest

ROOT = Path(__file__).parents[1]
STAGES = {
    "stream": {"source": {"kind": "regression", "rows": 60_000, "features": 30, "informative": 5, "block_rows": 1024},
               "inputs": {"x": {"kind": "vector"}}, "targets": {"y": {"kind": "number", "transform": "none"}},
               "validation": 1000, "test": 1000, "fit_rows": 1000},
    "finetune": {"data": "stream", "model": {"kind": "mlp", "hidden_sizes": [64]}, "num_train_epochs": 2, "learning_rate": 5e-3,
                 "per_device_train_batch_size": 128, "evals_per_epoch": 3, "checkpoint_seconds": 0.01}}
LIMIT = 120.0


def started(folder: Path) -> subprocess.Popen[bytes]:
    """Start the run in a folder, which is made the first time."""
    folder.mkdir(exist_ok=True)
    (folder / "s.yaml").write_text(json.dumps({"name": "s", "threads": 1, "stages": STAGES}), encoding="utf-8")
    return subprocess.Popen([sys.executable, "-m", "bessemer", "run", "s.yaml"], cwd=folder, stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(ROOT)})


def checkpoints(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "runs/s/.work").glob("finetune-*/state/checkpoints/step-*") if path.suffix != ".part")


@pytest.mark.slow
@pytest.mark.parametrize("shuffle", ["window", "none"])
def test_a_killed_stream_ends_with_the_same_bytes(tmp_path: Path, shuffle: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STAGES["stream"], "shuffle", shuffle)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert started(whole).wait(LIMIT) == 0
    process = started(killed)
    end = time.monotonic() + LIMIT
    while process.poll() is None and not checkpoints(killed):
        assert time.monotonic() < end, "no checkpoint was written"
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    assert process.wait(LIMIT) == -signal.SIGKILL
    assert started(killed).wait(LIMIT) == 0
    assert "goes on from step" in (killed / "runs/s/events.jsonl").read_text(encoding="utf-8")
    manifest = load_manifest(whole / "runs/s/finetune")
    assert manifest is not None and "model.safetensors" in manifest.files
    for name in ("manifest.json", *manifest.files):
        assert (whole / "runs/s/finetune" / name).read_bytes() == (killed / "runs/s/finetune" / name).read_bytes(), name
