"""Byte-pair encoding trained on the training split.

Sennrich, Haddow and Birch, "Neural machine translation of rare words with subword units", ACL 2016; over bytes as in GPT-2
(Radford et al. 2019), so that no character is unknown.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.modalities.tokenizers.wordpiece import SPECIAL, frame
from bessemer.modalities.tokens import Tokens

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class Bpe(Config):
    """A vocabulary of merged bytes trained here."""

    vocab_size: Annotated[int, Field(ge=300, le=1_000_000)] = 8000
    """Tokens in all: special ones, 256 bytes, merges."""
    min_frequency: Annotated[int, Field(ge=1)] = 2
    """A pair that occurs less often is not merged."""
    lowercase: bool = False
    """Write everything in small letters."""
    unicode_form: Literal["NFC", "NFKC", "none"] = "NFC"
    """Unicode normal form before cutting."""


@register("modalities/tokenizers", "bpe")
def tokens(config: Bpe) -> Tokens:
    """Return the trainer of a byte-level BPE vocabulary."""
    return Tokens(make=lambda texts: _train(config, texts), files=lambda: ())


def _train(config: Bpe, texts: Iterator[list[str]]) -> Tokenizer:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    steps = [*([getattr(normalizers, config.unicode_form)()] if config.unicode_form != "none" else []),
             *([normalizers.Lowercase()] if config.lowercase else [])]
    if steps:
        tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    # The bytes come first and in a fixed order; merges of equal count are ordered by their parts' numbers.
    tokenizer.train_from_iterator((text for batch in texts for text in batch), trainers.BpeTrainer(
        vocab_size=config.vocab_size, min_frequency=config.min_frequency, show_progress=False,
        special_tokens=[*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet())], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    made = Tokenizer(models.BPE(tokenizer.get_vocab(with_added_tokens=True), _merges(tokenizer), unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer, made.decoder = tokenizer.normalizer, tokenizer.pre_tokenizer, tokenizer.decoder
    made.add_special_tokens(SPECIAL)
    return frame(made)


def _merges(tokenizer: Tokenizer) -> list[tuple[str, str]]:
    import json

    return [(first, second) for first, second in json.loads(tokenizer.to_str())["model"]["merges"]]
