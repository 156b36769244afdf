"""What the commands about the catalogue and the schema of recipes do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def list_datasets() -> None:
    """Print the catalogue."""
    from bessemer.app.console import out, table

    rows = [(name, item.kind, f"{item.resource.registry} {item.resource.package} {item.resource.version}", item.licence, item.about)
            for name, item in _catalogue()]
    table("catalogue", ("name", "kind", "from", "licence", "content"), rows)
    out.print("next: bessemer datasets get NAME; in a recipe: sources: [{kind: catalogue, name: NAME}]", markup=False)


def _catalogue() -> Iterator[tuple[str, Any]]:
    from bessemer.core import registry

    for name, item in sorted(registry.plugins("datasets").items()):
        yield name, item.function(item.config())


def get_dataset(name: str) -> None:
    """Fetch one entry of the catalogue and say where it lies."""
    from bessemer.app.console import Bars, out
    from bessemer.core.events import Events
    from bessemer.core.fetch import fetch
    from bessemer.core.registry import plugin

    chosen = plugin("datasets", name)
    item = chosen.function(chosen.config())
    out.print(f"{name}: {item.about}\nlicence: {item.licence}\nreference: {item.reference}", markup=False)
    with Bars() as bars, Events([bars]).progress(f"fetch {name}", None, "bytes") as progress:
        folder = fetch(item.resource, progress=lambda done, total: progress.advance(done - progress.done))
    out.print(f"{folder / item.folder}\nnext: write it into a recipe: "
              + {"rows": f"{{kind: catalogue, name: {name}}}", "weights": f"{{kind: pretrained, name: {name}}}",
                 "vectors": f"{{kind: ngrams, vectors: {name}}}"}[item.kind], markup=False)


def recipe_schema() -> dict[str, Any]:
    """Return the JSON Schema of a recipe: every stage kind under any stage name."""
    from bessemer.core.pick import plugin_schemas
    from bessemer.core.recipe import Recipe

    schema = Recipe.model_json_schema()
    kinds = plugin_schemas("stages")
    for kind in kinds:
        kind["required"] = [name for name in kind["required"] if name != "kind"]
    named = {str(kind["title"]): kind for kind in kinds}
    schema["properties"]["stages"] = {"type": "object", "properties": named, "additionalProperties": {"anyOf": kinds}, "minProperties": 1}
    schema["additionalProperties"] = False
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
