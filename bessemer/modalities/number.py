"""Number: a quantity. As an input it is scaled, as a target it is learnt scaled and answered raw.

Legend: N rows, W features.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from bessemer.core.config import Config
from bessemer.core.errors import UserError
from bessemer.core.heads import Inverse
from bessemer.core.registry import register
from bessemer.core.schema import Column, Role
from bessemer.core.types import Codec, Modality
from bessemer.data.columns import literal

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from bessemer.modalities._scaling import Scaling
    from bessemer.modalities._summary import Summary

MARKS = (1, 5, 10, 25, 50, 75, 90, 95, 99)
LARGE_SKEW = 2.0
FLOAT32 = 3.4028234663852886e38
LARGEST = 1e150


class Number(Config):
    """A column of quantities."""

    scale: Literal["quantile", "standard", "robust", "min_max", "bins", "none"] = "quantile"
    """Of an input. quantile: by rank to a normal curve; standard: mean 0, deviation 1; robust: median and quartiles; min_max: 0 to 1;
    bins: which of equally full bins; none: as it is."""
    quantiles: Annotated[int, Field(ge=10, le=10_000)] = 1000
    """How many quantiles of the training rows `quantile` keeps."""
    bins: Annotated[int, Field(ge=2, le=256)] = 16
    """How many bins `bins` makes at most."""
    bin_form: Literal["one_hot", "ordinal"] = "one_hot"
    """Whether each bin is a feature, or its number is one, scaled to 0..1."""
    missing: Literal["median", "mean", "zero", "reject"] = "median"
    """What a missing value of an input counts as (statistics of the training rows), or that its row is set aside."""
    indicator: bool | Literal["auto"] = "auto"
    """A further feature that is 1 where the value is missing; auto: where training rows miss some."""
    missing_values: tuple[str, ...] = ("", "na", "n/a", "nan", "null", "none", "?", "-")
    """Texts that mean that the value is missing, in any case."""
    infinite: Literal["reject", "missing"] = "reject"
    """Whether an infinite value (or one beyond 1e150, whose square is) sets its row aside or is missing."""
    decimal: Literal["auto", ".", ","] = "auto"
    """The decimal mark of numbers in text, the other mark being that of thousands; auto: a point, thousands only where unambiguous."""
    low: float | None = None
    """A smaller number is impossible, and its row is set aside."""
    high: float | None = None
    """A larger number is impossible, and its row is set aside."""
    outliers: Literal["keep", "clip"] = "keep"
    """Whether an input's extreme numbers are brought to the limits of what is usual before scaling."""
    outlier_by: Literal["iqr", "z"] = "iqr"
    """Limits: quartiles -/+ range times their distance, or mean -/+ range times the deviation."""
    outlier_range: Annotated[float, Field(gt=0)] = 3.0
    """How far out the limits are."""
    clip: Annotated[float, Field(gt=0)] | None = 10.0
    """Scaled inputs are brought within -clip and clip, so that a wild value moves a network no further; not for 'none'."""
    transform: Literal["auto", "none", "log", "quantile"] = "auto"
    """Of a target, before it is standardised; auto: log where every number is above 0 and their skew is above 2 and log lowers it."""

    @model_validator(mode="after")
    def _ordered(self) -> Number:
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError("expected 'low' below 'high'")
        return self


@register("modalities", "number")
def number(config: Number) -> Modality:
    """Return the functions of a column of quantities."""

    def clean(values: pa.Array) -> tuple[pa.Array, pa.Array]:
        return _clean(config, values)

    def fit(arrays: Iterator[pa.Array], seed: int, folder: Path) -> tuple[tuple[str, ...], dict[str, Any]]:
        from bessemer.modalities._summary import summary_of

        return (), _fitted(config, summary_of(arrays, seed), folder)

    def load(column: Column, folder: Path) -> Codec:
        if column.role == Role.TARGET:
            return _target(config, column, folder)
        return _input(config, scaling_of(config, column, folder))

    return Modality(clean=clean, fit=fit, load=load, roles=("input", "target"), answer="number", vector=True,
                    nulls=config.missing != "reject")


COMMAS = {"no number, but one with a decimal comma: decimal: ',' reads it": r"^\s*[-+\x{2212}]?[0-9]+,[0-9]+\s*$",
          "no number as long as nothing says whether its comma is a decimal mark: set decimal to ',' or '.'":
          r"^\s*[-+\x{2212}]?[0-9]{1,3},[0-9]{3}\s*$"}
"""Why a text with one comma is no number -> the texts that it is said of, the special ones last."""


