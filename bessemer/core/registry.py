"""The registry: a plug-in is one file in its folder with a frozen config and one decorated function.

The folder is the list: `bessemer/<folder>/*.py` is imported (each file imports only the standard library and pydantic at its
top) the first time that the folder is asked for. Packages outside plug in by an entry point of the group
`bessemer.<folder>` that names a module.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, get_type_hints

from bessemer.core.config import Config
from bessemer.core.errors import UserError, nearest

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Plugin:
    """One registered function.

    Attributes:
        folder: where it is registered (`"models"`), which is also the package that holds it.
        name: the value of `kind:` in a recipe.
        config: the frozen config class, the type of the function's first argument.
        function: the function itself.
        revision: raise it when the same config must give other bytes; it is part of every cache key.
    """

    folder: str
    name: str
    config: type[Config]
    function: Callable[..., Any]
    revision: int


_PLUGINS: dict[str, dict[str, Plugin]] = {}
_LOADED: set[str] = set()


def register(folder: str, name: str, revision: int = 1) -> Callable[[F], F]:
    """Register the decorated function under `folder` and `name`; its first parameter's type is its config."""

    def decorate(function: F) -> F:
        hints = get_type_hints(function, localns={})
        first = next(iter(function.__annotations__))
        config = hints[first]
        if not (isinstance(config, type) and issubclass(config, Config)):
            raise TypeError(f"{function.__qualname__}: the first parameter must be a Config, not {config!r}")
        plugins = _PLUGINS.setdefault(folder, {})
        if name in plugins:
            raise ValueError(f"{folder}: '{name}' is registered twice: {plugins[name].function.__module__} and "
                             f"{function.__module__}")
        plugins[name] = Plugin(folder, name, config, function, revision)
        return function

    return decorate


def plugins(folder: str) -> dict[str, Plugin]:
    """Return every plug-in of a folder by name, loading the folder's modules on first use."""
    if folder not in _LOADED:
        package = importlib.import_module(f"bessemer.{folder.replace('/', '.')}")
        for module in sorted(pkgutil.iter_modules(package.__path__), key=lambda found: found.name):
            importlib.import_module(f"{package.__name__}.{module.name}")
        for entry in importlib.metadata.entry_points(group=f"bessemer.{folder.replace('/', '.')}"):
            entry.load()
        _LOADED.add(folder)
    return _PLUGINS.get(folder, {})


def loaded() -> tuple[str, ...]:
    """Return the folders asked for so far."""
    return tuple(sorted(_LOADED))


def plugin(folder: str, name: str) -> Plugin:
    """Return one plug-in; an unknown name is a UserError that gives the nearest."""
    known = plugins(folder)
    if name not in known:
        raise UserError(f"there is no '{name}' among the {folder}{nearest(name, known)}")
    return known[name]


def plugin_of(folder: str, config: Config) -> Plugin:
    """Return the plug-in whose config has this type."""
    for candidate in plugins(folder).values():
        if candidate.config is type(config):
            return candidate
    raise UserError(f"no plug-in among the {folder} takes a {type(config).__name__}")
