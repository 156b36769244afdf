"""Console: events as bars with rate and time left, notes, and tables."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from bessemer.app.rehearse import Forecast

WIDTH = 140


def _console(stderr: bool) -> Console:
    """Return a console; where nobody looks (a file, a pipe) lines are wide instead of 80 columns."""
    made = Console(stderr=stderr, highlight=False)
    return made if made.is_terminal else Console(stderr=stderr, highlight=False, width=WIDTH)


out, err = _console(False), _console(True)


class Bars:
    """A listener that draws progress bars on a terminal and prints plain lines elsewhere."""

    def __init__(self, console: Console = err) -> None:
        self.console = console
        self.progress = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=28), TextColumn("{task.fields[count]}"),
            TimeElapsedColumn(), TimeRemainingColumn(compact=True), TextColumn("[dim]{task.fields[facts]}"), console=console,
            transient=True, disable=not console.is_terminal)
        self.tasks: dict[str, tuple[TaskID, float, str]] = {}

    def __enter__(self) -> Bars:
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def __call__(self, kind: str, data: dict[str, Any]) -> None:
        """Show one event."""
        handler = getattr(self, f"_{kind}", None)
        if handler is not None:
            handler(data)

    def _progress_start(self, data: dict[str, Any]) -> None:
        task = self.progress.add_task(data["label"], total=data["total"], count="", facts="")
        self.tasks[data["label"]] = (task, time.monotonic(), data["unit"])

    def _progress(self, data: dict[str, Any]) -> None:
        task, started, unit = self.tasks[data["label"]]
        rate = data["done"] / max(1e-9, time.monotonic() - started)
        total = f"/{data['total']:,}" if data["total"] else ""
        facts = "  ".join(f"{name} {value:.4g}" for name, value in list(data["facts"].items())[:3])
        self.progress.update(task, completed=data["done"], count=f"{data['done']:,}{total} {unit}, {rate:,.1f}/s", facts=facts)

    def _progress_end(self, data: dict[str, Any]) -> None:
        task, _, _ = self.tasks.pop(data["label"])
        self.progress.remove_task(task)

    def _stage_start(self, data: dict[str, Any]) -> None:
        self.console.print(Text(f"▸ {data['stage']}", style="bold"))

    def _stage_end(self, data: dict[str, Any]) -> None:
        self.console.print(Text(f"  done in {duration(data['seconds'])} → {data['folder']}", style="green"))

    def _stage_cached(self, data: dict[str, Any]) -> None:
        self.console.print(Text(f"✓ {data['stage']}: up to date", style="dim"))

    def _note(self, data: dict[str, Any]) -> None:
        self.console.print(Text(f"  {data['message']}"))


def duration(seconds: float) -> str:
    """Return seconds as a person says them.

    >>> duration(754), duration(3.21), duration(7300)
    ('12 min 34 s', '3.2 s', '2 h 1 min')
    """
    if seconds >= 3600:
        return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"
    if seconds >= 60:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"{seconds:.1f} s"


def size(count: float) -> str:
    """Return bytes as a person says them.

    >>> size(90_900_000), size(512)
    ('90.9 MB', '512 B')
    """
    for limit, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= limit:
            return f"{count / limit:.1f} {unit}"
    return f"{count:.0f} B"


def score(entry: Mapping[str, Any], metric: str = "accuracy") -> str:
    """Return a metric's value with its 95% interval.

    >>> score({"value": 51234.5, "low": 50000.0, "high": 52500.0}, "rmse")
    '51,234 [50,000, 52,500]'
    """
    from bessemer.report import show
    from bessemer.report.part import Value

    if entry.get("value") is None:
        return "undefined"
    value = Value(value=entry["value"], low=entry.get("low"), high=entry.get("high"))
    return f"{show.scored(value, metric)} {show.limits(value, metric, 4)}".rstrip()


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; numbers stand to the right.

    Where it is too wide, titles and names are broken over lines between their words before numbers are.
    """
    every = [tuple(str(item) for item in row) for row in rows]
    cells = [max((cell_len(row[place]) for row in every), default=0) for place in range(len(columns))]
    borders, word = 3 * len(columns) + 1, max(cell_len(part) for row in (columns, *every) for part in row[0].split() or [""])
    widths: list[int | None] = [None] * len(columns)
    if borders + sum(max(cell, cell_len(title)) for cell, title in zip(cells, columns, strict=True)) > out.width:
        least = [max(cell, *map(cell_len, title.split() or [""])) for cell, title in zip(cells, columns, strict=True)]
        room = out.width - borders - sum(least[1:])
        widths = [min(least[0], max(word, room)), *(least[1:] if room >= word else [None] * (len(columns) - 1))]
    out.print(Text(f"\n{title}", style="italic"))
    drawn = Table(header_style="bold")
    for index, column in enumerate(columns):
        drawn.add_column(Text(column), justify="right" if index else "left", width=widths[index])
    for row in every:
        drawn.add_row(*map(Text, row))
    out.print(drawn)


