"""The documentation as one page of plain HTML: it needs no script and nothing from elsewhere."""

from __future__ import annotations

import json
from html import escape
from typing import Any

from bessemer.serve.problems import KINDS

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
code, pre { font: 14px/1.45 ui-monospace, monospace; }
pre { overflow: auto; padding: .75rem; border: 1px solid #8886; border-radius: .4rem; }
h3 { margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; vertical-align: top; padding: .3rem .6rem; border-bottom: 1px solid #8884; }
.method { font-weight: 700; }
"""


def page(document: dict[str, Any], address: str) -> str:
    """Return the page of an OpenAPI document for a server at an address."""
    schemas = document["components"]["schemas"]
    groups: dict[str, list[str]] = {}
    for path, item in document["paths"].items():
        for method, operation in item.items():
            groups.setdefault(operation["tags"][0], []).append(_operation(method.upper(), path, operation, schemas, address))
    body = "".join(f"<h2>{escape(name)}</h2>{''.join(parts)}" for name, parts in groups.items())
    problems = "".join(f'<tr id="problem-{name}"><td>{kind.status}</td><td>{escape(kind.title)}</td><td>{escape(kind.meaning)}</td></tr>'
                       for name, kind in KINDS.items())
    return (f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
            f'<title>{escape(document["info"]["title"])}: addresses</title><link rel="stylesheet" href="/docs.css"></head><body><main>'
            f'<h1>{escape(document["info"]["title"])} {escape(document["info"]["version"])}</h1>'
            f'<p>{escape(document["info"]["description"])} '
            f'The same as <a href="/openapi.json">OpenAPI</a>. <a href="/">Try the model</a>.</p>'
            f"{body}<h2>problems</h2><table><tr><th>status</th><th>title</th><th>meaning</th></tr>{problems}</table></main></body></html>")


def _operation(method: str, path: str, operation: dict[str, Any], schemas: dict[str, Any], address: str) -> str:
    content: dict[str, Any] = operation.get("requestBody", {}).get("content", {})
    kind = next(iter(content), "")
    body = _example(content[kind].get("schema", {}), schemas) if kind == "application/json" else None
    shown = path
    for parameter in operation.get("parameters", ()):
        shown = shown.replace(f"{{{parameter['name']}}}", str(parameter.get("example", parameter["name"])))
    command = f"curl {address}{shown}"
    if kind:
        given = "'" + json.dumps(body, ensure_ascii=False).replace("'", "'\\''") + "'" if body is not None else "@rows.jsonl"
        command += f" \\\n  -H 'Content-Type: {kind}' \\\n  {'-d' if body is not None else '--data-binary'} {given}"
    elif method == "POST":
        command += " -X POST"
    return (f'<h3><span class="method">{method}</span> <code>{escape(path)}</code></h3>'
            f'<p>{escape(operation["responses"]["200"]["description"])}'
            f"</p><pre>{escape(command)}</pre>")


def _example(schema: dict[str, Any], schemas: dict[str, Any]) -> Any:
    """Return the example of a schema, following its references."""
    while "$ref" in schema:
        schema = schemas[schema["$ref"].rsplit("/", 1)[1]]
    if "anyOf" in schema:
        return _example(schema["anyOf"][0], schemas)
    return schema.get("example", {})
