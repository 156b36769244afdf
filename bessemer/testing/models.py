"""The contracts of an architecture: built alike under a seed, saved and loaded bit for bit, blind to padding.

Legend: B rows, L tokens, C classes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import torch

from bessemer.core.types import BuildSpec, FitSpec, Model
from bessemer.modalities import codec_of
from bessemer.nn.checkpoint import load_network, save_network
from bessemer.nn.network import Network
from bessemer.testing import rows
from bessemer.testing.plugin import PluginContract


class NetworkContract(PluginContract):
    """The contract of a plug-in of `models` that builds a network; weights that it starts from have `rows.VOCAB_SIZE` tokens.

    Attributes:
        heads: the heads that it can have; each is tried alone.
    """

    folder: ClassVar[str] = "models"
    heads: ClassVar[tuple[str, ...]] = ("mlm", "classification")

    def model(self, folder: Path, full: bool = False) -> Model:
        """Return the architecture, by a config that names every default where `full` is true."""
        found: Model = self.made(folder, full)
        return found

    def built(self, folder: Path, head: str, full: bool = False) -> Network:
        """Return a seeded network in evaluation mode."""
        model = self.model(folder, full)
        assert model.build is not None and model.fit is None, "a network has a build and no fit; see FitContract"
        torch.manual_seed(3)
        labels = rows.LABELS if head == "classification" else ()
        network = model.build(BuildSpec(rows.SCHEMA, rows.INFO, (head,), labels)).eval()
        assert isinstance(network, Network)
        return network

    def test_built_alike_under_a_seed(self, tmp_path: Path) -> None:
        """The same seed gives the same tensors, also where every default is named; the heads and labels are those asked for."""
        for head in self.heads:
            first, second = self.built(tmp_path, head), self.built(tmp_path, head, full=True)
            assert first.heads == (head,)
            assert first.labels == (rows.LABELS if head == "classification" else ())
            other = second.tensors()
            assert list(first.tensors()) == list(other)
            assert all(torch.equal(tensor, other[name]) for name, tensor in first.tensors().items())
            assert all(parameter.isfinite().all() for parameter in first.parameters())
            assert first.head_names() and {name.split(".")[0] for name in first.head_names()} <= dict(first.named_children()).keys()

    def test_saved_and_loaded_it_answers_the_same(self, tmp_path: Path) -> None:
        """Hidden states, and class logits, are equal bit for bit; the bytes repeat."""
        for head in self.heads:
            network, one, two = self.built(tmp_path, head), tmp_path / f"{head}-1", tmp_path / f"{head}-2"
            for folder in (one, two):
                folder.mkdir()
                save_network(network, folder)
            again = load_network(one, (head,)).eval()
            assert all((two / file.name).read_bytes() == file.read_bytes() for file in one.iterdir())
            tensors = [torch.from_numpy(array) for array in rows.batch_of(4, 9).values()]
            with torch.inference_mode():
                assert torch.equal(network.encode(*tensors), again.encode(*tensors))
                if head == "classification":
                    assert torch.equal(network(*tensors), again(*tensors)) and again.labels == rows.LABELS

    def test_padding_changes_no_answer(self, tmp_path: Path) -> None:
        """A row's logits float [C] are the same alone and padded among others, within 1e-5; the longest input fits."""
        network, longest = self.built(tmp_path, "classification"), self.model(tmp_path).max_length
        arrays = rows.batch_of(5, min(12, longest or 12))
        together = rows.logits_of(network, arrays)
        assert together.shape == (5, len(rows.LABELS))
        for row in range(5):
            size = int(arrays["attention_mask"][row].sum())
            alone = rows.logits_of(network, {name: array[row:row + 1, :size] for name, array in arrays.items()})
            np.testing.assert_allclose(alone[0], together[row], atol=1e-5)
        if longest is not None:
            assert np.isfinite(rows.logits_of(network, rows.batch_of(2, min(longest, 512)))).all()


class FitContract(PluginContract):
    """The contract of a plug-in of `models` that is no network and fits itself."""

    folder: ClassVar[str] = "models"

    def fitted(self, folder: Path, name: str, full: bool = False) -> tuple[dict[str, object], Path]:
        """Return the facts of a fit on 60 rows, and the folder that it wrote to."""
        out, files = folder / name, folder / "files"
        out.mkdir()
        files.mkdir(exist_ok=True)
        model: Model = self.made(files, full)
        assert model.fit is not None and model.build is None, "it has a fit and no build; see NetworkContract"
        codes = np.arange(60) % len(rows.LABELS)
        texts = [f"{('bad', 'fine', 'good')[code]} {('film', 'room')[row % 2]} {row}" for row, code in enumerate(codes)]
        table = pa.table({rows.INPUT: texts, rows.TARGET: pa.array(codes, pa.int32())})
        spec = FitSpec(rows.SCHEMA, lambda: iter([table.slice(0, 20), table.slice(20)]), lambda: iter([table]), 0, out, data=files,
                       codec=codec_of(rows.SCHEMA.columns[0], files) if (files / "tokenizer.json").is_file() else rows.CODEC)
        return model.fit(spec), out

    def test_fitted_twice_it_is_the_same(self, tmp_path: Path) -> None:
        """The same rows and seed give the same files and facts, also where every default is named; the facts are JSON; nothing is a
        pickle.
        """
        (first, one), (second, two) = self.fitted(tmp_path, "one"), self.fitted(tmp_path, "two", full=True)
        assert first == second and json.loads(json.dumps(first)) == first
        names = sorted(file.name for file in one.iterdir())
        assert names and names == sorted(file.name for file in two.iterdir())
        assert all((one / name).read_bytes() == (two / name).read_bytes() for name in names)
        assert not [name for name in names if name.endswith((".pkl", ".pickle", ".joblib", ".pt"))]
