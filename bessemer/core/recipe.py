"""Recipe: a frozen tree: a name, a seed and a DAG of named stages; read from YAML or built in Python."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field, ValidationError, field_validator

from bessemer.core import registry
from bessemer.core.config import Config, explain, parse_yaml, read_yaml
from bessemer.core.errors import UserError, nearest
from bessemer.core.pick import dump_plugin, make


class StageConfig(Config):
    """The configuration of a stage.

    `needs` names the fields that refer to other artifacts: a stage's name in the same recipe, or a path to an artifact's folder;
    a field may hold one reference, None, or several (tuple).
    """

    needs: ClassVar[tuple[str, ...]] = ()

    def outside(self) -> tuple[Path | str, ...]:
        """Return what decides the result from outside the run: files and folders by their bytes, pinned checksums as they are."""
        return ()


class Recipe(Config):
    """One run: what is done, in which order, from what."""

    name: Annotated[str, Field(pattern=r"^[\w][\w.\-]*$", max_length=100)]
    """The run's name; its folder is runs/<name>."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Every random choice follows from it."""
    output_dir: str | None = None
    """The run's folder, in place of runs/<name>."""
    threads: Annotated[int, Field(ge=1)] | None = None
    """Threads for arithmetic; all cores by default. Exact resume needs the same number."""
    stages: dict[str, Any]
    """Stage name -> its configuration; its kind is its name unless `kind` says otherwise."""

    @field_validator("stages", mode="before")
    @classmethod
    def _stages(cls, value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping) or not value:
            raise ValueError("expected a mapping of stage names to their settings, with at least one stage")
        made: dict[str, Any] = {}
        for name, entry in value.items():
            if not re.fullmatch(r"[A-Za-z][\w\-]*", str(name)):
                raise ValueError(f"'{name}' cannot name a stage: letters, digits, '-' and '_' only, a letter first")
            if entry is None:
                entry = {}
            if isinstance(entry, Mapping):
                entry = {"kind": name, **entry}
                if entry["kind"] not in registry.plugins("stages"):
                    hint = nearest(str(entry["kind"]), registry.plugins("stages"))
                    raise ValueError(f"stage '{name}': there is no stage kind '{entry['kind']}'{hint}")
            try:
                made[name] = make("stages", entry)
            except ValueError as error:
                kind = entry["kind"] if isinstance(entry, Mapping) else ""
                raise ValueError(f"stages.{name}: {str(error).removeprefix(f'{kind}: ')}") from None
        return made

    def references(self, name: str) -> dict[str, str]:
        """Return slot -> reference of a stage: `data`, or `models.0` where a field holds several."""
        stage = self.stages[name]
        found: dict[str, str] = {}
        for slot in stage.needs:
            value = getattr(stage, slot)
            if isinstance(value, str):
                found[slot] = value
            elif value:
                found.update({f"{slot}.{index}": item for index, item in enumerate(value)})
        return found

    def order(self) -> list[str]:
        """Return the stages so that each comes after what it needs; a circle or an unknown reference is a UserError."""
        done: list[str] = []
        open_stages: list[str] = []

        def visit(name: str) -> None:
            if name in done:
                return
            if name in open_stages:
                circle = " -> ".join([*open_stages[open_stages.index(name):], name])
                raise UserError(f"the stages wait for one another in a circle: {circle}; break it")
            open_stages.append(name)
            for slot, reference in self.references(name).items():
                if reference in self.stages:
                    visit(reference)
                elif not Path(reference).exists():
                    told = "" if slot.split(".")[0] in self.stages[name].model_fields_set else (
                        f", which '{name}' takes where the recipe does not say otherwise; add the stage, or name another with {slot}: …")
                    raise UserError(f"stages.{name}.{slot}: there is no stage '{reference}' and no folder of that name{told}"
                                    f"{nearest(reference, set(self.stages) - {name}) if not told else ''}")
            open_stages.pop()
            done.append(name)

        for name in self.stages:
            visit(name)
        return done

    def plain(self) -> dict[str, Any]:
        """Return the resolved recipe as plain values, every default written out."""
        head = self.model_dump(mode="json", exclude={"stages"})
        return {**head, "stages": {name: dump_plugin("stages", stage) for name, stage in self.stages.items()}}


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe and apply overrides of the form `key.path=value` (a first part that is a stage's name may stand alone)."""
    tree = read_yaml(path)
    return make_recipe(tree, str(path), overrides)


def make_recipe(tree: Any, where: str, overrides: Sequence[str] = ()) -> Recipe:
    """Build a recipe from plain values."""
    if not isinstance(tree, dict):
        raise UserError(f"{where}: expected a recipe: a mapping with the keys 'name' and 'stages'")
    for text in overrides:
        _override(tree, text)
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        raise explain(error, where, Recipe) from None


def _override(tree: dict[str, Any], text: str) -> None:
    path, equals, value = text.partition("=")
    if not equals or not path:
        raise UserError(f"'{text}' is no override; expected key.path=value, for example finetune.learning_rate=3e-5")
    parts = path.split(".")
    stages = tree.get("stages") if isinstance(tree.get("stages"), dict) else {}
    if parts[0] not in Recipe.model_fields:
        if parts[0] not in (stages or {}):
            raise UserError(f"override '{text}': there is no key or stage '{parts[0]}'"
                            f"{nearest(parts[0], [*Recipe.model_fields, *(stages or {})])}")
        parts = ["stages", *parts]
    target: Any = tree
    for index, part in enumerate(parts[:-1]):
        if isinstance(target, list):
            if not part.isdigit() or int(part) >= len(target):
                raise UserError(f"override '{text}': '{part}' is no position in the list '{'.'.join(parts[:index])}' "
                                f"(0 to {len(target) - 1})")
            target = target[int(part)]
            continue
        if target.get(part) is None:
            target[part] = {}
        elif isinstance(target[part], str):
            target[part] = {"kind": target[part]}
        target = target[part]
        if not isinstance(target, (dict, list)):
            raise UserError(f"override '{text}': '{'.'.join(parts[:index + 1])}' holds a value, so nothing can be set inside it")
    parsed = parse_yaml(value, f"override '{text}'")
    if isinstance(target, list):
        if not parts[-1].isdigit() or int(parts[-1]) >= len(target):
            raise UserError(f"override '{text}': '{parts[-1]}' is no position in the list (0 to {len(target) - 1})")
        target[int(parts[-1])] = parsed
    else:
        target[parts[-1]] = parsed
