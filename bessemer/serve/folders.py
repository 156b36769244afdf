"""Folders that may hold models and their versions: which names can stand in an address, and in which order they are looked at."""

from __future__ import annotations

import re
from pathlib import Path

from bessemer.serve.settings import Source

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
NO_NAME = ("its name cannot stand in an address; rename it: letters A to Z, digits, '.', '_' and '-', at most 100, the first a letter or a "
           "digit")


def sources_in(folder: str) -> tuple[list[Source], list[str]]:
    """Return the models of a folder of models, and the folders whose names are none."""
    try:
        found, odd = folders_in(folder)
    except OSError:
        return [], []
    return [Source(name=path.name, folder=str(path), kind="versions") for path in found], odd


def folders_in(folder: str) -> tuple[list[Path], list[str]]:
    """Return the folders in one whose names can stand in an address, and the names of the others; hidden ones are not looked at."""
    found = sorted(path for path in Path(folder).iterdir() if path.is_dir() and not path.name.startswith("."))
    odd = [path.name.encode("utf-8", "backslashreplace").decode() for path in found if not NAME.fullmatch(path.name)]
    return [path for path in found if NAME.fullmatch(path.name)], odd


def natural(name: str) -> list[tuple[int, int, str]]:
    """Return what names are sorted by: their numbers as numbers.

    >>> sorted(["v10", "v9", "10", "9"], key=natural)
    ['9', '10', 'v9', 'v10']
    """
    return [(0, int(part), "") if "0" <= part[0] <= "9" else (1, 0, part) for part in re.findall(r"[0-9]+|[^0-9]+", name)]
