"""The candidates of a search under a budget: families of smaller networks, and the recipes that train them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bessemer.core import registry
from bessemer.core.artifact import digest
from bessemer.core.errors import UserError, nearest
from bessemer.core.schema import Role, Schema

Settings = Mapping[str, Any]
BERTS = ("bert", "slim_bert")
TRAINED = "trained"
CLASSICAL = "tfidf_linear"
"""The one family of text that is no network: it is fitted to the labels, and has nothing to choose from."""
RUNGS = 2
CUT_ROWS = 300
UNITS, PAIRS = ("slim", "text_rnn", "ngrams"), ("slim",)
"""Families of text that can answer each unit, as tags need it, and those that can read two texts at once."""
RANK, RANK_PART = "rank", 0.5
"""Setting of a network cut out of the trained one: the part of each layer's weights that its two factors have; None: not factorised."""
PASSES: Mapping[str, tuple[float, float]] = {
    "slim": (0.5, 3.0), "text_cnn": (2.0, 10.0), "text_rnn": (1.5, 6.0), "ngrams": (3.0, 15.0), "members": (3.0, 20.0), "mlp": (3.0, 20.0),
    "slim_table": (1.0, 8.0)}
"""Family -> how often each rung goes over as many rows as the training split has."""
LEARNING: Mapping[str, dict[str, Any]] = {
    "slim": {"learning_rate": 2e-4, "bf16": "auto"}, "text_cnn": {"learning_rate": 1e-3}, "text_rnn": {"learning_rate": 2e-3},
    "ngrams": {"learning_rate": 3e-3},
    **{name: {"learning_rate": 1.5e-3, "per_device_train_batch_size": 256, "weight_decay": 1e-3}
       for name in ("members", "mlp", "slim_table")}}


@dataclass(frozen=True)
class Origin:
    """The trained network that is to become smaller.

    Attributes:
        folder: where it lies, absolute.
        data: the prepared data's folder, absolute.
        table: whether it reads tables.
        config: content of its config.json.
        task: settings of the task that it was trained with; None where the data alone say it.
        inputs: how many columns it reads.
    """

    folder: Path
    data: Path
    table: bool
    config: Mapping[str, Any]
    task: Mapping[str, Any] | None = None
    inputs: int = 1

    @staticmethod
    def of(folder: Path, data: Path) -> Origin:
        """Read a trained network's folder."""
        from bessemer.nn.table import is_table_network
        from bessemer.stages._tasks import task_of

        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        columns = [column for column in Schema.load(data).by_role(Role.INPUT) if not column.of]
        return Origin(folder.resolve(), data.resolve(), is_table_network(folder), config, task_of(folder), len(columns))


def space_of(origin: Origin, students: Sequence[str] | None, low_rank: bool = True) -> dict[str, dict[str, list[Any]]]:
    """Return family -> parameter -> values, of the families that were asked for, or of all that the network can become.

    Args:
        origin: the trained network.
        students: families; None: all.
        low_rank: whether networks that are cut out of it may also have low-rank layers.
    """
    found = _tables(origin.config) if origin.table else _texts(origin.config, _tags(origin), origin.inputs > 1)
    if not low_rank and "slim" in found:
        found["slim"].pop(RANK, None)
    if students is None:
        return found
    known = (*found, *(() if origin.table else (CLASSICAL,)))
    for name in students:
        if name not in known:
            raise UserError(f"search.students: this network cannot become '{name}'{nearest(name, known)}")
    return {name: found[name] for name in students if name != CLASSICAL}


def _tags(origin: Origin) -> bool:
    """Return whether the trained network answers each unit of a text."""
    return any(str(name).endswith("ForTokenClassification") for name in origin.config.get("architectures") or ())


