from __future__ import annotations

import json
import random
import sqlite3
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bessemer.core.errors import UserError
from bessemer.core.pick import dump_plugin
from bessemer.data.inspect import infer_source, inspect

WORDS = ["a fine film with a heart", "dull and far too long for me", "I would see it again tomorrow", "not my kind of thing at all"]


def test_a_table_of_reviews(tmp_path):
    file = tmp_path / "r.csv"
    file.write_text("id,review,sentiment\n" + "".join(f"u{i}x,{WORDS[i % 4]} {i},{'pos' if i % 4 else 'neg'}\n" for i in range(200)))
    found = inspect(file)
    assert (found.kind, found.target, found.inputs, found.task, found.rows) == ("csv", "sentiment", ("review",), "classification", 200)
    assert [column.kind for column in found.columns] == ["identifier", "text", "category"]
    assert found.columns[2].counts == {"pos": 150, "neg": 50}


def test_chinese_json_lines_with_numbers_as_labels(tmp_path):
    file = tmp_path / "r.txt"
    file.write_text("".join(json.dumps({"文": f"这家酒店的服务很好第{i}次", "分": i % 2}, ensure_ascii=False) + "\n" for i in range(50)))
    found = inspect(file)
    assert (found.kind, found.target, found.inputs) == ("jsonl", "分", ("文",))


def test_what_cannot_be_learnt(tmp_path):
    file = tmp_path / "r.csv"
    file.write_text("text,price,one\n" + "".join(f"{WORDS[i % 4]} {i},{i * 1.5},same\n" for i in range(300)))
    with pytest.raises(UserError, match="no column 'prise'; did you mean 'price'"):
        inspect(file, "prise")
    with pytest.raises(UserError, match="no regression; choose another target or task"):
        inspect(file, "text", "regression")
    with pytest.raises(UserError, match="'price' has 300 different values in 300 rows, so it is no category; .* or the task regression"):
        inspect(file, "price", "classification")
    with pytest.raises(UserError, match="'one' has 1 different value, so there is nothing to tell apart"):
        inspect(file, "one")
    odd = tmp_path / "r.xyz"
    odd.write_text("what is this")
    with pytest.raises(UserError, match="has the suffix '.xyz'"):
        infer_source(odd)
    (tmp_path / "r.json").write_text('[{"a": 1}]')
    with pytest.raises(UserError, match="is one JSON list; expected JSON lines"):
        infer_source(tmp_path / "r.json")


def table_file(folder, rows=400):
    generator = random.Random(0)
    file = folder / "t.csv"
    with file.open("w", encoding="utf-8") as stream:
        stream.write("key,nr,size,comma,level,flag,ja,day,city,name,fixed,none,answer,copy,coded,tags,price\n")
        for row in range(rows):
            answer = generator.choice(["low", "high", "mid"])
            stream.write(",".join([
                f"k{row:05d}", str(row + 1), generator.choice([f"{generator.gauss(0, 9):.3f}", "?", "NA", "-inf", "1e3"]),
                f'"{generator.randrange(100)},{generator.randrange(10)}"', str(generator.randrange(8)), str(generator.randrange(2)),
                generator.choice("是否"), f"{generator.randrange(1, 29)}/{generator.randrange(1, 13)}/2021",
                f"town {generator.randrange(150)}".replace(" ", ""), f"{generator.choice(['Ada', 'Bo'])} {generator.randrange(9000)}",
                "same", "", answer, answer, {"low": "1", "mid": "2", "high": "3"}[answer],
                "|".join(generator.sample(["a", "b", "c", "d"], generator.randrange(1, 4))), f"{generator.gauss(5, 1):.4f}"]) + "\n")
    return file


def test_a_table_is_looked_at_column_by_column(tmp_path):
    found = inspect(table_file(tmp_path), "answer")
    kinds = {column.name: column.kind for column in found.columns}
    assert kinds == {"key": "identifier", "nr": "identifier", "size": "number", "comma": "number", "level": "number", "flag": "boolean",
                     "ja": "boolean", "day": "date", "city": "category", "name": "words", "fixed": "constant", "none": "empty",
                     "answer": "category", "copy": "category", "coded": "number", "tags": "category", "price": "number"}
    reasons = {column.name: column.reason for column in found.columns if column.reason}
    assert reasons == {"key": "every row has a value of its own", "nr": "it counts the rows", "fixed": "every row holds 'same'",
                       "none": "it has no value", "copy": "leak: equal to the target 'answer' in every row",
                       "coded": "leak: one to one with the target 'answer'"}
    assert (found.task, found.table, found.target_modality, found.leaks) == (
        "classification", True, {"kind": "category"}, ("copy", "coded"))
    assert found.inputs == ("size", "comma", "level", "flag", "ja", "day", "city", "name", "tags", "price")
    by_name = {column.name: column for column in found.columns}
    assert by_name["size"].missing > 100 and by_name["comma"].note == "its numbers are written with a decimal comma"
    assert [by_name[name].modality for name in ("size", "flag", "day", "city", "name", "key")] == [
        {"kind": "number"}, {"kind": "boolean"}, {"kind": "date"}, {"kind": "category"}, {"kind": "words"}, None]


