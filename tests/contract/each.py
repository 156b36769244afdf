"""How the contract tests cover every plug-in of a folder: by the registry, so that a new file is covered at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from bessemer.core.config import Config
from bessemer.core.pick import make
from bessemer.core.registry import plugins

Examples = Mapping[str, Callable[[Path], dict[str, Any]]]
"""Kind -> (empty folder) -> the settings that it cannot do without, their files written to the folder."""


def kinds(folder: str) -> list[str]:
    return sorted(plugins(folder))


def example(folder: str, kind: str, examples: Examples, files: Path) -> Config:
    """A small config of one kind: by its example, or its defaults where it has none."""
    settings = examples[kind](files) if kind in examples else {}
    try:
        return make(folder, {"kind": kind, **settings})
    except ValueError as error:
        if kind in examples:
            raise
        pytest.fail(f"add an example for '{kind}' ({folder}) to EXAMPLES of this test file: its defaults are no config ({error})")
