"""The report: one HTML file with everything inside, which opens offline and prints.

Texts come from the user's data: the template escapes every one of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bessemer.report import plots, show, svg
from bessemer.report.columns import ColumnRow
from bessemer.report.data import Curve, Headline, ReportData
from bessemer.report.front import front_chart
from bessemer.report.part import Value
from bessemer.report.sheets import Comparison, Evaluation, Form

if TYPE_CHECKING:
    from markupsafe import Markup

MAX_ROWS = 50
MAX_COLUMNS = 200

SECTIONS = (
    ("forms", "Forms of the model"), ("fronts", "Compressed to a budget"),
    ("comparisons", "Paired comparisons"), ("evaluation", "Evaluation"),
    ("errors", "Most confident errors"), ("examples", "Predictions"), ("others", "Further targets"), ("overlaps", "Overlap with training"),
    ("updates", "Update"), ("curves", "Training"), ("funnel", "Data"), ("columns", "Columns"), ("suspects", "Labels that look wrong"),
    ("quarantine", "Quarantine"),
    ("stages", "Cost"),
    ("recipe", "Recipe and environment"), ("commands", "Next"),
)
"""Every section in the order of the page."""

MEASURES = {"pearson": "Pearson", "spearman": "Spearman", "eta": "correlation ratio", "cramers_v": "Cramér's V"}
VERDICTS = {"better": "good", "worse": "bad", "no difference": "even"}


def shown(data: ReportData) -> dict[str, str]:
    """Return id -> title of the sections that have something to show."""
    present = {
        "funnel": bool(data.funnel or data.splits), "stages": bool(data.stages or data.host),
        "recipe": bool(data.recipe or data.environment),
        "evaluation": bool(data.evaluation and (data.evaluation.metrics or data.evaluation.confusion)),
    }
    found = {}
    for name, title in SECTIONS:
        if name == "others":
            found.update({f"target-{index}": f"Target {target.name}" for index, target in enumerate(data.others, 2)})
        elif present.get(name, bool(getattr(data, name))):
            found[name] = title
    if "errors" in found and data.evaluation and data.evaluation.kind == "number":
        found["errors"] = "Largest errors"
    return found


def final_form(data: ReportData) -> Form | None:
    """Return the form that the run delivers: the one marked final, else the last, else none."""
    return next((form for form in data.forms if form.final), data.forms[-1] if data.forms else None)


def headlines(data: ReportData) -> tuple[Headline, ...]:
    """Return the numbers at the top: those given, else accuracy, difference, size and speed of the final form."""
    form = final_form(data)
    if data.headlines or form is None:
        return data.headlines
    found = []
    first = next(((name, value) for name, value in form.metrics.items() if value.value is not None), None)
    if first is not None:
        name, value = first
        note = show.limits(value, name)
        found.append(Headline(label=f"{data.split} {show.title(name)}", value=show.scored(value, name),
                              note=f"{note} · 95% interval" if note else form.name))
    if data.comparisons:
        found.append(_difference(data.comparisons[0]))
    if form.size_bytes is not None:
        found.append(Headline(label="size", value=show.size(form.size_bytes), note=form.name))
    if form.speedup is not None and form.name != data.reference:
        note = f"{show.milliseconds(form.latency_median_ms)} a row, median"
        found.append(Headline(label=f"faster than {data.reference}", value=show.times(form.speedup), note=note))
    return tuple(found)


def _difference(found: Comparison) -> Headline:
    return Headline(label=f"{show.title(found.metric)} against {found.b}", value=show.change(found.difference, found.metric),
                    note=f"{show.limits(found.difference, found.metric)} · paired",
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
    name = next(iter(metric_names(data.forms)), "")
    rows = [(form.name, form.metrics[name], form.final) for form in data.forms if name in form.metrics]
    known = [(label, value.value, value.low, value.high, final) for label, value, final in rows if value.value is not None]
    if len(known) > 1:
        texts = [show.scored(value, name) for _, value, _ in rows if value.value is not None]
        found["forms"] = svg.whiskers(known, f"{data.split} {show.title(name)}", texts)
    found["fronts"] = [front_chart(front) for front in data.fronts]
    found["evaluation"] = sheet_charts(data.evaluation) if data.evaluation else {}
    found["others"] = [sheet_charts(target.evaluation) for target in data.others]
    found["columns"] = [_column(row) for row in data.columns[:MAX_COLUMNS]]
    found["funnel"] = [svg.funnel(row.rows_out, list(row.rejected.items()), f"rows of {row.source}")
                       for row in data.funnel]
    return found


def metric_names(forms: tuple[Form, ...]) -> list[str]:
    """Return the metrics that the forms have, in the order of the first that has each."""
    return list(dict.fromkeys(name for form in forms for name in form.metrics))


def sheet_charts(sheet: Evaluation) -> dict[str, str]:
    """Return the drawings of one score sheet, of whatever kind."""
    found = {}
    if sheet.scatter:
        found["scatter"] = plots.scatter(sheet.scatter)
    if sheet.residuals:
        found["residuals"] = plots.histogram(sheet.residuals.edges, sheet.residuals.counts, (0.0, "no error"))
    if sheet.quantiles:
        found["quantiles"] = plots.quantiles([(row.level, row.below) for row in sheet.quantiles])
    if sheet.confusion:
        found["confusion"] = svg.heat_map(sheet.confusion, sheet.labels)
    if sheet.roc:
        found["roc"] = svg.roc([svg.Line(f"{curve.label}: AUC {show.plain(curve.auc)}", curve.fpr, curve.tpr)
                                for curve in sheet.roc[:svg.COLOURS]])
    if sheet.calibration:
        found["calibration"] = svg.reliability([(row.low, row.high, row.confidence, row.accuracy, row.count)
                                                for row in sheet.calibration])
    return found


def _column(row: ColumnRow) -> str:
    if not row.train:
        return ""
    bins = zip(row.edges, row.edges[1:], strict=False)
    names = row.values or [f"{show.significant(low)} to {show.significant(high)}" for low, high in bins]
    test = [f", test {show.percent(share)}" for share in row.test] or [""] * len(row.train)
    tips = [f"{name}: train {show.percent(share)}{more}" for name, share, more in zip(names, row.train, test, strict=True)]
    return plots.spark(row.train, row.test, tips, f"values of {row.name}")


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
                     show.duration, show.times, show.percent, show.chance, show.clip, show.title, show.scored, show.limits, show.change,
                     show.significant, show.brief):
        environment.filters[f"metric_{function.__name__}" if function is show.title else function.__name__] = function
    labels = list(dict.fromkeys(label for split in data.splits for label in split.labels))
    return environment.get_template("template.html.j2").render(
        data=data, shown=shown(data), headlines=headlines(data), charts=_marked(charts(data)), verdicts=VERDICTS,
        max_rows=MAX_ROWS, max_columns=MAX_COLUMNS, measures=MEASURES,
        many_targets=len({item.target for row in data.columns for item in row.associations}) > 1,
        split_labels=labels[:12], Value=Value, metric_names=metric_names)
