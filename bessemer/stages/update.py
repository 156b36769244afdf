"""update: learn new rows without forgetting the old ones, several ways; promote the best only if old rows lose nothing and new ones gain.

Ways: `replay` trains on the new rows and on old ones kept with the model (Robins 1995); `anchor` trains on the new rows and pulls every
weight towards its old value (L2-SP: Li, Grandvalet & Davoine 2018); `both`; `new_only` does neither, as a measure of forgetting.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from bessemer.core.config import Config
from bessemer.core.errors import UserError
from bessemer.core.pick import Pick
from bessemer.core.registry import register
from bessemer.core.run import RunContext
from bessemer.engine.config import TrainingConfig

if TYPE_CHECKING:
    from bessemer.core.types import Answer
    from bessemer.stages._updating import Sample

PROMOTED, KEPT_ASIDE = "promoted", "kept aside"
Method = Literal["replay", "anchor", "both", "new_only"]


class Update(TrainingConfig):
    """New rows for a trained network."""

    needs: ClassVar[tuple[str, ...]] = ("data", "model", "against")

    data: str = "prepare"
    """The prepared data of the old rows; their validation rows tell what is forgotten."""
    model: str = "finetune"
    """The network to update: a finetune stage or an earlier update."""
    against: str | None = None
    """What answers now, where that is not the network to update: the updated one must pass the gate against it too. Null: the network."""
    sources: Annotated[tuple[Annotated[Config, Pick("data/sources")], ...], Field(min_length=1)]
    """Where the new rows come from."""
    task: Annotated[Config, Pick("tasks")] | None = None
    """What is learned: by default what the network learnt when it was trained."""
    methods: Annotated[tuple[Method, ...], Field(min_length=1)] = ("replay", "anchor", "both")
    """Ways to learn, compared on held-out rows: old rows kept with the model, a pull towards the old weights, both, or neither."""
    anchor: Annotated[float, Field(gt=0)] = 0.01
    """Strength of the pull towards the old weights."""
    replay_rows: Annotated[int, Field(ge=1)] = 5000
    """Old rows that are learnt again at most."""
    held_out: Annotated[float, Field(gt=0, lt=0.9)] = 0.3
    """Part of the new rows that is not learnt from: one half chooses among the methods, the other decides about promotion."""
    rows: Annotated[int, Field(ge=20)] = 20_000
    """Old validation rows that are scored at most."""
    margin: Annotated[float, Field(ge=0)] = 0.01
    """What old rows may lose: accuracy of labels, R² of numbers, F1 of flags."""
    gain: Annotated[float, Field(ge=0)] = 0.0
    """What new rows must gain, in the same unit, by the lower end of the paired 95% interval."""
    resamples: Annotated[int, Field(ge=100, le=100_000)] = 1000
    """Bootstrap resamples behind each interval."""


@register("stages", "update")
def update(config: Update, inputs: Mapping[str, Path], out: Path, run: RunContext) -> dict[str, Any]:
    """Train every method, keep the best as this artifact's model, and write `update.json`: before and after, drift, the decision."""
    import shutil

    from bessemer.core.forms import open_form
    from bessemer.stages import _updating as updating
    from bessemer.stages._update_kept import keep_new

    old, data = inputs["model"], inputs["data"]
    if not (old / "model.safetensors").is_file() or not (old / "predictor.json").is_file():
        raise UserError(f"'{old}' holds no trained network, so there is nothing to update; give a finetune stage of a network")
    fresh, equal = updating.take_in(config, old, data, out, run)
    chosen, gate = updating.samples(config, data, fresh, run)
    before = {name: open_form(old).predict(sample.rows) for name, sample in {**chosen, **gate}.items()}
    rival = updating.answers_now(inputs["against"], old, gate) if "against" in inputs else None
    learnt = {}
    for method in config.methods:
        run.check()
        folder = updating.train(config, method, updating.Places(data, old, fresh, run.state / method), run)
        learnt[method] = folder, _score(chosen, {name: open_form(folder).predict(sample.rows) for name, sample in chosen.items()})
    best = max(learnt, key=lambda method: (learnt[method][1], -config.methods.index(method)))
    folder = learnt[best][0]
    after = {name: open_form(folder).predict(sample.rows) for name, sample in gate.items()}
    table = _table(config, gate, before, after, run)
    decision, reason = decide(table, config.margin, config.gain)
    if rival is not None:
        names = inputs["against"].name, old.name
        tables = {names[0]: _table(config, gate, rival, after, run), names[1]: table}
        table = [{**row, "against": name} for name, rows in tables.items() for row in rows]
        decision, reason = decide_both(tables, (config.margin, config.gain))
    shutil.copytree(folder, out, dirs_exist_ok=True)
    replayed = updating.keep(config, old, data, fresh, out, run)
    keep_new(fresh, old, out, config.replay_rows)
    methods = [{"method": method, "score": value, "chosen": method == best} for method, (_, value) in learnt.items()]
    record = {"decision": decision, "reason": reason, "table": table, "drift": updating.drift(old, data, fresh), "methods": methods,
              "margin": config.margin, "gain": config.gain, "equal_to_old": equal}
    (out / "update.json").write_text(json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    shutil.rmtree(fresh)
    run.note(f"{decision}: {reason}")
    return {"decision": decision, "reason": reason, "method": best, "before": _score(chosen, before), "replay_rows": replayed,
            "equal_to_old": equal, "methods": methods,
            "new_rows": {name: sample.rows.num_rows for name, sample in {**chosen, **gate}.items()}}


def _score(samples: Mapping[str, Sample], answers: Mapping[str, Mapping[str, Answer]]) -> float:
    """Return the mean over old and new rows, and over the targets, of the first metric, where it is defined: what the methods are
    compared by.
    """
    from bessemer.evaluate.score import measure

    values = [measure(truth, answers[name][target])[FIRST[answers[name][target].kind]]
              for name, sample in samples.items() for target, truth in sample.truths.items()]
    defined = [value for value in values if math.isfinite(value)]
    return sum(defined) / len(defined) if defined else 0.0


FIRST = {"label": "accuracy", "number": "r2", "flags": "f1_micro", "tags": "accuracy"}


def _table(config: Update, gate: Mapping[str, Sample], before: Mapping[str, Mapping[str, Answer]],
           after: Mapping[str, Mapping[str, Answer]], run: RunContext) -> list[dict[str, Any]]:
    """Return the scores before and after on the rows of the gate, old and new, each with its paired interval."""
    from bessemer.evaluate.paired import paired

    found = []
    for name, sample in gate.items():
        for target, truth in sample.truths.items():
            first, second = after[name][target], before[name][target]
            metric = FIRST[first.kind]
            scored = paired(truth, first, second, run.seed, 100 if run.rehearsal else config.resamples)
            pair = scored[metric]
            found.append({"data": name.partition(" ")[0], "target": target, "metric": metric, "before": pair["b"], "after": pair["a"],
                          "difference": pair["difference"], "low": pair["low"], "high": pair["high"], "rows": scored["rows"]})
    return found


def decide_both(tables: Mapping[str, list[dict[str, Any]]], gate: tuple[float, float]) -> tuple[str, str]:
    """Return the decision and its reason where an update is held against what answers now (the first table) and its own past (the last).

    Args:
        tables: by what the scores are held against.
        gate: margin and gain of `decide`.
    """
    for name, table in tables.items():
        decision, reason = decide(table, *gate)
        if decision != PROMOTED:
            return decision, f"against {name}: {reason}"
    first = next(iter(tables))
    return PROMOTED, f"against {first}: {decide(tables[first], *gate)[1]}"


def decide(table: list[dict[str, Any]], margin: float, gain: float) -> tuple[str, str]:
    """Return the decision and its reason, a sentence.

    Old rows must lose no more than `margin` in any target; of new rows at least one target must gain more
    than `gain` by the lower end of its interval, and none may be worse.

    >>> row = {"target": "y", "metric": "r2", "low": 0.01, "high": 0.03, "difference": 0.02}
    >>> decide([{**row, "data": "old", "low": -0.001, "difference": 0.0}, {**row, "data": "new"}], 0.002, 0.0)
    ('promoted', 'new rows gain +0.0200 [+0.0100, +0.0300] r2 of y, old rows +0.0000 [−0.0010, +0.0300]')
    """
    def words(row: dict[str, Any]) -> str:
        return f"{row['difference']:+.4f} [{row['low']:+.4f}, {row['high']:+.4f}]".replace("-", "−")

    defined = [row for row in table if row["low"] is not None]
    for row in defined:
        lost = row["difference"] < -margin if row["data"] == "old" else row["high"] < 0
        if lost:
            allowed = f"more than the margin of {margin:g}" if row["data"] == "old" else "so they got worse"
            return KEPT_ASIDE, f"{row['data']} rows lose {words(row)} {row['metric']} of {row['target']}, {allowed}"
    gained = [row for row in defined if row["data"] == "new" and row["low"] > gain]
    if not gained:
        shown = "; ".join(f"{words(row)} {row['metric']} of {row['target']}" for row in defined if row["data"] == "new")
        return KEPT_ASIDE, f"new rows do not gain for certain ({shown or 'no score is defined'}; asked for more than {gain:g})"
    best = gained[0]
    kept = [words(row) for row in defined if row["data"] == "old" and row["target"] == best["target"]]
    return PROMOTED, f"new rows gain {words(best)} {best['metric']} of {best['target']}, old rows {kept[0] if kept else 'are not scored'}"
