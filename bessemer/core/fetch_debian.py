"""Files out of Debian packages: found through the apt sources of this machine, opened in Python; apt and dpkg are never run.

An archive is looked for in the pools of the configured sources, then in the indexes of their suites. Where no source is
configured the public mirror is asked; where the pinned version has left the mirrors, Debian's archive of every version is.
A mirror is not trusted: what comes is held against the pinned SHA-256.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import http.client
import io
import json
import lzma
import os
import re
import tarfile
import urllib.parse
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from bessemer.core.errors import UserError
from bessemer.core.fetch_web import Access, Unreachable, offline, opened, retried, shown, text_of
from bessemer.core.types import Resource

APT = Path("/etc/apt")
MIRROR = "https://deb.debian.org/debian"
SNAPSHOT = "https://snapshot.debian.org"
MAX_INDEX_BYTES = 2**30
MAX_STANZA_BYTES = 2**24
_OPENERS: dict[str, Callable[..., Any]] = {"xz": lzma.open, "gz": gzip.open}
_LINE = re.compile(r"^deb\s+(?:\[[^\]]*\]\s*)?(\S+)\s+(\S+)\s*([^#]*)")
_TOKEN = re.compile(r'\s+|//[^\n]*|#[^\n]*|/\*.*?\*/|"([^"]*)"|([{};])|([^\s{};"]+)', re.DOTALL)


@dataclass(frozen=True)
class Suite:
    """One suite of one source.

    Attributes:
        uri: where the repository lies, with no slash at its end.
        name: of the suite; one that ends with a slash is a folder with an index and no components.
        components: its parts.
    """

    uri: str
    name: str
    components: tuple[str, ...]

    def indexes(self, architecture: str) -> list[str]:
        """Return the addresses of the lists of its packages, without the ending of their compression."""
        if self.name.endswith("/"):
            return [f"{self.uri}/{self.name.lstrip('./')}Packages"]
        machines = ["all", "amd64"] if architecture == "all" else [architecture]
        return [f"{self.uri}/dists/{self.name}/{part}/binary-{machine}/Packages" for part in self.components for machine in machines]


def apt_sources(folder: Path) -> list[Suite]:
    """Return the suites that apt is set to read over http and https: `sources.list`, `sources.list.d/*.list`, `*.sources`."""
    more = sorted((folder / "sources.list.d").glob("*")) if (folder / "sources.list.d").is_dir() else []
    found: list[Suite] = []
    for file in [folder / "sources.list", *more]:
        if file.suffix in (".list", ".sources") and file.is_file():
            found += (_stanzas if file.suffix == ".sources" else _lines)(_text(file))
    web = [suite for suite in found if urllib.parse.urlsplit(suite.uri).scheme in ("http", "https")]
    return list(dict.fromkeys(web))


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read apt's settings '{file}' ({error}); they say where Debian packages come from") from None


def _lines(text: str) -> list[Suite]:
    """Return the suites of the form `deb [options] address suite components`."""
    matches = [found for line in text.splitlines() if (found := _LINE.match(line.strip()))]
    return [Suite(found[1].rstrip("/"), found[2], tuple(found[3].split())) for found in matches]


def _stanzas(text: str) -> list[Suite]:
    """Return the suites of the form with a field a line (deb822)."""
    found: list[Suite] = []
    for stanza in re.split(r"\n\s*\n", text):
        fields: dict[str, list[str]] = {}
        words: list[str] = []
        for line in stanza.splitlines():
            if line.startswith("#"):
                continue
            if line[:1] not in " \t":
                name, _, line = line.partition(":")
                words = fields.setdefault(name.strip().lower(), [])
            words += line.split()
        if "deb" in fields.get("types", ()) and [word.lower() for word in fields.get("enabled", ())] not in (["no"], ["false"], ["0"]):
            found += [Suite(uri.rstrip("/"), suite, tuple(fields.get("components", ())))
                      for uri in fields.get("uris", ()) for suite in fields.get("suites", ())]
    return found


def apt_settings(folder: Path) -> dict[str, str]:
    """Return apt's settings by lower-cased name (`acquire::http::proxy`): `$APT_CONFIG`, `apt.conf.d/*`, then `apt.conf`."""
    parts = folder / "apt.conf.d"
    named = sorted(file for file in parts.iterdir() if re.fullmatch(r"[\w-]+(\.conf)?", file.name)) if parts.is_dir() else []
    first = [Path(os.environ["APT_CONFIG"])] if os.environ.get("APT_CONFIG") else []
    settings: dict[str, str] = {}
    for file in [*first, *named, folder / "apt.conf"]:
        if file.is_file():
            settings.update(_settings(_text(file)))
    return settings


