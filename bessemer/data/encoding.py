"""Bytes as they lie on disk made plain: compressed files opened as streams, other encodings turned into UTF-8.

Memory stays flat however far a file unpacks: everything is read block by block. A file that ends too early is an error, never a
shorter file.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import re
import zlib
from pathlib import Path
from typing import Any, BinaryIO

from bessemer.core.errors import UserError

MARK = "\ufdd0"  # a code point that Unicode keeps out of text for ever: stands for bytes that are no text in their encoding
SUFFIXES = (".gz", ".bz2", ".zst", ".xz")
_MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\x28\xb5\x2f\xfd": "zstd", b"\xfd7zXZ\x00": "xz"}
_COMMON = frozenset(
    "的一是不了在人有我他这中大来上国个到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可她里后"
    "小么心多天而能好都然没日于起还发成事只作当想看文无开手十用主行方又如前所本见经头面公同三已老从动两长"
    "知民样现分将外但身些与高意进把法此实回二理美点月明其种声全工己话儿者向情部正名定女问力机给等几很业最"
    "间新什打便位因重被走电四第门相次东政海口使教西再平真听世气信北少关并内加化由却代军产入先山五太水万市"
    "眼体别处总才场师书比住员九笑性通目华报立马命张活难神数件安表原车白应路期叫死常提感金何更反合放做系计"
    "或司利受光王果亲界及今京务制解各任至清物台象记边共风战干接它许八特觉望直服毛林题建南度统色字请交爱让"
    "认算论百吃义科怎元社术结六功指思非流每青管夫连远资队跟带花快条院变联言权男房不错酒店服务")
codecs.register_error("bessemer-mark", lambda error: (MARK, error.end))  # type: ignore[attr-defined]


class _Unpacked(io.RawIOBase):
    """A stream of unpacked bytes whose errors name the file."""

    def __init__(self, stream: Any, raw: BinaryIO, file: Path, kind: str) -> None:
        super().__init__()
        self.stream, self.raw, self.file, self.kind = stream, raw, file, kind

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        try:
            return self.stream.read(size)
        except (EOFError, zlib.error, lzma.LZMAError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise UserError(f"'{self.file}' is damaged or was not copied whole ({self.kind}: {str(error).splitlines()[0]}); get it "
                            "again") from None

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[:len(data)] = data
        return len(data)

    def close(self) -> None:
        self.stream.close()
        self.raw.close()
        super().close()


def _zstandard(stream: BinaryIO) -> Any:
    import pyarrow as pa

    return pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), "zstd")


def unpacked(stream: BinaryIO, file: Path) -> BinaryIO:
    """Return a stream as it is, or unpacked where its first bytes say gzip, bzip2, xz or Zstandard."""
    head = stream.read(6)
    stream.seek(0)
    kind = next((name for magic, name in _MAGIC.items() if head.startswith(magic)), None)
    if kind is None:
        return stream
    inner: Any = {"gzip": lambda: gzip.GzipFile(fileobj=stream), "bzip2": lambda: bz2.BZ2File(stream),
                  "xz": lambda: lzma.LZMAFile(stream), "zstd": lambda: _zstandard(stream)}[kind]()
    found: Any = _Unpacked(inner, stream, file, kind)
    return found


class Transcoded(io.RawIOBase):
    """A stream of UTF-8 made of text in another encoding; bytes that are no text in it become MARK."""

    def __init__(self, stream: BinaryIO, encoding: str) -> None:
        super().__init__()
        self.stream = stream
        self.decoder = codecs.getincrementaldecoder(encoding)(errors="bessemer-mark")
        self.rest = b""

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, at most `size`; none at the end."""
        while size < 0 or len(self.rest) < size:
            data = self.stream.read(min(size, 1 << 20) if size > 0 else 1 << 20)
            self.rest += self.decoder.decode(data, final=not data).encode("utf-8", "replace")
            if not data:
                break
        size = len(self.rest) if size < 0 else size
        found, self.rest = self.rest[:size], self.rest[size:]
        return found

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer and return how much of it."""
        data = self.read(len(buffer))
        buffer[:len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the stream beneath as well."""
        self.stream.close()
        super().close()


def encoding_of(head: bytes) -> str | None:
    """Return the encoding of a text by its first bytes where that is certain and not UTF-8, else None.

    UTF-16 by its mark. GB18030 (which holds GBK) where the sample is no UTF-8, is GB18030 to its last sign, and is Chinese as
    people write it: at least 20 ideographs, a third of them among the most frequent. Western or Korean text that happens to be
    GB18030 reads as rare ideographs.
    """
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    if head.isascii():
        return None
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
        return None
    except UnicodeDecodeError:
        pass
    try:
        text = codecs.getincrementaldecoder("gb18030")().decode(head)
    except UnicodeDecodeError:
        return None
    other = [sign for sign in text if sign > "\x7f"]
    ideographs = [sign for sign in other if "\u4e00" <= sign <= "\u9fff"]
    common = sum(sign in _COMMON for sign in ideographs)
    return "gb18030" if len(ideographs) >= max(20, 0.6 * len(other)) and common * 3 >= len(ideographs) else None


def likely(head: bytes) -> str:
    """Return the encoding to propose for bytes that are no UTF-8: cp1252 (Western) where its letters stand among letters, else gb18030.

    Western text has single bytes above 127 between plain letters; multi-byte text has them in runs.
    """
    runs = re.findall(rb"[\x80-\xff]+", head)
    single = sum(len(run) == 1 for run in runs)
    return "cp1252" if runs and single > len(runs) / 2 else "gb18030"
