"""ONNX Runtime alone: processes of one thread that run the batches that the server would make of these texts, tokenised beforehand.

python -m benchmarks.peers.bare FOLDER SECONDS PROCESSES < bodies (one JSON body a line); prints rows a second, of all processes.
"""

import json
import multiprocessing
import os
import sys
import time
from pathlib import Path


def work(folder: str, seconds: float, texts: list[str], ready: "multiprocessing.synchronize.Barrier",
         found: "multiprocessing.Queue[float]") -> None:
    os.environ.update(BESSEMER_THREADS="1", TOKENIZERS_PARALLELISM="false")
    from bessemer.core.forms import open_form
    from bessemer.modalities.tokens import collate_ids
    from bessemer.predictors._rows import NetworkPredictor

    predictor = open_form(Path(folder))
    assert isinstance(predictor, NetworkPredictor)
    size = predictor.rows_at_once
    ids = sorted(predictor.encode(texts), key=len)
    feeds = [collate_ids(ids[start:start + size], predictor.max_length, predictor.codec.info) for start in range(0, len(ids), size)]
    for feed in feeds[:8]:
        predictor.predict_batch(feed)
    ready.wait()
    started, rows = time.perf_counter(), 0
    while time.perf_counter() < started + seconds:
        feed = feeds[rows // size * 7 % len(feeds)]
        predictor.predict_batch(feed)
        rows += size
    found.put(rows / (time.perf_counter() - started))


def main() -> None:
    folder, seconds, processes = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
    texts = [json.loads(line)["text"] for line in sys.stdin]
    context = multiprocessing.get_context("spawn")
    ready, found = context.Barrier(processes), context.Queue()
    running = [context.Process(target=work, args=(folder, seconds, texts, ready, found)) for _ in range(processes)]
    for process in running:
        process.start()
    print(json.dumps({"per_second": sum(found.get() for _ in running)}))
    for process in running:
        process.join()


if __name__ == "__main__":
    main()
