"""Which trained network of a run `compress`, `update` and `export` take: that of the stage that answers, or one that is named."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from bessemer.core.answering import PROMOTED, Finished, preferred
from bessemer.core.artifact import MANIFEST
from bessemer.core.errors import UserError, nearest
from bessemer.core.forms import FILE
from bessemer.core.recipe import Recipe

WORDS = {"compress": "compressed", "update": "updated", "export": "exported"}
"""Command -> what becomes of the network."""
LEARNT = {"compress": ("finetune", "update", "prune"), "update": ("finetune", "update"), "export": ("finetune", "update", "prune")}
"""Command -> kinds of stages whose networks it takes."""
MADE = {"export": "compressed", "compress": "model", "early_exit": "model"}
"""Kind of a stage that only gives a network another form -> the slot that names what it was made from."""


class Taken(NamedTuple):
    """The network that a command takes.

    Attributes:
        name: its stage.
        chain: stages from the one that answers, or that was named, to the network's.
        said: which it is and why, a sentence.
        rival: what stands behind the stage that answers, where that is another than `name`: a stage, or a folder outside the run.
    """

    name: str
    chain: tuple[str, ...]
    said: str
    rival: str | None = None


def recipe_file(root: Path) -> Path:
    """Return the recipe of a run's folder; another folder is a UserError."""
    file = root / "recipe.yaml"
    if file.is_file():
        return file
    if (root.parent / "recipe.yaml").is_file() and root.is_dir():
        raise UserError(f"'{root}' is a stage's folder; give the run's, and the stage beside it: {root.parent} --stage {root.name}")
    raise UserError(f"'{root}' has no recipe.yaml, so it is no run's folder; give one such as runs/NAME")


def take(root: Path, recipe: Recipe, kinds: Mapping[str, str], stage: str | None, command: str) -> Taken:
    """Choose the network of a run; one that cannot be taken is a UserError.

    Args:
        root: the run's folder.
        recipe: of the run.
        kinds: stage -> its kind.
        stage: named by the user, or None.
        command: `compress`, `update` or `export`.
    """
    networks = [name for name, kind in kinds.items() if kind in LEARNT[command] and _holds(root / name)]
    if not networks:
        raise UserError(_none(root, kinds, command))
    if stage is not None and stage not in kinds:
        raise UserError(f"--stage: the recipe of '{root}' has no stage '{stage}'{nearest(stage, networks)}")
    answers = preferred(Finished(root))
    choice = None if stage is not None else answers
    chain = behind(recipe, kinds, str(stage if choice is None else choice.folder.name))
    if chain[0] not in kinds:
        raise UserError(f"{chain[0]} of {root} answers, and recipe.yaml no longer names it; name another network with --stage "
                        f"{networks[0]}, or delete {root / PROMOTED}")
    if chain[-1] not in kinds:
        raise UserError(f"{chain[-2]} of {root} was made from '{chain[-1]}', which is no stage of this run; name a network of it with "
                        f"--stage {networks[0]}")
    name = chain[-1]
    if name not in networks:
        raise UserError(_refused(name, recipe, kinds, networks, (root, command, stage is None)))
    why = "--stage" if choice is None else choice.why
    if len(chain) > 1:
        why = f"{chain[0]} {'answers and was made' if choice is not None else f'is a stage of kind {kinds[chain[0]]}, made'} from it"
    others = [item for item in networks if item != name]
    more = f"; it also holds {', '.join(others)}: to take another, give --stage {others[0]}" if others and stage is None else ""
    rival = behind(recipe, kinds, answers.folder.name)[-1]
    rival = str(root / rival) if rival == answers.folder.name and rival not in kinds else rival  # promoted, of an earlier recipe
    return Taken(name, tuple(chain), f"{name} of {root} is {WORDS[command]} ({why}){more}", None if rival == name else rival)


def _none(root: Path, kinds: Mapping[str, str], command: str) -> str:
    """Return why a run has no network to take, and what to do, a sentence."""
    others = [name for name, kind in kinds.items() if kind in LEARNT[command] and (root / name / MANIFEST).is_file()]
    unrun = [name for name, kind in kinds.items() if kind in LEARNT[command] and name not in others]
    if unrun or not others:
        return f"'{root}' holds no trained network to {command}; run its recipe first: bessemer run {root / 'recipe.yaml'}"
    one = len(others) == 1
    what = f"the model of {', '.join(others)} is" if one else f"the models of {', '.join(others)} are"
    also = {"update": ", or run the recipe anew with the new rows as a further source: that trains the model on all of them",
            "export": f", or copy {root / others[0]}, which answers as it is", "compress": ""}[command]
    return (f"'{root}' holds no network, which alone can be {WORDS[command]}: {what} none; add a finetune stage of a network to "
            f"{root / 'recipe.yaml'}{also}")


