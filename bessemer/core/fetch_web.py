"""Addresses on the web: opened with the settings that the user made (proxy, certificates, logins), bounded, tried again.

What is here knows nothing of packages; `fetch_packages.py` and `fetch_debian.py` find addresses, `fetch.py` keeps what comes.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from bessemer.core.errors import UserError

T = TypeVar("T")
Progress = Callable[[int, int], None]

MAX_PAGE_BYTES = 64 * 2**20
MAX_ARCHIVE_BYTES = 2 * 2**30
RETRY_SECONDS = (0.2, 1.0)
YES = ("1", "true", "yes", "on")
_BLOCK = 2**20
_TIMEOUT_SECONDS = 60.0


class Unreachable(Exception):
    """A place that gave no answer; the message says which and why."""

    def __init__(self, message: str, absent: bool = False) -> None:
        super().__init__(message)
        self.absent = absent


@dataclass(frozen=True)
class Access:
    """How the places of one registry are reached: certificates, proxy, login headers by the start of an address.

    Attributes:
        cafile: a file of certificates to trust; by default the system's.
        proxy: its address; None leaves it to the environment (`http_proxy`), `"DIRECT"` uses none.
        headers: start of an address, without its scheme -> value of the header Authorization.
    """

    cafile: str | None = None
    proxy: str | None = None
    headers: dict[str, str] = field(default_factory=dict)


def offline() -> str | None:
    """Return the name of the variable that forbids the network, or None."""
    return next((name for name in ("BESSEMER_OFFLINE", "HF_HUB_OFFLINE") if os.environ.get(name, "").lower() in YES), None)


def copy_stream(read: Callable[[int], bytes], out: Path, limit: int, what: str, told: Callable[[int], None]) -> tuple[int, str]:
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


def retried(action: Callable[[], T]) -> T:
    """Run an action again, twice, when a place gave no answer."""
    for wait in RETRY_SECONDS:
        try:
            return action()
        except Unreachable as error:
            if error.absent or offline():
                raise
            time.sleep(wait)
    return action()


def download(url: str, access: Access, part: Path, progress: Progress) -> str:
    """Download to a file; return the SHA-256 of what came."""
    with opened(url, access, "*/*") as response:
        total = int(response.headers.get("Content-Length") or 0)
        size, got = copy_stream(lambda most: _read(response, most, url), part, MAX_ARCHIVE_BYTES, shown(url),
                                lambda done: progress(done, total))
    if size < total:
        raise Unreachable(f"{shown(url)} (the connection ended after {size:,} of {total:,} bytes)")
    return got


def _read(response: Any, size: int, url: str) -> bytes:
    try:
        return bytes(response.read(size))
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable(f"{shown(url)} ({error})") from None


def opened(url: str, access: Access, accept: str) -> Any:
    """Open an address; a login goes to its own host only, never along a redirect."""
    bare, login = _split_login(url)
    scheme = urllib.parse.urlsplit(bare).scheme
    if scheme not in ("http", "https", "file"):
        raise UserError(f"the address '{shown(url)}' is of no known kind; expected https://, http:// or file://")
    if scheme != "file" and offline():
        raise Unreachable(shown(url))
    request = urllib.request.Request(bare, headers={"Accept": accept, "User-Agent": "bessemer"})
    address = bare.partition(":")[2]
    if login := login or next((header for start, header in access.headers.items() if address.startswith(start)), None):
        request.add_unredirected_header("Authorization", login)
    try:
        context = ssl.create_default_context(cafile=access.cafile or None)
    except (OSError, ssl.SSLError) as error:
        raise UserError(f"cannot read the certificates '{access.cafile}' named by the settings ({error})") from None
    chosen = {"http": access.proxy, "https": access.proxy} if access.proxy else None
    proxy = urllib.request.ProxyHandler({} if access.proxy == "DIRECT" else chosen)
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), proxy)
    try:
        return opener.open(request, timeout=_TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        error.close()
        raise Unreachable(f"{shown(url)} (it answered {error.code} {error.reason})", error.code in (404, 410)) from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise Unreachable(f"{shown(url)} ({reason})", absent=isinstance(reason, FileNotFoundError)) from None


def _split_login(url: str) -> tuple[str, str | None]:
    """Return the URL without its login, and the login as a header's value."""
    parts = urllib.parse.urlsplit(url)
    login, _, host = parts.netloc.rpartition("@")
    plain = urllib.parse.unquote(login if ":" in login else login + ":").encode()
    return parts._replace(netloc=host).geturl(), f"Basic {base64.b64encode(plain).decode()}" if login else None


def shown(url: str) -> str:
    """Return a URL without its login and fragment, fit to be shown."""
    return _split_login(url)[0].split("#")[0]


def text_of(url: str, access: Access, accept: str) -> tuple[str, str]:
    """Return the text and the final URL of a page."""
    with opened(url, access, accept) as response:
        body = _read(response, MAX_PAGE_BYTES + 1, url)
        if len(body) > MAX_PAGE_BYTES:
            raise UserError(f"the page {shown(url)} has more than {MAX_PAGE_BYTES:,} bytes; refused")
        return body.decode("utf-8", "replace"), response.geturl()
