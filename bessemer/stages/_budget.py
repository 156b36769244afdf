"""The search for a form that meets a budget: what methods do to the trained network, then smaller networks, some of them low-rank,
some trained for int8 or for longer, some with early exits, then pairs of forms.

Everything that is measured goes to a journal in `trials/`, named by the stage's key. A killed search goes on from it: finished trainings
are artifacts and are found again, measurements are read again, and the proposer, seeded and told the same, asks the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bessemer.core import registry
from bessemer.core.artifact import digest, load_manifest
from bessemer.core.config import Config
from bessemer.core.run import Cost, RunContext
from bessemer.search.front import Limits, choose, pareto
from bessemer.search.journal import Journal
from bessemer.search.study import Proposer
from bessemer.stages._budget_config import Search
from bessemer.stages._budget_measure import Place, Yard, settle
from bessemer.stages._budget_space import TRAINED, Origin, Training, factorised, first_of, space_of
from bessemer.stages._budget_try import ENDED, Hunt, attempt, examine, forecast, forms_of, measured, point_of
from bessemer.stages._update_kept import HELD_OUT, NEW_ROWS

if TYPE_CHECKING:
    from bessemer.stages.compress import Compress

METHODS: Mapping[bool, tuple[tuple[dict[str, Any], ...], ...]] = {
    False: (({"kind": "dynamic_int8"},), ({"kind": "static_int8"},), ({"kind": "weight_only"},), ({"kind": "weight_only", "bits": 4},)),
    True: (({"kind": "static_int8"},), ({"kind": "weight_only"},), ({"kind": "float16"},))}
"""Whether it is a table -> the chains of methods that are tried where the recipe names none."""
DEAR = ({"kind": "mixed_int8"},)
DEAR_ROWS, DEAR_PART = 3_500, 0.1
"""Tried where static_int8 loses half of what is allowed or more and half of the time is left: it measures each product alone. That is about
so many rows answered by a network of some thirty products; where they would take more than this part of the time, it is left out."""
KEPT_METHODS = 3
TEACHING = 0.4
REPEATS = 6


def search(config: Compress, inputs: Mapping[str, Path], out: Path, run: RunContext) -> dict[str, Any]:
    """Look for the form that the budget chooses and write its folder, `front.json` and `checks.json`; return facts."""
    from bessemer.stages._budget_classical import try_classical
    from bessemer.stages._budget_deliver import deliver
    from bessemer.stages._budget_pairs import pair_up

    hunt = start(replace_search(config), inputs, run)
    of_trained(hunt)
    hunt.training = replace(taught(hunt, try_classical(hunt)), length=hunt.length)
    assert hunt.config.search is not None
    explore(hunt, space_of(hunt.origin, hunt.config.search.students, hunt.config.search.low_rank))
    if not hunt.rehearsal:
        pair_up(hunt)
    facts = deliver(hunt, inputs["model"], out)
    if hunt.rehearsal and hunt.config.search is not None:
        run.cost(Cost("search", hunt.journal.seconds, hunt.journal.seconds, 60 * hunt.config.search.minutes))
    return facts


def replace_search(config: Compress) -> Compress:
    """Return the settings with those of the search written out."""
    return config if config.search is not None else config.model_copy(update={"search": Search()})


def start(config: Compress, inputs: Mapping[str, Path], run: RunContext) -> Hunt:
    """Open the trained network, the validation rows and the journal."""
    from bessemer.core.forms import open_form
    from bessemer.stages._learning import use_threads
    from bessemer.stages._update_kept import with_held_out
    from bessemer.stages.compress import REHEARSED_ROWS, validation_rows

    assert config.budget is not None and config.search is not None
    use_threads(run)
    budget, wanted = config.budget.model_dump(), config.search.model_dump()
    rows, truths = validation_rows(inputs["data"], min(REHEARSED_ROWS, config.rows) if run.rehearsal else config.rows)
    count = rows.num_rows
    rows, truths = with_held_out(inputs["model"], rows, truths)
    if rows.num_rows > count:
        run.note(f"the network is an update: {rows.num_rows - count:,} of its new rows that it did not learn from count with the "
                 f"{count:,} validation rows")
    yard = Yard(run, rows, truths, open_form(inputs["model"]))
    origin = Origin.of(inputs["model"], inputs["data"])
    journal = Journal(run.root / "trials" / f"{run.name}-{run.key[:12]}.jsonl")
    keys = {name: run.input_manifests[name].key for name in ("data", "model")}
    training = Training(f"of-{keys['model'][:8]}", run.seed, run.threads, origin.data, effort=wanted["effort"],
                        steps=2 if run.rehearsal else None, key=keys["data"], task=lesson(origin, origin.data, run.seed))
    yard.reference = yard.answers(Place(inputs["model"]))
    found = journal["reference"] if "reference" in journal else journal.add("reference", settle(yard))
    yard.trained_ms = found["latency_ms"]
    return Hunt(config, run, origin, training, yard, journal, Limits(**budget))


def lesson(origin: Origin, data: Path, seed: int) -> dict[str, Any] | None:
    """Return the task by which candidates learn from a folder to say what the trained network says."""
    from bessemer.stages._learning import open_split
    from bessemer.stages._tasks import continued

    return None if origin.task is None else continued(dict(origin.task), open_split(data, "train", seed))


def chains_of(hunt: Hunt) -> list[list[Any]]:
    """Return the chains of methods to try: the recipe's, or all that suit and are there."""
    if hunt.config.methods is not None:
        return [[_plain(method) for method in chain] for chain in hunt.config.methods]
    known = registry.plugins("compress")
    found = [list(chain) for chain in METHODS[hunt.origin.table] if all(method["kind"] in known for method in chain)]
    return found[:1] if hunt.rehearsal else found


