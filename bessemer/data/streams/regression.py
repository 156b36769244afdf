"""Regression: rows that are computed, as many as asked for, with the law of scikit-learn's `make_regression`.

x ~ N(0, 1) in every feature, independent; y = x @ coef + noise * N(0, 1). The coefficients are 100 * U(0, 1) in `informative`
features, chosen at random, and 0 in the others. (`sklearn.datasets.make_regression` with effective_rank=None, bias=0; equal in
distribution, not in its numbers.)

A block's rows depend on (seed, block) alone. The fastest exact way found: torch's `normal_` (Box and Muller, "A note on the
generation of random normal deviates", 1958; vectorised, on 24-bit uniforms, so that |x| is at most 5.77) with one Mersenne Twister
a block. It is freed of Python's lock, so two threads give twice the rows. Equal bits are promised for one version of torch on one
kind of processor; the law holds everywhere.

Legend: N rows of a block, F features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, model_validator

from bessemer.core.config import Config
from bessemer.core.keyed import uniform
from bessemer.core.registry import register
from bessemer.core.types import Chunk, RowStream
from bessemer.data.streams import Place

if TYPE_CHECKING:
    import numpy as np

_MASK = 0xFFFFFFFF
COLUMNS = ("x", "y")


class Regression(Config):
    """Computed rows of a linear law: `x` (list of float32, `features` long) and `y` (float64)."""

    rows: Annotated[int, Field(ge=1, le=1 << 40)]
    """How many rows there are."""
    features: Annotated[int, Field(ge=1, le=100_000)] = 100
    """Numbers in `x`."""
    informative: Annotated[int, Field(ge=1)] = 10
    """Features that y depends on; the others are noise."""
    noise: Annotated[float, Field(ge=0)] = 0.0
    """Standard deviation of what is added to y."""
    data_seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 0
    """Of the rows; other seeds give other rows and another law."""
    block_rows: Annotated[int, Field(ge=1, le=65_536)] = 4096
    """Rows that are computed together; a batch of as many rows, or a divisor, needs no copy."""

    @model_validator(mode="after")
    def _fits(self) -> Regression:
        if self.informative > self.features:
            raise ValueError(f"informative is {self.informative}, but there are only {self.features} features")
        if self.block_rows * self.features * 4 > 64 << 20:
            raise ValueError(f"a block of {self.block_rows} rows x {self.features} features is more than 64 MiB; lower block_rows")
        return self


@register("data/streams", "regression")
def regression(config: Regression, place: Place) -> RowStream:
    """Return the computed rows."""
    import numpy as np

    size = config.block_rows
    starts = np.minimum(np.arange(-(-config.rows // size) + 1, dtype=np.int64) * size, config.rows)
    coef_F = coefficients(config)

    def read(block: int, columns: tuple[str, ...] | None) -> Chunk:
        import pyarrow as pa

        first, count = int(starts[block]), int(starts[block + 1] - starts[block])
        x_NF, noise_N = _draw(config, block, count)
        y_N = _answers(x_NF, coef_F) + config.noise * noise_N
        # from buffers: pa.array looks for pandas at every call, which takes longer than a small block
        flat = pa.Array.from_buffers(pa.float32(), x_NF.size, [None, pa.py_buffer(x_NF)])
        made = {"x": pa.FixedSizeListArray.from_arrays(flat, config.features),
                "y": pa.Array.from_buffers(pa.float64(), count, [None, pa.py_buffer(y_N)])}
        return Chunk(pa.table({name: made[name] for name in columns or COLUMNS}), np.arange(first + 1, first + count + 1, dtype=np.int64))

    return RowStream(f"regression ({config.rows:,} x {config.features:,})", (), starts, COLUMNS, read)


def coefficients(config: Regression) -> np.ndarray:
    """Return the true coefficients, float64 [F]; all but `informative` of them are 0."""
    import numpy as np

    chosen = np.argsort(uniform(config.data_seed, 0, np.arange(config.features), 1, stream=1)[:, 0], kind="stable")
    coef_F = np.zeros(config.features)
    worth = uniform(config.data_seed, 0, np.zeros(1, np.int64), config.informative, stream=2)[0]
    coef_F[np.sort(chosen[:config.informative])] = 100 * worth
    return coef_F


def _draw(config: Regression, block: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return x [N, F] and the noise [N], standard normal float32, of one block."""
    import numpy as np
    import torch

    generator = torch.Generator().manual_seed(_state(config.data_seed, block))
    # whole blocks are drawn and the last one cut, so that a row is the same in a longer stream
    # numpy asks the system for large pages, torch does not: fewer faults
    x_NF = torch.from_numpy(np.empty((config.block_rows, config.features), np.float32)).normal_(generator=generator)
    noise_N = torch.empty(max(config.block_rows, 16)).normal_(generator=generator) if config.noise else torch.zeros(config.block_rows)
    return x_NF[:count].numpy(), noise_N[:count].numpy()


def _state(seed: int, block: int) -> int:
    """Return the 32 bits that seed a block's generator, another for every block of a seed.

    torch's generator on a processor uses 32 bits of its seed: hashed seeds would meet after some ten thousand blocks. A bijection
    of 32-bit words (the finaliser of MurmurHash3, Appleby, 2011) keeps them apart.
    """
    import numpy as np

    first, second = (int(part * 2**32) for part in uniform(seed, 0, np.zeros(1, np.int64), 2, stream=3)[0])
    word = (block + first) & _MASK
    word = ((word ^ (word >> 16)) * 0x85EBCA6B) & _MASK
    word = ((word ^ (word >> 13)) * 0xC2B2AE35) & _MASK
    return word ^ (word >> 16) ^ second


def _answers(x_NF: np.ndarray, coef_F: np.ndarray) -> np.ndarray:
    """Return x @ coef in float64, in the same order of additions however many rows there are, float64 [N]."""
    import numpy as np

    used = np.flatnonzero(coef_F)
    y_N = np.zeros(len(x_NF))
    for feature in used:  # a matrix product's rounding depends on the number of rows; so does its number of threads
        y_N += x_NF[:, feature].astype(np.float64) * coef_F[feature]
    return y_N
