"""Networks on disk in Hugging Face's layout: config.json + model.safetensors. Nothing here ever unpickles code."""

from __future__ import annotations

import dataclasses
import importlib
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from bessemer.core.errors import UserError
from bessemer.nn.bert import Bert, BertConfig
from bessemer.nn.hf import load_hf
from bessemer.nn.network import Network

Opener = Callable[[Path, dict[str, Any], tuple[str, ...], tuple[str, ...], bool], Network]
# Networks of our own that no other library knows: `model_type` of config.json -> the module whose `open_folder` reads the folder.
FAMILIES = {"slim_bert": "bessemer.nn.slim_bert", "text_cnn": "bessemer.nn.text_cnn", "text_rnn": "bessemer.nn.text_rnn",
            "ngrams": "bessemer.nn.ngrams", "transformer_encoder": "bessemer.nn.transformer"}
_HEAD_OF = {"cls.predictions.": "mlm", "cls.seq_relationship.": "nsp", "classifier.": "classification"}


def save_network(module: Network, folder: Path) -> None:
    """Write config.json and model.safetensors; the same weights give the same bytes. The caller commits the folder."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in module.tensors().items()}
    unmerged = [name for name in tensors if name.rsplit(".", 1)[-1].startswith("lora_")]
    if unmerged:
        raise ValueError(f"merge the adaptation before saving; '{unmerged[0]}' is no tensor of the architecture")
    config = json.dumps(module.describe(), indent=2, ensure_ascii=False, sort_keys=True)
    (folder / "config.json").write_text(config + "\n", encoding="utf-8")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def load_network(folder: Path, heads: tuple[str, ...], labels: tuple[str, ...] = (),
                 new_heads: bool = False) -> Network:
    """Return the network of a folder with the wanted heads; those that the folder lacks are newly initialised.

    Args:
        folder: holds config.json and weights.
        heads: of `"mlm"`, `"nsp"`, and one of `"classification"` and `"tags"`.
        labels: class names in code order; empty takes the folder's own.
        new_heads: begin with new heads even where the folder holds them.
    """
    config = read_config(folder)
    if str(config.get("model_type")) in FAMILIES:
        opener: Opener = importlib.import_module(FAMILIES[str(config["model_type"])]).open_folder
        return opener(folder, config, heads, labels, new_heads)
    if config.get("model_type") != "bert":
        return load_hf(folder, read_weights(folder), heads, labels, new_heads)
    labels = labels if labels or not {"classification", "tags"} & set(heads) else saved_labels(config)
    module = Bert(bert_config(config, folder), heads, len(labels), labels)
    adopt(module, folder, new_heads)
    return module


def answering(folder: Path) -> tuple[str, ...]:
    """Return the head that a trained folder answers with: `tags`, or `classification`."""
    names = read_config(folder).get("architectures") or [""]
    return ("tags",) if str(names[0]).endswith("ForTokenClassification") else ("classification",)


def read_config(folder: Path) -> dict[str, Any]:
    """Read config.json; a missing or broken one is a UserError."""
    file = folder / "config.json"
    if not file.is_file():
        raise UserError(f"'{folder}' has no config.json; expected a folder in Hugging Face's layout")
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"'{file}' is not valid JSON ({error}); fetch the folder again") from None
    if not isinstance(found, dict):
        raise UserError(f"'{file}' holds no JSON object; expected a model's configuration")
    return found


def bert_config(config: dict[str, Any], folder: Path) -> BertConfig:
    """Return config.json's content as a BertConfig; what our BERT cannot do is a UserError."""
    names = {item.name for item in dataclasses.fields(BertConfig)}
    if "vocab_size" not in config:
        raise UserError(f"'{folder / 'config.json'}': the key 'vocab_size' is missing")
    kind = config.get("position_embedding_type", "absolute")
    if kind != "absolute" or config.get("is_decoder", False):
        raise UserError(f"'{folder / 'config.json'}': only encoders with absolute positions are read as BERT, not "
                        f"position_embedding_type '{kind}', is_decoder {config.get('is_decoder', False)}")
    # Fields that the folder leaves out have Hugging Face's defaults, which are BERT base's.
    base = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
    return BertConfig(**{**base, **{key: value for key, value in config.items() if key in names}})


