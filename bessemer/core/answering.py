"""Answering: which finished stage of a run's folder answers where no stage is named; one rule for every command.

A promoted update, or what was exported or compressed from it; else `export`, else `blend`, else `compress`, else a trained model. What was
made from an update that is not promoted (its promotion was undone, or it never was) answers only where it is named. Among
several of one kind: the first that the recipe's evaluate stage lists, else the last in the recipe's order from which no other of them was
made. Where the recipe has an export for ONNX Runtime, one for another runtime answers only where it is named: it may hold another model
than compress chose. Stages that the run's recipe.yaml does not name are ignored.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from bessemer.core import artifact
from bessemer.core.artifact import Manifest
from bessemer.core.config import read_yaml
from bessemer.core.errors import UserError
from bessemer.core.forms import FILE
from bessemer.core.recipe import load_recipe

PROMOTED = "promoted.json"
PREFERRED = ("export", "blend", "compress")
TRAINED = ("finetune", "stream")
AGAINST = "against"
"""Slot of a stage that names what it was only held against, and not made from."""
SCORING = "evaluate"
"""Kind of stage whose numbers go along with a model; the models that it scored made nothing of that."""


class Choice(NamedTuple):
    """Which stage answers, and which it was chosen from.

    Attributes:
        folder: of the stage.
        why: in words.
        others: names of the run's other stages that could answer.
        strangers: names of finished stages with a model that the run's recipe.yaml does not name.
        finished: the run's finished stages, as they were read to choose; None where the folder was named itself.
        unasked: stages that could answer but were made from an update that is not promoted -> that update.
    """

    folder: Path
    why: str = ""
    others: tuple[str, ...] = ()
    strangers: tuple[str, ...] = ()
    finished: Finished | None = None
    unasked: Mapping[str, str] = MappingProxyType({})

    def said(self, does: str = "answers", another: str = "") -> list[str]:
        """Return a line for each thing that a person should know of the choice; none where there was none.

        Args:
            does: what the stage does, where it is not asked to answer.
            another: how another is named, in words; by its folder where nothing is said.
        """
        root, lines = self.folder.parent, []
        if self.others:
            how = another or f"to ask another, name its folder, such as {root / self.others[0]}"
            lines.append(f"{self.folder.name} of {root} {does} ({self.why}); it also holds {', '.join(self.others)}: {how}")
        for update in dict.fromkeys(self.unasked.values()):
            names = [name for name, item in self.unasked.items() if item == update]
            were, they = ("was", "it does") if len(names) == 1 else ("were", "they do")
            lines.append(f"{', '.join(names)} of {root} {were} made from {update}, which is not promoted, so {they} not answer"
                         f"{self._anew(names)}")
        if self.strangers:
            lines.append(f"{root} holds {', '.join(self.strangers)} of an earlier recipe, which recipe.yaml no longer names: ignored, and "
                         "may be deleted")
        return lines

    def _anew(self, names: Sequence[str]) -> str:
        """Return how stages are made from the trained model that answers in their place, in words; empty where that cannot be said."""
        mine = None if self.finished is None else self.finished.kept.get(self.folder.name)
        if self.finished is None or mine is None or mine.kind != "finetune":
            return ""
        moved = [f"{name}.model={self.folder.name}" for name in names if self.finished.kept[name].kind in ("compress", "export")]
        how = shlex.join(["bessemer", "run", str(self.folder.parent / "recipe.yaml"), *moved])
        return f"; to make {'it' if len(names) == 1 else 'them'} from {self.folder.name} again: {how}" if moved else ""


class Finished:
    """The finished stages of a run's folder that its recipe.yaml names, in its order; all of them where there is no recipe.yaml.

    Attributes:
        kept: stage name -> manifest.
        strangers: finished stages that the recipe does not name: name -> manifest.
        evaluated: stages that the recipe's first evaluate stage lists.
        abroad: exports for another runtime than ONNX Runtime, where the recipe has one for that too.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        found = {file.parent.name: artifact.load_manifest(file.parent) for file in sorted(root.glob(f"*/{artifact.MANIFEST}"))}
        every = {name: manifest for name, manifest in found.items() if manifest is not None}
        stages = _stages(root)
        names = list(every) if stages is None else [name for name in stages if name in every]
        self.kept: dict[str, Manifest] = {name: every[name] for name in names}
        self.strangers = {name: manifest for name, manifest in every.items() if name not in self.kept}
        scored = [item.get("models", ["finetune"]) for name, item in (stages or {}).items() if item.get("kind", name) == "evaluate"]
        self.evaluated: tuple[str, ...] = tuple(str(item) for item in scored[0]) if scored else ()
        ships = {name: item.get("to", "onnx") for name, item in (stages or {}).items() if item.get("kind", name) == "export"}
        self.abroad = {name for name, to in ships.items() if to != "onnx" and "onnx" in ships.values()}

    def ordered(self, fits: Callable[[str, Manifest], bool]) -> list[tuple[str, str]]:
        """Return the stages that fit, the one to take first, each with why it stands there."""
        names = [name for name, manifest in self.kept.items() if fits(name, manifest)]
        sources = {name: self.sources(name) for name in names}
        leaves = [name for name in names if not any(name in sources[other] for other in names)]
        found = {name: "the first of its kind that the recipe's evaluate stage lists" for name in self.evaluated if name in names}
        for name in (*reversed(leaves), *reversed(names)):
            found.setdefault(name, "the last in the recipe from which no other was made" if name in leaves else "the last in the recipe")
        return list(found.items())

    def sources(self, name: str) -> set[str]:
        """Return the stages that a stage was made from, near and far."""
        by_key = {manifest.key: stage for stage, manifest in self.kept.items()}
        found: set[str] = set()
        queue = [name]
        while queue:
            inputs = self.kept[queue.pop()].inputs.items()
            near = {by_key[key] for slot, key in inputs if slot != AGAINST and key in by_key} - found - {name}
            near -= {item for item in near if self.kept[item].kind == SCORING}
            found |= near
            queue += near
        return found

    def unpromoted(self, name: str, update: str | None) -> str | None:
        """Return the last update that a stage was made from where that is not `update`, the promoted one; None where it is, or none is."""
        found = [item for item in self.sources(name) if self.kept[item].kind == "update"]
        last = [item for item in found if not any(item in self.sources(other) for other in found)]
        return next((item for item in last if item != update), None)


