"""How a network for tables shrinks: members, input columns and hidden units, round by round."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bessemer.core.errors import UserError
from bessemer.core.task_spec import TableSpec
from bessemer.stages._pruning import Work, at_round, check_goal, importance, in_rounds, share, strongest

if TYPE_CHECKING:
    import torch

    from bessemer.nn.table import TableNetwork
    from bessemer.nn.table_edit import KeepTable


class TableShrinking:
    """A network for tables on its way to its goal."""

    def __init__(self, work: Work, network: TableNetwork) -> None:
        self.work, self.network = work, network
        self.start, self.columns_there = network.config, len(self._columns(network))

    def shrink(self) -> list[dict[str, Any]]:
        """Shrink it to the goal."""
        from bessemer.nn.table import load_table_network, save_table_network

        self.network, facts = in_rounds(self.work, load_table_network, save_table_network, self._once, self.network)
        return facts

    def shape(self) -> dict[str, Any]:
        """Return its widths, and the columns that it does not read."""
        config, reads = self.network.config, self._columns(self.network)
        assert isinstance(self.work.spec, TableSpec)
        return {"hidden_sizes": list(config.hidden_sizes), "members": config.members, "columns": len(reads),
                "columns_left_out": [name for name in self.work.spec.info["columns"] if name not in reads]}

    def _columns(self, network: TableNetwork) -> dict[str, tuple[list[int], list[int]]]:
        """Return the columns that the network reads: name -> its numbers and codes, by their places among what it reads."""
        assert isinstance(self.work.spec, TableSpec)
        config, found = network.config, dict[str, tuple[list[int], list[int]]]()
        numbers = range(config.num_numbers) if config.used_numbers is None else config.used_numbers
        codes = range(len(config.cardinalities)) if config.used_codes is None else config.used_codes
        for name, (n0, n1, c0, c1) in self.work.spec.info["columns"].items():
            own = ([place for place, number in enumerate(numbers) if n0 <= number < n1],
                   [place for place, code in enumerate(codes) if c0 <= code < c1])
            if own != ([], []):
                found[name] = own
        return found

    def _once(self, network: TableNetwork, number: int) -> tuple[TableNetwork, dict[str, Any]]:
        """Take out what this round takes out."""
        from bessemer.nn.importance import table_sites
        from bessemer.nn.table_edit import cut_table

        config, start = self.work.config, self.start
        average = sum(start.hidden_sizes) / max(1, len(start.hidden_sizes))
        goals = {"members": (config.members, start.members), "hidden_size": (config.hidden_size, average),
                 "columns": (config.columns, self.columns_there)}
        for name, (goal, there) in goals.items():
            check_goal(name, goal, there)
        sizes = {name: at_round(there, goal, number, config.rounds) for name, (goal, there) in goals.items()}
        columns = self._columns(network)
        found = importance(self.work, network, table_sites(network, list(columns.values())))
        keep, facts = self._keep(network, found, sizes)
        return cut_table(network, keep), facts

    def _keep(self, network: TableNetwork, found: dict[str, torch.Tensor], sizes: dict[str, float]) -> tuple[KeepTable, dict[str, Any]]:
        """Return what stays, and the share of importance that it has."""
        from bessemer.nn.table_edit import KeepTable, chains, whole_table

        goals, whole, facts = self.work.config, whole_table(network), dict[str, Any]()
        members, units, numbers, codes = whole.members, whole.units, whole.numbers, whole.codes
        if goals.members is not None and "members" in found:
            members = strongest([found["members"]], round(sizes["members"]))[0]
            facts["members"] = list(members)
        if goals.hidden_size is not None:
            groups = chains(network.config)
            scores = [found[f"units.{index}"] for index in range(len(groups))]
            chosen = strongest(scores, round(sizes["hidden_size"] * len(groups)))
            facts["hidden_size"] = share(scores, chosen)
            by_layer: dict[int, Sequence[int]] = {layer: kept for chain, kept in zip(groups, chosen, strict=True) for layer in chain}
            units = tuple(by_layer[layer] for layer in range(len(whole.units)))
        if goals.columns is not None:
            places = list(self._columns(network).values())
            stays = strongest([found["columns"]], round(sizes["columns"]))[0]
            facts["columns"] = share([found["columns"]], [stays])
            numbers = sorted(place for column in stays for place in places[column][0])
            codes = sorted(place for column in stays for place in places[column][1])
        return KeepTable(numbers, codes, units, members), facts


def table_steps(work: Work, folder: Path) -> TableShrinking:
    """Open a trained network for tables; another model is a UserError."""
    from bessemer.nn.table import is_table_network, load_table_network

    if not is_table_network(folder):
        raise UserError(f"model: '{folder}' holds no network for tables; give a finetune stage of mlp or members on these data")
    return TableShrinking(work, load_table_network(folder).eval())
