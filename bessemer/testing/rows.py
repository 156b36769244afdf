"""What the kits of learning are tried on: a small split in memory, its codec, and a small network. All of it is seeded.

Legend: B rows, L tokens, N rows of the split.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from bessemer.core.schema import Column, Role, Schema
from bessemer.core.task_spec import TableRows, TableSpec, TaskSpec
from bessemer.core.types import Codec
from bessemer.modalities import tokens
from bessemer.nn.bert import Bert, BertConfig
from bessemer.nn.table import TableConfig, TableNetwork

INPUT, TARGET, LABELS = "text", "label", ("first", "second", "third")
VOCAB_SIZE, MAX_LENGTH = 60, 32
INFO: dict[str, Any] = {"vocab_size": VOCAB_SIZE, "pad_token_id": 0, "unk_token_id": 1, "cls_token_id": 2, "sep_token_id": 3,
                        "mask_token_id": 4, "special_token_ids": [0, 1, 2, 3, 4], "max_length": MAX_LENGTH}
SCHEMA = Schema(columns=(Column(name=INPUT, role=Role.INPUT, modality={"kind": "text"}),
                         Column(name=TARGET, role=Role.TARGET, modality={"kind": "category"}, labels=LABELS)))

TABLE_SCHEMA = Schema(columns=(
    *(Column(name=name, role=Role.INPUT, modality={"kind": "number"}) for name in "abc"),
    *(Column(name=name, role=Role.INPUT, modality={"kind": "category"}) for name in "de"),
    Column(name="label", role=Role.TARGET, modality={"kind": "category"}, labels=LABELS,
           facts={"counts": {"first": 13, "second": 13, "third": 13}}),
    Column(name="value", role=Role.TARGET, modality={"kind": "number"}),
    Column(name="flags", role=Role.TARGET, modality={"kind": "multilabel"}, labels=("on", "off"),
           facts={"counts": {"on": 20, "off": 19}, "rows": 39})))


def _collate(stored: Mapping[str, pa.Array], max_length: int | None) -> dict[str, np.ndarray]:
    return tokens.collate(stored, max_length or MAX_LENGTH, INFO)


CODEC = Codec(encode=lambda _: {}, collate=_collate, length="ids", info=INFO)


def split_of(num_rows: int = 40) -> TaskSpec:
    """Return a split of N rows of 1 to 25 tokens; two rows of three have several sentences; every label occurs; a teacher has answered."""
    rng = np.random.default_rng(0)
    ids, starts = [], []
    for row in range(num_rows):
        sizes = rng.integers(1, 6, 1 if row % 3 == 0 else rng.integers(2, 6))
        ids.append(rng.integers(len(INFO["special_token_ids"]), VOCAB_SIZE, int(sizes.sum())).tolist())
        starts.append([0, *np.cumsum(sizes)[:-1].tolist()])
    rows = pa.table({"row_id": np.arange(num_rows) * 7 + 100, INPUT: ["x"] * num_rows,
                     f"{INPUT}.ids": pa.array(ids, pa.list_(pa.int32())),
                     f"{INPUT}.starts": pa.array(starts, pa.list_(pa.int32())),
                     TARGET: pa.array(np.arange(num_rows) % len(LABELS), pa.int32()), f"{TARGET}.teacher": _taught(num_rows)})
    lengths = np.array([len(row) for row in ids], np.int64)
    return TaskSpec(schema=SCHEMA, take=lambda positions: rows.take(pa.array(positions)), count=num_rows,
                    stored=lambda name: rows[name].to_numpy(), lengths=lengths, codec=CODEC, column=INPUT, seed=5,
                    max_length=MAX_LENGTH)


def tagged_split(num_rows: int = 40) -> TaskSpec:
    """Return the split of `split_of` with a tag for each second token of a row, the first of them at its first token."""
    plain = split_of(num_rows)
    sizes = [(length + 1) // 2 for length in plain.lengths.tolist()]
    codes = [[(row + place) % len(LABELS) for place in range(size)] for row, size in enumerate(sizes)]
    whole = plain.take(np.arange(num_rows)).drop_columns([TARGET, f"{TARGET}.teacher"])
    rows = whole.append_column(TARGET, pa.array(codes, pa.list_(pa.int32()))).append_column(
        f"{TARGET}.firsts", pa.array([[2 * place for place in range(size)] for size in sizes], pa.list_(pa.int32())))
    column = Column(name=TARGET, role=Role.TARGET, modality={"kind": "tags"}, labels=LABELS,
                    facts={"counts": {label: sum(row.count(code) for row in codes) for code, label in enumerate(LABELS)}})
    return replace(plain, schema=Schema(columns=(SCHEMA.columns[0], column)), take=lambda positions: rows.take(pa.array(positions)))


def _taught(num_rows: int) -> pa.Array:
    """Return what a teacher might say of each row: log-probabilities, fixed-size lists float32 [C]."""
    logits = np.random.default_rng(1).normal(size=(num_rows, len(LABELS)))
    said = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    return pa.FixedSizeListArray.from_arrays(pa.array(said.reshape(-1).astype(np.float32)), len(LABELS))


def table_of(num_rows: int = 40) -> TableSpec:
    """Return a split of a table: 3 numbers, 2 codes; a label, a number and flags to learn, each missing in some rows."""
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=(num_rows, 3)).astype(np.float32)
    codes = rng.integers(0, (4, 12), (num_rows, 2))
    label = (np.arange(num_rows) % len(LABELS)).astype(np.int32)
    value = numbers.sum(1).astype(np.float64) + label
    flags = (rng.random((num_rows, 2)) < 0.5).astype(np.int8)
    label[1], value[5], flags[11] = -1, np.nan, -1
    targets = {"label": label, "value": value.astype(np.float32), "flags": flags}
    infos: dict[str, dict[str, Any]] = {"label": {"kind": "label"},
             "value": {"kind": "number", "inverse": {"kind": "affine", "shift": 2.0, "scale": 3.0}},
             "flags": {"kind": "flags"}}
    ids = np.arange(num_rows, dtype=np.int64) * 7 + 100

    def read(positions: np.ndarray) -> TableRows:
        return TableRows(numbers[positions], codes[positions], {name: item[positions] for name, item in targets.items()},
                         np.ones(len(positions), np.float32), ids[positions])

    info = {"numbers": 3, "cardinalities": [4, 12], "names": ["a", "b", "c"], "edges": [[-2.0, 0.0, 2.0]] * 3,
            "columns": {"a": [0, 1, 0, 0], "b": [1, 2, 0, 0], "c": [2, 3, 0, 0], "d": [3, 3, 0, 1], "e": [3, 3, 1, 2]}}
    return TableSpec(TABLE_SCHEMA, read, num_rows, info, infos, lambda name: targets[name], 5)


def table_network(num_outputs: int, seed: int = 0) -> TableNetwork:
    """Return a small network for `table_of`, in evaluation mode."""
    torch.manual_seed(seed)
    return TableNetwork(TableConfig(num_numbers=3, cardinalities=(4, 12), num_outputs=num_outputs, hidden_sizes=(16,), members=2,
                                    adapters="full")).eval()


def network(heads: tuple[str, ...], seed: int = 0) -> Bert:
    """Return a small BERT for SCHEMA in evaluation mode, its weights large enough to tell rows apart."""
    torch.manual_seed(seed)
    shape = BertConfig(vocab_size=VOCAB_SIZE, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
                       max_position_embeddings=MAX_LENGTH, initializer_range=0.3)
    labels = LABELS if {"classification", "tags"} & set(heads) else ()
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
