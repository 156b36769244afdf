"""doctor: is this machine, this installation and this run folder in order?"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bessemer.core import artifact
from bessemer.core.errors import UserError
from bessemer.core.run import host

NEEDED = ("duckdb", "jinja2", "numpy", "onnxruntime", "pyarrow", "pydantic", "pyyaml", "rich", "scikit-learn", "tokenizers", "typer")
FOR_TRAINING = ("onnx", "onnxscript", "safetensors", "tensorboard", "torch", "transformers")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        what: the thing.
        state: what was found.
        good: whether it is in order.
    """

    what: str
    state: str
    good: bool


def examine(run: Path | None) -> Iterator[Finding]:
    """Look at the machine, the packages and, where one is given, every artifact of a run folder."""
    machine = host()
    yield Finding("machine", f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB, {machine['system']}", True)
    yield Finding("python", machine["python"], True)
    for names, why in ((NEEDED, "needed"), (FOR_TRAINING, "needed for training: pip install 'bessemer[train]'")):
        for name in names:
            try:
                yield Finding(name, importlib.metadata.version(name), True)
            except importlib.metadata.PackageNotFoundError:
                yield Finding(name, f"not installed ({why})", False)
    free = shutil.disk_usage(Path.cwd()).free
    yield Finding("disk here", f"{free / 1e9:.1f} GB free", free > 2e9)
    writable = os.access(Path.cwd(), os.W_OK)
    yield Finding("this folder", "writable" if writable else "not writable: give output_dir=FOLDER", writable)
    if run is not None:
        yield from _artifacts(run)


def _artifacts(run: Path) -> Iterator[Finding]:
    if not run.is_dir():
        raise UserError(f"there is no folder '{run}'; give a run's folder, such as runs/NAME")
    folders = [run] if (run / artifact.MANIFEST).is_file() else sorted(path.parent for path in run.glob(f"*/{artifact.MANIFEST}"))
    if not folders:
        yield Finding(str(run), "holds no finished stage", False)
    for folder in folders:
        try:
            manifest = artifact.load_manifest(folder)
            if manifest is not None:
                artifact.verify(folder, manifest)
                yield Finding(str(folder), f"{len(manifest.files)} files as they were written", True)
        except UserError as error:
            yield Finding(str(folder), str(error), False)
