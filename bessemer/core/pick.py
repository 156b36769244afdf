"""Pick: a field that holds any plug-in of a folder, and how its config is made from plain values and dumped to them.

Such a field is declared as `Annotated[Config, Pick("models")]`: in YAML it is a mapping with a `kind:`, whose remaining keys are
checked against that plug-in's own config class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import core_schema

from bessemer.core import registry
from bessemer.core.config import Config, explain
from bessemer.core.errors import UserError


@dataclass(frozen=True)
class Pick:
    """`Annotated[Config, Pick("models")]`: a field that holds any plug-in of a folder."""

    folder: str

    def __get_pydantic_core_schema__(self, _source: Any, _handler: Any) -> core_schema.CoreSchema:
        """Validate by the registry, dump with the `kind`, and list every plug-in in the JSON Schema."""
        dump = core_schema.plain_serializer_function_ser_schema(lambda config: dump_plugin(self.folder, config))
        return core_schema.no_info_plain_validator_function(
            lambda value: make(self.folder, value), serialization=dump,
            metadata={"pydantic_js_functions": [_json_schema(self.folder)]})


def _json_schema(folder: str) -> Any:
    def schema(_core: Any, _handler: Any) -> dict[str, Any]:
        return {"anyOf": plugin_schemas(folder)}

    return schema


def plugin_schemas(folder: str) -> list[dict[str, Any]]:
    """Return the JSON Schema of every plug-in of a folder, with its `kind` as a constant."""
    found = []
    for name, item in sorted(registry.plugins(folder).items()):
        schema = inline(item.config.model_json_schema())
        schema["properties"] = {"kind": {"const": name}, **schema.get("properties", {})}
        schema["required"] = ["kind", *schema.get("required", [])]
        schema["title"] = name
        found.append(schema)
    return found


def inline(schema: Any, definitions: dict[str, Any] | None = None) -> Any:
    """Return a JSON Schema with its `$defs` put in place (our configs are trees, never recursive)."""
    if isinstance(schema, list):
        return [inline(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    definitions = {**(definitions or {}), **schema.get("$defs", {})}
    if "$ref" in schema:
        target = inline(definitions[schema["$ref"].rsplit("/", 1)[1]], definitions)
        return {**target, **{key: value for key, value in schema.items() if key != "$ref"}}
    return {key: inline(value, definitions) for key, value in schema.items() if key != "$defs"}


def make(folder: str, value: Any) -> Config:
    """Build a plug-in's config from `{kind: name, …}`, from `name`, or return a config as it is."""
    if isinstance(value, Config):
        registry.plugin_of(folder, value)
        return value
    if isinstance(value, str):
        value = {"kind": value}
    if not isinstance(value, dict) or not isinstance(value.get("kind"), str):
        raise ValueError(f"expected a mapping with a 'kind', one of: {', '.join(sorted(registry.plugins(folder)))}")
    try:
        chosen = registry.plugin(folder, value["kind"])
    except UserError as error:
        raise ValueError(f"{error}{_path_meant(folder, value)}") from None
    try:
        return chosen.config.model_validate({key: item for key, item in value.items() if key != "kind"})
    except ValidationError as error:
        raise ValueError(str(explain(error, chosen.name, chosen.config))) from None


def _path_meant(folder: str, value: dict[str, Any]) -> str:
    """Return how a path is written, where one stands in the place of a mapping and plug-ins of this folder read some."""
    name = value["kind"]
    if len(value) > 1 or not any(sign in name for sign in "./") or not any(
            "path" in item.config.model_fields for item in registry.plugins(folder).values()):
        return ""
    return f"; a path is written with its kind: {{kind: …, path: {name}}}"


def dump_plugin(folder: str, config: Any) -> dict[str, Any] | None:
    """Return the plain form of a plug-in's config, its `kind` first."""
    if config is None:
        return None
    return {"kind": registry.plugin_of(folder, config).name, **config.model_dump(mode="json")}
