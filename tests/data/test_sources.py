from __future__ import annotations

import bz2
import gzip
import json
import lzma
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bessemer.core.errors import UserError
from bessemer.core.pick import make
from bessemer.core.registry import plugin, plugin_of
from bessemer.data.guess import encoding_of


def read(kind: str, **settings):
    entry = plugin("data/sources", kind)
    source = entry.function(entry.config.model_validate(settings))
    chunks = list(source.read())
    rows = [row for chunk in chunks for row in chunk.table.to_pylist()]
    numbers = [int(number) for chunk in chunks for number in chunk.numbers]
    rejected = [row for chunk in chunks if chunk.rejected is not None for row in chunk.rejected.to_pylist()]
    return rows, numbers, rejected


def put(folder: Path, name: str, data: bytes) -> str:
    (folder / name).write_bytes(data)
    return str(folder / name)


def test_csv_keeps_row_numbers_across_rejected_rows(tmp_path):
    data = b'\xef\xbb\xbfa,b\r\n1,2\r\n1,2,3\r\n\r\n"x\ny","say ""hi"""\r\n\xff\xfe,2\r\n\xff,2,3\r\n6,\r\n'
    rows, numbers, rejected = read("csv", path=put(tmp_path, "f.csv", data))
    assert rows == [{"a": "1", "b": "2"}, {"a": "x\ny", "b": 'say "hi"'}, {"a": "6", "b": None}]
    assert numbers == [1, 3, 6]
    assert [(row["row"], row["reason"]) for row in rejected] == [
        (2, "expected 2 fields, found 3"), (4, "not valid UTF-8"), (5, "expected 2 fields, found 3")]
    assert rejected[1]["content"] == "\ufffd\ufffd | 2"


def test_csv_numbers_hold_over_many_blocks_and_split_characters(tmp_path):
    lines = [f"é汉😀{i},{i}{',x' if i % 7 == 3 else ''}" for i in range(1, 3000)]
    path = put(tmp_path, "f.csv", ("a,b\n" + "\n".join(lines)).encode())
    rows, numbers, rejected = read("csv", path=path, max_row_bytes=1024)
    assert [row["a"] for row in rows] == [f"é汉😀{i}" for i in range(1, 3000) if i % 7 != 3]
    assert numbers == [i for i in range(1, 3000) if i % 7 != 3]
    assert [row["row"] for row in rejected] == [i for i in range(1, 3000) if i % 7 == 3]
    broken = ("a,b\n" + "\n".join(lines)).encode().replace("汉😀2000,".encode(), b"\xe6\xb1,")
    rows, numbers, rejected = read("csv", path=put(tmp_path, "g.csv", broken), max_row_bytes=1024)
    assert [row["row"] for row in rejected if row["reason"] == "not valid UTF-8"] == [2000]
    assert len(rows) + len(rejected) == 2999


@pytest.mark.parametrize("sign", [",", ";", "\t", "|"])
def test_csv_finds_the_delimiter_outside_quotes(tmp_path, sign):
    path = put(tmp_path, "f.tsv", f'"a,;\t|x"{sign}b{sign}c\n1{sign}2{sign}3\n'.encode())
    assert list(read("csv", path=path)[0][0].values()) == ["1", "2", "3"]


@pytest.mark.parametrize(("data", "message"), [
    (b"", "is empty; expected CSV with at least one row"),
    (b"a,b\n", "has a header but no rows; expected at least one"),
    (b"a,b", "has a header but no rows; expected at least one"),
    (b"a,a\n1,2\n", "the header names the column 'a' twice (columns 1 and 2); give each column its own name"),
    (b"a,b\n\x00\x00\x00\x00\x01,2\n", "is a binary file (byte 4 is NUL); expected CSV as UTF-8 text"),
    (b'a,b\n1,2\n3,"4\n5,6\n7,8\n', "data row 2: a quote (\") is opened and never closed"),
    (b'a,b\n1,2\n"3,4\n5,6\n7,8\n', "data row 2: a quote (\") is opened and never closed"),
    (b"a,b\n1,2\n" + b"x" * 9000 + b",2\n3,4\n", "line 3: a line longer than 2,048 bytes"),
    (b'a,b\n1,2\n"' + b"x\n" * 5000, "after data row 1: a row longer than 2,048 bytes"),
])
def test_csv_bad_files(tmp_path, data, message):
    path = put(tmp_path, "f.csv", data)
    with pytest.raises(UserError) as error:
        read("csv", path=path, max_row_bytes=2048)
    assert message in str(error.value)
    assert f"'{path}'" in str(error.value)


