"""Artifact: a folder whose `manifest.json` is written last. A folder without a manifest is not there.

The manifest holds the key (what the artifact was made from), the SHA-256 of every file, and facts. What a clock or a host
decides (`timings.json`, pages that show it) is listed as volatile and not hashed, so that equal work has equal bytes.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from bessemer.core.errors import UserError

MANIFEST = "manifest.json"
TIMINGS = "timings.json"


class Manifest(BaseModel):
    """What an artifact is.

    Attributes:
        kind: the stage kind that made it.
        key: its cache identity, 64 hex digits.
        inputs: slot -> key of the artifact that it was made from.
        files: relative path -> {"sha256", "size"} of every file that its inputs determine.
        volatile: relative paths of files that a clock or a host decides.
        published: files that are also copied to the run's folder.
        facts: what the stage found, JSON values.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str
    key: str
    inputs: dict[str, str]
    files: dict[str, dict[str, Any]]
    volatile: tuple[str, ...] = ()
    published: tuple[str, ...] = ()
    facts: dict[str, Any]
    format: int = 1


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, 64 hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def canonical(value: Any) -> str:
    """Return JSON with sorted keys and no spaces, the form that is hashed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(value: Any) -> str:
    """Return the SHA-256 of a JSON value's canonical form."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def write_atomic(path: Path, text: str) -> None:
    """Write a text file so that it is there whole or not at all."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        part.rename(path)
    except OSError:  # a full disk, say: the part would only take room
        with suppress(OSError):  # of a read-only disk the first refusal says more
            part.unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to disk, so that a rename in it survives a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)


def commit(folder: Path, manifest: Manifest) -> Manifest:
    """Hash every file of a folder, flush them and write the manifest, last and atomically."""
    files = {}
    for path in _files(folder):
        name = path.relative_to(folder).as_posix()
        if name in manifest.volatile:
            continue
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        files[name] = {"sha256": sha256(path), "size": path.stat().st_size}
    full = manifest.model_copy(update={"files": files})
    write_atomic(folder / MANIFEST, json.dumps(full.model_dump(mode="json"), indent=1, sort_keys=True,
                                               ensure_ascii=False) + "\n")
    sync_folder(folder)
    return full


def load_manifest(folder: Path) -> Manifest | None:
    """Return a folder's manifest, or None where the folder holds no finished artifact."""
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        return Manifest.model_validate_json(path.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError) as error:
        raise UserError(f"'{path}' is damaged ({str(error).splitlines()[0]}); delete the folder '{folder}' and run again "
                        "to make it anew") from None


class Stamps:
    """Remembers the SHA-256 of files by size and time, so that an unchanged file is not read again."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.known: dict[str, list[Any]] = {}
        if file.is_file():
            try:
                self.known = json.loads(file.read_text(encoding="utf-8"))
            except ValueError:
                self.known = {}  # a cache: made anew from the files themselves
        self._dirty = False

    def sha256(self, path: Path) -> str:
        """Return a file's SHA-256, reading it only where its size or time changed."""
        stat = path.stat()
        found = self.known.get(str(path.absolute()))
        if found and found[0] == stat.st_size and found[1] == stat.st_mtime_ns:
            return str(found[2])
        value = sha256(path)
        self.known[str(path.absolute())] = [stat.st_size, stat.st_mtime_ns, value]
        self._dirty = True
        return value

    def save(self) -> None:
        """Keep what was learnt; entries of files that have gone are dropped."""
        if self._dirty:
            kept = {path: item for path, item in self.known.items() if Path(path).exists()}
            write_atomic(self.file, canonical(kept))
            self._dirty = False


def verify(folder: Path, manifest: Manifest, stamps: Stamps | None = None) -> None:
    """Check every file against the manifest; with `stamps` a file of known size and time is not read again."""
    for name, entry in manifest.files.items():
        path = folder / name
        if not path.is_file():
            raise UserError(f"'{path}' has gone from a finished artifact; delete the folder '{folder}' and run again to "
                            "make it anew")
        changed = path.stat().st_size != entry["size"]
        if not changed:
            changed = (stamps.sha256(path) if stamps else sha256(path)) != entry["sha256"]
        if changed:
            raise UserError(f"'{path}' was changed after it was written (its SHA-256 is not the manifest's "
                            f"{entry['sha256'][:12]}…); restore it, or delete the folder '{folder}' and run again to make it "
                            "anew")


def fingerprint(paths: Iterable[Path | str], stamps: Stamps) -> list[str]:
    """Return the SHA-256 of files and of every file in folders, and checksums (given as text) as they are, in order."""
    found = []
    for path in paths:
        if isinstance(path, str):
            found.append(path)
        elif path.is_dir():
            found += [f"{item.relative_to(path).as_posix()}:{stamps.sha256(item)}" for item in _files(path)]
        elif path.is_file():
            found.append(stamps.sha256(path))
        else:
            raise UserError(f"there is no file or folder '{path}'; correct the path in the recipe")
    return found


def folder_size(folder: Path) -> int:
    """Return the bytes that a folder's files hold."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def remove(folder: Path) -> None:
    """Delete a folder: first its manifest, so that a kill in between leaves no half artifact that looks whole."""
    (folder / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def _foreign_errors() -> Iterator[type[BaseException]]:
    """Yield the classes with which libraries that are loaded report a full disk (none of them is an OSError)."""
    import sys

    for module, name in (("safetensors", "SafetensorError"), ("duckdb", "Error"), ("pyarrow", "ArrowException"),
                         ("onnxruntime.capi.onnxruntime_pybind11_state", "Fail")):
        found = getattr(sys.modules.get(module), name, None)
        if found is not None:
            yield found
    yield RuntimeError


@contextmanager
def explained(folder: Path, cure: str = "choose another place with output_dir=FOLDER") -> Iterator[None]:
    """Turn the system's refusals (full disk, read-only, no permission) into one sentence that ends with a cure."""
    try:
        yield
    except OSError as error:
        raise _disk_error(error.errno, str(error), (folder, error.filename), cure) or error from None
    except tuple(_foreign_errors()) as error:
        code = errno.ENOSPC if "o space left" in str(error) else None
        raise _disk_error(code, str(error), (folder, None), cure) or error from None


def _disk_error(code: int | None, text: str, place: tuple[Path, Any], cure: str) -> UserError | None:
    folder, where = place[0], place[1] or place[0]
    # numpy writes by C's own calls and says how much it could write, with no number of the error.
    if code in (errno.ENOSPC, errno.EDQUOT) or "o space left" in text or (code is None and re.search(r"requested and \d+ written", text)):
        there = folder
        while not there.exists():
            there = there.parent
        free = shutil.disk_usage(there).free
        return UserError(f"the disk that holds '{folder}' is full ({free / 1e6:,.0f} MB free): make room, or {cure}, and run the same "
                         "command again; what was finished is kept")
    if code == errno.EROFS:
        return UserError(f"'{where}' is on a read-only disk; {cure}")
    if code in (errno.EACCES, errno.EPERM):
        return UserError(f"there is no permission to write or read '{where}'; change its rights, or {cure}")
    return None