def _plain(method: Config) -> dict[str, Any]:
    """Return a method as a recipe writes it, without what it has by default."""
    return {"kind": registry.plugin_of("compress", method).name, **method.model_dump(mode="json", exclude_defaults=True)}


def of_trained(hunt: Hunt) -> None:
    """Measure the trained network's own forms, which shows what each method alone does; keep the methods that pay.

    A method pays where no other is better in drop, size and latency together: at most three are kept, the fastest first. Of a text, the
    length that its rows need is learnt too, on the float graph.
    """
    chains = chains_of(hunt)
    name = f"{hunt.training.name}-{TRAINED}"
    about = {"label": "trained network", "settings": {"family": TRAINED}}

    def work() -> dict[str, Any]:
        found = forms_of(hunt, name, hunt.origin.folder, chains)
        lost = [item["drop"]["value"] for item in found if [method["kind"] for method in item["methods"]] == ["static_int8"]]
        minutes = hunt.config.search.minutes if hunt.config.search is not None else 0.0
        time_left = hunt.left > 30 * minutes and DEAR_ROWS * hunt.yard.trained_ms / 1000 < DEAR_PART * 60 * minutes
        if hunt.config.methods is None and time_left and not hunt.rehearsal and any(drop > hunt.limits.accuracy_drop / 2 for drop in lost):
            found += [item for item in forms_of(hunt, name, hunt.origin.folder, [list(DEAR)]) if item["methods"]]
        return {"status": "finished", "reason": "", "model": str(hunt.origin.folder), "forms": found}

    record = attempt(hunt, TRAINED, about, work)
    known = [item for item in record["forms"] if item["methods"]]
    good = [item for item, kept in zip(known, pareto([point_of(item).costs for item in known]), strict=True) if kept]
    worth = [item for item in good if not (item["drop"]["low"] or 0.0) > 4 * hunt.limits.accuracy_drop] or good[:1]
    hunt.chains = [item["methods"] for item in sorted(worth, key=lambda item: item["latency_ms"])[:KEPT_METHODS]]
    learn_length(hunt, record)


def learn_length(hunt: Hunt, trained: Mapping[str, Any]) -> None:
    """Learn how many tokens are enough; where fewer than the data's own are, measure the trained network's kept forms at them."""
    plain = next((item for item in trained["forms"] if not item["methods"]), None)
    kinds = [answer.kind for answer in hunt.yard.reference.values()]
    updated = (hunt.origin.folder / HELD_OUT).is_dir()  # its rows are of two data sets, and the lengths of the first alone are known
    if hunt.origin.table or hunt.rehearsal or plain is None or kinds != ["label"] or updated:
        return
    about = {"label": "length", "settings": None}
    record = attempt(hunt, "length", about, lambda: {"status": "finished", "reason": "", "length": enough(hunt, Path(plain["folder"]))})
    hunt.length = record.get("length")
    if hunt.length is None:
        return
    hunt.run.note(f"{hunt.length} tokens are enough: more change next to nothing on the validation rows")
    kept = [item for item in trained["forms"] if item["methods"] in hunt.chains]

    def work() -> dict[str, Any]:
        from bessemer.core.forms import read_forms

        found = []
        for item in kept:
            folder = Path(item["folder"])
            form = next(one for one in read_forms(folder) if one.name == item["form"])
            found.append(measured(hunt, folder, form, item["methods"], hunt.length))
        return {"status": "finished", "reason": "", "model": str(hunt.origin.folder), "forms": found}

    attempt(hunt, f"{TRAINED}-short", {"label": "trained network", "settings": {"family": TRAINED, "length": hunt.length}}, work)


