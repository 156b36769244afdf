"""The reference of recipes and commands, as Markdown, made from the code: `python -m bessemer.app.reference > docs/reference.md`."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
import types
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from bessemer.core import registry
from bessemer.core.config import Config
from bessemer.core.pick import Pick
from bessemer.core.recipe import Recipe
from bessemer.core.registry import Plugin

FOLDERS: dict[str, tuple[str, str]] = {
    "stages": ("Stages", "A stage stands under `stages:` by a name of your choice. Its `kind` is that name unless `kind:` says otherwise."),
    "data/sources": ("Sources", "What `prepare.sources` lists."),
    "data/streams": ("Streams", "What `source` of a stage `stream` takes."),
    "data/splits": ("Splits", "What `prepare.split` takes."),
    "modalities": ("Columns", "What `prepare.inputs` and `prepare.targets` map column names to."),
    "modalities/tokenizers": ("Tokenizers", "What `tokenizer` of a text column takes."),
    "models": ("Models", "What `model` of a learning stage takes."),
    "tasks": ("Tasks", "What `task` of a learning stage takes."),
    "adapt": ("Adaptations", "What `adaptation` of finetune takes."),
    "export": ("Export formats", "What `export` of compress takes."),
    "compress": ("Compression methods", "What `methods` of compress lists."),
    "evaluate": ("Metrics", "Names for `metric_for_best_model`; where a metric has an `average`, it may end the name: `f1_micro`."),
    "predictors": ("Predictors", "What `predictor.json` beside a model names; the stages write it."),
    "datasets": ("Catalogue", "What `{kind: catalogue, name: …}` and `{kind: pretrained, name: …}` name. None has settings."),
}
"""Registry folder -> its title and where its plug-ins are used."""

_PLAIN = {int: "whole number", float: "number", str: "text", bool: "true or false", Any: "any", type(None): "null"}
_BOUNDS = (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))


def render(command: Any) -> str:
    """Return the whole page.

    Args:
        command: the command line as a click group, handed in because it stands on a higher floor.
    """
    parts = [
        "# Reference\n\nMade from the code by `make reference`; do not edit. Types are those of YAML; *required* means: no default.\n",
        "## Recipe\n\nThe top level of a recipe file.\n", _fields(Recipe),
    ]
    for folder, (title, use) in FOLDERS.items():
        parts.append(f"## {title}\n\n{use}\n")
        own = {name: item for name, item in sorted(registry.plugins(folder).items()) if item.function.__module__.startswith("bessemer.")}
        parts += _catalogue(own) if folder == "datasets" else [_plugin(name, item) for name, item in own.items()]
    parts.append("## Commands\n")
    parts += [_command(name, item) for name, item in command.commands.items()]
    return "\n".join(parts)


def _plugin(name: str, item: Plugin) -> str:
    inner = "".join(f"\n`{key}`: {_text(config.__doc__)}\n\n{_fields(config)}" for key, config in _inner(item.config))
    return f"### {name}\n\n{_text(item.config.__doc__)}\n\n{_fields(item.config)}{inner}"


def _inner(config: type[Config]) -> Iterator[tuple[str, type[Config]]]:
    """Yield the fields that hold a config of a class of its own, with the class."""
    for name, field in config.model_fields.items():
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, Config) and kind is not Config:
                yield name, kind


def _catalogue(found: Mapping[str, Plugin]) -> Iterator[str]:
    yield "| name | kind | content | licence |\n|---|---|---|---|"
    for name, item in found.items():
        entry = item.function(item.config())
        yield f"| `{name}` | {entry.kind} | {_cell(entry.about)} | {_cell(entry.licence)} |"
    yield ""


def _fields(config: type[Config]) -> str:
    """Return a table of a config's fields, its own before those that it inherits."""
    own = inspect.get_annotations(config)
    fields = sorted(config.model_fields.items(), key=lambda item: item[0] not in own)
    if not fields:
        return "No settings.\n"
    rows = [f"| `{name}` | {_cell(_field_type(field))} | {_default(field)} | {_cell(field.description or '')} |" for name, field in fields]
    return "\n".join(["| key | type | default | meaning |", "|---|---|---|---|", *rows]) + "\n"


