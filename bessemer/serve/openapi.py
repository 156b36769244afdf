"""The OpenAPI document, with the columns of the models that are served as schemas and rows that they were seen to answer as examples."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from bessemer import __version__
from bessemer.core.schema import Column
from bessemer.serve.problems import KINDS, TYPE
from bessemer.serve.registry import Hosted, Registry
from bessemer.serve.settings import Settings
from bessemer.serve.table import Address
from bessemer.serve.versions import Version
from bessemer.serve.work import input_columns

Json = dict[str, Any]
TEXT: Json = {"type": "string"}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def extra(address: Address, settings: Settings) -> Json:
    """Return what the router cannot know of an address: its parameters, its body, its answers."""
    found: Json = {"tags": [address.tag], "responses": _responses(address)}
    if "{" in address.path:
        found["parameters"] = [{"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
                               for name in ("model", "version") if f"{{{name}}}" in address.path]
    if address.body == "Lines":
        found["requestBody"] = {"required": True, "content": {"application/x-ndjson": {"schema": TEXT}}}
    elif address.body:
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": _ref(address.body)}}}
    if settings.keys and address.tag != "page":
        found["security"] = [{"bearer": []}, {"key": []}]
    return found


def _responses(address: Address) -> Json:
    kind = {"": "text/plain", "Any": "application/json"}.get(address.answer, "application/json")
    kind = "application/x-ndjson" if address.body == "Lines" else kind
    schema: Json = {} if address.answer == "Any" else TEXT if not address.answer else _ref(address.answer)
    found: Json = {"200": {"description": address.about, "content": {kind: {"schema": schema}}}}
    by_status: dict[int, list[str]] = {}
    for name in (*address.faults, "method"):
        by_status.setdefault(KINDS[name].status, []).append(KINDS[name].meaning)
    for status, meanings in sorted(by_status.items()):
        found[str(status)] = {"description": " ".join(meanings), "content": {TYPE: {"schema": _ref("Problem")}}}
    if address.answer == "Any" and "503" in found:  # readiness says no in its own words
        found["503"]["content"]["application/json"] = {"schema": {}}
    return found


def document(app: FastAPI, registry: Registry) -> Json:
    """Return the document for the models as they are now."""
    found = get_openapi(title="Bessemer", version=__version__, routes=app.routes, openapi_version="3.1.0",
                        description="Finished models, answering rows. Errors are problem documents (RFC 9457).")
    components = found.setdefault("components", {})
    components["schemas"] = {**components.get("schemas", {}), **_schemas(registry)}
    if registry.settings.keys:
        components["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"},
                                         "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"}}
    names = list(registry.models)
    if names:
        for item in found["paths"].values():
            for operation in item.values():
                for parameter in operation.get("parameters", ()):
                    parameter["example"] = names[0] if parameter["name"] == "model" else _first(registry.models[names[0]])
    return found


def _first(hosted: Hosted) -> str:
    return hosted.current.name if hosted.current else "1"


def _schemas(registry: Registry) -> Json:
    current = [hosted.current for hosted in registry.models.values() if hosted.current is not None]
    own = {f"Row_{version.place.model}": _row(version) for version in current}
    row: Json = {"anyOf": [_ref(name) for name in own]} if len(own) > 1 else _ref(next(iter(own))) if own else {"type": "object"}
    targets: Json = {"type": "object", "additionalProperties": _ref("Said")}
    answer: Json = {"model": TEXT, "version": TEXT}
    first = next(iter(current), None)
    return {
        **own, "Row": row, "Problem": _PROBLEM, "Said": _SAID,
        "Rows": _object({"rows": {"type": "array", "items": _ref("Row"), "maxItems": registry.settings.max_items}},
                        example={"rows": list(first.examples)} if first else None),
        "Answer": _object({**answer, "targets": targets}),
        "Answers": _object({**answer, "rows": {"type": "array", "items": _object({"targets": targets})}}),
        "Explained": _object({**answer, "targets": targets, "why": {"type": "array", "items": {"type": "object"}}}),
        "Model": _object({"model": TEXT, "current": {"type": ["string", "null"]}, "versions": {"type": "array", "items": {
            "type": "object"}}}),
        "Models": _object({"models": {"type": "array", "items": _ref("Model")}}),
        "Page": _object({**answer, "form": TEXT, "reads": {"enum": ["text", "table"]}, "inputs": {"type": "array"},
                         "targets": {"type": "array"}, "examples": {"type": "array"}}),
        "Use": _object({"version": TEXT}, example={"version": first.name if first else "1"}),
        "Unload": _object({"version": TEXT}, example={"version": "1"}),
        "Shadow": _object({"version": {"type": ["string", "null"]}}, example={"version": None}),
        "Shares": _object({"shares": {"type": "object", "additionalProperties": {"type": "number", "minimum": 0, "maximum": 100}}},
                          example={"shares": {}}),
        "Infer": _infer(first), "Inferred": _object({"model_name": TEXT, "model_version": TEXT, "id": TEXT, "outputs": {"type": "array"}})}


def _object(properties: Json, example: Any = None) -> Json:
    found: Json = {"type": "object", "properties": properties, "required": list(properties)}
    return found if example is None else {**found, "example": example}


_PROBLEM = _object({"type": TEXT, "title": TEXT, "status": {"type": "integer"}, "detail": TEXT})
_SAID: Json = {"oneOf": [
    _object({"kind": {"const": "label"}, "label": TEXT, "probability": {"type": "number"}, "probabilities": {"type": "object"}}),
    _object({"kind": {"const": "number"}, "value": {"type": "number"}}),
    _object({"kind": {"const": "flags"}, "labels": {"type": "array", "items": TEXT}, "probabilities": {"type": "object"}}),
    _object({"kind": {"const": "tags"}, "tags": {"type": "array", "items": TEXT},
             "probabilities": {"type": "array", "items": {"type": "number"}}})]}


def _row(version: Version) -> Json:
    """Return the schema of a model's rows."""
    columns = input_columns(version.predictor.schema)
    return {"type": "object", "title": f"a row of {version.place.model}", "properties": {column.name: _value(column) for column in columns},
            "required": [column.name for column in columns], "example": dict(version.examples[0])}