def enough(hunt: Hunt, folder: Path) -> int | None:
    """Return the fewest tokens at which the float graph loses no more than a quarter of what the budget allows; None: all."""
    import numpy as np

    from bessemer.compress.lengths import candidate_lengths, shortest_length
    from bessemer.stages._learning import open_split
    from bessemer.stages.compress import FLOAT

    spec: Any = open_split(hunt.origin.data, "validation", hunt.run.seed)
    positions = np.unique(np.linspace(0, spec.count - 1, hunt.yard.rows.num_rows).astype(np.int64))
    lengths_N = spec.lengths[positions] + 2
    target = next(iter(hunt.yard.truths))
    longest = int(spec.max_length)
    whole = hunt.yard.answers(Place(folder, FLOAT))[target]
    answers = {longest: whole.values}
    for length in candidate_lengths(lengths_N, longest):
        over = np.flatnonzero(lengths_N > length)
        if length < longest and len(over):
            answers[length] = whole.values.copy()
            answers[length][over] = Place(folder, FLOAT, length).open().predict(hunt.yard.rows.take(over))[target].values
        else:
            answers[length] = whole.values
    found = shortest_length(lengths_N, answers, hunt.yard.truths[target], hunt.limits.accuracy_drop / 4)
    return None if found >= min(longest, int(lengths_N.max(initial=0))) else found


