"""WordPiece trained on the training split.

Schuster and Nakajima, "Japanese and Korean voice search", ICASSP 2012, with BERT's normaliser and word splitting. The
trainer of the `tokenizers` library numbers characters in the order of a hash map, so that two runs differ; here the alphabet
is fixed beforehand, which makes the result a function of the texts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from bessemer.core.config import Config
from bessemer.core.errors import UserError
from bessemer.core.registry import register
from bessemer.modalities.tokens import NAMES, Tokens

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SPECIAL = [names[0] for names in NAMES.values()]


class WordPiece(Config):
    """A WordPiece vocabulary trained here."""

    vocab_size: Annotated[int, Field(ge=100, le=1_000_000)] = 8000
    """Tokens in all, special ones included."""
    lowercase: bool = True
    """Write everything in small letters."""
    strip_accents: bool = False
    """Write letters without accents. Every sign that stands on a letter goes: in Thai, Hindi or Japanese vowels, tones and voicing."""
    min_frequency: Annotated[int, Field(ge=1)] = 2
    """A piece that occurs less often is not made a token."""
    limit_alphabet: Annotated[int, Field(ge=10)] = 6000
    """The most characters that are tokens of their own, the most frequent first."""


@register("modalities/tokenizers", "wordpiece", revision=2)
def tokens(config: WordPiece) -> Tokens:
    """Return the trainer of a WordPiece vocabulary."""
    return Tokens(make=lambda texts: _train(config, texts), files=lambda: ())


def _train(config: WordPiece, texts: Iterator[list[str]]) -> Tokenizer:
    from tokenizers import decoders, models, trainers

    tokenizer = _plain(config, models.WordPiece(unk_token="[UNK]"))
    words: Counter[str] = Counter()
    for batch in texts:
        words.update(tokenizer.normalizer.normalize_str("\n".join(batch)).split())
    alphabet = _alphabet(config, words, tokenizer)
    if not alphabet:
        raise UserError("the training texts hold no characters to make a vocabulary of")
    tokenizer.train_from_iterator((" ".join([word] * count) for word, count in words.items()), trainers.WordPieceTrainer(
        vocab_size=config.vocab_size, min_frequency=config.min_frequency, special_tokens=[*SPECIAL, *alphabet],
        limit_alphabet=0, show_progress=False))
    learnt = sorted(tokenizer.get_vocab(with_added_tokens=True).items(), key=lambda item: item[1])
    vocabulary = {token: number for number, (token, _) in enumerate(learnt)}
    made = _plain(config, models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    made.add_special_tokens(SPECIAL)
    made.decoder = decoders.WordPiece(prefix="##")
    return frame(made)


def frame(tokenizer: Tokenizer) -> Tokenizer:
    """Return the tokenizer with BERT's frame around texts and pairs."""
    from tokenizers.processors import TemplateProcessing

    pairs = [(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
                                                  special_tokens=pairs)
    return tokenizer


def _plain(config: WordPiece, model: Any) -> Tokenizer:
    from tokenizers import Tokenizer, normalizers, pre_tokenizers

    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=True, lowercase=config.lowercase,
                                                      strip_accents=config.strip_accents)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def _alphabet(config: WordPiece, words: Counter[str], tokenizer: Tokenizer) -> list[str]:
    """Return the characters that are tokens of their own, those that continue a word after `##`, in a fixed order."""
    first: Counter[str] = Counter()
    rest: Counter[str] = Counter()
    for word, count in words.items():
        for piece, _ in tokenizer.pre_tokenizer.pre_tokenize_str(word):
            first[piece[0]] += count
            for sign in piece[1:]:
                rest[sign] += count
    ranked = sorted(first | rest, key=lambda sign: (-first[sign] - rest[sign], sign))
    alphabet: list[str] = []
    for sign in ranked[:config.limit_alphabet]:
        forms = [sign, *([f"##{sign}"] if rest[sign] else [])]
        if len(SPECIAL) + len(alphabet) + len(forms) > config.vocab_size:
            break
        alphabet += forms
    return alphabet
