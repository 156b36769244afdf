"""A unigram language model of pieces trained on the training split.

Kudo, "Subword regularization", ACL 2018. Suits languages without spaces, such as Chinese,
Japanese and Thai. By sentencepiece, whose trainer gives the same pieces for the same texts; that of the `tokenizers` library does not.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from bessemer.core.config import Config
from bessemer.core.errors import UserError
from bessemer.core.registry import register
from bessemer.modalities.tokenizers.wordpiece import SPECIAL, frame
from bessemer.modalities.tokens import Tokens

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from tokenizers.normalizers import Normalizer


class Unigram(Config):
    """A vocabulary of likely pieces trained here."""

    vocab_size: Annotated[int, Field(ge=100, le=1_000_000)] = 8000
    """Tokens in all, special ones included."""
    lowercase: bool = False
    """Write everything in small letters."""
    unicode_form: Literal["NFC", "NFKC", "none"] = "NFKC"
    """Unicode normal form before cutting."""
    max_piece_length: Annotated[int, Field(ge=1, le=64)] = 16
    """Characters of a piece at most."""
    character_coverage: Annotated[float, Field(gt=0.9, le=1)] = 0.9995
    """Part of all characters that the vocabulary covers; the rarest others are unknown."""
    max_texts: Annotated[int, Field(ge=100)] = 500_000
    """Different lines that are learnt from at most, chosen by hash; it is held in memory."""


@register("modalities/tokenizers", "unigram")
def tokens(config: Unigram) -> Tokens:
    """Return the trainer of a unigram vocabulary."""
    return Tokens(make=lambda texts: _train(config, texts), files=lambda: ())


def _train(config: Unigram, texts: Iterator[list[str]]) -> Tokenizer:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

    steps = [*([getattr(normalizers, config.unicode_form)()] if config.unicode_form != "none" else []),
             *([normalizers.Lowercase()] if config.lowercase else [])]
    normalizer = normalizers.Sequence(steps) if steps else None
    pieces = _pieces(config, _chosen(config, texts, normalizer))
    tokenizer = Tokenizer(models.Unigram([*((name, 0.0) for name in SPECIAL), *pieces], unk_id=SPECIAL.index("[UNK]")))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens(SPECIAL)
    return frame(tokenizer)


def _chosen(config: Unigram, texts: Iterator[list[str]], normalizer: Normalizer | None) -> list[str]:
    """Return different lines of the texts in an order of their own, `max_texts` at most, chosen by hash: the same for equal texts."""
    kept: dict[bytes, str] = {}
    for batch in texts:
        for text in batch:
            for line in text.splitlines():
                found = normalizer.normalize_str(line).strip() if normalizer is not None else line.strip()
                if found:
                    kept[hashlib.blake2b(found.encode(), digest_size=12).digest()] = found
        if len(kept) > 2 * config.max_texts:
            kept = dict(sorted(kept.items())[:config.max_texts])
    if not kept:
        raise UserError("the training texts hold no characters to make a vocabulary of")
    return [kept[key] for key in sorted(kept)[:config.max_texts]]


def _pieces(config: Unigram, lines: list[str]) -> list[tuple[str, float]]:
    """Return the learnt pieces with their log-probabilities, the same for the same lines (one thread, no sampling)."""
    import sentencepiece

    made = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines), model_writer=made, model_type="unigram", vocab_size=config.vocab_size - len(SPECIAL) + 1,
            hard_vocab_limit=False, normalization_rule_name="identity", character_coverage=config.character_coverage, num_threads=1,
            max_sentencepiece_length=config.max_piece_length, bos_id=-1, eos_id=-1, pad_id=-1, unk_id=0, minloglevel=2,
            max_sentence_length=1 << 20)
    except RuntimeError as error:
        raise UserError(f"no unigram vocabulary of {config.vocab_size} tokens can be made of these texts: the vocabulary must have room "
                        f"for their single characters; raise vocab_size, or lower character_coverage ({str(error).splitlines()[-1][-80:]})"
                        ) from None
    learnt = sentencepiece.SentencePieceProcessor(model_proto=made.getvalue())
    return [(learnt.id_to_piece(number), learnt.get_score(number)) for number in range(1, learnt.get_piece_size())]