def test_missing_files_folders_and_columns(tmp_path, monkeypatch):
    path = put(tmp_path, "reviews.csv", b"text,label\n1,2\n")
    with pytest.raises(UserError, match="there is no file '.*review.csv'; did you mean 'reviews.csv'?"):
        read("csv", path=str(tmp_path / "review.csv"))
    with pytest.raises(UserError, match="is a folder, not a file"):
        read("csv", path=str(tmp_path))
    with pytest.raises(UserError, match=r"no file matches '.*\*.tsv'"):
        read("csv", path=str(tmp_path / "*.tsv"))
    with pytest.raises(UserError, match="has no column 'lable'; did you mean 'label'. its columns are: text, label"):
        read("csv", path=path, columns=("text", "lable"))

    def refuse(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UserError, match="there is no permission to read '.*reviews.csv'"):
        read("csv", path=path)


def test_several_files_are_stacked_in_order_of_name(tmp_path):
    put(tmp_path, "b.csv", b"a,b\n3,4\n")
    put(tmp_path, "a.csv", b"b,a\n2,1\n")
    rows, numbers, _ = read("csv", path=str(tmp_path / "*.csv"), columns=("a", "b"))
    assert rows == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]
    assert numbers == [1, 1]


def test_jsonl_keeps_types_and_rejects_bad_lines(tmp_path):
    data = (b'\xef\xbb\xbf{"t":"x","l":1}\r\n{bad\n\n[1]\n{"t":"\xff","l":1}\n{"t":{"k":[1,2]},"l":1.0}\n{"l":true,"a/b\'\\"":"z"}\n'
            b'{"t":null,"l":"1"}')
    path = put(tmp_path, "f.jsonl", data)
    rows, numbers, rejected = read("jsonl", path=path, columns=("t", "l", "a/b'\""))
    assert [row["l"] for row in rows] == [{"type": "number", "value": "1"}, {"type": "number", "value": "1.0"},
                                          {"type": "boolean", "value": "true"}, {"type": "text", "value": "1"}]
    assert [row["t"] and row["t"]["value"] for row in rows] == ["x", '{"k":[1,2]}', None, None]
    assert rows[2]["a/b'\""] == {"type": "text", "value": "z"}
    assert numbers == [1, 6, 7, 8]
    assert [(row["row"], row["reason"]) for row in rejected] == [
        (2, "not valid JSON"), (4, "not a JSON object"), (5, "not valid UTF-8")]
    with pytest.raises(UserError, match="has no column 'tt'"):
        read("jsonl", path=path, columns=("tt",))


@pytest.mark.parametrize("kind", ["jsonl", "lines"])
def test_a_long_line_is_rejected_with_its_number(tmp_path, kind):
    good = json.dumps({"t": "x"}) if kind == "jsonl" else "x\ty"
    path = put(tmp_path, "f.txt", f"{good}\n{'z' * 9_000_000}\n{good}\n".encode())
    rows, numbers, rejected = read(kind, path=path, max_row_bytes=100_000)
    assert (len(rows), numbers) == (2, [1, 3])
    assert [(row["row"], row["reason"], len(row["content"])) for row in rejected] == [(2, "line longer than 100000 bytes", 200)]


def test_lines_need_their_tab(tmp_path):
    rows, numbers, rejected = read("lines", path=put(tmp_path, "f.txt", b"pos\tgood\tfilm\r\nneg\n\xff\tx\n\nneg\tbad"))
    assert rows == [{"label": "pos", "text": "good\tfilm"}, {"label": "neg", "text": "bad"}]
    assert numbers == [1, 5]
    assert [(row["row"], row["reason"]) for row in rejected] == [
        (2, "expected 2 fields between tabs, found 1"), (3, "not valid UTF-8")]


