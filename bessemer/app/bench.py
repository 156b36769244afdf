"""`bessemer bench RUN`: what every form of a run costs on this machine: latency, throughput, memory, bytes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bessemer.core.answering import Finished, choose
from bessemer.core.artifact import Manifest, load_manifest, write_atomic
from bessemer.core.errors import UserError
from bessemer.core.forms import FILE, Form, open_form, read_forms

if TYPE_CHECKING:
    import pyarrow as pa

    from bessemer.core.events import Events

ROWS = 512


@dataclass(frozen=True)
class Entry:
    """One form of a run.

    Attributes:
        name: stage and form.
        folder: of the stage.
        form: its name there.
    """

    name: str
    folder: Path
    form: str


def bench(root: Path, batches: Sequence[int], seconds: float, events: Events) -> dict[str, Any]:
    """Measure every form of a run; write `bench.svg` into its folder.

    Returns:
        JSON values: `run`, `host`, `batches`, `rows`, `reference`, and `forms`: name -> `latency` (see `measure.latency`; with
        `rows_per_second`), `memory` (see `measure.peak_memory`; None where the system tells none), `size` (see `measure.size`).
    """
    from bessemer.core.run import host
    from bessemer.measure.latency import Effort, latency
    from bessemer.measure.memory import STATUS, peak_memory
    from bessemer.measure.size import size
    from bessemer.report.front import bench_chart, standalone

    if not batches or min(batches) < 1:
        raise UserError("--batch needs numbers of rows of 1 and more, such as 1,16")
    if not (math.isfinite(seconds) and seconds > 0):
        raise UserError(f"--seconds needs a number above 0, such as 20; it is {seconds:g}")
    choice = choose(root)
    for line in choice.said():
        events.emit("note", message=line)
    finished = choice.finished or Finished(root)
    table, entries = rows_of(finished), entries_of(finished, choice.folder)
    opened = {entry.name: open_form(entry.folder, entry.form) for entry in entries}
    reference = next((entry.name for entry in entries if entry.form == "torch-float32"), entries[0].name)
    with events.progress("latency", None, "rounds") as progress:
        timed = latency(opened, table, batches, Effort(seconds), reference, lambda: progress.advance(1))
    forms: dict[str, dict[str, Any]] = {}
    with events.progress("memory", len(entries), "forms") as progress:
        for entry in entries:
            for batch, found in timed[entry.name].items():
                found["rows_per_second"] = round(1000 * int(batch) / found["median_ms"], 1)
            few = table.slice(0, max(batches))
            memory = peak_memory(entry.folder, entry.form, few) if STATUS.is_file() else None
            forms[entry.name] = {"latency": timed[entry.name], "memory": memory, "size": size(entry.folder, entry.form)}
            progress.advance(1)
    machine = host()
    drawn = [(name, {batch: (found["median_ms"], found["p95_ms"]) for batch, found in item["latency"].items()})
             for name, item in forms.items()]
    write_atomic(root / "bench.svg", standalone(bench_chart(drawn, f"{machine['processor']}, {machine['cores']} cores")))
    return {"run": str(root), "host": machine, "batches": list(batches), "rows": table.num_rows, "reference": reference, "forms": forms}


def entries_of(finished: Finished, delivered: Path) -> list[Entry]:
    """Return every form of a run's finished stages, the delivered folder's first; one with the same weights as one before is left out."""
    root = finished.root
    places = [delivered, *(root / name for name in sorted(finished.kept) if root / name != delivered)]
    found, seen = [], set()
    for folder in places:
        manifest = finished.kept.get(folder.name) if folder != root else load_manifest(root)
        if manifest is None or not (folder / FILE).is_file():
            continue
        for form in read_forms(folder):
            mark = _weights(form, manifest)
            if mark not in seen:
                seen.add(mark)
                found.append(Entry(f"{folder.name} {form.name}", folder, form.name))
    return found


def _weights(form: Form, manifest: Manifest) -> tuple[str, ...]:
    """Return what two forms share that are the same: the predictor's settings and the bytes of the weights."""
    return (form.predictor.model_dump_json(), type(form.predictor).__name__,
            *(str(manifest.files.get(name, {}).get("sha256", name)) for name in form.files))


def rows_of(finished: Finished) -> pa.Table:
    """Return raw rows of the run's own data: of the test split, or of validation where that is empty."""
    import numpy as np

    from bessemer.data.shards import ShardReader
    from bessemer.stages.compress import raw_rows

    root = finished.root
    data = next((root / name for name, item in sorted(finished.kept.items()) if item.kind in ("prepare", "stream")), None)
    if data is None:
        raise UserError(f"'{root}' holds no prepared data, whose rows the forms would answer; give a run's folder, such as runs/NAME")
    for split in ("test", "validation"):
        count = len(ShardReader(data / split)) if (data / split).is_dir() else 0
        if count:
            return raw_rows(data, split, np.unique(np.linspace(0, count - 1, min(ROWS, count)).astype(np.int64)))[0]
    raise UserError(f"'{data}' has no rows in test or validation to measure with")


def numbers(text: str) -> tuple[int, ...]:
    """Return the batch sizes of `--batch 1,16`."""
    try:
        found = tuple(int(part) for part in text.split(","))
    except ValueError:
        found = ()
    if not found or min(found) < 1:
        raise UserError(f"--batch {text}: expected numbers of rows of 1 and more with commas between, such as 1,16")
    return found


def check_output(output: Path | None) -> None:
    """Refuse a file that cannot be written before anything is timed."""
    if output is not None and output.is_dir():
        raise UserError(f"'{output}' is a folder; give --output the name of a file for the numbers, such as {output / 'bench.json'}")
    if output is not None and not output.parent.is_dir():
        raise UserError(f"there is no folder '{output.parent}' to write '{output.name}' into; make it (mkdir -p '{output.parent}')")


def show(found: dict[str, Any], output: Path | None, write: Callable[[str], None]) -> None:
    """Print the table, say where the files are, and what to do next."""
    from bessemer.app import console
    from bessemer.report.show import milliseconds, times

    batches = [str(batch) for batch in found["batches"]]
    rows = []
    for name, item in found["forms"].items():
        timed, memory = item["latency"], item["memory"]
        most = timed[batches[-1]]
        rows.append((name, *(f"{milliseconds(timed[batch]['median_ms'])} ({timed[batch]['p95_ms']:.2f})" for batch in batches),
                     f"{most['rows_per_second']:,.0f}", times(timed[batches[0]]["ratio"]["median"]),
                     console.size(memory["peak"]) if memory else "–", console.size(item["size"]["form"])))
    machine = found["host"]
    console.table(f"{found['run']} on {machine['processor']}, {machine['cores']} cores: raw rows in, answers out, the forms in turn",
                  ("form", *(f"batch {batch}: median (p95)" for batch in batches), f"rows/s at {batches[-1]}",
                   f"faster than {found['reference']}", "peak memory", "size"), rows)
    write(f"plot: {Path(found['run']) / 'bench.svg'}")
    if output is not None:
        write_atomic(output, json.dumps(found, indent=1, ensure_ascii=False) + "\n")
        write(f"numbers: {output}")
    write(f"next: bessemer serve {found['run']}")
