"""What a request gets wrong is a problem document that says what, where, what was expected and what to do; nothing is a 5xx."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.serve.kit import JSON, process, run

ROW = {"review": "a good film"}
BAD_BODIES: list[tuple[bytes, int, str]] = [
    (b"", 400, "the body is empty; send a JSON object of the model's input columns"),
    (b"{", 400, "the body is no JSON in UTF-8: unexpected end of data at line 1, column 2"),
    (b'{"review": NaN}', 400, "the body is no JSON in UTF-8: "),
    (b'{"review": "\xff"}', 400, "the body is no JSON in UTF-8: "),
    (b'{"review": "\\ud800"}', 400, "the body is no JSON in UTF-8: "),
    ('{"review": "a"}'.encode("utf-16"), 400, "the body is no JSON in UTF-8: "),
    (b'{"review": "a", "review": "b"}', 400, "the body has the key 'review' twice in one object; give each key once"),
    (b'{"review" : "a \\"b\\": c", "more": [1, {"\\u0061": 1, "a"\n: 2}]}', 400, "the body has the key 'a' twice in one object"),
    (b"[1]", 400, "the body is a list; expected a JSON object of the model's input columns"),
    (b'"a"', 400, "the body is a text; expected a JSON object"),
    (b"null", 400, "the body is null; expected a JSON object"),
    (b"[" * 100_000, 400, "the body is "),
    (b'{"reveiw": "a"}', 422, "the row has no column 'review', which the model reads; did you mean 'reveiw'?; give every column"),
    (b"{}", 422, "the row has no column 'review', which the model reads; give every column that /page.json lists"),
    (b'{"review": null}', 422, "the value of the column 'review' is null; every row to predict needs a text"),
    (b'{"review": ""}', 422, "the value of the column 'review' is empty"),
    (b'{"review": " \\u200b\\n"}', 422, "the value of the column 'review' is empty"),
    (b'{"review": {"a": 1}}', 422, "the column 'review' holds an object; expected one text, number, true, false or null"),
    (b'{"review": ["a"]}', 422, "the column 'review' holds a list; expected one text"),
]


def is_problem(answer: Any, status: int, detail: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found = answer.json()
    assert found["status"] == status and found["title"] and found["type"].startswith("/docs#problem-")
    assert detail in found["detail"], found["detail"]
    assert "Traceback" not in answer.text and "\n" not in found["detail"]


def test_bad_bodies_are_said_in_one_sentence(texts: Path) -> None:
    async def scenario() -> None:
        async with process(texts) as server:
            for body, status, detail in BAD_BODIES:
                is_problem(await server.post("/predict", body), status, detail)
            for good in (ROW, b'{"review" : "a \\"b\\": c",\n "more": {"review": [1, {"a": 1}]}}'):
                assert (await server.post("/predict", good)).status_code == 200

    run(scenario())


def test_sizes_are_limited(texts: Path) -> None:
    async def chunks(count: int) -> AsyncIterator[bytes]:
        for _ in range(count):
            yield b"x" * 1000

    async def scenario() -> None:
        async with process(texts, max_bytes=50_000, max_chars=1000, max_items=20) as server:
            is_problem(await server.post("/predict", {"review": "x" * 60_000}), 413, "the body has more than the 50,000 bytes")
            chunked = await server.client.post("/predict", content=chunks(200), headers=JSON)
            is_problem(chunked, 413, "the body has more than the 50,000 bytes that this server takes; send fewer rows at a time")
            assert chunked.headers["connection"] == "close"
            is_problem(await server.post("/predict", {"review": "x" * 1001}), 413,
                       "the column 'review' holds a text of 1,001 characters; this server takes 1,000: cut the text, or start")
            is_problem(await server.post("/predict_batch", {"rows": [ROW] * 21}), 413, "the request has 21 rows; this server takes 20 at a")
            is_problem(await server.post("/v2/models/mood/infer", {"inputs": [
                {"name": "review", "shape": [21], "datatype": "BYTES", "data": ["a"] * 21}]}), 413, "the request has 21 rows")
            assert (await server.post("/predict", {"review": "x" * 1000})).status_code == 200

    run(scenario())


def test_ten_thousand_items_and_ten_megabytes_meet_the_default_limits(texts: Path) -> None:
    async def scenario() -> None:
        async with process(texts) as server:
            is_problem(await server.post("/predict_batch", {"rows": [ROW] * 10_000}), 413, "the request has 10,000 rows")
            is_problem(await server.post("/predict", {"review": "x" * 10_000_000}), 413, "the body has more than the 4,000,000 bytes")

    run(scenario())


@pytest.mark.parametrize(("kind", "detail"), [
    ("text/plain", "the body's Content-Type is 'text/plain'; expected application/json"),
    ("application/x-www-form-urlencoded", "expected application/json"),
    ("", "the body's Content-Type is 'missing'; expected application/json"),
    ("application/json; charset=latin-1", "the body's charset is 'latin-1'; send UTF-8"),
])
def test_other_media_types_are_refused(texts: Path, kind: str, detail: str) -> None:
    async def scenario() -> None:
        async with process(texts) as server:
            headers = {"content-type": kind} if kind else {}
            is_problem(await server.client.post("/predict", content=b"{}", headers=headers), 415, detail)
            for fine in ("application/json;charset=utf-8", "Application/JSON; charset=\"UTF-8\""):
                answer = await server.client.post("/predict", content=b'{"review": "a"}', headers={"content-type": fine})
                assert answer.status_code == 200

    run(scenario())


def test_unknown_addresses_methods_models_and_versions(texts: Path) -> None:
    async def scenario() -> None:
        async with process(texts) as server:
            is_problem(await server.client.get("/nowhere"), 404, "there is no address GET /nowhere; /docs lists every one")
            wrong = await server.client.get("/predict")
            is_problem(wrong, 405, "/predict takes POST, not GET")
            assert wrong.headers["allow"] == "POST"
            is_problem(await server.client.options("/predict"), 405, "/predict takes POST, not OPTIONS")
            for path in ("/health", "/ready", "/metrics", "/v2/health/live", "/"):
                assert (await server.client.head(path)).status_code == 200
            assert (await server.client.head("/predict")).status_code == 405
            is_problem(await server.post("/v1/models/moood/predict", ROW), 404, "there is no model 'moood'; did you mean 'mood'?")
            is_problem(await server.post("/v1/models/mood/versions/9/predict", ROW), 404, "'mood' has no version '9'; known are: ")
            is_problem(await server.client.get("/page/../../settings.py"), 404, "")
            is_problem(await server.client.get("/page/%2e%2e%2fsettings.py"), 404, "")
            is_problem(await server.client.get("/page/settings.py"), 404, "the page has no file 'settings.py'")

    run(scenario())


def test_rows_of_a_table_name_the_column(table: Path) -> None:
    from bessemer.api import Model
    from bessemer.testing import table_models

    model = Model.load(table)
    row = table_models.rows(1, 2).select(list(model.inputs)).to_pylist()[0]
    name = next(column.name for column in model.schema.columns if column.modality["kind"] == "number")

    async def scenario() -> None:
        async with process(table) as server:
            without = {key: value for key, value in row.items() if key != name}
            is_problem(await server.post("/predict", without), 422, f"the row has no column '{name}', which the model reads")
            is_problem(await server.post("/predict", {**row, name: "tall"}), 422, f"the column '{name}' holds a value that the model can")
            is_problem(await server.post("/predict", {**row, name: 1e300}), 422, f"the column '{name}' holds a value that the model can")
            is_problem(await server.post("/predict", {**row, name: [1]}), 422, f"the column '{name}' holds a list")
            is_problem(await server.post("/predict_batch", {"rows": [row, 5]}), 400, "row 2: the row is a number; expected a JSON object")

    run(scenario())


def test_a_compressed_body_is_refused_and_the_connection_goes_on(texts: Path) -> None:
    async def scenario() -> None:
        async with process(texts) as server:
            packed = gzip.compress(b'{"review": "a good film"}')
            for path in ("/predict", "/predict_batch", "/predict_lines", "/explain", "/v2/models/mood/infer"):
                answer = await server.client.post(path, content=packed, headers={**JSON, "content-encoding": "gzip"})
                is_problem(answer, 415, "the body's Content-Encoding is 'gzip'; this server reads bodies as they are: send it uncompressed")
            identity = await server.client.post("/predict", json=ROW, headers={"content-encoding": "identity"})
            assert identity.status_code == 200

    run(scenario())


def test_a_full_queue_says_when_to_come_again(texts: Path) -> None:
    async def scenario() -> None:
        async with process(texts, max_queue=8) as server:
            answers = await asyncio.gather(*(server.post("/predict_batch", {"rows": [ROW] * 4}) for _ in range(40)))
            refused = [answer for answer in answers if answer.status_code == 429]
            served = [answer for answer in answers if answer.status_code == 200]
            assert refused and served and len(refused) + len(served) == 40
            is_problem(refused[0], 429, "rows wait and this server lets 8 wait; ask again in ")
            assert int(refused[0].headers["retry-after"]) >= 1
            assert server.registry.models["mood"].current is not None
            assert server.registry.models["mood"].current.batcher.depth == 0
            assert (await server.post("/predict", ROW)).status_code == 200

    run(scenario())


def test_a_request_past_its_deadline_is_503_and_its_rows_are_dropped(texts: Path) -> None:
    async def scenario() -> None:
        async with process(texts, timeout=0.2) as server:
            version = server.registry.models["mood"].current
            assert version is not None
            slow, real, asked = asyncio.Event(), version.batcher.work.answer, []

            def answer(rows: Any) -> Any:
                asked.extend(rows)
                time.sleep(0.5)
                return real(rows)

            version.batcher.work.answer = answer  # type: ignore[method-assign]
            version.batcher.work.light = lambda taken: False  # type: ignore[method-assign]
            answers = await asyncio.gather(*(server.post("/predict", {"review": "good " * (n + 1) * 3}) for n in range(4)))
            assert not slow.is_set()
            for found in answers:
                is_problem(found, 503, "the answer took longer than this server allows (--timeout)")
                assert found.headers["retry-after"] == "1"
            while version.batcher.depth:
                await asyncio.sleep(0.02)
            assert len(asked) < 4, "rows that nobody waits for were computed"

    run(scenario())


def test_rows_that_turn_out_to_be_slow_leave_the_event_loop_to_the_thread(texts: Path) -> None:
    async def scenario() -> None:
        async with process(texts) as server:
            version = server.registry.models["mood"].current
            assert version is not None
            real, where = version.batcher.work.answer, []
            assert version.batcher.work.light(["good"]) and not version.batcher.work.light(["x" * 5000])

            def answer(rows: Any) -> Any:
                where.append(threading.current_thread() is threading.main_thread())
                time.sleep(0.15)
                return real(rows)

            version.batcher.work.answer = answer  # type: ignore[method-assign]
            for _ in range(3):
                assert (await server.post("/predict", ROW)).status_code == 200
            assert where == [True, False, False]

    run(scenario())


def test_a_batch_larger_than_the_queue_is_answered_in_parts(texts: Path) -> None:
    async def scenario() -> None:
        async with process(texts, max_queue=3) as server:
            answer = await server.post("/predict_batch", {"rows": [ROW] * 40})
            assert answer.status_code == 200 and len(answer.json()["rows"]) == 40
            lines = await server.client.post("/predict_lines", content=(json.dumps(ROW) + "\n") * 40,
                                             headers={"content-type": "application/x-ndjson"})
            assert len(lines.text.splitlines()) == 40

    run(scenario())


def test_a_defect_is_a_500_without_its_message(texts: Path) -> None:
    async def scenario() -> None:
        async with process(texts) as server:
            version = server.registry.models["mood"].current
            assert version is not None

            def broken(rows: Any) -> Any:
                raise ZeroDivisionError("secret text of a user")

            version.batcher.work.answer = broken  # type: ignore[method-assign]
            for path in ("/predict", "/v1/models/mood/predict"):
                answer = await server.post(path, ROW, x_request_id="abc")
                is_problem(answer, 500, "the log names its place under the request's id abc")
                assert "secret" not in answer.text

    run(scenario())


def test_every_answer_has_the_request_id_and_safe_headers(texts: Path) -> None:
    async def scenario() -> None:
        async with process(texts) as server:
            for answer in (await server.post("/predict", ROW, x_request_id="my-id_1"), await server.client.get(
                    "/nowhere", headers={"x-request-id": "my-id_1"})):
                assert answer.headers["x-request-id"] == "my-id_1"
                assert answer.headers["x-content-type-options"] == "nosniff"
                assert "script-src 'self'" in answer.headers["content-security-policy"]
                assert "access-control-allow-origin" not in answer.headers
            made = {(await server.post("/predict", ROW)).headers["x-request-id"] for _ in range(5)}
            assert len(made) == 5
            assert len((await server.post("/predict", ROW, x_request_id="x" * 500)).headers["x-request-id"]) < 100

    run(scenario())
