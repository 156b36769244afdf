from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bessemer.core.errors import UserError
from bessemer.core.schema import Schema
from bessemer.data.shards import ShardReader
from bessemer.stages.prepare import Prepare, prepare


class Run:
    def __init__(self, root, seed=3, rehearsal=None):
        self.seed, self.rehearsal, self.scratch, self.notes = seed, rehearsal, root / "scratch", []
        self.scratch.mkdir(parents=True)

    @contextmanager
    def progress(self, *_):
        yield self

    def advance(self, count):
        pass

    def note(self, message):
        self.notes.append(message)

    def check(self):
        pass


def go(root, settings, **run):
    out = root / "out"
    out.mkdir(parents=True)
    base = {"inputs": {"text": {"kind": "text", "tokenizer": {"kind": "wordpiece", "vocab_size": 300}}},
            "targets": {"label": "category"}}
    return prepare(Prepare.model_validate({**base, **settings}), {}, out, Run(root, **run)), out


def csv(path, rows, head="text,label"):
    path.write_text(head + "\n" + "".join(row + "\n" for row in rows), encoding="utf-8")
    return {"kind": "csv", "path": str(path)}


def rows_of(out, split):
    table = pa.concat_tables(ShardReader(out / split).tables())
    return table


GOOD = [f"sample number {i} is here,{'pos' if i % 3 else 'neg'}" for i in range(300)]


def test_poisoned_rows_are_all_accounted_for(tmp_path):
    file = tmp_path / "f.csv"
    rows = [*GOOD, GOOD[5], GOOD[6].replace("sample ", "sample  "), "twice,pos", "twice,neg", " ,pos", "x" * 300 + ",neg", "lonely,",
            "a,b,c"]
    file.write_bytes(("text,label\n" + "\n".join(rows) + "\n").encode() + b"\xff bad,pos\n")
    settings = {"sources": [{"kind": "csv", "path": str(file)}], "inputs": {"text": {"kind": "text", "max_chars": 200}}}
    facts, out = go(tmp_path, settings)
    [source] = facts["sources"]
    assert source["rejected"] == {"conflicting labels": 2, "duplicate": 2, "empty text": 1, "missing label": 1,
                                  "not valid UTF-8": 1, "text longer than 200 characters": 1, "wrong number of fields": 1}
    assert (source["rows_in"], source["rows_out"], facts["quarantined"]) == (309, 300, 9)
    assert facts["rows"] == {"train": 240, "validation": 30, "test": 30}
    assert facts["splits"] == {"train": {"neg": 80, "pos": 160}, "validation": {"neg": 10, "pos": 20},
                               "test": {"neg": 10, "pos": 20}}
    found = {row["row"]: row for row in pq.read_table(out / "quarantine.parquet").to_pylist()}
    assert sorted(found) == list(range(301, 310))
    assert found[302]["detail"] == "duplicate of f.csv row 7"
    assert found[303]["detail"] == "the same input has the labels 'neg', 'pos'"
    assert (found[307]["reason"], found[307]["content"]) == ("missing label", "lonely")
    texts = [set(rows_of(out, split)["text"].to_pylist()) for split in ("train", "validation", "test")]
    assert not texts[0] & texts[1] and not texts[0] & texts[2] and not texts[1] & texts[2]
    test = rows_of(out, "test")
    assert test.column_names == ["row_id", "text", "text.ids", "text.starts", "label"]
    assert test["label"].type == pa.int32()
    labels = Schema.load(out).columns[1].labels
    assert all(("neg" if int(text.split()[2]) % 3 == 0 else "pos") == labels[code]
               for text, code in zip(test["text"].to_pylist(), test["label"].to_pylist(), strict=True))
    assert (out / "tokenizer.json").read_bytes() == (out / "columns/text/tokenizer.json").read_bytes()
    assert json.loads((out / "funnel.json").read_text())["sources"] == facts["sources"]


def test_two_runs_have_equal_bytes_and_another_seed_another_split(tmp_path):
    settings = {"sources": [csv(tmp_path / "f.csv", GOOD)]}
    digests = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        _, out = go(tmp_path / name, settings, seed=seed)
        digests.append({str(file.relative_to(out)): hashlib.sha256(file.read_bytes()).hexdigest()
                        for file in sorted(out.rglob("*")) if file.is_file()})
    assert digests[0] == digests[1]
    assert digests[0]["test/00000.arrow"] != digests[2]["test/00000.arrow"]


