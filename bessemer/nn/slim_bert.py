"""BERT whose every width is its own: what is left of one after pruning, or a small one from the start.

Parameters have Bert's names, so that a whole network converts exactly and everything that knows a part by its name still finds it.

Legend: B rows, L tokens, D width (hidden_size), H heads of a layer, K width of a head, E embedding_size, V vocabulary, T rows of the
embedding table, J hash functions, N selected positions, P width of the pooled vector, C classes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from bessemer.core.errors import UserError, nearest
from bessemer.core.keyed import uniform
from bessemer.nn import words
from bessemer.nn.bert import ACTIVATIONS, HEADS, Bert, Dense, Encoder, LayerWidths, Predictions
from bessemer.nn.checkpoint import adopt, saved_labels
from bessemer.nn.dropout import Dropout
from bessemer.nn.low_rank import LowRank
from bessemer.nn.network import Network

MODEL_TYPE = "slim_bert"
_HASH_SEED = 20_170_905  # the day of the paper; a constant, because the buckets of a saved network must never change


@dataclass(frozen=True)
class SlimConfig:
    """The content of config.json, under Hugging Face's names where there are any.

    Attributes:
        vocab_size: V, tokens of the tokenizer.
        num_attention_heads: H of each layer; as many layers as it has items.
        intermediate_size: feed-forward width of each layer.
        head_size: K.
        pooler_size: P.
        vocab_kept: T where the vocabulary was trimmed: `token_map` says which row a token has; None: every token has its own.
        embedding_size: E, where words are embedded in fewer dimensions than D and projected (Lan et al. 2020); None: in D.
        hash_buckets: T of hashed embeddings (Svenstrup et al. 2017): a token is the weighted sum of J rows that its id is hashed to.
        hash_functions: J.
        ranks: dotted name of a linear layer -> its rank, where it is a product of two.
    """

    vocab_size: int
    num_attention_heads: tuple[int, ...]
    intermediate_size: tuple[int, ...]
    hidden_size: int
    head_size: int
    pooler_size: int
    vocab_kept: int | None = None
    embedding_size: int | None = None
    hash_buckets: int | None = None
    hash_functions: int = 2
    ranks: Mapping[str, int] = field(default_factory=dict)
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    pad_token_id: int = 0
    classifier_dropout: float | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        for name in ("num_attention_heads", "intermediate_size"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        object.__setattr__(self, "ranks", dict(self.ranks))
        heads, widths = self.num_attention_heads, self.intermediate_size
        if len(heads) != len(widths) or not heads or min(*heads, *widths) < 1:
            raise UserError(f"num_attention_heads {list(heads)} and intermediate_size {list(widths)} must have one number of 1 or more "
                            "for each layer")
        if self.hidden_act not in ACTIVATIONS:
            raise UserError(f"hidden_act '{self.hidden_act}' is unknown{nearest(self.hidden_act, ACTIVATIONS)}")
        if self.hash_buckets is not None and self.vocab_kept is not None:
            raise UserError("hash_buckets and vocab_kept are two ways to have fewer embeddings; set one of them")
        if not 0 <= self.pad_token_id < self.vocab_size:
            raise UserError(f"pad_token_id {self.pad_token_id} is outside the vocabulary of {self.vocab_size} tokens")

    def widths(self) -> list[LayerWidths]:
        """Return the widths of each layer."""
        return [LayerWidths(heads, self.head_size, inner)
                for heads, inner in zip(self.num_attention_heads, self.intermediate_size, strict=True)]


class Words(nn.Module):
    """Word embeddings: one row of D values a token, or fewer rows, or narrower ones, or rows shared by hashing.

    Like `nn.Embedding`, it has its table in `weight` [T, E or D].
    """

    token_map: Tensor
    buckets: Tensor

    def __init__(self, config: SlimConfig) -> None:
        super().__init__()
        self.trimmed, self.hashed = config.vocab_kept is not None, config.hash_buckets is not None
        rows = config.vocab_kept or config.hash_buckets or config.vocab_size
        self.weight = nn.Parameter(torch.empty(rows, config.embedding_size or config.hidden_size))
        if config.vocab_kept is not None:
            self.register_buffer("token_map", torch.zeros(config.vocab_size, dtype=torch.int32))
        if config.hash_buckets is not None:
            draws = uniform(_HASH_SEED, 0, np.arange(config.vocab_size), config.hash_functions, 0)
            self.register_buffer("buckets", torch.from_numpy((draws * config.hash_buckets).astype(np.int32)), persistent=False)
            self.importance = nn.Parameter(torch.ones(config.vocab_size, config.hash_functions))
        self.projection = None
        if config.embedding_size is not None:
            self.projection = nn.Linear(config.embedding_size, config.hidden_size, bias=False)

    def forward(self, ids_BL: Tensor) -> Tensor:
        """Return [B, L, D]."""
        if self.trimmed:
            ids_BL = embedding(ids_BL, self.token_map[:, None]).squeeze(-1)
        if self.hashed:
            parts_BLJE = embedding(embedding(ids_BL, self.buckets), self.weight)
            x_BLE = (parts_BLJE * embedding(ids_BL, self.importance)[..., None]).sum(-2)
        else:
            x_BLE = embedding(ids_BL, self.weight)
        return x_BLE if self.projection is None else self.projection(x_BLE)

    def scores(self, x_ND: Tensor) -> Tensor:
        """Return the product of vectors with every token's embedding [N, V]; tokens that were trimmed have that of the row they share."""
        x_NE = x_ND if self.projection is None else x_ND @ self.projection.weight
        if self.hashed:
            scores_NVJ = (x_NE @ self.weight.T)[:, self.buckets]
            return (scores_NVJ * self.importance).sum(-1)
        scores_NT = x_NE @ self.weight.T
        return scores_NT[:, self.token_map] if self.trimmed else scores_NT


