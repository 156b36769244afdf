"""Configuration: frozen pydantic models, plain YAML, overrides, and errors that name the key."""

from __future__ import annotations

import contextvars
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from bessemer.core.errors import UserError, nearest

_READS: contextvars.ContextVar[set[tuple[type, str]] | None] = contextvars.ContextVar("reads", default=None)


class Config(BaseModel):
    """A frozen configuration; an unknown key is an error; every read of a field can be recorded.

    `later` names fields that a later version brought, with the value by which all stays as it was before: at that value they are no part
    of a stage's key, so that what earlier versions made is found again.
    """

    later: ClassVar[Mapping[str, Any]] = {}
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, use_attribute_docstrings=True)

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        reads = _READS.get()
        if reads is not None and not name.startswith("_"):
            if name == "model_dump":
                reads.update((type(self), field) for field in type(self).model_fields)
            reads.add((type(self), name))
        return value


def walk(config: Any, path: str = "") -> Iterator[tuple[str, Config]]:
    """Yield every config of a tree with its dotted path, the root first."""
    if isinstance(config, Config):
        yield path, config
        for name, value in config.__dict__.items():
            yield from walk(value, f"{path}.{name}" if path else name)
    elif isinstance(config, dict):
        for name, value in config.items():
            yield from walk(value, f"{path}.{name}" if path else str(name))
    elif isinstance(config, (list, tuple)):
        for index, value in enumerate(config):
            yield from walk(value, f"{path}.{index}" if path else str(index))


def keyed(config: Config) -> dict[str, Any]:
    """Return the JSON values of a config and of those within it, less later fields at their old values: what decides the result."""
    found: dict[str, Any] = _less_later(config, config.model_dump(mode="json"))
    return found


def _less_later(value: Any, dumped: Any) -> Any:
    if isinstance(value, Config):
        own = value.__dict__
        return {name: _less_later(own.get(name), item) for name, item in dumped.items()
                if name not in value.later or own[name] != value.later[name]}
    if isinstance(value, dict) and isinstance(dumped, dict):
        return {name: _less_later(item, inner) for item, (name, inner) in zip(value.values(), dumped.items(), strict=True)}
    if isinstance(value, (list, tuple)) and isinstance(dumped, list):
        return [_less_later(item, inner) for item, inner in zip(value, dumped, strict=True)]
    return dumped


class ReadTracker:
    """Context manager that records which configuration keys are read; `unread(config)` lists those set but never read.

    A key is known by its class and name, so that reading a copy of a config counts.
    """

    def __enter__(self) -> ReadTracker:
        self.reads: set[tuple[type, str]] = set()
        self._token = _READS.set(self.reads)
        return self

    def __exit__(self, *_: object) -> None:
        _READS.reset(self._token)

    def unread(self, config: Config) -> list[str]:
        """Return the dotted paths of keys that the user set and nobody read; a resolved recipe names defaults too, which are none."""
        return [f"{path}.{name}" if path else name for path, part in walk(config)
                for name in sorted(part.__pydantic_fields_set__) if (type(part), name) not in self.reads
                and part.__dict__[name] != type(part).model_fields[name].get_default(call_default_factory=True)]


