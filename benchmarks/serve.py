"""The server beside its peers, in turn: a `transformers` pipeline behind FastAPI, LitServe with batching, ONNX Runtime alone.

A closed loop of 32 clients (`benchmarks/peers/load.py`, one process, which shares the cores with the server). Every server is started
once, warmed up, and stopped by SIGSTOP while another one is measured. LitServe is no requirement of the project: where it is not
installed a line says so and it is left out. `python -m benchmarks.serve --parts bessemer,litserve` measures and prints a part.
"""

from __future__ import annotations

import argparse
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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from tokenizers import Tokenizer

from benchmarks.record import record, spread
from bessemer.compress.dynamic_int8 import DynamicInt8, dynamic_int8
from bessemer.compress.static_int8 import StaticInt8, static_int8
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
from bessemer.nn.network import Network

CLIENTS, LENGTH, MIXED = 32, 128, "mixed lengths"
PARTS = ("bessemer", "pipeline", "litserve", "onnxruntime", "memory")
WAYS = ("static", "dynamic")
SMALL: dict[str, Any] = {"hidden_size": 192, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 384}
LABELS = ("a", "b")
ROOT = Path(__file__).parent.parent


def models(folder: Path) -> dict[str, Path]:
    """Write minilm (6 x 384) and a small network (2 x 192), each int8 in two ways, as finished models that transformers opens as well."""
    entry = plugin("datasets", "minilm")
    item = entry.function(entry.config())
    source = fetch(item.resource) / item.folder
    large = load_network(source, ("classification",), LABELS)
    torch.manual_seed(0)
    small = Bert(BertConfig(vocab_size=30522, **SMALL), ("classification",), len(LABELS), LABELS)
    return {f"{name} {way}": _model(folder / f"{name}-{way}", network, source, way)
            for name, network in (("minilm", large), ("small", small)) for way in WAYS}


def _model(place: Path, network: Network, source: Path, way: str) -> Path:
    """Write one finished model: "static" has fixed scales and is answered in batches, "dynamic" is answered a row at a time."""
    place.mkdir()
    save_network(network, place)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        if (source / file).is_file():
            (place / file).write_bytes((source / file).read_bytes())
    onnx_graph(Onnx())(network.eval(), place / "model.onnx")
    texts = [json.loads(line)["text"] for line in bodies(place / "tokenizer.json", [4 * number + 4 for number in range(32)]).splitlines()]
    compress = static_int8(StaticInt8()) if way == "static" else dynamic_int8(DynamicInt8())
    compress(place / "model.onnx", place / "int8.onnx", Calibration(len(texts), lambda: iter([_feed(place / "tokenizer.json", texts)])))
    text = {"kind": "text", "tokenizer": {"kind": "pretrained", "path": str(source)}, "max_length": LENGTH}
    Schema(columns=(Column(name="text", role=Role.INPUT, modality=text),
                    Column(name="label", role=Role.TARGET, modality={"kind": "category"}, labels=LABELS))).save(place)
    predictor = make("predictors", {"kind": "onnx", "file": "int8.onnx", "max_length": LENGTH})
    write_forms(place, (Form(name="onnx-int8", predictor=predictor, files=("int8.onnx",), lossy=True),))
    artifact.commit(place, artifact.Manifest(kind="export", key=artifact.digest(place.name), inputs={}, files={}, facts={}))
    return place


def _feed(tokenizer: Path, texts: list[str]) -> dict[str, np.ndarray]:
    reader = Tokenizer.from_file(str(tokenizer))
    reader.enable_padding()
    reader.enable_truncation(LENGTH)
    found = reader.encode_batch(texts)
    ids, mask = (np.array([getattr(item, name) for item in found], np.int64) for name in ("ids", "attention_mask"))
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}


def bodies(tokenizer: Path, lengths: list[int]) -> bytes:
    """Return requests of texts of the vocabulary's own words, so many tokens each; words are as frequent as Zipf's law has them."""
    vocabulary = json.loads(tokenizer.read_text(encoding="utf-8"))["model"]["vocab"]
    words = sorted((word for word in vocabulary if word.isalpha() and word.isascii() and 2 < len(word) < 9), key=vocabulary.__getitem__)
    shares = list(accumulate(1 / rank for rank in range(1, len(words) + 1)))
    generator = random.Random(0)
    rows = [{"text": " ".join(generator.choices(words, cum_weights=shares, k=max(1, length - 2)))} for length in lengths]
    return "\n".join(map(json.dumps, rows)).encode()


class Texts(NamedTuple):
    """Requests, one a line: of mixed lengths, and of the full length."""

    mixed: bytes
    full: bytes


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


def servers(made: dict[str, Path], parts: Sequence[str]) -> dict[str, Server]:
    """Start the servers of the parts that are asked for."""
    found = {}
    if {"bessemer", "memory"} & set(parts):
        found = {f"bessemer, {name} int8": Server("bessemer", "serve", str(folder), "--port", "PORT") for name, folder in made.items()}
    if "pipeline" in parts:
        found["FastAPI + transformers pipeline, minilm"] = Server("benchmarks.peers.pipeline_server", str(made["minilm static"]), "PORT")
    if "litserve" in parts and importlib.util.find_spec("litserve") is None:
        print("litserve is not installed (pip install litserve): it is left out")
    elif "litserve" in parts:
        for way in WAYS:
            name = f"minilm {way}"
            found[f"LitServe, batching, {name} int8"] = Server("benchmarks.peers.litserve_server", str(made[name]), "PORT", "int8.onnx")
    return found


