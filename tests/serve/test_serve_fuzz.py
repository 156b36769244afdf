"""The server fuzzed from its own OpenAPI document: no 5xx, and every answer is one that the document announces."""

from __future__ import annotations

import http.client
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings, strategies
from hypothesis.errors import Unsatisfiable

from tests.serve.kit import Server


@pytest.fixture(scope="module")
def server(texts: Path, table: Path) -> Iterator[Server]:
    with Server(texts, table, "--workers", "1", "--max-bytes", "200000") as found:
        yield found


def fuzz(server: Server, examples: int) -> int:
    """Ask every address with valid and with invalid requests; return how many were sent."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # libraries that make requests warn of their own future
        import schemathesis
        from schemathesis.checks import not_a_server_error
        from schemathesis.generation import GenerationMode
        from schemathesis.specs.openapi import checks

        asked = [not_a_server_error, checks.status_code_conformance, checks.content_type_conformance, checks.response_schema_conformance]
        schema = schemathesis.openapi.from_url(server.url + "/openapi.json")
        return sum(_ask(result.ok(), mode, examples, asked) for result in schema.get_all_operations()
                   if not result.ok().path.endswith("/predict_lines") for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE))


def _ask(operation: Any, mode: Any, examples: int, checks: list[Any]) -> int:
    count = 0

    @seed(1)
    @settings(max_examples=examples, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        nonlocal count
        count += 1
        case.call_and_validate(checks=checks)

    try:
        ask()
    except Unsatisfiable:  # an address without a body or parameters cannot be asked wrongly
        assert not count
    return count


def answers(server: Server) -> None:
    """Check that it still serves, in the process that served from the start."""
    assert not server.events("worker-ended") and not server.events("fault")


def test_made_up_requests_meet_no_fault(server: Server) -> None:
    assert fuzz(server, 4) > 100
    answers(server)


def test_lines_of_any_bytes_have_an_answer_or_a_problem_each(server: Server) -> None:
    """The stream is not JSON as a whole, which the fuzzer cannot make: any bytes, each line that is not empty gets one."""
    address = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)

    @seed(1)
    @settings(max_examples=40, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(lines=strategies.lists(strategies.one_of(strategies.binary(max_size=40), strategies.text(max_size=20).map(
        lambda text: json.dumps({"review": text}).encode())), max_size=30))
    def ask(lines: list[bytes]) -> None:
        body = b"\n".join(lines)
        address.request("POST", "/predict_lines", body, {"content-type": "application/x-ndjson"})
        answer = address.getresponse()
        found = [json.loads(line) for line in answer.read().splitlines()]
        assert answer.status == 200
        assert [item["row"] for item in found] == [number for number, line in enumerate(body.split(b"\n"), 1) if line.strip()]
        assert all(("targets" in item) != ("problem" in item) for item in found)

    ask()
    address.close()
    answers(server)


@pytest.mark.slow
def test_many_made_up_requests_meet_no_fault(server: Server) -> None:
    assert fuzz(server, 120) > 3000
    answers(server)
