"""Gather: the profile of a table's columns and the record of an update, as the report shows them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bessemer.report.columns import ColumnRow, DriftRow, Update


def profiled(file: Path) -> tuple[ColumnRow, ...]:
    """Return the columns of `profile.json`, those that go most with a target first; none where there is no such file."""
    if not file.is_file():
        return ()
    rows = [_column(name, item) for name, item in json.loads(file.read_text(encoding="utf-8"))["columns"].items()]
    return tuple(sorted(rows, key=lambda row: max((abs(item.value) for item in row.associations), default=-1.0), reverse=True))


def _column(name: str, entry: Mapping[str, Any]) -> ColumnRow:
    from bessemer.report.columns import Association, ColumnRow

    shown = entry["distribution"]
    top = shown.get("top")
    if top is None:
        parts = {"edges": tuple(shown["edges"]), "train": tuple(shown["train"]), "test": tuple(shown.get("test", ()))}
    else:
        parts = {"values": tuple(str(item["value"]) for item in top), "train": tuple(item["train"] for item in top),
                 "test": tuple(item["test"] for item in top if "test" in item)}
    found = []
    for target, measures in entry["targets"].items():
        known = {measure: value for measure, value in measures.items() if value is not None}
        if known:
            best = max(known, key=lambda measure: abs(known[measure]))
            found.append(Association(target=target, measure=best, value=known[best]))
    return ColumnRow(name=name, kind=entry["kind"], missing=entry["missing"]["train"], missing_test=entry["missing"].get("test"),
                     distinct=shown["distinct"], drift=entry["drift"].get("psi"), associations=tuple(found), flags=tuple(entry["flags"]),
                     **parts)


def updated(stage: str, file: Path) -> Update | None:
    """Return what `update.json` says; None where there is no such file."""
    from bessemer.report.columns import Update, UpdateRow
    from bessemer.report.part import Value

    if not file.is_file():
        return None
    plain = json.loads(file.read_text(encoding="utf-8"))
    table = tuple(UpdateRow(
        data=row["data"] + (f" (before: {row['against']})" if "against" in row else ""), metric=row["metric"],
        before=row["before"], after=row["after"],
        difference=Value(value=row["difference"], low=row.get("low"), high=row.get("high"))) for row in plain.get("table", ()))
    drift = sorted((_drift(row) for row in plain.get("drift", ())), key=lambda row: -(row.psi or 0.0))
    return Update(stage=stage, decision=plain["decision"], reason=plain.get("reason", ""), table=table, drift=tuple(drift))


def _drift(row: Mapping[str, Any]) -> DriftRow:
    """Return a column's drift; what else is known of it becomes words."""
    from bessemer.report.columns import DriftRow
    from bessemer.report.show import significant

    others = [f"{name.replace('_', ' ')} {significant(value) if isinstance(value, float) else value}"
              for name, value in row.items() if name not in ("column", "psi", "note") and value not in (None, "")]
    words = ", ".join(([row["note"]] if row.get("note") else []) + others)
    return DriftRow(column=row["column"], psi=row.get("psi"), note=words)