def _texts(config: Mapping[str, Any], tags: bool = False, pairs: bool = False) -> dict[str, dict[str, list[Any]]]:
    found: dict[str, dict[str, list[Any]]] = {}
    if config.get("model_type") in BERTS and "prune" in registry.plugins("stages"):
        heads, widths = (_each(config[name]) for name in ("num_attention_heads", "intermediate_size"))
        found["slim"] = {"layers": _parts(depth_of(config), (1, 1 / 2, 1 / 3, 2 / 3, 1 / 6)),
                         "heads": _parts(max(heads), (1, 1 / 2, 1 / 3)),
                         "intermediate_size": _parts(max(widths), (1, 1 / 2, 1 / 4)),
                         **_narrow(int(config["hidden_size"]), int(config.get("embedding_size") or config["hidden_size"])),
                         **({} if config.get("ranks") else {RANK: [None, RANK_PART]})}  # what is factorised already stays as it is
    # Word vectors start as the trained network's own, which are no wider than it, and of which `teach` keeps 256 numbers at most.
    widest = min(256, int(config.get("embedding_size") or config.get("hidden_size") or 256))
    vectors = [size for size in (128, 64, 256) if size <= widest] or [widest]
    found["text_cnn"] = {"embedding_size": vectors, "channels": [128, 64, 256], "min_count": [1, 2]}
    found["text_rnn"] = {"embedding_size": vectors[:2], "hidden_size": [128, 64, 192], "min_count": [1, 2]}
    found["ngrams"] = {"embedding_size": vectors, "buckets": [20_000, 5_000, 60_000], "min_count": [1, 2]}
    if tags:
        found["ngrams"] = {"embedding_size": [16, 8, 32], "buckets": [100_000, 20_000, 500_000], "min_count": [1, 2]}
    known = {"slim", *registry.plugins("models")}
    return {name: item for name, item in found.items() if name in known and (name in UNITS or not tags) and (name in PAIRS or not pairs)}


def depth_of(config: Mapping[str, Any]) -> int:
    """Return how many layers a BERT has; one whose layers differ lists the heads of each."""
    heads = config["num_attention_heads"]
    return len(heads) if isinstance(heads, (list, tuple)) else int(config["num_hidden_layers"])


