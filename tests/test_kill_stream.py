"""A stream of computed rows that is killed while it trains, and run again, ends with the same bytes as one left alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RECIPE = """\
name: rows
threads: 1
stages:
  stream:
    source: {kind: regression, rows: 60000, features: 40, informative: 5, block_rows: 512}
    inputs: {x: {kind: vector}}
    targets: {y: {kind: number, transform: none}}
    validation: 1024
    test: 1024
    fit_rows: 2000
    shuffle: window
    window: 4
  finetune:
    data: stream
    model: {kind: mlp, hidden_sizes: [32], dropout: 0.1}
    num_train_epochs: 3
    per_device_train_batch_size: 64
    learning_rate: 1.0e-3
    evals_per_epoch: 3
    checkpoint_seconds: 0.05
    logging_steps: 20
"""


def start(folder: Path) -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    (folder / "rows.yaml").write_text(RECIPE, encoding="utf-8")
    return subprocess.Popen([sys.executable, "-m", "bessemer", "run", "rows.yaml"], cwd=folder, text=True, stderr=subprocess.PIPE,
                            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL)


def finish(folder: Path) -> dict[str, bytes]:
    """Run to the end; return the bytes of every manifest and of every file that it names."""
    with start(folder) as process:
        _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    found = {}
    for stage in ("stream", "finetune"):
        manifest = (folder / "runs/rows" / stage / "manifest.json").read_bytes()
        found[stage] = manifest
        found.update({f"{stage}/{name}": (folder / "runs/rows" / stage / name).read_bytes() for name in json.loads(manifest)["files"]})
    return found


@pytest.mark.parametrize("kills", [2, pytest.param(8, marks=pytest.mark.slow)])
def test_a_killed_stream_goes_on_at_the_same_row(tmp_path: Path, kills: int) -> None:
    expected = finish(tmp_path / "whole")
    steps = set()
    for attempt in range(kills):
        with start(tmp_path / "killed") as process:
            end, seen = time.monotonic() + 120, steps.copy()
            while process.poll() is None and time.monotonic() < end:
                found = {item.name for item in (tmp_path / "killed/runs/rows/.work").glob("finetune-*/state/checkpoints/step-*")}
                steps |= {name for name in found if not name.endswith(".part")}
                if len(steps - seen) > 1 + attempt % 3:  # some checkpoints further than the last time
                    break
                time.sleep(0.002)
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=60)
    assert len(steps) >= 2, "nothing was killed while it trained"
    assert finish(tmp_path / "killed") == expected
