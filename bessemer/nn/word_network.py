"""What the networks over word vectors share: one head, `classifier`, and how they are written and read.

Legend: B rows, L tokens, D width, N selected positions, V vocabulary, C classes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from torch import Tensor, nn

from bessemer.nn import words
from bessemer.nn.network import Network
from bessemer.nn.words import TokenRows, WordsConfig

C = TypeVar("C", bound=WordsConfig)


class WordNetwork(Network):
    """A network over word vectors, which has no masked-language and no next-sentence head.

    A network of this kind says how it encodes and pools (what its classifier reads), and has the table `words` and, with a head, the
    layer `classifier`.

    Attributes:
        kind: its name in recipes and in config.json.
        known: the heads that it may have.
        rows: token ids -> rows of its table.
    """

    kind: ClassVar[str]
    known: ClassVar[tuple[str, ...]] = ("classification",)
    classifier: nn.Linear

    def __init__(self, config: WordsConfig, heads: tuple[str, ...], labels: tuple[str, ...]) -> None:
        super().__init__()
        words.check_heads(self.kind, heads, self.known)
        self.heads, self.labels = heads, labels
        self.rows = TokenRows(config)

    def mlm_logits(self, hidden_ND: Tensor) -> Tensor:
        """Refuse: it has no such head."""
        raise NotImplementedError(f"a network of the kind '{self.kind}' has no masked-language head")

    def nsp_logits(self, pooled_BD: Tensor) -> Tensor:
        """Refuse: it has no such head."""
        raise NotImplementedError(f"a network of the kind '{self.kind}' has no next-sentence head")

    def class_logits(self, pooled_BD: Tensor) -> Tensor:
        """Return class logits [B, C]."""
        result: Tensor = self.classifier(pooled_BD)
        return result

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """Return class logits [B, C], with the head `tags` those of each token [B, L, C]; inputs int64 [B, L]."""
        return self.class_logits(self.pool(self.encode(input_ids, attention_mask, token_type_ids)))

    def head_names(self) -> tuple[str, ...]:
        """Return the submodules that are heads."""
        return ("classifier",) if self.heads else ()

    def tensors(self) -> dict[str, Tensor]:
        """Return every parameter and the token map."""
        return words.tensors(self)


def opened(made: Callable[[C, tuple[str, ...], tuple[str, ...]], Network], kind: type[C], folder: Path, config: dict[str, Any],
           wanted: tuple[tuple[str, ...], tuple[str, ...], bool]) -> Network:
    """Return the network of a folder.

    Args:
        made: the network's class.
        kind: its configuration's.
        folder: where its config.json and weights are.
        config: the content of config.json.
        wanted: heads, labels and whether the heads are new, as `nn/checkpoint.py` asks for them.
    """
    heads, labels, new_heads = wanted
    module = made(words.read_config(kind, config, folder), heads, words.labels_of(config, heads, labels))
    words.adopt(module, folder, config, new_heads)
    return module