def results(scores: dict[str, Any], latency: dict[str, Any]) -> None:
    """Print a table of the forms for every target, and the paired comparisons of an evaluation."""
    from bessemer.evaluate.score import headline
    from bessemer.report import show

    forms: dict[str, Any] = scores["forms"]
    first = next(iter(forms.values()))
    further: dict[str, Any] = first.get("others", {})
    for target in (None, *further):
        sheets = {name: item if target is None else item["others"][target] for name, item in forms.items()}
        sheet = first if target is None else further[target]
        kind = sheet.get("kind", "label")
        names = headline(kind)
        rows = [(name, *(score(found["metrics"][metric], metric) for metric in names), *_costs(forms[name], latency.get(name), target))
                for name, found in sheets.items()]
        of = f" of {target or first['target']}" if further else ""
        macro = ", recall and F1 macro" if kind == "label" else ""
        told = "; latency of one row, raw row in" if target is None else ""
        table(f"{scores['split']}{of}: {sheet['rows']:,} rows, value [95% interval]{macro}{told}",
              ("form", *map(show.title, names), *(("size", "ms median (p95)") if target is None else ())), rows)
        for name, found in sheets.items():
            if "without_overlap" in found:
                apart, metric = found["without_overlap"], names[0]
                out.print(Text(f"{name}: without the {found['rows'] - apart['rows']:,} rows that are in training, or near to one: "
                               f"{show.title(metric)} {score(apart['metrics'][metric], metric)} on {apart['rows']:,} rows"))
    pairs(scores["pairs"])


def _costs(form: Mapping[str, Any], timed: Mapping[str, Any] | None, target: str | None) -> tuple[str, ...]:
    """Return size and latency, which stand in the first target's table alone."""
    if target is not None:
        return ()
    return size(form["size_bytes"]), f"{timed['median']:.2f} ({timed['p95']:.2f})" if timed else "–"


def pairs(found: Sequence[dict[str, Any]]) -> None:
    """Print paired comparisons by the first metric of each."""
    from bessemer.evaluate.paired import COMPARED
    from bessemer.report import show
    from bessemer.report.part import Value

    several = len({pair.get("target") for pair in found}) > 1
    for pair in found:
        metric = COMPARED[pair.get("kind", "label")][0]
        entry = pair[metric]
        value = Value(value=entry["difference"], low=entry["low"], high=entry["high"])
        of = f" of {pair['target']}" if several else ""
        out.print(Text(f"{pair['a']} against {pair['b']}: {show.title(metric)}{of} {show.change(value, metric)} "
                       f"{show.limits(value, metric, 4)} on the same {pair['rows']:,} rows: {entry['verdict']}"))


def forecast(found: Forecast) -> None:
    """Print what a rehearsal found."""
    rows = [(stage.stage, "fails" if stage.problem else duration(stage.seconds), "–" if stage.problem else size(stage.disk_bytes))
            for stage in found.stages]
    table("rehearsal: what the real run needs", ("stage", "time", "disk"), rows)
    if found.problems:
        for problem in found.problems:
            err.print(Text(f"✗ {problem}", style="red"))
        return
    out.print(Text(f"in all: {duration(found.seconds)}, memory {size(found.memory_bytes)}, disk {size(found.disk_bytes)} at most "
                   f"({size(found.free_disk_bytes)} free)"))