def test_parquet_reads_and_refuses_damage_and_other_types(tmp_path):
    pq.write_table(pa.table({"t": ["x", "y"], "l": [1, 2]}), tmp_path / "a.parquet")
    rows, numbers, _ = read("parquet", path=str(tmp_path / "a.parquet"), columns=("l",))
    assert (rows, numbers) == ([{"l": 1}, {"l": 2}], [1, 2])
    pq.write_table(pa.table({"t": ["x"], "l": ["1"]}), tmp_path / "b.parquet")
    with pytest.raises(UserError, match="b.parquet': the column 'l' holds string, but in '.*a.parquet' it holds int64"):
        read("parquet", path=str(tmp_path / "*.parquet"))
    whole = (tmp_path / "a.parquet").read_bytes()
    for cut in (whole[:50], whole[:-1], whole[60:], whole[:4] + b"\x00" * 60 + whole[64:]):
        with pytest.raises(UserError, match="c.parquet' is damaged or no Parquet file"):
            read("parquet", path=put(tmp_path, "c.parquet", cut))


def told(**settings):
    config = make("data/sources", settings)
    return [note for chunk in plugin_of("data/sources", config).function(config).read() for note in chunk.notes]


# ---- other encodings, packed files, many columns ---------------------------------------------------------------------

CHINESE = "名字,评论\n" + "".join(f"王小明{i},这家酒店的服务很好，我们都说不错，下次还会来\n" for i in range(40))


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, lambda data: pa.compress(data, "zstd", asbytes=True)])
def test_packed_text_is_read_as_it_is(tmp_path, pack):
    data = b"a,b\n" + b"".join(b"%d,x\n" % i for i in range(20_000)) + b"1,2,3\n"
    plain, packed = read("csv", path=put(tmp_path, "f.csv", data)), read("csv", path=put(tmp_path, "g.csv.xx", pack(data)))
    assert packed == plain and len(plain[0]) == 20_000 and plain[2][0]["row"] == 20_001
    lines = b"".join(b'{"a": %d}\n' % i for i in range(100))
    assert read("jsonl", path=put(tmp_path, "l.jsonl.xx", pack(lines))) == read("jsonl", path=put(tmp_path, "l.jsonl", lines))
    with pytest.raises(UserError, match="cut.csv.gz' is damaged or was not copied whole"):
        read("csv", path=put(tmp_path, "cut.csv.gz", pack(data)[:-9]))


@pytest.mark.parametrize(("encoding", "setting"), [("utf-16", None), ("utf-16-be", "utf-16-be"), ("gb18030", None), ("gbk", "gbk")])
def test_text_in_other_encodings(tmp_path, encoding, setting):
    rows, numbers, rejected = read("csv", path=put(tmp_path, "f.csv", CHINESE.encode(encoding)), encoding=setting)
    assert (rows, numbers, rejected) == read("csv", path=put(tmp_path, "g.csv", CHINESE.encode()))
    assert rows[3]["名字"] == "王小明3" and len(rows) == 40


@pytest.mark.parametrize(("text", "encoding", "proposed"), [
    ("příliš,město\n" + "1,Žižkov žluťoučký\n" * 40, "cp852", "cp852"),
    ("текст,слово\n" + "привет,как дела\n" * 40, "cp866", "cp866")])
def test_the_encoding_that_is_proposed(tmp_path, text, encoding, proposed):
    said = rf"is not valid UTF-8; save the file as UTF-8, or name its encoding, such as {proposed} \(in a recipe's source"
    with pytest.raises(UserError, match=said):
        read("csv", path=put(tmp_path, "f.csv", text.encode(encoding)))


TONGUES = {
    "cp1252": "größe,ort\n" + "“Straße” – 5 €,Zürich\nl'été à Noël,Genève\n" * 20, "latin-1": "name,town\nJosé,Münchën\n",
    "gb18030": "名字,评价\n" + "王小明,这家酒店的服务很好我们下次还会来的\n" * 20,
    "big5": "名字,評價\n" + "王小明,這家飯店的服務很好我們下次還會來的\n" * 20,
    "cp932": "名前,感想\n" + "山田,このホテルのサービスはとても良かったです。また来ます\n" * 20,
    "euc_jp": "名前,感想\n" + "山田,このホテルのサービスはとても良かったです。また来ます\n" * 20,
    "euc_kr": "이름,말\n" + "김철수,안녕하세요 이 호텔은 아주 좋았습니다 다시 오고 싶어요\n" * 20,
    "utf-16": "a,名字\n1,王小明\n", "utf-16-le": "a,名字\n1,王小明\n" * 9, "utf-16-be": "a,b\n1,été\n"}


