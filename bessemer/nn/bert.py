"""BERT (Devlin et al. 2019, https://arxiv.org/abs/1810.04805) with Hugging Face's parameter names.

Legend: B rows, L tokens, D width (hidden_size), H attention heads, K = D / H, N selected positions, V vocabulary,
C classes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bessemer.core.errors import UserError, nearest
from bessemer.nn.attention import attend
from bessemer.nn.dropout import Dropout
from bessemer.nn.network import Network

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "gelu": nn.GELU, "gelu_new": partial(nn.GELU, approximate="tanh"),
    "gelu_pytorch_tanh": partial(nn.GELU, approximate="tanh"), "relu": nn.ReLU, "silu": nn.SiLU, "tanh": nn.Tanh}
HEADS = ("mlm", "nsp", "classification", "tags")
_ARCHITECTURES = {(): "BertModel", ("mlm",): "BertForMaskedLM", ("nsp",): "BertForNextSentencePrediction",
                  ("mlm", "nsp"): "BertForPreTraining"}


@dataclass(frozen=True)
class BertConfig:
    """The fields of config.json that shape a BERT, under Hugging Face's names."""

    vocab_size: int
    hidden_size: int = 192
    num_hidden_layers: int = 3
    num_attention_heads: int = 6
    intermediate_size: int = 768
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
        if self.hidden_size % self.num_attention_heads:
            raise UserError(f"hidden_size {self.hidden_size} is not a multiple of num_attention_heads "
                            f"{self.num_attention_heads}; each head needs the same width")
        if self.hidden_act not in ACTIVATIONS:
            raise UserError(f"hidden_act '{self.hidden_act}' is unknown{nearest(self.hidden_act, ACTIVATIONS)}")
        if not 0 <= self.pad_token_id < self.vocab_size:
            raise UserError(f"pad_token_id {self.pad_token_id} is outside the vocabulary of {self.vocab_size} tokens")


class Shape(Protocol):
    """What blocks of every BERT share, whatever the widths inside them are."""

    @property
    def hidden_size(self) -> int:
        """D, the width of the residual stream."""

    @property
    def hidden_act(self) -> str:
        """A name of ACTIVATIONS."""

    @property
    def hidden_dropout_prob(self) -> float:
        """Dropout on hidden states."""

    @property
    def attention_probs_dropout_prob(self) -> float:
        """Dropout on attention weights."""

    @property
    def layer_norm_eps(self) -> float:
        """Added to the variance in normalisation."""


@dataclass(frozen=True)
class LayerWidths:
    """The widths inside one block: H attention heads of K values each, and the feed-forward part."""

    num_heads: int
    head_size: int
    intermediate_size: int


