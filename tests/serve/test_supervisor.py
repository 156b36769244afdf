"""The process that starts the others."""

from __future__ import annotations

import asyncio
import socket

from bessemer.serve.settings import Settings
from bessemer.serve.supervisor import Supervisor


def test_a_process_that_has_loaded_while_the_server_ends_is_not_announced() -> None:
    told: list[str] = []

    async def ends_meanwhile() -> None:
        server = Supervisor(Settings(), [], lambda address, models: told.append(address))
        server.socket = socket.create_server(("127.0.0.1", 0))
        await server._end()
        server._first([{"model": "mood", "current": "1", "versions": []}])

    asyncio.run(ends_meanwhile())
    assert told == []


def test_the_first_process_is_announced_once_with_the_address() -> None:
    told: list[str] = []

    async def answers() -> str:
        server = Supervisor(Settings(), [], lambda address, models: told.append(address))
        with socket.create_server(("127.0.0.1", 0)) as server.socket:
            server._first([])
            server._first([])
            return f"http://127.0.0.1:{server.socket.getsockname()[1]}"

    assert told == [asyncio.run(answers())]
