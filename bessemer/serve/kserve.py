"""KServe's open inference protocol, version 2 (REST): columns as named tensors, one element a row.

Source: kserve/open-inference-protocol, specification/protocol/inference_rest.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from bessemer import __version__
from bessemer.core.errors import nearest
from bessemer.core.schema import Role
from bessemer.serve.call import Call, Reply
from bessemer.serve.handlers import JSON_KINDS, Prediction, named, parsed
from bessemer.serve.problems import Problem
from bessemer.serve.registry import Registry
from bessemer.serve.versions import Version
from bessemer.serve.work import input_columns

TYPES = ("BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64", "BYTES")
FLOATS = ("FP16", "FP32", "FP64")
WHOLE = {f"{sign}INT{bits}": (0 if sign else -(2 ** (bits - 1)), 2 ** (bits if sign else bits - 1) - 1)
         for sign in ("U", "") for bits in (8, 16, 32, 64)}
"""Smallest and largest number of each datatype of whole numbers."""


class KServe:
    """The handlers."""

    def __init__(self, registry: Registry, prediction: Prediction) -> None:
        self.registry, self.prediction = registry, prediction

    async def server(self, _: Call) -> Reply:
        """Say what the server is."""
        return Reply(orjson.dumps({"name": "bessemer", "version": __version__, "extensions": []}))

    async def live(self, _: Call) -> Reply:
        """Say that the process lives."""
        return Reply(b'{"live":true}')

    async def ready(self, _: Call) -> Reply:
        """Say whether every model is ready."""
        ready = self.registry.ready
        return Reply(orjson.dumps({"ready": ready}), 200 if ready else 503)

    async def model_ready(self, call: Call) -> Reply:
        """Say whether a model is ready."""
        params = call.params
        self.registry.version(params["model"], params.get("version"), call.id)
        return Reply(orjson.dumps({"name": params["model"], "ready": True}))

    async def model(self, call: Call) -> Reply:
        """Say what a model reads and gives."""
        version = self.registry.version(call.params["model"], call.params.get("version"), call.id)
        return Reply(orjson.dumps({"name": version.place.model, "versions": list(self.registry.model(version.place.model).loaded),
                                   "platform": f"bessemer_{version.predictor.form}", "inputs": _inputs(version),
                                   "outputs": _outputs(version)}))

    async def infer(self, call: Call) -> Reply:
        """Answer rows that are given as tensors."""
        call.accepts(*JSON_KINDS)
        value = parsed(await call.body())
        version = self.prediction.version(call)
        wanted = {item["name"]: item["datatype"] for item in _inputs(version)}
        columns, rows = _rows(value, self.prediction.max_items, wanted)
        results = await self.prediction.answered(call, version, [dict(zip(columns, row, strict=True)) for row in rows])
        outputs = _tensors(results, version)
        chosen = _wanted(value, [item["name"] for item in outputs])
        found: dict[str, Any] = {"model_name": call.model, "model_version": call.version, "id": str(value.get("id") or call.id),
                                 "outputs": [item for item in outputs if item["name"] in chosen]}
        return Reply(orjson.dumps(found))


def _inputs(version: Version) -> list[dict[str, Any]]:
    return [{"name": column.name, "datatype": _type(column.modality["kind"]), "shape": [-1]}
            for column in input_columns(version.predictor.schema)]


def _type(kind: str) -> str:
    return {"number": "FP64", "vector": "FP64", "boolean": "BOOL"}.get(kind, "BYTES")


def _outputs(version: Version) -> list[dict[str, Any]]:
    from bessemer.modalities import modality_of

    found: list[dict[str, Any]] = []
    for column in version.predictor.schema.by_role(Role.TARGET):
        answer = modality_of(column).answer
        found.append({"name": column.name, "datatype": "FP64" if answer == "number" else "BYTES", "shape": [-1]})
        found += [{"name": f"{column.name}.{level}", "datatype": "FP64", "shape": [-1]} for level in version.levels.get(column.name, ())]
        if answer in ("label", "flags"):
            found.append({"name": f"{column.name}.probabilities", "datatype": "FP32", "shape": [-1, len(column.labels)],
                          "parameters": {"labels": list(column.labels)}})
    return found


def _rows(value: Any, most: int, wanted: Mapping[str, str]) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Return the columns of a request's tensors, and its rows."""
    inputs = value.get("inputs") if isinstance(value, dict) else None
    if not isinstance(inputs, list) or not inputs:
        raise Problem("malformed", 'the body has no list "inputs"; expected {"inputs": [{"name", "shape", "datatype", "data"}, …]}')
    columns: dict[str, list[Any]] = {}
    for number, item in enumerate(inputs, 1):
        if not isinstance(item, dict) or not isinstance(item.get("name"), str):
            raise Problem("malformed", f"input {number} has no name; expected an object with name, shape, datatype and data")
        name = item["name"]
        if name in columns:
            raise Problem("malformed", f"two inputs are named '{name:.100}'; give each column once")
        columns[name] = _column(name, item)
        if name in wanted:
            _check(name, str(item["datatype"]), wanted[name], columns[name])
    lengths = {name: len(data) for name, data in columns.items()}
    if len(set(lengths.values())) > 1:
        low, high = min(lengths, key=lengths.__getitem__), max(lengths, key=lengths.__getitem__)
        raise Problem("malformed", f"the inputs have different lengths: '{low:.60}' has {lengths[low]}, '{high:.60}' {lengths[high]}; give "
                      "every column one element a row")
    if max(lengths.values()) > most:
        raise Problem("too-large", f"the request has {max(lengths.values()):,} rows; this server takes {most:,} at a time: send fewer")
    return list(columns), list(zip(*columns.values(), strict=True))


