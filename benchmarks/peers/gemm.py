"""The machine's speed at matrix products, in turns: python -m benchmarks.peers.gemm; a turn is so many products of 2048 x 2048, float32."""

import torch

from benchmarks.peers.turns import Turns

SIZE = 2048


def main() -> None:
    turns = Turns()
    one, two, out = torch.randn(SIZE, SIZE), torch.randn(SIZE, SIZE), torch.empty(SIZE, SIZE)
    done = 0.0
    while True:
        turns.step(gflop=done)
        torch.mm(one, two, out=out)
        done = 2 * SIZE**3 / 1e9


if __name__ == "__main__":
    main()