def _narrow(hidden: int, embedding: int) -> dict[str, list[Any]]:
    """Return how narrow words and layers may become; None: as they are."""
    return {"embedding_size": [None, *(size for size in (128, 64) if 2 * size <= min(hidden, embedding))],
            "hidden_size": [None, *([hidden // 2] if hidden >= 128 else [])]}


def _tables(config: Mapping[str, Any]) -> dict[str, dict[str, list[Any]]]:
    widths, members = list(config["hidden_sizes"]), int(config.get("members", 1))
    scaled = [[max(8, round(width * part / 8) * 8) for width in widths] for part in (1, 1 / 2, 1 / 4)]
    fewer = [scaled[1][:1], scaled[0][:1]]
    shapes = [list(item) for item in dict.fromkeys(tuple(item) for item in [*scaled, *fewer] if item)]
    kinds = list(dict.fromkeys([str(config.get("number_embedding", "none")), "none"]))
    found: dict[str, dict[str, list[Any]]] = {"mlp": {"hidden_sizes": shapes, "number_embedding": kinds}}
    if "prune" in registry.plugins("stages"):
        narrow = [max(8, round(max(widths) * part / 8) * 8) for part in (1 / 2, 1 / 4)] if widths else []
        found["slim"] = {"members": [size for size in _parts(members, (1 / 4, 1 / 2, 1 / 8))], "hidden_size": [None, *narrow]}
    if members > 2:
        found = {"members": {"members": [size for size in _parts(members, (1 / 4, 1 / 2, 1 / 8)) if size > 1] or [2],
                             "hidden_sizes": shapes, "number_embedding": kinds}, **found}
    return found


def _each(value: Any) -> list[int]:
    return [int(item) for item in value] if isinstance(value, (list, tuple)) else [int(value)]


def _parts(whole: int, parts: Sequence[float]) -> list[int]:
    """Return parts of a count, each once and at least 1.

    >>> _parts(6, (1, 1 / 2, 1 / 3, 2 / 3)), _parts(1, (1, 1 / 2))
    ([6, 3, 2, 4], [1])
    """
    return list(dict.fromkeys(max(1, round(whole * part)) for part in parts))


def first_of(space: Mapping[str, Mapping[str, Sequence[Any]]]) -> list[dict[str, Any]]:
    """Return what is tried before anything is known: of each family one of middling strength, then its smallest."""
    middle = [{"family": family, **{name: values[min(1, len(values) - 1)] if family == "slim" and name == "layers" else values[0]
                                    for name, values in parameters.items()}} for family, parameters in space.items()]
    least = [{"family": family, **{name: values[0] if name == RANK else _least(values) for name, values in parameters.items() if values}}
             for family, parameters in space.items()]
    middle = [item for item in middle if not _whole(item)]
    return [*middle, *(item for item in least if item not in middle)]


def factorised(space: Mapping[str, Mapping[str, Sequence[Any]]]) -> list[dict[str, Any]]:
    """Return what shows early whether low-rank layers pay: the middling network that is cut out of the trained one, factorised.

    >>> factorised({"slim": {"layers": [6, 3], "rank": [None, 0.5]}}), factorised({"slim": {"layers": [6, 3]}})
    ([{'family': 'slim', 'layers': 3, 'rank': 0.5}], [])
    """
    return [{**first_of({family: parameters})[0], RANK: parameters[RANK][-1]} for family, parameters in space.items() if RANK in parameters]


def ladder(space: Mapping[str, Mapping[str, Sequence[Any]]]) -> list[dict[str, Any]]:
    """Return some networks of each family: its middling one, its smallest, and one with each setting one step less than the middling.

    >>> ladder({"ngrams": {"buckets": [200, 50, 600], "min_count": [1, 2]}})[1:]
    [{'family': 'ngrams', 'buckets': 50, 'min_count': 1}, {'family': 'ngrams', 'buckets': 50, 'min_count': 2}]
    """
    second = [{"family": family, **{name: values[0 if name == RANK else min(1, len(values) - 1)] for name, values in parameters.items()}}
              for family, parameters in space.items()]
    found = [*first_of(space), *second]
    order = list(space)
    return sorted((item for index, item in enumerate(found) if item not in found[:index]), key=lambda item: order.index(item["family"]))


def no_smaller(settings: Settings, other: Settings) -> bool:
    """Tell whether a network that is cut out of a trained one for texts is in nothing smaller than another such (None: as it is).

    >>> small = {"family": "slim", "layers": 2, "hidden_size": 192, "rank": None}
    >>> no_smaller({**small, "layers": 3}, small), no_smaller({**small, "hidden_size": None}, small)
    (True, True)
    >>> no_smaller(small, {**small, "layers": 3}), no_smaller({**small, "rank": 0.5}, small)
    (False, False)
    """
    if settings["family"] != "slim" or "layers" not in settings or set(settings) != set(other) or settings.get(RANK) != other.get(RANK):
        return False
    return all(settings[name] is None or (other[name] is not None and settings[name] >= other[name])
               for name in settings if name not in ("family", RANK))


def _whole(settings: Settings) -> bool:
    """Return whether settings would cut nothing."""
    return settings["family"] == "slim" and all(value is None for name, value in settings.items() if name != "family")


def _least(values: Sequence[Any]) -> Any:
    if isinstance(values[0], list):
        return min(values, key=sum)
    numbers = [value for value in values if isinstance(value, (int, float))]
    return min(numbers) if numbers else values[-1]


def label(settings: Settings) -> str:
    """Return what a candidate is, shown to people.

    >>> label({"family": "slim", "layers": 3, "heads": 6, "intermediate_size": 768})
    'slim: 3 layers, 6 heads, feed-forward 768'
    >>> label({"family": "text_cnn", "embedding_size": 64, "channels": 128, "min_count": 1})
    'text_cnn: vectors of 64, 128 channels'
    >>> label({"family": "slim", "layers": 3, "rank": 0.5})
    'slim: 3 layers, low rank 0.5'
    """
    words = {"layers": "{} layers", "heads": "{} heads", "intermediate_size": "feed-forward {}", "embedding_size": "vectors of {}",
             "channels": "{} channels", "hidden_size": "{} units", "buckets": "{} buckets", "members": "{} members",
             "hidden_sizes": "widths {}", "number_embedding": "numbers {}", "min_count": "words seen {} times or more",
             RANK: "low rank {}"}
    parts = [words.get(name, name + " {}").format(" x ".join(map(str, value)) if isinstance(value, list) else value)
             for name, value in settings.items() if name != "family" and value is not None and (name, value) != ("min_count", 1)]
    return f"{settings['family']}: {', '.join(parts)}" if parts else str(settings["family"])


def with_way(label: str, way: str) -> str:
    """Return what a candidate is when something more was done to it.

    >>> with_way("slim: 3 layers", "trained for int8"), with_way("trained network", "early exits")
    ('slim: 3 layers, trained for int8', 'trained network: early exits')
    """
    return f"{label}{', ' if ':' in label else ': '}{way}"


def short(settings: Settings) -> str:
    """Return a name for files: the family and what the settings are, in ten digits."""
    return f"{settings['family']}-{digest(named(settings))[:10]}"


def named(settings: Settings) -> dict[str, Any]:
    """Return what names a network: a search with low rank finds those trained that one without it has trained."""
    return {name: value for name, value in settings.items() if (name, value) != (RANK, None)}


def model_of(settings: Settings, origin: Origin) -> dict[str, Any]:
    """Return the `model` of a finetune stage for a family that is not cut out of the trained network."""
    found = {name: value for name, value in settings.items() if name != "family"}
    kind = settings["family"]
    if origin.table:
        kept = {name: origin.config[name] for name in ("activation", "residual", "linear_skip", "category_embedding_size", "dropout")
                if name in origin.config}
        if found.get("number_embedding") != "none" and origin.config.get("number_embedding_size"):
            kept["number_embedding_size"] = origin.config["number_embedding_size"]
        return {"kind": kind, **kept, **found}
    if kind == "ngrams" and _tags(origin):
        found |= {"sizes": [1, 2, 3], "hidden_size": 0}
    return {"kind": kind, **found}


@dataclass(frozen=True)
class Training:
    """What the recipes of all candidates share.

    Attributes:
        name: of the trained network: with it begin the names of all trials.
        seed: of the run.
        threads: of the run.
        data: the folder to learn from: prepared, or with teachers' answers.
        passes: passes over `data` that equal one over the training rows.
        effort: factor of all passes.
        steps: at most, where the run is a rehearsal.
        key: of `data`, the artifact.
        task: what is learned from `data`: what the trained network learnt; None: by default of the data.
        length: the most tokens that are learnt from, where fewer than the data's own were found to be enough.
    """

    name: str
    seed: int
    threads: int | None
    data: Path
    passes: float = 1.0
    effort: float = 1.0
    steps: int | None = None
    key: str = ""
    task: Mapping[str, Any] | None = None
    length: int | None = None


def learnt_as(family: str, origin: Origin) -> str:
    """Return by which passes and rates a family is trained."""
    return "slim_table" if family == "slim" and origin.table else family


def recipe_of(settings: Settings, rung: int, origin: Origin, training: Training) -> dict[str, Any]:
    """Return the recipe of a candidate up to a rung (1 to RUNGS): what is cut, then trained, each rung going on from the one before."""
    family = str(settings["family"])
    kind = learnt_as(family, origin)
    task = {} if training.task is None else {"task": dict(training.task)}
    stages: dict[str, Any] = {}
    start: dict[str, Any] = {"init": "cut"}
    if family == "slim":
        cuts = {name: value for name, value in settings.items() if name != "family" and value is not None}
        if not origin.table:
            fewer = int(cuts["layers"]) < depth_of(origin.config)
            cuts = {**cuts, "vocabulary": "used", **({"layer_choice": "spaced"} if fewer else {})}
        stages["cut"] = {"kind": "prune", "data": str(origin.data), "model": str(origin.folder), "rows": CUT_ROWS, **cuts}
    else:
        start = {"model": model_of(settings, origin)}
    for number in range(1, rung + 1):
        passes = PASSES[kind][number - 1] * training.passes * training.effort
        stages[f"rung-{number}"] = {
            "kind": "finetune", "data": str(training.data), **start, **task, **LEARNING[kind],
            "num_train_epochs": round(passes, 4), "replay_rows": 0, **({"max_length": training.length} if training.length else {}),
            **({"max_steps": training.steps} if training.steps else {})}
        start = {"init": f"rung-{number}"}
    # Whatever differs in training is part of the name: two stages with the same trials share them, and none is ever replaced.
    mark = digest([named(settings), training.seed, training.threads, training.key, training.passes, training.effort, training.steps,
                   *([] if training.task is None else [dict(training.task)]), *([training.length] if training.length else [])])
    return {"name": f"{training.name}-{family}-{mark[:10]}", "seed": training.seed, "threads": training.threads, "stages": stages}


def recipe_after(model: Path, training: Training, stage: Mapping[str, Any], name: str, kind: str) -> dict[str, Any]:
    """Return the recipe of one stage that goes on from a trained candidate's folder.

    A trial's name says all that differs, so that none is ever replaced; the candidate's folder is named by what it was trained with.

    Args:
        model: the candidate's folder.
        training: what all candidates share.
        stage: its settings; `data`, and `init` or `model`, are folders, which the mark has otherwise.
        name: of the stage.
        kind: of trial, part of its name.
    """
    own = {key: "" if key in ("data", "init", "model") else value for key, value in stage.items()}
    mark = digest([model.parent.name, model.name, training.seed, training.threads, training.key, own])
    return {"name": f"{training.name}-{kind}-{mark[:10]}", "seed": training.seed, "threads": training.threads,
            "stages": {name: dict(stage)}}


def forms_recipe(name: str, model: Path, chains: Sequence[Any], origin: Origin, training: Training) -> dict[str, Any]:
    """Return the recipe that makes the forms of a trained network; how far they may be from it is the search's matter."""
    stage = {"kind": "compress", "data": str(origin.data), "model": str(model), "methods": list(chains), "max_accuracy_drop": 1.0,
             "min_agreement": 0.0, "rows": 64}
    return {"name": name, "seed": training.seed, "threads": training.threads, "stages": {f"forms-{digest(list(chains))[:10]}": stage}}
