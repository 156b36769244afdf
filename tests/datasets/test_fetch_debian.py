from __future__ import annotations

import base64
import dataclasses
import gzip
import io
import json
import lzma
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from bessemer.core import fetch_debian
from bessemer.core.errors import UserError
from bessemer.core.fetch import fetch
from bessemer.core.fetch_debian import Suite, apt_settings, apt_sources
from bessemer.core.types import Resource
from tests.datasets.places import served, sha256

FILES = {"usr/share/some/a.txt": b"one\n", "usr/share/some/b.bin": bytes(range(256)) * 1000}
ARCHIVE = "some-data_1.0-2_amd64.deb"
POOL = f"/debian/pool/main/s/some-data/{ARCHIVE}"
INDEX = "/debian/dists/stable/main/binary-amd64/Packages"


@pytest.fixture(autouse=True)
def apt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """apt's settings of this test's own; no public place is asked."""
    for name in ("BESSEMER_OFFLINE", "HF_HUB_OFFLINE", "APT_CONFIG", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("bessemer.core.fetch_web.RETRY_SECONDS", (0.0, 0.0))
    monkeypatch.setattr(fetch_debian, "APT", tmp_path / "apt")
    monkeypatch.setattr(fetch_debian, "MIRROR", "http://127.0.0.1:9/mirror")
    monkeypatch.setattr(fetch_debian, "SNAPSHOT", "http://127.0.0.1:9/snapshot")
    (tmp_path / "apt/sources.list.d").mkdir(parents=True)
    (tmp_path / "apt/apt.conf.d").mkdir()
    return tmp_path / "apt"


def deb(packing: str = "xz", first: dict[str, bytes] | None = None) -> bytes:
    """Return a Debian package: an `ar` archive of debian-binary, control.tar.xz and data.tar."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in FILES.items():
            info = tarfile.TarInfo("./" + name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    pack: dict[str, Callable[[bytes], bytes]] = {
        "xz": lzma.compress, "gz": gzip.compress, "": bytes, "zst": lambda raw: pa.compress(raw, "zstd", asbytes=True)}
    data = f"data.tar{'.' * bool(packing)}{packing}"
    members = {"debian-binary": b"2.0\n", "control.tar.xz": b"odd", **(first or {}), data: pack[packing](buffer.getvalue())}
    parts = [f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode() + content + b"\n" * (len(content) % 2)
             for name, content in members.items()]
    return b"!<arch>\n" + b"".join(parts)


def resource(content: bytes) -> Resource:
    return Resource("debian", "some-data", "1.0-2", ARCHIVE, sha256(content), {name: sha256(value) for name, value in FILES.items()})


def index_of(content: bytes, path: str) -> bytes:
    others = "".join(f"Package: other\nVersion: 1\nFilename: pool/o{number}.deb\nSHA256: {number:064d}\n\n" for number in range(20_000))
    wanted = f"Package: some-data\nSHA256: {sha256(content)}\nFilename: {path}\n\n"
    return f"{others}{wanted}Package: last\nSHA256: {1:064d}\n".encode()


@pytest.mark.parametrize("packing", ["xz", "gz", "", "zst"])
def test_from_a_pool(apt: Path, tmp_path: Path, packing: str) -> None:
    content = deb(packing)
    with served({POOL: content}, []) as host:
        (apt / "sources.list").write_text(f"# mine\ndeb [arch=amd64 signed-by=/x] http://{host}/debian/ stable main # all\n")
        folder = fetch(resource(content), tmp_path / "cache")
    assert {name: (folder / name).read_bytes() for name in FILES} == FILES
    assert sorted(file.name for file in folder.rglob("*") if file.is_file()) == ["a.txt", "b.bin", "complete.json"]


@pytest.mark.parametrize("ending", ["xz", "gz"])
def test_from_an_index(apt: Path, tmp_path: Path, ending: str) -> None:
    content = deb()
    listed = index_of(content, "pool/main/s/source/x%.deb")
    answers = {f"{INDEX}.{ending}": lzma.compress(listed) if ending == "xz" else gzip.compress(listed),
               "/debian/pool/main/s/source/x%25.deb": content}
    with served(answers, []) as host:
        (apt / "sources.list.d/a.sources").write_text(
            f"# mine\nTypes: deb deb-src\nURIs: http://{host}/debian\nSuites: stable\n"
            "Components:\n main\n# no\n contrib\nSigned-By:\n -----\n .\n")
        folder = fetch(resource(content), tmp_path / "cache")
    assert {name: (folder / name).read_bytes() for name in FILES} == FILES


def test_a_version_that_is_gone_comes_from_the_archive(apt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = deb()
    page = {"result": [], "fileinfo": {"bad": [{"name": "some-data_1.0-2_arm64.deb"}], "abc": [{"name": ARCHIVE}]}}
    answers = {f"{INDEX}.xz": lzma.compress(b"Package: a\nSHA256: 0\n"), "/old/file/abc": content,
               "/old/mr/binary/some-data/1.0-2/binfiles?fileinfo=1": json.dumps(page).encode()}
    heard: list[tuple[str, str | None]] = []
    with served(answers, heard) as host:
        (apt / "sources.list").write_text(f"deb http://{host}/debian stable main\n")
        monkeypatch.setattr(fetch_debian, "SNAPSHOT", f"http://{host}/old")
        fetch(resource(content), tmp_path / "cache")
        assert [path for path, _ in heard] == [POOL, f"{INDEX}.xz", "/old/mr/binary/some-data/1.0-2/binfiles?fileinfo=1", "/old/file/abc"]
        gone = dataclasses.replace(resource(content), version="9", archive="some-data_9_amd64.deb")
        with pytest.raises(UserError, match=r"^version 9 \('some-data_9_amd64.deb'\) of the Debian package 'some-data' is at none of the "
                                            rf"sources \(http://{host}/debian\), and http://{host}/old has it no more; add a source that "
                                            r"has it to /etc/apt/sources.list.d, or copy the archive to '"):
            fetch(gone, tmp_path / "cache")


def test_without_apt_the_public_mirror_is_asked(apt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = deb()
    with served({POOL.replace("/debian", "/public"): content}, []) as host:
        monkeypatch.setattr(fetch_debian, "APT", tmp_path / "nowhere")
        monkeypatch.setattr(fetch_debian, "MIRROR", f"http://{host}/public")
        assert (fetch(resource(content), tmp_path / "cache") / "usr/share/some/a.txt").read_bytes() == b"one\n"


def test_no_network_names_the_place(apt: Path, tmp_path: Path) -> None:
    (apt / "sources.list").write_text("deb http://me:hidden@127.0.0.1:9/debian stable main\n")
    with pytest.raises(UserError, match=r"cannot reach http://127.0.0.1:9/debian/pool/.*refused.*; check the network, add a") as caught:
        fetch(resource(deb()), tmp_path / "cache")
    assert "hidden" not in str(caught.value)


def test_offline_tries_no_network(apt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BESSEMER_OFFLINE", "1")
    monkeypatch.setattr("urllib.request.OpenerDirector.open", lambda *_, **__: pytest.fail("the network was tried"))
    with pytest.raises(UserError, match="is not in the cache and BESSEMER_OFFLINE is set"):
        fetch(resource(deb()), tmp_path / "cache")


def test_another_file_under_the_name(apt: Path, tmp_path: Path) -> None:
    with served({POOL: b"other"}, []) as host:
        (apt / "sources.list").write_text(f"deb http://{host}/debian stable main\n")
        with pytest.raises(UserError, match="has the SHA-256 .*, expected .*: it is not the published file"):
            fetch(resource(deb()), tmp_path / "cache")


def test_apts_proxy(apt: Path, tmp_path: Path) -> None:
    content = deb()
    heard: list[tuple[str, str | None]] = []
    with served({f"http://packages.invalid{POOL}": content}, heard) as host:
        (apt / "sources.list").write_text("deb http://packages.invalid/debian stable main\n")
        (apt / "apt.conf.d/10proxy").write_text(f'Acquire {{ http {{ Proxy "http://{host}"; }}; }};\n')
        fetch(resource(content), tmp_path / "cache")
    assert [path for path, _ in heard] == [f"http://packages.invalid{POOL}"] * 2


def test_apts_logins(apt: Path, tmp_path: Path) -> None:
    content = deb()
    heard: list[tuple[str, str | None]] = []
    with served({POOL: content}, heard) as host:
        (apt / "sources.list").write_text(f"deb http://{host}/debian stable main\n")
        (apt / "auth.conf").write_text(f"machine {host} login https password only\nmachine http://{host}/other login o password o\n")
        (apt / "auth.conf.d").mkdir()
        (apt / "auth.conf.d/a.conf").write_text(f"machine http://{host}/debian\nlogin me\npassword p@ss\n")
        fetch(resource(content), tmp_path / "cache")
    assert heard == [(POOL, "Basic " + base64.b64encode(b"me:p@ss").decode())] * 2


def test_settings_of_apt(apt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (apt / "apt.conf.d/20x").write_text(
        '// a\n# b "c";\n/* d\n{ */ Acquire::http::Proxy "http://p:1//x"; A { B "1"; C::D "2"; "odd"; };\nE "5"')
    (apt / "apt.conf.d/30.disabled").write_text('A::B "9";')
    (apt / "apt.conf").write_text('a::b "3";\n')
    (tmp_path / "first").write_text('A::B "0"; F "6";')
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "first"))
    assert apt_settings(apt) == {"acquire::http::proxy": "http://p:1//x", "a::b": "3", "a::c::d": "2", "f": "6"}


@pytest.mark.parametrize(("proxies", "expected"), [
    ({}, None), ({"http::proxy": "h"}, "h"), ({"https::proxy": "s", "http::proxy": "h"}, "s"),
    ({"http::proxy::host": "direct", "http::proxy": "h"}, "DIRECT")])
def test_which_proxy(proxies: dict[str, str], expected: str | None) -> None:
    settings = {f"acquire::{name}": value for name, value in proxies.items()}
    assert fetch_debian._access("https://host/x", settings).proxy == expected


def test_sources_of_apt(apt: Path) -> None:
    (apt / "sources.list").write_text(
        "deb http://a/debian/ one main contrib\n#deb http://no x y\ndeb-src http://no x y\ndeb cdrom:[x]/ y z\n"
        "deb file:/x y z\ndeb https://f ./\n")
    (apt / "sources.list.d/b.list").write_text("deb http://a/debian one main contrib\n")
    (apt / "sources.list.d/c.list.save").write_text("deb http://no x y\n")
    (apt / "sources.list.d/d.sources").write_text(
        "Types: deb\nURIs: http://b http://c/\nSuites: one two\nComponents: main\n\nEnabled: no\nTypes: deb\nURIs: http://no\nSuites: x\n")
    assert apt_sources(apt) == [
        Suite("http://a/debian", "one", ("main", "contrib")), Suite("https://f", "./", ()),
        *(Suite(uri, suite, ("main",)) for uri in ("http://b", "http://c") for suite in ("one", "two"))]
    assert Suite("https://f", "./", ()).indexes("amd64") == ["https://f/Packages"]


def test_sources_that_cannot_be_read(apt: Path) -> None:
    (apt / "sources.list").write_bytes(b"deb \xff")
    with pytest.raises(UserError, match="cannot read apt's settings '.*sources.list'"):
        apt_sources(apt)


@pytest.mark.parametrize("content", [
    b"", b"PK", b"!<arch>\n", b"!<arch>\n" + b"x" * 60, deb()[:-600], deb(first={"data.tar.zz": b"z" * 8})])
def test_no_debian_package(apt: Path, tmp_path: Path, content: bytes) -> None:
    archive = tmp_path / "cache/archives" / ARCHIVE
    archive.parent.mkdir(parents=True)
    archive.write_bytes(content)
    with pytest.raises(UserError, match=f"'{archive}' is no readable archive"):
        fetch(resource(content), tmp_path / "cache")
    assert not [name for name in os.listdir(tmp_path / "cache/files") if name.endswith(".part")]