def _stages(root: Path) -> dict[str, dict[str, Any]] | None:
    """Return the stages of a run's recipe.yaml as plain values: a model answers though this version knows a key of it no longer."""
    file = root / "recipe.yaml"
    if not file.is_file():
        return None
    plain = read_yaml(file)
    stages = plain.get("stages") if isinstance(plain, dict) else None
    if not isinstance(stages, dict):
        raise UserError(f"'{file}' is no recipe (it has no 'stages'); run the recipe again to write it anew")
    return {str(name): item if isinstance(item, dict) else {} for name, item in stages.items()}


def choose(path: str | Path) -> Choice:
    """Choose the folder that answers for a RUN argument: itself, or a stage of a run's folder; none is a UserError.

    One that was made from a stage that has since been run again is a UserError too.
    """
    root = Path(path)
    if not root.is_dir():
        raise UserError(f"there is no folder '{path}'; give a run's folder, such as runs/NAME (bessemer run makes it)")
    if (root / FILE).is_file():
        return Choice(root)
    found = preferred(Finished(root))
    name = found.folder.name
    if found.finished is not None and (name == promoted(root) or found.finished.kept[name].kind in PREFERRED):
        _check(root, name, found.finished, name == promoted(root))
    return found


def preferred(finished: Finished) -> Choice:
    """Choose the stage that answers among a run's finished ones, be it up to date or not; none is a UserError."""
    root = finished.root
    update = promoted(root)

    def of(kinds: Sequence[str]) -> list[tuple[str, str]]:
        return finished.ordered(lambda name, item: item.kind in kinds and (root / name / FILE).is_file())

    trained, every = of(TRAINED), [(name, why, kind) for kind in PREFERRED for name, why in of((kind,))]
    every.sort(key=lambda item: item[0] in finished.abroad)
    made = [name for name, _, _ in every] + [name for name, _ in trained]
    unasked = {name: other for name, _, _ in every if (other := finished.unpromoted(name, update)) is not None}
    made_of = [item for item in every if item[0] not in unasked]
    smaller = [name for name, _, _ in made_of if update in finished.sources(name)] if update in finished.kept else []
    strangers = tuple(name for name in finished.strangers if name != update and (root / name / FILE).is_file())
    if smaller:
        chosen, why = smaller[0], f"made from {update}, a promoted update"
    elif update:
        chosen, why = update, "a promoted update"
    elif made_of:
        chosen, why, kind = made_of[0]
        alike = [name for name, _, item in made_of if item == kind]
        if len(alike) == 1:
            why = f"of {', '.join(PREFERRED)} and the trained models the first that is there"
        elif chosen not in finished.abroad and finished.abroad.issuperset(alike[1:]):
            why = "of several exports that to onnx, which holds what was compressed"
    elif trained:
        chosen, why = trained[0]
    elif every:
        chosen = every[0][0]
        why = f"made from {unasked.pop(chosen)}, which is not promoted; no other model is there"
    else:
        raise UserError(_nothing(root))
    others = tuple(name for name in made if name != chosen)
    return Choice(root / chosen, why, others, strangers, finished, {} if update else unasked)