def _field_type(field: FieldInfo) -> str:
    return _bounded(_type(field.annotation, field.metadata), field.metadata)


def _type(annotation: Any, metadata: Any = ()) -> str:
    """Return a type in words; a field that holds a plug-in links to its folder's section."""
    pick = next((item for item in metadata if isinstance(item, Pick)), None)
    if pick is not None:
        title = FOLDERS[pick.folder][0]
        plugin = f"[{title.lower()}](#{title.lower().replace(' ', '-')})"
        return f"{plugin} or null" if type(None) in get_args(annotation) else plugin
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        extra = [part for item in inner[1:] for part in (item.metadata if isinstance(item, FieldInfo) else [item])]
        return _bounded(_type(inner[0], extra), extra)
    if origin is Literal:
        return " or ".join(f"`{item}`" for item in inner)
    if origin in (Union, types.UnionType):
        return " or ".join(_type(item) for item in inner)
    if origin is tuple:
        return f"list of {_type(inner[0])}"
    if origin is dict:
        return f"mapping of {_type(inner[0])} to {_type(inner[1])}"
    if annotation in _PLAIN:
        return _PLAIN[annotation]
    if isinstance(annotation, type) and issubclass(annotation, Config) and annotation is not Config:
        return "mapping (below)"
    return f"`{annotation.__name__}`"


def _bounded(name: str, metadata: Any) -> str:
    if not name.endswith("number"):
        return name
    bounds = [f"{sign} {getattr(item, key):,}" for key, sign in _BOUNDS for item in metadata if getattr(item, key, None) is not None]
    return " ".join([name, ", ".join(bounds)]).strip()


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "*required*"
    value = field.default if field.default is not PydanticUndefined else field.get_default(call_default_factory=True)
    return f"`{_cell(_value(value))}`"


def _value(value: Any) -> str:
    """Return a default as YAML writes it; a plug-in with its own defaults is its kind."""
    if isinstance(value, Config):
        return next(item.name for folder in registry.loaded() for item in registry.plugins(folder).values() if item.config is type(value))
    if isinstance(value, tuple):
        return f"[{', '.join(_value(item) for item in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_value(item)}' for key, item in value.items())}}}"
    return {None: "null", True: "true", False: "false"}[value] if value is None or isinstance(value, bool) else str(value)


def _command(name: str, command: Any) -> str:
    usage = " ".join(["bessemer", name, *(_usage(item) for item in command.params)])
    rows = [f"| `{_spelling(item)}` | {'*required*' if item.required else ''} | {_cell(item.help or '')} |"
            for item in command.params if item.param_type_name == "option" or item.help]
    table = "\n".join(["| argument | | meaning |", "|---|---|---|", *rows]) + "\n" if rows else ""
    return f"### bessemer {name}\n\n{_text(command.help)}\n\n```text\n{usage}\n```\n\n{table}"


def _usage(item: Any) -> str:
    if item.param_type_name == "argument":
        return str(item.metavar or item.name.upper())
    option = item.opts[0] if item.is_flag else f"{item.opts[0]} {item.name.upper()}"
    return option if item.required else f"[{option}]"


def _spelling(item: Any) -> str:
    return _cell(_usage(item) if item.param_type_name == "argument" else ", ".join(item.opts))


def _text(doc: str | None) -> str:
    return _cell(inspect.cleandoc(doc or "").split("\n\n")[0])


def _cell(text: str) -> str:
    return re.sub(r"<(?=\w)", r"\\<", " ".join(text.split()).replace("|", "\\|"))  # "runs/<name>" would be taken for HTML


def main() -> None:
    """Print the page."""
    import typer

    # Not an import statement: this room stands below the command line, which it reads from outside as a program would.
    command_line = importlib.import_module("bessemer.cli")
    sys.stdout.write(render(typer.main.get_command(command_line.app)))


if __name__ == "__main__":
    main()
