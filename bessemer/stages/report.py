"""report: one HTML page of everything that the run found, which opens offline."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field

from bessemer.core.recipe import StageConfig
from bessemer.core.registry import register
from bessemer.core.run import RunContext


class Report(StageConfig):
    """The page."""

    needs: ClassVar[tuple[str, ...]] = ("stages",)

    stages: Annotated[tuple[str, ...], Field(min_length=1)] = ("prepare", "finetune", "evaluate")
    """The stages to show, in this order."""


@register("stages", "report")
def report(config: Report, inputs: Mapping[str, Path], out: Path, run: RunContext) -> dict[str, Any]:
    """Write `report.html`; the same artifacts give the same bytes."""
    from bessemer.report.html import render
    from bessemer.stages._gather import gather

    found = {name: inputs[f"stages.{index}"] for index, name in enumerate(config.stages)}
    (out / "report.html").write_text(render(gather(run.root, found, timings=True)), encoding="utf-8")
    run.publish("report.html", volatile=True)
    return {"stages": list(config.stages)}
