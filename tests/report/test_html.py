"""The report: whole, closed to the outside, safe against its own data, the same bytes for the same data."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from pydantic import ValidationError

from bessemer.report.data import Headline, Quarantined, ReportData
from bessemer.report.html import SECTIONS, final_form, headlines, panels, render, shown
from bessemer.report.part import Value
from bessemer.report.sheets import Evaluation, Form

VOID = {"meta", "br", "link", "img", "input", "hr", "rect", "circle", "line", "polyline", "polygon", "path"}


class Balance(HTMLParser):
    """Checks that every element is closed in order, and gathers tags, ids, links and texts."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.attributes: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in VOID or (tag == "rect" and not self.get_starttag_text().endswith("/>")):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID and self.open[-1:] != [tag]:
            return
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]} at {self.getpos()}"
        self.open.pop()


def parse(page: str) -> Balance:
    parser = Balance()
    parser.feed(page)
    assert parser.open == []
    return parser


@pytest.fixture(scope="module")
def page(sample: ReportData) -> str:
    return render(sample)


def test_is_well_formed_and_complete(page: str) -> None:
    parser = parse(page)
    assert len(parser.ids) == len(set(parser.ids))
    for name, title in SECTIONS:
        if name in ("others", "columns", "updates"):  # a table has them
            assert name not in parser.ids
            continue
        assert name in parser.ids and f'<h2 id="{name}-title">{title}</h2>' in page
    targets = {value[1:] for name, value in parser.attributes if name == "href"}
    assert targets <= set(parser.ids)
    assert page.startswith("<!doctype html>\n<html lang=\"en\">")
    assert page.count("<h1>") == 1


def test_nothing_is_loaded_from_outside(page: str) -> None:
    parser = parse(page)
    assert not {"script", "img", "iframe", "link", "object", "embed"} & set(parser.tags)
    assert all(value.startswith("#") for name, value in parser.attributes if name in ("src", "href", "xlink:href"))
    assert not any(name.startswith("on") for name, _ in parser.attributes)
    assert not re.search(r"url\(|@import", page)
    assert "default-src 'none'" in page


def test_texts_of_the_data_are_escaped_everywhere(page: str, hostile: str) -> None:
    assert hostile not in page and "<script" not in page and "<img" not in page
    assert "&lt;script&gt;alert" in page
    assert "\x00" not in page and "\x1b" not in page
    everywhere = ReportData.model_validate({
        "title": hostile, "summary": hostile, "lang": '"><script>', "data_name": hostile, "split": hostile,
        "forms": [{"name": hostile, "metrics": {"accuracy": {"value": 0.5}}, "note": hostile},
                  {"name": "b", "metrics": {hostile: {"value": 1}}}],
        "comparisons": [{"question": hostile, "a": hostile, "b": hostile, "metric": hostile, "difference": {"value": 1},
                         "verdict": hostile}],
        "curves": [{"stage": hostile, "alarm": hostile, "points": [{"step": 1, hostile: 2.0, "x": 1}, {"step": 2, "x": 1}]}],
        "evaluation": {"labels": [hostile, "b"], "confusion": [[1, 2], [3, 4]], "metrics": {hostile: {"value": 1}},
                       "roc": [{"label": hostile, "auc": 1, "fpr": [0, 1], "tpr": [0, 1]}],
                       "per_class": [{"label": hostile, "precision": 1, "recall": 1, "f1": 1, "support": 1}]},
        "funnel": [{"source": hostile, "rows_in": 1, "rejected": {hostile: 1}, "rows_out": 0}],
        "splits": [{"name": hostile, "rows": 1, "labels": {hostile: 1}}], "stages": [{"name": hostile, "seconds": 1}],
        "host": {hostile: hostile}, "environment": {hostile: hostile}, "recipe": hostile,
        "commands": [{"command": hostile, "about": hostile}]})
    found = render(everywhere)
    parser = parse(found)
    assert not {"script", "img"} & set(parser.tags)
    assert not any(name.startswith("on") for name, _ in parser.attributes)


