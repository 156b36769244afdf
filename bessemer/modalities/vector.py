"""Vector: a column of lists of numbers, all of one length, such as embeddings.

Legend: N rows, W numbers a row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from bessemer.core.config import Config
from bessemer.core.errors import UserError
from bessemer.core.registry import register
from bessemer.core.schema import Column
from bessemer.core.types import Codec, Modality
from bessemer.data.columns import literal

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

SAMPLE = 4096


class Vector(Config):
    """A column of lists of numbers."""

    width: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """How many numbers each row has; rows with another count are set aside. By default all have as many as the training rows do."""
    scale: Literal["none", "standard"] = "none"
    """Whether each place of the list is brought to mean 0 and deviation 1."""
    pca: Annotated[int, Field(ge=1, le=4096)] | None = None
    """Give this many principal components in the place of the numbers (of the scaled ones where they are scaled); lists of up to 4,096."""


@register("modalities", "vector")
def vector(config: Vector) -> Modality:
    """Return the functions of a column of lists of numbers."""

    def clean(values: pa.Array) -> tuple[pa.Array, pa.Array]:
        return _clean(config, values)

    def fit(arrays: Iterator[pa.Array], seed: int, folder: Path) -> tuple[tuple[str, ...], dict[str, Any]]:
        return (), _fitted(config, arrays, folder)

    def load(column: Column, folder: Path) -> Codec:
        return _codec(config, column, folder)

    return Modality(clean=clean, fit=fit, load=load, roles=("input",), vector=True, lists=True)


def _clean(config: Vector, values: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Return list<float32> and why some rows are none."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    lists = _lists(values)
    why = pa.nulls(len(lists), pa.string())
    size = pc.list_value_length(lists)
    if config.width is not None:
        other = pc.fill_null(pc.not_equal(size, config.width), False)
        why = pc.if_else(other, pc.binary_join_element_wise(size.cast(pa.string()), f"numbers, not {config.width}", " "), why)
    flat = lists.flatten()
    if flat.null_count or not _finite(flat.to_numpy(zero_copy_only=False)):
        bad = pc.invert(pc.fill_null(pc.is_finite(flat), False))
        rows = pc.unique(pc.list_parent_indices(lists).filter(bad))
        why = pc.if_else(pc.is_in(pa.array(np.arange(len(lists)), rows.type), value_set=rows), "no finite number in the list", why)
    why = pc.if_else(pc.equal(size, literal(0, "int32")), literal("empty list"), why)
    return lists, pc.if_else(lists.is_null(), literal("missing"), why)


def _lists(values: pa.Array) -> pa.Array:
    """Return list<float32>, without a copy where it is that already; a text is cut at commas and spaces."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    kind, wanted = values.type, pa.list_(pa.float32())
    if pa.types.is_list(kind) and pa.types.is_float32(kind.value_type):
        return values
    if pa.types.is_fixed_size_list(kind) and pa.types.is_float32(kind.value_type) and not values.null_count:
        flat = values.flatten()
        if len(flat) < 1 << 31:
            return pa.ListArray.from_arrays(pa.array(np.arange(len(values) + 1, dtype=np.int32) * kind.list_size), flat)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        if not (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)):
            raise UserError(f"a column of type {kind} cannot be read as vectors; expected lists of numbers")
        return values.cast(pa.list_(kind.value_type)).cast(wanted, safe=False)
    if pa.types.is_null(kind):
        return values.cast(wanted)
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise UserError(f"a column of type {kind} cannot be read as vectors; expected lists of numbers")
    words = pc.utf8_trim(values.cast(pa.string()), " \t[]()")
    parts = pc.split_pattern_regex(pc.if_else(pc.equal(words, ""), None, words), r"\s*[,;]\s*|\s+")
    fine = pc.match_substring_regex(parts.flatten(), r"^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,5})?$")
    flat = pc.if_else(fine, parts.flatten(), None)
    return pa.ListArray.from_arrays(parts.offsets, pc.replace_substring_regex(flat, r"^\+", "").cast(pa.float32()), mask=parts.is_null())


def _rows(lists: pa.Array, width: int) -> np.ndarray:
    """Return lists of one length as float32 [N, W], without a copy where none is null."""
    import numpy as np
    import pyarrow.compute as pc

    if lists.null_count or (len(lists) and pc.min_max(pc.list_value_length(lists)).as_py() != {"min": width, "max": width}):
        # What is missing or of another length is no clean value; it is told apart before, and is nought here.
        fine = pc.fill_null(pc.equal(pc.list_value_length(lists), width), False).to_numpy(zero_copy_only=False)
        found = np.zeros((len(lists), width), np.float32)
        found[fine] = lists.filter(fine).flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
    else:
        found = lists.flatten().to_numpy(zero_copy_only=False).reshape(len(lists), width)
    return found if _finite(found) else np.nan_to_num(found, nan=0.0, posinf=0.0, neginf=0.0)


def _finite(values: np.ndarray) -> bool:
    """Tell whether all values are finite: by their sum, which is one pass without a mask, and one by one where that is not finite."""
    import numpy as np

    with np.errstate(invalid="ignore", over="ignore"):
        return bool(np.isfinite(values.sum())) or bool(np.isfinite(values).all())