@pytest.mark.parametrize("encoding", TONGUES)
def test_encodings_are_found_and_told(tmp_path, encoding):
    text = TONGUES[encoding]
    path = put(tmp_path, "f.csv", text.encode(encoding))
    entry = plugin("data/sources", "csv")
    chunks = list(entry.function(entry.config(path=path)).read())
    names = text.split("\n")[0].split(",")
    assert [row for chunk in chunks for row in chunk.table.to_pylist()] == [
        dict(zip(names, line.split(","), strict=True)) for line in text.splitlines()[1:]]
    assert all(chunk.rejected is None for chunk in chunks)
    found = {"latin-1": "cp1252"}.get(encoding, encoding).upper()
    assert [note for chunk in chunks for note in chunk.notes] == ([] if encoding == "utf-16" else [
        f"f.csv: its bytes are no UTF-8 and look like {found}, as which it is read; say 'encoding:' where that is wrong"])
    lines = put(tmp_path, "f.txt", text.replace(",", "\t").encode(encoding))
    assert [list(row.values()) for row in read("lines", path=lines, columns=("a", "b"))[0]] == [
        line.split(",") for line in text.splitlines()]


@pytest.mark.parametrize(("encoding", "text"), [
    ("cp1250", "Příliš žluťoučký kůň úpěl ďábelské ódy"), ("cp1250", "zażółć gęślą jaźń"), ("cp866", "привет, как дела"),
    ("cp437", "größe über"), ("utf-8", "naïve café 汉字"), ("gb18030", "很好")])
def test_an_encoding_is_guessed_only_where_it_is_plain(encoding, text):
    assert encoding_of((text + "\n").encode(encoding)) is None
    assert encoding_of((text + "\n").encode("utf-8") + b"\xff\n") is None  # damaged, and UTF-8 all the same


@pytest.mark.parametrize(("encoding", "text", "found"), [
    ("cp1251", "привет, как дела", "cp1251"), ("koi8-r", "привет, как дела", "koi8_r"),
    ("cp1254", "İstanbul'da şeker ağacı ışığı", "cp1254"), ("iso-8859-7", "καλημέρα κόσμε", "cp1253")])
def test_an_encoding_of_one_byte_a_letter_is_found_by_its_letters(encoding, text, found):
    assert encoding_of((text + "\n").encode(encoding)) == found
    assert text.encode(encoding).decode(found) == text
    assert encoding_of((text + "\n").encode("utf-8") + b"\xff\n") is None  # damaged, and UTF-8 all the same


@pytest.mark.parametrize("damage", [b"\xff,1\n", b"\xe6\xb1,2\n", b"\x00\x00\x00\x00\x01,2\n"])
def test_damaged_bytes_are_no_encoding(damage):
    assert encoding_of(b"text,label\n" + damage) is None


def test_a_damaged_row_of_a_named_encoding_and_an_unknown_one(tmp_path):
    damaged = CHINESE.encode("gb18030") + b"\x81\x20,x\n"
    rows, _, rejected = read("csv", path=put(tmp_path, "d.csv", damaged), encoding="gb18030")
    assert (len(rows), [(row["row"], row["reason"]) for row in rejected]) == (40, [(41, "not valid GB18030")])
    with pytest.raises(ValueError, match="there is no encoding 'utf-9'"):
        make("data/sources", {"kind": "csv", "path": "f.csv", "encoding": "utf-9"})


def wide(folder, columns=100_000):
    names = [f"column_{i}" for i in range(columns)]
    return put(folder, "w.csv", (",".join(names) + "\n" + (",".join("7" * columns) + "\n") * 3).encode()), names


def test_two_of_a_hundred_thousand_columns(tmp_path):
    path, names = wide(tmp_path)
    assert read("csv", path=path, columns=("column_99999", "column_3"))[0] == [{"column_99999": "7", "column_3": "7"}] * 3
    pq.write_table(pa.Table.from_arrays([pa.array([1, 2])] * 20_000, names=names[:20_000]), tmp_path / "w.parquet")
    assert read("parquet", path=str(tmp_path / "w.parquet"), columns=("column_9",))[0] == [{"column_9": 1}, {"column_9": 2}]


@pytest.mark.slow
def test_all_of_a_hundred_thousand_columns(tmp_path):
    path, names = wide(tmp_path)
    entry = plugin("data/sources", "csv")
    (chunk,) = entry.function(entry.config(path=path)).read()
    assert chunk.table.shape == (3, 100_000) and chunk.table["column_99999"].to_pylist() == ["7"] * 3
    pq.write_table(pa.Table.from_arrays([pa.array([1, 2])] * 100_000, names=names), tmp_path / "w.parquet")
    entry = plugin("data/sources", "parquet")
    (chunk,) = entry.function(entry.config(path=str(tmp_path / "w.parquet"))).read()
    assert chunk.table.shape == (2, 100_000)


