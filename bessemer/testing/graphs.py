"""The contracts of an export and of a compression: a file that answers as the network does, the same bytes every time.

Legend: B rows, L tokens, C classes.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from bessemer.core.types import Calibration
from bessemer.testing import rows
from bessemer.testing.plugin import PluginContract

CALIBRATION = Calibration(60, lambda: (rows.batch_of(6, 2 + seed, seed) for seed in range(10)))


class ExportContract(PluginContract):
    """The contract of a plug-in of `export`."""

    folder: ClassVar[str] = "export"

    @abstractmethod
    def answers(self, file: Path, arrays: dict[str, np.ndarray]) -> np.ndarray:
        """Return the logits float [B, C] that the written file gives for a batch (int64 [B, L] each)."""

    def test_the_file_answers_as_the_network(self, tmp_path: Path) -> None:
        """Within 1e-4 in any batch and length; the same network gives the same bytes."""
        files, out = tmp_path / "files", tmp_path / "out"
        files.mkdir()
        out.mkdir()
        network, write = rows.network(("classification",)), self.made(files)
        for name in ("one", "two"):
            write(network, out / name)
        assert (out / "one").read_bytes() == (out / "two").read_bytes()
        for num_rows, length in ((1, 1), (1, 9), (3, 2), (5, rows.MAX_LENGTH)):
            arrays = rows.batch_of(num_rows, length)
            np.testing.assert_allclose(self.answers(out / "one", arrays), rows.logits_of(network, arrays), atol=1e-4)

    def test_a_network_in_training_is_refused(self, tmp_path: Path) -> None:
        """Its dropout would be written; nothing is left behind."""
        write = self.made(tmp_path)
        with pytest.raises(ValueError, match="training mode"):
            write(rows.network(("classification",)).train(), tmp_path / "graph")
        assert not (tmp_path / "graph").exists()


class CompressContract(PluginContract):
    """The contract of a plug-in of `compress`.

    Attributes:
        min_agreement: share of rows on which the compressed file must give the label of the network.
    """

    folder: ClassVar[str] = "compress"
    min_agreement: ClassVar[float] = 0.9

    @abstractmethod
    def graph(self, file: Path) -> None:
        """Write the graph of `rows.network(("classification",))` to a file, as an export does."""

    @abstractmethod
    def answers(self, file: Path, arrays: dict[str, np.ndarray]) -> np.ndarray:
        """Return the logits float [B, C] that a written file gives for a batch (int64 [B, L] each)."""

    def test_the_file_agrees_with_the_network(self, tmp_path: Path) -> None:
        """The same bytes each time, the source untouched, nothing else written, facts in JSON, labels that agree."""
        out = tmp_path / "out"
        out.mkdir()
        self.graph(out / "source")
        before, compress = (out / "source").read_bytes(), self.made(tmp_path)
        facts = [compress(out / "source", out / name, CALIBRATION) for name in ("one", "two")]
        assert facts[0] == facts[1] and json.loads(json.dumps(facts[0])) == facts[0]
        assert (out / "one").read_bytes() == (out / "two").read_bytes() != before
        assert (out / "source").read_bytes() == before
        assert sorted(file.name for file in out.iterdir()) == ["one", "source", "two"]
        assert facts[0]["bytes"] == (out / "one").stat().st_size and facts[0]["bytes_before"] == len(before)
        network, agreed = rows.network(("classification",)), []
        for seed in range(60):
            arrays = rows.batch_of(1, 1 + seed % 20, seed)
            agreed.append(self.answers(out / "one", arrays).argmax() == rows.logits_of(network, arrays).argmax())
        assert np.mean(agreed) >= self.min_agreement
