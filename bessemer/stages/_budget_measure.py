"""How a candidate of a search is measured: paired quality on validation rows, latency in turn with the trained network, bytes, memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bessemer.core.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from bessemer.core.forms import Form
    from bessemer.core.run import RunContext
    from bessemer.core.types import Answer, Predictor

BASE = {"label": "accuracy", "number": "r2", "flags": "f1_micro", "tags": "accuracy"}
"""Kind of answer -> the score whose loss a budget limits."""
SECONDS, ROUNDS = 1.5, 30
WHOLE_SECONDS, WHOLE_ROUNDS = 6.0, 60
RESAMPLES = 400
Z95 = 1.959964


@dataclass(frozen=True)
class Place:
    """A form of a folder.

    Attributes:
        folder: where it lies.
        form: its name; None: the first.
        length: the most tokens that it reads, where that is not what its folder says.
    """

    folder: Path
    form: str | None = None
    length: int | None = None

    def open(self) -> Predictor:
        """Open it."""
        from bessemer.core.forms import read_forms
        from bessemer.core.registry import plugin_of
        from bessemer.core.schema import Schema

        forms = read_forms(self.folder)
        chosen = self.shortened(next(item for item in forms if self.form in (None, item.name)))
        opened: Predictor = plugin_of("predictors", chosen.predictor).function(chosen.predictor)(
            self.folder, Schema.load(self.folder), chosen.name)
        return opened

    def shortened(self, form: Form) -> Form:
        """Return the form as it reads no more than `length` tokens."""
        if self.length is None:
            return form
        return form.model_copy(update={"predictor": form.predictor.model_copy(update={"max_length": self.length}), "lossy": True})


@dataclass
class Yard:
    """The rows and the trained network that every candidate is held against.

    Attributes:
        run: of the searching stage.
        rows: raw validation rows.
        truths: target -> truth, as metrics take it.
        trained: the trained network, opened.
        reference: its answers of the rows.
        trained_ms: median milliseconds of one row, by which ratios become milliseconds again.
    """

    run: RunContext
    rows: pa.Table
    truths: dict[str, np.ndarray]
    trained: Predictor
    reference: dict[str, Answer] = field(default_factory=dict)
    trained_ms: float = 0.0
    kept: dict[Place, dict[str, Answer]] = field(default_factory=dict)

    @property
    def metric(self) -> str:
        """Return the score that counts as quality: of the first target."""
        return BASE[next(iter(self.reference.values())).kind]

    def metric_of(self, item: Mapping[str, Any]) -> str:
        """Return the score that a measured form's drop is of."""
        target = item.get("worst_target")
        return self.metric if target is None else BASE[self.reference[target].kind]

    def answers(self, place: Place) -> dict[str, Answer]:
        """Return what a form says of the rows; asked again it is remembered."""
        from bessemer.core.heads import joined

        if place not in self.kept:
            predictor = place.open()
            parts = []
            with self.run.progress(f"score {predictor.form}", self.rows.num_rows, "rows") as progress:
                for start in range(0, self.rows.num_rows, 512):
                    self.run.check()
                    few = self.rows.slice(start, 512)
                    parts.append(predictor.predict(few))
                    progress.advance(few.num_rows)
            self.kept[place] = joined(parts)
        return self.kept[place]

    def quality(self, found: Mapping[str, Answer]) -> dict[str, Any]:
        """Return `quality` of the first target and `drop` (the largest of any target's), each value, low, high: JSON values.

        Of several targets also `worst_target`: whose drop it is.
        """
        pairs = {target: self._pair(target, self.reference, found) for target in self.truths}
        name = max(pairs, key=lambda target: float(pairs[target]["difference"]))
        worst = pairs[name]
        low, high = self._own(next(iter(self.truths)), found)
        return {"quality": {"value": next(iter(pairs.values()))["b"], "low": low, "high": high},
                "drop": {"value": worst["difference"], "low": worst["low"], "high": worst["high"]},
                **({"worst_target": name} if len(pairs) > 1 else {})}

    def _own(self, target: str, found: Mapping[str, Answer]) -> tuple[float | None, float | None]:
        """Return the interval of a form's own score of a target, over the same resamples as every other's."""
        import numpy as np

        from bessemer.evaluate.score import affordable, interval, known_rows, named, resampled

        answer = found[target]
        truth, values = known_rows(self.truths[target], answer)
        metric = named(BASE[answer.kind], answer.kind)
        state = metric.update(None, truth.astype(np.int8) if answer.kind == "flags" else truth, values)
        drawn = affordable(len(truth), len(answer.labels), 100 if self.run.rehearsal else RESAMPLES)
        values = np.concatenate([metric.finalise(state, weights) for weights in resampled(len(truth), self.run.seed, drawn)])
        return interval(values, float(metric.finalise(state)))

    def alike(self, best: Mapping[str, Answer], other: Mapping[str, Answer]) -> bool:
        """Return whether the other loses no more than one standard error of the difference on the same rows, in every target."""
        pairs = [self._pair(target, best, other) for target in self.truths]
        return all(pair["difference"] <= ((pair["high"] or 0.0) - (pair["low"] or 0.0)) / (2 * Z95) for pair in pairs)

    def _pair(self, target: str, first: Mapping[str, Answer], second: Mapping[str, Answer]) -> dict[str, Any]:
        from bessemer.evaluate.paired import paired

        resamples = 100 if self.run.rehearsal else RESAMPLES
        answer = first[target]
        found: dict[str, Any] = paired(self.truths[target], answer, second[target], self.run.seed, resamples)[BASE[answer.kind]]
        if found["difference"] is None:  # R² of rows that are all the same, say: nothing that a search could decide by
            raise UserError(f"{BASE[answer.kind]} of '{target}' is undefined on the validation rows, so a drop cannot be measured; give "
                            "more validation rows")
        return found

    def costs(self, place: Place, whole: bool = False, memory: bool = False) -> dict[str, Any]:
        """Return what a form costs, JSON values.

        `size_bytes`, `weights_bytes` (of these the graph or weights), `ratio`, `p95_ms`, and `latency_ms` (of one row: the trained
        network's milliseconds over the ratio to it, measured in turn); whole: also `latency_16_ms`; memory: also `memory_bytes`.
        """
        from bessemer.measure.latency import Effort, in_parts, latency
        from bessemer.measure.memory import peak_memory
        from bessemer.measure.size import size

        brief = self.run.rehearsal is not None
        effort = Effort(0.0, 2, 2, 1) if brief else Effort(SECONDS, ROUNDS)
        candidate = place.open()
        forms = {"trained": self.trained, "candidate": candidate}
        timed = latency(forms, self.rows, (1,), effort, tick=self.run.check)
        one = timed["candidate"]["1"]
        times = one["ratio"]["median"]
        if in_parts(candidate):  # the mean: the median would hide the rows that go on
            times = timed["trained"]["1"]["mean_ms"] / one["mean_ms"]
        milliseconds = self.trained_ms / times if self.trained_ms else one["median_ms"]
        bytes_of = size(place.folder, place.form or "")
        found = {"size_bytes": bytes_of["form"], "weights_bytes": bytes_of["weights"], "latency_ms": round(milliseconds, 4),
                 "ratio": one["ratio"], "p95_ms": round(one["p95_ms"] * milliseconds / one["median_ms"], 4)}
        if whole:
            many = latency({"candidate": forms["candidate"]}, self.rows, (16,), effort, tick=self.run.check)["candidate"]["16"]
            found["latency_16_ms"] = round(many["median_ms"] * milliseconds / one["median_ms"], 4)
        if memory:
            found["memory_bytes"] = peak_memory(place.folder, place.form or "", self.rows.slice(0, 16))["peak"]
        return found


def settle(yard: Yard) -> dict[str, Any]:
    """Measure the trained network itself: its answers, its quality, its milliseconds; JSON values."""
    from bessemer.measure.latency import Effort, latency

    brief = yard.run.rehearsal is not None
    timed = latency({"trained": yard.trained}, yard.rows, (1, 16), Effort(0.0, 2, 2, 1) if brief else Effort(WHOLE_SECONDS, WHOLE_ROUNDS),
                    tick=yard.run.check)["trained"]
    return {**yard.quality(yard.reference), "latency_ms": timed["1"]["median_ms"], "p95_ms": timed["1"]["p95_ms"],
            "latency_16_ms": timed["16"]["median_ms"]}


def in_turn(yard: Yard, place: Place) -> dict[str, Any]:
    """Measure a chosen form again, in turn with the trained network, one and sixteen rows at a time: JSON values by form and batch."""
    from bessemer.measure.latency import Effort, latency

    brief = yard.run.rehearsal is not None
    return latency({"trained network": yard.trained, "chosen": place.open()}, yard.rows, (1, 16),
                   Effort(0.0, 2, 2, 1) if brief else Effort(2 * WHOLE_SECONDS, WHOLE_ROUNDS), tick=yard.run.check)
