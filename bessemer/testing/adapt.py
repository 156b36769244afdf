"""The contract of an adaptation: it starts from the network as it is, leaves what is frozen, and folds back."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from bessemer.core.adaptation import Adaptation
from bessemer.nn.bert import Bert
from bessemer.nn.checkpoint import load_network, save_network
from bessemer.testing import rows
from bessemer.testing.plugin import PluginContract


class AdaptationContract(PluginContract):
    """The contract of a plug-in of `adapt`, tried on a classifier.

    Attributes:
        start_gap: how far outputs may be from the network's own before the first step; above 0 for one that rounds weights.
    """

    folder: ClassVar[str] = "adapt"
    start_gap: float = 0.0

    def adaptation(self, folder: Path) -> Adaptation:
        """Return the adaptation."""
        found: Adaptation = self.made(folder)
        return found

    def trained(self, adaptation: Adaptation) -> tuple[Bert, dict[str, torch.Tensor]]:
        """Return an adapted network after five large steps, and what was frozen, as it was before them."""
        net = rows.network(("classification",))
        adaptation.apply(net)
        frozen = {name: item.detach().clone() for name, item in net.named_parameters() if not item.requires_grad}
        optimiser = torch.optim.SGD([item for item in net.parameters() if item.requires_grad], lr=0.2, weight_decay=0.1)
        tensors = {name: torch.from_numpy(array) for name, array in rows.batch_of(6, 9).items()}
        for _ in range(5):
            optimiser.zero_grad()
            torch.autograd.backward(torch.nn.functional.cross_entropy(net(**tensors), torch.arange(6) % len(rows.LABELS)))
            optimiser.step()
        return net, frozen

    def test_step_0_is_the_network_itself(self, tmp_path: Path) -> None:
        """Applied, before any step, outputs are equal bit for bit (or within `start_gap`); merged at once, so are the tensors' names."""
        base, net, adaptation = rows.network(("classification",)), rows.network(("classification",)), self.adaptation(tmp_path)
        adaptation.apply(net)
        assert np.abs(rows.logits_of(net, rows.batch_of(6, 9)) - rows.logits_of(base, rows.batch_of(6, 9))).max() <= self.start_gap
        assert any(item.requires_grad for item in net.parameters())
        adaptation.merge(net)
        assert list(net.tensors()) == list(base.tensors())

    def test_what_is_frozen_never_moves(self, tmp_path: Path) -> None:
        """Steps leave frozen parameters as they are, bit for bit; the heads learn."""
        net, frozen = self.trained(self.adaptation(tmp_path))
        now = dict(net.named_parameters())
        moved = [name for name, item in frozen.items() if not torch.equal(item, now[name])]
        assert not moved, f"frozen, but moved: {moved}"
        base = dict(rows.network(("classification",)).named_parameters())
        heads = tuple(f"{name}." for name in net.head_names())
        assert any(not torch.equal(item, now[name]) for name, item in base.items() if name.startswith(heads) and name in now)

    def test_merging_keeps_the_outputs(self, tmp_path: Path) -> None:
        """After training, merged and trained outputs agree within 1e-5; the network saves and loads as its own kind."""
        adaptation = self.adaptation(tmp_path)
        net, _ = self.trained(adaptation)
        arrays = rows.batch_of(6, 9, seed=1)
        before = rows.logits_of(net.eval(), arrays)
        adaptation.merge(net)
        merged = rows.logits_of(net, arrays)
        np.testing.assert_allclose(merged, before, atol=1e-5, rtol=1e-5)
        assert all(item.requires_grad for item in net.parameters())
        save_network(net, tmp_path)
        assert np.array_equal(rows.logits_of(load_network(tmp_path, ("classification",)).eval(), arrays), merged)