def main(given: Sequence[str] = ()) -> None:
    reader = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.serve")
    reader.add_argument("--parts", default=",".join(PARTS), help=f"of {', '.join(PARTS)}; a part of them is printed, not recorded")
    reader.add_argument("--rounds", type=int, default=3)
    reader.add_argument("--seconds", type=float, default=4.0, help="of one load")
    reader.add_argument("--requests", type=int, default=20_000, help="after which memory is looked at again; the target says 100000")
    asked = reader.parse_args(given)
    parts = asked.parts.split(",")
    if unknown := set(parts) - set(PARTS):
        reader.error(f"unknown parts: {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory() as name:
        made = models(Path(name))
        generator = random.Random(1)
        tokenizer = made["minilm static"] / "tokenizer.json"
        texts = Texts(bodies(tokenizer, [min(LENGTH, max(4, round(generator.lognormvariate(3.3, 0.7)))) for _ in range(512)]),
                      bodies(tokenizer, [LENGTH + 8] * 256))
        running = servers(made, parts)
        try:
            for server in running.values():
                server.ready(texts.mixed.splitlines()[0])
            measured: dict[str, list[dict[str, Any]]] = {}
            for _ in range(asked.rounds if set(parts) != {"memory"} else 0):
                one_round(measured, made if "onnxruntime" in parts else {}, running, texts, asked.seconds)
            memory = flat(running["bessemer, small static int8"], texts.mixed, asked.requests) if "memory" in parts else "not measured"
        finally:
            for server in running.values():
                server.end()
    report(measured, memory, asked)


def one_round(measured: dict[str, list[dict[str, Any]]], made: dict[str, Path], running: dict[str, Server], texts: Texts,
              seconds: float) -> None:
    """Measure everything in turn."""
    full = f"{LENGTH} tokens"
    for label, server in running.items():
        with server.awake():
            measured.setdefault(f"{label}, {MIXED}", []).append(load(server.port, texts.mixed, seconds))
    for name in (f"{net} {way}" for net in ("minilm", "small") for way in WAYS):
        ours = running.get(f"bessemer, {name} int8")
        for what, given in ((full, texts.full), (MIXED, texts.mixed)):
            if ours is not None and what == full:
                with ours.awake():
                    measured.setdefault(f"bessemer, {name} int8, {what}", []).append(load(ours.port, given, seconds))
            if name in made:
                measured.setdefault(f"ONNX Runtime alone, {name} int8, {what}", []).append(bare(made[name], given, seconds / 2))


def flat(server: Server, given: bytes, requests: int) -> str:
    """Return the memory before and after so many requests."""
    with server.awake():
        load(server.port, given, 4.0)
        before, asked, started = server.memory_mb(), 0, time.monotonic()
        while asked < requests and time.monotonic() < started + 600:
            found = load(server.port, given, 10.0)
            asked += round(found["requests"] / 0.8)
        return f"{before:.0f} MB before, {server.memory_mb():.0f} MB after {asked:,} requests (all processes of the server)"


def own_label(label: str, measured: dict[str, list[dict[str, Any]]]) -> str:
    """Return the label of ours that another one is held against: the same network, form and texts."""
    net = "small" if "small" in label else "minilm"
    way = "dynamic" if "dynamic" in label else "static"
    found = f"bessemer, {net} {way} int8{label[label.rindex(','):]}"
    return found if found in measured else label


def report(measured: dict[str, list[dict[str, Any]]], memory: str, asked: argparse.Namespace) -> None:
    """Write the result, or print it where only a part was measured."""
    rows = []
    for label, tallies in measured.items():
        own = own_label(label, measured)
        ratios = [ours["per_second"] / other["per_second"] for ours, other in zip(measured[own], tallies, strict=True)]
        late = [spread([tally[mark] * 1000 for tally in tallies]) if "p99" in tallies[0] else "" for mark in ("p50", "p99")]
        rows.append((label, spread([tally["per_second"] for tally in tallies]), *late, "" if label == own else spread(ratios)))
    head = ("what", "rows a second, median (range)", "p50 ms", "p99 ms", "bessemer is so many times as fast, same round")
    if asked.parts != ",".join(PARTS):
        for row in [head, *rows]:
            print(" | ".join(row))
        print(f"Memory: {memory}.")
        return
    record("serve", "Requests a second of the server beside its peers", head, rows,
           f"A closed loop of {CLIENTS} clients, one text a request, in turn, {asked.rounds} rounds of {asked.seconds:g} s; the load's own "
           f"process shares the cores with the servers, and ONNX Runtime alone has them to itself: it runs the batches that the server's "
           f"own rule makes when {CLIENTS} rows wait, tokenised beforehand. minilm is 6 x 384, small {SMALL['num_hidden_layers']} x "
           f"{SMALL['hidden_size']}. Static int8 is answered in batches; dynamic int8 one row at a time by bessemer, because a row's "
           f"answer would depend on its neighbours, and in batches by LitServe, whose answers do. Targets: 3 times the pipeline, more "
           f"than LitServe at a p99 no worse, 0.9 of ONNX Runtime alone for minilm at {LENGTH} tokens, 0.7 for a small model, memory flat. "
           f"Memory of the small static model's server: {memory}.")


if __name__ == "__main__":
    main(sys.argv[1:])
