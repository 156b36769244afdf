"""A model that someone else trained: a local Hugging Face folder, or weights of the catalogue."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import model_validator

from bessemer.core.config import Config
from bessemer.core.errors import UserError
from bessemer.core.registry import plugin, register
from bessemer.core.types import BuildSpec, Model

if TYPE_CHECKING:
    import torch

# Published vocabularies are often padded to a multiple of 64 or 128 for speed; more than that is another tokenizer.
_MAX_PADDING = 128


class Pretrained(Config):
    """Where the weights are: exactly one of `path` and `name`."""

    path: str | None = None
    """A local folder with config.json, model.safetensors (or pytorch_model.bin) and tokenizer.json."""
    name: str | None = None
    """Weights of the catalogue, by name."""
    new_heads: bool = False
    """Begin with new heads even where the folder holds them (a classifier for other labels)."""

    @model_validator(mode="after")
    def _one(self) -> Pretrained:
        if (self.path is None) == (self.name is None):
            raise ValueError("give exactly one of 'path' (a local folder) and 'name' (weights of the catalogue)")
        return self


    def outside(self) -> tuple[Path | str, ...]:
        """Return the folder, or the pinned checksum of the catalogue's weights."""
        if self.path is not None:
            return (Path(self.path),)
        entry = plugin("datasets", str(self.name))
        return (entry.function(entry.config()).resource.sha256,)


@register("models", "pretrained")
def pretrained(config: Pretrained) -> Model:
    """Return the architecture that the folder's config.json names: ours for BERT, else transformers' own."""

    def build(spec: BuildSpec) -> torch.nn.Module:
        from bessemer.nn.checkpoint import load_network, read_config

        folder = spec.weights
        if folder is None:
            if config.path is None:
                raise ValueError(f"the stage must resolve the catalogue's '{config.name}' to BuildSpec.weights")
            folder = Path(config.path)
        vocab_size = read_config(folder).get("vocab_size", 0)
        if not 0 <= vocab_size - spec.info["vocab_size"] < _MAX_PADDING:
            raise UserError(f"'{folder}' has a vocabulary of {vocab_size} tokens, the prepared data one of "
                            f"{spec.info['vocab_size']}; prepare the data with that model's tokenizer")
        return load_network(folder, spec.heads, spec.labels, config.new_heads)

    return Model(build=build, max_length=None if config.path is None else longest_input(Path(config.path)))


def longest_input(folder: Path) -> int | None:
    """Return the longest input in tokens that a folder's model takes; None where its config.json says nothing."""
    import json

    file = folder / "config.json"
    if not file.is_file():
        raise UserError(f"'{folder}' has no config.json; expected a folder in Hugging Face's layout")
    config = json.loads(file.read_text(encoding="utf-8"))
    longest = config.get("max_position_embeddings")
    # RoBERTa's family counts positions from pad_token_id + 1.
    if longest is not None and config.get("model_type") in ("roberta", "xlm-roberta", "camembert"):
        longest -= config.get("pad_token_id", 1) + 1
    return longest if longest is None or longest > 0 else None
