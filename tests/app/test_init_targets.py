"""`bessemer init` for targets and texts that are no plain text with a label: tags, sets of labels, two texts, steps of a scale."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import yaml

from bessemer.app.starter import write_recipe
from bessemer.core.errors import UserError
from bessemer.data.inspect import inspect
from tests.conftest import Command, write_csv

NAMES = ["Ann Lee", "Bo", "Cy Fox Day"]
PLAIN = "we saw the old film with our friends in a small house by sea".split()
WORDS = ["我们", "今天", "北京", "大学", "学生", "在", "中华人民共和国"]


def tagged_words(count: int = 160) -> list[tuple[str, list[str]]]:
    """Return texts with their BIO tags, one a word."""
    generator, rows = random.Random(1), []
    for index in range(count):
        name = generator.choice(NAMES).split()
        words = generator.choices(PLAIN, k=generator.randint(2, 6))
        rows.append((" ".join([*words, *name, f"x{index}"]), [*["O"] * len(words), "B-PER", *["I-PER"] * (len(name) - 1), "O"]))
    return rows


def tagged_signs(count: int = 160) -> list[tuple[str, list[str]]]:
    """Return texts without spaces and the place of each character in its word."""
    generator, rows = random.Random(2), []
    for _ in range(count):
        words = generator.choices(WORDS, k=generator.randint(5, 9))
        rows.append(("".join(words), [place for word in words for place in ("S" if len(word) == 1 else f"B{'M' * (len(word) - 2)}E")]))
    return rows


def write_lines(file: Path, rows: list[tuple[str, Any]], name: str = "aim") -> None:
    file.write_text("".join(json.dumps({"text": text, name: value}, ensure_ascii=False) + "\n" for text, value in rows), encoding="utf-8")


def stages_of(file: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(Path(file).read_text(encoding="utf-8"))["stages"]
    return found


@pytest.mark.parametrize("task", [None, "tags"])
@pytest.mark.parametrize(("rows", "target", "tokenizer"), [
    (tagged_words(), {"kind": "tags"}, {"kind": "wordpiece", "vocab_size": 8000}),
    (tagged_signs(), {"kind": "tags", "unit": "character"}, {"kind": "characters"})])
def test_lists_as_long_as_the_text_are_tags(here: Path, rows: list[tuple[str, list[str]]], target: dict[str, Any],
                                            tokenizer: dict[str, Any], task: str | None) -> None:
    write_lines(here / "data.jsonl", rows)
    said = write_recipe(Path("data.jsonl"), ["aim"], task)[1]
    stages = stages_of("data.yaml")
    assert stages["prepare"]["targets"] == {"aim": target}
    assert stages["prepare"]["inputs"]["text"]["tokenizer"] == tokenizer
    assert stages["prepare"]["split"] == {"kind": "random", "validation": 0.1, "test": 0.15}
    learner = "ngrams" if target.get("unit") == "character" else "text_rnn"
    assert stages["finetune"]["model"]["kind"] == learner and stages["finetune"]["metric_for_best_model"] == "span_f1"
    assert list(stages) == ["prepare", "finetune", "compress", "evaluate", "export", "report"]
    labels = {label for _, tags in rows for label in tags}
    assert said[2].startswith(f"  aim: tags, {len(labels)} different labels, 0 missing → target: ")


def test_lists_and_texts_of_tags_in_one_column_are_tags(here: Path) -> None:
    """Each row is read as what it is; what nobody sees of a text is no word of it."""
    rows = tagged_words()
    mixed = [(text + " \u200b" * (index % 9 == 0), " ".join(tags) if index % 3 == 0 else tags) for index, (text, tags) in enumerate(rows)]
    write_lines(here / "data.jsonl", mixed)
    said = write_recipe(Path("data.jsonl"), ["aim"])[1]
    assert stages_of("data.yaml")["prepare"]["targets"] == {"aim": {"kind": "tags"}}
    labels = {label for _, tags in rows for label in tags}
    assert said[2].startswith(f"  aim: tags, {len(labels)} different labels, 0 missing → target: ") and "set aside" not in said[2]


def test_lists_and_texts_of_labels_in_one_column_are_sets(here: Path) -> None:
    generator, topics = random.Random(5), ["food", "money", "sport"]
    sets = [generator.sample(topics, 1 + index % 2) for index in range(120)]
    write_lines(here / "data.jsonl", [(sentence(generator), None if index % 10 == 7 else ";".join(held) if index % 3 == 0 else held)
                                      for index, held in enumerate(sets)])
    said = write_recipe(Path("data.jsonl"), ["aim"])[1]
    assert stages_of("data.yaml")["prepare"]["targets"] == {"aim": {"kind": "multilabel", "separator": ";"}}
    assert said[2].startswith("  aim: multilabel, 3 different labels, 12 missing → target: ") and "such rows are set aside" in said[2]


def test_several_targets_of_a_text_make_a_recipe_of_text(bessemer: Command, here: Path) -> None:
    generator = random.Random(6)
    rows = [(f"{sentence(generator)} {('good', 'bad')[index % 2]}", ("yes", "no")[index % 2], str(1 + index % 5),
             None if index % 4 == 0 else ["food", "staff"][:1 + index % 2]) for index in range(120)]
    (here / "data.jsonl").write_text("".join(json.dumps(dict(zip(("text", "mood", "stars", "about"), row, strict=True))) + "\n"
                                             for row in rows), encoding="utf-8")
    said = write_recipe(Path("data.jsonl"), ["mood", "stars", "about"])[1]
    stages = stages_of("data.yaml")
    assert stages["prepare"]["targets"] == {"mood": {"kind": "category"}, "stars": {"kind": "category"}, "about": {"kind": "multilabel"}}
    assert list(stages["prepare"]["inputs"]) == ["text"] and stages["prepare"]["inputs"]["text"]["kind"] == "text"
    assert "baseline" not in stages and "task" not in stages["finetune"]
    assert "30 of 120 values are missing" in said[4] and "this target learns nothing of such rows" in said[4]
    done = bessemer("run", "data.yaml", "prepare.inputs.text.tokenizer={kind: wordpiece, vocab_size: 300}", "threads=1",
                    "finetune.model={kind: text_cnn}", "finetune.num_train_epochs=1", "finetune.bf16=false", "--until", "finetune")
    assert done.code == 0, done.err
    with pytest.raises(UserError, match="the target 'tags' holds tags, one for each word or character, which are learnt by themselves"):
        write_lines(here / "tagged.jsonl", tagged_words(), "tags")
        lines = (here / "tagged.jsonl").read_text(encoding="utf-8").splitlines()
        (here / "tagged.jsonl").write_text("".join(json.dumps(json.loads(line) | {"mood": "ab"[index % 2]}) + "\n"
                                                   for index, line in enumerate(lines)), encoding="utf-8")
        write_recipe(Path("tagged.jsonl"), ["mood", "tags"])


def test_tags_with_spaces_between_are_learnt(bessemer: Command, here: Path) -> None:
    """From a CSV file of tags to spans that are found: the recipe as it is written, but for fewer passes."""
    write_csv(here / "data.csv", [(text, " ".join(tags)) for text, tags in tagged_words()], ("sentence", "ner"))
    assert bessemer("init", "data.csv", "--target", "ner").code == 0
    assert stages_of("data.yaml")["prepare"]["targets"] == {"ner": {"kind": "tags"}}
    done = bessemer("run", "data.yaml", "finetune.num_train_epochs=6", "evaluate.resamples=100", "finetune.model.hidden_size=32",
                    "threads=1", "compress.max_accuracy_drop=0.5", "compress.min_agreement=0.5")
    assert done.code == 0 and "span f1" in done.out, done.err
    said = bessemer("predict", "runs/data", "we saw the Ann Lee x7")
    assert said.code == 0 and "O O O B-PER I-PER O" in said.out, said.out


def test_tags_that_mark_no_spans_are_judged_by_the_loss(here: Path) -> None:
    write_lines(here / "data.jsonl", [(text, [{"O": "NN"}.get(tag, "NNP") for tag in tags]) for text, tags in tagged_words()])
    write_recipe(Path("data.jsonl"), ["aim"])
    assert "metric_for_best_model" not in stages_of("data.yaml")["finetune"]


def test_nearly_all_rows_have_to_fit(here: Path) -> None:
    """Of 160 rows 6 with another number are told; with 40 the lists are sets of labels, unless tags are asked for."""
    rows = tagged_words()
    for wrong, kind in ((6, "tags"), (40, "multilabel")):
        cut = [(text, tags[:-1] if index < wrong else tags) for index, (text, tags) in enumerate(rows)]
        write_lines(here / "data.jsonl", cut)
        found = inspect(here / "data.jsonl", "aim")
        assert found.target_modality == {"kind": kind}
        note = f"{wrong} of 160 rows have not one tag for each word of 'text' and will be set aside"
        assert inspect(here / "data.jsonl", "aim", "tags").columns[1].note == note
        assert inspect(here / "data.jsonl", "aim", "multilabel").task == "multilabel"


def test_sets_of_labels_stay_sets(here: Path) -> None:
    """Sets that happen to be as many as the words have no label twice; other sets are not as many as the words."""
    generator = random.Random(3)
    topics = ["food", "money", "sport", "travel", "war"]
    sets = [generator.sample(topics, generator.randint(2, 4)) for _ in range(120)]
    write_lines(here / "data.jsonl", [(" ".join(f"w{index}x{place}" for place in range(len(topic))), topic)
                                      for index, topic in enumerate(sets)])
    assert inspect(here / "data.jsonl", "aim").target_modality == {"kind": "multilabel"}
    write_lines(here / "data.jsonl", [(f"{' '.join(generator.choices(PLAIN, k=9))} {index}", topic) for index, topic in enumerate(sets)])
    assert inspect(here / "data.jsonl", "aim").task == "multilabel"
    with pytest.raises(UserError, match=r"'aim' holds no tag for each word or character of a text \(the best fit is one tag for each word "
                                        r"of 'text', in 0 of 120 rows\); expected lists, or text with a space between two tags"):
        inspect(here / "data.jsonl", "aim", "tags")


def test_the_kind_that_is_written_is_told(here: Path) -> None:
    """Sets of labels with a sign between them look like a category of their combinations, and are none."""
    generator = random.Random(4)
    rows = [(f"{' '.join(generator.choices(PLAIN, k=7))} {index}", ";".join(generator.sample(["ant", "bee", "cat"], 1 + index % 2)))
            for index in range(120)]
    write_csv(here / "data.csv", rows)
    said = write_recipe(Path("data.csv"), ["label"])[1]
    assert said[2].startswith("  label: multilabel, 3 different labels, 0 missing → target: ")
    write_lines(here / "lists.jsonl", [(text, labels.split(";")) for text, labels in rows], "topics")
    assert write_recipe(Path("lists.jsonl"), ["topics"])[1][2].startswith("  topics: multilabel, 3 different labels, 0 missing → target: ")
    assert {column.name: column.distinct for column in inspect(here / "lists.jsonl", "topics").columns}["topics"] == 3


def sentence(generator: random.Random, words: int = 7) -> str:
    return f"{' '.join(generator.choices(PLAIN, k=words))} {generator.randrange(10**6)}"


def test_two_texts_are_a_pair(bessemer: Command, here: Path) -> None:
    generator = random.Random(5)
    write_csv(here / "data.csv", [(sentence(generator), sentence(generator), ("no", "yes")[index % 2]) for index in range(120)],
              ("first", "second", "same"))
    said = bessemer("init", "data.csv")
    assert said.code == 0 and said.out.count("→ input, read with the other as a pair") == 2
    stages = stages_of("data.yaml")
    assert list(stages["prepare"]["inputs"]) == ["first", "second"] and "baseline" not in stages
    assert "to read one alone, remove" in Path("data.yaml").read_text(encoding="utf-8")
    for column in stages["prepare"]["inputs"].values():
        column["tokenizer"] = {"kind": "wordpiece", "vocab_size": 300}
    network = {"kind": "bert", "num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32}
    stages["finetune"].update({"model": network, "num_train_epochs": 1})
    Path("data.yaml").write_text(yaml.safe_dump({"name": "data", "threads": 1, "stages": stages}), encoding="utf-8")
    done = bessemer("run", "data.yaml", "--until", "finetune")
    assert done.code == 0, done.err
    said = bessemer("predict", "runs/data/finetune", '{"first": "we saw the film", "second": "the old house"}')
    assert said.code == 0 and ("yes" in said.out or "no" in said.out), said.err


def test_of_three_texts_the_longest_is_read_and_the_others_are_told(here: Path) -> None:
    generator = random.Random(6)
    write_csv(here / "data.csv", [(sentence(generator), sentence(generator, 20), sentence(generator), ("no", "yes")[index % 2])
                                  for index in range(120)], ("title", "body", "answer", "same"))
    said = write_recipe(Path("data.csv"), ["same"])[1]
    why = ("'body' is longer; two at most are read together: a pair needs a line for each under inputs, with the same settings, and no "
           "baseline")
    assert said[1:4] == [f"  title: text, 120 different, 0 missing → left out: {why}", "  body: text, 120 different, 0 missing → input",
                         f"  answer: text, 120 different, 0 missing → left out: {why}"]
    assert f"      # title: left out, {why}\n      # answer: left out, {why}\n" in Path("data.yaml").read_text(encoding="utf-8")
    assert list(stages_of("data.yaml")["prepare"]["inputs"]) == ["body"]


@pytest.mark.parametrize(("labels", "hint", "order"), [
    (["1", "2", "3", "4", "5"], True, False), (["very bad", "bad", "ok", "good", "very good"], True, True),
    (["差", "中等", "很好"], True, True),
    (["film", "hotel", "food"], False, False), (["1", "2"], False, False)])
def test_steps_of_a_scale_are_told(here: Path, labels: list[str], hint: bool, order: bool) -> None:
    generator = random.Random(7)
    write_csv(here / "data.csv", [(sentence(generator), labels[index % len(labels)]) for index in range(200)], ("text", "grade"))
    said = write_recipe(Path("data.csv"), ["grade"])[1]
    text = Path("data.yaml").read_text(encoding="utf-8")
    line = "    # task: {kind: supervised, ordinal: [grade]}    # where labels are steps of a scale: a near miss costs less than"
    assert (line in text) == hint and ("labels: [lowest, ..., highest]" in text) == order
    assert said[2].startswith("  grade: number, 5 different, 0 missing → target (category): " if labels[-1] == "5" else "  grade: ")


def test_two_texts_with_several_labels_are_a_pair(here: Path) -> None:
    generator = random.Random(3)
    rows = [(" ".join(generator.choices(PLAIN, k=12)), " ".join(generator.choices(PLAIN, k=14)), "ab"[index % 2], "xyz"[index % 3])
            for index in range(160)]
    write_csv(here / "data.csv", rows, ("asked", "said", "one", "two"))
    told = write_recipe(Path("data.csv"), ["one", "two"])[1]
    stages = stages_of("data.yaml")
    assert {name: item["kind"] for name, item in stages["prepare"]["inputs"].items()} == {"asked": "text", "said": "text"}
    assert stages["prepare"]["targets"] == {"one": {"kind": "category"}, "two": {"kind": "category"}}
    assert "baseline" not in stages
    assert sum("read with the other as a pair" in line for line in told) == 2
