"""Outliers: training rows whose numbers are far from those of the other training rows go to quarantine; validation and test rows stay.

Legend: N rows, F number columns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from bessemer.core.config import Config
from bessemer.core.errors import UserError, nearest
from bessemer.core.pick import dump_plugin
from bessemer.data.quarantine import Quarantine
from bessemer.data.selection import Selection
from bessemer.data.split import SPLITS
from bessemer.stages._columns import Work, batches, modality
from bessemer.stages._crosses import some_rows

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

RANGES = {"iqr": 3.0, "z": 4.0}
SAMPLE = 256


class Outliers(Config):
    """Which training rows are set aside for their numbers."""

    kind: Literal["iqr", "z", "isolation_forest"]
    """iqr: a number beyond the quartiles by more than range times their distance; z: beyond the mean by more than range times the
    deviation; isolation_forest: rows that random cuts of all columns together set apart soon (Liu, Ting & Zhou 2008)."""
    columns: tuple[str, ...] | None = None
    """The number inputs that are judged; all by default."""
    range: Annotated[float, Field(gt=0)] | None = None
    """Of iqr and z: how far out is too far; 3 for iqr, 4 for z by default."""
    share: Annotated[float, Field(gt=0, le=0.5)] | None = None
    """Of isolation_forest: the share of training rows that is set aside; by default those that score below -0.5, as in the paper."""
    trees: Annotated[int, Field(ge=1, le=1000)] = 100
    """Of isolation_forest: how many trees, each of 256 rows."""


Judge = Callable[["pa.Table"], tuple["np.ndarray", "np.ndarray", "np.ndarray"]]
"""Rows -> (which are outliers bool [N], the number of the column that says so int [N], the value that says so float [N])."""


def without_outliers(work: Work, chosen: Selection, config: Outliers, quarantine: Quarantine) -> tuple[Selection, dict[str, Any]]:
    """Return the selection without training rows that are outliers, which go to quarantine, and what was found.

    What is far is learnt from training rows alone. A column whose quartiles (iqr) or numbers (z) are all equal sets no row aside.
    """
    import numpy as np
    import pyarrow as pa

    names = _names(work, config)
    judge, told, shown = _forest(work, chosen, config, names) if config.kind == "isolation_forest" else _limits(work, chosen, config, names)
    label = next((name for name, item in work.targets.items() if modality(item).answer == "label"), None)
    gone, counts = [np.zeros(0, np.int64)], np.zeros(len(shown), np.int64)
    rows_out, left = chosen.rows_out.copy(), dict(chosen.labels.get(SPLITS[0], {}))
    for table, _ in batches(work, chosen, 0, ["source", "row", *names, *([label] if label else [])]):
        bad_N, place_N, value_N = judge(table)
        bad, place_N, value_N = table.filter(pa.array(bad_N)), place_N[bad_N], value_N[bad_N]
        counts += np.bincount(place_N, minlength=len(counts))
        gone.append(bad["row_id"].to_numpy())
        sources = bad["source"].to_numpy()
        for source in np.unique(sources).tolist():
            mine = sources == source
            quarantine.add(chosen.names[source], bad["row"].to_numpy()[mine], ["outlier"] * int(mine.sum()),
                           [shown[place] for place in place_N[mine]], [f"{value:g}" for value in value_N[mine]])
            rows_out[source] -= int(mine.sum())
        for name, count in _labels(bad, label).items():
            left[name] = left.get(name, count) - count
    keep = ~np.isin(chosen.row_ids, np.concatenate(gone))
    found, before = int((~keep).sum()), int((chosen.splits == 0).sum())
    if found == before:
        raise UserError("outliers: every training row would be set aside; raise 'range' or lower 'share'")
    work.run.note(f"outliers: {found:,} of {before:,} training rows set aside by {config.kind}")
    if config.kind != "isolation_forest":
        each = zip(names, counts.tolist(), strict=True)
        told = {"columns": {name: {**told["columns"][name], "rows": count} for name, count in each}}
    overlap = None if chosen.overlap is None else chosen.overlap[keep]
    return replace(chosen, row_ids=chosen.row_ids[keep], splits=chosen.splits[keep], overlap=overlap, rows_out=rows_out,
                   labels={**chosen.labels, SPLITS[0]: left}), {"kind": config.kind, "rows": found, **told}


def _labels(rows: pa.Table, label: str | None) -> dict[str, int]:
    """Return how many rows each label of the first such target has, as a selection counts them; all rows where there is none."""
    if label is None:
        return {"rows": len(rows)}
    return {entry["values"]: entry["counts"] for entry in rows[label].drop_null().value_counts().to_pylist()}


def _names(work: Work, config: Outliers) -> list[str]:
    """Return the columns that are judged."""
    numbers = [name for name, item in work.inputs.items() if name not in work.crosses
               and (dump_plugin("modalities", item) or {})["kind"] == "number"]
    for name in config.columns or ():
        if name not in numbers:
            raise UserError(f"outliers: there is no number input '{name}'{nearest(name, numbers[:30])}")
    if not numbers:
        raise UserError("outliers: the recipe has no number input to judge rows by; remove 'outliers'")
    return list(dict.fromkeys(config.columns or numbers))


def _matrix(table: pa.Table, names: list[str]) -> np.ndarray:
    """Return the numbers float64 [N, F], nan where missing."""
    import numpy as np
    import pyarrow as pa

    found = [table[name].combine_chunks().cast(pa.float64()).fill_null(float("nan")).to_numpy(zero_copy_only=False) for name in names]
    return np.stack(found, axis=1)


def _limits(work: Work, chosen: Selection, config: Outliers, names: list[str]) -> tuple[Judge, dict[str, Any], list[str]]:
    """Return the judge of each column by its limits, the limits, and the words for quarantine."""
    import numpy as np
    import pyarrow as pa

    from bessemer.modalities._summary import Summary

    out = config.range or RANGES[config.kind]
    columns: dict[str, dict[str, float | None]] = {}
    found = {name: Summary(work.run.seed) for name in names}
    for table, _ in batches(work, chosen, 0, names):
        for name, each in found.items():
            each.add(table[name].combine_chunks().cast(pa.float64()))
    limits = np.tile([[-np.inf], [np.inf]], len(names))
    for place, (name, each) in enumerate(found.items()):
        sample = each.sample()
        low, high = np.quantile(sample, [0.25, 0.75]) if config.kind == "iqr" and len(sample) else (each.mean, each.mean)
        far = out * (high - low if config.kind == "iqr" else each.std)
        if far > 0:
            limits[:, place] = low - far, high + far
        columns[name] = {"low": float(low - far) if far > 0 else None, "high": float(high + far) if far > 0 else None}

    def judge(table: pa.Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        values_NF = _matrix(table, names)
        beyond_NF = (values_NF < limits[0]) | (values_NF > limits[1])
        place_N = beyond_NF.argmax(axis=1)
        return beyond_NF.any(axis=1), place_N, values_NF[np.arange(len(table)), place_N]

    shown = [f"column '{name}': expected {limits[0, place]:g} to {limits[1, place]:g}" for place, name in enumerate(names)]
    return judge, {"columns": columns}, shown


def _forest(work: Work, chosen: Selection, config: Outliers, names: list[str]) -> tuple[Judge, dict[str, Any], list[str]]:
    """Return the judge of rows by an isolation forest that is grown on at most 50,000 of them; missing numbers count as the median."""
    import numpy as np
    from sklearn.ensemble import IsolationForest

    sample_NF = _matrix(some_rows(work, chosen, 0, names), names)
    known = np.isfinite(sample_NF).any(axis=0)
    middle_F = np.zeros(len(names))
    middle_F[known] = np.nanmedian(sample_NF[:, known], axis=0)
    forest = IsolationForest(n_estimators=config.trees, max_samples=min(SAMPLE, len(sample_NF)), random_state=work.run.seed,
                             contamination=config.share or "auto")
    forest.fit(np.where(np.isnan(sample_NF), middle_F, sample_NF))

    def judge(table: pa.Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        values_NF = _matrix(table, names)
        score_N = forest.score_samples(np.where(np.isnan(values_NF), middle_F, values_NF))
        return score_N < forest.offset_, np.zeros(len(table), np.int64), score_N

    limit = float(forest.offset_)
    shown = f"isolation forest over {len(names)} columns: expected a score of {limit:.4g} or more"
    return judge, {"score": limit, "columns": names}, [shown]
