from __future__ import annotations

import json

import pytest

from bessemer.core.errors import UserError
from bessemer.data.inspect import infer_source, inspect

WORDS = ["a fine film with a heart", "dull and far too long for me", "I would see it again tomorrow", "not my kind of thing at all"]


def test_a_table_of_reviews(tmp_path):
    file = tmp_path / "r.csv"
    file.write_text("id,review,sentiment\n" + "".join(f"u{i}x,{WORDS[i % 4]} {i},{'pos' if i % 4 else 'neg'}\n" for i in range(200)))
    found = inspect(file)
    assert (found.kind, found.target, found.inputs, found.task, found.rows) == ("csv", "sentiment", ("review",), "classification", 200)
    assert [column.kind for column in found.columns] == ["other", "text", "category"]
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
    with pytest.raises(UserError, match="'price' holds numbers with 300 different values in 300 rows, a quantity"):
        inspect(file, "price")
    with pytest.raises(UserError, match="'one' has 1 different value, so there is nothing to tell apart"):
        inspect(file, "one")
    odd = tmp_path / "r.xyz"
    odd.write_text("what is this")
    with pytest.raises(UserError, match="has the suffix '.xyz'"):
        infer_source(odd)
    (tmp_path / "r.json").write_text('[{"a": 1}]')
    with pytest.raises(UserError, match="is one JSON list; expected JSON lines"):
        infer_source(tmp_path / "r.json")
