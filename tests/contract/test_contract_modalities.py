"""Every plug-in of `modalities` keeps the contract."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from bessemer.core.config import Config
from bessemer.core.registry import plugin
from bessemer.testing.modalities import TEXTS, ModalityContract, TokenizerContract
from tests.contract.each import Examples, example, kinds

EXAMPLES: Examples = {"text": lambda folder: {"tokenizer": {"kind": "wordpiece", "vocab_size": 200}, "max_chars": 200}}


def _trained(folder: Path) -> dict[str, Any]:
    origin = plugin("modalities/tokenizers", "wordpiece")
    tokenizer = origin.function(origin.config.model_validate({"vocab_size": 200})).make(iter([TEXTS]))
    (folder / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
    return {"path": str(folder)}


TOKENIZERS: Examples = {"wordpiece": lambda folder: {"vocab_size": 200}, "pretrained": _trained}
# Values of a column of each kind; what is not here is tried on MIXED.
MIXED = ["good", " bad ", None, "good", "", "caf\u0065\u0301", "\x00bad\t", "bad", "好", "x" * 300, "good. bad!", "7"] * 2
VALUES: dict[str, pa.Array] = {}


class TestEachModality(ModalityContract):
    @pytest.fixture(autouse=True, params=kinds("modalities"))
    def _each(self, request: pytest.FixtureRequest) -> None:
        self.kind = request.param

    def config(self, folder: Path) -> Config:
        return example("modalities", self.kind, EXAMPLES, folder)

    def values(self) -> pa.Array:
        return VALUES.get(self.kind, pa.array(MIXED, pa.string()))


class TestEachTokenizer(TokenizerContract):
    @pytest.fixture(autouse=True, params=kinds("modalities/tokenizers"))
    def _each(self, request: pytest.FixtureRequest) -> None:
        self.kind = request.param

    def config(self, folder: Path) -> Config:
        return example("modalities/tokenizers", self.kind, TOKENIZERS, folder)