def test_same_data_same_bytes_and_any_text_can_be_written(page: str, sample: ReportData) -> None:
    again = ReportData.model_validate_json(sample.model_dump_json())
    assert render(again).encode() == page.encode()
    lone = ReportData(title="x", quarantine=(Quarantined(source="a", row=1, reason="b", content="\ud800 ok"),))
    assert "\ufffd ok" in render(lone).encode("utf-8").decode()


def test_absent_sections_leave_nothing_behind() -> None:
    bare = ReportData(title="Nothing yet")
    found = render(bare)
    parse(found)
    assert shown(bare) == {} and "<section" not in found and "<nav" not in found and 'class="stats"' not in found
    only = ReportData(title="x", commands=({"command": "ls"},), evaluation=Evaluation())
    assert list(shown(only)) == ["commands"] and render(only).count("<section") == 1


def test_numbers_have_units_and_intervals(page: str, sample: ReportData) -> None:
    form = final_form(sample)
    assert form is not None and form.name == "ONNX int8"
    accuracy = form.metrics["accuracy"]
    assert f"{accuracy.value:.4f}<small>[{accuracy.low:.3f}, {accuracy.high:.3f}]</small>" in page
    for text in ("23.4 MB", "13.2 ms", "p95 14.9 ms", "2.08×", "3 min 2 s", "2.2 GB", "11,802 kept", "37 of 1,500",
                 "looked at once", "酒店的服务非常好", "−0.0033"):
        assert text in page
    assert [item.label for item in headlines(sample)] == [
        "test accuracy", "accuracy against TF-IDF + linear", "size", "faster than torch fp32"]
    given = (Headline(label="rows", value="3"),)
    assert headlines(sample.model_copy(update={"headlines": given})) == given


def test_curves_are_grouped_and_holes_are_left_out(sample: ReportData) -> None:
    found = dict(panels(sample.curves[1]))
    assert list(found) == ["Loss", "Learning rate", "Gradient norm", "Validation accuracy"]
    assert found["Loss"].count("<polyline class=\"line\"") == 4  # two lines, two keys
    assert "weights kept" in found["Loss"] and "weights kept" not in found["Learning rate"]


def test_long_lists_are_cut_and_say_so() -> None:
    rows = tuple(Quarantined(source="a", row=row, reason="r", content="x" * 5000) for row in range(60))
    found = render(ReportData(title="x", quarantine=rows))
    assert "10 more are not shown." in found and "x" * 401 not in found


def test_data_are_frozen_and_checked() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        ReportData(title="x", subtitle="y")
    form = Form(name="a", metrics={"accuracy": Value(value=None)})
    with pytest.raises(ValidationError, match="frozen"):
        form.name = "b"
    assert "–" in render(ReportData(title="x", forms=(form,)))


def test_a_table_with_numbers_and_flags_is_shown_whole(tables: ReportData, hostile: str) -> None:
    page = render(tables)
    parser = parse(page)
    assert len(parser.ids) == len(set(parser.ids)) and render(tables) == page
    assert {"target-2", "columns", "updates", "evaluation"} <= set(parser.ids)
    assert hostile not in page and not {"script", "img"} & set(parser.tags)
    sheet, flags = tables.evaluation, tables.others[0].evaluation
    assert page.count('class="dot"') == len(sheet.scatter) == 300
    for text in ('R²</th><th scope="col" class="n">RMSE</th><th scope="col" class="n">MAE</th>', ">Target extras</h2>",
                 ">Largest errors</h2>",
                 f"price</bdi>: 900 {tables.split} rows", "Estimate by truth", "on the dashed line a quantile covers", "test R²",
                 "Hill &amp; Dale", "2.1%", "every value is different", ">kept aside</span>", "+811.7<small>[210.0, 1,400]</small>",
                 f'{flags.metrics["f1_micro"].value:.4f}', "Subset accuracy", "Average precision", "0.4400", "2 new values",
                 "speed".capitalize() + "<br>to baseline lightgbm", "RMSE against baseline lightgbm"):
        assert text in page, text
    assert "recall and F1 are means" not in page and ">Text</th>" not in page and ">Confidence</th>" not in page


def test_large_numbers_keep_four_digits(tables: ReportData) -> None:
    rmse = tables.evaluation.metrics["rmse"].value
    assert 1e4 < rmse < 1e6 and f"{rmse:,.0f}" in render(tables)