def _value(column: Column) -> Json:
    kind = column.modality["kind"]
    if kind == "number":
        found: Json = {"type": ["number", "null"], **_limits(column)}
    elif kind == "boolean":
        found = {"type": ["boolean", "null"]}
    elif kind == "vector":
        found = {"type": "array", "items": {"type": "number"}}
    elif kind == "text":
        found = {"type": "string", "minLength": 1}
        if column.modality.get("lists") == "join":
            found = {"anyOf": [found, {"type": "array", "items": TEXT, "minItems": 1, "description": "words that are cut already"}]}
    else:
        found = {"type": ["string", "null"]}
        if column.labels:
            found["examples"] = list(column.labels[:20])
    return {**found, "description": kind}


def _limits(column: Column) -> Json:
    low, high = column.modality.get("low"), column.modality.get("high")
    return {**({"minimum": low} if low is not None else {}), **({"maximum": high} if high is not None else {})}


def _infer(version: Version | None) -> Json:
    tensor = _object({"name": TEXT, "shape": {"type": "array", "items": {"type": "integer"}}, "datatype": TEXT, "data": {"type": "array"}})
    found = _object({"inputs": {"type": "array", "items": tensor, "minItems": 1}})
    if version is None:
        return found
    kinds = {column.name: column.modality["kind"] for column in input_columns(version.predictor.schema)}
    row = version.examples[0]
    return {**found, "example": {"inputs": [
        {"name": name, "shape": [1], "datatype": {"number": "FP64", "boolean": "BOOL"}.get(kind, "BYTES"), "data": [row.get(name)]}
        for name, kind in kinds.items()]}}
