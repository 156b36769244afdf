"""The report: one HTML file with everything inside, which opens offline and prints.

Texts come from the user's data: the template escapes every one of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bessemer.report import show, svg
from bessemer.report.data import Comparison, Curve, Form, Headline, ReportData, Value

if TYPE_CHECKING:
    from markupsafe import Markup

MAX_ROWS = 50

SECTIONS = (
    ("forms", "Forms of the model"), ("comparisons", "Paired comparisons"), ("evaluation", "Evaluation"),
    ("errors", "Most confident errors"), ("examples", "Predictions"), ("overlaps", "Overlap with training"),
    ("curves", "Training"), ("funnel", "Data"), ("quarantine", "Quarantine"), ("stages", "Cost"),
    ("recipe", "Recipe and environment"), ("commands", "Next"),
)
"""Every section in the order of the page."""

VERDICTS = {"better": "good", "worse": "bad", "no difference": "even"}


def shown(data: ReportData) -> dict[str, str]:
    """Return id -> title of the sections that have something to show."""
    present = {
        "funnel": bool(data.funnel or data.splits), "stages": bool(data.stages or data.host),
        "recipe": bool(data.recipe or data.environment),
        "evaluation": bool(data.evaluation and (data.evaluation.metrics or data.evaluation.confusion)),
    }
    return {name: title for name, title in SECTIONS if present.get(name, bool(getattr(data, name)))}


def final_form(data: ReportData) -> Form | None:
    """Return the form that the run delivers: the one marked final, else the last, else none."""
    return next((form for form in data.forms if form.final), data.forms[-1] if data.forms else None)


def headlines(data: ReportData) -> tuple[Headline, ...]:
    """Return the numbers at the top: those given, else accuracy, difference, size and speed of the final form."""
    form = final_form(data)
    if data.headlines or form is None:
        return data.headlines
    found = []
    if form.accuracy.value is not None:
        note = show.bounds(form.accuracy)
        found.append(Headline(label=f"{data.split} accuracy", value=show.plain(form.accuracy.value),
                              note=f"{note} · 95% interval" if note else form.name))
    if data.comparisons:
        found.append(_difference(data.comparisons[0]))
    if form.size_bytes is not None:
        found.append(Headline(label="size", value=show.size(form.size_bytes), note=form.name))
    if form.speedup is not None:
        note = f"{show.milliseconds(form.latency_median_ms)} a row, median"
        found.append(Headline(label="faster than torch fp32", value=show.times(form.speedup), note=note))
    return tuple(found)


def _difference(found: Comparison) -> Headline:
    return Headline(label=f"{found.metric} against {found.b}", value=show.signed(found.difference.value),
                    note=f"{show.bounds(found.difference)} · paired",
                    tone={"better": "good", "worse": "bad"}.get(found.verdict, ""))


def _words(name: str) -> str:
    return name.replace("/", " ").replace("_", " ")


def panels(curve: Curve) -> list[tuple[str, str]]:
    """Return (title, chart) of one stage: losses together, learning rate, gradient norm, then the other scores."""
    groups: dict[str, list[str]] = {"Loss": [], "Learning rate": [], "Gradient norm": [], "Scores": []}
    for name in sorted({name for point in curve.points for name in point} - {"step", "epoch"}):
        group = ("Loss" if "loss" in name else "Learning rate" if name in ("learning_rate", "lr") else
                 "Gradient norm" if "grad" in name else "Scores")
        groups[group].append(name)
    found = []
    for title, names in groups.items():
        drawn = [line for name in names if (line := _line(curve, name)) is not None]
        if drawn:
            label = f"{title} of {curve.stage} by step"
            mark = None if title == "Learning rate" else curve.best_step
            chart = svg.lines(drawn, label, ("step", ""), mark)
            alone = len(drawn) == 1 and title in ("Loss", "Scores")  # no legend then: the title names the line
            found.append((drawn[0].name.capitalize() if alone else title, chart))
    return found


def _line(curve: Curve, name: str) -> svg.Line | None:
    pairs = [(point["step"], point[name]) for point in curve.points if point.get(name) is not None]
    kept = [(float(step), float(value)) for step, value in pairs if step is not None and value is not None]
    if not kept:
        return None
    return svg.Line(_words(name), [step for step, _ in kept], [value for _, value in kept])


def charts(data: ReportData) -> dict[str, Any]:
    """Return the drawings of every section that has data for one."""
    found: dict[str, Any] = {"curves": [panels(curve) for curve in data.curves]}
    rows = [(form.name, form.accuracy.value, form.accuracy.low, form.accuracy.high, form.final)
            for form in data.forms if form.accuracy.value is not None]
    if len(rows) > 1:
        found["forms"] = svg.whiskers([row for row in rows if row[1] is not None], f"{data.split} accuracy")
    if data.evaluation:
        sheet = data.evaluation
        if sheet.confusion:
            found["confusion"] = svg.heat_map(sheet.confusion, sheet.labels)
        if sheet.roc:
            found["roc"] = svg.roc([svg.Line(f"{curve.label}: AUC {show.plain(curve.auc)}", curve.fpr, curve.tpr)
                                    for curve in sheet.roc[:svg.COLOURS]])
        if sheet.calibration:
            found["calibration"] = svg.reliability([(row.low, row.high, row.confidence, row.accuracy, row.count)
                                                    for row in sheet.calibration])
    found["funnel"] = [svg.funnel(row.rows_out, list(row.rejected.items()), f"rows of {row.source}")
                       for row in data.funnel]
    return found


def _marked(found: Any) -> Any:
    """Mark drawings as safe: svg.py escaped their labels."""
    from markupsafe import Markup

    if isinstance(found, str):
        return Markup(found)  # noqa: S704 - made by svg.py alone
    if isinstance(found, dict):
        return {name: _marked(item) for name, item in found.items()}
    return [(item[0], _marked(item[1])) if isinstance(item, tuple) else _marked(item) for item in found]


def _finalize(value: Any) -> str | Markup:
    from markupsafe import Markup

    return value if isinstance(value, Markup) else show.clean(str(value))


def render(data: ReportData) -> str:
    """Return the report as one HTML document; the same data give the same bytes.

    Args:
        data: what to show; absent parts are left out.

    Returns:
        UTF-8 text that loads nothing from outside.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("bessemer.report", ""), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True, undefined=jinja2.StrictUndefined, finalize=_finalize)
    for function in (show.plain, show.signed, show.bounds, show.both, show.whole, show.size, show.milliseconds,
                     show.duration, show.times, show.percent, show.chance, show.clip):
        environment.filters[function.__name__] = function
    labels = list(dict.fromkeys(label for split in data.splits for label in split.labels))
    return environment.get_template("template.html.j2").render(
        data=data, shown=shown(data), headlines=headlines(data), charts=_marked(charts(data)), verdicts=VERDICTS,
        max_rows=MAX_ROWS, split_labels=labels[:12], Value=Value)