def test_stacked_csv_files_must_have_the_same_columns(tmp_path):
    put(tmp_path, "a.csv", b"a,b\n1,2\n")
    put(tmp_path, "b.csv", b"a,c\n3,4\n")
    with pytest.raises(UserError, match="b.csv' has a column 'c', which '.*a.csv' has not"):
        read("csv", path=str(tmp_path / "*.csv"))
    with pytest.raises(UserError, match="b.csv' has no column 'b'"):
        read("csv", path=str(tmp_path / "*.csv"), columns=("b",))


# ---- typed files -----------------------------------------------------------------------------------------------------

def odd_types():
    return pa.table({
        "dictionary": pa.array(["x", None, "汉"]).dictionary_encode(), "large": pa.array(["a", "b", None], pa.large_string()),
        "view": pa.array(["a", None, "c"], pa.string_view()), "money": pa.array([Decimal("1.25"), None, Decimal("-3.00")]),
        "big": pa.array([2**64 - 1, 0, None], pa.uint64()), "when": pa.array([0, 1, None], pa.timestamp("us", "Europe/Berlin")),
        "half": pa.array([1.5, None, float("inf")], pa.float16()), "nothing": pa.nulls(3), "day": pa.array([0, 1, 2], pa.date32()),
        "list": pa.array([["a", "b"], [], None])})


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_odd_types_come_in_plain_ones(tmp_path, kind):
    table = odd_types()
    if kind == "parquet":
        pq.write_table(table, tmp_path / "f")
    else:
        with pa.ipc.new_file(str(tmp_path / "f"), table.schema) as writer:
            writer.write_table(table)
    entry = plugin("data/sources", kind)
    (chunk,) = entry.function(entry.config(path=str(tmp_path / "f"))).read()
    assert [str(field.type) for field in chunk.table.schema] == [
        "string", "string", "string", "decimal128(3, 2)", "uint64", "timestamp[us, tz=Europe/Berlin]", "float", "string", "date32[day]",
        "list<item: string>" if kind == "arrow" else "list<element: string>"]
    assert chunk.table.to_pylist() == [{**row, "nothing": None} for row in table.to_pylist()]


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_typed_files_that_cannot_be_used(tmp_path, kind):
    def write(name, table):
        if kind == "parquet":
            pq.write_table(table, tmp_path / name)
        else:
            with pa.ipc.new_stream(str(tmp_path / name), table.schema) as writer:
                writer.write_table(table)
        return str(tmp_path / name)

    two = write("two", pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]))
    with pytest.raises(UserError, match=r"two' has two columns named 'a' \(columns 1 and 2\)"):
        read(kind, path=two)
    with pytest.raises(UserError, match="none' has columns but no rows"):
        read(kind, path=write("none", pa.table({"a": pa.array([], pa.int64())})))
    nested = write("nested", pa.table({"a": [{"x": 1}], "b": [1]}))
    with pytest.raises(UserError, match="the column 'a' holds struct<x: int64>, mappings of values"):
        read(kind, path=nested, columns=("a",))
    assert read(kind, path=nested, columns=("b",))[0] == [{"b": 1}]
    with pytest.raises(UserError, match="nested' has no column 'c', which '.*lists' has"):
        read(kind, path=(write("lists", pa.table({"b": [1], "c": [1]})), nested))
    raw = write("raw", pa.table({"a": pa.array([b"x", b"\xff", "é".encode()]), "b": [1, 2, 3]}))
    rows, numbers, rejected = read(kind, path=raw, columns=("a", "b"))
    assert (rows, numbers) == ([{"a": "x", "b": 1}, {"a": "é", "b": 3}], [1, 3])
    assert [(row["row"], row["reason"]) for row in rejected] == [(2, "not valid UTF-8")]
    whole = (tmp_path / "raw").read_bytes()
    for cut in (whole[:-20], whole[:30], whole[40:]):
        with pytest.raises(UserError, match="cut' is damaged or no (Parquet|Arrow) file"):
            read(kind, path=put(tmp_path, "cut", cut))


