"""What student networks share: token ids -> rows of a table of word vectors, and how such a network is written and read again.

Legend: B rows, L tokens, V vocabulary, R stored rows of the table, E width of a vector.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from bessemer.core.errors import UserError
from bessemer.nn.network import Network


@dataclass(frozen=True)
class WordsConfig:
    """The fields of config.json that every student has.

    Attributes:
        vocab_size: V, tokens of the tokenizer.
        pad_token_id: the padding token.
        embedding_size: E.
        rows: stored rows R where a token map says which token has which; 0 stores a row for each token.
        dropout: on what goes into the dense layers, in training.
        word_dropout: share of the tokens that are left out, in training (Iyyer et al. 2015).
    """

    vocab_size: int
    pad_token_id: int = 0
    embedding_size: int = 128
    rows: int = 0
    dropout: float = 0.2
    word_dropout: float = 0.0


C = TypeVar("C", bound=WordsConfig)


class TokenRows(nn.Module):
    """Token ids -> rows of a table of R rows; a token that is no part of the text has the padding row.

    With a token map (int32 [V]) row 0 is the padding row and row 1 that of every token without a row of its own; without one, a token's
    row is its id.

    Attributes:
        padding: the padding row, which stays zero.
        count: R.
    """

    token_map: Tensor | None

    def __init__(self, config: WordsConfig) -> None:
        super().__init__()
        self.padding = 0 if config.rows else config.pad_token_id
        self.count = config.rows or config.vocab_size
        self.drop = config.word_dropout
        self.register_buffer("token_map", torch.ones(config.vocab_size, dtype=torch.int32) if config.rows else None)

    def forward(self, input_ids_BL: Tensor, attention_mask_BL: Tensor) -> Tensor:
        """Return rows [B, L], int64 or int32; in training some tokens are left out, the first of a text never."""
        rows_BL = input_ids_BL if self.token_map is None else self.token_map[input_ids_BL]
        kept_BL = attention_mask_BL != 0
        if self.training and self.drop:
            dropped_BL = torch.rand(kept_BL.shape, device=kept_BL.device) < self.drop
            dropped_BL[:, 0] = False
            kept_BL = kept_BL & ~dropped_BL
        return torch.where(kept_BL, rows_BL, self.padding)


def table(config: WordsConfig, more: int = 0) -> nn.Embedding:
    """Return the table of word vectors [R + more, E], of small random numbers, its padding row zero."""
    size = config.embedding_size
    made = nn.Embedding((config.rows or config.vocab_size) + more, size, padding_idx=0 if config.rows else config.pad_token_id)
    with torch.no_grad():
        made.weight.normal_(0.0, size ** -0.5)
        made.weight[made.padding_idx] = 0
    return made


def check_heads(kind: str, heads: tuple[str, ...], known: tuple[str, ...] = ("classification",)) -> None:
    """Refuse heads that a student does not have."""
    other = [head for head in heads if head not in known]
    if "tags" in other:
        raise UserError(f"the model '{kind}' has one answer for a text and none for each unit; for tags take 'bert', 'text_rnn', "
                        "'ngrams' or 'pretrained' (BERT)")
    if other:
        raise UserError(f"the model '{kind}' has no head '{other[0]}': it learns labels alone; pretrain a model such as 'bert'")


def describe(kind: str, architecture: str, config: WordsConfig, labels: Sequence[str]) -> dict[str, Any]:
    """Return the content of config.json."""
    found: dict[str, Any] = {"architectures": [architecture], "model_type": kind, "dtype": "float32", **dataclasses.asdict(config)}
    if labels:
        found["id2label"] = {str(code): label for code, label in enumerate(labels)}
        found["label2id"] = {label: code for code, label in enumerate(labels)}
        found["problem_type"] = "single_label_classification"
    return found


def read_config(kind: type[C], config: dict[str, Any], folder: Path) -> C:
    """Return config.json's content as a student's configuration; a missing or wrong field is a UserError."""
    names = {item.name for item in dataclasses.fields(kind)}
    plain: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in config.items() if key in names}
    try:
        return kind(**plain)
    except TypeError as error:
        raise UserError(f"'{folder / 'config.json'}' is no configuration of this kind of network ({error}); run the recipe again to make "
                        "it anew") from None


def labels_of(config: dict[str, Any], heads: tuple[str, ...], labels: tuple[str, ...]) -> tuple[str, ...]:
    """Return the class names that a network which is read again shall have: those asked for, or the folder's."""
    from bessemer.nn.checkpoint import saved_labels

    return labels if labels or not {"classification", "tags"} & set(heads) else saved_labels(config)


@torch.no_grad()
def adopt(module: Network, folder: Path, config: dict[str, Any], new_heads: bool) -> None:
    """Copy a folder's tensors into a student, in place; its heads only where it is asked for and the labels are the same."""
    from bessemer.nn.checkpoint import read_weights, saved_labels

    state = read_weights(folder)
    heads = tuple(f"{name}." for name in module.head_names())
    there = any(name.startswith(heads) for name in state) and not new_heads if heads else False
    if there and saved_labels(config) != module.labels:
        saved = saved_labels(config)
        raise UserError(f"'{folder}' holds a classifier for {len(saved)} labels ({', '.join(saved[:5])}), the data have "
                        f"{len(module.labels)} ({', '.join(module.labels[:5])}); say new_heads: true")
    for name, target in module.tensors().items():
        if heads and name.startswith(heads) and not there:
            continue
        if name not in state:
            raise UserError(f"'{folder}': the weights lack '{name}' {list(target.shape)}, which this network needs")
        if state[name].shape != target.shape:
            raise UserError(f"'{folder}': the tensor '{name}' has shape {list(state[name].shape)} in the weights and "
                            f"{list(target.shape)} in this network; make the configurations equal")
        target.copy_(state[name])


def tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return every parameter and buffer."""
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


@torch.no_grad()
def word_vectors(network: Network, where: str) -> Tensor:
    """Return the vector that a network looks up for each token, float32 [V, E]; a network without any is a UserError."""
    mine = getattr(network, "rows", None)
    if isinstance(mine, TokenRows):
        weight = dict(network.named_parameters())["words.weight"].detach()
        chosen: Tensor = weight[: mine.count] if mine.token_map is None else weight[mine.token_map.long()]
        return chosen.float()
    modules = dict(network.named_modules())
    found = next((item for name, item in modules.items() if name.rsplit(".", 1)[-1] == "word_embeddings"), None)
    found = found or next((item for item in modules.values() if isinstance(item, nn.Embedding)), None)
    if found is None:
        raise UserError(f"'{where}' is a network without word vectors, so none can be taken from it")
    vectors: Tensor = found(torch.arange(int(network.describe()["vocab_size"])))
    return vectors.float()
