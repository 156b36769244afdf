from __future__ import annotations

import bz2
import gzip
import lzma
import random
import struct
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from bessemer.core.errors import UserError
from bessemer.datasets import _rda
from bessemer.datasets._rda import read_rda

NIL = struct.pack(">i", 254)
NA_REAL = struct.pack(">II", 0x7FF00000, 1954)
NA_INTEGER = -(2**31)


def flags(kind: int, attributes: bytes = b"", tag: bool = False) -> bytes:
    return struct.pack(">i", kind | (0x200 if attributes else 0) | (0x400 if tag else 0))


def char(text: str | None, encoding: str = "utf-8") -> bytes:
    level = 1 << 14 if encoding == "latin-1" else 1 << 15
    raw = b"" if text is None else text.encode(encoding)
    return struct.pack(">ii", 9 | level, -1 if text is None else len(raw)) + raw


def symbol(name: str) -> bytes:
    return struct.pack(">i", 1) + char(name)


def pairs(**values: bytes) -> bytes:
    return b"".join(flags(2, tag=True) + symbol(name.replace("_", ".")) + value for name, value in values.items()) + NIL


def strings(*values: str | None) -> bytes:
    return flags(16) + struct.pack(">i", len(values)) + b"".join(char(value) for value in values)


def integers(*values: int, kind: int = 13, attributes: bytes = b"") -> bytes:
    return flags(kind, attributes) + struct.pack(f">i{len(values)}i", len(values), *values) + attributes


def reals(*values: float | bytes, attributes: bytes = b"") -> bytes:
    raw = b"".join(value if isinstance(value, bytes) else struct.pack(">d", value) for value in values)
    return flags(14, attributes) + struct.pack(">i", len(values)) + raw + attributes


def factor(levels: tuple[str, ...], *codes: int, classes: tuple[str, ...] = ("factor",)) -> bytes:
    return integers(*codes, attributes=pairs(levels=strings(*levels), **{"class": strings(*classes)}))


def altrep(name: str, state: bytes) -> bytes:
    return struct.pack(">i", 238) + flags(2) + symbol(name) + flags(2) + symbol("base") + flags(2) + integers(13) + NIL + state + NIL


def frame(**columns: bytes) -> bytes:
    attributes = pairs(names=strings(*columns), row_names=integers(NA_INTEGER, -2), **{"class": strings("data.frame")})
    return flags(19, attributes) + struct.pack(">i", len(columns)) + b"".join(columns.values()) + attributes


def rda(version: int = 3, **objects: bytes) -> bytes:
    head = f"RDX{version}\nX\n".encode() + struct.pack(">iii", version, 0x40300, 0x20300)
    return head + (struct.pack(">i", 5) + b"UTF-8" if version == 3 else b"") + pairs(**objects)


def read(tmp_path: Path, content: bytes) -> dict[str, pa.Table]:
    (tmp_path / "a.rda").write_bytes(content)
    return read_rda(tmp_path / "a.rda")


ALL = frame(
    whole=integers(1, NA_INTEGER), real=reals(0.1, NA_REAL), nan=reals(float("nan"), float("inf")), yes=integers(1, NA_INTEGER, kind=10),
    text=strings("\u00e9", None), kind=factor(("a", "b"), 2, NA_INTEGER), order=factor(("lo", "hi"), 1, 2, classes=("ordered", "factor")),
    sequence=altrep("compact_intseq", reals(2.0, 5.0, -1.0)), wrapped=altrep("wrap_real", flags(2) + reals(7.0, NA_REAL) + NIL))
EXPECTED = pa.table({
    "whole": pa.array([1, None], pa.int64()), "real": [0.1, None], "nan": [float("nan"), float("inf")], "yes": [True, None],
    "text": ["\u00e9", None], "kind": ["b", None], "order": ["lo", "hi"], "sequence": pa.array([5, 4], pa.int64()), "wrapped": [7.0, None]})


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_every_kind_of_column(tmp_path: Path, version: int, pack: Callable[[bytes], bytes]) -> None:
    tables = read(tmp_path, pack(rda(version, first=ALL, second=frame(a=integers(3)))))
    assert list(tables) == ["first", "second"]
    assert tables["first"].schema == EXPECTED.schema and str(tables["first"].to_pylist()) == str(EXPECTED.to_pylist())
    assert tables["second"].to_pylist() == [{"a": 3}]


