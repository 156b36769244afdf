"""Memory stays where it is, however many requests come."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tests.serve.kit import Server

CLIENTS = 16


async def ask(port: int, count: int) -> None:
    """Ask so many times on keep-alive connections, texts of mixed lengths."""

    async def client(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for turn in range(count // CLIENTS):
            body = b'{"review": "' + b"a good film " * (1 + (turn * 7 + number) % 5) + b'"}'
            writer.write(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                         b"Content-Length: %d\r\n\r\n" % len(body) + body)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(client(number) for number in range(CLIENTS)))


def memory_mb(process: int) -> float:
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def grows_by(server: Server, count: int) -> float:
    """Return by how many MB the process that answers grows over so many requests, once it is warm."""
    (worker,) = server.workers()
    asyncio.run(ask(server.port, 3000))
    before = memory_mb(worker)
    asyncio.run(ask(server.port, count))
    assert server.workers() == [worker]
    return memory_mb(worker) - before


@pytest.mark.slow
@pytest.mark.parametrize("count", [10_000, 100_000])
def test_memory_is_flat(texts: Path, count: int) -> None:
    with Server(texts, "--workers", "1") as server:
        assert grows_by(server, count) < 8
