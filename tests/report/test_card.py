"""The model card: front matter as the hub reads it, a body with intervals, hostile words made harmless."""

from __future__ import annotations

import yaml

from bessemer.report.card import model_card
from bessemer.report.data import ReportData


def split(card: str) -> tuple[dict[str, object], str]:
    start, head, body = card.split("---\n", 2)
    assert start == ""
    return yaml.safe_load(head), body


def test_front_matter_is_a_model_index(sample: ReportData) -> None:
    head, body = split(model_card(sample))
    assert head["license"] == "apache-2.0" and head["language"] == ["en"] and head["tags"] == ["bessemer", "sentiment"]
    assert "base_model" not in head and head["pipeline_tag"] == "text-classification"
    [model] = head["model-index"]
    [result] = model["results"]
    assert model["name"] == "Sentiment of posts"
    assert result["dataset"] == {"name": "Posts & reviews", "type": "posts-reviews", "split": "test"}
    values = {metric["type"]: metric["value"] for metric in result["metrics"]}
    expected = sample.evaluation.metrics["accuracy"]
    assert values["accuracy"] == round(expected.value, 6)
    assert f"| accuracy | {expected.value:.4f} | [{expected.low:.3f}, {expected.high:.3f}] |" in body
    for title in ("Intended use", "Data", "Training", "Evaluation", "Limitations", "How to use"):
        assert f"\n## {title}\n" in body
    assert "Sarcasm is often read literally." in body and "ONNX int8 (this)" in body
    assert model_card(sample) == model_card(ReportData.model_validate_json(sample.model_dump_json()))


def test_little_data_give_a_small_card_and_bad_words_no_markup(hostile: str) -> None:
    head, body = split(model_card(ReportData(title=hostile + "\n---\n: [", split="test")))
    assert head == {"pipeline_tag": "text-classification", "tags": ["bessemer"]}
    assert "<script" not in body and "## Evaluation" not in body and "\x00" not in body
    head, body = split(model_card(ReportData.model_validate(
        {"title": "a: b\n---\n", "forms": [{"name": "x | y", "metrics": {"accuracy": {"value": 0.5, "low": 0.4, "high": 0.6}}}]})))
    assert head["model-index"][0]["results"][0]["metrics"] == [{"type": "accuracy", "name": "accuracy", "value": 0.5}]
    assert "| x \\| y | 0.5000 [0.400, 0.600] | – |" in body


def test_the_card_of_a_table_speaks_of_rows_and_of_every_target(tables: ReportData) -> None:
    head, body = split(model_card(tables))
    assert head["pipeline_tag"] == "tabular-regression"
    [result] = head["model-index"][0]["results"]
    assert result["metrics"][0]["type"] == "r2" and len(result["metrics"]) == 9
    assert "Estimating a number for rows of a table" in body and "text like" not in body and "a text to judge" not in body
    for words in ("price: on 900 rows", "extras: on 900 rows", "| R² | ", "| garden | ", "| form | R² | RMSE | MAE |",
                  "RMSE of price, finetune torch-float32 − baseline lightgbm: −", "Update update: kept aside. It is worse on the old rows",
                  "| old | RMSE | 40,210 | 41,022 | +811.7 [210.0, 1,400] |"):
        assert words in body, words
    assert "<script" not in body