def test_what_is_fitted_sees_training_text_alone(tmp_path):
    train = csv(tmp_path / "a.csv", GOOD) | {"split": "train"}
    test = csv(tmp_path / "b.csv", ["ωωω ωωω,pos", "other words,neg"]) | {"split": "test"}
    _, out = go(tmp_path, {"sources": [train, test], "split": {"kind": "given"}})
    assert "ω" not in (out / "tokenizer.json").read_text(encoding="utf-8")


def test_given_splits_are_not_altered(tmp_path):
    rows = [f"{row},training" for row in [*GOOD, GOOD[0], "odd,pos", "odd,neg"]]
    rows += [f"{GOOD[1]},test", f"{GOOD[1]},test", "new one,pos,test", "new one,neg,test"]
    source = csv(tmp_path / "f.csv", rows, "text,label,part")
    facts, out = go(tmp_path, {"sources": [source], "split": {"kind": "given", "column": "part", "validation": 30}})
    assert facts["rows"]["test"] == 4 and facts["quarantined"] == 0
    assert sum(facts["rows"].values()) == len(rows)
    test = rows_of(out, "test")
    assert test["text"].to_pylist() == ["sample number 1 is here"] * 2 + ["new one"] * 2
    train = set(rows_of(out, "train")["text"].to_pylist())
    for split in ("validation", "test"):
        table = rows_of(out, split)
        assert table["overlap"].to_pylist() == [text in train for text in table["text"].to_pylist()]
        assert facts["overlap"][split] == sum(table["overlap"].to_pylist())
    assert (facts["kept_duplicates"], facts["kept_conflicts"]) == (3, 4)


def test_choosing_renaming_weights_and_limit(tmp_path):
    source = csv(tmp_path / "f.csv", [f"{row},{i % 4},{i / 10}" for i, row in enumerate(GOOD)], "body,label,group,w")
    source |= {"where": {"group": ["1", 2]}, "rename": {"body": "text"}}
    facts, out = go(tmp_path, {"sources": [source], "weight": "w", "limit": 100})
    assert facts["sources"][0] | {"rejected": 0} == {"name": "f.csv", "rows_in": 300, "rows_out": 100, "not_selected": 150,
                                                     "not_sampled": 50, "rejected": 0}
    train = rows_of(out, "train")
    assert np.allclose(train["weight"].to_numpy(), train["row_id"].to_numpy() / 10)
    assert set((train["row_id"].to_numpy() % 4).tolist()) == {1, 2}


def test_text_without_labels(tmp_path):
    facts, out = go(tmp_path, {"sources": [csv(tmp_path / "f.csv", GOOD)], "targets": {}, "split": "random"})
    assert facts["rows"] == {"train": 240, "validation": 30, "test": 30}
    assert "label" not in rows_of(out, "train").column_names


def test_a_rehearsal_reads_a_part(tmp_path):
    facts, _ = go(tmp_path, {"sources": [csv(tmp_path / "f.csv", GOOD * 40)], "duplicates": "keep"}, rehearsal=20_000)
    assert 300 < facts["sources"][0]["rows_in"] < 1000


@pytest.mark.parametrize(("rows", "settings", "message"), [
    ([f"text {i},pos" for i in range(50)], {}, "the target 'label' has only one label ('pos') in all 50 rows"),
    ([f"text {i},pos" for i in range(50)] + [f"more {i}," for i in range(70)] + ["text 3,pos"], {},
     "has only one label ('pos') in all 50 rows that are left, so there is nothing to tell apart; expected at least two. 71 were set "
     "aside: missing label (70 rows, in column 'label')"),
    ([" ,pos"] * 20, {}, "every row was set aside or left out, so there is nothing to learn from: empty text (20 rows, such as "),
    (["same,pos", "same,neg"], {}, "every row was set aside, so there is nothing to learn from: conflicting labels (2 rows)"),
    (GOOD, {"targets": {"lable": "category"}}, "has no column 'lable'; did you mean 'label'?"),
    ([f"t {i},{i}.5" for i in range(300)], {"split": "random"},
     "the target 'label' has 240 different values in 240 rows, so it is a quantity or an identifier; give it the kind 'number' or "
     "choose another target"),
    ([f"{row},train" for row in GOOD] + ["new,odd,test"], {"split": {"kind": "given", "column": "part"}},
     "the label 'odd' of the target 'label' occurs in test (row 301 of 'f.csv') but never in training"),
    ([f"{row},train" for row in GOOD] + ["new,pos,late"], {"split": {"kind": "given", "column": "part"}},
     "row 301 of 'f.csv': the split column 'part' holds 'late'; expected train, validation or test"),
])
def test_data_that_cannot_be_learnt(tmp_path, rows, settings, message):
    source = csv(tmp_path / "f.csv", rows, "text,label,part" if rows[0].count(",") == 2 else "text,label")
    with pytest.raises(UserError) as error:
        go(tmp_path, {"sources": [source], **settings})
    assert message in str(error.value)