def test_int96_times_beyond_nanoseconds_are_not_wrapped(tmp_path):
    pq.write_table(pa.table({"t": pa.array([253402214400000000], pa.timestamp("us"))}), tmp_path / "t.parquet",
                   use_deprecated_int96_timestamps=True)
    assert read("parquet", path=str(tmp_path / "t.parquet"))[0][0]["t"].year == 9999


# ---- joins -----------------------------------------------------------------------------------------------------------

@pytest.fixture
def shop(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    put(tmp_path, "orders.csv", b"user,amount\nu1,5\nu2,6\nbad,1,2\nu9,7\n,3\nu1,8\n")
    pq.write_table(pa.table({"user": ["u1", "u2", "u3"], "age": [30, None, 50]}), "users.parquet")


def test_join_keeps_the_left_rows_their_numbers_and_tells_of_those_alone(shop):
    rows, numbers, rejected = read("join", left="orders.csv", right="users.parquet", on=("user",))
    assert [(row["user"], row["amount"], row["age"]) for row in rows] == [
        ("u1", "5", 30), ("u2", "6", None), ("u9", "7", None), (None, "3", None), ("u1", "8", 30)]
    assert numbers == [1, 2, 4, 5, 6] and [row["row"] for row in rejected] == [3]
    assert told(kind="join", left="orders.csv", right="users.parquet", on=["user"]) == [
        "orders.csv: of 5 rows, 2 without a partner in 'users.parquet'; its columns are missing there"]
    rows, numbers, rejected = read("join", left="orders.csv", right="users.parquet", on=("user",), how="inner", columns=("age",))
    assert (rows, numbers) == ([{"age": 30}, {"age": None}, {"age": 30}], [1, 2, 6])
    assert [(row["row"], row["reason"], row["content"]) for row in rejected] == [
        (3, "expected 2 fields, found 3", "bad,1,2"), (4, "no partner in 'users.parquet'", "user = 'u9'"),
        (5, "no partner in 'users.parquet'", "user = None")]


def test_join_refuses_what_would_go_wrong_in_silence(shop, tmp_path):
    with pytest.raises(UserError, match=r"'orders.csv': 2 rows have the key user = 'u1' \(rows 1 to 6\)"):
        read("join", left="users.parquet", right="orders.csv", on=("user",))
    rows, numbers, _ = read("join", left="users.parquet", right="orders.csv", on=("user",), many=True)
    assert ([row["amount"] for row in rows], numbers) == (["5", "8", "6", None], [1, 1, 2, 3])
    assert told(kind="join", left="users.parquet", right="orders.csv", on=["user"], many=True)[0] == (
        "orders.csv: 1 row cannot be read and left out (the first, row 3: expected 2 fields, found 3)")
    with pytest.raises(UserError, match="'orders.csv' has no column 'usr' to join on; did you mean 'user'"):
        read("join", left="users.parquet", right="orders.csv", on=("usr",))
    put(tmp_path, "ages.csv", b"user,amount\nx1,1\n")
    with pytest.raises(UserError, match="both have a column 'amount'; rename one of them"):
        read("join", left="orders.csv", right="ages.csv", on=("user",))
    with pytest.raises(UserError, match="no row of 'orders.csv' has a partner in 'ages.csv' by user"):
        read("join", left="orders.csv", right={"kind": "csv", "path": "ages.csv", "rename": {"amount": "age"}}, on=("user",))
    with pytest.raises(ValueError, match="a source inside another cannot have a 'where'"):
        left = {"kind": "csv", "path": "a.csv", "where": {"a": ["1"]}}
        make("data/sources", {"kind": "join", "left": left, "right": "b.csv", "on": ["a"]})


def test_join_meets_keys_of_two_types_as_they_are_written(tmp_path):
    put(tmp_path, "l.csv", b"k,a\n7,x\n007,y\n")
    pq.write_table(pa.table({"k": [7, 8], "b": ["seven", "eight"]}), tmp_path / "r.parquet")
    rows, _, _ = read("join", left=str(tmp_path / "l.csv"), right=str(tmp_path / "r.parquet"), on=("k",))
    assert [row["b"] for row in rows] == ["seven", None]


def test_join_of_many_rows_equals_a_dictionary(tmp_path):
    put(tmp_path, "l.csv", b"k,a\n" + b"".join(b"%d,%d\n" % (i * 7919 % 5000, i) for i in range(150_000)))
    put(tmp_path, "r.csv", b"k,b\n" + b"".join(b"%d,v%d\n" % (i, i * i) for i in range(4000)))
    rows, numbers, _ = read("join", left=str(tmp_path / "l.csv"), right=str(tmp_path / "r.csv"), on=("k",))
    partner = {str(i): f"v{i * i}" for i in range(4000)}
    assert rows == [{"k": (k := str(i * 7919 % 5000)), "a": str(i), "b": partner.get(k)} for i in range(150_000)]
    assert numbers == list(range(1, 150_001))


# ---- SQL -------------------------------------------------------------------------------------------------------------

def sql(query):
    return read("sql", query=query, tables={"orders": "orders.csv", "users": "users.parquet"})


def test_sql_over_files(shop):
    rows, numbers, _ = sql("SELECT user, CAST(amount AS INT) AS amount, age FROM orders LEFT JOIN users USING (user) ORDER BY amount DESC")
    assert [tuple(row.values()) for row in rows] == [("u1", 8, 30), ("u9", 7, None), ("u2", 6, None), ("u1", 5, 30), (None, 3, None)]
    assert numbers == [1, 2, 3, 4, 5]
    assert sql("SELECT a.age FROM users a JOIN users b ON a.age < b.age")[0] == [{"age": 30}]  # a table read twice
    query = "SELECT age, sum(amount::INT) AS total FROM orders JOIN users USING (user) GROUP BY age ORDER BY age"
    assert read("sql", query=query, tables={"orders": "orders.csv", "users": "users.parquet"}, columns=("total",))[0] == [
        {"total": 13}, {"total": 6}]


@pytest.mark.parametrize(("query", "message"), [
    ("SELECT *,\n nope FROM orders", 'Binder Error: Referenced column "nope" not found in FROM clause, line 2 of the query'),
    ("SELECT * FRON orders", "syntax error at or near \"orders\", line 1 of the query; expected one SELECT"),
    ("DROP TABLE orders", "expected one SELECT"), ("SELECT 1; DROP TABLE orders", "expected one SELECT"),
    ("SELECT 1; SELECT 2", "the query has 2 statements; expected one SELECT"),
    ("COPY orders TO '/tmp/never.csv'", "expected one SELECT"), ("ATTACH '/tmp/never.db'", "expected one SELECT"),
    ("SET enable_external_access = true", "expected one SELECT"), ("INSTALL httpfs", "expected one SELECT"),
    ("SELECT * FROM read_csv('orders.csv')", "file system operations are disabled by configuration"),
    ("SELECT * FROM read_text('/etc/hostname')", "file system operations are disabled by configuration"),
    ("SELECT * FROM 'orders.csv'", "file system operations are disabled by configuration"),
    ("SELECT * FROM entry", "Table with name entry does not exist"), ("SELECT * FROM glob('*')", "operations are disabled"),
    ("SELECT random() AS r FROM orders", "the query calls random(), which gives another value each time"),
    ("SELECT current_date AS r FROM orders", "the query calls current_date(), which gives another value each time"),
    ("SELECT * FROM orders USING SAMPLE 2", "the query draws a sample, another each time"),
    ("SELECT * FROM orders o JOIN users u ON o.user = u.user", "the query gives two columns named 'user'"),
    ("SELECT * FROM orders WHERE amount::INT > 100", "the query gives no row; expected at least one"),
    ("SELECT amount::DATE AS d FROM orders", "Conversion Error")])
def test_sql_that_is_refused(shop, query, message):
    with pytest.raises(UserError) as error:
        sql(query)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_sql_tables_are_checked(shop, tmp_path):
    with pytest.raises(ValueError, match="'or ders' cannot name a table"):
        make("data/sources", {"kind": "sql", "query": "SELECT 1", "tables": {"or ders": "orders.csv"}})
    with pytest.raises(ValueError, match="'orders.xyz' does not say its kind"):
        make("data/sources", {"kind": "sql", "query": "SELECT 1", "tables": {"o": "orders.xyz"}})
    put(tmp_path, "c.csv", b"a,A\n1,2\n")
    with pytest.raises(UserError, match="'c.csv' has the columns 'a' and 'A', which SQL does not tell apart"):
        read("sql", query="SELECT * FROM c", tables={"c": "c.csv"})
    config = make("data/sources", {"kind": "sql", "query": "SELECT 1", "tables": {"o": "orders.csv", "p": "orders.csv"}})
    assert config.outside() == (Path("orders.csv"),)