def _fitted(config: Vector, arrays: Iterator[pa.Array], folder: Path) -> dict[str, Any]:
    """Return width and count; write mean, deviation and edges of each place."""
    import numpy as np
    import pyarrow.compute as pc

    from bessemer.modalities._pca import Moments
    from bessemer.modalities._summary import edges_of

    width, count = config.width, 0
    mean, m2 = np.zeros(0), np.zeros(0)
    moments: Moments | None = None
    sample: list[np.ndarray] = []
    for array in arrays:
        sizes = pc.unique(pc.list_value_length(array)).to_pylist()
        width = width or (sizes[0] if sizes else None)
        if any(size != width for size in sizes):
            raise UserError(f"the training rows have lists of {width} and of {next(size for size in sizes if size != width)} numbers; "
                            "expected one length: give 'width', and rows with another are set aside")
        if width is None or not len(array):
            continue
        rows = _rows(array, width).astype(np.float64)
        if not count:
            mean, m2 = np.zeros(width), np.zeros(width)
            moments = Moments(_reducible(config, width)) if config.pca else None
        if moments is not None:
            moments.add(rows)
        here = rows.mean(axis=0)
        total = count + len(rows)
        m2 += np.square(rows - here).sum(axis=0) + np.square(here - mean) * count * len(rows) / total
        mean += (here - mean) * len(rows) / total
        if count < SAMPLE:
            sample.append(rows[:SAMPLE - count])
        count = total
    if width is None or not count:
        raise UserError("a column of vectors has no value in the training rows; leave it out")
    std = np.sqrt(m2 / count)
    factor = np.where(std > 0, 1.0 / np.where(std > 0, std, 1.0), 1.0)
    np.save(folder / "scale.npy", np.stack([mean, factor]))
    # What the training rows decide is part of the column's settings from now on (`modalities.config_of`).
    settled = {} if config.width is not None else {"settled": {"width": width}}
    facts: dict[str, Any] = {**settled, "count": count, "missing": 0, "width": width}
    components = None
    if moments is not None and config.pca:
        components, facts["explained"] = moments.components(config.pca, factor if config.scale == "standard" else np.ones(width))
        np.save(folder / "components.npy", components)
    shown = _encoded(config, np.concatenate(sample).astype(np.float32), np.stack([mean, factor]), components)
    edges = [edges_of(shown[:, place]) for place in range(shown.shape[1])]
    flat = np.full((len(edges), max(map(len, edges))), np.nan)
    for place, own in enumerate(edges):
        flat[place, :len(own)] = own
    np.save(folder / "edges.npy", flat)
    return facts


def _reducible(config: Vector, width: int) -> int:
    """Return the width of lists of which principal components can be made; another is a UserError."""
    from bessemer.modalities._pca import WIDEST

    if config.pca and (config.pca > width or width > WIDEST):
        raise UserError(f"a column of vectors has lists of {width:,} numbers, of which 'pca: {config.pca}' cannot be made; expected lists "
                        f"of at least {config.pca:,} and at most {WIDEST:,}")
    return width


def _encoded(config: Vector, rows_NW: np.ndarray, scale_2W: np.ndarray, components_KW: np.ndarray | None) -> np.ndarray:
    """Return rows as the model reads them, float32 [N, W] or, of principal components, [N, K]."""
    import numpy as np

    from bessemer.modalities._pca import projected

    if components_KW is None:
        return _scaled(rows_NW, scale_2W) if config.scale == "standard" else rows_NW
    apart_NW = rows_NW.astype(np.float64) - scale_2W[0]
    return projected(apart_NW * scale_2W[1] if config.scale == "standard" else apart_NW, components_KW)


def _scaled(rows_NW: np.ndarray, scale_2W: np.ndarray) -> np.ndarray:
    import numpy as np

    found: np.ndarray = ((rows_NW.astype(np.float64) - scale_2W[0]) * scale_2W[1]).astype(np.float32)
    return found


def _codec(config: Vector, column: Column, folder: Path) -> Codec:
    import numpy as np

    if not (folder / "scale.npy").is_file() or not (folder / "edges.npy").is_file():
        raise UserError(f"'{folder}' has no scale.npy or edges.npy for the column '{column.name}'; run the recipe again to make it")
    if config.pca and not (folder / "components.npy").is_file():
        raise UserError(f"'{folder}' has no components.npy for the column '{column.name}'; run the recipe again to make it")
    width = column.facts["width"]
    components = np.load(folder / "components.npy", allow_pickle=False) if config.pca else None
    scale = np.load(folder / "scale.npy", allow_pickle=False)
    edges = [own[np.isfinite(own)].tolist() for own in np.load(folder / "edges.npy", allow_pickle=False)]

    def encode(values: pa.Array) -> dict[str, pa.Array]:
        import pyarrow as pa
        import pyarrow.compute as pc

        from bessemer.modalities._vectors import fixed

        lists = _lists(values)
        sizes = pc.list_value_length(lists)
        strange = sizes.filter(pc.invert(pc.is_in(sizes, value_set=pa.array([0, width, None], sizes.type))))
        if len(strange):  # rows are cleaned before they are divided, so those held out are met here for the first time; [] is missing
            found = strange[0].as_py()
            raise UserError(f"the column '{column.name}' holds a list of {found} numbers, and its training rows have {width}; give "
                            "'width', and rows with another are set aside")
        rows = _rows(lists, width)
        return {"numbers": fixed(_encoded(config, rows, scale, components))}

    def collate(stored: Mapping[str, pa.Array], limit: int | None) -> dict[str, np.ndarray]:
        from bessemer.modalities._vectors import matrices

        return matrices(stored)

    mark = "pc " if config.pca else ""
    return Codec(encode=encode, collate=collate, length=None, info={
        "numbers": len(edges), "names": [f"{column.name} {mark}{place}" for place in range(len(edges))], "cardinalities": [],
        "edges": edges})
