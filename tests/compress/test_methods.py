"""Methods of quantisation and storage on a classifier that has learnt: how close, how small, and each row its own answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from bessemer.core.errors import UserError
from bessemer.core.pick import make
from bessemer.core.registry import plugin_of
from bessemer.core.types import Calibration
from bessemer.predictors.onnx_form import ROWS_AT_ONCE, open_session
from tests.compress.conftest import rows_of

FEEDS, LABEL = rows_of(300, 7)
Compress = Callable[..., dict[str, Any]]
# kind, settings, largest mean difference of probabilities, smallest shrinkage of the file (a small graph holds more than weights)
METHODS: list[tuple[str, dict[str, Any], float, float]] = [
    ("dynamic_int8", {"scales": "row"}, 0.01, 2.0), ("static_int8", {}, 0.02, 2.0),
    ("static_int8", {"calibration": "percentile"}, 0.02, 2.0), ("static_int8", {"reduce_range": False}, 0.02, 2.0),
    ("static_int8", {"per_channel": False, "embeddings": False}, 0.03, 1.8),
    ("weight_only", {"block_size": 16}, 0.01, 2.0), ("weight_only", {"bits": 4, "block_size": 16}, 0.05, 2.5),
    ("weight_only", {"compute": "float32", "block_size": 64}, 0.01, 2.0), ("float16", {}, 0.001, 1.6),
    ("mixed_int8", {"min_agreement": 0.9}, 0.02, 2.0)]


def answers(file: Path, feeds: dict[str, np.ndarray] = FEEDS) -> np.ndarray:
    return open_session(file).run(["logits"], feeds)[0]


def probabilities(logits: np.ndarray) -> np.ndarray:
    power = np.exp(logits - logits.max(1, keepdims=True))
    return power / power.sum(1, keepdims=True)


def kinds(file: Path) -> list[str]:
    return [node.op_type for node in onnx.load(str(file)).graph.node]


@pytest.mark.parametrize(("kind", "settings", "gap", "shrinkage"), METHODS)
def test_close_to_the_float_answers_and_smaller(kind: str, settings: dict[str, Any], gap: float, shrinkage: float, graph: Path,
                                                tmp_path: Path, compress: Compress) -> None:
    facts = compress(kind, graph, tmp_path / "a.onnx", **settings)
    reference, found = answers(graph), answers(tmp_path / "a.onnx")
    assert (reference.argmax(1) == LABEL).mean() > 0.95
    assert np.abs(probabilities(reference) - probabilities(found)).mean() < gap
    assert (reference.argmax(1) == found.argmax(1)).mean() >= 0.97
    assert facts["bytes_before"] == graph.stat().st_size and facts["bytes"] == (tmp_path / "a.onnx").stat().st_size and facts["lossy"]
    assert facts["bytes_before"] / facts["bytes"] > shrinkage


@pytest.mark.parametrize(("kind", "settings"), [
    ("static_int8", {}), ("dynamic_int8", {"scales": "row"}), ("weight_only", {"block_size": 16})])
def test_a_row_has_the_same_bits_whatever_its_neighbours(kind: str, settings: dict[str, Any], graph: Path, tmp_path: Path,
                                                         compress: Compress) -> None:
    compress(kind, graph, tmp_path / "a.onnx", **settings)
    session = open_session(tmp_path / "a.onnx")
    assert ROWS_AT_ONCE not in session.get_modelmeta().custom_metadata_map
    wild = {**FEEDS, "input_ids": FEEDS["input_ids"].copy()}
    wild["input_ids"][1:] = 5  # other neighbours altogether
    batch = [session.run(None, {name: array[:16] for name, array in feeds.items()})[0][0] for feeds in (FEEDS, wild)]
    alone = session.run(None, {name: array[:1] for name, array in FEEDS.items()})[0][0]
    assert batch[0].tobytes() == batch[1].tobytes()
    np.testing.assert_allclose(alone, batch[0], atol=1e-5)  # a product of one row is rounded in another order by the runtime


def test_static_int8_holds_every_product_and_table_in_8_bits(graph: Path, tmp_path: Path, compress: Compress) -> None:
    facts = compress("static_int8", graph, tmp_path / "a.onnx")
    model = onnx.load(str(tmp_path / "a.onnx"))
    weights = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    assert (facts["matmuls"], facts["embeddings"], facts["calibration"], facts["rows"]) == (14, 3, "min_max", 96)
    matrices = [value for name, value in weights.items() if name.endswith("_int8") and name[:-5] + "_zero" in weights]
    assert len(matrices) == 14 and all(np.abs(value.astype(int)).max() == 64 for value in matrices)
    assert not [name for name, value in weights.items() if value.dtype == np.float32 and value.ndim == 2 and value.shape[1] > 1]


def test_a_product_of_integers_is_what_its_formula_says(tmp_path: Path, compress: Compress) -> None:
    """y = (q(x) - z) s_x @ q(W) s_W + b, by numpy."""
    from onnx import TensorProto, helper

    rng = np.random.default_rng(0)
    weight, bias = rng.normal(size=(8, 5)).astype(np.float32), rng.normal(size=5).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w", "b"], ["y"])], "one", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 5])],
        [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(bias, "b")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), str(tmp_path / "one.onnx"))
    rows = rng.uniform(-1, 3, (20, 8)).astype(np.float32)
    config = make("compress", "static_int8")
    plugin_of("compress", config).function(config)(tmp_path / "one.onnx", tmp_path / "a.onnx", Calibration(20, lambda: iter([{"x": rows}])))
    scale = (rows.max() - rows.min()) / 255
    zero = round(-rows.min() / scale)
    x = np.clip(np.rint(rows / np.float32(scale)) + zero, 0, 255) - zero
    steps = np.abs(weight).max(0) / 64
    expected = (x @ np.rint(weight / steps)) * steps * scale + bias
    np.testing.assert_allclose(open_session(tmp_path / "a.onnx").run(None, {"x": rows})[0], expected, atol=1e-5)


def test_mixed_int8_leaves_the_worst_products_float_until_enough_rows_agree(graph: Path, tmp_path: Path, compress: Compress) -> None:
    loose = compress("mixed_int8", graph, tmp_path / "a.onnx", min_agreement=0.0)
    strict = compress("mixed_int8", graph, tmp_path / "b.onnx", min_agreement=1.0)
    assert loose["float_matmuls"] == 0 and loose["matmuls"] == 14 and strict["agreement"] == 1.0
    assert strict["matmuls"] + strict["float_matmuls"] == 14 and len(strict["kept_float"]) == strict["float_matmuls"]
    assert kinds(tmp_path / "b.onnx").count("QuantizeLinear") <= kinds(tmp_path / "a.onnx").count("QuantizeLinear")


def test_four_bits_are_half_of_eight(graph: Path, tmp_path: Path, compress: Compress) -> None:
    for bits in (8, 4):
        facts = compress("weight_only", graph, tmp_path / f"{bits}.onnx", bits=bits, block_size=32, embeddings=False)
        assert (facts["matmuls"], facts["embeddings"]) == (14, 0) and kinds(tmp_path / f"{bits}.onnx").count("MatMulNBits") == 14
    sizes = {bits: sum(numpy_helper.to_array(item).nbytes for item in onnx.load(str(tmp_path / f"{bits}.onnx")).graph.initializer
                       if item.data_type == onnx.TensorProto.UINT8) for bits in (8, 4)}
    assert sizes[8] == 2 * sizes[4] > 60_000


@pytest.mark.parametrize("first", [None, "static_int8", "dynamic_int8", "float16"])
def test_sparse_storage_loads_to_the_dense_answers_bit_for_bit(first: str | None, pruned: Path, tmp_path: Path, compress: Compress) -> None:
    dense = pruned
    if first is not None:
        dense = tmp_path / "dense.onnx"
        compress(first, pruned, dense)
    facts = compress("sparse_storage", dense, tmp_path / "a.onnx", min_values=2048)
    feeds = FEEDS if first != "dynamic_int8" else {name: array[:1] for name, array in FEEDS.items()}
    assert answers(tmp_path / "a.onnx", feeds).tobytes() == answers(dense, feeds).tobytes()
    assert not facts["lossy"] and facts["bitmaps"] >= 12 and facts["bytes"] < facts["bytes_before"]
    metadata = [open_session(file).get_modelmeta().custom_metadata_map for file in (dense, tmp_path / "a.onnx")]
    assert metadata[0] == metadata[1]


def test_sparse_storage_takes_the_smallest_way_for_each_tensor(tmp_path: Path, compress: Compress) -> None:
    from onnx import TensorProto, helper

    rng = np.random.default_rng(0)
    dense = rng.normal(size=(130, 100)).astype(np.float32)
    half, few = dense * (rng.random(dense.shape) < 0.5), dense * (rng.random(dense.shape) < 0.005)  # minus zeros among the zeros
    graph = helper.make_graph(
        [helper.make_node("Sum", ["x", "dense", "half", "few"], ["y"])], "sum",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [130, 100])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [130, 100])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in (("dense", dense), ("half", half), ("few", few))])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), str(tmp_path / "sum.onnx"))
    facts = compress("sparse_storage", tmp_path / "sum.onnx", tmp_path / "a.onnx")
    assert (facts["bitmaps"], facts["coordinates"]) == (1, 1)
    feeds = {"x": np.zeros((130, 100), np.float32)}
    found = [open_session(tmp_path / name).run(None, feeds)[0].tobytes() for name in ("sum.onnx", "a.onnx")]
    assert found[0] == found[1]


def test_what_cannot_be_done_is_said(graph: Path, tmp_path: Path, compress: Compress) -> None:
    compress("static_int8", graph, tmp_path / "a.onnx")
    for kind in ("static_int8", "mixed_int8", "weight_only"):
        with pytest.raises(UserError, match=r"'a\.onnx' has no product with a constant float matrix left to quantize; give this"):
            compress(kind, tmp_path / "a.onnx", tmp_path / "b.onnx")
    config = make("compress", "static_int8")
    with pytest.raises(UserError, match="static_int8 needs training rows to calibrate on, and there are none; take dynamic_int8"):
        plugin_of("compress", config).function(config)(graph, tmp_path / "b.onnx", Calibration(0, lambda: iter(())))
    assert not (tmp_path / "b.onnx").exists()