class SlimEmbeddings(nn.Module):
    """Sum of word, segment and position embeddings, normalised."""

    def __init__(self, config: SlimConfig) -> None:
        super().__init__()
        self.word_embeddings = Words(config)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(self, input_ids_BL: Tensor, token_type_ids_BL: Tensor) -> Tensor:
        """Return [B, L, D]."""
        positions_L = torch.arange(input_ids_BL.shape[1], device=input_ids_BL.device)
        x_BLD = self.word_embeddings(input_ids_BL) + self.token_type_embeddings(token_type_ids_BL)
        x_BLD = x_BLD + self.position_embeddings(positions_L)
        result: Tensor = self.dropout(self.LayerNorm(x_BLD))
        return result


class SlimTrunk(nn.Module):
    """Embeddings, blocks and pooler."""

    def __init__(self, config: SlimConfig) -> None:
        super().__init__()
        self.embeddings = SlimEmbeddings(config)
        self.encoder = Encoder(config, config.widths())
        self.pooler = Dense(config.hidden_size, config.pooler_size, nn.Tanh())


class SlimBert(Network):
    """The network.

    Args:
        config: its shape.
        heads: of `mlm`, `nsp`, `classification`; an unknown one is a ValueError.
        labels: class names in code order.
    """

    bf16 = True

    def __init__(self, config: SlimConfig, heads: tuple[str, ...], labels: tuple[str, ...] = ()) -> None:
        super().__init__()
        if not set(heads) <= set(HEADS):
            raise ValueError(f"heads {heads}: known are {HEADS}")
        words.check_heads("slim_bert", heads, ("mlm", "nsp", "classification"))
        self.config, self.heads, self.labels = config, heads, labels
        self.bert = SlimTrunk(config)
        if "mlm" in heads or "nsp" in heads:
            self.cls = nn.ModuleDict()
            if "mlm" in heads:
                self.cls["predictions"] = Predictions(config, config.vocab_size)
            if "nsp" in heads:
                self.cls["seq_relationship"] = nn.Linear(config.pooler_size, 2)
        if "classification" in heads:
            chosen = config.classifier_dropout
            self.dropout = Dropout(config.hidden_dropout_prob if chosen is None else chosen)
            self.classifier = nn.Linear(config.pooler_size, len(labels))
        for name, rank in config.ranks.items():
            parent, _, last = name.rpartition(".")
            layer = self.get_submodule(name)
            if not isinstance(layer, nn.Linear):
                raise ValueError(f"ranks: '{name}' is no linear layer")
            setattr(self.get_submodule(parent), last, LowRank(layer.in_features, layer.out_features, rank))
        self.apply(self._initialise)

    @torch.no_grad()
    def _initialise(self, module: nn.Module) -> None:
        """BERT's own initial weights; the two factors of a product so that the product's have the same deviation."""
        spread = self.config.initializer_range
        if isinstance(module, (nn.Linear, nn.Embedding, Words)):
            module.weight.normal_(0.0, spread)
        if isinstance(module, nn.Linear) and module.bias is not None:
            module.bias.zero_()
        if isinstance(module, LowRank):
            for factor in (module.down, module.up):
                factor.weight.normal_(0.0, (spread / module.rank**0.5) ** 0.5)
        if isinstance(module, Words) and module.projection is not None:
            for weight in (module.weight, module.projection.weight):
                weight.normal_(0.0, (spread / module.weight.shape[1] ** 0.5) ** 0.5)

    def encode(self, input_ids_BL: Tensor, attention_mask_BL: Tensor, token_type_ids_BL: Tensor) -> Tensor:
        """Return the last hidden states [B, L, D]."""
        x_BLD = self.bert.embeddings(input_ids_BL, token_type_ids_BL)
        result: Tensor = self.bert.encoder(x_BLD, attention_mask_BL.bool()[:, None, None, :])
        return result

    def pool(self, hidden_BLD: Tensor) -> Tensor:
        """Return tanh of a projection of the first token [B, P]."""
        result: Tensor = self.bert.pooler(hidden_BLD[:, 0])
        return result

    def mlm_logits(self, hidden_ND: Tensor) -> Tensor:
        """Return vocabulary logits [N, V] of selected positions."""
        head, words = self.cls["predictions"], self.bert.embeddings.word_embeddings
        if not words.trimmed and not words.hashed and words.projection is None:
            result: Tensor = head(hidden_ND, words.weight)
        else:
            result = words.scores(head.get_submodule("transform")(hidden_ND)) + head.get_parameter("bias")
        return result

    def nsp_logits(self, pooled_BP: Tensor) -> Tensor:
        """Return next-sentence logits [B, 2]."""
        result: Tensor = self.cls["seq_relationship"](pooled_BP)
        return result

    def class_logits(self, pooled_BP: Tensor) -> Tensor:
        """Return class logits [B, C]."""
        result: Tensor = self.classifier(self.dropout(pooled_BP))
        return result

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """Return class logits [B, C]; inputs int64 [B, L]."""
        return self.class_logits(self.pool(self.encode(input_ids, attention_mask, token_type_ids)))

    def head_names(self) -> tuple[str, ...]:
        """Return the submodules that are heads."""
        return tuple(name for name in ("cls", "classifier") if hasattr(self, name))

    def describe(self) -> dict[str, Any]:
        """Return config.json's content."""
        found: dict[str, Any] = {"model_type": MODEL_TYPE, "architectures": ["SlimBert"], "dtype": "float32",
                                 **dataclasses.asdict(self.config)}
        if "classification" in self.heads:
            found["id2label"] = {str(code): label for code, label in enumerate(self.labels)}
            found["label2id"] = {label: code for code, label in enumerate(self.labels)}
        return found

    def tensors(self) -> dict[str, Tensor]:
        """Return every parameter, and the token map where there is one."""
        found: dict[str, Tensor] = dict(self.named_parameters())
        if self.bert.embeddings.word_embeddings.trimmed:
            found["bert.embeddings.word_embeddings.token_map"] = self.bert.embeddings.word_embeddings.token_map
        return found


