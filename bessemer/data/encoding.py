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
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO

from bessemer.core.errors import UserError

MARK = "\ufdd0"  # a code point that Unicode keeps out of text for ever: stands for bytes that are no text in their encoding
SUFFIXES = (".gz", ".bz2", ".zst", ".xz", ".zip")
_MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\x28\xb5\x2f\xfd": "zstd", b"\xfd7zXZ\x00": "xz", b"PK\x03\x04": "zip"}
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
        except (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, OSError) as error:
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


def _zipped(stream: BinaryIO, file: Path) -> Any:
    """Open the one file that a zip archive holds."""
    try:
        archive = zipfile.ZipFile(stream)
        return archive.open(_only(archive, file))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, struct.error) as error:
        why = "it is encrypted" if "encrypted" in str(error) else str(error).splitlines()[0] if str(error) else "no reason given"
        raise UserError(f"'{file}' cannot be unpacked (zip: {why[:200]}); unpack it yourself and name what it holds") from None


def _only(archive: zipfile.ZipFile, file: Path) -> zipfile.ZipInfo:
    held = [item for item in archive.infolist() if not item.is_dir() and not item.filename.startswith("__MACOSX/")]
    if len(held) != 1:
        names = ", ".join(item.filename for item in held[:5]) + (", …" if len(held) > 5 else "")
        raise UserError(f"'{file}' holds {len(held)} files ({names}); expected a zip of one file: unpack it and name what is meant")
    return held[0]


def zipped_name(file: Path) -> str:
    """Return the name of the one file that a zip archive holds; empty where it is no such archive."""
    try:
        with zipfile.ZipFile(file) as archive:
            return _only(archive, file).filename
    except (zipfile.BadZipFile, OSError, NotImplementedError, struct.error, UserError):
        return ""


def unpacked(stream: BinaryIO, file: Path) -> BinaryIO:
    """Return a stream as it is, or unpacked where its first bytes say gzip, bzip2, xz, Zstandard or zip (of one file)."""
    head = stream.read(6)
    stream.seek(0)
    kind = next((name for magic, name in _MAGIC.items() if head.startswith(magic)), None)
    if kind is None:
        return stream
    inner: Any = {"gzip": lambda: gzip.GzipFile(fileobj=stream), "bzip2": lambda: bz2.BZ2File(stream),
                  "xz": lambda: lzma.LZMAFile(stream), "zstd": lambda: _zstandard(stream), "zip": lambda: _zipped(stream, file)}[kind]()
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
