"""The speed and memory of text beside Hugging Face's Trainer and datasets: python -m benchmarks.text_speed PART … [--minutes m].

Parts: finetune, mlm, tokenise, prepare, memory; grouped (one epoch) and reach, some 10 to 20 minutes each whatever --minutes says. Each
other goes on for --minutes (3). All add their rounds to those in --cache, so several short runs make a long one; results/text_speed.md is
written from what is there, by each run or by `report`. BENCH_THREADS (2) are the threads of each. The peers run in the interpreter of
BENCH_PEERS (default: this one), which has this environment's packages and accelerate and datasets.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.peers.reaching import AIM
from benchmarks.peers.turns import Child
from benchmarks.record import RESULTS, record, spread
from bessemer.core.events import Events
from bessemer.core.recipe import make_recipe
from bessemer.core.run import Options, execute

PEERS = os.environ.get("BENCH_PEERS", sys.executable)
THREADS = int(os.environ.get("BENCH_THREADS", "2"))
ENGINE, PLAIN = f"engine, gradient_threads: {THREADS}, threads: 1", f"engine, threads: {THREADS}"
SETS: dict[str, dict[str, Any]] = {
    "r8": {"targets": {"label": {"kind": "category"}}, "split": {"kind": "given", "column": "split"}},
    "newsgroups": {"targets": {"label": {"kind": "category"}}, "split": {"kind": "given", "column": "split"}},
    "wiki-en": {}}
ROWS, STEPS = 32, 5
"""Rows of a batch, and steps of a turn of a whole epoch."""
Rounds = list[dict[str, dict[str, float]]]


def stage_of(name: str, source: dict[str, Any] | None = None) -> dict[str, Any]:
    text = {"kind": "text", "max_length": 256, "max_chars": 200_000, "tokenizer": {"kind": "pretrained", "name": "minilm"}}
    return {"sources": [source or {"kind": "catalogue", "name": name}], "inputs": {"text": text}, **SETS[name]}


def prepared(name: str, folder: Path, source: dict[str, Any] | None = None) -> Path:
    """Run prepare and return its artifact."""
    recipe = make_recipe({"name": name, "output_dir": str(folder), "stages": {"prepare": stage_of(name, source)}}, "benchmark")
    return execute(recipe, Events(), Options()).stages["prepare"].folder


def weights() -> str:
    from bessemer.core.fetch import fetch
    from bessemer.core.registry import plugin

    chosen = plugin("datasets", "minilm")
    item = chosen.function(chosen.config())
    return str(fetch(item.resource) / item.folder)


def in_turn(children: dict[str, Callable[[], Child]], steps: dict[str, int],
            minutes: float) -> Generator[dict[str, dict[str, float]], None, None]:
    """Start the children, then yield rounds in which each has its turn, until the time is up; at least one round."""
    with ExitStack() as stack:
        running = {}
        for name, start in children.items():
            running[name] = start()
            stack.callback(running[name].close)
        end = time.monotonic() + 60 * minutes
        while True:
            yield {name: child.turn(steps[name]) for name, child in running.items()}
            if time.monotonic() > end:
                return


def engine(kind: str, data: Path, threads: int, seed: int) -> Callable[[], Child]:
    return lambda: Child(sys.executable, "benchmarks.peers.text_engine", kind, str(data), str(threads), str(seed), threads=THREADS)


def trainer(kind: str, data: Path, seed: int, strategy: str = "random") -> Callable[[], Child]:
    return lambda: Child(PEERS, "benchmarks.peers.trainer", kind, str(data), weights(), strategy, str(seed), threads=THREADS)


def training(kind: str, cache: Path, minutes: float, seed: int) -> Rounds:
    """Return rounds of the engine's and the Trainer's turns; of the masked language model also of matrix products."""
    data = prepared("r8" if kind == "finetune" else "wiki-en", cache / kind)
    children = {ENGINE: engine(kind, data, THREADS, seed), PLAIN: engine(kind, data, 1, seed),
                "Trainer": trainer(kind, data, seed)}
    if THREADS == 1:  # then the two ways of the engine are one
        del children[PLAIN]
    steps = dict.fromkeys(children, 4)
    if kind == "mlm":
        children["products"] = lambda: Child(sys.executable, "benchmarks.peers.gemm", threads=THREADS)
        steps["products"] = 30
    return list(in_turn(children, steps, minutes))


def an_epoch(cache: Path, minutes: float, seed: int) -> Rounds:
    """Return one round that is a whole epoch of the engine and of a Trainer that groups by length, a few steps each in turn.

    Each way meets its long batches at another time, so nothing less than all rows compares them.
    """
    from bessemer.data.shards import ShardReader

    data = prepared("r8", cache / "finetune")
    turns = -(-len(ShardReader(data / "train")) // (ROWS * STEPS))
    children = {ENGINE: engine("finetune", data, THREADS, seed), "Trainer": trainer("finetune", data, seed, "group_by_length")}
    rounds = in_turn(children, dict.fromkeys(children, STEPS), 24 * 60)
    taken = [next(rounds) for _ in range(turns)]
    rounds.close()
    return [{name: {unit: sum(item[name][unit] for item in taken) for unit in ("rows", "seconds")} for name in children}]


def tokenising(cache: Path, minutes: float) -> Rounds:
    data = str(prepared("newsgroups", cache / "newsgroups"))

    def peer(way: str) -> Callable[[], Child]:
        return lambda: Child(PEERS, "benchmarks.peers.datasets_map", data, weights(), way, threads=THREADS)

    children = {"prepare's": lambda: Child(sys.executable, "benchmarks.peers.text_encoder", data, threads=THREADS),
                "datasets.map, batched": peer("one"), "datasets.map, ids alone": peer("ids"), "datasets.map, num_proc=2": peer("two")}
    return list(in_turn(children, dict.fromkeys(children, 1), minutes))


def whole(cache: Path, minutes: float) -> Rounds:
    """Return rounds of all of prepare, and of tokenising as prepare does it and as the library does it alone."""
    data = prepared("newsgroups", cache / "newsgroups")
    found: Rounds = []
    end = time.monotonic() + 60 * minutes
    child = Child(sys.executable, "benchmarks.peers.text_encoder", str(data), threads=THREADS)
    peer = Child(PEERS, "benchmarks.peers.datasets_map", str(data), weights(), "one", threads=THREADS)
    while not found or time.monotonic() < end:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "benchmarks.text_speed", "child", "--folder", folder]
            told = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
        found.append({"whole": json.loads(told), "tokenising, prepare's": child.turn(1), "tokenising, datasets.map": peer.turn(1)})
    child.close()
    peer.close()
    return found


def words_edited(folder: Path, times: int) -> Path:
    """Write `times` the rows of newsgroups as Parquet, in each copy (the first too, so that all are of one kind) one word of five
    replaced by another of the same text with a number behind it.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from bessemer.core.pick import make
    from bessemer.core.registry import plugin_of

    config = make("data/sources", {"kind": "catalogue", "name": "newsgroups"})
    chance, file, writer = random.Random(0), folder / f"{times}.parquet", None
    for _ in range(times):
        for chunk in plugin_of("data/sources", config).function(config).read():
            texts = chunk.table["text"].to_pylist()
            for place, text in enumerate(texts):
                words = text.split()
                for _ in range(len(words) // 5 + 1):
                    words[chance.randrange(len(words))] = f"{chance.choice(words)}{chance.randrange(1000)}"
                texts[place] = " ".join(words)
            table = chunk.table.set_column(chunk.table.column_names.index("text"), "text", pa.array(texts, pa.string()))
            writer = writer or pq.ParquetWriter(file, table.schema)
            writer.write_table(table)
    assert writer is not None
    writer.close()
    return file


def memory(cache: Path, minutes: float) -> Rounds:
    """Return the anonymous memory of prepare over 1x and 10x newsgroups, in processes of their own."""
    found = {}
    for times in (1, 10):
        with tempfile.TemporaryDirectory() as folder:
            file = words_edited(Path(folder), times)
            command = [sys.executable, "-m", "benchmarks.text_speed", "child", "--folder", folder, "--file", str(file)]
            told = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
        found[f"{times}x"] = json.loads(told)
    return [found]


def child(folder: str, file: str | None) -> None:
    """Prepare newsgroups, or a file of its kind, in this process; print seconds, rows and the anonymous memory."""
    from benchmarks.stream import anonymous, sampled

    start, values = anonymous(), [0.0]
    source = None if file is None else {"kind": "parquet", "path": file}
    started = time.perf_counter()
    with sampled(values):
        made = prepared("newsgroups", Path(folder) / "run", source)
    seconds = time.perf_counter() - started
    facts = json.loads((made / "manifest.json").read_text())["facts"]
    print(json.dumps({"seconds": seconds, "rows": sum(facts["rows"].values()), "start_mb": start, "largest_mb": max(values),
                      "median_mb": statistics.median(values)}))


def reach(cache: Path, minutes: float) -> Rounds:
    """Return the seconds until validation accuracy .97 of the engine and the Trainer, validations of the same rows included.

    The Trainer is stopped at three times the engine's seconds: that it takes longer is all that is told then.
    """
    from benchmarks.peers import reaching

    data = prepared("r8", cache / "finetune")
    found = {"engine": reaching.engine(stage_of("r8"), cache / "reach"),
             "engine, bf16: auto": reaching.engine(stage_of("r8"), cache / "reach-bf16", "auto")}
    return [{**found, "Trainer": reaching.child(PEERS, data, weights(), 3 * found["engine"]["seconds"])}]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="+", choices=[*PARTS, "report", "child"])
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--cache", type=Path, default=Path("build/text_speed"))
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    parser.add_argument("--file", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.parts == ["child"]:
        child(args.folder, args.file)
        return
    args.cache.mkdir(parents=True, exist_ok=True)
    for part in args.parts:
        if part != "report":
            before = rounds_of(args.cache, part)
            (args.cache / f"{part}.json").write_text(json.dumps([*before, *PARTS[part](args.cache, args.minutes, len(before))]) + "\n")
    report(args.cache)


PARTS: dict[str, Callable[[Path, float, int], Rounds]] = {
    "finetune": lambda cache, minutes, seed: training("finetune", cache, minutes, seed),
    "grouped": an_epoch,
    "mlm": lambda cache, minutes, seed: training("mlm", cache, minutes, seed),
    "tokenise": lambda cache, minutes, seed: tokenising(cache, minutes),
    "prepare": lambda cache, minutes, seed: whole(cache, minutes),
    "memory": lambda cache, minutes, seed: memory(cache, minutes),
    "reach": lambda cache, minutes, seed: reach(cache, minutes)}


def rounds_of(cache: Path, part: str) -> Rounds:
    file = cache / f"{part}.json"
    found: Rounds = json.loads(file.read_text()) if file.is_file() else []
    return found


def rates(rounds: Rounds, name: str, unit: str) -> list[float]:
    return [item[name][unit] / item[name]["seconds"] for item in rounds]


def against(rounds: Rounds, unit: str, what: str, name: str, peers: list[str]) -> Iterator[tuple[str, ...]]:
    """Yield a line for each way: its rate and the first one's, as the median of the rounds' ratios."""
    if not rounds:
        return
    own = rates(rounds, name, unit)
    yield what, name, spread(own), ""
    for peer in peers:
        other = rates(rounds, peer, unit)
        yield what, peer, spread(other), spread([a / b for a, b in zip(own, other, strict=True)])


def lines_of(cache: Path) -> Iterator[tuple[str, ...]]:
    yield from against(rounds_of(cache, "finetune"), "rows", "minilm on r8, batches in random order: samples/s", ENGINE,
                       [PLAIN, "Trainer"][THREADS == 1:])
    yield from against(rounds_of(cache, "grouped"), "rows", "minilm on r8, Trainer groups by length, whole epochs: samples/s", ENGINE,
                       ["Trainer"])
    rounds = rounds_of(cache, "mlm")
    yield from against(rounds, "tokens", "masked language model, BERT 4 x 256 on wiki-en: tokens/s", ENGINE,
                       [PLAIN, "Trainer"][THREADS == 1:])
    if rounds:
        own, most = (rates(rounds, name, "gflop") for name in (ENGINE, "products"))
        yield "the same: GFLOP/s of matrix products", ENGINE, spread(own), ""
        yield "", "products of 2048 x 2048 alone", spread(most), spread([a / b for a, b in zip(own, most, strict=True)])
    tokenised = rounds_of(cache, "tokenise")
    yield from against(tokenised, "tokens", "tokenise newsgroups: tokens/s", "prepare's", list(tokenised[0])[1:] if tokenised else [])
    for round_of in rounds_of(cache, "prepare"):
        seconds = {name: item["seconds"] for name, item in round_of.items()}
        yield ("prepare newsgroups, seconds: whole; tokenising as prepare does; by datasets.map", "", "; ".join(
            f"{value:.2f}" for value in seconds.values()), "; ".join(f"{seconds['whole'] / value:.2f}" for value in seconds.values()))
    for item in rounds_of(cache, "memory"):
        for name, one in item.items():
            yield (f"prepare {name} newsgroups, {one['rows']:,.0f} rows: anonymous memory", "", f"{one['largest_mb']:.0f} MB at most, "
                   f"{one['median_mb']:.0f} MB median, {one['start_mb']:.0f} MB before; {one['seconds']:.0f} s", "")
    for item in rounds_of(cache, "reach"):
        whole = item["Trainer"]["seconds"]
        for name, one in item.items():
            reached = one["accuracy"] >= AIM
            told = "" if name == "Trainer" else f"Trainer's seconds to it: {'' if item['Trainer']['accuracy'] >= AIM else 'more than '}"
            yield (f"minilm on r8, 256 tokens: seconds to validation accuracy {AIM}", name, f"{one['seconds']:.0f}"
                   + ("" if reached else f", not reached (best {one['accuracy']:.4f})"), told and f"{told}{whole / one['seconds']:.2f}")


def report(cache: Path) -> None:
    head = ("what", "way", "median (range) of rounds", "ratio to it")
    found = list(lines_of(cache))
    record("text_speed", "Text beside Trainer and datasets", head, [*found, *_earlier({line[0] for line in found})],
           NOTES.replace("THREADS", str(THREADS)).replace("ROUNDS", ", ".join(f"{part} {len(rounds_of(cache, part))}" for part in PARTS)),
           "python -m benchmarks.text_speed")


def _earlier(known: set[str]) -> list[tuple[str, ...]]:
    """Return the page's lines of parts that were not run here, marked by a star."""
    file, whole = RESULTS / "text_speed.md", False
    found = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
        cells = tuple(cell.strip() for cell in line.strip("|").split("|"))
        if line.startswith("| ") and cells[0] != "what":
            whole = cells[0] in known or (whole and not cells[0])  # a line without a name belongs to the one above
            if not whole:
                found.append((f"{cells[0].rstrip('*')}*" if cells[0] else "", *cells[1:]))
    return found


NOTES = """Rounds in turn of children on the same machine (ROUNDS); every child has THREADS threads; the one that waits does
nothing. Trainer as its documentation has it: dynamic padding (fine-tuning) or texts joined and cut into blocks of 128
tokens (masked language model), adamw_torch_fused, batches of 32, float32, dropout 0.1. The engine: the same weights,
batches of 32 rows sorted by length within pools of 64 batches (fine-tuning), or of 4,096 tokens at most (masked
language model: 32 blocks have as many); tokens are counted without padding. Operations: three times (forward, backward
to inputs and to weights) those of linear layers over the tokens with their padding, of attention over each row's own
length, and of the vocabulary's product over the masked positions; embeddings, normalisation, activations, softmax,
dropout, the optimiser and what the backward pass computes again count nothing. Floors: 1.5 x the Trainer's samples/s
and tokens/s, 0.6 of the products' speed, 1.2 x the tokens/s of datasets.map; the whole of prepare 2 x the time of
tokenising; flat memory. Lines with a star were taken earlier, on an AMD EPYC with 2 cores.
Rows of the memory lines are newsgroups with one word of five replaced by a new one, at 1x too:
more new words than any real text has, and none of the rows is another's duplicate. A round is a few steps; where the Trainer groups by
length, a whole epoch: there the ways meet long and short batches at other times, and only all rows compare them."""


if __name__ == "__main__":
    main()
