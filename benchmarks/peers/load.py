"""A closed loop of clients against one address, in a process of its own and as cheap as can be: it shares the cores with the server.

python -m benchmarks.peers.load PORT PATH CLIENTS SECONDS < bodies (one JSON body a line); prints one JSON object.
"""

import asyncio
import json
import resource
import sys
import time

import uvloop

WARM = 0.2
"""Share of the seconds whose answers are not counted."""


class Client(asyncio.Protocol):
    """Sends a request, reads its answer, sends the next one."""

    def __init__(self, requests: list[bytes], place: int, step: int, tally: "Tally") -> None:
        self.requests, self.place, self.step, self.tally = requests, place, step, tally
        self.rest, self.need = b"", 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self._send()

    def _send(self) -> None:
        self.transport.write(self.requests[self.place])
        self.place = (self.place + self.step) % len(self.requests)
        self.started = time.perf_counter()

    def data_received(self, data: bytes) -> None:
        if not self.need:
            self.rest += data
            end = self.rest.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self.rest[:end].lower()
            at = head.index(b"content-length: ") + 16
            stop = head.find(b"\r", at)
            self.need = end + 4 + int(head[at:stop if stop > 0 else None])
            self.good = head[9:12] == b"200"
            size = len(self.rest)
        else:
            size = self.have + len(data)
        self.have = size
        if size >= self.need:
            self.rest, self.need = b"", 0
            self.tally.add(self.started, self.good)
            if not self.tally.over:
                self._send()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.tally.over:
            self.tally.lost += 1


class Tally:
    """Counts answers that come between two moments; those that were asked for before and come after balance each other."""

    def __init__(self, seconds: float) -> None:
        self.begin = time.perf_counter() + WARM * seconds
        self.end = self.begin + (1 - WARM) * seconds
        self.taken: list[float] = []
        self.bad = self.lost = 0
        self.over = False

    def add(self, started: float, good: bool) -> None:
        now = time.perf_counter()
        self.over = now > self.end
        if self.begin < now and not self.over:
            self.taken.append(now - started)
            self.bad += not good


async def run(port: int, path: str, clients: int, seconds: float, bodies: list[bytes]) -> dict[str, float]:
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\nContent-Length: "
    requests = [head.encode() + str(len(body)).encode() + b"\r\n\r\n" + body for body in bodies]
    loop, tally = asyncio.get_running_loop(), Tally(seconds)
    for number in range(clients):
        await loop.create_connection(lambda number=number: Client(requests, number * 7 % len(requests), clients + 1, tally),
                                     "127.0.0.1", port)
    await asyncio.sleep(seconds + 0.05)
    taken = sorted(tally.taken)
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {"requests": len(taken), "per_second": len(taken) / ((1 - WARM) * seconds), "bad": tally.bad, "lost": tally.lost,
            "mean": sum(taken) / max(1, len(taken)), **{f"p{mark}": taken[min(len(taken) - 1, len(taken) * mark // 100)] if taken else -1.0
                                                       for mark in (50, 95, 99)},
            "processor_seconds": used.ru_utime + used.ru_stime}


if __name__ == "__main__":
    port, path, clients, seconds = sys.argv[1:5]
    print(json.dumps(uvloop.run(run(int(port), path, int(clients), float(seconds), sys.stdin.buffer.read().splitlines()))))