def _nothing(root: Path) -> str:
    """Return why a run's folder holds no model, and what to do, a sentence."""
    manifest = artifact.load_manifest(root)
    if manifest is not None:
        return (f"'{root}' is a finished {manifest.kind} stage, which holds no model; give the run's folder, {root.parent}, or "
                "a stage of it that holds one")
    if not (root / "recipe.yaml").is_file():
        return (f"'{root}' holds no finished model yet, and no recipe.yaml of a run; give a run's folder, such as runs/NAME "
                "(bessemer run makes it)")
    return f"'{root}' holds no finished model yet; run the recipe first: bessemer run {root / 'recipe.yaml'}"


def _check(root: Path, name: str, finished: Finished, update: bool) -> None:
    """Raise UserError where a stage was made from others than those that are there."""
    every = {**finished.strangers, **finished.kept}
    made_of = {key for slot, key in every[name].inputs.items() if slot != AGAINST}
    unknown = made_of - {manifest.key for manifest in every.values()}
    if not unknown or unknown <= _outside(root, name):
        return
    run_again = f"bring it up to date with bessemer run {root / 'recipe.yaml'}"
    again = f"update again, or delete {root / PROMOTED}" if update else run_again
    raise UserError(f"'{root / name}' was made from an earlier stage that has since been run again; {again}, or name the folder of the "
                    f"stage that should answer, such as {root / 'finetune'}")


def promoted(root: Path) -> str | None:
    """Return the name of the update that answers for a run, or None."""
    file = root / PROMOTED
    if not file.is_file():
        return None
    plain: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
    manifest = artifact.load_manifest(root / plain["stage"])
    return plain["stage"] if manifest is not None and manifest.key == plain["key"] else None


def _outside(root: Path, name: str) -> set[str]:
    """Return the keys of artifacts outside the run that the run's recipe gives to a stage."""
    recipe = load_recipe(root / "recipe.yaml")
    if name not in recipe.stages:
        return set()
    references = [item for item in recipe.references(name).values() if item not in recipe.stages]
    found = [artifact.load_manifest(Path(item)) for item in references]
    return {manifest.key for manifest in found if manifest is not None}
