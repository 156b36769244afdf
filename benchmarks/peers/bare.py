"""ONNX Runtime alone: processes of one thread that run the batches that the server makes of these texts, tokenised beforehand.

python -m benchmarks.peers.bare FOLDER SECONDS PROCESSES CLIENTS < bodies (one JSON body a line); prints rows a second, of all processes.
The clients' rows are shared out to the processes, and each process cuts what it has of them into batches by the server's own rule.
"""

import json
import multiprocessing
import os
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


def feeds_of(predictor: Any, texts: list[str], window: int) -> list[dict[str, np.ndarray]]:
    """Return the batches of texts of which so many wait at a time."""
    from bessemer.serve.batching import Ticket, Waiting, chosen
    from bessemer.serve.work import Texts

    work, found = Texts(predictor, 1_000_000), []
    work.rehearse()
    for start in range(0, len(texts) - window + 1, window):
        ticket = Ticket((), None)  # type: ignore[arg-type]
        rows = work.prepare(texts[start:start + window])
        waiting = [Waiting(ticket, place, row) for place, row in enumerate(rows)]  # type: ignore[arg-type]
        while waiting:
            found.append(predictor.collated([item.row.data for item in chosen(waiting, work)]))
    return found


def work(given: "Given", ready: "multiprocessing.synchronize.Barrier", found: "multiprocessing.Queue[float]") -> None:
    os.environ.update(BESSEMER_THREADS="1", TOKENIZERS_PARALLELISM="false")
    from bessemer.core.forms import open_form
    from bessemer.predictors._rows import NetworkPredictor

    predictor = open_form(Path(given.folder))
    assert isinstance(predictor, NetworkPredictor)
    feeds = feeds_of(predictor, given.texts, given.window)
    for feed in feeds[:8]:
        predictor.predict_batch(feed)
    ready.wait()
    started, rows, step = time.perf_counter(), 0, 0
    while time.perf_counter() < started + given.seconds:
        feed = feeds[step % len(feeds)]
        predictor.predict_batch(feed)
        rows, step = rows + len(feed["input_ids"]), step + 1
    found.put(rows / (time.perf_counter() - started))


class Given(NamedTuple):
    """What a process is told: `window` rows wait at a time."""

    folder: str
    seconds: float
    texts: list[str]
    window: int


def main() -> None:
    folder, seconds, processes, clients = sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    texts = [json.loads(line)["text"] for line in sys.stdin]
    context = multiprocessing.get_context("spawn")
    ready, found = context.Barrier(processes), context.Queue()
    shares = [Given(folder, seconds, texts[number::processes], max(1, clients // processes)) for number in range(processes)]
    running = [context.Process(target=work, args=(share, ready, found)) for share in shares]
    for process in running:
        process.start()
    print(json.dumps({"per_second": sum(found.get() for _ in running)}))
    for process in running:
        process.join()


if __name__ == "__main__":
    main()