def test_references_to_symbols_and_latin_1(tmp_path: Path) -> None:
    text = flags(16) + struct.pack(">i", 1) + char("\u00fc", "latin-1")
    attributes = pairs(names=strings("a"), **{"class": strings("data.frame")})
    first = flags(19, attributes) + struct.pack(">i", 1) + text + attributes
    again = flags(2, tag=True) + struct.pack(">i", 255 | 1 << 8) + first + NIL  # the object's name is the first symbol of the file
    content = rda(2, one=first)
    assert read(tmp_path, content[:-4] + again) == {"one": pa.table({"a": ["\u00fc"]})}


@pytest.mark.parametrize(("content", "message"), [
    (b"", "it does not begin with RDX2 or RDX3"),
    (b"RDA2\nA\n2\n", "it does not begin with RDX2 or RDX3"),
    (rda(2, f=flags(3)), "it holds an object of R's type 3, which is no part of a table"),
    (rda(2, e=flags(4)), "it holds an object of R's type 4, which is no part of a table"),
    (rda(2, x=integers(1)), "'x' is no data frame"),
    (rda(2, x=frame(a=integers(1), b=integers(1, 2))), "the columns of 'x' differ in length"),
    (rda(2, x=frame(a=frame(b=integers(1)))), "the column 'a' is no vector of numbers, logicals, strings or a factor"),
    (rda(2, x=frame(a=reals(1.0, attributes=pairs(**{"class": strings("Date")})))), r"the column 'a' is no vector of .* \(Date\)"),
    (rda(2, x=frame(a=integers(1, attributes=pairs(dim=integers(1, 1))))), "the column 'a' is no vector"),
    (rda(2, x=frame(a=factor(("a",), 2))), "the factor 'a' has a code without a level"),
    (rda(2, x=flags(14) + struct.pack(">i", 2**31 - 1)), "the file ends early, or a length in it is wrong"),
    (rda(2, x=flags(16) + struct.pack(">i", 2**31 - 1)), "the file ends early, or a length in it is wrong"),
    (rda(2, x=flags(13) + struct.pack(">i", -1)), "the file ends early, or a length in it is wrong"),
    (rda(2, x=altrep("compact_intseq", reals(1e18, 0.0, 1.0))), "it holds a sequence of 1,000,000,000,000,000,000 numbers"),
    (rda(2, x=altrep("mmap_real", reals(1.0))), "it holds a vector stored as 'mmap_real', which is not read"),
    (rda(2, x=(flags(19) + struct.pack(">i", 1)) * 1000 + NIL), "it is nested more than 32 deep"),
    (gzip.compress(rda(2, x=ALL))[:-40], "ended before"),
])
def test_what_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(UserError, match=f"cannot read '.*a.rda' as data frames of R: .*{message}.*; save it in R with save"):
        read(tmp_path, content)


def test_a_large_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_rda, "MAX_BYTES", 1000)
    with pytest.raises(UserError, match="it has more than 1,000 bytes"):
        read(tmp_path, lzma.compress(rda(2, x=frame(a=integers(*range(1000))))))


def test_a_prefix_is_refused(tmp_path: Path) -> None:
    content = rda(3, x=ALL)
    for size in range(0, len(content), 3):
        with pytest.raises(UserError, match="cannot read"):
            read(tmp_path, content[:size])


def test_mutations_never_crash(tmp_path: Path) -> None:
    content, generator = rda(3, x=ALL), random.Random(0)
    refused = 0
    for _ in range(1500):
        changed = bytearray(content)
        for _ in range(generator.choice((1, 1, 2, 5))):
            changed[generator.randrange(len(changed))] = generator.choice((0, 1, 127, 255, generator.randrange(256)))
        try:
            read(tmp_path, bytes(changed))
        except UserError:
            refused += 1
    assert 300 < refused < 1500
