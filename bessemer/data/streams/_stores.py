"""Files here and in stores elsewhere (s3://, hdfs://, http://, …), which fsspec reads: their names, and what goes wrong with them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bessemer.core.errors import UserError, nearest

# By what classes the packages behind stores tell that one cannot be reached or refuses; those of fsspec itself are OSErrors.
_TOLD = (("botocore.exceptions", "BotoCoreError"), ("botocore.exceptions", "ClientError"), ("aiohttp", "ClientError"),
         ("google.auth.exceptions", "GoogleAuthError"), ("gcsfs.retry", "HttpError"), ("azure.core.exceptions", "AzureError"),
         ("paramiko", "SSHException"))


@dataclass(frozen=True)
class File:
    """One file, here or elsewhere.

    Attributes:
        name: as a person writes it.
        path: here, or its path in the system.
        system: of fsspec; None for a file here.
    """

    name: str
    path: Path
    system: Any = None

    def stamp(self) -> str:
        """Return what changes when the file is written again; one that is gone is a UserError."""
        try:
            if self.system is None:
                info = self.path.stat()
                return f"{info.st_size} {info.st_mtime_ns}"
            found = self.system.info(self.name_there)
        except _failures():
            raise UserError(f"'{self.name}' was there and is gone, or cannot be reached; put it back and run again") from None
        return " ".join(str(found[key]) for key in ("size", "ETag", "mtime", "LastModified", "created") if found.get(key) is not None)

    @property
    def name_there(self) -> str:
        """Return the path as the system knows it."""
        return self.path.as_posix() if self.system is None else str(self.system._strip_protocol(self.name))

    @contextmanager
    def open(self) -> Iterator[Any]:
        """Open for reading; a file that is no such file, or is damaged, is a UserError that names it."""
        import pyarrow as pa

        try:
            with pa.OSFile(str(self.path), "rb") if self.system is None else self.system.open(self.name_there, "rb") as source:
                yield source
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowKeyError, EOFError, *_failures()) as error:
            why = (str(error).splitlines() or [type(error).__name__])[0]
            raise UserError(f"'{self.name}' is damaged, cut off or not of its kind ({why}); was it copied whole? Get it again") from None

    def whole(self) -> bool:
        """Tell whether its store gives it from the beginning only, as a web server without ranges does."""
        if self.system is None or "http" not in self.system.protocol:
            return False
        try:
            with self.system.open(self.name_there, "rb", cache_type="none") as source:
                source.seek(1)
                source.read(1)
        except ValueError:
            return True
        except _failures() as error:
            raise UserError(_unreachable(self.name, error)) from None
        return False

    def fetched(self, folder: Path) -> Path:
        """Copy a file of a store into a folder; return the copy."""
        path = folder / Path(self.name).name
        try:
            self.system.get_file(self.name_there, str(path))
        except _failures() as error:
            raise UserError(_unreachable(self.name, error)) from None
        return path


def elsewhere(address: str) -> list[File]:
    """Return the files that an address, or a pattern of them, names; a store that cannot be asked is a UserError."""
    scheme = address.partition("://")[0]
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise UserError(f"reading '{address}' needs the package fsspec; install it: pip install fsspec") from None
    try:
        system, path = url_to_fs(address)
        if any(sign in path for sign in "*?["):
            names = sorted(system.glob(path))
            if not names:
                system.ls(path.partition("*")[0].rpartition("/")[0])  # says why, where a pattern says that nothing is there
        else:
            names = [path]
        missing = [name for name in names if not _is_file(system, name)]
    except ImportError as error:
        told = str(error).rstrip(".")
        raise UserError(f"reading '{address}' needs one more package ({told}); install it beside Bessemer with pip") from None
    except ValueError as error:
        from fsspec.registry import known_implementations

        if scheme in known_implementations:
            raise UserError(_unreachable(address, error)) from None
        raise UserError(f"'{address}': nothing is known of '{scheme}://'{nearest(scheme, known_implementations)}") from None
    except FileNotFoundError:
        names, missing = [], []
    except _failures() as error:
        raise UserError(_unreachable(address, error)) from None
    if not names or missing:
        raise UserError(f"no file matches '{address}'" if not names else f"there is no file '{system.unstrip_protocol(missing[0])}'; "
                        "correct the path in the recipe")
    return [File(system.unstrip_protocol(name), Path(name), system) for name in names]


def _is_file(system: Any, name: str) -> bool:
    """Tell whether there is a file; why it cannot be told is raised, which `isfile` of most systems takes for none."""
    try:
        return bool(system.info(name)["type"] == "file")
    except FileNotFoundError as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and not isinstance(cause, FileNotFoundError):
            raise cause from None
        return False


def _failures() -> tuple[type[BaseException], ...]:
    """Return the classes of what a store that cannot be reached or refuses raises; of packages that nothing has loaded there are none."""
    return (OSError, *(getattr(sys.modules[module], name) for module, name in _TOLD if module in sys.modules))


def _unreachable(address: str, error: BaseException) -> str:
    why = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
    asks = "credential" in why.lower() or isinstance(error, PermissionError) or "forbidden" in why.lower()
    return f"'{address}' cannot be reached ({why}){'; ' + _KEYS if asks else ''}"


_KEYS = "give the keys as the store's own tools read them (environment variables, its configuration file)"
