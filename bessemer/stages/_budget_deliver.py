"""The end of a search: the front, the choice, the chosen form measured again in turn with the trained network, and its folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bessemer.search.front import SLACK, Choice, Limits, choose, pareto
from bessemer.stages._budget_measure import Place, in_turn
from bessemer.stages._budget_try import ENDED, NO_TIME, SECOND, Hunt, point_of

FRONT = "front.json"
KEPT = ("quality", "drop", "worst_target", "size_bytes", "latency_ms", "p95_ms", "latency_16_ms", "memory_bytes", "ratio", "lossy", "exits")


def deliver(hunt: Hunt, trained: Path, out: Path) -> dict[str, Any]:
    """Write the chosen network's folder with the chosen form first; return facts."""
    from bessemer.core.forms import read_forms, write_forms
    from bessemer.stages._checks import write_checks
    from bessemer.stages.compress import FLOAT, copy_files, copy_weights
    from bessemer.stages.early_exit import NAME

    listed = candidates(hunt)
    choice = chosen(hunt, listed)
    entry = listed[choice.index]
    folder, model = Path(entry["folder"]), Path(entry["model"])
    place = place_of(entry)
    form = place.shortened(next(item for item in read_forms(folder) if item.name == entry["form"]))
    members = getattr(form.predictor, "forms", ())  # of a cascade
    plain = [item for item in read_forms(folder) if item.name != form.name and item.name in (FLOAT, NAME, *members)]
    copy_files(folder, out)
    for item in (form, *plain):
        copy_weights(item, folder, out)
    for name in ("config.json", "model.safetensors"):
        if (model / name).is_file():  # TF-IDF with a linear model is no network
            shutil.copyfile(model / name, out / name)
    write_forms(out, (form, *plain))
    write_checks(out, hunt.yard.rows)
    again = in_turn(hunt.yard, Place(out, form.name))
    hunt.run.timing("in_turn", again)
    front = summary(hunt, listed, choice, again["chosen"])
    (out / FRONT).write_text(json.dumps(front, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    hunt.run.publish(FRONT, volatile=True)
    hunt.run.note(front["sentence"])
    return {"form": form.name, "candidate": entry["name"], "reachable": front["reachable"], "sentence": front["sentence"],
            "limits": hunt.limits.plain(), "candidates": len(listed), "rows": hunt.yard.rows.num_rows, "size_bytes": entry["size_bytes"],
            "drop": entry["drop"], "own_network": model.resolve() != trained.resolve(), "decided_by": "measured latencies: another run of "
            "the search may choose otherwise", "methods": entry["methods"]}


def candidates(hunt: Hunt) -> list[dict[str, Any]]:
    """Return every form that was measured, in the order of the journal; the trained network's first."""
    found = []
    for record in hunt.journal.records.values():
        found += [{"name": f"{record['label']}; {item['how']}", "record": record["id"],
                   "model": record.get("model", ""), **item} for item in record.get("forms", ())]
    return found


def place_of(item: dict[str, Any]) -> Place:
    """Return where a measured form lies."""
    return Place(Path(item["folder"]), item["form"], item["length"])


def chosen(hunt: Hunt, listed: Sequence[dict[str, Any]]) -> Choice:
    """Return what the budget chooses of them."""

    def alike(best: int, other: int) -> bool:
        return hunt.yard.alike(hunt.yard.answers(place_of(listed[best])), hunt.yard.answers(place_of(listed[other])))

    return choose([point_of(item, item["name"]) for item in listed], hunt.limits, alike)


def summary(hunt: Hunt, listed: Sequence[dict[str, Any]], choice: Choice, again: dict[str, Any]) -> dict[str, Any]:
    """Return the content of `front.json`, JSON values."""
    from bessemer.core.run import host

    points = [point_of(item) for item in listed]
    kept = pareto([point.costs for point in points])
    shown = []
    for index, item in enumerate(listed):
        record = hunt.journal[item["record"]]
        shown.append({"name": item["name"], "status": "finished", "reason": "", "settings": record["settings"], "form": item["form"],
                      **{name: item[name] for name in KEPT if name in item}, "front": kept[index],
                      "fits": not hunt.limits.over(points[index]), "chosen": index == choice.index,
                      **({"brought": record["brought"]} if "brought" in record and item["methods"] else {})})
    for record in hunt.journal.records.values():
        if record.get("settings") and not record["forms"] and f"{SECOND}{record['id']}" not in hunt.journal:
            before = record.get("before") or record
            rungs = record.get("rungs") or [{}]
            shown.append({"name": record["label"], "status": record["status"], "reason": record["reason"], "settings": record["settings"],
                          "form": "", **{name: rungs[-1][name] for name in KEPT[:3] if name in rungs[-1]},
                          **{name: before[name] for name in ("size_bytes", "latency_ms") if name in before},
                          "front": False, "fits": False, "chosen": False})
    reference = hunt.journal["reference"]
    search = hunt.config.search
    assert search is not None
    several = {"target": next(iter(hunt.yard.truths))} if len(hunt.yard.truths) > 1 else {}
    reachable = choice.reached and not late(hunt.limits, again, 1 + SLACK)
    said, short = sentence(hunt, listed[choice.index], choice, (again, reachable)), ended_by_time(hunt)
    if short and not reachable:
        said = said.replace("not reachable", f"not reached within {search.lasts}", 1)
    return {"stage": hunt.run.name, "metric": hunt.yard.metric, **several, "limits": hunt.limits.plain(),
            "reachable": reachable, "ended_by_time": short, "sentence": said, "reference": {"name": "trained network", **{
                name: reference[name] for name in ("quality", "latency_ms", "p95_ms", "latency_16_ms")}, "size_bytes": trained_bytes(hunt)},
            "candidates": shown, "measured_again": again, "minutes": search.minutes, "seconds": round(hunt.journal.seconds, 1),
            "rows": hunt.yard.rows.num_rows, "host": host()}


def ended_by_time(hunt: Hunt) -> bool:
    """Tell whether networks were not looked at, or not trained to their end, because the time was short."""
    return ENDED in hunt.journal or any(str(record.get("reason", "")).startswith(NO_TIME) for record in hunt.journal.records.values())


def trained_bytes(hunt: Hunt) -> int:
    """Return the bytes that the trained network itself needs."""
    from bessemer.core.forms import read_forms
    from bessemer.measure.size import size

    return size(hunt.origin.folder, read_forms(hunt.origin.folder)[0].name)["form"]


def sentence(hunt: Hunt, item: dict[str, Any], choice: Choice, found: tuple[dict[str, Any], bool]) -> str:
    """Return the choice as a person says it; `found`: what was measured again at the end, and whether the budget is met by it."""
    from bessemer.report.show import signed

    again, reachable = found
    one, drop = again["1"], item["drop"]
    low, high = (None, None) if drop["low"] is None else (0 - drop["high"], 0 - drop["low"])
    ends = "" if low is None or high is None else f" [{signed(low)}, {signed(high)}]"
    why, slower = choice.why, ""
    target = f" of the target '{item['worst_target']}', which loses most," if "worst_target" in item else ""
    if choice.reached and not reachable:
        why = f"not reachable; the nearest is {item['name']}: {one['median_ms']:.2f} ms, measured again, of {hunt.limits.latency_ms:g}"
    elif choice.reached and late(hunt.limits, again):
        slower = f"; measured again it takes {one['median_ms']:.2f} ms, more than the budget's {hunt.limits.latency_ms:g}"
    return (f"{why}: {item['size_bytes'] / 1e6:.2f} MB, {one['median_ms']:.2f} ms a row, {one['ratio']['median']:.1f} times as "
            f"fast as the trained network, {hunt.yard.metric_of(item)}{target} {signed(0 - drop['value'])}{ends} on "
            f"{hunt.yard.rows.num_rows:,} validation rows{slower}")


def late(limits: Limits, again: dict[str, Any], times: float = 1.0) -> bool:
    """Tell whether the chosen form, measured again at the end, takes more than so many times the budget's latency."""
    return limits.latency_ms is not None and bool(again["1"]["median_ms"] > times * limits.latency_ms)
