"""Who may ask: keys, the machine itself, and nobody by accident."""

from __future__ import annotations

from pathlib import Path

import pytest

from bessemer.core.errors import UserError
from bessemer.serve.keys import read_keys
from tests.conftest import Command
from tests.serve.kit import process, run
from tests.serve.test_problems import ROW, is_problem

KEY, OTHER = "0123456789abcdef0123", "another-key-of-20-signs"


def test_a_key_is_asked_for_everywhere_but_health(texts: Path) -> None:
    async def scenario() -> None:
        async with process(texts, keys=(OTHER, KEY)) as server:
            for path in ("/predict", "/predict_batch", "/explain", "/v1/models/mood/predict", "/admin/reload", "/v2/models/mood/infer"):
                answer = await server.post(path, ROW)
                is_problem(answer, 401, "the request has no key of this server; send one as 'Authorization: Bearer KEY' or 'X-API-Key")
                assert answer.headers["www-authenticate"] == "Bearer"
            for path in ("/metrics", "/models", "/page.json", "/openapi.json", "/docs", "/v2", "/nowhere"):
                assert (await server.client.get(path)).status_code == 401
            assert (await server.client.get("/health")).status_code == 200
            assert (await server.client.get("/ready")).status_code == 200
            for wrong in (KEY[:-1], KEY + "0", "", "ü" * 20):
                answer = await server.client.post("/predict", content=b"{}", headers={
                    b"content-type": b"application/json", b"x-api-key": wrong.encode()})
                assert answer.status_code == 401
            assert (await server.post("/predict", ROW, authorization=f"Bearer {KEY}")).status_code == 200
            assert (await server.post("/predict", ROW, authorization=f"bearer {OTHER}")).status_code == 200
            assert (await server.post("/predict", ROW, x_api_key=KEY)).status_code == 200
            assert (await server.post("/admin/reload", {}, x_api_key=KEY)).status_code == 200

    run(scenario())


def test_without_keys_only_this_machine_by_its_own_name_administers(texts: Path) -> None:
    async def scenario() -> None:
        for address, host, status in (("127.0.0.1", "localhost:8000", 200), ("127.0.0.1", "127.0.0.1:8000", 200),
                                      ("10.0.0.9", "127.0.0.1:8000", 403), ("127.0.0.1", "evil.example:8000", 403),
                                      ("::1", "[::1]:8000", 200), ("127.0.0.1", "[::1]", 200)):
            async with process(texts, address=address, host=host) as server:
                answer = await server.post("/admin/reload", {})
                assert answer.status_code == status, (address, host, answer.text)
                assert (await server.post("/predict", ROW)).status_code == 200

    run(scenario())


def test_without_keys_a_page_of_another_origin_administers_nothing(texts: Path) -> None:
    async def scenario() -> None:
        async with process(texts, host="localhost:8000") as server:
            for origin, status in (("http://localhost:8000", 200), ("http://evil.example", 403), ("http://localhost:9000", 403),
                                   ("null", 403)):
                answer = await server.client.post("/admin/reload", headers={"origin": origin})
                assert answer.status_code == status, (origin, answer.text)

    run(scenario())


def test_files_of_keys(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# mine\n{KEY}\n\n  {OTHER}\n")
    assert read_keys(file) == (KEY, OTHER)
    file.write_text("# none\n")
    with pytest.raises(UserError, match="holds no key; write one a line, such as that of: openssl rand -hex 32"):
        read_keys(file)
    file.write_text(f"{KEY}\nshort\n")
    with pytest.raises(UserError, match="key 2 is not at least 16 visible ASCII characters") as raised:
        read_keys(file)
    assert KEY not in str(raised.value) and "short" not in str(raised.value).replace("fewer", "")
    with pytest.raises(UserError, match="cannot be read as a file of keys"):
        read_keys(tmp_path / "gone")


def test_the_command_refuses_what_it_cannot_serve(bessemer: Command, texts: Path, tmp_path: Path) -> None:
    assert bessemer("serve").error == "give a RUN to serve, such as runs/NAME, or --models-folder DIR"
    assert bessemer("serve", texts, "--host", "0.0.0.0").error == (
        "--host 0.0.0.0 lets others in, and the server has no keys; give --api-key-file FILE, or --insecure if everybody may ask")
    assert "there is no folder" in bessemer("serve", tmp_path / "gone").error
    assert "two models are named 'mood'" in bessemer("serve", texts, f"mood={texts}").error
    assert bessemer("serve", texts, "--workers", "0").error.startswith("bessemer serve: 'workers'")
    assert "there is no folder" in bessemer("serve", "--models-folder", tmp_path / "gone").error
    (tmp_path / "half").mkdir()
    for file in texts.iterdir():
        if file.is_file() and file.name != "manifest.json":
            (tmp_path / "half" / file.name).write_bytes(file.read_bytes())
    assert "has no manifest.json, so it is not finished" in bessemer("serve", tmp_path / "half").error


def test_a_file_of_keys_may_begin_with_a_mark(tmp_path: Path) -> None:
    (tmp_path / "keys").write_bytes(b"\xef\xbb\xbf" + KEY.encode() + b"\r\n")
    assert read_keys(tmp_path / "keys") == (KEY,)
