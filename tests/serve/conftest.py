"""Tiny models, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.serve.kit import write_table_model, write_text_model


@pytest.fixture(scope="session")
def graph(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The ONNX graph of the tiny network."""
    from tests.contract.test_contract_predictors import _graph

    folder = tmp_path_factory.mktemp("graph")
    _graph(folder)
    return (folder / "model.onnx").read_bytes()


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory, graph: bytes) -> Path:
    """A finished model of texts; to be read only."""
    return write_text_model(tmp_path_factory.mktemp("models") / "mood", graph)


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished model of a table with three targets; to be read only."""
    return write_table_model(tmp_path_factory.mktemp("models") / "shapes")