def _settings(text: str) -> dict[str, str]:
    """Return the settings of one file: `A::B "c";` or `A { B "c"; };`."""
    settings: dict[str, str] = {}
    scopes: list[list[str]] = []
    words: list[str] = []
    for quoted, mark, word in _TOKEN.findall(text):
        if mark == "{":
            scopes, words = [*scopes, words[:1]], []
        elif mark:
            if len(words) > 1:
                settings["::".join([*(name for scope in scopes for name in scope), words[0]]).lower()] = words[1]
            scopes, words = (scopes[:-1] if mark == "}" else scopes), []
        elif quoted or word:
            words.append(quoted or word)
    return settings


def _access(url: str, settings: Mapping[str, str]) -> Access:
    """Return how an address is reached: apt's proxy for this host, for its scheme, else the environment's."""
    parts = urllib.parse.urlsplit(url)
    schemes = [parts.scheme, "http"]
    names = [*(f"acquire::{scheme}::proxy::{parts.hostname}" for scheme in schemes), *(f"acquire::{scheme}::proxy" for scheme in schemes)]
    proxy = next((settings[name] for name in names if settings.get(name)), None)
    return Access(settings.get("acquire::https::cainfo"), "DIRECT" if proxy and proxy.upper() == "DIRECT" else proxy,
                  apt_logins(APT, parts.scheme))


def apt_logins(folder: Path, scheme: str) -> dict[str, str]:
    """Return the logins of `auth.conf` and `auth.conf.d/*.conf` by the start of the address, without its scheme.

    One that names no scheme is for https alone, as in apt. A file that this user may not read is for root, as in apt.
    """
    logins: dict[str, str] = {}
    for file in [folder / "auth.conf", *sorted((folder / "auth.conf.d").glob("*.conf"))]:
        if not (file.is_file() and os.access(file, os.R_OK)):
            continue
        for machine, login, password in re.findall(r"machine\s+(\S+)\s+login\s+(\S+)\s+password\s+(\S+)", _text(file)):
            named, _, place = machine.rpartition("://")
            if scheme == (named or "https"):
                value = base64.b64encode(f"{login}:{password}".encode()).decode()
                logins.setdefault(f"//{place}" if "/" in place else f"//{place}/", f"Basic {value}")
    return logins


def find_debian(resource: Resource, go_on: str) -> tuple[str, Access]:
    """Return the archive's URL: in a source's pool, by a suite's index, at the public mirror, or in Debian's archive.

    Raises:
        UserError: it is nowhere to be had; the message ends with `go_on`.
        Unreachable: a source gave no answer, and nobody else has it.
    """
    settings = apt_settings(APT)
    suites = apt_sources(APT) or [Suite(MIRROR, "stable", ("main",))]
    looks: list[Callable[[], str | None]] = [partial(_in_pool, url, settings) for url in _pools(resource, suites)]
    looks += [partial(_in_index, index, suite, resource, settings)
              for suite in suites for index in suite.indexes(resource.archive.removesuffix(".deb").rpartition("_")[2])]
    silent: Unreachable | None = None
    for look in looks:
        try:
            url = look()
        except Unreachable as error:
            if offline():
                raise
            silent = silent or (None if error.absent else error)
            continue
        if url:
            return url, _access(url, settings)
    try:
        url = _in_snapshot(resource, settings)
    except Unreachable as error:
        if silent:
            raise silent from None
        missing = f"and {SNAPSHOT} has it no more" if error.absent else f"and Debian's archive of old versions cannot be reached: {error}"
    else:
        return url, _access(url, settings)
    places = ", ".join(dict.fromkeys(shown(suite.uri) for suite in suites))
    raise UserError(f"version {resource.version} ('{resource.archive}') of the Debian package '{resource.package}' is at none of the "
                    f"sources ({places}), {missing}; {go_on}")


def _pools(resource: Resource, suites: Sequence[Suite]) -> list[str]:
    """Return where the archive lies if its source package has the same name."""
    folder = resource.package[:4] if resource.package.startswith("lib") else resource.package[:1]
    path = f"{folder}/{resource.package}/{urllib.parse.quote(resource.archive)}"
    return list(dict.fromkeys(f"{suite.uri}/pool/{part}/{path}" for suite in suites for part in suite.components))


