"""The server beside its peers, in turn: a `transformers` pipeline behind FastAPI, LitServe with batching, ONNX Runtime alone.

A closed loop of 32 clients (`benchmarks/peers/load.py`, one process, which shares the cores with the server). Every server is started
once, warmed up, and stopped by SIGSTOP while another one is measured. LitServe is no requirement of the project: where it is not
installed a line says so and it is left out.
"""

import importlib.util
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from benchmarks.record import record, spread
from bessemer.compress.dynamic_int8 import DynamicInt8, dynamic_int8
from bessemer.core import artifact
from bessemer.core.fetch import fetch
from bessemer.core.forms import Form, write_forms
from bessemer.core.pick import make
from bessemer.core.registry import plugin
from bessemer.core.schema import Column, Role, Schema
from bessemer.core.types import Calibration
from bessemer.export.onnx import Onnx, onnx_graph
from bessemer.nn.bert import Bert, BertConfig
from bessemer.nn.checkpoint import load_network, save_network

ROUNDS, SECONDS, CLIENTS, LENGTH, MEMORY = 5, 8.0, 32, 128, 100_000
SMALL = {"hidden_size": 192, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 384}
LABELS = ("a", "b")
ROOT = Path(__file__).parent.parent


def models(folder: Path) -> dict[str, Path]:
    """Write minilm (6 x 384) and a small network (2 x 192), int8, as finished models that transformers opens as well."""
    entry = plugin("datasets", "minilm")
    item = entry.function(entry.config())
    source = fetch(item.resource) / item.folder
    large = load_network(source, ("classification",), LABELS)
    torch.manual_seed(0)
    small = Bert(BertConfig(vocab_size=30522, **SMALL), ("classification",), len(LABELS), LABELS)
    found = {}
    for name, network in (("minilm", large), ("small", small)):
        place = found[name] = folder / name
        place.mkdir()
        save_network(network, place)
        for file in ("tokenizer.json", "tokenizer_config.json"):
            if (source / file).is_file():
                (place / file).write_bytes((source / file).read_bytes())
        onnx_graph(Onnx())(network.eval(), place / "model.onnx")
        dynamic_int8(DynamicInt8())(place / "model.onnx", place / "int8.onnx", Calibration(0, lambda: iter(())))
        text = {"kind": "text", "tokenizer": {"kind": "pretrained", "path": str(source)}, "max_length": LENGTH}
        Schema(columns=(Column(name="text", role=Role.INPUT, modality=text),
                        Column(name="label", role=Role.TARGET, modality={"kind": "category"}, labels=LABELS))).save(place)
        predictor = make("predictors", {"kind": "onnx", "file": "int8.onnx", "max_length": LENGTH})
        write_forms(place, (Form(name="onnx-int8", predictor=predictor, files=("int8.onnx",), lossy=True),))
        artifact.commit(place, artifact.Manifest(kind="export", key=artifact.digest(name), inputs={}, files={}, facts={}))
    return found


def bodies(tokenizer: Path, lengths: list[int]) -> bytes:
    """Return requests of texts of the vocabulary's own words, so many tokens each."""
    vocabulary = json.loads(tokenizer.read_text(encoding="utf-8"))["model"]["vocab"]
    words = sorted(word for word in vocabulary if word.isalpha() and word.isascii() and 2 < len(word) < 9)
    generator = random.Random(0)
    rows = [{"text": " ".join(generator.choices(words, k=max(1, length - 2)))} for length in lengths]
    return "\n".join(map(json.dumps, rows)).encode()


