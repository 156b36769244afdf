"""What prepare does to tokenise, in turns: python -m benchmarks.peers.text_encoder DATA; a turn is one pass over all prepared texts.

As prepare calls it: 8,192 texts at a time, from Arrow to Arrow, the sentences' starts too. Each pass begins with an empty memory of words.
"""

import sys
from pathlib import Path

import pyarrow as pa

from benchmarks.peers.datasets_map import texts
from benchmarks.peers.turns import Turns
from bessemer.core.schema import Schema
from bessemer.modalities import codec_of


def main() -> None:
    data = Path(sys.argv[1])
    column = Schema.load(data).texts()[0]
    values = pa.array(texts(data), pa.string())
    turns, tokens = Turns(1), 0.0
    while True:
        turns.step(tokens=tokens)
        codec = codec_of(column, data)
        tokens = float(sum(len(codec.encode(values.slice(start, 8192))["ids"].flatten()) for start in range(0, len(values), 8192)))


if __name__ == "__main__":
    main()
