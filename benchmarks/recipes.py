"""python -m benchmarks.recipes RUN ...: keep the results of finished recipes as results/<name>.md."""

import json
import sys
from pathlib import Path

from benchmarks.record import RESULTS
from bessemer.app.console import duration, score, size


def main(root: Path) -> None:
    found = json.loads((root / "results.json").read_text())
    forms = list(dict.fromkeys(entry["form"] for entry in found["results"]))
    by = {(entry["form"], entry["metric"], entry.get("peer")): entry for entry in found["results"]}
    one = by[forms[0], "accuracy", None]
    machine = found["host"]
    lines = [f"# Recipe {root.name}", "",
             f"Split {one['split']}, {one['rows']:,} rows, seed {one['seed']}, 95% intervals from {one['resamples']:,} bootstrap "
             "resamples; recall and F1 are macro averages; latency of one row, raw text in, probabilities out, the forms in turn.", "",
             f"Machine: {machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB, {machine['system']}. Command: "
             f"`bessemer run recipes/{root.name}.yaml`.", "",
             "| stage and form | accuracy | recall | F1 | size | latency, ms (p95) |", "|---|---|---|---|---|---|"]
    for form in forms:
        timed = by.get((form, "latency", None))
        shown = [score(by[form, name, None]) for name in ("accuracy", "recall", "f1")]
        lines.append(f"| {form} | {' | '.join(shown)} | {size(by[form, 'size', None]['value'])} | "
                     + (f"{timed['value']:.2f} ({timed['p95']:.2f}) |" if timed else "– |"))
    lines += ["", "| pair, on the same rows | accuracy difference | verdict |", "|---|---|---|"]
    lines += [f"| {entry['form']} against {entry['peer']} | {entry['value']:+.4f} [{entry['low']:+.4f}, {entry['high']:+.4f}] | "
              f"{entry['verdict']} |" for entry in found["results"] if entry["metric"] == "accuracy difference"]
    lines += ["", "| stage | time | peak memory |", "|---|---|---|"]
    total = 0.0
    for name in [line.strip().rstrip(":") for line in (root / "recipe.yaml").read_text().splitlines() if _stage(line)]:
        timings = json.loads((root / name / "timings.json").read_text())
        total += timings["seconds"]
        lines.append(f"| {name} | {duration(timings['seconds'])} | {size(timings['peak_memory_bytes'])} |")
    lines += [f"| in all | {duration(total)} | |", ""]
    (RESULTS / f"{root.name}.md").write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))


def _stage(line: str) -> bool:
    return line.startswith("  ") and not line.startswith("   ") and line.rstrip().endswith(":")


if __name__ == "__main__":
    for folder in sys.argv[1:]:
        main(Path(folder))
