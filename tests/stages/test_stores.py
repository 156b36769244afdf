"""Rows in stores that fsspec reads: in memory, behind a web server with and without ranges, in a small S3; and what each cannot do.

The last two need the packages that fsspec itself asks for (aiohttp, s3fs), which are no dependencies: without them they are skipped.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq
import pytest

from bessemer.core.errors import UserError
from bessemer.data.streams import Place
from bessemer.data.streams.files import Files, files
from bessemer.stages._streams import open_stream
from tests.stages.test_prepare import go
from tests.stages.test_stream import COLUMNS, frame
from tests.stages.test_stream import go as go_stream

ROWS, KINDS = 700, ("csv", "parquet", "arrow")


class Server(SimpleHTTPRequestHandler):
    """A folder as the web server of the standard library shows it; with `ranges` also parts of files, and a bucket's list as S3 has it."""

    ranges = True
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def _file(self) -> Path:
        return Path(self.directory) / unquote(urlsplit(self.path).path).lstrip("/")

    def _answer(self, code: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(code)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        """Answer as GET does, without the content."""
        self.do_GET()

    def do_GET(self) -> None:
        """Answer a range, a whole file, or a list."""
        asked = parse_qs(urlsplit(self.path).query)
        if "list-type" in asked:
            return self._answer(200, self._listed(asked.get("prefix", [""])[0]), {"Content-Type": "application/xml"})
        if not self.ranges or not self._file().is_file():
            return super().do_HEAD() if self.command == "HEAD" else super().do_GET()
        whole, span = self._file().read_bytes(), self.headers.get("Range")
        more = {"Accept-Ranges": "bytes", "ETag": '"1"', "Last-Modified": "Sun, 01 Nov 2026 00:00:00 GMT"}
        if span is None or self.command == "HEAD":
            self.send_response(200)
            for name, value in {"Content-Length": str(len(whole)), **more}.items():
                self.send_header(name, value)
            self.end_headers()
            return None if self.command == "HEAD" else self.wfile.write(whole) and None
        first, last = span.removeprefix("bytes=").split("-")
        begin, end = (int(first), min(int(last or len(whole)), len(whole) - 1)) if first else (len(whole) - int(last), len(whole) - 1)
        part = whole[begin:end + 1]
        return self._answer(206, part, {**more, "Content-Range": f"bytes {begin}-{end}/{len(whole)}"})

    def _listed(self, prefix: str) -> bytes:
        files = [item for item in sorted(self._file().glob("*")) if item.name.startswith(prefix)]
        entries = "".join(f"<Contents><Key>{item.name}</Key><LastModified>2026-11-01T00:00:00.000Z</LastModified><ETag>1</ETag>"
                          f"<Size>{item.stat().st_size}</Size><StorageClass>STANDARD</StorageClass></Contents>" for item in files)
        return (f'<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>rows</Name>'
                f"<Prefix>{prefix}</Prefix><KeyCount>{len(files)}</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>"
                f"{entries}</ListBucketResult>").encode()


class Plain(Server):
    """Without ranges, as `python -m http.server` is."""

    ranges = False


@contextmanager
def served(folder: Path, kind: type[Server]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(kind, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def write(folder: Path) -> None:
    """Write the same rows thrice, two files of each kind."""
    folder.mkdir(parents=True)
    for number in range(2):
        table = frame(ROWS, number)
        csv.write_csv(table, folder / f"part-{number}.csv")
        pq.write_table(table, folder / f"part-{number}.parquet", row_group_size=300)
        with pa.ipc.new_file(str(folder / f"part-{number}.arrow"), table.schema) as sink:
            sink.write_table(table, max_chunksize=300)


def learnt(root: Path, path: str | list[str]) -> pa.Table:
    """Return every row of a stream of two files; what the stage prepares of it is opened and read too."""
    facts, out = go_stream(root, {"source": {"kind": "files", "path": path}, **COLUMNS})
    rows = open_stream(out, 3)
    assert facts["stream_rows"] == 2 * ROWS and np.isfinite(rows.read(np.arange(rows.count)).numbers).all()
    stream = files(Files(path=path if isinstance(path, str) else tuple(path)), Place(root / "copy", frozenset({"x_1", "x_2", "y", "n"})))
    whole = [stream.read(block, None).table for block in range(len(stream.starts) - 1)]
    return pa.concat_tables(whole, promote_options="default").combine_chunks()


def reference(root: Path, folder: Path, kind: str) -> pa.Table:
    return learnt(root, str(folder / f"part-*.{kind}"))


def same(found: pa.Table, expected: pa.Table) -> bool:
    return len(found) == 2 * ROWS and bool(found.equals(expected))


@pytest.mark.parametrize("kind", KINDS)
def test_a_store_in_memory_gives_the_rows_of_the_files(tmp_path: Path, kind: str) -> None:
    import fsspec

    write(tmp_path / "rows")
    memory = fsspec.filesystem("memory")
    memory.put(str(tmp_path / "rows") + "/", f"/{tmp_path.name}/", recursive=True)
    expected = reference(tmp_path / "here", tmp_path / "rows", kind)
    names = [f"memory://{tmp_path.name}/part-{number}.{kind}" for number in range(2)]
    assert same(learnt(tmp_path / "glob", f"memory://{tmp_path.name}/part-*.{kind}"), expected)
    assert same(learnt(tmp_path / "list", names), expected)
    with pytest.raises(UserError, match="no file matches 'memory://nowhere/part-"):
        learnt(tmp_path / "none", f"memory://nowhere/part-*.{kind}")


@pytest.mark.parametrize("server", [Server, Plain])
@pytest.mark.parametrize("kind", KINDS)
def test_a_web_server_gives_them_with_and_without_ranges(tmp_path: Path, kind: str, server: type[Server]) -> None:
    pytest.importorskip("aiohttp")
    write(tmp_path / "rows")
    expected = reference(tmp_path / "here", tmp_path / "rows", kind)
    with served(tmp_path / "rows", server) as address:
        assert same(learnt(tmp_path / "glob", f"{address}/part-*.{kind}"), expected)
        assert same(learnt(tmp_path / "list", [f"{address}/part-{number}.{kind}" for number in range(2)]), expected)
        with pytest.raises(UserError, match=f"there is no file '{address}/none.csv'; correct the path in the recipe"):
            learnt(tmp_path / "none", f"{address}/none.csv")
    with pytest.raises(UserError, match=f"'{address}/part-0.csv' cannot be reached"):
        learnt(tmp_path / "gone", f"{address}/part-0.csv")


@pytest.mark.parametrize("kind", KINDS)
def test_s3_gives_them(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    s3fs = pytest.importorskip("s3fs")
    write(tmp_path / "rows")
    expected = reference(tmp_path / "here", tmp_path / "rows", kind)
    for name, value in {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_EC2_METADATA_DISABLED": "true",
                        "AWS_DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(name, value)
    with served(tmp_path, Server) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        s3fs.S3FileSystem.clear_instance_cache()
        assert same(learnt(tmp_path / "glob", f"s3://rows/part-*.{kind}"), expected)
        assert same(learnt(tmp_path / "list", [f"s3://rows/part-{number}.{kind}" for number in range(2)]), expected)
        with pytest.raises(UserError, match="there is no file 's3://rows/none.csv'; correct the path in the recipe"):
            learnt(tmp_path / "none", "s3://rows/none.csv")


def test_s3_without_keys_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    s3fs = pytest.importorskip("s3fs")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    s3fs.S3FileSystem.clear_instance_cache()
    for number, path in enumerate(("s3://rows/part-0.parquet", "s3://rows/part-*.parquet")):
        with pytest.raises(UserError, match=r"cannot be reached \(Unable to locate credentials\); give the keys as the store's own tools"):
            learnt(tmp_path / f"{number}", path)


def test_a_store_whose_package_is_not_there_says_which() -> None:
    """In a process that has none of the packages of stores."""
    program = """
import sys
for name in ("s3fs", "aiohttp", "gcsfs"):
    sys.modules[name] = None
from bessemer.core.errors import UserError
from bessemer.data.streams.files import Files
for path in ("s3://rows/a.parquet", "http://localhost/a.csv", "gs://rows/*.csv"):
    try:
        Files(path=path).outside()
    except UserError as error:
        print(error)
"""
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.splitlines()
    assert told[0] == ("reading 's3://rows/a.parquet' needs one more package (Install s3fs to access S3); install it beside Bessemer "
                       "with pip")
    assert len(told) == 3 and "aiohttp" in told[1] and "gcsfs" in told[2]


def test_the_stage_prepare_says_where_addresses_are_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'s3://rows/a.csv' is an address, and this reads files of this machine alone; copy it here, or"):
        go(tmp_path, {"sources": [{"kind": "csv", "path": "s3://rows/a.csv"}]})
