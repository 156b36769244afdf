"""Who may ask: keys, compared in constant time; and which requests come from this machine by its own name."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Mapping, Sequence
from pathlib import Path

from bessemer.core.errors import UserError
from bessemer.serve.problems import Problem

LEAST = 16


def read_keys(file: Path) -> tuple[str, ...]:
    """Return the keys of a file, one a line; empty lines and those that start with # are none."""
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"'{file}' cannot be read as a file of keys ({error}); give a text file with one key a line") from None
    return checked([line for line in lines if line and not line.startswith("#")], f"'{file}'")


def checked(keys: Sequence[str], where: str) -> tuple[str, ...]:
    """Return keys; none, or one that is short or no plain text, is a UserError (which does not show it)."""
    if not keys:
        raise UserError(f"{where} holds no key; write one a line, such as that of: openssl rand -hex 32")
    for number, key in enumerate(keys, 1):
        if len(key) < LEAST or not key.isascii() or not key.isprintable() or " " in key:
            raise UserError(f"{where}: key {number} is not at least {LEAST} visible ASCII characters without spaces; make one with: "
                            "openssl rand -hex 32")
    return tuple(keys)


class Door:
    """Checks keys."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._digests = [hashlib.sha256(key.encode()).digest() for key in keys]

    def __bool__(self) -> bool:
        return bool(self._digests)

    def check(self, headers: Mapping[bytes, bytes]) -> None:
        """Raise a Problem where the server has keys and the request has none of them."""
        if not self._digests:
            return
        scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer":
            given = headers.get(b"x-api-key", b"")
        digest = hashlib.sha256(given.strip()).digest()
        if not sum([hmac.compare_digest(digest, known) for known in self._digests]):  # every one, whether or not an earlier one fits
            raise Problem("no-key", "the request has no key of this server; send one as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'",
                          ((b"www-authenticate", b"Bearer"),))


def is_loopback(host: str) -> bool:
    """Tell whether an address or name is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def from_here(client: tuple[str, int] | None, headers: Mapping[bytes, bytes]) -> bool:
    """Tell whether a request comes from this machine and names it so.

    A page elsewhere that was led here names its own host, and a browser says of which origin a page is that asks us.
    """
    host, origin = headers.get(b"host", b""), headers.get(b"origin")
    if origin is not None and origin.partition(b"://")[2] != host:
        return False
    name = host.decode("latin-1")
    name = name if name.endswith("]") else name.rpartition(":")[0] or name
    return client is not None and is_loopback(client[0]) and is_loopback(name)
