"""Words: a text inside a table as a few numbers: hashed words and runs of characters, weighted and projected (latent semantic analysis).

Deerwester et al. 1990; hashing: Weinberger et al. 2009. Legend: N rows, D buckets, R components, W features.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, model_validator

from bessemer.core.config import Config
from bessemer.core.errors import UserError
from bessemer.core.registry import register
from bessemer.core.schema import Column
from bessemer.core.types import Codec, Modality

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

CLIP = 10.0


class Words(Config):
    """A column of short or long text inside a table."""

    components: Annotated[int, Field(ge=1, le=1024)] = 32
    """How many numbers a text becomes, besides its length."""
    buckets: Annotated[int, Field(ge=64, le=2**20)] = 2**15
    """How many counts the words and runs of characters are hashed to."""
    shortest: Annotated[int, Field(ge=1, le=16)] = 2
    """Characters of the shortest run."""
    longest: Annotated[int, Field(ge=1, le=16)] = 4
    """Characters of the longest run."""
    sample: Annotated[int, Field(ge=100, le=1_000_000)] = 20_000
    """How many training rows the weights and components are fitted on at most, drawn at random."""
    max_chars: Annotated[int, Field(ge=1)] = 2000
    """What is beyond is not read."""

    @model_validator(mode="after")
    def _ordered(self) -> Words:
        if self.shortest > self.longest:
            raise ValueError("expected 'shortest' at most 'longest'")
        return self


@register("modalities", "words")
def words(config: Words) -> Modality:
    """Return the functions of a column of text in a table."""

    def clean(values: pa.Array) -> tuple[pa.Array, pa.Array]:
        import pyarrow as pa
        import pyarrow.compute as pc

        from bessemer.data.tidy import tidy

        found = tidy(values, "NFC")
        return pc.if_else(pc.equal(found, ""), None, found), pa.nulls(len(found), pa.string())

    def fit(arrays: Iterator[pa.Array], seed: int, folder: Path) -> tuple[tuple[str, ...], dict[str, Any]]:
        return (), _fitted(config, arrays, seed, folder)

    def load(column: Column, folder: Path) -> Codec:
        return _codec(config, column, folder, clean)

    return Modality(clean=clean, fit=fit, load=load, roles=("input",), vector=True, nulls=True)


def _sample(config: Words, arrays: Iterator[pa.Array], seed: int) -> tuple[pa.Array, int, int]:
    """Return the texts whose positions have the lowest keys, in their order, how many there were, and how many were missing."""
    import numpy as np
    import pyarrow as pa

    from bessemer.core.keyed import uniform

    kept, keys = pa.array([], pa.string()), np.zeros(0)
    count = missing = 0
    for array in arrays:
        some = array.drop_null()
        missing += array.null_count
        kept = pa.concat_arrays([kept, some])
        keys = np.concatenate([keys, uniform(seed, 0, np.arange(count, count + len(some)), 1, 43)[:, 0]])
        count += len(some)
        if len(kept) > config.sample:
            best = np.sort(np.argpartition(keys, config.sample - 1)[:config.sample])
            kept, keys = kept.take(pa.array(best)), keys[best]
    return kept, count, missing


def _fitted(config: Words, arrays: Iterator[pa.Array], seed: int, folder: Path) -> dict[str, Any]:
    """Fit weights and components on a sample, write them, and return the facts."""
    import numpy as np
    from sklearn.utils.extmath import randomized_svd

    from bessemer.modalities._hashed import counts, length_of
    from bessemer.modalities._summary import edges_of

    texts, count, missing = _sample(config, arrays, seed)
    found = counts(texts, (config.shortest, config.longest, config.buckets, config.max_chars))
    held_D = np.bincount(found.indices, minlength=config.buckets)
    idf_D = np.log((1 + len(texts)) / (1 + held_D)) + 1
    weighted = weigh(found, idf_D)
    rank = min(config.components, min(weighted.shape) - 1)
    basis_RD = np.zeros((0, config.buckets), np.float32)
    if rank > 0 and weighted.nnz:
        _, value_R, basis_RD = randomized_svd(weighted, rank, n_iter=7, random_state=seed, flip_sign=False)
        basis_RD = basis_RD[value_R > 1e-9]
        # The sign of a component is arbitrary: its largest weight is made positive, so that each run finds the same.
        largest = np.abs(basis_RD).argmax(axis=1)
        basis_RD = (basis_RD * np.sign(basis_RD[np.arange(len(basis_RD)), largest])[:, None]).astype(np.float32)
    part_NR = np.asarray(weighted @ basis_RD.T.astype(np.float64))
    own_R = part_NR.std(axis=0) if len(texts) else np.zeros(len(basis_RD))
    spread_R = np.concatenate([own_R, np.zeros(config.components - len(basis_RD))])
    factor_R = np.where(spread_R > 1e-12, 1.0 / np.where(spread_R > 1e-12, spread_R, 1.0), 0.0)
    length_N = length_of(texts)
    np.save(folder / "idf.npy", idf_D)
    np.save(folder / "basis.npy", np.ascontiguousarray(np.concatenate([
        basis_RD, np.zeros((config.components - len(basis_RD), config.buckets), np.float32)]).T))
    np.save(folder / "factor.npy", factor_R)
    mean, std = (float(length_N.mean()), float(length_N.std())) if len(texts) else (0.0, 0.0)
    shown = np.clip(np.concatenate([part_NR, np.zeros((len(texts), config.components - len(basis_RD)))], axis=1) * factor_R, -CLIP, CLIP)
    edges = [edges_of(shown[:, place]) for place in range(config.components)]
    edges.append(edges_of(np.clip((length_N - mean) / (std or 1.0), -CLIP, CLIP)))
    return {"count": count, "missing": missing, "sampled": len(texts), "components": len(basis_RD),
            "log_length": {"mean": mean, "std": std}, "edges": edges}


def weigh(counts: Any, idf_D: np.ndarray) -> Any:
    """Return (1 + log count) times inverse document frequency, each row of length 1, as scikit-learn's TfidfTransformer does."""
    import numpy as np

    found = counts.copy()
    found.data = (np.log(found.data) + 1.0) * idf_D[found.indices]
    row = np.repeat(np.arange(found.shape[0]), np.diff(found.indptr))
    norm_N = np.sqrt(np.bincount(row, weights=found.data**2, minlength=found.shape[0]))
    found.data = found.data / norm_N[row]
    return found


