"""Prepare on text: scrubbing before quarantine, near duplicates, splits by group and by time."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bessemer.core.errors import UserError
from bessemer.core.schema import Schema
from bessemer.modalities import codec_of
from tests.stages.test_prepare import csv, go, rows_of

TEXT = {"kind": "text", "tokenizer": {"kind": "wordpiece", "vocab_size": 300}}
GOOD = [
    f"sample number {i} is quite another {i * 7919 % 1000} thing than {i * 104729 % 997},{'pos' if i % 3 else 'neg'}" for i in range(300)]


def quarantine(out):
    return {(row["row"], row["reason"]): row for row in pq.read_table(out / "quarantine.parquet").to_pylist()}


def test_quarantine_holds_no_personal_data(tmp_path):
    rows = [*GOOD, "ask a@b.com or 212-555-0123 now,pos", "ask a@b.com or 212-555-0123 now,pos", "to c@d.org,", "x" * 130 + " e@f.net,neg",
            "too,many,fields g@h.com", "twice i@j.com,pos", "twice k@l.com,neg",
            f"{'y' * 480} cut.off.in.the.middle.of.it@{'long' * 20}.com,a,b"]
    inputs = {"text": {**TEXT, "scrub": ["mail", "phone"], "max_chars": 120}}
    facts, out = go(tmp_path, {"sources": [csv(tmp_path / "f.csv", rows)], "inputs": inputs})
    found = quarantine(out)
    assert {key: row["content"] for key, row in found.items() if key[0] > 300 and key[0] != 308} == {
        (302, "duplicate"): "ask [MAIL] or [PHONE] now", (303, "missing label"): "to [MAIL]",
        (304, "text longer than 120 characters"): "x" * 130 + " [MAIL]", (305, "wrong number of fields"): "too,many,fields [MAIL]",
        (306, "conflicting labels"): "twice [MAIL]", (307, "conflicting labels"): "twice [MAIL]"}
    assert "@" not in " ".join(row["content"] for row in found.values())
    assert facts["scrubbed"] == {"text": {"mail": 6, "phone": 2}}
    for file in out.rglob("*"):
        assert not file.is_file() or not any(word in file.read_bytes() for word in (b"a@b.com", b"555-0123", b"k@l.com"))
    texts = [text for split in ("train", "validation", "test") for text in rows_of(out, split)["text"].to_pylist()]
    assert "ask [MAIL] or [PHONE] now" in texts


def near_rows():
    base = "the quick brown fox jumps over the lazy dog while the old cat sleeps in the warm sun of number"
    return [f"{base} one,pos", f"{base} two,pos", f"{base.upper()} one!,pos", f"{base} six,neg", "short one a,pos", "short one b,pos"]


def test_near_duplicates_go_to_quarantine_with_the_row_that_they_repeat(tmp_path):
    settings = {"sources": [csv(tmp_path / "f.csv", [*GOOD, *near_rows()])], "near_duplicates": {"threshold": 0.85}}
    facts, out = go(tmp_path, settings)
    found = quarantine(out)
    assert [key for key in found if key[0] > 300] == [(302, "near duplicate"), (303, "near duplicate")]
    assert found[302, "near duplicate"]["detail"].startswith("near duplicate of f.csv row 301 (similarity 0.9")
    assert facts["sources"][0]["rejected"] == {"near duplicate": 2} and facts["sources"][0]["rows_out"] == 304
    assert "2 rows nearly repeat another (0.85 or more of their 5-character shingles in common) and are in quarantine" in facts["notes"]
    assert any("stay, as their labels differ" in note for note in facts["notes"])
    whole, _ = go(tmp_path / "b", {**settings, "near_duplicates": {"threshold": 0.99}})
    assert whole["sources"][0]["rows_out"] == 306 and whole["notes"] == [
        "no row nearly repeats another (0.99 or more of their 5-character shingles in common)"]


@pytest.mark.parametrize("across", ["report", "remove"])
def test_near_duplicates_across_given_splits(tmp_path, across):
    near = near_rows()
    sources = [{**csv(tmp_path / "train.csv", [*GOOD[:250], near[0], near[4]]), "split": "train"},
               {**csv(tmp_path / "test.csv", [*GOOD[250:], near[1], near[5]]), "split": "test"}]
    facts, out = go(tmp_path, {"sources": sources, "split": {"kind": "given", "validation": 20},
                               "near_duplicates": {"threshold": 0.85, "across": across}})
    overlap = rows_of(out, "test")["overlap"].to_pylist()
    if across == "remove":
        assert [(row["source"], *key) for key, row in quarantine(out).items()] == [("train.csv", 251, "near duplicate of a held-out row")]
        assert not any(overlap) and facts["sources"][0]["rows_out"] == 251
    else:
        assert facts["overlap"]["test"] == 1 and [row for row, near in enumerate(overlap) if near] == [50]
        assert not quarantine(out) and any("not equal but near to a row of training" in note for note in facts["notes"])


def test_no_group_is_in_two_splits(tmp_path):
    rows = [f"{row},{'' if i == 7 else f'user {i * 31 % 40}'}" for i, row in enumerate(GOOD)]
    source = csv(tmp_path / "f.csv", rows, "text,label,who")
    facts, out = go(tmp_path, {"sources": [source], "split": {"kind": "group", "column": "who", "validation": 0.15, "test": 60}})
    groups = {split: {f"user {int(text.split()[2]) * 31 % 40}" for text in rows_of(out, split)["text"].to_pylist()}
              for split in ("train", "validation", "test")}
    assert not groups["train"] & groups["test"] and not groups["train"] & groups["validation"] and not groups["validation"] & groups["test"]
    assert sum(map(len, groups.values())) == 40 and abs(facts["rows"]["test"] - 60) <= 8 and abs(facts["rows"]["validation"] - 45) <= 8
    assert [(*key, row["detail"]) for key, row in quarantine(out).items()] == [(8, "missing group", "column 'who'")]
    assert facts["notes"][0].startswith("of 40 groups, each in one split: validation ") and "who" not in (out / "schema.json").read_text()
    with pytest.raises(UserError, match="the column 'who' has 2 groups, too few"):
        go(tmp_path / "b", {"sources": [csv(tmp_path / "g.csv", [f"{row},{i % 2}" for i, row in enumerate(GOOD)], "text,label,who")],
                            "split": {"kind": "group", "column": "who"}})


@pytest.mark.parametrize("form", ["{d:02}.{m:02}.2024", "{m}/{d}/2024", "{d}-{m}-2024", "2024{m:02}{d:02} 10:00", "2024-{m:02}",
                                  "2024年{m}月", "2024-{m}-{d} 11:00 UTC", "2024-{m}-{d}+08:00",
                                  "2024-{m:02}-{d:02}", "{m}.5e3", "2024/{m}/{d} 10:{d:02}:00", "2024年{m}月{d}日"])
def test_the_last_rows_are_the_test(tmp_path, form):
    days = np.random.default_rng(0).permutation(300)
    rows = [f"{row},{form.format(m=day // 28 + 1, d=day % 28 + 1)}" for row, day in zip(GOOD, days.tolist(), strict=True)]
    rows[5] = f"{GOOD[5]},soon"
    facts, out = go(tmp_path, {"sources": [csv(tmp_path / "f.csv", rows, "text,label,day")],
                               "split": {"kind": "time", "column": "day", "validation": 30, "test": 0.2}})
    month = [days[int(text.split()[2])] // 28 for split in ("train", "validation", "test") for text in rows_of(out,
        split)["text"].to_pylist()]
    sizes = [facts["rows"][split] for split in ("train", "validation", "test")]
    assert sizes == [209, 30, 60]
    parts = np.split(np.array(month), np.cumsum(sizes)[:2])
    assert parts[0].max() <= parts[1].min() and parts[1].max() <= parts[2].min()
    assert [(*key, row["content"]) for key, row in quarantine(out).items()] == [(6, "no date or number to order by", "soon")]


def test_dates_of_two_forms_are_all_read_and_their_order_is_as_it_is_said(tmp_path):
    def divide(days, folder, **more):
        rows = [f"{row},{day}" for row, day in zip(GOOD, days, strict=False)]
        facts, out = go(tmp_path / folder, {"sources": [csv(tmp_path / "f.csv", rows, "text,label,day")],
                                            "split": {"kind": "time", "column": "day", **more}})
        last = {int(text.split()[2]) for text in rows_of(out, "test")["text"].to_pylist()}
        return facts["rows"], last, {row["reason"] for row in quarantine(out).values()}

    mixed = [f"{i % 12 + 1:02}/0{i // 12 % 9 + 1}/2{i // 108:03}" for i in range(200)]
    with pytest.raises(UserError, match=r"the column 'day' to divide by has \d+ dates such as 05/01/2023 and none that shows whether"):
        divide(mixed, "a")
    for first in (True, False):
        key = [(day[6:], day[3:5], day[:2]) if first else (day[6:], day[:2], day[3:5]) for day in mixed]
        wanted = set(sorted(range(200), key=key.__getitem__)[-20:])
        assert divide(mixed, f"b{first}", day_first=first) == ({"train": 160, "validation": 20, "test": 20}, wanted, set())
    both = [f"{i + 1}.3.2021" if i % 2 else f"2021-03-{i + 1}" for i in range(30)]
    assert divide(both, "c")[1:] == ({27, 28, 29}, set())
    with pytest.raises(UserError, match="has 1 dates that can only be day first and 29 that can only be month first; write them in"):
        divide([f"3/{i + 13}/20{i + 10}" if i else "13/3/2021" for i in range(30)][:19] + ["12/31/2022"] * 11, "d")
    rows, _, why = divide([f"12/{i % 18 + 13}/2021" if i != 4 else "31/12/2021" for i in range(30)], "e", day_first=False)
    assert sum(rows.values()) == 29 and why == {"written day first, and the column is month first"}


def test_dates_and_numbers_have_no_order(tmp_path):
    rows = [f"{row},{'2024-01-01' if i == 99 else i}" for i, row in enumerate(GOOD)]
    with pytest.raises(UserError, match="the column 'day' to divide by holds dates and numbers, which have no order"):
        go(tmp_path, {"sources": [csv(tmp_path / "f.csv", rows, "text,label,day")], "split": {"kind": "time", "column": "day"}})


def test_near_duplicates_of_a_table_are_asked_for_in_digits(tmp_path):
    rows = [f"{i},{i % 2}" for i in range(100)]
    with pytest.raises(UserError, match="near_duplicates with a threshold is for running text"):
        go(tmp_path, {"sources": [csv(tmp_path / "f.csv", rows, "x,label")], "inputs": {"x": "number"},
            "near_duplicates": {"threshold": 0.9}})


def test_facts_are_plain(tmp_path):
    facts, _ = go(tmp_path, {"sources": [csv(tmp_path / "f.csv", GOOD)], "inputs": {"text": {**TEXT, "scrub": ["id"], "html": "strip"}}})
    assert json.loads(json.dumps(facts))["scrubbed"] == {"text": {"id": 0}}


@pytest.mark.parametrize(("words", "chosen"), [(1, 16), (70, 80), (700, 512)])
def test_max_length_is_chosen_from_the_training_rows(tmp_path, words, chosen):
    rows = [f"{i} {'word ' * words},{'pos' if i % 3 else 'neg'}" for i in range(300)]
    rows[0] = f"one that is long {'word ' * 800},pos"
    config = {"sources": [csv(tmp_path / "f.csv", rows)], "inputs": {"text": {**TEXT, "max_length": "auto"}}}
    _, out = go(tmp_path, config)
    column = Schema.load(out).texts()[0]
    lengths = rows_of(out, "train")["text.ids"].combine_chunks().value_lengths().to_numpy() + 2
    assert (column.modality["max_length"], column.facts["max_length"]) == (chosen, chosen)
    assert (lengths <= chosen).mean() >= 0.98 or chosen == 512
    assert (lengths <= chosen - 16).mean() < 0.98 or chosen == 16
    codec = codec_of(column, out)
    assert codec.info["max_length"] == chosen
    assert codec.collate({"ids": codec.encode(pa.array(["word " * 900]))["ids"]}, None)["input_ids"].shape == (1, chosen)


def test_max_length_of_a_pair_is_that_of_both_together(tmp_path):
    (tmp_path / "f.csv").write_text("a,b,label\n" + "".join(f"{i} {'word ' * 20},{'word ' * 30},{i % 2}\n" for i in range(300)))
    text = {**TEXT, "max_length": "auto"}
    _, out = go(tmp_path, {"sources": [{"kind": "csv", "path": str(tmp_path / "f.csv")}], "inputs": {"a": text, "b": text}})
    columns = Schema.load(out).texts()
    assert [column.modality["max_length"] for column in columns] == [64, 64]  # 20 + 1 or 2 and 30 words, 3 special tokens
