"""Sets of text: small files in their own formats, and the real ones where the network is asked for."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from bessemer.core.fetch import fetch
from tests.datasets.test_catalogue import data_set, put, read


@pytest.mark.parametrize("language", ["en", "fr", "es"])
def test_articles_and_their_topics(tmp_path: Path, language: str) -> None:
    found = data_set(f"wiki-{language}")
    (member,) = found.resource.members
    articles = {"a": {"title": "A", "extract": "Ä is\na letter.", "description": "x", "topic": "Arts"},
                "b": {"title": "B", "extract": "B.", "description": "", "topic": "Uncategorized"}}
    put(tmp_path, member, json.dumps(articles, ensure_ascii=False).encode())
    table, numbers, rejected = read(found, tmp_path)
    assert table.to_pylist() == [{"text": "Ä is\na letter.", "label": "Arts", "title": "A"}, {"text": "B.", "label": None, "title": "B"}]
    assert numbers.tolist() == [1, 2] and rejected == []


def test_dialogue(tmp_path: Path) -> None:
    found = data_set("friends")
    (member,) = found.resource.members
    put(tmp_path, member, b"Season\tEpisode\tx\tTitle\tAuthor\tQuote\nd\td\td\td\td\tstring\n\t\t\t\t\tinclude=True\n\n"
                          b"01\t02\t0102\tThe One\tJoey\t Hey \"you\"!\n01\t02\t0102\tThe One\tRoss\t \n")
    table, numbers, rejected = read(found, tmp_path)
    assert table.to_pylist() == [{"text": 'Hey "you"!', "label": "Joey", "season": "01", "episode": "02", "title": "The One"}]
    assert numbers.tolist() == [5] and [row["row"] for row in rejected] == [4, 6]


def test_words_and_their_tags(tmp_path: Path) -> None:
    found = data_set("brown")
    for name in found.resource.members:
        put(tmp_path, name,
            b"\n\n\tThe/at 1\\/2/cd jury/nn said/vbd ,/, it/pps ./.\n\n\n\tNo/rb ./.\n" if name.endswith("a01") else b"\nA/at\n")
    table, numbers, rejected = read(found, tmp_path)
    rows = table.to_pylist()
    assert rows[:2] == [
        {"text": "The 1\\/2 jury said , it .", "tags": "at cd nn vbd , pps .", "label": "news", "document": "ca01"},
        {"text": "No .", "tags": "rb .", "label": "news", "document": "ca01"}]
    assert len(rows) == 501 and numbers.tolist() == list(range(1, 502)) and rejected == []
    assert rows[-1] == {"text": "A", "tags": "at", "label": "humor", "document": "cr09"}


@pytest.mark.network
@pytest.mark.parametrize(("name", "rows", "labels"), [("wiki-en", 10_033, 11), ("wiki-fr", 9_955, 11), ("wiki-es", 6_239, 8)])
def test_real_articles(name: str, rows: int, labels: int) -> None:
    found = data_set(name)
    table, _, rejected = read(found, fetch(found.resource))
    assert len(table) == rows and len(set(table["label"].to_pylist()) - {None}) == labels and rejected == []


@pytest.mark.network
def test_real_dialogue() -> None:
    found = data_set("friends")
    table, _, rejected = read(found, fetch(found.resource))
    assert (len(table), len(rejected)) == (61_510, 54)
    assert Counter(table["label"].to_pylist()).most_common(2) == [("Rachel", 9315), ("Ross", 9110)]


@pytest.mark.network
def test_real_tags() -> None:
    found = data_set("brown")
    table, _, _ = read(found, fetch(found.resource))
    words, tags = (column.to_pylist() for column in (table["text"], table["tags"]))
    assert len(table) == 57_340 and sum(len(text.split()) for text in words) == 1_161_192
    assert [len(text.split()) for text in words] == [len(text.split()) for text in tags]
    assert len(set(table["label"].to_pylist())) == 15
