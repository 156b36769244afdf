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


TOKENIZERS: Examples = {"wordpiece": lambda folder: {"vocab_size": 200}, "pretrained": _trained, "bpe": lambda folder: {"vocab_size": 320},
                        "unigram": lambda folder: {"vocab_size": 150}, "words": lambda folder: {"min_frequency": 1}}
# Values of a column of each kind; what is not here is tried on MIXED.
MIXED = ["good", " bad ", None, "good", "", "caf\u0065\u0301", "\x00bad\t", "bad", "好", "x" * 300, "good. bad!", "7"] * 2
VALUES: dict[str, pa.Array] = {
    "number": pa.array(["1", " 2.5", None, "1,234.5", "NA", "-7e2", "0.125", "x", "", "inf", "+3", "1,234"] * 3, pa.string()),
    "boolean": pa.array(["yes", " No ", None, "TRUE", "0", "是", "否", "", "maybe", "1"] * 2, pa.string()),
    "date": pa.array(["2023-01-05", "2023年1月31日", None, "31/01/2022", "05/02/2022", "2021-03-04T05:06:07Z", "", "never", "2020-02-30",
                      "Jan 5, 2023", "5.1.2023 10:30"] * 2, pa.string()),
    "vector": pa.array([[1.0, 2.0], [0.5, -2.0], None, [float("inf"), 1.0], [3.0, 4.0], []] * 3, pa.list_(pa.float32())),
    "multilabel": pa.array(["a|b", " b | a|a", None, "", "c", "a"] * 3, pa.string())}


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