def saved_labels(config: dict[str, Any]) -> tuple[str, ...]:
    """Return the class names of config.json in code order; `LABEL_0`, `LABEL_1` (Hugging Face's default) without."""
    named = config.get("id2label")
    return tuple(named[key] for key in sorted(named, key=int)) if named else ("LABEL_0", "LABEL_1")


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Read model.safetensors (or its shards, or pytorch_model.bin without running any code in it)."""
    index = folder / "model.safetensors.index.json"
    if (folder / "model.safetensors").is_file():
        files = [folder / "model.safetensors"]
    elif index.is_file():
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        files = [folder / Path(name).name for name in names]
    elif (folder / "pytorch_model.bin").is_file():
        return _read_pickle(folder / "pytorch_model.bin")
    else:
        raise UserError(f"'{folder}' has no weights; expected model.safetensors (or pytorch_model.bin)")
    found: dict[str, Tensor] = {}
    for file in files:
        if not file.is_file():
            raise UserError(f"'{file}' is missing although {index.name} names it; fetch the folder again")
        try:
            found.update(load_file(file))
        except SafetensorError as error:
            raise UserError(f"'{file}' is damaged ({error}); fetch it again") from None
    return found


def _read_pickle(file: Path) -> dict[str, Tensor]:
    try:
        found = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, EOFError, RuntimeError) as error:
        raise UserError(f"'{file}' holds more than tensors, or is damaged, and was not opened because a pickle can run "
                        f"code; convert it to model.safetensors ({str(error).splitlines()[0][:120]})") from None
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise UserError(f"'{file}' is no mapping of names to tensors; expected a model's state")
    return found


def canonical(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a BERT checkpoint's tensors under today's names.

    A bare encoder has no `bert.` prefix (sentence-transformers saves it so), TensorFlow's conversions say gamma and
    beta, position_ids is a constant, and cls.predictions.decoder repeats the word embedding and bias.
    """
    bare = not any(name.startswith("bert.") for name in state)
    found = {}
    for name, tensor in state.items():
        if name.endswith("position_ids") or name.startswith("cls.predictions.decoder."):
            continue
        if bare and name.startswith(("embeddings.", "encoder.", "pooler.")):
            name = f"bert.{name}"
        if name.endswith(("LayerNorm.gamma", "LayerNorm.beta")):
            name = name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
        found[name] = tensor
    return found


@torch.no_grad()
def adopt(module: Network, folder: Path, new_heads: bool = False) -> None:
    """Copy a folder's tensors into a network whose trunk is named `bert`, in place.

    The trunk must be there, whole and of the same shapes (an absent pooler stays new: masked language models lack it).
    Heads come where the folder has them; a head of the folder that the module lacks is dropped.
    """
    state = canonical(read_weights(folder))
    wanted = module.tensors()
    named = {**_HEAD_OF, "classifier.": answering(folder)[0]}
    heads_there = set() if new_heads else {head for prefix, head in named.items() if any(name.startswith(prefix) for name in state)}
    if {"classification", "tags"} & heads_there & set(module.heads):
        _check_labels(module, folder)
    pooler_there = "bert.pooler.dense.weight" in state
    for name, target in wanted.items():
        head = next((head for prefix, head in named.items() if name.startswith(prefix)), None)
        if (head is not None and head not in heads_there & set(module.heads)) or (name.startswith("bert.pooler.") and not pooler_there):
            continue
        if name not in state:
            raise UserError(f"'{folder}': the weights lack '{name}' {list(target.shape)}, which this network needs")
        if state[name].shape != target.shape:
            raise UserError(f"'{folder}': the tensor '{name}' has shape {list(state[name].shape)} in the weights and "
                            f"{list(target.shape)} in this network; make the configurations equal")
        target.copy_(state[name])
    extra = sorted(name for name in state if name.startswith("bert.") and name not in wanted)
    if extra:
        raise UserError(f"'{folder}': the weights hold '{extra[0]}' {list(state[extra[0]].shape)}, for which this "
                        f"network has no place (and {len(extra) - 1} more); make the configurations equal")


def _check_labels(module: Network, folder: Path) -> None:
    saved = saved_labels(read_config(folder))
    generic = all(label == f"LABEL_{code}" for code, label in enumerate(saved))
    if len(saved) != len(module.labels) or (not generic and saved != module.labels):
        raise UserError(f"'{folder}' holds a classifier for {len(saved)} labels ({', '.join(saved[:5])}), the data "
                        f"have {len(module.labels)} ({', '.join(module.labels[:5])}); say new_heads: true")
