"""UTF-16 without a mark in scripts whose signs have no zero byte; bytes of columns that nobody reads."""

from __future__ import annotations

import random
import sqlite3

import pytest

from bessemer.core.errors import UserError
from bessemer.core.registry import plugin
from bessemer.data.guess import encoding_of

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
        "source ('encoding: …', such as cp1250, cp1252, cp437, cp1256, cp874, mac_roman), or save the file as UTF-8")


def test_utf32_by_its_mark():
    assert encoding_of("a,b\n1,2\n".encode("utf-32")) == "utf-32"


def test_a_file_whose_text_is_nothing_once_decoded(tmp_path):
    file = tmp_path / "f.csv"
    file.write_bytes(b"\xff\xfe\x00\x00")
    made = plugin("data/sources", "csv")
    with pytest.raises(UserError, match="the first line is empty; expected the columns' names in it"):
        list(made.function(made.config(path=str(file))).read())