class _Loader(yaml.SafeLoader):
    """Safe YAML that refuses a key given twice, takes a key as it is written (`on`, `1`) and reads 2e-5 as a number (YAML 1.2)."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: dict[Any, int] = {}
    for key_node, _ in node.value:
        if key_node.tag.rpartition(":")[2] in ("bool", "int", "float"):
            key_node.tag = yaml.resolver.BaseResolver.DEFAULT_SCALAR_TAG
        key = loader.construct_object(key_node, deep=True)
        line = key_node.start_mark.line + 1
        if not isinstance(key, (str, int, float, bool)):
            raise yaml.YAMLError(f"line {line}: a key must be plain text")
        if key in seen:
            raise yaml.YAMLError(f"line {line}: the key '{key}' is given twice (first in line {seen[key]})")
        seen[key] = line
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9][0-9_]*\.?[0-9_]*(?:[eE][-+]?[0-9]+)|[0-9][0-9_]*\.[0-9_]*|\.[0-9]+)$"), list("-+0123456789."))


def parse_yaml(text: str, where: str) -> Any:
    """Parse YAML safely; a syntax error is a UserError that names the line."""
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise UserError(f"{where}{line}: this is not valid YAML ({problem})") from None


def read_yaml(path: str | Path) -> Any:
    """Read a YAML file of at most 1 MB."""
    file = Path(path)
    if file.is_dir():
        raise UserError(f"'{path}' is a folder; expected a recipe (YAML), such as '{file / 'recipe.yaml'}'")
    if not file.is_file():
        raise UserError(f"there is no file '{path}'; expected a recipe (YAML)")
    if file.stat().st_size > 1_000_000:
        raise UserError(f"'{path}' has {file.stat().st_size:,} bytes; a recipe has at most 1,000,000: is this a data file?")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except PermissionError:
        raise UserError(f"there is no permission to read '{path}'; change its rights (chmod u+r)") from None
    except UnicodeDecodeError as error:
        raise UserError(f"'{path}' is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    return parse_yaml(text, str(path))


def explain(error: ValidationError, where: str, model: type[BaseModel] | None = None) -> UserError:
    """Turn a pydantic error into one sentence that names the key, the value and what was expected."""
    found = error.errors(include_url=False)
    first = found[0]
    path = [str(part) for part in first["loc"]]
    union = [item for item in found if len(path) > 1 and item["loc"][:-1] == first["loc"][:-1] and _is_kind(item["loc"][-1])]
    rest = [item for item in found[1:] if first not in union or item not in union]
    more = f" (and {len(rest)} more: {', '.join(dict.fromkeys(_key(item) for item in rest))})" if rest else ""
    if first in union and len(union) > 1 and not isinstance(first.get("input"), dict):  # a value that fits none of several kinds
        plain = (_plain(item["msg"]).removeprefix("Input should be ").split(", ")[0] for item in union)
        kinds = [re.sub("^(greater|less) than", r"a number \1 than", said) for said in plain]
        return UserError(f"{where}: '{'.'.join(path[:-1])}': expected {' or '.join(dict.fromkeys(kinds))}, not {first['input']!r}{more}")
    key = _key(first)
    if first["type"] == "extra_forbidden":
        return UserError(f"{where}: unknown key '{key}'{nearest(path[-1], _known_fields(error, path, model))}{more}")
    if first["type"] == "missing":
        return UserError(f"{where}: the key '{key}' is missing{more}")
    if first["type"] in ("too_short", "too_long"):
        context: dict[str, Any] = first["ctx"]
        bound = f"at least {context['min_length']}" if first["type"] == "too_short" else f"at most {context['max_length']}"
        many = "" if bound.endswith(" 1") else "s"
        return UserError(f"{where}: '{key}': expected {bound} item{many}, not {context['actual_length']}{more}")
    given = first.get("input")
    message = _plain(first["msg"]).removeprefix("Value error, ")
    named = isinstance(given, str) and given and f"'{given}'" in message
    shown = "" if isinstance(given, (dict, list)) or named else f", not {given!r}"
    message = message[0].lower() + message[1:] if message else message
    if message.startswith(f"{key}.") or not path:  # what is said of several keys together names them itself
        return UserError(f"{where}: {message}{more}")
    return UserError(f"{where}: '{key}': {message}{shown}{more}")


def _plain(message: str) -> str:
    """Return pydantic's message in YAML's words.

    >>> _plain("Input should be a valid tuple")
    'Input should be a list'
    """
    for of_python, of_yaml in (("a valid tuple", "a list"), ("a valid list", "a list"), ("a valid dictionary", "keys with values"),
                               ("a valid string", "text"), ("a valid boolean", "true or false"), ("a valid integer", "a whole number"),
                               ("a valid number", "a number")):
        message = message.replace(of_python, of_yaml)
    return message.partition(", unable to ")[0]


def _is_kind(part: Any) -> bool:
    """Tell whether a part of a place is one of the kinds that a value may be of, as pydantic names them, and no key."""
    return isinstance(part, str) and (part in ("bool", "int", "float", "str", "none") or not part.isidentifier())


def _key(found: Mapping[str, Any]) -> str:
    return ".".join(str(part) for part in found["loc"]) or "the top level"


def _known_fields(error: ValidationError, path: list[str], model: type[BaseModel] | None) -> list[str]:
    if model is None:
        return []
    current: Any = model
    for part in path[:-1]:
        field = current.model_fields.get(part) if hasattr(current, "model_fields") else None
        annotation = field.annotation if field else None
        choices = [annotation, *getattr(annotation, "__args__", ())]
        current = next((item for item in choices if isinstance(item, type) and issubclass(item, BaseModel)), None)
        if current is None:
            return []
    return list(current.model_fields)