def behind(recipe: Recipe, kinds: Mapping[str, str], name: str) -> list[str]:
    """Return the stages from one to the network that its forms were made from; the last may be a folder outside the run."""
    chain = [name]
    while kinds.get(chain[-1]) in MADE:
        chain.append(recipe.references(chain[-1])[MADE[kinds[chain[-1]]]])
    return chain


def compress_stage(recipe: Recipe, taken: Taken, kinds: Mapping[str, str], stages: dict[str, Any],
                   of: tuple[str, ...] = ("compress",)) -> tuple[str, list[str]]:
    """Return the stage that makes the forms of a network, and what a person should know; `stages`, of a plain recipe, then has it.

    It is the one that answers or that what answers was made from; else the last of that network; else the only compress stage, which then
    takes that network (of several each has its own); else one that is added. One that is added is also scored: by the evaluate stage,
    where there is one, whose scores the report then shows.

    Args:
        of: kinds of stages that make forms.
    """
    behind = [name for name in taken.chain if kinds[name] in of]
    own = [name for name, kind in kinds.items() if kind in of and stages[name]["model"] == taken.name]
    names = [name for name, kind in kinds.items() if kind == "compress"]
    name = (*behind, *own[-1:], *(names if len(names) == 1 else ()), "")[0]
    if not name:
        return _added(recipe, taken, kinds, stages), []
    if stages[name]["model"] == taken.name:
        return name, []
    told = f"the stage {name} takes it in place of {stages[name]['model']}, and what follows is made anew from it"
    _moved(stages, name, kinds, taken, recipe.stages[taken.name].data)
    return name, [told]


def _moved(stages: dict[str, Any], name: str, kinds: Mapping[str, str], taken: Taken, data: str) -> None:
    """Give a stage that makes forms another network, and the exports of its forms too."""
    for other, kind in kinds.items():
        if kind == "export" and stages[other]["compressed"] == name:
            stages[other].update(model=taken.name, data=data)
    stages[name].update(model=taken.name, data=data)


def _added(recipe: Recipe, taken: Taken, kinds: Mapping[str, str], stages: dict[str, Any]) -> str:
    name = "compress" if "compress" not in stages else f"compress-{taken.name}"
    while name in stages:
        name += "-2"
    last = {kind: item for kind, item in ((kinds[item], item) for item in stages)}
    later = {item: stages.pop(item) for item in list(stages) if kinds[item] in ("evaluate", "export", "report")}
    stages[name] = {"kind": "compress", "data": recipe.stages[taken.name].data, "model": taken.name}
    stages.update(later)
    if "evaluate" in last:
        stages[last["evaluate"]]["models"] = [*stages[last["evaluate"]]["models"], name]
    if "report" in last:
        stages[last["report"]]["stages"] = [*stages[last["report"]]["stages"], name]
    return name


def _holds(folder: Path) -> bool:
    return (folder / "model.safetensors").is_file() and (folder / FILE).is_file()


def _refused(name: str, recipe: Recipe, kinds: Mapping[str, str], networks: list[str], asked: tuple[Path, str, bool]) -> str:
    """Return why a stage's model cannot be taken, and what to do, a sentence."""
    root, command, by_rule = asked
    if kinds[name] in LEARNT[command] and not (root / name / MANIFEST).is_file():
        return f"the folder of {name} in {root} is missing or unfinished; run the recipe: bessemer run {root / 'recipe.yaml'}"
    members = [item for item in recipe.references(name).values() if item in networks]
    kind = kinds[name]
    what = "is a blend of models" if kind == "blend" else "holds no network" if kind in LEARNT[command] else f"is a stage of kind {kind}"
    *first, last = LEARNT[command]
    return (f"{name} of {root} {'answers, but ' if by_rule else ''}{what}, and only the network of a stage of kind "
            f"{', '.join(first)} or {last} can be {WORDS[command]}; name one with --stage {(*members, *networks)[0]}")