def taught(hunt: Hunt, beside: Path | None = None) -> Training:
    """Return the training of candidates: with the trained network's answers over the training rows, over further rows without labels, and
    over rows made new from the training rows, as many as the time allows.

    Args:
        hunt: the search.
        beside: the folder of another model that teaches with it.
    """
    search = hunt.config.search
    assert search is not None
    if not search.distil or "teach" not in registry.plugins("stages"):
        return hunt.training
    if any(answer.kind == "tags" for answer in hunt.yard.reference.values()):
        hunt.run.note("tags are learnt from the labels alone: what a teacher says is one answer a row")
        return hunt.training
    rows = int(hunt.run.input_manifests["data"].facts.get("rows", {}).get("train", 0))
    plain: dict[str, Any] = {"kind": "teach", "data": str(hunt.origin.data), "models": [str(hunt.origin.folder)], "copies": 0,
                             "bf16": "auto"}
    shared = {"seed": hunt.training.seed, "threads": hunt.training.threads}
    ask = 0.0
    if not hunt.rehearsal:
        trial = {"name": f"{hunt.training.name}-asked", **shared, "stages": {"teach": plain}}
        asked = attempt(hunt, "asked", {"label": "teach"}, lambda: {
            "status": "finished", "reason": "", "row_seconds": forecast(hunt, trial) / max(1, rows)})
        if asked["status"] != "finished":
            hunt.run.note("candidates learn from the labels alone")
            return hunt.training
        ask = asked["row_seconds"]
    room = int(TEACHING * 60 * search.minutes / max(1e-9, ask)) - rows

    def work() -> dict[str, Any]:
        if room < 0 and not hunt.rehearsal:
            return {"status": "dropped", "reason": f"to ask the trained network about {rows:,} rows would take {rows * ask:.0f} s, more "
                    f"than {TEACHING:.0%} of the {search.lasts}"}
        sources = list(search.model_dump(mode="json")["unlabelled"])
        if (hunt.origin.folder / NEW_ROWS).is_file():  # an update learnt from them, and the data do not hold them
            sources.append({"kind": "parquet", "path": str(hunt.origin.folder / NEW_ROWS)})
        further = {"sources": sources, "source_rows": max(0, room)} if sources else {}
        copies = max(0, min(search.copies, (room if not further else room // 2) // max(1, rows)))
        stage = {**plain, "models": [*plain["models"], *([str(beside)] if beside else [])], "copies": copies, **further}
        mark = f"-{digest([further, beside and beside.parent.name])[:10]}" if further or beside else ""
        recipe = {"name": f"{hunt.training.name}-teach-{copies}{mark}", **shared, "stages": {"teach": stage}}
        facts = hunt.execute(recipe)["teach"]
        return {"status": "finished", "reason": "", "folder": str(hunt.folder(recipe) / "teach"), "copies": copies,
                "rows": int(facts["rows"]["train"]) if isinstance(facts.get("rows"), dict) else rows}

    record = attempt(hunt, "teach", {"label": "teach"}, work)
    if record["status"] != "finished":
        hunt.run.note("candidates learn from the labels alone")
        return hunt.training
    if beside:
        hunt.run.note("TF-IDF with a linear model and the trained network are better together: both teach the smaller networks")
    taught_by = load_manifest(Path(record["folder"]))
    return replace(hunt.training, data=Path(record["folder"]), key=taught_by.key if taught_by else "",
                   task=lesson(hunt.origin, Path(record["folder"]), hunt.training.seed),
                   passes=max(1, rows) / max(1, record["rows"]))


def explore(hunt: Hunt, space: Mapping[str, Mapping[str, Any]]) -> None:
    """Look at smaller networks until the time, the trials or the space are at their end.

    Once a middling and a small network of each family were looked at, and none meets the budget, one is trained for a pair.
    """
    from bessemer.stages._budget_earlier import try_earlier
    from bessemer.stages._budget_exits import try_exits
    from bessemer.stages._budget_int8 import train_for_int8
    from bessemer.stages._budget_longer import train_longer
    from bessemer.stages._budget_pairs import train_seconds

    search = hunt.config.search
    assert search is not None
    if not space:
        return
    first = first_of(space)
    if hunt.rehearsal:
        for settings in {str(item["family"]): item for item in first}.values():  # the smallest of each family
            examine(hunt, settings)
        return
    train_for_int8(hunt, _whole(hunt))
    try_earlier(hunt, space)
    proposer = Proposer(space, hunt.run.seed if search.seed is None else search.seed, [*first, *factorised(space)])
    seen: set[str] = set()
    repeats = 0
    with hunt.run.progress("search", search.trials, "candidates") as progress:
        while len(seen) < search.trials and repeats < REPEATS * search.trials:
            hunt.run.check()
            train_longer(hunt)
            settings, ticket = proposer.ask()
            if hunt.left < hunt.ending and not _known(hunt, settings):
                hunt.run.note(f"{counted(len(seen), 'smaller network')} looked at; no other is begun: of the {search.lasts} "
                              f"{max(0.0, hunt.left):.0f} s are left, and {hunt.ending:.0f} s are kept for the choice")
                if ENDED not in hunt.journal:
                    hunt.journal.add(ENDED, {"label": "the time", "settings": None, "status": "finished", "forms": []})
                break
            record = examine(hunt, settings)
            repeats += record["id"] in seen
            progress.advance(record["id"] not in seen)
            forms = [*record["forms"], *train_for_int8(hunt, record)]
            proposer.tell(ticket, _costs(hunt, {**record, "forms": forms}))
            if record["id"] not in seen and len(seen) + 1 == len(first):
                train_seconds(hunt, space)
                try_exits(hunt, 1)
            seen.add(record["id"])
    train_longer(hunt, waiting=False)
    try_exits(hunt, 2)


def _whole(hunt: Hunt) -> dict[str, Any]:
    """Return the record of the trained network, with the forms that read fewer tokens where that was found to be enough."""
    records = [hunt.journal[name] for name in (TRAINED, f"{TRAINED}-short") if name in hunt.journal]
    return {**records[0], "forms": [item for record in records for item in record["forms"]]}


def counted(number: int, what: str) -> str:
    """Return a count and its verb.

    >>> counted(1, "smaller network"), counted(0, "smaller network")
    ('1 smaller network was', '0 smaller networks were')
    """
    return f"{number} {what} was" if number == 1 else f"{number} {what}s were"


def _known(hunt: Hunt, settings: Mapping[str, Any]) -> bool:
    from bessemer.stages._budget_space import short

    return short(settings) in hunt.journal


def _costs(hunt: Hunt, record: Mapping[str, Any]) -> tuple[float, float, float] | None:
    """Return what a candidate taught the proposer: of its forms the one that the budget would choose; None where nothing is known."""
    if record["forms"]:
        points = [point_of(item) for item in record["forms"]]
        return points[choose(points, hunt.limits, lambda _best, _other: False).index].costs
    before = record.get("before") or record
    if "size_bytes" not in before:
        return None
    rungs = record.get("rungs") or []
    return (float(rungs[-1]["drop"]["value"]) if rungs else 1.0, float(before["size_bytes"]), float(before["latency_ms"]))
