"""The log loses no request: where it cannot be written, the server goes on and says later what is missing."""

from __future__ import annotations

import io
import json
import logging

from bessemer.serve.logs import Faults, Log


class Full(io.StringIO):
    full = True

    def write(self, text: str) -> int:
        if self.full:
            raise OSError(28, "No space left on device")
        return super().write(text)


def test_a_full_disk_costs_lines_and_says_so() -> None:
    stream = Full()
    log = Log(stream)
    log.event("first")
    log.event("second")
    stream.full = False
    log.event("third", model="m")
    lost, third = map(json.loads, stream.getvalue().splitlines())
    assert (lost["event"], lost["lines"]) == ("log-lost", 2)
    assert (third["event"], third["model"], third["level"]) == ("third", "m", "info")
    log.event("fourth")
    assert len(stream.getvalue().splitlines()) == 3


def test_a_defect_is_logged_by_type_and_place_not_by_its_message() -> None:
    stream = io.StringIO()
    logger = logging.getLogger("tests.serve.faults")
    logger.propagate = False
    logger.handlers[:] = [Faults(Log(stream))]
    try:
        raise ValueError("what a user wrote")
    except ValueError:
        logger.exception("a line with %s", "what a user wrote")
    line = json.loads(stream.getvalue())
    assert line["event"] == "fault" and line["error"] == "ValueError" and "test_logs.py:" in line["where"][0]
    assert "what a user wrote" not in stream.getvalue()
