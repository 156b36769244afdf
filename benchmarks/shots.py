"""python -m benchmarks.shots [--folder f]: what a network that is not trained further knows of a label by its name, and by 1 to 20 rows.

Zero shots: the vector of a label's name. Prototypes: the mean of its rows' vectors. Linear: logistic regression over them. Several draws of
the rows; validation rows choose the scale and the penalty. Some ten minutes on two cores.
"""

import argparse
import datetime
import statistics
from pathlib import Path
from typing import Any

from benchmarks.record import RESULTS
from bessemer.api import run
from bessemer.core.run import host

SHOTS = (1, 2, 5, 10, 20)
SETS: dict[str, dict[str, Any]] = {"tweets, two classes": {"name": "tweets", "where": {"label": ["positive", "negative"]}},
        "reviews-en, sentences": {"name": "reviews-en"}}
NAMES = {"positive": "I love it, this is great", "negative": "I hate it, this is awful"}


def stages(source: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "prepare": {"sources": [{"kind": "catalogue", **source}], "targets": {"label": {"kind": "category"}},
                    "inputs": {"text": {"kind": "text", "max_length": 64, "tokenizer": {"kind": "pretrained", "name": "minilm"}}},
                    "split": {"kind": "stratified", "validation": 200, "test": 1000}},
        "names": {"kind": "finetune", "model": {"kind": "probe", "name": "minilm", "method": "zero_shot", "names": NAMES}}}
    for method in ("prototypes", "linear"):
        for shots in SHOTS:
            probe = {"kind": "probe", "name": "minilm", "method": method, "shots": shots}
            found[f"{method}-{shots}"] = {"kind": "finetune", "model": probe}
    return {**found, "evaluate": {"models": list(found)[1:], "abstention_rows": 0}}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("runs/benchmark-shots"))
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args(arguments)
    machine = host()
    lines = ["# Accuracy by the number of shots", "", "minilm, not trained further; 1,000 test rows; mean and range over "
             f"{options.seeds} draws of splits and shots; 200 validation rows choose scale and penalty.", "",
             f"Machine: {machine['processor']}, {machine['cores']} cores. Date: {datetime.date.today()}. Command: "
             "`python -m benchmarks.shots`.", "", f"| set | way | 0 | {' | '.join(map(str, SHOTS))} |",
             "|---|---|---" + "|---" * len(SHOTS) + "|"]
    for name, source in SETS.items():
        values: dict[str, list[float]] = {}
        for seed in range(options.seeds):
            folder = options.folder / f"{source['name']}-{seed}"
            made = run({"name": folder.name, "output_dir": str(folder), "seed": seed, "stages": stages(source)})
            for form, item in made.stages["evaluate"].manifest.facts["forms"].items():
                values.setdefault(form.split()[0], []).append(item["accuracy"]["value"])
        shown = {way: f"{statistics.mean(found):.3f} ({min(found):.3f} to {max(found):.3f})" for way, found in values.items()}
        for method in ("prototypes", "linear"):
            lines.append(f"| {name} | {method} | {shown['names']} | {' | '.join(shown[f'{method}-{count}'] for count in SHOTS)} |")
    (RESULTS / "shots.md").write_text("\n".join([*lines, ""]), encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