@pytest.mark.parametrize(("target", "asked", "task", "modality"), [
    ("price", None, "regression", {"kind": "number"}), ("level", None, "classification", {"kind": "category"}),
    ("level", "regression", "regression", {"kind": "number"}), ("flag", None, "classification", {"kind": "category"}),
    ("tags", None, "multilabel", {"kind": "multilabel", "separator": "|"}),
    ("tags", "classification", "classification", {"kind": "category"})])
def test_the_task_follows_from_the_target_unless_it_is_named(tmp_path, target, asked, task, modality):
    found = inspect(table_file(tmp_path), target, asked)
    assert (found.task, found.target_modality, found.table) == (task, modality, True)


def test_a_table_without_a_text_guesses_its_last_column_alone(tmp_path):
    file = tmp_path / "g.csv"
    file.write_text("a,b,c\n" + "".join(f"{'xy'[i % 2]},{'pqr'[i % 3]},{i * 0.7 % 1:.3f}\n" for i in range(60)))
    assert inspect(file).target is None
    file.write_text("c,a,b\n" + "".join(f"{i * 0.7 % 1:.3f},{'xy'[i % 2]},{'pqr'[i % 3]}\n" for i in range(60)))
    assert (inspect(file).target, inspect(file).inputs) == ("b", ("c", "a"))