@pytest.mark.parametrize(("kind", "cells", "message"), [
    ("number", ["1,5"] * 30, "no number, but one with a decimal comma: decimal: ',' reads it (30 rows, such as '1,5' in column 'size')"),
    ("date", [f"0{row % 6 + 1}/0{row // 6 + 1}/2023" for row in range(30)],
     "column 'size': a column of dates has 20 training rows such as 05/01/2023 and none that shows whether the day comes first")])
def test_what_is_wrong_with_a_column_names_it(tmp_path, kind, cells, message):
    source = csv(tmp_path / "t.csv", [f'"{cell}",{row / 7:.3f}' for row, cell in enumerate(cells)], "size,price")
    with pytest.raises(UserError) as error:
        go(tmp_path, {"sources": [source], "split": "random", "inputs": {"size": kind}, "targets": {"price": "number"}})
    assert message in str(error.value)


@pytest.mark.parametrize(("kind", "split"), [("number", {}), ("category", {"kind": "stratified"})])
def test_too_few_rows_for_a_validation_split_are_refused(tmp_path, kind, split):
    source = csv(tmp_path / "t.csv", [f"{row},{row % 2}" for row in range(4)] + ["7,0"] * 6, "size,price")
    settings = {"kind": "random", "validation": 0.15, "test": 0.15, **split}
    with pytest.raises(UserError, match=r"^10 rows, of which 5 differ in their inputs, are too few for a \w+ split of 0.15, since "):
        go(tmp_path, {"sources": [source], "split": settings, "inputs": {"size": "number"}, "targets": {"price": kind}})


def test_a_column_needs_a_name(tmp_path):
    with pytest.raises(ValueError, match="a column needs a name, and one is ''; use 'rename' of the source"):
        go(tmp_path, {"sources": [{"kind": "csv", "path": "f.csv"}], "inputs": {"": "number"}, "targets": {"y": "number"}})


def test_few_rows_of_a_number_are_no_labels(tmp_path):
    source = csv(tmp_path / "t.csv", [f"{row},{row / 7:.3f}" for row in range(30)], "size,price")
    run = Run(tmp_path)
    (tmp_path / "out").mkdir()
    config = {"sources": [source], "split": "random", "inputs": {"size": "number"}, "targets": {"price": "number"}}
    prepare(Prepare.model_validate(config), {}, tmp_path / "out", run)
    assert "validation: 3 rows, whose scores say little" in run.notes and not any("labels with" in note for note in run.notes)


def test_notes_name_the_column_of_a_reason(tmp_path):
    source = csv(tmp_path / "t.csv", [f"{'1e300' if row == 7 else row},{'' if row == 9 else row / 7}" for row in range(40)], "size,price")
    run = Run(tmp_path)
    (tmp_path / "out").mkdir()
    config = {"sources": [source], "split": "random", "inputs": {"size": "number"}, "targets": {"price": "number"}}
    prepare(Prepare.model_validate(config), {}, tmp_path / "out", run)
    assert ("t.csv: 40 rows in = 38 out + 1 quarantined: beyond 1e+150, such as '1e300' in column 'size' + 1 quarantined: missing label, "
            "in column 'price'") in run.notes


def test_labels_of_mixed_types_name_two_rows(tmp_path):
    file = tmp_path / "f.jsonl"
    file.write_text("".join(json.dumps({"text": f"t {i}", "label": 1 if i != 7 else "1"}) + "\n" for i in range(20)))
    with pytest.raises(UserError) as error:
        go(tmp_path, {"sources": [{"kind": "jsonl", "path": str(file)}]})
    assert str(error.value) == ("the column 'label' holds labels of mixed types: row 1 of 'f.jsonl' holds a number ('1'), row 8 of "
                                "'f.jsonl' holds a text ('1'); write all of them in one way")


def test_numbers_of_every_form_are_the_same_label(tmp_path):
    file = tmp_path / "f.jsonl"
    file.write_text("".join(json.dumps({"text": f"t {i}", "label": [0, 1, 1.0][i % 3]}) + "\n" for i in range(60)))
    pq.write_table(pa.table({"text": [f"u {i}" for i in range(60)], "label": [float(i % 2) for i in range(60)]}), tmp_path / "g.parquet")
    facts, _ = go(tmp_path, {"sources": [{"kind": "jsonl", "path": str(file)}, {"kind": "parquet", "path": str(tmp_path / "g.parquet")}]})
    assert {label: sum(part[label] for part in facts["splits"].values()) for label in ("0", "1")} == {"0": 50, "1": 70}