def _in_pool(url: str, settings: Mapping[str, str]) -> str:
    """Return the URL if there is something."""
    retried(lambda: opened(url, _access(url, settings), "*/*")).close()
    return url


def _in_index(index: str, suite: Suite, resource: Resource, settings: Mapping[str, str]) -> str | None:
    """Return the URL of the archive by an index that lists its SHA-256, None where it does not."""
    for ending in _OPENERS:
        try:
            path = retried(partial(_listed, f"{index}.{ending}", resource.sha256, _access(index, settings)))
        except Unreachable as error:
            if error.absent:
                continue
            raise
        return f"{suite.uri}/{urllib.parse.quote(path)}" if path else None
    return None


def _listed(url: str, sha256: str, access: Access) -> str | None:
    """Return the path of the package with this SHA-256, reading the index as it comes."""
    wanted, rest, size = f"\nSHA256: {sha256}".encode(), b"", 0
    with opened(url, access, "*/*") as response:
        try:
            with _OPENERS[url.rpartition(".")[2]](response, "rb") as stream:
                while block := stream.read(2**20):
                    size += len(block)
                    whole, _, rest = (rest + block).rpartition(b"\n\n")
                    if size > MAX_INDEX_BYTES or len(rest) > MAX_STANZA_BYTES:
                        raise UserError(f"the index {shown(url)} has more than {MAX_INDEX_BYTES:,} bytes, or is none; refused")
                    if wanted in whole:
                        break
                else:
                    whole = rest
        except (OSError, EOFError, http.client.HTTPException, lzma.LZMAError, zlib.error) as error:
            raise Unreachable(f"{shown(url)} ({error})") from None
    stanza = next((found for found in whole.split(b"\n\n") if wanted in found), b"")
    path = re.search(rb"^Filename: *(\S+)$", stanza, re.MULTILINE)
    return path[1].decode("utf-8", "replace").removeprefix("./") if path else None


def _in_snapshot(resource: Resource, settings: Mapping[str, str]) -> str:
    """Return the URL in Debian's archive of every version, which keeps files by their SHA-1."""
    page = f"{SNAPSHOT}/mr/binary/{urllib.parse.quote(resource.package)}/{urllib.parse.quote(resource.version)}/binfiles?fileinfo=1"
    text, _ = retried(lambda: text_of(page, _access(page, settings), "application/json"))
    files: dict[str, list[dict[str, str]]] = json.loads(text).get("fileinfo", {})
    found = next((sha1 for sha1, places in files.items() if any(place.get("name") == resource.archive for place in places)), None)
    if found is None:
        raise Unreachable(page, absent=True)
    return f"{SNAPSHOT}/file/{found}"


class _Part(io.RawIOBase):
    """The next bytes of a file, as a file of their own."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self.file, self.left = file, size

    def readable(self) -> bool:
        """Say yes."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer; return how much of it."""
        block = self.file.read(min(self.left, len(buffer)))
        buffer[:len(block)] = block
        self.left -= len(block)
        return len(block)


@contextlib.contextmanager
def data_tar(archive: Path) -> Iterator[tarfile.TarFile]:
    """Open the files that a .deb installs: the member `data.tar`, plain or packed, of an `ar` archive; read in order only.

    Raises:
        tarfile.TarError: it is no such archive.
    """
    with archive.open("rb") as file:
        start = file.read(8)
        while start == b"!<arch>\n" and len(header := file.read(60)) == 60:
            name, size = header[:16].decode("ascii", "replace").rstrip(" /"), header[48:58].strip()
            if header[58:] != b"`\n" or not size.isdigit():
                break
            if name.startswith("data.tar"):
                part = io.BufferedReader(_Part(file, int(size)))
                stream = _zstd(part) if name.endswith(".zst") else part
                with tarfile.open(fileobj=stream, mode="r|" if name.endswith(".zst") else "r|*") as tar:
                    yield tar
                return
            file.seek(int(size) + int(size) % 2, os.SEEK_CUR)
    raise tarfile.ReadError("it is no Debian package with a data.tar")


def _zstd(stream: IO[bytes]) -> Any:
    import pyarrow as pa

    return pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), "zstd")