def _column(name: str, item: Mapping[str, Any]) -> list[Any]:
    shape, data, kind = item.get("shape"), item.get("data"), item.get("datatype")
    if kind not in TYPES:
        raise Problem("malformed", f"the input '{name:.100}' has the datatype {kind!r:.40}; expected one of {', '.join(TYPES)}")
    if not isinstance(data, list):
        raise Problem("malformed", f"the input '{name:.100}' has {named(data)} as data; expected a list with one element a row")
    if not isinstance(shape, list) or not all(isinstance(size, int) and not isinstance(size, bool) for size in shape):
        raise Problem("malformed", f"the input '{name:.100}' has no shape; expected [{len(data)}]")
    rows = shape[0] if shape else 0
    if len(shape) == 2 and shape[1] == 1 and len(data) == rows and all(isinstance(part, list) and len(part) == 1 for part in data):
        data = [part[0] for part in data]
    if rows != len(data) or len(shape) > 2 or (len(shape) == 2 and shape[1] != 1 and not all(isinstance(part, list) for part in data)):
        raise Problem("malformed", f"the input '{name:.100}' has the shape {str(shape):.40} and {len(data)} elements; expected the shape "
                      f"[{len(data)}]: one element a row")
    return data


def _check(name: str, kind: str, wanted: str, data: Sequence[Any]) -> None:
    """Check that a tensor is of the datatype that the model reads (of numbers any), and its elements of the one that it names."""
    fits = {"BYTES": kind == "BYTES", "FP64": kind not in ("BYTES", "BOOL"), "BOOL": kind not in ("BYTES", *FLOATS)}
    if not fits[wanted]:
        raise Problem("malformed", f"the input '{name:.100}' has the datatype {kind}; the model reads {wanted}: /v2/models/NAME lists it")
    expected: tuple[type, ...] = (str,) if kind == "BYTES" else (bool,) if kind == "BOOL" else (int, float)
    for number, element in enumerate(data, 1):
        for part in element if isinstance(element, list) else (element,):
            if part is not None and (not isinstance(part, expected) or (isinstance(part, bool) and kind != "BOOL")):
                raise Problem("malformed", f"the input '{name:.100}' has the datatype {kind}, and element {number} is {named(part)}")
            if kind in WHOLE and isinstance(part, (int, float)) and (part % 1 != 0 or not WHOLE[kind][0] <= part <= WHOLE[kind][1]):
                raise Problem("malformed", f"the input '{name:.100}' has the datatype {kind}, and element {number} is {str(part):.40}; "
                              f"expected a whole number from {WHOLE[kind][0]} to {WHOLE[kind][1]}, or a datatype that holds it (FP64)")


def _wanted(value: Mapping[str, Any], names: Sequence[str]) -> Sequence[str]:
    outputs = value.get("outputs")
    if outputs is None:
        return names
    wanted = [item.get("name") if isinstance(item, dict) else None for item in outputs] if isinstance(outputs, list) else [None]
    for name in wanted:
        if not isinstance(name, str) or name not in names:
            raise Problem("malformed", f"the model has no output {name!r:.100}{nearest(str(name)[:100], names)}")
    return [str(name) for name in wanted]


def _tensors(results: Sequence[Mapping[str, Any]], version: Version) -> list[dict[str, Any]]:
    """Return answers as tensors: the label, the number or the flags (joined by |) of each target, and its probabilities."""
    if not results:
        return [{**item, "shape": [0, *item["shape"][1:]], "data": []} for item in _outputs(version)]
    found: list[dict[str, Any]] = []
    for column in version.predictor.schema.by_role(Role.TARGET):
        items = [row[column.name] for row in results]
        if items[0]["kind"] == "number":
            found.append({"name": column.name, "datatype": "FP64", "shape": [len(items)], "data": [item["value"] for item in items]})
            for level in items[0].get("quantiles", ()):
                found.append({"name": f"{column.name}.{level}", "datatype": "FP64", "shape": [len(items)],
                              "data": [item["quantiles"][level] for item in items]})
            continue
        if items[0]["kind"] == "tags":
            found.append({"name": column.name, "datatype": "BYTES", "shape": [len(items)],
                          "data": [" ".join(item["tags"]) for item in items]})
            continue
        words = [item["label"] if "label" in item else "|".join(item["labels"]) for item in items]
        labels = list(items[0]["probabilities"])
        found.append({"name": column.name, "datatype": "BYTES", "shape": [len(items)], "data": words})
        found.append({"name": f"{column.name}.probabilities", "datatype": "FP32", "shape": [len(items), len(labels)],
                      "parameters": {"labels": labels}, "data": [p for item in items for p in item["probabilities"].values()]})
    return found
