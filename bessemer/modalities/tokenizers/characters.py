"""One token a character, and one token a word of texts that are cut into words already: vocabularies by frequency."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from bessemer.core.config import Config
from bessemer.core.errors import UserError
from bessemer.core.registry import register
from bessemer.modalities.tokenizers.wordpiece import SPECIAL, frame
from bessemer.modalities.tokens import Tokens

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class Characters(Config):
    """Every character is a token; spaces are none."""

    vocab_size: Annotated[int, Field(ge=10, le=1_000_000)] = 8000
    """Tokens in all, special ones included; the most frequent characters stay."""
    min_frequency: Annotated[int, Field(ge=1)] = 1
    """A rarer character is unknown."""
    lowercase: bool = False
    """Write everything in small letters."""
    unicode_form: Literal["NFC", "NFKC", "none"] = "NFKC"
    """Unicode normal form before cutting."""


class Words(Config):
    """Texts that are cut into words by spaces already, such as segmented Chinese: every word is a token."""

    vocab_size: Annotated[int, Field(ge=10, le=1_000_000)] = 30_000
    """Tokens in all, special ones included; the most frequent words stay."""
    min_frequency: Annotated[int, Field(ge=1)] = 2
    """A rarer word is unknown."""
    lowercase: bool = False
    """Write everything in small letters."""
    unicode_form: Literal["NFC", "NFKC", "none"] = "NFC"
    """Unicode normal form before cutting."""


@register("modalities/tokenizers", "characters")
def characters(config: Characters) -> Tokens:
    """Return the maker of a vocabulary of characters."""
    return Tokens(make=lambda texts: _made(config, texts, by_word=False), files=lambda: ())


@register("modalities/tokenizers", "words")
def words(config: Words) -> Tokens:
    """Return the maker of a vocabulary of words between spaces."""
    return Tokens(make=lambda texts: _made(config, texts, by_word=True), files=lambda: ())


def _made(config: Characters | Words, texts: Iterator[list[str]], *, by_word: bool) -> Tokenizer:
    from tokenizers import decoders, models

    blank = _plain(config, models.WordLevel({}, unk_token="[UNK]"), by_word)
    counts: Counter[str] = Counter()
    for batch in texts:
        text = "\n".join(batch)
        if blank.normalizer is not None:
            text = blank.normalizer.normalize_str(text)
        counts.update(text.split() if by_word else "".join(text.split()))
    ranked = sorted((item for item in counts.items() if item[1] >= config.min_frequency), key=lambda item: (-item[1], item[0]))
    if not ranked:
        raise UserError(f"no {'word' if by_word else 'character'} occurs {config.min_frequency} times in the training texts, so there is "
                        "no vocabulary; lower min_frequency")
    names = [*SPECIAL, *(token for token, _ in ranked if token not in SPECIAL)][:config.vocab_size]
    made = _plain(config, models.WordLevel({token: number for number, token in enumerate(names)}, unk_token="[UNK]"), by_word)
    made.add_special_tokens(SPECIAL)
    made.decoder = decoders.WordPiece(prefix="##") if by_word else decoders.Fuse()
    return frame(made)


def _plain(config: Characters | Words, model: Any, by_word: bool) -> Tokenizer:
    from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers

    tokenizer = Tokenizer(model)
    steps = [*([getattr(normalizers, config.unicode_form)()] if config.unicode_form != "none" else []),
             *([normalizers.Lowercase()] if config.lowercase else [])]
    if steps:
        tokenizer.normalizer = normalizers.Sequence(steps)
    space = pre_tokenizers.WhitespaceSplit()
    tokenizer.pre_tokenizer = space if by_word else pre_tokenizers.Sequence([space, pre_tokenizers.Split(Regex(r"\S"), "isolated")])
    return tokenizer