def _clean(config: Number, values: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Return float64 numbers and why some are none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from bessemer.data.numerals import numbers_of

    found, strange = numbers_of(values, config.missing_values, config.decimal)
    why = pa.nulls(len(found), pa.string())
    infinite = pc.greater(pc.abs(found), literal(LARGEST, "double"))
    if pc.any(infinite).as_py():
        if config.infinite == "missing":
            found = pc.if_else(infinite, None, found)
        else:
            kind = pc.if_else(pc.is_inf(found), "infinite", f"beyond {LARGEST:g}")
            why = pc.if_else(pc.fill_null(infinite, False), kind, why)
    for limit, outside, name in ((config.low, pc.less, "below"), (config.high, pc.greater, "above")):
        if limit is not None:
            beyond = pc.and_(pc.fill_null(outside(found, limit), False), why.is_null())
            why = pc.if_else(beyond, f"{name} {limit:g}", why)
    if config.missing == "reject":
        why = pc.if_else(pc.and_(found.is_null(), why.is_null()), "missing", why)
    if pc.any(strange).as_py():
        # The text stays null; 'no number' would be lost when what is clean is cleaned again, as a missing value is not set aside.
        why = pc.if_else(strange, "no number", why)
        if config.decimal != "," and pa.types.is_string(values.type):
            for reason, pattern in COMMAS.items():
                why = pc.if_else(pc.and_(strange, pc.fill_null(pc.match_substring_regex(values, pattern), False)), reason, why)
    return found, why


def _skew(values: np.ndarray) -> float:
    import numpy as np

    spread = float(values.std()) if len(values) else 0.0
    return float(np.mean(((values - values.mean()) / spread) ** 3)) if spread > 0 else 0.0


def _fitted(config: Number, summary: Summary, folder: Path) -> dict[str, Any]:
    """Return the facts, which serve an input and a target, and write the knots that one of them needs."""
    import numpy as np

    from bessemer.modalities._knots import normal_knots
    from bessemer.modalities._summary import edges_of

    sample = summary.sample()
    some = sample if len(sample) else np.zeros(1)
    marks = np.quantile(some, np.array(MARKS) / 100)
    facts: dict[str, Any] = {
        "count": summary.count, "missing": summary.missing, "mean": summary.mean, "std": summary.std, "min": float(some[0]),
        "max": float(some[-1]), "quantiles": {f"p{mark}": float(value) for mark, value in zip(MARKS, marks, strict=True)},
        "constant": summary.constant, "skew": _skew(some)}
    if summary.beyond:
        facts["beyond_2_53"] = summary.beyond
    if some[0] > -1:
        offset = 0.0 if some[0] > 0 else 1.0
        logs = np.log(some + offset)
        facts["log"] = {"offset": offset, "mean": float(logs.mean()), "std": float(logs.std()), "skew": _skew(logs)}
    if config.scale == "quantile" and not summary.constant:
        np.save(folder / "knots.npy", np.stack(normal_knots(some, config.quantiles)))
    if config.transform == "quantile" and not summary.constant:
        np.save(folder / "target.npy", np.stack(_target_knots(some)))
    if config.scale == "bins":
        inner = np.unique(np.quantile(some, np.linspace(0, 1, config.bins + 1)[1:-1], method="lower"))
        facts["bins"] = inner[inner > some[0]].tolist()
    facts["edges"] = edges_of(_scaled(_scaling(config, "x", facts, folder), sample))
    return facts


def _target_knots(sample: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (raw, scaled) knots of a target's normal quantiles, within ±3; equal numbers share the middle of their ranks."""
    from statistics import NormalDist

    import numpy as np

    level = np.linspace(0, 1, 257)
    raw = np.quantile(sample, level, method="nearest")
    values, place, count = np.unique(raw, return_index=True, return_counts=True)
    middle = level[place] + (count - 1) / 2 / 256
    return values, np.array([NormalDist().inv_cdf(min(max(p, 0.00135), 0.99865)) for p in middle.tolist()])


def _scaling(config: Number, name: str, facts: Mapping[str, Any], folder: Path) -> Scaling:
    """Return the fitted column's scaling without its edges."""
    import numpy as np

    from bessemer.modalities._knots import knots_of
    from bessemer.modalities._scaling import Scaling

    marks, spread = facts["quantiles"], facts["std"] or 1.0
    quartiles = marks["p75"] - marks["p25"]
    shift, width, kind, knots = 0.0, 1.0, "affine", None
    if config.scale == "standard" or facts["constant"]:
        shift, width = facts["mean"], spread
    elif config.scale == "robust":
        shift, width = marks["p50"], quartiles or spread
    elif config.scale == "min_max":
        shift, width = facts["min"], facts["max"] - facts["min"]
    elif config.scale == "bins":
        kind = "bins"
    elif config.scale == "quantile":
        file = folder / "knots.npy"
        if not file.is_file():
            raise UserError(f"'{folder}' has no knots.npy for the column '{name}'; run the recipe again to make it")
        kind, knots = "knots", knots_of(*np.load(file, allow_pickle=False))
    low, high = float("-inf"), float("inf")
    if config.outliers == "clip":
        around = (marks["p25"], marks["p75"], quartiles) if config.outlier_by == "iqr" else (facts["mean"], facts["mean"], facts["std"])
        low, high = around[0] - config.outlier_range * around[2], around[1] + config.outlier_range * around[2]
    fill = {"median": marks["p50"], "mean": facts["mean"]}.get(config.missing, 0.0)
    indicator = bool(facts["missing"]) if config.indicator == "auto" else config.indicator
    clip = FLOAT32 if config.scale == "none" or config.clip is None else config.clip
    return Scaling(name, kind, shift, 1.0 / width, fill, low, high, clip, indicator and config.missing != "reject", knots,
                   tuple(facts.get("bins", ())), kind == "bins" and config.bin_form == "one_hot")


def scaling_of(config: Number, column: Column, folder: Path) -> Scaling:
    """Return the scaling of a fitted input column."""
    import dataclasses

    return dataclasses.replace(_scaling(config, column.name, column.facts, folder), edges=tuple(column.facts["edges"]))


def _scaled(scaling: Scaling, values: np.ndarray) -> np.ndarray:
    """Return the first feature of float64 values, float32 [N]; of one-hot bins nothing is needed."""
    import numpy as np
    import pyarrow as pa

    from bessemer.modalities._scaling import Block

    out = np.empty((len(values), len(scaling.names)), np.float32)
    Block([scaling]).scale([pa.record_batch([pa.array(values, pa.float64())], ["x"])], out)
    return out[:, 0]


def _input(config: Number, scaling: Scaling) -> Codec:
    from bessemer.modalities._scaling import Block

    block = Block([scaling])

    def encode(values: pa.Array) -> dict[str, pa.Array]:
        import numpy as np
        import pyarrow as pa

        from bessemer.modalities._vectors import fixed

        clean, _ = _clean(config, values)
        out = np.empty((len(clean), block.width), np.float32)
        block.scale([pa.record_batch([clean], ["x"])], out)
        return {"numbers": fixed(out)}

    def collate(stored: Mapping[str, pa.Array], limit: int | None) -> dict[str, np.ndarray]:
        from bessemer.modalities._vectors import matrices

        return matrices(stored)

    return Codec(encode=encode, collate=collate, length=None, info=scaling.info)


def _inverse(config: Number, column: Column, folder: Path) -> Inverse:
    """Return how the scaled target becomes the number."""
    import numpy as np

    facts = column.facts
    if not facts["count"]:
        raise UserError(f"the target '{column.name}' has no number in the training rows; expected numbers")
    if facts["constant"]:
        raise UserError(f"the target '{column.name}' is {facts['min']:g} in every training row, so there is nothing to learn; choose "
                        "another target or other rows")
    log = facts.get("log")
    if config.transform == "log" and log is None:
        raise UserError(f"the target '{column.name}' has numbers down to {facts['min']:g}, of which there is no logarithm; expected "
                        "numbers above -1: use 'transform: none'")
    if log is not None and (config.transform == "log" or (config.transform == "auto" and transform_of(facts) == "log")):
        return Inverse(kind="log", shift=log["mean"], scale=log["std"] or 1.0, offset=log["offset"])
    if config.transform == "quantile":
        file = folder / "target.npy"
        if not file.is_file():
            raise UserError(f"'{folder}' has no target.npy for the target '{column.name}'; run the recipe again to make it")
        raw, scaled = np.load(file, allow_pickle=False)
        return Inverse(kind="knots", raw=tuple(raw.tolist()), scaled=tuple(scaled.tolist()))
    return Inverse(shift=facts["mean"], scale=facts["std"] or 1.0)


def transform_of(facts: Mapping[str, Any]) -> str:
    """Return what `transform: auto` chooses from a column's facts: `log` or `none`."""
    log = facts.get("log")
    return "log" if log and facts["min"] > 0 and facts["skew"] > LARGE_SKEW and abs(log["skew"]) < facts["skew"] / 2 else "none"


def _target(config: Number, column: Column, folder: Path) -> Codec:
    """Return the codec of a target: `value`, `scaled` and the inverse of the scaling."""
    inverse, smallest = _inverse(config, column, folder), column.facts["min"]

    def encode(values: pa.Array) -> dict[str, pa.Array]:
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        value = pc.fill_null(_clean(config, values)[0], literal(math.nan, "double")).to_numpy(zero_copy_only=False)
        if inverse.kind == "knots":
            scaled = np.interp(value, np.asarray(inverse.raw), np.asarray(inverse.scaled))
        elif inverse.kind == "log":
            # A number of another split below all of training's has no logarithm perhaps; it is learnt from as the smallest one's tenth.
            floor = (smallest + inverse.offset) / 10
            scaled = (np.log(np.maximum(value + inverse.offset, floor)) - inverse.shift) / inverse.scale
        else:
            scaled = (value - inverse.shift) / inverse.scale
        return {"value": pa.array(value), "scaled": pa.array(scaled.astype(np.float32))}

    def collate(stored: Mapping[str, pa.Array], limit: int | None) -> dict[str, np.ndarray]:
        return {name: stored[name].to_numpy(zero_copy_only=False) for name in ("value", "scaled")}

    return Codec(encode=encode, collate=collate, length=None, info={"inverse": inverse.model_dump(mode="json")})