def _codec(config: Words, column: Column, folder: Path, clean: Any) -> Codec:
    import numpy as np

    parts = {}
    for part in ("idf", "basis", "factor"):
        file = folder / f"{part}.npy"
        if not file.is_file():
            raise UserError(f"'{folder}' has no {part}.npy for the column '{column.name}'; run the recipe again to make it")
        parts[part] = np.load(file, allow_pickle=False)
    basis_DR, facts = parts["basis"].astype(np.float64), column.facts
    names = [*(f"{column.name} topic {place + 1}" for place in range(config.components)), f"{column.name} length"]
    edges, mean, std = facts["edges"], facts["log_length"]["mean"], facts["log_length"]["std"] or 1.0
    if facts["missing"]:
        names, edges = [*names, f"{column.name} missing"], [*edges, [0.0, 1.0]]

    def encode(values: pa.Array) -> dict[str, pa.Array]:
        import pyarrow.compute as pc

        from bessemer.modalities._hashed import counts, length_of
        from bessemer.modalities._vectors import fixed

        found, _ = clean(values)
        texts = pc.fill_null(found, "")
        weighted = weigh(counts(texts, (config.shortest, config.longest, config.buckets, config.max_chars)), parts["idf"])
        out = np.zeros((len(texts), len(names)), np.float32)
        # Sparse rows times a dense matrix: each row is summed alone and in order, so its bits are those of the row by itself.
        out[:, :config.components] = np.clip((weighted @ basis_DR) * parts["factor"], -CLIP, CLIP)
        out[:, config.components] = np.clip((length_of(texts) - mean) / std, -CLIP, CLIP)
        if facts["missing"]:
            absent = found.is_null().to_numpy(zero_copy_only=False)
            out[absent] = 0.0
            out[:, -1] = absent
        return {"numbers": fixed(out)}

    def collate(stored: Mapping[str, pa.Array], limit: int | None) -> dict[str, np.ndarray]:
        from bessemer.modalities._vectors import matrices

        return matrices(stored)

    return Codec(encode=encode, collate=collate, length=None,
                 info={"numbers": len(names), "names": names, "cardinalities": [], "edges": edges})