def test_types_of_parquet_and_lines_that_the_target_lies_on(tmp_path):
    rows = 60
    heat = [20 + (i * 37 % 60) / 7 for i in range(rows)]
    pq.write_table(pa.table({
        "c": heat, "f": [32 + 1.8 * value for value in heat], "when": pa.array([i * 10**9 for i in range(rows)], pa.timestamp("us", "UTC")),
        "kind": pa.array(["a", "b", None] * (rows // 3)).dictionary_encode(), "money": [Decimal(i * 7 % 50) / 4 for i in range(rows)],
        "big": pa.array([2**63 + i * i for i in range(rows)], pa.uint64()), "ok": [i % 3 == 0 for i in range(rows)],
        "part": [{"x": i} for i in range(rows)], "raw": [b"\xff%d" % i for i in range(rows)]}), tmp_path / "t.parquet")
    found = inspect(tmp_path / "t.parquet", "c")
    assert {column.name: column.kind for column in found.columns} == {
        "c": "number", "f": "number", "when": "date", "kind": "category", "money": "number", "big": "number", "ok": "boolean",
        "part": "other", "raw": "other"}
    assert found.leaks == ("f",) and found.inputs == ("when", "kind", "money", "big", "ok") and found.task == "regression"


def test_rows_that_only_count_are_learnt_from_where_nothing_else_is(tmp_path):
    file = tmp_path / "n.csv"
    file.write_text("x,y\n" + "".join(f"{i},{i * i}\n" for i in range(50)))
    found = inspect(file, "y")
    assert (found.inputs, found.task, found.columns[0].modality) == (("x",), "regression", {"kind": "number"})
    file.write_text("x,y\n1,2\n")
    with pytest.raises(UserError, match="'y' has 1 different value, so there is nothing to tell apart"):
        inspect(file, "y")


def test_too_many_columns_to_look_at(tmp_path):
    file = tmp_path / "w.csv"
    file.write_text(",".join(f"c{i}" for i in range(10_001)) + "\n" + ",".join("1" * 10_001) + "\n")
    with pytest.raises(UserError, match="has 10,001 columns; only 10,000 can be looked at"):
        inspect(file)


def test_numbers_as_people_write_them(tmp_path):
    file = tmp_path / "n.csv"
    draw = random.Random(4)
    rows = [(draw.random() * 90_000, draw.random()) for _ in range(200)]
    file.write_text("thousands;comma;either;usd;share;address;preis\n" + "".join(
        f"{a:,.2f};{str(round(b, 3)).replace('.', ',')};{int(b * 90_000) + 1000:,};${a:,.0f};{b:.1%};10.0.{i % 7}.{i};"
        f"{str(round(a / 7, 2)).replace('.', ',')}\n" for i, (a, b) in enumerate(rows)), encoding="utf-8")
    found = inspect(file, "preis")
    assert (found.task, found.target_modality) == ("regression", {"kind": "number", "decimal": ","})
    columns = {column.name: column for column in found.columns}
    assert [columns[name].modality["decimal"] for name in ("comma", "either")] == [",", "."]
    assert columns["thousands"].numeric and columns["thousands"].reason == "leak: a straight line of the target 'preis'"
    assert "may have a comma for thousands or for decimals; it is read as thousands" in columns["either"].note
    for name in ("usd", "share"):
        assert "looks like numbers, such as" in columns[name].note
    assert columns["address"].note == ""


@pytest.mark.parametrize(("words", "kind"), [(("TRUE", "FALSE"), "boolean"), (("yes", "no"), "category"), (("1", "0"), "category")])
def test_true_and_false_are_a_target_however_they_are_written(tmp_path, words, kind):
    file = tmp_path / "b.csv"
    file.write_text("a,y\n" + "".join(f"{i * 0.37 % 1:.3f},{words[i % 3 == 0]}\n" for i in range(60)))
    assert inspect(file, "y").target_modality == {"kind": kind}


def test_numbers_whose_squares_are_infinite_are_compared(tmp_path):
    file = tmp_path / "h.csv"
    file.write_text("huge,far,y\n" + "".join(f"{(-1) ** i * 1e308:g},{(i * 37 % 60 - 30) * 1e300:g},{i * 37 % 60 * 2 + 1.5}\n"
                                            for i in range(60)))
    assert inspect(file, "y").leaks == ("far",)


@pytest.mark.parametrize(("kind", "modality"), [
    (pa.list_(pa.float32()), {"kind": "vector"}), (pa.large_list(pa.int64()), {"kind": "vector"}),
    (pa.list_(pa.float64(), 3), {"kind": "vector"}), (pa.list_(pa.string()), None)])
def test_lists_of_numbers_of_one_length_are_vectors(tmp_path, kind, modality):
    flat = [[i, i * 7 % 5, 2] for i in range(30)]
    rows = [[str(item) for item in row] for row in flat] if pa.types.is_string(kind.value_type) else flat
    pq.write_table(pa.table({"v": pa.array(rows, kind), "ragged": [[1.0]] * 29 + [[1.0, 2.0]], "y": [i * 3 % 7 / 2 for i in range(30)],
                             "x": [i * 5 % 11 / 3 for i in range(30)]}), tmp_path / "t.parquet")
    columns = {column.name: column for column in inspect(tmp_path / "t.parquet", "y").columns}
    assert columns["v"].modality == modality and columns["ragged"].modality is None
    assert columns["ragged"].reason.startswith("only lists of numbers, all of one length, are an input of a table")


def test_a_part_of_a_file_is_named_after_a_hash(tmp_path):
    with sqlite3.connect(tmp_path / "shop.db") as database:
        for table in ("customers", "orders"):
            database.execute(f"CREATE TABLE {table}(note text, late text)")
            rows = [(f"{WORDS[i % 4]} {i}", "no" if i % 2 else "yes") for i in range(60)]
            database.executemany(f"INSERT INTO {table} VALUES (?, ?)", rows)
    database.close()
    file = tmp_path / "shop.db"
    with pytest.raises(UserError, match=r"name one: 'table: customers' in a recipe, '.*shop.db#customers' in a command"):
        inspect(file)
    assert dump_plugin("data/sources", infer_source(tmp_path / "shop.db#orders"))["table"] == "orders"
    assert inspect(tmp_path / "shop.db#orders", "late").inputs == ("note",)
    (tmp_path / "a.csv").write_text("text,y\none,1\n")
    with pytest.raises(UserError, match="only SQLite files and workbooks have parts to name after #; '.*a.csv' is read as csv"):
        infer_source(tmp_path / "a.csv#y")
    (tmp_path / "a.csv#y.csv").write_text("text,y\none,1\n")  # a file of that name comes first
    assert infer_source(tmp_path / "a.csv#y.csv").path == str(tmp_path / "a.csv#y.csv")


def test_mappings_are_no_words(tmp_path):
    rows = [{"who": {"name": f"n{i}", "age": i}, "text": f"this is the text number {i} of all", "y": "ab"[i % 2]} for i in range(60)]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    [who] = [column for column in inspect(tmp_path / "t.jsonl", "y").columns if column.name == "who"]
    assert (who.kind, who.modality) == ("other", None) and who.reason.startswith("it holds mappings of values")


def test_labels_that_mean_missing_values_are_told(tmp_path):
    file = tmp_path / "m.csv"
    file.write_text("text,y\n" + "".join(f"some words of {i},{'NA' if i % 2 else 'None'}\n" for i in range(60)))
    with pytest.raises(UserError, match=r"two labels \('NA', 'None' are taken for missing; write another word for a label\)"):
        inspect(file, "y")


def test_labels_of_one_number_are_told_and_texts_are_called_so(tmp_path):
    file = tmp_path / "m.csv"
    file.write_text("text,y\n" + "".join(f"soup bread {'ab'[i % 2]} {i},{('0', '1', '1.0')[i % 3]}\n" for i in range(60)) + "soup,0\n")
    found = {column.name: column for column in inspect(file, "y").columns}
    assert "'1' and '1.0' are one number and labels of their own" in found["y"].note
    assert found["text"].kind == "text"