class Server:
    """A server in a process group of its own, stopped while it is not asked."""

    def __init__(self, *command: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        line = [word.replace("PORT", str(self.port)) for word in command]
        self.process = subprocess.Popen([sys.executable, "-m", *line], cwd=ROOT, start_new_session=True, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)

    def ready(self, body: bytes) -> None:
        end = time.monotonic() + 180
        while True:
            request = urllib.request.Request(f"http://127.0.0.1:{self.port}/predict", body, {"Content-Type": "application/json"})
            try:
                with urllib.request.urlopen(request, timeout=20) as answer:
                    answer.read()
                break
            except OSError:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise
                time.sleep(0.3)
        self.signal(signal.SIGSTOP)

    def signal(self, number: int) -> None:
        os.killpg(self.process.pid, number)

    @contextmanager
    def awake(self) -> Iterator[None]:
        self.signal(signal.SIGCONT)
        time.sleep(0.3)
        try:
            yield
        finally:
            self.signal(signal.SIGSTOP)

    def memory_mb(self) -> float:
        """Return the resident memory of its processes."""
        found = 0
        for status in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = status.read_text().rpartition(")")[2].split()
                if int(fields[2]) == self.process.pid:
                    found += int((status.parent / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            except (FileNotFoundError, ProcessLookupError):
                continue
        return found / 1e6

    def end(self) -> None:
        self.signal(signal.SIGCONT)
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            pass
        try:
            self.signal(signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()


def load(port: int, given: bytes, seconds: float) -> dict[str, Any]:
    """Run the closed loop and return its tally."""
    command = [sys.executable, "-m", "benchmarks.peers.load", str(port), "/predict", str(CLIENTS), str(seconds)]
    done = subprocess.run(command, input=given, capture_output=True, check=True, cwd=ROOT)
    found: dict[str, Any] = json.loads(done.stdout)
    assert not found["bad"] and not found["lost"], found
    return found


def bare(folder: Path, given: bytes, seconds: float) -> dict[str, Any]:
    """Run ONNX Runtime alone on the same batches, a process a core."""
    command = [sys.executable, "-m", "benchmarks.peers.bare", str(folder), str(seconds), str(os.cpu_count() or 1), str(CLIENTS)]
    found: dict[str, Any] = json.loads(subprocess.run(command, input=given, capture_output=True, check=True, cwd=ROOT).stdout)
    return found


def servers(made: dict[str, Path]) -> dict[str, Server]:
    """Start every server."""
    found = {f"bessemer, {name} int8": Server("bessemer", "serve", str(folder), "--port", "PORT") for name, folder in made.items()}
    found["FastAPI + transformers pipeline, minilm"] = Server("benchmarks.peers.pipeline_server", str(made["minilm"]), "PORT")
    if importlib.util.find_spec("litserve") is None:
        print("litserve is not installed (pip install litserve): it is left out")
    else:
        found["LitServe, batching, minilm int8"] = Server("benchmarks.peers.litserve_server", str(made["minilm"]), "PORT", "int8.onnx")
    return found


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        made = models(Path(name))
        generator = random.Random(1)
        tokenizer = made["minilm"] / "tokenizer.json"
        mixed = bodies(tokenizer, [min(LENGTH, max(4, round(generator.lognormvariate(3.3, 0.7)))) for _ in range(512)])
        full = bodies(tokenizer, [LENGTH + 8] * 256)
        running = servers(made)
        try:
            for server in running.values():
                server.ready(mixed.splitlines()[0])
            measured = rounds(made, running, mixed, full)
            memory = flat(running["bessemer, small int8"], mixed)
        finally:
            for server in running.values():
                server.end()
    report(measured, memory)


def rounds(made: dict[str, Path], running: dict[str, Server], mixed: bytes, full: bytes) -> dict[str, list[dict[str, Any]]]:
    """Measure everything in turn, ROUNDS times."""
    found: dict[str, list[dict[str, Any]]] = {}
    for _ in range(ROUNDS):
        for label, server in running.items():
            with server.awake():
                found.setdefault(f"{label}, mixed lengths", []).append(load(server.port, mixed, SECONDS))
        for name, folder in made.items():
            server = running[f"bessemer, {name} int8"]
            with server.awake():
                found.setdefault(f"bessemer, {name} int8, {LENGTH} tokens", []).append(load(server.port, full, SECONDS))
            for what, given in ((f"{LENGTH} tokens", full), ("mixed lengths", mixed)):
                found.setdefault(f"ONNX Runtime alone, {name} int8, {what}", []).append(bare(folder, given, SECONDS / 2))
    return found


def flat(server: Server, given: bytes) -> str:
    """Return the memory before and after MEMORY requests."""
    with server.awake():
        load(server.port, given, 4.0)
        before, asked, seconds = server.memory_mb(), 0, 0.0
        while asked < MEMORY and seconds < 600:
            found = load(server.port, given, 20.0)
            asked += round(found["requests"] / 0.8)
            seconds += 20.0
        return f"{before:.0f} MB before, {server.memory_mb():.0f} MB after {asked:,} requests (all processes of the server)"


def report(measured: dict[str, list[dict[str, Any]]], memory: str) -> None:
    """Write the result."""
    base = {"minilm": "bessemer, minilm int8", "small": "bessemer, small int8"}
    rows = []
    for label, tallies in measured.items():
        own = base["small" if "small" in label else "minilm"] + label[label.rindex(","):]
        ratios = [ours["per_second"] / other["per_second"] for ours, other in zip(measured[own], tallies, strict=True)]
        late = [spread([tally[mark] * 1000 for tally in tallies]) if "p99" in tallies[0] else "" for mark in ("p50", "p99")]
        rows.append((label, spread([tally["per_second"] for tally in tallies]), *late, "" if label == own else spread(ratios)))
    record("serve", "Requests a second of the server beside its peers",
           ("what", "rows a second, median (range)", "p50 ms", "p99 ms", "bessemer is so many times as fast, same round"), rows,
           f"A closed loop of {CLIENTS} clients, one text a request, in turn, {ROUNDS} rounds of {SECONDS:g} s; the load's own process "
           f"shares the cores with the servers, and ONNX Runtime alone has them to itself. minilm is 6 x 384, small "
           f"{SMALL['num_hidden_layers']} x {SMALL['hidden_size']}. Targets: 3 times the pipeline, more than LitServe at a p99 no worse, "
           f"0.9 of ONNX Runtime alone for minilm at {LENGTH} tokens, 0.7 for a small model, memory flat. Memory of the small "
           f"model's server: {memory}.")


if __name__ == "__main__":
    main()
