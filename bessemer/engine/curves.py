"""Curves: what training tells of itself, a line of JSON a point, cut back to the checkpoint's offset when a run resumes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class Curves:
    """An append-only file of points `{"step", "epoch", name: value}`."""

    def __init__(self, file: Path, offset: int) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._stream = file.open("r+b" if file.exists() else "w+b")
        self._stream.truncate(offset)
        self._stream.seek(offset)

    def add(self, step: int, epoch: float, **values: float) -> None:
        """Append one point."""
        line = json.dumps({"step": step, "epoch": round(epoch, 6), **values}) + "\n"
        self._stream.write(line.encode())

    def offset(self) -> int:
        """Flush and return the length of the file in bytes."""
        self._stream.flush()
        return self._stream.tell()

    def close(self) -> None:
        """Flush and close."""
        self._stream.close()


def read_curves(file: Path) -> list[dict[str, Any]]:
    """Return every point of a curve file."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def write_tensorboard(points: list[dict[str, Any]], folder: Path) -> None:
    """Write points as TensorBoard events, each under `<name>` at its step."""
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(log_dir=str(folder))  # type: ignore[no-untyped-call]
    for point in points:
        for name, value in point.items():
            if name not in ("step", "epoch"):
                writer.add_scalar(name, value, point["step"])  # type: ignore[no-untyped-call]
    writer.close()  # type: ignore[no-untyped-call]
