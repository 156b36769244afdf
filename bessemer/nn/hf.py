"""Any encoder family that `transformers` knows, behind the same interface as our BERT.

Legend: B rows, L tokens, D width, N selected positions, V vocabulary, C classes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from bessemer.core.errors import UserError
from bessemer.nn.network import Network

# A masked language model's head by the attribute that holds it; its argument is the hidden states.
_MLM_ATTRIBUTES = ("lm_head", "cls", "predictions")


class HfNetwork(Network):
    """A `transformers` model with one head: `mlm` or `classification`.

    Attributes:
        model: the `transformers` module.
    """

    bf16 = True

    def __init__(self, model: nn.Module, heads: tuple[str, ...], labels: tuple[str, ...]) -> None:
        super().__init__()
        self.model = model
        self.heads = heads
        self.labels = labels
        self.trunk_name: str = str(model.base_model_prefix)
        config: Any = model.config
        self.family: str = str(config.model_type)
        trunk: Any = getattr(model, self.trunk_name)
        self.has_segments = "token_type_ids" in inspect.signature(trunk.forward).parameters and (
            getattr(config, "type_vocab_size", 0) or 0) > 1

    def _arguments(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> dict[str, Tensor]:
        # RoBERTa's and DistilBERT's families have no second segment: an id of 1 would be out of range there.
        found = {"input_ids": input_ids, "attention_mask": attention_mask}
        return {**found, "token_type_ids": token_type_ids} if self.has_segments else found

    def encode(self, input_ids_BL: Tensor, attention_mask_BL: Tensor, token_type_ids_BL: Tensor) -> Tensor:
        """Return the last hidden states [B, L, D]."""
        trunk: Any = getattr(self.model, self.trunk_name)
        result: Tensor = trunk(**self._arguments(input_ids_BL, attention_mask_BL, token_type_ids_BL)).last_hidden_state
        return result

    def pool(self, hidden_BLD: Tensor) -> Tensor:
        """Return the first token's vector [B, D]; these families pool inside their heads."""
        return hidden_BLD[:, 0]

    def mlm_logits(self, hidden_ND: Tensor) -> Tensor:
        """Return vocabulary logits [N, V] of selected positions."""
        model: Any = self.model
        result: Tensor
        if self.family == "distilbert":
            result = model.vocab_projector(model.vocab_layer_norm(model.activation(model.vocab_transform(hidden_ND))))
        elif self.family == "electra":
            result = model.generator_lm_head(model.generator_predictions(hidden_ND))
        else:
            head = next((getattr(model, name) for name in _MLM_ATTRIBUTES if hasattr(model, name)), None)
            if head is None:
                raise UserError(f"the masked language head of the family '{self.family}' is not known here; use "
                                "a BERT, RoBERTa, DistilBERT or ELECTRA folder, or leave pretraining out")
            result = head(hidden_ND)
        return result

    def nsp_logits(self, pooled_BD: Tensor) -> Tensor:
        """Raise: none of these families has a next-sentence head."""
        raise UserError(f"the family '{self.family}' has no next-sentence head; pretrain it with the task 'mlm'")

    def class_logits(self, pooled_BD: Tensor) -> Tensor:
        """Return class logits [B, C] of first-token vectors."""
        model: Any = self.model
        result: Tensor
        if self.family == "distilbert":
            hidden_BD = nn.functional.relu(model.pre_classifier(pooled_BD))
            result = model.classifier(model.dropout(hidden_BD))
        else:
            result = model.classifier(pooled_BD[:, None])
        return result

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """Return class logits [B, C]."""
        result: Tensor = self.model(**self._arguments(input_ids, attention_mask, token_type_ids)).logits
        return result

    def head_names(self) -> tuple[str, ...]:
        """Return the submodules beside the trunk."""
        return tuple(f"model.{name}" for name, _ in self.model.named_children() if name != self.trunk_name)

    def describe(self) -> dict[str, Any]:
        """Return config.json's content."""
        config: Any = self.model.config
        found: dict[str, Any] = config.to_dict()
        return {**found, "architectures": [type(self.model).__name__], "dtype": "float32"}

    def tensors(self) -> dict[str, Tensor]:
        """Return parameters and saved buffers under their own names; tied ones once (`named_parameters` does that)."""
        saved = set(self.model.state_dict())
        buffers = {name: tensor for name, tensor in self.model.named_buffers() if name in saved}
        return {**dict(self.model.named_parameters()), **buffers}


def load_hf(folder: Path, state: dict[str, Tensor], heads: tuple[str, ...], labels: tuple[str, ...],
            new_heads: bool) -> HfNetwork:
    """Build the `transformers` model of a local folder; code that came with the folder is never run.

    Args:
        folder: holds config.json.
        state: its tensors.
        heads: exactly one of `("mlm",)` and `("classification",)`; another choice is a UserError.
        labels: class names in code order; empty takes the folder's own.
        new_heads: drop the heads that the folder holds.
    """
    import transformers

    config: Any = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    if heads not in (("mlm",), ("classification",)):
        raise UserError(f"'{folder}' is of the family '{config.model_type}', which takes one head, 'mlm' or "
                        f"'classification', not {', '.join(heads) or 'none'}; use the task 'mlm' for pretraining")
    auto: Any = transformers.AutoModelForMaskedLM
    if heads == ("classification",):
        auto = transformers.AutoModelForSequenceClassification
        if labels:
            config.id2label = dict(enumerate(labels))
            config.label2id = {label: code for code, label in enumerate(labels)}
    try:
        expected = auto.from_config(config, trust_remote_code=False)
    except ValueError as error:
        raise UserError(f"'{folder}': the family '{config.model_type}' has no head '{heads[0]}' "
                        f"({str(error).splitlines()[0][:160]})") from None
    trunk_name: str = expected.base_model_prefix
    _fill(expected, trunk_name, state, folder, new_heads)
    return HfNetwork(expected, heads, tuple(config.id2label[code] for code in range(len(config.id2label)))
                     if heads == ("classification",) else ())


def _fill(model: Any, trunk_name: str, state: dict[str, Tensor], folder: Path, new_heads: bool) -> None:
    prefix = f"{trunk_name}."
    if not any(name.startswith(prefix) for name in state):
        state = {prefix + name: tensor for name, tensor in state.items()}
    wanted: dict[str, Tensor] = dict(model.named_parameters())
    wanted.update({name: tensor for name, tensor in model.named_buffers() if name in model.state_dict()})
    renamed = {name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias"): tensor
               for name, tensor in state.items()}
    take = _chooser(prefix, new_heads)
    for name, target in wanted.items():
        if not take(name, renamed):
            continue
        if name not in renamed:
            raise UserError(f"'{folder}': the weights lack '{name}' {list(target.shape)}, which this network needs")
        if renamed[name].shape != target.shape:
            raise UserError(f"'{folder}': the tensor '{name}' has shape {list(renamed[name].shape)} in the weights and "
                            f"{list(target.shape)} in this network; for a head of other labels say new_heads: true")
        target.data.copy_(renamed[name])


def _chooser(prefix: str, new_heads: bool) -> Callable[[str, dict[str, Tensor]], bool]:
    def take(name: str, state: dict[str, Tensor]) -> bool:
        if name.startswith(prefix):
            return ".pooler." not in name or name in state
        return not new_heads and name in state

    return take
