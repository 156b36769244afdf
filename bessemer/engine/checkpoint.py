"""Checkpoints: atomic, asynchronous, free of pickle.

`step-<n>/` holds `weights.safetensors`, `optimizer.safetensors`, `best.safetensors` (when there are best weights),
`average.safetensors` (when weights are averaged) and `state.json`, with the size and SHA-256 of each. It is written as
`step-<n>.part/` and renamed when all of it is on disk.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from bessemer.core.artifact import sha256, sync_folder
from bessemer.core.errors import UserError

FORBIDDEN = (".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt")
Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Snapshot:
    """One moment of training, its tensors copied so that training may go on.

    Attributes:
        step: optimiser steps done.
        weights: trainable and frozen parameters and buffers.
        optimizer: `<parameter index>.<name>` -> tensor of the optimiser's state.
        best: the weights with the best validation value so far, empty before the first.
        state: cursor, random state, schedule position, curves' offset, early-stopping counters. JSON values.
        average: the averages of the weights so far, empty where there are none.
    """

    step: int
    weights: Tensors
    optimizer: Tensors
    best: Tensors
    state: dict[str, Any]
    average: Tensors = field(default_factory=dict)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> Tensors:
    """Return an optimiser's state as named tensors."""
    return {f"{index}.{name}": value if isinstance(value, torch.Tensor) else torch.tensor(value)
            for index, entry in optimizer.state_dict()["state"].items() for name, value in entry.items() if value is not None}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Tensors) -> None:
    """Put named tensors back into an optimiser made from the same parameters."""
    state: dict[int, dict[str, Any]] = {}
    for name, value in tensors.items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def copy(tensors: Tensors) -> Tensors:
    """Return detached copies of tensors, contiguous and on the CPU."""
    return {name: value.detach().to("cpu", copy=True).contiguous() for name, value in tensors.items()}


class Checkpoints:
    """The checkpoints of one training, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writer: threading.Thread | None = None
        self._failure: BaseException | None = None

    def save(self, snapshot: Snapshot, *, wait: bool = False) -> None:
        """Write a snapshot in the background; a write before it is finished first; its failure is raised here."""
        self.finish()
        self._writer = threading.Thread(target=self._write, args=(snapshot,), daemon=True)
        self._writer.start()
        if wait:
            self.finish()

    def busy(self) -> bool:
        """Return whether a write is under way."""
        return self._writer is not None and self._writer.is_alive()

    def finish(self) -> None:
        """Wait for the write under way and raise its failure, if any."""
        if self._writer is not None:
            self._writer.join()
            self._writer = None
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def close(self) -> None:
        """Wait for the write under way, whatever became of it: nothing is written after training has ended."""
        if self._writer is not None:
            self._writer.join()

    def _write(self, snapshot: Snapshot) -> None:
        part, target = (self.folder / f"step-{snapshot.step:09d}{end}" for end in (".part", ""))
        shutil.rmtree(part, ignore_errors=True)
        try:
            self._write_now(snapshot, part, target)
        except (OSError, SafetensorError) as error:
            shutil.rmtree(part, ignore_errors=True)  # on a full disk it would only take room
            self._failure = error

    def _write_now(self, snapshot: Snapshot, part: Path, target: Path) -> None:
        part.mkdir(parents=True)
        files = {}
        for name, tensors in (("weights", snapshot.weights), ("optimizer", snapshot.optimizer), ("best", snapshot.best),
                              ("average", snapshot.average)):
            if not tensors:
                continue
            path = part / f"{name}.safetensors"
            save_file(tensors, path)
            _flush(path)
            files[path.name] = {"size": path.stat().st_size, "sha256": sha256(path)}
        state = part / "state.json"
        state.write_text(json.dumps({"step": snapshot.step, "files": files, **snapshot.state}), encoding="utf-8")
        _flush(state)
        sync_folder(part)
        shutil.rmtree(target, ignore_errors=True)
        part.rename(target)
        sync_folder(self.folder)
        for path in self.folder.glob("step-*"):
            if path != target:
                shutil.rmtree(path, ignore_errors=True)

    def latest(self) -> Snapshot | None:
        """Return the newest whole checkpoint, checked, or None; damage is a UserError."""
        found = sorted(path for path in self.folder.glob("step-*") if re.fullmatch(r"step-\d{9,}", path.name))
        if not found:
            return None
        folder = found[-1]
        again = f"delete the folder '{folder}' to train that part again"
        for path in folder.iterdir():
            if path.suffix in FORBIDDEN:
                raise UserError(f"'{path}' may hold a pickle, which can run code when opened, and no checkpoint of Bessemer has "
                                f"one; {again}")
        try:
            state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
            tensors: dict[str, Tensors] = {"weights": {}, "optimizer": {}, "best": {}, "average": {}}
            for name, entry in state.pop("files").items():
                path = folder / name
                if not path.is_file() or path.stat().st_size != entry["size"] or sha256(path) != entry["sha256"]:
                    raise UserError(f"the checkpoint file '{path}' is not as it was written; {again}")
                tensors[path.stem] = load_file(path)
        except (ValueError, KeyError, OSError, SafetensorError) as error:
            raise UserError(f"the checkpoint '{folder}' cannot be read ({error}); {again}") from None
        return Snapshot(state.pop("step"), tensors["weights"], tensors["optimizer"], tensors["best"], state, tensors["average"])


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
