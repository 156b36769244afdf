"""Published word vectors are read alike from each format, and become a student's start."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from bessemer.core.errors import UserError
from bessemer.core.pick import make
from bessemer.core.registry import plugin_of
from bessemer.core.types import BuildSpec
from bessemer.data.shards import ShardWriter
from bessemer.data.word_vectors import read_word_vectors
from bessemer.models._words import narrowed
from bessemer.nn.checkpoint import save_network
from bessemer.nn.words import word_vectors
from bessemer.testing import rows

WORDS, VECTORS = ["film", "room", '"', "good"], np.arange(12, dtype=np.float32).reshape(4, 3) / 4


def write(folder: Path) -> dict[str, Path]:
    lines = [" ".join([word, *(f"{value:.4f}" for value in vector)]) for word, vector in zip(WORDS, VECTORS, strict=True)]
    (folder / "a.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "b.vec").write_text("\n".join(["4 3", *lines]) + "\n", encoding="utf-8")
    np.savez(folder / "c.npz", words=np.array(WORDS), vectors=VECTORS)
    (folder / "d").mkdir()
    np.save(folder / "d" / "v.npy", VECTORS)
    pq.write_table(pa.table({"index": WORDS}), folder / "d" / "w.parquet")
    return {"text": folder / "a.txt", "word2vec": folder / "b.vec", "npz": folder / "c.npz", "folder": folder / "d"}


@pytest.mark.parametrize("kind", ["text", "word2vec", "npz", "folder"])
def test_each_format_is_read(kind: str, tmp_path: Path) -> None:
    words, vectors = read_word_vectors(write(tmp_path)[kind])
    assert words.to_pylist() == WORDS and vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, VECTORS)


def test_what_is_no_word_vectors_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("film 1 2\nroom 1\n", encoding="utf-8")
    with pytest.raises(UserError, match="cannot be read as word vectors"):
        read_word_vectors(tmp_path / "x.txt")
    with pytest.raises(UserError, match="there is no file"):
        read_word_vectors(tmp_path / "none.txt")


def test_narrowed_vectors_keep_their_products_as_well_as_can_be() -> None:
    """The products of vectors that lie in a plane are kept whole; else the error is the singular values' (Eckart & Young 1936)."""
    draw = torch.Generator().manual_seed(0)
    plane = torch.randn(30, 2, generator=draw) @ torch.randn(2, 6, generator=draw)
    torch.testing.assert_close(narrowed(plane, 2) @ narrowed(plane, 2).T, plane @ plane.T, atol=1e-4, rtol=1e-4)
    free = torch.randn(30, 6, generator=draw)
    gap = (narrowed(free, 4) @ narrowed(free, 4).T - free @ free.T).norm()
    torch.testing.assert_close(gap, torch.linalg.svdvals(free)[4:].square().norm(), atol=1e-3, rtol=1e-4)


def prepared(folder: Path) -> Path:
    """Write training rows in which tokens 7 to 11 occur, and a tokenizer."""
    writer = ShardWriter(folder / "train")
    writer.add(pa.table({f"{rows.INPUT}.ids": pa.array([[7, 8, 8], [9, 10], [11, 7]], pa.list_(pa.int32()))}))
    writer.close()
    names = {**{f"t{number}": number for number in range(rows.VOCAB_SIZE)}}
    vocabulary = {token: number for token, number in names.items() if number not in (8, 9)} | {"film": 8, "Good": 9}
    Tokenizer(WordLevel(vocabulary, unk_token="t1")).save(str(folder / "tokenizer.json"))
    return folder


def test_a_student_keeps_the_tokens_that_are_used_and_starts_from_given_vectors(tmp_path: Path) -> None:
    data, files = prepared(tmp_path / "data"), tmp_path / "files"
    files.mkdir()
    config = make("models", {"kind": "ngrams", "embedding_size": 3, "sizes": [1], "vectors": str(write(files)["text"])})
    spec = BuildSpec(rows.SCHEMA, rows.INFO, ("classification",), rows.LABELS, data=data)
    torch.manual_seed(0)
    network = plugin_of("models", config).function(config).build(spec)
    # 5 that occur, 4 special ones but the padding, the padding, and the row of all others
    assert network.words.weight.shape == (11, 3)
    found = word_vectors(network, "x").numpy()
    scale = np.linalg.norm(VECTORS[[0, 3]], axis=1).mean()
    np.testing.assert_allclose(found[8], VECTORS[0] / scale, rtol=1e-5)
    np.testing.assert_allclose(found[9], VECTORS[3] / scale, rtol=1e-5)
    assert not found[0].any() and (found[20] == found[50]).all() and (found[7] != found[10]).any()


def test_a_student_starts_from_its_teachers_vectors(tmp_path: Path) -> None:
    teacher, data = rows.network(("classification",)), prepared(tmp_path / "data")
    (tmp_path / "teacher").mkdir()
    save_network(teacher, tmp_path / "teacher")
    config = make("models", {"kind": "text_cnn", "embedding_size": 16, "embeddings": "teacher"})
    spec = BuildSpec(rows.SCHEMA, rows.INFO, ("classification",), rows.LABELS, data=data, teacher=tmp_path / "teacher")
    network = plugin_of("models", config).function(config).build(spec)
    own, theirs = word_vectors(network, "x"), word_vectors(teacher, "x")
    torch.testing.assert_close(own[7:12] / own[7].norm(), theirs[7:12] / theirs[7].norm())
    bare = make("models", {"kind": "text_cnn", "embeddings": "teacher"})
    with pytest.raises(UserError, match="embeddings: teacher needs a network to take word vectors from"):
        plugin_of("models", bare).function(bare).build(BuildSpec(rows.SCHEMA, rows.INFO, ("classification",), rows.LABELS, data=data))


def test_a_student_is_as_wide_as_the_vectors_it_starts_from_where_nothing_else_is_said(tmp_path: Path) -> None:
    data, files = prepared(tmp_path / "data"), tmp_path / "files"
    files.mkdir()
    spec = BuildSpec(rows.SCHEMA, rows.INFO, ("classification",), rows.LABELS, data=data)

    def width(**settings: object) -> int:
        config = make("models", {"kind": "text_cnn", **settings})
        size: int = plugin_of("models", config).function(config).build(spec).words.weight.shape[1]
        return size

    vectors = str(write(files)["text"])
    assert (width(vectors=vectors), width(), width(embedding_size=2, vectors=vectors)) == (VECTORS.shape[1], 128, 2)
    with pytest.raises(UserError, match=f"embedding_size is 64, but the vectors to start from have {VECTORS.shape[1]} numbers"):
        width(embedding_size=64, vectors=vectors)


def test_lines_that_end_with_a_space_are_read(tmp_path: Path) -> None:
    """So fastText writes its files."""
    lines = write(tmp_path)["word2vec"].read_text(encoding="utf-8").splitlines()
    (tmp_path / "e.vec").write_text("\n".join([lines[0], *(f"{line} " for line in lines[1:])]) + "\n", encoding="utf-8")
    words, vectors = read_word_vectors(tmp_path / "e.vec")
    assert words.to_pylist() == WORDS and (vectors == VECTORS).all()


def test_vectors_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    (tmp_path / "n.txt").write_text("film 1 2 3\nroom 1 nan 3\n", encoding="utf-8")
    with pytest.raises(UserError, match="the vectors of 1 words are not finite numbers, first that of 'room'"):
        read_word_vectors(tmp_path / "n.txt")
