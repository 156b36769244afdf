"""The tokenizer of a pretrained model: a local Hugging Face folder, or weights of the catalogue."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import model_validator

from bessemer.core.config import Config
from bessemer.core.errors import UserError
from bessemer.core.fetch import fetch
from bessemer.core.registry import plugin, register
from bessemer.core.types import DataSet
from bessemer.modalities.tokenizers.wordpiece import frame
from bessemer.modalities.tokens import LONGEST, Tokens

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class Pretrained(Config):
    """A tokenizer that exists already; give `path` or `name`."""

    path: str | None = None
    """A folder with tokenizer.json, or with vocab.txt (BERT)."""
    name: str | None = None
    """Weights in the catalogue (`bessemer datasets`)."""

    @model_validator(mode="after")
    def _one(self) -> Pretrained:
        if (self.path is None) == (self.name is None):
            raise ValueError("give either 'path', a folder with tokenizer.json, or 'name', weights of the catalogue")
        return self


@register("modalities/tokenizers", "pretrained")
def tokens(config: Pretrained) -> Tokens:
    """Return the reader of an existing tokenizer."""
    return Tokens(make=lambda texts: _read(_folder(config)),
                  files=lambda: (_file(Path(config.path)),) if config.path else (),
                  longest=lambda: _longest(_folder(config)))


def _folder(config: Pretrained) -> Path:
    if config.path is not None:
        return Path(config.path)
    entry = plugin("datasets", str(config.name))
    weights: DataSet = entry.function(entry.config())
    if weights.kind != "weights":
        raise UserError(f"'{config.name}' in the catalogue is {weights.kind}, not weights, so it has no tokenizer")
    return fetch(weights.resource) / weights.folder


def _file(folder: Path) -> Path:
    for name in ("tokenizer.json", "vocab.txt"):
        if (folder / name).is_file():
            return folder / name
    raise UserError(f"'{folder}' has no tokenizer.json and no vocab.txt; expected the folder of a Hugging Face model")


def _longest(folder: Path) -> int:
    """Return the tokens that the folder's model reads at most, by what its settings say."""
    found = [LONGEST]
    for name, key in (("tokenizer_config.json", "model_max_length"), ("config.json", "max_position_embeddings")):
        if (folder / name).is_file():
            found.append(int(json.loads((folder / name).read_text(encoding="utf-8")).get(key) or LONGEST))
    return min(size for size in found if size > 0)


def _read(folder: Path) -> Tokenizer:
    from tokenizers import Tokenizer
    from tokenizers.implementations import BertWordPieceTokenizer

    file = _file(folder)
    text = file.read_text(encoding="utf-8", errors="replace")
    if file.name == "vocab.txt":
        settings = folder / "tokenizer_config.json"
        lowercase = json.loads(settings.read_text(encoding="utf-8")).get("do_lower_case", True) if settings.is_file() else True
        vocabulary = {token: number for number, token in enumerate(text.splitlines())}
        return frame(Tokenizer.from_str(BertWordPieceTokenizer(vocabulary, lowercase=lowercase).to_str()))
    try:
        json.loads(text)["model"]["type"]
    except (ValueError, KeyError, TypeError):
        raise UserError(f"'{file}' is damaged or no tokenizer of the 'tokenizers' library; get it again") from None
    tokenizer = Tokenizer.from_str(text)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
