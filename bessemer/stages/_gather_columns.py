"""Gather: the profile of a table's columns and the record of an update, as the report shows them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bessemer.report.columns import ColumnRow, DriftRow, Update


def profiled(file: Path) -> tuple[ColumnRow, ...]:
    """Return the columns of `profile.json`, the most correlated with the target first; none where there is no such file."""
    if not file.is_file():
        return ()
    plain = json.loads(file.read_text(encoding="utf-8"))["columns"]
    entries = [{"name": name, **item} for name, item in plain.items()] if isinstance(plain, dict) else plain
    rows = [_column(entry) for entry in entries]
    return tuple(sorted(rows, key=lambda row: -1.0 if row.correlation is None else abs(row.correlation), reverse=True))


def _column(entry: Mapping[str, Any]) -> ColumnRow:
    from bessemer.report.columns import ColumnRow

    histogram, top = entry.get("histogram") or {}, entry.get("top") or []
    pairs = [(item["value"], item["count"]) if isinstance(item, dict) else tuple(item) for item in top]
    return ColumnRow(
        name=entry["name"], kind=entry.get("kind", ""), missing=_share(entry.get("missing")), distinct=entry.get("distinct"),
        edges=tuple(histogram.get("edges", ())), counts=tuple(histogram.get("counts") or [count for _, count in pairs]),
        values=() if histogram else tuple(str(value) for value, _ in pairs), drift=_largest(entry.get("drift"), "psi"),
        correlation=_largest(entry.get("correlation"), "value"), flags=tuple(str(flag) for flag in entry.get("flags") or ()))


def _share(missing: Any) -> float | None:
    """Return a share, given as one or as `{"share": …}`."""
    return missing.get("share") if isinstance(missing, dict) else missing


def _largest(found: Any, key: str) -> float | None:
    """Return a number that is given plain, under a key, or by target or split (then the one farthest from 0)."""
    if not isinstance(found, dict):
        return None if found is None else float(found)
    if key in found:
        return _largest(found[key], key)
    each = [value for value in (_largest(item, key) for item in found.values() if not isinstance(item, str)) if value is not None]
    return max(each, key=abs, default=None)


def updated(stage: str, file: Path) -> Update | None:
    """Return what `update.json` says; None where there is no such file."""
    from bessemer.report.columns import Update, UpdateRow
    from bessemer.report.part import Value

    if not file.is_file():
        return None
    plain = json.loads(file.read_text(encoding="utf-8"))
    table = tuple(UpdateRow(
        data=row["data"], metric=row["metric"], before=row["before"], after=row["after"],
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
