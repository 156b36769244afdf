"""Store: where the artifacts of one run live, and the lock that lets one process at a time write there.

    runs/<name>/<stage>/                the artifact in force
    runs/<name>/.kept/<stage>-<key>/    earlier ones, by key: a setting turned back is not computed again
    runs/<name>/.work/<stage>-<key>/    being made: `out/` becomes the artifact, `state/` holds checkpoints

An artifact is complete the moment that its manifest is renamed into place in `.work/…/out`; whatever a kill leaves after
that is only a move of folders, which the next run finishes.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

from bessemer.core import artifact
from bessemer.core.artifact import Manifest, Stamps
from bessemer.core.errors import UserError

KEEP = 2


class Store:
    """The artifacts of one run folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.kept = root / ".kept"
        self.stamps = Stamps(root / ".stamps.json")

    def work(self, name: str, key: str) -> Path:
        """Return the folder in which a stage makes the artifact of this key."""
        return self.root / ".work" / f"{name}-{key[:12]}"

    @staticmethod
    def discard(work: Path) -> None:
        """Delete what a stage that failed has half written; its checkpoints stay."""
        for part in ("out", "scratch"):
            shutil.rmtree(work / part, ignore_errors=True)
        for folder in (work, work.parent):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()

    def find(self, name: str, key: str) -> Manifest | None:
        """Return the manifest of a stage's artifact of this key, moved into place and checked, or None."""
        place = self.root / name
        current = artifact.load_manifest(place)
        if current is None or current.key != key:
            kept = self.kept / f"{name}-{key[:12]}"
            made = self.work(name, key) / "out"
            source = next((path for path in (made, kept) if self._is(path, key)), None)
            if source is None:
                return None
            self._replace(name, source)
            current = artifact.load_manifest(place)
            if current is None:
                return None
        artifact.verify(place, current, self.stamps)
        for path in (self.root / ".work").glob(f"{name}-*"):
            if path.name[len(name) + 1:] != key[:12] and "-" in path.name[len(name) + 1:]:
                continue  # another stage's, whose name begins alike
            artifact.remove(path)
        self._publish(place, current)
        return current

    def commit(self, name: str, manifest: Manifest) -> Manifest:
        """Finish the artifact that `.work` holds and put it in force."""
        work = self.work(name, manifest.key)
        for path in (work / "out").rglob("*"):
            if path.is_file() and path.name.endswith(".part"):
                path.unlink()
        artifact.commit(work / "out", manifest)
        found = self.find(name, manifest.key)
        if found is None:
            raise UserError(f"'{self.root / name}' vanished while it was put in place; is another program writing there?")
        return found

    @staticmethod
    def _is(folder: Path, key: str) -> bool:
        manifest = artifact.load_manifest(folder)
        return manifest is not None and manifest.key == key

    def _replace(self, name: str, source: Path) -> None:
        place = self.root / name
        old = artifact.load_manifest(place)
        if old is not None:
            self.kept.mkdir(exist_ok=True)
            target = self.kept / f"{name}-{old.key[:12]}"
            artifact.remove(target)
            place.rename(target)
        elif place.exists():
            raise UserError(f"'{place}' is in the way: it is no finished artifact of Bessemer; move it elsewhere, or choose another "
                            "run folder with output_dir=FOLDER")
        source.rename(place)
        artifact.sync_folder(self.root)
        if self.kept.is_dir():
            earlier = sorted(self.kept.glob(f"{name}-*"), key=lambda path: (path.stat().st_mtime_ns, path.name))
            for path in earlier[:-KEEP]:
                artifact.remove(path)

    def _publish(self, place: Path, manifest: Manifest) -> None:
        for name in manifest.published:
            source, target = place / name, self.root / Path(name).name
            if not source.is_file():
                continue
            text = source.read_text(encoding="utf-8")
            if not target.is_file() or target.read_text(encoding="utf-8") != text:
                artifact.write_atomic(target, text)


class Lock:
    """An exclusive lock on a run folder; the system releases it when the process ends, however it ends."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __enter__(self) -> Lock:
        self.root.mkdir(parents=True, exist_ok=True)
        self._handle = os.open(self.root / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._handle, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(self._handle)
            raise UserError(f"the run folder '{self.root}' is in use by process {holder}; wait for it, stop it, or choose another "
                            "folder with output_dir=FOLDER") from None
        os.ftruncate(self._handle, 0)
        os.pwrite(self._handle, str(os.getpid()).encode(), 0)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)
