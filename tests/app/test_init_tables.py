"""What `bessemer init` says of the columns of a table, and the lines that it writes for them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bessemer.app.starter import write_recipe
from bessemer.core.errors import UserError
from tests.conftest import Command, sentences, write_csv

Rows = dict[str, list[Any]]
DRAW = random.Random(0)
X = [round(DRAW.gauss(0, 1), 5) for _ in range(200)]
NOISE = [DRAW.gauss(0, 1) for _ in range(200)]
LEAK = "      # {}: left out, leak: {}\n"


def column(make: Callable[[int], Any], rows: int = 200) -> list[Any]:
    return [make(row) for row in range(rows)]


def near(values: list[float], size: float) -> list[float]:
    return [value + size * noise for value, noise in zip(values, NOISE, strict=True)]


def init(columns: Rows, *targets: str, task: str | None = None, delimiter: str = ",") -> tuple[dict[str, str], str]:
    """Return what is printed of each column, and the recipe."""
    write_csv(Path("t.csv"), list(zip(*columns.values(), strict=True)), tuple(columns), delimiter)
    file, lines = write_recipe(Path("t.csv"), targets or ("y",), task, force=True)
    return dict(line.strip().split(": ", 1) for line in lines[1:]), file.read_text(encoding="utf-8")


def test_yes_and_no_in_several_spellings_are_two_labels(bessemer: Command, here: Path) -> None:
    said, recipe = init({"x": X, "y": column(lambda i: ("Yes", "yes", "No", "no")[i % 4])}, "y")
    note = "its 4 spellings are read as false and true"
    assert said["y"] == f"boolean, 4 different, 0 missing → target (boolean) ({note})"
    assert f"      y: {{kind: boolean}}    # {note}\n" in recipe
    done = bessemer("run", "t.yaml", "--until", "prepare")
    assert done.code == 0, done.err
    schema = json.loads((here / "runs/t/prepare/schema.json").read_text(encoding="utf-8"))
    assert [item["labels"] for item in schema["columns"] if item["name"] == "y"] == [["false", "true"]]
    said, recipe = init({"x": X, "y": column(lambda i: ("Yes", "no")[i % 2])}, "y")
    assert said["y"] == "boolean, 2 different, 0 missing → target (category)" and "      y: {kind: category}\n" in recipe


def test_labels_that_differ_by_case_are_told(here: Path) -> None:
    said, recipe = init({"x": X, "y": column(lambda i: ("red", "Red", "dark  blue", "dark blue", "green")[i % 5])}, "y")
    note = ("'Red' and 'red' differ by case or blanks alone and are labels of their own: write them alike in the source if they mean one")
    assert said["y"] == f"category, 5 different, 0 missing → target (category) ({note})"
    assert f"      y: {{kind: category}}    # {note}\n" in recipe
    text = ["a fine film with a heart", "dull and far too long for me", "not my kind of thing at all"]
    said, recipe = init({"text": column(lambda i: f"{text[i % 3]} {i}"), "y": column(lambda i: ("Good", "bad", "good")[i % 3])}, "y")
    note = "'Good' and 'good' differ by case or blanks alone and are labels of their own: write them alike in the source if they mean one"
    assert said["y"] == f"category, 3 different, 0 missing → target: Good (67), bad (67), good (66) ({note})"
    assert f"      y: {{kind: category}}    # {note}\n" in recipe


def test_infinite_values_are_counted(here: Path) -> None:
    far = column(lambda i: "inf" if i % 7 == 0 else "1e200" if i == 1 else X[i])
    both = column(lambda i: "oops" if i == 5 else "-Infinity" if i == 6 else "∞" if i == 9 else X[i] + 1)
    said, recipe = init({"x": X, "far": far, "both": both, "y": column(lambda i: i * 37 % 101 / 2)}, "y")
    note = "30 of 200 values are infinite or beyond 1e150, the first 'inf': such rows will be set aside"
    assert said["far"] == f"number, 172 different, 0 missing → input ({note})"
    assert f"      far: {{kind: number}}    # {note}\n" in recipe
    note = ("1 of 200 values are no number, the first 'oops', and 2 infinite or beyond 1e150, the first '-Infinity': such rows will be set "
            "aside")
    assert f"      both: {{kind: number}}    # {note}\n" in recipe
    pq.write_table(pa.table({"x": X, "far": [float("inf"), *X[1:]], "y": X[::-1]}), here / "t.parquet")
    file, _ = write_recipe(here / "t.parquet", ("y",), force=True)
    assert ("      far: {kind: number}    # 1 of 200 values are infinite or beyond 1e150, the first 'inf': such rows will be set aside\n"
            in file.read_text(encoding="utf-8"))


def test_what_gives_a_number_away_is_left_out(here: Path) -> None:
    y = [3 * x + 1 for x in X]
    columns: Rows = {"honest": near(y, 0.3), "usd": near([1.1 * value for value in y], 1e-3),
                     "cube": [-value ** 3 for value in y], "rounded": [round(value) for value in y], "y": y}
    said, recipe = init(columns, "y")
    assert [name for name, line in said.items() if line.endswith("→ input")] == ["honest", "rounded"]
    assert LEAK.format("cube", "in the reverse order of the target 'y' (rank correlation -1.00000)") in recipe
    assert LEAK.format("usd", "in the same order as the target 'y' (rank correlation 0.99999)") in recipe
    assert said["usd"].endswith("→ left out: leak: in the same order as the target 'y' (rank correlation 0.99999)")
    _, recipe = init({name: values[:99] for name, values in columns.items()}, "y")  # too few rows to be certain
    assert "leak" not in recipe


def test_what_gives_two_labels_away_is_left_out(here: Path) -> None:
    label = ["b" if x > 0.5 else "a" for x in X]
    columns: Rows = {"honest": near(X, 0.1), "rank": [sorted(X).index(x) for x in X],
                     "near": [*X[:199], -9 if label[199] == "b" else 9], "post": ["done" if item == "b" else "" for item in label],
                     "paid": [i if item == "a" else "NA" for i, item in enumerate(label)], "often": ["", *["ok"] * 198, ""], "y": label}
    said, recipe = init(columns, "y")
    assert [name for name, line in said.items() if line.endswith("→ input")] == ["honest", "near", "often"]
    apart = ("one threshold tells the two labels of the target 'y' apart in all 200 rows: is it known before the target is? if not, "
             "remove it")
    assert said["rank"].endswith(f"→ input ({apart})") and f"      rank: {{kind: number}}    # {apart}\n" in recipe
    assert LEAK.format("post", "filled in every row of the label 'b' of the target 'y' and in no other") in recipe
    assert LEAK.format("paid", "filled in every row of the label 'a' of the target 'y' and in no other") in recipe
    assert said["post"].endswith("→ left out: leak: filled in every row of the label 'b' of the target 'y' and in no other")
    rare = ["b" if x > sorted(X)[-10] else "a" for x in X]  # nine rows of one label
    assert "leak" not in init({"x": X, "z": X[::-1], "y": rare}, "y")[1]
    assert "leak" not in init({name: values[:99] for name, values in columns.items()}, "y")[1]
    spelt = [("Yes", "YES")[i % 2] if x > 0 else ("no", "No")[i % 2] for i, x in enumerate(X)]  # of two labels in four spellings too
    assert init({"x": X, "z": X[::-1], "y": spelt}, "y")[0]["x"].endswith(f"→ input ({apart})")


def test_what_is_only_likely_is_kept_where_nothing_else_is_left(here: Path) -> None:
    said, recipe = init({"x": X, "y": [x ** 3 for x in X]}, "y")
    note = "in the same order as the target 'y' (rank correlation 1.00000); kept, because nothing else is left to learn from"
    assert said["x"] == f"number, 200 different, 0 missing → input ({note})"
    assert f"      x: {{kind: number}}    # {note}\n" in recipe


def test_empty_sets_of_labels_have_no_label(bessemer: Command, here: Path) -> None:
    said, recipe = init({"x": X, "y": column(lambda i: ("a;b", "a", "", "b;c", "b", "c;a")[i % 6])}, "y")
    note = ("33 of 200 values are empty: 'empty: none' takes them for rows that no label holds of, 'empty: missing' sets them aside")
    assert said["y"] == f"category, 5 different, 33 missing → target (multilabel) ({note})"
    assert f"      y: {{empty: none, kind: multilabel, separator: ;}}    # {note}\n" in recipe
    done = bessemer("run", "t.yaml", "--until", "prepare")
    assert done.code == 0, done.err
    assert json.loads((here / "runs/t/prepare/funnel.json").read_text(encoding="utf-8"))["sources"][0]["rows_out"] == 200
    _, recipe = init({"x": X, "y": column(lambda i: ("a;b", "a", "b;c", "b")[i % 4])}, "y")
    assert "      y: {kind: multilabel, separator: ;}\n" in recipe
    several = column(lambda i: ("a;b", "a", "", "b;c", "b", "c;a")[i % 6])
    said, recipe = init({"x": X, "z": X[::-1], "first": X[1:] + X[:1], "y": several}, "first", "y")
    note = note.replace("'empty: missing' sets them aside", "with 'empty: missing' this target learns nothing of them")
    assert f"{{empty: none, kind: multilabel, separator: ;}}    # {note}\n" in recipe and said["y"].endswith(f"({note})")


def places(row: int) -> str:
    return f"{row * 37 % 91 + 1},{row * 53 % 900 + 100}"


@pytest.mark.parametrize(("other", "delimiter", "decimal", "why"), [
    (X, ";", ",", "decimals, because semicolons are between the fields"), (X, ",", ".", "thousands"), (X, "\t", ".", "thousands"),
    (column(lambda i: f"{i},5"), ",", ",", "decimals, because the column 'x' has a decimal comma"),
    (column(lambda i: f"{i % 7 + 1},500.25"), ";", ".", "thousands"),
    (column(lambda i: f"{i % 7 + 1},000,{i + 100}"), ";", ".", "thousands")])
def test_a_comma_before_three_places(here: Path, other: list[Any], delimiter: str, decimal: str, why: str) -> None:
    said, recipe = init({"x": other, "z": column(places), "y": column(lambda i: places(i * i))}, "y", delimiter=delimiter)
    mark = "\",\"" if decimal == "." else "\".\""
    for name in ("z", "y"):
        note = f"'1,100' may have a comma for thousands or for decimals; it is read as {why}: say decimal: {mark} where it is not"
        assert said[name].endswith(f"({note})")
        shown = decimal if decimal == "." else f"'{decimal}'"
        assert f"      {name}: {{decimal: {shown}, kind: number}}    # {note}\n" in recipe


@pytest.mark.parametrize(("make", "first"), [
    (lambda i: f"{i * 7 % 989 / 10}%", "0.0%"), (lambda i: f"€ {i}", "€ 0"), (lambda i: f"({i})", "(0)")])
def test_a_target_that_looks_like_numbers(here: Path, make: Callable[[int], str], first: str) -> None:
    for task in (None, "regression"):
        with pytest.raises(UserError) as caught:
            init({"x": X, "y": column(make)}, "y", task=task)
        assert str(caught.value) == (
            f"'t.csv': the column 'y' looks like numbers, such as {first!r}: write them in the source without units, currency, percent "
            "signs and marks of thousands to learn from them as numbers")


def test_a_minus_of_typesetters_is_read(bessemer: Command, here: Path) -> None:
    numbers = column(lambda i: f"\u2212{i}.5" if i % 2 else str(i))
    money, label = column(lambda i: f"{'−' * (i % 2)}€{i}"), column(lambda i: "ab"[i % 3 // 2])
    said, recipe = init({"x": numbers, "money": money, "z": X, "y": label}, "y")
    note = "its minus is written '\u2212' (U+2212), which is read as '-'"
    assert said["x"] == f"number, 200 different, 0 missing → input ({note})"
    assert f"      x: {{kind: number}}    # {note}\n" in recipe
    assert "looks like numbers, such as '€0'" in said["money"]
    done = bessemer("run", "t.yaml", "--until", "prepare")
    assert done.code == 0, done.err
    assert json.loads((here / "runs/t/prepare/funnel.json").read_text(encoding="utf-8"))["sources"][0]["rows_out"] == 200


def test_rows_are_counted_from_any_number(here: Path) -> None:
    said, recipe = init({"x": X, "row_id": column(lambda i: i + 1000), "minus": column(lambda i: i - 50), "two": column(lambda i: 2 * i),
                         "long": column(lambda i: 10**17 + i), "y": column(lambda i: i * 37 % 101 / 2)}, "y")
    for name in ("row_id", "minus", "long"):
        assert said[name] == "identifier, 200 different, 0 missing → left out: it counts the rows"
        assert f"      # {name}: left out, it counts the rows\n" in recipe
    assert said["two"] == "number, 200 different, 0 missing → input"


def test_digits_with_leading_zeros_are_codes(here: Path) -> None:
    columns: Rows = {"x": X, "zip": column(lambda i: f"{i * 37 % 150 * 600:05d}"), "key": column(lambda i: f"{i * 997 % 1009:06d}"),
                     "plain": column(lambda i: i * 37 % 150), "y": column(lambda i: i * 37 % 101 / 2)}
    said, recipe = init(columns, "y")
    note = "digits of one width, some with a leading 0, such as '00000', are a code; say {kind: number} where they are a quantity"
    assert said["zip"] == f"category, 150 different, 0 missing → input ({note})"
    assert f"      zip: {{kind: category}}    # {note}\n" in recipe
    note = note.replace("'00000'", "'000000'")
    assert f"      # key: left out, every row has a value of its own; {note}\n" in recipe
    assert said["plain"] == "number, 150 different, 0 missing → input"
    said, _ = init({"x": X, "y": column(lambda i: f"{i % 4 * 9:02d}")}, "y")
    assert said["y"].startswith("category, 4 different, 0 missing → target (category) (digits of one width")
    said, _ = init({"x": X, "y": columns["zip"]}, "y", task="regression")
    assert "→ target (number)" in said["y"]


HEADLESS = "the first line looks like data and not like names: write a line with each column's name above it"


def test_a_file_without_a_header(here: Path) -> None:
    Path("t.csv").write_text("".join(f"{i}.5,{i % 3},7,{'ab'[i % 2]},7\n" for i in range(50)), encoding="utf-8")
    with pytest.raises(UserError) as caught:
        write_recipe(Path("t.csv"), ("y",))
    assert str(caught.value) == f"'t.csv': the header names the column '7' twice (columns 3 and 5); {HEADLESS}"
    Path("t.csv").write_text("x,a,a\n1,2,3\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"names the column 'a' twice \(columns 2 and 3\); give each column its own name"):
        write_recipe(Path("t.csv"), ("y",))
    Path("t.csv").write_text("".join(f"{i * 7 % 50 + 9}.5,{i % 3}.5,{'ab'[i % 2]}\n" for i in range(50)), encoding="utf-8")
    with pytest.raises(UserError) as caught:
        write_recipe(Path("t.csv"), ("y",))
    assert str(caught.value) == f"'t.csv' has no column 'y'; its columns are: 9.5, 0.5, a; {HEADLESS}"
    _, lines = write_recipe(Path("t.csv"))
    assert lines[1] == f"  {HEADLESS} (9.5, 0.5, a)"
    Path("t.csv").write_text("".join(",".join(str(2000 + j if not i else i * j % 7) for j in range(5)) + "\n" for i in range(50)))
    assert "first line" not in "".join(write_recipe(Path("t.csv"), ("2004",), force=True)[1])  # years are names


def test_a_label_as_a_column_name_tells_of_a_missing_header(here: Path) -> None:
    write_csv(Path("t.csv"), sentences(60)[1:], sentences(60)[0])
    lines = write_recipe(Path("t.csv"))[1]
    assert lines[1].startswith(f"  {HEADLESS} (")
    Path("n.csv").write_text("0,1,2,y\n" + "".join(f"{i % 2},{i * 7 % 5},{i % 3},{'ab'[i * i % 3 % 2]}\n" for i in range(60)))
    assert "first line" not in "".join(write_recipe(Path("n.csv"), ("y",))[1])  # numbers name columns that nobody named