def test_columns_of_a_table_are_fitted_on_training_rows_alone(tmp_path):
    train = csv(tmp_path / "a.csv", [f"{i},kind {i % 3},{i % 2}" for i in range(300)], "x,c,label") | {"split": "train"}
    test = csv(tmp_path / "b.csv", ["1e9,other,0", "-1e9,,1"], "x,c,label") | {"split": "test"}
    _, out = go(tmp_path, {"sources": [train, test], "split": {"kind": "given"},
                           "inputs": {"x": {"kind": "number", "scale": "standard"}, "c": {"kind": "category"}}})
    x, c = Schema.load(out).columns[:2]
    seen = rows_of(out, "train")["x"].to_numpy()
    assert (x.facts["mean"], x.facts["std"]) == pytest.approx((seen.mean(), seen.std())) and x.facts["max"] == seen.max() < 300
    assert c.labels == ("kind 0", "kind 1", "kind 2") and "missing" not in c.facts


@pytest.mark.parametrize(("first", "low", "high"), [("2020-01-01", 0.0, 0.25), ("2023-01-01", 1.0, 99.0)])
def test_drift_of_dates_is_that_of_times(tmp_path, first, low, high):
    def dates(start, seed):
        days = np.random.default_rng(seed).integers(0, 2000, 1000)
        return [f"{'' if i % 50 == 0 else np.datetime64(start) + day},{i % 2}" for i, day in enumerate(days)]

    train = csv(tmp_path / "a.csv", dates("2020-01-01", 0), "day,label") | {"split": "train"}
    test = csv(tmp_path / "b.csv", dates(first, 1), "day,label") | {"split": "test"}
    _, out = go(tmp_path, {"sources": [train, test], "split": {"kind": "given"}, "inputs": {"day": {"kind": "date"}}})
    found = json.loads((out / "profile.json").read_text())["columns"]["day"]
    assert low <= found["drift"]["psi"] < high and found["missing"]["test"] == pytest.approx(0.02)
    assert 2019.99 < found["distribution"]["min"] < found["distribution"]["max"] < 2020 + 2001 / 365


NEAR = ["1.0001,Red,0.5,1", "1.0002,red,0.5,1", "1.0002,red,0.5,1", "-1.0001,red,0.5,1", "1.0001,red,,1", "0,red,5e-9,1",
        "-0.0,RED,5.0002e-9,1", "1.1,red,0.5,1", "1.0001,Red,0.5,2"]


@pytest.mark.parametrize("policy", ["remove", "keep"])
def test_near_duplicates_are_rows_that_are_equal_in_some_digits(tmp_path, policy):
    rows = NEAR + [f"{i + 10},blue,{i},{i % 3}" for i in range(60)]
    settings = {"sources": [csv(tmp_path / "f.csv", rows, "a,c,b,y")], "inputs": {"a": "number", "c": "category", "b": "number"},
                "targets": {"y": "category"}, "split": {"kind": "random", "validation": 10, "test": 10}, "near_duplicates": 3,
                "duplicates": policy}
    facts, out = go(tmp_path, settings)
    [note] = [note for note in facts["notes"] if "nearly repeat" in note]
    assert note.startswith("3 rows nearly repeat an earlier row (equal in 3 significant digits, letters in any case), and 0 exactly; they ")
    found = {row["row"]: (row["reason"], row["detail"]) for row in pq.read_table(out / "quarantine.parquet").to_pylist()}
    places = {tuple(row.values()): split for split in facts["rows"]
              for row in rows_of(out, split).select(["a", "c", "b"]).slice(0).to_pylist()}
    if policy == "remove":
        assert found == {2: ("near duplicate", "near duplicate of f.csv row 1"), 3: ("near duplicate", "near duplicate of f.csv row 1"),
                         7: ("near duplicate", "near duplicate of f.csv row 6")}
        assert sum(facts["rows"].values()) == len(rows) - 3
    else:
        assert not found and facts["kept_duplicates"] == 3 and sum(facts["rows"].values()) == len(rows)
        assert places[1.0001, "Red", 0.5] == places[1.0002, "red", 0.5] and places[0.0, "red", 5e-9] == places[-0.0, "RED", 5.0002e-9]


def test_near_duplicates_of_text_are_refused(tmp_path):
    with pytest.raises(UserError, match="near_duplicates as a number of digits is for tables, .* write {threshold: 0.85}"):
        go(tmp_path, {"sources": [csv(tmp_path / "f.csv", GOOD)], "near_duplicates": 3})
