"""`bessemer init` writes a recipe that runs, for files of other kinds, languages, label types and sizes."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import yaml

from bessemer.core.registry import plugin_of
from bessemer.data.inspect import infer_source
from tests.conftest import Command, left_over, sentences, write_csv

ARABIC = (["ممتاز", "رائع", "جميل"], ["سيئ", "فظيع", "مخيب"], ["الفندق", "الطعام", "الفيلم", "الخدمة"])
CHINESE = (["很好", "满意", "精彩"], ["很差", "失望", "糟糕"], ["房间", "饭菜", "航班", "电影"])
EMOJI = (["😀👍", "🎉💖", "🥰"], ["😡👎", "💔", "🤮"], ["the room", "le repas", "das Essen", "la película"])
NETWORK = {"kind": "bert", "num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32}


def written(words: tuple[list[str], list[str], list[str]], count: int, seed: int = 3) -> list[tuple[str, int]]:
    """Return (text, 1 or 0) of different texts in one of the scripts above."""
    generator = random.Random(seed)
    found: dict[str, int] = {}
    while len(found) < count:
        label = len(found) % 2
        things = " ".join(generator.choice(words[2]) for _ in range(4))
        found[f"{things} {generator.choice(words[1 - label])} {generator.randrange(10_000)} {generator.choice(words[1 - label])}"] = label
    return list(found.items())


def made_small(file: Path) -> None:
    """Change a written recipe so that it needs no weights and little time; everything about the data stays as written."""
    tree = yaml.safe_load(file.read_text(encoding="utf-8"))
    stages = tree["stages"]
    tree["threads"] = 1
    for column in stages["prepare"]["inputs"].values():
        column["tokenizer"] = {"kind": "wordpiece", "vocab_size": 500}
        column["max_length"] = min(column["max_length"], 64)
    if "pretrain" in stages:
        stages["pretrain"].update({"model": NETWORK, "num_train_epochs": 1})
    else:
        stages["finetune"]["model"] = NETWORK
    stages["finetune"].update({"num_train_epochs": 2, "learning_rate": 5e-3})
    stages["baseline"]["model"] = {"kind": "tfidf_linear", "analyzers": ["word"], "c": [1.0]}
    stages["compress"] = {"min_agreement": 0.5, "max_accuracy_drop": 0.5}
    stages["evaluate"]["resamples"] = 100
    file.write_text(yaml.safe_dump(tree, sort_keys=False, allow_unicode=True), encoding="utf-8")


def csv(delimiter: str, name: str) -> Any:
    return lambda folder, rows: write_csv(folder / name, rows, ("text", "label"), delimiter)


def jsonl(folder: Path, rows: list[tuple[str, Any]]) -> None:
    lines = [json.dumps({"id": index, "text": text, "label": label}, ensure_ascii=False) for index, (text, label) in enumerate(rows)]
    (folder / "data.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def parquet(folder: Path, rows: list[tuple[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"text": [text for text, _ in rows], "label": [label for _, label in rows]}), folder / "data.parquet")


def lines(folder: Path, rows: list[tuple[str, Any]]) -> None:
    (folder / "data.txt").write_text("".join(f"{label}\t{text}\n" for text, label in rows), encoding="utf-8")


def named(text: str, label: str) -> Any:
    return lambda folder, rows: write_csv(folder / "data.csv", rows, (text, label))


FILES: dict[str, tuple[Any, str, list[tuple[str, Any]], list[str]]] = {
    "semicolons": (csv(";", "data.csv"), "data.csv", list(sentences(60)), ["bad", "good"]),
    "tabs": (csv("\t", "data.tsv"), "data.tsv", list(sentences(200)), ["bad", "good"]),
    "JSON lines, whole numbers": (jsonl, "data.jsonl", written(EMOJI, 120), ["0", "1"]),
    "JSON lines, true and false": (jsonl, "data.jsonl", [(text, bool(label)) for text, label in written(CHINESE, 120)], ["false", "true"]),
    "Parquet, true and false": (parquet, "data.parquet", [(text, bool(label)) for text, label in written(ARABIC, 120)], ["false", "true"]),
    "Parquet, whole numbers": (parquet, "data.parquet", written(ARABIC, 60), ["0", "1"]),
    "label<TAB>text": (lines, "data.txt", list(sentences(60)), ["bad", "good"]),
    "Chinese": (csv(",", "data.csv"), "data.csv", written(CHINESE, 2000), ["0", "1"]),
    "Arabic": (csv(",", "data.csv"), "data.csv", written(ARABIC, 200), ["0", "1"]),
    "emoji": (csv(",", "données été.csv"), "données été.csv", written(EMOJI, 200), ["0", "1"]),
    "columns with spaces": (named("review text", "my label"), "data.csv", list(sentences(60)), ["bad", "good"]),
    "columns in Chinese": (named("评论", "情感"), "data.csv", written(CHINESE, 60), ["0", "1"]),
    "columns with signs of YAML": (named("text: #1 'q'", "- {label}"), "data.csv", list(sentences(60)), ["bad", "good"]),
    "reserved names": (named("row", "split"), "data.csv", list(sentences(60)), ["bad", "good"]),
    "reserved names of words": (named("source", "weight"), "data.csv", list(sentences(60)), ["bad", "good"]),
    "a column called yes": (named("null", "yes"), "data.csv", list(sentences(60)), ["bad", "good"]),
    "a number for a name": (named("2024", "1"), "data.csv", list(sentences(60)), ["bad", "good"]),
}
RUN_WHOLE = ("JSON lines, true and false",)


@pytest.mark.parametrize("case", FILES)
def test_init_then_prepare(bessemer: Command, here: Path, case: str) -> None:
    write, name, rows, labels = FILES[case]
    write(here, rows)
    recipe = started(bessemer, here, name)
    made_small(recipe)
    done = bessemer("run", recipe, "--until", "prepare")
    assert done.code == 0, done.err
    (run,) = (here / "runs").iterdir()
    columns = json.loads((run / "prepare/schema.json").read_text(encoding="utf-8"))["columns"]
    assert [column["labels"] for column in columns if column["role"] == "target"] == [labels]
    funnel = json.loads((run / "prepare/funnel.json").read_text(encoding="utf-8"))["sources"][0]
    assert funnel["rows_in"] == funnel["rows_out"] == len(rows)
    assert left_over(here) == []


def started(bessemer: Command, here: Path, name: str) -> Path:
    """Run init and return the recipe that it wrote, having checked that a plain reader of YAML reads it."""
    said = bessemer("init", name)
    assert said.code == 0, said.err
    (recipe,) = here.glob("*.yaml")
    assert f"bessemer run {recipe.name}" in " ".join(said.out.split())
    assert list(yaml.safe_load(recipe.read_text(encoding="utf-8"))["stages"])[0] == "prepare"
    return Path(recipe.name)


@pytest.mark.parametrize("case", [pytest.param(case, marks=() if case in RUN_WHOLE else pytest.mark.slow) for case in FILES])
def test_init_then_run(bessemer: Command, here: Path, case: str) -> None:
    write, name, rows, labels = FILES[case]
    write(here, rows)
    recipe = started(bessemer, here, name)
    made_small(recipe)
    done = bessemer("run", recipe)
    assert done.code == 0, done.err
    (run,) = (here / "runs").iterdir()
    assert f"bessemer serve {run.relative_to(here)}" in done.out
    text = next(iter(rows))[0]
    if len(json.loads((run / "export/schema.json").read_text(encoding="utf-8"))["columns"]) == 2:
        said = bessemer("predict", run, text)
        assert said.code == 0 and any(label in said.out for label in labels), said.err
    if case.startswith("reserved"):
        return  # the recipe renames columns, and a file to predict has them under the recipe's names
    said = bessemer("predict", run, "--file", name, "--output", "out.jsonl")
    assert said.code == 0, said.err
    found = [json.loads(line) for line in (here / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(found) == len(rows) and {row["label"] for row in found} <= set(labels)
    said = bessemer("evaluate", run, "--data", name)
    assert said.code == 0 and "accuracy" in said.out, said.err


SAID: dict[str, tuple[Any, dict[str, Any], str]] = {
    "number": (lambda text, label: 2.5 * label + sum(map(ord, text)) % 997 / 1000, {"kind": "number"}, "MAE"),
    "multilabel": (lambda text, label: [*(["good"] if label else ["bad"]), *(["food"] if "饭菜" in text else [])], {"kind": "multilabel"},
                   "F1 micro")}


@pytest.mark.parametrize("kind", SAID)
def test_a_number_and_several_labels_are_learnt_from_the_text(bessemer: Command, here: Path, kind: str) -> None:
    """Of text alone init writes a recipe of text, whatever is to be learnt: the text network, and the classical baseline beside it."""
    make, target, metric = SAID[kind]
    (here / "data.jsonl").write_text("".join(json.dumps({"text": text, "aim": make(text, label)}) + "\n"
                                             for text, label in written(CHINESE, 160)), encoding="utf-8")
    said = bessemer("init", "data.jsonl", "--target", "aim")
    assert said.code == 0, said.err
    stages = yaml.safe_load((here / "data.yaml").read_text(encoding="utf-8"))["stages"]
    assert stages["prepare"]["targets"] == {"aim": target} and stages["prepare"]["inputs"]["text"]["kind"] == "text"
    assert stages["prepare"]["split"]["kind"] == "random" and "task" not in stages["finetune"]
    made_small(Path("data.yaml"))
    done = bessemer("run", "data.yaml")
    assert done.code == 0, done.err
    assert metric in done.out and "baseline" in done.out
    said = bessemer("predict", "runs/data/baseline", "房间很好", "饭菜很差")
    assert said.code == 0, said.err


def test_does_not_write_over_a_recipe(bessemer: Command, here: Path) -> None:
    write_csv(here / "data.csv", sentences(60))
    assert bessemer("init", "data.csv").code == 0
    before = (here / "data.yaml").read_bytes()
    assert bessemer("init", "data.csv", "--target", "label").error == (
        "'data.yaml' is there already; delete it, or say --force to write over it")
    assert bessemer("init", "data.csv", "--force").code == 0 and (here / "data.yaml").read_bytes() == before


def test_chooses_the_target_and_leaves_identifiers_out(bessemer: Command, here: Path) -> None:
    rows = [(index, text, label, f"user{index}") for index, (text, label) in enumerate(sentences(80))]
    write_csv(here / "data.csv", rows, ("id", "body", "verdict", "author"))
    assert bessemer("init", "data.csv").code == 0
    prepare = yaml.safe_load((here / "data.yaml").read_text())["stages"]["prepare"]
    assert list(prepare["inputs"]) == ["body"] and list(prepare["targets"]) == ["verdict"]


def test_data_that_come_divided_stay_so(bessemer: Command, here: Path) -> None:
    rows = sentences(90, seed=5)
    for number, (text, label) in enumerate(rows):
        file = here / "films" / ("train" if number < 60 else "test") / label / f"{number}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    for name, part in (("train", rows[:60]), ("validation", rows[60:70]), ("test", rows[70:])):
        (here / "hub").mkdir(exist_ok=True)
        (here / "hub" / f"{name}.jsonl").write_text("".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in part))
    for name, split, counts in (("films", {"kind": "given"}, (54, 6, 30)), ("hub", {"kind": "given", "column": "split"}, (60, 10, 20))):
        said = bessemer("init", name, "--target", "label")
        assert "they come divided (train, " in said.out
        file = here / f"{name}.yaml"
        assert yaml.safe_load(file.read_text(encoding="utf-8"))["stages"]["prepare"]["split"] == split
        made_small(file)
        assert bessemer("run", file.name, "--until", "prepare").code == 0
        funnel = json.loads((here / "runs" / name / "prepare" / "manifest.json").read_text(encoding="utf-8"))["facts"]["rows"]
        assert tuple(funnel[part] for part in ("train", "validation", "test")) == counts


@pytest.mark.parametrize("between", ["", "all/"])
def test_the_label_of_a_divided_folder_is_the_one_that_the_recipe_learns(bessemer: Command, here: Path, between: str) -> None:
    for number, (text, label) in enumerate(sentences(90, seed=5)):
        below = f"{between}mood {label}" + ("" if between else f"/{('ru', 'ar', 'th')[number % 3]}")
        file = here / "fold" / ("train" if number < 60 else "test") / below / f"{number}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    labels = sorted({f"mood {label}" for _, label in sentences(90, seed=5)})
    said = bessemer("init", "fold", "--target", "label").out
    assert f"label: category, {len(labels)} different" in said and all(f"{label} (" in said for label in labels)
    made_small(here / "fold.yaml")
    assert bessemer("run", "fold.yaml", "--until", "prepare").code == 0
    schema = json.loads((here / "runs/fold/prepare/schema.json").read_text(encoding="utf-8"))
    assert next(column["labels"] for column in schema["columns"] if column["role"] == "target") == labels
    assert set(dict(rows_of(here / "fold"))) == set(labels) == set(dict(rows_of(here / "fold" / "test")))


def rows_of(folder: Path) -> list[tuple[str, str]]:
    """Return the label and the text of each row as a command reads a folder."""
    config = infer_source(folder)
    rows = (row for chunk in plugin_of("data/sources", config).function(config).read() for row in chunk.table.to_pylist())
    return [(row["label"], row["text"]) for row in rows]
