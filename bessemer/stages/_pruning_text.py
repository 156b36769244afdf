"""How a BERT shrinks: exact cuts first (vocabulary, positions), then layers, heads and widths round by round, then factors.

Legend: V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bessemer.core.errors import UserError
from bessemer.core.task_spec import TaskSpec
from bessemer.stages._pruning import Work, at_round, batches, check_goal, importance, in_rounds, share, strongest

if TYPE_CHECKING:
    import numpy as np
    import torch

    from bessemer.nn.slim_bert import SlimBert

# Widths that are multiples of this fill a processor's registers.
STEP = 16
# Rows by which activations are known well enough; a row has many positions.
SEEN_ROWS = 160


class TextShrinking:
    """A BERT on its way to its goal."""

    def __init__(self, work: Work, network: SlimBert) -> None:
        self.work, self.network = work, network
        self.start = network.config

    def shrink(self) -> list[dict[str, Any]]:
        """Shrink it to the goal."""
        from bessemer.nn.checkpoint import load_network, save_network

        work = self.work
        self._exact()
        heads, labels = self.network.heads, self.network.labels
        self.network, facts = in_rounds(work, lambda folder: load_network(folder, heads, labels), save_network, self._once, self.network)
        self._factors()
        return facts

    def shape(self) -> dict[str, Any]:
        """Return its widths."""
        config = self.network.config
        return {"layers": len(config.num_attention_heads), "heads": list(config.num_attention_heads),
                "intermediate_size": list(config.intermediate_size), "hidden_size": config.hidden_size,
                "embedding_size": config.embedding_size, "tokens": config.vocab_kept or config.vocab_size,
                "positions": config.max_position_embeddings, "low_rank_layers": len(config.ranks)}

    def _exact(self) -> None:
        """Take out what training rows never use: tokens and positions."""
        import numpy as np

        from bessemer.nn.slim_edit import with_positions, with_vocabulary

        config, spec = self.work.config, _text(self.work)
        if config.positions == "prepared":
            self.network = with_positions(self.network, spec.max_length)
        if config.vocabulary == "used":
            info, counts_V = spec.codec.info, self._counts()
            used = np.flatnonzero(counts_V[:info["vocab_size"]] >= config.min_count)
            kept = np.union1d(used, np.asarray(info["special_token_ids"], np.int64))
            self.network = with_vocabulary(self.network, kept.tolist(), int(info["unk_token_id"]))

    def _counts(self) -> np.ndarray:
        """Return how often each token occurs in the training rows, int64 [V]."""
        import numpy as np

        spec, size = _text(self.work), self.start.vocab_size
        found = np.zeros(size, np.int64)
        for begin in range(0, spec.count, 65_536):
            rows = spec.take(np.arange(begin, min(spec.count, begin + 65_536)))
            for chunk in [chunk for name in (spec.column, spec.second) if name for chunk in rows[f"{name}.ids"].chunks]:
                found += np.bincount(chunk.flatten().to_numpy(zero_copy_only=False), minlength=size)
        return found

    def _once(self, network: SlimBert, number: int) -> tuple[SlimBert, dict[str, Any]]:
        """Take out what this round takes out."""
        from bessemer.nn.compensate import cut_compensated
        from bessemer.nn.importance import bert_sites
        from bessemer.nn.slim_edit import Keep, all_of, cut, layers_only

        goals, rounds, start, facts = self.work.config, self.work.config.rounds, self.start, dict[str, Any]()
        many = len(start.num_attention_heads)
        layers = round(at_round(many, goals.layers, number, rounds))
        check_goal("layers", goals.layers, many)
        if layers < len(network.config.num_attention_heads):
            kept, facts["layers"] = self._layers(network, layers)
            network = layers_only(network, kept)
        inner = (goals.heads, goals.intermediate_size, goals.hidden_size)
        if all(goal is None for goal in inner):
            return network, facts
        sizes = [("heads", sum(start.num_attention_heads) / many), ("intermediate_size", sum(start.intermediate_size) / many),
                 ("hidden_size", start.hidden_size)]
        for (name, there), goal in zip(sizes, inner, strict=True):
            check_goal(name, goal, there)
        heads, units, hidden = (at_round(there, goal, number, rounds) for (_, there), goal in zip(sizes, inner, strict=True))
        found = importance(self.work, network, bert_sites(network))
        scores = {part: [found[f"{part}.{index}"] for index in range(layers)] for part in ("heads", "units")}
        whole = all_of(network)
        step = STEP if all(width % STEP == 0 for width in network.config.intermediate_size) and units >= 2 * STEP else 1
        keep = Keep(
            whole.layers, whole.heads if goals.heads is None else tuple(strongest(scores["heads"], round(heads * layers))),
            whole.units if goals.intermediate_size is None else tuple(strongest(scores["units"], round(units * layers), step)),
            whole.hidden if goals.hidden_size is None else strongest([found["hidden"]], round(hidden))[0], whole.pooled)
        if goals.heads is not None:
            facts["heads"] = share(scores["heads"], keep.heads)
        if goals.intermediate_size is not None:
            facts["intermediate_size"] = share(scores["units"], keep.units)
        if goals.hidden_size is not None:
            facts["hidden_size"] = share([found["hidden"]], [keep.hidden])
        return cut_compensated(network, keep, lambda: self._runs(network)) if goals.compensate else cut(network, keep), facts

    def _layers(self, network: SlimBert, count: int) -> tuple[list[int], float | list[int]]:
        """Return the layers that stay, and the share of importance that they have (or themselves where they are evenly spaced)."""
        from bessemer.nn.importance import bert_sites

        there = len(network.config.num_attention_heads)
        if self.work.config.layer_choice == "spaced":
            kept = [-(-there * (place + 1) // count) - 1 for place in range(count)]
            return kept, kept
        sites = {name: site for name, site in bert_sites(network).items() if name.startswith("layer.")}
        found = importance(self.work, network, sites)
        import torch

        scores = torch.cat([found[f"layer.{index}"] for index in range(there)])
        kept = strongest([scores], count)[0]
        return kept, share([scores], [kept])

    def _factors(self) -> None:
        """Make products of two thin matrices of embeddings and layers."""
        import torch

        from bessemer.nn.importance import input_moments
        from bessemer.nn.low_rank import rank_for
        from bessemer.nn.slim_edit import dense_layers, with_low_rank, with_narrow_embeddings

        config, network = self.work.config, self.network
        if config.embedding_size is not None:
            network = with_narrow_embeddings(network, config.embedding_size, torch.from_numpy(self._counts()))
        if config.rank is not None:
            sizes = {name: rank_for(layer.in_features, layer.out_features, config.rank) for name, layer in dense_layers(network).items()}
            ranks = {name: rank for name, rank in sizes.items() if rank is not None}
            if not ranks:
                raise UserError(f"rank: no layer becomes smaller by two factors of rank {config.rank:g}; give a lower rank")
            moments = input_moments(network, ranks, self._runs(network)) if config.rank_method == "activations" else None
            network = with_low_rank(network, ranks, moments)
        self.network = network

    def _runs(self, network: SlimBert) -> Iterator[tuple[Callable[[], Any], torch.Tensor]]:
        """Yield forward passes over the sample and which of their positions are real tokens."""
        column = _text(self.work).column
        network.eval()
        every = max(1, self.work.sample.count // SEEN_ROWS)
        for number, batch in enumerate(batches(self.work)):
            if number % every:
                continue
            given = [batch.inputs[column][name] for name in ("input_ids", "attention_mask", "token_type_ids")]
            yield lambda given=given: network.pool(network.encode(*given)), given[1].bool()  # type: ignore[misc]


def _text(work: Work) -> TaskSpec:
    assert isinstance(work.spec, TaskSpec)
    return work.spec


def text_steps(work: Work, folder: Path) -> TextShrinking:
    """Open a trained network of text; one that cannot be pruned is a UserError."""
    from bessemer.nn.bert import Bert
    from bessemer.nn.checkpoint import load_network
    from bessemer.nn.slim_bert import SlimBert, from_bert
    from bessemer.nn.table import is_table_network

    if not (folder / "model.safetensors").is_file() or is_table_network(folder):
        raise UserError(f"model: '{folder}' holds no trained network of text; give a finetune stage of a network on these data")
    network = load_network(folder, work.task.heads)
    if isinstance(network, Bert):
        network = from_bert(network)
    if not isinstance(network, SlimBert):
        kind = network.describe().get("model_type")
        raise UserError(f"model: '{folder}' is a network of the family '{kind}'; expected BERT, whose parts can be taken out one by one")
    return TextShrinking(work, network.eval())
