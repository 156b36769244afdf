"""UTF-16 without a mark in scripts whose signs have no zero byte; bytes of columns that nobody reads."""

from __future__ import annotations

import random
import sqlite3

import pytest

from bessemer.core.errors import UserError
from bessemer.core.registry import plugin
from bessemer.data.columns import texts
from bessemer.data.guess import encoding_of, proposals

TEXTS = {"zh": "房间很大，一切都好", "ar": "الخدمة رائعة جدا", "th": "ร้านนี้อร่อยดีมาก", "ja": "この店は最高です"}


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("language", TEXTS)
def test_utf16_without_a_mark(language, encoding):
    text = "id,text,label\r\n" + "".join(f"{i},{TEXTS[language]},ab\r\n" for i in range(99))
    assert encoding_of(text.encode(encoding)) == encoding


def test_binary_files_are_no_utf16():
    generator = random.Random(0)
    assert encoding_of(generator.randbytes(65536)) is None
    assert encoding_of(b"".join(generator.randrange(1 << 12).to_bytes(4, "little") for _ in range(9999))) is None
    assert encoding_of(b"".join(generator.randrange(1 << 11).to_bytes(2, "little") for _ in range(9999))) is None


def test_bytes_of_columns_that_are_not_read(tmp_path):
    file = tmp_path / "s.db"
    with sqlite3.connect(file) as database:
        database.execute("CREATE TABLE t (text TEXT, picture BLOB)")
        database.executemany("INSERT INTO t VALUES (?, ?)", [("one", b"\xff\x00"), (b"\xff\x80", None), ("two", b"\xfe")])
    database.close()
    found = {}
    for columns in (("text",), ("text", "picture"), None):
        made = plugin("data/sources", "sqlite")
        (chunk,) = made.function(made.config(path=str(file), columns=columns)).read()
        found[columns] = (chunk.table["text"].to_pylist(), chunk.rejected["row"].to_pylist() if chunk.rejected is not None else [])
    assert found == {("text",): (["one", "two"], [2]), ("text", "picture"): ([], [1, 2, 3]), None: (["one", None, "two"], [])}


def test_iso_2022_jp():
    assert encoding_of(("id,text\n" + "1,この店は最高です\n" * 9).encode("iso2022_jp")) == "iso2022_jp"
    assert encoding_of(b"\x1b[31mred\x1b(B and $B\n") is None


def test_a_file_in_an_encoding_that_nobody_said_is_refused(tmp_path):
    file = tmp_path / "f.csv"
    file.write_bytes(("a,b\n" + "1,schön müde\n" * 3 + "2,plain\n").encode("cp437"))
    made = plugin("data/sources", "csv")
    with pytest.raises(UserError) as error:
        list(made.function(made.config(path=str(file))).read())
    assert str(error.value) == (
        f"'{file}': 3 of 4 rows are not valid UTF-8, so the file is in another encoding, which its bytes do not show; name it in the "
        "recipe's source ('encoding: …') or in the command (--encoding), such as cp437, cp850, cp852, mac_roman, or save the file as UTF-8")


def test_utf32_by_its_mark():
    assert encoding_of("a,b\n1,2\n".encode("utf-32")) == "utf-32"


def test_a_file_whose_text_is_nothing_once_decoded(tmp_path):
    file = tmp_path / "f.csv"
    file.write_bytes(b"\xff\xfe\x00\x00")
    made = plugin("data/sources", "csv")
    with pytest.raises(UserError, match="the first line is empty; expected the columns' names in it"):
        list(made.function(made.config(path=str(file))).read())


@pytest.mark.parametrize(("encoding", "text"), [
    ("cp874", "ร้านนี้อร่อยดีมาก บริการดี"), ("cp1256", "الخدمة رائعة جدا والطعام لذيذ"), ("cp1251", "Очень вкусно, но дорого"),
    ("koi8_r", "Очень вкусно, но дорого"), ("cp1253", "Το φαγητό ήταν πολύ καλό"), ("cp1255", "האוכל היה טעים מאוד"),
    ("cp1250", "Zażółć gęślą jaźń"), ("cp1250", "Příliš žluťoučký kůň"), ("cp1254", "çok güzel, biraz yüksek, şık"),
    ("gb18030", "schön müde, größer"), ("cp437", "schön müde"), ("mac_roman", "schön müde, größer")])
def test_the_likeliest_encoding_is_proposed_first(encoding, text):
    assert proposals(f"id,text\n1,{text}\n".encode(encoding) * 9)[0] == encoding


@pytest.mark.parametrize(("kind", "line"), [("jsonl", '{"text": "%s"}'), ("lines", "a\t%s"), ("fasttext", "__label__a %s"),
                                            ("class_files", "%s"), ("csv", "%s")])
def test_every_kind_of_text_file_is_refused_where_it_is_mostly_no_utf8(tmp_path, kind, line):
    file = tmp_path / "f.txt"
    thai = "ร้านนี้อร่อยดีมาก"
    plain = ["plain"] * 3 + ["plain " * 4000] * 9  # nothing in the first bytes shows it
    file.write_bytes("\n".join(["text", *(line % words for words in [*plain, *[thai] * 20])]).encode("cp874"))
    made = plugin("data/sources", kind)
    with pytest.raises(UserError) as error:
        list(made.function(made.config(path=str(file))).read())
    assert f"'{file}': 20 of 3" in str(error.value) and "(--encoding), such as cp874, " in str(error.value)
    (*_, last) = made.function(made.config(path=str(file), encoding="cp874")).read()
    assert texts(last.table["text"]).to_pylist()[-1] == thai


def test_a_folder_of_texts_that_are_mostly_no_utf8(tmp_path):
    (tmp_path / "a").mkdir()
    for number, text in enumerate(["plain", "ร้านนี้", "อร่อยดีมาก"]):
        (tmp_path / "a" / f"{number}.txt").write_bytes(text.encode("cp874"))
    made = plugin("data/sources", "folder")
    with pytest.raises(UserError) as error:
        list(made.function(made.config(path=str(tmp_path))).read())
    assert str(error.value).startswith(
        f"'{tmp_path}': 2 of 3 files are not valid UTF-8, so they are in another encoding, which their bytes do not show; name it in the "
        "recipe's source ('encoding: …') or in the command (--encoding), such as cp874, ") and str(error.value).endswith(
        ", or save the files as UTF-8")