class Embeddings(nn.Module):
    """Sum of word, segment and position embeddings, normalised."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
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


class SelfAttention(nn.Module):
    """Scaled dot-product attention over H heads (Vaswani et al. 2017, equation 1)."""

    def __init__(self, config: Shape, widths: LayerWidths) -> None:
        super().__init__()
        self.num_heads = widths.num_heads
        self.dropout_prob = config.attention_probs_dropout_prob
        self.query = nn.Linear(config.hidden_size, widths.num_heads * widths.head_size)
        self.key = nn.Linear(config.hidden_size, widths.num_heads * widths.head_size)
        self.value = nn.Linear(config.hidden_size, widths.num_heads * widths.head_size)

    def forward(self, x_BLD: Tensor, mask_B11L: Tensor) -> Tensor:
        """Return [B, L, H K]; the mask is True where a token may be attended to."""
        q_BLE, k_BLE, v_BLE = self.query(x_BLD), self.key(x_BLD), self.value(x_BLD)
        if self.training and self.dropout_prob and x_BLD.device.type == "cpu":
            return attend((q_BLE, k_BLE, v_BLE), mask_B11L[:, 0, 0], self.num_heads, self.dropout_prob)
        q_BHLK, k_BHLK, v_BHLK = (part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for part in (q_BLE, k_BLE, v_BLE))
        out_BHLK = F.scaled_dot_product_attention(
            q_BHLK, k_BHLK, v_BHLK, attn_mask=mask_B11L, dropout_p=self.dropout_prob if self.training else 0.0)
        return out_BHLK.transpose(1, 2).flatten(2)


class Residual(nn.Module):
    """Projection back to the width, dropout, residual sum, normalisation (Hugging Face's `output` modules)."""

    def __init__(self, config: Shape, in_features: int) -> None:
        super().__init__()
        self.dense = nn.Linear(in_features, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(self, x_BLI: Tensor, residual_BLD: Tensor) -> Tensor:
        """Return [B, L, D]."""
        result: Tensor = self.LayerNorm(self.dropout(self.dense(x_BLI)) + residual_BLD)
        return result


class Attention(nn.Module):
    """Self-attention with its residual."""

    def __init__(self, config: Shape, widths: LayerWidths) -> None:
        super().__init__()
        self.self = SelfAttention(config, widths)
        self.output = Residual(config, widths.num_heads * widths.head_size)

    def forward(self, x_BLD: Tensor, mask_B11L: Tensor) -> Tensor:
        """Return [B, L, D]."""
        result: Tensor = self.output(self.self(x_BLD, mask_B11L), x_BLD)
        return result


class Dense(nn.Module):
    """A projection and an activation (Hugging Face's `intermediate` and `pooler`)."""

    def __init__(self, in_features: int, out_features: int, activation: nn.Module) -> None:
        super().__init__()
        self.dense = nn.Linear(in_features, out_features)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """Return [..., out_features]."""
        result: Tensor = self.activation(self.dense(x))
        return result


class Layer(nn.Module):
    """One encoder block."""

    def __init__(self, config: Shape, widths: LayerWidths) -> None:
        super().__init__()
        self.attention = Attention(config, widths)
        self.intermediate = Dense(config.hidden_size, widths.intermediate_size, ACTIVATIONS[config.hidden_act]())
        self.output = Residual(config, widths.intermediate_size)

    def forward(self, x_BLD: Tensor, mask_B11L: Tensor) -> Tensor:
        """Return [B, L, D]."""
        x_BLD = self.attention(x_BLD, mask_B11L)
        result: Tensor = self.output(self.intermediate(x_BLD), x_BLD)
        return result


class Encoder(nn.Module):
    """The stack of blocks."""

    def __init__(self, config: Shape, widths: Iterable[LayerWidths]) -> None:
        super().__init__()
        self.layer = nn.ModuleList(Layer(config, one) for one in widths)

    def forward(self, x_BLD: Tensor, mask_B11L: Tensor) -> Tensor:
        """Return [B, L, D]."""
        for layer in self.layer:
            x_BLD = layer(x_BLD, mask_B11L)
        return x_BLD


class Trunk(nn.Module):
    """Embeddings, blocks and pooler: what every head shares.

    The pooler is there even where no head reads it (masked language model alone), so that a pretrained one survives
    continued pretraining; it then gets no gradient.
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.embeddings = Embeddings(config)
        widths = LayerWidths(config.num_attention_heads, config.hidden_size // config.num_attention_heads, config.intermediate_size)
        self.encoder = Encoder(config, [widths] * config.num_hidden_layers)
        self.pooler = Dense(config.hidden_size, config.hidden_size, nn.Tanh())

    def forward(self, input_ids_BL: Tensor, attention_mask_BL: Tensor, token_type_ids_BL: Tensor) -> Tensor:
        """Return the last hidden states [B, L, D]."""
        x_BLD = self.embeddings(input_ids_BL, token_type_ids_BL)
        result: Tensor = self.encoder(x_BLD, attention_mask_BL.bool()[:, None, None, :])
        return result


class Transform(nn.Module):
    """Dense, activation, normalisation before the vocabulary projection."""

    def __init__(self, config: Shape) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = ACTIVATIONS[config.hidden_act]()
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, x_ND: Tensor) -> Tensor:
        """Return [N, D]."""
        result: Tensor = self.LayerNorm(self.activation(self.dense(x_ND)))
        return result


class Predictions(nn.Module):
    """The masked language model's head; its projection is the word embedding, handed in by the caller."""

    def __init__(self, config: Shape, vocab_size: int) -> None:
        super().__init__()
        self.transform = Transform(config)
        self.bias = nn.Parameter(torch.zeros(vocab_size))

    def forward(self, x_ND: Tensor, embedding_VD: Tensor) -> Tensor:
        """Return logits [N, V]."""
        return F.linear(self.transform(x_ND), embedding_VD, self.bias)


class Bert(Network):
    """BERT with any of the heads `mlm`, `nsp`, and one of `classification` and `tags`.

    Args:
        config: its shape.
        heads: which heads it has; an unknown one is a ValueError.
        num_labels: C, with a head of classes or tags.
        labels: class names in code order; `LABEL_0`, … without them.
    """

    bf16 = True

    def __init__(self, config: BertConfig, heads: tuple[str, ...], num_labels: int = 0,
                 labels: tuple[str, ...] = ()) -> None:
        super().__init__()
        if not set(heads) <= set(HEADS):
            raise ValueError(f"heads {heads}: known are {HEADS}")
        self.config = config
        self.heads = heads
        self.labels = labels or tuple(f"LABEL_{code}" for code in range(num_labels))
        if len(self.labels) != (num_labels or len(self.labels)):
            raise ValueError(f"{len(labels)} labels were given for {num_labels} classes")
        self.bert = Trunk(config)
        if "mlm" in heads or "nsp" in heads:
            self.cls = nn.ModuleDict()
            if "mlm" in heads:
                self.cls["predictions"] = Predictions(config, config.vocab_size)
            if "nsp" in heads:
                self.cls["seq_relationship"] = nn.Linear(config.hidden_size, 2)
        if "classification" in heads or "tags" in heads:
            chosen = config.classifier_dropout
            self.dropout = Dropout(config.hidden_dropout_prob if chosen is None else chosen)
            self.classifier = nn.Linear(config.hidden_size, len(self.labels))
        self.apply(self._initialise)

    @torch.no_grad()
    def _initialise(self, module: nn.Module) -> None:
        """BERT's own initial weights: normal weights, zero biases, a zero padding row."""
        if isinstance(module, (nn.Linear, nn.Embedding)):
            module.weight.normal_(0.0, self.config.initializer_range)
        if isinstance(module, nn.Linear):
            module.bias.zero_()
        if isinstance(module, nn.Embedding) and module.padding_idx is not None:
            module.weight[module.padding_idx].zero_()

    def encode(self, input_ids_BL: Tensor, attention_mask_BL: Tensor, token_type_ids_BL: Tensor) -> Tensor:
        """Return the last hidden states [B, L, D]."""
        result: Tensor = self.bert(input_ids_BL, attention_mask_BL, token_type_ids_BL)
        return result

    def pool(self, hidden_BLD: Tensor) -> Tensor:
        """Return tanh of a projection of the first token [B, D]."""
        result: Tensor = self.bert.pooler(hidden_BLD[:, 0])
        return result

    def mlm_logits(self, hidden_ND: Tensor) -> Tensor:
        """Return vocabulary logits [N, V] of selected positions."""
        result: Tensor = self.cls["predictions"](hidden_ND, self.bert.embeddings.word_embeddings.weight)
        return result

    def mlm_projection(self, hidden_ND: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return what the logits of selected positions are made of: x [N, D], weight [V, D] and bias [V] of x weight' + bias."""
        head = cast(Predictions, self.cls["predictions"])
        return head.transform(hidden_ND), self.bert.embeddings.word_embeddings.weight, head.bias

    def nsp_logits(self, pooled_BD: Tensor) -> Tensor:
        """Return next-sentence logits [B, 2]."""
        result: Tensor = self.cls["seq_relationship"](pooled_BD)
        return result

    def class_logits(self, pooled_BD: Tensor) -> Tensor:
        """Return class logits [B, C]."""
        result: Tensor = self.classifier(self.dropout(pooled_BD))
        return result

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """Return class logits [B, C], with the head `tags` those of each token [B, L, C]; inputs int64 [B, L]."""
        hidden_BLD = self.encode(input_ids, attention_mask, token_type_ids)
        return self.class_logits(hidden_BLD if "tags" in self.heads else self.pool(hidden_BLD))

    def head_names(self) -> tuple[str, ...]:
        """Return the submodules that are heads."""
        return tuple(name for name in ("cls", "classifier") if hasattr(self, name))

    def describe(self) -> dict[str, Any]:
        """Return config.json's content: what `AutoModel…from_pretrained` needs."""
        pretraining = tuple(head for head in ("mlm", "nsp") if head in self.heads)
        classifies, tags = "classification" in self.heads, "tags" in self.heads
        name = "BertForTokenClassification" if tags else "BertForSequenceClassification" if classifies else _ARCHITECTURES[pretraining]
        found: dict[str, Any] = {
            "architectures": [name],
            "model_type": "bert", "dtype": "float32", "tie_word_embeddings": True, **dataclasses.asdict(self.config)}
        if classifies or tags:
            found["id2label"] = {str(code): label for code, label in enumerate(self.labels)}
            found["label2id"] = {label: code for code, label in enumerate(self.labels)}
        if classifies:
            found["problem_type"] = "single_label_classification"
        return found

    def tensors(self) -> dict[str, Tensor]:
        """Return every parameter under Hugging Face's name; the tied vocabulary projection is the word embedding."""
        return dict(self.named_parameters())
