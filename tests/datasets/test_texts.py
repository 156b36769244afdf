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


def test_addresses(tmp_path: Path) -> None:
    folder = tmp_path / "package/sotu/data"
    put(tmp_path, "package/sotu/data/1862_b_r.json", b'{"year": 1862, "name": "B", "party": "Republican", "text": "Two."}')
    put(tmp_path, "package/sotu/data/1790_a_n.json", b'{"year": 1790, "name": "A", "party": "none", "text": "One."}')
    (folder / "1790_a_n.txt").write_text("One.")
    table, numbers, rejected = read(data_set("sotu"), tmp_path)
    assert table.to_pylist() == [{"text": "One.", "label": None, "name": "A", "year": 1790},
                                 {"text": "Two.", "label": "Republican", "name": "B", "year": 1862}]
    assert numbers.tolist() == [1, 2] and rejected == []


def test_poems_of_four_kinds_in_the_order_of_their_files(tmp_path: Path) -> None:
    def poem(title: str, *lines: str, field: str = "title") -> dict[str, object]:
        return {"author": "\u674e\u767d", "paragraphs": lines, field: title, "id": "x"}

    for name, poems in {"quantangshi/poet.tang.1000.json": [poem("c", "\u5c71")], "quantangshi/poet.tang.0.json": [
            poem("a", "\u65e5\uff0c", "\u6708\u3002"), poem("b")], "quantangshi/poet.song.0.json": [poem("d", "\u6c34")],
            "quantangshi/authors.tang.json": [{"name": "x"}], "songci/ci.song.0.json": [poem("e", "\u98a8", field="rhythmic")],
            "yuanqu/yuanqu.json": [poem("f", "\u96ea")]}.items():
        put(tmp_path, f"package/dist/{name}", json.dumps(poems, ensure_ascii=False).encode())
    table, numbers, rejected = read(data_set("poetry-zh"), tmp_path)
    assert table["label"].to_pylist() == ["tang", "tang", "song", "ci", "qu"] and table["title"].to_pylist() == list("acdef")
    assert table["text"][0].as_py() == "\u65e5\uff0c\n\u6708\u3002" and table["author"][0].as_py() == "\u674e\u767d"
    assert numbers.tolist() == [1, 3, 4, 5, 6] and [(row["row"], row["reason"]) for row in rejected] == [(2, "the poem has no lines")]


PAGE = """<html><h1 id="hd_id1" dir="auto"><a name="x"></a>{0}
</h1><p id="par_id2" class="code">A &amp; B</p><td><p class="tablecontent" id="par_id3">{1}  <span class="emph">{2}</span>.</p></td>
<p id="par_id3">again</p><p id="par_id4"> </p><p dir="auto">no name</p><p id="par_id5">{3}</p></html>"""


@pytest.mark.parametrize("name", ["zh", "de", "fr"])
def test_paragraphs_of_one_name_in_two_languages(tmp_path: Path, name: str) -> None:
    found = data_set(f"parallel-{name}")
    (there,), (english,) = (list(item.members) for item in (found.resource, *found.resource.more))
    put(tmp_path, f"{english}a/one.html", PAGE.format("Title", "Press", "OK", "Open").encode())
    put(tmp_path, f"{english}only.html", b'<p id="par_id1">Alone</p>')
    put(tmp_path, f"{there}a/one.html", PAGE.format("\u6807\u9898", "\u6309", "OK", "Open ").encode())
    table, numbers, rejected = read(found, tmp_path)
    assert table.to_pylist() == [{"en": "Title", name: "\u6807\u9898", "page": "a/one"},
                                 {"en": "Press OK.", name: "\u6309 OK.", "page": "a/one"}]
    assert numbers.tolist() == [1, 3]
    assert [row["content"] for row in rejected] == ["A & B", "Open", "Alone"]


@pytest.mark.network
@pytest.mark.parametrize(("name", "rows", "rejected"), [
    ("sotu", 233, 0), ("poetry-zh", 343_795, 170), ("parallel-zh", 37_292, 23_936), ("parallel-de", 52_809, 8_419),
    ("parallel-fr", 50_774, 10_454)])
def test_real_folders_of_files(name: str, rows: int, rejected: int) -> None:
    found = data_set(name)
    table, _, left = read(found, fetch(found.resource))
    assert (len(table), len(left)) == (rows, rejected)


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
