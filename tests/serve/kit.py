"""What the tests of the server share: tiny models as finished artifacts, an application in this process, a server of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import httpx

from bessemer.core import artifact
from bessemer.core.forms import Form, write_forms
from bessemer.core.pick import make
from bessemer.serve.app import application, guarded
from bessemer.serve.gate import Desk
from bessemer.serve.logs import Log
from bessemer.serve.metrics import Metrics
from bessemer.serve.registry import Registry
from bessemer.serve.settings import Settings, Source

ROOT = Path(__file__).parent.parent.parent
JSON = {"content-type": "application/json"}


def finish(folder: Path, key: str, kind: str = "finetune") -> Path:
    """Write the manifest of a model's folder."""
    artifact.commit(folder, artifact.Manifest(kind=kind, key=artifact.digest(key), inputs={}, files={}, facts={}))
    return folder


def write_text_model(folder: Path, graph: bytes, key: str = "one", max_length: int = 16) -> Path:
    """Write a finished network of texts; a smaller `max_length` answers long texts otherwise."""
    from tests.predictors.test_predictors import make_folder

    folder.mkdir(parents=True, exist_ok=True)
    make_folder(folder)
    for name in ("model.safetensors", "config.json"):
        (folder / name).unlink()
    (folder / "model.onnx").write_bytes(graph)
    form = make("predictors", {"kind": "onnx", "file": "model.onnx", "max_length": max_length})
    write_forms(folder, (Form(name="onnx-float32", predictor=form, files=("model.onnx",)),))
    return finish(folder, key)


def write_table_model(folder: Path, key: str = "one") -> Path:
    """Write a finished linear model of a table with three targets."""
    from tests.contract.test_contract_predictors import fit_table

    fit_table(folder, "linear", c=[1.0])
    return finish(folder, key)


class Process:
    """The application of one process, in this one.

    Attributes:
        client: asks it.
        registry: what it serves.
    """

    def __init__(self, client: httpx.AsyncClient, registry: Registry, desk: Desk) -> None:
        self.client, self.registry, self.desk = client, registry, desk

    async def post(self, path: str, value: Any, **headers: str) -> httpx.Response:
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        return await self.client.post(path, content=content, headers={**JSON, **{k.replace("_", "-"): v for k, v in headers.items()}})


@contextlib.asynccontextmanager
async def process(*folders: Path, resolve: Callable[[str], Path] = Path, address: str = "127.0.0.1",
                  host: str = "127.0.0.1:8000", **settings: Any) -> AsyncIterator[Process]:
    """Run the application in this event loop."""
    sources = tuple(Source(name=folder.name, folder=str(folder)) for folder in folders)
    made = Settings(sources=sources, **settings)
    with open(os.devnull, "w") as nowhere:
        log = Log(nowhere)
        registry, desk = Registry(made, resolve, log), Desk(made, Metrics(), log)
        await registry.refresh()
        app = guarded(application(registry, desk, registry.obey))
        transport = httpx.ASGITransport(app, client=(address, 12345), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}", timeout=60) as client:
            yield Process(client, registry, desk)
        log.flush()
        registry.close()


def run(scenario: Coroutine[Any, Any, Any]) -> Any:
    """Run a scenario in an event loop of its own."""
    return asyncio.run(scenario)


class Server:
    """`bessemer serve` in processes of its own; a context manager that stops it.

    Attributes:
        url: where it listens.
        log: the lines of its stderr so far.
        out: the lines of its stdout so far.
    """

    def __init__(self, *arguments: object, environment: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bessemer", "serve", *map(str, arguments), "--port", "0"], cwd=ROOT, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **(environment or {}), "OMP_NUM_THREADS": "1"})
        self.log: list[str] = []
        self.out: list[str] = []
        self._threads = [threading.Thread(target=self._read, args=pair, daemon=True)
                         for pair in ((self.process.stderr, self.log), (self.process.stdout, self.out))]
        for thread in self._threads:
            thread.start()
        self.url = ""

    @staticmethod
    def _read(stream: Any, lines: list[str]) -> None:
        for line in stream:
            lines.append(line.rstrip("\n"))

    def __enter__(self) -> Server:
        self.wait(lambda: any("serving on" in line for line in self.out), "it does not serve")
        self.url = next(line.split()[-1] for line in self.out if "serving on" in line)
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(40)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for thread in self._threads:
            thread.join(5)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def wait(self, until: Callable[[], Any], what: str, seconds: float = 90) -> Any:
        """Wait until something holds, and return it."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = until()
            if found:
                return found
            assert self.process.poll() is None, (self.process.returncode, self.log[-5:], self.out)
            time.sleep(0.05)
        raise AssertionError((what, self.log[-10:], self.out))

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the log's events of a name."""
        found = [json.loads(line) for line in list(self.log) if line.startswith("{")]
        return [item for item in found if item["event"] == name]

    def workers(self) -> list[int]:
        """Return the ids of its processes that answer."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(item) for item in path.read_text().split()]