def open_folder(folder: Path, config: dict[str, Any], heads: tuple[str, ...], labels: tuple[str, ...], new_heads: bool) -> SlimBert:
    """Return the network of a folder; see `checkpoint.load_network`. A config.json that is not whole is a UserError."""
    fields = dataclasses.fields(SlimConfig)
    missing = [item.name for item in fields[:6] if item.name not in config]
    if missing:
        raise UserError(f"'{folder / 'config.json'}': the key '{missing[0]}' is missing; copy the whole folder again")
    labels = labels if labels or "classification" not in heads else saved_labels(config)
    try:
        network = SlimBert(SlimConfig(**{item.name: config[item.name] for item in fields if item.name in config}), heads, labels)
    except (AttributeError, TypeError, ValueError) as error:
        raise UserError(f"'{folder / 'config.json'}' describes no network ({error}); copy the whole folder again") from None
    adopt(network, folder, new_heads)
    words = network.bert.embeddings.word_embeddings
    if words.trimmed and not 0 <= int(words.token_map.min()) <= int(words.token_map.max()) < len(words.weight):
        raise UserError(f"'{folder}': its token map names rows that the embedding does not have; copy the whole folder again")
    return network


@torch.no_grad()
def from_bert(network: Bert) -> SlimBert:
    """Return the same network, its tensors copied: equal outputs bit for bit."""
    old = network.config
    shared = {item.name for item in dataclasses.fields(old)} & {item.name for item in dataclasses.fields(SlimConfig)}
    plain = {name: getattr(old, name) for name in shared}
    layers = old.num_hidden_layers
    config = SlimConfig(**{**plain, "num_attention_heads": (old.num_attention_heads,) * layers,
                           "intermediate_size": (old.intermediate_size,) * layers, "pooler_size": old.hidden_size,
                           "head_size": old.hidden_size // old.num_attention_heads})
    found = SlimBert(config, network.heads, network.labels)
    tensors = network.tensors()
    for name, target in found.tensors().items():
        target.copy_(tensors[name])
    return found.train(network.training)
