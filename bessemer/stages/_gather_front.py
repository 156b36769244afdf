"""Gather: what a search under a budget found, as the report shows it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bessemer.report.front import Candidate, Front


def fronted(file: Path) -> Front | None:
    """Return the content of `front.json`; nothing where there is no such file."""
    from bessemer.report.front import Front
    from bessemer.report.part import Value

    if not file.is_file():
        return None
    found = json.loads(file.read_text(encoding="utf-8"))
    again = found["measured_again"]["1"]["ratio"]
    return Front(stage=found["stage"], metric=found["metric"], target=found.get("target", ""), sentence=found["sentence"],
                 limits=found["limits"],
                 reached=found["reachable"], reference=_candidate(found["reference"]),
                 candidates=tuple(_candidate(item) for item in found["candidates"]),
                 speedup=Value(value=again["median"], low=again["low"], high=again["high"]))


def _candidate(item: Mapping[str, Any]) -> Candidate:
    from bessemer.report.front import Candidate

    return Candidate.model_validate({name: value for name, value in item.items() if name in Candidate.model_fields})
