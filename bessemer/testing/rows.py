"""What the kits of learning are tried on: a small split in memory, its codec, and a small network. All of it is seeded.

Legend: B rows, L tokens, N rows of the split.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from bessemer.core.schema import Column, Role, Schema
from bessemer.core.task_spec import TaskSpec
from bessemer.core.types import Codec
from bessemer.modalities import tokens
from bessemer.nn.bert import Bert, BertConfig

INPUT, TARGET, LABELS = "text", "label", ("first", "second", "third")
VOCAB_SIZE, MAX_LENGTH = 60, 32
INFO: dict[str, Any] = {"vocab_size": VOCAB_SIZE, "pad_token_id": 0, "unk_token_id": 1, "cls_token_id": 2, "sep_token_id": 3,
                        "mask_token_id": 4, "special_token_ids": [0, 1, 2, 3, 4], "max_length": MAX_LENGTH}
SCHEMA = Schema(columns=(Column(name=INPUT, role=Role.INPUT, modality={"kind": "text"}),
                         Column(name=TARGET, role=Role.TARGET, modality={"kind": "category"}, labels=LABELS)))


def _collate(stored: Mapping[str, pa.Array], max_length: int | None) -> dict[str, np.ndarray]:
    return tokens.collate(stored, max_length or MAX_LENGTH, INFO)


CODEC = Codec(encode=lambda _: {}, collate=_collate, length="ids", info=INFO)


def split_of(num_rows: int = 40) -> TaskSpec:
    """Return a split of N rows of 1 to 25 tokens; two rows of three have several sentences; every label occurs."""
    rng = np.random.default_rng(0)
    ids, starts = [], []
    for row in range(num_rows):
        sizes = rng.integers(1, 6, 1 if row % 3 == 0 else rng.integers(2, 6))
        ids.append(rng.integers(len(INFO["special_token_ids"]), VOCAB_SIZE, int(sizes.sum())).tolist())
        starts.append([0, *np.cumsum(sizes)[:-1].tolist()])
    rows = pa.table({"row_id": np.arange(num_rows) * 7 + 100, INPUT: ["x"] * num_rows,
                     f"{INPUT}.ids": pa.array(ids, pa.list_(pa.int32())),
                     f"{INPUT}.starts": pa.array(starts, pa.list_(pa.int32())),
                     TARGET: pa.array(np.arange(num_rows) % len(LABELS), pa.int32())})
    lengths = np.array([len(row) for row in ids], np.int64)
    return TaskSpec(schema=SCHEMA, take=lambda positions: rows.take(pa.array(positions)), count=num_rows,
                    stored=lambda name: rows[name].to_numpy(), lengths=lengths, codec=CODEC, column=INPUT, seed=5,
                    max_length=MAX_LENGTH)


def network(heads: tuple[str, ...], seed: int = 0) -> Bert:
    """Return a small BERT for SCHEMA in evaluation mode, its weights large enough to tell rows apart."""
    torch.manual_seed(seed)
    shape = BertConfig(vocab_size=VOCAB_SIZE, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
                       max_position_embeddings=MAX_LENGTH, initializer_range=0.3)
    labels = LABELS if "classification" in heads else ()
    return Bert(shape, heads, len(labels), labels).eval()


def batch_of(num_rows: int, length: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Return input_ids, attention_mask and token_type_ids, int64 [B, L]; the first row has L tokens, others 1 to L."""
    rng = np.random.default_rng(seed)
    real = rng.integers(1, length + 1, num_rows)
    real[0] = length
    mask = (np.arange(length)[None, :] < real[:, None]).astype(np.int64)
    ids = rng.integers(len(INFO["special_token_ids"]), VOCAB_SIZE, (num_rows, length))
    return {"input_ids": np.where(mask == 1, ids, INFO["pad_token_id"]), "attention_mask": mask, "token_type_ids": np.zeros_like(mask)}


def logits_of(module: torch.nn.Module, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Return the network's class logits of a batch, float32 [B, C]."""
    with torch.inference_mode():
        found: np.ndarray = module(**{name: torch.from_numpy(array) for name, array in arrays.items()}).numpy()
    return found
