"""python -m benchmarks.billion [--minutes m]: recipes/billion.yaml as it is, then without `stop_at`: rows a second and memory."""

import argparse
import datetime
import json
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks.record import RESULTS
from benchmarks.stream import anonymous
from bessemer.core.errors import Interrupted
from bessemer.core.events import Events
from bessemer.core.recipe import Recipe, load_recipe
from bessemer.core.run import Options, Stop, execute, host

RECIPE = Path(__file__).parents[1] / "recipes" / "billion.yaml"


class Watch:
    """Notes every ten seconds how many steps of training are done and how much anonymous memory the process has."""

    def __init__(self, rows_a_step: int) -> None:
        self.rows, self.steps, self.started = rows_a_step, 0, 0.0
        self.points: list[tuple[float, int, float]] = []

    def __call__(self, kind: str, data: dict[str, Any]) -> None:
        if kind == "progress" and data["label"] == "train":
            now = time.monotonic()
            self.started = self.started or now
            self.steps = data["done"]
            if not self.points or now - self.started - self.points[-1][0] >= 10:
                self.points.append((now - self.started, self.steps * self.rows, anonymous()))


def whole(folder: Path) -> tuple[dict[str, Any], float, float]:
    """Run the recipe as it is; return its scores, the training's seconds and the whole run's."""
    started = time.perf_counter()
    result = execute(load_recipe(RECIPE), Events(), Options(root=folder))
    seconds = time.perf_counter() - started
    scores = json.loads((result.stages["evaluate"].folder / "scores.json").read_text(encoding="utf-8"))
    return {"scores": scores, "facts": result.stages["finetune"].manifest.facts}, result.stages["finetune"].seconds, seconds


def long(folder: Path, minutes: float) -> Watch:
    """Train without `stop_at` until the minutes are over; the run ends as Ctrl-C ends one."""
    recipe: Recipe = load_recipe(RECIPE, ["finetune.stop_at=null"])
    watch, stop = Watch(recipe.stages["finetune"].per_device_train_batch_size), Stop()
    timer = threading.Timer(60 * minutes, lambda: setattr(stop, "signal_number", 2))
    timer.start()
    try:
        execute(recipe, Events([watch]), Options(root=folder, until="finetune"), stop)
    except Interrupted:
        pass
    finally:
        timer.cancel()
    return watch


def report(first: dict[str, Any], seconds: tuple[float, float], watch: Watch) -> str:
    machine = host()
    form, linear = (item["metrics"]["r2"] for item in list(first["scores"]["forms"].values())[:2])
    rows = first["facts"]["steps"] * watch.rows
    lines = ["# A billion rows", "", f"`bessemer run recipes/billion.yaml` ended after {rows:,} of 1,000,000,000 rows (stop_at), training "
             f"{seconds[0]:.0f} s, the whole run {seconds[1]:.0f} s: R² {form['value']:.7f} [{form['low']:.7f}, {form['high']:.7f}] on "
             f"{next(iter(first['scores']['forms'].values()))['rows']:,} held-out rows; the linear model, which is the law "
             f"itself, {linear['value']:.9f}.", "", "The same recipe without stop_at, watched every ten seconds, shown by the minute: rows "
             "consumed, rows a second since the line before, anonymous memory of the process (RssAnon).", "",
             f"Machine: {machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB, {machine['system']}, Python "
             f"{machine['python']}. Date: {datetime.date.today()}. Command: `python -m benchmarks.billion`.", "",
             "| minutes | rows | rows/s | anonymous MB |", "|" + "---|" * 4]
    last = watch.points[0]
    for point in watch.points[1:]:
        if point[0] - last[0] >= 60:
            rate = (point[1] - last[1]) / (point[0] - last[0])
            lines.append(f"| {point[0] / 60:.1f} | {point[1]:,} | {rate:,.0f} | {point[2]:.0f} |")
            last = point
    begun, end = watch.points[0], watch.points[-1]
    lines += ["", f"In all {end[1]:,} rows in {end[0] / 60:.1f} minutes: {(end[1] - begun[1]) / (end[0] - begun[0]):,.0f} rows/s; "
              f"anonymous memory at most {max(point[2] for point in watch.points):.0f} MB. At this rate a whole pass takes "
              f"{1e9 / ((end[1] - begun[1]) / (end[0] - begun[0])) / 3600:.2f} hours.", ""]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=21)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        first, *seconds = whole(Path(place) / "whole")
        watch = long(Path(place) / "long", args.minutes)
    text = report(first, (seconds[0], seconds[1]), watch)
    (RESULTS / "billion.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
